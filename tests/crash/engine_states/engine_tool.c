/* engine_tool.c - a second hand on the store: what the command line tool would do.
 *
 * Happy path: the store is opened as a tool opens it; the engine is asked through its
 * socket if it lives, else the change is made under the lock. Each change is begun and
 * acknowledged on the tape like the client's own calls. The client's thread. */
#include "tests/crash/engine_states/engine_world.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

static int change(const char *name, const hf_out *arguments)
{
    hf_store *store;
    int err = arguments->err ? arguments->err : hf_store_open(&store, w.path, 2000);
    if (err)
        return err;
    err = hf_change(store, name, hf_out_bytes(arguments), NULL, NULL);
    hf_store_close(store);
    return err;
}

void tool_send(void)
{
    uint8_t body[BODY_MAX];
    hf_out out = { 0 };
    uint32_t number = life_begin(OP_TELL, w.life * 2, 1, NULL), token = w.ops[number].tokens[0];
    hf_out_map(&out, NULL);
    hf_out_array(&out, "letters");
    hf_out_map(&out, NULL);
    hf_out_words(&out, "to", place_names[w.messages[token].place]);
    hf_out_words(&out, "kind", "go");
    hf_out_bin(&out, "body", body_write(body, token));
    hf_out_end(&out);
    hf_out_end(&out);
    hf_out_end(&out);
    life_acknowledge(number, change("send", &out), "hf_change send");
    hf_out_done(&out);
}

static void pause_or_resume(op_kind kind, const char *name, const char *what)
{
    hf_out out = { 0 };
    bool all = strcmp(what, EVERYTHING) == 0;
    uint32_t number = life_begin(kind, 0, 0, what);
    hf_out_map(&out, NULL);
    hf_out_text(&out, "what", hf_str(all ? "" : what));
    hf_out_end(&out);
    life_acknowledge(number, change(name, &out), name);
    hf_out_done(&out);
}

void tool_pause(const char *what)
{
    pause_or_resume(OP_PAUSE, "pause", what);
}

void tool_resume(const char *what)
{
    pause_or_resume(OP_RESUME, "resume", what);
}

int tool_dead(int (*each)(void *user, const hf_message *msg), void *user)
{
    hf_store *store;
    int err = hf_store_open(&store, w.path, 2000);
    if (err)
        return err;
    err = hf_find(store, "status = dead", each, user);
    hf_store_close(store);
    return err;
}

typedef struct waits_for_it {
    uint32_t token;
    uint64_t id;
} waits_for_it;

static int look(void *user, const hf_message *msg)
{
    waits_for_it *found = user;
    uint32_t token = body_token(msg->body);
    plan p = token < TOKENS ? (plan)w.messages[token].plan : PLAN_PLAIN;
    if ((p != PLAN_REVIVE && p != PLAN_REDO) || atomic_load(&seen.revived[token]))
        return HF_OK;
    *found = (waits_for_it){ token, msg->id };
    return HF_PENDING; /* one is enough */
}

void tool_requeue(void)
{
    waits_for_it found = { NOBODY, 0 };
    hf_store *store;
    int err = tool_dead(look, &found);
    if (err != HF_OK && err != HF_PENDING)
        broken("the dead cannot be listed: %s (%s)", hf_strerror(err), hf_detail());
    if (found.token == NOBODY)
        return;
    err = hf_store_open(&store, w.path, 2000);
    if (err) {
        broken("the store cannot be looked at: %s (%s)", hf_strerror(err), hf_detail());
        return;
    }
    atomic_store(&seen.revived[found.token], true);
    w.requeuing = found.token;
    uint32_t number = life_begin(OP_REQUEUE, 0, 0, NULL);
    life_acknowledge(number, hf_requeue(store, found.id), "hf_requeue");
    hf_store_close(store);
}
