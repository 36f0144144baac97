/* verdict.c - judge one crash state as the engine would meet it.
 *
 * Happy path: open, replay, start; what the store holds must be what the model held
 * after an operation that was begun, and not before one that was acknowledged. Then
 * it must be a store to work with: groups are appended, a message of before ends,
 * everything is folded, it is closed and opened again, and holds just that. One
 * thread. */
#include "tests/crash/states/verdict.h"

#include "tests/crash/states/crashdisk.h"

#include "recovery/replay.h"

#include "storage/error.h"
#include "storage/marker.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct judge {
    const question *q;
    char            path[PATH_MAX];
    hf_disk        *disk;
    hf_log         *log;
    content         found;
    uint64_t        sum; /* what must be there */
    uint64_t        chance;
} judge;

static char reason[1024];

HF_PRINTF(1, 2)
static const char *wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return reason;
}

static const char *wrong_error(const char *what, int err)
{
    return wrong("%s: %s (%s)", what, hf_strerror(err), hf_error_detail());
}

/* What the lock files hold after a crash means nothing, so anything must do: what a
 * state before left, nothing, garbage, or no file. */
static void litter(judge *j, const char *name, uint64_t dice)
{
    char path[PATH_MAX + 32], garbage[9000];
    size_t len = dice % 8 == 1 ? 0 : dice % 8 == 2 ? 7 : sizeof garbage;
    (void)snprintf(path, sizeof path, "%s/%s", j->path, name);
    if (dice % 8 == 0)
        (void)unlink(path);
    if (dice % 8 == 0 || dice % 8 > 3)
        return;
    for (size_t i = 0; i < len; i++)
        garbage[i] = (char)(dice >> (i % 57));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || (len && pwrite(fd, garbage, len, 0) < 0))
        abort();
    (void)close(fd);
}

static const char *open_store(judge *j)
{
    hf_disk_options disk = workload_disk(j->q->run->load);
    hf_log_options log = workload_log(j->q->run->load);
    int err = hf_disk_open(&j->disk, j->path, &disk);
    if (err)
        return wrong_error("it cannot be opened", err);
    err = hf_log_open(&j->log, j->disk, &log);
    if (!err)
        err = hf_replay(j->log);
    if (!err)
        err = hf_log_start(j->log);
    return err ? wrong_error("its log cannot be replayed", err) : NULL;
}

static const char *close_store(judge *j, bool clean)
{
    int err = hf_log_close(j->log, clean);
    j->log = NULL;
    hf_disk_close(j->disk);
    j->disk = NULL;
    return err ? wrong_error("it cannot be closed", err) : NULL;
}

static void print_nearest(judge *j)
{
    const crash_run *run = j->q->run;
    char *found = content_sorted(&j->found);
    uint64_t n = 0;
    for (uint64_t i = 0; i < run->moment_count; i++)
        if (run->moments[i].sum == j->found.sum)
            n = i + 1;
    if (n)
        printf("    it is the store after operation %" PRIu64 "\n", n - 1);
    for (uint64_t i = j->q->acked; !n && i <= j->q->begun; i++) {
        printf("  compared with operation %" PRIu64 ":\n", i);
        print_difference(run->moments[i].text, found);
    }
    free(found);
}

/* Whole groups: exactly what some allowed operation left. */
static const char *compare_moments(judge *j)
{
    int err = content_of_disk(&j->found, j->disk);
    if (err)
        return wrong_error("it cannot be read", err);
    for (uint64_t n = j->q->acked; n <= j->q->begun; n++)
        if (j->q->run->moments[n].sum == j->found.sum)
            return NULL;
    if (j->q->say)
        print_nearest(j);
    return wrong("it holds what was never there, or lacks what was acknowledged");
}

static const char *compare_sum(judge *j, const char *when)
{
    int err = content_of_disk(&j->found, j->disk);
    if (err)
        return wrong_error(when, err);
    return j->found.sum == j->sum ? NULL : wrong("%s it holds something else", when);
}

