/* test_format.c - docs/format.md shows bytes; are they what the library writes?
 *
 * A store is made with a fixed seed and a fixed clock, two groups are written and
 * folded, and each record and row that has a block in the document is compared with it:
 *
 *     ```hex name
 *     0010: 01 00 08 05  | whatever is said about them
 *
 * The document is found beside this source file; another tree may be given as an
 * argument. What differs is printed as it should stand. One thread. */
#include "tests/support/core.h"

#include "storage/clock.h"
#include "storage/marker.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEED  UINT64_C(0x1122334455667788)
#define NOW   UINT64_C(1700000000000)
#define LATER UINT64_C(1700000060000)
#define ACTOR "order/42"

enum { BLOCK_MAX = 1024, LINE_MAX_BYTES = 256 };

static char     document[4096] = __FILE__;
static unsigned compared;

static const uint8_t uuid[16] = { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
                                  0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f };

/* ---- The document */

static size_t line_bytes(char *line, uint8_t *out, size_t at)
{
    size_t count = 0;
    char *end, *bar = strchr(line, '|');
    if (bar)
        *bar = '\0';
    if (strtoul(line, &end, 16) != at || *end != ':')
        fail_msg("a line of a block begins with \"%.12s\", not with %04zx:", line, at);
    for (char *text = end + 1;; text = end) {
        errno = 0;
        unsigned long byte = strtoul(text, &end, 16);
        if (end == text)
            break;
        assert_true(byte < 256 && at + count < BLOCK_MAX);
        out[count++] = (uint8_t)byte;
    }
    assert_true(count && end[strspn(end, " \t\n")] == '\0');
    return count;
}

/* Bytes of the block `name`; it must be there exactly once. */
static size_t read_block(const char *fence, const char *name, uint8_t *out, bool text)
{
    char line[LINE_MAX_BYTES], head[64];
    size_t len = 0;
    int found = 0;
    bool inside = false;
    FILE *file = fopen(document, "r");
    if (!file)
        fail_msg("cannot open %s", document);
    (void)snprintf(head, sizeof head, "```%s %s\n", fence, name);
    while (fgets(line, sizeof line, file)) {
        if (!inside) {
            inside = strcmp(line, head) == 0;
            found += inside;
        } else if (strncmp(line, "```", 3) == 0) {
            inside = false;
        } else if (text) {
            assert_true(len + strlen(line) <= BLOCK_MAX);
            memcpy(out + len, line, strlen(line));
            len += strlen(line);
        } else {
            len += line_bytes(line, out + len, len);
        }
    }
    (void)fclose(file);
    if (found != 1 || inside)
        print_error("%s holds the block %s %d times\n", document, name, found);
    return len;
}

static void print_bytes(const char *name, hf_bytes bytes)
{
    const uint8_t *at = bytes.data;
    print_error("```hex %s", name);
    for (size_t i = 0; i < bytes.len; i++) {
        if (i % 16 == 0)
            print_error("\n%04zx:", i);
        print_error(" %02x", at[i]);
    }
    print_error("\n```\n");
}

/* Returns 1 if the document says otherwise. */
static int differs(const char *name, hf_bytes bytes)
{
    uint8_t said[BLOCK_MAX];
    size_t len = read_block("hex", name, said, false);
    compared++;
    if (len == bytes.len && memcmp(said, bytes.data, len) == 0)
        return 0;
    print_bytes(name, bytes);
    return 1;
}

/* ---- The store that the document shows */

static uint64_t fixed_wall(void *user)
{
    (void)user;
    return NOW;
}

static uint64_t counted_mono(void *user)
{
    return *(uint64_t *)user += 1000;
}

static void fix_seed(const char *path)
{
    hf_disk_options small = { .store_max = 64u << 20, .reserve = 16u << 20 };
    hf_disk *disk;
    hf_txn *txn;
    CORE_OK(hf_disk_open(&disk, path, &small));
    CORE_OK(hf_txn_write(disk, &txn));
    CORE_OK(hf_meta_put(txn, "seed", SEED));
    CORE_OK(hf_txn_commit(txn));
    hf_disk_close(disk);
    core_mark_seed(path, SEED);
}

static void add(hf_segment *segment, const core *c, hf_entry e)
{
    if (e.to_len && e.op != HF_OP_PAUSE)
        e.hash = hf_address_hash(hf_log_seed(c->log), e.to, e.to_len);
    CORE_OK(hf_segment_add(segment, &e));
}

static hf_entry named(const core *c, uint8_t op, const char *name, const char *data)
{
    hf_entry e = core_entry(c->log, op, ACTOR);
    e.name = name;
    e.name_len = (uint8_t)strlen(name);
    e.data = hf_str(data);
    return e;
}

