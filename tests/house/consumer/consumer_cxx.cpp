/* consumer_cxx.cpp - the same first program in C++20. */
#include "holdfast.h"
#include "holdfast_msgpack.h"
#include "holdfast_recovery.h"
#include "holdfast_test.h"

#include <cstdio>

static int greet(hf_turn *, const hf_message *msg)
{
    std::printf("%s says hello to " HF_FMT "\n", msg->to, HF_ARG(msg->body));
    return HF_OK;
}

int main()
{
    hf_type types[2] = {};
    types[0].name = "door";
    types[0].handle = greet;

    hf_engine *engine = nullptr;
    int err = hf_open(&engine, "consumer.hf", HF_OPTIONS(.types = types, .store_max = 1 << 30));
    if (!err)
        err = hf_mail(engine, HF_LETTER(.to = "door/front", .kind = "greet", .body = hf_str("Ada")),
                      1, nullptr);
    if (!err)
        err = hf_drain(engine, 10000);
    if (err)
        std::fprintf(stderr, "consumer: %s: %s\n", hf_strerror(err), hf_detail());
    if (hf_close(engine, HF_NEVER))
        err = 1;
    return err != 0;
}
