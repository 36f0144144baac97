/* damage_kinds.c - seven ways in which a disk may lose what it was given.
 *
 * Pure functions over a copy of data.mdb. One thread. */
#include "tests/crash/damage/damage.h"

#include "tests/support/core.h"

#include <stdio.h>

const char *const harm_names[HARMS] = {
    "1 bit in a page",           "random page",    "zeroed page",
    "stale or misdirected page", "truncated file", "1 bit in page head or pointers",
    "1 bit in the meta pages"
};

static void flip(uint8_t *bytes, size_t from, size_t size, uint64_t *chance, char *what,
                 size_t room)
{
    uint64_t bit = core_random(chance) % (size * 8);
    size_t at = from + bit / 8;
    bytes[at] = (uint8_t)(bytes[at] ^ 1u << (bit % 8));
    (void)snprintf(what, room, "bit %u of byte %zu (page %zu, byte %zu)", (unsigned)(bit % 8), at,
                   at / PAGE, at % PAGE);
}

/* Any but the two meta pages. */
static size_t some_page(size_t len, uint64_t *chance)
{
    return (2 + core_random(chance) % (len / PAGE - 2)) * PAGE;
}

/* How much of a page is its head and pointers. An overflow page has only the head. */
static size_t head_of(const uint8_t *page)
{
    uint16_t flags = (uint16_t)(page[10] | page[11] << 8),
             lower = (uint16_t)(page[12] | page[13] << 8);
    return (flags & 3) && lower > 16 && lower < PAGE ? lower : 16;
}

/* Half of the time what the page held before, else another one's bytes. */
static void go_stale(const original *o, uint8_t *bytes, size_t len, uint64_t *chance, char *what,
                     size_t room)
{
    size_t at = some_page(len, chance), from = some_page(len, chance);
    if (core_random(chance) & 1 && o->older_len > 3 * PAGE) {
        at = some_page(o->older_len < len ? o->older_len : len, chance);
        memcpy(bytes + at, o->older + at, PAGE);
        (void)snprintf(what, room, "page %zu is as it was before", at / PAGE);
        return;
    }
    memcpy(bytes + at, o->bytes + from, PAGE);
    (void)snprintf(what, room, "page %zu holds what belongs into page %zu", at / PAGE, from / PAGE);
}

void damage_do(harm how, const original *o, uint8_t *bytes, size_t *len, uint64_t *chance,
               char *what, size_t room)
{
    size_t page = some_page(*len, chance);
    (void)snprintf(what, room, "page %zu", page / PAGE);
    switch (how) {
    case ONE_BIT:
        flip(bytes, page, PAGE, chance, what, room);
        break;
    case RANDOM_PAGE:
        for (size_t i = 0; i < PAGE; i++)
            bytes[page + i] = (uint8_t)core_random(chance);
        break;
    case ZERO_PAGE:
        memset(bytes + page, 0, PAGE);
        break;
    case STALE_PAGE:
        go_stale(o, bytes, *len, chance, what, room);
        break;
    case TRUNCATED:
        *len = (size_t)(core_random(chance) % *len);
        if (core_random(chance) & 1)
            *len -= *len % PAGE;
        (void)snprintf(what, room, "%zu bytes are left", *len);
        break;
    case HEADER_BIT:
        flip(bytes, page, head_of(bytes + page), chance, what, room);
        break;
    default: /* half of the time where the meta pages' 152 bytes are */
        page = core_random(chance) & 1 ? PAGE : 0;
        flip(bytes, page, core_random(chance) & 1 ? 152 : PAGE, chance, what, room);
    }
}
