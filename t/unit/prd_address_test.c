
/* Addresses and their masks. */


#include <stdlib.h>

#include "prd_address.h"
#include "tap.h"


#define BIG       65536
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))


static prd_str_t
str(const char *text)
{
    prd_str_t  s;

    s.len = text ? strlen(text) : 0;
    s.data = text;

    return s;
}


static char *
fill(const char *pattern, size_t len)
{
    char    *p;
    size_t   i, n = strlen(pattern);

    p = malloc(len);

    for (i = 0; i < len; i++) {
        p[i] = pattern[i % n];
    }

    return p;
}


static void
test_mask(void)
{
    char       out[PRD_ADDRESS_MAX], tag;
    size_t     i, len;
    prd_rc_t   rc;
    char      *big;

    static const struct {
        const char  *text;
        unsigned     v4, v6;
        const char  *out;
    } good[] = {
        { "192.0.2.130", 32, 64, "192.0.2.130/32" },
        { "192.0.2.130", 24, 64, "192.0.2.0/24" },
        { "192.0.2.130", 25, 64, "192.0.2.128/25" },
        { "192.0.2.130", 31, 64, "192.0.2.130/31" },
        { "255.255.255.255", 1, 64, "128.0.0.0/1" },
        { "255.255.255.255", 0, 64, "0.0.0.0/0" },
        { "0.0.0.0", 32, 0, "0.0.0.0/32" },
        { "10.20.30.40", 8, 128, "10.0.0.0/8" },

        { "2001:db8::1", 32, 64, "2001:db8::/64" },
        { "2001:db8::1", 32, 128, "2001:db8::1/128" },
        { "2001:DB8:0:0:0:0:0:1", 32, 128, "2001:db8::1/128" },
        { "2001:0db8:0001:0000:0000:0000:0000:0001", 32, 48,
          "2001:db8:1::/48" },
        { "2001:db8:ffff:ffff:ffff::", 32, 33, "2001:db8:8000::/33" },
        { "2001:db8:1:2:3:4:5:6", 32, 127, "2001:db8:1:2:3:4:5:6/127" },
        { "2001:db8:1:2:3:4:5:7", 32, 127, "2001:db8:1:2:3:4:5:6/127" },
        { "::", 32, 128, "::/128" },
        { "::1", 32, 128, "::1/128" },
        { "1::", 32, 128, "1::/128" },
        { "::1", 32, 0, "::/0" },
        { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 32, 128,
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" },
        { "1:2:3:4:5:6:7::", 32, 128, "1:2:3:4:5:6:7:0/128" },
        { "::2:3:4:5:6:7:8", 32, 128, "0:2:3:4:5:6:7:8/128" },
        { "1:0:0:2:0:0:0:3", 32, 128, "1:0:0:2::3/128" },
        { "1:0:0:2:0:0:3:4", 32, 128, "1::2:0:0:3:4/128" },
        { "1:0:2:3:4:5:6:7", 32, 128, "1:0:2:3:4:5:6:7/128" },
        { "64:ff9b::192.0.2.1", 32, 128, "64:ff9b::c000:201/128" },
        { "1:2:3:4:5:6:1.2.3.4", 32, 128, "1:2:3:4:5:6:102:304/128" },
        { "fe80::1", 32, 64, "fe80::/64" },

        /* mapped: the same client as over IPv4 */
        { "::ffff:192.0.2.130", 24, 64, "192.0.2.0/24" },
        { "::ffff:c000:282", 32, 64, "192.0.2.130/32" },
        { "0:0:0:0:0:FFFF:192.0.2.130", 32, 64, "192.0.2.130/32" },
        { "::fffe:192.0.2.130", 32, 96, "::fffe:0:0/96" },
        { "::192.0.2.130", 32, 128, "::c000:282/128" }
    };

    static const char *const  bad[] = {
        "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.1000",
        "01.2.3.4", "1.2.3.00", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4:80",
        "1.2.3.", ".1.2.3.4", "1..2.3", "1.2.3.-4", "0x1.2.3.4", "1.2.3.4/24",
        ":", ":::", "::1:", ":1::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1::2::3", "12345::",
        "g::", "[::1]", "::1%eth0", "::1.2.3", "::1.2.3.4.5", "::1.2.3.4:5",
        "1:2:3:4:5:6:7:1.2.3.4", "::ffff:1.2.3.256", "1.2.3.4::", "unix:",
        "1.2.3.4, 5.6.7.8", "localhost", "-1", "::ffff:01.2.3.4",
        "1:2:3:4:5:6:7:8:", "::12345", "0000000000000000000::1"
    };

#define MASK(text, v4, v6)                                                    \
    prd_address_mask(text, v4, v6, out, &len, &tag)

    for (i = 0; i < COUNT(good); i++) {
        len = 0;
        tag = 0;
        rc = MASK(str(good[i].text), good[i].v4, good[i].v6);
        is_int(rc, PRD_OK, "%s is an address", good[i].text);
        is_str(out, len, good[i].out, "... masked by %u, %u", good[i].v4,
               good[i].v6);
        ok(tag == (strchr(good[i].out, ':') ? '6' : '4'), "... and its tag");
    }

    len = 77;
    tag = 77;

    for (i = 0; i < COUNT(bad); i++) {
        is_int(MASK(str(bad[i]), 32, 128), PRD_EINVAL,
               "\"%s\" is no address", bad[i]);
    }

    is_int(MASK(str("1.2.3.4"), 33, 64), PRD_ERANGE,
           "prefix 33 of IPv4");
    is_int(MASK(str("1.2.3.4"), 32, 129), PRD_ERANGE,
           "prefix 129 of IPv6");
    is_int(MASK(((prd_str_t) { 8, "1.2.3.4\0" }), 32, 64), PRD_EINVAL,
           "a NUL behind it");

    big = fill("1:", BIG);
    is_int(MASK(((prd_str_t) { BIG, big }), 32, 64), PRD_EINVAL,
           "64 KiB of groups");
    free(big);

    ok(len == 77 && tag == 77, "failures change nothing");
}


int
main(void)
{
    test_mask();

    return done_testing();
}
