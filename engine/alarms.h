/* alarms.h - what is due later, of one shard: alarms and delayed letters.
 *
 * Memory knows every word of this run's window about them (a SEND with a time, ALARM,
 * CANCEL; with it goes the record's entry), and of what lies in the tables only what is
 * due before a horizon: `reach`. A sweep along the table alarms moves that on; so ten
 * million rows cost nothing until their time comes near. When the fold passes a word, what
 * is due before reach stays, without its entry, the rest is forgotten: the sweep finds it.
 *
 * What goes by engine time and what goes by the wall clock are two queues.
 * The shard's thread; others ask under `lock`. */
#ifndef ENGINE_ALARMS_H
#define ENGINE_ALARMS_H

#include "engine/turn.h"

#include "storage/due.h"

typedef enum hf_alarm_now {
    HF_ALARM_NONE,      /* nothing is known but that a word is on its way to the log */
    HF_ALARM_SET,       /* waits in its queue */
    HF_ALARM_FIRED,     /* its DUE is on its way, or there */
    HF_ALARM_CANCELLED,
} hf_alarm_now;

typedef struct hf_alarm {
    uint64_t         due;        /* as rows have it: hf_due_time */
    uint64_t         generation; /* 0: cancelled */
    uint64_t         position;   /* of the newest word about it */
    uint64_t         staged;     /* a newer one is in this batch of the shard's; 0: none */
    const uint8_t   *entry;      /* in the window; NULL: look into the tables */
    struct hf_alarm *next_name;              /* alarms alone: by actor and name */
    struct hf_alarm *next_actor, **actor_link; /* and by actor */
    struct hf_alarm *before, *behind;        /* in the window, by position */
    uint32_t         heap;       /* index in its queue + 1; 0: not in it */
    uint16_t         key_len, actor_len;
    uint8_t          now;        /* hf_alarm_now */
    bool             letter, listed;
    bool             cold;       /* its row alone tells the rest */
    bool             covers;     /* the table still has a row of its last setting */
    uint8_t          key[];      /* of alarm_names */
} hf_alarm;

/* A walk along the index: where it stands. */
typedef struct hf_alarm_sweep {
    uint64_t due, generation;    /* the next row to look at is not below */
} hf_alarm_sweep;

/* Words that the fold overtook: rows of these generations, below what had been swept
 * then, were never seen. */
typedef struct hf_alarm_lost {
    uint64_t       from, to;
    hf_alarm_sweep at[2], until[2]; /* of each queue */
} hf_alarm_lost;

/* What went off in a batch that is not folded yet, but has rows. */
typedef struct hf_alarm_spent {
    uint64_t batch;
    int64_t  count;
} hf_alarm_spent;

typedef struct hf_alarm_queue {
    hf_alarm     **heap;         /* by due, then generation */
    uint32_t       count, room;
    uint32_t       cold;         /* of them, that are cold */
    hf_alarm_sweep reach;        /* rows below were loaded, or never lay in the table */
    uint64_t       fired_due, fired_generation; /* the latest that went off */
} hf_alarm_queue;

/* What an earlier run left in its window, while that is not folded. */
typedef struct hf_alarm_then hf_alarm_then;
typedef struct hf_alarm_past {
    hf_alarm_then *all;          /* that are set, by due, then generation */
    size_t         count, room;
    uint64_t       end;          /* positions of these facts are below; 0: there are none */
    bool           learning;     /* the rows that these will change are looked at: */
    size_t         at;           /* the next fact */
    int64_t        net;          /* counted for these, beyond the rows */
} hf_alarm_past;

