/* engine_scripts.c - one small life for each operation there is.
 *
 * Happy path: what is told is wished for, not drawn, so each life holds the operation
 * that it is named after, with a message or two around it, and ends at rest. The
 * client's thread. */
#include "tests/crash/engine_states/engine_world.h"

enum { CALM_0, CALM_1, CALM_2, SLOW_0, SLOW_1, CREW_0, CALM_3, BARE_0 };

static void want(uint32_t place, plan what)
{
    plan_wish(&(wish){
        .place = place, .plan = what, .times = 2, .children = what == PLAN_SEND ? CHILDREN : 0 });
}

static void tell(uint32_t place, plan what)
{
    want(place, what);
    life_tell();
}

static void do_create(void)
{
    tell(CALM_0, PLAN_PLAIN);
}

static void do_send(void)
{
    tell(CALM_0, PLAN_PLAIN);
    tell(CALM_0, PLAN_PLAIN);
    want(CALM_1, PLAN_PLAIN);
    life_mail(LETTERS);
    life_post(2);
    life_post(1);
}

static void do_send_tool(void)
{
    want(CALM_0, PLAN_PLAIN);
    tool_send();
    life_close();
    tool_send();
    life_open();
    life_drain();
}

static void do_save(void)
{
    for (int i = 0; i < 4; i++) {
        tell(i & 1 ? CALM_1 : CALM_0, PLAN_PLAIN);
        life_drain();
    }
}

static void do_turn_sends(void)
{
    tell(CALM_0, PLAN_SEND);
    life_drain();
    tell(SLOW_0, PLAN_SEND);
    life_drain();
}

static void do_retry(void)
{
    tell(BARE_0, PLAN_FAIL);
    tell(BARE_0, PLAN_PLAIN); /* has to wait for it */
    tell(CALM_2, PLAN_FAIL);
    life_drain();
}

static void do_snooze(void)
{
    tell(CALM_0, PLAN_SNOOZE);
    tell(CALM_0, PLAN_PLAIN);
    life_drain();
}

static void do_failed(void)
{
    tell(CALM_0, PLAN_FAIL);
    life_drain();
    tell(SLOW_0, PLAN_FAIL);
    life_drain();
}

static void do_dead(void)
{
    tell(BARE_0, PLAN_FAIL_ALWAYS);
    tell(BARE_0, PLAN_BURY);
    life_drain();
}

static void do_dead_to(void)
{
    tell(CALM_0, PLAN_BURY);
    life_drain();
    tell(SLOW_0, PLAN_BURY);
    life_drain();
}

static void do_requeue(void)
{
    tell(CALM_0, PLAN_REVIVE);
    tell(BARE_0, PLAN_REVIVE);
    tell(CALM_0, PLAN_PLAIN);
    life_drain();
    tool_requeue();
    tool_requeue();
    life_drain();
}

static void do_requeue_dead(void)
{
    tell(CALM_0, PLAN_REVIVE);
    tell(BARE_0, PLAN_REVIVE);
    life_drain();
    life_close();
    tool_requeue();
    tool_requeue();
    life_open();
    life_drain();
}

static void do_requeue_undone(void)
{
    tell(SLOW_0, PLAN_REDO);
    life_drain();
    tool_requeue();
    life_drain();
}

static void do_step_begun(void)
{
    tell(SLOW_0, PLAN_HALF_STEP);
    life_drain();
}

static void do_step_ended(void)
{
    tell(SLOW_0, PLAN_STEPS);
    life_drain();
}

static void do_undo(void)
{
    tell(SLOW_0, PLAN_UNDO);
    tell(SLOW_0, PLAN_PLAIN);
    life_drain();
}

static void do_forward(void)
{
    tell(CREW_0, PLAN_PLAIN);
    tell(CREW_0, PLAN_PLAIN);
    life_drain();
}

static void hold(const char *what, uint32_t place)
{
    life_pause(what);
    tell(place, PLAN_PLAIN);
    life_resume(what);
    life_drain();
}

static void do_pause(void)
{
    hold("calm/1", CALM_1);
    hold("calm", CALM_0);
    hold(EVERYTHING, SLOW_0);
}

static void do_pause_tool(void)
{
    tool_pause("calm/1");
    tell(CALM_1, PLAN_PLAIN);
    life_close();
    tool_resume("calm/1");
    tool_pause(EVERYTHING);
    tool_send();
    tool_resume(EVERYTHING);
    life_open();
    life_drain();
}

/* A paused actor's inbox and some states go into the tables while others go on. */
static void do_fold(void)
{
    life_pause("calm/1");
    for (int i = 0; i < 5; i++) {
        plan_wish(&(wish){ .place = CALM_1, .plan = PLAN_PLAIN, .size = 4600 });
        life_mail(LETTERS);
    }
    tell(BARE_0, PLAN_BURY);
    for (int i = 0; i < 16 || (i < 200 && !atomic_load(&folds_done)); i++)
        tell(i & 1 ? CALM_2 : CALM_0, PLAN_PLAIN);
    life_drain();
    life_resume("calm/1");
    life_drain();
}

static void do_close(void)
{
    tell(CALM_0, PLAN_PLAIN);
    life_close();
    life_open();
    life_close();
    life_open();
    tell(CALM_0, PLAN_PLAIN);
    life_drain();
}

static void do_forget(void)
{
    tell(CALM_0, PLAN_PLAIN);
    life_drain();
    tell(CALM_0, PLAN_FORGET);
    tell(CALM_0, PLAN_PLAIN);
    life_drain();
    tell(CALM_0, PLAN_FORGET);
    life_drain();
}

const script scripts[] = {
    { .name = "create", .act = do_create, .creates = true },
    { .name = "send", .act = do_send },
    { .name = "send-tool", .act = do_send_tool },
    { .name = "save", .act = do_save },
    { .name = "turn-sends", .act = do_turn_sends },
    { .name = "retry", .act = do_retry },
    { .name = "snooze", .act = do_snooze },
    { .name = "failed", .act = do_failed },
    { .name = "dead", .act = do_dead },
    { .name = "dead-to", .act = do_dead_to },
    { .name = "requeue", .act = do_requeue },
    { .name = "requeue-dead", .act = do_requeue_dead },
    { .name = "requeue-undone", .act = do_requeue_undone },
    { .name = "step-begun", .act = do_step_begun },
    { .name = "step-ended", .act = do_step_ended },
    { .name = "undo", .act = do_undo },
    { .name = "forward", .act = do_forward },
    { .name = "pause", .act = do_pause },
    { .name = "pause-tool", .act = do_pause_tool },
    { .name = "fold", .act = do_fold, .slice = 12000, .folds = true },
    { .name = "close", .act = do_close },
    { .name = "forget", .act = do_forget },
};
const unsigned script_count = sizeof scripts / sizeof *scripts;
