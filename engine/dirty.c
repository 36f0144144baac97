/* dirty.c - which actors of a type that flushes were changed, and their images.
 *
 * Happy path: a turn that saved or forgot stands; its actor gets an entry in the desk's
 * line, or, if it has one, that is about the newer change from now on. When the type's
 * thread asks, the states are copied, first come first; one that is staged and not
 * committed waits here until it is. The answer goes when the last of them is.
 *
 * Fails for want of memory: a turn is then tried again, an image asked for again; what
 * a pool's turn did and cannot be noted stays above the watermark until the next open.
 * An actor that left memory is read from the tables. The shard's thread. */
#include "engine/dirty.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

/* ---- Entries */

void hf_dirty_free(hf_dirty *e)
{
    if (!e)
        return;
    hf_mem_free(e->state);
    hf_mem_free(e);
}

hf_dirty *hf_dirty_new(const char *address, size_t len, uint64_t hash)
{
    hf_dirty *e = hf_mem_zero(1, sizeof *e + len + 1);
    if (!e)
        return NULL;
    e->hash = hash;
    e->len = (uint8_t)len;
    if (address)
        memcpy(e->address, address, len);
    return e;
}

hf_dirty *hf_dirty_find(const hf_flush_desk *d, uint64_t hash, const char *address, size_t len)
{
    hf_dirty *e = d->buckets[hash & d->mask];
    while (e && (e->hash != hash || e->len != len || memcmp(e->address, address, len) != 0))
        e = e->link;
    return e;
}

/* More buckets; without memory the chains are longer. */
static void grow(hf_flush_desk *d)
{
    uint32_t mask = d->mask * 2 + 1;
    hf_dirty **wider = hf_mem_zero((size_t)mask + 1, sizeof *wider);
    if (!wider)
        return;
    for (hf_dirty *e = d->first; e; e = e->next) {
        e->link = wider[e->hash & mask];
        wider[e->hash & mask] = e;
    }
    hf_mem_free(d->buckets);
    d->buckets = wider;
    d->mask = mask;
}

void hf_dirty_line(hf_flush_desk *d, hf_dirty *e)
{
    bool was_empty = !d->first;
    e->since_ns = hf_clock_mono_ns();
    e->next = NULL;
    *d->end = e;
    d->end = &e->next;
    e->link = d->buckets[e->hash & d->mask];
    d->buckets[e->hash & d->mask] = e;
    atomic_fetch_add(&d->flush->dirty, 1);
    if (++d->count > d->mask && d->mask < UINT32_MAX / 2)
        grow(d);
    if (!was_empty)
        return;
    atomic_store(&d->since_ns, e->since_ns);
    hf_flush_ring(d->flush);
}

/* The first in line leaves it. */
static void unline(hf_flush_desk *d, hf_dirty *e)
{
    hf_dirty **link = &d->buckets[e->hash & d->mask];
    while (*link != e)
        link = &(*link)->link;
    *link = e->link;
    d->first = e->next;
    if (!d->first)
        d->end = &d->first;
    d->count--;
}

int hf_dirty_drop_ready(hf_flush_desk *d, uint32_t count)
{
    if (d->drop_count + count <= d->drop_room)
        return HF_OK;
    uint32_t room = d->drop_room * 2 + count + 16;
    hf_tomb_drop *drops = hf_mem_grow(d->drops, room * sizeof *drops);
    if (!drops)
        return hf_error(HF_ENOMEM, "what is to be flushed");
    d->drops = drops;
    d->drop_room = room;
    return HF_OK;
}

void hf_dirty_drop(hf_flush_desk *d, hf_tomb tomb, uint64_t batch)
{
    if (tomb.number && d->drop_count < d->drop_room)
        d->drops[d->drop_count++] = (hf_tomb_drop){ tomb, batch };
}

/* ---- Turns */

static hf_flush_desk *desk_of(const hf_shard *shard, const hf_actor *actor)
{
    return &actor->kind->flush->desks[shard->index];
}

static int marks_ready(hf_dirty_marks *m)
{
    if (m->count < m->room)
        return HF_OK;
    uint32_t room = m->room ? m->room * 2 : 256;
    hf_dirty_mark *items = hf_mem_alloc(room * sizeof *items);
    if (!items)
        return hf_error(HF_ENOMEM, "what is to be flushed");
    for (uint32_t i = 0; i < m->count; i++)
        items[i] = m->items[(m->first + i) & (m->room - 1)];
    hf_mem_free(m->items);
    *m = (hf_dirty_marks){ items, 0, m->count, room };
    return HF_OK;
}

