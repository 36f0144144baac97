/* survivors.h - the facts of a run of records, sorted as the tables are.
 *
 * Every fact concerns one row of one or two tables. Collecting walks the
 * records once, leaves out what was sent and done inside them, and sorts the
 * rest by table, then as the table's keys sort, then by position. The fold
 * writes the result into the tables; a reader lays it over them. */
#ifndef STORAGE_SURVIVORS_H
#define STORAGE_SURVIVORS_H

#include "storage/row.h"
#include "storage/window.h"

enum { HF_SURVIVOR_TYPES = 2047 }; /* actor types a store may know */

typedef struct hf_survivor {
    uint64_t       hash;   /* of the address; dead, steps: the message's id */
    const uint8_t *entry;
    uint32_t       record; /* index into records */
    uint32_t       index : 20;
    uint32_t       type : 11; /* rank of the actor's type */
    uint32_t       gone : 1;  /* a message that is done but may have a row */
} hf_survivor;

typedef struct hf_survivor_list {
    hf_survivor *items;
    size_t       count, room;
} hf_survivor_list;

typedef struct hf_survivors {
    hf_survivor_list table[HF_TABLES];
    hf_record      **records;
    uint32_t         record_count;
    uint64_t         applied; /* below this position rows may be there already */
    char           (*types)[HF_TYPE_MAX + 1];
    uint32_t         type_count;
    uint64_t         messages; /* waiting ones among them */
    uint64_t         bytes;    /* of all their data */
} hf_survivors;

/* `records` (copied) must stay as they are until hf_survivors_done. Any thread,
 * while nobody marks messages of these records. HF_ENOMEM, HF_ECORRUPT. */
int  hf_survivors_collect(hf_survivors *survivors, hf_record *const *records, uint32_t count,
                          uint64_t applied);
void hf_survivors_done(hf_survivors *survivors);

static inline uint64_t hf_survivor_position(const hf_survivors *s, const hf_survivor *item)
{
    return s->records[item->record]->base + item->index;
}

/* Has the actor a newer state by now? Its row need not be written then. */
static inline bool hf_survivor_is_stale(const hf_survivors *s, const hf_survivor *item)
{
    return hf_record_is_stale(s->records[item->record], item->index);
}

/* Are its items in the order of actors: by type, then by hash? */
bool hf_survivors_of_actors(hf_table table);

/* Items [from, result) of the table concern one row; its key. from < count. */
size_t hf_survivors_run(const hf_survivors *s, hf_table table, size_t from, hf_key *key);

/* The first item whose row's key is not below `key`; `hint` (in, out): where to look
 * first. Not for steps. */
size_t hf_survivors_seek(const hf_survivors *s, hf_table table, hf_bytes key, size_t *hint);

/* The decoded entry, with what its position says filled in (id and place of a
 * message, generation of an alarm). Returns its bytes on disk. */
size_t hf_survivor_entry(const hf_survivors *s, const hf_survivor *item, hf_entry *entry);

#endif
