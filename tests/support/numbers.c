/* numbers.c - numbered messages, the actors that count them, and the book about both.
 *
 * Number n of a sender goes to actor n % NUMBERS_ACTORS; one in four actors runs on
 * threads of its own. A turn that gets n checks that everything it should have had
 * before and did not get was never acknowledged. At the end each actor is asked about
 * the numbers behind its last one. Senders run on threads of their own, the actors
 * where the engine runs them; the book's fields are atomic or a byte of one sender's. */
#include "tests/support/numbers.h"

#include "tests/support/core.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

numbers *numbers_book;

void numbers_broken(const char *format, ...)
{
    va_list args;
    if (atomic_exchange(&numbers_book->broken, true))
        return;
    va_start(args, format);
    (void)vsnprintf(numbers_book->why, sizeof numbers_book->why, format, args);
    va_end(args);
}

void numbers_forget(void)
{
    for (uint32_t s = 0; s < NUMBERS_SENDERS; s++) {
        uint32_t told = atomic_exchange(&numbers_book->next[s], 0);
        memset(numbers_book->acked[s], 0, told < NUMBERS_MAX ? told + 1 : NUMBERS_MAX);
    }
}

uint32_t numbers_acked(void)
{
    uint32_t acked = 0;
    for (uint32_t s = 0; s < NUMBERS_SENDERS; s++)
        for (uint32_t i = 0; i < NUMBERS_MAX && i <= atomic_load(&numbers_book->next[s]); i++)
            acked += numbers_book->acked[s][i];
    return acked;
}

/* ---- Counting actors */

typedef struct number {
    uint32_t sender, n;
} number;

typedef struct memory {
    uint64_t count, hash;
    uint32_t last[NUMBERS_SENDERS];
} memory;

typedef struct echo {
    uint64_t count, hash;
} echo;

static uint64_t mix(uint64_t hash, number n)
{
    uint64_t state = hash ^ ((uint64_t)n.sender << 32 | n.n);
    return core_random(&state);
}

/* Numbers that this actor did not get must not have been acknowledged. */
static void check_gap(const char *to, uint32_t sender, uint32_t last, uint32_t n)
{
    uint32_t first = n % NUMBERS_ACTORS ? n % NUMBERS_ACTORS : NUMBERS_ACTORS;
    for (uint32_t i = last ? last + NUMBERS_ACTORS : first; i < n; i += NUMBERS_ACTORS) {
        if (!numbers_book->acked[sender][i])
            continue;
        atomic_fetch_add(&numbers_book->lost, 1);
        numbers_broken("%s did not get %u of sender %u", to, i, sender);
    }
}

/* What follows the number: so many bytes of this kind. */
static size_t filler_of(number n, uint8_t *byte)
{
    uint64_t hash = mix(0, n);
    *byte = (uint8_t)(hash >> 56);
    return hash % ((uint64_t)numbers_book->filler + 1);
}

static void check_filler(const hf_message *msg, number n)
{
    uint8_t byte;
    const uint8_t *at = (const uint8_t *)msg->body.data + sizeof n;
    size_t len = filler_of(n, &byte);
    bool good = msg->body.len == sizeof n + len;
    for (size_t i = 0; good && i < len; i++)
        good = at[i] == byte;
    if (!good)
        numbers_broken("%s got %u of sender %u, but damaged", msg->to, n.n, n.sender);
}

static void end_counting(hf_turn *turn, const char *to, const memory *m)
{
    char second[64];
    const char *key = strchr(to, '/') + 1;
    for (uint32_t s = 0; s < NUMBERS_SENDERS; s++) {
        uint32_t told = atomic_load(&numbers_book->next[s]);
        check_gap(to, s, m->last[s],
                  told / NUMBERS_ACTORS * NUMBERS_ACTORS + NUMBERS_ACTORS + (uint32_t)atoi(key));
    }
    (void)snprintf(second, sizeof second, "second/%s", key);
    hf_send(turn, second, "end", hf_view(m, sizeof *m));
}

