/* ops_shop.c - the shop that docs/operations.md speaks of, with all that can go wrong:
 * ops_shop STORE [small].
 *
 * Type `order` counts in its state {"n": count}; what its turns do says the kind:
 *   place    counts
 *   parse    fails until the file STORE.mended exists: a bad deploy; 2 tries
 *   poison   kills the process until STORE.mended exists
 * Type `payment` has a thread: `pay` fails until STORE.mended exists, and is tried again
 * after an hour; `hang` lasts until it is told to stop.
 * With `small` the store has 24 MiB. Says "ready", and closes when stdin ends. */
#include "engine/holdfast.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static char mended[4096];

static int is(const hf_message *msg, const char *kind)
{
    return strcmp(msg->kind, kind) == 0;
}

static int handle_order(hf_turn *turn, const hf_message *msg)
{
    unsigned char state[] = { 0x81, 0xa1, 'n', 0 };
    hf_bytes found = hf_state(turn);
    int whole = access(mended, F_OK) == 0;
    if (is(msg, "poison") && !whole)
        _exit(70);
    if (is(msg, "parse") && !whole)
        return hf_fail(turn, 1, "cannot parse the price");
    if (found.len == sizeof state)
        memcpy(state, found.data, sizeof state);
    state[3] = (unsigned char)((state[3] + 1) & 0x7f);
    hf_save(turn, hf_view(state, sizeof state));
    return HF_OK;
}

static int handle_payment(hf_turn *turn, const hf_message *msg)
{
    const struct timespec pause = { 0, 10000000 };
    while (is(msg, "hang") && !hf_cancelled(turn))
        (void)nanosleep(&pause, NULL);
    if (is(msg, "hang"))
        return hf_bury(turn, "told to stop");
    if (access(mended, F_OK) != 0)
        return hf_fail(turn, 7, "the bank does not answer");
    return HF_OK;
}

int main(int argc, char **argv)
{
    const hf_type types[] = {
        { .name = "order", .handle = handle_order, .tries = 2, .retry_ms = 1 },
        { .name = "payment", .handle = handle_payment, .threads = 1, .retry_ms = 3600000,
          .overtake = 1, .stuck_ms = 300 },
        { 0 },
    };
    hf_engine *engine = NULL;
    char byte;
    if (argc < 2)
        return 2;
    (void)snprintf(mended, sizeof mended, "%s.mended", argv[1]);
    int err = hf_open(&engine, argv[1],
                      HF_OPTIONS(.types = types, .log = hf_log_stderr,
                                 .window = argc > 2 ? 4u << 20 : 0,
                                 .store_max = argc > 2 ? 24u << 20 : 0));
    if (err != HF_OK) {
        fprintf(stderr, "ops_shop: %s: %s\n", hf_strerror(err), hf_detail());
        return 1;
    }
    puts("ready");
    (void)fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return hf_close(engine, 10000) == HF_OK ? 0 : 1;
}
