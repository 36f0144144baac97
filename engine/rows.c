/* rows.c - an actor's own table: put, get and walk in a turn.
 *
 * Happy path: a put is staged as an entry and noted in the turn's set; a look-up
 * asks that set, then what earlier turns of the actor left in memory, then the
 * tables. A walk merges the three: rows of the tables come in pages that are
 * copied out of one short snapshot, since what is called may take its time and
 * may put. A turn that stands hands its set to the actor: rowed.c.
 *
 * Fails: whatever goes wrong fails the turn, damage too; nothing staged by it is
 * left. The turn's thread; on a pool nobody else changes what it reads. */
#include "engine/rows.h"

#include "storage/error.h"
#include "storage/memory.h"

enum { PAGE_ROWS = 256, PAGE_BYTES = 256 << 10, STOP = 1 };

typedef struct row_name {
    uint8_t bytes[HF_ROW_NAME_MAX];
    size_t  len;
} row_name;

static hf_bytes bytes_of(const row_name *name)
{
    return hf_view(name->bytes, name->len);
}

static int fail(hf_turn *turn, int err)
{
    hf_turn_fail(turn, err);
    return err;
}

static int make_name(hf_turn *turn, uint8_t shelf, hf_bytes key, row_name *name)
{
    if (turn->err)
        return turn->err; /* what it reads would not be what it staged */
    if (turn->kind->is.workers > 1)
        return fail(turn, hf_error(HF_EINVAL, "an actor with .workers has no rows"));
    if (!key.data || !key.len || key.len > HF_NAME_MAX)
        return fail(turn, hf_error(HF_EINVAL, "a row's key has 1 to %d bytes, not %zu",
                                   HF_NAME_MAX, key.data ? key.len : 0));
    name->bytes[0] = shelf;
    memcpy(name->bytes + 1, key.data, key.len);
    name->len = 1 + key.len;
    return HF_OK;
}

/* What the turns before it left: a shard's turn finds it, a pool's was handed it. */
static const hf_rowset *left_by_others(const hf_turn *turn)
{
    hf_engine *engine = turn->engine;
    const hf_entry *e = turn->e;
    if (turn->on_pool)
        return turn->parcel->rows_left;
    hf_shard *shard = &engine->shards[hf_address_shard(e->hash, engine->shard_count)];
    hf_actor *actor = hf_actors_find(&shard->actors, e->hash, e->to, e->to_len);
    return actor ? hf_rows_lend(shard, actor) : NULL;
}

static hf_turn_rows *rows_of(hf_turn *turn)
{
    if (turn->rows)
        return turn->rows;
    hf_turn_rows *rows = hf_mem_zero(1, sizeof *rows);
    hf_rowset *staged = hf_rowset_new();
    if (!rows || !staged) {
        hf_mem_free(rows);
        hf_rowset_free(staged);
        hf_turn_fail(turn, hf_error(HF_ENOMEM, "rows of %s", turn->e->to));
        return NULL;
    }
    rows->staged = staged;
    rows->left = left_by_others(turn);
    return turn->rows = rows;
}

static void free_replaced(hf_turn_rows *rows)
{
    while (rows->replaced) {
        hf_rowitem *next = rows->replaced->older;
        hf_rowitem_free(rows->replaced);
        rows->replaced = next;
    }
}

void hf_rows_cut(hf_turn_rows *rows)
{
    hf_rowset_clear(rows->staged);
    free_replaced(rows);
}

void hf_rows_end(hf_turn_rows *rows)
{
    if (!rows)
        return;
    free_replaced(rows);
    hf_rowset_free(rows->staged); /* NULL: it is the actor's now */
    hf_rowbuf_done(&rows->buf);
    hf_mem_free(rows);
}

/* ---- Putting */

