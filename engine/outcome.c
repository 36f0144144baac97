/* outcome.c - what becomes of a message whose turn did not succeed.
 *
 * Happy path: what the handler staged is cut off; the failure is noted on the
 * message; the failed hook may stage something; then a RETRY (with its time) or,
 * when the tries are spent or the handler buried it, a DEAD entry with the
 * whole message enters the same batch. Fails only for want of memory: then the
 * message stays as it was and runs again. The thread the turn ran on. */
#include "engine/ask.h"
#include "engine/census.h"
#include "engine/schedule.h"
#include "engine/letter.h"
#include "engine/step.h"
#include "engine/timebase.h"
#include "engine/turn.h"

#include "recovery/out.h"
#include "storage/clock.h"
#include "storage/due.h"
#include "storage/error.h"
#include "storage/random.h"

#include <stdio.h>

int hf_outcome_ack(hf_batch *batch, const hf_entry *m)
{
    hf_entry e = { .op = HF_OP_ACK, .to = m->to, .to_len = m->to_len, .hash = m->hash,
                   .id = m->id, .place = m->place, .name = "", .error = "", .from = "",
                   .took = m->took };
    if (m->flags & HF_ENTRY_STEPS)
        e.flags = HF_ENTRY_PURGES;
    hf_due_end(&e, m);
    int err = hf_segment_add(hf_batch_facts(batch), &e);
    return err ? err : hf_batch_named(batch, m->place);
}

