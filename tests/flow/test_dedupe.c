/* test_dedupe.c - an actor takes one letter of an id in 24 hours: through the window, the
 * tables, a reopen and a kill; against 64 threads; in turns; and a day later again. */
#include "tests/support/ring.h"

#include "engine/engine.h"
#include "storage/clock.h"
#include "storage/memory.h"
#include "storage/view.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static atomic_int turns, dead_told;

static int count_turn(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static const hf_type TYPES[] = {
    { .name = "a", .handle = count_turn },
    { .name = "p", .handle = count_turn, .threads = 2 }, { 0 } };

static hf_engine *open_small(const char *name, const hf_type *types)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                                                   .window = 64 << 10, .store_max = 256 << 20)));
    return e;
}

static int send(hf_engine *e, const char *to, const char *word, const char *body, hf_receipt *r)
{
    return hf_mail(e, HF_LETTER(.to = to, .kind = "k", .body = hf_str(body), .dedupe = word), 1, r);
}

/* Push everything that lies in the window into the tables. */
static void flush_window(hf_engine *e)
{
    static char big[4000];
    for (int i = 0; i < 200; i++)
        ring_ok(hf_tell(e, "a/flush", "", hf_view(big, sizeof big)));
    ring_ok(hf_drain(e, 20000));
    for (int i = 0; i < 200; i++)
        ring_ok(hf_tell(e, "a/flush", "", hf_view(big, sizeof big)));
    ring_ok(hf_drain(e, 20000));
}

/* ---- One after another */

static void check_known(hf_engine *e, const char *to, const char *word, uint64_t first)
{
    hf_receipt r;
    atomic_store(&turns, 0);
    ring_ok(send(e, to, word, "one", &r));
    assert_int_equal(r.err, HF_EDUPLICATE);
    assert_int_equal(r.id, first);
    ring_err(send(e, to, word, "two", &r), HF_ECONFLICT);
    assert_non_null(strstr(hf_detail(), to));
    assert_non_null(strstr(hf_detail(), word));
    ring_err(hf_mail(e, HF_LETTER(.to = to, .kind = "other", .body = hf_str("one"),
                                  .dedupe = word), 1, &r), HF_ECONFLICT);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 0);
}

static void test_once(void **state)
{
    (void)state;
    hf_receipt r[2], other;
    hf_engine *e = open_small("once", TYPES);
    atomic_store(&turns, 0);
    ring_ok(send(e, "a/1", "w", "one", &r[0]));
    assert_int_equal(r[0].err, HF_OK);
    ring_ok(send(e, "p/1", "w", "one", &r[1]));
    ring_ok(send(e, "a/2", "w", "other actor, other letter", &other));
    assert_int_equal(other.err, HF_OK);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 3);
    check_known(e, "a/1", "w", r[0].id); /* in the window */
    flush_window(e);
    check_known(e, "a/1", "w", r[0].id); /* in the table */
    check_known(e, "p/1", "w", r[1].id);
    ring_ok(send(e, "a/1", "late", "one", &other));
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_close(e, HF_NEVER));
    e = open_small("once", TYPES); /* the window of an earlier run */
    check_known(e, "a/1", "late", other.id);
    check_known(e, "a/1", "w", r[0].id);
    flush_window(e);
    check_known(e, "a/1", "late", other.id);
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_arguments(void **state)
{
    (void)state;
    char word[129];
    hf_engine *e = open_small("arguments", TYPES);
    memset(word, 'x', 128);
    word[128] = 0;
    ring_err(send(e, "a/1", "", "", NULL), HF_EINVAL);
    ring_err(send(e, "a/1", word, "", NULL), HF_EINVAL);
    word[127] = 0;
    ring_ok(send(e, "a/1", word, "", NULL));
    hf_receipt r;
    ring_ok(send(e, "a/1", word, "", &r));
    assert_int_equal(r.err, HF_EDUPLICATE);
    ring_err(hf_mail(e, HF_LETTER(.to = "a/1", .dedupe = "j", .join = 1), 1, NULL), HF_EINVAL);
    ring_err(send(e, "@topic", "w", "", NULL), HF_EINVAL);
    ring_ok(hf_close(e, HF_NEVER));
}