int hf_rows_put(hf_turn *turn, uint8_t shelf, hf_bytes key, hf_bytes value)
{
    row_name name;
    int err = make_name(turn, shelf, key, &name);
    if (err)
        return err;
    /* Ours hold a body and some words more; it may have been taken under another limit. */
    if (shelf == HF_SHELF_USER && value.data && value.len > turn->engine->options.body_max)
        return fail(turn, hf_error(HF_ETOOBIG, "a row of %zu bytes, options.body_max is %u",
                                   value.len, turn->engine->options.body_max));
    hf_turn_rows *rows = rows_of(turn);
    if (!rows)
        return turn->err;
    hf_rowitem *item = hf_rowset_make(rows->staged, bytes_of(&name), value);
    if (!item)
        return fail(turn, hf_error(HF_ENOMEM, "a row of %zu bytes", value.len));
    hf_entry e = { .op = value.data ? HF_OP_PUT : HF_OP_DROP, .to = turn->e->to,
                   .to_len = turn->e->to_len, .hash = turn->e->hash,
                   .name = (const char *)name.bytes, .name_len = (uint8_t)name.len,
                   .data = value.data ? value : hf_view(NULL, 0),
                   .error = "", .from = "", .answer = "", .dedupe = "" };
    if (!hf_turn_stage(turn, hf_batch_facts(turn->batch), &e)) {
        hf_rowitem_free(item);
        return turn->err;
    }
    atomic_store_explicit(&turn->engine->rowed, true, memory_order_relaxed);
    hf_rowitem *old = hf_rowset_put(rows->staged, item);
    if (old) {
        old->older = rows->replaced;
        rows->replaced = old;
    }
    return HF_OK;
}

/* ---- Reading the tables */

static bool may_be_in_tables(const hf_turn *turn)
{
    return atomic_load_explicit(&turn->engine->rowed, memory_order_relaxed);
}

static void key_of(const hf_turn *turn, hf_bytes name, hf_key *key)
{
    const hf_entry *e = turn->e;
    hf_key_actor(key, e->to, e->to_len, e->hash);
    key->bytes[key->len++] = 0;
    memcpy(key->bytes + key->len, name.data, name.len);
    key->len += name.len;
}

static int look(hf_turn *turn, hf_turn_rows *rows, hf_overlay *tables)
{
    *tables = (hf_overlay){ .buf = &rows->buf };
    return hf_log_look(turn->engine->log, &tables->txn, &tables->facts);
}

static int too_short(const hf_turn *turn)
{
    return hf_error(HF_ECORRUPT, "a row of %s is cut short", turn->e->to);
}

/* One row, copied to memory of the turn. */
static int get_from_tables(hf_turn *turn, hf_turn_rows *rows, hf_bytes name, hf_bytes *value)
{
    hf_overlay tables;
    hf_bytes payload;
    hf_key key;
    key_of(turn, name, &key);
    int err = look(turn, rows, &tables);
    if (err)
        return err;
    err = hf_overlay_get(&tables, HF_IN_ROWS, hf_key_bytes(&key), &payload);
    if (!err && payload.len < 8)
        err = too_short(turn);
    if (!err) {
        size_t len = payload.len - 8;
        uint8_t *copy = hf_alloc(turn, len ? len : 1);
        if (copy && len)
            memcpy(copy, (const uint8_t *)payload.data + 8, len);
        *value = hf_view(copy, len);
        err = copy ? HF_OK : turn->err;
    }
    hf_txn_abort(tables.txn);
    return err;
}

int hf_rows_get(hf_turn *turn, uint8_t shelf, hf_bytes key, hf_bytes *value)
{
    row_name name;
    *value = hf_view(NULL, 0);
    int err = make_name(turn, shelf, key, &name);
    hf_turn_rows *rows = err ? NULL : rows_of(turn);
    if (!rows)
        return turn->err;
    const hf_rowitem *item = hf_rowset_find(rows->staged, bytes_of(&name));
    if (!item && rows->left)
        item = hf_rowset_find(rows->left, bytes_of(&name));
    if (item) {
        if (!item->gone)
            *value = hf_rowitem_value(item);
        return item->gone ? HF_ENOTFOUND : HF_OK;
    }
    if (!may_be_in_tables(turn))
        return HF_ENOTFOUND;
    err = get_from_tables(turn, rows, bytes_of(&name), value);
    return err && err != HF_ENOTFOUND ? fail(turn, err) : err;
}

