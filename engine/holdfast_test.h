/* holdfast_test.h - test your actors: an engine on a clock that you move, in a store that is
 * gone afterwards, on a machine that stops when you say so.
 *
 *     hf_test *test;
 *     hf_test_open(&test, HF_OPTIONS(.types = types));
 *     hf_tell(hf_test_engine(test), "order/1", "place", body);
 *     hf_test_run(test);                  // what can be done now is done
 *     hf_test_advance(test, 3600 * 1000); // and what is due in the next hour
 *     hf_test_close(test);
 *
 * Time stands still but for hf_test_advance. All that goes by time goes by this clock:
 * retries, delays, alarms, expiry, breakers, rates, flushes, how long an idle actor stays in
 * memory, the time of hf_ask. Pauses are as long as .retry_ms says; elsewhere they are up to
 * a quarter shorter or longer. How long you wait in hf_sync and hf_drain is real time, and
 * so is what your handlers look up; a full store lets some time pass by itself.
 *
 * One test at a time in a process, and no other engine beside it. All calls from one thread,
 * which is in no turn, no callback and no hook (HF_EDEADLOCK); the engine itself may be used
 * from any thread. Errors are told as everywhere: a code, and more in hf_detail.
 */
#ifndef HOLDFAST_TEST_H
#define HOLDFAST_TEST_H

#include "holdfast.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hf_test hf_test;

/* A new store in TMPDIR or /tmp; the clock begins at 2026-01-01 00:00 UTC. Options are
 * copied, tables of types included; no .loop, and .stopped is not called: hf_test_run says
 * HF_EUNKNOWN. HF_EBUSY: another test is open. Else as hf_open; *test is NULL then. */
HF_API int hf_test_open(hf_test **test, const hf_options *options);

/* Another one after each crash, once the store is opened again. */
HF_API hf_engine  *hf_test_engine(const hf_test *test);
HF_API const char *hf_test_path(const hf_test *test);   /* of the store */
HF_API uint64_t    hf_test_now(const hf_test *test);    /* Unix milliseconds, by the clock */

/* Until idle: all that can go on now has, and is committed; callbacks were called. What
 * rests until a later time, and what is paused, does not count. HF_ETIMEDOUT after 20
 * seconds of real time: a turn never ends, or there is always another. */
HF_API int hf_test_run(hf_test *test);

/* Run, then let time pass: it jumps from one due time to the next, in order, and runs until
 * idle at each; in the end it is ms later. HF_EINVAL beyond 100 years. */
HF_API int hf_test_advance(hf_test *test, uint64_t ms);

/* The machine stops: what is not committed is gone. Turns of types with threads run to their
 * end first (HF_ETIMEDOUT after 20 seconds: call again, or hf_test_run), but nothing of it
 * stays. Whoever waits for the engine is told HF_EUNKNOWN. Then the store is opened again. */
HF_API int hf_test_crash(hf_test *test);

/* The machine will stop at a commit: commits = 1 is the next. before: nothing of that commit
 * is on disk; after: all of it, but nobody was told. The next hf_test_run or hf_test_advance
 * opens the store again, and goes on; until then all calls answer HF_EUNKNOWN. Say so before
 * the call that brings the commit: work goes on by itself. commits = 0: not at all. */
typedef enum hf_test_moment { HF_TEST_BEFORE, HF_TEST_AFTER } hf_test_moment;
HF_API int hf_test_crash_at(hf_test *test, uint32_t commits, hf_test_moment moment);

/* How long the calls here wait for turns in real time, instead of 20 seconds, before they
 * answer HF_ETIMEDOUT: less where a test is to fail soon, more under a slow tool. HF_NEVER:
 * for ever; HF_EINVAL: 0. */
HF_API int hf_test_patience(hf_test *test, uint32_t ms);

/* How often it crashed, and was opened again. */
HF_API uint32_t hf_test_crashes(const hf_test *test);

/* Close the engine, remove the store. HF_ETIMEDOUT: turns still run after 20 seconds; nothing
 * is freed, call again. Closing NULL is HF_OK. */
HF_API int hf_test_close(hf_test *test);

#ifdef __cplusplus
}
#endif
#endif