/* A refused call takes nothing, and its ids stay free. */
static void test_whole_calls(void **state)
{
    (void)state;
    hf_receipt r[4];
    hf_engine *e = open_small("whole", TYPES);
    ring_ok(send(e, "a/1", "used", "one", NULL));
    ring_ok(hf_drain(e, 10000));
    atomic_store(&turns, 0);
    const hf_letter bad[] = {
        { .size = sizeof *bad, .to = "a/1", .dedupe = "free", .body = hf_str("x") },
        { .to = "a/2" },
        { .to = "a/1", .kind = "k", .dedupe = "used", .body = hf_str("two") } };
    ring_err(hf_mail(e, bad, 3, r), HF_ECONFLICT);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 0);
    const hf_letter good[] = {
        { .size = sizeof *good, .to = "a/1", .dedupe = "free", .body = hf_str("y") },
        { .to = "a/2" },
        { .to = "a/1", .dedupe = "free", .body = hf_str("y") },
        { .to = "a/1", .kind = "k", .dedupe = "used", .body = hf_str("one") } };
    ring_ok(hf_mail(e, good, 4, r));
    assert_int_equal(r[0].err, HF_OK);
    assert_int_equal(r[1].err, HF_OK);
    assert_int_equal(r[2].err, HF_EDUPLICATE);
    assert_int_equal(r[2].id, r[0].id);
    assert_int_equal(r[3].err, HF_EDUPLICATE);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 2);
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.accepted, 3);
    ring_ok(hf_close(e, HF_NEVER));
}

static hf_receipt posted_receipts[2];
static atomic_int posted_count;
static int posted_err;

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)user;
    posted_err = err;
    if (!err)
        memcpy(posted_receipts, receipts, count * sizeof *receipts);
    atomic_fetch_add(&posted_count, 1);
}

static void test_posted(void **state)
{
    (void)state;
    hf_engine *e = open_small("posted", TYPES);
    const hf_letter two[] = { { .size = sizeof *two, .to = "a/1", .dedupe = "1" },
                              { .to = "a/1", .dedupe = "1" } };
    atomic_store(&posted_count, 0);
    ring_ok(hf_post(e, two, 2, posted, NULL));
    ring_until(&posted_count, 1);
    assert_int_equal(posted_err, HF_OK);
    assert_int_equal(posted_receipts[0].err, HF_OK);
    assert_int_equal(posted_receipts[1].err, HF_EDUPLICATE);
    assert_int_equal(posted_receipts[0].id, posted_receipts[1].id);
    ring_ok(hf_post(e, HF_LETTER(.to = "a/1", .dedupe = "1", .kind = "else"), 1, posted, NULL));
    ring_until(&posted_count, 2);
    assert_int_equal(posted_err, HF_ECONFLICT);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- All at once */

enum { RACERS = 64, WORDS = 300 };
static hf_engine *raced;
static atomic_int first_ones[WORDS];
static _Atomic uint64_t race_ids[WORDS];
static atomic_int race_wrong;

static void *race(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < WORDS; i++) {
        int w = (int)((unsigned)i * 7 + seed * 13) % WORDS;
        char word[16], to[16];
        hf_receipt r = { 0 };
        uint64_t none = 0;
        (void)snprintf(word, sizeof word, "%d", w);
        (void)snprintf(to, sizeof to, "%s/%d", w % 3 ? "a" : "p", w % 5);
        int err = send(raced, to, word, word, &r);
        if (err || (r.err && r.err != HF_EDUPLICATE) || !r.id)
            atomic_fetch_add(&race_wrong, 1);
        if (!r.err)
            atomic_fetch_add(&first_ones[w], 1);
        if (!atomic_compare_exchange_strong(&race_ids[w], &none, r.id) && none != r.id)
            atomic_fetch_add(&race_wrong, 1);
    }
    return NULL;
}

static void test_race(void **state)
{
    pthread_t threads[RACERS];
    (void)state;
    raced = open_small("race", TYPES);
    atomic_store(&turns, 0);
    for (uintptr_t i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, (void *)i), 0);
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    ring_ok(hf_drain(raced, 20000));
    assert_int_equal(atomic_load(&race_wrong), 0);
    for (int i = 0; i < WORDS; i++)
        assert_int_equal(atomic_load(&first_ones[i]), 1);
    assert_int_equal(atomic_load(&turns), WORDS);
    ring_ok(hf_close(raced, HF_NEVER));
}

/* ---- In turns */

static int send_on(hf_turn *turn, const hf_message *msg)
{
    hf_send_letter(turn, HF_LETTER(.to = "a/in", .kind = "k", .body = msg->body, .dedupe = "same"));
    if (strcmp(msg->kind, "fails") == 0 && msg->attempt == 1)
        return hf_fail(turn, 1, "once");
    return HF_OK;
}

static int hear_death(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&dead_told, 1);
    return HF_OK;
}