int hf_outcome_retry(hf_batch *batch, const hf_entry *m)
{
    hf_entry e = { .op = HF_OP_RETRY, .to = m->to, .to_len = m->to_len, .hash = m->hash,
                   .id = m->id, .place = m->place, .attempt = m->attempt, .due = m->due,
                   .err = m->err, .error = m->error, .error_len = m->error_len,
                   .times = m->times, .phase = m->phase, .generation = m->generation,
                   .took = m->took,
                   .flags = m->flags & HF_ENTRY_STEPS, .name = "", .from = "" };
    if (m->phase) /* a cancel's; else the store knows newer ones than we may */
        e.notes = m->notes;
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

/* Neither how long a body may be nor how much a turn may stage counts here: what died had a
 * body of its own, and the hook may have staged before. */
static int stage_note(hf_turn *turn, const char *to, hf_bytes text)
{
    const hf_letter letter = { .size = sizeof letter, .to = to, .kind = "dead" };
    hf_entry e;
    uint32_t shard;
    int err = hf_letter_entry(turn->engine, &letter, &e, &shard);
    if (err)
        return err;
    e.data = text;
    e.from = turn->e->to;
    e.from_len = turn->e->to_len;
    e.parent = turn->e->id;
    if (hf_segment_add(&turn->batch->segments[shard], &e))
        return hf_error(HF_ENOMEM, "a note to %s", to);
    turn->sends++;
    turn->batch->sends++;
    return HF_OK;
}

/* There can't be such an actor: with that key its address is too long. */
static int not_told(const hf_turn *turn, const hf_entry *m, int err)
{
    hf_engine_log(turn->engine, HF_ERROR, "%s: its .dead_to is not told of message %llu: %s: %s",
                  m->to, (unsigned long long)m->id, hf_strerror(err), hf_error_detail());
    return HF_OK;
}

/* Tell .dead_to, in the same commit: who died, of what, and what it said. For want of
 * memory alone the death waits. */
static int tell_dead_to(hf_turn *turn, const hf_entry *m)
{
    char to[HF_ADDRESS_MAX + 1];
    hf_out out = { 0 };
    if (!turn->kind->is.dead_to)
        return HF_OK;
    int err = dead_address(turn, to);
    if (err)
        return not_told(turn, m, err);
    hf_out_map(&out, NULL);
    hf_out_uint(&out, "id", m->id);
    hf_out_text(&out, "to", hf_view(m->to, m->to_len));
    hf_out_text(&out, "kind", hf_view(m->name, m->name_len));
    hf_out_text(&out, "error", hf_view(m->error, m->error_len));
    hf_out_uint(&out, "attempts", m->attempt);
    hf_out_bin(&out, "body", m->data);
    hf_out_end(&out);
    err = out.err ? hf_error(HF_ENOMEM, "a note to %s", to)
                  : stage_note(turn, to, hf_out_bytes(&out));
    hf_out_done(&out);
    return err && err != HF_ENOMEM ? not_told(turn, m, err) : err;
}

int hf_outcome_bury(hf_turn *turn, hf_entry *m)
{
    hf_entry e = *m;
    e.op = HF_OP_DEAD;
    e.died = m->died ? m->died : hf_clock_wall_ms(); /* it came in dead */
    e.due = 0;
    if (hf_join_is_child(m))
        e.join = 0; /* it has ended, also if it is requeued */
    int err = hf_segment_add(hf_batch_facts(turn->batch), &e);
    if (!err)
        err = hf_batch_named(turn->batch, m->place);
    turn->err = HF_OK;
    if (!err && !m->died)
        err = tell_dead_to(turn, m);
    if (!err && (m->ask | m->answer_len | m->dedupe_len))
        err = hf_ask_gone(turn, m);
    if (!err && hf_join_is_child(m))
        err = hf_join_lost(turn, m);
    if (err)
        return err;
    turn->batch->dead++;
    atomic_fetch_add_explicit(&hf_census_of(turn)->dead, 1, memory_order_relaxed);
    return HF_OK;
}

int hf_outcome_dead(hf_turn *turn, hf_parcel *parcel, const char *why)
{
    int err = hf_parcel_note(parcel, HF_EDEAD, why, hf_clock_wall_ms());
    return err ? err : hf_outcome_bury(turn, &parcel->e);
}

/* min(most, first · 2^(n-1)), a quarter more or less. */
static atomic_bool exact;

void hf_outcome_exact(bool on)
{
    atomic_store(&exact, on);
}

uint64_t hf_outcome_pause(const hf_type *type, uint32_t attempt)
{
    uint64_t pause = type->retry_ms;
    for (uint32_t i = 1; i < attempt && pause < type->retry_ms_max; i++)
        pause *= 2;
    if (pause > type->retry_ms_max)
        pause = type->retry_ms_max;
    if (atomic_load_explicit(&exact, memory_order_relaxed))
        return pause;
    return pause * 3 / 4 + hf_random() % (pause / 2 + 1);
}

/* What the hook stages commits with the failure; if it can't, it is cut off. */
static void run_failed_hook(hf_turn *turn, const hf_entry *m, bool dead)
{
    turn->err = HF_OK;
    if (!turn->kind->is.failed || hf_entry_is_ours(m))
        return;
    turn->verdict = HF_TURN_RETURNED;
    turn->msg.err = m->err;
    turn->msg.error = m->error;
    turn->msg.attempt = m->attempt;
    turn->msg.retry = dead ? 0 : hf_timebase_told(turn->engine, m->due);
    turn->msg.status = dead ? HF_DEAD : HF_RETRYING;
    hf_turn *outer = hf_turn_enter(turn);
    turn->kind->is.failed(turn, &turn->msg);
    hf_turn_enter(outer);
    if (turn->err) {
        hf_engine_log(turn->engine, HF_WARN, "%s: what its failed hook staged is dropped: %s",
                      m->to, hf_strerror(turn->err));
        hf_turn_cut(turn);
        turn->err = HF_OK;
    }
}

static int stage_snooze(hf_turn *turn, hf_parcel *parcel, uint64_t *due_ms)
{
    uint64_t now = hf_timebase_now(turn->engine);
    uint64_t delay = turn->snooze_ms ? turn->snooze_ms : 1;
    parcel->e.expires = 0; /* it was begun */
    parcel->e.due = *due_ms = now + delay;
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
    uint64_t now = hf_timebase_now(turn->engine);
    int err = hf_parcel_note(parcel, turn->code, error, hf_clock_wall_ms());
    if (err)
        return err;
    uint32_t phase = m->phase;
    m->attempt++;
    bool dead = buried || (type->tries != HF_NEVER && m->attempt >= type->tries);
    bool undo = dead && hf_step_must_undo(turn, parcel);
    if (undo)
        m->phase = 1;
    m->due = *due_ms = undo ? now : dead ? 0 : now + hf_outcome_pause(type, m->attempt);
    run_failed_hook(turn, m, dead);
    if (dead && !undo && hf_step_must_undo(turn, parcel)) { /* the hook began one */
        undo = true;
        m->phase = 1;
        m->due = *due_ms = now;
    }
    atomic_fetch_add_explicit(&count->failed, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&hf_census_of(turn)->failed, 1, memory_order_relaxed);
    if (!dead || undo) {
        atomic_fetch_add_explicit(&count->retried, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&hf_census_of(turn)->retried, 1, memory_order_relaxed);
        err = hf_outcome_retry(turn->batch, m);
    } else {
        err = hf_outcome_bury(turn, m);
    }
    if (err) { /* the turn is cut off: no try is burnt */
        m->attempt--;
        m->phase = phase;
    }
    return err;
}
