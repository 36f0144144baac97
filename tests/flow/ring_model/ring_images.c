/* ring_images.c - states as others see them: flushed, peeked at, of an older version.
 *
 * A table outside keeps the newest image of each actor, through flushes that fail and
 * processes that die: once all is at rest it shows what the actors have. Who peeks never
 * sees less than before. A state of an older life is upgraded before its actor sees it. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct row_outside {
    uint64_t version, hash;
} row_outside;

typedef struct book_of_images {
    row_outside rows[ACTORS];
    uint32_t    peeked[ACTORS];
    atomic_uint calls;
} book_of_images;

static book_of_images *book;

static void begin(void)
{
    book = ring_share(book, sizeof *book);
}

static uint64_t sum_up(const ring_item *items, uint32_t count)
{
    uint64_t hash = count;
    for (uint32_t i = 0; i < count; i++)
        hash = ring_hash(hash, (uint64_t)items[i].sender << 16 | items[i].seq);
    return hash;
}

int ring_flush(void *user, const hf_image *images, size_t count)
{
    (void)user;
    bool fails = atomic_fetch_add(&book->calls, 1) % 5 == 1;
    for (size_t i = 0; i < (fails ? count / 2 : count); i++) {
        uint32_t actor = (uint32_t)atoi(strchr(images[i].actor, '/') + 1);
        const ring_memory *m = images[i].state.data;
        row_outside *row = &book->rows[actor % ACTORS];
        if (!m || actor >= ACTORS)
            ring_broken("an image of %s, which never forgets", images[i].actor);
        else if (images[i].version > row->version)
            *row = (row_outside){ images[i].version, sum_up(m->items, m->count) };
    }
    return fails ? 11 : HF_OK;
}

/* ---- Versions: of the life it was saved in */

int ring_upgrade(hf_turn *turn, uint32_t version, hf_bytes state, hf_bytes *now)
{
    ring_memory *m = hf_alloc(turn, state.len);
    if (!m)
        return HF_ENOMEM;
    memcpy(m, state.data, state.len);
    if (m->version != version || version >= ring->life)
        ring_broken("a state of version %u, %u it says itself, in life %u", version, m->version,
                    ring->life);
    m->version = ring->life;
    *now = hf_view(m, state.len);
    return HF_OK;
}

/* ---- Peeks */

static void seen(void *user, int err, hf_bytes state)
{
    uint32_t actor = (uint32_t)(uintptr_t)user;
    const ring_memory *m = state.data;
    if (err && err != HF_ECLOSED)
        ring_broken("peeked at %u: %d (%s)", actor, err, hf_strerror(err));
    if (err)
        return;
    uint32_t count = m ? m->count : 0;
    if (count < book->peeked[actor])
        ring_broken("actor %u shows %u messages, and has shown %u", actor, count,
                    book->peeked[actor]);
    book->peeked[actor] = count;
}

static void act(hf_engine *engine, uint32_t sender, uint64_t *dice)
{
    char to[32];
    uint32_t actor = (uint32_t)(ring_roll(dice) % ACTORS);
    (void)sender;
    if (ring_kind_of(actor) == SWARM)
        return;
    ring_address(actor, to);
    (void)ring_taken(hf_peek(engine, to, seen, (void *)(uintptr_t)actor), "hf_peek");
}

static void check(void)
{
    for (uint32_t a = 0; a < ACTORS; a++) {
        const ring_report *r = &ring->reports[a];
        bool flushed = ring_kind_of(a) == CALM || ring_kind_of(a) == SLOW;
        if (flushed && (r->count || book->rows[a].version)
            && book->rows[a].hash != sum_up(r->items, r->count))
            ring_broken("the image of actor %u (version %llu) is not its state of %u", a,
                        (unsigned long long)book->rows[a].version, r->count);
    }
}

const ring_rule ring_images = { begin, act, NULL, check };
