/* log.h - append groups, keep the window, fold: the single writer of a store.
 *
 * Happy path: open a disk, hf_log_open, adopt the records that lie in its log
 * (recovery/replay.c), hf_log_start; then append groups. A group is written as
 * one transaction; when hf_log_append returns HF_OK it is synced, its segments
 * know their positions, and readers following the chain see its records.
 *
 * Fails: HF_EFULL - nothing of the group is there, try again later; HF_ENOMEM -
 * the same; HF_EUNKNOWN, HF_EIO, HF_ECORRUPT - the log is dead: every further
 * call answers the same. One thread owns the log (the journal's, or a test's);
 * readers follow hf_record.next and call what says "any thread". */
#ifndef STORAGE_LOG_H
#define STORAGE_LOG_H

#include "storage/fold.h"

typedef struct hf_log hf_log;

typedef struct hf_log_options {
    uint64_t window;      /* bytes of log kept before they are folded [128 MiB] */
    uint32_t shards;      /* how many runs a record is cut into [1] */
    uint32_t readers;     /* who must pass a record before its bytes go [0] */
    bool     past;        /* what is adopted is read as rows: see hf_log_past */
    /* Folded records stay as history (kept.h): about so many messages, for so long, and at
     * most a quarter of a window. history 0: as the store was told last [nothing stays]. */
    uint64_t history;     /* messages; HF_NO_HISTORY: none */
    uint64_t history_ms;  /* UINT64_MAX: no matter how old */
    bool     packs;       /* each fold packs (repack.h), be it worth while or not: for tests */
    /* Run work(arg) somewhere else; NULL: it runs at once, here. */
    void   (*offload)(void *user, void (*work)(void *), void *arg);
    void    *user;
} hf_log_options;

#define HF_NO_HISTORY UINT64_MAX

/* Entries that travel together: to one shard, or HF_FACTS. Made by anyone;
 * the log copies the bytes and sets the last three once they are committed. */
typedef struct hf_segment {
    uint8_t   *data;
    uint32_t   len, room;
    uint32_t   shard;
    uint32_t   count;    /* entries */
    uint32_t   messages; /* SEND and DUE among them */
    uint32_t   requeues; /* REQUEUE among them */
    uint32_t   keeps;    /* all but SEND and DONE */
    bool       urgent;   /* some message is */
    uint64_t   base;     /* position of the first entry */
    hf_record *record;
    uint32_t   offset;   /* of the first entry in record->data */
} hf_segment;

/* Add an entry; HF_ENOMEM. A segment holds less than 128 KiB, or one entry. */
enum { HF_SEGMENT_MAX = 128 << 10 };
int  hf_segment_add(hf_segment *segment, const hf_entry *entry);
int  hf_segment_add_plain(hf_segment *segment, const hf_plain *plain);
void hf_segment_done(hf_segment *segment);

typedef struct hf_range {
    uint64_t first;
    uint32_t count;
} hf_range;

/* What goes into one commit. Segments and entries stay the caller's. */
typedef struct hf_group {
    hf_segment **segments;
    hf_range    *done;   /* messages of the window that are done */
    hf_range    *named;  /* the same, but an ACK or DEAD in the segments says so */
    uint32_t     segment_count, segment_room;
    uint32_t     done_count, done_room;
    uint32_t     named_count, named_room;
    uint64_t     bytes;
    bool         leaves;     /* some pages to the fold: it is no operator's word */
    bool         calm;       /* nobody sends from outside: the fold can wait */
} hf_group;

int  hf_group_add(hf_group *group, hf_segment *segment);
int  hf_group_done(hf_group *group, uint64_t first, uint32_t count);
int  hf_group_named(hf_group *group, uint64_t id);
void hf_group_clear(hf_group *group); /* empty again, memory kept */
void hf_group_free(hf_group *group);

int  hf_log_open(hf_log **log, hf_disk *disk, const hf_log_options *options);
/* Take over the next record of the log table. Its bytes are copied or, with
 * options.past, used where they lie. */