typedef struct hf_alarms {
    pthread_mutex_t lock;
    hf_alarm_queue  queues[2];   /* by engine time, by the wall clock */
    hf_alarm      **names, **actors; /* hash tables */
    uint32_t        mask, named;
    hf_alarm       *first, *last; /* words of the window, by position */
    hf_alarm       *unsure;      /* of this one and those behind it nobody has looked whether
                                    the table has a row of the last setting */
    _Atomic uint64_t burden;     /* bytes that these take, about */
    _Atomic uint64_t newest;     /* all of them lie below */
    uint32_t        unread;      /* alarms of which a word is staged, or in the log ahead */
    uint32_t        unread_most; /* a shard with more runs nothing: it reads on */
    uint64_t        below;       /* rows of smaller generations are the sweep's */
    hf_alarm_lost  *lost;        /* to be swept again, one after the other */
    uint32_t        lost_count, lost_room;
    hf_alarm_spent *spent;       /* by batch */
    uint32_t        spent_count, spent_room;
    hf_alarm_past   past;
    _Atomic int64_t extra;       /* that are set, beyond the rows of the index */
    uint64_t       *forced;      /* letters sent on by hand before their time */
    uint32_t        forced_count, forced_room;
    struct hf_reworded *words;   /* delayed letters that were edited, till that is folded */
    bool            used;        /* there is, or was, something */
    bool            overtaken;   /* by the fold, and words staged before may be unread for ever */
    bool            cooling;     /* some words that were folded were not looked at: those from
                                    below on */
    bool            far;         /* the table may hold rows beyond reach */
    bool            busy;        /* something is due that is not on its way, */
    bool            held;        /* since there is no room for it */
    uint64_t        look_ns;     /* when to look again, 0: at once */
    uint64_t        due_ns;      /* when something is due, UINT64_MAX: never */
    size_t          near;        /* where in the past rows were found last */
} hf_alarms;

/* ---- alarm_set.c: the memory. Under the lock. */
int       hf_alarm_set_init(hf_alarms *alarms);
void      hf_alarm_set_done(hf_alarms *alarms);
hf_alarm *hf_alarm_set_find(const hf_alarms *alarms, hf_bytes key);
/* The first of those in memory that may be this actor's; on by next_actor. */
hf_alarm *hf_alarm_set_of_actor(const hf_alarms *alarms, hf_bytes actor);
/* A new one, known by its name unless it is a letter's. NULL: out of memory. */
hf_alarm *hf_alarm_set_add(hf_alarms *alarms, const hf_key *key, bool letter);
void      hf_alarm_set_remove(hf_alarms *alarms, hf_alarm *alarm); /* from all, and free it */
/* The same, but that a word about it is on its way stays known. */
void      hf_alarm_set_forget(hf_alarms *alarms, hf_alarm *alarm);
/* Others are told how many are set: beyond the rows there are. */
static inline void hf_alarm_set_tally(hf_alarms *alarms, int64_t more)
{
    atomic_fetch_add_explicit(&alarms->extra, more, memory_order_relaxed);
}
int       hf_alarm_set_room(hf_alarms *alarms);  /* pushing one into a queue can't fail then */
void      hf_alarm_set_push(hf_alarms *alarms, hf_alarm *alarm);
void      hf_alarm_set_pull(hf_alarms *alarms, hf_alarm *alarm);  /* out of its queue */
void      hf_alarm_set_list(hf_alarms *alarms, hf_alarm *alarm);  /* its position is the newest */
void      hf_alarm_set_unlist(hf_alarms *alarms, hf_alarm *alarm);
/* A row tells of it, if memory does not know better. */
int       hf_alarm_set_row(hf_alarms *alarms, hf_bytes name, uint64_t due, uint64_t generation);
/* Sent on by hand before its time? */
bool      hf_alarm_is_forced(const hf_alarms *alarms, uint64_t id);
bool      hf_alarm_is_below(const hf_alarm *alarm, uint64_t due, uint64_t generation);
static inline hf_alarm_queue *hf_alarm_queue_of(hf_alarms *alarms, uint64_t due)
{
    return &alarms->queues[due & HF_DUE_BY_WALL ? 1 : 0];
}

