/* pace.c - who may come in, and how much of it.
 *
 * Happy path: outsiders get what turns leave of a commit. While shards lag behind they
 * come slower, while the window holds all it may (hf_folding_limit) not at all; far beyond that
 * shards, too, take nothing for a while. Whoever was just answered is waited for a
 * moment. Nothing here fails.
 * The journal's thread. */
#include "engine/engine.h"

#include "storage/clock.h"

enum {
    LINGER_NS = 60 * 1000,
    PACE_NS   = 20 * 1000 * 1000,
    CALM_NS   = 100 * 1000 * 1000, /* nobody came for so long */
    GROUP_MAX = 4 << 20,   /* bytes in one commit: outsiders get what turns leave, */
    GROUP_MIN = 512 << 10, /* but this much */
    GROUP_LOW = 1 << 20,   /* where commits take long the most is less, down to this */
    LONG_NS   = 6 * 1000 * 1000,
    SHORT_NS  = 3 * 1000 * 1000,
    LARGE     = 128 << 10, /* a commit for which many wait, */
    SMALL     = 16 << 10,  /* and one for which it does not matter */
};

#if defined(__x86_64__) || defined(__i386__)
#define HF_RELAX() __builtin_ia32_pause()
#else
#define HF_RELAX() ((void)0)
#endif

static uint64_t group_most(const hf_journal *j)
{
    return GROUP_MAX - j->group_less;
}

/* Who sends waits for the whole group: a commit with outsiders took so long. */
void hf_pace_took(hf_journal *j, uint64_t ns)
{
    uint64_t most = group_most(j);
    j->paced_ns = j->worked_ns;
    if (ns > LONG_NS)
        most -= most / 4;
    else if (ns < SHORT_NS)
        most += most / 16;
    most = most < GROUP_LOW ? GROUP_LOW : most > GROUP_MAX ? GROUP_MAX : most;
    j->group_less = GROUP_MAX - most;
}

/* How many bytes of outsiders may come in now. While shards lag they come slower and
 * fewer: what isn't worked on before the window is folded costs many times as much.
 * With all that the window may hold in it nobody comes in. */
uint64_t hf_pace_bytes(hf_engine *engine)
{
    hf_journal *j = &engine->journal;
    uint64_t window = engine->options.window, lag = hf_shards_lag(engine);
    uint64_t since = hf_clock_mono_ns() - j->paced_ns;
    hf_log_stats stats;
    hf_log_stat(engine->log, &stats);
    if (atomic_load_explicit(&engine->tight, memory_order_relaxed) || j->poor
        || atomic_load(&engine->phase) != HF_LIVE)
        return GROUP_MAX; /* to be refused at once, not to wait for room */
    if (stats.weight > stats.limit)
        return 0;
    if (lag < window / 8)
        return stats.folding ? group_most(j) / 2 : group_most(j);
    if (lag < window / 4)
        return since > PACE_NS / 4 ? group_most(j) / 2 : 0;
    return since > PACE_NS ? group_most(j) / 2 : 0;
}

uint64_t hf_batches_bytes(const hf_batch *list)
{
    uint64_t bytes = 0;
    for (; list; list = list->next)
        bytes += hf_batch_bytes(list);
    return bytes;
}

/* The same, beside what the turns of this round bring. */
uint64_t hf_pace_allowance(hf_engine *engine, const hf_batch *turns)
{
    uint64_t allowed = hf_pace_bytes(engine), taken = allowed ? hf_batches_bytes(turns) : 0;
    uint64_t most = group_most(&engine->journal);
    uint64_t rest = taken + GROUP_MIN < most ? most - taken : GROUP_MIN;
    return allowed < rest ? allowed : rest;
}

/* Turns bring more than is folded: shards take nothing for a while, or the window
 * would grow beyond all bounds. They stop much later than outsiders, since what they end
 * needs no row, and never while space is short: then it is what helps. */
bool hf_pace_crowded(hf_engine *engine)
{
    hf_log_stats stats;
    hf_log_stat(engine->log, &stats);
    bool over = (stats.bytes > stats.limit + engine->options.window * 4 || stats.crowded)
        && !stats.tight && !hf_log_state(engine->log);
    bool was = atomic_load_explicit(&engine->crowded, memory_order_relaxed);
    if (over != was)
        atomic_store(&engine->crowded, over);
    if (was && !over)
        hf_shards_wake(engine);
    return over;
}

bool hf_pace_calm(const hf_engine *engine)
{
    return hf_clock_mono_ns() - engine->journal.paced_ns > CALM_NS;
}

uint32_t hf_batches_count(const hf_batch *b)
{
    uint32_t n = 0;
    for (; b; b = b->next)
        n++;
    return n;
}

/* While commits are large everybody works for the next one, and on few cores the journal would
 * wait for one longer than for the disk. Where they are small it must not go before those
 * whom it has just answered; nor, where room may become short, before who sorts for the fold. */
void hf_pace_hurry(hf_engine *engine, uint64_t bytes)
{
    hf_log_stats stats;
    hf_log_stat(engine->log, &stats);
    if (bytes >= LARGE || bytes < SMALL || !stats.roomy)
        hf_thread_hurry(&engine->journal.haste, bytes >= LARGE && stats.roomy);
}

/* Whoever was just answered often has more to say at once: be awake for it a moment,
 * since waking takes longer than that. */
void hf_pace_linger(const hf_journal *j, uint32_t knocks)
{
    uint64_t until = hf_clock_mono_ns() + LINGER_NS;
    int looks = 1000; /* under a clock that stands still */
    while (atomic_load_explicit(&j->knocks, memory_order_relaxed) == knocks
           && hf_clock_mono_ns() < until && looks--)
        for (int i = 0; i < 32; i++)
            HF_RELAX();
}
