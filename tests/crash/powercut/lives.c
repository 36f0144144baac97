/* lives.c - the processes that open the store.
 *
 * The one that works opens the store, makes it if need be, and tells numbers. As long
 * as the disk has power nothing may fail. The one that verifies works on a copy of
 * what survived; it ends by itself, or by SIGALRM if something hangs. The program is
 * linked with --wrap=hf_disk_open, so that a mutant can take LMDB's syncs away. */
#include "tests/crash/powercut/lives.h"

#include "storage/store.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

world *lives_world;

int __real_hf_disk_open(hf_disk **disk, const char *path, const hf_disk_options *options);
int __wrap_hf_disk_open(hf_disk **disk, const char *path, const hf_disk_options *options);

int __wrap_hf_disk_open(hf_disk **disk, const char *path, const hf_disk_options *options)
{
    hf_disk_options unsafe = *options;
    unsafe.lmdb_unsafe |= lives_world->lmdb_flags;
    return __real_hf_disk_open(disk, path, &unsafe);
}

static _Noreturn void work(const char *store)
{
    hf_engine *engine;
    if (numbers_open(&engine, store))
        _exit(0); /* a failure is in the book, if it was one */
    atomic_store(&lives_world->opened, true);
    atomic_store(&lives_world->working, true);
    numbers_send(engine);
    for (;;)
        pause();
}

static _Noreturn void verify(const char *store)
{
    hf_engine *engine;
    alarm(180);
    if (numbers_open(&engine, store) == HF_OK)
        numbers_end(engine);
    _exit(0);
}

static pid_t start(void (*run)(const char *), const char *store)
{
    pid_t parent = getpid(), child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            run(store);
        _exit(1);
    }
    return child;
}

pid_t lives_work(const char *store)
{
    return start(work, store);
}

pid_t lives_verify(const char *store)
{
    return start(verify, store);
}
