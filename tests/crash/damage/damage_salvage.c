/* damage_salvage.c - a damaged store is verified, and salvaged into a new one.
 *
 * The oracle knows, for each message and each state of the stores, which rows or records
 * hold it, and on which pages these stand. Happy path of a check: each holder whose bytes
 * were damaged is flagged by the checkup; whoever has a holder left comes back, and the
 * new store is sound, opens, runs to idle. Nobody may show a state that is not his last
 * one unless he is paused, and no message may be handed out that was done, unless it says
 * so or lost records do. One thread, of a child, but for the engine's. */
#include "tests/crash/damage/damage.h"

#include "tests/crash/states/scratch.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include "storage/address.h"
#include "storage/entry.h"
#include "storage/pages.h"
#include "storage/record.h"
#include "storage/row.h"
#include "storage/sharing.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

enum { NUMBERS = WAITING + 4, HOLDERS_MAX = 8192 };

/* A row or record of the undamaged store, and what it holds. */
typedef struct holder {
    uint64_t hash;          /* of table, key and value */
    uint64_t page;          /* of its row */
    uint64_t large, larges; /* pages of its value, 0: none */
    hf_table table;
    bool     first;         /* the first holder of a row or record */
    uint32_t kind, actor, number; /* number NUMBERS: a state */
} holder;

static struct {
    holder   all[HOLDERS_MAX];
    size_t   count;
    uint64_t last_id;
    bool     intact[KINDS_OF_ACTOR][ACTORS_MOST][NUMBERS + 1];
} truth[SORTS];

/* ---- The truth */

typedef struct learner {
    const original *o;
    sort            what;
    hf_table        table;
    uint64_t        tail; /* of the log: what lies below is history, and holds nothing */
} learner;

static uint64_t hash_row(hf_table table, hf_bytes key, hf_bytes value)
{
    uint64_t sum = XXH3_64bits_withSeed(key.data, key.len, (uint64_t)table);
    return XXH3_64bits_withSeed(value.data, value.len, sum);
}

/* Where a value stands that has pages of its own. */
static void find_large(const original *o, hf_bytes value, holder *h)
{
    for (uint64_t page = 2; value.len > PAGE / 2 && page < o->len / PAGE; page++)
        if (page * PAGE + 16 + value.len <= o->len
            && memcmp(o->bytes + page * PAGE + 16, value.data, value.len) == 0) {
            h->large = page;
            h->larges = (value.len + 16 + PAGE - 1) / PAGE;
            return;
        }
}

static void learn_one(const learner *l, const holder *like, uint32_t kind, uint32_t actor,
                      uint32_t number, bool first)
{
    if (truth[l->what].count == HOLDERS_MAX)
        abort();
    holder *h = &truth[l->what].all[truth[l->what].count++];
    *h = *like;
    h->kind = kind;
    h->actor = actor;
    h->number = number;
    h->first = first;
}

static void learn_entry(const learner *l, const holder *like, const hf_entry *e, bool *first)
{
    uint32_t kind, actor, number;
    if (!address_known(e->to, &kind, &actor))
        return;
    if (e->op == HF_OP_SAVE) {
        if (state_count(e->data, kind, actor) != done_before(kind, actor))
            return;
        number = NUMBERS;
    } else if (e->op == HF_OP_SEND || e->op == HF_OP_DEAD) {
        number = body_number(e->data, kind, actor);
        if (number >= NUMBERS || number < done_before(kind, actor))
            return;
    } else {
        return;
    }
    learn_one(l, like, kind, actor, number, *first);
    *first = false;
}

static void learn_record(const learner *l, const holder *like, hf_bytes value, bool *first)
{
    hf_record_head head;
    const uint8_t *bytes = value.data, *end = bytes + value.len;
    if (hf_record_check(bytes, value.len, hf_get64(bytes + 24), &head)
        && value.len < HF_RECORD_HEAD)
        return;
    const uint8_t *start = bytes + hf_record_entries_at(hf_get32(bytes + 32)), *at = start;
    for (uint32_t i = 0; i < hf_get32(bytes + 8); i++) {
        hf_entry e;
        size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
        if (!size || !hf_sharing_resolve(start, at, &e))
            abort();
        learn_entry(l, like, &e, first);
        at += size;
    }
}

