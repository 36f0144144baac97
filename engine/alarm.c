/* alarm.c - hf_set_alarm, hf_set_alarm_at, hf_cancel_alarm; and forgetting all alarms.
 *
 * Happy path: an ALARM or CANCEL is staged in the actor's own shard's run, from where it
 * comes back to that shard in the order of the log. What hf_forget has to cancel stands in
 * up to three places: staged by this turn, in the window (the shard remembers it), in the
 * tables; a CANCEL too many does no harm. The first call that fails fails the turn.
 * The turn's thread. */
#include "engine/alarms.h"

#include "engine/timebase.h"

#include "storage/address.h"
#include "storage/error.h"
#include "storage/memory.h"

static hf_segment *own_segment(const hf_turn *turn)
{
    uint32_t shards = turn->engine->shard_count;
    return &turn->batch->segments[hf_address_shard(turn->e->hash, shards)];
}

static bool check_name(hf_turn *turn, const char *name)
{
    size_t len = name ? strnlen(name, HF_NAME_MAX + 1) : 0;
    if (turn->err)
        return false;
    bool plain = len && len <= HF_NAME_MAX;
    for (size_t i = 0; plain && i < len; i++)
        plain = (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
    if (!plain)
        hf_turn_fail(turn, hf_error(HF_EINVAL, "an alarm's name is 1 .. %d bytes without control "
                                    "characters", HF_NAME_MAX));
    return plain;
}

static void stage_word(hf_turn *turn, hf_entry *e, const char *name, size_t len)
{
    e->to = turn->e->to;
    e->to_len = turn->e->to_len;
    e->hash = turn->e->hash;
    e->name = name;
    e->name_len = (uint8_t)len;
    e->error = e->from = "";
    if (hf_turn_stage(turn, own_segment(turn), e))
        turn->alarms++;
}

static void set_alarm(hf_turn *turn, hf_entry *e, const char *name, hf_bytes body)
{
    uint32_t most = turn->engine->options.body_max;
    if (!check_name(turn, name))
        return;
    if (body.len > most || (body.len && !body.data)) {
        hf_turn_fail(turn, hf_error(body.data ? HF_ETOOBIG : HF_EINVAL,
                                    "%zu bytes with the alarm %s, the limit is %u", body.len, name,
                                    most));
        return;
    }
    e->op = HF_OP_ALARM;
    e->data = body;
    atomic_store_explicit(&turn->engine->alarmed, true, memory_order_relaxed);
    stage_word(turn, e, name, strlen(name));
}

void hf_set_alarm(hf_turn *turn, const char *name, uint64_t delay_ms, hf_bytes body)
{
    hf_entry e = { .op = HF_OP_ALARM };
    (void)hf_timebase_after(turn->engine, delay_ms, &e);
    set_alarm(turn, &e, name, body);
}

void hf_set_alarm_at(hf_turn *turn, const char *name, uint64_t at, hf_bytes body)
{
    hf_entry e = { .op = HF_OP_ALARM };
    (void)hf_timebase_at(at, &e);
    set_alarm(turn, &e, name, body);
}

static void cancel(hf_turn *turn, const char *name, size_t len)
{
    hf_entry e = { .op = HF_OP_CANCEL };
    stage_word(turn, &e, name, len);
}

void hf_cancel_alarm(hf_turn *turn, const char *name)
{
    if (check_name(turn, name))
        cancel(turn, name, strlen(name));
}

void hf_alarm_own(hf_turn *turn, const char *name, uint64_t at, uint64_t delay_ms)
{
    hf_entry e = { .op = HF_OP_ALARM };
    if (!at && !delay_ms) {
        cancel(turn, name, strlen(name));
        return;
    }
    if (at)
        (void)hf_timebase_at(at, &e);
    else
        (void)hf_timebase_after(turn->engine, delay_ms, &e);
    e.op = HF_OP_ALARM;
    atomic_store_explicit(&turn->engine->alarmed, true, memory_order_relaxed);
    stage_word(turn, &e, name, strlen(name));
}

/* ---- hf_forget */

static void cancel_staged(hf_turn *turn)
{
    const hf_segment *s = own_segment(turn);
    char name[HF_NAME_MAX + 1];
    uint32_t shard = (uint32_t)(s - turn->batch->segments), end = s->len;
    for (uint32_t at = turn->marks[shard].len; turn->alarms && at < end && !turn->err;) {
        hf_entry e;
        at += (uint32_t)hf_entry_decode(s->data + at, s->len - at, &e);
        if (e.op != HF_OP_ALARM)
            continue;
        memcpy(name, e.name, e.name_len); /* staging may move it */
        cancel(turn, name, e.name_len);
    }
}

/* One that the shard remembers; the lock is held, staging asks for nothing of it. */
static void cancel_known(hf_turn *turn, hf_alarms *a, const hf_key *actor)
{
    pthread_mutex_lock(&a->lock);
    for (hf_alarm *one = hf_alarm_set_of_actor(a, hf_key_bytes(actor)); one && !turn->err;
         one = one->next_actor)
        if (one->actor_len == actor->len && memcmp(one->key, actor->bytes, actor->len) == 0)
            cancel(turn, (const char *)one->key + actor->len + 1, one->key_len - actor->len - 1u);
    pthread_mutex_unlock(&a->lock);
}

typedef struct rows {
    hf_turn *turn;
    size_t   actor_len;
} rows;

static int cancel_row(void *user, hf_bytes key, hf_bytes payload)
{
    rows *r = user;
    uint64_t id;
    size_t len;
    (void)payload;
    if (!hf_due_letter_of(key, &id, &len))
        cancel(r->turn, (const char *)key.data + r->actor_len, key.len - r->actor_len);
    return r->turn->err;
}

static void cancel_rows(hf_turn *turn, const hf_key *actor)
{
    hf_rowbuf buf = { 0 };
    hf_key within = *actor;
    within.bytes[within.len++] = 0;
    rows r = { turn, within.len };
    hf_overlay tables = { .buf = &buf, .within = hf_key_bytes(&within), .keys = true };
    int err = hf_log_look(turn->engine->log, &tables.txn, &tables.facts);
    if (!err) {
        err = hf_overlay_walk(&tables, HF_IN_ALARM_NAMES, hf_key_bytes(&within), cancel_row, &r);
        hf_txn_abort(tables.txn);
    }
    hf_rowbuf_done(&buf);
    if (err)
        hf_turn_fail(turn, err);
}

void hf_alarm_forget(hf_turn *turn)
{
    hf_engine *engine = turn->engine;
    hf_key actor;
    if (!atomic_load_explicit(&engine->alarmed, memory_order_relaxed) || turn->err)
        return;
    hf_key_actor(&actor, turn->e->to, turn->e->to_len, turn->e->hash);
    cancel_staged(turn);
    cancel_known(turn, engine->shards[hf_address_shard(turn->e->hash, engine->shard_count)].alarms,
                 &actor); /* before the snapshot: what it forgets meanwhile is there */
    if (!turn->err)
        cancel_rows(turn, &actor);
}
