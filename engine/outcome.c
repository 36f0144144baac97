/* outcome.c - what becomes of a message whose turn did not succeed.
 *
 * Happy path: what the handler staged is cut off; the failure is noted on the
 * message; the failed hook may stage something; then a RETRY (with its time) or,
 * when the tries are spent or the handler buried it, a DEAD entry with the
 * whole message enters the same batch. Fails only for want of memory: then the
 * message stays as it was and runs again. The thread the turn ran on. */
#include "engine/letter.h"
#include "engine/step.h"
#include "engine/turn.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/random.h"

#include <msgpack.h>
#include <stdio.h>

int hf_outcome_ack(hf_batch *batch, const hf_entry *m)
{
    hf_entry e = { .op = HF_OP_ACK, .to = m->to, .to_len = m->to_len, .hash = m->hash,
                   .id = m->id, .place = m->place, .name = "", .error = "", .from = "" };
    if (m->flags & HF_ENTRY_STEPS)
        e.flags = HF_ENTRY_PURGES;
    int err = hf_segment_add(hf_batch_facts(batch), &e);
    return err ? err : hf_batch_named(batch, m->id);
}

int hf_outcome_retry(hf_batch *batch, const hf_entry *m)
{
    hf_entry e = { .op = HF_OP_RETRY, .to = m->to, .to_len = m->to_len, .hash = m->hash,
                   .id = m->id, .place = m->place, .attempt = m->attempt, .due = m->due,
                   .err = m->err, .error = m->error, .error_len = m->error_len,
                   .times = m->times, .phase = m->phase, .generation = m->generation,
                   .flags = m->flags & HF_ENTRY_STEPS, .name = "", .from = "" };
    return hf_segment_add(hf_batch_facts(batch), &e);
}

/* "payment" keeps the key of the dead message's actor, "payment/7" does not. */
static int dead_address(const hf_turn *turn, char address[HF_ADDRESS_MAX + 1])
{
    const char *to = turn->kind->is.dead_to;
    const char *key = turn->e->to + turn->kind->name_len;
    int len = snprintf(address, HF_ADDRESS_MAX + 1, "%s%s", to, strchr(to, '/') ? "" : key);
    return len > HF_ADDRESS_MAX ? hf_error(HF_EINVAL, "%s%s is too long", to, key) : HF_OK;
}

static void pack_text(msgpack_packer *p, const char *name, const char *text, size_t len)
{
    msgpack_pack_str_with_body(p, name, strlen(name));
    msgpack_pack_str_with_body(p, text, len);
}

static void pack_number(msgpack_packer *p, const char *name, uint64_t number)
{
    msgpack_pack_str_with_body(p, name, strlen(name));
    msgpack_pack_uint64(p, number);
}

/* Tell .dead_to, in the same commit: who died, of what, and what it said. */
static void tell_dead_to(hf_turn *turn, const hf_entry *m)
{
    char to[HF_ADDRESS_MAX + 1];
    msgpack_sbuffer buffer;
    msgpack_packer p;
    if (!turn->kind->is.dead_to || dead_address(turn, to))
        return;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&p, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&p, 6);
    pack_number(&p, "id", m->id);
    pack_text(&p, "to", m->to, m->to_len);
    pack_text(&p, "kind", m->name, m->name_len);
    pack_text(&p, "error", m->error, m->error_len);
    pack_number(&p, "attempts", m->attempt);
    msgpack_pack_str_with_body(&p, "body", 4);
    msgpack_pack_bin_with_body(&p, m->data.data, m->data.len);
    hf_send(turn, to, "dead", hf_view(buffer.data, buffer.size));
    msgpack_sbuffer_destroy(&buffer);
}

int hf_outcome_bury(hf_turn *turn, hf_entry *m)
{
    hf_entry e = *m;
    e.op = HF_OP_DEAD;
    e.died = hf_clock_wall_ms();
    e.due = 0;
    int err = hf_segment_add(hf_batch_facts(turn->batch), &e);
    if (!err)
        err = hf_batch_named(turn->batch, m->id);
    if (!err)
        turn->batch->dead++;
    turn->err = HF_OK;
    tell_dead_to(turn, m);
    return err;
}

int hf_outcome_dead(hf_turn *turn, hf_parcel *parcel, const char *why)
{
    int err = hf_parcel_note(parcel, HF_EDEAD, why, hf_clock_wall_ms());
    return err ? err : hf_outcome_bury(turn, &parcel->e);
}

/* min(most, first · 2^(n-1)), a quarter more or less. */
uint64_t hf_outcome_pause(const hf_type *type, uint32_t attempt)
{
    uint64_t pause = type->retry_ms;
    for (uint32_t i = 1; i < attempt && pause < type->retry_ms_max; i++)
        pause *= 2;
    if (pause > type->retry_ms_max)
        pause = type->retry_ms_max;
    return pause * 3 / 4 + hf_random() % (pause / 2 + 1);
}

/* What the hook stages commits with the failure; if it can't, it is cut off. */
static void run_failed_hook(hf_turn *turn, const hf_entry *m, bool dead)
{
    turn->err = HF_OK;
    if (!turn->kind->is.failed)
        return;
    turn->verdict = HF_TURN_RETURNED;
    turn->msg.err = m->err;
    turn->msg.error = m->error;
    turn->msg.attempt = m->attempt;
    turn->msg.retry = dead ? 0 : m->due;
    turn->msg.status = dead ? HF_DEAD : HF_RETRYING;
    turn->kind->is.failed(turn, &turn->msg);
    if (turn->err) {
        hf_engine_log(turn->engine, HF_WARN, "%s: what its failed hook staged is dropped: %s",
                      m->to, hf_strerror(turn->err));
        hf_turn_cut(turn);
        turn->err = HF_OK;
    }
}

static int stage_snooze(hf_turn *turn, hf_parcel *parcel, uint64_t *due_ms)
{
    uint64_t now = hf_clock_wall_ms();
    uint64_t delay = turn->snooze_ms ? turn->snooze_ms : 1;
    parcel->e.due = *due_ms = now + delay < now ? UINT64_MAX : now + delay;
    return hf_outcome_retry(turn->batch, &parcel->e);
}

int hf_outcome_failed(hf_turn *turn, hf_parcel *parcel, uint64_t *due_ms)
{
    const hf_type *type = &turn->kind->is;
    hf_counters *count = &turn->engine->count;
    hf_entry *m = &parcel->e;
    bool buried = turn->verdict == HF_TURN_BURIED;
    char error[HF_ERROR_MAX + 1];
    hf_turn_cut(turn);
    if (turn->verdict == HF_TURN_SNOOZED)
        return stage_snooze(turn, parcel, due_ms);
    memcpy(error, turn->error, sizeof error);
    uint64_t now = hf_clock_wall_ms();
    int err = hf_parcel_note(parcel, turn->code, error, now);
    if (err)
        return err;
    m->attempt++;
    bool dead = buried || (type->tries != HF_NEVER && m->attempt >= type->tries);
    bool undo = dead && hf_step_must_undo(turn, parcel);
    if (undo)
        m->phase = 1;
    m->due = *due_ms = undo ? now : dead ? 0 : now + hf_outcome_pause(type, m->attempt);
    run_failed_hook(turn, m, dead);
    atomic_fetch_add_explicit(&count->failed, 1, memory_order_relaxed);
    if (!dead || undo) {
        atomic_fetch_add_explicit(&count->retried, 1, memory_order_relaxed);
        return hf_outcome_retry(turn->batch, m);
    }
    return hf_outcome_bury(turn, m);
}