int  hf_log_adopt(hf_log *log, uint64_t position, hf_bytes data);
/* Ready to append: notes in the store that it is in use. With options.past the
 * adopted window is sealed. */
int  hf_log_start(hf_log *log);
/* clean: everything that was accepted is settled; notes that, too. */
int  hf_log_close(hf_log *log, bool clean);

int  hf_log_append(hf_log *log, hf_group *group);
/* Go on folding, by `budget` at most, in a commit of its own that should not take long.
 * HF_OK also when there is nothing to do. */
int  hf_log_fold(hf_log *log, uint64_t budget);
/* Seal what there is and fold all of it: tests, compaction. */
int  hf_log_fold_all(hf_log *log);

/* Can the store take what outsiders send? False: there is too little room that
 * is surely ours; acknowledgements and the fold still have theirs. */
bool hf_log_room(hf_log *log);

/* While it can't: bytes that a turn may send that frees much more. */
uint64_t hf_log_parcel(hf_log *log);

typedef struct hf_log_stats {
    uint64_t next;        /* position the next entry will get */
    uint64_t waiting;     /* messages sent or requeued, and not ended */
    uint64_t folded;      /* below it everything lies in the tables */
    uint64_t bytes;       /* of the window on disk */
    uint64_t weight;      /* these, and what readers remember of it: hf_log_burden */
    uint64_t start, limit; /* of the weight: folding begins; outsiders have to wait */
    uint64_t held;        /* of it in memory */
    uint64_t history;     /* bytes of folded records that stay */
    uint64_t commits, rows, folds, written;
    uint64_t urgent;      /* all urgent messages appended lie below; 0: there were none */
    bool     folding, tight, roomy; /* room is short; there is plenty */
    bool     collecting;  /* the fold waits for that */
    bool     crowded;     /* readers remember too much: they should wait for the fold */
} hf_log_stats;
void     hf_log_stat(const hf_log *log, hf_log_stats *stats);

/* Its owner's own time was `base_ms` when the monotonic clock stood at `mono_ns`: records tell
 * how far the wall clock is from it. Without it they say what the newest one does. */
void     hf_log_keep_time(hf_log *log, uint64_t base_ms, uint64_t mono_ns);

hf_disk *hf_log_disk(const hf_log *log);
uint64_t hf_log_seed(const hf_log *log); /* of address hashes */
int      hf_log_state(const hf_log *log); /* HF_OK, or why it is dead */
/* Note why the log can't go on, unless it can after `err`. Returns it. Its writer. */
int      hf_log_die(hf_log *log, int err);

/* Any thread: below this position everything lies in the tables. */
uint64_t hf_log_folded(const hf_log *log);
/* Any thread, after beginning a snapshot: the adopted window's facts, which have to
 * be laid over the tables of this snapshot; NULL: none have to be. Lent as long as
 * the snapshot lasts. Readers then start behind that window. */
const hf_survivors *hf_log_past(const hf_log *log);
/* Any thread: a snapshot, and the facts that belong to it; end it with hf_txn_abort. */
int hf_log_look(const hf_log *log, hf_txn **txn, const hf_survivors **facts);
/* Nobody points into records below `position` any more: their bytes may go. */
void     hf_log_release(hf_log *log, uint64_t position);
/* Readers have not come past this position: as long as there is room, what lies beyond
 * is not sealed, since most of it will soon be done. UINT64_MAX [default]: no matter. */
void     hf_log_hold(hf_log *log, uint64_t position);
/* Readers remember so many bytes of what is not folded, beside the window's own: they weigh
 * as these do. */
void     hf_log_burden(hf_log *log, uint64_t bytes);
/* Where readers start: a record; its `next` is the oldest they have to read. */
hf_record *hf_log_start_of_chain(hf_log *log);
const hf_window *hf_log_window(const hf_log *log);
/* Nothing goes on just now: memory kept for reuse goes back to the system. */
void hf_log_rest(hf_log *log);

#endif
