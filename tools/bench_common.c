/* bench_common.c - result, latencies, memory, letters: what benches share.
 *
 * Nothing here measures by itself. Failures are said on stderr and become exit
 * codes. Handlers call bench_slot_mine on the engine's threads; all else runs on
 * the thread that benches, senders call bench_post on theirs. */
#include "tools/bench.h"
#include "tools/times.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

/* ---- The result */

void bench_put_uint(bench *run, const char *name, uint64_t number)
{
    cli_pack_text(&run->pairs, name);
    cli_pack_uint(&run->pairs, number);
    run->pair_count++;
}

void bench_put_real(bench *run, const char *name, double number)
{
    double digits = fabs(number) < 1e-9 ? 0 : 4 - ceil(log10(fabs(number)));
    double scale = pow(10, digits < 0 ? 0 : digits);
    cli_pack_text(&run->pairs, name);
    cli_pack_double(&run->pairs, round(number * scale) / scale);
    run->pair_count++;
}

void bench_put_text(bench *run, const char *name, const char *text)
{
    cli_pack_text(&run->pairs, name);
    cli_pack_text(&run->pairs, text);
    run->pair_count++;
}

int bench_failed(const char *what, int err)
{
    const char *detail = hf_detail();
    cli_complain("%s: %s%s%s", what, hf_strerror(err), *detail != 0 ? ": " : "", detail);
    return cli_exit_code(err);
}

int bench_wrong(const char *what, uint64_t is, uint64_t must)
{
    cli_complain("wrong: %s: %llu, must be %llu", what, (unsigned long long)is,
                 (unsigned long long)must);
    return CLI_FAILED;
}

/* ---- Latencies */

/* Bucket i covers [lower(i), lower(i + 1)). Small values have one each. */
static size_t bucket_of(uint64_t ns)
{
    if (ns < (1U << BENCH_SUB))
        return (size_t)ns;
    unsigned top = 63U - (unsigned)__builtin_clzll(ns);
    unsigned shift = top - BENCH_SUB;
    size_t bucket = ((size_t)(shift + 1) << BENCH_SUB) + (size_t)(ns >> shift) - (1U << BENCH_SUB);
    return bucket < BENCH_BUCKETS ? bucket : BENCH_BUCKETS - 1;
}

static double lower_of(size_t bucket)
{
    size_t group = bucket >> BENCH_SUB, part = bucket & ((1U << BENCH_SUB) - 1);
    if (group == 0)
        return (double)part;
    return ldexp((double)(part + (1U << BENCH_SUB)), (int)group - 1);
}

void bench_times_add(bench_times *times, uint64_t ns)
{
    times->count++;
    times->sum_ns += (double)ns;
    times->buckets[bucket_of(ns)]++;
}

void bench_times_merge(bench_times *into, const bench_times *from)
{
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    for (size_t i = 0; i < BENCH_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

double bench_times_us(const bench_times *times, double share)
{
    double before = 0, want = share * (double)times->count;
    for (size_t i = 0; i < BENCH_BUCKETS; i++) {
        before += times->buckets[i];
        if (before >= want && before > 0)
            return (lower_of(i) + lower_of(i + 1)) / 2000;
    }
    return 0;
}

/* ---- This process */

static uint64_t proc_number(const char *path, const char *name)
{
    char line[256];
    unsigned long long number = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            number = strtoull(line + strlen(name), NULL, 10);
            break;
        }
    }
    (void)fclose(file);
    return number;
}

uint64_t bench_rss_anon(void)
{
    return proc_number("/proc/self/status", "RssAnon:") * 1024;
}

uint64_t bench_written(void)
{
    return proc_number("/proc/self/io", "write_bytes:");
}

static void *watch_thread(void *argument)
{
    bench_watch *watch = argument;
    while (!atomic_load(&watch->stop)) {
        uint64_t now = bench_rss_anon();
        watch->most = now > watch->most ? now : watch->most;
        cli_sleep_ms(10);
    }
    return NULL;
}

int bench_watch_start(bench_watch *watch)
{
    pthread_t thread;
    watch->most = 0;
    atomic_init(&watch->stop, false);
    if (pthread_create(&thread, NULL, watch_thread, watch) != 0) {
        cli_complain("no thread could be made");
        return CLI_FAILED;
    }
    watch->thread = (uint64_t)thread;
    return CLI_OK;
}

uint64_t bench_watch_stop(bench_watch *watch)
{
    atomic_store(&watch->stop, true);
    (void)pthread_join((pthread_t)watch->thread, NULL);
    uint64_t now = bench_rss_anon();
    return now > watch->most ? now : watch->most;
}

/* ---- Engine */

int bench_close(hf_engine *engine)
{
    int err;
    do {
        err = hf_close(engine, 60000);
    } while (err == HF_ETIMEDOUT && !cli_interrupted());
    return err;
}

int bench_drain(hf_engine *engine)
{
    int err;
    while ((err = hf_drain(engine, 500)) == HF_ETIMEDOUT) {
        if (cli_interrupted())
            return CLI_INTERRUPTED;
    }
    return err;
}

