/* resident.c - actors come into memory, and leave it.
 *
 * Happy path: a message for an actor that is not in memory loads its state as
 * the tables, and what an earlier run left in the log, have it; idle, clean actors leave, oldest
 * first, when the shard's share of the byte cap is used up or after idle_ms. An actor whose newest
 * image, or whose newest acknowledgement, is not folded yet stays: memory is the only index over
 * the window. Fails for want of memory (nothing changed); a damaged state sets the actor aside, it
 * is never shown as an empty one. The shard's thread. */
#include "engine/pool.h"
#include "engine/conflate.h"
#include "engine/alarms.h"
#include "engine/rows.h"
#include "engine/urgency.h"

#include "storage/error.h"
#include "storage/memory.h"

/* actor->batch holds a batch's number, or with this bit a position. */
#define IS_POSITION ((uint64_t)1 << 63)

bool hf_resident_is_committed(const hf_shard *shard, uint64_t batch)
{
    return (batch & IS_POSITION) || batch <= shard->committed;
}

bool hf_resident_is_folded(const hf_shard *shard, uint64_t batch)
{
    if (batch & IS_POSITION)
        return (batch & ~IS_POSITION) <= shard->folded;
    return batch <= shard->folded_batch;
}

/* Turns of one actor come home in any order, and what its shard did to it meanwhile may lie
 * further on: the last of all that is not folded counts. */
void hf_resident_changed(const hf_shard *shard, hf_actor *actor, uint64_t end)
{
    uint64_t was = actor->batch & IS_POSITION ? actor->batch & ~IS_POSITION
                                              : hf_outbox_end(shard, actor->batch);
    if (was < end || hf_resident_is_folded(shard, actor->batch))
        actor->batch = end | IS_POSITION;
}

static bool is_clean(const hf_shard *shard, const hf_actor *actor)
{
    return !actor->mailbox && !actor->rows && hf_resident_is_folded(shard, actor->batch);
}

static uint64_t bytes_max(const hf_shard *shard)
{
    return shard->engine->options.window * 3 / 2 / shard->engine->shard_count;
}

static int load_state(hf_shard *shard, hf_actor *actor)
{
    hf_overlay tables;
    hf_key key;
    hf_bytes payload;
    int err = hf_paging_look(shard, &shard->near_state, &tables);
    if (err)
        return err;
    hf_key_actor(&key, actor->address, actor->len, actor->hash);
    err = hf_overlay_get(&tables, HF_IN_STATE, hf_key_bytes(&key), &payload);
    if (!err && payload.len < 8)
        err = hf_error(HF_ECORRUPT, "the state of %s is cut short", actor->address);
    if (!err) {
        actor->version = (uint8_t)hf_state_version(hf_get64(payload.data));
        err = hf_actor_set_state(&shard->actors, actor,
                                 hf_view((const uint8_t *)payload.data + 8, payload.len - 8));
    }
    hf_txn_abort(tables.txn);
    if (err == HF_ECORRUPT || err == HF_EVERSION) {
        actor->damaged = true;
        hf_engine_log(shard->engine, HF_ERROR, "%s is set aside: its state is damaged (%s)",
                      actor->address, hf_error_detail());
        return HF_OK;
    }
    return err == HF_ENOTFOUND ? HF_OK : err;
}

static hf_actor *add_actor(hf_shard *shard, uint64_t hash, const char *address, size_t len)
{
    hf_kind_of *kind = hf_types_find(&shard->engine->types, address, len);
    hf_actor *actor = kind ? hf_actors_add(&shard->actors, hash, address, len) : NULL;
    if (actor) {
        actor->kind = kind;
        actor->used = shard->seconds;
    }
    return actor;
}

/* A hook is told of what its type's own version saved. */
static void tell(const hf_actor *actor, hf_resident_fn hook)
{
    hf_bytes none = { NULL, 0 }, state = hf_view(actor->state, actor->state_len);
    if (!hook)
        return;
    hf_engine_hook(true);
    hook(actor->kind->is.user, actor->address,
         actor->version == actor->kind->is.version ? state : none);
    hf_engine_hook(false);
}

static void arrive(hf_actor *actor)
{
    const hf_type *type = &actor->kind->is;
    if (actor->damaged || (!type->awake && !type->asleep))
        return;
    actor->awake = true;
    tell(actor, type->awake);
}

/* It leaves memory: what it has lies in the tables. */
static void leave(hf_shard *shard, hf_actor *actor)
{
    if (actor->awake)
        tell(actor, actor->kind->is.asleep);
    hf_rows_drop(shard, actor);
    hf_actors_remove(&shard->actors, actor);
}

