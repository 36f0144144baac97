/* salvage.h - the parts of a salvage: what was found, what is missing, who must wait.
 *
 * Three passes. Reading follows the trees and notes a gap where they break; what lies in a
 * gap is looked for in pages that belong to no tree (strays); mending, in the new store,
 * applies the log and settles what a stray may have said wrongly. */
#ifndef RECOVERY_SALVAGE_H
#define RECOVERY_SALVAGE_H

#include "recovery/copying.h"
#include "recovery/rebuild.h"
#include "recovery/verify.h"

#include "storage/row.h"

/* Keys of a table that may be missing: between two that are there, or just one. */
typedef struct hf_gap {
    hf_table table;
    bool     one;            /* only `from` */
    bool     has_to;         /* else up to the end of the table */
    hf_key   from, to;       /* both exclusive, unless `one`; from.len 0: from the start */
} hf_gap;

typedef struct hf_gaps {
    hf_gap  *all; /* as their tables and keys are */
    size_t   count, room;
    bool     open; /* the last one: its end was not met yet */
} hf_gaps;

/* Where it belongs into: NULL, or the gap. */
const hf_gap *hf_gaps_find(const hf_gaps *gaps, hf_table table, hf_bytes key);
bool          hf_gaps_near(const hf_gaps *gaps, hf_table table, uint64_t id); /* of rows by id */
bool          hf_gaps_any(const hf_gaps *gaps, hf_table table);

/* What is to wait for a person. */
typedef struct hf_hold {
    char        what[HF_ADDRESS_MAX + 1]; /* an actor, a type, or "*" */
    const char *why;
} hf_hold;

typedef struct hf_keys {
    hf_key  *all;
    size_t   count, room;
} hf_keys;

typedef struct hf_numbers {
    uint64_t *all;
    size_t    count, room;
} hf_numbers;

int  hf_numbers_add(hf_numbers *numbers, uint64_t number);
void hf_numbers_sort(hf_numbers *numbers); /* and each one once */
bool hf_numbers_have(const hf_numbers *numbers, uint64_t number); /* of sorted ones */
int  hf_keys_add(hf_keys *keys, hf_bytes key);

enum { HF_META_KEPT = 16 };

typedef struct hf_salvaging {
    hf_copying  copying;
    hf_checkup  checkup;    /* tells findings, and says whether a row is sound */
    hf_checkup  quiet;      /* says only that */
    hf_pages   *pages;
    hf_rebuild *rebuild;
    uint64_t    seed;       /* that the marker says; 0: it doesn't */
    bool        rootless;   /* every page is a stray: all of it may be out of date */
    bool        older;      /* it may not be the newest commit that is read */
    bool        doubt;      /* nor one near it: what waits there may long have ended */
    hf_key      meta_keys[HF_META_KEPT];
    hf_bytes    meta[HF_META_KEPT]; /* rows of meta, ours */
    size_t      meta_count;
    hf_gaps     gaps;
    bool        hidden;     /* rows are missing in pages that can be read */
    uint64_t    wanted[HF_TABLES], reached[HF_TABLES], restored[HF_TABLES];
    hf_key      last;       /* key of the table being read */
    hf_numbers  records;    /* of the log, strays; and how far those reach that are not */
    uint64_t    log_end, next; /* next: says meta, 0: it does not */
    uint64_t    tail;       /* below it records of the log are history */
    hf_numbers  dropped;    /* of the strays: records that were not the log's any more */
    uint64_t    lost_end;   /* records are lost below it; 0: none */
    hf_numbers  ends;       /* group, end: pairs of positions, where its next record begins */
    hf_keys     letters;    /* strays of inbox */
    hf_keys     delayed;    /* delayed letters among the strays of alarm_names */
    hf_numbers  dead;       /* ids of strays */
    hf_hold    *holds;
    size_t      hold_count, hold_room;
    bool        hold_all;
    /* For the closing row. */
    uint64_t    doubtful, uncertain, dropped_steps, lost;
} hf_salvaging;

/* From now on it waits; `why` lives for ever. HF_ENOMEM. */
int hf_salvage_hold(hf_salvaging *salvage, const char *what, const char *why);
/* The actor that a key of such a table begins with. 0: none. */
size_t hf_salvage_actor(hf_table table, hf_bytes key, char *address);
static inline bool hf_salvage_has_actors(hf_table table)
{
    return table == HF_IN_INBOX || table == HF_IN_STATE || table == HF_IN_ALARM_NAMES
           || table == HF_IN_ROWS || table == HF_IN_DEDUPE || table == HF_IN_TOPICS;
}

/* salvage_meta.c: choose the newest commit that can be followed, and read who it is. */
int  hf_salvage_begin(hf_salvaging *salvage);
int  hf_salvage_meta_get(const hf_salvaging *salvage, const char *name, hf_bytes *payload);
/* salvage_seed.c: no row of meta has it; HF_ECORRUPT. */
int  hf_salvage_seek_seed(hf_salvaging *salvage, uint64_t *seed);
/* salvage_read.c: what the trees lead to. */
int  hf_salvage_read(hf_salvaging *salvage);
bool hf_salvage_sound(hf_checkup *checkup, hf_table table, uint64_t page, hf_bytes key,
                      hf_bytes value);
int  hf_salvage_admit(hf_salvaging *salvage, hf_table table, hf_bytes key, hf_bytes value);
/* salvage_stray.c: what else there is. */
int  hf_salvage_strays(hf_salvaging *salvage);
/* Of the records found, which still were the log's. */
int  hf_salvage_choose_records(hf_salvaging *salvage);
/* salvage_holds.c: who waits for a person because of the gaps. */
int  hf_salvage_hold_gaps(hf_salvaging *salvage);
/* salvage_void.c: in records that may have been folded long ago, what rows say better is
 * made void. */
int  hf_salvage_void(hf_disk *disk);
/* salvage_mend.c: in the new store. */
int  hf_salvage_mend(void *salvage, hf_disk *disk);

#endif
