/* ask_alarms.c - the question `alarms`: what is due when.
 *
 * The table `alarms` is an index by due time, in two halves: by engine time and by the wall
 * clock. Happy path: both halves are read on from where the last page ended, what the log
 * says beyond the table is put in, and the soonest are told; a heap whose top is the latest
 * bounds what is kept, so that ten million alarms cost a page no more than ten do.
 * Settings that the log changed are taken from there alone. A damaged row ends the question
 * with HF_ECORRUPT. Any thread. */
#include "recovery/arguments.h"
#include "recovery/question.h"

#include "storage/due.h"
#include "storage/error.h"
#include "storage/fate.h"
#include "storage/memory.h"

#include <stdlib.h>

enum { LIMIT = 1000, LIMIT_MAX = 10000, ROWS_MAX = 100000, POSITION = 8, FIELDS = 16 };

enum { NAME_SCHEDULE = 2 }; /* alarms with names below a space are the engine's own */

typedef struct pending {
    uint64_t due, generation; /* due without the bit of the wall clock */
    bool     wall;
    hf_key   key;             /* of alarm_names */
} pending;

typedef struct due_page {
    hf_scan         scan;
    const hf_where *where;
    pending        *heap;
    size_t          count, limit;
    uint64_t        after_due, after_generation;
    uint64_t        end_due, end_generation; /* nothing beyond was looked at */
    bool            dropped, cut;
    uint64_t        scanned;
    hf_rowbuf       buf;
    size_t          hint;
} due_page;

static bool is_later(uint64_t due, uint64_t generation, uint64_t than_due, uint64_t than)
{
    return due != than_due ? due > than_due : generation > than;
}

static bool is_above(const pending *a, const pending *b)
{
    return is_later(a->due, a->generation, b->due, b->generation);
}

static void sink(due_page *p)
{
    for (size_t at = 0, child; (child = at * 2 + 1) < p->count; at = child) {
        if (child + 1 < p->count && is_above(&p->heap[child + 1], &p->heap[child]))
            child++;
        if (!is_above(&p->heap[child], &p->heap[at]))
            return;
        pending swap = p->heap[at];
        p->heap[at] = p->heap[child];
        p->heap[child] = swap;
    }
}

static void push(due_page *p, const pending *one)
{
    size_t at = p->count++;
    p->heap[at] = *one;
    for (; at && is_above(&p->heap[at], &p->heap[(at - 1) / 2]); at = (at - 1) / 2) {
        pending swap = p->heap[at];
        p->heap[at] = p->heap[(at - 1) / 2];
        p->heap[(at - 1) / 2] = swap;
    }
    if (p->count <= p->limit)
        return;
    p->heap[0] = p->heap[--p->count];
    sink(p);
    p->dropped = true;
}

/* ---- What a row says */

/* What is set under a key; false: nothing any more, or the engine's own. */
static int read_setting(due_page *p, const hf_key *key, hf_entry *e, bool *is)
{
    hf_bytes payload;
    uint64_t due, generation;
    int err = hf_view_get(p->scan.view, HF_IN_ALARM_NAMES, hf_key_bytes(key), &payload);
    *is = false;
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    err = hf_fate_alarm(payload, &due, &generation);
    if (err || !due)
        return err;
    if (!hf_entry_decode((const uint8_t *)payload.data + 16, payload.len - 16, e))
        return hf_error(HF_ECORRUPT, "an alarm can't be read");
    e->id = hf_due_is_letter(e) ? generation : 0;
    e->due = hf_scan_told(&p->scan, due & ~HF_DUE_BY_WALL, (due & HF_DUE_BY_WALL) != 0);
    *is = e->id || !e->name_len || (uint8_t)e->name[0] >= 0x20 || e->name[0] == NAME_SCHEDULE;
    return HF_OK;
}

static bool is_schedule(const hf_entry *e)
{
    return !e->id && e->name_len && e->name[0] == NAME_SCHEDULE;
}

static bool is_wanted(const due_page *p, const hf_entry *e)
{
    hf_message msg = { .id = e->id, .key = "", .to = e->to, .from = e->from,
                       .kind = e->name + is_schedule(e), .body = e->data, .error = "",
                       .status = HF_DELAYED, .sent = e->sent, .due = e->due,
                       .cause = e->id ? HF_SENT : HF_ALARM, .urgency = e->urgency };
    return hf_where_match(p->where, &msg, 0);
}

static int take(due_page *p, const pending *one)
{
    hf_entry e;
    bool is;
    if (!is_later(one->due, one->generation, p->after_due, p->after_generation))
        return HF_OK;
    if (p->count == p->limit && is_above(one, &p->heap[0])) {
        p->dropped = true;
        return HF_OK;
    }
    p->scanned++;
    int err = read_setting(p, &one->key, &e, &is);
    if (!err && is && is_wanted(p, &e))
        push(p, one);
    return err;
}

