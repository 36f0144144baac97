/* bench_tell.c - `holdfast bench tell`: messages through the whole ring.
 *
 * Senders post letters in blocks; a handler checks that each sender's numbers
 * come to it in order and without a gap, and counts. Afterwards the count must
 * be what was accepted, and a reopened store must hold nothing more. Handlers
 * run on the engine's threads, the rest on the caller's. */
#include "tools/bench.h"

static int handle(hf_turn *turn, const hf_message *msg)
{
    const bench_load *load = msg->user;
    const bench_body *body = msg->body.data;
    bench_slot *slot = bench_slot_mine();
    (void)turn;
    if (slot->seen == NULL)
        slot->seen = cli_alloc(load->run->threads * load->actors * sizeof *slot->seen);
    uint32_t *seen = &slot->seen[body->sender * load->actors + body->actor];
    slot->wrong += body->number != (uint64_t)*seen + 1;
    *seen = (uint32_t)body->number;
    slot->handled++;
    return HF_OK;
}

/* Nothing that was acknowledged may come again. */
static int check_reopened(bench *run, bench_load *load)
{
    const hf_type types[] = {
        { .name = load->type, .handle = load->handle, .user = load },
        { 0 },
    };
    hf_engine *engine = NULL;
    int err = hf_open(&engine, run->store, HF_OPTIONS(.types = types, .log = hf_log_stderr));
    if (err == HF_OK)
        err = bench_drain(engine);
    int closed = bench_close(engine);
    if (err == CLI_INTERRUPTED)
        return CLI_INTERRUPTED;
    if (err != HF_OK || closed != HF_OK)
        return bench_failed("reopening", err != HF_OK ? err : closed);
    bench_slot sums = bench_slots_sum();
    uint64_t accepted = atomic_load(&load->accepted);
    if (sums.handled != accepted)
        return bench_wrong("messages handled", sums.handled, accepted);
    if (sums.wrong != 0)
        return bench_wrong("messages out of order", sums.wrong, 0);
    bench_put_uint(run, "checked", sums.handled);
    return CLI_OK;
}

int bench_tell(bench *run)
{
    bench_load load = { .type = "t", .handle = handle, .ordered = true, .run = run };
    int code = bench_load_run(&load);
    if (code == CLI_OK)
        code = check_reopened(run, &load);
    bench_slots_reset();
    return code;
}