int bench_post(hf_engine *engine, const hf_letter *letters, size_t count,
               const atomic_bool *stop)
{
    int err;
    while ((err = hf_post(engine, letters, count, NULL, NULL)) == HF_EAGAIN) {
        if ((stop != NULL && atomic_load(stop)) || cli_interrupted())
            return HF_EAGAIN;
        err = hf_sync(engine, 1000);
        if (err != HF_OK && err != HF_ETIMEDOUT)
            return err;
    }
    return err;
}

int bench_push_out(hf_engine *engine, const char *type)
{
    enum { BODY = 64 * 1024, LETTERS = 64 };
    const uint64_t window = UINT64_C(128) << 20; /* the engine's default */
    bench_block block = { 0 };
    int err = HF_OK;
    bench_block_init(&block, LETTERS, BODY, NULL);
    for (size_t i = 0; i < LETTERS; i++)
        bench_block_address(&block, i, type, 0);
    for (uint64_t sent = 0; err == HF_OK && sent < 3 * window; sent += (uint64_t)LETTERS * BODY)
        err = bench_post(engine, block.letters, LETTERS, NULL);
    if (err == HF_OK)
        err = hf_sync(engine, HF_NEVER);
    bench_block_free(&block);
    return err == HF_OK ? bench_drain(engine) : err;
}

/* ---- Counting in handlers */

enum { SLOTS = 1024 };
static bench_slot slots[SLOTS];
static atomic_uint slots_taken;
_Thread_local bench_slot *bench_slot_of_thread;

bench_slot *bench_slot_take(void)
{
    unsigned slot = atomic_fetch_add(&slots_taken, 1);
    if (slot >= SLOTS) { /* an engine with more threads than any machine has cores */
        cli_complain("more than %d threads handle messages", (int)SLOTS);
        exit(CLI_FAILED);
    }
    bench_slot_of_thread = &slots[slot];
    return bench_slot_of_thread;
}

bench_slot bench_slots_sum(void)
{
    bench_slot all = { 0 };
    unsigned taken = atomic_load(&slots_taken);
    for (unsigned i = 0; i < taken; i++) {
        all.handled += slots[i].handled;
        all.sum += slots[i].sum;
        all.wrong += slots[i].wrong;
        if (slots[i].first_ns != 0 && (all.first_ns == 0 || slots[i].first_ns < all.first_ns))
            all.first_ns = slots[i].first_ns;
    }
    return all;
}

void bench_slots_reset(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        free(slots[i].seen);
    memset(slots, 0, sizeof slots);
}

/* ---- Letters */

uint64_t bench_random(uint64_t *seed)
{
    uint64_t x = *seed;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *seed = x;
    return x * UINT64_C(2685821657736338717);
}

void bench_block_init(bench_block *block, size_t count, uint32_t body, const char *kind)
{
    block->count = count;
    block->body_room = (body + sizeof(bench_body) - 1) / sizeof(bench_body) * sizeof(bench_body);
    block->letters = cli_alloc(count * sizeof *block->letters);
    block->addresses = cli_alloc(count * BENCH_ADDRESS);
    block->bodies = cli_alloc(count * block->body_room);
    memset(block->bodies, 0x5a, count * block->body_room);
    for (size_t i = 0; i < count; i++) {
        hf_letter *letter = &block->letters[i];
        letter->size = sizeof *letter;
        letter->to = block->addresses + i * BENCH_ADDRESS;
        letter->kind = kind;
        letter->body = hf_view(block->bodies + i * block->body_room, body);
    }
}

void bench_block_free(bench_block *block)
{
    free(block->letters);
    free(block->addresses);
    free(block->bodies);
    *block = (bench_block){ 0 };
}

void bench_block_address(bench_block *block, size_t i, const char *type, uint32_t actor)
{
    char *to = block->addresses + i * BENCH_ADDRESS;
    while (*type != 0)
        *to++ = *type++;
    *to++ = '/';
    char digits[10];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + actor % 10);
        actor /= 10;
    } while (actor > 0);
    while (count > 0)
        *to++ = digits[--count];
    *to = 0;
}

int bench_send_each(hf_engine *engine, const char *type, uint64_t actors, uint32_t body,
                    const char *kind)
{
    bench_block block = { 0 };
    int err = HF_OK;
    bench_block_init(&block, BENCH_BLOCK, body, kind);
    for (uint64_t at = 0; err == HF_OK && at < actors;) {
        size_t count = actors - at < BENCH_BLOCK ? (size_t)(actors - at) : BENCH_BLOCK;
        for (size_t i = 0; i < count; i++) {
            uint32_t actor = (uint32_t)(at + i);
            bench_block_address(&block, i, type, actor);
            *bench_block_body(&block, i) = (bench_body){ .actor = actor, .number = at + i + 1 };
        }
        err = bench_post(engine, block.letters, count, NULL);
        at += count;
    }
    bench_block_free(&block);
    return err == HF_OK ? hf_sync(engine, HF_NEVER) : err;
}
