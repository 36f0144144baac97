/* fuzz_strike.c - any bytes as the file `strikes` of a store.
 *
 * The file is large and mostly zeros, so the input is a list of changes to one that
 * is whole; its checksums are then made right again, or not. The life that begins
 * after it is one that the next open will believe; nobody is accused by a file that
 * cannot be believed, of another boot or another file, or that was closed cleanly. */
#include "tests/fuzz/fuzz.h"

#include "engine/strike_file.h"

#include "storage/codec.h"

#include <stddef.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CHANGE = 12, NOW_MS = 1000000, HEAD = 1 };

static hf_strike_image image;

static const hf_strike_origin here = { "0b5ba5a1-5d3c-4b0e-9d6a-2c7f1e8d9a00", 77, 4242 };

static void seal(hf_strike_life *life)
{
    life->check = XXH3_64bits_withSeed(life, offsetof(hf_strike_life, check), HF_STRIKE_MAGIC);
    for (size_t i = 0; i < HF_SUSPECTS; i++)
        life->checks[i] = XXH3_64bits_withSeed(&life->suspects[i], sizeof *life->suspects,
                                               HF_STRIKE_MAGIC);
}

/* Where a change goes: the image's head, or a slot, or a suspect, mostly. */
static size_t place(uint16_t number)
{
    size_t life = number >> 15 ? offsetof(hf_strike_image, life[1])
                               : offsetof(hf_strike_image, life[0]);
    size_t at = number & 0x1fff;
    switch (number >> 13 & 3) {
    case 0:
        return at % offsetof(hf_strike_image, life[0]);
    case 1:
        return life + at % offsetof(hf_strike_life, slots);
    case 2:
        return life + offsetof(hf_strike_life, slots) + at * 8 % sizeof image.life[0].slots;
    default:
        return life + offsetof(hf_strike_life, suspects)
            + at * 4 % (sizeof(hf_strike_life) - offsetof(hf_strike_life, suspects));
    }
}

/* [where(2) how many(2) value(8)]… */
static void make_image(const uint8_t *data, size_t size)
{
    memset(&image, 0, sizeof image);
    image.magic = HF_STRIKE_MAGIC;
    image.version = HF_STRIKE_VERSION;
    image.size = sizeof image;
    image.life[0].origin = image.life[1].origin = here;
    bool sealed = size && data[0] & 1;
    for (size_t at = HEAD; at + CHANGE <= size; at += CHANGE) {
        size_t to = place(hf_get16(data + at)), repeat = 1 + (hf_get16(data + at + 2) & 0x1ff);
        for (size_t i = 0; i < repeat && to + 8 <= sizeof image; i++, to += 8)
            hf_put64((uint8_t *)&image + to, hf_get64(data + at + 4) + i * (data[0] >> 1));
    }
    if (sealed) {
        seal(&image.life[0]);
        seal(&image.life[1]);
    }
}

static bool ran(const hf_strike_life *last, uint64_t id)
{
    for (size_t i = 0; i < HF_STRIKE_SLOTS; i++)
        if (last->slots[i].id == id)
            return true;
    return false;
}

static const hf_suspect *known(const hf_strike_life *last, uint64_t id)
{
    for (size_t i = 0; last && i < HF_SUSPECTS; i++)
        if (last->suspects[i].id == id)
            return &last->suspects[i];
    return NULL;
}

static void check_suspects(const hf_strike_life *last, const hf_strike_life *next, bool died)
{
    bool over = false;
    for (size_t i = 0; i < HF_SUSPECTS; i++) {
        const hf_suspect *s = &next->suspects[i];
        over |= !s->id;
        FUZZ_CHECK(over == !s->id); /* they stand together */
        if (over)
            continue;
        FUZZ_CHECK(s->strikes <= s->deaths && s->deaths <= 1 << 20);
        for (size_t j = 0; j < i; j++)
            FUZZ_CHECK(next->suspects[j].id != s->id);
        FUZZ_CHECK(last && (known(last, s->id) || died)); /* nobody is new without a death */
        if (died)
            FUZZ_CHECK(ran(last, s->id) || known(last, s->id)->strikes > 0);
    }
}

static void check_judged(const hf_strike_life *last)
{
    static hf_strike_image after;
    bool died;
    memset(&after, 0, sizeof after);
    died = hf_strike_judge(last, &here, NOW_MS, &after.life[1]);
    after.magic = HF_STRIKE_MAGIC;
    after.version = HF_STRIKE_VERSION;
    after.size = sizeof after;
    after.valid = 1;
    FUZZ_CHECK(hf_strike_last(&after) == &after.life[1]);
    FUZZ_CHECK(after.life[1].run == (last ? last->run + 1 : 1));
    FUZZ_CHECK(!after.life[1].clean && !after.life[1].alone);
    if (died)
        FUZZ_CHECK(last && !last->clean && last->origin.inode == here.inode
                   && memcmp(last->origin.boot, here.boot, sizeof here.boot) == 0);
    check_suspects(last, &after.life[1], died);
    /* A clean end right after keeps who is suspected, and accuses nobody else. */
    after.life[1].clean = 1;
    FUZZ_CHECK(!hf_strike_judge(&after.life[1], &here, NOW_MS, &after.life[0]));
    FUZZ_CHECK(memcmp(after.life[0].suspects, after.life[1].suspects,
                      sizeof after.life[0].suspects) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_image(data, size);
    const hf_strike_life *last = hf_strike_last(&image);
    FUZZ_CHECK(!last || last == &image.life[0] || last == &image.life[1]);
    check_judged(last);
    return 0;
}