static int count(hf_turn *turn, const hf_message *msg)
{
    memory m = { 0 };
    number n;
    if (hf_state(turn).len)
        memcpy(&m, hf_state(turn).data, sizeof m);
    if (strcmp(msg->kind, "end") == 0) {
        end_counting(turn, msg->to, &m);
        return HF_OK;
    }
    memcpy(&n, msg->body.data, sizeof n);
    check_filler(msg, n);
    if (n.n <= m.last[n.sender])
        numbers_broken("%s got %u of sender %u after %u", msg->to, n.n, n.sender,
                       m.last[n.sender]);
    else
        check_gap(msg->to, n.sender, m.last[n.sender], n.n);
    m.last[n.sender] = n.n;
    m.count++;
    m.hash = mix(m.hash, n);
    hf_save(turn, hf_view(&m, sizeof m));
    hf_forward(turn, "n", hf_view(&n, sizeof n));
    return n.n % 97 == 0 && msg->attempt == 1 ? hf_fail(turn, 1, "the first time") : HF_OK;
}

static int count_again(hf_turn *turn, const hf_message *msg)
{
    echo e = { 0 };
    if (hf_state(turn).len)
        memcpy(&e, hf_state(turn).data, sizeof e);
    if (strcmp(msg->kind, "end") == 0) {
        memory m;
        memcpy(&m, msg->body.data, sizeof m);
        if (m.count != e.count || m.hash != e.hash)
            numbers_broken("%s saw %llu, the first %llu", msg->to, (unsigned long long)e.count,
                           (unsigned long long)m.count);
        return HF_OK;
    }
    number n;
    memcpy(&n, msg->body.data, sizeof n);
    e.count++;
    e.hash = mix(e.hash, n);
    hf_save(turn, hf_view(&e, sizeof e));
    return HF_OK;
}

static const hf_type counting[] = {
    { .name = "count", .handle = count, .next = "second", .retry_ms = 1, .strikes = HF_NEVER },
    { .name = "slow", .handle = count, .threads = 2, .next = "second", .retry_ms = 1,
      .strikes = HF_NEVER },
    { .name = "second", .handle = count_again, .strikes = HF_NEVER },
    { 0 },
};

static void address(uint32_t actor, char to[32])
{
    (void)snprintf(to, 32, "%s/%u", actor % 4 == 3 ? "slow" : "count", actor);
}

/* ---- From outside */

static bool is_dark(void)
{
    return numbers_book->dark && atomic_load(numbers_book->dark);
}

int numbers_open(hf_engine **engine, const char *path)
{
    int err = hf_open(engine, path, HF_OPTIONS(.types = counting, .shards = 2,
                                               .window = 64 << 10, .store_max = 256 << 20));
    if (err && !is_dark())
        numbers_broken("hf_open: %d %s", err, hf_detail());
    return err;
}

typedef struct sender {
    hf_engine *engine;
    uint32_t   number;
} sender;

static int tell(hf_engine *engine, number n)
{
    uint8_t room[sizeof n + NUMBERS_FILLER], byte;
    char to[32];
    size_t len = filler_of(n, &byte);
    memcpy(room, &n, sizeof n);
    memset(room + sizeof n, byte, len);
    address(n.n % NUMBERS_ACTORS, to);
    return hf_tell(engine, to, "n", hf_view(room, sizeof n + len));
}

static void *send_numbers(void *user)
{
    const sender *s = user;
    for (;;) {
        number n = { s->number, atomic_fetch_add(&numbers_book->next[s->number], 1) + 1 };
        if (n.n >= NUMBERS_MAX)
            return NULL;
        int err = tell(s->engine, n);
        bool dark = is_dark();
        if (!err && !(dark && numbers_book->lenient))
            numbers_book->acked[s->number][n.n] = 1;
        if (err && dark)
            return NULL;
        if (err)
            numbers_broken("hf_tell: %d %s", err, hf_detail());
    }
}

void numbers_send(hf_engine *engine)
{
    static sender senders[NUMBERS_SENDERS];
    pthread_t thread;
    for (uint32_t i = 0; i < NUMBERS_SENDERS; i++) {
        senders[i] = (sender){ engine, i };
        if (pthread_create(&thread, NULL, send_numbers, &senders[i]) || pthread_detach(thread))
            core_fail("there is no thread for a sender");
    }
}

void numbers_end(hf_engine *engine)
{
    char to[32];
    int err = hf_drain(engine, 60000);
    for (uint32_t i = 0; !err && i < NUMBERS_ACTORS; i++) {
        address(i, to);
        err = hf_tell(engine, to, "end", hf_str(""));
    }
    if (!err)
        err = hf_drain(engine, 60000);
    if (!err)
        err = hf_close(engine, HF_NEVER);
    if (err)
        numbers_broken("the end: %d %s", err, hf_detail());
}
