/* test_plans.c - plans of changes by ids and of edits: what is left as it is, what only a
 * living engine's shard may do, and what is refused, with nothing done. */
#include "tests/unit/asked.h"
#include "tests/unit/rich_set.h"

#include "recovery/holdfast_recovery.h"

static char     path[200];
static core     c;
static rich_set rich;

/* ---- An engine by hand, which defines one type */

static bool defines(void *user, const char *address, size_t len)
{
    (void)user;
    return len >= 5 && memcmp(address, "order", 5) == 0;
}

static uint64_t running;

static bool runs(void *user, const hf_entry *message, uint64_t *since, bool *stuck)
{
    (void)user;
    *since = 1;
    *stuck = false;
    return running && message->id == running;
}

static size_t note(void *user, uint64_t id, uint8_t out[HF_NOTE_MAX])
{
    (void)user, (void)id, (void)out;
    return 0;
}

static uint64_t engine_time(void *user)
{
    (void)user;
    return hf_clock_wall_ms();
}

static bool no_limit(void *user, const char *address, size_t len, hf_limited *out)
{
    (void)user, (void)address, (void)len, (void)out;
    return false;
}

static const hf_living living = { .defines = defines, .runs = runs, .note = note,
                                  .now = engine_time, .limit = no_limit };

static int begin(void **state)
{
    (void)state;
    core_remove(path);
    rich_fill(path, &rich);
    core_open(&c, path, NULL, NULL);
    asked.disk = c.disk;
    asked.living = NULL;
    running = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    core_close(&c, true);
    return 0;
}

/* ---- Plans */

static hf_plan plan;

static int make(const char *change, hf_bytes arguments)
{
    hf_inquiry i = asked_inquiry();
    hf_plan_done(&plan);
    int err = hf_plan_make(&plan, &i, change, arguments);
    hf_out_done(&i.row);
    if (!err && plan.row.len && !plan.pauses)
        (void)asked_keep(NULL, hf_out_bytes(&plan.row));
    return err;
}

static void is_refused(const char *change, hf_bytes arguments, int err, const char *words)
{
    assert_int_equal(make(change, arguments), err);
    asked_says(words);
    assert_int_equal(plan.facts.count + plan.ending.count + plan.delayed.count, 0);
}

static uint32_t listed(const char *name)
{
    return asked_field(0, name, HF_ARG_ARRAY).count;
}

/* Of what is planned, by where it goes. */
static void goes(uint32_t facts, uint32_t ending, uint32_t delayed)
{
    assert_int_equal(plan.facts.count, facts);
    assert_int_equal(plan.ending.count, ending);
    assert_int_equal(plan.delayed.count, delayed);
}

static hf_entry only(const hf_segment *segment)
{
    hf_entry e;
    assert_int_equal(segment->count, 1);
    assert_true(hf_entry_decode(segment->data, segment->len, &e) > 0);
    return e;
}

/* ---- Edits */

static hf_bytes edits(const uint64_t *of, size_t count, const char *body)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "edits");
    for (size_t i = 0; i < count; i++) {
        hf_out_map(&args, NULL);
        hf_out_uint(&args, "id", of[i]);
        if (body)
            hf_out_bin(&args, "body", hf_str(body));
        hf_out_end(&args);
    }
    hf_out_end(&args);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static hf_bytes edit(uint64_t id, const char *body)
{
    return edits(&id, 1, body);
}

static hf_bytes no_id(void)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "edits");
    hf_out_map(&args, NULL);
    hf_out_bin(&args, "body", hf_str("x"));
    hf_out_end(&args);
    hf_out_end(&args);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static hf_bytes large(size_t len, const char *reason)
{
    char *body = calloc(1, len + 1);
    assert_non_null(body);
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "edits");
    hf_out_map(&args, NULL);
    hf_out_uint(&args, "id", 1);
    hf_out_bin(&args, "body", hf_view(body, len));
    hf_out_end(&args);
    hf_out_end(&args);
    hf_out_text(&args, "reason", hf_str(reason));
    hf_out_end(&args);
    free(body);
    return hf_out_bytes(&args);
}

