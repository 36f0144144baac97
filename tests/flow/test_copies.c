/* test_copies.c - backups of a store that is written to, what a restored one is, backups that
 * are damaged, and a compaction. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"

#include "storage/memory.h"
#include "storage/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAIRS = 8, BACKUPS = 6 };

static atomic_int balance, told, handled;
static char       last_key[33], step_key[33];
static uint64_t   last_id;

static int count_of(const hf_turn *turn)
{
    int count = 0;
    if (hf_state(turn).len == sizeof count)
        memcpy(&count, hf_state(turn).data, sizeof count);
    return count;
}

/* What one of a pair gives the other takes: together they have nothing. */
static int keep_account(hf_turn *turn, const hf_message *msg)
{
    char to[32];
    int count = count_of(turn);
    if (strcmp(msg->kind, "sum") == 0) {
        atomic_fetch_add(&balance, count);
        atomic_fetch_add(&told, 1);
        return HF_OK;
    }
    count += strcmp(msg->kind, "give") ? 1 : -1;
    hf_save(turn, hf_view(&count, sizeof count));
    if (strcmp(msg->kind, "give") == 0) {
        (void)snprintf(to, sizeof to, "taker%s", strchr(msg->to, '/'));
        hf_send(turn, to, "take", hf_view(NULL, 0));
    }
    return HF_OK;
}

static int note_and_fail(hf_turn *turn, const hf_message *msg)
{
    hf_step step;
    memcpy(last_key, msg->key, sizeof last_key);
    last_id = msg->id;
    if (hf_begin_step(turn, "pay", &step) == HF_OK)
        memcpy(step_key, step.key, sizeof step_key);
    atomic_fetch_add(&handled, 1);
    return HF_EINVAL;
}

static const hf_type types[] = {
    { .name = "giver", .handle = keep_account }, { .name = "taker", .handle = keep_account },
    { .name = "bad", .handle = note_and_fail, .tries = 1, .threads = 1 }, { 0 } };

static const char *at(const char *name)
{
    static char paths[8][128];
    static int turn;
    char *path = paths[turn++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s", ring_path(name));
    return path;
}

static int no_finding(void *user, hf_bytes row)
{
    (void)row;
    ++*(int *)user;
    return HF_OK;
}

static void sound(const char *name)
{
    int rows = 0;
    ring_ok(hf_verify(at(name), no_finding, &rows));
    assert_int_equal(rows, 1); /* the sum */
}

/* Everything under way arrives, and nothing was lost or done twice. */
static void adds_up(const char *name)
{
    hf_engine *engine = ring_open(name, types);
    char to[32];
    ring_ok(hf_drain(engine, 20000));
    atomic_store(&balance, 0);
    atomic_store(&told, 0);
    for (int i = 0; i < 2 * PAIRS; i++) {
        (void)snprintf(to, sizeof to, "%s/%d", i % 2 ? "giver" : "taker", i / 2);
        ring_ok(hf_tell(engine, to, "sum", hf_view(NULL, 0)));
    }
    ring_until(&told, 2 * PAIRS);
    assert_int_equal(atomic_load(&balance), 0);
    ring_ok(hf_close(engine, 10000));
}

static atomic_bool stop;

static void *give(void *user)
{
    char to[32];
    for (int i = 0; !atomic_load(&stop); i++) {
        (void)snprintf(to, sizeof to, "giver/%d", i % PAIRS);
        (void)hf_post(user, HF_LETTER(.to = to, .kind = "give"), 1, NULL, NULL);
        if (i % 16 == 0)
            usleep(1000);
    }
    return NULL;
}

static void test_under_load(void **state)
{
    pthread_t thread;
    char name[32];
    uint64_t sizes = 0;
    (void)state;
    hf_engine *engine = ring_open("load", types);
    ring_ok(hf_mail(engine, HF_LETTER(.to = "giver/0", .kind = "give"), 1, NULL));
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, give, engine), 0);
    for (int i = 0; i < BACKUPS; i++) {
        struct stat st;
        usleep(60000);
        (void)snprintf(name, sizeof name, "load-%d.hfb", i);
        ring_ok(hf_backup(at("load"), at(name), NULL, NULL));
        assert_int_equal(stat(at(name), &st), 0);
        sizes += (uint64_t)st.st_size;
    }
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    ring_ok(hf_close(engine, 20000));
    assert_true(sizes > 0);
    for (int i = 0; i < BACKUPS; i++) {
        char to[32];
        (void)snprintf(name, sizeof name, "load-%d.hfb", i);
        (void)snprintf(to, sizeof to, "loaded-%d", i);
        ring_ok(hf_restore(at(name), at(to), NULL, NULL));
        sound(to);
        adds_up(to);
        sound(to);
    }
    adds_up("load");
}

