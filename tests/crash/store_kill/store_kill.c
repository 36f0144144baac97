/* store_kill.c - a writer is killed, again and again: what was acknowledged is there.
 *
 *     store_kill [KILLS [SEED]]        (a store in the working directory)
 *
 * The child appends groups whose content follows from their number, and writes the
 * number into a pipe when hf_log_append has returned. The parent kills it at a random
 * moment, opens the store and finds out which group was the last: it has to be the
 * last acknowledged one or, since the pipe is behind the disk, the one after it. Then
 * everything the store shows has to be what the groups up to that one leave. */
#include "tests/support/core.h"

#include "storage/error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    ACTORS = 12, /* each group sends to each of them, and saves every state */
    KEPT   = 40, /* a group's messages are done so many groups later */
    BODY   = 200
};

static const hf_log_options options = { .window = 64 << 10, .shards = 2 };

static const char *address(uint32_t actor)
{
    static char text[32];
    (void)snprintf(text, sizeof text, "%s/%u", actor % 3 ? "order" : "stock", actor);
    return text;
}

/* What group `number` says to the actor: its number, then bytes that follow. */
static hf_bytes body_of(uint64_t number, uint32_t actor)
{
    static uint8_t bytes[BODY * 2];
    uint64_t state = number * ACTORS + actor;
    uint32_t len = 8 + (uint32_t)(core_random(&state) % BODY);
    hf_put64(bytes, number);
    for (uint32_t i = 8; i < len; i++)
        bytes[i] = (uint8_t)core_random(&state);
    return hf_view(bytes, len);
}

/* ---- What the store says */

typedef struct inbox {
    uint64_t first, count; /* numbers of the groups whose messages wait */
    uint32_t actor;
    uint64_t ids[KEPT + 2];
} inbox;

static int take(void *user, const hf_entry *e)
{
    inbox *in = user;
    if (e->data.len < 8)
        core_fail("a message to %s is too short", e->to);
    uint64_t number = hf_get64(e->data.data);
    if (!in->count)
        in->first = number;
    if (number != in->first + in->count || in->count == KEPT + 1)
        core_fail("%s: message of group %llu after %llu", e->to, (unsigned long long)number,
                  (unsigned long long)(in->first + in->count - 1));
    hf_bytes want = body_of(number, in->actor);
    if (want.len != e->data.len || memcmp(want.data, e->data.data, want.len) != 0)
        core_fail("%s: message of group %llu is damaged", e->to, (unsigned long long)number);
    in->ids[in->count++] = e->id;
    return HF_OK;
}

/* The number of the last group, by the first actor's state; 0: none. */
static uint64_t state_of(hf_view_of *view, uint32_t actor)
{
    hf_bytes image;
    uint64_t version;
    int err = hf_view_state(view, address(actor), &image, &version);
    if (err == HF_ENOTFOUND)
        return 0;
    CORE_OK(err);
    uint64_t number = hf_get64(image.data);
    hf_bytes want = body_of(number, actor);
    if (want.len != image.len || memcmp(want.data, image.data, want.len) != 0)
        core_fail("state of %s is damaged", address(actor));
    return number;
}

/* All of group `last` and before, and nothing after. Fills `boxes` if not NULL. */
static uint64_t verify(core *c, inbox *boxes)
{
    hf_view_of *view;
    CORE_OK(hf_view_open(&view, c->disk));
    uint64_t last = state_of(view, 0);
    for (uint32_t actor = 0; actor < ACTORS; actor++) {
        inbox in = { .actor = actor };
        if (state_of(view, actor) != last)
            core_fail("torn: %s is at group %llu, not %llu", address(actor),
                      (unsigned long long)state_of(view, actor), (unsigned long long)last);
        CORE_OK(hf_view_inbox(view, address(actor), 0, take, &in));
        uint64_t want = last < KEPT ? last : KEPT;
        if (in.count != want || (want && in.first != last - want + 1))
            core_fail("%s: %llu messages from group %llu wait after group %llu", address(actor),
                      (unsigned long long)in.count, (unsigned long long)in.first,
                      (unsigned long long)last);
        if (boxes)
            boxes[actor] = in;
    }
    hf_view_close(view);
    return last;
}

/* ---- The writer */

typedef struct writer {
    core       core;
    inbox      boxes[ACTORS]; /* what waits, oldest first */
    hf_segment sends[2][2], facts;
    hf_group   group;
} writer;

static hf_segment *shard_of(writer *w, const hf_entry *e, uint64_t number)
{
    hf_segment *s = &w->sends[hf_address_shard(e->hash, 2)][number & 1];
    s->shard = hf_address_shard(e->hash, 2);
    return s;
}

/* The message is over: by its id while it lies in the log, else by its name. */
static void end(writer *w, uint32_t actor, uint64_t id)
{
    if (id >= hf_log_folded(w->core.log)) {
        CORE_OK(hf_group_done(&w->group, id, 1));
        return;
    }
    hf_entry e = core_entry(w->core.log, HF_OP_ACK, address(actor));
    e.id = e.place = id;
    CORE_OK(hf_segment_add(&w->facts, &e));
    CORE_OK(hf_group_named(&w->group, id));
}