static void test_edits_refused(void **state)
{
    static uint64_t many[1001] = { 1 };
    static char longer[1002];
    (void)state;
    memset(longer, 'x', 1001);
    many[1] = 2;
    many[2] = 1;
    is_refused("edit", hf_view(NULL, 0), HF_EINVAL, "`edits` are 1 .. 1000");
    is_refused("edit", edits(many, 1001, "x"), HF_EINVAL, "`edits` are 1 .. 1000");
    is_refused("edit", edits(many, 3, "x"), HF_EINVAL, "message 1 comes twice");
    is_refused("edit", edit(1, NULL), HF_EINVAL, "has `id` and `body`");
    is_refused("edit", no_id(), HF_EINVAL, "has `id` and `body`");
    is_refused("edit", large(3, longer), HF_EINVAL, "`reason` is at most 1000");
    is_refused("edit", large((8 << 20) + 1, ""), HF_ETOOBIG, "8388609 bytes, the limit is 8388608");
    is_refused("edit", one_text("body", "x"), HF_EINVAL, "body");
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "edits");
    hf_out_uint(&args, NULL, 5); /* no map */
    hf_out_end(&args);
    hf_out_end(&args);
    is_refused("edit", hf_out_bytes(&args), HF_EINVAL, "edit");
}

/* The first body it ever had stays, be it empty; the same once more is no edit. */
static void test_first_bodies(void **state)
{
    (void)state;
    uint64_t empty = core_send(&c, "order/1", "", hf_str(""));
    assert_int_equal(make("edit", edit(empty, "new")), HF_OK);
    hf_entry e = only(&plan.facts);
    assert_int_equal(e.op, HF_OP_REQUEUE);
    assert_int_equal(e.id, empty);
    assert_int_equal(plan.facts.requeues, 0); /* there is not one more of them */
    assert_int_equal(e.first.len, 0);
    assert_non_null(e.first.data);
    assert_int_equal(make("edit", edit(empty, "")), HF_OK);
    goes(0, 0, 0);
    assert_int_equal(asked_number(0, "edited"), 1); /* it is as was asked for */
    assert_int_equal(make("edit", edit(rich.edited, "third")), HF_OK);
    e = only(&plan.facts);
    assert_memory_equal(e.first.data, "first", 5);
    assert_int_equal(make("edit", edit(rich.edited, "second")), HF_OK);
    goes(0, 0, 0);
    assert_int_equal(make("edit", edit(rich.edited, "secone")), HF_OK);
    goes(1, 0, 0);
    assert_int_equal(make("edit", edit(1u << 30, "x")), HF_OK);
    assert_int_equal(listed("missing"), 1);
    goes(0, 0, 0);
}

/* What an engine defines its shard writes; a delayed letter too, whoever's it is. */
static void test_edits_of_an_engine(void **state)
{
    (void)state;
    uint64_t other = core_send(&c, "ship/x", "", hf_str("x"));
    const uint64_t of[] = { rich.parent, other, rich.later, rich.walled, rich.stepped };
    asked.living = &living;
    assert_int_equal(make("edit", edits(of, 5, "another")), HF_OK);
    goes(2, 3, 0); /* the other type's and the dead one; the rest */
    assert_int_equal(asked_number(0, "edited"), 5);
    running = rich.parent;
    assert_int_equal(make("edit", edit(rich.parent, "another")), HF_OK);
    goes(0, 0, 0);
    assert_int_equal(listed("running"), 1);
}

