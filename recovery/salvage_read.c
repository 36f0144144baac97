/* salvage_read.c - follow the trees of a damaged store, and note where they break.
 *
 * Happy path: table after table in the order of their keys; each row that is sound goes
 * into the new store. A page that can't be followed leaves a gap between the row before
 * and the one after; a damaged row whose key can be believed, that one key.
 * The index over alarms is not read: it follows from the alarms. One thread. */
#include "recovery/salvage.h"

#include "storage/due.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/record.h"
#include "storage/sharing.h"

#include <stdlib.h>

/* ---- Gaps */

static bool before(const hf_gap *gap, hf_table table, hf_bytes key)
{
    if (gap->table != table)
        return gap->table < table;
    int order = hf_key_compare(hf_key_bytes(&gap->from), key);
    return gap->one ? order <= 0 : order < 0 || !gap->from.len;
}

const hf_gap *hf_gaps_find(const hf_gaps *g, hf_table table, hf_bytes key)
{
    size_t low = 0, high = g->count; /* the last one that begins before the key */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (before(&g->all[mid], table, key))
            low = mid + 1;
        else
            high = mid;
    }
    const hf_gap *gap = low ? &g->all[low - 1] : NULL;
    if (!gap || gap->table != table)
        return NULL;
    if (gap->one)
        return hf_key_compare(hf_key_bytes(&gap->from), key) == 0 ? gap : NULL;
    return !gap->has_to || hf_key_compare(key, hf_key_bytes(&gap->to)) < 0 ? gap : NULL;
}

/* Rows whose keys begin with the id. */
bool hf_gaps_near(const hf_gaps *g, hf_table table, uint64_t id)
{
    for (size_t i = 0; i < g->count; i++) {
        const hf_gap *gap = &g->all[i];
        uint64_t from = gap->from.len >= 8 ? hf_get64_key(gap->from.bytes) : 0;
        uint64_t to = gap->has_to ? hf_get64_key(gap->to.bytes) : UINT64_MAX;
        if (gap->table == table && id >= from && id <= (gap->one ? from : to))
            return true;
    }
    return false;
}

bool hf_gaps_any(const hf_gaps *g, hf_table table)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->all[i].table == table)
            return true;
    return false;
}

static int add_gap(hf_salvaging *s, hf_table table, const hf_key *from, bool one)
{
    hf_gaps *g = &s->gaps;
    if (g->open)
        return HF_OK; /* it lies in that one */
    if (g->count == g->room) {
        size_t room = g->room ? g->room * 2 : 16;
        hf_gap *all = hf_mem_grow(g->all, room * sizeof *all);
        if (!all)
            return hf_error(HF_ENOMEM, "%zu gaps", room);
        g->all = all;
        g->room = room;
    }
    g->all[g->count++] = (hf_gap){ .table = table, .one = one, .from = *from };
    g->open = !one;
    return HF_OK;
}

static void close_gap(hf_salvaging *s, hf_bytes key)
{
    hf_gap *gap = s->gaps.open ? &s->gaps.all[s->gaps.count - 1] : NULL;
    s->gaps.open = false;
    if (!gap || !key.len)
        return;
    gap->has_to = true;
    memcpy(gap->to.bytes, key.data, key.len);
    gap->to.len = key.len;
}

/* ---- Rows */

/* All entries of a record can be read, though its checksum is right. */
static bool record_reads(hf_bytes value, const hf_record_head *head)
{
    const uint8_t *first = (const uint8_t *)value.data + hf_record_entries_at(head->runs);
    const uint8_t *at = first, *end = (const uint8_t *)value.data + head->size;
    for (uint32_t i = 0; i < head->count; i++) {
        hf_entry e;
        size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
        if (!size || !hf_sharing_resolve(first, at, &e))
            return false;
        at += size;
    }
    return true;
}

bool hf_salvage_sound(hf_checkup *c, hf_table table, uint64_t page, hf_bytes key, hf_bytes value)
{
    uint64_t before_it = c->findings;
    hf_record_head head;
    c->table = table;
    hf_checkup_row(c, page, key, value);
    if (key.len > sizeof ((hf_key *)NULL)->bytes)
        return false;
    if (table != HF_IN_LOG)
        return c->findings == before_it;
    /* A record whose neighbours are lost is told, but it is sound. */
    return key.len == 8 && !hf_record_check(value.data, value.len, hf_get64_key(key.data), &head)
           && record_reads(value, &head);
}