static void evict(hf_shard *shard, uint32_t count, bool only_idle)
{
    hf_actors *actors = &shard->actors;
    for (hf_actor *actor = actors->oldest, *newer; actor && count; actor = newer, count--) {
        newer = actor->newer;
        uint64_t idle_ms = (uint64_t)(shard->seconds - actor->used) * 1000;
        bool idle = idle_ms >= actor->kind->is.idle_ms && actor->kind->is.idle_ms != HF_NEVER;
        if (is_clean(shard, actor) && (idle || !only_idle))
            leave(shard, actor);
        else
            hf_actors_touch(actors, actor);
    }
}

int hf_resident_load(hf_shard *shard, uint64_t hash, const char *address, size_t len,
                     hf_actor **out)
{
    *out = NULL;
    if (shard->actors.bytes > bytes_max(shard))
        evict(shard, 4, false);
    if (!hf_types_find(&shard->engine->types, address, len))
        return HF_OK; /* held: nobody here knows what to do with it */
    hf_actor *actor = add_actor(shard, hash, address, len);
    if (!actor)
        return hf_error(HF_ENOMEM, "%s", address);
    int err = load_state(shard, actor);
    if (!err)
        err = hf_paging_check(shard, actor);
    if (err) {
        hf_actors_remove(&shard->actors, actor);
        return err;
    }
    arrive(actor);
    *out = actor;
    return HF_OK;
}

void hf_resident_close(hf_shard *shard)
{
    for (hf_parcel *p = shard->finished, *next; p; p = next) {
        next = p->queued;
        if (p->actor->awake) /* else nobody is told what it left */
            hf_pool_take_back(shard, p);
    }
    shard->finished = NULL;
    for (hf_actor *actor = shard->actors.oldest; actor; actor = actor->newer)
        if (actor->awake)
            tell(actor, actor->kind->is.asleep);
}

void hf_resident_sweep(hf_shard *shard)
{
    hf_actors *actors = &shard->actors;
    evict(shard, actors->count / 16 + 64, true);
    if (actors->bytes > bytes_max(shard))
        evict(shard, actors->count / 8 + 64, false);
    atomic_store_explicit(&shard->residents, actors->count, memory_order_relaxed);
    atomic_store_explicit(&shard->resident_bytes, actors->bytes, memory_order_relaxed);
}

/* ---- When the fold has moved the boundary */

/* Letters below it are rows now; they come back page by page. */
static bool drop_letters(hf_shard *shard, hf_mailbox *box, uint64_t folded, bool overtaken)
{
    bool dropped = box->conflated && hf_conflate_fold(shard, box, folded, overtaken);
    uint32_t below = hf_letters_below(&box->letters, folded);
    if (box->urgent) /* counts them */
        for (uint32_t i = 0; i < below; i++)
            hf_urgency_pop(box, &box->letters);
    else if (below)
        hf_letters_cut(&box->letters, below);
    box->unread += below;
    if (dropped || below)
        box->actor->rows = true;
    return dropped;
}

void hf_resident_fold(hf_shard *shard, uint64_t folded)
{
    uint64_t mine = shard->at->base + (shard->at_done ? shard->at->count : shard->at_index);
    if (mine < shard->start)
        mine = shard->start; /* what lies below was never ours to pull */
    /* Done ranges of messages below must reach the journal before it forgets
     * who they were. */
    hf_shard_submit(shard);
    for (hf_mailbox *box = shard->boxes; box; box = box->next_box)
        if (drop_letters(shard, box, folded, mine < folded)) {
            shard->rows_possible = true;
            hf_dispatch_ready(shard, box);
        }
    shard->folded = folded;
    if (mine < folded) {
        shard->rows_possible = true;
        shard->spills++;
        hf_paging_scan_again(shard);
    }
    while (shard->mile_count) {
        hf_mile *mile = &shard->miles[shard->mile_first & (shard->mile_slots - 1)];
        if (mile->end > folded)
            break;
        shard->folded_batch = mile->batch;
        shard->mile_first++;
        shard->mile_count--;
    }
    if (shard->alarms->used || mine < folded)
        hf_alarms_fold(shard, folded, mine);
    else
        shard->alarms->below = folded;
    if (shard->row_count)
        hf_rows_fold(shard);
    if (shard->alarms->cooling)
        return; /* its words still point there */
    hf_resident_release(shard);
}

void hf_resident_release(hf_shard *shard)
{
    atomic_store_explicit(&shard->released, shard->folded, memory_order_release);
    hf_journal_kick(shard->engine);
}
