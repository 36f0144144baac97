/* bench_state.c - `holdfast bench state`: every turn reads, changes and saves a
 * state of its actor; actors are chosen at random among all of them.
 *
 * Each actor gets a first message before the clock starts, so that every
 * measured turn finds a state. Afterwards the store is opened again and the
 * counters in the states are added up: the sum must be the number of messages
 * accepted. Handlers run on the engine's threads, the rest on the caller's. */
#include "tools/bench.h"

static uint32_t state_bytes; /* for handlers of all benches; set before hf_open */

int bench_state_turn(hf_turn *turn, const hf_message *msg, uint32_t state)
{
    _Alignas(8) uint8_t image[BENCH_STATE_MOST];
    const bench_body *body = msg->body.data;
    hf_bytes found = hf_state(turn);
    uint64_t counter = 0;
    if (found.len == state)
        memcpy(image, found.data, state);
    else
        memset(image, 0x33, state);
    if (found.len == state)
        memcpy(&counter, image, sizeof counter);
    counter++;
    memcpy(image, &counter, sizeof counter);
    memcpy(image + 8, &body->number, sizeof body->number);
    hf_save(turn, hf_view(image, state));
    bench_slot_mine()->handled++;
    return HF_OK;
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    return bench_state_turn(turn, msg, state_bytes);
}

/* After the reopen: add up, change nothing. */
static int handle_sum(hf_turn *turn, const hf_message *msg)
{
    hf_bytes found = hf_state(turn);
    bench_slot *slot = bench_slot_mine();
    uint64_t counter = 0;
    if (strcmp(msg->kind, "sum") != 0) {
        slot->wrong++; /* a message that was acknowledged came again */
        return HF_OK;
    }
    if (found.len >= sizeof counter)
        memcpy(&counter, found.data, sizeof counter);
    slot->sum += counter;
    slot->handled++;
    return HF_OK;
}

int bench_state_check(bench *run, const char *type, uint64_t must)
{
    const hf_type types[] = {
        { .name = type, .handle = handle_sum },
        { .name = "probe", .handle = handle_sum },
        { .name = "echo", .handle = handle_sum },
        { 0 },
    };
    hf_engine *engine = NULL;
    bench_slots_reset();
    int err = hf_open(&engine, run->store, HF_OPTIONS(.types = types, .log = hf_log_stderr));
    if (err == HF_OK)
        err = bench_send_each(engine, type, run->actors, (uint32_t)sizeof(bench_body), "sum");
    if (err == HF_OK)
        err = bench_drain(engine);
    int closed = bench_close(engine);
    if (err == CLI_INTERRUPTED || err == HF_EAGAIN)
        return CLI_INTERRUPTED;
    if (err != HF_OK || closed != HF_OK)
        return bench_failed("adding up after a reopen", err != HF_OK ? err : closed);
    bench_slot sums = bench_slots_sum();
    if (sums.handled != run->actors)
        return bench_wrong("actors that answered", sums.handled, run->actors);
    if (sums.wrong != 0)
        return bench_wrong("messages handled again", sums.wrong, 0);
    if (sums.sum != must)
        return bench_wrong("sum of the counters", sums.sum, must);
    bench_put_uint(run, "checked", sums.sum);
    return CLI_OK;
}

int bench_state(bench *run)
{
    bench_load load = { .type = "s", .handle = handle, .fill = true, .run = run };
    state_bytes = run->state;
    int code = bench_load_run(&load);
    return code == CLI_OK ? bench_state_check(run, load.type, atomic_load(&load.accepted)) : code;
}