/* ---- Walking */

/* Rows of the tables, copied: name_len(1) name, then the value on a 16-byte boundary. */
typedef struct row_page {
    uint8_t *bytes;
    size_t   used, room;
    uint32_t count, next;
    bool     more;               /* the tables may hold more behind it */
    uint32_t at[PAGE_ROWS];
    uint32_t len[PAGE_ROWS];     /* of the value */
} row_page;

typedef struct row_walk {
    hf_turn      *turn;
    hf_turn_rows *rows;
    row_name      at;            /* shown last, or where to begin */
    bool          behind;        /* shown: go on with the next */
    size_t        prefix;        /* of a row's key before its name */
    row_page      page;
} row_walk;

static size_t value_from(size_t at, size_t name_len)
{
    return (at + 1 + name_len + 15) & ~(size_t)15;
}

static hf_bytes page_name(const row_page *page, uint32_t i)
{
    return hf_view(page->bytes + page->at[i] + 1, page->bytes[page->at[i]]);
}

static hf_bytes page_value(const row_page *page, uint32_t i)
{
    return hf_view(page->bytes + value_from(page->at[i], page->bytes[page->at[i]]), page->len[i]);
}

static int page_row(void *user, hf_bytes key, hf_bytes payload)
{
    row_walk *w = user;
    row_page *page = &w->page;
    if (page->count == PAGE_ROWS || page->used >= PAGE_BYTES)
        return STOP;
    if (payload.len < 8 || key.len <= w->prefix || key.len - w->prefix > HF_ROW_NAME_MAX)
        return too_short(w->turn);
    size_t name_len = key.len - w->prefix, len = payload.len - 8;
    size_t value = value_from(page->used, name_len), end = (value + len + 15) & ~(size_t)15;
    if (end > page->room) {
        size_t room = end < 4096 ? 4096 : end + end / 2;
        uint8_t *bytes = hf_mem_grow(page->bytes, room);
        if (!bytes)
            return hf_error(HF_ENOMEM, "rows of %s", w->turn->e->to);
        page->bytes = bytes;
        page->room = room;
    }
    page->bytes[page->used] = (uint8_t)name_len;
    memcpy(page->bytes + page->used + 1, (const uint8_t *)key.data + w->prefix, name_len);
    if (len)
        memcpy(page->bytes + value, (const uint8_t *)payload.data + 8, len);
    page->at[page->count] = (uint32_t)page->used;
    page->len[page->count++] = (uint32_t)len;
    page->used = end;
    return HF_OK;
}

/* The next rows of the tables. No snapshot is left open: who is shown them may take long. */
static int fill_page(row_walk *w)
{
    hf_overlay tables;
    hf_key within, from;
    w->page.count = w->page.next = 0;
    w->page.used = 0;
    key_of(w->turn, hf_view(w->at.bytes, 1), &within);
    key_of(w->turn, bytes_of(&w->at), &from);
    if (w->behind)
        from.bytes[from.len++] = 0; /* the least key above it */
    w->prefix = within.len - 1;
    int err = look(w->turn, w->rows, &tables);
    if (err)
        return err;
    tables.within = hf_key_bytes(&within);
    err = hf_overlay_walk(&tables, HF_IN_ROWS, hf_key_bytes(&from), page_row, w);
    hf_txn_abort(tables.txn);
    w->page.more = err == STOP;
    return err == STOP ? HF_OK : err;
}

