/* test_join.c - hf_join: a parent is told once, after the last of its children ended. */
#include "tests/support/crowds.h"

static atomic_int children, told, joined, lost, hooks, failing, noted, plain;
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_kind[160];
static size_t last_len;

static void forget_all(void)
{
    atomic_int *all[] = { &children, &told, &joined, &lost, &wrong, &hooks, &failing, &noted,
                          &plain };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        atomic_store(all[i], 0);
    fill_big();
    last_kind[0] = 0;
    last_len = 0;
}

/* ---- Actors */

static int child(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "bad") == 0 && !atomic_load(&plain))
        return hf_bury(turn, "a bad one");
    if (strcmp(msg->kind, "late") == 0 && msg->attempt < 3)
        return hf_fail(turn, 1, "not yet");
    if (strcmp(msg->kind, "on") == 0)
        hf_forward(turn, "further", hf_str(""));
    if (msg->cause != HF_SENT || msg->joined || msg->lost || msg->about)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&children, 1);
    return HF_OK;
}

static int further(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (msg->cause != HF_SENT)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&noted, 1);
    return HF_OK;
}

/* Told to the parent: how many of each kind, "good 3 bad 1", and to which type. */
typedef struct order {
    char type[8];
    int  good, bad, late, on;
    bool body, first; /* hf_join before the letters */
    int  wanted;      /* children in all */
} order;

static void send_some(hf_turn *turn, const order *o, const char *kind, int count)
{
    char to[32];
    for (int i = 0; i < count; i++) {
        (void)snprintf(to, sizeof to, "%s/%s-%d", o->type, kind, i % 7);
        hf_send_letter(turn, HF_LETTER(.to = to, .kind = kind, .join = 1,
                                       .body = hf_view(big, 100)));
        if (i == 0) /* others don't count */
            hf_send(turn, "on/x", "beside", hf_str(""));
    }
}

static int parent(hf_turn *turn, const hf_message *msg)
{
    order o;
    if (msg->cause == HF_JOINED) {
        if (atomic_load(&failing) && msg->attempt < 3)
            return hf_fail(turn, 1, "not yet");
        pthread_mutex_lock(&last_lock);
        (void)snprintf(last_kind, sizeof last_kind, "%s", msg->kind);
        last_len = msg->body.len;
        pthread_mutex_unlock(&last_lock);
        if (msg->about || strcmp(msg->from, msg->to) != 0
            || (msg->body.len == BIG && !is_big(msg->body)))
            atomic_fetch_add(&wrong, 1);
        atomic_store(&joined, (int)msg->joined);
        atomic_store(&lost, (int)msg->lost);
        atomic_fetch_add(&told, 1);
        return HF_OK;
    }
    if (msg->body.len != sizeof o || msg->cause != HF_SENT)
        return hf_bury(turn, "no order, cause %d", (int)msg->cause);
    memcpy(&o, msg->body.data, sizeof o);
    hf_bytes body = o.body ? hf_view(big, BIG) : hf_view(NULL, 0);
    if (o.first)
        hf_join(turn, msg->kind, body);
    send_some(turn, &o, "good", o.good);
    send_some(turn, &o, "bad", o.bad);
    send_some(turn, &o, "late", o.late);
    send_some(turn, &o, "on", o.on);
    if (!o.first)
        hf_join(turn, msg->kind, body);
    return HF_OK;
}

static void hook(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (msg->cause != HF_SENT && msg->cause != HF_JOINED)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&hooks, 1);
}

static const hf_type types[] = {
    { .name = "m", .handle = parent, .failed = hook, .retry_ms = 1 },
    { .name = "pm", .handle = parent, .failed = hook, .threads = 2, .retry_ms = 1 },
    { .name = "c", .handle = child, .next = "on", .retry_ms = 1 },
    { .name = "pc", .handle = child, .next = "on", .threads = 2, .retry_ms = 1 },
    { .name = "w", .handle = child, .next = "on", .threads = 2, .workers = 2, .retry_ms = 1 },
    { .name = "on", .handle = further },
    { .name = "flood", .handle = swallow }, { 0 } };

static int count_one(void *user, hf_bytes key, hf_bytes payload)
{
    (void)key, (void)payload;
    ++*(int *)user;
    return HF_OK;
}

static int rows_of(hf_engine *e)
{
    hf_view_of *view;
    int rows = 0;
    ring_ok(hf_view_open(&view, e->disk));
    ring_ok(hf_view_walk(view, HF_IN_ROWS, hf_view(NULL, 0), count_one, &rows));
    hf_view_close(view);
    return rows;
}

/* ---- All of them, then once */