static int learn_row(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    const learner *l = user;
    holder like = { .hash = hash_row(l->table, key, value), .page = page, .table = l->table };
    hf_entry e;
    char address[HF_ADDRESS_MAX + 1];
    uint32_t kind, actor;
    bool first = true;
    find_large(l->o, value, &like);
    if (l->table == HF_IN_LOG) {
        uint64_t end = hf_get64_key(key.data) + hf_get32((const uint8_t *)value.data + 8);
        truth[l->what].last_id = end > truth[l->what].last_id ? end : truth[l->what].last_id;
        if (hf_get64_key(key.data) < l->tail)
            return HF_OK;
        learn_record(l, &like, value, &first);
    } else if (l->table == HF_IN_INBOX || l->table == HF_IN_DEAD) {
        if (hf_row_message(l->table, key, value, &e))
            abort();
        if (e.id >= truth[l->what].last_id)
            truth[l->what].last_id = e.id + 1;
        e.op = HF_OP_SEND;
        learn_entry(l, &like, &e, &first);
    } else if (l->table == HF_IN_STATE && hf_address_of_key(address, key.data, key.len, NULL)
               && address_known(address, &kind, &actor)) {
        hf_bytes state = hf_view((const uint8_t *)value.data + 9, value.len - 17);
        if (state_count(state, kind, actor) == done_before(kind, actor))
            learn_one(l, &like, kind, actor, NUMBERS, true);
        first = false;
    }
    if (first) /* it holds none of these, but it is live all the same */
        learn_one(l, &like, KINDS_OF_ACTOR, 0, 0, true);
    return HF_OK;
}

static int learn_tail(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    learner *l = user;
    hf_bytes payload;
    (void)page;
    if (key.len == 4 && memcmp(key.data, "tail", 4) == 0
        && !hf_row_open(HF_IN_META, key, value, &payload))
        l->tail = hf_get64(payload.data);
    return HF_OK;
}

bool truth_learn(sort what, const original *o)
{
    char data[PATH_MAX + 16];
    hf_pages *pages;
    hf_pages_tree tree;
    learner l = { .o = o, .what = what };
    (void)snprintf(data, sizeof data, "%s/data.mdb", o->path);
    if (hf_pages_open(&pages, data))
        return false;
    bool fine = !hf_pages_table(pages, 0, hf_table_name(HF_IN_META), &tree)
                && !hf_pages_walk(pages, &tree, learn_tail, NULL, &l);
    hf_pages_forget(pages);
    for (int t = 0; t < HF_TABLES && fine; t++) {
        l.table = (hf_table)t;
        fine = !hf_pages_table(pages, 0, hf_table_name(l.table), &tree)
               && !hf_pages_walk(pages, &tree, learn_row, NULL, &l);
    }
    hf_pages_close(pages);
    return fine;
}

/* ---- What is intact */

typedef struct hashes {
    uint64_t all[HOLDERS_MAX];
    size_t   count;
    hf_table table;
} hashes;

static int note_hash(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    hashes *h = user;
    (void)page;
    if (h->count < HOLDERS_MAX)
        h->all[h->count++] = hash_row(h->table, key, value);
    return HF_OK;
}

static bool is_reached(const hashes *h, uint64_t hash)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->all[i] == hash)
            return true;
    return false;
}

static void read_reached(const char *path, hashes *h)
{
    char data[PATH_MAX + 16];
    hf_pages *pages;
    hf_pages_tree tree;
    (void)snprintf(data, sizeof data, "%s/data.mdb", path);
    if (hf_pages_open(&pages, data))
        return;
    for (int t = 0; t < HF_TABLES; t++) {
        h->table = (hf_table)t;
        if (!hf_pages_table(pages, 0, hf_table_name(h->table), &tree))
            (void)hf_pages_walk(pages, &tree, note_hash, NULL, h);
    }
    hf_pages_close(pages);
}

static bool same_pages(const original *o, const uint8_t *bytes, size_t len, uint64_t from,
                       uint64_t count)
{
    return (from + count) * PAGE <= len
           && memcmp(o->bytes + from * PAGE, bytes + from * PAGE, count * PAGE) == 0;
}

typedef struct judged {
    uint64_t live, broken, records; /* rows in all, not intact, records among these */
} judged;

/* Which holders are intact: their pages are as they were, or at least their bytes. */
static judged judge_rows(const char *path, sort what, const original *o)
{
    static hashes reached;
    char data[PATH_MAX + 16];
    uint8_t *bytes;
    size_t len;
    judged j = { 0 };
    (void)snprintf(data, sizeof data, "%s/data.mdb", path);
    if (!read_file(data, &bytes, &len))
        exit(2);
    reached.count = 0;
    read_reached(path, &reached);
    for (size_t i = 0; i < truth[what].count; i++) {
        const holder *h = &truth[what].all[i];
        bool intact = (same_pages(o, bytes, len, h->page, 1)
                       && (!h->large || same_pages(o, bytes, len, h->large, h->larges)))
                      || is_reached(&reached, h->hash);
        bool counts = h->first && h->table != HF_IN_ALARMS;
        j.live += counts;
        j.broken += counts && !intact;
        j.records += counts && !intact && h->table == HF_IN_LOG;
        if (intact && h->kind < KINDS_OF_ACTOR)
            truth[what].intact[h->kind][h->actor][h->number] = true;
    }
    free(bytes);
    return j;
}