/* ---- Keys */

typedef struct met {
    uint64_t id;
    char     key[33];
    int      count;
} met;

static int meet(void *user, const hf_message *msg)
{
    met *m = user;
    m->count++;
    if (m->id && m->id != msg->id)
        return HF_OK;
    m->id = msg->id;
    memcpy(m->key, msg->key, sizeof m->key);
    return HF_OK;
}

/* Of one that is dead in that store. */
static met find(const char *name, uint64_t id)
{
    hf_store *store;
    met m = { .id = id };
    ring_ok(hf_store_open(&store, at(name), 0));
    ring_ok(hf_find(store, "status = dead", meet, &m));
    hf_store_close(store);
    return m;
}

static void fail_one(const char *name)
{
    int before = atomic_load(&handled);
    hf_engine *engine = ring_open(name, types);
    ring_ok(hf_tell(engine, "bad/1", "k", hf_view(NULL, 0)));
    ring_until(&handled, before + 1);
    ring_ok(hf_drain(engine, 10000));
    ring_ok(hf_close(engine, 10000));
}

static void again(const char *name, uint64_t id)
{
    int before = atomic_load(&handled);
    hf_store *store;
    hf_engine *engine = ring_open(name, types);
    ring_ok(hf_store_open(&store, at(name), 1000));
    ring_ok(hf_requeue(store, id));
    hf_store_close(store);
    ring_until(&handled, before + 1);
    ring_ok(hf_drain(engine, 10000));
    ring_ok(hf_close(engine, 10000));
}

static void test_keys(void **state)
{
    char first[33], first_step[33], second[33];
    (void)state;
    fail_one("keys");
    uint64_t id = last_id, raised = 0;
    memcpy(first, last_key, sizeof first);
    memcpy(first_step, step_key, sizeof first_step);
    ring_ok(hf_backup(at("keys"), at("keys.hfb"), NULL, NULL));
    ring_ok(hf_restore(at("keys.hfb"), at("keys-1"), NULL, NULL));
    ring_ok(hf_restore(at("keys.hfb"), at("keys-2"), NULL, NULL));
    assert_string_equal(find("keys-1", id).key, first);
    again("keys-1", id); /* the outside has met this key: it must come again */
    assert_string_equal(last_key, first);
    assert_int_equal(strncmp(step_key, first_step, 32), 0);

    fail_one("keys-1");
    raised = last_id;
    memcpy(second, last_key, sizeof second);
    assert_true(raised > id + (UINT64_C(1) << 40));
    assert_true(raised > (UINT64_C(86400) * 180) << 24); /* since 2026, at least half a year */
    assert_true(raised < UINT64_C(1) << 55);
    assert_memory_not_equal(second, first, 16);
    fail_one("keys-2");
    assert_memory_not_equal(last_key, first, 16);
    assert_memory_not_equal(last_key, second, 16);
    assert_string_equal(find("keys-1", raised).key, second);

    /* A backup of a restored store: three generations. */
    ring_ok(hf_backup(at("keys-1"), at("keys.hfb"), NULL, NULL)); /* instead of the first */
    ring_ok(hf_restore(at("keys.hfb"), at("keys-3"), NULL, NULL));
    sound("keys-3");
    assert_string_equal(find("keys-3", id).key, first);
    assert_string_equal(find("keys-3", raised).key, second);
    again("keys-3", raised);
    assert_string_equal(last_key, second);
    fail_one("keys-3");
    assert_true(last_id > raised + (UINT64_C(1) << 40));
    assert_memory_not_equal(last_key, second, 16);
    assert_memory_not_equal(last_key, first, 16);
    again("keys-3", id);
    assert_string_equal(last_key, first);
}

