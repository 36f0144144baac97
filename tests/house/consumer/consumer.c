/* consumer.c - a first program in C11, built against an installed Holdfast. */
#include "holdfast.h"
#include "holdfast_msgpack.h"
#include "holdfast_recovery.h"
#include "holdfast_test.h"

#include <stdio.h>

static int greet(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    printf("%s says hello to " HF_FMT "\n", msg->to, HF_ARG(msg->body));
    return HF_OK;
}

int main(void)
{
    static const hf_type types[] = { { .name = "door", .handle = greet }, { 0 } };
    hf_engine *engine = NULL;

    int err = hf_open(&engine, "consumer.hf", HF_OPTIONS(.types = types, .store_max = 1 << 30));
    if (!err)
        err = hf_tell(engine, "door/front", "greet", hf_str("Ada"));
    if (!err)
        err = hf_drain(engine, 10000);
    if (err)
        fprintf(stderr, "consumer: %s: %s\n", hf_strerror(err), hf_detail());
    if (hf_close(engine, HF_NEVER))
        err = 1;
    return err != 0;
}
