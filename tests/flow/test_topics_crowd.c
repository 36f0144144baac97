/* test_topics_crowd.c - topics of which much is asked: many threads that publish, come and
 * go, ten thousand subscribers, publishers that are killed. */
#include "tests/support/crowds.h"

/* ---- Many threads: publishing, coming and going */

enum { ISSUES_EACH = 60, COMERS = 4, POSTERS = 8 };
static atomic_int faithful, done_posting;

static int count_faithful(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (strcmp(msg->to, "s/faithful") == 0)
        atomic_fetch_add(&faithful, 1);
    if (!is_big(msg->body))
        atomic_fetch_add(&wrong, 1);
    return HF_OK;
}

static void *post_some(void *user)
{
    hf_engine *e = user;
    for (int i = 0; i < ISSUES_EACH; i++) {
        int err = hf_post(e, HF_LETTER(.to = "@t", .kind = "x", .body = hf_view(big, BIG)), 1,
                          NULL, NULL);
        if (err == HF_EAGAIN && (err = hf_sync(e, 10000)) == HF_OK)
            i--;
        else if (err)
            atomic_fetch_add(&wrong, 1);
    }
    atomic_fetch_add(&done_posting, 1);
    return NULL;
}

typedef struct comer {
    hf_engine *engine;
    uint32_t   number;
    bool       in[8];
} comer;

static void *come_and_go(void *user)
{
    comer *c = user;
    uint32_t seed = c->number * 77 + 1;
    while (atomic_load(&done_posting) < POSTERS) {
        char who[16];
        uint32_t i = (seed = seed * 1103515245 + 12345) >> 16 & 7;
        (void)snprintf(who, sizeof who, "s/%u-%u", c->number, i);
        c->in[i] = !c->in[i];
        int err = c->in[i] ? hf_subscribe(c->engine, i % 2 ? "@t" : "@*", who)
                           : hf_unsubscribe(c->engine, i % 2 ? "@t" : "@*", who);
        if (err)
            atomic_fetch_add(&wrong, 1);
    }
    return NULL;
}

static int only_active(void *user, hf_bytes key, hf_bytes payload)
{
    (void)key, (void)payload;
    ++*(uint64_t *)user;
    return HF_OK;
}