/* ---- Refused */

static size_t read_whole(const char *name, uint8_t *to, size_t room)
{
    FILE *file = fopen(at(name), "r");
    assert_non_null(file);
    size_t len = fread(to, 1, room, file);
    (void)fclose(file);
    return len;
}

static void write_whole(const char *name, const uint8_t *from, size_t len)
{
    FILE *file = fopen(at(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(from, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void refused(const uint8_t *bytes, size_t len, int err)
{
    write_whole("hurt.hfb", bytes, len);
    ring_err(hf_restore(at("hurt.hfb"), at("hurt"), NULL, NULL), err);
    assert_int_equal(access(at("hurt"), F_OK), -1);
}

static void test_damaged(void **state)
{
    static uint8_t whole[1 << 20], hurt[1 << 20];
    char command[300];
    int harmless = 0;
    (void)state;
    fail_one("damage");
    ring_ok(hf_backup(at("damage"), at("damage.hfb"), NULL, NULL));
    size_t len = read_whole("damage.hfb", whole, sizeof whole);
    assert_true(len > 200 && len < sizeof whole);
    for (size_t cut = 0; cut < len; cut += cut < 80 ? 1 : 7)
        refused(whole, cut, HF_ECORRUPT);
    refused(whole, len - 1, HF_ECORRUPT);
    for (size_t i = 0; i < len; i++) {
        if (i >= 8 && i < 16)
            continue; /* versions: below */
        memcpy(hurt, whole, len);
        hurt[i] = (uint8_t)(hurt[i] ^ 1u << (i % 8));
        write_whole("hurt.hfb", hurt, len);
        int err = hf_restore(at("hurt.hfb"), at("hurt"), NULL, NULL);
        if (!err) { /* a bit that zstd does not use: all is as it was */
            harmless++;
            sound("hurt");
            assert_string_equal(find("hurt", last_id).key, last_key);
            (void)snprintf(command, sizeof command, "rm -r %s", at("hurt"));
            assert_int_equal(system(command), 0);
            continue;
        }
        if (err != HF_ECORRUPT && err != HF_EVERSION && err != HF_ENOMEM)
            fail_msg("byte %zu damaged: %d %s", i, err, hf_detail());
        assert_int_equal(access(at("hurt"), F_OK), -1);
    }
    assert_true(harmless <= 8);
    memcpy(hurt, whole, len);
    hurt[len] = 0;
    refused(hurt, len + 1, HF_ECORRUPT);
    hurt[8] = 2;
    refused(hurt, len, HF_EVERSION);

    /* Places that are taken. */
    ring_err(hf_restore(at("damage.hfb"), at("damage"), NULL, NULL), HF_EINVAL);
    ring_err(hf_restore(at("nowhere.hfb"), at("hurt"), NULL, NULL), HF_ENOTFOUND);
    ring_err(hf_backup(at("nowhere"), at("new.hfb"), NULL, NULL), HF_ENOTFOUND);
    write_whole("letter", (const uint8_t *)"Dear all,", 9);
    ring_err(hf_backup(at("damage"), at("letter"), NULL, NULL), HF_EINVAL);
    ring_err(hf_restore(at("letter"), at("hurt"), NULL, NULL), HF_ECORRUPT);
    assert_int_equal(mkdir(at("empty"), 0700), 0);
    ring_ok(hf_restore(at("damage.hfb"), at("empty"), NULL, NULL));
    sound("empty");

    /* A row that is damaged is not copied. */
    (void)snprintf(command, sizeof command,
                   "sed -i 's/HFL\\x01/HFL\\x09/' %s/data.mdb", at("damage"));
    assert_int_equal(system(command), 0);
    ring_ok(hf_backup(at("empty"), at("kept.hfb"), NULL, NULL));
    int err = hf_backup(at("damage"), at("kept.hfb"), NULL, NULL);
    assert_true(err == HF_ECORRUPT || err == HF_EVERSION);
    assert_int_equal(access(at("kept.hfb.part"), F_OK), -1);
    ring_ok(hf_restore(at("kept.hfb"), at("kept"), NULL, NULL));
}

static int enough(void *user, hf_bytes row)
{
    (void)row;
    return ++*(int *)user == 2 ? HF_ECLOSED : HF_OK;
}

/* Who is told how far it is may end it. */
static void test_interrupted(void **state)
{
    static char body[100000];
    int rows = 0;
    (void)state;
    hf_engine *engine = ring_open("long", types);
    ring_ok(hf_pause(engine, "giver", NULL, NULL));
    for (int i = 0; i < 120; i++)
        ring_ok(hf_mail(engine, HF_LETTER(.to = "giver/1", .kind = "x",
                                          .body = hf_view(body, sizeof body)), 1, NULL));
    ring_err(hf_backup(at("long"), at("long.hfb"), enough, &rows), HF_ECLOSED);
    assert_int_equal(access(at("long.hfb"), F_OK), -1);
    assert_int_equal(access(at("long.hfb.part"), F_OK), -1);
    ring_ok(hf_backup(at("long"), at("long.hfb"), NULL, NULL));
    rows = 0;
    ring_err(hf_restore(at("long.hfb"), at("longer"), enough, &rows), HF_ECLOSED);
    assert_int_equal(access(at("longer"), F_OK), -1);
    ring_ok(hf_close(engine, 10000));
}

/* ---- Compaction */

static void test_compact(void **state)
{
    struct stat before, after;
    (void)state;
    hf_engine *engine = ring_open("compact", types);
    for (int i = 0; i < 20000; i++)
        ring_ok(hf_post(engine, HF_LETTER(.to = i % 2 ? "giver/1" : "giver/2", .kind = "give"), 1,
                        NULL, NULL));
    ring_ok(hf_drain(engine, 20000));
    ring_err(hf_compact(at("compact"), NULL, NULL, NULL), HF_EBUSY);
    ring_ok(hf_close(engine, 10000));
    fail_one("compact");
    met dead = find("compact", 0);
    assert_int_equal(dead.count, 1);
    assert_int_equal(chmod(at("compact"), 0750), 0);
    char data[160];
    (void)snprintf(data, sizeof data, "%s/data.mdb", at("compact"));
    assert_int_equal(stat(data, &before), 0);
    ring_ok(hf_compact(at("compact"), at("elsewhere"), NULL, NULL));
    assert_int_equal(stat(data, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    ring_ok(hf_compact(at("compact"), NULL, NULL, NULL));
    assert_int_equal(stat(data, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_true(after.st_size < before.st_size);
    assert_int_equal(stat(at("compact"), &after), 0);
    assert_int_equal(after.st_mode & 0777, 0750);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "elsewhere" : "compact";
        sound(name);
        assert_string_equal(find(name, dead.id).key, dead.key);
        adds_up(name);
        fail_one(name); /* the same store: keys begin as before, ids go on */
        assert_memory_equal(last_key, dead.key, 16);
        assert_true(last_id > dead.id && last_id < dead.id + 1000);
    }
    ring_err(hf_compact(at("compact"), at("elsewhere"), NULL, NULL), HF_EINVAL);
    ring_err(hf_compact(at("nothing"), NULL, NULL, NULL), HF_ENOTFOUND);
    assert_int_equal(access(at("nothing"), F_OK), -1);
}

/* ---- Without memory */

static int fails_at(void *user, size_t size)
{
    (void)size;
    return --*(int *)user == 0;
}

/* Each allocation fails once: nothing is left, and then it works. */
static void test_no_memory(void **state)
{
    char command[300];
    int tried[3] = { 0 };
    (void)state;
    fail_one("poor");
    ring_ok(hf_backup(at("poor"), at("poor.hfb"), NULL, NULL));
    for (int what = 0; what < 3; what++) {
        int err = HF_ENOMEM;
        while (err == HF_ENOMEM) {
            int left = ++tried[what];
            hf_mem_hook(fails_at, &left);
            err = what == 0   ? hf_backup(at("poor"), at("made"), NULL, NULL)
                  : what == 1 ? hf_restore(at("poor.hfb"), at("made"), NULL, NULL)
                              : hf_compact(at("poor"), at("made"), NULL, NULL);
            hf_mem_hook(NULL, NULL);
            assert_true(err == HF_OK || access(at("made"), F_OK));
            assert_int_equal(access(at("made.part"), F_OK), -1);
        }
        ring_ok(err);
        assert_true(tried[what] > 3 && tried[what] < 200);
        if (what)
            sound("made");
        (void)snprintf(command, sizeof command, "rm -r %s; ls %s | grep tmp-", at("made"),
                       ring_root);
        assert_int_not_equal(system(command), 0); /* grep found none */
        sound("poor");
    }
}

/* ---- Two backups at once */

static char backed_up[128]; /* by the other one, just when ours waits for its lock */

__attribute__((visibility("hidden"))) int flock(int fd, int how)
{
    char part[140];
    if (backed_up[0]) {
        (void)snprintf(part, sizeof part, "%s.part", backed_up);
        assert_int_equal(write(fd, "whole", 5), 5);
        assert_int_equal(link(part, at("first")), 0);
        assert_int_equal(rename(part, backed_up), 0);
        backed_up[0] = '\0';
    }
    return (int)syscall(SYS_flock, fd, how);
}

static void test_other_backup_done_first(void **state)
{
    struct stat st;
    (void)state;
    ring_ok(hf_close(ring_open("one", types), 10000));
    (void)snprintf(backed_up, sizeof backed_up, "%s", at("one.hfb"));
    ring_ok(hf_backup(at("one"), at("one.hfb"), NULL, NULL));
    assert_int_equal(stat(at("first"), &st), 0);
    assert_int_equal(st.st_size, 5);
    ring_ok(hf_restore(at("one.hfb"), at("two"), NULL, NULL));
    sound("two");
}

/* ---- A compaction that is done just when an engine comes */

static bool exchanges;
static char exchanged[2][128];

static void exchange(void)
{
    assert_int_equal(renameat2(AT_FDCWD, exchanged[0], AT_FDCWD, exchanged[1], RENAME_EXCHANGE), 0);
}

__attribute__((visibility("hidden"))) int fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    if (command == F_OFD_SETLK && exchanges) {
        exchanges = false;
        exchange();
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

static int reads_left;

__attribute__((visibility("hidden"))) ssize_t pread(int fd, void *bytes, size_t len, off_t at_byte)
{
    if (reads_left && --reads_left == 0)
        exchange();
    return syscall(SYS_pread64, fd, bytes, len, at_byte);
}

/* At whatever moment: an engine in this process finds who looks. */
static void test_compacted_while_looked_at(void **state)
{
    hf_disk *disk, *again;
    (void)state;
    ring_ok(hf_close(ring_open("seen", types), 10000));
    ring_ok(hf_compact(at("seen"), at("anew"), NULL, NULL));
    for (int n = 1; n > 0; n++) {
        (void)snprintf(exchanged[0], sizeof exchanged[0], "%s", at("seen"));
        (void)snprintf(exchanged[1], sizeof exchanged[1], "%s", at("anew"));
        reads_left = n;
        ring_ok(hf_disk_open(&disk, at("seen"), &(hf_disk_options){ .flags = HF_LOOK }));
        if (reads_left) /* there are not so many */
            n = -1;
        reads_left = 0;
        ring_err(hf_disk_open(&again, at("seen"), NULL), HF_EBUSY);
        assert_non_null(strstr(hf_detail(), "is being looked at in this process"));
        hf_disk_close(disk);
    }
}

static void test_compacted_while_opened(void **state)
{
    hf_disk *disk, *again;
    (void)state;
    ring_ok(hf_close(ring_open("moved", types), 10000));
    ring_ok(hf_compact(at("moved"), at("twin"), NULL, NULL));
    (void)snprintf(exchanged[0], sizeof exchanged[0], "%s", at("moved"));
    (void)snprintf(exchanged[1], sizeof exchanged[1], "%s", at("twin"));
    exchanges = true;
    ring_ok(hf_disk_open(&disk, at("moved"), NULL));
    assert_false(exchanges);
    /* This process knows what it has: LMDB would lose its locks if it were opened twice. */
    ring_err(hf_disk_open(&again, at("moved"), NULL), HF_EBUSY);
    assert_non_null(strstr(hf_detail(), "is open in this process"));
    hf_disk_close(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_under_load), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_damaged),    cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_compact),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_other_backup_done_first),
        cmocka_unit_test(test_compacted_while_opened),
        cmocka_unit_test(test_compacted_while_looked_at),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
