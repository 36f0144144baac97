/* stage.c - what a handler may do in its turn: save, send, forward, forget.
 *
 * Staging calls return void: the first one that fails is remembered and fails
 * the turn. Each writes an entry into the turn's batch, which is committed with
 * the acknowledgement of the message, or cut off again. The turn's thread. */
#include "engine/turn.h"

#include "engine/letter.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>

enum { STAGED_MAX = 16 << 20 };

/* Remember the first failure, with what there is to say about it. */
static void fail_staging(hf_turn *turn, int err)
{
    if (turn->err)
        return;
    turn->err = err;
    const char *detail = hf_error_detail();
    snprintf(turn->error, sizeof turn->error, "%s%s%s", hf_strerror(err), *detail ? ": " : "",
             detail);
}

static bool stage(hf_turn *turn, hf_segment *segment, const hf_entry *entry)
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
        fail_staging(turn, err);
    return !err;
}

hf_bytes hf_state(const hf_turn *turn)
{
    return turn->state;
}

void *hf_alloc(hf_turn *turn, size_t size)
{
    if (size > STAGED_MAX) {
        fail_staging(turn, hf_error(HF_ETOOBIG, "hf_alloc of %zu bytes", size));
        return NULL;
    }
    size = (size + 15) & ~(size_t)15;
    hf_scratch *s = turn->scratch;
    if (!s || s->room - s->used < size) {
        size_t room = size > 4000 ? size : 4000;
        s = hf_mem_alloc(sizeof *s + 16 + room);
        if (!s) {
            fail_staging(turn, hf_error(HF_ENOMEM, "hf_alloc of %zu bytes", size));
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
        fail_staging(turn, hf_error(HF_EINVAL, "an actor with .workers has no state"));
        return;
    }
    if (state.len > STAGED_MAX || (state.len && !state.data)) {
        fail_staging(turn, hf_error(HF_ETOOBIG, "a state of %zu bytes", state.len));
        return;
    }
    hf_entry e = own_entry(turn, HF_OP_SAVE);
    uint32_t at = facts->len;
    e.data = state;
    if (!stage(turn, facts, &e))
        return;
    turn->saved = true;
    turn->forgot = false;
    turn->save_at = at;
}

void hf_forget(hf_turn *turn)
{
    hf_entry e = own_entry(turn, HF_OP_FORGET);
    if (!stage(turn, hf_batch_facts(turn->batch), &e))
        return;
    turn->saved = false;
    turn->forgot = true;
}

void hf_send_letter(hf_turn *turn, const hf_letter *letter)
{
    hf_entry e;
    uint32_t shard;
    if (turn->err)
        return;
    int err = hf_letter_entry(turn->engine, letter, &e, &shard);
    if (err) {
        fail_staging(turn, err);
        return;
    }
    e.from = turn->e->to;
    e.from_len = turn->e->to_len;
    if (stage(turn, &turn->batch->segments[shard], &e)) {
        turn->sends++;
        turn->batch->sends++;
    }
}

void hf_send(hf_turn *turn, const char *to, const char *kind, hf_bytes body)
{
    hf_letter letter = { .size = sizeof letter, .to = to, .kind = kind, .body = body };
    hf_send_letter(turn, &letter);
}

void hf_forward(hf_turn *turn, const char *kind, hf_bytes body)
{
    char address[HF_ADDRESS_MAX + 1];
    const char *next = turn->kind->is.next;
    if (!next) {
        fail_staging(turn, hf_error(HF_EINVAL, "hf_forward: type \"%s\" has no .next",
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
        fail_staging(turn, hf_error(HF_EINVAL, "hf_forward: %s/%s is too long", next, key));
    else
        hf_send(turn, address, kind, body);
}