/* ---- The two sources */

static int load_row(void *user, hf_table table, const hf_key *key, hf_bytes *payload)
{
    return hf_row_get(user, table, key, payload);
}

static int walk_log(due_page *p)
{
    const hf_survivors *s = hf_view_facts(p->scan.view);
    size_t count = s->table[HF_IN_ALARM_NAMES].count;
    int err = HF_OK;
    for (size_t from = 0, to; !err && from < count; from = to) {
        pending one;
        hf_fate fate;
        to = hf_survivors_run(s, HF_IN_ALARM_NAMES, from, &one.key);
        err = hf_fate_of(s, HF_IN_ALARM_NAMES, from, to, &one.key, load_row,
                         hf_view_txn(p->scan.view), &p->buf, &fate);
        if (err || fate.verdict != HF_FATE_PUT || !fate.due)
            continue;
        one.due = fate.due & ~HF_DUE_BY_WALL;
        one.wall = (fate.due & HF_DUE_BY_WALL) != 0;
        one.generation = fate.generation;
        err = take(p, &one);
    }
    return err;
}

static bool is_in_log(due_page *p, hf_bytes name)
{
    const hf_survivors *s = hf_view_facts(p->scan.view);
    hf_key key;
    size_t at = hf_survivors_seek(s, HF_IN_ALARM_NAMES, name, &p->hint);
    if (at == s->table[HF_IN_ALARM_NAMES].count)
        return false;
    (void)hf_survivors_run(s, HF_IN_ALARM_NAMES, at, &key);
    return key.len == name.len && memcmp(key.bytes, name.data, name.len) == 0;
}

static int take_row(due_page *p, hf_bytes key, hf_bytes value, pending *one)
{
    hf_bytes name;
    uint64_t due = hf_get64_key(key.data);
    one->due = due & ~HF_DUE_BY_WALL;
    one->wall = (due & HF_DUE_BY_WALL) != 0;
    one->generation = hf_get64_key((const uint8_t *)key.data + 8);
    int err = hf_row_open(HF_IN_ALARMS, key, value, &name);
    if (err || is_in_log(p, name))
        return err;
    if (name.len > sizeof one->key.bytes)
        return hf_error(HF_ECORRUPT, "an alarm can't be read");
    one->key.len = name.len;
    memcpy(one->key.bytes, name.data, name.len);
    return take(p, one);
}

/* One half of the index, from where the last page ended. */
static int walk_index(due_page *p, uint64_t half)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    hf_key from;
    pending one;
    uint64_t rows = 0;
    int err = hf_cursor_open(hf_view_txn(p->scan.view), HF_IN_ALARMS, &cursor);
    if (err)
        return err;
    hf_key_alarm(&from, p->after_due | half, p->after_generation + 1);
    for (err = hf_cursor_seek(cursor, hf_key_bytes(&from), &key, &value); !err;
         err = hf_cursor_next(cursor, &key, &value)) {
        if (key.len != 16) {
            err = hf_error(HF_ECORRUPT, "an alarm can't be read");
            break;
        }
        if ((hf_get64_key(key.data) & HF_DUE_BY_WALL) != half) {
            err = HF_ENOTFOUND;
            break;
        }
        if ((err = take_row(p, key, value, &one)))
            break;
        if (p->count == p->limit && is_above(&one, &p->heap[0])) {
            p->dropped = true;
            err = HF_ENOTFOUND; /* all that follows is later */
            break;
        }
        if (++rows < ROWS_MAX)
            continue;
        if (!p->cut || is_later(p->end_due, p->end_generation, one.due, one.generation)) {
            p->end_due = one.due;
            p->end_generation = one.generation;
        }
        p->cut = true;
        err = HF_ENOTFOUND;
        break;
    }
    hf_cursor_close(cursor);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* ---- The answer */

static int compare(const void *pa, const void *pb)
{
    return is_above(pa, pb) - is_above(pb, pa);
}

static int put_schedule(due_page *p, const char *actor, const char *name, hf_out *out)
{
    hf_key key;
    hf_bytes payload;
    size_t len = strlen(actor), name_len = strlen(name);
    hf_key_actor(&key, actor, len, hf_address_hash(hf_view_seed(p->scan.view), actor, len));
    key.bytes[key.len++] = 0;
    key.bytes[key.len++] = HF_SHELF_SCHEDULE;
    memcpy(key.bytes + key.len, name, name_len);
    key.len += name_len;
    int err = hf_view_get(p->scan.view, HF_IN_ROWS, hf_key_bytes(&key), &payload);
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    const uint8_t *at = (const uint8_t *)payload.data + POSITION;
    size_t left = payload.len > POSITION ? payload.len - POSITION : 0;
    if (left <= FIELDS || !memchr(at + FIELDS, 0, left - FIELDS))
        return hf_error(HF_ECORRUPT, "a schedule can't be read");
    hf_out_text(out, "schedule", hf_str((const char *)at + FIELDS));
    hf_out_uint(out, "missed", hf_get32(at));
    return out->err;
}

