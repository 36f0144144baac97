/* laststop.c - a note for whoever looks at a store whose engine stopped by itself.
 *
 * Three lines: time and process, code, text. Written beside and renamed, so that a
 * reader sees a whole note or none; synced as well as may be. The disk may be full
 * or broken at that moment, so every failure is passed over. Any thread. */
#include "storage/laststop.h"

#include "storage/clock.h"
#include "storage/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define STOP_FILE "last-stop"

static const char *code_name(int err)
{
    switch (err) {
#define NAME(name, code, text) \
    case name:                 \
        return #name;
        HF_ERRORS(NAME)
#undef NAME
    default:
        return "stopped";
    }
}

void hf_laststop_write(const char *directory, int err, const char *text)
{
    char path[PATH_MAX + 32], fresh[PATH_MAX + 32], note[1024], when[32];
    uint64_t now = hf_clock_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm utc;

    if (!gmtime_r(&seconds, &utc) || !strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc))
        (void)snprintf(when, sizeof when, "%" PRIu64, now / 1000);
    int len = snprintf(note, sizeof note, "%s.%03uZ process %ld\n%s: %s\n%s\n", when,
                       (unsigned)(now % 1000), (long)getpid(), code_name(err), hf_strerror(err),
                       text ? text : "");
    size_t size = len < 0 ? 0 : (size_t)len < sizeof note ? (size_t)len : sizeof note - 1;

    (void)snprintf(path, sizeof path, "%s/" STOP_FILE, directory);
    (void)snprintf(fresh, sizeof fresh, "%s/" STOP_FILE ".new", directory);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    bool whole = pwrite(fd, note, size, 0) == (ssize_t)size;
    (void)fsync(fd);
    (void)close(fd);
    if (!whole || rename(fresh, path)) {
        (void)unlink(fresh);
        return;
    }
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

int hf_laststop_read(const char *directory, char *text, size_t size)
{
    char path[PATH_MAX + 32];

    (void)snprintf(path, sizeof path, "%s/" STOP_FILE, directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? HF_ENOTFOUND
                               : hf_error(HF_EIO, "cannot open %s: %s", path, strerror(errno));
    ssize_t got = size ? pread(fd, text, size - 1, 0) : 0;
    int failed = errno;
    (void)close(fd);
    if (got < 0)
        return hf_error(HF_EIO, "cannot read %s: %s", path, strerror(failed));
    if (size)
        text[got] = '\0';
    return HF_OK;
}

void hf_laststop_remove(const char *directory)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/" STOP_FILE, directory);
    (void)unlink(path);
}
