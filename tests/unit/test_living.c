/* test_living.c - questions and plans beside a living engine, which a struct by hand
 * plays: what only it knows must be laid over what the store says; limits; arguments. */
#include "tests/unit/full_set.h"
#include "tests/unit/one_argument.h"

#include "recovery/arguments.h"
#include "recovery/change.h"

#include "storage/clock.h"
#include "storage/error.h"

static const char *path;
static full_set    full;
static hf_disk    *disk;
static hf_out      last;
static size_t      row_count;

/* ---- The engine by hand */

static struct {
    uint64_t runs, suspect, noted; /* ids; 0: none */
    bool     limited;
    hf_limited limit;
    bool     stuck, full, says_resident, resident;
    uint32_t strikes;
    uint64_t until;
    const char *undefined;  /* a type it does not define */
} engine;

static const char *type_of(void *user, uint32_t number)
{
    static const char *const names[] = { "order", "idle" };
    (void)user;
    return number < 2 ? names[number] : NULL;
}

static bool defines(void *user, const char *address, size_t len)
{
    (void)user;
    size_t type = hf_address_type_len(address, len);
    return !engine.undefined
        || !(strlen(engine.undefined) == type && memcmp(engine.undefined, address, type) == 0);
}

static bool runs(void *user, const hf_entry *message, uint64_t *since, bool *stuck)
{
    (void)user;
    if (message->id != engine.runs)
        return false;
    *since = 4321;
    *stuck = engine.stuck;
    return true;
}

static bool resident(void *user, const char *actor, bool *is)
{
    (void)user, (void)actor;
    *is = engine.resident;
    return engine.says_resident;
}

static bool suspect(void *user, uint64_t id, uint32_t *strikes, uint64_t *until)
{
    (void)user;
    *strikes = engine.strikes;
    *until = engine.until;
    return engine.suspect && id == engine.suspect;
}

static bool is_full(void *user)
{
    (void)user;
    return engine.full;
}

static void stats(void *user, hf_out *row)
{
    (void)user;
    hf_out_uint(row, "waiting", 77);
}

static size_t note(void *user, uint64_t id, uint8_t *out)
{
    (void)user;
    if (id != engine.noted)
        return 0;
    memcpy(out, "half", 4);
    return 4;
}

static bool limit(void *user, const char *address, size_t len, hf_limited *out)
{
    (void)user, (void)address, (void)len;
    *out = engine.limit;
    return engine.limited;
}

static uint64_t engine_time(void *user)
{
    (void)user;
    return hf_clock_wall_ms();
}

static const hf_living living = { .type = type_of,
                                  .defines = defines,
                                  .runs = runs,
                                  .resident = resident,
                                  .suspect = suspect,
                                  .note = note,
                                  .now = engine_time,
                                  .full = is_full,
                                  .stats = stats,
                                  .limit = limit };

/* ---- Asking */

static int keep_last(void *user, hf_bytes row)
{
    int *stop = user;
    row_count++;
    hf_out_clear(&last);
    hf_out_raw(&last, NULL, row);
    return stop ? *stop : HF_OK;
}

static hf_inquiry inquiry(const hf_living *by, int *stop)
{
    row_count = 0;
    return (hf_inquiry){ .disk = disk, .living = by, .source = "engine", .pid = 1,
                         .each = keep_last, .user = stop };
}

static int ask(const char *question, hf_bytes arguments)
{
    hf_inquiry i = inquiry(&living, NULL);
    return hf_inquire(&i, question, arguments);
}

static hf_argument field(const char *name, hf_argument_type type)
{
    hf_argument a = { .name = name, .type = type };
    assert_int_equal(hf_arguments_known("row", hf_out_bytes(&last), &a, 1), HF_OK);
    return a;
}

static const char *words(const char *name)
{
    static char text[4][300];
    static int turn;
    hf_argument a = field(name, HF_ARG_TEXT);
    if (!a.given)
        return "";
    char *out = text[turn++ % 4];
    (void)snprintf(out, sizeof text[0], HF_FMT, HF_ARG(a.bytes));
    return out;
}

