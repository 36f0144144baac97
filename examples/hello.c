/* hello.c - the first program: tell an actor something.
 *
 * hf_tell returns when the greeting is on disk. Kill the program right after
 * that, and the greeter greets the next time it runs. */
#include <holdfast.h>
#include <stdio.h>

static int greet(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    printf("%s says hello to " HF_FMT "\n", msg->to, HF_ARG(msg->body));
    return HF_OK;
}

int main(void)
{
    static const hf_type types[] = { { .name = "greeter", .handle = greet }, { 0 } };
    hf_engine *engine = NULL;

    int err = hf_open(&engine, "hello.hf", HF_OPTIONS(.types = types));
    if (!err)
        err = hf_tell(engine, "greeter/front-door", "greet", hf_str("Ada"));
    if (!err)
        err = hf_drain(engine, 1000);
    if (err)
        fprintf(stderr, "hello: %s: %s\n", hf_strerror(err), hf_detail());
    hf_close(engine, HF_NEVER);
    return err != 0;
}