/* What has its end before it, what replaces each other, what no handler sees. */
static void test_not_edited(void **state)
{
    (void)state;
    hf_entry e = full_entry(&c, HF_OP_SEND, "order/9", 0, "tick", "old");
    e.flags = HF_ENTRY_CONFLATES;
    uint64_t conflates = core_put(&c, 0, &e);
    e.attempt = 1; /* it runs alone, and is replaced no more */
    uint64_t begun = core_put(&c, 0, &e);
    e.attempt = 0;
    e.flags = HF_ENTRY_CONFLICT;
    uint64_t conflict = core_put(&c, 0, &e);
    e.flags = 0;
    e.cause = HF_CAUSE_ENDED;
    uint64_t told = core_put(&c, 0, &e);
    e.cause = 0;
    e.phase = 1;
    uint64_t ending = core_put(&c, 0, &e);
    const uint64_t of[] = { conflates, conflict, told, ending };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(make("edit", edit(of[i], "new")), HF_OK);
        assert_int_equal(listed("unchanged"), 1);
        goes(0, 0, 0);
    }
    assert_int_equal(make("edit", edit(begun, "new")), HF_OK);
    assert_int_equal(listed("unchanged"), 0);
    goes(1, 0, 0);
    e.phase = 0;
    assert_int_equal(make("cancel", text_and_number(NULL, NULL, NULL, 0)), HF_EINVAL);
}

/* ---- By ids */

static hf_bytes by_id(uint64_t id, const char *name, const char *text, uint64_t number)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "ids");
    hf_out_uint(&args, NULL, id);
    hf_out_uint(&args, NULL, id); /* twice is once */
    hf_out_end(&args);
    if (text)
        hf_out_text(&args, name, hf_str(text));
    else if (name)
        hf_out_uint(&args, name, number);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static void test_requeues(void **state)
{
    const uint64_t century = (uint64_t)100 * 366 * 24 * 3600 * 1000;
    (void)state;
    is_refused("requeue", by_id(1, "delay_ms", NULL, century + 1), HF_EINVAL, "100 years");
    is_refused("requeue", by_id(1, "to", "nobody", 0), HF_EINVAL, "`to` is no address");
    assert_int_equal(make("requeue", by_id(rich.stepped, "delay_ms", NULL, 5000)), HF_OK);
    hf_entry e = only(&plan.facts);
    assert_true(e.due > 5000);
    assert_int_equal(e.place, rich.stepped);
    assert_int_equal(make("requeue", by_id(rich.later, "delay_ms", NULL, 5000)), HF_OK);
    goes(0, 0, 0); /* it waits already */
    assert_int_equal(listed("unchanged"), 1);
    assert_int_equal(make("requeue", by_id(rich.parent, "to", "order/2", 0)), HF_OK);
    goes(0, 0, 0); /* only dead ones go elsewhere */
    assert_int_equal(make("requeue", by_id(rich.stepped, "to", "ship/2", 0)), HF_OK);
    assert_string_equal(only(&plan.facts).to, "ship/2");
    asked.living = &living;
    is_refused("requeue", by_id(rich.stepped, "to", "ship/2", 0), HF_ENOTYPE, "ship/2");
    assert_int_equal(make("requeue", by_id(rich.stepped, "to", "order/7", 0)), HF_OK);
    goes(1, 0, 0);
    assert_int_equal(make("requeue", by_id(rich.later, NULL, NULL, 0)), HF_OK);
    goes(0, 0, 1);
}

/* What dies all the same keeps its reason, however it is asked for. */
static void test_requeue_of_what_ends(void **state)
{
    (void)state;
    uint64_t id = core_send(&c, "order/9", "", hf_str("x"));
    hf_entry e = full_entry(&c, HF_OP_RETRY, "order/9", id, "", "");
    e.phase = 1;
    e.err = HF_EDEAD;
    e.error = "cancelled";
    e.error_len = 9;
    e.due = 4000000000000;
    core_put(&c, HF_FACTS, &e);
    assert_int_equal(make("requeue", by_id(id, NULL, NULL, 0)), HF_OK);
    hf_entry made = only(&plan.facts);
    assert_int_equal(made.phase, 1);
    assert_int_equal(made.err, HF_EDEAD);
    assert_string_equal(made.error, "cancelled");
    assert_int_equal(made.due, 0);
}