/* ---- verify */

static int count_finding(void *user, hf_bytes row)
{
    uint64_t *count = user;
    (void)row;
    ++*count;
    return HF_OK;
}

/* LMDB's pages have no checksum, and either root may be the newest. */
static bool hides(harm how)
{
    return how == STALE_PAGE || how == META_BIT;
}

void damage_verify(const char *path, sort what, const original *o, harm how)
{
    uint64_t findings = 0;
    judged j = judge_rows(path, what, o);
    int err = hf_verify(path, count_finding, &findings);
    if (err == HF_OK && j.broken)
        note(hides(how) ? OLD : BAD, "%llu of %llu live rows are damaged, and verify finds nothing",
             (unsigned long long)j.broken, (unsigned long long)j.live);
    else if (err == HF_ECORRUPT)
        note(findings ? ASIDE : BAD, "%llu findings: %s", (unsigned long long)findings,
             hf_detail());
    else if (err)
        note(REFUSED, "hf_verify: %s (%s)", hf_strerror(err), hf_detail());
}

/* ---- salvage */

enum { HOLDS = 200 };

typedef struct report {
    uint64_t lost, doubtful, uncertain, paused;
    bool     done;
    char     held[HOLDS][64]; /* "everything", "work" or "work/3" */
    size_t   holds;
} report;

static report told;

static bool is_held(const char *address)
{
    for (size_t i = 0; i < told.holds; i++) {
        size_t len = strlen(told.held[i]);
        if (strcmp(told.held[i], "everything") == 0 || strcmp(told.held[i], address) == 0
            || (strncmp(told.held[i], address, len) == 0 && address[len] == '/'))
            return true;
    }
    return false;
}

static uint64_t number_in(hf_bytes row, const char *name)
{
    hf_token value;
    return row_field(row, name, &value) && value.type == HF_TOKEN_UINT ? value.as.u : 0;
}

static int note_report(void *user, hf_bytes row)
{
    report *r = user;
    hf_token value;
    if (row_field(row, "finding", &value) && value.as.bytes.len == 6
        && memcmp(value.as.bytes.data, "paused", 6) == 0 && row_field(row, "detail", &value)
        && r->holds < HOLDS) {
        const char *text = value.as.bytes.data, *end = memchr(text, ':', value.as.bytes.len);
        (void)snprintf(r->held[r->holds++], sizeof r->held[0], "%.*s", end ? (int)(end - text) : 0,
                       text);
    }
    if (!row_field(row, "done", &value))
        return HF_OK;
    r->lost = number_in(row, "lost");
    r->doubtful = number_in(row, "doubtful");
    r->uncertain = number_in(row, "uncertain");
    r->paused = number_in(row, "paused");
    r->done = true;
    return HF_OK;
}

typedef struct come {
    bool there[KINDS_OF_ACTOR][ACTORS_MOST][NUMBERS];
    bool twice, records;
    harm how;
} come;

static int see_come(void *user, const hf_message *msg)
{
    come *c = user;
    uint32_t kind, actor, number = UINT32_MAX;
    bool excused = strstr(msg->error, "possibly delivered") != NULL;
    if (address_known(msg->to, &kind, &actor))
        number = body_number(msg->body, kind, actor);
    if (number >= NUMBERS) {
        note(BAD, "salvaged: a message to %s that nobody sent", msg->to);
        return HF_OK;
    }
    if (number < done_before(kind, actor)) {
        if (!excused && !c->records)
            note(hides(c->how) ? OLD : BAD, "salvaged: message %u to %s waits, which was done",
                 number, msg->to);
        return HF_OK;
    }
    if (c->there[kind][actor][number])
        note(BAD, "salvaged: message %u to %s is there twice", number, msg->to);
    c->there[kind][actor][number] = true;
    return HF_OK;
}

typedef struct shown {
    uint32_t kind, actor, count;
    bool     has;
} shown;

static int see_shown(void *user, hf_bytes row)
{
    shown *s = user;
    hf_token value;
    s->has = row_field(row, "state", &value);
    if (s->has)
        s->count = state_count(value.as.bytes, s->kind, s->actor);
    return HF_OK;
}