/* ---- alarm_past.c */
int  hf_alarm_past_open(hf_shard *shard, const hf_survivors *facts);
/* Where to stop, that not too many come at once from there. */
hf_alarm_sweep hf_alarm_past_limit(const hf_alarms *alarms, hf_alarm_sweep from,
                                   hf_alarm_sweep until);
/* They come into memory; the facts are there. HF_ENOMEM: some of them. */
int  hf_alarm_past_load(hf_shard *shard, const hf_overlay *tables, hf_alarm_sweep from,
                        hf_alarm_sweep until);
int  hf_alarm_past_learn(hf_shard *shard, const hf_overlay *tables); /* some more of it */
void hf_alarm_past_fold(hf_shard *shard, uint64_t folded);
void hf_alarm_past_done(hf_alarms *alarms);

/* ---- alarms.c: the shard's thread */
int  hf_alarms_make(hf_shard *shard);   /* and what an earlier run left in the log */
void hf_alarms_done(hf_shard *shard);
/* An entry of the shard's run that is no message: is it a word about one? */
int  hf_alarms_pull(hf_shard *shard, const uint8_t *entry, uint64_t position);
/* What the turn staged counts from now on: what went off before is void. After `ready`,
 * which may find no memory; then nothing has changed. */
int  hf_alarms_ready(hf_shard *shard, const hf_turn *turn);
void hf_alarms_staged(hf_shard *shard, const hf_turn *turn, uint64_t batch);
/* The fold got this far, the shard had read up to `mine`. */
void hf_alarms_fold(hf_shard *shard, uint64_t folded, uint64_t mine);
/* While `cooling`: goes on with that. At its end nothing points into what was folded. */
void hf_alarms_cool(hf_shard *shard);
/* With nothing left to read: what is unread still was folded before, and is not waited for. */
void hf_alarms_settle(hf_shard *shard);
/* Has the shard read what a turn on a pool said of the actor's alarms? */
bool hf_alarms_know(const hf_shard *shard, hf_mailbox *box);
/* Does this message of an alarm still count? It may have been cancelled, or set again. */
int  hf_alarms_count(hf_shard *shard, const hf_entry *message, bool *counts);
/* A delayed letter has other words: `letter`, a REQUEUE, is staged, and goes off instead.
 * HF_ENOTFOUND: it went off already. */
int  hf_alarms_reword(hf_shard *shard, const hf_entry *letter, struct hf_batch *batch);
/* Those of the letter with this id; NULL: it was not edited. */
const uint8_t *hf_alarms_words(const hf_alarms *alarms, uint64_t id);
/* A delayed letter goes now, unless it went already. */
int  hf_alarms_force(hf_shard *shard, const hf_entry *letter);

/* ---- alarm_fire.c */
int  hf_alarms_fire(hf_shard *shard);   /* what is due, some of it */
/* With nothing else to do: learn how many are set. False: that is known. */
bool hf_alarms_learn(hf_shard *shard);
/* Of all shards, with what the index has: about, since the fold goes on meanwhile. */
uint64_t hf_alarms_tally(hf_engine *engine);
/* Bytes that the words of the window take in memory, all shards'; few are not worth a fold. Those
 * that are folded, of a shard that stands in a turn, can't be helped. */
uint64_t hf_alarms_burden(const hf_engine *engine);
/* When something is due, by the monotonic clock; 0: now, UINT64_MAX: never. */
uint64_t hf_alarms_next(const hf_shard *shard);
/* How long the shard may sleep, at most `ns`. */
uint64_t hf_alarms_rest(const hf_shard *shard, uint64_t ns);

/* ---- alarm.c: in a turn */
/* One of ours, whose name no user can choose: due at a time of day, or after so long;
 * both 0: cancelled. */
void hf_alarm_own(hf_turn *turn, const char *name, uint64_t at, uint64_t delay_ms);
void hf_alarm_forget(hf_turn *turn);    /* a CANCEL for each that the actor has */

#endif
