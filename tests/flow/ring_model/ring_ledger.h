/* ring_ledger.h - what the senders did and what the actors found, in memory that
 * outlives a killed child. */
#ifndef RING_LEDGER_H
#define RING_LEDGER_H

#include "engine/holdfast.h"

#include <stdarg.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    OUTSIDERS = 3,
    ACTORS    = 12,                 /* see ring_type_of */
    SENDERS   = OUTSIDERS + ACTORS, /* an actor sends, too */
    MOST      = 400,                /* messages of one sender to one actor */
    TRIES     = 4,
    RING_PATIENCE = 600000,         /* ms; whoever runs a test limits its time */
    DEPTH     = 2,                  /* how often a message makes messages */
};

typedef enum ring_kind { CALM, SLOW, PUSHY, SWARM } ring_kind;

/* How a tell ended, as its sender knows it. */
typedef enum ring_told { NEVER_TOLD, TOLD, ACKED, REFUSED } ring_told;

typedef enum ring_plan {
    FAIL_SOME, BURY, FAIL_ALWAYS, SNOOZE, SEND_ONE, SEND_SOME, PEND, BAD_SEND, STEP, JOIN, PLAIN
} ring_plan;

/* When it comes, see ring_delays.c. */
typedef enum ring_time { ON_TIME, WAITS, DOOMED, BRIEF } ring_time;

/* The body of a message; filler follows. */
typedef struct ring_letter {
    uint16_t sender, seq, actor;
    uint16_t depth;
} ring_letter;

typedef struct ring_item {
    uint16_t sender, seq;
} ring_item;

/* The state of an actor. */
typedef struct ring_memory {
    uint32_t  count, version;
    uint64_t  owed_sum;
    int32_t   owed;        /* answers and joins that are to come */
    uint16_t  out[ACTORS]; /* how many it sent to whom */
    ring_item items[];     /* what it handled, in order */
} ring_memory;

enum { ITEMS = 4000 };
typedef struct ring_report {
    bool      there;
    uint32_t  count;
    int32_t   owed;
    uint64_t  owed_sum;
    uint16_t  out[ACTORS];
    ring_item items[ITEMS];
} ring_report;

/* What the tally of the swarms and the grave are told. */
typedef struct ring_note {
    uint16_t sender, seq, actor, pad;
} ring_note;

typedef struct ring_notes {
    uint32_t  count;
    ring_note notes[ITEMS];
} ring_notes;

typedef struct ring_ledger {
    uint64_t     seed;
    uint32_t     life;
    atomic_uint  asked;                             /* reports that were asked for and came */
    atomic_bool  broken;
    char         why[400];
    uint16_t     told[OUTSIDERS][ACTORS];
    uint8_t      fate[OUTSIDERS][ACTORS][MOST + 1]; /* ring_told, by seq */
    atomic_bool  paused[ACTORS];
    uint8_t      steps[SENDERS][ACTORS][MOST + 1];  /* results seen */
    ring_report  reports[ACTORS];
    ring_notes   tally, grave;
} ring_ledger;

extern ring_ledger *ring;

/* The first thing that is wrong stays. */
void ring_broken(const char *format, ...) HF_PRINTF(1, 2);

uint64_t  ring_hash(uint64_t a, uint64_t b);
ring_kind ring_kind_of(uint32_t actor);
void      ring_address(uint32_t actor, char text[32]);
uint64_t  ring_dice(uint32_t sender, uint32_t actor, uint32_t seq);
ring_plan ring_plan_of(uint64_t dice);
uint32_t  ring_times_of(uint64_t dice); /* how often FAIL_SOME fails */
bool      ring_dies(ring_plan plan);

/* ring_actors.c */
enum { RING_TYPES = 32 };
extern const hf_type ring_types[RING_TYPES]; /* "slow" is of the version of the life */
size_t ring_write(uint8_t *room, uint32_t sender, uint32_t actor, uint32_t seq, uint32_t depth);
enum { RING_BODY_MAX = 3000 };
void   ring_finisher_start(void);

/* What a mayfly is told: what it must find, and what it does. */
typedef struct ring_mayfly {
    uint64_t found, made;   /* 0: no state */
    /* 0 nothing, 1 save, 2 forget, 3 save+forget, 4 forget+save, 5 fails once */
    uint32_t op, pad;
} ring_mayfly;

/* ring_life.c: one life of the engine, in a child; never returns */
_Noreturn void ring_live(const char *path, uint64_t dice, bool last);

/* ring_check.c: after the last life */
void ring_check(void);

#endif
