/* disk_odds.h - what test_disk_odds.c and test_datafile.c share: stores over a file system
 * that fails as asked (nth_call.h), put right again after each test. */
#ifndef UNIT_DISK_ODDS_H
#define UNIT_DISK_ODDS_H

#include "tests/support/stores.h"
#include "tests/unit/nth_call.h"

static inline void says(const char *words)
{
    if (!strstr(hf_error_detail(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, hf_error_detail());
}

static inline void no_nap(void)
{
}

static inline int begin(void **state)
{
    (void)state;
    nth.on_nap = no_nap;
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    nth_off();
    nth.on_nap = NULL;
    nth.fs_type = 0;
    nth.fs_free = 0;
    nth.pretend = false;
    return 0;
}

#define ODD(test) cmocka_unit_test_setup_teardown(test, begin, end)

#endif
