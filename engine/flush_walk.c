/* flush_walk.c - after a crash: which states are not known to be flushed?
 *
 * Happy path: with each errand some rows further. First the tombstones of the type,
 * few, then its states, the shard's share of them: those saved at or above the
 * watermark by an earlier run go with the answer. What this run changes is none of
 * its business: memory knows of that, or its position says so.
 *
 * Fails: without memory it goes on from the same row later; a damaged row is reported
 * and passed over, and the watermark stays. The shard's thread. */
#include "engine/dirty.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOMBS, STATES };
enum { LOOKS = 2048, STOP = 1, LATER = 2 };

typedef struct walk {
    hf_flush_desk *desk;
    hf_overlay    *tables;
    uint32_t       looks;
} walk;

static bool is_ours(const hf_flush_desk *d, uint64_t hash)
{
    return hf_address_shard(hash, d->flush->engine->shard_count) == d->shard->index;
}

/* From here on, when it goes on. */
static int stop_before(walk *w, hf_bytes key)
{
    memcpy(w->desk->walk_key.bytes, key.data, key.len);
    w->desk->walk_key.len = key.len;
    return LATER;
}

/* This row is done with. */
static int go_behind(walk *w, hf_bytes key)
{
    (void)stop_before(w, key);
    w->desk->walk_key.bytes[w->desk->walk_key.len++] = 0;
    return HF_OK;
}

/* An earlier run saved it, and it is not known to be flushed. */
static bool is_left(const hf_flush *f, uint64_t position)
{
    return position >= f->from && position < f->engine->first_id;
}

/* Did a turn of this run change it? Then that is what is flushed. */
static bool is_changed(const hf_flush_desk *d, uint64_t hash, const char *address, size_t len)
{
    const hf_actor *actor = hf_actors_find(&d->shard->actors, hash, address, len);
    return actor && actor->flushes;
}

/* ---- States */

static int see_state(void *user, hf_bytes key, hf_bytes payload)
{
    walk *w = user;
    hf_flush_desk *d = w->desk;
    char address[HF_ADDRESS_MAX + 1];
    uint64_t hash;
    if (w->looks++ >= LOOKS || hf_dirty_is_full(d))
        return stop_before(w, key);
    size_t len = hf_address_of_key(address, key.data, key.len, &hash);
    if (!len || !is_ours(d, hash))
        return STOP;
    uint64_t position = payload.len < 8 ? 0 : hf_state_position(hf_get64(payload.data));
    if (payload.len < 8 || !is_left(d->flush, position) || is_changed(d, hash, address, len))
        return go_behind(w, key);
    hf_dirty *e = hf_dirty_new(address, len, hash);
    size_t size = payload.len - 8;
    uint8_t *state = hf_mem_alloc(size ? size : 1);
    if (!e || !state) {
        hf_dirty_free(e);
        hf_mem_free(state);
        return hf_error(HF_ENOMEM, "the image of %s", address);
    }
    memcpy(state, (const uint8_t *)payload.data + 8, size);
    e->state = state;
    e->state_len = (uint32_t)size;
    e->version = position;
    atomic_fetch_add(&d->flush->dirty, 1);
    hf_dirty_came(d, e);
    return go_behind(w, key);
}

/* The first row of the type's share. */
static void start_states(hf_flush_desk *d)
{
    const hf_kind_of *kind = d->flush->kind;
    uint32_t shards = d->flush->engine->shard_count;
    uint64_t low = ((uint64_t)d->shard->index << 32) / shards;
    while (hf_address_shard(low << 32, shards) < d->shard->index)
        low++;
    memcpy(d->walk_key.bytes, kind->is.name, kind->name_len);
    d->walk_key.bytes[kind->name_len] = 0;
    hf_put64_key(d->walk_key.bytes + kind->name_len + 1, low << 32);
    d->walk_key.len = kind->name_len + 9;
}

static int first_key(void *user, hf_bytes key, hf_bytes payload)
{
    (void)payload;
    return stop_before(user, key);
}

/* Damage: it is the first row that was not seen. Report it, and go on behind. */
static int pass_damage(walk *w, hf_table table)
{
    hf_flush_desk *d = w->desk;
    char address[HF_ADDRESS_MAX + 1] = "a row", why[256];
    uint64_t hash;
    (void)snprintf(why, sizeof why, "%s", hf_error_detail());
    hf_key from = d->walk_key;
    w->tables->keys = true;
    int err = hf_overlay_walk(w->tables, table, hf_key_bytes(&from), first_key, w);
    if (err != LATER)
        return err;
    atomic_store(&d->flush->frozen, true);
    if (table == HF_IN_STATE)
        (void)hf_address_of_key(address, d->walk_key.bytes, d->walk_key.len, &hash);
    hf_engine_log(d->flush->engine, HF_ERROR, "type \"%s\": %s can't be flushed (%s)",
                  d->flush->kind->is.name, address, why);
    go_behind(w, hf_key_bytes(&d->walk_key));
    return LATER;
}

/* Look on in a table from where it stands, at rows whose keys begin so. */
static int look_on(walk *w, hf_table table, hf_bytes prefix, hf_overlay_fn each)
{
    hf_key from = w->desk->walk_key;
    w->tables->within = prefix;
    int err = hf_overlay_walk(w->tables, table, hf_key_bytes(&from), each, w);
    return err == HF_ECORRUPT || err == HF_EVERSION ? pass_damage(w, table) : err;
}

