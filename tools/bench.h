/* bench.h - what the benches of `holdfast bench` share.
 *
 * Each bench makes its own store, measures through the public API, checks what
 * it can count after a reopen, and leaves nothing behind. Its result is one
 * msgpack map, printed like any other row. */
#ifndef TOOLS_BENCH_H
#define TOOLS_BENCH_H

#include "tools/context.h"

#include <limits.h>
#include <stdatomic.h>

typedef struct bench {
    cli_context *context;
    const char  *name;
    uint32_t     body, state, threads, shards;
    uint64_t     actors, pending, alarms, ms;
    uint64_t     history;         /* finished messages that are known; 0: none */
    bool         flood_type;      /* the crowd is a whole type's, not one actor's */
    char         root[PATH_MAX - 32]; /* made by us, removed by us */
    char         store[PATH_MAX];
    char         probe[PATH_MAX]; /* for the bare LMDB */
    cli_buffer   pairs;           /* the result in the making */
    uint32_t     pair_count;
} bench;

/* ---- The benches; each returns an exit code. */
int bench_tell(bench *run);
int bench_state(bench *run);
int bench_wait(bench *run);
int bench_open(bench *run);
int bench_memory(bench *run);
int bench_crowd(bench *run);
int bench_alarms(bench *run);
int bench_disk(bench *run);
int bench_peek(bench *run);

/* ---- The result */
void bench_put_uint(bench *run, const char *name, uint64_t number);
void bench_put_real(bench *run, const char *name, double number); /* 4 digits are kept */
void bench_put_text(bench *run, const char *name, const char *text);

/* Say that `what` failed with `err`, and give the exit code. */
int bench_failed(const char *what, int err);
/* Say that a sum is not what it must be. CLI_FAILED. */
int bench_wrong(const char *what, uint64_t is, uint64_t must);

/* ---- Latencies: a histogram with 0.4 % wide buckets, in nanoseconds. */
enum { BENCH_SUB = 8, BENCH_EXPONENTS = 44, BENCH_BUCKETS = BENCH_EXPONENTS << BENCH_SUB };
typedef struct bench_times {
    uint64_t count;
    double   sum_ns;
    uint32_t buckets[BENCH_BUCKETS];
} bench_times;
void   bench_times_add(bench_times *times, uint64_t ns);
void   bench_times_merge(bench_times *into, const bench_times *from);
double bench_times_us(const bench_times *times, double share); /* share 0.5: the median */

/* ---- This process */
uint64_t bench_rss_anon(void);   /* bytes; 0: unknown */
uint64_t bench_written(void);    /* bytes this process had written to disk; 0: unknown */

/* bench_machine.c: on what it runs, into the result. */
void bench_put_machine(bench *run);
const char *bench_file_system(const char *path, char other[24]); /* its name */

/* What the page cache holds of the store goes; how: as root all of it, or file by file. */
const char *bench_drop_cache(const bench *run);

/* Watch RssAnon in a thread; stop tells the most that was seen. */
typedef struct bench_watch {
    uint64_t    thread; /* pthread_t */
    atomic_bool stop;
    uint64_t    most;
} bench_watch;
int      bench_watch_start(bench_watch *watch);
uint64_t bench_watch_stop(bench_watch *watch);

/* ---- Engine */

/* hf_close until it is closed. */
int bench_close(hf_engine *engine);
/* hf_drain until nothing waits, or Ctrl-C: CLI_INTERRUPTED, positive. */
int bench_drain(hf_engine *engine);
/* hf_post until it is taken, waiting with hf_sync; *stop ends it: HF_EAGAIN. */
int bench_post(hf_engine *engine, const hf_letter *letters, size_t count,
               const atomic_bool *stop);

/* Three windows of large messages to one actor of `type`, handled: all else has left the
 * window for the tables. */
int bench_push_out(hf_engine *engine, const char *type);

/* What handlers count: one slot a thread, so that counting costs nothing. */
typedef struct bench_slot {
    _Alignas(64) uint64_t handled;
    uint64_t sum, wrong, first_ns;
    uint32_t *seen; /* ordered loads: the last number, by sender and actor, all of which stay
                       with their thread: in one list for all of them neighbours would share
                       cache lines */
} bench_slot;
extern _Thread_local bench_slot *bench_slot_of_thread;
bench_slot *bench_slot_take(void);
static inline bench_slot *bench_slot_mine(void)
{
    return bench_slot_of_thread != NULL ? bench_slot_of_thread : bench_slot_take();
}
bench_slot  bench_slots_sum(void);   /* of all threads; first_ns: the earliest */
void        bench_slots_reset(void); /* while no handler runs; frees what slots have */