static void append(writer *w, uint64_t number)
{
    hf_segment *where[ACTORS];
    uint32_t index[ACTORS];
    w->facts = (hf_segment){ .shard = HF_FACTS };
    memset(w->sends, 0, sizeof w->sends);
    hf_group_clear(&w->group);
    for (uint32_t actor = 0; actor < ACTORS; actor++) {
        hf_entry e = core_entry(w->core.log, HF_OP_SEND, address(actor));
        e.data = body_of(number, actor);
        where[actor] = shard_of(w, &e, number + actor);
        index[actor] = where[actor]->count;
        CORE_OK(hf_segment_add(where[actor], &e));
        e.op = HF_OP_SAVE;
        CORE_OK(hf_segment_add(&w->facts, &e));
        if (w->boxes[actor].count == KEPT)
            end(w, actor, w->boxes[actor].ids[0]);
    }
    for (int i = 0; i < 4; i++)
        if (w->sends[i & 1][i >> 1].count)
            CORE_OK(hf_group_add(&w->group, &w->sends[i & 1][i >> 1]));
    CORE_OK(hf_group_add(&w->group, &w->facts));
    CORE_OK(hf_log_append(w->core.log, &w->group));
    for (uint32_t actor = 0; actor < ACTORS; actor++) {
        inbox *in = &w->boxes[actor];
        if (in->count == KEPT)
            memmove(in->ids, in->ids + 1, --in->count * sizeof *in->ids);
        in->ids[in->count++] = where[actor]->base + index[actor];
    }
    for (int i = 0; i < 4; i++)
        hf_segment_done(&w->sends[i & 1][i >> 1]);
    hf_segment_done(&w->facts);
}

_Noreturn static void write_on(const char *path, int acks)
{
    static writer w;
    core_open(&w.core, path, NULL, &options);
    for (uint64_t number = verify(&w.core, w.boxes) + 1;; number++) {
        append(&w, number);
        if (write(acks, &number, sizeof number) != sizeof number)
            _exit(3);
        if (number % 7 == 0)
            CORE_OK(hf_log_fold(w.core.log, 2000));
    }
}

/* ---- The killer */

static uint64_t read_acks(int acks, uint64_t last)
{
    uint64_t number;
    ssize_t got;
    while ((got = read(acks, &number, sizeof number)) == sizeof number) {
        if (number != last + 1)
            core_fail("group %llu is acknowledged after %llu", (unsigned long long)number,
                      (unsigned long long)last);
        last = number;
    }
    return last;
}

/* Run a writer for a while, kill it. Returns the last group it acknowledged. */
static uint64_t kill_one(const char *path, uint64_t last, long microseconds)
{
    int acks[2], status;
    if (pipe(acks) || fcntl(acks[1], F_SETPIPE_SZ, 1 << 20) < 0)
        core_fail("no pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0)
        core_fail("no process: %s", strerror(errno));
    if (!child) {
        (void)close(acks[0]);
        write_on(path, acks[1]);
    }
    (void)close(acks[1]);
    struct timespec pause = { 0, microseconds * 1000 };
    (void)nanosleep(&pause, NULL);
    (void)kill(child, SIGKILL);
    last = read_acks(acks[0], last);
    (void)close(acks[0]);
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status)
        || WTERMSIG(status) != SIGKILL)
        core_fail("the writer ended by itself");
    return last;
}

int main(int count, char **values)
{
    long kills = count > 1 ? strtol(values[1], NULL, 0) : 30;
    uint64_t seed = count > 2 ? strtoull(values[2], NULL, 0) : (uint64_t)time(NULL);
    const char *directory = core_directory("kill", false);
    char path[512];
    uint64_t last = 0, ahead = 0, random = seed, folds = 0;
    (void)snprintf(path, sizeof path, "%s/store", directory);
    printf("seed %llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    /* More of them, and later, on a machine so busy that none of that came to a fold. */
    for (long i = 0; i < kills || ((!last || !folds) && i < kills + 100); i++) {
        core c;
        long later = i < kills ? 0 : (i - kills + 1) * 10000;
        uint64_t acked = kill_one(path, last, later + (long)(core_random(&random) % 60000));
        core_open(&c, path, NULL, &options);
        folds += hf_log_folded(c.log) > 1;
        last = verify(&c, NULL);
        if (last != acked && last != acked + 1)
            core_fail("kill %ld: group %llu was acknowledged, %llu is the last one there", i,
                      (unsigned long long)acked, (unsigned long long)last);
        ahead += last != acked;
        core_close(&c, (core_random(&random) & 7) == 0);
    }
    core_remove(directory);
    if (!last || !folds)
        core_fail("nothing was written");
    printf("%ld kills, %llu groups, %llu committed but not yet acknowledged: 0 bad\n", kills,
           (unsigned long long)last, (unsigned long long)ahead);
    return 0;
}
