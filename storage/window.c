/* window.c - keep the records that are not folded yet, and what is done.
 *
 * Happy path: push a record, mark its messages as their turns are committed,
 * trim gives the bytes back; what outlives the budget is sealed and folded.
 * Fails only for want of memory, before anything changed. Owner's thread. */
#include "storage/window.h"

#include "storage/assert.h"
#include "storage/entry.h"
#include "storage/error.h"
#include "storage/memory.h"

/* What a fold leaves is soon filled again: so many slabs are kept for that. Tiny records
 * lie elsewhere. */
enum { KEPT = (128 << 20) / HF_SLAB, TINY = HF_RECORD_MAX / 4 };

void hf_window_init(hf_window *w, uint32_t readers)
{
    memset(w, 0, sizeof *w);
    w->readers = readers;
    w->idle_end = &w->idle;
    w->told_end = &w->told;
    hf_slabs_init(&w->slabs, KEPT);
}

static bool is_in_slabs(size_t room)
{
    return room > TINY && room <= HF_RECORD_MAX;
}

uint8_t *hf_window_chunk(hf_window *w, size_t size, size_t *room)
{
    *room = size;
    if (!is_in_slabs(size))
        return hf_mem_alloc(size);
    *room = hf_slabs_room(size);
    return hf_slabs_take(&w->slabs, *room);
}

void hf_window_chunk_free(hf_window *w, uint8_t *chunk, size_t room)
{
    if (chunk && is_in_slabs(room))
        hf_slabs_give(&w->slabs, chunk, room);
    else
        hf_mem_free(chunk);
}

/* Bytes of a record are no longer needed: by the owner, nor by any reader. */
static void drop_data(hf_window *w, hf_record *r)
{
    if (r->data && !r->borrowed) {
        w->held -= r->room;
        hf_window_chunk_free(w, (uint8_t *)(uintptr_t)r->data, r->room);
    }
    r->data = NULL;
}

void hf_record_free(hf_window *w, hf_record *r)
{
    drop_data(w, r);
    hf_mem_free(r->done);
    hf_mem_free(r);
}

void hf_window_done(hf_window *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        hf_record_free(w, hf_window_at(w, i));
    hf_slabs_done(&w->slabs);
    hf_mem_free(w->records);
    memset(w, 0, sizeof *w);
}

hf_record *hf_window_record(hf_window *w, uint64_t base, uint8_t *data, size_t room,
                            const hf_record_head *head)
{
    hf_record *r = hf_mem_zero(1, sizeof *r);
    size_t words = (head->count + 63) / 64 + 1;
    uint64_t *done = hf_mem_zero(words * 2, sizeof *done); /* and what is stale */
    if (!r || !done) {
        hf_mem_free(r);
        hf_mem_free(done);
        hf_error(HF_ENOMEM, "a record of %u entries", head->count);
        return NULL;
    }
    atomic_init(&r->next, NULL);
    atomic_init(&r->passed, 0);
    r->data = data;
    r->room = room;
    r->base = base;
    r->done = done;
    r->stale = done + words;
    r->time_ms = head->time_ms;
    r->skew_ms = head->skew_ms;
    r->count = head->count;
    r->size = head->size;
    r->runs = head->runs;
    r->borrowed = room == 0;
    if (!r->borrowed)
        w->held += room;
    return r;
}

int hf_window_reserve(hf_window *w, uint32_t more)
{
    uint32_t slots = w->slots ? w->slots : 64;
    while (slots - w->count < more)
        slots *= 2;
    if (slots == w->slots)
        return HF_OK;
    hf_record **records = hf_mem_alloc(slots * sizeof(*records));
    if (!records)
        return hf_error(HF_ENOMEM, "a window of %u records", slots);
    for (uint32_t i = 0; i < w->count; i++)
        records[i] = hf_window_at(w, i);
    hf_mem_free(w->records);
    w->records = records;
    w->slots = slots;
    w->first = 0;
    return HF_OK;
}

/* No message of it waits: in which line does it stand till its readers are past it? */
static void enlist(hf_window *w, hf_record *r)
{
    if (r->live || r->past || r->borrowed || (r->keep && r->pointed))
        return;
    hf_record ***end = r->keep ? &w->told_end : &w->idle_end;
    **end = r;
    *end = &r->idle;
}

int hf_window_push(hf_window *w, hf_record *r)
{
    int err = hf_window_reserve(w, 1);
    if (err)
        return err;
    if (w->count && hf_window_at(w, w->count - 1)->base >= r->base) /* a page that strayed */
        return hf_error(HF_ECORRUPT, "log record %llu comes twice", (unsigned long long)r->base);
    w->records[(w->first + w->count) & (w->slots - 1)] = r;
    w->count++;
    w->bytes += r->size;
    r->messages = r->live;
    enlist(w, r);
    return HF_OK;
}

hf_record *hf_window_find(const hf_window *w, uint64_t position)
{
    uint32_t low = 0, high = w->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        hf_record *r = hf_window_at(w, mid);
        if (position < r->base)
            high = mid;
        else if (position >= r->base + r->count)
            low = mid + 1;
        else
            return r;
    }
    return NULL;
}

uint32_t hf_record_stale_count(const hf_record *r)
{
    uint32_t count = 0;
    for (uint32_t word = 0; word * 64 < r->count; word++)
        count += (uint32_t)__builtin_popcountll(__atomic_load_n(&r->stale[word],
                                                                __ATOMIC_RELAXED));
    return count;
}

