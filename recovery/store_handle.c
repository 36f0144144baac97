/* store_handle.c - a store opened for looking and changing, whoever has it.
 *
 * Happy path of a question: the engine that has the store answers through its
 * socket; if nobody has it, or it stays silent, the same question is answered
 * from disk. A change goes to the engine or, if nobody has the store, is made
 * under its lock. Nothing is kept open between two calls, so that an engine may
 * come at any time. One thread an hf_store. */
#include "recovery/arguments.h"
#include "recovery/change.h"
#include "recovery/control_client.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>

struct hf_store {
    char     path[PATH_MAX];
    uint32_t wait_ms;
    bool     waited; /* for an engine that did not come: not again */
    uint64_t hung_ms; /* until then an engine that was silent is not asked again */
    bool     busy;   /* in a callback */
};

static int look(hf_disk **disk, const char *path)
{
    hf_disk_options options = { .flags = HF_LOOK };
    return hf_disk_open(disk, path, &options);
}

int hf_store_open(hf_store **out, const char *path, uint32_t wait_ms)
{
    hf_disk *disk;
    hf_error_clear();
    if (!out || !path)
        return hf_error(HF_EINVAL, "hf_store_open without a path");
    int err = look(&disk, path);
    if (err)
        return err;
    hf_store *store = hf_mem_zero(1, sizeof *store);
    if (store) {
        (void)memcpy(store->path, hf_disk_path(disk), strlen(hf_disk_path(disk)) + 1);
        store->wait_ms = wait_ms;
        *out = store;
    }
    hf_disk_close(disk);
    return store ? HF_OK : hf_error(HF_ENOMEM, "%s", path);
}

void hf_store_close(hf_store *store)
{
    hf_mem_free(store);
}

enum { HUNG_MS = 30000 };

static uint64_t now_ms(void)
{
    return hf_clock_mono_ns() / 1000000;
}

static void nap(void)
{
    struct timespec pause = { 0, 20000000 };
    (void)nanosleep(&pause, NULL);
}

/* Try to reach an engine; while somebody has the lock and nobody listens, wait. */
static int reach(hf_store *store, int *fd, uint64_t *pid)
{
    uint64_t start = now_ms();
    for (;;) {
        int err = hf_control_connect(fd, store->path);
        bool locked = hf_control_locked(store->path, pid);
        if (err != HF_ENOTFOUND || !locked || store->waited)
            return err;
        if (store->wait_ms != HF_NEVER && now_ms() - start >= store->wait_ms) {
            store->waited = true;
            return err;
        }
        nap();
    }
}

static int enter(hf_store *store, const char *name)
{
    hf_error_clear();
    if (!store || !name)
        return hf_error(HF_EINVAL, "no store, or no name of a question or change");
    if (store->busy)
        return hf_error(HF_EDEADLOCK, "the store is being used by this callback's caller");
    store->busy = true;
    return HF_OK;
}

static int query_disk(hf_store *store, const char *question, hf_bytes arguments, uint64_t pid,
                      hf_row_fn each, void *user)
{
    hf_disk *disk;
    int err = look(&disk, store->path);
    if (err)
        return err;
    hf_inquiry inquiry = { .disk = disk, .source = pid ? "hung" : "disk", .pid = pid,
                           .each = each, .user = user };
    err = hf_inquire(&inquiry, question, arguments);
    hf_disk_close(disk);
    return err;
}

static int query(hf_store *store, const char *question, hf_bytes arguments, hf_row_fn each,
                 void *user)
{
    hf_control_call call = { .verb = "ask", .name = question, .arguments = arguments,
                             .silence_ms = HF_CONTROL_SILENCE_MS, .each = each, .user = user };
    uint64_t pid = 0;
    int fd;
    /* Twice: it may go away just when we come, and another one be there. */
    for (int attempt = 0; attempt < 2 && now_ms() >= store->hung_ms; attempt++) {
        int err = reach(store, &fd, &pid);
        if (err == HF_ENOTFOUND)
            break;
        if (!err)
            err = hf_control_ask(fd, &call);
        if (!err || call.ended || call.rows || (err != HF_ETIMEDOUT && err != HF_ECLOSED))
            return err;
        if (err == HF_ETIMEDOUT)
            store->hung_ms = now_ms() + HUNG_MS;
    }
    bool locked = hf_control_locked(store->path, &pid);
    return query_disk(store, question, arguments, locked ? pid ? pid : 1 : 0, each, user);
}

int hf_query(hf_store *store, const char *question, hf_bytes arguments, hf_row_fn each, void *user)
{
    int err = enter(store, question);
    if (err)
        return err;
    if (each)
        err = query(store, question, arguments, each, user);
    else
        err = hf_error(HF_EINVAL, "hf_query without a callback");
    store->busy = false;
    return err;
}

/* A pause may have to wait for turns: so long the engine may be silent. */
static uint32_t patience(const char *change, hf_bytes arguments)
{
    hf_argument args[] = { { .name = "what", .type = HF_ARG_TEXT },
                           { .name = "reason", .type = HF_ARG_TEXT },
                           { .name = "wait_ms", .type = HF_ARG_UINT } };
    if (strcmp(change, "pause") != 0 || hf_arguments_read("pause", arguments, args, 3))
        return HF_CONTROL_SILENCE_MS;
    uint64_t ms = args[2].number < INT_MAX ? args[2].number : INT_MAX;
    return HF_CONTROL_SILENCE_MS + (uint32_t)ms;
}

/* HF_EBUSY: neither engine nor lock. */
static int try_change(hf_store *store, hf_control_call *call, hf_row_fn done, void *user)
{
    hf_disk *disk;
    int fd, err = hf_control_connect(&fd, store->path);
    if (!err) {
        err = hf_control_ask(fd, call);
        if (!err || call->ended)
            return err;
        if (call->sent && (err == HF_ETIMEDOUT || err == HF_ECLOSED || err == HF_EIO
                           || err == HF_ENOMEM))
            return hf_error(HF_EUNKNOWN, err == HF_ETIMEDOUT ? "the engine does not answer"
                                         : err == HF_ENOMEM ? "no memory to read the answer"
                                         : "the engine went away before it answered");
        if (err != HF_ECLOSED)
            return err;
        return hf_error(HF_EBUSY, "the engine of %s hung up", store->path);
    }
    if (err != HF_ENOTFOUND)
        return err;
    /* An engine opens what is not there; this must not. */
    err = look(&disk, store->path);
    if (err)
        return err;
    hf_disk_close(disk);
    return hf_change_disk(store->path, call->name, call->arguments, done, user);
}

int hf_change(hf_store *store, const char *change, hf_bytes arguments, hf_row_fn done, void *user)
{
    int err = enter(store, change);
    if (err)
        return err;
    hf_control_call call = { .verb = "change", .name = change, .arguments = arguments,
                             .silence_ms = patience(change, arguments), .each = done,
                             .user = user };
    uint64_t start = now_ms();
    for (;;) {
        hf_error_clear();
        err = try_change(store, &call, done, user);
        bool late = store->wait_ms != HF_NEVER && now_ms() - start >= store->wait_ms;
        if (err != HF_EBUSY || call.ended || late)
            break;
        nap();
    }
    store->busy = false;
    return err;
}
