/* rules_flush.c - what was saved or forgotten reaches the other database, in the end.
 *
 * Of two types, on a shard and on a pool, actors note numbers and are forgotten now and
 * then. Each call that flushed in the life is a mark, so after a crash the other database
 * is known: it has what the calls before have written. Whatever the disk held of the store,
 * the next engines hand over the rest: then each row is as its actor's state, and none of
 * them ever handed over a version older than the row. */
#include "tests/crash/rule_states/rules.h"

#include "engine/engine.h"

#include <pthread.h>
#include <stdio.h>

enum { TOLD = 5, ACTORS = 4, LIST = 16, FORGET = 3, CALLS = 1000, FIRST_CALL = 1000 };

static const char *const actors[ACTORS] = { "shard/0", "shard/1", "pool/0", "pool/1" };

typedef struct row {
    uint64_t version;
    uint32_t count, list[LIST];
} row;
typedef struct database {
    row rows[ACTORS];
} database;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool            living;         /* the life that is recorded */
static database        after[CALLS];   /* call n of the life; [0]: none */
static uint32_t        calls;
static char            path[4096];     /* of what the engines after a crash wrote */

/* False: something about it is wrong. */
static bool write_row(database *db, const hf_image *image)
{
    uint32_t a = 0, n = 0;
    while (a < ACTORS && strcmp(actors[a], image->actor) != 0)
        a++;
    if (a == ACTORS || image->state.len > sizeof db->rows[a].list)
        rule_broken("flushed: %s, %zu bytes", image->actor, image->state.len);
    else if (image->version < db->rows[a].version)
        rule_broken("%s: version %llu is flushed after %llu", image->actor,
                    (unsigned long long)image->version,
                    (unsigned long long)db->rows[a].version);
    if (a == ACTORS || image->version < db->rows[a].version)
        return false;
    while (n < LIST && rule_number(image->state, n) != UINT32_MAX) {
        db->rows[a].list[n] = rule_number(image->state, n);
        n++;
    }
    db->rows[a].count = n;
    db->rows[a].version = image->version;
    return true;
}

static void read_file(database *db)
{
    FILE *file = fopen(path, "rb");
    memset(db, 0, sizeof *db);
    if (file && fread(db, sizeof *db, 1, file) != 1)
        rule_broken("%s is cut short", path);
    if (file)
        (void)fclose(file);
}

static void flush_after_crash(const hf_image *images, size_t count)
{
    database db;
    (void)snprintf(path, sizeof path, "%s.rows", hf_disk_path(rule_engine()->disk));
    read_file(&db);
    for (size_t i = 0; i < count; i++)
        (void)write_row(&db, &images[i]);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(&db, sizeof db, 1, file) != 1)
        rule_broken("%s can't be written", path);
    if (file)
        (void)fclose(file);
}

static int flush(void *user, const hf_image *images, size_t count)
{
    (void)user;
    (void)pthread_mutex_lock(&lock);
    if (!living) {
        flush_after_crash(images, count);
    } else if (calls + 1 < CALLS) {
        rule_begin(FIRST_CALL + calls + 1);
        after[calls + 1] = after[calls];
        for (size_t i = 0; i < count; i++)
            (void)write_row(&after[calls + 1], &images[i]);
        calls++;
        rule_ack(FIRST_CALL + calls);
    }
    (void)pthread_mutex_unlock(&lock);
    return HF_OK;
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    uint32_t number = rule_number(msg->body, 0);
    if (number != FORGET)
        return rule_note(turn, number);
    hf_forget(turn);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "shard", .handle = handle, .strikes = HF_NEVER, .flush = flush, .flush_ms = 1 },
    { .name = "pool", .handle = handle, .strikes = HF_NEVER, .threads = 2, .flush = flush,
      .flush_ms = 1 },
    { 0 },
};

static void set_living(bool now)
{
    (void)pthread_mutex_lock(&lock);
    living = now;
    if (now)
        calls = 0;
    (void)pthread_mutex_unlock(&lock);
}

static void act(void)
{
    set_living(true);
    for (uint32_t i = 1; i <= TOLD; i++) {
        for (uint32_t a = 0; a < ACTORS; a++)
            RULE_DO(i * ACTORS + a, hf_tell(rule_engine(), actors[a], "", rule_body(&i)));
        if (rule_dice() & 1)
            (void)rule_worked("hf_drain", hf_drain(rule_engine(), 20000));
    }
    (void)rule_worked("hf_drain", hf_drain(rule_engine(), 20000));
    rule_close();
    set_living(false);
}

static const char *settle(hf_engine *engine)
{
    (void)snprintf(path, sizeof path, "%s.rows", hf_disk_path(engine->disk));
    if (hf_drain(engine, 20000))
        return rule_wrong("hf_drain: %s", hf_detail());
    return NULL;
}

/* What was flushed before the crash, and what came after it. A call that had begun may
 * have done its work or not: it had not, here, so all of it has to come again. */
static void database_of(const rule_moment *known, database *db)
{
    database before;
    uint32_t n = 0;
    while (n + 1 < CALLS && known->acked[FIRST_CALL + n + 1])
        n++;
    before = after[n];
    read_file(db);
    for (uint32_t a = 0; a < ACTORS; a++) {
        if (db->rows[a].version && db->rows[a].version < before.rows[a].version)
            rule_broken("%s: a version older than its row was flushed", actors[a]);
        if (db->rows[a].version < before.rows[a].version)
            db->rows[a] = before.rows[a];
    }
}

static const char *check(rule_look *look, const rule_moment *known)
{
    database db;
    database_of(known, &db);
    for (uint32_t a = 0; a < ACTORS; a++) {
        hf_bytes list = rule_state(look, actors[a]);
        const row *r = &db.rows[a];
        for (uint32_t n = 0; n < LIST; n++) {
            uint32_t has = n < r->count ? r->list[n] : UINT32_MAX;
            if (rule_number(list, n) != has)
                return rule_wrong("%s: place %u of its state is %u, of its row %u", actors[a], n,
                                  rule_number(list, n), has);
        }
        for (uint32_t i = FORGET + 1; i <= TOLD; i++)
            if (known->acked[i * ACTORS + a] && rule_times(list, i) != 1)
                return rule_wrong("%u of %s was acknowledged and is lost", i, actors[a]);
    }
    return NULL;
}

const rule rule_flush = { .name = "flush", .types = types, .act = act, .settle = settle,
                          .check = check };