/* Set `count` bits from `first`; returns how many were clear. */
static uint32_t set_bits(uint64_t *bits, uint32_t first, uint32_t count)
{
    uint32_t fresh = 0;
    while (count) {
        uint32_t word = first >> 6, bit = first & 63;
        uint32_t n = 64 - bit < count ? 64 - bit : count;
        uint64_t mask = (n == 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1) << bit;
        fresh += (uint32_t)__builtin_popcountll(mask & ~bits[word]);
        __atomic_store_n(&bits[word], bits[word] | mask, __ATOMIC_RELAXED);
        first += n;
        count -= n;
    }
    return fresh;
}

/* From a position that no record holds to the next that one does. */
static uint64_t gap_after(const hf_window *w, uint64_t position)
{
    uint32_t low = 0, high = w->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (hf_window_at(w, mid)->base > position)
            high = mid;
        else
            low = mid + 1;
    }
    return low < w->count ? hf_window_at(w, low)->base - position : UINT64_MAX;
}

uint32_t hf_window_mark(hf_window *w, uint64_t first, uint32_t count)
{
    uint32_t marked = 0;
    uint64_t sealed = w->sealed ? hf_window_at(w, w->sealed - 1)->base : 0;
    while (count) {
        hf_record *r = hf_window_find(w, first);
        uint64_t n = r ? 1 : gap_after(w, first);
        n = n < count ? n : count;
        if (r) {
            uint32_t index = (uint32_t)(first - r->base);
            bool open = !w->sealed || r->base > sealed;
            n = r->count - index < count ? r->count - index : count;
            /* The fold reads the bits of sealed records meanwhile. */
            uint32_t fresh = open ? set_bits(r->done, index, (uint32_t)n) : 0;
            if (fresh > r->live)
                return HF_WINDOW_WRONG;
            r->live -= fresh;
            marked += fresh;
            if (fresh)
                enlist(w, r);
        }
        first += n;
        count -= (uint32_t)n;
    }
    return marked;
}

/* The first of a line, if all readers are past it. */
static hf_record *take_passed(const hf_window *w, hf_record **line, hf_record ***end)
{
    hf_record *r = *line;
    if (!r || (w->readers && atomic_load_explicit(&r->passed, memory_order_acquire) < w->readers))
        return NULL;
    *line = r->idle;
    if (!*line)
        *end = line;
    r->idle = NULL;
    return r;
}

void hf_window_trim(hf_window *w)
{
    for (hf_record *r; (r = take_passed(w, &w->idle, &w->idle_end));)
        drop_data(w, r);
}

hf_record *hf_window_told(hf_window *w)
{
    return take_passed(w, &w->told, &w->told_end);
}

void hf_window_lend(hf_window *w, hf_record *r, const uint8_t *data)
{
    HF_ASSERT(!r->live && !r->borrowed);
    drop_data(w, r);
    r->data = data;
    r->borrowed = true;
    w->lent += r->size;
}

/* The fold is about to read these: what stands in a line among them waits for it. */
static void unlist_sealed(hf_window *w, hf_record **link, hf_record ***line_end)
{
    uint64_t end = w->sealed < w->count ? hf_window_at(w, w->sealed)->base : UINT64_MAX;
    while (*link) {
        hf_record *r = *link;
        if (r->base < end) {
            *link = r->idle;
            r->idle = NULL;
        } else {
            link = &r->idle;
        }
    }
    *line_end = link;
}

void hf_window_seal(hf_window *w, uint64_t keep_bytes, uint64_t hold, uint64_t must)
{
    HF_ASSERT(!w->sealed);
    while (w->sealed < w->count
           && (w->bytes - w->sealed_bytes > keep_bytes || hf_window_at(w, w->sealed)->base < must)
           && hf_window_at(w, w->sealed)->base + hf_window_at(w, w->sealed)->count <= hold)
        w->sealed_bytes += hf_window_at(w, w->sealed++)->size;
    unlist_sealed(w, &w->idle, &w->idle_end);
    unlist_sealed(w, &w->told, &w->told_end);
}

void hf_window_unseal(hf_window *w)
{
    while (w->sealed) {
        hf_record *r = hf_window_at(w, --w->sealed);
        w->sealed_bytes -= r->size;
        if (r->data)
            enlist(w, r);
    }
}

void hf_window_pop(hf_window *w, uint32_t count, void (*each)(void *, hf_record *), void *user)
{
    HF_ASSERT(count <= w->sealed);
    for (uint32_t i = 0; i < count; i++) {
        hf_record *r = hf_window_at(w, 0);
        w->first = (w->first + 1) & (w->slots - 1);
        w->count--;
        w->sealed--;
        w->bytes -= r->size;
        w->sealed_bytes -= r->size;
        if (r->borrowed && !r->past) { /* the disk may use those pages again */
            r->data = NULL;
            w->lent -= r->size;
        }
        each(user, r);
    }
}

uint64_t hf_window_tail(const hf_window *w, uint64_t next)
{
    return w->count ? hf_window_at(w, 0)->base : next;
}

int hf_window_facts(const hf_window *w, hf_fact_fn each, void *user)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < w->count; i++) {
        const hf_record *r = hf_window_at(w, i);
        if (!r->keep || !r->data || r->plain)
            continue;
        const uint8_t *at = r->data + hf_record_entries_at(r->runs), *end = r->data + r->size;
        for (uint32_t n = 0; !err && n < r->count; n++) {
            hf_entry e;
            at += hf_entry_decode(at, (size_t)(end - at), &e);
            if (e.op != HF_OP_SEND && e.op != HF_OP_DONE)
                err = each(user, &e, r->base + n);
        }
    }
    return err;
}

void hf_window_rest(hf_window *w)
{
    hf_slabs_rest(&w->slabs);
}