static hf_bytes about(const char *actor, uint64_t limit)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_text(&args, "actor", hf_str(actor));
    hf_out_uint(&args, "limit", limit);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static hf_bytes one_number(const char *name, uint64_t number)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_uint(&args, name, number);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static const char *why(const char *actor)
{
    assert_int_equal(ask("actor", about(actor, 10)), HF_OK);
    return words("why");
}

static int begin(void **state)
{
    (void)state;
    memset(&engine, 0, sizeof engine);
    return 0;
}

/* ---- Why an actor does not go on */

static void test_why(void **state)
{
    (void)state;
    uint64_t now = hf_clock_wall_ms();
    assert_string_equal(why("order/1"), "ready");
    engine.full = true;
    assert_string_equal(why("order/1"), "full");
    engine.suspect = 1; /* its first message */
    assert_string_equal(why("order/1"), "suspect");
    engine.strikes = 2;
    engine.until = now - 1000; /* over */
    assert_string_equal(why("order/1"), "suspect");
    engine.until = now + 100000;
    assert_string_equal(why("order/1"), "strike");
    assert_int_equal(field("until", HF_ARG_UINT).number, engine.until);
    engine.undefined = "order";
    assert_string_equal(why("order/1"), "undefined");
    engine.runs = full.waiting; /* though another one is first */
    assert_string_equal(why("order/1"), "running");
    assert_int_equal(field("since", HF_ARG_UINT).number, 4321);
    assert_int_equal(field("id", HF_ARG_UINT).number, full.waiting);
    engine.stuck = true;
    assert_string_equal(why("order/1"), "stuck");
    assert_string_equal(why("paid/1"), "paused");
    assert_string_equal(words("reason"), "lunch");
    assert_string_equal(why("quiet/1"), "nothing");
    assert_int_equal(field("alarms", HF_ARG_ARRAY).count, 1);
}

static void test_why_later(void **state)
{
    (void)state;
    hf_out pause = { 0 };
    assert_string_equal(why("late/1"), "delayed");
    assert_true(field("until", HF_ARG_UINT).number > hf_clock_wall_ms());
    assert_string_equal(why("try/1"), "retry");
    assert_string_equal(words("reason"), "no answer");
    assert_string_equal(why("try/2"), "ready"); /* its time has come */
    hf_inquiry i = inquiry(NULL, NULL); /* without an engine nothing goes on */
    assert_int_equal(hf_inquire(&i, "actor", about("late/1", 10)), HF_OK);
    assert_string_equal(words("why"), "stopped");
    engine.says_resident = engine.resident = true;
    assert_int_equal(ask("actor", about("none/1", 10)), HF_OK);
    assert_true(field("known", HF_ARG_BOOL).number);
    assert_true(field("resident", HF_ARG_BOOL).number);
    engine.resident = false;
    assert_int_equal(ask("actor", about("none/1", 10)), HF_OK);
    assert_false(field("known", HF_ARG_BOOL).number);
    hf_out_done(&pause);
}

/* A limit of the type holds it, and how far the running turn has got. */
static void test_limits_of_a_type(void **state)
{
    (void)state;
    engine.limited = true;
    engine.limit = (hf_limited){ .rate = 5, .rate_ms = 1000 };
    assert_string_equal(why("order/1"), "ready"); /* it has one, and is within */
    engine.limit.held = true;
    assert_string_equal(why("order/1"), "rate");
    assert_int_equal(field("rate", HF_ARG_UINT).number, 5);
    engine.limit = (hf_limited){ .held = true, .breaker = true, .open = true, .failures = 9 };
    assert_string_equal(why("order/1"), "breaker");
    assert_int_equal(field("failures", HF_ARG_UINT).number, 9);
    assert_int_equal(ask("stats", hf_view(NULL, 0)), HF_OK);
    assert_int_equal(field("limits", HF_ARG_ARRAY).count, 2); /* both types that are defined */
    engine.limited = false;
    assert_int_equal(ask("stats", hf_view(NULL, 0)), HF_OK);
    assert_int_equal(field("limits", HF_ARG_ARRAY).count, 0);
    engine.runs = engine.noted = full.waiting;
    assert_int_equal(ask("message", one_number("id", full.waiting)), HF_OK);
    assert_int_equal(field("progress", HF_ARG_BIN).bytes.len, 4);
    assert_string_equal(why("order/1"), "running");
    assert_int_equal(field("progress", HF_ARG_BIN).bytes.len, 4);
}

