/* suspect.c - find the message that kills the process, and no other.
 *
 * Happy path: there are no suspects, nobody asks. Else a suspect of one death
 * runs like any other; one of two deaths in a row claims to be alone, waits
 * until nothing else runs, runs, and is acquitted when its turn comes back. If it
 * kills us then, that is a strike: from the next open on it rests, 1 min · 4^(n-1),
 * while the rest works, and with its type's .strikes spent it is dead.
 *
 * Nobody waits for a suspect longer than ALONE_NS: then all go on together. A
 * type with .strikes = HF_NEVER has no suspects. */
#include "engine/suspect.h"

#include "engine/strike_file.h"

#include "storage/clock.h"

static const uint64_t ALONE_NS = UINT64_C(10000000000), SOON_NS = 2000000;

void hf_suspects_init(hf_engine *engine)
{
    atomic_store(&engine->suspects, engine->strikes.count);
}

static void release(hf_engine *engine, uint64_t hash)
{
    hf_strikes_alone(&engine->strikes, 0);
    if (atomic_compare_exchange_strong(&engine->alone, &hash, 0) && engine->shards)
        hf_shards_wake(engine);
}

static bool overdue(const hf_engine *engine)
{
    return hf_clock_mono_ns() - atomic_load(&engine->alone_since) > ALONE_NS;
}

bool hf_suspects_let_run(hf_engine *engine, uint64_t hash)
{
    uint64_t alone = atomic_load_explicit(&engine->alone, memory_order_acquire);
    if (!alone || alone == hash)
        return true;
    if (!overdue(engine))
        return false;
    release(engine, alone);
    return true;
}

/* It claims to be alone, and may run when nothing else does any more. */
static hf_suspicion run_alone(hf_engine *engine, const hf_entry *m, uint64_t *wait_ns)
{
    uint64_t nobody = 0, id;
    *wait_ns = SOON_NS;
    if (atomic_load(&engine->was_alone) == m->id)
        return HF_MAY_RUN; /* it had its time, the others did not stop */
    uint64_t alone = atomic_load(&engine->alone);
    if (!alone) {
        atomic_store(&engine->alone_since, hf_clock_mono_ns());
        if (atomic_compare_exchange_strong(&engine->alone, &nobody, m->hash))
            hf_strikes_alone(&engine->strikes, m->id);
        return HF_MUST_WAIT;
    }
    if (alone != m->hash) {
        (void)hf_suspects_let_run(engine, m->hash);
        return HF_MUST_WAIT;
    }
    if (!hf_strikes_running(&engine->strikes, &id, 1))
        return HF_MAY_RUN;
    if (!overdue(engine))
        return HF_MUST_WAIT;
    atomic_store(&engine->was_alone, m->id);
    release(engine, m->hash);
    return HF_MAY_RUN;
}

hf_suspicion hf_suspect_judge(hf_engine *engine, const hf_kind_of *kind, const hf_entry *m,
                              uint64_t *wait_ns)
{
    const hf_suspect *s = hf_strikes_find(&engine->strikes, m->id);
    if (!s)
        return HF_MAY_RUN;
    if (kind->is.strikes == HF_NEVER) {
        hf_suspect_ended(engine, m->id);
        return HF_MAY_RUN;
    }
    if (s->strikes >= kind->is.strikes)
        return HF_MUST_DIE;
    uint64_t now = hf_clock_wall_ms();
    if (s->until_ms > now) {
        uint64_t wait = s->until_ms - now, most = hf_strike_pause_ms(s->strikes ? s->strikes : 1);
        *wait_ns = (wait < most ? wait : most) * 1000000; /* the clock may have been set back */
        return HF_MUST_WAIT;
    }
    return s->deaths < 2 ? HF_MAY_RUN : run_alone(engine, m, wait_ns);
}

void hf_suspect_buried(hf_shard *shard, uint64_t id, uint64_t batch)
{
    if (shard->burial_count < HF_BURIALS)
        shard->burials[shard->burial_count++] = (hf_burial){ id, batch };
    else
        hf_suspect_ended(shard->engine, id);
}

void hf_suspects_committed(hf_shard *shard)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < shard->burial_count; i++) {
        hf_burial burial = shard->burials[i];
        if (burial.batch <= shard->committed)
            hf_suspect_ended(shard->engine, burial.id);
        else
            shard->burials[kept++] = burial;
    }
    shard->burial_count = kept;
}

void hf_suspect_ended(hf_engine *engine, uint64_t id)
{
    hf_suspect *s = hf_strikes_find(&engine->strikes, id);
    if (!s)
        return;
    uint64_t hash = s->hash;
    hf_strikes_acquit(&engine->strikes, id);
    atomic_fetch_sub(&engine->suspects, 1);
    if (atomic_load(&engine->alone) == hash)
        release(engine, hash);
}
