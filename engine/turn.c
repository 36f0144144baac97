/* turn.c - begin a turn, run its handler, drop what a failed one staged.
 *
 * Happy path: begin fills in the message and remembers how long each segment
 * of the batch is; the handler stages (stage.c); HF_OK lets it all stand.
 * Anything else, or a staging call that failed, cuts the segments back, and
 * outcome.c says what becomes of the message. The shard's thread, or a pool's. */
#include "engine/turn.h"

#include "engine/ask.h"
#include "engine/census.h"
#include "engine/schedule.h"
#include "engine/rows.h"
#include "engine/timebase.h"

#include "recovery/lineage.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local hf_turn *current;

hf_turn *hf_turn_current(void)
{
    return current;
}

hf_turn *hf_turn_enter(hf_turn *turn)
{
    hf_turn *outer = current;
    current = turn;
    return outer;
}

hf_turn *hf_turn_new(hf_engine *engine, bool on_pool)
{
    hf_turn *turn = hf_mem_apart(1, sizeof *turn);
    hf_batch_mark *marks = hf_mem_apart(engine->shard_count + 1, sizeof *marks);
    if (!turn || !marks) {
        hf_mem_free(turn);
        hf_mem_free(marks);
        return NULL;
    }
    turn->engine = engine;
    turn->marks = marks;
    turn->on_pool = on_pool;
    /* a shard has its own */
    turn->census = engine->census + engine->shard_count * engine->types.count;
    turn->on_shard = !on_pool;
    if (on_pool) {
        pthread_mutex_init(&turn->lock, NULL);
        pthread_cond_init(&turn->finished, NULL);
        turn->lock_ready = true;
    }
    memcpy(turn->key, engine->key_prefix, 16);
    return turn;
}

void hf_turn_free(hf_turn *turn)
{
    if (!turn)
        return;
    hf_turn_end(turn);
    hf_progress_free(turn);
    if (turn->lock_ready) {
        pthread_cond_destroy(&turn->finished);
        pthread_mutex_destroy(&turn->lock);
    }
    hf_mem_free(turn->marks);
    hf_mem_free(turn);
}

/* Sixteen hex digits of a number: each half byte is spread to a byte, then all
 * sixteen become digits at once. */
static uint64_t hex8(uint32_t value)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t x = value;
    x = (x << 16 | x) & 0x0000ffff0000ffff;
    x = (x << 8 | x) & 0x00ff00ff00ff00ff;
    x = (x << 4 | x) & 0x0f0f0f0f0f0f0f0f;
    uint64_t letters = (x + 6 * ones) >> 4 & ones; /* 1 where the digit is a to f */
    return x + '0' * ones + letters * ('a' - '0' - 10);
}

static void put_hex(char *at, uint64_t value)
{
    uint64_t high = __builtin_bswap64(hex8((uint32_t)(value >> 32)));
    uint64_t low = __builtin_bswap64(hex8((uint32_t)value));
    hf_put64((uint8_t *)at, high);
    hf_put64((uint8_t *)at + 8, low);
}

void hf_turn_key_prefix(const hf_engine *engine, uint64_t id, char prefix[16])
{
    memcpy(prefix, engine->ancestors ? hf_prefix_of(engine->ancestors, id) : engine->key_prefix,
           16);
}

void hf_turn_key(const hf_engine *engine, uint64_t id, char key[33])
{
    hf_turn_key_prefix(engine, id, key);
    put_hex(key + 16, id);
    key[32] = 0;
}

