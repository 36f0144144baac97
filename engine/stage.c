/* stage.c - what a handler may do in its turn: save, send, forward, forget.
 *
 * Staging calls return void: the first one that fails is remembered and fails
 * the turn. Each writes an entry into the turn's batch, which is committed with
 * the acknowledgement of the message, or cut off again. The turn's thread. */
#include "engine/turn.h"

#include "engine/ask.h"
#include "engine/schedule.h"
#include "engine/alarms.h"
#include "engine/flush.h"
#include "engine/letter.h"
#include "engine/rows.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>

enum { STAGED_MAX = 16 << 20 };

/* Remember the first failure, with what there is to say about it. */
void hf_turn_fail(hf_turn *turn, int err)
{
    if (turn->err)
        return;
    turn->err = err;
    const char *detail = hf_error_detail();
    snprintf(turn->error, sizeof turn->error, "%s%s%s", hf_strerror(err), *detail ? ": " : "",
             detail);
}

bool hf_turn_stage(hf_turn *turn, hf_segment *segment, const hf_entry *entry)
{
    uint32_t before = segment->len;
    if (turn->err)
        return false;
    int err = hf_segment_add(segment, entry);
    if (!err) {
        turn->staged += segment->len - before;
        if (turn->staged > STAGED_MAX)
            err = hf_error(HF_ETOOBIG, "a turn may stage 16 MiB");
    }
    if (err)
        hf_turn_fail(turn, err);
    return !err;
}

hf_bytes hf_state(const hf_turn *turn)
{
    return turn->state;
}

void *hf_alloc(hf_turn *turn, size_t size)
{
    if (size > STAGED_MAX) {
        hf_turn_fail(turn, hf_error(HF_ETOOBIG, "hf_alloc of %zu bytes", size));
        return NULL;
    }
    size = (size + 15) & ~(size_t)15;
    hf_scratch *s = turn->scratch;
    if (!s || s->room - s->used < size) {
        size_t room = size > 4000 ? size : 4000;
        s = hf_mem_alloc(sizeof *s + 16 + room);
        if (!s) {
            hf_turn_fail(turn, hf_error(HF_ENOMEM, "hf_alloc of %zu bytes", size));
            return NULL;
        }
        s->next = turn->scratch;
        s->used = (16 - ((uintptr_t)s->bytes & 15)) & 15;
        s->room = room + 16;
        turn->scratch = s;
    }
    void *memory = s->bytes + s->used;
    s->used += size;
    return memory;
}

static hf_entry own_entry(const hf_turn *turn, hf_op op)
{
    return (hf_entry){ .op = (uint8_t)op, .to = turn->e->to, .to_len = turn->e->to_len,
                       .hash = turn->e->hash, .name = "", .error = "", .from = "" };
}

void hf_save(hf_turn *turn, hf_bytes state)
{
    hf_segment *facts = hf_batch_facts(turn->batch);
    if (turn->kind->is.workers > 1) {
        hf_turn_fail(turn, hf_error(HF_EINVAL, "an actor with .workers has no state"));
        return;
    }
    if (state.len && !state.data) {
        hf_turn_fail(turn, hf_error(HF_EINVAL, "a state of %zu bytes at NULL", state.len));
        return;
    }
    if (state.len > STAGED_MAX) {
        hf_turn_fail(turn, hf_error(HF_ETOOBIG, "a state of %zu bytes", state.len));
        return;
    }
    if (turn->sealed) {
        hf_turn_fail(turn, hf_error(HF_EVERSION, "hf_save over a state of another version"));
        return;
    }
    hf_entry e = own_entry(turn, HF_OP_SAVE);
    e.version = turn->kind->is.version;
    uint32_t at = facts->len, index = facts->count;
    e.data = state;
    if (!hf_turn_stage(turn, facts, &e))
        return;
    turn->saved = true;
    turn->forgot = false;
    turn->save_at = at;
    turn->save_index = index;
}

void hf_forget(hf_turn *turn)
{
    if (turn->sealed) {
        hf_turn_fail(turn, hf_error(HF_EVERSION, "hf_forget of a state of another version"));
        return;
    }
    hf_entry e = own_entry(turn, HF_OP_FORGET);
    if (!hf_turn_stage(turn, hf_batch_facts(turn->batch), &e))
        return;
    turn->saved = false;
    turn->forgot = true;
    if (turn->kind->flush)
        hf_flush_forget(turn);
    hf_rows_forget(turn);
    hf_alarm_forget(turn);
    hf_schedule_forget(turn);
}

/* A copy for each subscriber of a topic. */
static void publish(hf_turn *turn, const hf_letter *letter)
{
    hf_entry e;
    uint32_t copies = 0;
    int err = hf_topic_letter(turn->engine, letter, &e);
    if (!err && letter->join)
        err = hf_join_child(turn, letter, &e);
    if (!err) {
        e.from = turn->e->to;
        e.from_len = turn->e->to_len;
        e.parent = turn->e->id;
        err = hf_topic_send(turn->engine, turn->batch, letter->to, &e, STAGED_MAX, &turn->staged,
                            &copies);
    }
    turn->sends += copies;
    turn->batch->sends += copies;
    if (err)
        hf_turn_fail(turn, err);
    else if (letter->join)
        hf_join_sent(turn, copies);
}

void hf_send_letter(hf_turn *turn, const hf_letter *letter)
{
    hf_letter copy;
    hf_entry e;
    uint32_t shard;
    if (turn->err)
        return;
    letter = hf_letter_whole(letter, &copy);
    if (hf_topic_named(letter->to)) {
        publish(turn, letter);
        return;
    }
    int err = hf_letter_entry(turn->engine, letter, &e, &shard);
    if (!err && letter->join)
        err = hf_join_child(turn, letter, &e);
    if (err) {
        hf_turn_fail(turn, err);
        return;
    }
    e.from = turn->e->to;
    e.from_len = turn->e->to_len;
    e.parent = turn->e->id;
    if (turn->handing)
        hf_ask_hand_on(turn, &e);
    if (hf_turn_stage(turn, &turn->batch->segments[shard], &e)) {
        turn->sends++;
        turn->batch->sends++;
        if (letter->join)
            hf_join_sent(turn, 1);
        if (e.dedupe_len && (err = hf_dedupe_note_send(turn->batch, &e, shard, 0)))
            hf_turn_fail(turn, err);
    }
}

void hf_send(hf_turn *turn, const char *to, const char *kind, hf_bytes body)
{
    hf_letter letter = { .size = sizeof letter, .to = to, .kind = kind, .body = body };
    hf_send_letter(turn, &letter);
}

static void forward(hf_turn *turn, const char *kind, hf_bytes body)
{
    char address[HF_ADDRESS_MAX + 1];
    const char *next = turn->kind->is.next;
    if (!next) {
        hf_turn_fail(turn, hf_error(HF_EINVAL, "hf_forward: type \"%s\" has no .next",
                                    turn->kind->is.name));
        return;
    }
    if (strchr(next, '/')) {
        hf_send(turn, next, kind, body);
        return;
    }
    /* "payment" keeps the key of the sender. */
    const char *key = turn->e->to + turn->kind->name_len + 1;
    int len = snprintf(address, sizeof address, "%s/%s", next, key);
    if (len < 0 || (size_t)len >= sizeof address)
        hf_turn_fail(turn, hf_error(HF_EINVAL, "hf_forward: %s/%s is too long", next, key));
    else
        hf_send(turn, address, kind, body);
}

void hf_forward(hf_turn *turn, const char *kind, hf_bytes body)
{
    turn->handing = true;
    forward(turn, kind, body);
    turn->handing = false;
}
