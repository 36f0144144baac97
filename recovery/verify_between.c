/* verify_between.c - what must hold between the rows of a store, at one moment.
 *
 * Happy path: tables with the window laid over are walked once. No message is there
 * twice, or both waiting and dead; each step belongs to a message; the index over alarms
 * and their rows agree; no position is used that will be given again; as many messages
 * wait as the log's newest record says. Costs eight bytes of memory a message. One thread. */
#include "recovery/verify.h"

#include "storage/due.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/view.h"

#include <stdlib.h>

typedef struct id_list {
    uint64_t *ids;
    size_t    count, room;
} id_list;

typedef struct between {
    hf_checkup *c;
    hf_view_of *view;
    id_list     waiting, dead;
    uint64_t    next;
} between;

static int note_id(between *b, id_list *list, uint64_t id)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 1024;
        uint64_t *ids = hf_mem_grow(list->ids, room * sizeof *ids);
        if (!ids)
            return b->c->err = hf_error(HF_ENOMEM, "%zu messages", room);
        list->ids = ids;
        list->room = room;
    }
    list->ids[list->count++] = id;
    return HF_OK;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static bool is_in(const id_list *list, uint64_t id)
{
    return list->count && bsearch(&id, list->ids, list->count, sizeof id, by_number);
}

static void between_found(between *b, const char *name, hf_table table, uint64_t id,
                          const char *why)
{
    hf_finding f = { .name = name, .table = hf_table_name(table), .id = id };
    hf_checkup_found(b->c, &f, "%s", why);
}

static int see_message(between *b, hf_table table, hf_bytes key, hf_bytes payload)
{
    hf_entry e;
    if (hf_row_message_in(table, key, payload, &e)) {
        between_found(b, "row damaged", table, 0, hf_error_detail());
        return b->c->err;
    }
    if (e.id >= b->next || (table == HF_IN_INBOX && e.place >= b->next))
        between_found(b, "position to come", table, e.id, "it will be given once more");
    int err = note_id(b, table == HF_IN_INBOX ? &b->waiting : &b->dead, e.id);
    return err ? err : b->c->err;
}

static int see_waiting(void *user, hf_bytes key, hf_bytes payload)
{
    return see_message(user, HF_IN_INBOX, key, payload);
}

static int see_dead(void *user, hf_bytes key, hf_bytes payload)
{
    return see_message(user, HF_IN_DEAD, key, payload);
}

static int see_step(void *user, hf_bytes key, hf_bytes payload)
{
    between *b = user;
    uint64_t id = key.len == 24 ? hf_get64_key(key.data) : 0;
    (void)payload;
    if (!is_in(&b->waiting, id) && !is_in(&b->dead, id))
        between_found(b, "step of nobody", HF_IN_STEPS, id, "its message has ended");
    return b->c->err;
}

static void check_ids(between *b)
{
    if (b->waiting.count)
        qsort(b->waiting.ids, b->waiting.count, sizeof *b->waiting.ids, by_number);
    if (b->dead.count)
        qsort(b->dead.ids, b->dead.count, sizeof *b->dead.ids, by_number);
    for (size_t i = 1; i < b->waiting.count && !b->c->err; i++)
        if (b->waiting.ids[i] == b->waiting.ids[i - 1])
            between_found(b, "message twice", HF_IN_INBOX, b->waiting.ids[i],
                          "it waits at two places");
    for (size_t i = 0; i < b->dead.count && !b->c->err; i++)
        if (is_in(&b->waiting, b->dead.ids[i]))
            between_found(b, "message dead and waiting", HF_IN_DEAD, b->dead.ids[i],
                          "it is in both");
}

/* ---- Alarms, in the tables alone: both change in one commit */

static void check_alarm(between *b, hf_txn *txn, hf_bytes key, hf_bytes name)
{
    hf_bytes value, payload;
    uint64_t due, generation;
    hf_key wanted;
    bool right = !hf_txn_get(txn, HF_IN_ALARM_NAMES, name, &value)
             && !hf_row_open(HF_IN_ALARM_NAMES, name, value, &payload)
             && !hf_fate_alarm(payload, &due, &generation);
    if (right) {
        hf_key_alarm(&wanted, due, generation);
        right = wanted.len == key.len && memcmp(wanted.bytes, key.data, key.len) == 0;
    }
    if (!right)
        between_found(b, "index without alarm", HF_IN_ALARMS, 0,
                      "it points to no alarm of that time");
}

static void check_alarms(between *b, hf_disk *disk)
{
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes key, value, name;
    int err = hf_txn_read(disk, &txn);
    if (err) {
        b->c->err = err;
        return;
    }
    err = hf_cursor_open(txn, HF_IN_ALARMS, &cursor);
    for (; !err && !b->c->err; ) {
        err = hf_cursor_next(cursor, &key, &value);
        if (!err && !hf_row_open(HF_IN_ALARMS, key, value, &name))
            check_alarm(b, txn, key, name);
    }
    if (err && err != HF_ENOTFOUND)
        b->c->err = err;
    hf_cursor_close(cursor);
    hf_txn_abort(txn);
}

/* The log says how many wait; another moment than the pages' would say something else. */
static void check_count(between *b)
{
    hf_checkup *c = b->c;
    if (c->position && c->position == b->next && c->waiting != b->waiting.count)
        between_found(b, "waiting miscounted", HF_IN_LOG, 0,
                      "the newest record says another number than there are");
}

static void look_between(between *b, hf_disk *disk)
{
    static const hf_table tables[] = { HF_IN_INBOX, HF_IN_DEAD, HF_IN_STEPS };
    static const hf_view_fn sees[] = { see_waiting, see_dead, see_step };
    b->next = hf_view_next(b->view);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && !b->c->err; i++) {
        if (tables[i] == HF_IN_STEPS)
            check_ids(b);
        int err = hf_view_walk(b->view, tables[i], hf_view(NULL, 0), sees[i], b);
        if (err && !b->c->err)
            b->c->err = err;
    }
    if (!b->c->err)
        check_count(b);
    if (!b->c->err)
        check_alarms(b, disk);
}

void hf_checkup_between(hf_checkup *c, hf_disk *disk)
{
    between b = { .c = c };
    int err = hf_view_open(&b.view, disk);
    if (err == HF_ECORRUPT || err == HF_EVERSION) /* what is wrong was found in its row */
        return;
    if (err) {
        c->err = err;
        return;
    }
    look_between(&b, disk);
    hf_view_close(b.view);
    hf_mem_free(b.waiting.ids);
    hf_mem_free(b.dead.ids);
}
