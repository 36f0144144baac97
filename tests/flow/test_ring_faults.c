/* test_ring_faults.c - disks that fail and disks that are full, seen by a caller.
 *
 * A sync that fails and a commit of unknown outcome stop the engine: who waits
 * gets HF_EUNKNOWN, the stopped hook and `last-stop` say why, and the next open
 * finds what is true. On a full file system, and in a full map, sends are
 * refused, what was accepted is handled, and work goes on when there is room.
 * Mounting needs root; without it that test is skipped (HF_REQUIRE: failed). */
#include "tests/support/ring.h"

#include "tests/support/failing.h"

#include "engine/turn.h"

#include "storage/laststop.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { NUMBERS = 200000 };

static uint8_t    acked[NUMBERS], handled[NUMBERS];
static uint32_t   told;
static atomic_int sent_on, stops, stop_err, twice;

static int count(hf_turn *turn, const hf_message *msg)
{
    uint32_t n;
    memcpy(&n, msg->body.data, sizeof n);
    hf_save(turn, msg->body);
    hf_send(turn, "b/1", "n", hf_view(&n, sizeof n));
    return HF_OK;
}

static int arrive(hf_turn *turn, const hf_message *msg)
{
    uint32_t n, last = 0;
    (void)msg;
    memcpy(&n, msg->body.data, sizeof n);
    if (hf_state(turn).len)
        memcpy(&last, hf_state(turn).data, sizeof last);
    if (last > n)
        atomic_fetch_add(&twice, 1); /* out of order, or again */
    hf_save(turn, hf_view(&n, sizeof n));
    handled[n] = 1;
    atomic_fetch_add(&sent_on, 1);
    return HF_OK;
}

static char     target_of_d[16];
static uint64_t most_staged; /* that lay in the batch before a turn of "d" */

/* All of it: that is too much while there is no room, and waits. */
static int carry(hf_turn *turn, const hf_message *msg)
{
    if (*msg->to == 'd' && hf_batch_bytes(turn->batch) > most_staged)
        most_staged = hf_batch_bytes(turn->batch);
    hf_send(turn, *msg->to == 'p' ? "b/p" : target_of_d, "n", msg->body);
    return HF_OK;
}

/* "a" sends on a little of what it gets, "c" sends nothing: that goes on when there is no
 * room. "d" and, on a pool, "p" wait. */
static const hf_type types[] = { { .name = "a", .handle = count },
                                 { .name = "d", .handle = carry },
                                 { .name = "p", .handle = carry, .threads = 1 },
                                 { .name = "c", .handle = arrive },
                                 { .name = "b", .handle = arrive }, { 0 } };

static void stopped(void *user, int err)
{
    (void)user;
    atomic_store(&stop_err, err);
    atomic_fetch_add(&stops, 1);
}

static void begin(void)
{
    memset(acked, 0, sizeof acked);
    memset(handled, 0, sizeof handled);
    told = 0;
    atomic_store(&sent_on, 0);
    atomic_store(&stops, 0);
    atomic_store(&twice, 0);
    fault = (struct fault){ 0 };
    strcpy(target_of_d, "b/d");
    most_staged = 0;
}

static hf_engine *open_at(const char *path, uint64_t store_max)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, path, HF_OPTIONS(.types = types, .shards = 2, .window = 256 << 10,
                                         .store_max = store_max, .stopped = stopped)));
    return e;
}

static int tell(hf_engine *e, size_t filler)
{
    uint8_t body[16384] = { 0 };
    static const char *const actors[] = { "c/1", "a/1", "c/2", "d/1", "c/3", "a/1", "c/4", "p/1" };
    uint32_t n = ++told;
    memcpy(body, &n, sizeof n);
    int err = hf_tell(e, actors[n % 8], "n", hf_view(body, sizeof n + filler));
    acked[n] = err == HF_OK ? 1 : err == HF_EUNKNOWN ? 2 : 0;
    return err;
}

/* Nothing acknowledged is missing, nothing refused was done. */
static void check_all(void)
{
    for (uint32_t n = 1; n <= told; n++)
        if ((acked[n] == 1 && !handled[n]) || (!acked[n] && handled[n]))
            fail_msg("message %u of %u: answered %d, handled %d", n, told, acked[n], handled[n]);
    assert_int_equal(atomic_load(&twice), 0);
}

/* ---- Fail-stop */

