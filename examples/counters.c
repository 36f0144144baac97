/* counters.c - ten thousand counters that are kept in SQLite, too.
 *
 * Happy path: increments are posted in batches; each counter is an actor whose turns
 * save its count. Holdfast hands the newest counts to `flush`, many at once, and that
 * writes them in one transaction. So a million increments become some ten thousand row
 * writes. At the end every row is compared with its actor's state, and the same
 * database says what one synced write for each increment would have cost: the last line
 * says how many rows were written, and how much faster that was.
 *
 * Killed at any moment it loses nothing: start it again, and what was counted and not
 * written is written. A row is only replaced by a newer version.
 *
 * How it fails: what SQLite cannot do fails the flush, which comes again later;
 * anything else ends the program with a sentence and exit code 1.
 *
 * Handlers run on the shards, flush on a thread of its own, the rest on main's. */
#include <holdfast.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 1000, NAME = 40 };

typedef struct options {
    const char *store, *db;
    uint32_t    actors, flush_ms, compare_ms;
    uint64_t    increments;
    int         json;
} options;

typedef struct database {
    sqlite3      *db;
    sqlite3_stmt *put, *del, *get;
    atomic_ullong row_writes, flushes;
} database;

/* ---- The actor */

static int count(hf_turn *turn, const hf_message *msg)
{
    const uint64_t *old = hf_state(turn).data;
    uint64_t now = old ? *old + 1 : 1;

    (void)msg;
    hf_save(turn, hf_view(&now, sizeof now));
    return HF_OK;
}

/* ---- The database */

static const char schema[] =
    "pragma journal_mode = wal; pragma synchronous = full;"
    "create table if not exists counters (actor text primary key, count integer not null,"
    " version integer not null) without rowid;"
    "create table if not exists compared (actor text primary key, count integer) without rowid;";

static int say(sqlite3 *db, const char *what)
{
    fprintf(stderr, "counters: %s: %s\n", what, db ? sqlite3_errmsg(db) : "out of memory");
    return 1;
}

static int open_database(database *d, const char *path)
{
    if (sqlite3_open(path, &d->db) || sqlite3_busy_timeout(d->db, 10000)
        || sqlite3_exec(d->db, schema, NULL, NULL, NULL)
        || sqlite3_prepare_v2(d->db, "insert into counters (actor, count, version)"
                              " values (?1, ?2, ?3) on conflict (actor) do update set"
                              " count = excluded.count, version = excluded.version"
                              " where version < excluded.version", -1, &d->put, NULL)
        || sqlite3_prepare_v2(d->db, "delete from counters where actor = ?1 and version < ?2", -1,
                              &d->del, NULL)
        || sqlite3_prepare_v2(d->db, "select count from counters where actor = ?1", -1, &d->get,
                              NULL))
        return say(d->db, path);
    return 0;
}

static void close_database(database *d)
{
    sqlite3_finalize(d->put);
    sqlite3_finalize(d->del);
    sqlite3_finalize(d->get);
    sqlite3_close(d->db);
}

static int write_row(database *d, const hf_image *image)
{
    sqlite3_stmt *s = image->state.data ? d->put : d->del;
    int at = 1;

    sqlite3_bind_text(s, at++, image->actor, -1, SQLITE_STATIC);
    if (image->state.data)
        sqlite3_bind_int64(s, at++, (sqlite3_int64) * (const uint64_t *)image->state.data);
    sqlite3_bind_int64(s, at, (sqlite3_int64)image->version);
    int rc = sqlite3_step(s);
    sqlite3_reset(s);
    return rc == SQLITE_DONE ? sqlite3_changes(d->db) : -1;
}

/* All of them in one transaction. */
static int flush(void *user, const hf_image *images, size_t n)
{
    database *d = user;
    uint64_t written = 0;
    int changed = 0;

    if (sqlite3_exec(d->db, "begin immediate", NULL, NULL, NULL))
        return say(d->db, "begin");
    for (size_t i = 0; i < n && changed >= 0; i++) {
        changed = write_row(d, &images[i]);
        written += changed > 0;
    }
    if (changed < 0 || sqlite3_exec(d->db, "commit", NULL, NULL, NULL)) {
        int failed = say(d->db, "write");
        sqlite3_exec(d->db, "rollback", NULL, NULL, NULL);
        return failed;
    }
    atomic_fetch_add(&d->row_writes, written);
    atomic_fetch_add(&d->flushes, 1);
    return HF_OK;
}