static bool waits(const judge *j, uint64_t id)
{
    for (size_t i = 0; i < j->found.count; i++)
        if (j->found.lines[i].table == HF_IN_INBOX && j->found.lines[i].id == id)
            return true;
    return false;
}

/* What the window in memory would deliver must be waiting. */
static const char *compare_window(judge *j)
{
    const hf_window *w = hf_log_window(j->log);
    for (uint32_t i = 0; i < w->count; i++) {
        const hf_record *r = hf_window_at(w, i);
        if (!r->data)
            continue;
        const uint8_t *at = r->data + hf_record_entries_at(r->runs), *end = r->data + r->size;
        for (uint32_t n = 0; n < r->count; n++) {
            hf_entry e;
            size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
            if (!size)
                return wrong("an entry of the window cannot be read");
            at += size;
            if (hf_entry_is_message(e.op) && !hf_record_is_done(r, n) && !waits(j, r->base + n))
                return wrong("message %" PRIu64 " would be delivered again", r->base + n);
        }
    }
    return NULL;
}

/* ---- Going on */

static hf_entry entry_for(const judge *j, uint8_t op, const char *to, const char *name)
{
    hf_entry e = { .op = op,
                   .to = to,
                   .to_len = (uint8_t)strlen(to),
                   .name = name,
                   .name_len = (uint8_t)strlen(name),
                   .error = "",
                   .from = "" };
    e.hash = hf_address_hash(hf_log_seed(j->log), to, e.to_len);
    return e;
}

static void expect_message(judge *j, hf_entry e, uint64_t id)
{
    content one = { .quiet = true };
    e.id = e.place = id;
    e.sent = workload_now();
    content_message(&one, HF_IN_INBOX, &e, content_hash(e.data.data, e.data.len));
    j->sum += one.sum;
    content_free(&one);
}

static void expect_state(judge *j, const hf_entry *e, uint64_t version)
{
    content one = { .quiet = true };
    content_state(&one, e->to, version, e->version, e->data.len,
                  content_hash(e->data.data, e->data.len));
    j->sum += one.sum;
    content_free(&one);
}

/* Two messages and a state of an actor that was not there before. */
static const char *append_new(judge *j)
{
    hf_segment sends = { .shard = 0 }, facts = { .shard = HF_FACTS };
    hf_group group = { 0 };
    uint64_t least = j->q->run->moments[j->q->acked].next;
    hf_entry a = entry_for(j, HF_OP_SEND, world_actors[0], "after");
    hf_entry b = entry_for(j, HF_OP_SEND, "after/crash", "after");
    hf_entry s = entry_for(j, HF_OP_SAVE, "after/crash", "");
    a.data = hf_str("still here");
    s.data = hf_str("an image");
    int err = hf_segment_add(&sends, &a);
    if (!err)
        err = hf_segment_add(&sends, &b);
    if (!err)
        err = hf_segment_add(&facts, &s);
    if (!err)
        err = hf_group_add(&group, &facts);
    if (!err)
        err = hf_group_add(&group, &sends);
    if (!err)
        err = hf_log_append(j->log, &group);
    if (!err) {
        expect_message(j, a, sends.base);
        expect_message(j, b, sends.base + 1);
        expect_state(j, &s, facts.base);
    }
    bool again = sends.base < least || facts.base < least;
    hf_segment_done(&sends);
    hf_segment_done(&facts);
    hf_group_free(&group);
    if (!err && again)
        return wrong("position %" PRIu64 " was given a second time", least - 1);
    return err ? wrong_error("nothing can be appended", err) : NULL;
}

typedef struct oldest {
    hf_entry message;
    char     to[HF_ADDRESS_MAX + 1];
} oldest;

static int take_first(void *user, const hf_entry *message)
{
    oldest *o = user;
    o->message = *message;
    (void)snprintf(o->to, sizeof o->to, "%s", message->to);
    return HF_PENDING; /* one is enough */
}

