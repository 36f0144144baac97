/* orders_input.c - read what is there, tell it at once, in one commit.
 *
 * Happy path: read() gives a piece of the input; each whole line in it becomes a
 * letter; all letters of the piece are told with one hf_mail, so a pipe is
 * followed as it flows and a file costs a sync a piece, not a line.
 *
 * How it fails: a line that is no order is reported with its number and passed
 * over. When the engine has no room now, wait and try again; any other refusal
 * of a batch is tried line by line, to find whose fault it is. */
#include "examples/orders/orders_input.h"

#include "examples/orders/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, LINE_MOST = 64 * 1024, BATCH = 1000 };

typedef struct order_batch {
    hf_engine      *engine;
    orders_read    *result;
    size_t          count;
    char            to[BATCH][sizeof "order/" + ID_SIZE];
    size_t          ends[BATCH]; /* of each body */
    uint64_t        lines[BATCH];
    msgpack_sbuffer bodies;
} order_batch;

static void report(order_batch *batch, uint64_t line, const char *why)
{
    fprintf(stderr, "line %llu is not an order: %s\n", (unsigned long long)line, why);
    batch->result->wrong++;
}

/* ---- Telling */

/* All of these letters or none; waits while there is no room. */
static int mail(hf_engine *engine, const hf_letter *letters, size_t count)
{
    const struct timespec pause = { 0, 50 * 1000 * 1000 };
    int err;

    while ((err = hf_mail(engine, letters, count, NULL)) == HF_EAGAIN)
        nanosleep(&pause, NULL);
    return err;
}

static int batch_tell(order_batch *batch)
{
    hf_letter *letters = calloc(batch->count, sizeof *letters);
    size_t start = 0;
    int err;

    if (!letters)
        return HF_ENOMEM;
    for (size_t i = 0; i < batch->count; i++) {
        letters[i] = *HF_LETTER(.to = batch->to[i], .kind = "place",
            .body = hf_view(batch->bodies.data + start, batch->ends[i] - start));
        start = batch->ends[i];
    }
    err = mail(batch->engine, letters, batch->count);
    if (err == HF_OK)
        batch->result->told += batch->count;
    if (err == HF_EINVAL || err == HF_ETOOBIG) {
        err = HF_OK;
        for (size_t i = 0; i < batch->count && err == HF_OK; i++) {
            err = mail(batch->engine, &letters[i], 1);
            if (err == HF_OK)
                batch->result->told++;
            if (err == HF_EINVAL || err == HF_ETOOBIG) {
                report(batch, batch->lines[i], hf_detail());
                err = HF_OK;
            }
        }
    }
    free(letters);
    return err;
}

static int batch_flush(order_batch *batch)
{
    int err = batch->count ? batch_tell(batch) : HF_OK;

    batch->count = 0;
    msgpack_sbuffer_clear(&batch->bodies);
    return err;
}

static int batch_add(order_batch *batch, uint64_t line, const place_order *command)
{
    msgpack_packer packer;
    size_t i = batch->count++;

    snprintf(batch->to[i], sizeof batch->to[i], "order/%s", command->order);
    msgpack_packer_init(&packer, &batch->bodies, msgpack_sbuffer_write);
    command_pack(&packer, command);
    batch->ends[i] = batch->bodies.size;
    batch->lines[i] = line;
    return batch->count == BATCH ? batch_flush(batch) : HF_OK;
}

/* ---- Reading */

static bool blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

static int take_line(order_batch *batch, const char *line, size_t len)
{
    place_order command;
    char why[WHY_SIZE];

    batch->result->lines++;
    if (blank(line, len))
        return HF_OK;
    if (len > LINE_MOST) {
        report(batch, batch->result->lines, "it is longer than 64 KiB");
        return HF_OK;
    }
    if (command_parse(line, len, &command, why)) {
        report(batch, batch->result->lines, why);
        return HF_OK;
    }
    return batch_add(batch, batch->result->lines, &command);
}

/* Take the whole lines of `text`; returns how many bytes they are. */
static size_t take_lines(order_batch *batch, const char *text, size_t len, int *err)
{
    size_t at = 0;
    const char *end;

    while (*err == HF_OK && (end = memchr(text + at, '\n', len - at))) {
        *err = take_line(batch, text + at, (size_t)(end - (text + at)));
        at = (size_t)(end - text) + 1;
    }
    return at;
}

int orders_input_open(const char *path)
{
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fprintf(stderr, "orders: cannot read \"%s\": %s\n", path, strerror(errno));
    return fd;
}

static int tell_all(order_batch *batch, int fd, char *buffer, const volatile sig_atomic_t *stop)
{
    size_t len = 0;
    ssize_t got = 1;
    int err = HF_OK;

    while (got > 0 && err == HF_OK && !*stop) {
        got = read(fd, buffer + len, PIECE - len);
        if (got < 0 && errno == EINTR) {
            got = 1;
            continue;
        }
        if (got < 0) {
            fprintf(stderr, "orders: cannot read on: %s\n", strerror(errno));
            return HF_EIO;
        }
        len += (size_t)got;
        size_t used = take_lines(batch, buffer, len, &err);
        if (got == 0 && used < len && err == HF_OK) { /* the last line, without \n */
            err = take_line(batch, buffer + used, len - used);
            used = len;
        }
        len -= used;
        memmove(buffer, buffer + used, len);
        if (len > LINE_MOST && len == PIECE) /* its end will be in another piece */
            len = LINE_MOST + 1;
        if (err == HF_OK)
            err = batch_flush(batch);
    }
    return err;
}

int orders_input_tell(hf_engine *engine, int fd, const volatile sig_atomic_t *stop,
                      orders_read *result)
{
    order_batch *told = calloc(1, sizeof *told);
    char *buffer = malloc(PIECE);
    int err = HF_ENOMEM;

    memset(result, 0, sizeof *result);
    if (told && buffer) {
        told->engine = engine;
        told->result = result;
        msgpack_sbuffer_init(&told->bodies);
        err = tell_all(told, fd, buffer, stop);
        msgpack_sbuffer_destroy(&told->bodies);
    }
    free(told);
    free(buffer);
    close(fd);
    return err;
}