int hf_dirty_ready(hf_shard *shard, const hf_actor *actor)
{
    hf_flush_desk *d = desk_of(shard, actor);
    int err = marks_ready(shard->dirty);
    if (!err)
        err = hf_dirty_drop_ready(d, 2);
    if (err || hf_dirty_find(d, actor->hash, actor->address, actor->len))
        return err;
    if (d->spare && d->spare_len >= actor->len)
        return HF_OK;
    hf_dirty_free(d->spare);
    d->spare = hf_dirty_new(NULL, actor->len, 0);
    d->spare_len = actor->len;
    return d->spare ? HF_OK : hf_error(HF_ENOMEM, "what is to be flushed");
}

/* The actor's entry, made if there is none; tells about the newest change. */
static hf_dirty *note(hf_flush_desk *d, hf_actor *actor, bool gone, hf_tomb tomb, uint64_t batch,
                      uint64_t first)
{
    hf_dirty *e = hf_dirty_find(d, actor->hash, actor->address, actor->len);
    actor->flushes = true;
    if (!e) {
        e = d->spare;
        d->spare = NULL;
        e->hash = actor->hash;
        e->len = actor->len;
        memcpy(e->address, actor->address, actor->len + 1u);
        e->first = first;
        hf_dirty_line(d, e);
    }
    hf_dirty_drop(d, e->tomb, batch);
    if (!gone)
        hf_dirty_drop(d, tomb, batch);
    e->tomb = gone ? tomb : (hf_tomb){ 0, 0 };
    e->gone = gone;
    return e;
}

void hf_dirty_turn(hf_shard *shard, hf_actor *actor, const hf_turn *turn)
{
    hf_flush_desk *d = desk_of(shard, actor);
    hf_dirty_marks *m = shard->dirty;
    uint64_t batch = turn->batch->sequence;
    hf_tomb tomb = { shard->engine->first_id, turn->tomb };
    hf_dirty *e = note(d, actor, turn->forgot, tomb, batch, 0);
    e->batch = batch;
    e->index = turn->save_index;
    m->items[(m->first + m->count++) & (m->room - 1)]
        = (hf_dirty_mark){ e, batch, e->index, actor->kind->index };
}

void hf_dirty_parcel(hf_shard *shard, hf_actor *actor, const hf_parcel *p)
{
    hf_flush_desk *d = desk_of(shard, actor);
    hf_tomb tomb = { shard->engine->first_id, p->tomb };
    if (hf_dirty_ready(shard, actor)) {
        atomic_store(&d->flush->frozen, true);
        hf_engine_log(shard->engine, HF_ERROR, "%s is flushed after the next open: out of memory",
                      actor->address);
        return;
    }
    hf_dirty *e = note(d, actor, p->forgot, tomb, 0, d->floor);
    e->version = hf_batch_facts(p->batch)->base + p->save_index;
}

/* ---- Images */

void hf_dirty_came(hf_flush_desk *d, hf_dirty *e)
{
    e->next = NULL;
    *d->came_end = e;
    d->came_end = &e->next;
    d->image_count++;
    d->image_bytes += e->state_len;
}

/* Its share of a call is taken: others have some, too. */
bool hf_dirty_is_full(const hf_flush_desk *d)
{
    uint32_t shares = d->flush->desk_count;
    return d->image_count >= HF_FLUSH_IMAGES / shares || d->image_bytes >= HF_FLUSH_BYTES / shares;
}

static int copy(hf_dirty *e, hf_bytes state)
{
    e->state = hf_mem_alloc(state.len ? state.len : 1);
    if (!e->state)
        return hf_error(HF_ENOMEM, "the image of %s", e->address);
    if (state.len)
        memcpy(e->state, state.data, state.len);
    e->state_len = (uint32_t)state.len;
    return HF_OK;
}

/* It left memory, and only who is folded does. */
static int read_state(hf_flush_desk *d, hf_dirty *e)
{
    hf_overlay tables;
    hf_key key;
    hf_bytes payload;
    int err = hf_paging_look(d->shard, &d->near_states, &tables);
    if (err)
        return err;
    hf_key_actor(&key, e->address, e->len, e->hash);
    err = hf_overlay_get(&tables, HF_IN_STATE, hf_key_bytes(&key), &payload);
    if (!err && payload.len < 8)
        err = hf_error(HF_ECORRUPT, "the state of %s is cut short", e->address);
    if (!err)
        err = copy(e, hf_view((const uint8_t *)payload.data + 8, payload.len - 8));
    hf_txn_abort(tables.txn);
    return err;
}

static int make_image(hf_flush_desk *d, hf_dirty *e)
{
    if (e->gone)
        return HF_OK;
    const hf_actor *actor = hf_actors_find(&d->shard->actors, e->hash, e->address, e->len);
    if (!actor)
        return read_state(d, e);
    if (actor->damaged || !actor->state)
        return hf_error(HF_ECORRUPT, "%s is set aside", e->address);
    return copy(e, hf_view(actor->state, actor->state_len));
}

