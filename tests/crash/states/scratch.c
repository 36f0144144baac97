/* scratch.c - directories come and go.
 *
 * Happy path: made at the start, cleared for each state, removed at the end. What a
 * killed run left is found by the process number in its name. One thread. */
#include "tests/crash/states/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char base[96];

static void join(char *below, const char *path, const char *name)
{
    if (snprintf(below, PATH_MAX, "%s/%s", path, name) >= PATH_MAX)
        abort();
}

/* The next name below the directory, or NULL. */
static const struct dirent *next_of(DIR *dir)
{
    struct dirent *e;
    while (dir && (e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            return e;
    return NULL;
}

void scratch_clear(const char *path)
{
    char below[PATH_MAX];
    DIR *dir = opendir(path);
    const struct dirent *e;
    while ((e = next_of(dir))) {
        join(below, path, e->d_name);
        if (e->d_type == DT_DIR) {
            scratch_clear(below);
            (void)rmdir(below);
        } else {
            (void)unlink(below);
        }
    }
    if (dir)
        (void)closedir(dir);
}

static void sync_one(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        abort();
    (void)close(fd);
}

void scratch_sync_tree(const char *path)
{
    char below[PATH_MAX];
    DIR *dir = opendir(path);
    const struct dirent *e;
    while ((e = next_of(dir))) {
        join(below, path, e->d_name);
        if (e->d_type == DT_DIR)
            scratch_sync_tree(below);
        else
            sync_one(below, O_RDONLY);
    }
    if (dir)
        (void)closedir(dir);
    sync_one(path, O_RDONLY | O_DIRECTORY);
}

static void sweep(const char *in, const char *prefix)
{
    char path[PATH_MAX];
    const struct dirent *e;
    size_t len = strlen(prefix);
    DIR *dir = opendir(in);
    while ((e = next_of(dir))) {
        long pid = strncmp(e->d_name, prefix, len) ? 0 : atol(e->d_name + len);
        if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        join(path, in, e->d_name);
        scratch_clear(path);
        (void)rmdir(path);
    }
    if (dir)
        (void)closedir(dir);
}

const char *scratch_make(const char *name)
{
    static const char *const in[] = { "/dev/shm", "/tmp" };
    char prefix[64];
    (void)snprintf(prefix, sizeof prefix, "holdfast-%s-", name);
    for (int i = 0; i < 2; i++)
        sweep(in[i], prefix);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(base, sizeof base, "%s/%s%ld", in[i], prefix, (long)getpid());
        if (mkdir(base, 0700) == 0)
            return base;
    }
    perror(base);
    exit(2);
}

void scratch_remove(void)
{
    scratch_clear(base);
    (void)rmdir(base);
}

double scratch_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
