/* survivors.c - collect the facts of some records and sort them for the tables.
 *
 * Happy path: walk the records, note one item per fact and table (24 bytes,
 * pointing into the record), sort by the upper half of the hash with a radix
 * sort, mend the rare ties, order inside an actor by place or name.
 * Fails for want of memory, or when a record's entries can't be read. Runs on
 * any thread, off the path of a waiting commit. */
#include "storage/survivors.h"

#include "storage/assert.h"
#include "storage/due.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/sharing.h"
#include "storage/taken.h"

#include <stdlib.h>

typedef struct collector {
    hf_survivors *out;
    uint32_t      type_last; /* the last type seen: most come in runs */
    size_t        type_len;  /* of its name; 0: none yet */
} collector;

/* ---- Collecting */

static int note_type(collector *c, const char *to, size_t to_len, uint32_t *type)
{
    hf_survivors *s = c->out;
    if (c->type_len && to_len > c->type_len && to[c->type_len] == '/'
        && memcmp(s->types[c->type_last], to, c->type_len) == 0) {
        *type = c->type_last;
        return HF_OK;
    }
    size_t len = hf_address_type_len(to, to_len);
    if (len > HF_TYPE_MAX)
        return hf_error(HF_ECORRUPT, "an entry names the actor \"%s\"", to);
    for (uint32_t i = 0; i < s->type_count; i++) {
        uint32_t at = (c->type_last + i) % s->type_count;
        if (strncmp(s->types[at], to, len) == 0 && !s->types[at][len]) {
            *type = c->type_last = at;
            c->type_len = len;
            return HF_OK;
        }
    }
    if (s->type_count == HF_SURVIVOR_TYPES)
        return hf_error(HF_ECORRUPT, "more than %d actor types", HF_SURVIVOR_TYPES);
    if ((s->type_count & (s->type_count - 1)) == 0) {
        void *types = hf_mem_grow(s->types,
                                  (s->type_count ? s->type_count * 2 : 1) * sizeof *s->types);
        if (!types)
            return hf_error(HF_ENOMEM, "actor types");
        s->types = types;
    }
    memset(s->types[s->type_count], 0, sizeof *s->types);
    memcpy(s->types[s->type_count], to, len);
    *type = c->type_last = s->type_count++;
    c->type_len = len;
    return HF_OK;
}

static int add(collector *c, hf_table table, const hf_survivor *item)
{
    hf_survivor_list *list = &c->out->table[table];
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 1024;
        void *items = hf_mem_grow(list->items, room * sizeof *list->items);
        if (!items)
            return hf_error(HF_ENOMEM, "survivors of the window");
        hf_mem_huge(items, room * sizeof *list->items);
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = *item;
    c->out->bytes += hf_entry_weight(item->entry);
    return HF_OK;
}

static int add_by_id(collector *c, hf_table table, const hf_survivor *item, uint64_t id)
{
    hf_survivor copy = *item;
    copy.hash = id;
    copy.type = 0;
    return add(c, table, &copy);
}

static int add_message_end(collector *c, const hf_entry *e, const hf_survivor *item)
{
    if (hf_due_is_letter(e)) /* another text of one that waits in alarm_names */
        return HF_OK;
    int err = add(c, HF_IN_INBOX, item);
    if (!err && e->op == HF_OP_DEAD)
        err = add_by_id(c, HF_IN_DEAD, item, e->id);
    if (!err && e->op == HF_OP_REQUEUE)
        err = add_by_id(c, HF_IN_DEAD, item, e->id);
    if (!err && e->op == HF_OP_ACK && e->flags & HF_ENTRY_PURGES)
        err = add_by_id(c, HF_IN_STEPS, item, e->id);
    bool alarm = e->op == HF_OP_ACK ? e->name_len && e->generation : hf_due_is_alarm(e);
    if (!err && alarm)
        err = add(c, HF_IN_ALARM_NAMES, item);
    return err;
}