static void test_cancels(void **state)
{
    (void)state;
    hf_entry e = full_entry(&c, HF_OP_SEND, "order/9", 0, "tick", "x");
    e.flags = HF_ENTRY_CONFLATES;
    uint64_t conflates = core_put(&c, 0, &e);
    e.attempt = 2;
    uint64_t begun = core_put(&c, 0, &e);
    assert_int_equal(make("cancel", by_id(conflates, NULL, NULL, 0)), HF_OK);
    assert_int_equal(listed("unchanged"), 1);
    assert_int_equal(make("cancel", by_id(begun, "reason", "why", 0)), HF_OK);
    assert_string_equal(only(&plan.facts).error, "cancelled: why");
    uint64_t other = core_send(&c, "ship/x", "", hf_str("x"));
    asked.living = &living;
    assert_int_equal(make("cancel", by_id(other, NULL, NULL, 0)), HF_OK);
    goes(1, 0, 0); /* nobody here would bury it */
    assert_int_equal(make("cancel", by_id(begun, NULL, NULL, 0)), HF_OK);
    goes(0, 1, 0);
    assert_int_equal(make("cancel", by_id(rich.later, NULL, NULL, 0)), HF_OK);
    goes(0, 0, 1);
    /* One that was edited is what it was: a message of an alarm, or a letter. */
    assert_int_equal(make("cancel", by_id(rich.edited, NULL, NULL, 0)), HF_OK);
    assert_int_equal(only(&plan.ending).op, HF_OP_SEND);
    uint64_t id = core_send(&c, "order/9", "ring", hf_str(""));
    e = full_entry(&c, HF_OP_REQUEUE, "order/9", id, "ring", "edited");
    e.cause = HF_ALARM;
    core_put(&c, HF_FACTS, &e);
    assert_int_equal(make("cancel", by_id(id, NULL, NULL, 0)), HF_OK);
    assert_int_equal(only(&plan.ending).op, HF_OP_DUE);
    running = id;
    assert_int_equal(make("cancel", by_id(id, NULL, NULL, 0)), HF_OK);
    assert_int_equal(listed("asked"), 1);
    assert_int_equal(plan.asked_count, 1);
}

/* A damaged message is no missing one. */
static void test_damaged(void **state)
{
    static const char *const changes[] = { "edit", "requeue", "purge" };
    hf_txn *txn;
    hf_key key;
    (void)state;
    hf_key_number(&key, 1u << 20);
    CORE_OK(hf_txn_write(c.disk, &txn));
    asked_put(txn, HF_IN_DEAD, &key, "12345678 nothing", 16);
    CORE_OK(hf_txn_commit(txn));
    for (int i = 0; i < 3; i++) {
        hf_bytes arguments = i ? by_id(1u << 20, NULL, NULL, 0) : edit(1u << 20, "x");
        is_refused(changes[i], arguments, HF_ECORRUPT, "a message can't be read");
    }
    is_refused("sand", hf_view(NULL, 0), HF_EINVAL, "no such change: sand");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_edits_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_first_bodies, begin, end),
        cmocka_unit_test_setup_teardown(test_edits_of_an_engine, begin, end),
        cmocka_unit_test_setup_teardown(test_not_edited, begin, end),
        cmocka_unit_test_setup_teardown(test_requeues, begin, end),
        cmocka_unit_test_setup_teardown(test_requeue_of_what_ends, begin, end),
        cmocka_unit_test_setup_teardown(test_cancels, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged, begin, end),
    };
    (void)snprintf(path, sizeof path, "%s", core_directory("plans", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hf_plan_done(&plan);
    core_remove(path);
    asked_done();
    return failed;
}
