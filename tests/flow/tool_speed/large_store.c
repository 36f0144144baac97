/* large_store.c - a store in which very much waits, and an engine that works beside it:
 * large_store STORE MESSAGES.
 *
 * Of a hundred messages twenty are orders, and forty parcels, both paused; thirty-nine are
 * mails, of which the first runs as long as the engine does and all others wait; one is a
 * bill, and dead. Ten messages an actor. A small store has a small window, so that most of
 * it lies in the tables, too. On stdin:
 *   fill      sends all of them
 *   work MS   sends to a thousand actors of type `work` as fast as they take it, for so
 *             long, and says "turns N": how many a second were committed
 * Says "ready" first and "filled" after fill; closes when stdin ends. */
#include "engine/holdfast.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 1000, PER_ACTOR = 10, WORKERS = 1000, NAME = 32, WARM_UP_MS = 300 };

static atomic_bool stop;

typedef struct post {
    hf_letter letters[BATCH];
    char      to[BATCH][NAME];
    size_t    count;
} post;

static int work(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    return HF_OK;
}

static int die(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    return hf_bury(turn, "no such account");
}

static int stay(hf_turn *turn, const hf_message *msg)
{
    const struct timespec pause = { 0, 20000000 };
    (void)msg;
    while (!atomic_load(&stop))
        (void)nanosleep(&pause, NULL);
    return hf_snooze(turn, 1);
}

static void add(post *p, const char *type, unsigned actor)
{
    static const char body[100] = "so many bytes as a small order has";
    char *to = p->to[p->count];
    (void)snprintf(to, NAME, "%s/%u", type, actor);
    p->letters[p->count++] = (hf_letter){ .size = sizeof(hf_letter), .to = to, .kind = "do",
                                          .body = hf_view(body, sizeof body) };
}

static int send_off(hf_engine *engine, post *p)
{
    int err;
    while ((err = hf_post(engine, p->letters, p->count, NULL, NULL)) == HF_EAGAIN
           && !atomic_load(&stop))
        err = hf_sync(engine, 100);
    p->count = 0;
    return err;
}

/* Not all of one type after the other, nor of one actor. */
static const struct {
    const char *type;
    unsigned    share; /* of a hundred */
} mix[] = { { "order", 20 }, { "parcel", 40 }, { "mail", 39 }, { "bill", 1 } };

static void add_next(post *p, unsigned number, unsigned hundreds)
{
    unsigned which = 0, within = number % 100;
    for (; within >= mix[which].share; which++)
        within -= mix[which].share;
    unsigned actors = hundreds * mix[which].share / PER_ACTOR + 1;
    add(p, mix[which].type, (number / 100 * mix[which].share + within) % actors);
}

static int fill(hf_engine *engine, unsigned messages)
{
    static post p;
    int err = hf_pause(engine, "order", NULL, NULL);
    if (!err)
        err = hf_pause(engine, "parcel", NULL, NULL);
    for (unsigned i = 0; !err && i < messages; i++) {
        add_next(&p, i, messages / 100);
        if (p.count == BATCH)
            err = send_off(engine, &p);
    }
    return err || !p.count ? err : send_off(engine, &p);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A little time to get going is not counted. */
static int flood(hf_engine *engine, uint64_t ms)
{
    static post p;
    hf_stats from = HF_STATS, to = HF_STATS;
    uint64_t begun = now_ms(), start = 0, now;
    int err = HF_OK;
    unsigned number = 0;
    while (!err && (now = now_ms()) < begun + WARM_UP_MS + ms) {
        if (!start && now >= begun + WARM_UP_MS) {
            start = now;
            err = hf_stat(engine, &from);
        }
        while (p.count < BATCH)
            add(&p, "work", number++ % WORKERS);
        if (!err)
            err = send_off(engine, &p);
    }
    if (!err)
        err = hf_stat(engine, &to);
    if (!err)
        printf("turns %llu\n",
               (unsigned long long)((to.committed - from.committed) * 1000 / (now_ms() - start)));
    return err;
}

int main(int argc, char **argv)
{
    const hf_type types[] = {
        { .name = "order", .handle = work },
        { .name = "parcel", .handle = work },
        { .name = "mail", .handle = stay, .threads = 1, .strikes = HF_NEVER,
          .stuck_ms = HF_NEVER },
        { .name = "bill", .handle = die },
        { .name = "work", .handle = work },
        { 0 },
    };
    hf_engine *engine = NULL;
    char line[32];
    unsigned messages = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (messages < 1000)
        return 2;
    int err = hf_open(&engine, argv[1],
                      HF_OPTIONS(.types = types, .window = messages < 1000000 ? 4 << 20 : 0,
                                 .log = hf_log_stderr));
    for (puts("ready"); !err && fflush(stdout) == 0 && fgets(line, sizeof line, stdin);) {
        if (strncmp(line, "work ", 5) == 0)
            err = flood(engine, strtoul(line + 5, NULL, 10));
        else if ((err = fill(engine, messages)) == HF_OK)
            err = hf_sync(engine, HF_NEVER) || puts("filled") < 0;
    }
    if (err)
        fprintf(stderr, "large_store: %s: %s\n", hf_strerror(err), hf_detail());
    atomic_store(&stop, true);
    return hf_close(engine, 60000) != HF_OK || err;
}