static const hf_rowitem *next_item(const row_walk *w, const hf_rowset *set)
{
    const hf_rowitem *item = set ? hf_rowset_seek(set, bytes_of(&w->at), w->behind) : NULL;
    const uint8_t *name = item ? hf_rowitem_name(item).data : NULL;
    return name && name[0] == w->at.bytes[0] ? item : NULL;
}

/* The next row there is: false, there is none. `gone`: it is not to be shown. */
static bool next_row(row_walk *w, hf_bytes *value, bool *gone)
{
    row_page *page = &w->page;
    const hf_rowitem *item = next_item(w, w->rows->staged), *left = next_item(w, w->rows->left);
    if (left && (!item || hf_rowset_compare(hf_rowitem_name(left), hf_rowitem_name(item)) < 0))
        item = left;
    bool has_row = page->next < page->count;
    int order = !item ? 1 : !has_row ? -1
        : hf_rowset_compare(hf_rowitem_name(item), page_name(page, page->next));
    if (!item && !has_row)
        return false;
    hf_bytes name = order <= 0 ? hf_rowitem_name(item) : page_name(page, page->next);
    *gone = order <= 0 && item->gone;
    *value = order <= 0 ? hf_rowitem_value(item) : page_value(page, page->next);
    memcpy(w->at.bytes, name.data, name.len);
    w->at.len = name.len;
    w->behind = true;
    if (order >= 0)
        page->next++;
    return true;
}

static int walk_on(row_walk *w, hf_pair_fn each, void *user)
{
    hf_bytes value;
    bool gone;
    for (;;) {
        if (w->page.next == w->page.count && w->page.more) {
            int err = fill_page(w);
            if (err)
                return fail(w->turn, err);
        }
        if (!next_row(w, &value, &gone))
            return HF_OK;
        if (gone)
            continue;
        row_name name = w->at; /* lent: a walk inside this one has its own */
        int said = each(user, hf_view(name.bytes + 1, name.len - 1), value);
        if (said)
            return said;
        if (w->turn->err)
            return w->turn->err;
    }
}

int hf_rows_walk(hf_turn *turn, uint8_t shelf, hf_bytes from, hf_pair_fn each, void *user)
{
    row_walk w = { .turn = turn };
    static const uint8_t zero[1] = { 0 };
    hf_bytes some = from.len && from.data ? from : hf_view(zero, 1);
    if (some.len > HF_NAME_MAX) { /* no key is so long: on behind what it begins with */
        some.len = HF_NAME_MAX;
        w.behind = true;
    }
    int err = each ? make_name(turn, shelf, some, &w.at)
                   : fail(turn, hf_error(HF_EINVAL, "hf_walk needs a function to call"));
    if (!err && !(w.rows = rows_of(turn)))
        err = turn->err;
    if (err)
        return err;
    if (!from.len)
        w.at.len = 1; /* the shelf alone comes before all its keys */
    w.page.more = may_be_in_tables(turn);
    err = walk_on(&w, each, user);
    hf_mem_free(w.page.bytes);
    return err;
}

static int drop_row(void *user, hf_bytes key, hf_bytes value)
{
    (void)value;
    return hf_rows_put(user, HF_SHELF_USER, key, hf_view(NULL, 0));
}

void hf_rows_forget(hf_turn *turn)
{
    if (turn->kind->is.workers <= 1 && may_be_in_tables(turn))
        (void)hf_rows_walk(turn, HF_SHELF_USER, hf_view(NULL, 0), drop_row, turn);
}

/* ---- The public calls */

void hf_put(hf_turn *turn, hf_bytes key, hf_bytes value)
{
    (void)hf_rows_put(turn, HF_SHELF_USER, key, value);
}

int hf_get(hf_turn *turn, hf_bytes key, hf_bytes *value)
{
    return hf_rows_get(turn, HF_SHELF_USER, key, value);
}

int hf_walk(hf_turn *turn, hf_bytes from, hf_pair_fn each, void *user)
{
    return hf_rows_walk(turn, HF_SHELF_USER, from, each, user);
}
