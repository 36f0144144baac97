/* platter.c - durable bytes and unflushed writes of a disk.
 *
 * The file is mapped twice: shared, that is the durable part, and private, that is
 * what a reader sees. A write goes to the private mapping, and every unit it touches
 * is noted with its content; a flush copies the noted units over. At a cut any subset
 * of the noted writes, applied in their order, is what a disk may have got done: so a
 * unit written three times ends as any of the three or as it was. Whatever fails ends
 * the process. The disk's thread. */
#include "tests/crash/powercut/platter.h"

#include "tests/support/core.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct noted {
    size_t  unit;
    uint8_t bytes[PLATTER_UNIT]; /* as the write left it */
} noted;

struct platter {
    size_t   size;
    uint8_t *durable, *seen;
    noted   *pending;
    size_t   count, room;
};

platter *platter_open(const char *file)
{
    struct stat st;
    int fd = open(file, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    platter *p = calloc(1, sizeof *p);
    if (!p || fstat(fd, &st) || st.st_size <= 0 || st.st_size % PLATTER_UNIT)
        core_fail("%s is no disk", file);
    p->size = (size_t)st.st_size;
    p->durable = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    p->seen = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (p->durable == MAP_FAILED || p->seen == MAP_FAILED)
        core_fail("%s cannot be mapped", file);
    close(fd);
    return p;
}

void platter_close(platter *p)
{
    munmap(p->durable, p->size);
    munmap(p->seen, p->size);
    free(p->pending);
    free(p);
}

size_t platter_size(const platter *p)
{
    return p->size;
}

const uint8_t *platter_read(const platter *p, size_t offset)
{
    return p->seen + offset;
}

void platter_write(platter *p, size_t offset, const void *bytes, size_t len)
{
    memcpy(p->seen + offset, bytes, len);
    for (size_t unit = offset / PLATTER_UNIT; unit * PLATTER_UNIT < offset + len; unit++) {
        if (p->count == p->room) {
            p->room = p->room ? p->room * 2 : 64;
            p->pending = realloc(p->pending, p->room * sizeof *p->pending);
            if (!p->pending)
                core_fail("no memory for unflushed writes");
        }
        noted *n = &p->pending[p->count++];
        n->unit = unit;
        memcpy(n->bytes, p->seen + unit * PLATTER_UNIT, PLATTER_UNIT);
    }
}

void platter_flush(platter *p)
{
    for (size_t i = 0; i < p->count; i++)
        memcpy(p->durable + p->pending[i].unit * PLATTER_UNIT, p->pending[i].bytes, PLATTER_UNIT);
    p->count = 0;
}

/* Some sectors, neither none nor all: a beginning, an end, or any. */
static void tear(uint8_t *to, const uint8_t *from, uint64_t *dice)
{
    const uint32_t sectors = PLATTER_UNIT / PLATTER_SECTOR, all = (1u << sectors) - 1;
    uint32_t at = 1 + (uint32_t)(core_random(dice) % (sectors - 1));
    uint32_t mask = (1u << at) - 1;
    uint64_t how = core_random(dice) % 3;
    if (how == 1)
        mask = all & ~mask;
    else if (how == 2)
        mask = 1 + (uint32_t)(core_random(dice) % (all - 1));
    for (uint32_t s = 0; s < sectors; s++)
        if (mask >> s & 1)
            memcpy(to + s * PLATTER_SECTOR, from + s * PLATTER_SECTOR, PLATTER_SECTOR);
}

platter_loss platter_cut(platter *p, uint64_t seed)
{
    enum { NONE, ALL, FIRST, ALL_BUT_ONE, ONLY_ONE, ANY };
    platter_loss loss = { .pending = (uint32_t)p->count };
    uint64_t dice = seed, how = core_random(&dice) % 10;
    size_t chosen = p->count ? core_random(&dice) % p->count : 0;
    uint64_t share = 1 + core_random(&dice) % 99;
    for (size_t i = 0; i < p->count; i++) {
        uint8_t *to = p->durable + p->pending[i].unit * PLATTER_UNIT;
        bool keep = how == ALL || (how == FIRST && i < chosen)
            || (how == ALL_BUT_ONE && i != chosen) || (how == ONLY_ONE && i == chosen)
            || (how >= ANY && core_random(&dice) % 100 < share);
        bool torn = how != NONE && how != ALL && core_random(&dice) % 4 == 0;
        if (torn && p->pending[i].unit != PLATTER_WHOLE) {
            tear(to, p->pending[i].bytes, &dice);
            loss.torn++;
        } else if (keep) {
            memcpy(to, p->pending[i].bytes, PLATTER_UNIT);
            loss.kept++;
        } else {
            loss.dropped++;
        }
    }
    p->count = 0;
    return loss;
}

/* ---- Does it lose what it may, and nothing else? */

enum { CHECKED = 4 };

/* Unit 0 flushed, 1 written twice, 2 written, 3 never. Bit 0: 1 was old, 1: between,
 * 2: new, 3: 2 was old, 4: new, 5: torn. 0: something impossible. */
static unsigned outcome(platter *p, uint64_t seed)
{
    uint8_t bytes[PLATTER_UNIT];
    memset(p->seen, 0, p->size);
    memset(p->durable, 0, p->size);
    for (uint8_t step = 1; step <= 4; step++) {
        memset(bytes, step, sizeof bytes);
        platter_write(p, (size_t[]){ 0, 1, 1, 2 }[step - 1] * PLATTER_UNIT, bytes, sizeof bytes);
        if (step == 1)
            platter_flush(p);
    }
    if (p->durable[PLATTER_UNIT] || *platter_read(p, PLATTER_UNIT) != 3)
        return 0;
    platter_loss loss = platter_cut(p, seed);
    if (loss.kept + loss.torn + loss.dropped != 3)
        return 0;
    unsigned seen = 0;
    for (size_t i = 0; i < p->size; i++) {
        uint8_t is = p->durable[i], first = p->durable[i / PLATTER_SECTOR * PLATTER_SECTOR];
        size_t unit = i / PLATTER_UNIT;
        bool may = unit == 0 ? is == 1 : unit == 1 ? !is || is == 2 || is == 3
            : unit == 2 ? !is || is == 4 : !is;
        if (!may || is != first)
            return 0;
        if (unit == 1)
            seen |= is == 0 ? 1 : is == 2 ? 2 : 4;
        if (unit == 2)
            seen |= is != p->durable[2 * PLATTER_UNIT] ? 32 : is == 0 ? 8 : 16;
    }
    return seen;
}

const char *platter_self_check(const char *directory)
{
    char file[200];
    unsigned seen = 0, one = 1;
    (void)snprintf(file, sizeof file, "%s/self-check", directory);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, CHECKED * PLATTER_UNIT))
        return "the self-check has no file";
    close(fd);
    platter *p = platter_open(file);
    if (!p)
        return "the self-check has no disk";
    for (uint64_t seed = 1; one && seed <= 500; seed++)
        seen |= one = outcome(p, seed);
    platter_close(p);
    unlink(file);
    if (!one)
        return "the disk lost what was flushed, or holds what was never written";
    return seen == 63 ? NULL : "some of what a cut may leave never comes";
}
