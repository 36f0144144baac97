/* pull.c - a shard reads the log: messages meet their actors.
 *
 * Happy path: follow the chain of committed records; in each, go through the
 * runs that are ours, entry by entry. An idle actor takes its turn at once;
 * for the others the letter waits in the mailbox. A record that the fold
 * overtook is passed over: what was left of it lies in the tables. What an
 * earlier run left does not come this way: see paging.c.
 * Fails for want of memory, and goes on at the same entry. The shard's thread. */
#include "engine/conflate.h"
#include "engine/census.h"
#include "engine/inbox.h"
#include "engine/alarms.h"
#include "engine/suspect.h"
#include "engine/turn.h"
#include "engine/urgency.h"

#include "storage/assert.h"
#include "storage/error.h"

enum {
    TURNS_A_ROUND = 4096, /* of the log before other work */
    AHEAD         = 32,   /* entries to look ahead, */
    BLOCK         = 2,    /* so many in a row */
    FEW           = 2048, /* so many actors are near anyway */
};

/* Does it wait in an inbox? Other entries of a shard's run are about alarms, or nothing. */
static bool is_message(const uint8_t *entry)
{
    return entry[0] == HF_OP_SEND ? !(entry[1] & HF_ENTRY_DELAYED) : entry[0] == HF_OP_DUE;
}

/* A message of the log meets its actor. */
static int deliver(hf_shard *shard, const hf_record *r, const uint8_t *entry, uint64_t id)
{
    hf_engine *engine = shard->engine;
    uint64_t hash = hf_get64(entry + 8);
    uint8_t len = entry[2];
    const char *to = (const char *)entry + HF_ENTRY_HEAD + hf_get32(entry + 4);
    hf_actor *actor = hf_actors_find(&shard->actors, hash, to, len);
    int err = actor ? HF_OK : hf_resident_load(shard, hash, to, len, &actor);
    if (err || !actor) /* NULL: its type is not defined, the message is held */
        return err;
    actor->used = shard->seconds;
    hf_census_add(&shard->census[actor->kind->index].came);
    if (actor->checked != shard->spills && (err = hf_paging_check(shard, actor)))
        return err;
    hf_letter_in letter = { entry, NULL, id, id, r->time_ms };
    if (entry[0] == HF_OP_DUE)
        letter.id = hf_due_id(entry, id);
    else if (!(entry[1] & HF_ENTRY_APART) && !shard->reads_on && !actor->mailbox && !actor->rows
             && !actor->kind->apart && !actor->damaged && !shard->doomed && !hf_suspects_any(engine)
             && !hf_urgency_presses(engine, id) && !hf_pauses_hold(engine, actor)) {
        hf_entry e;
        hf_dispatch_decode(&letter, &e);
        if (!e.expires && !e.phase && (!e.due || e.reason == HF_DUE_PASSED))
            return hf_dispatch_turn(shard, actor, &e, &letter, NULL);
    }
    hf_mailbox *box;
    err = hf_dispatch_mailbox(shard, actor, &box);
    if (!err)
        err = entry[1] & HF_ENTRY_CONFLATES ? hf_conflate_letter(shard, box, &letter)
                                            : hf_letters_push(&box->letters, &letter);
    if (!err && hf_urgency_presses(engine, 0)) {
        hf_urgency_letter(box, &letter);
        shard->ahead += hf_urgency_presses(engine, id);
    }
    if (!err && actor->kind->is.inbox_max != HF_NEVER)
        hf_inbox_look(shard, box);
    if (!err)
        hf_dispatch_ready(shard, box);
    return err;
}

static size_t entry_bytes(const uint8_t *at, size_t left)
{
    size_t size = HF_ENTRY_HEAD;
    if (at[0] != HF_OP_DONE)
        size += (size_t)hf_get32(at + 4) + (at[2] ? at[2] + 1u : 0) + (at[3] ? at[3] + 1u : 0);
    if (at[1] & HF_ENTRY_EXTRA)
        size += 2u + hf_get16(at + size);
    size = (size + 15) & ~(size_t)15;
    HF_ASSERT(size <= left);
    return size;
}

static void next_record(hf_shard *shard)
{
    hf_record *r = shard->at;
    hf_record *next = atomic_load_explicit(&r->next, memory_order_acquire);
    HF_ASSERT(next);
    atomic_fetch_add_explicit(&shard->passed_bytes, next->size, memory_order_relaxed);
    shard->at = next;
    shard->at_run = 0;
    shard->at_index = 0;
    shard->at_run_left = 0;
    shard->at_offset = 0;
    shard->at_done = false;
    atomic_fetch_add_explicit(&r->passed, 1, memory_order_release);
}

