/* rich_set.h - a full set (full_set.h) and what else an actor can have: rows, topics,
 * schedules, letters that wait for their time, kin, words of operators, a history. Half of
 * it lies in the tables, half in the log. For one test program, in its one .c file. */
#ifndef UNIT_RICH_SET_H
#define UNIT_RICH_SET_H

#include "tests/unit/full_set.h"

#include "recovery/pen.h"

typedef struct rich_set {
    full_set full;
    uint64_t parent, child, later, walled, stepped, named, ended, edited;
} rich_set;

/* A row of the engine's or the actor's own, by its shelf. */
static inline void rich_row(core *c, const char *to, char shelf, const char *key, hf_bytes value)
{
    char name[130];
    (void)snprintf(name, sizeof name, "%c%s", shelf, key);
    hf_entry e = full_entry(c, HF_OP_PUT, to, 0, name, "");
    e.data = value;
    core_put(c, HF_FACTS, &e);
}

static inline void rich_schedule(core *c, const char *to, const char *name, const char *words,
                                 uint64_t due)
{
    uint8_t value[16 + 64] = { 3 }; /* three were missed */
    char alarm[64];
    hf_put64(value + 8, due);
    size_t len = strlen(words) + 1;
    memcpy(value + 16, words, len);
    rich_row(c, to, 's', name, hf_view(value, 16 + len));
    (void)snprintf(alarm, sizeof alarm, "\x02%s", name);
    (void)full_alarm(c, to, alarm, due);
}

/* A letter that waits for its time, by the engine's clock or the wall's. */
static inline uint64_t rich_letter(core *c, const char *to, uint64_t due, bool wall)
{
    hf_entry e = full_entry(c, HF_OP_SEND, to, 0, "remind", "in time");
    e.flags = HF_ENTRY_DELAYED;
    e.due = due;
    e.reason = wall ? HF_DUE_WALL : 0;
    e.sent = 1234;
    return core_put(c, 0, &e);
}

static inline uint64_t rich_child(core *c, const char *to, const char *kind, uint64_t parent)
{
    hf_entry e = full_entry(c, HF_OP_SEND, to, 0, kind, "born");
    e.parent = parent;
    e.from = "order/1";
    e.from_len = 7;
    return core_put(c, 0, &e);
}

static inline uint64_t rich_named(core *c, const char *to, const char *word)
{
    hf_entry e = full_entry(c, HF_OP_SEND, to, 0, "pay", "once");
    e.dedupe = word;
    e.dedupe_len = (uint32_t)strlen(word);
    return core_put(c, 0, &e);
}

static inline uint64_t rich_dead_with_steps(core *c, const char *to)
{
    uint64_t id = core_send(c, to, "trip", hf_str("steps"));
    full_step(c, id, 1, 2);
    hf_entry e = full_entry(c, HF_OP_DEAD, to, id, "trip", "steps");
    e.flags = HF_ENTRY_STEPS;
    e.attempt = 1;
    e.err = 9;
    e.error = "fell";
    e.error_len = 4;
    e.died = 8000;
    core_put(c, HF_FACTS, &e);
    return id;
}

/* Somebody gave it another body, twice. */
static inline uint64_t rich_edited(core *c, const char *to)
{
    hf_pen pen;
    uint64_t id = core_send(c, to, "draft", hf_str("first"));
    hf_entry e = full_entry(c, HF_OP_REQUEUE, to, id, "draft", "second");
    e.first = hf_str("first");
    hf_pen_take(&pen, 0, "edit");
    pen.reason = hf_str("a slip");
    hf_pen_sign(&pen, &e);
    core_put(c, HF_FACTS, &e);
    return id;
}

static inline void rich_round(core *c, rich_set *r)
{
    static const uint8_t flushed[24] = { 1 };
    r->parent = core_send(c, "order/1", "root", hf_str("p"));
    r->child = rich_child(c, "order/2", "leaf", r->parent);
    r->ended = rich_child(c, "paid/1", "", r->child);
    core_done(c, r->ended, 1);
    r->later = rich_letter(c, "order/1", 4000000000000, false);
    r->walled = rich_letter(c, "ship/x", 4000000000001, true);
    r->stepped = rich_dead_with_steps(c, "order/1");
    r->named = rich_named(c, "order/1", "word");
    r->edited = rich_edited(c, "order/2");
    rich_row(c, "order/1", 'u', "a", hf_str("one"));
    rich_row(c, "order/1", 'u', "\x01z", hf_str("two"));
    rich_row(c, "order/1", 't', "news", hf_view("", 0));
    rich_row(c, "order/1", 't', "weather", hf_view("", 0));
    rich_row(c, "order/-", 'l', "flush", hf_view(flushed, sizeof flushed));
    rich_schedule(c, "order/1", "daily", "daily at 12:00", 6000);
    rich_schedule(c, "order/1", "often", "every 5 s", 7000);
    (void)full_alarm(c, "order/1", "", 5500);
}

/* What is folded stays as history. */
static const hf_log_options rich_keeps = { .window = 256 << 10, .history = 10000,
                                           .history_ms = UINT64_MAX };

static inline void rich_fill(const char *path, rich_set *r)
{
    core c;
    core_open(&c, path, NULL, &rich_keeps);
    r->full = full_fill(&c);
    rich_round(&c, r);
    CORE_OK(hf_log_fold_all(c.log));
    rich_round(&c, r);
    core_close(&c, false);
}

/* All that it holds, in a number: rows and words taken as well. */
static inline uint64_t rich_sum_at(const char *path)
{
    static const hf_table tables[] = { HF_IN_INBOX, HF_IN_STATE, HF_IN_DEAD, HF_IN_STEPS,
                                       HF_IN_ALARM_NAMES, HF_IN_PAUSES, HF_IN_ROWS,
                                       HF_IN_DEDUPE, HF_IN_TOPICS };
    hf_disk_options look = { .flags = HF_LOOK };
    hf_disk *disk;
    hf_view_of *view;
    uint64_t sum = 1;
    CORE_OK(hf_disk_open(&disk, path, &look));
    CORE_OK(hf_view_open(&view, disk));
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        CORE_OK(hf_view_walk(view, tables[i], hf_view("", 0), full_add, &sum));
    hf_view_close(view);
    hf_disk_close(disk);
    return sum;
}

#endif