static int find_dead(void *user, hf_bytes key, hf_bytes payload)
{
    hf_entry e;
    (void)key;
    if (payload.len > 8 && hf_entry_decode((const uint8_t *)payload.data + 8, payload.len - 8, &e)
        && e.err == HF_ECONFLICT && strcmp(e.to, "a/in") == 0 && strstr(e.error, "\"same\"")
        && !(e.flags & HF_ENTRY_CONFLICT))
        ++*(int *)user;
    return HF_OK;
}

static void test_turns(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = count_turn, .dead_to = "ear/1" },
        { .name = "s", .handle = send_on, .retry_ms = 1 },
        { .name = "t", .handle = send_on, .threads = 2, .retry_ms = 1 },
        { .name = "ear", .handle = hear_death }, { 0 } };
    (void)state;
    hf_engine *e = open_small("turns", types);
    atomic_store(&turns, 0);
    atomic_store(&dead_told, 0);
    ring_ok(hf_tell(e, "s/1", "fails", hf_str("one"))); /* what it staged first is gone */
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 1);
    ring_ok(hf_tell(e, "s/1", "", hf_str("one")));
    ring_ok(hf_tell(e, "t/1", "", hf_str("one")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 1);
    flush_window(e);
    atomic_store(&turns, 0);
    ring_ok(hf_tell(e, "t/1", "", hf_str("one")));
    ring_ok(hf_tell(e, "s/1", "", hf_str("two")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 0);
    assert_int_equal(atomic_load(&dead_told), 1);
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.dead, 1);
    assert_int_equal(stats.waiting, 0);
    /* the dead one did not take the id over */
    hf_receipt r;
    ring_ok(send(e, "a/in", "same", "one", &r));
    assert_int_equal(r.err, HF_EDUPLICATE);
    ring_ok(hf_close(e, HF_NEVER));
    int dead = 0;
    hf_disk *disk;
    hf_view_of *view;
    ring_ok(hf_disk_open(&disk, ring_path("turns"), &(hf_disk_options){ .flags = HF_LOOK }));
    ring_ok(hf_view_open(&view, disk));
    ring_ok(hf_view_walk(view, HF_IN_DEAD, hf_view(NULL, 0), find_dead, &dead));
    hf_view_close(view);
    hf_disk_close(disk);
    assert_int_equal(dead, 1);
}

/* ---- A day later */

static _Atomic uint64_t shifted_ms;

static uint64_t shifted_wall(void *user)
{
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 + atomic_load(&shifted_ms);
}

static uint64_t shifted_mono(void *user)
{
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return ((uint64_t)t.tv_sec * 1000 + atomic_load(&shifted_ms)) * 1000000 + (uint64_t)t.tv_nsec;
}

static int count_row(void *user, hf_bytes key, hf_bytes payload)
{
    (void)key;
    (void)payload;
    ++*(int *)user;
    return HF_OK;
}

static int rows_of_dedupe(const char *name)
{
    int rows = 0;
    hf_disk *disk;
    hf_view_of *view;
    ring_ok(hf_disk_open(&disk, ring_path(name), &(hf_disk_options){ .flags = HF_LOOK }));
    ring_ok(hf_view_open(&view, disk));
    ring_ok(hf_view_walk(view, HF_IN_DEDUPE, hf_view(NULL, 0), count_row, &rows));
    hf_view_close(view);
    hf_disk_close(disk);
    return rows;
}

