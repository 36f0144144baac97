/* test_seams.c - error, clock, random, memory and test points, each alone. */
#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/codec.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/random.h"
#include "storage/testpoint.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Errors */

static void error_keeps_code_detail_and_errno(void **state)
{
    (void)state;
    errno = ENOSPC;
    assert_int_equal(hf_error(HF_EFULL, "write %s: %d", "data.mdb", 7), HF_EFULL);
    assert_int_equal(errno, ENOSPC);
    assert_string_equal(hf_error_detail(), "write data.mdb: 7");
    assert_string_equal(hf_detail(), "write data.mdb: 7");

    hf_error(HF_EIO, "open: %s", hf_error_detail());
    assert_string_equal(hf_error_detail(), "open: write data.mdb: 7");

    hf_error_clear();
    assert_string_equal(hf_error_detail(), "");
}

static void error_cuts_what_is_too_long(void **state)
{
    char text[4000];

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    hf_error(HF_EIO, "%s", text);
    size_t len = strlen(hf_error_detail());
    assert_in_range(len, 200, sizeof text - 2);
    assert_memory_equal(hf_error_detail(), text, len);
}

static void *detail_elsewhere(void *user)
{
    char *seen = user;

    strcpy(seen, hf_error_detail());
    hf_error(HF_EIO, "from the other thread");
    return NULL;
}

static void error_belongs_to_its_thread(void **state)
{
    pthread_t thread;
    char seen[600] = "?";

    (void)state;
    hf_error(HF_EIO, "from this thread");
    assert_int_equal(pthread_create(&thread, NULL, detail_elsewhere, seen), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(seen, "");
    assert_string_equal(hf_error_detail(), "from this thread");
}

static void strerror_has_words_for_every_code(void **state)
{
    static const struct {
        int         code;
        const char *text;
    } rows[] = {
#define HF_ROW(name, code, text) { name, text },
        HF_ERRORS(HF_ROW)
#undef HF_ROW
    };
    const int count = (int)(sizeof rows / sizeof rows[0]);

    (void)state;
    for (int i = 0; i < count; i++) {
        assert_string_equal(hf_strerror(rows[i].code), rows[i].text);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(rows[i].code, rows[j].code);
    }
    assert_string_equal(hf_strerror(HF_OK), "ok");
    assert_string_equal(hf_strerror(7), "error of a handler");
    assert_string_equal(hf_strerror(-12345), "unknown error");
}

/* ---- Clock */

static uint64_t hand(void *user)
{
    return *(const uint64_t *)user;
}

static void clock_is_the_system_or_the_test(void **state)
{
    uint64_t now = 42;
    hf_clock clock = { .wall_ms = hand, .mono_ns = hand, .user = &now };

    (void)state;
    hf_clock_use(&clock);
    assert_int_equal(hf_clock_wall_ms(), 42);
    now = 43;
    assert_int_equal(hf_clock_mono_ns(), 43);
    memset(&clock, 0, sizeof clock); /* it was copied */
    assert_int_equal(hf_clock_wall_ms(), 43);

    hf_clock_use(NULL);
    uint64_t before = hf_clock_mono_ns();
    assert_in_range(hf_clock_wall_ms() / 1000, (uintmax_t)time(NULL) - 2,
                    (uintmax_t)time(NULL) + 2);
    usleep(2000);
    assert_in_range(hf_clock_mono_ns() - before, 2000000, 60000000000);
}

/* ---- Chance */

static void random_unseeded_differs_between_processes(void **state)
{
    int ends[2];
    uint64_t theirs = 0;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    uint64_t first = hf_random();
    pid_t child = fork();
    if (child == 0) {
        uint64_t number = hf_random();
        _exit(write(ends[1], &number, sizeof number) != (ssize_t)sizeof number);
    }
    assert_true(child > 0);
    assert_int_equal(read(ends[0], &theirs, sizeof theirs), sizeof theirs);
    assert_int_equal(waitpid(child, NULL, 0), child);
    uint64_t mine = hf_random();
    assert_true(mine != theirs && mine != first && theirs != first);
    close(ends[0]);
    close(ends[1]);
}

static void random_bytes_fills_all_and_no_more(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 600; len += 37) {
        uint8_t bytes[602];
        memset(bytes, 0xA5, sizeof bytes);
        hf_random_bytes(bytes + 1, len);
        assert_int_equal(bytes[0], 0xA5);
        assert_int_equal(bytes[len + 1], 0xA5);
        size_t untouched = 0;
        for (size_t i = 1; i <= len; i++)
            untouched += bytes[i] == 0xA5;
        assert_true(untouched <= len / 8 + 2);
    }
}