static int walk_states(walk *w)
{
    hf_flush_desk *d = w->desk;
    uint8_t prefix[HF_TYPE_MAX + 1];
    const hf_kind_of *kind = d->flush->kind;
    memcpy(prefix, kind->is.name, kind->name_len);
    prefix[kind->name_len] = 0;
    w->tables->hint = &d->near_states;
    if (!d->walk_key.len)
        start_states(d);
    return look_on(w, HF_IN_STATE, hf_view(prefix, kind->name_len + 1), see_state);
}

/* ---- Tombstones: at "type/-", for all shards */

static bool read_tomb(hf_bytes name, hf_tomb *tomb)
{
    char text[HF_TOMB_NAME];
    if (name.len != HF_TOMB_NAME)
        return false;
    memcpy(text, (const char *)name.data + 1, HF_TOMB_NAME - 1);
    text[HF_TOMB_NAME - 1] = 0;
    tomb->number = strtoull(text + 16, NULL, 16);
    text[16] = 0;
    tomb->run = strtoull(text, NULL, 16);
    return tomb->number != 0;
}

/* Is there a state again? That was saved later, then. */
static int has_state(walk *w, uint64_t hash, const char *address, size_t len, bool *has)
{
    hf_key key;
    hf_bytes payload;
    hf_rowbuf buf = { 0 };
    hf_overlay tables = { .txn = w->tables->txn, .facts = w->tables->facts, .buf = &buf };
    hf_key_actor(&key, address, len, hash);
    int err = hf_overlay_get(&tables, HF_IN_STATE, hf_key_bytes(&key), &payload);
    hf_rowbuf_done(&buf);
    *has = !err || err == HF_ECORRUPT || err == HF_EVERSION;
    return *has || err == HF_ENOTFOUND ? HF_OK : err;
}

static int take_tomb(walk *w, hf_tomb tomb, uint64_t position, const char *address, size_t len)
{
    hf_flush_desk *d = w->desk;
    uint64_t hash = hf_address_hash(d->flush->engine->seed, address, len);
    bool has = true;
    if (!is_ours(d, hash))
        return HF_OK;
    int err = hf_dirty_drop_ready(d, 1);
    if (!err && !is_changed(d, hash, address, len))
        err = has_state(w, hash, address, len, &has);
    if (err)
        return err;
    hf_dirty *e = hf_dirty_find(d, hash, address, len);
    if (has || (e && e->version >= position)) {
        hf_dirty_drop(d, tomb, 0);
        return HF_OK;
    }
    if (!e) {
        if (!(e = hf_dirty_new(address, len, hash)))
            return hf_error(HF_ENOMEM, "the end of %s", address);
        hf_dirty_line(d, e);
    } else {
        hf_dirty_drop(d, e->tomb, 0);
    }
    e->gone = true;
    e->tomb = tomb;
    e->first = e->version = position;
    return HF_OK;
}

static int see_tomb(void *user, hf_bytes key, hf_bytes payload)
{
    walk *w = user;
    const uint8_t *value = payload.data;
    hf_tomb tomb;
    if (w->looks++ >= LOOKS)
        return stop_before(w, key);
    size_t start = w->tables->within.len - 1, len = payload.len - 8;
    if (payload.len < 8 || len > HF_ADDRESS_MAX || key.len < start
        || !read_tomb(hf_view((const uint8_t *)key.data + start, key.len - start), &tomb)
        || !hf_address_ok((const char *)value + 8, len)
        || !is_left(w->desk->flush, hf_get64(value)))
        return go_behind(w, key);
    char address[HF_ADDRESS_MAX + 1];
    memcpy(address, value + 8, len);
    address[len] = 0;
    int err = take_tomb(w, tomb, hf_get64(value), address, len);
    return err ? err : go_behind(w, key);
}

static int walk_tombs(walk *w)
{
    hf_flush_desk *d = w->desk;
    char to[HF_TYPE_MAX + 3];
    const hf_kind_of *kind = d->flush->kind;
    hf_key prefix;
    (void)snprintf(to, sizeof to, "%s/-", kind->is.name);
    hf_entry e = { .to = to, .to_len = (uint8_t)(kind->name_len + 2), .name = "f", .name_len = 1,
                   .hash = hf_address_hash(d->flush->engine->seed, to, kind->name_len + 2) };
    hf_key_name(&prefix, &e);
    w->tables->hint = &d->near_rows;
    if (!d->walk_key.len)
        d->walk_key = prefix;
    return look_on(w, HF_IN_ROWS, hf_key_bytes(&prefix), see_tomb);
}

int hf_flush_walk(hf_flush_desk *d)
{
    hf_overlay tables;
    walk w = { .desk = d, .tables = &tables };
    int err = hf_paging_look(d->shard, NULL, &tables);
    if (err)
        return err;
    err = d->walk == TOMBS ? walk_tombs(&w) : walk_states(&w);
    hf_txn_abort(tables.txn);
    if (err == LATER)
        return HF_OK;
    if (err && err != STOP) {
        if (err != HF_ENOMEM)
            hf_engine_log(d->flush->engine, HF_ERROR, "type \"%s\": what is to be flushed can't "
                          "be read (%s)", d->flush->kind->is.name, hf_error_detail());
        return err;
    }
    d->walk++;
    d->walk_key.len = 0;
    return HF_OK;
}
