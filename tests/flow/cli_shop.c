/* cli_shop.c - a small engine for tests of the tool: cli_shop STORE.
 *
 * Type `order` counts in its state, as msgpack {"n": count}, and keeps the same in its
 * row `last`, order/2 beside one of bytes; a message of kind `bad` is buried until the
 * file STORE.mended exists, one of kind `flaky` fails until then, one of kind `stall`
 * lasts until then, on its shard; one of kind `keep` fails until then and becomes the state,
 * body and all; one of kind `remind` sets an alarm and a schedule. Type `slow` has a thread; its
 * turns last until they are told to stop and the file exists. Says "ready", and closes when stdin
 * ends. */
#include "engine/holdfast.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static char mended[4096];

static void wait_for(int mends, const hf_turn *turn)
{
    const struct timespec pause = { 0, 10000000 };
    while ((mends && access(mended, F_OK) != 0) || (turn && !hf_cancelled(turn)))
        (void)nanosleep(&pause, NULL);
}

static int handle_slow(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    wait_for(0, turn); /* or the test runs into its timeout */
    wait_for(1, NULL);
    hf_save(turn, hf_str("told to stop"));
    return HF_OK;
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    unsigned char state[] = { 0x81, 0xa1, 'n', 0 };
    hf_bytes found = hf_state(turn);
    int whole = access(mended, F_OK) == 0;
    if (strcmp(msg->kind, "bad") == 0 && !whole)
        return hf_bury(turn, "no such product");
    if (strcmp(msg->kind, "flaky") == 0 && !whole)
        return hf_fail(turn, 7, "the bank is down");
    if (strcmp(msg->kind, "keep") == 0 && !whole)
        return hf_fail(turn, 7, "the bank is down");
    if (strcmp(msg->kind, "keep") == 0) {
        hf_save(turn, msg->body);
        return HF_OK;
    }
    if (strcmp(msg->kind, "remind") == 0) {
        hf_set_alarm(turn, "reminder", 3600000, hf_str("soon"));
        hf_every(turn, "nightly", "every 2h", 1, hf_str("sweep"));
        return HF_OK;
    }
    if (strcmp(msg->kind, "stall") == 0)
        wait_for(1, NULL);
    if (found.len == sizeof state)
        memcpy(state, found.data, sizeof state);
    state[3]++; /* a test stays below 128 */
    hf_save(turn, hf_view(state, sizeof state));
    hf_put(turn, hf_str("last"), hf_view(state, sizeof state));
    if (strcmp(msg->to, "order/2") == 0)
        hf_put(turn, hf_view("\x01\xff", 2), hf_str("two bytes"));
    return HF_OK;
}

int main(int argc, char **argv)
{
    const hf_type types[] = {
        { .name = "order", .handle = handle, .version = 3, .retry_ms = 3600000, .strikes = HF_NEVER,
          .stuck_ms = 300 },
        { .name = "slow", .handle = handle_slow, .threads = 1, .strikes = HF_NEVER,
          .stuck_ms = 300 },
        { 0 },
    };
    hf_engine *engine = NULL;
    char byte;
    if (argc != 2)
        return 2;
    (void)snprintf(mended, sizeof mended, "%s.mended", argv[1]);
    int err = hf_open(&engine, argv[1], HF_OPTIONS(.types = types, .log = hf_log_stderr));
    if (err != HF_OK) {
        fprintf(stderr, "cli_shop: %s: %s\n", hf_strerror(err), hf_detail());
        return 1;
    }
    puts("ready");
    (void)fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return hf_close(engine, 10000) == HF_OK ? 0 : 1;
}
