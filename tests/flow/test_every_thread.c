/* test_every_thread.c - every public call from every kind of thread: each answers as
 * holdfast.h says, and none of them waits for itself.
 *
 * The calls stand in one table, the kinds of threads in another; in a cell is what the
 * call answers there. A second test lets them all run at once for a while, with tools
 * that look and change beside them. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { OUTSIDE, ON_SHARD, ON_POOL, IN_FAILED, IN_CALLBACK, IN_LOG, IN_EACH, PLACES };
enum { TELL, MAIL, POST, SYNC, DRAIN, PAUSE, RESUME, CLOSE, STAT, QUERY, REQUEUE, ASK, PEEK,
       CALLS };

#define ANY      1000   /* whatever it says, it says it */
#define NO       HF_EDEADLOCK
#define NOTFOUND HF_ENOTFOUND

static const char *const call_names[CALLS] = { "tell", "mail", "post", "sync", "drain", "pause",
                                               "resume", "close", "stat", "query", "requeue",
                                               "ask", "peek" };
static const char *const place_names[PLACES] = { "outside", "shard", "pool", "failed", "callback",
                                                 "log", "each" };

static const int wanted[PLACES][CALLS] = {
    /*               tell mail post sync drain pause resume close stat query requeue   ask peek */
    [OUTSIDE]     = { 0,  0,   0,   0,   ANY,  0,    0,     ANY,  0,   0,    NOTFOUND,  0,  0 },
    [ON_SHARD]    = { NO, NO,  0,   NO,  NO,   NO,   NO,    NO,   0,   ANY,  ANY,       0,  0 },
    [ON_POOL]     = { 0,  0,   0,   0,   NO,   NO,   0,     NO,   0,   0,    NOTFOUND,  0,  0 },
    [IN_FAILED]   = { NO, NO,  0,   NO,  NO,   NO,   NO,    NO,   0,   ANY,  ANY,       0,  0 },
    [IN_CALLBACK] = { NO, NO,  0,   NO,  NO,   NO,   ANY,   NO,   0,   0,    NOTFOUND,  0,  0 },
    [IN_LOG]      = { NO, NO,  NO,  NO,  NO,   NO,   NO,    NO,   NO,  ANY,  ANY,       NO,  NO },
    [IN_EACH]     = { 0,  0,   0,   0,   ANY,  0,    0,     ANY,  0,   0,    NOTFOUND,  0,  0 },
};

static hf_engine  *engine;
static atomic_int  got[PLACES][CALLS];
static atomic_int  been[PLACES];
static atomic_bool calling;    /* the one test: hooks call back */
static char        store[128];

static int keep_nothing(void *user, hf_bytes row)
{
    (void)user;
    (void)row;
    return HF_OK;
}

static int with_store(int (*use)(hf_store *))
{
    hf_store *s;
    int err = hf_store_open(&s, store, 2000);
    if (err)
        return err;
    err = use(s);
    hf_store_close(s);
    return err;
}

static int ask_stats(hf_store *s)
{
    return hf_query(s, "stats", hf_view(NULL, 0), keep_nothing, NULL);
}

static int requeue_nobody(hf_store *s)
{
    return hf_requeue(s, UINT64_MAX - 7);
}

static void note_nothing(void *user, int err, hf_bytes answer)
{
    (void)user;
    (void)err;
    (void)answer;
}

static int call_one(int call)
{
    hf_stats stats = HF_STATS;
    const hf_letter *letter = HF_LETTER(.to = "quiet/1", .kind = "k");
    switch (call) {
    case TELL:   return hf_tell(engine, "quiet/1", "k", hf_str(""));
    case MAIL:   return hf_mail(engine, letter, 1, NULL);
    case POST:   return hf_post(engine, letter, 1, NULL, NULL);
    case SYNC:   return hf_sync(engine, 10000);
    case DRAIN:  return hf_drain(engine, 1);
    case PAUSE:  return hf_pause(engine, "quiet/9", NULL, NULL);
    case RESUME: return hf_resume(engine, "quiet/9");
    case STAT:   return hf_stat(engine, &stats);
    case QUERY:  return with_store(ask_stats);
    case ASK:    return hf_ask(engine, letter, 10000, note_nothing, NULL);
    case PEEK:   return hf_peek(engine, "quiet/1", note_nothing, NULL);
    default:     return with_store(requeue_nobody);
    }
}

/* Everything but closing from where that would succeed. */
static void call_all(int place)
{
    for (int call = 0; call < CALLS; call++) {
        bool closes = call == CLOSE && wanted[place][CLOSE] != HF_EDEADLOCK;
        int err = closes ? HF_OK : call == CLOSE ? hf_close(engine, 1) : call_one(call);
        atomic_store(&got[place][call], err);
    }
    atomic_fetch_add(&been[place], 1);
}

static int quiet(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    return HF_OK;
}

static int on_shard(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    call_all(ON_SHARD);
    (void)hf_cancelled(turn);
    return HF_OK;
}

static int on_pool(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    call_all(ON_POOL);
    (void)hf_cancelled(turn);
    return HF_OK;
}

static int fails(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    return hf_bury(turn, "as wanted");
}

static void failed(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    call_all(IN_FAILED);
}

/* Sends where nobody is: that is logged. */
static void complain(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    hf_send(turn, "nobody/1", "k", hf_str(""));
}

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)user;
    (void)err;
    (void)receipts;
    (void)count;
    call_all(IN_CALLBACK);
}

static void log_line(void *user, hf_level level, const char *text)
{
    (void)user;
    (void)level;
    (void)text;
    if (atomic_exchange(&calling, false))
        call_all(IN_LOG);
}

