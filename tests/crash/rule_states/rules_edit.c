/* rules_edit.c - a message that an operator edited comes once, in order, with its new body.
 *
 * Messages wait behind a pause; some get another body through the control socket, later
 * ones in the closed store. Whenever the machine stops, each that was acknowledged comes
 * once and in order: with its new body if the edit was acknowledged, with its old one if
 * it was never begun. A dead letter that is edited stays dead, and there is one of it. */
#include "tests/crash/rule_states/rules.h"

#include "engine/engine.h"
#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include <stdio.h>

enum { TOLD = 8, MORE = 4, EDITED = 20, DEAD = 50, DEAD_EDITED = 51, NEW = 1000 };

static uint64_t ids[TOLD + MORE + 1];

static int note(hf_turn *turn, const hf_message *msg)
{
    return rule_note(turn, rule_number(msg->body, 0));
}

static int bury(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    return hf_bury(turn, "no");
}

static const hf_type types[] = {
    { .name = "work", .handle = note, .strikes = HF_NEVER },
    { .name = "grave", .handle = bury, .strikes = HF_NEVER },
    { 0 },
};

/* One letter with this number; its id. */
static uint64_t tell(uint32_t mark, const char *to, uint32_t number)
{
    hf_receipt receipt = { 0 };
    RULE_DO(mark, hf_mail(rule_engine(), HF_LETTER(.to = to, .body = rule_body(&number)), 1,
                          &receipt));
    return receipt.id;
}

static int edit(const char *path, uint64_t id, uint32_t number)
{
    hf_out out = { 0 };
    hf_store *store = NULL;
    hf_out_map(&out, NULL);
    hf_out_array(&out, "edits");
    hf_out_map(&out, NULL);
    hf_out_uint(&out, "id", id);
    hf_out_bin(&out, "body", rule_body(&number));
    hf_out_end(&out);
    hf_out_end(&out);
    hf_out_end(&out);
    int err = out.err ? out.err : hf_store_open(&store, path, 5000);
    if (!err)
        err = hf_change(store, "edit", hf_out_bytes(&out), NULL, NULL);
    hf_store_close(store);
    hf_out_done(&out);
    return err;
}

static void act(void)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s", hf_disk_path(rule_engine()->disk));
    uint64_t dead = tell(DEAD, "grave/0", 1);
    (void)rule_worked("hf_drain", hf_drain(rule_engine(), 10000));
    RULE_DO(DEAD_EDITED, edit(path, dead, 2));
    (void)rule_worked("hf_pause", hf_pause(rule_engine(), "work", NULL, NULL));
    for (uint32_t i = 1; i <= TOLD; i++)
        ids[i] = tell(i, "work/0", i);
    RULE_DO(EDITED + 3, edit(path, ids[3], NEW + 3));
    RULE_DO(EDITED + 5, edit(path, ids[5], NEW + 5));
    (void)rule_worked("hf_resume", hf_resume(rule_engine(), "work"));
    (void)rule_worked("hf_drain", hf_drain(rule_engine(), 10000));
    (void)rule_worked("hf_pause", hf_pause(rule_engine(), "work", NULL, NULL));
    for (uint32_t i = TOLD + 1; i <= TOLD + MORE; i++)
        ids[i] = tell(i, "work/0", i);
    rule_close();
    RULE_DO(EDITED + 10, edit(path, ids[10], NEW + 10));
    rule_open();
    RULE_DO(EDITED + 12, edit(path, ids[12], NEW + 12));
    (void)rule_worked("hf_resume", hf_resume(rule_engine(), "work"));
}

static const char *settle(hf_engine *engine)
{
    int err = hf_resume(engine, "work");
    if (!err)
        err = hf_drain(engine, 20000);
    return err ? rule_wrong("it does not come to rest: %s", hf_strerror(err)) : NULL;
}

static const char *check(rule_look *look, const rule_moment *known)
{
    hf_bytes list = rule_state(look, "work/0");
    uint32_t last = 0;
    for (uint32_t at = 0; rule_number(list, at) != UINT32_MAX; at++) {
        uint32_t is = rule_number(list, at), i = is % NEW;
        if (i <= last || i > TOLD + MORE || !known->begun[i])
            return rule_wrong("work/0 noted %u after %u", is, last);
        if (is > NEW && !known->begun[EDITED + i])
            return rule_wrong("%u was never edited", i);
        if (is < NEW && known->acked[EDITED + i])
            return rule_wrong("%u came with its old body", i);
        last = i;
    }
    for (uint32_t i = 1; i <= TOLD + MORE; i++)
        if (known->acked[i] && rule_times(list, i) + rule_times(list, NEW + i) != 1)
            return rule_wrong("%u was acknowledged and did not come once", i);
    uint32_t dead = rule_dead(look, NULL);
    if (dead > 1 || (known->acked[DEAD] && !dead))
        return rule_wrong("%u letters are dead", dead);
    return rule_waiting(look, "work/0") ? rule_wrong("something waits") : NULL;
}

const rule rule_edit = { .name = "edit", .types = types, .act = act, .settle = settle,
                         .check = check };
