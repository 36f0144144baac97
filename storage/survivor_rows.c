/* survivor_rows.c - read sorted facts as rows: keys, entries, where a key stands.
 *
 * Happy path: a run of items concerns one row; its key is made from the entry they point
 * at, and a key is looked for from where the last one was. What is read was checked when it
 * was collected: nothing fails. Any thread; pure. */
#include "storage/survivors.h"

#include "storage/assert.h"
#include "storage/due.h"
#include "storage/sharing.h"
#include "storage/taken.h"

size_t hf_survivor_entry(const hf_survivors *s, const hf_survivor *item, hf_entry *e)
{
    const hf_record *r = s->records[item->record];
    size_t left = (size_t)(r->data + r->size - item->entry);
    size_t size = hf_entry_decode(item->entry, left, e);
    bool whole = hf_sharing_resolve(r->data + hf_record_entries_at(r->runs), item->entry, e);
    HF_ASSERT(size && whole); /* it was read before */
    if (hf_entry_is_message(e->op))
        hf_due_place(e, hf_survivor_position(s, item));
    if (e->op == HF_OP_ALARM)
        e->generation = hf_survivor_position(s, item);
    return size;
}

static void key_of(const hf_survivors *s, hf_table table, const hf_survivor *item, hf_key *key)
{
    uint8_t len = item->entry[2];
    const char *to = hf_entry_plain_to(item->entry);
    hf_entry e;
    switch (table) {
    case HF_IN_STATE:
        hf_key_actor(key, to, len, item->hash);
        return;
    case HF_IN_INBOX:
        if (item->entry[0] == HF_OP_SEND) {
            hf_key_place(key, to, len, item->hash, hf_survivor_position(s, item));
            return;
        }
        hf_survivor_entry(s, item, &e);
        hf_key_place(key, to, len, item->hash, e.place);
        return;
    case HF_IN_ALARM_NAMES:
        hf_survivor_entry(s, item, &e);
        hf_due_key(key, &e);
        return;
    case HF_IN_ROWS:
    case HF_IN_DEDUPE:
    case HF_IN_TOPICS:
        hf_survivor_entry(s, item, &e);
        hf_taken_name(table, &e);
        hf_key_name(key, &e);
        return;
    case HF_IN_PAUSES:
        hf_survivor_entry(s, item, &e);
        hf_key_text(key, e.to);
        return;
    case HF_IN_STEPS:
        hf_survivor_entry(s, item, &e);
        hf_key_step(key, e.id, e.generation, e.place);
        if (e.op != HF_OP_STEP)
            hf_key_number(key, e.id); /* all of this message's go */
        return;
    default:
        hf_key_number(key, item->hash);
        return;
    }
}

size_t hf_survivors_run(const hf_survivors *s, hf_table table, size_t from, hf_key *key)
{
    const hf_survivor_list *list = &s->table[table];
    size_t to = from + 1;
    key_of(s, table, &list->items[from], key);
    for (; to < list->count && list->items[to].hash == list->items[from].hash; to++) {
        hf_key next;
        key_of(s, table, &list->items[to], &next);
        if (next.len != key->len || memcmp(next.bytes, key->bytes, key->len) != 0)
            break;
    }
    return to;
}

static int compare_at(const hf_survivors *s, hf_table table, size_t at, hf_bytes key)
{
    hf_key own;
    key_of(s, table, &s->table[table].items[at], &own);
    int order = memcmp(own.bytes, key.data, own.len < key.len ? own.len : key.len);
    return order ? order : (own.len > key.len) - (own.len < key.len);
}

size_t hf_survivors_seek(const hf_survivors *s, hf_table table, hf_bytes key, size_t *hint)
{
    size_t count = s->table[table].count, low = 0, high = count, step = 1;
    size_t at = *hint < count ? *hint : count - (count > 0);
    /* From the hint in growing steps: whoever goes on where he was is there at once. */
    if (count && compare_at(s, table, at, key) < 0) {
        for (low = at + 1; count - at > step; low = at + 1, step *= 2) {
            at += step;
            if (compare_at(s, table, at, key) >= 0) {
                high = at;
                break;
            }
        }
    } else {
        for (high = at; at; high = at, step *= 2) {
            at = at > step ? at - step : 0;
            if (compare_at(s, table, at, key) < 0) {
                low = at + 1;
                break;
            }
        }
    }
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_at(s, table, mid, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return *hint = low;
}
