/* turn.h - one message being handled: what its handler staged so far. */
#ifndef ENGINE_TURN_H
#define ENGINE_TURN_H

#include "engine/engine.h"

typedef enum hf_turn_verdict { HF_TURN_RETURNED, HF_TURN_FAILED, HF_TURN_BURIED,
                               HF_TURN_SNOOZED } hf_turn_verdict;

/* Who asked is told when the turn is committed, or waits for what was forwarded. */
typedef enum hf_turn_answered { HF_TURN_SILENT, HF_TURN_REPLIED,
                                HF_TURN_HANDED_ON } hf_turn_answered;

typedef struct hf_scratch {
    struct hf_scratch *next;
    size_t             used, room;
    uint8_t            bytes[]; /* aligned for any C type */
} hf_scratch;

struct hf_turn {
    hf_engine      *engine;
    hf_kind_of     *kind;
    hf_batch       *batch;
    hf_batch_mark  *marks;       /* of each segment, when the turn began */
    uint32_t        done_count, done_last, named_count; /* and of the rest of it */
    uint32_t        note_count;  /* letters with .dedupe */
    const struct hf_response *replied; /* and the newest reply */
    struct hf_census *census;    /* of each type, where its thread counts */
    bool            on_pool;
    bool            on_shard;    /* of a shard's thread: must not wait */
    /* the message */
    const hf_entry *e;
    hf_message      msg;
    char            key[33];
    hf_bytes        state;       /* as the turn found it */
    uint8_t         state_version; /* of its form */
    uint32_t        alarms;      /* set or cancelled */
    bool            sealed;      /* has a state that could not be shown: it stays */
    hf_parcel      *parcel;      /* NULL: straight from the log or a page */
    struct hf_turn_rows *rows;   /* NULL: it has nothing to do with rows; rows.c */
    /* what it staged */
    uint64_t        staged;      /* bytes */
    uint32_t        sends;
    bool            saved, forgot;
    uint32_t        save_at;     /* offset of the newest SAVE in the facts */
    uint32_t        save_index;  /* number of that there, or of a tombstone; dirty.c */
    uint64_t        tomb;        /* of the actor that it forgot; 0: none */
    int             err;         /* first staging call that failed */
    uint8_t         joins;       /* 0: nothing to do with joins; else see join.h */
    uint32_t        children;    /* sent with .join, if joins says so */
    hf_bytes        join_kind, join_body; /* what hf_join was given, if it says so */
    bool            asked;       /* somebody waits for its reply, or may ask later */
    bool            handing;     /* hf_forward hands that on with what it sends now */
    hf_turn_answered answered;
    bool            noted;       /* has a note that is shown */
    struct hf_turn_note *note;   /* progress.c */
    /* how it ends */
    hf_turn_verdict verdict;
    int             code;
    uint64_t        snooze_ms;
    char            error[HF_ERROR_MAX + 1];
    hf_scratch     *scratch;
    /* HF_PENDING, on pools */
    pthread_mutex_t lock;
    pthread_cond_t  finished;
    bool            is_finished, lock_ready;
    int             finish_err;
    bool            undoing;     /* runs type.undo, not type.handle */
    uint32_t        undo_step;   /* which */
    /* for others to see: watch.c */
    _Atomic(const hf_kind_of *) watched; /* kind */
    _Atomic uint64_t began_ns;   /* pools: when the turn began */
    _Atomic uint64_t cancel;     /* id of the message that is asked to stop */
};

hf_turn *hf_turn_new(hf_engine *engine, bool on_pool);
void     hf_turn_free(hf_turn *turn);

/* Begin: fill in the message, remember where the batch stands. actor: whose state it
 * finds; NULL: it runs nothing that could look at one. */
void hf_turn_begin(hf_turn *turn, hf_kind_of *kind, hf_batch *batch, const hf_entry *message,
                   const hf_actor *actor);
/* upgrade.c: its state has another version than its type. HF_OK: it may be shown now. */
int  hf_upgrade_state(hf_turn *turn);
/* Drop what was staged since hf_turn_begin. */
void hf_turn_cut(hf_turn *turn);
/* Stage one entry, or fail the turn; and fail it, with what hf_error_detail says. The
 * first failure counts. */
bool hf_turn_stage(hf_turn *turn, hf_segment *segment, const hf_entry *entry);
void hf_turn_fail(hf_turn *turn, int err);
/* From now on calls of this thread belong to the turn; returns the one before. */
hf_turn *hf_turn_enter(hf_turn *turn);
/* Run the handler; true: everything it staged stands. */
bool hf_turn_run(hf_turn *turn);
/* True: `code`, what was said and what was staged amount to success. */
bool hf_turn_judge(hf_turn *turn, int code);
/* hold.c: it sends, and there is no room for that. */
bool hf_turn_must_wait(const hf_turn *turn);
/* HF_PENDING: wait for hf_finish; returns its err. */
int  hf_turn_wait(hf_turn *turn);
void hf_turn_end(hf_turn *turn); /* gives its memory back */

/* Stage what a failed turn leaves: RETRY or DEAD, what the failed hook said, the
 * note to .dead_to. `parcel` gets attempt, error, times and (in *due_ms, 0: dead)
 * when it goes on. */
int  hf_outcome_failed(hf_turn *turn, hf_parcel *parcel, uint64_t *due_ms);
/* Stage the end of a message that is named: an ACK. */
int  hf_outcome_ack(hf_batch *batch, const hf_entry *message);
int  hf_outcome_retry(hf_batch *batch, const hf_entry *message);
int  hf_outcome_dead(hf_turn *turn, hf_parcel *parcel, const char *why);
int  hf_outcome_bury(hf_turn *turn, hf_entry *message); /* DEAD, as it is */
/* Milliseconds until the attempt after this one. */
uint64_t hf_outcome_pause(const hf_type *type, uint32_t attempt);
/* From now on pauses are not drawn from a range around that, in any engine: for tests. */
void     hf_outcome_exact(bool on);

/* The turn the calling thread is in, or NULL: for HF_EDEADLOCK. */
hf_turn *hf_turn_current(void);

/* The message's idempotency key: 32 hex digits and a zero. */
/* Its first half; the second is the id. */
void hf_turn_key_prefix(const hf_engine *engine, uint64_t id, char prefix[16]);
void hf_turn_key(const hf_engine *engine, uint64_t id, char key[33]);

#endif