/* Positions that were given may not be given again, whoever has them. */
static void note_positions(hf_salvaging *s, hf_table table, hf_bytes key, hf_bytes value)
{
    const uint8_t *payload = (const uint8_t *)value.data + 1;
    hf_entry e;
    switch (table) {
    case HF_IN_STATE:
        hf_rebuild_given(s->rebuild, hf_state_position(hf_get64(payload)));
        return;
    case HF_IN_ROWS:
    case HF_IN_DEDUPE:
    case HF_IN_TOPICS:
        hf_rebuild_given(s->rebuild, hf_get64(payload));
        return;
    case HF_IN_ALARM_NAMES:
        hf_rebuild_given(s->rebuild, hf_get64(payload + 8));
        return;
    case HF_IN_STEPS:
        hf_rebuild_given(s->rebuild, hf_get64_key(key.data));
        return;
    case HF_IN_INBOX:
    case HF_IN_DEAD:
        if (hf_row_message(table, key, value, &e))
            return;
        hf_rebuild_given(s->rebuild, e.id);
        hf_rebuild_given(s->rebuild, e.place);
        return;
    default:
        return;
    }
}

int hf_salvage_admit(hf_salvaging *s, hf_table table, hf_bytes key, hf_bytes value)
{
    int err = hf_rebuild_row(s->rebuild, table, key, value);
    if (err)
        return err;
    note_positions(s, table, key, value);
    return hf_copying_row(&s->copying, table, key, value);
}

static void copy_key(hf_key *to, hf_bytes key)
{
    memcpy(to->bytes, key.data, key.len);
    to->len = key.len;
}

/* Can the key of a damaged row be believed? It stands in order, and where it names an
 * actor the hash in it is that actor's. */
static bool key_holds(const hf_salvaging *s, hf_table table, hf_bytes key)
{
    char address[HF_ADDRESS_MAX + 1];
    uint64_t hash;
    if (key.len > sizeof s->last.bytes
        || (s->last.len && hf_key_compare(key, hf_key_bytes(&s->last)) <= 0))
        return false;
    const hf_gap *gap = s->gaps.count ? &s->gaps.all[s->gaps.count - 1] : NULL;
    if (gap && gap->table == table && hf_key_compare(key, hf_key_bytes(&gap->from)) <= 0)
        return false;
    if (!hf_salvage_has_actors(table))
        return true;
    size_t len = hf_salvage_actor(table, key, address);
    size_t type = len ? hf_address_type_len(address, len) : 0;
    if (!len || !hf_address_ok(address, len) || key.len < type + 9)
        return false;
    hash = hf_get64_key((const uint8_t *)key.data + type + 1);
    return hash == hf_address_hash(s->checkup.seed, address, len);
}

static int lose_row(hf_salvaging *s, hf_table table, hf_bytes key)
{
    hf_key one;
    if (s->gaps.open || !key_holds(s, table, key))
        return add_gap(s, table, &s->last, false);
    copy_key(&one, key);
    return add_gap(s, table, &one, true);
}

/* A damaged key that was believed stands behind the next sound one: it was wrong, and what
 * is missing lies anywhere between the sound ones. */
static int doubt_keys(hf_salvaging *s, hf_table table, hf_bytes next)
{
    bool wrong = false;
    for (hf_gaps *g = &s->gaps; g->count && g->all[g->count - 1].table == table
                                && g->all[g->count - 1].one; g->count--) {
        if (hf_key_compare(hf_key_bytes(&g->all[g->count - 1].from), next) < 0)
            break;
        wrong = true;
    }
    return wrong ? add_gap(s, table, &s->last, false) : HF_OK;
}

/* A page from another time, or another place: either this one, or the one before it. What
 * is there was taken; what is missing lies anywhere above the last key that is lower, and
 * perhaps in pages that were read: such as were passed over because of the wrong one. */
static int doubt_order(hf_salvaging *s, hf_table table, uint64_t page, hf_bytes key)
{
    hf_finding f = {
        .name = "row misplaced", .table = hf_table_name(table), .page = page, .key = key
    };
    hf_gaps *g = &s->gaps;
    hf_key from = { .len = 0 };
    hf_checkup_found(&s->checkup, &f, "it stands behind a row that comes after it");
    int err = s->checkup.err;
    if (!err)
        err = hf_rebuild_below(s->rebuild, table, key, &from);
    if (err && err != HF_ENOTFOUND)
        return err;
    while (g->count && g->all[g->count - 1].table == table
           && hf_key_compare(hf_key_bytes(&g->all[g->count - 1].from), hf_key_bytes(&from)) >= 0)
        g->count--; /* it lies in the new one */
    g->open = false;
    s->hidden = true;
    return add_gap(s, table, &from, false);
}

