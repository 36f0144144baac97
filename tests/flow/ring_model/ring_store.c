/* ring_store.c - the store when nobody has it open: after a kill, a close, the last life.
 *
 * Whenever somebody died: every row is sound, counts are what a walk counts, indexes and
 * rows belong together (hf_verify). After the last life nothing waits, and who is dead was
 * told to the grave. In a child, since a damaged store may end it. */
#include "tests/flow/ring_model/ring_rules.h"

#include "recovery/holdfast_recovery.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int count_row(void *user, hf_bytes row)
{
    (void)row;
    ++*(uint32_t *)user;
    return HF_OK;
}

static int count_message(void *user, const hf_message *msg)
{
    uint32_t *dead = user;
    if (msg->status != HF_DEAD)
        ring_broken("message %llu to %s has status %d after the last life",
                    (unsigned long long)msg->id, msg->to, (int)msg->status);
    ++*dead;
    return HF_OK;
}

/* The grave is told once of each dead letter, by whoever buried it. */
static void count_dead(const char *path)
{
    hf_store *store = NULL;
    uint32_t dead = 0;
    int err = hf_store_open(&store, path, 0);
    if (!err)
        err = hf_find(store, NULL, count_message, &dead);
    if (err)
        ring_broken("hf_find: %d %s", err, hf_detail());
    else if (dead != ring->grave.count)
        ring_broken("%u letters are dead, the grave was told of %u", dead, ring->grave.count);
    hf_store_close(store);
}

void ring_look(const char *path, bool last)
{
    uint32_t rows = 0;
    int status, err;
    pid_t child = fork();
    if (child < 0)
        abort();
    if (!child) {
        err = hf_verify(path, count_row, &rows);
        if (err && err != HF_ENOTFOUND) /* it was killed before it had a store */
            ring_broken("after life %u hf_verify tells %u rows: %d %s", ring->life, rows, err,
                        hf_detail());
        if (last)
            count_dead(path);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status)
        ring_broken("after life %u looking at the store ends with status %d", ring->life, status);
}