static void check_state(hf_store *store, sort what, uint32_t kind, uint32_t actor, harm how)
{
    shown s = { .kind = kind, .actor = actor };
    hf_out out = { 0 };
    char address[32];
    hf_out_map(&out, NULL);
    hf_out_words(&out, "actor", address_of(kind, actor, address));
    hf_out_end(&out);
    int err = hf_query(store, "actor", hf_out_bytes(&out), see_shown, &s);
    hf_out_done(&out);
    uint32_t wanted = done_before(kind, actor);
    if (err)
        note(BAD, "salvaged: %s: %s", address, hf_detail());
    else if (s.has && s.count == UINT32_MAX)
        note(BAD, "salvaged: %s has a state that nobody saved", address);
    else if ((s.has ? s.count : 0) == wanted)
        return;
    else if (truth[what].intact[kind][actor][NUMBERS])
        note(hides(how) ? OLD : BAD, "salvaged: %s has not its state, which is intact", address);
    else if (!is_held(address))
        note(hides(how) ? OLD : BAD, "salvaged: %s has lost its state, and is not paused", address);
}

static void check_new(const char *to, sort what, harm how, const judged *j)
{
    static come c;
    hf_store *store;
    memset(&c, 0, sizeof c);
    c.how = how;
    c.records = j->records > 0;
    int err = hf_store_open(&store, to, 0);
    if (!err)
        err = hf_find(store, NULL, see_come, &c);
    if (err) {
        note(BAD, "salvaged: %s", hf_detail());
        return;
    }
    for (uint32_t kind = 0; kind < KINDS_OF_ACTOR; kind++)
        for (uint32_t actor = 0; actor < cast[kind].actors; actor++) {
            for (uint32_t n = 0; n < NUMBERS; n++)
                if (truth[what].intact[kind][actor][n] && !c.there[kind][actor][n])
                    note(hides(how) ? OLD : BAD,
                         "salvaged: message %u to %s/%u is missing, and it is intact", n,
                         cast[kind].type, actor);
            check_state(store, what, kind, actor, how);
        }
    hf_store_close(store);
}

static void run_it(const char *to, sort what, const original *o, harm how)
{
    original others = *o;
    others.log = 0; /* the new one's is empty */
    uint32_t before = atomic_load(&seen->outcome);
    damage_released = true;
    damage_unpaused = is_held("held/0"); /* then pauses may be lost, and that was said */
    damage_first_id = truth[what].last_id + (UINT64_C(1) << 40);
    damage_engine(to, what, &others, how);
    uint32_t now = atomic_load(&seen->outcome);
    if (now != before && (now == REFUSED || now == STOPPED || now == STUCK))
        atomic_store(&seen->outcome, BAD);
}

static void forget(const char *path)
{
    if (access(path, F_OK))
        return;
    scratch_clear(path);
    (void)rmdir(path);
}

void damage_salvage(const char *path, sort what, const original *o, harm how)
{
    static char to[PATH_MAX + 16];
    uint64_t findings = 0;
    judged j = judge_rows(path, what, o);
    memset(&told, 0, sizeof told);
    (void)snprintf(to, sizeof to, "%s.salvaged", path);
    forget(to);
    int err = hf_salvage(path, to, note_report, &told);
    if (err) {
        bool clean = err == HF_ECORRUPT || err == HF_EVERSION;
        note(clean && (j.broken == j.live || how == TRUNCATED) ? REFUSED : BAD,
             "hf_salvage: %s (%s)", hf_strerror(err), hf_detail());
        forget(to);
        return;
    }
    bool whole = !told.lost && !told.doubtful && !told.uncertain && !told.paused;
    if (hf_verify(to, count_finding, &findings) != HF_OK)
        note(BAD, "salvaged: verify: %s", hf_detail());
    check_new(to, what, how, &j);
    run_it(to, what, o, how);
    if (!told.done)
        note(BAD, "hf_salvage does not say how it ended");
    char why[sizeof seen->why];
    uint32_t came = atomic_load(&seen->outcome);
    memcpy(why, seen->why, sizeof why);
    if (!whole && (came == MISSING || came == OLD || came == SAME)) {
        atomic_store(&seen->outcome, SAME);
        note(ASIDE, "%llu lost, %llu doubtful, %llu uncertain, %llu paused",
             (unsigned long long)told.lost, (unsigned long long)told.doubtful,
             (unsigned long long)told.uncertain, (unsigned long long)told.paused);
    } else if (whole && came != SAME && came != BAD && !hides(how)) {
        note(BAD, "salvage says that nothing is missing: %s", why);
    }
    forget(to);
}