/* Note what one entry does to which tables. */
static int collect_entry(collector *c, const hf_entry *e, hf_survivor *item, bool done)
{
    uint64_t position = hf_survivor_position(c->out, item);
    uint32_t type = 0;
    if (e->op == HF_OP_BODY || e->op == HF_OP_VOID) /* a body is shown by who shares it */
        return HF_OK;
    int err = e->to_len && e->op != HF_OP_PAUSE && e->op != HF_OP_RESUME
        ? note_type(c, e->to, e->to_len, &type) : HF_OK;
    item->type = type & 0x7ffu;
    item->gone = done && e->op == HF_OP_DUE;
    if (!err && (e->op == HF_OP_DUE || hf_due_is_letter(e)))
        err = add(c, HF_IN_ALARM_NAMES, item);
    if (err)
        return err;
    switch (e->op) {
    case HF_OP_SEND:
    case HF_OP_DUE:
        if (e->dedupe_len && hf_taken_counts(e) && (err = add(c, HF_IN_DEDUPE, item)))
            return err;
        if (!hf_entry_waits(e))
            return HF_OK;
        if (done && position >= c->out->applied)
            return HF_OK;
        c->out->messages += !done;
        item->gone = done;
        return add(c, HF_IN_INBOX, item);
    case HF_OP_DONE:
        return HF_OK;
    case HF_OP_ACK:
    case HF_OP_RETRY:
    case HF_OP_DEAD:
    case HF_OP_REQUEUE:
        return add_message_end(c, e, item);
    case HF_OP_SAVE:
    case HF_OP_FORGET:
        return add(c, HF_IN_STATE, item);
    case HF_OP_ALARM:
    case HF_OP_CANCEL:
        return add(c, HF_IN_ALARM_NAMES, item);
    case HF_OP_PURGE:
        err = add_by_id(c, HF_IN_STEPS, item, e->id);
        return err ? err : add_by_id(c, HF_IN_DEAD, item, e->id);
    case HF_OP_STEP:
        return add_by_id(c, HF_IN_STEPS, item, e->id);
    case HF_OP_PUT:
    case HF_OP_DROP:
        return add(c, hf_row_table(e), item);
    default:
        return add(c, HF_IN_PAUSES, item);
    }
}

/* Most entries of most windows: a message that waits for its turn, or is done; an image. */
static int collect_plain(collector *c, const uint8_t *at, hf_survivor *item, bool done)
{
    uint32_t type = 0;
    bool message = at[0] == HF_OP_SEND;
    if (message && done && hf_survivor_position(c->out, item) >= c->out->applied)
        return HF_OK;
    int err = note_type(c, hf_entry_plain_to(at), at[2], &type);
    item->hash = hf_get64(at + 8);
    item->type = type & 0x7ffu;
    item->gone = message && done;
    c->out->messages += message && !done;
    return err ? err : add(c, message ? HF_IN_INBOX : HF_IN_STATE, item);
}

/* A state that the actor saved again. */
static bool is_replaced(const hf_record *r, const uint8_t *at, uint32_t index)
{
    return at[0] == HF_OP_SAVE && hf_record_is_stale(r, index);
}

static int collect_record(collector *c, uint32_t number)
{
    const hf_record *r = c->out->records[number];
    if (!r->data)
        return HF_OK; /* nothing of it was left */
    const uint8_t *first = r->data + hf_record_entries_at(r->runs), *end = r->data + r->size;
    const uint8_t *at = first;
    for (uint32_t index = 0; index < r->count; index++) {
        bool done = hf_record_is_done(r, index);
        hf_survivor item = { .entry = at, .record = number, .index = index & 0xfffff };
        size_t size = hf_entry_simple(at, (size_t)(end - at));
        hf_entry e;
        int err;
        if (size && is_replaced(r, at, index)) {
            err = HF_OK;
        } else if (size) {
            err = collect_plain(c, at, &item, done);
        } else {
            size = hf_entry_decode(at, (size_t)(end - at), &e);
            if (!size || !hf_sharing_resolve(first, at, &e))
                return hf_error(HF_ECORRUPT, "entry %llu of the log can't be read",
                                (unsigned long long)(r->base + index));
            item.hash = e.hash;
            err = is_replaced(r, at, index) ? HF_OK : collect_entry(c, &e, &item, done);
        }
        if (err)
            return err;
        at += size;
    }
    return HF_OK;
}

