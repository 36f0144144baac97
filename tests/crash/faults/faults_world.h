/* faults_world.h - numbered messages, what was answered about each, what became of it.
 *
 * All of it lies in memory shared by the driver and the children that may die. */
#ifndef FAULTS_WORLD_H
#define FAULTS_WORLD_H

#include "engine/holdfast.h"
#include "tests/crash/faults/inject.h"

enum { NUMBERS = 160, ACTORS = 8 };

/* An actor's state: how often each number came, and in what order. */
typedef struct memory {
    uint32_t last, count;
    uint64_t hash;
    uint8_t  seen[NUMBERS];
} memory;

typedef struct ledger {
    uint32_t    next;                        /* number */
    uint8_t     least[NUMBERS], most[NUMBERS]; /* how often it has to be done */
    bool        fails_once[NUMBERS];         /* what its handler does */
    uint64_t    id[NUMBERS];                 /* of those in the template */
    int         answer[NUMBERS];
    memory      reports[ACTORS];
    atomic_uint reported;
    atomic_uint posts, posted;               /* accepted; told */
    /* what was seen of the run */
    atomic_uint refused, unknown, done;      /* answers of sends */
    atomic_uint errors;                      /* of any call */
    int         open_err;
    bool        opened_before;               /* the store was opened once */
    atomic_int  stopped;
    atomic_bool broken;
    char        why[400];
    atomic_bool told_stopped;                /* a call of the engine answered HF_EUNKNOWN */
    char        error[160];                  /* the first */
    char        at[80];                      /* where the scenario is */
} ledger;

extern ledger *book;

void broken(const char *format, ...) HF_PRINTF(1, 2);

extern const hf_type    faults_types[];
extern const char *const faults_actors[ACTORS];

/* To whom number n goes, and is it one that is buried, or undone? */
const char *number_to(uint32_t n);
bool        number_is_buried(uint32_t n);
bool        number_is_undone(uint32_t n);

/* The body of a number, `size` bytes of it (at least 8). Room for BODY_MAX. */
enum { BODY_MAX = 4096 };
hf_bytes number_body(uint8_t body[BODY_MAX], uint32_t n, size_t size);

/* The next numbers are being sent: nothing is known of them. */
uint32_t number_take(uint32_t count);
/* What the call answered that sent them, or did them once more. */
void number_answered(uint32_t first, uint32_t count, int err);
/* An error must be told in words. */
int  answered(const char *call, int err);

/* Open without faults, let everything be done, compare with the ledger. */
void world_verify(const char *path);
int  world_open(hf_engine **engine, const char *path);
int  open_files(bool polls); /* descriptors; of epoll too? */

/* ---- Scenarios */
typedef struct scenario {
    const char *name;
    const char *store;   /* "" none, "clean", "unclean", "dead" */
    bool        cold;    /* libuv has done nothing in this process yet */
    void (*before)(const char *path); /* without faults */
    void (*run)(const char *path);
    void (*after)(const char *path);  /* without faults: close what `before` opened */
} scenario;

extern const scenario scenarios[];
extern const uint32_t scenario_count;

/* Make the stores the scenarios begin with; each has its ledger beside it. */
void template_make(const char *path, const char *store);

#endif
