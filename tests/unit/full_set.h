/* full_set.h - a small store with rows in every table and facts of every kind over them,
 * for tests of what fails in the middle. For one test program, in its one .c file. */
#ifndef UNIT_FULL_SET_H
#define UNIT_FULL_SET_H

#include "tests/support/core.h"
#include "tests/support/stores.h"

#include "storage/clock.h"

typedef struct full_set {
    uint64_t waiting, retrying, delayed, dead, folded_dead, alarm, done;
} full_set;

static const char *const full_actors[] = { "order/1", "order/2", "paid/1", "ship/x", "quiet/1" };

static inline hf_entry full_entry(core *c, uint8_t op, const char *to, uint64_t id,
                                  const char *name, const char *data)
{
    hf_entry e = core_entry(c->log, op, to);
    if (op == HF_OP_PAUSE || op == HF_OP_RESUME)
        e.hash = 0; /* what is paused need not be an actor */
    e.id = e.place = id;
    e.name = name;
    e.name_len = (uint8_t)strlen(name);
    e.data = hf_str(data);
    return e;
}

static inline void full_put(core *c, uint8_t op, const char *to, uint64_t id, const char *name,
                            const char *data)
{
    hf_entry e = full_entry(c, op, to, id, name, data);
    core_put(c, HF_FACTS, &e);
}

static inline uint64_t full_alarm(core *c, const char *to, const char *name, uint64_t due)
{
    hf_entry e = full_entry(c, HF_OP_ALARM, to, 0, name, "ring");
    e.due = due;
    return core_put(c, HF_FACTS, &e);
}

static inline void full_step(core *c, uint64_t id, uint64_t number, uint32_t phase)
{
    hf_entry e = full_entry(c, HF_OP_STEP, "", id, "pay", phase > 1 ? "paid" : "");
    e.place = number;
    e.phase = phase;
    core_put(c, HF_FACTS, &e);
}

/* It failed `attempt` times, and is to run again at `due`. */
static inline void full_retry(core *c, const char *to, uint64_t id, uint32_t attempt, uint64_t due)
{
    uint8_t times[8 * 32];
    hf_entry e = full_entry(c, HF_OP_RETRY, to, id, "", "");
    for (uint32_t i = 0; i < attempt; i++)
        hf_put64(times + 8 * i, 1000 + i);
    e.attempt = attempt;
    e.due = due;
    e.err = attempt ? -4 : 0;
    e.error = attempt ? "no answer" : "";
    e.error_len = attempt ? 9 : 0;
    e.times = hf_view(times, 8 * attempt);
    e.flags = HF_ENTRY_STEPS;
    core_put(c, HF_FACTS, &e);
}

static inline uint64_t full_dead(core *c, const char *to, uint64_t died)
{
    uint64_t id = core_send(c, to, "place", hf_str("dead"));
    hf_entry e = full_entry(c, HF_OP_DEAD, to, id, "place", "dead");
    e.attempt = 3;
    e.err = 7;
    e.error = "no stock";
    e.error_len = 8;
    e.died = died;
    core_put(c, HF_FACTS, &e);
    return id;
}

/* What is put first lies in the tables at last, the rest in the log. */
static inline full_set full_fill(core *c)
{
    full_set f;
    uint64_t later = hf_clock_wall_ms() + 3600000;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++) {
            core_send(c, full_actors[i], "place", hf_str("one"));
            full_put(c, HF_OP_SAVE, full_actors[i], 0, "", "state");
        }
        f.waiting = core_send(c, "order/1", "place", hf_str("wait"));
        f.retrying = core_send(c, "order/2", "place", hf_str("try"));
        full_step(c, f.retrying, 1, 1);
        full_step(c, f.retrying, 2, 2);
        full_step(c, f.retrying, 3, 3);
        if (round == 0)
            CORE_OK(hf_log_fold_all(c->log));
        full_retry(c, "order/2", f.retrying, 24, later);
        f.delayed = core_send(c, "ship/x", "", hf_str(""));
        full_retry(c, "ship/x", f.delayed, 0, later);
        (void)full_alarm(c, "order/1", "later", 9000);
        f.alarm = full_alarm(c, "order/1", "wake", 5000);
        (void)full_alarm(c, "quiet/1", "sooner", 4000);
        full_put(c, HF_OP_PAUSE, "paid", 0, "", "lunch");
        full_put(c, HF_OP_PAUSE, "ship/x", 0, "", "");
        f.dead = full_dead(c, "order/1", 7000);
        if (round == 0) {
            f.folded_dead = f.dead;
            CORE_OK(hf_log_fold_all(c->log));
        }
        hf_entry due = full_entry(c, HF_OP_DUE, "order/1", 0, "wake", "");
        due.generation = f.alarm;
        core_put(c, 0, &due);
        full_put(c, HF_OP_CANCEL, "quiet/1", 0, "none", "");
        full_put(c, HF_OP_FORGET, "ship/x", 0, "", "");
        full_put(c, HF_OP_PURGE, "order/1", 1, "", "");
        full_put(c, HF_OP_RESUME, "ship", 0, "", "");
        f.done = core_send(c, "order/1", "", hf_str("done"));
        core_done(c, f.done, 1);
    }
    return f;
}

/* ---- All that a store holds, in a number */

static inline int full_add(void *user, hf_bytes key, hf_bytes payload)
{
    uint64_t *sum = user;
    *sum = hf_address_hash(*sum, key.data, key.len);
    *sum = hf_address_hash(*sum, payload.data, payload.len);
    return HF_OK;
}

static inline uint64_t full_sum(hf_disk *disk)
{
    static const hf_table tables[] = { HF_IN_INBOX, HF_IN_STATE, HF_IN_DEAD, HF_IN_STEPS,
                                       HF_IN_ALARM_NAMES, HF_IN_PAUSES };
    hf_view_of *view;
    uint64_t sum = 1;
    CORE_OK(hf_view_open(&view, disk));
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        CORE_OK(hf_view_walk(view, tables[i], hf_view("", 0), full_add, &sum));
    hf_view_close(view);
    return sum;
}

static inline uint64_t full_sum_at(const char *path)
{
    hf_disk_options look = { .flags = HF_LOOK };
    hf_disk *disk;
    CORE_OK(hf_disk_open(&disk, path, &look));
    uint64_t sum = full_sum(disk);
    hf_disk_close(disk);
    return sum;
}

#endif