static void fail_stop(const char *name, struct fault what)
{
    char why[400] = "";
    begin();
    hf_engine *e = open_at(ring_path(name), 64 << 20);
    for (int i = 0; i < 50; i++)
        ring_ok(tell(e, 100));
    fault = what;
    ring_err(tell(e, 100), HF_EUNKNOWN);
    fault = (struct fault){ 0 };
    ring_err(tell(e, 100), HF_EUNKNOWN);
    acked[told] = 0; /* told to an engine that had stopped before */
    ring_err(hf_drain(e, 1000), HF_EUNKNOWN);
    ring_err(hf_sync(e, 1000), HF_EUNKNOWN);
    ring_until(&stops, 1);
    assert_true(atomic_load(&stop_err) < 0);
    ring_ok(hf_laststop_read(ring_path(name), why, sizeof why));
    assert_true(strlen(why) > 10);
    ring_ok(hf_close(e, HF_NEVER));
    assert_int_equal(atomic_load(&stops), 1);
    e = open_at(ring_path(name), 64 << 20);
    ring_ok(tell(e, 100));
    ring_ok(hf_drain(e, 20000));
    check_all();
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_sync_fails(void **state)
{
    (void)state;
    fail_stop("sync", (struct fault){ .what = FAIL_SYNC, .error = EIO, .times = 1 });
}

static void test_commit_unknown(void **state)
{
    (void)state;
    fail_stop("unknown", (struct fault){ .what = FAIL_META_LATE, .error = EIO, .times = 2 });
}

static void test_write_fails(void **state)
{
    (void)state;
    fail_stop("write", (struct fault){ .what = FAIL_DATA, .error = EIO, .times = 1 });
}

static void *tell_some(void *user)
{
    for (;;)
        if (hf_tell(user, "b/9", "n", hf_view(&(uint32_t){ 0 }, 4)))
            return NULL;
}

/* Callers that wait when it stops are all told. */
static void test_all_are_told(void **state)
{
    pthread_t threads[8];
    (void)state;
    begin();
    hf_engine *e = open_at(ring_path("callers"), 64 << 20);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, tell_some, e), 0);
    usleep(20000);
    fault = (struct fault){ .what = FAIL_SYNC, .error = EIO, .times = 1 };
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    fault = (struct fault){ 0 };
    ring_until(&stops, 1);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- No room */

/* Send until it is refused, with everything handled at the end. */
static void fill_and_go_on(hf_engine *e, const char *filler)
{
    int err = HF_OK;
    uint32_t refused = 0;
    for (int i = 0; i < 20000 && refused < 20; i++) {
        err = tell(e, 8000);
        refused += err == HF_EFULL;
        if (err && err != HF_EFULL)
            ring_err(err, HF_EFULL);
    }
    ring_err(err, HF_EFULL);
    if (filler) {
        usleep(100000);
        assert_int_equal(unlink(filler), 0);
    }
    ring_ok(hf_resume(e, NULL));
    ring_ok(hf_drain(e, 60000));
    check_all();
    for (int i = 0; i < 100 && (err = tell(e, 100)) == HF_EFULL; i++)
        usleep(50000);
    ring_ok(err);
    ring_ok(hf_drain(e, 20000));
    check_all();
}

static void test_full_map(void **state)
{
    (void)state;
    begin();
    hf_engine *e = open_at(ring_path("map"), 4 << 20);
    ring_ok(hf_pause(e, NULL, NULL, NULL));
    fill_and_go_on(e, NULL);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_at(ring_path("map"), 4 << 20);
    ring_ok(tell(e, 100));
    ring_ok(hf_drain(e, 20000));
    check_all();
    ring_ok(hf_close(e, HF_NEVER));
}

/* A batch can't be divided: what turns send must not make it larger than surely fits where
 * space is short, whoever it is for. */
static void test_batches_stay_small(void **state)
{
    static const uint8_t body[8000] = { 0 };
    (void)state;
    begin();
    hf_engine *e = open_at(ring_path("batches"), 64 << 20);
    uint32_t own = hf_address_shard(hf_address_hash(e->seed, "d/1", 3), 2), there = own;
    for (int i = 0; there == own; i++) {
        (void)snprintf(target_of_d, sizeof target_of_d, "b/%d", i);
        there = hf_address_shard(hf_address_hash(e->seed, target_of_d, strlen(target_of_d)), 2);
    }
    ring_ok(hf_pause(e, NULL, NULL, NULL));
    for (int i = 0; i < 200; i++)
        ring_ok(hf_tell(e, "d/1", "n", hf_view(body, sizeof body)));
    ring_ok(hf_resume(e, NULL));
    ring_ok(hf_drain(e, 20000));
    assert_true(most_staged > sizeof body); /* some turns did share a batch */
    assert_true(most_staged < e->batch_bytes);
    ring_ok(hf_close(e, HF_NEVER));
}

static void fill_disk(const char *filler)
{
    static char block[1 << 16];
    int fd = open(filler, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    for (size_t size = sizeof block; size; size /= 2)
        while (write(fd, block, size) == (ssize_t)size)
            ;
    close(fd);
}

static void test_full_disk(void **state)
{
    char directory[128], path[160], filler[160];
    (void)state;
    if (geteuid()) {
        if (getenv("HF_REQUIRE"))
            fail_msg("a small file system can be mounted by root only");
        print_message("SKIP: a small file system can be mounted by root only\n");
        return;
    }
    begin();
    snprintf(directory, sizeof directory, "%s/mount", ring_root);
    snprintf(path, sizeof path, "%s/store", directory);
    snprintf(filler, sizeof filler, "%s/filler", directory);
    assert_int_equal(mkdir(directory, 0700), 0);
    if (mount("tmpfs", directory, "tmpfs", 0, "size=24m"))
        fail_msg("cannot mount: %s", strerror(errno));
    hf_engine *e = open_at(path, 64 << 20);
    for (int i = 0; i < 200; i++)
        ring_ok(tell(e, 1000));
    ring_ok(hf_drain(e, 20000));
    ring_ok(hf_pause(e, NULL, NULL, NULL));
    for (int i = 0; i < 100; i++)
        ring_ok(tell(e, 1000));
    fill_disk(filler);
    fill_and_go_on(e, filler);
    ring_ok(hf_close(e, HF_NEVER));
    assert_int_equal(umount(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_fails),   cmocka_unit_test(test_commit_unknown),
        cmocka_unit_test(test_write_fails),  cmocka_unit_test(test_all_are_told),
        cmocka_unit_test(test_full_map),     cmocka_unit_test(test_batches_stay_small),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
