/* test_strike.c - who is accused of the death of a process, and who never is. */
#include "tests/support/stores.h"

#include "engine/strike_file.h"

#include <fcntl.h>
#include <sys/wait.h>

static const hf_strike_origin here = { .boot = "boot one", .inode = 7, .pid = 100 };
static hf_strike_life         last, next;

/* A first life in which nothing runs yet. */
static void begin(void)
{
    assert_false(hf_strike_judge(NULL, &here, 1000, &last));
    assert_int_equal(last.run, 1);
}

static void runs(uint32_t slot, uint64_t id)
{
    last.slots[slot].id = id;
    last.slots[slot].hash = id * 1000;
}

static bool judge(uint64_t now_ms)
{
    return hf_strike_judge(&last, &here, now_ms, &next);
}

/* The process died; the next one is the last one from now on. */
static void die(uint64_t now_ms)
{
    assert_true(judge(now_ms));
    last = next;
}

static const hf_suspect *suspect(const hf_strike_life *life, uint64_t id)
{
    for (int i = 0; i < HF_SUSPECTS; i++)
        if (life->suspects[i].id == id)
            return &life->suspects[i];
    return NULL;
}

static uint32_t suspects(const hf_strike_life *life)
{
    uint32_t count = 0;
    for (int i = 0; i < HF_SUSPECTS; i++)
        count += life->suspects[i].id != 0;
    return count;
}

static void test_deaths_in_a_row(void **state)
{
    (void)state;
    begin();
    runs(3, 11);
    runs(9, 12);
    die(2000);
    assert_int_equal(suspects(&last), 2);
    assert_int_equal(suspect(&last, 11)->deaths, 1);
    assert_int_equal(suspect(&last, 11)->hash, 11000);
    assert_int_equal(last.slots[3].id, 0); /* the new life runs nothing yet */
    runs(0, 11);
    runs(1, 13);
    die(3000);
    assert_int_equal(suspects(&last), 2); /* 12 was not running: acquitted */
    assert_int_equal(suspect(&last, 11)->deaths, 2);
    assert_int_equal(suspect(&last, 11)->strikes, 0);
    assert_int_equal(suspect(&last, 13)->deaths, 1);
    assert_null(suspect(&last, 12));
    assert_int_equal(last.run, 3);
    die(4000); /* nothing ran: all are acquitted */
    assert_int_equal(suspects(&last), 0);
}

static void test_alone(void **state)
{
    (void)state;
    uint64_t minute = 60000, now = 5000, wait = minute;
    begin();
    runs(0, 11);
    die(now);
    for (uint32_t strikes = 1; strikes <= 12; strikes++) {
        runs(4, 11);
        last.alone = 11;
        die(now);
        assert_int_equal(suspect(&last, 11)->strikes, strikes);
        assert_int_equal(suspect(&last, 11)->until_ms, now + wait);
        assert_int_equal(last.alone, 0);
        if (strikes < 8)
            wait *= 4;
    }
}

static void test_not_alone_after_all(void **state)
{
    (void)state;
    begin();
    runs(0, 11);
    die(1);
    runs(0, 11);
    runs(1, 12);
    last.alone = 11;
    die(2);
    assert_int_equal(suspect(&last, 11)->strikes, 0);
    assert_int_equal(suspect(&last, 11)->deaths, 2);
    last.alone = 11; /* it was to run alone, and had not begun */
    runs(0, 12);
    die(3);
    assert_null(suspect(&last, 11));
    assert_int_equal(suspect(&last, 12)->strikes, 0);
}

/* Two that kill: each keeps its strikes while it waits and the other one runs. */
static void test_strikes_outlive_other_deaths(void **state)
{
    (void)state;
    begin();
    runs(0, 11);
    die(1);
    runs(0, 11);
    last.alone = 11;
    die(2);
    runs(0, 12);
    die(3);
    assert_int_equal(suspect(&last, 11)->strikes, 1);
    assert_int_equal(suspect(&last, 11)->deaths, 2);
    assert_int_equal(suspect(&last, 12)->deaths, 1);
}