static void test_threads(void **state)
{
    static const hf_type types[] = { { .name = "s", .handle = count_faithful }, { 0 } };
    pthread_t posters[POSTERS], comers[COMERS];
    static comer c[COMERS];
    uint64_t wanted = 2, rows = 0;
    (void)state;
    atomic_store(&wrong, 0);
    fill_big();
    hf_engine *e = open_with("threads", types, 1 << 20);
    ring_ok(hf_subscribe(e, "@t", "s/faithful"));
    ring_ok(hf_subscribe(e, "@*", "s/faithful"));
    for (uint32_t i = 0; i < COMERS; i++) {
        c[i] = (comer){ .engine = e, .number = i };
        assert_int_equal(pthread_create(&comers[i], NULL, come_and_go, &c[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&posters[i], NULL, post_some, e), 0);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(posters[i], NULL);
    for (int i = 0; i < COMERS; i++)
        pthread_join(comers[i], NULL);
    flush(e);
    assert_int_equal(atomic_load(&faithful), POSTERS * ISSUES_EACH);
    for (int i = 0; i < COMERS; i++)
        for (int n = 0; n < 8; n++)
            wanted += c[i].in[n];
    hf_view_of *view;
    ring_ok(hf_view_open(&view, e->disk));
    ring_ok(hf_view_walk(view, HF_IN_TOPICS, hf_view(NULL, 0), only_active, &rows));
    hf_view_close(view);
    assert_int_equal(rows, wanted); /* memory and disk have the same ones */
    assert_int_equal(atomic_load(&e->topics.count), wanted);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_with("threads", types, 1 << 20);
    assert_int_equal(atomic_load(&e->topics.count), wanted);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- A crowd, and a kill in the middle */

typedef struct scene { /* shared with the children */
    atomic_int handled;
    atomic_int published;
} scene;
static scene *stage;

/* How often it was told stands in its state: that commits with the turn. */
static int count_in_state(hf_turn *turn, const hf_message *msg)
{
    hf_bytes had = hf_state(turn);
    uint32_t times = 0;
    if (had.len == sizeof times)
        memcpy(&times, had.data, sizeof times);
    times++;
    if (!is_big(msg->body))
        return hf_bury(turn, "another body");
    hf_save(turn, hf_view(&times, sizeof times));
    atomic_fetch_add(&stage->handled, 1);
    return HF_OK;
}

static const hf_type crowd_types[] = { { .name = "s", .handle = count_in_state,
                                         .strikes = HF_NEVER }, { 0 } };

typedef struct hand {
    hf_engine *engine;
    int        from;
} hand;

enum { HANDS = 8 };

static void *subscribe_some(void *user)
{
    hand *h = user;
    for (int i = h->from; i < CROWD; i += HANDS) {
        char who[16];
        (void)snprintf(who, sizeof who, "s/%d", i);
        if (hf_subscribe(h->engine, "@crowd", who))
            atomic_fetch_add(&wrong, 1);
    }
    return NULL;
}

/* How many of the crowd were told `times` times. */
static int told(const char *name, uint32_t times)
{
    hf_engine *e = open_with(name, crowd_types, 1 << 20);
    hf_view_of *view;
    int count = 0;
    flush(e);
    ring_ok(hf_view_open(&view, e->disk));
    for (int i = 0; i < CROWD; i++) {
        char who[16];
        hf_bytes image;
        uint64_t version;
        uint32_t had = 0;
        (void)snprintf(who, sizeof who, "s/%d", i);
        if (hf_view_state(view, who, &image, &version) == HF_OK)
            memcpy(&had, image.data, sizeof had);
        count += had == times;
    }
    hf_view_close(view);
    ring_ok(hf_close(e, HF_NEVER));
    return count;
}

static void kill_when(pid_t child, atomic_int *seen, int wanted)
{
    for (int i = 0; i < 400000 && atomic_load(seen) < wanted; i++)
        usleep(50);
    int there = atomic_load(seen);
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(there >= wanted);
}

static void test_crowd(void **state)
{
    pthread_t threads[HANDS];
    hand hands[HANDS];
    hf_stats stats = HF_STATS;
    (void)state;
    atomic_store(&wrong, 0);
    fill_big();
    stage = ring_shared(sizeof *stage);
    hf_engine *e = open_with("crowd", crowd_types, 1 << 20);
    for (int i = 0; i < HANDS; i++) {
        hands[i] = (hand){ e, i };
        assert_int_equal(pthread_create(&threads[i], NULL, subscribe_some, &hands[i]), 0);
    }
    for (int i = 0; i < HANDS; i++)
        pthread_join(threads[i], NULL);
    flush(e);
    ring_ok(hf_stat(e, &stats));
    uint64_t accepted = stats.accepted, bytes = stats.bytes;
    ring_ok(hf_pause(e, "s", NULL, NULL));
    ring_ok(hf_tell(e, "@crowd", "x", hf_view(big, BIG)));
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.accepted - accepted, CROWD);
    assert_true(stats.bytes - bytes < CROWD * 100 + 3 * BIG); /* the body is there once a shard */
    ring_ok(hf_resume(e, "s"));
    flush(e);
    ring_ok(hf_close(e, HF_NEVER));
    assert_int_equal(told("crowd", 1), CROWD);
    for (int round = 0; round < 4; round++) {
        atomic_store(&stage->handled, 0);
        pid_t child = fork();
        if (child == 0) {
            hf_engine *mine = NULL;
            if (hf_open(&mine, ring_path("crowd"), HF_OPTIONS(.types = crowd_types, .shards = 2,
                        .window = 1 << 20, .store_max = 512 << 20)))
                _exit(1);
            (void)hf_tell(mine, "@crowd", "x", hf_view(big, BIG));
            pause();
        }
        kill_when(child, &stage->handled, 1 + round * 3000);
        assert_int_equal(told("crowd", 2 + (uint32_t)round), CROWD);
    }
    (void)munmap(stage, sizeof *stage);
}

/* Killed while it publishes: all of a publication, or none. */
static void test_killed_publisher(void **state)
{
    enum { FEW = 300 };
    (void)state;
    atomic_store(&wrong, 0);
    fill_big();
    stage = ring_shared(sizeof *stage);
    hf_engine *e = open_with("killed", crowd_types, 1 << 20);
    for (int i = 0; i < FEW; i++) {
        char who[16];
        (void)snprintf(who, sizeof who, "s/%d", i);
        ring_ok(hf_subscribe(e, "@crowd", who));
    }
    ring_ok(hf_close(e, HF_NEVER));
    int promised = 0;
    for (int round = 0; round < 6; round++) {
        atomic_store(&stage->published, 0);
        pid_t child = fork();
        if (child == 0) {
            hf_engine *mine = NULL;
            if (hf_open(&mine, ring_path("killed"), HF_OPTIONS(.types = crowd_types,
                        .shards = 2, .window = 1 << 20, .store_max = 512 << 20)))
                _exit(1);
            while (hf_tell(mine, "@crowd", "x", hf_view(big, BIG)) == HF_OK)
                atomic_fetch_add(&stage->published, 1);
            _exit(2);
        }
        kill_when(child, &stage->published, 1 + round * 3);
        promised += atomic_load(&stage->published);
        e = open_with("killed", crowd_types, 1 << 20);
        flush(e);
        hf_view_of *view;
        hf_bytes image;
        uint64_t version;
        uint32_t first = 0, had = 0;
        ring_ok(hf_view_open(&view, e->disk));
        for (int i = 0; i < FEW; i++) {
            char who[16];
            (void)snprintf(who, sizeof who, "s/%d", i);
            ring_ok(hf_view_state(view, who, &image, &version));
            memcpy(&had, image.data, sizeof had);
            first = i ? first : had;
            assert_int_equal(had, first);
        }
        hf_view_close(view);
        ring_ok(hf_close(e, HF_NEVER));
        assert_in_range(first, promised, promised + 1);
        promised = (int)first;
    }
    (void)munmap(stage, sizeof *stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_killed_publisher),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
