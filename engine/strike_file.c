/* strike_file.c - read what an earlier life left, and judge it.
 *
 * Happy path: the last life was of this boot, of this very file, and did not end
 * cleanly: the process died. Each message in a slot becomes a suspect, or one
 * death older; suspects that were not running are acquitted, unless they carry
 * strikes: those were not let run. If all that ran was the suspect that ran
 * alone, it gets a strike. Pure functions; whatever looks damaged is left out. */
#include "engine/strike_file.h"

#include <stddef.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { DEATHS_MAX = 1 << 20, STRIKE_MS = 60000, STRIKES_WAIT = 8, STRIDE = 131 };

static uint64_t check_life(const hf_strike_life *life)
{
    return XXH3_64bits_withSeed(life, offsetof(hf_strike_life, check), HF_STRIKE_MAGIC);
}

static uint64_t check_suspect(const hf_suspect *suspect)
{
    return XXH3_64bits_withSeed(suspect, sizeof *suspect, HF_STRIKE_MAGIC);
}

const hf_strike_life *hf_strike_last(const hf_strike_image *image)
{
    if (image->magic != HF_STRIKE_MAGIC || image->version != HF_STRIKE_VERSION
        || image->size != sizeof *image || image->valid > 1)
        return NULL;
    const hf_strike_life *life = &image->life[image->valid];
    return life->check == check_life(life) ? life : NULL;
}

/* What the suspects are gathered in. */
typedef struct bench {
    hf_suspect *suspects;
    uint32_t    count;
} bench;

static hf_suspect *find(const bench *b, uint64_t id)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->suspects[i].id == id)
            return &b->suspects[i];
    return NULL;
}

/* The suspects of the last life that can be believed. */
static void summon(bench *b, const hf_strike_life *last)
{
    for (uint32_t i = 0; i < HF_SUSPECTS; i++) {
        hf_suspect s = last->suspects[i];
        if (s.id && last->checks[i] == check_suspect(&s) && s.deaths <= DEATHS_MAX
            && s.strikes <= s.deaths && !find(b, s.id))
            b->suspects[b->count++] = s;
    }
}

static bool was_running(const hf_strike_life *last, uint64_t id)
{
    for (uint32_t i = 0; i < HF_STRIKE_SLOTS; i++)
        if (last->slots[i].id == id)
            return true;
    return false;
}

static void acquit_idle(bench *b, const hf_strike_life *last)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++)
        if (b->suspects[i].strikes || was_running(last, b->suspects[i].id))
            b->suspects[kept++] = b->suspects[i];
    b->count = kept;
}

/* Who comes first when there are more than we can note changes from life to life. */
static void accuse_running(bench *b, const hf_strike_life *last)
{
    uint32_t known = b->count;
    for (uint32_t i = 0; i < known; i++)
        if (was_running(last, b->suspects[i].id) && b->suspects[i].deaths < DEATHS_MAX)
            b->suspects[i].deaths++;
    for (uint32_t i = 0; i < HF_STRIKE_SLOTS && b->count < HF_SUSPECTS; i++) {
        uint64_t at = (i + last->run * STRIDE) % HF_STRIKE_SLOTS;
        uint64_t id = last->slots[at].id;
        if (id && !find(b, id))
            b->suspects[b->count++] =
                (hf_suspect){ .id = id, .hash = last->slots[at].hash, .deaths = 1 };
    }
}

/* 1 minute · 4^(n-1), four months at most. */
uint64_t hf_strike_pause_ms(uint32_t strikes)
{
    uint32_t n = strikes < STRIKES_WAIT ? strikes : STRIKES_WAIT;
    return (uint64_t)STRIKE_MS << (2 * (n - 1));
}

static void strike_alone(const bench *b, const hf_strike_life *last, uint64_t now_ms)
{
    hf_suspect *suspect = last->alone ? find(b, last->alone) : NULL;
    if (!suspect || !was_running(last, suspect->id))
        return;
    for (uint32_t i = 0; i < HF_STRIKE_SLOTS; i++)
        if (last->slots[i].id && last->slots[i].id != suspect->id)
            return; /* not alone after all */
    suspect->strikes++;
    suspect->until_ms = now_ms + hf_strike_pause_ms(suspect->strikes);
}

bool hf_strike_judge(const hf_strike_life *last, const hf_strike_origin *now, uint64_t now_ms,
                     hf_strike_life *next)
{
    memset(next, 0, sizeof *next);
    next->origin = *now;
    next->run = last ? last->run + 1 : 1;
    next->check = check_life(next);
    bool ours = last && last->origin.inode == now->inode;
    bool died = ours && !last->clean && now->boot[0]
        && memcmp(last->origin.boot, now->boot, sizeof now->boot) == 0;
    bench b = { next->suspects, 0 };
    if (ours)
        summon(&b, last);
    if (died) {
        acquit_idle(&b, last);
        accuse_running(&b, last);
        strike_alone(&b, last, now_ms);
    }
    for (uint32_t i = 0; i < b.count; i++)
        next->checks[i] = check_suspect(&next->suspects[i]);
    for (uint32_t i = b.count; i < HF_SUSPECTS; i++)
        next->suspects[i] = (hf_suspect){ 0 };
    return died;
}