/* ---- Sorting */

enum { DIGIT = 11, BUCKETS = 1 << DIGIT, AHEAD = 16, SMALL = 64 };

static uint32_t digit_of(const hf_survivor *item, unsigned pass)
{
    return pass == 3 ? item->type : (uint32_t)(item->hash >> (31 + pass * DIGIT)) & (BUCKETS - 1);
}

static void radix_pass(const hf_survivor *from, hf_survivor *to, size_t count, unsigned pass)
{
    size_t starts[BUCKETS] = { 0 }, sum = 0;
    for (size_t i = 0; i < count; i++)
        starts[digit_of(&from[i], pass)]++;
    for (size_t b = 0; b < BUCKETS; b++) {
        size_t n = starts[b];
        starts[b] = sum;
        sum += n;
    }
    for (size_t i = 0; i < count; i++)
        to[starts[digit_of(&from[i], pass)]++] = from[i];
}

static const char *address_of(const hf_survivor *item, uint8_t *len)
{
    *len = item->entry[2];
    return (const char *)item->entry + HF_ENTRY_HEAD + hf_get32(item->entry + 4);
}

/* As the keys of an actor's rows compare. */
static int compare_actors(const hf_survivor *a, const hf_survivor *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    uint8_t la, lb;
    const char *ta = address_of(a, &la), *tb = address_of(b, &lb);
    int order = memcmp(ta, tb, la < lb ? la : lb);
    return order ? order : (la > lb) - (la < lb);
}