void hf_turn_begin(hf_turn *turn, hf_kind_of *kind, hf_batch *batch, const hf_entry *e,
                   const hf_actor *actor)
{
    turn->kind = kind;
    atomic_store_explicit(&turn->watched, kind, memory_order_relaxed);
    atomic_store_explicit(&turn->cancel, 0, memory_order_relaxed);
    turn->batch = batch;
    turn->e = e;
    turn->state = actor ? hf_view(actor->state, actor->state_len) : hf_view(NULL, 0);
    turn->state_version = actor ? actor->version : 0;
    turn->sealed = false;
    turn->staged = 0;
    turn->sends = 0;
    turn->saved = turn->forgot = false;
    turn->tomb = 0;
    turn->alarms = 0;
    turn->err = HF_OK;
    turn->verdict = HF_TURN_RETURNED;
    turn->code = 0;
    turn->is_finished = false;
    turn->joins = e->join ? HF_JOINS_ENTRY : 0;
    turn->asked = (e->ask | e->answer_len | e->dedupe_len) != 0;
    turn->answered = HF_TURN_SILENT;
    turn->replied = batch->replies;
    turn->undoing = false;
    turn->error[0] = 0;
    for (uint32_t i = 0; i <= batch->shards; i++)
        turn->marks[i] = hf_segment_mark(&batch->segments[i]);
    turn->done_count = batch->done_count;
    turn->done_last = batch->done_count ? batch->done[batch->done_count - 1].count : 0;
    turn->named_count = batch->named_count;
    turn->note_count = batch->note_count;
    if (turn->engine->ancestors)
        hf_turn_key_prefix(turn->engine, e->id, turn->key);
    put_hex(turn->key + 16, e->id);
    hf_message *msg = &turn->msg; /* field by field: most are set anyhow */
    msg->id = e->id;
    msg->key = turn->key;
    msg->to = e->to;
    msg->from = e->from;
    msg->kind = e->name;
    msg->body = e->data;
    msg->cause = (hf_cause)e->cause;
    msg->status = HF_RUNNING;
    msg->attempt = e->attempt + 1;
    msg->sent = e->sent;
    msg->due = e->due && !e->reason ? hf_timebase_told(turn->engine, e->due) : e->due;
    msg->expires = e->expires ? hf_timebase_told(turn->engine, e->expires) : 0;
    msg->urgency = e->urgency;
    msg->err = e->err;
    msg->replaced = e->replaced;
    msg->error = e->error;
    msg->user = kind->is.user;
    msg->about = e->cause == HF_ANSWER || e->cause == HF_GONE ? e->about : 0;
    msg->joined = hf_entry_joined(e);
    msg->lost = hf_entry_lost(e);
    msg->retry = 0;
    msg->missed = 0;
    if (e->cause == HF_ALARM && e->about)
        hf_schedule_told(&turn->msg, e);
}

void hf_turn_cut(hf_turn *turn)
{
    hf_batch *batch = turn->batch;
    for (uint32_t i = 0; i <= batch->shards; i++)
        hf_segment_cut(&batch->segments[i], turn->marks[i]);
    batch->done_count = turn->done_count;
    if (batch->done_count)
        batch->done[batch->done_count - 1].count = turn->done_last;
    batch->named_count = turn->named_count;
    if (batch->note_count > turn->note_count)
        hf_dedupe_cut(batch, turn->note_count);
    batch->sends -= turn->sends;
    turn->sends = turn->alarms = 0;
    turn->staged = 0;
    turn->saved = turn->forgot = false;
    turn->tomb = 0;
    turn->answered = HF_TURN_SILENT;
    if (batch->replies != turn->replied)
        hf_replies_cut(batch, turn->replied);
    if (turn->rows)
        hf_rows_cut(turn->rows);
}

void hf_turn_end(hf_turn *turn)
{
    hf_rows_end(turn->rows);
    turn->rows = NULL;
    while (turn->scratch) {
        hf_scratch *next = turn->scratch->next;
        hf_mem_free(turn->scratch);
        turn->scratch = next;
    }
}

/* A handler that said HF_PENDING keeps its thread's slot until hf_finish. */
int hf_turn_wait(hf_turn *turn)
{
    pthread_mutex_lock(&turn->lock);
    while (!turn->is_finished)
        pthread_cond_wait(&turn->finished, &turn->lock);
    int err = turn->finish_err;
    pthread_mutex_unlock(&turn->lock);
    return err;
}

