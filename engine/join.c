/* join.c - count children until the last has ended.
 *
 * Happy path: at the end of a turn that called hf_join a row of the actor says how many
 * children it sent; the end of each comes as a note, whose turn takes one off the row in
 * its own commit; the turn of the last note drops the row and sends the message that
 * hf_join was given. A note is a message like any other: it waits, is folded, survives.
 *
 *   row 'j' join(8)      left(4) joined(4) lost(4) kind
 *   row 'j' join(8) 00   the body, if there is one
 *
 * Fails: without memory or room a note is tried again, for as long as it takes; a damaged
 * row makes it a dead letter. A note without a row was counted before: nothing. The
 * turn's thread. */
#include "engine/join.h"

#include "engine/rows.h"

#include "storage/error.h"

#include <stdio.h>

static const char ended[] = "(ended)", done[] = "done", dead[] = "dead";

enum { COUNTS = 12, AGAIN_MS = 1000 };

typedef struct join {
    uint8_t  key[9];
    uint32_t left, joined, lost;
    hf_bytes kind;
} join;

static hf_bytes row_of(const join *j)
{
    return hf_view(j->key, 8);
}

static hf_bytes body_row_of(const join *j)
{
    return hf_view(j->key, 9);
}

static join join_of(uint64_t number)
{
    join j = { .left = 0 };
    hf_put64_key(j.key, number);
    return j;
}

/* ---- Messages of ours */

/* To the actor, from the one whose turn it is. Its room is not the handler's: 16 MiB that
 * the handler staged must not keep its end from being told. */
static int stage_message(hf_turn *turn, hf_entry *e)
{
    hf_engine *engine = turn->engine;
    e->op = HF_OP_SEND;
    e->hash = hf_address_hash(engine->seed, e->to, e->to_len);
    e->from = turn->e->to;
    e->from_len = turn->e->to_len;
    e->parent = turn->e->id;
    uint32_t shard = hf_address_shard(e->hash, engine->shard_count);
    int err = hf_segment_add(&turn->batch->segments[shard], e);
    if (err)
        return err;
    turn->sends++;
    turn->batch->sends++;
    return HF_OK;
}

static int stage_note(hf_turn *turn, const hf_entry *child, const char *how)
{
    hf_entry e = { .to = child->from, .to_len = (uint8_t)child->from_len, .name = ended,
                   .name_len = sizeof ended - 1, .data = hf_str(how), .cause = HF_CAUSE_ENDED,
                   .join = child->join };
    return stage_message(turn, &e);
}

static int stage_joined(hf_turn *turn, const join *j, hf_bytes body)
{
    hf_entry e = { .to = turn->e->to, .to_len = turn->e->to_len, .name = j->kind.data,
                   .name_len = (uint8_t)j->kind.len, .data = body, .cause = HF_JOINED,
                   .about = (uint64_t)j->joined << 32 | j->lost };
    return stage_message(turn, &e);
}

int hf_join_lost(hf_turn *turn, const hf_entry *child)
{
    return stage_note(turn, child, dead);
}

/* ---- In the parent's turn */

/* What a failed hook or an undo stages may come many times for one message. */
static int check(const hf_turn *turn)
{
    if (turn->kind->is.workers > 1)
        return hf_error(HF_EINVAL, "an actor with .workers may not join");
    if (turn->undoing || turn->msg.status != HF_RUNNING)
        return hf_error(HF_EINVAL, "only a handler may join, no hook");
    return HF_OK;
}

int hf_join_child(hf_turn *turn, const hf_letter *letter, hf_entry *e)
{
    int err = check(turn);
    if (!err && (letter->dedupe || letter->conflate))
        err = hf_error(HF_EINVAL, "a letter with .join must have an end of its own: no %s",
                       letter->dedupe ? ".dedupe" : ".conflate");
    e->join = turn->e->id;
    return err;
}

void hf_join_sent(hf_turn *turn, uint32_t children)
{
    if (!(turn->joins & HF_JOINS_CHILDREN))
        turn->children = 0;
    turn->joins |= HF_JOINS_CHILDREN;
    turn->children += children;
}

static char *copied(hf_turn *turn, const void *data, size_t len)
{
    char *copy = hf_alloc(turn, len ? len : 1);
    if (copy && len)
        memcpy(copy, data, len);
    return copy;
}

