/* greeter_test.c - how to test an actor: an hour takes no time, and the machine stops when
 * it hurts most. */
#include <holdfast_test.h>
#include <stdio.h>

static int greetings, doors_closed;

static int greet(hf_turn *turn, const hf_message *msg)
{
    if (doors_closed-- > 0)
        return hf_fail(turn, 1, "the door is closed"); /* again in an hour */
    printf("%s says hello to " HF_FMT "\n", msg->to, HF_ARG(msg->body));
    greetings++;
    return HF_OK;
}

static int expect(const char *what, int greeted)
{
    if (greetings != greeted)
        fprintf(stderr, "%s: %d greetings, not %d\n", what, greetings, greeted);
    return greetings == greeted ? HF_OK : 1;
}

int main(void)
{
    static const hf_type types[] = {
        { .name = "greeter", .handle = greet, .retry_ms = 3600 * 1000 }, { 0 }
    };
    hf_test *test = NULL;

    doors_closed = 1;
    int err = hf_test_open(&test, HF_OPTIONS(.types = types));
    if (!err)
        err = hf_tell(hf_test_engine(test), "greeter/front-door", "greet", hf_str("Ada"));
    if (!err)
        err = hf_test_run(test); /* all that can be done now */
    if (!err)
        err = expect("while the door is closed", 0);
    if (!err)
        err = hf_test_crash(test); /* what is not on disk is gone */
    if (!err)
        err = hf_test_advance(test, 3600 * 1000);
    if (!err)
        err = expect("an hour and a crash later", 1);
    if (err < 0)
        fprintf(stderr, "greeter_test: %s: %s\n", hf_strerror(err), hf_detail());
    hf_test_close(test);
    return err != 0;
}