static void test_told_once(void **state)
{
    static const char *const parents[] = { "m/1", "pm/1" }, *const kinds[] = { "c", "pc", "w" };
    static const order orders[] = {
        { .good = 1 }, { .bad = 1, .body = true }, { .good = 40, .bad = 3, .body = true },
        { .good = 10, .late = 5, .first = true }, { .on = 6, .bad = 2, .first = true },
        { .good = 300, .bad = 30, .late = 1, .body = true, .first = true }, { .good = 0 } };
    (void)state;
    hf_engine *e = open_with("once", types, 256 << 10);
    for (int p = 0; p < 2; p++) {
        for (int c = 0; c < 3; c++) {
            for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
                order o = orders[i];
                forget_all();
                (void)snprintf(o.type, sizeof o.type, "%s", kinds[c]);
                ring_ok(hf_tell(e, parents[p], "all", hf_view(&o, sizeof o)));
                flush(e);
                assert_int_equal(atomic_load(&told), 1);
                assert_int_equal(atomic_load(&joined), o.good + o.late + o.on);
                assert_int_equal(atomic_load(&lost), o.bad);
                assert_string_equal(last_kind, "all");
                assert_int_equal(last_len, o.body ? BIG : 0);
                assert_int_equal(atomic_load(&hooks), 0);
            }
        }
    }
    assert_int_equal(rows_of(e), 0); /* nothing is left of any of them */
    ring_ok(hf_close(e, HF_NEVER));
}

/* The parent's handler fails when it is told; many joins of one parent at once. */
static void test_many_joins(void **state)
{
    order o = { .type = "c", .good = 20, .bad = 5 };
    (void)state;
    forget_all();
    hf_engine *e = open_with("many", types, 64 << 10);
    atomic_store(&failing, 1);
    for (int i = 0; i < 50; i++) {
        ring_ok(hf_tell(e, "m/1", "all", hf_view(&o, sizeof o)));
        ring_ok(hf_tell(e, "pm/1", "all", hf_view(&o, sizeof o)));
    }
    flush(e);
    assert_int_equal(atomic_load(&told), 100);
    assert_int_equal(atomic_load(&joined), 20);
    assert_int_equal(atomic_load(&lost), 5);
    assert_int_equal(atomic_load(&hooks), 200);
    assert_int_equal(rows_of(e), 0);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- What may not be */

static int misuse(hf_turn *turn, const hf_message *msg)
{
    char longest[140];
    memset(longest, 'k', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    const char *what = msg->kind;
    if (strcmp(what, "twice") == 0)
        hf_join(turn, "a", hf_str(""));
    if (strcmp(what, "alone") == 0 || strcmp(what, "hook") == 0)
        hf_send_letter(turn, HF_LETTER(.to = "c/1", .kind = "good", .join = 1));
    else if (strcmp(what, "dedupe") == 0)
        hf_send_letter(turn, HF_LETTER(.to = "c/1", .dedupe = "x", .join = 1));
    else if (strcmp(what, "conflate") == 0)
        hf_send_letter(turn, HF_LETTER(.to = "c/1", .conflate = 1, .join = 1));
    else if (strcmp(what, "kind") == 0)
        hf_join(turn, longest, hf_str(""));
    else if (strcmp(what, "body") == 0)
        hf_join(turn, "a", hf_view(big, 2 << 20));
    else if (strcmp(what, "null") == 0)
        hf_join(turn, "a", hf_view(NULL, 2));
    if (strcmp(what, "hook") == 0)
        return hf_bury(turn, "so that the hook is asked");
    if (strcmp(what, "alone") != 0)
        hf_join(turn, "a", hf_str(""));
    return HF_OK;
}

static void joining_hook(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "hook") != 0)
        return;
    hf_send(turn, "c/1", "good", hf_str("")); /* is dropped with the rest */
    hf_join(turn, "a", hf_str(""));
    atomic_fetch_add(&hooks, 1);
}

static int count_messages(void *user, const hf_message *msg)
{
    *(int *)user += strstr(msg->error, "join") || strstr(msg->error, "body")
        || strstr(msg->error, "kind") || strstr(msg->error, "hook");
    return HF_OK;
}