/* 1: a message from outside; 2, 3: two from another actor. */
static void write_messages(core *c)
{
    hf_segment s = { .shard = 0 };
    hf_group group = { 0 };
    hf_entry e = named(c, HF_OP_SEND, "place", "Ada");
    s.shard = hf_address_shard(e.hash, 2);
    add(&s, c, e);
    e = named(c, HF_OP_SEND, "", "twelve bytes");
    e.from = "tally/all";
    e.from_len = 9;
    add(&s, c, e);
    add(&s, c, e);
    CORE_OK(hf_group_add(&group, &s));
    CORE_OK(hf_log_append(c->log, &group));
    hf_group_free(&group);
    hf_segment_done(&s);
}

/* 4: the second is done, 5: the first failed, 6: the third is dead, 7: a state, 8: an
 * alarm, 9: a step of the first, 10: a pause. */
static void write_facts(core *c)
{
    hf_segment s = { .shard = HF_FACTS };
    hf_group group = { 0 };
    uint8_t times[8];
    hf_put64(times, NOW);
    hf_entry e = core_entry(c->log, HF_OP_RETRY, ACTOR);
    e.id = e.place = 1;
    e.attempt = 1;
    e.due = LATER;
    e.err = 7;
    e.error = "no answer";
    e.error_len = 9;
    e.times = hf_view(times, sizeof times);
    add(&s, c, e);
    e = named(c, HF_OP_DEAD, "", "twelve bytes");
    e.from = "tally/all";
    e.from_len = 9;
    e.id = e.place = 3;
    e.attempt = 1;
    e.died = NOW;
    e.err = HF_EDEAD;
    e.error = "buried";
    e.error_len = 6;
    add(&s, c, e);
    add(&s, c, named(c, HF_OP_SAVE, "", "paid"));
    e = named(c, HF_OP_ALARM, "remind", "again");
    e.due = LATER;
    add(&s, c, e);
    e = named(c, HF_OP_STEP, "charge", "tx-9");
    e.id = 1;
    e.phase = 2;
    add(&s, c, e);
    e = core_entry(c->log, HF_OP_PAUSE, "order");
    e.hash = 0;
    e.data = hf_str("stock-taking");
    add(&s, c, e);
    CORE_OK(hf_group_add(&group, &s));
    CORE_OK(hf_group_done(&group, 2, 1));
    CORE_OK(hf_group_named(&group, 3));
    CORE_OK(hf_log_append(c->log, &group));
    hf_group_free(&group);
    hf_segment_done(&s);
}

/* 11: a state of a later form, 12: a row of the actor's own table, 13: one that is gone. */
static void write_rows(core *c)
{
    hf_segment s = { .shard = HF_FACTS };
    hf_group group = { 0 };
    hf_entry e = named(c, HF_OP_SAVE, "", "sent");
    e.version = 2;
    add(&s, c, e);
    add(&s, c, named(c, HF_OP_PUT, "uline/1", "two pencils"));
    add(&s, c, named(c, HF_OP_DROP, "uline/2", ""));
    CORE_OK(hf_group_add(&group, &s));
    CORE_OK(hf_log_append(c->log, &group));
    hf_group_free(&group);
    hf_segment_done(&s);
}

/* ---- Comparing */

static int compare_row(hf_txn *txn, hf_table table, const char *name, const hf_key *key)
{
    char block[64];
    hf_bytes value;
    int wrong = 0;
    CORE_OK(hf_txn_get(txn, table, hf_key_bytes(key), &value));
    if (table != HF_IN_META) {
        (void)snprintf(block, sizeof block, "%s.key", name);
        wrong += differs(block, hf_key_bytes(key));
    }
    (void)snprintf(block, sizeof block, "%s.value", name);
    return wrong + differs(block, value);
}

static int compare_meta(hf_txn *txn, const char *name)
{
    char block[64];
    hf_key key;
    hf_key_text(&key, name);
    (void)snprintf(block, sizeof block, "meta.%s", name);
    return compare_row(txn, HF_IN_META, block, &key);
}

static int compare_log(const core *c)
{
    static const char *const names[] = { "record.1", "record.4", "record.11" };
    const uint64_t positions[] = { 1, 4, 11 };
    int wrong = 0;
    hf_txn *txn;
    CORE_OK(hf_txn_read(c->disk, &txn));
    for (int i = 0; i < 3; i++) {
        hf_key key;
        hf_bytes value;
        hf_key_number(&key, positions[i]);
        CORE_OK(hf_txn_get(txn, HF_IN_LOG, hf_key_bytes(&key), &value));
        wrong += differs(names[i], value);
    }
    wrong += compare_meta(txn, "clean") + compare_meta(txn, "next");
    hf_txn_abort(txn);
    return wrong;
}

