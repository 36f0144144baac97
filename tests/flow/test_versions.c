/* test_versions.c - states that another version of their type saved: upgraded when a turn
 * finds them, never shown to code that does not know them, never lost. */
#include "tests/support/ring.h"

#include "storage/view.h"

#include <string.h>

static atomic_int turns, upgrades, failures, spoil;
static char       seen[64], error[512], upgraded_from[64];

static void forget_all(void)
{
    atomic_store(&turns, 0);
    atomic_store(&upgrades, 0);
    atomic_store(&failures, 0);
    atomic_store(&spoil, 0);
    seen[0] = error[0] = upgraded_from[0] = 0;
}

static void copy_text(char *to, size_t room, hf_bytes text)
{
    (void)snprintf(to, room, HF_FMT, HF_ARG(text));
}

/* "save": what its body says. Anything else only looks. */
static int handle(hf_turn *turn, const hf_message *msg)
{
    hf_bytes state = hf_state(turn);
    copy_text(seen, sizeof seen, state.data ? state : hf_str("none"));
    if (strcmp(msg->kind, "save") == 0)
        hf_save(turn, msg->body);
    if (strcmp(msg->kind, "forget") == 0)
        hf_forget(turn);
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static void failed(hf_turn *turn, const hf_message *msg)
{
    hf_bytes state = hf_state(turn);
    copy_text(seen, sizeof seen, state.data ? state : hf_str("none"));
    (void)snprintf(error, sizeof error, "%s", msg->error);
    if (atomic_load(&spoil) == 1)
        hf_save(turn, hf_str("overwritten"));
    if (atomic_load(&spoil) == 2)
        hf_forget(turn);
    if (atomic_load(&spoil) == 3)
        hf_put(turn, hf_str("note"), hf_str(msg->error));
    atomic_fetch_add(&failures, 1);
}

/* "v0 text" -> "v3 text": says what it was made of. */
static int upgrade(hf_turn *turn, uint32_t version, hf_bytes state, hf_bytes *now)
{
    size_t used = strlen(upgraded_from);
    (void)snprintf(upgraded_from + used, sizeof upgraded_from - used, "%u", version);
    atomic_fetch_add(&upgrades, 1);
    if (atomic_load(&spoil) == 4)
        return 17;
    if (atomic_load(&spoil) == 5)
        return hf_bury(turn, "no use");
    char *text = hf_alloc(turn, state.len + 20);
    *now = hf_view(text,
                   (size_t)snprintf(text, state.len + 20, HF_FMT "<%u", HF_ARG(state), version));
    if (atomic_load(&spoil) == 6)
        *now = hf_view(NULL, 0);
    return HF_OK;
}

static hf_engine *open_as(const char *name, uint32_t version, bool upgrades_it, bool pooled)
{
    hf_type types[] = { { .name = "doc", .handle = handle, .failed = failed, .version = version,
                          .upgrade = upgrades_it ? upgrade : NULL, .tries = 2, .retry_ms = 1,
                          .idle_ms = 1, .threads = pooled ? 2 : 0 },
                        { .name = "filler", .handle = handle }, { 0 } };
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                                                    .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

static void tell(hf_engine *e, const char *to, const char *kind, const char *body)
{
    ring_ok(hf_tell(e, to, kind, hf_str(body)));
    ring_ok(hf_drain(e, 10000));
}

static void close_it(hf_engine *e)
{
    ring_ok(hf_close(e, 10000));
}

/* Enough of other messages that everything before is folded. */
static void push_out(hf_engine *e)
{
    static char body[8000];
    memset(body, 'x', sizeof body - 1);
    for (int i = 0; i < 40; i++)
        ring_ok(hf_tell(e, "filler/1", "x", hf_str(body)));
    ring_ok(hf_drain(e, 10000));
}

/* What the store has, as any reader sees it. */
static void stored(const char *name, const char *actor, const char *text, uint32_t version)
{
    hf_disk *disk;
    hf_view_of *view;
    hf_bytes image;
    uint64_t position;
    uint32_t form;
    ring_ok(hf_disk_open(&disk, ring_path(name), &(hf_disk_options){ .flags = HF_LOOK }));
    ring_ok(hf_view_open(&view, disk));
    ring_ok(hf_view_form(view, actor, &image, &position, &form));
    assert_int_equal(image.len, strlen(text));
    assert_memory_equal(image.data, text, image.len);
    assert_int_equal(form, version);
    assert_true(position > 0 && position < hf_view_next(view));
    hf_view_close(view);
    hf_disk_close(disk);
}

/* ---- Chains over several runs */

static void run_chain(const char *name, bool pooled, bool folded)
{
    forget_all();
    hf_engine *e = open_as(name, 0, false, pooled);
    tell(e, "doc/1", "save", "one");
    tell(e, "doc/2", "save", "two");
    tell(e, "doc/3", "look", "");
    if (folded)
        push_out(e);
    close_it(e);
    stored(name, "doc/1", "one", 0);

    e = open_as(name, 1, true, pooled);
    tell(e, "doc/1", "look", "");
    assert_string_equal(seen, "one<0");
    tell(e, "doc/1", "look", ""); /* nobody saved: again */
    assert_string_equal(seen, "one<0");
    assert_string_equal(upgraded_from, "00");
    tell(e, "doc/1", "save", "uno");
    tell(e, "doc/1", "look", "");
    assert_string_equal(seen, "uno");
    assert_int_equal(atomic_load(&upgrades), 3);
    tell(e, "doc/3", "look", ""); /* has none: nothing to upgrade */
    assert_string_equal(seen, "none");
    assert_int_equal(atomic_load(&upgrades), 3);
    if (folded)
        push_out(e);
    close_it(e);
    stored(name, "doc/1", "uno", 1);
    stored(name, "doc/2", "two", 0);

    upgraded_from[0] = 0;
    e = open_as(name, 255, true, pooled);
    tell(e, "doc/1", "look", "");
    assert_string_equal(seen, "uno<1");
    tell(e, "doc/2", "save", "dos");
    assert_string_equal(seen, "two<0");
    assert_string_equal(upgraded_from, "10");
    tell(e, "doc/2", "look", "");
    assert_string_equal(seen, "dos");
    tell(e, "doc/1", "forget", "");
    tell(e, "doc/1", "look", "");
    assert_string_equal(seen, "none");
    close_it(e);
    stored(name, "doc/2", "dos", 255);
}

static void test_chains(void **state)
{
    (void)state;
    run_chain("chain1", false, false);
    run_chain("chain2", false, true);
    run_chain("chain3", true, false);
    run_chain("chain4", true, true);
}

/* The version comes back with a state that left memory. */
static void test_evicted(void **state)
{
    (void)state;
    forget_all();
    hf_engine *e = open_as("evicted", 7, true, false);
    tell(e, "doc/1", "save", "seven");
    push_out(e);
    usleep(2500000); /* idle_ms has passed: the sweep has taken it */
    tell(e, "doc/1", "look", "");
    assert_string_equal(seen, "seven");
    assert_int_equal(atomic_load(&upgrades), 0);
    close_it(e);
    stored("evicted", "doc/1", "seven", 7);
}

/* ---- States that can't be shown */

static uint64_t dead_of(hf_engine *e)
{
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    return stats.dead;
}

static void refuse(const char *name, uint32_t saved, uint32_t version, bool pooled)
{
    forget_all();
    hf_engine *e = open_as(name, saved, false, pooled);
    tell(e, "doc/1", "save", "precious");
    close_it(e);
    for (int how = 0; how < 4; how++) {
        atomic_store(&spoil, how);
        atomic_store(&failures, 0);
        atomic_store(&turns, 0);
        e = open_as(name, version, version < saved, pooled);
        tell(e, "doc/1", "save", "lost");
        assert_int_equal(atomic_load(&failures), 2);
        assert_int_equal(atomic_load(&turns), 0);
        assert_int_equal(dead_of(e), 1);
        assert_string_equal(seen, "none"); /* not shown to the failed hook either */
        assert_non_null(strstr(error, "version"));
        tell(e, "doc/2", "save", "of others"); /* who has no such state goes on */
        assert_int_equal(atomic_load(&turns), 1);
        close_it(e);
        stored(name, "doc/1", "precious", saved);
    }
    atomic_store(&spoil, 0);
    e = open_as(name, saved, false, pooled); /* and is still there for who knows it */
    tell(e, "doc/1", "look", "");
    assert_string_equal(seen, "precious");
    close_it(e);
}

static void test_newer_and_no_upgrade(void **state)
{
    (void)state;
    refuse("newer", 5, 4, false);
    refuse("newerpool", 5, 0, true);
    refuse("older", 3, 4, false);
    refuse("olderpool", 0, 1, true);
}

/* ---- Upgrades that fail */

static void spoiled(const char *name, bool pooled)
{
    forget_all();
    hf_engine *e = open_as(name, 1, false, pooled);
    tell(e, "doc/1", "save", "old");
    close_it(e);
    atomic_store(&spoil, 4);
    e = open_as(name, 2, true, pooled);
    tell(e, "doc/1", "save", "new");
    assert_int_equal(atomic_load(&upgrades), 2); /* retried, then dead */
    assert_int_equal(dead_of(e), 1);
    assert_non_null(strstr(error, "could not be upgraded"));
    atomic_store(&spoil, 5);
    tell(e, "doc/1", "save", "new");
    assert_int_equal(atomic_load(&upgrades), 3); /* buried at once */
    assert_string_equal(error, "no use");
    assert_int_equal(atomic_load(&turns), 1); /* the first, when it was saved */
    atomic_store(&spoil, 0);
    tell(e, "doc/1", "look", "");
    assert_string_equal(seen, "old<1");
    atomic_store(&spoil, 6); /* nothing is left of it */
    tell(e, "doc/1", "look", "");
    assert_string_equal(seen, "none");
    close_it(e);
    stored(name, "doc/1", "old", 1);
}

static void test_upgrade_fails(void **state)
{
    (void)state;
    spoiled("spoiled", false);
    spoiled("spoiledpool", true);
}

static void test_limits(void **state)
{
    hf_engine *e = NULL;
    (void)state;
    const hf_type types[] = { { .name = "doc", .handle = handle, .version = 256 }, { 0 } };
    ring_err(hf_open(&e, ring_path("limits"), HF_OPTIONS(.types = types)), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), "version"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_evicted),
        cmocka_unit_test(test_newer_and_no_upgrade),
        cmocka_unit_test(test_upgrade_fails),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
