/* store_bench - what the store alone can do: no threads of an engine, no turns.
 *
 *   store_bench [--json] [--store DIR] [--seconds S] [--messages N] [--actors N]
 *               [--window MIB] [--only NAME]     NAME: disk append_1 append_100
 *               append_10000 saves file
 *
 * disk    a bare LMDB commit of one small record, a bare 4 KiB overwrite and
 *         fdatasync, and as many bytes as a group of 10,000 messages has: what the
 *         machine gives, to compare the rest with
 * append  groups of 1, 100, 10,000 messages of 100 bytes to 1,000 actors, each
 *         group synced; that they are done travels with the next group. Timed
 *         with segments that are ready, and encoding them each time
 * saves   groups of 10,000 states of 64 bytes of actors at random, encoded each
 *         time, after every actor was saved and folded once; rows_per_save says
 *         how many rows the folds wrote meanwhile
 * file    how large the data file is when N messages were sent and done
 *
 * Each begins with an empty store, whose survivors a second thread collects, as
 * in an engine; afterwards the store is read back and compared. Anonymous memory
 * is sampled all the while. It ends with 1 if anything failed. */
#include "recovery/replay.h"
#include "storage/clock.h"
#include "storage/view.h"
#include "tests/bench/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BODY = 100,
    STATE = 64,
    TALKERS = 1000,
    LARGE = 10000, /* in the largest groups */
    SEGMENTS = 64,
};

static struct {
    const char *store, *only;
    double      seconds;
    uint64_t    messages, actors, window;
} option = { .store = ".", .seconds = 3, .messages = 100000000, .actors = 1000000,
             .window = 128 << 20 };

/* ---- Stores */

static uint64_t file_bytes(void)
{
    struct stat st;
    if (stat(path_in("store.hf/data.mdb"), &st))
        fail("no data file");
    return (uint64_t)st.st_size;
}

typedef struct store {
    hf_disk *disk;
    hf_log  *log;
} store;

static void store_open(store *s)
{
    hf_log_options options = { .window = option.window, .past = true, .offload = aside_give };
    must(hf_disk_open(&s->disk, path_in("store.hf"), NULL), "open");
    must(hf_log_open(&s->log, s->disk, &options), "open the log");
    must(hf_replay(s->log), "replay");
    must(hf_log_start(s->log), "start the log");
}

static void store_close(store *s)
{
    aside_wait();
    must(hf_log_close(s->log, true), "close the log");
    hf_disk_close(s->disk);
}

static void store_empty(store *s)
{
    remove_tree(path_in("store.hf"));
    store_open(s);
}

/* ---- Groups */

typedef struct batch {
    hf_segment segments[SEGMENTS];
    uint32_t   used, entries;
    hf_group   group;
} batch;

static void batch_clear(batch *b, uint32_t shard)
{
    hf_group_clear(&b->group);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        hf_segment *s = &b->segments[i];
        s->len = s->count = s->messages = s->keeps = 0;
        s->shard = shard;
    }
    b->used = 1;
    b->entries = 0;
}

static void batch_add(batch *b, const hf_entry *entry)
{
    hf_segment *s = &b->segments[b->used - 1];
    if (s->len > HF_SEGMENT_MAX - 512) {
        if (b->used == SEGMENTS)
            fail("too many segments");
        s = &b->segments[b->used++];
    }
    must(hf_segment_add(s, entry), "add an entry");
    b->entries++;
}

static void batch_append(batch *b, hf_log *log)
{
    for (uint32_t i = 0; i < b->used; i++)
        must(hf_group_add(&b->group, &b->segments[i]), "make a group");
    must(hf_log_append(log, &b->group), "append");
}

/* An engine lets those outside wait when the window outgrows its budget by far. */
static void give_way(hf_log *log)
{
    hf_log_stats stats;
    hf_log_stat(log, &stats);
    if (stats.bytes < stats.limit)
        return;
    aside_wait();
    while (stats.folding && stats.bytes > stats.limit) {
        must(hf_log_fold(log, 1 << 20), "fold");
        hf_log_stat(log, &stats);
    }
}

static void batch_done(batch *b)
{
    hf_group_free(&b->group);
    for (uint32_t i = 0; i < SEGMENTS; i++)
        hf_segment_done(&b->segments[i]);
}

