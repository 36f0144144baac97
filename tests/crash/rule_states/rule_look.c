/* rule_look.c - look into a closed store, and what actors of rules have in common.
 *
 * Happy path: open the store beside nobody, take one view of it, answer what is asked,
 * run the rule's check. What cannot be read is what is wrong. One thread; rule_note
 * runs in a turn. */
#include "tests/crash/rule_states/rule_look.h"

#include "storage/view.h"

#include <stdio.h>

struct rule_look {
    hf_view_of *view;
    const char *bad; /* the first thing that could not be read */
};

static char why[512];

const char *rule_wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return why;
}

static void unreadable(rule_look *look, const char *what, int err)
{
    if (!look->bad)
        look->bad = rule_wrong("%s: %s (%s)", what, hf_strerror(err), hf_detail());
}

hf_bytes rule_state(rule_look *look, const char *actor)
{
    hf_bytes image = { NULL, 0 };
    uint64_t version;
    int err = hf_view_state(look->view, actor, &image, &version);
    if (err && err != HF_ENOTFOUND)
        unreadable(look, actor, err);
    return err ? hf_view("", 0) : image;
}

static int count_one(void *user, const hf_entry *message)
{
    (void)message;
    ++*(uint32_t *)user;
    return HF_OK;
}

uint32_t rule_waiting(rule_look *look, const char *actor)
{
    uint32_t count = 0;
    int err = hf_view_inbox(look->view, actor, 0, count_one, &count);
    if (err)
        unreadable(look, actor, err);
    return count;
}

typedef struct tomb {
    const char *actor;
    uint32_t    count;
} tomb;

static int count_dead(void *user, hf_bytes key, hf_bytes payload)
{
    tomb *t = user;
    hf_entry e;
    int err = hf_row_message_in(HF_IN_DEAD, key, payload, &e);
    if (!err && (!t->actor || strcmp(t->actor, e.to) == 0))
        t->count++;
    return err;
}

uint32_t rule_dead(rule_look *look, const char *actor)
{
    tomb t = { actor, 0 };
    int err = hf_view_walk(look->view, HF_IN_DEAD, hf_view(NULL, 0), count_dead, &t);
    if (err)
        unreadable(look, "the dead", err);
    return t.count;
}

const char *rule_check(const rule *by, const char *path, const rule_moment *known)
{
    hf_disk *disk;
    rule_look look = { NULL, NULL };
    int err = hf_disk_open(&disk, path, &(hf_disk_options){ .flags = HF_LOOK });
    if (err)
        return rule_wrong("it cannot be looked at: %s (%s)", hf_strerror(err), hf_detail());
    err = hf_view_open(&look.view, disk);
    if (err)
        unreadable(&look, "a view", err);
    const char *bad = err ? look.bad : by->check(&look, known);
    if (!err)
        hf_view_close(look.view);
    hf_disk_close(disk);
    return look.bad ? look.bad : bad;
}

/* ---- Lists of numbers */

int rule_note(hf_turn *turn, uint32_t number)
{
    hf_bytes old = hf_state(turn);
    uint8_t *list = hf_alloc(turn, old.len + sizeof number);
    if (!list)
        return HF_ENOMEM;
    if (old.len)
        memcpy(list, old.data, old.len);
    memcpy(list + old.len, &number, sizeof number);
    hf_save(turn, hf_view(list, old.len + sizeof number));
    return HF_OK;
}

uint32_t rule_number(hf_bytes body, uint32_t at)
{
    uint32_t number;
    if (((size_t)at + 1) * sizeof number > body.len)
        return UINT32_MAX;
    memcpy(&number, (const char *)body.data + at * sizeof number, sizeof number);
    return number;
}

uint32_t rule_times(hf_bytes list, uint32_t number)
{
    uint32_t times = 0, found;
    for (uint32_t at = 0; (found = rule_number(list, at)) != UINT32_MAX; at++)
        times += found == number;
    return times;
}

hf_bytes rule_body(const uint32_t *number)
{
    return hf_view(number, sizeof *number);
}