/* ---- Counting */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static atomic_int refused;

static void on_posted(void *user, int err, const hf_receipt *receipts, size_t n)
{
    (void)user, (void)receipts, (void)n;
    if (err)
        atomic_store(&refused, err);
}

static int post(hf_engine *engine, const hf_letter *letters, size_t n)
{
    int err;

    while ((err = hf_post(engine, letters, n, on_posted, NULL)) == HF_EAGAIN)
        (void)hf_sync(engine, 1000);
    return err;
}

static int increment_all(hf_engine *engine, const options *o)
{
    static hf_letter letters[BATCH];
    static char names[BATCH][NAME];
    uint64_t chance = 88172645463325252u;
    int err = HF_OK;

    for (uint64_t done = 0; !err && done < o->increments;) {
        size_t n = 0;
        for (; n < BATCH && done < o->increments; n++, done++) {
            chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
            snprintf(names[n], NAME, "counter/%" PRIu64, chance % o->actors);
            letters[n] = (hf_letter){ .size = sizeof *letters, .to = names[n] };
        }
        err = post(engine, letters, n);
    }
    if (!err)
        err = hf_drain(engine, HF_NEVER); /* counted, and written */
    return err ? err : atomic_load(&refused);
}

/* ---- Is every row as its actor? */

typedef struct comparison {
    database     *d;
    const char   *actor;
    uint64_t      total;
    atomic_uint   told;
    unsigned      wrong;
} comparison;

static comparison check;

static void on_state(void *user, int err, hf_bytes state)
{
    char actor[NAME];
    sqlite3_stmt *s = check.d->get;
    uint64_t is = 0, row = 0;

    snprintf(actor, sizeof actor, "counter/%u", *(uint32_t *)user);
    if (state.len == sizeof is)
        memcpy(&is, state.data, sizeof is);
    sqlite3_bind_text(s, 1, actor, -1, SQLITE_STATIC);
    if (sqlite3_step(s) == SQLITE_ROW)
        row = (uint64_t)sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    if ((err || is != row) && check.wrong++ < 10)
        fprintf(stderr, "counters: %s: its state says %" PRIu64 ", its row %" PRIu64 "\n", actor,
                is, row);
    check.total += is;
    atomic_fetch_add(&check.told, 1);
}

static int compare_all(hf_engine *engine, database *d, const options *o)
{
    uint32_t *numbers = calloc(o->actors, sizeof *numbers);
    int err = numbers ? HF_OK : HF_ENOMEM;
    struct timespec pause = { 0, 1000000 };
    uint32_t asked = 0;

    check.d = d;
    while (!err && asked < o->actors) {
        char actor[NAME];
        numbers[asked] = asked;
        snprintf(actor, sizeof actor, "counter/%u", asked);
        err = hf_peek(engine, actor, on_state, &numbers[asked]);
        asked += !err;
        if (err == HF_EAGAIN) {
            nanosleep(&pause, NULL);
            err = HF_OK;
        }
    }
    while (atomic_load(&check.told) < asked)
        nanosleep(&pause, NULL);
    free(numbers);
    return err;
}

/* One synced write an increment, for some seconds: how many a second? The same file, the
 * same kind of row, one prepared statement; each is a transaction of its own, with one sync
 * of SQLite's log. */
static double compare_speed(database *d, const options *o)
{
    sqlite3_stmt *s;
    double start = seconds(), end = start + o->compare_ms / 1e3;
    unsigned n = 0;

    if (sqlite3_prepare_v2(d->db, "insert into compared (actor, count) values (?1, 1) on conflict"
                           " (actor) do update set count = count + 1", -1, &s, NULL))
        return 0;
    for (; seconds() < end; n++) {
        char actor[NAME];
        snprintf(actor, sizeof actor, "counter/%u", n * 7919 % o->actors);
        sqlite3_bind_text(s, 1, actor, -1, SQLITE_STATIC);
        if (sqlite3_step(s) != SQLITE_DONE)
            break;
        sqlite3_reset(s);
    }
    sqlite3_finalize(s);
    return n / (seconds() - start);
}

/* ---- From the first to the last */