/* ---- append */

typedef struct talker {
    char     to[32];
    uint8_t  len;
    uint64_t hash;
} talker;

static talker *make_actors(const hf_log *log, const char *type, uint64_t count)
{
    talker *all = malloc(count * sizeof *all);
    if (!all)
        fail("out of memory");
    for (uint64_t i = 0; i < count; i++) {
        talker *t = &all[i];
        t->len = (uint8_t)snprintf(t->to, sizeof t->to, "%s/%03llu", type, (unsigned long long)i);
        t->hash = hf_address_hash(hf_log_seed(log), t->to, t->len);
    }
    return all;
}

static void encode_messages(batch *b, const talker *talkers, uint32_t count)
{
    static const char body[BODY] = "a message of one hundred bytes";
    hf_entry e = { .op = HF_OP_SEND, .name = "", .error = "", .from = "" };
    e.data = hf_view(body, sizeof body);
    batch_clear(b, 0);
    for (uint32_t i = 0; i < count; i++) {
        const talker *t = &talkers[i % TALKERS];
        e.to = t->to;
        e.to_len = t->len;
        e.hash = t->hash;
        batch_add(b, &e);
    }
}

typedef struct append_run {
    uint32_t size; /* of a group */
    bool     encode;
    uint64_t limit; /* messages; 0: option.seconds */
    uint64_t messages, ns, cpu, waiting; /* waiting: the last group's first id */
    timing   commits;
} append_run;

static void append_for(append_run *run, hf_log *log)
{
    static batch b;
    talker *talkers = make_actors(log, "bench", TALKERS);
    uint64_t limit_ns = run->limit ? UINT64_MAX : (uint64_t)(option.seconds * 1e9), now, start;
    encode_messages(&b, talkers, run->size);
    atomic_store(&sampling, true);
    run->cpu = cpu_ns();
    start = now = hf_clock_mono_ns();
    while (now - start < limit_ns && (!run->limit || run->messages < run->limit)) {
        if (run->encode)
            encode_messages(&b, talkers, run->size);
        hf_group_clear(&b.group);
        if (run->messages)
            must(hf_group_done(&b.group, run->waiting, run->size), "note what is done");
        uint64_t began = hf_clock_mono_ns();
        batch_append(&b, log);
        now = hf_clock_mono_ns();
        timing_add(&run->commits, now - began);
        run->waiting = b.segments[0].base;
        run->messages += run->size;
        give_way(log);
    }
    run->ns = now - start;
    run->cpu = cpu_ns() - run->cpu;
    atomic_store(&sampling, false);
    batch_done(&b);
    free(talkers);
}

typedef struct inbox {
    uint64_t count, first;
} inbox;

static int count_waiting(void *user, hf_bytes key, hf_bytes payload)
{
    inbox *in = user;
    uint64_t id = hf_get64_key((const uint8_t *)key.data + key.len - 8);
    if (payload.len < BODY)
        return HF_ECORRUPT;
    in->first = in->count && in->first < id ? in->first : id;
    in->count++;
    return HF_OK;
}

/* What waits must be the last group, before and after a fold of everything. */
static void check_waiting(store *s, const append_run *run)
{
    for (int folded = 0; folded < 2; folded++) {
        hf_view_of *view;
        inbox in = { 0 };
        must(hf_view_open(&view, s->disk), "look at the store");
        must(hf_view_walk(view, HF_IN_INBOX, hf_view("", 0), count_waiting, &in), "walk the inbox");
        hf_view_close(view);
        if (in.count != run->size || in.first != run->waiting)
            fail("%llu messages from %llu wait, not %u from %llu", (unsigned long long)in.count,
                 (unsigned long long)in.first, run->size, (unsigned long long)run->waiting);
        must(hf_log_fold_all(s->log), "fold all");
    }
}

