/* ring_model.c - random programs on a whole engine, beside a ledger.
 *
 *     ring_model [first seed [how many]]        HF_SEED=n runs that one alone
 *
 * Each seed is a store that lives some lives, each in a child: some are closed,
 * some killed at a random moment. Between them the store is checked. In the
 * last life everything comes to rest, and what the actors kept is compared
 * with what the senders know. Prints each seed that is wrong, and leaves its store. */
#include "tests/flow/ring_model/ring_rules.h"

#include "tests/support/core.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BAD_MAX = 20 }; /* then no more seeds are tried */

ring_ledger *ring;

void ring_broken(const char *format, ...)
{
    va_list args;
    if (atomic_exchange(&ring->broken, true))
        return;
    va_start(args, format);
    vsnprintf(ring->why, sizeof ring->why, format, args);
    va_end(args);
}

uint64_t ring_hash(uint64_t a, uint64_t b)
{
    uint64_t state = a * 0x9e3779b97f4a7c15 + b;
    (void)core_random(&state);
    return core_random(&state);
}

ring_kind ring_kind_of(uint32_t actor)
{
    static const ring_kind kinds[ACTORS] = { CALM, CALM, CALM, CALM, CALM, SLOW,
                                             SLOW, SLOW, PUSHY, PUSHY, SWARM, SWARM };
    return kinds[actor];
}

void ring_address(uint32_t actor, char text[32])
{
    static const char *const names[] = { "calm", "slow", "pushy", "swarm" };
    snprintf(text, 32, "%s/%u", names[ring_kind_of(actor)], actor);
}

uint64_t ring_dice(uint32_t sender, uint32_t actor, uint32_t seq)
{
    return ring_hash(ring->seed, (uint64_t)sender << 40 | (uint64_t)actor << 20 | seq);
}

ring_plan ring_plan_of(uint64_t dice)
{
    static const ring_plan plans[20] = { FAIL_SOME, FAIL_SOME, BURY, FAIL_ALWAYS, SNOOZE,
                                         SEND_ONE, SEND_ONE, SEND_ONE, SEND_SOME, SEND_SOME,
                                         PEND, BAD_SEND, STEP, JOIN };
    uint32_t n = (uint32_t)(dice % 20);
    return n < 14 ? plans[n] : PLAIN;
}

uint32_t ring_times_of(uint64_t dice)
{
    return 1 + (uint32_t)(dice >> 32) % (TRIES - 1);
}

bool ring_dies(ring_plan plan)
{
    return plan == BURY || plan == FAIL_ALWAYS;
}

static void live(const char *path, uint64_t dice, bool last)
{
    fflush(NULL);
    pid_t child = fork();
    int status;
    if (child < 0)
        core_fail("fork");
    if (!child)
        ring_live(path, dice, last);
    if (waitpid(child, &status, 0) != child)
        core_fail("waitpid");
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!killed && status)
        ring_broken("life %u ended with status %d", ring->life, status);
    ring->life++;
    if (!ring->broken)
        ring_look(path, last);
}

static bool run_seed(const char *directory, uint64_t seed)
{
    char path[300];
    memset(ring, 0, sizeof *ring);
    ring->seed = seed;
    for (const ring_rule *const *r = ring_rules; *r; r++)
        if ((*r)->begin)
            (*r)->begin();
    uint32_t lives = 1 + (uint32_t)(ring_hash(seed, 1) % 4);
    snprintf(path, sizeof path, "%s/%llu", directory, (unsigned long long)seed);
    for (uint32_t i = 0; i < lives && !ring->broken; i++)
        live(path, ring_hash(seed, 100 + i), false);
    if (!ring->broken)
        live(path, ring_hash(seed, 99), true);
    if (!ring->broken)
        ring_check();
    for (const ring_rule *const *r = ring_rules; *r && !ring->broken; r++)
        if ((*r)->check)
            (*r)->check();
    if (ring->broken)
        fprintf(stderr, "seed %llu: %s\n(HF_SEED=%llu ring_model; store in %s)\n",
                (unsigned long long)seed, ring->why, (unsigned long long)seed, path);
    else
        core_remove(path);
    return !ring->broken;
}

int main(int argc, char **argv)
{
    const char *one = getenv("HF_SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = one ? 1 : argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
    ring = mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED)
        core_fail("no memory to share");
    const char *directory = core_directory("ring_model", true);
    uint64_t bad = 0;
    for (uint64_t seed = first; seed < first + count && bad < BAD_MAX; seed++) {
        bad += !run_seed(directory, seed);
        if ((seed + 1 - first) % 1000 == 0 && seed + 1 < first + count) {
            printf("%llu seeds, to %llu\n", (unsigned long long)(seed + 1 - first),
                   (unsigned long long)seed);
            fflush(stdout);
        }
    }
    if (bad)
        core_fail("%llu seeds are wrong", (unsigned long long)bad);
    core_remove(directory);
    printf("%llu seeds\n", (unsigned long long)count);
    return 0;
}