static void test_a_day_later(void **state)
{
    static const hf_clock shifted = { shifted_wall, shifted_mono, NULL };
    enum { DAY = 24 * 3600 * 1000 };
    static const char zeros[60000];
    (void)state;
    hf_receipt first, r;
    hf_clock_use(&shifted);
    hf_engine *e = open_small("day", TYPES);
    ring_ok(send(e, "a/1", "table", "one", &first));
    flush_window(e);
    ring_ok(send(e, "a/1", "window", "one", NULL));
    atomic_store(&shifted_ms, DAY - 60000);
    ring_ok(send(e, "a/1", "table", "one", &r));
    assert_int_equal(r.err, HF_EDUPLICATE);
    assert_int_equal(r.id, first.id);
    ring_ok(send(e, "a/1", "window", "one", &r));
    assert_int_equal(r.err, HF_EDUPLICATE);
    ring_ok(send(e, "a/1", "young", "one", NULL));
    atomic_store(&shifted_ms, DAY);
    ring_ok(send(e, "a/1", "table", "two", &r));
    assert_int_equal(r.err, HF_OK);
    assert_int_not_equal(r.id, first.id);
    ring_ok(send(e, "a/1", "window", "two", &r));
    assert_int_equal(r.err, HF_OK);
    ring_ok(send(e, "a/1", "young", "one", &r));
    assert_int_equal(r.err, HF_EDUPLICATE);
    flush_window(e);
    ring_ok(send(e, "a/1", "table", "two", &r)); /* of the second one now */
    assert_int_equal(r.err, HF_EDUPLICATE);
    for (int i = 0; i < 50; i++) {
        char word[16];
        (void)snprintf(word, sizeof word, "old %d", i);
        ring_ok(send(e, "p/1", word, "", NULL));
    }
    ring_ok(hf_close(e, HF_NEVER));
    assert_int_equal(rows_of_dedupe("day"), 53);
    /* rows that are over go; the young one not yet */
    atomic_store(&shifted_ms, 2 * DAY - 30000);
    e = open_small("day", TYPES);
    int rows = 53;
    for (int i = 0; i < 100 && rows != 52; i++, usleep(100000))
        rows = i % 10 == 9 ? rows_of_dedupe("day") : rows;
    assert_int_equal(rows, 52);
    ring_ok(send(e, "a/1", "young", "two", &r)); /* swept, or over: free */
    assert_int_equal(r.err, HF_OK);
    ring_ok(hf_close(e, HF_NEVER));
    atomic_store(&shifted_ms, 3 * DAY);
    e = open_small("day", TYPES);
    for (int i = 0; i < 100 && rows; i++, usleep(100000)) {
        if (i % 10 == 9)
            rows = rows_of_dedupe("day");
        if (i % 10 == 8)
            ring_ok(hf_tell(e, "a/flush", "", hf_view(zeros, sizeof zeros)));
    }
    assert_int_equal(rows, 0);
    ring_ok(hf_close(e, HF_NEVER));
    hf_clock_use(NULL);
}

/* ---- Killed, and everything is sent again */

enum { KILLED_WORDS = 2000, KILLS = 14 };
typedef struct shared {
    atomic_int ready, done;
} shared;

/* state: a counter for each id */
static int tally(hf_turn *turn, const hf_message *msg)
{
    uint8_t *counts = hf_alloc(turn, KILLED_WORDS);
    hf_bytes old = hf_state(turn);
    if (!counts)
        return HF_ENOMEM;
    memset(counts, 0, KILLED_WORDS);
    if (old.len)
        memcpy(counts, old.data, old.len);
    int number = atoi(msg->kind);
    counts[number]++;
    hf_save(turn, hf_view(counts, KILLED_WORDS));
    return HF_OK;
}

static const hf_type TALLIES[] = { { .name = "a", .handle = tally, .strikes = HF_NEVER },
                                   { .name = "p", .handle = tally, .threads = 1,
                                     .strikes = HF_NEVER }, { 0 } };

static int resend(hf_engine *e, int number, hf_receipt *r)
{
    char word[16], to[8];
    (void)snprintf(word, sizeof word, "%d", number);
    (void)snprintf(to, sizeof to, "%s/%d", number % 4 ? "a" : "p", number % 3);
    return hf_mail(e, HF_LETTER(.to = to, .kind = word, .body = hf_str("same"), .dedupe = word), 1,
                   r);
}

static void *resend_all(void *arg)
{
    hf_engine *e = raced;
    for (int i = (int)(intptr_t)arg; i < KILLED_WORDS; i += 8)
        if (resend(e, i, NULL))
            _exit(3);
    return NULL;
}

static void child(const char *path, shared *s)
{
    pthread_t threads[8];
    hf_engine *e = NULL;
    if (hf_open(&e, path, HF_OPTIONS(.types = TALLIES, .shards = 2, .window = 64 << 10,
                                     .store_max = 256 << 20)))
        _exit(2);
    raced = e;
    atomic_store(&s->ready, 1);
    for (intptr_t i = 0; i < 8; i++)
        if (pthread_create(&threads[i], NULL, resend_all, (void *)i))
            _exit(4);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&s->done, 1);
    for (;;)
        pause();
}