static int see_row(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    hf_salvaging *s = user;
    hf_table table = s->checkup.table;
    bool sound = hf_salvage_sound(&s->checkup, table, page, key, value);
    bool ordered = !s->last.len || hf_key_compare(key, hf_key_bytes(&s->last)) > 0;
    if (s->checkup.err)
        return s->checkup.err;
    if (!sound)
        return lose_row(s, table, key);
    if (!ordered)
        return doubt_order(s, table, page, key);
    int err = doubt_keys(s, table, key);
    if (err)
        return err;
    close_gap(s, key);
    copy_key(&s->last, key);
    s->reached[table]++;
    if (table == HF_IN_LOG && hf_get64_key(key.data) < s->tail)
        return HF_OK; /* history: it is in the rows */
    if (table == HF_IN_LOG)
        s->log_end = hf_get64_key(key.data) + hf_get32((const uint8_t *)value.data + 8);
    return hf_salvage_admit(s, table, key, value);
}

/* The walk can't be ended from here; the next row does. */
static void page_bad(void *user, uint64_t page, const char *why)
{
    hf_salvaging *s = user;
    hf_table table = s->checkup.table;
    hf_finding f = { .name = "page damaged", .table = hf_table_name(table), .page = page };
    hf_checkup_found(&s->checkup, &f, "%s: rows below it can't be reached", why);
    int err = add_gap(s, table, &s->last, false);
    if (err && !s->checkup.err)
        s->checkup.err = err;
}

/* ---- Tables */

/* What is missing below the tail is history: nothing of the truth. */
static void forget_history(hf_salvaging *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->gaps.count; i++) {
        const hf_gap *gap = &s->gaps.all[i];
        const hf_key *end = gap->one ? &gap->from : &gap->to;
        bool past = (gap->one || gap->has_to) && end->len == 8
                    && hf_get64_key(end->bytes) < s->tail + !gap->one;
        if (!past)
            s->gaps.all[kept++] = *gap;
    }
    if (s->gaps.count && !kept)
        s->wanted[HF_IN_LOG] = s->reached[HF_IN_LOG];
    s->gaps.count = kept;
}

/* Rows are hidden, or stand there twice, and it can't be said where. */
static int miscounted(hf_salvaging *s, hf_table table)
{
    static const hf_key start;
    hf_finding f = { .name = "rows miscounted", .table = hf_table_name(table) };
    hf_checkup_found(&s->checkup, &f, "%llu were found, LMDB counted %llu",
                     (unsigned long long)s->reached[table], (unsigned long long)s->wanted[table]);
    s->hidden = true;
    int err = s->checkup.err ? s->checkup.err : add_gap(s, table, &start, false);
    return err ? err : hf_salvage_hold(s, "*", "salvage: rows are missing, nobody can say whose");
}

static int read_table(hf_salvaging *s, hf_table table)
{
    static const hf_key start;
    hf_pages_tree tree;
    s->last.len = 0;
    s->checkup.table = table;
    int err = s->rootless ? HF_ENOTFOUND
                          : hf_pages_table(s->pages, 0, hf_table_name(table), &tree);
    if (err && err != HF_ENOTFOUND)
        return err;
    if (err) {
        hf_finding f = { .name = "table missing", .table = hf_table_name(table) };
        if (!s->rootless)
            hf_checkup_found(&s->checkup, &f, "%s", hf_error_detail());
        err = s->checkup.err ? s->checkup.err : add_gap(s, table, &start, false);
        s->gaps.open = false;
        s->wanted[table] = UINT64_MAX; /* nobody knows */
        return err;
    }
    s->wanted[table] = tree.rows;
    err = hf_pages_walk(s->pages, &tree, see_row, page_bad, s);
    if (!err)
        err = s->checkup.err;
    if (!err && table == HF_IN_LOG && !s->gaps.open)
        forget_history(s);
    if (!err && table == HF_IN_LOG && s->older)
        err = add_gap(s, table, &s->last, false); /* the newest commit may be lost with it */
    else if (!err && s->wanted[table] != s->reached[table] && !hf_gaps_any(&s->gaps, table))
        err = miscounted(s, table);
    close_gap(s, hf_view(NULL, 0));
    return err;
}

int hf_salvage_read(hf_salvaging *s)
{
    int err = HF_OK;
    for (int t = 0; !err && t < HF_TABLES; t++)
        if (t != HF_IN_META && t != HF_IN_ALARMS)
            err = read_table(s, (hf_table)t);
    for (size_t i = 0; !err && i < s->meta_count; i++)
        if (s->meta_keys[i].len != 4 || memcmp(s->meta_keys[i].bytes, "tail", 4) != 0)
            err = hf_salvage_admit(s, HF_IN_META, hf_key_bytes(&s->meta_keys[i]), s->meta[i]);
    return err;
}
