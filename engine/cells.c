/* cells.c - small pieces of memory, of one size each page.
 *
 * Happy path: the open page of that size gives its next cell; one that comes back is
 * the first to be used again, and a page all of whose cells came back returns to its
 * slab. Fails only for want of memory. One thread.
 *
 * Under the address sanitizer each cell is a block of its own. */
#include "engine/cells.h"

#include "storage/assert.h"
#include "storage/memory.h"

#include <stdbool.h>
#include <string.h>

struct hf_cell_page {
    hf_cell_page *prev, *next; /* among those with free cells */
    void         *free;        /* cells that came back, each begins with the next one */
    uint32_t      used;        /* cells */
    uint32_t      fresh;       /* offset of the first that was never used */
};

enum { EMPTY_SLABS = 1, FIRST = 64 };

_Static_assert(sizeof(hf_cell_page) <= FIRST, "cells begin behind the head");

void hf_cells_init(hf_cells *c)
{
    memset(c, 0, sizeof *c);
    hf_slabs_init(&c->slabs, EMPTY_SLABS);
}

void hf_cells_done(hf_cells *c)
{
    hf_slabs_done(&c->slabs);
    memset(c, 0, sizeof *c);
}

/* Larger cells begin on a cache line: a look at one costs no line more than it must. */
static uint32_t class_of(size_t size)
{
    size_t step = size > 2 * HF_CELL_LINE ? HF_CELL_LINE : HF_CELL_STEP;
    size = size ? (size + step - 1) / step * step : HF_CELL_STEP;
    return (uint32_t)(size / HF_CELL_STEP - 1);
}

static bool is_full(const hf_cell_page *page, size_t cell)
{
    return !page->free && page->fresh + cell > HF_SLAB_UNIT;
}

static void open_page(hf_cells *c, uint32_t class, hf_cell_page *page)
{
    page->prev = NULL;
    page->next = c->open[class];
    if (page->next)
        page->next->prev = page;
    c->open[class] = page;
}

static void close_page(hf_cells *c, uint32_t class, hf_cell_page *page)
{
    if (page->prev)
        page->prev->next = page->next;
    else
        c->open[class] = page->next;
    if (page->next)
        page->next->prev = page->prev;
}

void *hf_cells_take(hf_cells *c, size_t size)
{
    if (size > HF_CELL_MOST || HF_SLABS_APART)
        return hf_mem_alloc(size);
    uint32_t class = class_of(size);
    size_t cell = (class + 1) * (size_t)HF_CELL_STEP;
    hf_cell_page *page = c->open[class];
    if (!page) {
        page = hf_slabs_take(&c->slabs, HF_SLAB_UNIT);
        if (!page)
            return NULL;
        *page = (hf_cell_page){ .fresh = FIRST };
        open_page(c, class, page);
    }
    void *taken = page->free;
    if (taken) {
        memcpy(&page->free, taken, sizeof page->free);
    } else {
        taken = (uint8_t *)page + page->fresh;
        page->fresh += (uint32_t)cell;
    }
    page->used++;
    if (is_full(page, cell))
        close_page(c, class, page);
    return taken;
}

void hf_cells_give(hf_cells *c, void *taken, size_t size)
{
    if (size > HF_CELL_MOST || HF_SLABS_APART || !taken) {
        hf_mem_free(taken);
        return;
    }
    uint32_t class = class_of(size);
    size_t cell = (class + 1) * (size_t)HF_CELL_STEP;
    uintptr_t at = (uintptr_t)taken & ~(uintptr_t)(HF_SLAB_UNIT - 1);
    hf_cell_page *page = (hf_cell_page *)at;
    bool was_full = is_full(page, cell);
    HF_ASSERT(page->used);
    memcpy(taken, &page->free, sizeof page->free);
    page->free = taken;
    page->used--;
    if (was_full)
        open_page(c, class, page);
    if (page->used)
        return;
    close_page(c, class, page);
    hf_slabs_give(&c->slabs, page, HF_SLAB_UNIT);
}
