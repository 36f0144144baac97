/* due.c - names, times and messages of what is due later.
 *
 * Happy path: an entry tells which row of alarm_names it is about; a row and its
 * generation make the DUE that turns it into a message. Nothing fails. Pure functions;
 * any thread. */
#include "storage/due.h"

#include "storage/address.h"

bool hf_due_is_letter(const hf_entry *e)
{
    if (e->op == HF_OP_SEND || e->op == HF_OP_REQUEUE)
        return (e->flags & HF_ENTRY_DELAYED) != 0;
    return e->op == HF_OP_DUE && e->id && e->id == e->generation;
}

bool hf_due_is_alarm(const hf_entry *m)
{
    if (m->op == HF_OP_DUE)
        return !hf_due_is_letter(m);
    return m->op == HF_OP_DEAD && m->cause == HF_ALARM && m->generation
        && m->id != m->generation;
}

void hf_due_key(hf_key *key, const hf_entry *e)
{
    if (!hf_due_is_letter(e)) {
        hf_key_name(key, e);
        return;
    }
    hf_key_actor(key, e->to, e->to_len, e->hash);
    key->bytes[key->len] = 0;
    key->bytes[key->len + 1] = 1;
    hf_put64_key(key->bytes + key->len + 2, e->id);
    key->len += 1 + HF_DUE_LETTER_NAME;
}

uint64_t hf_due_time(const hf_entry *e)
{
    uint64_t due = e->due > HF_DUE_MAX ? HF_DUE_MAX : e->due;
    due = due ? due : 1; /* 0 says that it was due */
    return e->reason == HF_DUE_WALL ? due | HF_DUE_BY_WALL : due;
}

bool hf_due_letter_of(hf_bytes key, uint64_t *id, size_t *actor_len)
{
    const uint8_t *bytes = key.data;
    size_t type = 0, own = 1 + HF_DUE_LETTER_NAME;
    while (type < key.len && bytes[type])
        type++;
    /* The key of the address has no 00 and no 01 in it, a name only at its end. */
    size_t from = type + 1 + 8;
    if (key.len < from + own || bytes[key.len - own] != 0 || bytes[key.len - own + 1] != 1)
        return false;
    const uint8_t *end = memchr(bytes + from, 0, key.len - from);
    if (end != bytes + key.len - own)
        return false;
    *id = hf_get64_key(bytes + key.len - 8);
    *actor_len = key.len - own;
    return true;
}

void hf_due_make(hf_entry *due, const hf_entry *set, uint64_t generation)
{
    *due = *set;
    due->op = HF_OP_DUE;
    due->flags = (uint8_t)(set->flags & ~HF_ENTRY_DELAYED);
    due->generation = generation;
    due->reason = HF_DUE_PASSED;
    due->place = 0;
    if (set->op == HF_OP_ALARM) {
        due->id = 0;
        due->cause = HF_ALARM;
    } else {
        due->id = generation;
    }
}