void hf_join(hf_turn *turn, const char *kind, hf_bytes body)
{
    size_t len = kind ? strnlen(kind, HF_NAME_MAX + 1) : 0;
    int err = turn->err ? HF_OK : check(turn);
    if (turn->err)
        return;
    if (!err && turn->joins & HF_JOINS_CALLED)
        err = hf_error(HF_EINVAL, "hf_join was called before in this turn");
    if (!err && len > HF_NAME_MAX)
        err = hf_error(HF_EINVAL, "kind \"%.20s...\" is longer than %d bytes", kind, HF_NAME_MAX);
    if (!err && body.len > turn->engine->options.body_max)
        err = hf_error(HF_ETOOBIG, "%zu bytes to join, the limit is %u", body.len,
                       turn->engine->options.body_max);
    if (!err && body.len && !body.data)
        err = hf_error(HF_EINVAL, "a body of %zu bytes at NULL", body.len);
    if (err) {
        hf_turn_fail(turn, err);
        return;
    }
    char *name = copied(turn, kind, len), *bytes = copied(turn, body.data, body.len);
    if (!name || !bytes)
        return;
    turn->join_kind = hf_view(name, len);
    turn->join_body = hf_view(bytes, body.len);
    turn->joins |= HF_JOINS_CALLED;
}

/* ---- The row */

static int put_row(hf_turn *turn, const join *j)
{
    uint8_t value[COUNTS + HF_NAME_MAX];
    hf_put32(value, j->left);
    hf_put32(value + 4, j->joined);
    hf_put32(value + 8, j->lost);
    if (j->kind.len)
        memcpy(value + COUNTS, j->kind.data, j->kind.len);
    return hf_rows_put(turn, HF_SHELF_JOIN, row_of(j), hf_view(value, COUNTS + j->kind.len));
}

static int get_row(hf_turn *turn, join *j)
{
    hf_bytes value;
    int err = hf_rows_get(turn, HF_SHELF_JOIN, row_of(j), &value);
    if (err)
        return err;
    const uint8_t *at = value.data;
    if (value.len < COUNTS || value.len > COUNTS + HF_NAME_MAX || !hf_get32(at))
        return hf_error(HF_ECORRUPT, "a join of %s can't be read", turn->e->to);
    j->left = hf_get32(at);
    j->joined = hf_get32(at + 4);
    j->lost = hf_get32(at + 8);
    j->kind = hf_view(at + COUNTS, value.len - COUNTS);
    return HF_OK;
}

static void begin_join(hf_turn *turn)
{
    join j = join_of(turn->e->id);
    int err = HF_OK;
    j.left = turn->joins & HF_JOINS_CHILDREN ? turn->children : 0;
    j.kind = turn->join_kind;
    if (j.left) {
        err = put_row(turn, &j);
        if (!err && turn->join_body.len)
            err = hf_rows_put(turn, HF_SHELF_JOIN, body_row_of(&j), turn->join_body);
    } else {
        err = stage_joined(turn, &j, turn->join_body);
    }
    if (err)
        hf_turn_fail(turn, err);
}

void hf_join_turn_ends(hf_turn *turn)
{
    if (turn->joins & HF_JOINS_CALLED)
        begin_join(turn);
    else if (turn->joins & HF_JOINS_CHILDREN)
        hf_turn_fail(turn, hf_error(HF_EINVAL, "letters with .join, but no hf_join"));
    int err = hf_join_is_child(turn->e) ? stage_note(turn, turn->e, done) : HF_OK;
    if (err)
        hf_turn_fail(turn, err);
}

/* ---- Notes */

/* The last one ended: the parent is told, nothing is left of the join. */
static int end_join(hf_turn *turn, const join *j)
{
    hf_bytes body;
    int err = hf_rows_get(turn, HF_SHELF_JOIN, body_row_of(j), &body);
    bool has_body = !err;
    if (err == HF_ENOTFOUND)
        err = HF_OK;
    if (!err)
        err = stage_joined(turn, j, body);
    if (!err && has_body)
        err = hf_rows_put(turn, HF_SHELF_JOIN, body_row_of(j), hf_view(NULL, 0));
    return err ? err : hf_rows_put(turn, HF_SHELF_JOIN, row_of(j), hf_view(NULL, 0));
}

static int count_one(hf_turn *turn)
{
    const hf_entry *e = turn->e;
    join j = join_of(e->join);
    int err = get_row(turn, &j);
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    bool well = e->data.len == sizeof done - 1 && memcmp(e->data.data, done, e->data.len) == 0;
    j.left--;
    j.joined += well;
    j.lost += !well;
    return j.left ? put_row(turn, &j) : end_join(turn, &j);
}

int hf_join_count(hf_turn *turn)
{
    int err = count_one(turn);
    if (!err)
        return HF_OK;
    char why[256];
    (void)snprintf(why, sizeof why, "%s", hf_error_detail());
    turn->err = HF_OK; /* no handler's fault: no try of its is burnt */
    if (err == HF_ECORRUPT || err == HF_EINVAL)
        return hf_bury(turn, "can't be counted: %s", why);
    hf_engine_log(turn->engine, HF_ERROR, "%s: an end of a child waits: %s (%s)", turn->e->to,
                  hf_strerror(err), why);
    return hf_snooze(turn, AGAIN_MS);
}
