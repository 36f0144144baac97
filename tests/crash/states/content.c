/* content.c - rows into lines, and all rows of a store into lines.
 *
 * Happy path: open a view, walk each table, decode each row, add its line. What
 * cannot be decoded, or comes out of order, is HF_ECORRUPT. One thread. */
#include "tests/crash/states/content.h"

#include "storage/error.h"
#include "storage/kept.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t content_hash(const void *bytes, size_t len)
{
    return len ? XXH3_64bits(bytes, len) : 0;
}

void content_clear(content *c)
{
    c->count = c->len = 0;
    c->sum = 0;
}

void content_free(content *c)
{
    free(c->lines);
    free(c->text);
    memset(c, 0, sizeof *c);
}

/* All that a line says, as numbers. */
typedef struct facts {
    uint64_t numbers[16];
    size_t   count;
} facts;

static void say(facts *f, uint64_t number)
{
    f->numbers[f->count++] = number;
}

static void say_text(facts *f, const char *text)
{
    say(f, XXH3_64bits(text, strlen(text)));
}

/* Add the line; true if its text is wanted, too. */
static bool add(content *c, hf_table table, uint64_t id, const facts *f)
{
    if (c->count == c->room) {
        c->room = c->room * 2 + 64;
        c->lines = realloc(c->lines, c->room * sizeof *c->lines);
        if (!c->lines)
            abort();
    }
    uint64_t hash = XXH3_64bits_withSeed(f->numbers, f->count * sizeof *f->numbers, table);
    c->lines[c->count++] = (content_line){ c->len, hash, id, table };
    c->sum += hash;
    return !c->quiet;
}

