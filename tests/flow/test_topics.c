/* test_topics.c - "@name": who subscribed gets a copy, one, in the publisher's commit. */
#include "tests/support/crowds.h"

static atomic_int turns, failing;
static pthread_mutex_t diary_lock = PTHREAD_MUTEX_INITIALIZER;
static char diary[8192]; /* "s/1:kind " of every turn */

static void forget_all(void)
{
    atomic_store(&turns, 0);
    atomic_store(&wrong, 0);
    atomic_store(&failing, 0);
    diary[0] = 0;
    fill_big();
}

static int note(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (msg->body.len == BIG && (!is_big(msg->body) || (uintptr_t)msg->body.data % 16))
        atomic_fetch_add(&wrong, 1);
    pthread_mutex_lock(&diary_lock);
    size_t at = strlen(diary);
    (void)snprintf(diary + at, sizeof diary - at, "%s:%s ", msg->to, msg->kind);
    pthread_mutex_unlock(&diary_lock);
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

/* How often is that in the diary? */
static int noted(const char *words)
{
    int count = 0;
    pthread_mutex_lock(&diary_lock);
    for (const char *at = diary; (at = strstr(at, words)); at++)
        count++;
    pthread_mutex_unlock(&diary_lock);
    return count;
}

static const hf_type two_types[] = { { .name = "s", .handle = note },
                                     { .name = "p", .handle = note, .threads = 2 }, { 0 } };

/* ---- Words that can't be */

static void test_arguments(void **state)
{
    char longest[140] = "@", longer[140] = "@";
    (void)state;
    forget_all();
    memset(longest + 1, 'n', 127);
    memset(longer + 1, 'n', 128);
    hf_engine *e = open_with("words", two_types, 256 << 10);
    const char *bad[] = { NULL, "", "news", "@", "@a\x01", "@\xff", longer };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ring_err(hf_subscribe(e, bad[i], "s/1"), HF_EINVAL);
        ring_err(hf_unsubscribe(e, bad[i], "s/1"), HF_EINVAL);
        ring_err(hf_tell(e, bad[i], "k", hf_str("")), HF_EINVAL);
    }
    ring_err(hf_subscribe(e, "@a", NULL), HF_EINVAL);
    ring_err(hf_subscribe(e, "@a", "s"), HF_EINVAL);
    ring_err(hf_subscribe(e, "@a", "nobody/1"), HF_ENOTYPE);
    ring_ok(hf_unsubscribe(e, "@a", "nobody/1")); /* as it may be of another day */
    ring_err(hf_subscribe(NULL, "@a", "s/1"), HF_EINVAL);
    ring_err(hf_tell(e, "@a*", "k", hf_str("")), HF_EINVAL);
    ring_ok(hf_subscribe(e, longest, "s/1"));
    ring_ok(hf_subscribe(e, "@*", "s/2"));
    ring_ok(hf_tell(e, longest, "k", hf_str("")));
    ring_err(hf_tell(e, longest, longer, hf_str("")), HF_EINVAL); /* the kind */
    ring_err(hf_tell(e, longest, "k", hf_view(NULL, 3)), HF_EINVAL);
    ring_err(hf_tell(e, longest, "k", hf_view(big, 2 << 20)), HF_ETOOBIG);
    flush(e);
    assert_int_equal(noted("s/1:k"), 1);
    assert_int_equal(noted("s/2:k"), 1);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Who gets what */

static void publish(hf_engine *e, const char *topic, const char *kind, hf_bytes body)
{
    hf_receipt receipt = { .id = 7, .err = 7 };
    ring_ok(hf_mail(e, HF_LETTER(.to = topic, .kind = kind, .body = body), 1, &receipt));
    assert_int_equal(receipt.id, 0);
    assert_int_equal(receipt.err, HF_OK);
}

static int find_topics(void *user, hf_bytes row)
{
    *(int *)user = memmem(row.data, row.len, "@news/tech", 10)
        && memmem(row.data, row.len, "@news/*", 7) && !memmem(row.data, row.len, "@other", 6);
    return HF_OK;
}

static void test_shown(void **state)
{
    static const char who[] = "\x81\xa5" "actor" "\xa3" "s/1";
    hf_store *store = NULL;
    (void)state;
    forget_all();
    hf_engine *e = open_with("shown", two_types, 256 << 10);
    ring_ok(hf_subscribe(e, "@news/tech", "s/1"));
    ring_ok(hf_subscribe(e, "@news/*", "s/1"));
    ring_ok(hf_subscribe(e, "@other", "s/2"));
    for (int living = 1; living >= 0; living--) {
        int shown = 0;
        ring_ok(hf_store_open(&store, ring_path("shown"), 1000));
        ring_ok(hf_query(store, "actor", hf_view(who, sizeof who - 1), find_topics, &shown));
        hf_store_close(store);
        assert_true(shown);
        if (living)
            ring_ok(hf_close(e, HF_NEVER));
    }
}

static void test_copies(void **state)
{
    hf_stats stats = HF_STATS;
    (void)state;
    forget_all();
    hf_engine *e = open_with("copies", two_types, 256 << 10);
    publish(e, "@news/tech", "early", hf_str("x")); /* to nobody */
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.accepted, 0);
    ring_ok(hf_subscribe(e, "@news/tech", "s/1"));
    ring_ok(hf_subscribe(e, "@news/tech", "s/1")); /* twice is once */
    ring_ok(hf_subscribe(e, "@news/tech", "p/1"));
    ring_ok(hf_subscribe(e, "@news/*", "s/2"));
    ring_ok(hf_subscribe(e, "@news/*", "s/1")); /* gets one copy all the same */
    ring_ok(hf_subscribe(e, "@news/tech*", "s/2"));
    ring_ok(hf_subscribe(e, "@*", "p/2"));
    ring_ok(hf_subscribe(e, "@other", "s/3"));
    for (int round = 0; round < 2; round++) { /* the second time after an open */
        publish(e, "@news/tech", "all", hf_view(big, BIG));
        publish(e, "@news/", "some", hf_view(big, BIG));
        publish(e, "@news", "few", hf_str("small"));
        flush(e);
        assert_int_equal(atomic_load(&turns), 8);
        assert_int_equal(noted("s/1:all") + noted("s/2:all") + noted("p/1:all")
                         + noted("p/2:all"), 4);
        assert_int_equal(noted("s/1:some") + noted("s/2:some"), 2);
        assert_int_equal(noted("p/2:some") + noted("p/2:few"), 2);
        ring_ok(hf_close(e, HF_NEVER));
        forget_all();
        e = open_with("copies", two_types, 256 << 10);
    }
    ring_ok(hf_unsubscribe(e, "@news/tech", "s/1")); /* the other one stays */
    ring_ok(hf_unsubscribe(e, "@news/*", "s/2"));
    ring_ok(hf_unsubscribe(e, "@news/tech*", "s/2"));
    ring_ok(hf_unsubscribe(e, "@news/tech*", "s/2"));
    ring_ok(hf_unsubscribe(e, "@*", "p/2"));
    for (int round = 0; round < 2; round++) {
        publish(e, "@news/tech", "all", hf_view(big, BIG));
        flush(e);
        assert_int_equal(atomic_load(&turns), 2);
        assert_int_equal(noted("s/1:all") + noted("p/1:all"), 2);
        ring_ok(hf_close(e, HF_NEVER));
        forget_all();
        e = open_with("copies", two_types, 256 << 10);
    }
    ring_ok(hf_close(e, HF_NEVER));
}

