/* limit.c - hold a type's turns while its breaker is open or its rate is spent.
 *
 * Happy path: a shard asks before each turn of such a type, under the type's lock,
 * and goes on. When it may not, the actor stands in the shard's line of that type:
 * nothing looks at it until the time has come, or a turn elsewhere changed the
 * breaker and rang. Then as many go on as may, first come first.
 *
 * What the store has to know of a breaker is staged with the turn that changed it,
 * under the lock until that batch is submitted: so the log has the changes in the
 * order they came. Without memory for that the next turn tells it.
 * Shards' and pools' threads. */
#include "engine/limit.h"

#include "engine/pool.h"
#include "engine/urgency.h"

#include "storage/clock.h"
#include "storage/error.h"

#include <stdio.h>

/* ---- Beginning */

/* How many may begin now, and, if none, when; UINT64_MAX: nobody knows. */
static uint32_t room_of(hf_limit *l, uint64_t now, uint64_t *next)
{
    *next = UINT64_MAX;
    if (l->sealed || l->breaker.state == HF_BREAKER_PROBES)
        return 0;
    if (!hf_breaker_may(&l->breaker, now)) {
        *next = l->breaker.until_ns;
        return 0;
    }
    uint32_t room = l->rate.rate ? hf_rate_room(&l->rate, now) : UINT32_MAX;
    *next = room ? now : hf_rate_next(&l->rate, now);
    return room && l->breaker.state == HF_BREAKER_OPEN ? 1 : room;
}

bool hf_limit_admit(hf_shard *shard, hf_mailbox *box)
{
    hf_limit *l = box->actor->kind->limit;
    uint64_t next;
    pthread_mutex_lock(&l->lock);
    uint64_t now = hf_clock_mono_ns();
    bool may = room_of(l, now, &next) > 0;
    if (may) {
        shard->era = hf_breaker_begin(&l->breaker, now);
        if (l->rate.rate)
            hf_rate_reserve(&l->rate);
        if (l->rate.rate && !l->kind->pooled)
            hf_rate_begin(&l->rate, now);
    } else if (next == UINT64_MAX) {
        l->asked = true;
    }
    pthread_mutex_unlock(&l->lock);
    if (!may && !box->in)
        hf_line_put(&shard->held[box->actor->kind->index], box, shard->now_ms);
    return may;
}

bool hf_limit_begin(hf_limit *l, uint32_t era)
{
    pthread_mutex_lock(&l->lock);
    bool may = era == l->breaker.era, ring = l->asked && l->rate.rate;
    if (may && l->rate.rate)
        hf_rate_begin(&l->rate, hf_clock_mono_ns());
    else if (l->rate.rate)
        hf_rate_release(&l->rate);
    if (ring)
        l->asked = false;
    pthread_mutex_unlock(&l->lock);
    if (ring) /* now they can be told until when */
        hf_shards_wake(l->engine);
    return may;
}

/* ---- In line */

void hf_limits_wake(hf_shard *shard)
{
    enum { MOST = 256 };
    hf_types *types = &shard->engine->types;
    for (uint32_t i = 0; i < types->count; i++) {
        hf_line *line = &shard->held[i];
        hf_limit *l = types->kinds[i].limit;
        uint64_t next;
        if (!line->count)
            continue;
        pthread_mutex_lock(&l->lock);
        uint32_t room = room_of(l, hf_clock_mono_ns(), &next);
        if (!room && next == UINT64_MAX)
            l->asked = true;
        pthread_mutex_unlock(&l->lock);
        for (uint32_t n = 0; n < room && n < MOST && line->count; n++) {
            hf_mailbox *box = hf_line_take(line, shard->now_ms);
            hf_line_put(&shard->ready, box, shard->now_ms);
        }
    }
}

uint64_t hf_limits_next(const hf_shard *shard, uint64_t now_ns)
{
    const hf_types *types = &shard->engine->types;
    uint64_t soonest = UINT64_MAX;
    for (uint32_t i = 0; shard->held && i < types->count; i++) {
        hf_limit *l = types->kinds[i].limit;
        uint64_t next;
        if (!shard->held[i].count)
            continue;
        pthread_mutex_lock(&l->lock);
        (void)room_of(l, now_ns, &next);
        pthread_mutex_unlock(&l->lock);
        soonest = next < soonest ? next : soonest;
    }
    return soonest;
}