static void test_misuse(void **state)
{
    static const hf_type bad_types[] = {
        { .name = "x", .handle = misuse, .failed = joining_hook, .tries = 1 },
        { .name = "xw", .handle = misuse, .threads = 2, .workers = 2, .tries = 1 },
        { .name = "c", .handle = child, .tries = 1 }, { 0 } };
    static const char *const words[] = { "twice", "alone", "dedupe", "conflate", "kind", "body",
                                         "null", "hook" };
    hf_stats stats = HF_STATS;
    hf_store *store = NULL;
    int about_joins = 0;
    (void)state;
    forget_all();
    hf_engine *e = open_with("misuse", bad_types, 256 << 10);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        ring_ok(hf_tell(e, "x/1", words[i], hf_str("")));
    ring_ok(hf_tell(e, "xw/1", "workers", hf_str("")));
    flush(e);
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.dead, 9);
    assert_int_equal(atomic_load(&children), 0);
    assert_int_equal(atomic_load(&hooks), 1);
    ring_err(hf_mail(e, HF_LETTER(.to = "c/1", .join = 1), 1, NULL), HF_EINVAL);
    ring_err(hf_post(e, HF_LETTER(.to = "c/1", .join = 1), 1, NULL, NULL), HF_EINVAL);
    ring_err(hf_mail(e, HF_LETTER(.to = "@t", .join = 1), 1, NULL), HF_EINVAL);
    ring_ok(hf_store_open(&store, ring_path("misuse"), 1000));
    ring_ok(hf_find(store, "status = dead", count_messages, &about_joins));
    assert_int_equal(about_joins, 9);
    hf_store_close(store);
    assert_int_equal(rows_of(e), 0);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Through the tables, and other runs */

static void test_through_tables(void **state)
{
    static const char *const parents[] = { "m/1", "pm/1" }, *const names[] = { "tab0", "tab1" };
    (void)state;
    for (int p = 0; p < 2; p++) {
        order o = { .type = "c", .good = 30, .bad = 5, .body = true };
        forget_all();
        hf_engine *e = open_with(names[p], types, 64 << 10);
        ring_ok(hf_pause(e, "c", NULL, NULL));
        ring_ok(hf_tell(e, parents[p], "all", hf_view(&o, sizeof o)));
        fold_away(e);
        assert_int_equal(rows_of(e), 2); /* what is left to count, and the body */
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(names[p], types, 64 << 10);
        fold_away(e);
        ring_ok(hf_pause(e, p ? "pm" : "m", NULL, NULL)); /* the notes wait */
        ring_ok(hf_resume(e, "c"));
        flush(e);
        assert_int_equal(atomic_load(&told), 0);
        assert_int_equal(atomic_load(&children), 30);
        fold_away(e);
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(names[p], types, 64 << 10);
        assert_int_equal(atomic_load(&told), 0);
        ring_ok(hf_resume(e, p ? "pm" : "m"));
        flush(e);
        assert_int_equal(atomic_load(&told), 1);
        assert_int_equal(atomic_load(&joined), 30);
        assert_int_equal(atomic_load(&lost), 5);
        assert_int_equal(last_len, BIG);
        assert_int_equal(rows_of(e), 0);
        assert_int_equal(atomic_load(&hooks), 0);
        ring_ok(hf_close(e, HF_NEVER));
    }
}

/* ---- A dead child that is requeued ended before */

static void test_requeued_child(void **state)
{
    order o = { .type = "c", .bad = 4 };
    (void)state;
    for (int early = 0; early < 2; early++) {
        char name[32];
        heard h = { .count = 0 };
        forget_all();
        (void)snprintf(name, sizeof name, "requeue%d", early);
        o.good = early; /* then the join still waits for that one */
        hf_engine *e = open_with(name, types, 64 << 10);
        ring_ok(hf_pause(e, "c/good-0", NULL, NULL));
        ring_ok(hf_tell(e, "m/1", "all", hf_view(&o, sizeof o)));
        flush(e);
        assert_int_equal(atomic_load(&told), 1 - early);
        atomic_store(&plain, 1); /* this time they do well */
        requeue_all(name, &h, "status = dead");
        assert_int_equal(h.count, 4);
        flush(e);
        assert_int_equal(atomic_load(&children), 4);
        assert_int_equal(atomic_load(&told), 1 - early);
        ring_ok(hf_resume(e, "c/good-0"));
        flush(e);
        assert_int_equal(atomic_load(&told), 1);
        assert_int_equal(atomic_load(&joined), early);
        assert_int_equal(atomic_load(&lost), 4);
        ring_ok(hf_close(e, HF_NEVER));
    }
}

/* ---- Children by a topic, children that are parents */