static void *draw(void *user)
{
    uint64_t *numbers = user;

    for (int i = 0; i < 1000; i++)
        numbers[i] = hf_random();
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void random_seeded_repeats_and_threads_share_it(void **state)
{
    static uint64_t alone[2000], shared[2000];
    pthread_t thread;

    (void)state;
    hf_random_seed(7);
    assert_int_equal(hf_random(), 0x63cbe1e459320dd7); /* splitmix64 of 7 */
    hf_random_seed(7);
    draw(alone);
    draw(alone + 1000);
    hf_random_seed(7);
    assert_int_equal(pthread_create(&thread, NULL, draw, shared), 0);
    draw(shared + 1000);
    assert_int_equal(pthread_join(thread, NULL), 0);

    /* Nobody drew a number twice and none was lost. */
    qsort(alone, 2000, sizeof alone[0], by_value);
    qsort(shared, 2000, sizeof shared[0], by_value);
    assert_memory_equal(alone, shared, sizeof alone);
    for (int i = 1; i < 2000; i++)
        assert_true(alone[i] != alone[i - 1]);

    hf_random_seed(8);
    assert_true(hf_random() != 0x63cbe1e459320dd7);
}

/* ---- Memory */

struct ration {
    int    left;
    size_t last;
};

static int spend(void *user, size_t size)
{
    struct ration *ration = user;

    ration->last = size;
    return ration->left-- <= 0;
}

static void memory_fails_when_the_hook_says_so(void **state)
{
    struct ration ration = { .left = 2 };

    (void)state;
    hf_mem_hook(spend, &ration);
    char *first = hf_mem_alloc(100);
    assert_non_null(first);
    assert_int_equal(ration.last, 100);
    char *second = hf_mem_zero(10, 20);
    assert_non_null(second);
    assert_int_equal(ration.last, 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(second[i], 0);
    strcpy(first, "still here");
    assert_null(hf_mem_grow(first, 5000)); /* as realloc: the old one stays */
    assert_string_equal(first, "still here");
    assert_null(hf_mem_alloc(1));
    assert_null(hf_mem_zero(1, 1));

    hf_mem_hook(NULL, NULL);
    first = hf_mem_grow(first, 5000);
    assert_non_null(first);
    assert_string_equal(first, "still here");
    hf_mem_free(first);
    hf_mem_free(second);
    hf_mem_free(NULL);
}

static void memory_null_means_failure_alone(void **state)
{
    (void)state;
    void *empty = hf_mem_alloc(0);
    assert_non_null(empty);
    empty = hf_mem_grow(empty, 0);
    assert_non_null(empty);
    hf_mem_free(empty);
    empty = hf_mem_zero(0, 8);
    assert_non_null(empty);
    hf_mem_free(empty);
    assert_null(hf_mem_zero(SIZE_MAX / 2, 3));
}

/* ---- Numbers on disk */

static void codec_writes_the_same_bytes_everywhere(void **state)
{
    static const uint8_t little[] = { 8, 7, 6, 5, 4, 3, 2, 1 };
    static const uint8_t big[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    uint8_t at[9];

    (void)state;
    hf_put64(at + 1, 0x0102030405060708);
    assert_memory_equal(at + 1, little, 8);
    assert_int_equal(hf_get64(at + 1), 0x0102030405060708);
    hf_put64_key(at + 1, 0x0102030405060708);
    assert_memory_equal(at + 1, big, 8);
    assert_int_equal(hf_get64_key(at + 1), 0x0102030405060708);
    hf_put32(at + 1, 0x05060708);
    assert_memory_equal(at + 1, little, 4);
    assert_int_equal(hf_get32(at + 1), 0x05060708);
    hf_put16(at + 1, 0x0708);
    assert_memory_equal(at + 1, little, 2);
    assert_int_equal(hf_get16(at + 1), 0x0708);
}

/* ---- What must hold, and test points. A death is watched from outside: this
 * program runs itself again with the name of what is to happen. */

static const char *self;

static int status_of(const char *what, const char *kill_at)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        if (kill_at)
            setenv("HF_KILL_AT", kill_at, 1);
        if (!freopen("/dev/null", "w", stderr))
            _exit(99);
        execl(self, self, what, (char *)NULL);
        _exit(98);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void assert_died_of(int status, int signal)
{
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), signal);
}

static void assert_said(int status, int code)
{
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static void assert_holds_or_aborts(void **state)
{
    (void)state;
    HF_ASSERT(1 + 1 == 2);
    assert_died_of(status_of("assert", NULL), SIGABRT);
}

#ifdef HF_TESTPOINTS
static void count_passes(void *user, const char *name)
{
    if (strcmp(name, "seams.here") == 0)
        ++*(int *)user;
}

static void testpoint_calls_the_hook(void **state)
{
    int passes = 0;

    (void)state;
    HF_TESTPOINT("seams.here");
    hf_testpoint_hook(count_passes, &passes);
    HF_TESTPOINT("seams.here");
    HF_TESTPOINT("seams.there");
    HF_TESTPOINT("seams.here");
    hf_testpoint_hook(NULL, NULL);
    HF_TESTPOINT("seams.here");
    assert_int_equal(passes, 2);
}

/* "pass" goes through seams.here 3 times, then exits with 3. */
static void testpoint_kills_at_the_nth_pass(void **state)
{
    (void)state;
    assert_said(status_of("pass", NULL), 3);
    assert_died_of(status_of("pass", "seams.here:1"), SIGKILL);
    assert_died_of(status_of("pass", "seams.here:3"), SIGKILL);
    assert_said(status_of("pass", "seams.here:4"), 3);
    assert_said(status_of("pass", "seams.elsewhere:1"), 3);
}

static void testpoint_refuses_what_it_cannot_read(void **state)
{
    static const char *const wrong[] = { "seams.here",    "seams.here:", "seams.here:0",
                                         "seams.here:1x", ":1",          "seams.here:-1" };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_died_of(status_of("pass", wrong[i]), SIGABRT);
}
#else
static void testpoint_is_not_there(void **state)
{
    (void)state;
    assert_said(status_of("pass", "seams.here:1"), 3);
}
#endif

static int act(const char *what)
{
    if (strcmp(what, "assert") == 0)
        HF_ASSERT(1 + 1 == 3);
    int passes = 0;
    while (passes < 3) {
        HF_TESTPOINT("seams.here");
        passes++;
    }
    return passes;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_keeps_code_detail_and_errno),
        cmocka_unit_test(error_cuts_what_is_too_long),
        cmocka_unit_test(error_belongs_to_its_thread),
        cmocka_unit_test(strerror_has_words_for_every_code),
        cmocka_unit_test(clock_is_the_system_or_the_test),
        cmocka_unit_test(random_unseeded_differs_between_processes),
        cmocka_unit_test(random_bytes_fills_all_and_no_more),
        cmocka_unit_test(random_seeded_repeats_and_threads_share_it),
        cmocka_unit_test(memory_fails_when_the_hook_says_so),
        cmocka_unit_test(memory_null_means_failure_alone),
        cmocka_unit_test(codec_writes_the_same_bytes_everywhere),
        cmocka_unit_test(assert_holds_or_aborts),
#ifdef HF_TESTPOINTS
        cmocka_unit_test(testpoint_calls_the_hook),
        cmocka_unit_test(testpoint_kills_at_the_nth_pass),
        cmocka_unit_test(testpoint_refuses_what_it_cannot_read),
#else
        cmocka_unit_test(testpoint_is_not_there),
#endif
    };

    if (argc > 1)
        return act(argv[1]);
    self = argv[0];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