static int each(void *user, const hf_message *msg)
{
    (void)user;
    (void)msg;
    call_all(IN_EACH);
    return HF_OK;
}

static int slow(hf_turn *turn, const hf_message *msg)
{
    struct timespec t = { 0, 3000000 };
    (void)turn;
    (void)msg;
    nanosleep(&t, NULL);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "quiet", .handle = quiet },
    { .name = "shard", .handle = on_shard },
    { .name = "pool", .handle = on_pool, .threads = 1 },
    { .name = "fails", .handle = fails, .failed = failed },
    { .name = "waits", .handle = quiet },
    { .name = "slow", .handle = slow, .threads = 1 },
    { .name = "noisy", .handle = fails, .failed = complain },
    { 0 },
};

static void open_engine(const char *name)
{
    snprintf(store, sizeof store, "%s", ring_path(name));
    ring_ok(hf_open(&engine, store, HF_OPTIONS(.types = types, .shards = 2, .log = log_line,
                                               .window = 256 << 10, .store_max = 256 << 20)));
}

static void test_every_call(void **state)
{
    (void)state;
    open_engine("every");
    call_all(OUTSIDE);
    ring_ok(hf_tell(engine, "shard/1", "k", hf_str("")));
    ring_until(&been[ON_SHARD], 1);
    ring_ok(hf_tell(engine, "pool/1", "k", hf_str("")));
    ring_until(&been[ON_POOL], 1);
    ring_ok(hf_tell(engine, "fails/1", "k", hf_str("")));
    ring_until(&been[IN_FAILED], 1);
    ring_ok(hf_post(engine, HF_LETTER(.to = "quiet/2", .kind = "k"), 1, posted, NULL));
    ring_until(&been[IN_CALLBACK], 1);
    ring_ok(hf_pause(engine, "waits", NULL, NULL));
    ring_ok(hf_tell(engine, "waits/1", "k", hf_str("")));
    ring_ok(hf_pause(engine, "waits", each, NULL));
    atomic_store(&calling, true);
    ring_ok(hf_tell(engine, "noisy/1", "k", hf_str("")));
    ring_until(&been[IN_LOG], 1);
    ring_ok(hf_resume(engine, "waits"));
    ring_ok(hf_drain(engine, 20000));
    ring_ok(hf_close(engine, HF_NEVER));
    int wrong = 0;
    for (int p = 0; p < PLACES; p++)
        for (int c = 0; c < CALLS; c++)
            if (wanted[p][c] != ANY && atomic_load(&got[p][c]) != wanted[p][c]) {
                print_error("%s from %s answered %s, not %s\n", call_names[c], place_names[p],
                            hf_strerror(atomic_load(&got[p][c])), hf_strerror(wanted[p][c]));
                wrong++;
            }
    assert_int_equal(wrong, 0);
}

/* ---- All at once */

static atomic_bool enough;

static void *sender(void *user)
{
    const char *to[] = { "quiet/1", "fails/2", "slow/3", "waits/4", "quiet/5" };
    unsigned n = (unsigned)(uintptr_t)user;
    while (!atomic_load(&enough)) {
        const char *address = to[n++ % 5];
        int err = n % 3 ? hf_tell(engine, address, "k", hf_str("x"))
                        : hf_post(engine, HF_LETTER(.to = address, .kind = "k"), 1, NULL, NULL);
        if (err && err != HF_EAGAIN)
            print_error("a sender got %s: %s\n", hf_strerror(err), hf_detail());
    }
    return NULL;
}

static void *operator(void *user)
{
    (void)user;
    for (unsigned n = 0; !atomic_load(&enough); n++) {
        const char *what = n % 3 == 0 ? "waits" : n % 3 == 1 ? "quiet/1" : NULL;
        int err = hf_pause(engine, what, NULL, NULL);
        if (!err)
            err = hf_resume(engine, what);
        if (err)
            print_error("the operator got %s: %s\n", hf_strerror(err), hf_detail());
    }
    return NULL;
}

static int requeue_it(void *user, const hf_message *msg)
{
    uint64_t *id = user;
    *id = msg->id;
    return 1;
}

static int requeue_a_dead_one(hf_store *s)
{
    uint64_t id = 0;
    int err = hf_find(s, "status = dead", requeue_it, &id);
    if (err == 1)
        err = hf_requeue(s, id);
    return err == HF_ENOTFOUND || err == HF_EINVAL ? HF_OK : err; /* somebody was faster */
}

static void *tool(void *user)
{
    (void)user;
    while (!atomic_load(&enough)) {
        int err = with_store(ask_stats);
        if (!err)
            err = with_store(requeue_a_dead_one);
        if (err && err != HF_ECLOSED)
            print_error("the tool got %s: %s\n", hf_strerror(err), hf_detail());
    }
    return NULL;
}

static void test_all_at_once(void **state)
{
    void *(*const run[])(void *) = { sender, sender, sender, operator, tool, tool };
    enum { THREADS = sizeof run / sizeof *run };
    pthread_t threads[THREADS];
    struct timespec t = { 2, 0 };
    (void)state;
    atomic_store(&calling, false);
    open_engine("at-once");
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run[i], (void *)(uintptr_t)i), 0);
    nanosleep(&t, NULL);
    atomic_store(&enough, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(engine, &stats));
    assert_true(stats.accepted > 0 && stats.dead > 0);
    ring_ok(hf_close(engine, 60000));
    open_engine("at-once"); /* what was left goes on */
    ring_ok(hf_stat(engine, &stats));
    ring_ok(hf_close(engine, 60000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call),
        cmocka_unit_test(test_all_at_once),
    };
    alarm(110);
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
