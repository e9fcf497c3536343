
/*
 * A log of made-up traffic for predictive-replay, on standard output.
 * Usage: logs tsv|combined lines
 */


#include "traffic.h"


int
main(int argc, char **argv)
{
    char       when[40];
    time_t     at, last;
    size_t     i, n;
    unsigned   bytes;
    traffic_t  t;
    struct tm  tm;

    if (argc != 3) {
        bench_die("usage: logs tsv|combined lines");
    }

    n = strtoull(argv[2], NULL, 10);
    last = 0;
    when[0] = '\0';

    /* a day of as many people as it takes: about 190 requests each */

    traffic_make(&t, 1, (uint32_t) (n / 150) + 100);

    if (t.n < n) {
        bench_die("too few requests");
    }

    for (i = 0; i < n; i++) {
        bytes = (unsigned) exp(8 + 1.5 * bench_normal());

        if (argv[1][0] == 't') {
            printf("%u.%03u\t%u\t%u\t%u\t200\n", t.r[i].ms / 1000,
                   t.r[i].ms % 1000, t.r[i].client, t.r[i].class_, bytes);
            continue;
        }

        at = (time_t) (BENCH_S + t.r[i].ms / 1000);

        if (at != last) {
            last = at;
            gmtime_r(&at, &tm);
            strftime(when, sizeof(when), "%d/%b/%Y:%H:%M:%S +0000", &tm);
        }

        printf("10.%u.%u.%u - - [%s] \"GET /%c/%u HTTP/1.1\" 200 %u"
               " \"https://example.com/\" \"Mozilla/5.0 (X11; Linux x86_64)"
               " AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0"
               " Safari/537.36\"\n", t.r[i].client >> 16 & 255,
               t.r[i].client >> 8 & 255, t.r[i].client & 255, when,
               'a' + t.r[i].class_, bench_below(10000), bytes);
    }

    return 0;
}