static void bench_append(uint32_t size)
{
    for (int encode = 0; encode < 2; encode++) {
        const char *kind = encode ? "encode_append" : "append";
        append_run run = { .size = size, .encode = encode };
        store s;
        store_empty(&s);
        append_for(&run, s.log);
        report((double)run.messages / ((double)run.ns / 1e9), "%s_%u_per_s", kind, size);
        report((double)run.cpu / 1000 / (double)run.commits.count, "%s_%u_commit_cpu_us", kind,
               size);
        report(percentile(&run.commits, 0.5), "%s_%u_commit_p50_us", kind, size);
        report(percentile(&run.commits, 0.99), "%s_%u_commit_p99_us", kind, size);
        timing_done(&run.commits);
        store_close(&s);
        store_open(&s);
        check_waiting(&s, &run);
        store_close(&s);
    }
}

static void bench_file(uint32_t size)
{
    append_run run = { .size = size, .limit = option.messages };
    store s;
    store_empty(&s);
    append_for(&run, s.log);
    report_anon("file", option.window);
    report((double)run.messages, "file_messages");
    report((double)run.messages / ((double)run.ns / 1e9), "file_append_per_s");
    report((double)file_bytes(), "file_bytes");
    report((double)file_bytes() / (double)option.window, "file_windows");
    timing_done(&run.commits);
    store_close(&s);
    store_open(&s);
    check_waiting(&s, &run);
    store_close(&s);
}

/* ---- saves */

