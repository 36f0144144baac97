/* fuzz_marker.c - any bytes as the files `holdfast.id` and `last-stop` of a store.
 *
 * A marker that is accepted is, to the byte, what hf_marker_write makes of what was
 * read. A note of a stop is text that ends where it is told to, whatever lies there. */
#include "tests/fuzz/fuzz.h"

#include "storage/error.h"
#include "storage/laststop.h"
#include "storage/marker.h"
#include "tests/support/core.h"

#include <fcntl.h>
#include <unistd.h>

static const char *directory;
static char        file[600], stop[600];

static void remove_directory(void)
{
    core_remove(directory);
}

static void make_directory(void)
{
    directory = core_directory("fuzz-marker", true);
    (void)snprintf(file, sizeof file, "%s/" HF_MARKER_FILE, directory);
    (void)snprintf(stop, sizeof stop, "%s/last-stop", directory);
    (void)atexit(remove_directory);
}

static void put_file(const char *name, const uint8_t *data, size_t size)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)close(fd);
}

static void check_marker(const uint8_t *data, size_t size)
{
    hf_marker marker;
    uint8_t again[512];
    put_file(file, data, size);
    int err = hf_marker_read(directory, &marker);
    FUZZ_CHECK(err == HF_OK || err == HF_ECORRUPT || err == HF_EVERSION);
    if (err)
        return;
    FUZZ_CHECK(marker.format <= HF_FORMAT);
    FUZZ_CHECK(unlink(file) == 0 && hf_marker_write(directory, &marker) == HF_OK);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && read(fd, again, sizeof again) == (ssize_t)size);
    (void)close(fd);
    FUZZ_CHECK(memcmp(again, data, size) == 0);
    fuzz_flip(again, size, fuzz_number(data, size));
    put_file(file, again, size);
    FUZZ_CHECK(hf_marker_read(directory, &marker) != HF_OK);
}

static void check_stop(const uint8_t *data, size_t size)
{
    static const size_t rooms[] = { 1, 2, 17, 1024 };
    put_file(stop, data, size);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        char *text = malloc(rooms[i]);
        size_t most = size < rooms[i] - 1 ? size : rooms[i] - 1;
        FUZZ_CHECK(text && hf_laststop_read(directory, text, rooms[i]) == HF_OK);
        FUZZ_CHECK(text[most] == 0 && memcmp(text, data, most) == 0);
        free(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!directory)
        make_directory();
    check_marker(data, size);
    check_stop(data, size);
    return 0;
}
