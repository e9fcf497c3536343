
/*
 * The Test Anything Protocol for unit tests: one executable a file, which
 * prints a line a check and its plan at the end.
 *
 *     ok(cond, "name with %d", n);      what follows cond is a printf()
 *     is_int(got, expected, "name");    tells both values on a failure
 *     is_str(got, len, "text", "name");
 *     return done_testing();            exit status 0 if all passed
 */


#ifndef PRD_TAP_H_INCLUDED
#define PRD_TAP_H_INCLUDED


#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>


static unsigned  tap_tests;
static unsigned  tap_failed;


#if defined(__GNUC__)
#define TAP_UNUSED        __attribute__((unused))
#define TAP_PRINTF(f, a)  __attribute__((unused, format(printf, f, a)))
#else
#define TAP_UNUSED
#define TAP_PRINTF(f, a)
#endif


static void
tap_line(int passed, const char *file, int line, const char *fmt, va_list args)
{
    printf("%sok %u - ", passed ? "" : "not ", ++tap_tests);
    vprintf(fmt, args);
    printf("\n");

    if (!passed) {
        tap_failed++;
        printf("#   failed at %s line %d\n", file, line);
    }

    /* what was printed survives a crash of the next check */
    fflush(stdout);
}


static int TAP_PRINTF(4, 5)
tap_ok(int passed, const char *file, int line, const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    tap_line(passed, file, line, fmt, args);
    va_end(args);

    return passed;
}


static int TAP_PRINTF(5, 6)
tap_is_int(long long got, long long expected, const char *file, int line,
    const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    tap_line(got == expected, file, line, fmt, args);
    va_end(args);

    if (got != expected) {
        printf("#   got %lld (%#llx), expected %lld (%#llx)\n", got, got,
               expected, expected);
    }

    return got == expected;
}


static int TAP_PRINTF(6, 7)
tap_is_str(const void *got, size_t len, const char *expected, const char *file,
    int line, const char *fmt, ...)
{
    int      passed;
    va_list  args;

    passed = (len == strlen(expected) && memcmp(got, expected, len) == 0);

    va_start(args, fmt);
    tap_line(passed, file, line, fmt, args);
    va_end(args);

    if (!passed) {
        printf("#   got \"%.*s\" (%zu bytes), expected \"%s\"\n",
               (int) (len < 300 ? len : 300), (const char *) got, len,
               expected);
    }

    return passed;
}


static int TAP_UNUSED
done_testing(void)
{
    printf("1..%u\n", tap_tests);

    if (tap_failed) {
        printf("# %u of %u failed\n", tap_failed, tap_tests);
    }

    return tap_failed != 0;
}


#define ok(cond, ...)                                                         \
    tap_ok(!!(cond), __FILE__, __LINE__, __VA_ARGS__)

#define is_int(got, expected, ...)                                            \
    tap_is_int((long long) (got), (long long) (expected), __FILE__, __LINE__, \
               __VA_ARGS__)

/* got: `len` bytes, which need no terminator; expected: a C string */

#define is_str(got, len, expected, ...)                                       \
    tap_is_str(got, len, expected, __FILE__, __LINE__, __VA_ARGS__)


#endif /* PRD_TAP_H_INCLUDED */
