/* due.h - what is due later: alarms and delayed letters, and the rows they have.
 *
 * Both stand in alarm_names. An alarm's row has its name; a delayed letter's a name that
 * nobody can choose: the byte 1 and its id, big-endian. The generation tells one setting
 * from the next: the position of the ALARM; of a letter: its id.
 *
 * A DUE makes a message of it. A letter's row ends there; an alarm's stays, without a
 * time, until its message ends: as long as it stands the message counts, and whoever sets
 * the alarm again or cancels it takes it from under the message. */
#ifndef STORAGE_DUE_H
#define STORAGE_DUE_H

#include "storage/row.h"

/* Due times as rows have them: those of the wall clock sort behind the others. */
#define HF_DUE_BY_WALL ((uint64_t)1 << 63)
#define HF_DUE_MAX     (((uint64_t)1 << 62) - 1)

enum { HF_DUE_LETTER_NAME = 9 }; /* bytes of a delayed letter's name */

/* A delayed letter, or the message it became? */
bool hf_due_is_letter(const hf_entry *entry);

/* Is it, or was it, the message of an alarm? Then `generation` says of which setting. */
bool hf_due_is_alarm(const hf_entry *message);

/* The row in alarm_names of an ALARM, CANCEL, DUE, delayed SEND or the end of a message. */
void hf_due_key(hf_key *key, const hf_entry *entry);

/* What an ALARM or a delayed SEND is due, as rows have it. */
uint64_t hf_due_time(const hf_entry *entry);

/* Is this a delayed letter's key in alarm_names? Its id, and how long the actor's part is. */
bool hf_due_letter_of(hf_bytes key, uint64_t *id, size_t *actor_len);

/* The id of the message that a DUE at that position of the log is. */
static inline uint64_t hf_due_id(const uint8_t *entry, uint64_t position)
{
    hf_entry e;
    return hf_entry_decode(entry, SIZE_MAX, &e) && e.id ? e.id : position;
}

/* What stands at that position of the log is a message: its id and place. */
static inline void hf_due_place(hf_entry *e, uint64_t position)
{
    e->place = position;
    if (e->op == HF_OP_SEND || !e->id) /* the DUE of a letter brings its id along */
        e->id = position;
}

/* An ACK that ends this message: of an alarm's it says whose row goes with it. */
static inline void hf_due_end(hf_entry *ack, const hf_entry *m)
{
    bool alarm = m->op == HF_OP_DUE || (m->op == HF_OP_REQUEUE && m->cause == HF_ALARM);
    if (alarm && m->generation && m->id != m->generation) {
        ack->name = m->name;
        ack->name_len = m->name_len;
        ack->generation = m->generation;
    }
}

/* Make the DUE of what stands in alarm_names (or the window) as `set`, of `generation`. */
void hf_due_make(hf_entry *due, const hf_entry *set, uint64_t generation);

#endif
