/* salvage_holds.c - who has to wait for a person after a salvage, and why.
 *
 * A lost state must not look like none, a lost message not like one that was done: what
 * has lost something is paused, with the reason, until somebody resumes it. Happy path: a
 * row whose key is known holds its actor, a lost page all of the type it was of; where
 * that is not known, everything waits. HF_ENOMEM. One thread. */
#include "recovery/salvage.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

enum { HOLDS_MAX = 1000 }; /* an engine looks at each of them: beyond that all waits */

/* ---- Lists */

static int grow(void **all, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return HF_OK;
    size_t more = *room ? *room * 2 : 64;
    void *grown = hf_mem_grow(*all, more * size);
    if (!grown)
        return hf_error(HF_ENOMEM, "a salvage");
    *all = grown;
    *room = more;
    return HF_OK;
}

int hf_numbers_add(hf_numbers *n, uint64_t number)
{
    void *all = n->all;
    int err = grow(&all, n->count, &n->room, sizeof *n->all);
    n->all = all;
    if (!err)
        n->all[n->count++] = number;
    return err;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

void hf_numbers_sort(hf_numbers *n)
{
    size_t kept = 0;
    if (n->count)
        qsort(n->all, n->count, sizeof *n->all, by_number);
    for (size_t i = 0; i < n->count; i++)
        if (!kept || n->all[i] != n->all[kept - 1])
            n->all[kept++] = n->all[i];
    n->count = kept;
}

bool hf_numbers_have(const hf_numbers *n, uint64_t number)
{
    return n->count && bsearch(&number, n->all, n->count, sizeof number, by_number);
}

int hf_keys_add(hf_keys *k, hf_bytes key)
{
    void *all = k->all;
    int err = grow(&all, k->count, &k->room, sizeof *k->all);
    k->all = all;
    if (err)
        return err;
    memcpy(k->all[k->count].bytes, key.data, key.len);
    k->all[k->count++].len = key.len;
    return HF_OK;
}

/* ---- Whose row it is */

size_t hf_salvage_actor(hf_table table, hf_bytes key, char *address)
{
    const uint8_t *bytes = key.data, *zero = memchr(bytes, 0, key.len);
    size_t type = zero ? (size_t)(zero - bytes) : key.len, len = key.len;
    if (!hf_salvage_has_actors(table) || type + 9 >= key.len)
        return 0;
    if (table == HF_IN_INBOX)
        len = key.len > type + 9 + 8 ? key.len - 8 : 0;
    else if (table != HF_IN_STATE && (zero = memchr(bytes + type + 9, 0, key.len - type - 9)))
        len = (size_t)(zero - bytes);
    return len ? hf_address_of_key(address, bytes, len, NULL) : 0;
}

/* The type that a key of such a table begins with. 0: none. */
static size_t type_of(hf_bytes key, char *type)
{
    const uint8_t *bytes = key.data, *zero = key.len ? memchr(bytes, 0, key.len) : NULL;
    size_t len = zero ? (size_t)(zero - bytes) : 0;
    if (!len || !hf_address_type_ok((const char *)bytes, len))
        return 0;
    memcpy(type, bytes, len);
    type[len] = '\0';
    return len;
}

/* ---- Holding */

int hf_salvage_hold(hf_salvaging *s, const char *what, const char *why)
{
    if (s->hold_count >= HOLDS_MAX)
        what = "*";
    if (strcmp(what, "*") == 0 && s->hold_all)
        return HF_OK;
    for (size_t i = 0; i < s->hold_count; i++)
        if (strcmp(s->holds[i].what, what) == 0)
            return HF_OK;
    void *all = s->holds;
    int err = grow(&all, s->hold_count, &s->hold_room, sizeof *s->holds);
    s->holds = all;
    if (err)
        return err;
    hf_hold *hold = &s->holds[s->hold_count++];
    size_t len = strlen(what) < HF_ADDRESS_MAX ? strlen(what) : HF_ADDRESS_MAX;
    memcpy(hold->what, what, len);
    hold->what[len] = '\0';
    hold->why = why;
    s->hold_all = s->hold_all || strcmp(what, "*") == 0;
    return HF_OK;
}

static const char *why_of(hf_table table)
{
    switch (table) {
    case HF_IN_INBOX:
        return "salvage: waiting messages are lost";
    case HF_IN_STATE:
        return "salvage: its state is lost";
    case HF_IN_ROWS:
        return "salvage: rows of its own are lost";
    case HF_IN_ALARM_NAMES:
        return "salvage: alarms are lost";
    default:
        return "salvage: what it had taken or subscribed to is lost";
    }
}

static int hold_gap(hf_salvaging *s, const hf_gap *gap)
{
    char what[HF_ADDRESS_MAX + 1], other[HF_ADDRESS_MAX + 1];
    if (!hf_salvage_has_actors(gap->table))
        return HF_OK;
    if (gap->one) {
        bool known = hf_salvage_actor(gap->table, hf_key_bytes(&gap->from), what) > 0;
        return hf_salvage_hold(s, known ? what : "*", why_of(gap->table));
    }
    bool same = gap->has_to && type_of(hf_key_bytes(&gap->from), what)
                && type_of(hf_key_bytes(&gap->to), other) && strcmp(what, other) == 0;
    return hf_salvage_hold(s, same ? what : "*", why_of(gap->table));
}

/* Rows of a table that are missing all the same. */
static uint64_t missing(const hf_salvaging *s, hf_table table)
{
    uint64_t have = s->reached[table] + s->restored[table];
    return s->wanted[table] > have ? s->wanted[table] - have : 0;
}

int hf_salvage_hold_gaps(hf_salvaging *s)
{
    int err = HF_OK;
    for (size_t i = 0; !err && i < s->gaps.count; i++)
        err = hold_gap(s, &s->gaps.all[i]);
    bool records = missing(s, HF_IN_LOG) > 0;
    for (size_t i = 0; records && i < s->gaps.count; i++) {
        const hf_gap *gap = &s->gaps.all[i];
        if (gap->table == HF_IN_LOG) /* what was sent before may have ended in it */
            s->lost_end = gap->has_to ? hf_get64_key(gap->to.bytes)
                          : gap->one  ? hf_get64_key(gap->from.bytes) + 1
                                      : UINT64_MAX;
    }
    if (!err && records)
        err = hf_salvage_hold(s, "*",
                              "salvage: records of the log are lost, with states, messages and "
                              "ends of messages");
    if (!err && missing(s, HF_IN_PAUSES))
        err = hf_salvage_hold(s, "*", "salvage: what was paused is lost");
    return err;
}