bool hf_turn_judge(hf_turn *turn, int code)
{
    if (turn->noted)
        hf_progress_over(turn);
    if (turn->joins && !turn->undoing && !turn->err && !code && turn->verdict == HF_TURN_RETURNED)
        hf_join_turn_ends(turn);
    if (turn->asked && !turn->undoing && !turn->err && !code && turn->verdict == HF_TURN_RETURNED)
        hf_ask_turn_ends(turn);
    if (turn->err) { /* a staging call failed first */
        turn->verdict = HF_TURN_FAILED;
        turn->code = turn->err;
        return false;
    }
    if (turn->verdict == HF_TURN_RETURNED && code == HF_OK)
        return true;
    if (turn->verdict == HF_TURN_RETURNED) {
        turn->verdict = HF_TURN_FAILED;
        turn->code = code;
        if (!turn->error[0])
            snprintf(turn->error, sizeof turn->error, "%s",
                     code < 0 ? hf_strerror(code) : "the handler failed");
    }
    return false;
}

bool hf_turn_run(hf_turn *turn)
{
    HF_TESTPOINT("turn.begin");
    if (turn->joins && hf_join_is_note(turn->e))
        return hf_turn_judge(turn, hf_join_count(turn));
    if (turn->e->cause == HF_ALARM && hf_schedule_is_tick(turn->e))
        return hf_turn_judge(turn, hf_schedule_tick(turn));
    int code = turn->state_version == turn->kind->is.version ? HF_OK : hf_upgrade_state(turn);
    if (code)
        return hf_turn_judge(turn, code);
    hf_turn *outer = hf_turn_enter(turn);
    code = turn->kind->is.handle(turn, &turn->msg);
    if (code == HF_PENDING && turn->on_pool) {
        code = hf_turn_wait(turn);
    } else if (code == HF_PENDING) {
        hf_error(HF_EINVAL, "HF_PENDING needs .threads");
        snprintf(turn->error, sizeof turn->error, "HF_PENDING needs a type with .threads");
        code = HF_EINVAL;
    }
    hf_turn_enter(outer);
    HF_TESTPOINT("turn.ran");
    return hf_turn_judge(turn, code);
}

/* ---- How a handler says that it did not succeed */

static void say(hf_turn *turn, hf_turn_verdict verdict, int code, const char *format, va_list args)
{
    turn->verdict = verdict;
    turn->code = code;
    vsnprintf(turn->error, sizeof turn->error, format, args);
}

int hf_fail(hf_turn *turn, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(turn, HF_TURN_FAILED, code ? code : HF_EINVAL, format, args);
    va_end(args);
    return turn->code;
}

int hf_bury(hf_turn *turn, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(turn, HF_TURN_BURIED, HF_EDEAD, format, args);
    va_end(args);
    return HF_EDEAD;
}

int hf_snooze(hf_turn *turn, uint64_t delay_ms)
{
    /* A hundred years are for ever; in ns nearly six times as many are none at all. */
    const uint64_t most = UINT64_C(36525) * 24 * 3600 * 1000;
    turn->verdict = HF_TURN_SNOOZED;
    turn->code = HF_EAGAIN;
    turn->snooze_ms = delay_ms < most ? delay_ms : most;
    return HF_EAGAIN;
}

int hf_finish(hf_turn *turn, int err)
{
    if (!turn || !turn->on_pool)
        return hf_error(HF_EINVAL, "hf_finish needs a turn of a type with .threads");
    int forked = hf_disk_forked(turn->engine->disk);
    if (forked)
        return forked;
    pthread_mutex_lock(&turn->lock);
    bool twice = turn->is_finished;
    turn->is_finished = true;
    if (!twice)
        turn->finish_err = err;
    pthread_cond_signal(&turn->finished);
    pthread_mutex_unlock(&turn->lock);
    return twice ? hf_error(HF_EINVAL, "this turn was finished before") : HF_OK;
}

int hf_cancelled(const hf_turn *turn)
{
    if (atomic_load(&turn->engine->phase) != HF_LIVE)
        return 1;
    return atomic_load(&turn->cancel) == turn->msg.id;
}