static uint64_t chance(void) /* xorshift: the same each run */
{
    static uint64_t x = 0x9e3779b97f4a7c15;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

/* The actors' addresses are made anew each time, like in a program that knows its
 * actors by number; what each was saved with last is remembered to check. Round 0
 * saves them in order from `first` on, every later one at random. */
static void encode_saves(batch *b, uint64_t seed, uint32_t first, uint32_t *last, uint32_t round)
{
    static uint32_t drawn[LARGE];
    uint8_t image[STATE] = { 0 };
    char to[] = "bench/0000000";
    hf_entry e = { .op = HF_OP_SAVE, .to = to, .to_len = sizeof to - 1,
                   .name = "", .error = "", .from = "", .data = hf_view(image, STATE) };
    for (uint32_t i = 0; i < LARGE; i++) {
        drawn[i] = round ? (uint32_t)((chance() >> 32) * option.actors >> 32) : first + i;
        __builtin_prefetch(&last[drawn[i]], 1);
    }
    batch_clear(b, HF_FACTS);
    for (uint32_t i = 0; i < LARGE; i++) {
        uint32_t actor = drawn[i], n = actor;
        for (size_t at = sizeof to - 2; to[at] != '/'; at--, n /= 10)
            to[at] = (char)('0' + n % 10);
        e.hash = hf_address_hash(seed, to, e.to_len);
        hf_put64(image, actor);
        hf_put64(image + 8, last[actor] = round);
        batch_add(b, &e);
    }
}

typedef struct image_check {
    uint32_t *last;
    uint64_t  rows;
} image_check;

static int check_image(void *user, hf_bytes key, hf_bytes payload)
{
    image_check *check = user;
    const uint8_t *image = (const uint8_t *)payload.data + 8;
    (void)key;
    if (payload.len != 8 + STATE)
        return hf_error(HF_ECORRUPT, "an image of %zu bytes", payload.len);
    uint64_t actor = hf_get64(image);
    if (actor >= option.actors || hf_get64(image + 8) != check->last[actor])
        return hf_error(HF_ECORRUPT, "actor %llu is not as saved", (unsigned long long)actor);
    check->rows++;
    return HF_OK;
}

static void check_states(store *s, uint32_t *last)
{
    for (int folded = 0; folded < 2; folded++) {
        hf_view_of *view;
        image_check check = { .last = last };
        must(hf_view_open(&view, s->disk), "look at the store");
        must(hf_view_walk(view, HF_IN_STATE, hf_view("", 0), check_image, &check), "walk states");
        hf_view_close(view);
        if (check.rows != option.actors)
            fail("%llu states, not %llu", (unsigned long long)check.rows,
                 (unsigned long long)option.actors);
        must(hf_log_fold_all(s->log), "fold all");
        aside_wait();
    }
}

/* One group at random; the time its append took. */
static uint64_t save_group(batch *b, hf_log *log, uint32_t *last, uint32_t round)
{
    encode_saves(b, hf_log_seed(log), 0, last, round);
    uint64_t began = hf_clock_mono_ns();
    batch_append(b, log);
    return hf_clock_mono_ns() - began;
}

/* Every actor once, and on until the first fold is through. Returns the last round. */
static uint32_t save_all(batch *b, hf_log *log, uint32_t *last)
{
    hf_log_stats stats;
    uint32_t round = 0;
    for (uint32_t first = 0; first < option.actors; first += LARGE) {
        encode_saves(b, hf_log_seed(log), first, last, 0);
        batch_append(b, log);
    }
    do {
        (void)save_group(b, log, last, ++round);
        give_way(log);
        hf_log_stat(log, &stats);
    } while (!stats.folds);
    return round;
}

typedef struct save_run {
    uint64_t saves, ns, encode_ns, cpu;
    timing   commits;
} save_run;

static void saves_for(save_run *run, batch *b, hf_log *log, uint32_t *last, uint32_t round)
{
    uint64_t limit = (uint64_t)(option.seconds * 2e9), start = hf_clock_mono_ns(), now = start;
    run->cpu = cpu_ns();
    while (now - start < limit) {
        uint64_t began = now, spent = save_group(b, log, last, ++round);
        run->encode_ns += hf_clock_mono_ns() - began - spent;
        timing_add(&run->commits, spent);
        run->saves += LARGE;
        give_way(log);
        now = hf_clock_mono_ns();
    }
    run->ns = now - start;
    run->cpu = cpu_ns() - run->cpu;
}

static void report_saves(save_run *run, const hf_log_stats *before, const hf_log_stats *after)
{
    double saves = (double)run->saves;
    report(saves / ((double)(run->ns - run->encode_ns) / 1e9), "saves_per_s");
    report(saves / ((double)run->ns / 1e9), "encode_saves_per_s");
    report((double)run->cpu / 1000 / (double)run->commits.count, "saves_commit_cpu_us");
    report(percentile(&run->commits, 0.5), "saves_commit_p50_us");
    report(percentile(&run->commits, 0.99), "saves_commit_p99_us");
    report(percentile(&run->commits, 1), "saves_commit_max_us");
    report((double)(after->folds - before->folds), "saves_folds");
    report((double)(after->rows - before->rows) / saves, "saves_rows_per_save");
    report((double)file_bytes() / (double)option.window, "saves_file_windows");
}

static void bench_saves(uint32_t size)
{
    static batch b;
    store s;
    save_run run = { 0 };
    hf_log_stats before, after;
    uint32_t *last = calloc(option.actors, sizeof *last);
    (void)size; /* always LARGE */
    if (!last)
        fail("out of memory");
    store_empty(&s);
    atomic_store(&sampling, true);
    uint32_t round = save_all(&b, s.log, last);
    hf_log_stat(s.log, &before);
    saves_for(&run, &b, s.log, last, round);
    hf_log_stat(s.log, &after);
    report_saves(&run, &before, &after);
    report_anon("saves", option.window);
    timing_done(&run.commits);
    batch_done(&b);
    store_close(&s);
    store_open(&s);
    check_states(&s, last);
    store_close(&s);
    free(last);
}

/* ---- disk */

static void probe_lmdb(void)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi = 0;
    timing commits = { 0 };
    char record[BODY] = { 0 };
    const char *path = path_in("bare.mdb");
    if (mdb_env_create(&env) || mdb_env_set_mapsize(env, 64 << 20)
        || mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600))
        fail("cannot open a bare LMDB environment at %s", path);
    for (uint64_t n = 0; n < 1000; n++) {
        uint64_t slot = n % 64, began = hf_clock_mono_ns();
        MDB_val key = { sizeof slot, &slot }, value = { sizeof record, record };
        if (mdb_txn_begin(env, NULL, 0, &txn) || mdb_dbi_open(txn, NULL, 0, &dbi)
            || mdb_put(txn, dbi, &key, &value, 0) || mdb_txn_commit(txn))
            fail("a bare LMDB commit failed");
        timing_add(&commits, hf_clock_mono_ns() - began);
    }
    mdb_env_close(env);
    report(percentile(&commits, 0.5), "lmdb_commit_p50_us");
    timing_done(&commits);
}