static void check_tallies(void)
{
    hf_disk *disk;
    hf_view_of *view;
    static uint8_t sum[KILLED_WORDS];
    memset(sum, 0, sizeof sum);
    ring_ok(hf_disk_open(&disk, ring_path("killed"), &(hf_disk_options){ .flags = HF_LOOK }));
    ring_ok(hf_view_open(&view, disk));
    for (int i = 0; i < 6; i++) {
        char actor[8];
        hf_bytes image;
        uint64_t version;
        (void)snprintf(actor, sizeof actor, "%s/%d", i < 3 ? "a" : "p", i % 3);
        ring_ok(hf_view_state(view, actor, &image, &version));
        for (size_t n = 0; n < image.len; n++)
            sum[n] = (uint8_t)(sum[n] + ((const uint8_t *)image.data)[n]);
    }
    hf_view_close(view);
    hf_disk_close(disk);
    for (int n = 0; n < KILLED_WORDS; n++)
        assert_int_equal(sum[n], 1);
}

static void test_killed(void **state)
{
    (void)state;
    shared *s = ring_shared(sizeof *s);
    srandom((unsigned)time(NULL));
    for (int i = 0; i < KILLS; i++) {
        memset(s, 0, sizeof *s);
        pid_t pid = fork();
        if (!pid)
            child(ring_path("killed"), s);
        for (int n = 0; n < 10000 && !atomic_load(&s->ready); n++)
            usleep(1000);
        usleep((useconds_t)(random() % 120000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
    }
    hf_engine *e = open_small("killed", TALLIES);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < KILLED_WORDS; i++) {
            hf_receipt r;
            ring_ok(resend(e, i, &r));
            assert_true(round == 0 || r.err == HF_EDUPLICATE);
        }
    }
    ring_ok(hf_drain(e, 20000));
    ring_ok(hf_close(e, HF_NEVER));
    check_tallies();
    munmap(s, sizeof *s);
}

/* ---- What came of it is kept */

static void test_kept_reply(void **state)
{
    (void)state;
    hf_receipt r;
    hf_taken taken;
    uint8_t *reply;
    hf_engine *e = open_small("kept", TYPES);
    ring_ok(hf_tell(e, "a/1", "", hf_str(""))); /* the id below this */
    ring_ok(send(e, "a/1", "w", "one", &r));
    ring_err(hf_dedupe_find(e, "a/1", 3, "never", &taken, &reply), HF_ENOTFOUND);
    ring_ok(hf_dedupe_find(e, "a/1", 3, "w", &taken, &reply));
    assert_int_equal(taken.id, r.id);
    assert_true(taken.outcome == HF_TAKEN_OPEN || taken.outcome == HF_TAKEN_SILENT);
    hf_mem_free(reply);
    ring_ok(hf_drain(e, 10000));
    hf_entry m = { .to = "a/1", .to_len = 3, .hash = hf_address_hash(e->seed, "a/1", 3),
                   .name = "k", .name_len = 1, .data = hf_str("one"), .dedupe = "w",
                   .dedupe_len = 1, .id = r.id, .place = r.id, .sent = hf_clock_wall_ms() };
    hf_batch *batch = hf_batch_new(e);
    assert_non_null(batch);
    ring_ok(hf_dedupe_note_end(batch, &m, HF_TAKEN_REPLIED, hf_str("the reply")));
    ring_ok(hf_journal_wait(e, batch));
    hf_batch_free(batch);
    for (int i = 0; i < 3; i++) {
        ring_ok(hf_dedupe_find(e, "a/1", 3, "w", &taken, &reply));
        assert_int_equal(taken.id, r.id);
        assert_int_equal(taken.outcome, HF_TAKEN_REPLIED);
        assert_int_equal(taken.reply.len, 9);
        assert_memory_equal(taken.reply.data, "the reply", 9);
        hf_mem_free(reply);
        check_known(e, "a/1", "w", r.id);
        if (i == 0)
            flush_window(e);
        if (i == 1) {
            ring_ok(hf_close(e, HF_NEVER));
            e = open_small("kept", TYPES);
        }
    }
    /* of an older letter under the same id: too late */
    m.id = 1;
    m.sent = hf_clock_wall_ms() - 2 * HF_TAKEN_MS;
    batch = hf_batch_new(e);
    assert_non_null(batch);
    ring_ok(hf_dedupe_note_end(batch, &m, HF_TAKEN_DEAD, hf_view(NULL, 0)));
    ring_ok(hf_journal_wait(e, batch));
    hf_batch_free(batch);
    check_known(e, "a/1", "w", r.id);
    flush_window(e);
    check_known(e, "a/1", "w", r.id);
    ring_ok(hf_close(e, HF_NEVER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),         cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_whole_calls),  cmocka_unit_test(test_posted),
        cmocka_unit_test(test_race),         cmocka_unit_test(test_turns),
        cmocka_unit_test(test_a_day_later),  cmocka_unit_test(test_killed),
        cmocka_unit_test(test_kept_reply),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