static void *posted_receipts[1];
static atomic_int posted_count;

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)user;
    if (err || count != 3 || receipts[0].id == 0 || receipts[1].id != 0 || receipts[2].id == 0
        || receipts[0].err || receipts[1].err || receipts[2].err)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&posted_count, 1);
}

static void posted_to_nobody(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)user;
    if (err || count != 1 || receipts[0].id || receipts[0].err)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&posted_count, 1);
}

/* Topics and actors in one call; a callback also when nobody subscribed. */
static void test_mixed_letters(void **state)
{
    hf_letter letters[3] = {
        { .size = sizeof(hf_letter), .to = "s/1", .kind = "a" },
        { .to = "@t", .kind = "b" }, { .to = "s/1", .kind = "c" } };
    hf_receipt receipts[3];
    (void)state;
    forget_all();
    atomic_store(&posted_count, 0);
    letters[1].body = hf_view(big, BIG);
    hf_engine *e = open_with("mixed", two_types, 256 << 10);
    ring_ok(hf_post(e, HF_LETTER(.to = "@t"), 1, posted_to_nobody, NULL));
    ring_ok(hf_post(e, HF_LETTER(.to = "@t"), 1, NULL, NULL));
    for (int i = 1; i <= 4; i++) {
        char who[16];
        (void)snprintf(who, sizeof who, "s/%d", i);
        ring_ok(hf_subscribe(e, "@t", who));
    }
    ring_ok(hf_mail(e, letters, 3, receipts));
    posted(NULL, HF_OK, receipts, 3);
    assert_true(receipts[2].id > receipts[0].id);
    ring_ok(hf_post(e, letters, 3, posted, posted_receipts));
    ring_until(&posted_count, 3);
    flush(e);
    assert_int_equal(atomic_load(&turns), 12);
    assert_non_null(strstr(diary, "s/1:a ")); /* in the order sent */
    const char *a = strstr(diary, "s/1:a "), *b = strstr(diary, "s/1:b ");
    const char *c = strstr(diary, "s/1:c ");
    assert_true(a && b && c && a < b && b < c);
    letters[2].to = "s"; /* all or none */
    ring_err(hf_mail(e, letters, 3, receipts), HF_EINVAL);
    flush(e);
    assert_int_equal(atomic_load(&turns), 12);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- In a turn */

static atomic_int deadlocks;
static hf_engine *open_engine;

static int editor(hf_turn *turn, const hf_message *msg)
{
    if (hf_subscribe(open_engine, "@t", "s/3") == HF_EDEADLOCK)
        atomic_fetch_add(&deadlocks, 1);
    hf_send(turn, "@t", msg->kind, hf_view(big, BIG));
    hf_send(turn, "s/1", "direct", hf_str(""));
    hf_send(turn, "@t", "small", hf_str(""));
    hf_send(turn, "@nobody", "x", hf_str(""));
    if (atomic_load(&failing) && msg->attempt == 1)
        return hf_fail(turn, 3, "not yet");
    return HF_OK;
}

static int bad_editor(hf_turn *turn, const hf_message *msg)
{
    hf_send(turn, "@t", "never", hf_str(""));
    hf_send(turn, strcmp(msg->kind, "star") == 0 ? "@t*" : "@", "never", hf_str(""));
    return HF_OK;
}

static void test_in_a_turn(void **state)
{
    static const hf_type types[] = {
        { .name = "s", .handle = note }, { .name = "p", .handle = note, .threads = 2 },
        { .name = "ed", .handle = editor, .retry_ms = 1 },
        { .name = "bad", .handle = bad_editor, .tries = 1 },
        { .name = "ped", .handle = editor, .threads = 1, .retry_ms = 1 }, { 0 } };
    hf_stats stats = HF_STATS;
    (void)state;
    forget_all();
    atomic_store(&deadlocks, 0);
    hf_engine *e = open_engine = open_with("turns", types, 256 << 10);
    ring_ok(hf_subscribe(e, "@t", "s/1"));
    ring_ok(hf_subscribe(e, "@t", "s/2"));
    ring_ok(hf_subscribe(e, "@t", "p/1"));
    atomic_store(&failing, 1); /* its first try leaves nothing */
    ring_ok(hf_tell(e, "ed/1", "big", hf_str("")));
    flush(e);
    assert_int_equal(atomic_load(&turns), 7);
    assert_int_equal(noted(":big"), 3);
    assert_int_equal(atomic_load(&deadlocks), 2);
    const char *b = strstr(diary, "s/1:big "), *d = strstr(diary, "s/1:direct ");
    const char *s = strstr(diary, "s/1:small ");
    assert_true(b && d && s && b < d && d < s);
    ring_ok(hf_tell(e, "bad/1", "star", hf_str("")));
    ring_ok(hf_tell(e, "bad/1", "name", hf_str("")));
    flush(e);
    assert_int_equal(atomic_load(&turns), 7);
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.dead, 2);
    ring_ok(hf_tell(e, "ped/1", "big", hf_str("")));
    flush(e);
    assert_int_equal(atomic_load(&turns), 7 + 9);
    assert_int_equal(noted("s/3:big"), 1);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Through the tables */

static const hf_type flooded_types[] = {
    { .name = "s", .handle = note }, { .name = "p", .handle = note, .threads = 2 },
    { .name = "flood", .handle = swallow }, { 0 } };

static void test_through_tables(void **state)
{
    enum { ISSUES = 20 };
    char kind[16];
    (void)state;
    forget_all();
    hf_engine *e = open_with("tables", flooded_types, 64 << 10);
    const char *who[] = { "s/1", "s/2", "s/3", "s/4", "p/1", "p/2" };
    for (int i = 0; i < 6; i++)
        ring_ok(hf_subscribe(e, "@t", who[i]));
    fold_away(e);
    ring_ok(hf_pause(e, "s", NULL, NULL));
    ring_ok(hf_pause(e, "p", NULL, NULL));
    for (int i = 0; i < ISSUES; i++) {
        (void)snprintf(kind, sizeof kind, "%02d", i);
        publish(e, "@t", kind, hf_view(big, BIG));
        if (i % 5 == 4)
            fold_away(e);
        if (i == ISSUES / 2) {
            ring_ok(hf_close(e, HF_NEVER));
            e = open_with("tables", flooded_types, 64 << 10);
        }
    }
    ring_ok(hf_close(e, HF_NEVER));
    e = open_with("tables", flooded_types, 64 << 10); /* some lie in the window, some don't */
    assert_int_equal(atomic_load(&turns), 0);
    ring_ok(hf_resume(e, "s"));
    ring_ok(hf_resume(e, "p"));
    flush(e);
    assert_int_equal(atomic_load(&turns), 6 * ISSUES);
    for (int i = 0; i < 6; i++) {
        const char *last = diary;
        for (int n = 0; n < ISSUES; n++) {
            char words[32];
            (void)snprintf(words, sizeof words, "%s:%02d ", who[i], n);
            const char *at = strstr(diary, words);
            assert_true(at && at >= last); /* in the order they were sent */
            assert_int_equal(noted(words), 1);
            last = at;
        }
    }
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Retries, dead letters, requeues */

static int picky(hf_turn *turn, const hf_message *msg)
{
    if (atomic_load(&failing) == 1)
        return hf_bury(turn, "not today");
    if (atomic_load(&failing) == 2 && msg->attempt < 3)
        return hf_fail(turn, 1, "not yet");
    return note(turn, msg);
}

static void test_dead_and_back(void **state)
{
    static const hf_type types[] = {
        { .name = "s", .handle = picky, .retry_ms = 1 },
        { .name = "p", .handle = picky, .threads = 2, .retry_ms = 1 },
        { .name = "flood", .handle = swallow }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = open_with("dead", types, 64 << 10);
    const char *who[] = { "s/1", "s/2", "s/3", "p/1", "p/2", "p/3" };
    for (int i = 0; i < 6; i++)
        ring_ok(hf_subscribe(e, "@t", who[i]));
    atomic_store(&failing, 2);
    publish(e, "@t", "retried", hf_view(big, BIG));
    flush(e);
    assert_int_equal(noted(":retried"), 6);
    for (int folded = 0; folded < 2; folded++) { /* requeued from the window, from the table */
        heard h = { .count = 0 };
        atomic_store(&failing, 1);
        publish(e, "@t", folded ? "folded" : "fresh", hf_view(big, BIG));
        flush(e);
        if (folded) {
            fold_away(e);
            ring_ok(hf_close(e, HF_NEVER));
            e = open_with("dead", types, 64 << 10);
        }
        atomic_store(&failing, 0);
        requeue_all("dead", &h, "status = dead");
        assert_int_equal(h.count, 6);
        assert_int_equal(h.whole, 6);
        flush(e);
        assert_int_equal(noted(folded ? ":folded" : ":fresh"), 6);
    }
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- What else a letter to a topic may say */

static void never(void *user, int err, hf_bytes answer)
{
    (void)user, (void)err, (void)answer;
    atomic_fetch_add(&wrong, 1);
}

static void test_options(void **state)
{
    heard h = { .count = 0 };
    hf_store *store = NULL;
    (void)state;
    forget_all();
    hf_engine *e = open_with("options", flooded_types, 64 << 10);
    const char *who[] = { "s/1", "s/2", "s/3", "p/1", "p/2", "p/3" };
    for (int i = 0; i < 6; i++)
        ring_ok(hf_subscribe(e, "@t", who[i]));
    ring_err(hf_ask(e, HF_LETTER(.to = "@t"), 1000, never, NULL), HF_EINVAL);
    ring_err(hf_mail(e, HF_LETTER(.to = "@t", .dedupe = "x"), 1, NULL), HF_EINVAL);
    ring_err(hf_mail(e, HF_LETTER(.to = "@t", .answer = "x"), 1, NULL), HF_EINVAL);
    ring_ok(hf_mail(e, HF_LETTER(.to = "@t", .kind = "later", .delay_ms = 1500,
                                 .body = hf_view(big, BIG)), 1, NULL));
    ring_ok(hf_pause(e, "s", NULL, NULL));
    ring_ok(hf_pause(e, "p", NULL, NULL));
    for (int i = 0; i < 5; i++)
        ring_ok(hf_mail(e, HF_LETTER(.to = "@t", .kind = "newest", .conflate = 1,
                                     .body = hf_view(big, BIG)), 1, NULL));
    ring_ok(hf_mail(e, HF_LETTER(.to = "@t", .kind = "gone", .expires_ms = 1,
                                 .body = hf_view(big, BIG)), 1, NULL));
    usleep(5000);
    fold_away(e);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_with("options", flooded_types, 64 << 10);
    ring_ok(hf_resume(e, "s"));
    ring_ok(hf_resume(e, "p"));
    flush(e);
    assert_int_equal(noted(":newest"), 6);
    assert_int_equal(noted(":gone"), 0);
    for (int i = 0; i < 100 && noted(":later") < 6; i++)
        usleep(100000);
    flush(e);
    assert_int_equal(noted(":later"), 6);
    assert_int_equal(atomic_load(&turns), 12);
    ring_ok(hf_store_open(&store, ring_path("options"), 1000));
    ring_ok(hf_find(store, "status = dead", hear, &h));
    hf_store_close(store);
    assert_int_equal(h.count, 6);
    assert_int_equal(h.whole, 6);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- A type that is gone: its copies wait until it is back */

static void test_undefined_type(void **state)
{
    static const hf_type only_s[] = { { .name = "s", .handle = note }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = open_with("gone", two_types, 256 << 10);
    ring_ok(hf_subscribe(e, "@t", "s/1"));
    ring_ok(hf_subscribe(e, "@t", "p/1"));
    ring_ok(hf_subscribe(e, "@t", "p/2"));
    ring_ok(hf_close(e, HF_NEVER));
    e = open_with("gone", only_s, 256 << 10);
    publish(e, "@t", "x", hf_view(big, BIG));
    flush(e);
    assert_int_equal(atomic_load(&turns), 1);
    ring_err(hf_subscribe(e, "@t", "p/3"), HF_ENOTYPE);
    ring_ok(hf_unsubscribe(e, "@t", "p/2"));
    publish(e, "@t", "y", hf_view(big, BIG));
    flush(e);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_with("gone", two_types, 256 << 10);
    flush(e);
    assert_int_equal(atomic_load(&turns), 5);
    assert_int_equal(noted("p/1:x") + noted("p/1:y") + noted("p/2:x"), 3);
    assert_int_equal(noted("p/2:y"), 0);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Too many for one batch */

static void test_too_many(void **state)
{
    enum { MANY = 200 };
    char topic[128];
    static const hf_type types[] = { { .name = "s", .handle = note }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = open_with("many", types, 1 << 20);
    memset(topic, 'x', sizeof topic - 1);
    topic[0] = '@';
    topic[sizeof topic - 1] = 0;
    for (int i = 0; i < MANY; i++) {
        char who[16];
        (void)snprintf(who, sizeof who, "s/%d", i);
        ring_ok(hf_subscribe(e, topic, who));
    }
    static hf_letter letters[3000];
    for (int i = 0; i < 3000; i++)
        letters[i] = (hf_letter){ .size = sizeof(hf_letter), .to = topic, .kind = topic + 1 };
    ring_err(hf_mail(e, letters, 3000, NULL), HF_ETOOBIG);
    assert_non_null(strstr(hf_detail(), topic));
    assert_non_null(strstr(hf_detail(), "200 subscribers"));
    flush(e);
    assert_int_equal(atomic_load(&turns), 0);
    ring_ok(hf_close(e, HF_NEVER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_shown),
        cmocka_unit_test(test_mixed_letters),
        cmocka_unit_test(test_in_a_turn),
        cmocka_unit_test(test_through_tables),
        cmocka_unit_test(test_dead_and_back),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_undefined_type),
        cmocka_unit_test(test_too_many),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