static void probe_overwrite(void)
{
    static char page[4096];
    timing writes = { 0 };
    int fd = open(path_in("bare.page"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, page, sizeof page, 0) != (ssize_t)sizeof page || fsync(fd))
        fail("cannot write a page");
    for (int n = 0; n < 1000; n++) {
        page[0] = (char)n;
        uint64_t began = hf_clock_mono_ns();
        if (pwrite(fd, page, sizeof page, 0) != (ssize_t)sizeof page || fdatasync(fd))
            fail("cannot write a page");
        timing_add(&writes, hf_clock_mono_ns() - began);
    }
    close(fd);
    report(percentile(&writes, 0.5), "overwrite_p50_us");
    timing_done(&writes);
}

/* A group of 10,000 without a store: its bytes over others, then a small write, each
 * synced. No store on this disk can be faster with such groups. */
static void probe_group(void)
{
    enum { GROUP = LARGE * 128, GROUPS = 64 };
    timing writes = { 0 };
    uint8_t *bytes = calloc(1, GROUP);
    int fd = open(path_in("bare.group"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || !bytes)
        fail("cannot write a group");
    for (int n = 0; n < 5 * GROUPS; n++) {
        off_t at = (off_t)(n % GROUPS) * GROUP + 4096;
        uint64_t began = hf_clock_mono_ns();
        if (pwrite(fd, bytes, GROUP, at) != GROUP || fdatasync(fd)
            || pwrite(fd, bytes, 128, 0) != 128 || fdatasync(fd))
            fail("cannot write a group");
        if (n >= GROUPS) /* before, the file grew */
            timing_add(&writes, hf_clock_mono_ns() - began);
    }
    close(fd);
    free(bytes);
    report(percentile(&writes, 0.5), "overwrite_10000_p50_us");
    report(percentile(&writes, 0.99), "overwrite_10000_p99_us");
    timing_done(&writes);
}

static void bench_disk(uint32_t size)
{
    (void)size;
    probe_lmdb();
    probe_overwrite();
    probe_group();
}

/* ---- All of it */

static void read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(name, "--json") == 0) {
            print_json = true;
            continue;
        }
        if (!value)
            fail("%s: not an option, or its value is missing; they stand in store_bench.c", name);
        i++;
        if (strcmp(name, "--store") == 0)
            option.store = value;
        else if (strcmp(name, "--only") == 0)
            option.only = value;
        else if (strcmp(name, "--seconds") == 0)
            option.seconds = atof(value);
        else if (strcmp(name, "--messages") == 0)
            option.messages = strtoull(value, NULL, 10);
        else if (strcmp(name, "--actors") == 0)
            option.actors = strtoull(value, NULL, 10);
        else if (strcmp(name, "--window") == 0)
            option.window = strtoull(value, NULL, 10) << 20;
        else
            fail("%s: no such option", name);
    }
    if (option.seconds <= 0 || !option.messages || !option.actors || option.actors > 10000000
        || !option.window)
        fail("a number is out of range");
    option.actors = (option.actors + LARGE - 1) / LARGE * LARGE;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void      (*run)(uint32_t size);
        uint32_t    size;
    } benches[] = { { "disk", bench_disk, 0 }, { "append_1", bench_append, 1 },
                    { "append_100", bench_append, 100 }, { "append_10000", bench_append, LARGE },
                    { "saves", bench_saves, LARGE }, { "file", bench_file, LARGE } };
    pthread_t threads[2];
    unsigned ran = 0;
    read_options(argc, argv);
    refuse_memory(option.store);
    snprintf(place, sizeof place, "%s/store_bench.XXXXXX", option.store);
    if (!mkdtemp(place))
        fail("cannot make %s: %s", place, strerror(errno));
    if (pthread_create(&threads[0], NULL, sampler, NULL)
        || pthread_create(&threads[1], NULL, aside_run, NULL))
        fail("cannot start a thread");
    for (unsigned i = 0; i < sizeof benches / sizeof *benches; i++) {
        if (option.only && strcmp(option.only, benches[i].name) != 0)
            continue;
        malloc_trim(0); /* what the last one freed is not this one's */
        benches[i].run(benches[i].size);
        ran++;
    }
    if (!ran)
        fail("%s: no such bench: disk append_1 append_100 append_10000 saves file", option.only);
    atomic_store(&ended, true);
    aside_end();
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    print_results();
    remove_tree(place);
    return 0;
}