HF_PRINTF(2, 3)
static void add_text(content *c, const char *format, ...)
{
    if (c->len + 1024 > c->text_room) {
        c->text_room = c->text_room * 2 + 4096;
        c->text = realloc(c->text, c->text_room);
        if (!c->text)
            abort();
    }
    va_list args;
    va_start(args, format);
    int len = vsnprintf(c->text + c->len, 1024, format, args);
    va_end(args);
    if (len < 0 || len >= 1024)
        abort();
    c->len += (size_t)len + 1;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *content_sorted(const content *c)
{
    const char **order = malloc((c->count + 1) * sizeof *order);
    char *out = malloc(c->len + c->count + 1), *at = out;
    if (!order || !out)
        abort();
    for (size_t i = 0; i < c->count; i++)
        order[i] = c->text + c->lines[i].at;
    qsort(order, c->count, sizeof *order, compare_text);
    for (size_t i = 0; i < c->count; i++)
        at += sprintf(at, "%s\n", order[i]);
    *at = '\0';
    free(order);
    return out;
}

/* ---- Rows */

void content_message(content *c, hf_table table, const hf_entry *m, uint64_t body)
{
    bool steps = m->flags & HF_ENTRY_STEPS;
    facts f = { { m->place, m->id, m->data.len, body, m->sent, m->attempt, m->due,
                  (uint64_t)(int64_t)m->err, m->phase, m->generation, m->died, steps },
                12 };
    say_text(&f, m->to);
    say_text(&f, m->name);
    say_text(&f, m->error);
    if (add(c, table, m->id, &f))
        add_text(c,
                 "%s to %s place %" PRIu64 " id %" PRIu64 " kind %s body %zu:%016" PRIx64
                 " sent %" PRIu64 " attempt %u due %" PRIu64
                 " err %d (%s) phase %u generation %" PRIu64 " died %" PRIu64 " steps %d",
                 table == HF_IN_DEAD ? "dead" : "inbox", m->to, m->place, m->id, m->name,
                 m->data.len, body, m->sent, m->attempt, m->due, m->err, m->error, m->phase,
                 m->generation, m->died, steps);
}

void content_state(content *c, const char *actor, uint64_t position, uint32_t form, size_t len,
                   uint64_t image)
{
    facts f = { { position, form, len, image }, 4 };
    say_text(&f, actor);
    if (add(c, HF_IN_STATE, 0, &f))
        add_text(c, "state of %s position %" PRIu64 " form %u image %zu:%016" PRIx64, actor,
                 position, form, len, image);
}

void content_row(content *c, const char *actor, hf_bytes name, uint64_t position, size_t len,
                 uint64_t value)
{
    facts f = { { position, len, value, content_hash(name.data, name.len) }, 4 };
    say_text(&f, actor);
    if (add(c, HF_IN_ROWS, 0, &f))
        add_text(c, "row %016" PRIx64 " of %s position %" PRIu64 " value %zu:%016" PRIx64,
                 f.numbers[3], actor, position, len, value);
}

void content_alarm(content *c, const char *actor, const char *name, uint64_t due,
                   uint64_t generation, size_t len, uint64_t body)
{
    facts f = { { due, generation, len, body }, 4 };
    say_text(&f, actor);
    say_text(&f, name);
    if (add(c, HF_IN_ALARM_NAMES, 0, &f))
        add_text(c, "alarm %s of %s due %" PRIu64 " generation %" PRIu64 " body %zu:%016" PRIx64,
                 name, actor, due, generation, len, body);
}

void content_pause(content *c, const char *what, uint64_t since, size_t len, uint64_t why)
{
    facts f = { { since, len, why }, 3 };
    say_text(&f, what);
    if (add(c, HF_IN_PAUSES, 0, &f))
        add_text(c, "pause of %s since %" PRIu64 " why %zu:%016" PRIx64, what, since, len, why);
}

void content_step(content *c, uint64_t id, uint64_t generation, uint64_t number, const char *name,
                  uint32_t phase, size_t len, uint64_t result)
{
    facts f = { { id, generation, number, phase, len, result }, 6 };
    say_text(&f, name);
    if (add(c, HF_IN_STEPS, id, &f))
        add_text(c,
                 "step of %" PRIu64 " generation %" PRIu64 " number %" PRIu64
                 " %s phase %u result %zu:%016" PRIx64,
                 id, generation, number, name, phase, len, result);
}

/* ---- A store */

typedef struct walker {
    content *c;
    hf_table table;
    hf_key   last;
} walker;

static int bad(hf_table table)
{
    return hf_error(HF_ECORRUPT, "a row of table %d makes no sense", (int)table);
}

static int in_order(walker *w, hf_bytes key)
{
    size_t len = key.len < w->last.len ? key.len : w->last.len;
    int order = memcmp(w->last.bytes, key.data, len);
    if (key.len > sizeof w->last.bytes || (w->last.len && order > 0)
        || (w->last.len && order == 0 && key.len <= w->last.len))
        return hf_error(HF_ECORRUPT, "table %d is not walked in order", (int)w->table);
    memcpy(w->last.bytes, key.data, key.len);
    w->last.len = key.len;
    return HF_OK;
}

static int message_row(walker *w, hf_bytes key, hf_bytes payload)
{
    hf_entry m;
    const uint8_t *bytes = payload.data;
    uint64_t number = hf_get64_key((const uint8_t *)key.data + key.len - 8);
    if (payload.len < 8 || hf_entry_decode(bytes + 8, payload.len - 8, &m) != payload.len - 8)
        return bad(w->table);
    if (w->table == HF_IN_INBOX)
        m.place = number;
    if (!m.id)
        m.id = number;
    if (!m.sent)
        m.sent = hf_get64(bytes);
    if (w->table == HF_IN_DEAD && m.id != number)
        return bad(w->table);
    content_message(w->c, w->table, &m, content_hash(m.data.data, m.data.len));
    return HF_OK;
}

static int other_row(walker *w, hf_bytes key, hf_bytes payload)
{
    const uint8_t *bytes = payload.data;
    char actor[HF_ADDRESS_MAX + 1];
    uint64_t hash;
    size_t head = w->table == HF_IN_ALARM_NAMES ? 16 : 8;
    hf_entry e;

    if (payload.len < head)
        return bad(w->table);
    if (w->table == HF_IN_STATE) {
        if (!hf_address_of_key(actor, key.data, key.len, &hash))
            return bad(w->table);
        content_state(w->c, actor, hf_state_position(hf_get64(bytes)),
                      hf_state_version(hf_get64(bytes)), payload.len - 8,
                      content_hash(bytes + 8, payload.len - 8));
        return HF_OK;
    }
    if (w->table == HF_IN_ROWS || w->table == HF_IN_TOPICS) {
        size_t type = strnlen(key.data, key.len) + 9; /* type 00 hash, the rest of the address */
        size_t len = type < key.len ? type + strnlen((const char *)key.data + type, key.len - type)
                                    : key.len;
        if (len >= key.len || !hf_address_of_key(actor, key.data, len, &hash))
            return bad(w->table);
        content_row(w->c, actor,
                    hf_view((const uint8_t *)key.data + len + 1, key.len - len - 1),
                    hf_get64(bytes), payload.len - 8, content_hash(bytes + 8, payload.len - 8));
        return HF_OK;
    }
    if (w->table == HF_IN_ALARM_NAMES && payload.len == head && !hf_get64(bytes))
        return HF_OK; /* it went off: that its message waits is told by the inbox */
    if (hf_entry_decode(bytes + head, payload.len - head, &e) != payload.len - head)
        return bad(w->table);
    uint64_t body = content_hash(e.data.data, e.data.len);
    if (w->table == HF_IN_ALARM_NAMES)
        content_alarm(w->c, e.to, e.name, hf_get64(bytes), hf_get64(bytes + 8), e.data.len, body);
    else
        content_pause(w->c, e.to, hf_get64(bytes), e.data.len, body);
    return HF_OK;
}

static int step_row(walker *w, hf_bytes key, hf_bytes payload)
{
    hf_entry e;
    const uint8_t *k = key.data;
    if (hf_entry_decode(payload.data, payload.len, &e) != payload.len || key.len != 24
        || e.id != hf_get64_key(k) || e.generation != hf_get64_key(k + 8)
        || e.place != hf_get64_key(k + 16))
        return bad(w->table);
    content_step(w->c, e.id, e.generation, e.place, e.name, e.phase, e.data.len,
                 content_hash(e.data.data, e.data.len));
    return HF_OK;
}

static int row(void *user, hf_bytes key, hf_bytes payload)
{
    walker *w = user;
    int err = in_order(w, key);
    if (err)
        return err;
    if (w->table == HF_IN_STEPS)
        return step_row(w, key, payload);
    return w->table == HF_IN_INBOX || w->table == HF_IN_DEAD ? message_row(w, key, payload)
                                                             : other_row(w, key, payload);
}

int content_of_view(content *c, hf_view_of *view)
{
    static const hf_table tables[] = { HF_IN_INBOX, HF_IN_STATE,  HF_IN_ALARM_NAMES,
                                       HF_IN_DEAD,  HF_IN_PAUSES, HF_IN_STEPS,
                                       HF_IN_ROWS,  HF_IN_TOPICS };
    walker w = { .c = c };
    int err = HF_OK;

    content_clear(c);
    for (size_t i = 0; !err && i < sizeof tables / sizeof *tables; i++) {
        w.table = tables[i];
        w.last.len = 0;
        err = hf_view_walk(view, w.table, hf_view(NULL, 0), row, &w);
    }
    return err;
}

int content_of_disk(content *c, hf_disk *disk)
{
    hf_view_of *view;
    int err = hf_view_open(&view, disk);
    if (err)
        return err;
    err = content_of_view(c, view);
    hf_view_close(view);
    return err;
}

/* Each alarm has its row in the index, and there are not more of these. */
static int alarms_agree(hf_txn *txn)
{
    hf_cursor *cursor;
    hf_bytes key, value, payload;
    uint64_t due, generation, alarms = 0, indexed;
    hf_key index;

    int err = hf_cursor_open(txn, HF_IN_ALARM_NAMES, &cursor);
    if (err)
        return err;
    for (err = hf_cursor_first(cursor, &key, &value); !err;
         err = hf_cursor_next(cursor, &key, &value)) {
        err = hf_row_open(HF_IN_ALARM_NAMES, key, value, &payload);
        if (!err)
            err = hf_fate_alarm(payload, &due, &generation);
        if (err)
            break;
        if (!due)
            continue;
        alarms++;
        hf_key_alarm(&index, due, generation);
        err = hf_row_get(txn, HF_IN_ALARMS, &index, &payload);
        if (!err && (payload.len != key.len || memcmp(payload.data, key.data, key.len)))
            err = hf_error(HF_ECORRUPT, "the index over alarms points elsewhere");
        if (err == HF_ENOTFOUND)
            err = hf_error(HF_ECORRUPT, "an alarm is not in the index");
        if (err)
            break;
    }
    hf_cursor_close(cursor);
    if (err != HF_ENOTFOUND)
        return err;
    err = hf_txn_count(txn, HF_IN_ALARMS, &indexed);
    if (!err && indexed != alarms)
        err = hf_error(HF_ECORRUPT, "%" PRIu64 " alarms, %" PRIu64 " in the index", alarms,
                       indexed);
    return err;
}

int content_tables_agree(hf_disk *disk)
{
    hf_txn *txn;
    hf_kept kept;
    uint64_t records, tail = 0;
    int err = hf_txn_read(disk, &txn);
    if (err)
        return err;
    err = hf_txn_count(txn, HF_IN_LOG, &records);
    if (!err)
        err = hf_kept_tail(txn, &tail);
    if (!err)
        err = hf_kept_load(&kept, txn, tail);
    if (!err && records != kept.records) /* besides the history */
        err = hf_error(HF_ECORRUPT, "%" PRIu64 " records are left after a whole fold", records);
    if (!err)
        err = alarms_agree(txn);
    hf_txn_abort(txn);
    return err;
}