static void test_accuses_nobody(void **state)
{
    (void)state;
    begin();
    runs(0, 11);
    die(1);
    runs(0, 11);
    runs(1, 12);
    last.clean = 1; /* a clean end */
    assert_false(judge(2));
    assert_int_equal(suspects(&next), 1);
    assert_int_equal(suspect(&next, 11)->deaths, 1);
    last.clean = 0;
    memcpy(last.origin.boot, "boot two", 8); /* a power loss */
    assert_false(judge(2));
    assert_int_equal(suspect(&next, 11)->deaths, 1);
    assert_int_equal(suspects(&next), 1);
    last.origin = here;
    last.origin.inode = 8; /* a copy of another store's file */
    assert_false(judge(2));
    assert_int_equal(suspects(&next), 0);
    last.origin = here;
    hf_strike_origin unknown = here; /* no boot id: it may have been a power loss */
    memset(unknown.boot, 0, sizeof unknown.boot);
    last.origin = unknown;
    assert_false(hf_strike_judge(&last, &unknown, 2, &next));
    assert_int_equal(suspect(&next, 11)->deaths, 1);
}

static void test_damaged_suspects(void **state)
{
    (void)state;
    begin();
    for (uint32_t i = 0; i < 4; i++)
        runs(i, 11 + i);
    die(1);
    for (uint32_t i = 0; i < 4; i++)
        runs(i, 11 + i);
    last.suspects[0].deaths = 99;  /* does not fit its checksum */
    last.suspects[1].strikes = 3;
    last.suspects[2].id = 0;       /* acquitted, then it ran again */
    die(2);
    assert_int_equal(suspects(&last), 4);
    assert_int_equal(suspect(&last, 11)->deaths, 1); /* as if seen the first time */
    assert_int_equal(suspect(&last, 12)->deaths, 1);
    assert_int_equal(suspect(&last, 12)->strikes, 0);
    assert_int_equal(suspect(&last, 13)->deaths, 1);
    assert_int_equal(suspect(&last, 14)->deaths, 2);
}

/* More than can be noted: known ones stay, and who is new changes each time. */
static void test_too_many(void **state)
{
    (void)state;
    begin();
    runs(0, 5);
    die(1);
    bool seen[HF_STRIKE_SLOTS + 10] = { false };
    for (int death = 0; death < 16; death++) {
        for (uint32_t i = 0; i < HF_STRIKE_SLOTS; i++)
            runs(i, i == 0 ? 5 : i + 10);
        runs(HF_STRIKE_SLOTS - 1, 5); /* twice: counts once */
        assert_true(judge(2));
        assert_int_equal(suspects(&next), HF_SUSPECTS);
        assert_int_equal(suspect(&next, 5)->deaths, 2);
        for (uint32_t i = 11; i < HF_STRIKE_SLOTS + 9; i++)
            seen[i] |= suspect(&next, i) != NULL;
        last.run++;
    }
    for (uint32_t i = 11; i < HF_STRIKE_SLOTS + 9; i++)
        assert_true(seen[i]);
}

static void test_image(void **state)
{
    (void)state;
    static hf_strike_image image;
    assert_null(hf_strike_last(&image)); /* all zero: a new file */
    begin();
    image.magic = HF_STRIKE_MAGIC;
    image.version = HF_STRIKE_VERSION;
    image.size = sizeof image;
    image.valid = 1;
    image.life[1] = last;
    assert_ptr_equal(hf_strike_last(&image), &image.life[1]);
    image.life[1].run++;
    assert_null(hf_strike_last(&image));
    image.life[1].run--;
    image.valid = 0;
    assert_null(hf_strike_last(&image));
    image.valid = 2;
    assert_null(hf_strike_last(&image));
    image.valid = 1;
    image.version++;
    assert_null(hf_strike_last(&image));
}

/* ---- The file itself */

static const char *make_store(const char *name)
{
    const char *path = path_of(name);
    assert_int_equal(mkdir(path, 0700), 0);
    return path;
}

