/* marker.c - the marker file of a store: five lines of text.
 *
 *     holdfast store
 *     format 1
 *     uuid 0123456789abcdef0123456789abcdef
 *     seed 0123456789abcdef
 *     check 0123456789abcdef
 *
 * `check` is XXH3-64 of the lines above it; a marker without a seed is one, too. It is written
 * once, while the store is created, and never changed. The format line is read before the sum is
 * tested, so that a store of a later format is named as such whatever else its
 * marker has become.
 *
 * Any thread; no state. */
#include "storage/marker.h"

#include "storage/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define TITLE      "holdfast store\n"
#define MARKER_MAX 256

static void marker_path(char *path, size_t size, const char *directory)
{
    (void)snprintf(path, size, "%s/" HF_MARKER_FILE, directory);
}

/* All of the text up to the sum. */
static size_t marker_text(char *text, size_t size, const hf_marker *marker)
{
    int len = snprintf(text, size, TITLE "format %" PRIu32 "\nuuid ", marker->format);
    for (size_t i = 0; i < sizeof marker->uuid; i++)
        len += snprintf(text + len, size - (size_t)len, "%02x", marker->uuid[i]);
    len += snprintf(text + len, size - (size_t)len, "\n");
    if (marker->seed)
        len += snprintf(text + len, size - (size_t)len, "seed %016" PRIx64 "\n", marker->seed);
    return (size_t)len;
}

static size_t marker_sum(char *text, size_t size, size_t len)
{
    int more = snprintf(text + len, size - len, "check %016" PRIx64 "\n",
                        (uint64_t)XXH3_64bits(text, len));
    return len + (size_t)more;
}

int hf_marker_write(const char *directory, const hf_marker *marker)
{
    char path[PATH_MAX + 32], text[MARKER_MAX];

    marker_path(path, sizeof path, directory);
    size_t len = marker_sum(text, sizeof text, marker_text(text, sizeof text, marker));

    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int failed = fd < 0 ? errno : 0;
    if (!failed) {
        ssize_t put = pwrite(fd, text, len, 0);
        if (put < 0)
            failed = errno;
        else if ((size_t)put != len)
            failed = ENOSPC;
        else if (fsync(fd))
            failed = errno;
        (void)close(fd);
    }
    if (failed)
        return hf_error(failed == ENOSPC || failed == EDQUOT ? HF_EFULL : HF_EIO,
                        "cannot write %s: %s", path, strerror(failed));
    return HF_OK;
}

int hf_format_check(const char *directory, uint32_t format)
{
    if (format <= HF_FORMAT)
        return HF_OK;
    return hf_error(HF_EVERSION, "store %s has format %" PRIu32 ", this library knows format %d",
                    directory, format, HF_FORMAT);
}

static int marker_parse(const char *directory, const char *text, size_t len, hf_marker *marker)
{
    unsigned byte;
    char again[MARKER_MAX];

    if (sscanf(text, TITLE "format %" SCNu32 "\n", &marker->format) != 1)
        goto damaged;
    int err = hf_format_check(directory, marker->format);
    if (err)
        return err;
    const char *hex = strstr(text, "\nuuid ");
    if (!hex)
        goto damaged;
    hex += strlen("\nuuid ");
    for (size_t i = 0; i < sizeof marker->uuid; i++) {
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            goto damaged;
        marker->uuid[i] = (uint8_t)byte;
    }
    const char *seed = strstr(hex, "\nseed ");
    if (!seed || sscanf(seed, "\nseed %16" SCNx64, &marker->seed) != 1)
        marker->seed = 0;
    /* Exactly what we would have written, sum included. */
    size_t want = marker_sum(again, sizeof again, marker_text(again, sizeof again, marker));
    if (want == len && memcmp(again, text, len) == 0)
        return HF_OK;
damaged:
    return hf_error(HF_ECORRUPT, "%s/" HF_MARKER_FILE " is damaged; see holdfast salvage",
                    directory);
}

int hf_marker_read(const char *directory, hf_marker *marker)
{
    char path[PATH_MAX + 32], text[MARKER_MAX];

    marker_path(path, sizeof path, directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return hf_error(errno == ENOENT ? HF_ENOTFOUND : HF_EIO, "cannot open %s: %s", path,
                        strerror(errno));
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    int failed = errno;
    (void)close(fd);
    if (got < 0)
        return hf_error(HF_EIO, "cannot read %s: %s", path, strerror(failed));
    text[got] = '\0';
    return marker_parse(directory, text, (size_t)got, marker);
}
