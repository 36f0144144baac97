/* overlay.c - merge a table with sorted facts while walking.
 *
 * Happy path: a cursor on the table and an index into the facts go forward together;
 * the lesser key is shown, and where both have one what the facts make of the row. One row
 * by itself is asked of the facts, and of the table if they leave it as it is. Damage in a
 * row that is touched ends the walk with HF_ECORRUPT.
 * Any thread; nothing is written. */
#include "storage/overlay.h"

#include "storage/codec.h"
#include "storage/error.h"
#include "storage/leaves.h"

/* Facts lie anywhere in their records: they are asked for so many rows early. */
enum { AHEAD = 8, PAGE = 4096, LINE = 64 };

static int load_row(void *user, hf_table table, const hf_key *key, hf_bytes *payload)
{
    return hf_row_get(user, table, key, payload);
}

/* A walk: the table's cursor on one side, the facts on the other. */
typedef struct walk {
    const hf_overlay   *over;
    const hf_survivors *s;
    hf_table            table;
    hf_cursor          *cursor; /* NULL: along the leaves */
    hf_leaves           leaves;
    hf_bytes            key, value; /* the table's next row; key.data NULL: no more */
    size_t              from, to;   /* the next run of facts */
    hf_key              run;
    hf_key              purged;     /* steps that begin so are gone from the table */
    uintptr_t           page;       /* of the file, where the row before was */
    hf_overlay_fn           each;
    void               *user;
} walk;

static bool has_run(const walk *w)
{
    return w->s && w->from < w->s->table[w->table].count;
}

static void next_run(walk *w)
{
    w->from = w->to;
    if (!has_run(w))
        return;
    const hf_survivor_list *list = &w->s->table[w->table];
    if (w->from + AHEAD < list->count) {
        __builtin_prefetch(list->items[w->from + AHEAD].entry);
        __builtin_prefetch(list->items[w->from + AHEAD].entry + 64);
    }
    w->to = hf_survivors_run(w->s, w->table, w->from, &w->run);
}