/* Alarms come by their time, the soonest are told; so are messages and dead ones. */
static void test_limits_of_an_actor(void **state)
{
    (void)state;
    for (uint64_t limit = 0; limit < 4; limit++) {
        assert_int_equal(ask("actor", about("order/1", limit)), HF_OK);
        assert_int_equal(field("inbox", HF_ARG_ARRAY).count, limit);
        assert_int_equal(field("dead_letters", HF_ARG_ARRAY).count, limit < 2 ? limit : 2);
        assert_int_equal(field("dead", HF_ARG_UINT).number, 2);
        assert_int_equal(ask("actor", about("bell/1", limit)), HF_OK);
        hf_argument alarms = field("alarms", HF_ARG_ARRAY), one[] = {
            { .name = "name", .type = HF_ARG_TEXT }, { .name = "due", .type = HF_ARG_UINT } };
        assert_int_equal(alarms.count, limit);
        for (uint64_t i = 0; i < limit; i++) {
            one[0].given = one[1].given = false;
            assert_int_equal(hf_arguments_next("alarm", &alarms.bytes, one, 2), HF_OK);
            assert_int_equal(one[1].number, 100 * (i + 1));
        }
    }
    assert_true(field("known", HF_ARG_BOOL).number); /* only alarms */
    assert_int_equal(ask("actor", about("order/1", 1001)), HF_EINVAL);
    assert_int_equal(ask("actor", one_text("actor", "order/2")), HF_OK);
    hf_argument known = field("inbox", HF_ARG_ARRAY);
    assert_true(known.count > 1);
}

/* ---- The other questions */

static void test_stats(void **state)
{
    (void)state;
    assert_int_equal(ask("stats", hf_view(NULL, 0)), HF_OK);
    assert_int_equal(field("waiting", HF_ARG_UINT).number, 77);
    assert_false(field("full", HF_ARG_BOOL).number);
    assert_false(field("last_stop", HF_ARG_TEXT).given);
    hf_disk_note_stop(disk, HF_EIO, "the disk is gone");
    assert_int_equal(ask("stats", hf_view(NULL, 0)), HF_OK);
    assert_non_null(strstr(words("last_stop"), "HF_EIO: input/output error\nthe disk is gone"));
    hf_disk_forget_stop(disk);
    assert_int_equal(ask("stats", hf_view(NULL, 0)), HF_OK);
    assert_false(field("last_stop", HF_ARG_TEXT).given);
}

static void test_lists(void **state)
{
    (void)state;
    int stop = 0;
    hf_out two = { 0 };
    assert_int_equal(ask("ls", hf_view(NULL, 0)), HF_OK);
    size_t types = field("groups", HF_ARG_UINT).number; /* with "idle", which has none */
    assert_int_equal(row_count, types + 1);
    assert_int_equal(ask("ls", one_text("where", "type = idle")), HF_OK);
    assert_int_equal(field("groups", HF_ARG_UINT).number, 0);
    assert_int_equal(ask("ls", one_number("limit", 2)), HF_OK);
    assert_int_equal(row_count, 3);
    assert_int_equal(field("groups", HF_ARG_UINT).number, types);
    assert_int_equal(ask("ls", one_number("limit", 100001)), HF_EINVAL);
    assert_int_equal(ask("ls", one_text("by", "error")), HF_EINVAL);
    stop = 55;
    hf_inquiry i = inquiry(&living, &stop);
    assert_int_equal(hf_inquire(&i, "ls", hf_view(NULL, 0)), 55);
    assert_int_equal(row_count, 1);
    i = inquiry(&living, &stop);
    assert_int_equal(hf_inquire(&i, "messages", hf_view(NULL, 0)), 55);
    assert_int_equal(row_count, 1);
    assert_int_equal(ask("messages", one_number("limit", 100001)), HF_EINVAL);
    assert_int_equal(ask("messages", one_number("limit", 0)), HF_OK);
    assert_int_equal(row_count, 1); /* how many there would be */
    assert_true(field("matched", HF_ARG_UINT).number > 20);
    assert_true(field("more", HF_ARG_BOOL).number);
    /* Selections that nothing can match look at nothing. */
    static const char *const nothing[] = { "actor = order", "type = 'order/1'", "type = ''" };
    for (size_t n = 0; n < 3; n++) {
        assert_int_equal(ask("messages", one_text("where", nothing[n])), HF_OK);
        assert_int_equal(field("matched", HF_ARG_UINT).number, 0);
    }
    hf_out_done(&two);
}

