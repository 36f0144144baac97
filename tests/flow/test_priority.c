/* test_priority.c - the thread that commits goes before the others while commits are large,
 * as far as the system and the host let it; all works where they don't. */
#include "tests/support/ring.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { NOBODY = 65534 };

static const char *store = "one";

static int handle(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    return HF_OK;
}

/* The nice value of this process's thread of that name. */
static int nice_of(const char *name)
{
    DIR *tasks = opendir("/proc/self/task");
    int found = 100;
    assert_non_null(tasks);
    for (struct dirent *task; (task = readdir(tasks));) {
        char path[300], comm[32] = "";
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (file && fgets(comm, sizeof comm, file) && strncmp(comm, name, strlen(name)) == 0)
            found = getpriority(PRIO_PROCESS, (id_t)atoi(task->d_name));
        if (file)
            (void)fclose(file);
    }
    (void)closedir(tasks);
    return found;
}

/* Both go into one commit. */
static void send(hf_engine *e, size_t size)
{
    static char body[200000];
    hf_letter letters[2];
    memset(body, 'x', sizeof body);
    for (int i = 0; i < 2; i++)
        letters[i] = *HF_LETTER(.to = "a/1", .kind = "x", .body = hf_view(body, size));
    ring_ok(hf_mail(e, letters, 2, NULL));
}

/* After a second with nothing to do it is in no hurry either: look at once, or again. */
static int hurried(hf_engine *e, int own)
{
    int nice = own;
    for (int i = 0; i < 5 && nice == own; i++) {
        send(e, 200000);
        nice = nice_of("hf-journal");
    }
    return nice;
}

/* An engine that asks for so much: what has its journal while commits are large? Before and
 * after, and the others, have what they had. */
static int journal_with(uint32_t priority)
{
    hf_type types[] = { { .name = "a", .handle = handle }, { 0 } };
    hf_engine *e = NULL;
    int own = getpriority(PRIO_PROCESS, 0);
    ring_ok(hf_open(&e, ring_path(store), HF_OPTIONS(.types = types, .shards = 1,
                                                     .window = 1 << 20, .priority = priority)));
    ring_ok(hf_pause(e, "a", NULL, NULL)); /* what turns say would be a small commit */
    send(e, 10);
    assert_int_equal(nice_of("hf-journal"), own);
    int nice = hurried(e, own);
    assert_int_equal(nice_of("hf-shard-0"), own);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
    send(e, 10);
    assert_int_equal(nice_of("hf-journal"), own);
    ring_ok(hf_resume(e, "a"));
    ring_ok(hf_drain(e, 60000));
    ring_ok(hf_close(e, 60000));
    return nice;
}

/* In a process of its own: what it does to itself can't be taken back. */
static void in_child(void (*test)(void))
{
    int status = -1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        test();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool may_hurry(void)
{
    int own = getpriority(PRIO_PROCESS, 0);
    bool may = !setpriority(PRIO_PROCESS, 0, own - 1);
    return may && !setpriority(PRIO_PROCESS, 0, own);
}

static void be_privileged(void)
{
    assert_int_equal(setpriority(PRIO_PROCESS, 0, 3), 0);
    assert_int_equal(journal_with(0), -17);
    assert_int_equal(journal_with(5), -2);
    assert_int_equal(journal_with(1000), -20);
    assert_int_equal(journal_with(HF_NEVER), 3);
}

static void test_as_far_as_it_is_asked(void **state)
{
    (void)state;
    if (!may_hurry())
        skip();
    in_child(be_privileged);
}

#ifndef __SANITIZE_THREAD__ /* which asks for limits before it can be asked anything */
/* ---- Who is no root may go down to what RLIMIT_NICE says */

static int lowest = -100; /* what a system that says no to more would allow */

int setpriority(__priority_which_t which, id_t who, int nice)
{
    if (nice < lowest) {
        errno = EACCES;
        return -1;
    }
    return (int)syscall(SYS_setpriority, which, who, nice);
}

int getrlimit(__rlimit_resource_t what, struct rlimit *limit)
{
    int err = (int)syscall(SYS_prlimit64, 0, what, NULL, limit);
    if (!err && what == RLIMIT_NICE && lowest > -100)
        limit->rlim_cur = (rlim_t)(20 - lowest);
    return err;
}

static void be_limited(void)
{
    lowest = -7;
    assert_int_equal(journal_with(0), -7);
    assert_int_equal(journal_with(4), -4);
    lowest = 0;
    assert_int_equal(journal_with(0), 0);
    lowest = 20; /* the usual one: nothing below what it has */
    assert_int_equal(journal_with(0), 0);
}

static void test_as_far_as_it_may(void **state)
{
    (void)state;
    if (!may_hurry() || getpriority(PRIO_PROCESS, 0) != 0)
        skip();
    in_child(be_limited);
}
#endif

static void be_nobody(void)
{
    assert_int_equal(chmod(ring_root, 0777), 0);
    assert_int_equal(setresuid(NOBODY, NOBODY, NOBODY), 0);
    store = "two"; /* the other one is root's */
    assert_true(journal_with(0) <= getpriority(PRIO_PROCESS, 0)); /* limits may be set here */
}

static void test_nobody_is_no_trouble(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    in_child(be_nobody);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_far_as_it_is_asked),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(test_as_far_as_it_may),
#endif
        cmocka_unit_test(test_nobody_is_no_trouble),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