static bool find_waiting(judge *j, oldest *o)
{
    hf_view_of *view;
    if (hf_view_open(&view, j->disk))
        return false;
    o->to[0] = '\0';
    for (int i = 0; i < ACTORS && !o->to[0]; i++) {
        int actor = (int)((j->chance + (uint64_t)i) % ACTORS);
        (void)hf_view_inbox(view, world_actors[actor], 0, take_first, o);
    }
    hf_view_close(view);
    return o->to[0];
}

static bool has_steps(const judge *j, uint64_t id)
{
    for (size_t i = 0; i < j->found.count; i++)
        if (j->found.lines[i].table == HF_IN_STEPS && j->found.lines[i].id == id)
            return true;
    return false;
}

/* Does its SEND lie in the window, where the log can say DONE for it? */
static bool in_window(const judge *j, uint64_t id)
{
    const hf_record *r = hf_window_find(hf_log_window(j->log), id);
    return r && id >= hf_log_folded(j->log) && !hf_record_is_done(r, (uint32_t)(id - r->base));
}

/* A message that waited before the crash is done now, its steps with it. */
static const char *end_one(judge *j)
{
    oldest o;
    hf_segment facts = { .shard = HF_FACTS };
    hf_group group = { 0 };
    int err;

    if (!find_waiting(j, &o))
        return NULL;
    uint64_t id = o.message.id;
    for (size_t i = 0; i < j->found.count; i++)
        if (j->found.lines[i].id == id)
            j->sum -= j->found.lines[i].hash;
    if (in_window(j, id) && !has_steps(j, id)) {
        err = hf_group_done(&group, id, 1);
    } else {
        hf_entry ack = entry_for(j, HF_OP_ACK, o.to, "");
        ack.id = id;
        ack.place = o.message.place;
        ack.flags = HF_ENTRY_PURGES;
        err = hf_segment_add(&facts, &ack);
        if (!err)
            err = hf_group_add(&group, &facts);
        if (!err)
            err = hf_group_named(&group, id);
    }
    if (!err)
        err = hf_log_append(j->log, &group);
    hf_segment_done(&facts);
    hf_group_free(&group);
    return err ? wrong_error("a message cannot be ended", err) : NULL;
}

static const char *go_on(judge *j)
{
    j->sum = j->found.sum;
    const char *bad = end_one(j);
    if (!bad)
        bad = append_new(j);
    if (!bad)
        bad = compare_sum(j, "after going on");
    if (bad)
        return bad;
    int err = hf_log_fold_all(j->log);
    if (!err)
        err = content_tables_agree(j->disk);
    if (err)
        return wrong_error("it cannot be folded", err);
    bad = compare_sum(j, "after going on and folding");
    if (!bad)
        bad = close_store(j, j->chance & 1);
    if (!bad)
        bad = open_store(j);
    return bad ? bad : compare_sum(j, "after going on and opening it again");
}

static const char *judge_it(judge *j)
{
    const question *q = j->q;
    struct stat st;
    char marker[PATH_MAX + 32];

    (void)snprintf(marker, sizeof marker, "%s/" HF_MARKER_FILE, j->path);
    bool there = stat(marker, &st) == 0;
    if (!there && q->acked)
        return wrong("the store is not there");
    if (there) {
        litter(j, "lock.mdb", chance_next(&j->chance));
        litter(j, "holdfast.lock", chance_next(&j->chance));
    }
    const char *bad = open_store(j);
    if (bad)
        return bad;
    if (q->acked && memcmp(hf_disk_uuid(j->disk), q->run->uuid, sizeof q->run->uuid))
        return wrong("it is another store");
    bad = compare_moments(j);
    if (!bad)
        bad = compare_window(j);
    return bad || !q->go_on ? bad : go_on(j);
}

const char *verdict(const question *q)
{
    static judge j; /* its memory is used again */
    j.q = q;
    j.found.quiet = !q->say;
    j.chance = q->chance;
    (void)snprintf(j.path, sizeof j.path, "%s/store", q->root);
    const char *bad = judge_it(&j);
    (void)close_store(&j, false);
    return bad;
}