static void test_one_message(void **state)
{
    (void)state;
    engine.suspect = full.retrying;
    engine.strikes = 3;
    assert_int_equal(ask("message", one_number("id", full.retrying)), HF_OK);
    assert_int_equal(field("strikes", HF_ARG_UINT).number, 3);
    assert_int_equal(field("attempts", HF_ARG_ARRAY).count, 20); /* of 24 */
    hf_argument steps = field("steps", HF_ARG_ARRAY);
    assert_int_equal(steps.count, 3);
    hf_argument one[] = { { .name = "name", .type = HF_ARG_TEXT },
                          { .name = "result", .type = HF_ARG_BIN },
                          { .name = "undone", .type = HF_ARG_BOOL } };
    assert_int_equal(hf_arguments_next("step", &steps.bytes, one, 3), HF_OK);
    assert_false(one[1].given); /* only begun */
    engine.undefined = "order";
    engine.suspect = 0;
    assert_int_equal(ask("message", one_number("id", full.waiting)), HF_OK);
    assert_string_equal(words("status"), "held");
    assert_false(field("strikes", HF_ARG_UINT).given);
    assert_int_equal(ask("message", hf_view(NULL, 0)), HF_EINVAL);
}

/* ---- Plans */

static int plan(const char *change, hf_bytes arguments)
{
    hf_plan p = { .count = 0 };
    hf_inquiry i = inquiry(&living, NULL);
    int err = hf_plan_make(&p, &i, change, arguments);
    hf_plan_done(&p);
    hf_out_done(&i.row);
    return err;
}

static void rejects(const char *change, hf_bytes arguments, int err, const char *says)
{
    assert_int_equal(plan(change, arguments), err);
    if (!strstr(hf_error_detail(), says))
        fail_msg("%s: \"%s\" is not in \"%s\"", change, says, hf_error_detail());
}

static hf_bytes ids_and(size_t count, const char *name, const char *text)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "ids");
    for (size_t i = 0; i < count; i++)
        hf_out_uint(&args, NULL, 5000000 + i);
    hf_out_end(&args);
    if (name)
        hf_out_text(&args, name, hf_str(text));
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static hf_bytes letters(size_t count, const char *to, const char *kind)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "letters");
    for (size_t i = 0; i < count; i++) {
        hf_out_map(&args, NULL);
        if (to)
            hf_out_text(&args, "to", hf_str(to));
        hf_out_text(&args, "kind", hf_str(kind));
        hf_out_end(&args);
    }
    hf_out_end(&args);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static void test_what_plans_refuse(void **state)
{
    (void)state;
    static char longer[1002];
    memset(longer, 'x', 1001);
    rejects("requeue", ids_and(0, NULL, NULL), HF_EINVAL, "1 .. 1000");
    rejects("requeue", ids_and(1001, NULL, NULL), HF_EINVAL, "1 .. 1000");
    rejects("requeue", ids_and(1, "reason", longer), HF_EINVAL, "at most 1000");
    rejects("requeue", ids_and(1, longer, "x"), HF_EINVAL, "no argument `xxxx");
    rejects("pause", one_text("what", longer), HF_EINVAL, "too long");
    longer[256] = 0;
    rejects("pause", one_text("what", longer), HF_EINVAL, "too long");
    longer[255] = 0;
    rejects("pause", one_text("what", longer), HF_EINVAL, "neither a type nor an actor");
    longer[255] = longer[256] = 'x';
    engine.undefined = "ordr";
    rejects("pause", one_text("what", "ordr"), HF_ENOTYPE, "ordr");
    rejects("resume", hf_view(NULL, 0), HF_EINVAL, "`what` is missing");
    rejects("send", letters(0, "a/1", ""), HF_EINVAL, "1 .. 1000");
    rejects("send", letters(1001, "a/1", ""), HF_EINVAL, "1 .. 1000");
    rejects("send", letters(1, NULL, ""), HF_EINVAL, "without `to`");
    rejects("send", letters(1, longer, ""), HF_EINVAL, "is no address");
    longer[128] = 0;
    rejects("send", letters(1, "a/1", longer), HF_EINVAL, "at most 127");
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_text(&args, "what", hf_str("order"));
    longer[128] = 'x';
    hf_out_text(&args, "reason", hf_str(longer));
    hf_out_end(&args);
    rejects("pause", hf_out_bytes(&args), HF_EINVAL, "at most 1000");
}