static int tell(due_page *p, const pending *one)
{
    hf_out *out = &p->scan.inquiry->row;
    char actor[HF_ADDRESS_MAX + 1], name[HF_NAME_MAX + 1];
    hf_entry e;
    bool is;
    int err = read_setting(p, &one->key, &e, &is);
    if (err || !is)
        return err;
    bool comes_round = is_schedule(&e);
    memcpy(actor, e.to, e.to_len + 1u);
    memcpy(name, e.name + comes_round, e.name_len + 1u - comes_round);
    hf_out_map(out, NULL);
    hf_out_time(out, "due", hf_scan_told(&p->scan, one->due, one->wall));
    hf_out_text(out, "actor", hf_str(actor));
    hf_out_text(out, "type", hf_view(actor, hf_address_type_len(actor, strlen(actor))));
    hf_out_text(out, "what", hf_str(e.id ? "message" : comes_round ? "schedule" : "alarm"));
    hf_out_words(out, e.id ? "kind" : "name", name);
    hf_out_time(out, "id", e.id);
    if (one->wall)
        hf_out_bool(out, "wall", true);
    hf_out_uint(out, "body_bytes", e.data.len);
    if (comes_round)
        err = put_schedule(p, actor, name, out);
    return err ? err : hf_inquiry_tell(p->scan.inquiry);
}

static int tell_all(due_page *p)
{
    hf_inquiry *inquiry = p->scan.inquiry;
    uint64_t due = p->after_due, generation = p->after_generation, told = 0;
    int err = HF_OK;
    if (p->count)
        qsort(p->heap, p->count, sizeof *p->heap, compare);
    for (size_t i = 0; !err && i < p->count; i++) {
        const pending *one = &p->heap[i];
        if (p->cut && is_later(one->due, one->generation, p->end_due, p->end_generation))
            break;
        err = tell(p, one);
        due = one->due;
        generation = one->generation;
        told++;
    }
    if (err)
        return err;
    if (p->cut && (told < p->count || !p->dropped)) { /* all up to there is told: on from there */
        due = p->end_due;
        generation = p->end_generation;
    }
    hf_out_map(&inquiry->row, NULL);
    hf_out_uint(&inquiry->row, "scanned", p->scanned);
    hf_out_bool(&inquiry->row, "more", p->dropped || p->cut);
    hf_out_uint(&inquiry->row, "next_due", due);
    hf_out_uint(&inquiry->row, "next_generation", generation);
    return hf_inquiry_tell(inquiry);
}

static int make_page(hf_inquiry *inquiry, due_page *p)
{
    int err = hf_scan_open(&p->scan, inquiry);
    if (err)
        return err;
    p->heap = hf_mem_alloc((p->limit + 1) * sizeof *p->heap);
    err = p->heap ? walk_log(p) : hf_error(HF_ENOMEM, "a page of alarms");
    if (!err)
        err = walk_index(p, 0);
    if (!err)
        err = walk_index(p, HF_DUE_BY_WALL);
    if (!err)
        err = tell_all(p);
    hf_scan_close(&p->scan);
    hf_rowbuf_done(&p->buf);
    hf_mem_free(p->heap);
    return err;
}

int hf_ask_alarms(hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_argument args[] = { { .name = "where", .type = HF_ARG_TEXT },
                           { .name = "after_due", .type = HF_ARG_UINT },
                           { .name = "after_generation", .type = HF_ARG_UINT },
                           { .name = "limit", .type = HF_ARG_UINT } };
    hf_where *where = NULL;
    int err = hf_arguments_read("alarms", arguments, args, 4);
    due_page p = { .limit = LIMIT, .after_due = args[1].number,
                   .after_generation = args[2].number };
    if (!err && args[3].given && (!args[3].number || args[3].number > LIMIT_MAX))
        err = hf_error(HF_EINVAL, "alarms: `limit` is 1 .. %d", LIMIT_MAX);
    if (!err && p.after_due > HF_DUE_MAX)
        err = hf_error(HF_EINVAL, "alarms: `after_due` is too large");
    if (!err && args[3].given)
        p.limit = args[3].number;
    if (!err)
        err = hf_where_argument(&where, &args[0]);
    p.where = where;
    if (!err)
        err = make_page(inquiry, &p);
    hf_where_free(where);
    return err;
}