bool hf_limit_breaks(hf_limit *l)
{
    pthread_mutex_lock(&l->lock);
    bool breaks = l->breaker.state != HF_BREAKER_CLOSED;
    pthread_mutex_unlock(&l->lock);
    return breaks;
}

/* ---- Ending */

hf_turn_says hf_limit_says(const hf_turn *turn, bool stands)
{
    if (stands)
        return HF_SAYS_WELL;
    return turn->verdict == HF_TURN_FAILED ? HF_SAYS_FAILED : HF_SAYS_NOTHING;
}

/* How the breaker stands, for the store. */
static int stage_breaker(hf_limit *l, hf_batch *batch, uint64_t now)
{
    uint8_t row[HF_BREAKER_ROW];
    bool keep = hf_breaker_put(&l->breaker, now, hf_clock_wall_ms(), row);
    return hf_limit_stage(l->kind, batch, HF_LIMIT_BREAKER,
                          keep ? hf_view(row, sizeof row) : hf_view(NULL, 0));
}

bool hf_limit_ended(hf_limit *l, uint32_t era, hf_turn_says says, hf_batch *batch)
{
    pthread_mutex_lock(&l->lock);
    uint64_t now = hf_clock_mono_ns();
    l->was = l->breaker.state;
    l->told = hf_breaker_ended(&l->breaker, era, says, now);
    if (l->told)
        l->unwritten = true;
    if (!l->unwritten || !batch || stage_breaker(l, batch, now))
        return false;
    l->unwritten = false;
    return true;
}

static void say(const hf_limit *l, hf_breaker_state was, hf_breaker_state is, uint32_t row)
{
    const hf_type *t = &l->kind->is;
    if (is == was)
        return;
    if (is == HF_BREAKER_CLOSED)
        hf_engine_log(l->engine, HF_WARN, "type \"%s\": its breaker closed, its turns go on",
                      t->name);
    else if (was == HF_BREAKER_PROBES)
        hf_engine_log(l->engine, HF_WARN,
                      "type \"%s\": its breaker stays open for %u ms, the turn that was tried did not help",
                      t->name, t->break_ms);
    else
        hf_engine_log(l->engine, HF_WARN,
                      "type \"%s\": its breaker opened, after %u failures in a row: held for %u ms",
                      t->name, row, t->break_ms);
}

void hf_limit_told(hf_limit *l)
{
    hf_breaker_state was = l->was, is = l->breaker.state;
    uint32_t row = l->breaker.row;
    bool told = l->told && is != was;
    l->told = false;
    if (told)
        l->asked = false;
    pthread_mutex_unlock(&l->lock);
    if (!told)
        return;
    hf_shards_wake(l->engine);
    say(l, was, is, row);
}

void hf_limit_ended_here(hf_shard *shard, hf_kind_of *kind, hf_turn_says says)
{
    if (hf_limit_ended(kind->limit, shard->era, says, shard->batch))
        hf_shard_submit(shard);
    hf_limit_told(kind->limit);
}

/* ---- For whoever asks */

bool hf_limit_look(hf_limit *l, hf_limited *out)
{
    uint64_t next, left;
    *out = (hf_limited){ 0 };
    if (!l)
        return false;
    pthread_mutex_lock(&l->lock);
    uint64_t now = hf_clock_mono_ns();
    uint32_t room = room_of(l, now, &next);
    out->breaker = hf_breaker_is_set(&l->breaker);
    out->open = l->breaker.state != HF_BREAKER_CLOSED;
    out->probes = l->breaker.state == HF_BREAKER_PROBES;
    out->failures = l->breaker.row;
    out->rate = l->rate.rate;
    out->rate_ms = (uint32_t)(l->rate.window_ns / 1000000);
    out->held = !room;
    pthread_mutex_unlock(&l->lock);
    left = next == UINT64_MAX || next < now ? 0 : (next - now + 999999) / 1000000;
    out->until = out->held && left ? hf_clock_wall_ms() + left : 0;
    return true;
}