/* Looks ahead in a run, so that an actor is near when its message comes: first its slot, some
 * messages later the actor, then its state. */
typedef struct scout {
    const uint8_t *at;
    uint32_t       left;   /* entries of the run */
    uint32_t       end;    /* so far it looks, be there entries or not */
    uint32_t       slots, actors, states; /* how many were asked for */
    uint64_t       hashes[AHEAD];
} scout;

static void look_ahead(const hf_actors *actors, scout *s, size_t size)
{
    uint32_t end = s->end += BLOCK;
    for (; s->left && s->slots < end; s->slots++, s->left--) {
        uint64_t hash = hf_get64(s->at + 8);
        hf_actors_prefetch(actors, hash);
        s->hashes[s->slots % AHEAD] = hash;
        s->at += entry_bytes(s->at, size);
    }
    for (; s->actors + AHEAD / 2 < end && s->actors < s->slots; s->actors++)
        hf_actors_prefetch_actor(actors, s->hashes[s->actors % AHEAD]);
    for (; s->states + AHEAD * 3 / 4 < end && s->states < s->actors; s->states++)
        hf_actors_prefetch_state(actors, s->hashes[s->states % AHEAD]);
}

/* Go through one run from where we stand; stops after some turns. */
static int pull_run(hf_shard *shard, uint32_t *turns)
{
    hf_record *r = shard->at;
    const uint8_t *end = r->data + r->size;
    bool looks = shard->actors.count > FEW;
    scout ahead;
    ahead.at = r->data + shard->at_offset;
    ahead.left = shard->at_run_left;
    ahead.end = ahead.slots = ahead.actors = ahead.states = 0;
    for (uint32_t i = 0; looks && i < AHEAD / BLOCK; i++)
        look_ahead(&shard->actors, &ahead, r->size);
    for (uint32_t i = 0; shard->at_run_left && *turns && hf_shard_may_take(shard); i++) {
        const uint8_t *at = r->data + shard->at_offset;
        size_t size = entry_bytes(at, (size_t)(end - at));
        if (looks && i % BLOCK == 0)
            look_ahead(&shard->actors, &ahead, r->size);
        uint64_t position = r->base + shard->at_index;
        int err = is_message(at) ? deliver(shard, r, at, position)
                                 : hf_alarms_pull(shard, at, position);
        if (err)
            return err;
        shard->at_offset += (uint32_t)size;
        shard->at_index++;
        shard->at_run_left--;
        *turns -= 1;
    }
    return HF_OK;
}

/* Read on in the record; sets at_done at its end. */
static int pull_record(hf_shard *shard, uint32_t *turns)
{
    hf_record *r = shard->at;
    int err = HF_OK;
    if (!shard->at_offset)
        shard->at_offset = (uint32_t)hf_record_entries_at(r->runs);
    while (!err && *turns) {
        if (!shard->at_run_left) {
            if (shard->at_run == r->runs) {
                shard->at_done = true;
                return HF_OK;
            }
            hf_run run = hf_record_run(r->data, shard->at_run++);
            if (run.shard != shard->index) {
                shard->at_offset += run.bytes;
                shard->at_index += run.count;
                continue;
            }
            shard->at_run_left = run.count;
        }
        err = pull_run(shard, turns);
        if (shard->at_run_left)
            break;
    }
    return err;
}

/* Some actor in line cannot go on before more is read, however urgent it is. */
static bool is_awaited(const hf_shard *shard)
{
    return shard->at->base + (shard->at_done ? shard->at->count : shard->at_index)
           < shard->words_end;
}

/* Take messages from the log: some turns, or all that is there. */
int hf_pull(hf_shard *shard)
{
    uint32_t turns = TURNS_A_ROUND;
    if (!shard->ready.count)
        shard->ahead = 0;
    if (hf_urgency_calls(shard))
        turns = HF_URGENCY_AHEAD - shard->ahead;
    else if (!shard->reads_on && !is_awaited(shard)
             && (shard->ready.levels > 1 || shard->ahead > HF_URGENCY_AHEAD / 2))
        return HF_OK; /* who stands there comes first */
    int err = HF_OK;
    while (!err && turns && hf_shard_may_take(shard)) {
        if (shard->at_done) {
            if (!atomic_load_explicit(&shard->at->next, memory_order_acquire))
                break;
            next_record(shard);
        }
        if (shard->at->base + shard->at->count <= shard->folded || !shard->at->data)
            shard->at_done = true; /* its messages lie in the tables, or are done */
        else
            err = pull_record(shard, &turns);
        if (!shard->at_done)
            break;
        atomic_store_explicit(&shard->pulled, shard->at->base + shard->at->count,
                              memory_order_release);
    }
    return err;
}