static int family(hf_turn *turn, const hf_message *msg)
{
    if (msg->cause == HF_JOINED) {
        if (strcmp(msg->to, "f/0") == 0) {
            atomic_store(&joined, (int)msg->joined);
            atomic_store(&lost, (int)msg->lost);
            atomic_fetch_add(&told, 1);
        }
        atomic_fetch_add(&noted, (int)msg->joined);
        return HF_OK;
    }
    if (strcmp(msg->kind, "topic") == 0) {
        hf_send_letter(turn, HF_LETTER(.to = "@all", .kind = "good", .join = 1,
                                       .body = hf_view(big, BIG)));
        hf_send_letter(turn, HF_LETTER(.to = "@nobody", .kind = "good", .join = 1));
        hf_send_letter(turn, HF_LETTER(.to = "c/one", .kind = "good", .join = 1));
        hf_join(turn, NULL, hf_str(""));
        return HF_OK;
    }
    unsigned depth = 0;
    if (msg->body.len == sizeof depth)
        memcpy(&depth, msg->body.data, sizeof depth);
    for (int i = 0; depth && i < 5; i++) {
        char to[64];
        unsigned less = depth - 1;
        (void)snprintf(to, sizeof to, "%s/%s-%d", i % 2 ? "f" : "pf", msg->to, i);
        hf_send_letter(turn, HF_LETTER(.to = to, .kind = "down", .join = 1,
                                       .body = hf_view(&less, sizeof less)));
    }
    hf_join(turn, "up", hf_str(""));
    return HF_OK;
}

static void test_families(void **state)
{
    static const hf_type families[] = {
        { .name = "f", .handle = family }, { .name = "pf", .handle = family, .threads = 2 },
        { .name = "c", .handle = child }, { 0 } };
    unsigned depth = 3;
    (void)state;
    forget_all();
    hf_engine *e = open_with("family", families, 256 << 10);
    ring_ok(hf_tell(e, "f/0", "down", hf_view(&depth, sizeof depth)));
    flush(e);
    assert_int_equal(atomic_load(&told), 1);
    assert_int_equal(atomic_load(&joined), 5);
    assert_int_equal(atomic_load(&noted), 5 + 25 + 125);
    for (int i = 0; i < 20; i++) {
        char who[16];
        (void)snprintf(who, sizeof who, "c/%d", i);
        ring_ok(hf_subscribe(e, "@all", who));
    }
    ring_ok(hf_tell(e, "f/0", "topic", hf_str("")));
    flush(e);
    assert_int_equal(atomic_load(&told), 2);
    assert_int_equal(atomic_load(&joined), 21);
    assert_int_equal(atomic_load(&lost), 0);
    assert_int_equal(rows_of(e), 0);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Children that come late, or never run */

static int late_parent(hf_turn *turn, const hf_message *msg)
{
    if (msg->cause == HF_JOINED) {
        atomic_store(&joined, (int)msg->joined);
        atomic_store(&lost, (int)msg->lost);
        atomic_fetch_add(&told, 1);
        return HF_OK;
    }
    if (msg->cause == HF_ANSWER) {
        atomic_fetch_add(&noted, 1);
        return HF_OK;
    }
    for (int i = 0; i < 4; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "%s/%d", i % 2 ? "c" : "pc", i);
        hf_send_letter(turn, HF_LETTER(.to = to, .kind = "good", .join = 1, .delay_ms = 700));
        hf_send_letter(turn, HF_LETTER(.to = to, .kind = "good", .join = 1, .expires_ms = 1));
        hf_send_letter(turn, HF_LETTER(.to = to, .kind = "good", .join = 1, .urgency = 9));
        hf_send_letter(turn, HF_LETTER(.to = to, .kind = "good", .join = 1, .answer = "re"));
    }
    hf_join(turn, "all", hf_str(""));
    return HF_OK;
}

static void test_late_children(void **state)
{
    static const hf_type late_types[] = {
        { .name = "m", .handle = late_parent },
        { .name = "pm", .handle = late_parent, .threads = 1 },
        { .name = "c", .handle = child }, { .name = "pc", .handle = child, .threads = 2 },
        { .name = "flood", .handle = swallow }, { 0 } };
    static const char *const parents[] = { "m/1", "pm/1" }, *const names[] = { "late0", "late1" };
    (void)state;
    for (int p = 0; p < 2; p++) {
        forget_all();
        hf_engine *e = open_with(names[p], late_types, 64 << 10);
        ring_ok(hf_pause(e, "c", NULL, NULL));
        ring_ok(hf_pause(e, "pc", NULL, NULL));
        ring_ok(hf_tell(e, parents[p], "go", hf_str("")));
        fold_away(e);
        usleep(5000);
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(names[p], late_types, 64 << 10);
        ring_ok(hf_resume(e, "c"));
        ring_ok(hf_resume(e, "pc"));
        for (int i = 0; i < 100 && !atomic_load(&told); i++)
            usleep(100000);
        flush(e);
        assert_int_equal(atomic_load(&told), 1);
        assert_int_equal(atomic_load(&joined), 12);
        assert_int_equal(atomic_load(&lost), 4);
        assert_int_equal(atomic_load(&noted), 4);
        assert_int_equal(rows_of(e), 0);
        ring_ok(hf_close(e, HF_NEVER));
    }
}

