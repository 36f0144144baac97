/* question.h - answer a question about a store, from one snapshot.
 *
 * The same functions serve a tool that reads a store nobody has open and the
 * living engine, which lays over what only it knows. docs/control.md names the
 * questions, their arguments and the fields of their rows. */
#ifndef RECOVERY_QUESTION_H
#define RECOVERY_QUESTION_H

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"
#include "recovery/lineage.h"
#include "recovery/pausing.h"
#include "recovery/where.h"

/* How the limits of a type stand. */
typedef struct hf_limited {
    bool     held;         /* no turn of it may begin now; */
    uint64_t until;        /* before then, Unix ms; 0: a turn decides */
    bool     breaker, open, probes;
    uint32_t failures;     /* in a row */
    uint32_t rate, rate_ms; /* 0: none */
} hf_limited;

/* What only a living engine knows. Any thread may call these; none waits long. */
typedef struct hf_living {
    void *user;
    /* The name of a type it defines, by number; NULL: no more. */
    const char *(*type)(void *user, uint32_t number);
    bool (*defines)(void *user, const char *address, size_t len);
    /* Does this message run? Since when (Unix ms), longer than stuck_ms? */
    bool (*runs)(void *user, const hf_entry *message, uint64_t *since, bool *stuck);
    /* Is it in memory? false: cannot say. */
    bool (*resident)(void *user, const char *actor, bool *is);
    /* Is it a suspect of a death of the process; 0 strikes: not yet alone. */
    bool (*suspect)(void *user, uint64_t id, uint32_t *strikes, uint64_t *until);
    /* The newest hf_progress of the turn that runs it; 0: none. */
    size_t (*note)(void *user, uint64_t id, uint8_t note[HF_NOTE_MAX]);
    /* How long finished messages of this address are told, ms; 0: not at all. NULL: for as
     * long as the store has them. */
    uint64_t (*history)(void *user, const char *address, size_t len);
    uint64_t (*now)(void *user); /* engine time, ms */
    bool (*full)(void *user); /* no room for turns that send */
    /* The limits of an address's type; false: it has none. */
    bool (*limit)(void *user, const char *address, size_t len, hf_limited *out);
    void (*stats)(void *user, hf_out *row); /* puts the engine's fields of `stats` */
} hf_living;

typedef struct hf_inquiry {
    hf_disk         *disk;
    const hf_living *living; /* NULL: no engine has it, or it is hung */
    const char      *source; /* "engine", "disk", "hung" */
    uint64_t         pid;    /* of the engine; 0: none */
    uint32_t         uid;    /* of who asks, if it is for a change */
    hf_row_fn        each;
    void            *user;
    hf_out           row;    /* being made */
} hf_inquiry;

/* HF_EINVAL, HF_ENOTFOUND, HF_ECORRUPT, HF_ENOMEM, …, or what `each` returned. */
int hf_inquire(hf_inquiry *inquiry, const char *question, hf_bytes arguments);

/* ---- What the questions share */

/* One message as it was met. */
typedef struct hf_sight {
    hf_entry   e;
    hf_message msg;   /* as a hook would see it */
    uint64_t   died;  /* 0: it lives */
    uint64_t   since; /* running: since when */
    bool       stuck;
    bool       delayed; /* waits in alarm_names, not in the inbox */
    hf_bytes   note;  /* running: how far it got */
    char       key[33];
} hf_sight;
/* HF_SCAN_STOP ends the walk along the table; no code of ours. */
enum { HF_SCAN_STOP = 0x5707 };
typedef int (*hf_sight_fn)(void *user, const hf_sight *sight);

/* What is true of all messages of an actor. */
typedef struct hf_standing {
    uint64_t number;     /* another one: another actor */
    uint64_t hash;
    size_t   len;        /* of `to`, 0: of nobody yet */
    char     to[HF_ADDRESS_MAX + 1]; /* not terminated */
    bool     paused, undefined, limited;
    uint64_t until;      /* limited: what is due by then; 0: everything */
} hf_standing;