/* Nobody can say what its state is: it stays above the watermark. */
static void give_up(hf_flush_desk *d, hf_dirty *e)
{
    atomic_store(&d->flush->frozen, true);
    hf_engine_log(d->shard->engine, HF_ERROR, "%s can't be flushed: %s", e->address,
                  hf_error_detail());
    e->batch = 0;
    atomic_fetch_sub(&d->flush->dirty, 1);
}

static int take_line(hf_flush_desk *d)
{
    int err = HF_OK;
    while (d->first && !hf_dirty_is_full(d)) {
        hf_dirty *e = d->first;
        err = make_image(d, e);
        if (err == HF_ENOMEM)
            break;
        if (err && e->batch)
            break; /* its marks are still to be told; it is dropped the next time */
        unline(d, e);
        if (err) {
            give_up(d, e);
            hf_dirty_free(e);
            err = HF_OK;
            continue;
        }
        e->late = e->batch != 0;
        d->late_count += e->late;
        hf_dirty_came(d, e);
    }
    atomic_store(&d->since_ns, d->first ? d->first->since_ns : 0);
    return err;
}

static void answer(hf_flush_desk *d)
{
    const hf_shard *shard = d->shard;
    uint64_t low = d->settled;
    if (d->first && d->first->first && d->first->first < low)
        low = d->first->first;
    d->answering = false;
    hf_flush_answer(d, low, d->first != NULL, shard->batch || shard->uncommitted);
}

/* The errand of flush.c. */
static void collect(hf_shard *shard, hf_errand *errand)
{
    hf_flush_desk *d = (hf_flush_desk *)(void *)errand;
    d->image_count = 0;
    d->image_bytes = 0;
    d->answering = true;
    int err = d->take ? take_line(d) : HF_OK;
    if (!err && d->walk < 2 && !hf_dirty_is_full(d))
        (void)hf_flush_walk(d);
    d->floor = d->settled;
    if (shard->batch || d->late_count || shard->uncommitted) { /* what it waits for may ride */
        hf_shard_submit(shard);
        hf_journal_kick(shard->engine);
    }
    if (!d->late_count)
        answer(d);
}

void hf_dirty_settled(hf_shard *shard, hf_batch *batch)
{
    hf_dirty_marks *m = shard->dirty;
    uint64_t base = hf_batch_facts(batch)->base;
    while (m->count && m->items[m->first].batch <= batch->sequence) {
        hf_dirty_mark mark = m->items[m->first];
        hf_dirty *e = mark.entry;
        m->first = (m->first + 1) & (m->room - 1);
        m->count--;
        if (!batch->end)
            continue; /* the engine stopped: it is not told any more */
        if (!e->first)
            e->first = base + mark.index;
        if (e->batch != mark.batch || e->index != mark.index)
            continue;
        e->version = base + mark.index;
        e->batch = 0;
        if (!e->late)
            continue;
        hf_flush_desk *d = &shard->engine->types.kinds[mark.type].flush->desks[shard->index];
        e->late = false;
        if (!--d->late_count && d->answering)
            answer(d);
    }
}

/* ---- Life */

void hf_dirty_done(hf_shard *shard)
{
    if (shard->dirty)
        hf_mem_free(shard->dirty->items);
    hf_mem_free(shard->dirty);
    shard->dirty = NULL;
}

static int make_desks(hf_flush *f)
{
    hf_engine *engine = f->engine;
    f->desks = hf_mem_zero(engine->shard_count, sizeof *f->desks);
    if (!f->desks)
        return hf_error(HF_ENOMEM, "what type \"%s\" flushes", f->kind->is.name);
    f->desk_count = engine->shard_count;
    for (uint32_t i = 0; i < f->desk_count; i++) {
        hf_flush_desk *d = &f->desks[i];
        d->errand.run = collect;
        d->flush = f;
        d->shard = &engine->shards[i];
        d->end = &d->first;
        d->came_end = &d->came;
        d->floor = engine->first_id;
        d->walk = f->was_closed ? 2 : 0;
        d->mask = 63;
        d->buckets = hf_mem_zero(64, sizeof *d->buckets);
        if (!d->buckets)
            return hf_error(HF_ENOMEM, "what type \"%s\" flushes", f->kind->is.name);
    }
    return HF_OK;
}

int hf_flushes_make(hf_engine *engine)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && engine->flushes && i < engine->shard_count; i++) {
        engine->shards[i].dirty = hf_mem_zero(1, sizeof *engine->shards[i].dirty);
        if (!engine->shards[i].dirty)
            err = hf_error(HF_ENOMEM, "shard %u", i);
    }
    for (uint32_t i = 0; !err && i < engine->types.count; i++)
        if (engine->types.kinds[i].flush)
            err = make_desks(engine->types.kinds[i].flush);
    return err;
}