static void test_running_turns(void **state)
{
    (void)state;
    hf_inquiry i = inquiry(&living, NULL);
    uint64_t running = 7;
    assert_int_equal(hf_plan_running(&i, "order", &running), HF_OK);
    assert_int_equal(running, 0);
    engine.runs = full.waiting;
    assert_int_equal(hf_plan_running(&i, "order", &running), HF_OK);
    assert_int_equal(running, 1);
    assert_int_equal(hf_plan_running(&i, "order/2", &running), HF_OK);
    assert_int_equal(running, 0);
}

/* ---- Arguments */

static void test_argument_types(void **state)
{
    (void)state;
    static const struct {
        const char      *bytes;
        size_t           len;
        hf_argument_type type;
        int              err;
    } rows[] = {
        { "\x81\xa1" "a\xa1x", 5, HF_ARG_TEXT, HF_OK },
        { "\x81\xa1" "a\xa1\x00", 5, HF_ARG_TEXT, HF_EINVAL },  /* holds a zero */
        { "\x81\xa1" "a\xa0", 4, HF_ARG_TEXT, HF_OK },
        { "\x81\xa1" "a\x01", 4, HF_ARG_TEXT, HF_EINVAL },
        { "\x81\xa1" "a\xc4\x01x", 6, HF_ARG_BIN, HF_OK },
        { "\x81\xa1" "a\xa1x", 5, HF_ARG_BIN, HF_OK },
        { "\x81\xa1" "a\x01", 4, HF_ARG_BIN, HF_EINVAL },
        { "\x81\xa1" "a\x01", 4, HF_ARG_UINT, HF_OK },
        { "\x81\xa1" "a\xff", 4, HF_ARG_UINT, HF_EINVAL },      /* -1 */
        { "\x81\xa1" "a\xff", 4, HF_ARG_INT, HF_OK },
        { "\x81\xa1" "a\x01", 4, HF_ARG_INT, HF_OK },
        { "\x81\xa1" "a\xa1x", 5, HF_ARG_INT, HF_EINVAL },
        { "\x81\xa1" "a\xc3", 4, HF_ARG_BOOL, HF_OK },
        { "\x81\xa1" "a\x01", 4, HF_ARG_BOOL, HF_EINVAL },
        { "\x81\xa1" "a\x91\x81\x01\x02", 7, HF_ARG_ARRAY, HF_OK },
        { "\x81\xa1" "a\x80", 4, HF_ARG_ARRAY, HF_EINVAL },
        { "\x81\xa1" "a\xc0", 4, HF_ARG_ARRAY, HF_OK },         /* nil: not given */
        { "\x81\xa1" "b\x01", 4, HF_ARG_UINT, HF_EINVAL },
        { "\x82\xa1" "a\x01\xa1" "a\x01", 7, HF_ARG_UINT, HF_EINVAL },
        { "\x81\x01\x01", 3, HF_ARG_UINT, HF_EINVAL },
        { "\x91\x01", 2, HF_ARG_UINT, HF_EINVAL },
        { "\x81", 1, HF_ARG_UINT, HF_EINVAL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hf_argument a = { .name = "a", .type = rows[i].type };
        assert_int_equal(hf_arguments_read("it", hf_view(rows[i].bytes, rows[i].len), &a, 1),
                         rows[i].err);
        assert_true(a.given == (!rows[i].err && i != 16) || rows[i].err);
    }
}

/* What was not scanned before, as the elements of a list, may end anywhere. */
static void test_arguments_cut_short(void **state)
{
    (void)state;
    static const uint8_t whole[] = { 0x82, 0xa1, 'b', 0x92, 0x01, 0x02, 0xa1, 'a', 0x05 };
    for (size_t len = 0; len < sizeof whole; len++) {
        hf_argument a = { .name = "a", .type = HF_ARG_UINT };
        int err = hf_arguments_known("it", hf_view(whole, len), &a, 1);
        assert_int_equal(err, HF_EINVAL);
        assert_true(*hf_error_detail());
    }
    hf_argument a = { .name = "a", .type = HF_ARG_UINT };
    assert_int_equal(hf_arguments_known("it", hf_view(whole, sizeof whole), &a, 1), HF_OK);
    assert_int_equal(a.number, 5);
    uint64_t number;
    hf_bytes rest = hf_view(whole, 0);
    assert_int_equal(hf_arguments_uint("it", &rest, &number), HF_EINVAL);
    rest = hf_view("\xa1x", 2);
    assert_int_equal(hf_arguments_uint("it", &rest, &number), HF_EINVAL);
    assert_non_null(strstr(hf_error_detail(), "numbers are wanted"));
    int err = 1;
    assert_null(hf_argument_copy(&(hf_argument){ .name = "a" }, &err));
    assert_int_equal(err, HF_OK);
    char *copy = hf_argument_copy(&(hf_argument){ .name = "a", .given = true }, &err);
    assert_string_equal(copy, "");
    free(copy);
}

static void test_quoted_selections(void **state)
{
    (void)state;
    hf_where *where;
    hf_message msg = { .to = "a/say \"hi\\\"", .from = "", .kind = "", .error = "" };
    assert_int_equal(hf_where_about(&where, "actor", msg.to), HF_OK);
    assert_true(hf_where_match(where, &msg, 0));
    msg.to = "a/say";
    assert_false(hf_where_match(where, &msg, 0));
    hf_where_free(where);
}

static void put_more(core *c)
{
    uint64_t later = hf_clock_wall_ms() + 3600000;
    full_retry(c, "late/1", core_send(c, "late/1", "", hf_str("")), 0, later + 5);
    full_retry(c, "late/1", core_send(c, "late/1", "", hf_str("")), 0, later);
    full_retry(c, "late/1", core_send(c, "late/1", "", hf_str("")), 0, later + 9);
    full_retry(c, "try/1", core_send(c, "try/1", "", hf_str("")), 2, later);
    full_retry(c, "try/2", core_send(c, "try/2", "", hf_str("")), 2, 1);
    (void)full_alarm(c, "bell/1", "d", 300);
    (void)full_alarm(c, "bell/1", "c", 400);
    (void)full_alarm(c, "bell/1", "b", 100);
    (void)full_alarm(c, "bell/1", "e", 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_why, begin),
        cmocka_unit_test_setup(test_why_later, begin),
        cmocka_unit_test_setup(test_limits_of_a_type, begin),
        cmocka_unit_test_setup(test_limits_of_an_actor, begin),
        cmocka_unit_test_setup(test_stats, begin),
        cmocka_unit_test_setup(test_lists, begin),
        cmocka_unit_test_setup(test_one_message, begin),
        cmocka_unit_test_setup(test_what_plans_refuse, begin),
        cmocka_unit_test_setup(test_running_turns, begin),
        cmocka_unit_test(test_argument_types),
        cmocka_unit_test(test_arguments_cut_short),
        cmocka_unit_test(test_quoted_selections),
    };
    core c;
    path = core_directory("living", true);
    core_open(&c, path, NULL, NULL);
    full = full_fill(&c);
    put_more(&c);
    disk = c.disk;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_close(&c, true);
    core_remove(path);
    hf_out_done(&args);
    hf_out_done(&last);
    return failed;
}