/* A child opens, runs these messages, and dies in the middle of them. */
static void die_while(const char *store, uint64_t a, uint64_t b, uint64_t alone)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        hf_strikes strikes;
        if (hf_strikes_open(&strikes, store))
            _exit(1);
        hf_strike_slot *one = hf_strikes_slot(&strikes), *two = hf_strikes_slot(&strikes);
        one->id = a;
        two->id = b;
        hf_strikes_alone(&strikes, alone);
        (void)raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void test_file(void **state)
{
    (void)state;
    hf_strikes strikes;
    const char *store = make_store("file");
    struct stat st;
    char path[200];

    assert_int_equal(hf_strikes_open(&strikes, store), HF_OK);
    assert_false(strikes.died);
    assert_int_equal(strikes.count, 0);
    hf_strikes_close(&strikes, true);
    (void)snprintf(path, sizeof path, "%s/strikes", store);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(st.st_blocks * 512 >= st.st_size); /* no holes */

    die_while(store, 21, 22, 0);
    die_while(store, 21, 23, 0);
    die_while(store, 21, 0, 21);
    assert_int_equal(hf_strikes_open(&strikes, store), HF_OK);
    assert_true(strikes.died);
    assert_int_equal(strikes.count, 1);
    assert_int_equal(hf_strikes_find(&strikes, 21)->deaths, 3);
    assert_int_equal(hf_strikes_find(&strikes, 21)->strikes, 1);
    assert_null(hf_strikes_find(&strikes, 22));
    hf_strikes_acquit(&strikes, 22);
    hf_strikes_acquit(&strikes, 21);
    assert_null(hf_strikes_find(&strikes, 21));
    assert_null(hf_strikes_find(&strikes, 0));
    hf_strikes_close(&strikes, true);
    assert_int_equal(hf_strikes_open(&strikes, store), HF_OK);
    assert_false(strikes.died);
    assert_int_equal(strikes.count, 0);
    hf_strikes_close(&strikes, false);
    hf_strikes_close(&strikes, true); /* twice is fine */
}

static void test_damaged_file(void **state)
{
    (void)state;
    hf_strikes strikes;
    const char *store = make_store("damaged");
    char path[200];
    (void)snprintf(path, sizeof path, "%s/strikes", store);
    write_file(path, "rubbish that is shorter than the file should be");
    assert_int_equal(hf_strikes_open(&strikes, store), HF_OK);
    assert_false(strikes.died);
    hf_strikes_close(&strikes, true);
    die_while(store, 5, 6, 0);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(hf_strikes_open(&strikes, store), HF_OK);
    assert_int_equal(strikes.count, 0);
    hf_strikes_close(&strikes, true);

    die_while(store, 5, 6, 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    char bytes[sizeof(hf_strike_image)];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 31 % 251);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
    (void)close(fd);
    assert_int_equal(hf_strikes_open(&strikes, store), HF_OK);
    assert_int_equal(strikes.count, 0);
    assert_false(strikes.died);
    hf_strikes_close(&strikes, true);
    assert_int_equal(hf_strikes_open(&strikes, path_of("nowhere")), HF_EIO);
}

static void test_slots(void **state)
{
    (void)state;
    static hf_strike_slot *slots[HF_STRIKE_SLOTS];
    hf_strikes strikes;
    assert_int_equal(hf_strikes_open(&strikes, make_store("slots")), HF_OK);
    for (int i = 0; i < HF_STRIKE_SLOTS; i++) {
        slots[i] = hf_strikes_slot(&strikes);
        assert_non_null(slots[i]);
        assert_int_equal(slots[i]->id, 0);
        slots[i]->id = (uint64_t)i + 1;
    }
    for (int i = 0; i < HF_STRIKE_SLOTS; i++)
        assert_int_equal(slots[i]->id, i + 1); /* all different */
    assert_null(hf_strikes_slot(&strikes));
    hf_strikes_slot_free(&strikes, slots[777]);
    hf_strikes_slot_free(&strikes, NULL);
    assert_int_equal(slots[777]->id, 0);
    assert_ptr_equal(hf_strikes_slot(&strikes), slots[777]);
    hf_strikes_close(&strikes, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deaths_in_a_row),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_not_alone_after_all),
        cmocka_unit_test(test_strikes_outlive_other_deaths),
        cmocka_unit_test(test_accuses_nobody),
        cmocka_unit_test(test_damaged_suspects),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_damaged_file),
        cmocka_unit_test(test_slots),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
