/* facts.h - records made by hand, and a table row made by hand, for tests of what
 * facts mean: survivors and fate. One test program each includes it. */
#ifndef SUPPORT_FACTS_H
#define SUPPORT_FACTS_H

#include "storage/fate.h"
#include "storage/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { FACTS_FIRST = 100, FACTS_MOST = 1024 };

/* One window of one record an entry: positions 100, 101, … */
typedef struct facts {
    hf_window    window;
    hf_record   *records[FACTS_MOST];
    uint32_t     count;
    hf_survivors survivors;
} facts;

static inline hf_entry fact(uint8_t op, const char *to)
{
    return (hf_entry){ .op = op, .to = to, .to_len = (uint8_t)strlen(to), .name = "",
                       .error = "", .from = "", .hash = hf_address_hash(1, to, strlen(to)) };
}

/* Returns its position. */
static inline uint64_t facts_add(facts *f, const hf_entry *e)
{
    size_t room, size = hf_record_entries_at(1) + hf_entry_size(e);
    uint64_t base = FACTS_FIRST + f->count;
    hf_record_head head = { .count = 1, .runs = 1, .size = (uint32_t)size, .group = base,
                            .time_ms = base * 10 };
    if (!f->count)
        hf_window_init(&f->window, 0);
    uint8_t *chunk = hf_window_chunk(&f->window, size, &room);
    assert_non_null(chunk);
    hf_entry_encode(e, chunk + hf_record_entries_at(1));
    hf_record *r = hf_window_record(&f->window, base, chunk, room, &head);
    assert_non_null(r);
    r->live = hf_entry_is_message(e->op) ? 1 : 0;
    r->keep = 1;
    assert_int_equal(hf_window_push(&f->window, r), HF_OK);
    f->records[f->count++] = r;
    return base;
}

/* What is done is marked before; `applied`: rows below may be there. */
static inline void facts_collect(facts *f, uint64_t applied)
{
    assert_int_equal(hf_survivors_collect(&f->survivors, f->records, f->count, applied), HF_OK);
}

static inline void facts_done(facts *f)
{
    hf_survivors_done(&f->survivors);
    hf_window_done(&f->window);
    f->count = 0;
}

#endif