/* A message that waits and has no rare field, for who only counts; false: it wants to be
 * told of this one as of others. */
typedef bool (*hf_plain_fn)(void *user, const hf_standing *actor, hf_status status, uint64_t id,
                            uint64_t sent);

typedef struct hf_crew hf_crew;

typedef struct hf_scan {
    hf_inquiry     *inquiry;
    hf_view_of     *view;
    hf_pausings     pausings;
    hf_standing     standing; /* of the actor that was met last */
    hf_plain_fn     plain;    /* NULL, or: `where` says no more than hf_where_plain */
    bool            keyless;  /* sights have no key */
    const hf_crew  *crew;     /* NULL, or: several threads may look at the inbox, crew.h */
    uint64_t        after;    /* only ids above it are wanted; others may come */
    uint64_t        before;   /* only ids below it; others may come. May sink in a walk */
    const hf_where *where; /* NULL: all */
    uint64_t        now, scanned;
    int64_t         set_by; /* the wall clock was set by so much against engine time, ms */
    hf_prefixes     prefixes;
    hf_sight_fn     each;
    void           *user;
    hf_sight        sight;
    uint8_t         note[HF_NOTE_MAX];
} hf_scan;

int  hf_scan_open(hf_scan *scan, hf_inquiry *inquiry);
void hf_scan_close(hf_scan *scan);

/* A due time as it is told: by the wall clock, whichever it goes by. 0 stays 0. */
uint64_t hf_scan_told(const hf_scan *scan, uint64_t due, bool wall);
/* Engine time now: how those that do not go by the wall clock are written. */
uint64_t hf_scan_time(const hf_scan *scan);

/* Every message that `where` selects: the dead by id, then the delayed, then the inbox by
 * actor. */
int  hf_scan_all(hf_scan *scan, hf_sight_fn each, void *user);
/* An actor's, in the order they will be handled. */
int  hf_scan_inbox(hf_scan *scan, const char *actor, hf_sight_fn each, void *user);
/* One; HF_ENOTFOUND. Looks through the whole inbox if it must. */
int  hf_scan_find(hf_scan *scan, uint64_t id, hf_sight_fn each, void *user);
/* One whose SEND or DUE is known: quick. HF_ENOTFOUND: it ended. */
int  hf_scan_known(hf_scan *scan, const hf_entry *sent, hf_sight_fn each, void *user);
/* Several, ascending and each once: tells those it finds, in any order. */
int  hf_scan_some(hf_scan *scan, const uint64_t *ids, size_t count, hf_sight_fn each, void *user);

const char *hf_status_name(hf_status status);
const char *hf_cause_name(hf_cause cause);

/* The fields of a message, into the open map. */
void hf_out_message(hf_out *out, const hf_sight *sight, bool body);
/* Tell the row that was made; ends its open map. */
int  hf_inquiry_tell(hf_inquiry *inquiry);

/* A parsed where of an argument; *where NULL: not given. */
struct hf_argument;
int hf_where_argument(hf_where **where, const struct hf_argument *argument);
/* One that takes what has this value; `field` may have other terms before it. */
int hf_where_about(hf_where **where, const char *field, const char *value);

/* The questions, one a file. */
int hf_ask_stats(hf_inquiry *inquiry, hf_bytes arguments);
int hf_ask_top(hf_inquiry *inquiry, hf_bytes arguments);
int hf_ask_ls(hf_inquiry *inquiry, hf_bytes arguments);
int hf_ask_actor(hf_inquiry *inquiry, hf_bytes arguments);
int hf_ask_message(hf_inquiry *inquiry, hf_bytes arguments);
int hf_ask_alarms(hf_inquiry *inquiry, hf_bytes arguments);
int hf_ask_messages(hf_inquiry *inquiry, hf_bytes arguments);
int hf_ask_tail(hf_inquiry *inquiry, hf_bytes arguments);

#endif
