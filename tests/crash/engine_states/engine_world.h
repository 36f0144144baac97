/* engine_world.h - what a client told an engine, and what must have come of it.
 *
 * Every message has a token, a number of our own; its body ends with it. What a
 * message makes its actor do (fail, send, take steps, …) is planned before it is told
 * and lies in the table `world.messages`, which handlers of every process look into.
 * An actor's state is the list of tokens it handled, with a running hash. */
#ifndef ENGINE_WORLD_H
#define ENGINE_WORLD_H

#include "tests/crash/engine_states/engine_mutants.h"
#include "tests/crash/states/recorder.h"

#include "engine/holdfast.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>

enum { CALM, SLOW, CREW, BARE, TALLY, GRAVE, ATTIC }; /* types */
enum { TOLD_ACTORS = 8, TALLY_AT = 8, GRAVE_AT = 9, ATTIC_AT = 10, PLACES = 11 };
enum { TOKENS = 1024, MORE = TOKENS, ALL_TOKENS = TOKENS + TOLD_ACTORS };
enum { OPS = 400, STEPS = 2, SENDERS = 16, CHILDREN = 3, LETTERS = 4, TRIES = 6, LIVES = 4 };
#define NOBODY     UINT32_MAX
#define EVERYTHING "*"

extern const char *const place_names[PLACES];
int                      place_type(uint32_t place);

typedef enum plan {
    PLAN_PLAIN,
    PLAN_SEND,
    PLAN_FAIL, /* `times` times, then done; sends, too */
    PLAN_FAIL_ALWAYS,
    PLAN_BURY,
    PLAN_SNOOZE,
    PLAN_STEPS,     /* both; then it fails once, then it is done */
    PLAN_HALF_STEP, /* begun; fails; ended at the second attempt */
    PLAN_UNDO,      /* one ended, one begun, then buried: both are undone */
    PLAN_FORGET,    /* the list moves to the attic, the state is forgotten */
    PLAN_REVIVE,    /* buried, until it is requeued: then done */
    PLAN_REDO,      /* as UNDO, until it is requeued: then as STEPS */
    PLANS
} plan;

typedef struct message {
    uint8_t  plan, place, times, child_count;
    uint32_t size;   /* of the body */
    uint32_t sender; /* from outside: who; NOBODY: a turn sent it */
    uint32_t op;     /* that told it, or the message it stems from */
    uint32_t children[CHILDREN];
} message;

typedef enum op_kind {
    OP_OPEN,
    OP_TELL,
    OP_MAIL,
    OP_POST,
    OP_SYNC,
    OP_DRAIN,
    OP_PAUSE,
    OP_RESUME,
    OP_CLOSE,
    OP_REQUEUE, /* tokens[0] is requeued; it was dead when this began */
    OPS_KINDS
} op_kind;

typedef struct call {
    op_kind     kind;
    uint32_t    tokens[LETTERS], count;
    uint32_t    first_token; /* those below existed when it began */
    const char *what;        /* PAUSE, RESUME; EVERYTHING */
} call;

/* What the disk must bear out at one moment. */
typedef struct moment {
    bool begun[OPS], acked[OPS];
    bool step_begun[TOKENS][STEPS], step_ended[TOKENS][STEPS];
    bool started;
} moment;

typedef struct world {
    uint64_t         seed, chance;
    uint32_t         shards, life;
    char             path[PATH_MAX];
    message          messages[ALL_TOKENS];
    _Atomic uint32_t message_count;
    call             ops[OPS];
    uint32_t         op_count, requeuing;     /* the message whose requeue begins now */
    char             keys[TOKENS][STEPS][33]; /* of steps begun */
    moment           start;                   /* when this life's tape began */
    tape             tape;
} world;

extern world w;

/* Marks of the tape. */
enum { MARK_OP = 0, MARK_STEP_BEGUN = 1, MARK_STEP_ENDED = 2 };
static inline uint64_t mark(uint64_t what, uint64_t number)
{
    return what << 32 | number;
}
void moment_play(moment *m, const tape_event *event);

/* ---- engine_plan.c */
uint64_t dice(void); /* of the client's only thread that plans */
uint32_t plan_message(uint32_t sender, uint32_t number);
uint32_t plan_more(uint32_t place); /* the message told after a crash */
bool     plan_dies(const message *m);

typedef struct wish { /* what the next message told shall be */
    uint32_t place, times, children, size;
    plan     plan;
    bool     set;
} wish;
void plan_wish(const wish *next); /* from now on */
void plan_wish_nothing(void);
/* Room for the biggest body; returns its bytes. */
enum { BODY_MAX = 6144 };
hf_bytes body_write(uint8_t *room, uint32_t token);
uint32_t body_token(hf_bytes body); /* NOBODY: that is no body of ours */

/* ---- engine_actors.c */
extern const hf_type actor_types[];

typedef struct grave_note { /* GRAVE's list */
    uint32_t token, what;
} grave_note;
enum { NOTE_FAILED = 0x100, NOTE_UNDONE = 0x200, NOTE_DEAD = 0x300 };

enum { SEEN_MAX = 2048 };
typedef struct report {
    bool       came;
    uint32_t   count;
    uint32_t   tokens[SEEN_MAX];
    grave_note notes[SEEN_MAX];
} report;

typedef struct witness { /* of this process's engine */
    bool        recording;
    atomic_bool broken;
    char        why[512];
    atomic_uint ran[ALL_TOKENS]; /* turns */
    bool        failed_once[ALL_TOKENS][STEPS + 1];
    moment      known;               /* steps: what must be known */
    atomic_bool revived[ALL_TOKENS]; /* its requeue has begun */
    char        keys[TOKENS][STEPS][33];
    report      reports[PLACES];
} witness;

extern witness seen;
void           witness_clear(const moment *known);
void           broken(const char *format, ...) HF_PRINTF(1, 2);

/* Has its requeue begun; has it been acknowledged? */
bool revived(const moment *m, uint32_t token);
bool revived_surely(const moment *m, uint32_t token);

/* ---- engine_life.c: the client's calls, each begun and acknowledged on the tape. */
int      world_open(hf_engine **engine);
uint32_t life_begin(op_kind kind, uint32_t sender, uint32_t count, const char *what);
void     life_acknowledge(uint32_t number, int err, const char *name);
void     life_open(void);
void     life_close(void);
void     life_tell(void);
void     life_mail(uint32_t count);
void     life_post(uint32_t count);
void     life_pause(const char *what);
void     life_resume(const char *what);
void     life_drain(void);

typedef struct script { /* a small life around one operation */
    const char *name;
    void (*act)(void);
    uint32_t slice;   /* the fold moves at most so many bytes in a commit; 0: as it likes */
    bool     folds;   /* it must have */
    bool     creates; /* the making of the store is what it is about */
} script;

/* Live a script, or `ops` calls drawn by chance, until the tape ends. False: something
 * went wrong, and it was printed. */
bool live(const script *by, uint32_t ops);

/* ---- engine_scripts.c */
extern const script     scripts[];
extern const unsigned   script_count;

/* ---- engine_tool.c: what a tool does to the store, with an engine or without one. */
void tool_send(void);
void tool_pause(const char *what);
void tool_resume(const char *what);
void tool_requeue(void); /* one of the dead, if there is one that waits for it */
/* Each dead letter as it is listed now. */
int tool_dead(int (*each)(void *user, const hf_message *msg), void *user);

/* ---- engine_check.c: NULL, or what is wrong. */
const char *check_state(const moment *m, bool go_on);

#endif