static void print(const options *o, const database *d, double took, double one_each)
{
    uint64_t writes = atomic_load(&d->row_writes);
    double rate = o->increments ? (double)o->increments / took : 0;
    double percent = o->increments ? 100.0 * (double)writes / (double)o->increments : 0;
    double times = one_each > 0 ? rate / one_each : 0;

    if (o->json) {
        printf("{\"increments\":%" PRIu64 ",\"total\":%" PRIu64 ",\"seconds\":%.3f,"
               "\"per_second\":%.0f,\"row_writes\":%" PRIu64 ",\"row_percent\":%.3f,"
               "\"flushes\":%llu,\"one_each\":%.0f,\"times\":%.1f,\"wrong\":%u}\n",
               o->increments, check.total, took, rate, writes, percent,
               (unsigned long long)atomic_load(&d->flushes), one_each, times, check.wrong);
        return;
    }
    printf("%" PRIu64 " increments (%" PRIu64
           " in all) in %.2f s, %llu transactions; %u rows differ "
           "from their actors.\n",
           o->increments, check.total, took, (unsigned long long)atomic_load(&d->flushes),
           check.wrong);
    printf("%" PRIu64 " row writes, %.2f %% of the increments", writes, percent);
    if (one_each > 0)
        printf("; %.0f increments a second, %.0f times the %.0f that SQLite syncs one by one", rate,
               times, one_each);
    printf(".\n");
}

static int run(const options *o, database *d)
{
    const hf_type types[] = {
        { .name = "counter", .handle = count, .flush = flush, .flush_ms = o->flush_ms,
          .strikes = HF_NEVER, .user = d },
        { 0 },
    };
    hf_engine *engine;
    double one_each = 0, start = seconds();
    /* What lies in the window is read at each open: few actors need little of it. */
    int err = hf_open(&engine, o->store, HF_OPTIONS(.types = types, .window = 16 << 20));

    if (err) {
        fprintf(stderr, "counters: %s: %s: %s\n", o->store, hf_strerror(err), hf_detail());
        return 1;
    }
    err = increment_all(engine, o);
    double took = seconds() - start;
    if (!err)
        err = compare_all(engine, d, o);
    if (!err && o->increments && o->compare_ms)
        one_each = compare_speed(d, o);
    if (err)
        fprintf(stderr, "counters: %s: %s\n", hf_strerror(err), hf_detail());
    else
        print(o, d, took, one_each);
    int closed = hf_close(engine, HF_NEVER);
    return err || closed || check.wrong ? 1 : 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: counters --store DIR --db FILE [--actors 10000] "
                    "[--increments 1000000] [--flush-ms 10000]\n"
                    "                [--compare-ms 3000] [--json]\n");
    return 2;
}

static int number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end;

    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && *out >= least && *out <= most ? 0 : -1;
}

static int read_options(options *o, int argc, char **argv)
{
    uint64_t n = 0;

    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        int bad = 0;
        if (strcmp(name, "--json") == 0) {
            o->json = 1;
            continue;
        }
        if (strcmp(name, "--store") == 0)
            o->store = value;
        else if (strcmp(name, "--db") == 0)
            o->db = value;
        else if (strcmp(name, "--actors") == 0 && !(bad = number(value, 1, 10000000, &n)))
            o->actors = (uint32_t)n;
        else if (strcmp(name, "--increments") == 0)
            bad = number(value, 0, UINT64_MAX - 1, &o->increments);
        else if (strcmp(name, "--flush-ms") == 0 && !(bad = number(value, 1, 86400000, &n)))
            o->flush_ms = (uint32_t)n;
        else if (strcmp(name, "--compare-ms") == 0 && !(bad = number(value, 0, 60000, &n)))
            o->compare_ms = (uint32_t)n;
        else
            bad = 1;
        if (bad || !*value)
            return usage();
        i++;
    }
    return o->store && o->db ? 0 : usage();
}

int main(int argc, char **argv)
{
    options o = { .actors = 10000, .increments = 1000000, .flush_ms = 10000,
                  .compare_ms = 3000 };
    database d = { .db = NULL };
    int code = read_options(&o, argc, argv);

    if (code)
        return code;
    code = open_database(&d, o.db);
    if (!code)
        code = run(&o, &d);
    close_database(&d);
    return code;
}
