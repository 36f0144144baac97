/* test_slabs.c - memory in slabs, cells of them, and actors whose state lies beside them.
 *
 * Random takes and gives against a list of what is held: every piece keeps its bytes, none
 * overlaps another, and what came back is used again before more is asked for. */
#include "engine/actor.h"

#include "storage/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PIECES = 200, ROUNDS = 20000 };

typedef struct piece {
    uint8_t *at;
    size_t   size;
    uint8_t  fill;
} piece;

static uint64_t chance = 42;

static uint32_t below(uint32_t most)
{
    chance = chance * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(chance >> 33) % most;
}

static void check_piece(const piece *p)
{
    assert_int_equal(p->at[0], p->fill);
    assert_int_equal(p->at[p->size / 2], p->fill);
    assert_int_equal(p->at[p->size - 1], p->fill);
}

static void test_slabs(void **state)
{
    piece pieces[PIECES] = { { NULL, 0, 0 } };
    hf_slabs slabs;
    uint32_t most = 0;
    (void)state;
    hf_slabs_init(&slabs, 1);
    for (int i = 0; i < ROUNDS / 10; i++) {
        piece *p = &pieces[below(PIECES)];
        if (p->at) {
            check_piece(p);
            hf_slabs_give(&slabs, p->at, p->size);
            p->at = NULL;
            continue;
        }
        p->size = hf_slabs_room(1 + below(256 << 10));
        p->fill = (uint8_t)i;
        p->at = hf_slabs_take(&slabs, p->size);
        assert_non_null(p->at);
        assert_int_equal((uintptr_t)p->at % HF_SLAB_UNIT, 0);
        memset(p->at, p->fill, p->size);
        most = slabs.count > most ? slabs.count : most;
    }
    assert_true(most <= PIECES / 8); /* half of them held, 128 KiB each, few gaps */
    for (int i = 0; i < PIECES; i++) {
        if (pieces[i].at) {
            check_piece(&pieces[i]);
            hf_slabs_give(&slabs, pieces[i].at, pieces[i].size);
        }
    }
    assert_true(slabs.count <= 1 && slabs.empty == slabs.count); /* one may be kept */
    hf_slabs_rest(&slabs);
    assert_int_equal(slabs.count, 0);
    void *whole = hf_slabs_take(&slabs, HF_SLAB), *unit = hf_slabs_take(&slabs, 1);
    assert_true(whole && unit && whole != unit);
    hf_slabs_give(&slabs, whole, HF_SLAB);
    hf_slabs_give(&slabs, unit, 1);
    hf_slabs_done(&slabs);
}

static void test_cells(void **state)
{
    piece pieces[PIECES] = { { NULL, 0, 0 } };
    hf_cells cells;
    (void)state;
    hf_cells_init(&cells);
    for (int i = 0; i < ROUNDS; i++) {
        piece *p = &pieces[below(PIECES)];
        if (p->at) {
            check_piece(p);
            hf_cells_give(&cells, p->at, p->size);
            p->at = NULL;
            continue;
        }
        p->size = 1 + below(HF_CELL_MOST + 100);
        p->fill = (uint8_t)i;
        p->at = hf_cells_take(&cells, p->size);
        assert_non_null(p->at);
        assert_int_equal((uintptr_t)p->at % HF_CELL_STEP, 0);
        memset(p->at, p->fill, p->size);
    }
    for (int i = 0; i < PIECES; i++) {
        if (pieces[i].at)
            check_piece(&pieces[i]);
        hf_cells_give(&cells, pieces[i].at, pieces[i].size);
    }
    for (uint32_t i = 0; i < cells.slabs.count; i++)
        assert_true(cells.slabs.list[i].used == 0); /* every page went back */
    hf_cells_done(&cells);
}

static void expect_state(const hf_actor *actor, uint32_t len, uint8_t fill)
{
    assert_int_equal(actor->state_len, len);
    assert_non_null(actor->state);
    for (uint32_t i = 0; i < len; i++)
        assert_int_equal(actor->state[i], fill);
    assert_string_equal(actor->address, "s/name");
}

/* A state inside its actor grows out of it and back, and is gone. */
static void test_states(void **state)
{
    static const uint32_t lens[] = { 64, 63, 0, 64, 65, 300, 4000, 10, 192, 1, 64 };
    uint8_t image[4000];
    hf_actors actors;
    (void)state;
    assert_int_equal(hf_actors_init(&actors), HF_OK);
    uint64_t empty = actors.bytes;
    for (uint64_t n = 0; n < 3; n++) { /* the first has no room of its own, later ones have */
        hf_actor *actor = hf_actors_add(&actors, n, "s/name", 6);
        assert_non_null(actor);
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            memset(image, (int)(i + n), sizeof image);
            assert_int_equal(hf_actor_set_state(&actors, actor, hf_view(image, lens[i])), HF_OK);
            expect_state(actor, lens[i], (uint8_t)(i + n));
            if (i == 5) {
                assert_int_equal(hf_actor_set_state(&actors, actor, hf_view(NULL, 0)), HF_OK);
                assert_null(actor->state);
            }
        }
        assert_ptr_equal(hf_actors_find(&actors, n, "s/name", 6), actor);
    }
    for (uint64_t n = 0; n < 2; n++)
        hf_actors_remove(&actors, hf_actors_find(&actors, n, "s/name", 6));
    assert_int_equal(actors.count, 1);
    hf_actors_remove(&actors, actors.newest);
    assert_int_equal(actors.bytes, empty);
    hf_actors_done(&actors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slabs),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
