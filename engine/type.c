/* type.c - take over the table of actor types.
 *
 * Happy path: check each entry, copy it with its strings, fill in the defaults
 * that holdfast.h names. Fails on the first field that cannot be, and says
 * which. Runs in hf_open; afterwards the table never changes, any thread reads. */
#include "engine/type.h"

#include "storage/address.h"
#include "storage/error.h"
#include "storage/memory.h"

enum { TYPES_MAX = 1000, THREADS_MAX = 1024 };

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *copy_text(char **at, const char *text)
{
    if (!text)
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = *at;
    memcpy(copy, text, size);
    *at += size;
    return copy;
}

static void or_default(uint32_t *field, uint32_t value)
{
    if (!*field)
        *field = value;
}

static void fill_defaults(hf_type *t)
{
    or_default(&t->workers, 1);
    or_default(&t->tries, 20);
    or_default(&t->strikes, 3);
    or_default(&t->retry_ms, 1000);
    or_default(&t->retry_ms_max, 3600 * 1000);
    or_default(&t->break_window_ms, 10000);
    or_default(&t->break_ms, 30000);
    or_default(&t->rate_ms, 1000);
    or_default(&t->stuck_ms, 60000);
    or_default(&t->idle_ms, 300000);
    or_default(&t->history_ms, 24 * 3600 * 1000);
    or_default(&t->inbox_max, HF_NEVER);
    or_default(&t->flush_ms, 1000);
}

static int check_next(const hf_type *t, const char *field, const char *target)
{
    size_t len = target ? strlen(target) : 0;
    if (!target || hf_address_type_ok(target, len) || hf_address_ok(target, len))
        return HF_OK;
    return hf_error(HF_EINVAL, "type \"%s\": .%s is neither a type nor an address", t->name, field);
}

static int check(const hf_type *t)
{
    if (!hf_address_type_ok(t->name, strlen(t->name)))
        return hf_error(HF_EINVAL, "type \"%s\": a name is 1 to %d of a-z 0-9 _ -", t->name,
                        HF_TYPE_MAX);
    if (!t->handle)
        return hf_error(HF_EINVAL, "type \"%s\": .handle is missing", t->name);
    if (t->threads > THREADS_MAX)
        return hf_error(HF_EINVAL, "type \"%s\": .threads above %d", t->name, THREADS_MAX);
    if (t->workers > 1 && !t->threads)
        return hf_error(HF_EINVAL, "type \"%s\": .workers above 1 needs .threads", t->name);
    if (t->undo && !t->threads)
        return hf_error(HF_EINVAL, "type \"%s\": .undo needs .threads", t->name);
    if (t->flush && t->workers > 1)
        return hf_error(HF_EINVAL, "type \"%s\": .flush and .workers above 1, which has no state",
                        t->name);
    if (t->flush_ms == HF_NEVER)
        return hf_error(HF_EINVAL, "type \"%s\": .flush_ms is a time, or HF_NOW", t->name);
    if (t->version > UINT8_MAX)
        return hf_error(HF_EINVAL, "type \"%s\": .version above %d", t->name, UINT8_MAX);
    if (t->break_percent > 100 && t->break_percent != HF_NEVER)
        return hf_error(HF_EINVAL, "type \"%s\": .break_percent above 100", t->name);
    if (t->break_ms == HF_NEVER || t->break_window_ms == HF_NEVER || t->rate_ms == HF_NEVER)
        return hf_error(HF_EINVAL, "type \"%s\": .break_ms, .break_window_ms and .rate_ms are "
                        "times; a limit is switched off by itself", t->name);
    int err = check_next(t, "next", t->next);
    return err ? err : check_next(t, "dead_to", t->dead_to);
}

/* The table may come from a library of another version: entries differ in size. */
static int count_types(const hf_type *table, size_t type_size, uint32_t *count, size_t *text)
{
    *count = 0;
    *text = 0;
    for (const char *at = (const char *)table; table; at += type_size) {
        hf_type t = { 0 };
        memcpy(&t, at, type_size < sizeof t ? type_size : sizeof t);
        if (!t.name)
            break;
        if (++*count > TYPES_MAX)
            return hf_error(HF_EINVAL, "more than %d actor types; does the table end with { 0 }?",
                            TYPES_MAX);
        *text += text_size(t.name) + text_size(t.next) + text_size(t.dead_to);
    }
    if (!*count)
        return hf_error(HF_EINVAL, "options.types is empty");
    return HF_OK;
}

int hf_types_copy(hf_types *types, const hf_type *table, size_t type_size)
{
    size_t text;
    int err = count_types(table, type_size, &types->count, &text);
    if (err)
        return err;
    types->kinds = hf_mem_zero(types->count, sizeof *types->kinds);
    types->names = hf_mem_alloc(text);
    if (!types->kinds || !types->names) {
        types->count = 0; /* nobody looks at what is not there */
        return hf_error(HF_ENOMEM, "actor types");
    }
    char *at = types->names;
    for (uint32_t i = 0; i < types->count; i++) {
        hf_kind_of *kind = &types->kinds[i];
        memcpy(&kind->is, (const char *)table + i * type_size,
               type_size < sizeof kind->is ? type_size : sizeof kind->is);
        if ((err = check(&kind->is)))
            return err;
        kind->is.name = copy_text(&at, kind->is.name);
        kind->is.next = copy_text(&at, kind->is.next);
        kind->is.dead_to = copy_text(&at, kind->is.dead_to);
        kind->index = i;
        kind->name_len = strlen(kind->is.name);
        kind->pooled = kind->apart = kind->is.threads > 0;
        fill_defaults(&kind->is);
        if (hf_types_find(&(hf_types){ types->kinds, i, NULL }, kind->is.name, kind->name_len))
            return hf_error(HF_EINVAL, "type \"%s\" is defined twice", kind->is.name);
    }
    return HF_OK;
}

void hf_types_done(hf_types *types)
{
    hf_mem_free(types->kinds);
    hf_mem_free(types->names);
    memset(types, 0, sizeof *types);
}

hf_kind_of *hf_types_named(const hf_types *types, const char *type, size_t len)
{
    for (uint32_t i = 0; i < types->count; i++) {
        hf_kind_of *kind = &types->kinds[i];
        if (kind->name_len == len && memcmp(kind->is.name, type, len) == 0)
            return kind;
    }
    return NULL;
}

hf_kind_of *hf_types_find(const hf_types *types, const char *address, size_t len)
{
    for (uint32_t i = 0; i < types->count; i++) {
        hf_kind_of *kind = &types->kinds[i];
        size_t type = kind->name_len; /* no name has a slash in it */
        if (len >= type && (len == type || address[type] == '/')
            && memcmp(kind->is.name, address, type) == 0)
            return kind;
    }
    return NULL;
}

bool hf_types_history(const hf_types *types, uint64_t *ms)
{
    bool any = false;
    *ms = 0;
    for (uint32_t i = 0; i < types->count; i++) {
        uint32_t one = types->kinds[i].is.history_ms;
        if (one == HF_NOW)
            continue;
        any = true;
        *ms = one == HF_NEVER ? UINT64_MAX : *ms > one ? *ms : one;
    }
    return any;
}