static int compare_tables(const core *c)
{
    const uint64_t hash = hf_address_hash(SEED, ACTOR, strlen(ACTOR));
    hf_entry alarm = named(c, HF_OP_ALARM, "remind", ""), row = named(c, HF_OP_PUT, "uline/1", "");
    hf_key key;
    hf_txn *txn;
    CORE_OK(hf_txn_read(c->disk, &txn));
    int wrong = compare_meta(txn, "format") + compare_meta(txn, "seed")
        + compare_meta(txn, "folding");
    hf_key_place(&key, ACTOR, strlen(ACTOR), hash, 1);
    wrong += compare_row(txn, HF_IN_INBOX, "inbox", &key);
    hf_key_actor(&key, ACTOR, strlen(ACTOR), hash);
    wrong += compare_row(txn, HF_IN_STATE, "state", &key);
    hf_key_number(&key, 3);
    wrong += compare_row(txn, HF_IN_DEAD, "dead", &key);
    hf_key_name(&key, &alarm);
    wrong += compare_row(txn, HF_IN_ALARM_NAMES, "alarm_names", &key);
    hf_key_alarm(&key, LATER, 8);
    wrong += compare_row(txn, HF_IN_ALARMS, "alarms", &key);
    hf_key_step(&key, 1, 0, 0);
    wrong += compare_row(txn, HF_IN_STEPS, "steps", &key);
    hf_key_text(&key, "order");
    wrong += compare_row(txn, HF_IN_PAUSES, "pauses", &key);
    hf_key_name(&key, &row);
    wrong += compare_row(txn, HF_IN_ROWS, "rows", &key);
    hf_txn_abort(txn);
    return wrong;
}

static void test_store(void **state)
{
    (void)state;
    const char *path = core_directory("format", true);
    hf_log_options two = { .shards = 2 };
    core c;
    fix_seed(path);
    core_open(&c, path, NULL, &two);
    write_messages(&c);
    write_facts(&c);
    write_rows(&c);
    int wrong = compare_log(&c);
    CORE_OK(hf_log_fold_all(c.log));
    wrong += compare_tables(&c);
    core_close(&c, true);
    core_remove(path);
    assert_int_equal(wrong, 0);
}

static void test_marker(void **state)
{
    (void)state;
    hf_marker marker = { .format = HF_FORMAT, .seed = SEED };
    const char *path = core_directory("format-marker", true);
    char file[4096];
    uint8_t is[BLOCK_MAX], said[BLOCK_MAX];
    memcpy(marker.uuid, uuid, sizeof uuid);
    CORE_OK(hf_marker_write(path, &marker));
    (void)snprintf(file, sizeof file, "%s/" HF_MARKER_FILE, path);
    FILE *in = fopen(file, "r");
    assert_non_null(in);
    size_t len = fread(is, 1, sizeof is, in);
    (void)fclose(in);
    core_remove(path);
    size_t want = read_block("text", "marker", said, true);
    if (len != want || memcmp(is, said, len) != 0)
        fail_msg("the marker is\n%.*s", (int)len, (const char *)is);
}

/* A uuid's row as a store has it. */
static void test_uuid(void **state)
{
    (void)state;
    hf_rowbuf buf = { 0 };
    hf_key key;
    CORE_OK(hf_rowbuf_need(&buf, sizeof uuid + HF_ROW_EXTRA));
    memcpy(buf.bytes + 1, uuid, sizeof uuid);
    hf_key_text(&key, "uuid");
    assert_int_equal(differs("meta.uuid.value", hf_row_seal(&buf, sizeof uuid, HF_IN_META,
                                                            hf_key_bytes(&key))), 0);
    hf_rowbuf_done(&buf);
}

/* Every block was compared with something. */
static void test_all_blocks(void **state)
{
    (void)state;
    char line[LINE_MAX_BYTES];
    unsigned blocks = 0;
    FILE *file = fopen(document, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        blocks += strncmp(line, "```hex ", 7) == 0;
    (void)fclose(file);
    assert_int_equal(blocks, compared);
}

int main(int argc, char **argv)
{
    uint64_t ticks = 1;
    hf_clock still = { fixed_wall, counted_mono, &ticks };
    char *slash = document;
    for (int up = 0; slash && up < 3; up++)
        if ((slash = strrchr(document, '/')))
            *slash = '\0';
    if (!slash)
        (void)snprintf(document, sizeof document, ".");
    if (argc > 1)
        (void)snprintf(document, sizeof document, "%s", argv[1]);
    (void)snprintf(document + strlen(document), sizeof document - strlen(document),
                   "/docs/format.md");
    hf_clock_use(&still);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_marker),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_all_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