/* By message id or, among pauses, by what is paused; then by position. */
static int compare_plain(const void *pa, const void *pb)
{
    const hf_survivor *a = pa, *b = pb;
    if (a->entry[0] == HF_OP_PAUSE || a->entry[0] == HF_OP_RESUME) {
        uint8_t la, lb;
        int order = strcmp(address_of(a, &la), address_of(b, &lb));
        if (order)
            return order;
    } else if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    if (a->record != b->record)
        return a->record < b->record ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

/* Does its key begin with an actor? And then has it a name? */
static bool is_named(hf_table table)
{
    return table == HF_IN_ALARM_NAMES || table == HF_IN_ROWS || table == HF_IN_DEDUPE
        || table == HF_IN_TOPICS;
}

bool hf_survivors_of_actors(hf_table table)
{
    return table == HF_IN_STATE || table == HF_IN_INBOX || is_named(table);
}

static int sort_table(hf_survivors *s, hf_table table)
{
    hf_survivor_list *list = &s->table[table];
    if (!hf_survivors_of_actors(table)) {
        if (list->count)
            qsort(list->items, list->count, sizeof *list->items, compare_plain);
        return HF_OK;
    }
    if (list->count > SMALL) {
        hf_survivor *other = hf_mem_alloc(list->count * sizeof *other);
        if (!other)
            return hf_error(HF_ENOMEM, "sorting the window");
        hf_mem_huge(other, list->count * sizeof *other);
        for (unsigned pass = 0; pass < (s->type_count > 1 ? 4u : 3u); pass++) {
            radix_pass(list->items, other, list->count, pass);
            hf_survivor *swap = list->items;
            list->items = other;
            other = swap;
        }
        list->room = list->count;
        hf_mem_free(other);
    }
    return HF_OK;
}

typedef struct ordered {
    const hf_survivors *s;
    hf_survivor         item;
    uint64_t            place, number;
    hf_bytes            name;
} ordered;

static int compare_ordered(const void *pa, const void *pb)
{
    const ordered *a = pa, *b = pb;
    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    int order = hf_key_compare(a->name, b->name);
    if (order)
        return order;
    uint64_t x = hf_survivor_position(a->s, &a->item), y = hf_survivor_position(b->s, &b->item);
    return (x > y) - (x < y);
}

static ordered order_of(const hf_survivors *s, hf_table table, const hf_survivor *item)
{
    ordered o = { .s = s, .item = *item };
    hf_entry e;
    if (table == HF_IN_INBOX && item->entry[0] == HF_OP_SEND) {
        o.place = hf_survivor_position(s, item);
        return o;
    }
    hf_survivor_entry(s, item, &e);
    if (table == HF_IN_INBOX) {
        o.place = e.place;
    } else if (table == HF_IN_STEPS) {
        o.place = e.generation;
        o.number = e.place;
    } else if (table == HF_IN_ALARM_NAMES && hf_due_is_letter(&e)) {
        o.place = e.id; /* their names sort before all others */
    } else {
        o.place = table == HF_IN_ALARM_NAMES && e.name_len ? UINT64_MAX : 0;
        hf_taken_name(table, &e);
        o.name = hf_view(e.name, e.name_len);
    }
    return o;
}

/* Inside one actor: by place in the inbox, by name among alarms. Inside one
 * message: steps by generation and number. */
static int sort_inside(hf_survivors *s, hf_table table, size_t from, size_t to)
{
    hf_survivor *items = s->table[table].items;
    bool sorted = true;
    ordered last = order_of(s, table, &items[from]);
    for (size_t i = from + 1; i < to && sorted; i++) {
        ordered next = order_of(s, table, &items[i]);
        sorted = compare_ordered(&last, &next) < 0;
        last = next;
    }
    if (sorted)
        return HF_OK;
    ordered *all = hf_mem_alloc((to - from) * sizeof *all);
    if (!all)
        return hf_error(HF_ENOMEM, "sorting an actor's messages");
    for (size_t i = from; i < to; i++)
        all[i - from] = order_of(s, table, &items[i]);
    qsort(all, to - from, sizeof *all, compare_ordered);
    for (size_t i = from; i < to; i++)
        items[i] = all[i - from].item;
    hf_mem_free(all);
    return HF_OK;
}

/* Nearly sorted already: only neighbours with equal digits can be wrong. Equal hashes are
 * most likely one actor, which only the addresses in their entries can tell. */
static int mend(hf_survivors *s, hf_table table, size_t from, size_t to, bool *all_one)
{
    hf_survivor *items = s->table[table].items;
    bool one = true, inside = table == HF_IN_INBOX || is_named(table);
    int err = HF_OK;
    for (size_t i = from + 1; i < to; i++) {
        int order = compare_actors(&items[i - 1], &items[i]);
        one = one && order == 0;
        if (order <= 0)
            continue;
        hf_survivor item = items[i];
        size_t at = i;
        for (; at > from && compare_actors(&items[at - 1], &item) > 0; at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
    for (size_t next; inside && !err && from < to; from = next) {
        for (next = one ? to : from + 1; next < to; next++)
            if (compare_actors(&items[from], &items[next]) != 0)
                break;
        err = next - from > 1 ? sort_inside(s, table, from, next) : HF_OK;
    }
    *all_one = one;
    return err;
}

/* Of an actor's images only the newest counts. Those that stay move to `kept`; returns its
 * end. */
static size_t keep_newest(hf_survivors *s, size_t from, size_t to, bool all_one, size_t kept)
{
    hf_survivor *items = s->table[HF_IN_STATE].items;
    for (size_t i = from; i < to; i++) {
        if (i + 1 < to && (all_one || compare_actors(&items[i], &items[i + 1]) == 0))
            s->bytes -= hf_entry_weight(items[i].entry);
        else
            items[kept++] = items[i];
    }
    return kept;
}

static bool is_alike(const hf_survivor *a, const hf_survivor *b)
{
    return a->hash >> 31 == b->hash >> 31 && a->type == b->type;
}

/* Entries lie anywhere in the window: those that will be looked at are asked for early. */
static int mend_actors(hf_survivors *s, hf_table table)
{
    hf_survivor_list *list = &s->table[table];
    size_t kept = 0;
    for (size_t from = 0, to; from < list->count; from = to) {
        for (to = from + 1; to < list->count; to++) {
            const hf_survivor *soon = &list->items[to + AHEAD < list->count ? to + AHEAD : to];
            if (soon[-1].hash == soon->hash) {
                __builtin_prefetch(soon[-1].entry);
                __builtin_prefetch(soon[-1].entry + 64);
                __builtin_prefetch(soon->entry);
                __builtin_prefetch(soon->entry + 64);
            }
            if (list->count > SMALL && !is_alike(&list->items[from], &list->items[to]))
                break;
        }
        bool one = true;
        int err = to - from > 1 ? mend(s, table, from, to, &one) : HF_OK;
        if (err)
            return err;
        if (table == HF_IN_STATE)
            kept = keep_newest(s, from, to, one, kept);
    }
    if (table == HF_IN_STATE)
        list->count = kept;
    return HF_OK;
}

/* Of one message's steps only what came after the last purge is left: first the
 * purge, if there was one, then the steps as their keys sort, the newest of each. */
static int settle_steps(hf_survivors *s)
{
    hf_survivor_list *list = &s->table[HF_IN_STEPS];
    size_t kept = 0;
    for (size_t from = 0, to; from < list->count; from = to) {
        size_t start = from;
        for (to = from; to < list->count && list->items[to].hash == list->items[from].hash; to++)
            if (list->items[to].entry[0] != HF_OP_STEP)
                start = to;
        if (list->items[start].entry[0] != HF_OP_STEP)
            list->items[kept++] = list->items[start++];
        int err = to - start > 1 ? sort_inside(s, HF_IN_STEPS, start, to) : HF_OK;
        if (err)
            return err;
        for (size_t i = start; i < to; i++) {
            ordered a = order_of(s, HF_IN_STEPS, &list->items[i]), b = { .s = s };
            if (i + 1 < to)
                b = order_of(s, HF_IN_STEPS, &list->items[i + 1]);
            if (i + 1 == to || a.place != b.place || a.number != b.number)
                list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
    return HF_OK;
}

/* Types got their numbers as they came; now number them as they sort. */
static void rank_types(hf_survivors *s)
{
    uint16_t rank[HF_SURVIVOR_TYPES + 1];
    if (s->type_count < 2)
        return;
    for (uint32_t i = 0; i < s->type_count; i++) {
        rank[i] = 0;
        for (uint32_t j = 0; j < s->type_count; j++)
            rank[i] = (uint16_t)(rank[i] + (strcmp(s->types[j], s->types[i]) < 0));
    }
    for (int t = 0; t < HF_TABLES; t++)
        for (size_t i = 0; i < s->table[t].count; i++)
            s->table[t].items[i].type = rank[s->table[t].items[i].type] & 0x7ffu;
}

int hf_survivors_collect(hf_survivors *s, hf_record *const *records, uint32_t count,
                         uint64_t applied)
{
    memset(s, 0, sizeof *s);
    s->applied = applied;
    s->record_count = count;
    s->records = hf_mem_alloc((count + 1) * sizeof(*s->records));
    int err = s->records ? HF_OK : hf_error(HF_ENOMEM, "records of the window");
    collector c = { .out = s };
    for (uint32_t i = 0; !err && i < count; i++) {
        s->records[i] = records[i];
        err = collect_record(&c, i);
    }
    if (!err)
        rank_types(s);
    for (int t = 0; !err && t < HF_TABLES; t++)
        err = sort_table(s, (hf_table)t);
    for (int t = 0; !err && t < HF_TABLES; t++)
        if (hf_survivors_of_actors((hf_table)t))
            err = mend_actors(s, (hf_table)t);
    if (!err)
        err = settle_steps(s);
    if (err)
        hf_survivors_done(s);
    return err;
}

void hf_survivors_done(hf_survivors *s)
{
    for (int t = 0; t < HF_TABLES; t++)
        hf_mem_free(s->table[t].items);
    hf_mem_free(s->records);
    hf_mem_free(s->types);
    memset(s, 0, sizeof *s);
}