/* ---- A crowd of children, killed again and again */

typedef struct scene {
    atomic_int steps; /* turns of children and tellings, in all runs */
} scene;
static scene *stage;

typedef struct tale { /* the parent's state */
    uint32_t told, joined, lost;
} tale;

static int crowd_parent(hf_turn *turn, const hf_message *msg)
{
    tale t = { 0, 0, 0 };
    hf_bytes had = hf_state(turn);
    if (had.len == sizeof t)
        memcpy(&t, had.data, sizeof t);
    atomic_fetch_add(&stage->steps, 1);
    if (msg->cause == HF_JOINED) {
        t.told++;
        t.joined += msg->joined;
        t.lost += msg->lost;
        hf_save(turn, hf_view(&t, sizeof t));
        return HF_OK;
    }
    for (int i = 0; i < CROWD; i++) {
        char to[24];
        (void)snprintf(to, sizeof to, "%s/%d", i % 3 ? "c" : "pc", i % 500);
        hf_send_letter(turn, HF_LETTER(.to = to, .kind = i % 10 ? "good" : "bad", .join = 1));
    }
    hf_join(turn, "all", hf_view(big, BIG));
    return HF_OK;
}

static int crowd_child(hf_turn *turn, const hf_message *msg)
{
    atomic_fetch_add(&stage->steps, 1);
    return strcmp(msg->kind, "bad") == 0 ? hf_bury(turn, "a bad one") : HF_OK;
}

static const hf_type crowd_types[] = {
    { .name = "m", .handle = crowd_parent, .strikes = HF_NEVER },
    { .name = "pm", .handle = crowd_parent, .threads = 1, .strikes = HF_NEVER },
    { .name = "c", .handle = crowd_child, .strikes = HF_NEVER },
    { .name = "pc", .handle = crowd_child, .threads = 2, .strikes = HF_NEVER }, { 0 } };

static void check_tale(hf_engine *e, const char *who)
{
    hf_view_of *view;
    hf_bytes image;
    uint64_t version;
    tale t;
    ring_ok(hf_view_open(&view, e->disk));
    ring_ok(hf_view_state(view, who, &image, &version));
    assert_int_equal(image.len, sizeof t);
    memcpy(&t, image.data, sizeof t);
    hf_view_close(view);
    assert_int_equal(t.told, 1);
    assert_int_equal(t.joined, CROWD - CROWD / 10);
    assert_int_equal(t.lost, CROWD / 10);
}

static void test_crowd(void **state)
{
    enum { KILLS = 12 };
    (void)state;
    forget_all();
    stage = ring_shared(sizeof *stage);
    hf_engine *e = open_with("crowd", crowd_types, 256 << 10);
    ring_ok(hf_pause(e, NULL, NULL, NULL));
    ring_ok(hf_tell(e, "m/1", "go", hf_str("")));
    ring_ok(hf_tell(e, "pm/1", "go", hf_str("")));
    ring_ok(hf_resume(e, NULL));
    ring_ok(hf_close(e, HF_NEVER));
    srand(7);
    for (int round = 0; round < KILLS; round++) {
        pid_t other = fork();
        if (other == 0) {
            hf_engine *mine = NULL;
            if (hf_open(&mine, ring_path("crowd"), HF_OPTIONS(.types = crowd_types, .shards = 2,
                        .window = 256 << 10, .store_max = 512 << 20)))
                _exit(1);
            pause();
        }
        int from = atomic_load(&stage->steps), wanted = from + 1 + rand() % 2500;
        for (int i = 0; i < 40000 && atomic_load(&stage->steps) < wanted; i++)
            usleep(50);
        (void)kill(other, SIGKILL);
        assert_int_equal(waitpid(other, NULL, 0), other);
    }
    e = open_with("crowd", crowd_types, 256 << 10);
    flush(e);
    check_tale(e, "m/1");
    check_tale(e, "pm/1");
    assert_int_equal(rows_of(e), 0);
    ring_ok(hf_close(e, HF_NEVER));
    (void)munmap(stage, sizeof *stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_once),      cmocka_unit_test(test_many_joins),
        cmocka_unit_test(test_misuse),         cmocka_unit_test(test_through_tables),
        cmocka_unit_test(test_requeued_child), cmocka_unit_test(test_families),
        cmocka_unit_test(test_late_children),  cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