static int next_row(walk *w, int err)
{
    if (err)
        w->key = hf_view(NULL, 0);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* Steps: a run is one step, or the number of a message whose steps all went. */
static int show_step(walk *w)
{
    const hf_survivor *item = &w->s->table[HF_IN_STEPS].items[w->from];
    hf_entry e;
    size_t size = hf_survivor_entry(w->s, item, &e);
    if (e.op != HF_OP_STEP) {
        w->purged = w->run;
        return HF_OK;
    }
    return w->each(w->user, hf_key_bytes(&w->run), hf_view(item->entry, size));
}

static int show_row(walk *w)
{
    hf_bytes payload;
    if (w->purged.len && w->key.len >= w->purged.len
        && memcmp(w->key.data, w->purged.bytes, w->purged.len) == 0)
        return HF_OK;
    if (w->over->skip && w->over->skip(w->user, w->key, w->value))
        return HF_OK;
    w->leaves.wanted++;
    if (w->over->keys)
        return w->each(w->user, w->key, hf_view(NULL, 0));
    int err = hf_row_open(w->table, w->key, w->value, &payload);
    return err ? err : w->each(w->user, w->key, payload);
}

static int fate_of_run(const walk *w, hf_fate *fate)
{
    return hf_fate_of(w->s, w->table, w->from, w->to, &w->run, load_row, w->over->txn,
                      w->over->buf, fate);
}

static int show_fate(walk *w, const hf_fate *fate)
{
    return w->each(w->user, hf_key_bytes(&w->run), hf_view(w->over->buf->bytes + 1, fate->len));
}

static int show_run(walk *w)
{
    hf_fate fate;
    if (w->table == HF_IN_STEPS)
        return show_step(w);
    int err = fate_of_run(w, &fate);
    return err || fate.verdict != HF_FATE_PUT ? err : show_fate(w, &fate);
}

/* The facts say nothing after all (an alarm that was replaced): the row stands. */
static int show_both(walk *w)
{
    hf_fate fate;
    if (w->table == HF_IN_STEPS)
        return show_step(w);
    int err = fate_of_run(w, &fate);
    if (err || fate.verdict == HF_FATE_GONE)
        return err;
    return fate.verdict == HF_FATE_NONE ? show_row(w) : show_fate(w, &fate);
}

/* Is this key behind the last one wanted? A neighbour's row must not even be opened. */
static bool is_behind(const hf_overlay *over, hf_bytes key)
{
    hf_bytes within = over->within;
    return within.len && (key.len < within.len || memcmp(key.data, within.data, within.len) != 0);
}

/* A long walk waits for memory more than for anything else: ask for all of a page as soon
 * as it is entered. */
static void fetch_page(walk *w)
{
    uintptr_t page = (uintptr_t)w->key.data / PAGE * PAGE;
    if (page == w->page)
        return;
    uintptr_t next = page + (page - w->page); /* often: they were written one by one */
    for (uintptr_t line = 0; page && w->page && line < PAGE; line += LINE) {
        __builtin_prefetch((const void *)(page + line));
        if (line < 4 * LINE)
            __builtin_prefetch((const void *)(next + line));
    }
    w->page = page;
}

static int walk_on(walk *w)
{
    int err = HF_OK;
    while (!err && (w->key.data || has_run(w))) {
        int order = !w->key.data  ? 1
                    : !has_run(w) ? -1
                                  : hf_key_compare(w->key, hf_key_bytes(&w->run));
        if (is_behind(w->over, order <= 0 ? w->key : hf_key_bytes(&w->run)))
            break;
        err = order < 0 ? show_row(w) : order > 0 ? show_run(w) : show_both(w);
        if (!err && order <= 0) {
            err = next_row(w, w->cursor ? hf_cursor_next(w->cursor, &w->key, &w->value)
                                        : hf_leaves_next(&w->leaves, &w->key, &w->value));
            if (w->cursor)
                fetch_page(w);
        }
        if (!err && order >= 0)
            next_run(w);
    }
    return err;
}

enum { TYPES_MOST = 64 }; /* to be compared by name in each look-up */

/* The items of a key's type in a table that is ordered by actor; none: nobody of it. */
static void span_of_type(const hf_survivors *s, const hf_survivor_list *list, const char *type,
                         size_t *low, size_t *high)
{
    uint32_t rank = 0;
    bool known = false;
    for (uint32_t i = 0; i < s->type_count; i++) {
        int order = strcmp(s->types[i], type);
        rank += order < 0;
        known = known || !order;
    }
    *low = 0;
    *high = list->count;
    if (known && list->items[0].type == rank && list->items[list->count - 1].type == rank)
        return; /* there is no other */
    for (int end = 0; end < 2; end++) { /* the first of it, then the first of the next */
        size_t from = 0, to = list->count;
        while (from < to) {
            size_t mid = from + (to - from) / 2;
            if (list->items[mid].type < rank + (known ? (uint32_t)end : 0))
                from = mid + 1;
            else
                to = mid;
        }
        *(end ? high : low) = from;
    }
}

/* The first item of [low, high) whose hash is not below this one. Hashes are spread
 * evenly, so a guess by their size is nearly right; every other step halves. */
static size_t first_of_hash(const hf_survivor_list *list, size_t low, size_t high, uint64_t hash)
{
    for (bool guess = true; low < high; guess = !guess) {
        uint64_t first = list->items[low].hash, last = list->items[high - 1].hash;
        if (hash <= first)
            return low;
        if (hash > last)
            return high;
        double share = guess ? (double)(hash - first) / (double)(last - first) : 0.5;
        size_t at = low + (size_t)(share * (double)(high - 1 - low));
        if (list->items[at].hash < hash)
            low = at + 1;
        else
            high = at;
    }
    return low;
}

/* The first item that may be about the actor whose key that is, or begins so: found without a
 * look at entries, which lie anywhere. False: it is none, or can't be told so. */
static bool find_actor(const hf_survivors *s, hf_table table, hf_bytes key, size_t *at)
{
    const char *type = key.data; /* ends with a zero byte, the hash follows */
    size_t len = strnlen(type, key.len), low, high;
    if (!hf_survivors_of_actors(table) || key.len < len + 9 || s->type_count > TYPES_MOST)
        return false;
    span_of_type(s, &s->table[table], type, &low, &high);
    *at = first_of_hash(&s->table[table], low, high,
                        hf_get64_key((const uint8_t *)key.data + len + 1));
    return true;
}

/* The first run at or behind `from`. Steps: all of a message's may have gone before. Who asks
 * for one actor's rows asks for another's next: what was near before is not now. */
static void first_run(walk *w, hf_bytes from)
{
    size_t near = 0, *hint = w->over->hint ? w->over->hint : &near;
    if (!w->s)
        return;
    if (w->table == HF_IN_STEPS) {
        for (next_run(w); has_run(w); next_run(w)) {
            if (hf_key_compare(hf_key_bytes(&w->run), from) >= 0)
                break;
            if (w->run.len == 8)
                w->purged = w->run;
        }
        return;
    }
    if (w->over->within.len && find_actor(w->s, w->table, from, &near))
        *hint = near;
    w->to = hf_survivors_seek(w->s, w->table, from, hint);
    next_run(w);
}

static int seek_row(walk *w, hf_bytes from)
{
    if (!w->cursor)
        return hf_leaves_seek(&w->leaves, from, &w->key, &w->value);
    return from.len ? hf_cursor_seek(w->cursor, from, &w->key, &w->value)
                    : hf_cursor_first(w->cursor, &w->key, &w->value);
}

int hf_overlay_walk(const hf_overlay *overlay, hf_table table, hf_bytes from, hf_overlay_fn each,
                    void *user)
{
    static const uint8_t zero[1] = { 0 };
    walk w = { .over = overlay, .s = overlay->facts, .table = table, .each = each, .user = user };
    if (w.s && !w.s->table[table].count)
        w.s = NULL;
    bool leaves = overlay->skip && hf_leaves_open(&w.leaves, overlay->txn, table);
    int err = leaves ? HF_OK : hf_cursor_open(overlay->txn, table, &w.cursor);
    if (err)
        return err;
    if (!from.data)
        from.data = zero;
    err = next_row(&w, seek_row(&w, from));
    first_run(&w, from);
    if (!err)
        err = walk_on(&w);
    hf_cursor_close(w.cursor);
    return err;
}

/* ---- One row */

/* Where the facts about a row may begin: an actor has one state, so there most items are
 * passed without a look at their entries. */
static size_t facts_near(const hf_overlay *over, hf_table table, hf_bytes key)
{
    size_t none = 0, *hint = over->hint ? over->hint : &none, at;
    if (table == HF_IN_STATE && find_actor(over->facts, table, key, &at))
        return at;
    return hf_survivors_seek(over->facts, table, key, hint);
}

static int get_row(const hf_overlay *over, hf_table table, hf_bytes key, hf_bytes *payload)
{
    hf_bytes value;
    int got = hf_txn_get(over->txn, table, key, &value);
    return got ? got : hf_row_open(table, key, value, payload);
}

/* Do the facts say what becomes of that row? HF_FATE_NONE: the table does. */
static int look_at_facts(const hf_overlay *over, hf_table table, hf_bytes key, hf_fate *fate)
{
    const hf_survivors *s = over->facts;
    int order = -1;
    hf_key run;
    fate->verdict = HF_FATE_NONE;
    for (size_t to, from = facts_near(over, table, key); from < s->table[table].count; from = to) {
        to = hf_survivors_run(s, table, from, &run);
        order = hf_key_compare(hf_key_bytes(&run), key);
        if (!order)
            return hf_fate_of(s, table, from, to, &run, load_row, over->txn, over->buf, fate);
        if (order > 0)
            break;
    }
    return HF_OK;
}

typedef struct exact {
    hf_bytes  key;
    hf_bytes *payload;
    int       found;
} exact;

enum { STOP = 1 };

static int take_exact(void *user, hf_bytes key, hf_bytes payload)
{
    exact *x = user;
    if (hf_key_compare(key, x->key) == 0) {
        *x->payload = payload;
        x->found = 1;
    }
    return STOP;
}

static int get_step(const hf_overlay *overlay, hf_bytes key, hf_bytes *payload)
{
    exact x = { key, payload, 0 };
    hf_overlay only = *overlay;
    only.within = key;
    int err = hf_overlay_walk(&only, HF_IN_STEPS, key, take_exact, &x);
    if (err && err != STOP)
        return err;
    return x.found ? HF_OK : HF_ENOTFOUND;
}

int hf_overlay_get(const hf_overlay *overlay, hf_table table, hf_bytes key, hf_bytes *payload)
{
    hf_fate fate;
    if (!overlay->facts || !overlay->facts->table[table].count)
        return get_row(overlay, table, key, payload); /* nothing lies over the table */
    if (table == HF_IN_STEPS)
        return get_step(overlay, key, payload);
    int err = look_at_facts(overlay, table, key, &fate);
    if (err || fate.verdict == HF_FATE_GONE)
        return err ? err : HF_ENOTFOUND;
    if (fate.verdict == HF_FATE_NONE)
        return get_row(overlay, table, key, payload);
    *payload = hf_view(overlay->buf->bytes + 1, fate.len);
    return HF_OK;
}