/* ---- Letters */

/* How every body begins; the rest is filler. */
typedef struct bench_body {
    uint32_t actor, sender;
    uint64_t number;
} bench_body;

/* Letters prepared before they are needed. */
typedef struct bench_block {
    size_t     count;
    size_t     body_room; /* from one body to the next */
    hf_letter *letters;
    char      *addresses;
    uint8_t   *bodies;
} bench_block;
enum { BENCH_BLOCK = 1000, BENCH_ADDRESS = 32 };

void bench_block_init(bench_block *block, size_t count, uint32_t body, const char *kind);
void bench_block_free(bench_block *block);
/* Letter i goes to actor `actor` of `type` (1 to 3 letters). */
void bench_block_address(bench_block *block, size_t i, const char *type, uint32_t actor);
static inline bench_body *bench_block_body(const bench_block *block, size_t i)
{
    return (bench_body *)(void *)(block->bodies + i * block->body_room);
}

/* One letter of `kind` to each of `actors` actors of `type`; numbers from 1. */
int bench_send_each(hf_engine *engine, const char *type, uint64_t actors, uint32_t body,
                    const char *kind);

/* xorshift64*: not chance, only disorder. *seed must not be 0. */
uint64_t bench_random(uint64_t *seed);
static inline uint32_t bench_below(uint64_t *seed, uint64_t limit)
{
    return (uint32_t)(((bench_random(seed) >> 32) * limit) >> 32);
}

/* ---- State: a counter, the last number, then filler. */
enum { BENCH_STATE_LEAST = 16, BENCH_STATE_MOST = 4096 };
/* Add 1 to the counter of the actor's state and save it. */
int bench_state_turn(hf_turn *turn, const hf_message *msg, uint32_t state);
/* Open the store again, let each actor add its counter up, and compare. */
int bench_state_check(bench *run, const char *type, uint64_t must);

/* ---- Latency beside a load: types `probe` and `echo` handle these (bench_probe.c) */
int bench_probe_turn(hf_turn *turn, const hf_message *msg);
int bench_echo_turn(hf_turn *turn, const hf_message *msg);
typedef struct bench_probes {
    hf_engine         *engine;
    const atomic_bool *stop; /* ends waiting for room */
    atomic_int        *err;  /* of the first post that failed */
    uint64_t           number, due_ns;
} bench_probes;
/* Probe until `end_ns`; false: something failed, or Ctrl-C. */
bool bench_probes_until(bench_probes *probes, uint64_t end_ns);
/* From now on those due in this time count, and none before. */
void bench_probes_count(uint64_t from_ns, uint64_t to_ns);
typedef struct bench_probe_figures {
    double   p50_us, p99_us;
    uint64_t samples;
} bench_probe_figures;
bench_probe_figures bench_probes_take(void);

/* ---- Senders at full speed, with probes for the latency */
typedef struct bench_load {
    const char  *type;
    hf_handle_fn handle;    /* of the type; hf_message.user is this load */
    bool         ordered;   /* handlers see each sender's numbers in order */
    bool         fill;      /* give every actor a first message */
    bench       *run;
    hf_engine   *engine;
    atomic_bool  stop;
    atomic_int   err;       /* of the first sender that failed */
    atomic_ullong accepted; /* letters */
    uint64_t     actors;    /* = run->actors, nearer to the handlers */
    uint64_t     handled;   /* turns the handlers counted, all in all */
} bench_load;
/* Run it, put its figures, close the engine. An exit code. */
int bench_load_run(bench_load *load);

/* ---- The bare disk (bench_disk.c) */
typedef struct bench_lmdb bench_lmdb;
int  bench_lmdb_open(bench_lmdb **lmdb, const char *path);
/* Commits of one small record, one after another, for so long. */
int  bench_lmdb_run(bench_lmdb *lmdb, uint32_t value, uint64_t ms, bench_times *times);
/* How many of `rows` rows with `state` bytes of payload it finds a second, at random. */
int  bench_lmdb_look(bench_lmdb *lmdb, uint64_t rows, uint32_t state, uint64_t ms, double *rate);
void bench_lmdb_close(bench_lmdb *lmdb);

#endif
