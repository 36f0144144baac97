/* copies_load.c - backups under full write load, each of one committed moment:
 * copies_load [BACKUPS].
 *
 * Two senders mail without a pause, each always one letter to each of its givers, in one
 * batch and with the next number; a giver's turn notes the number and sends it on to its
 * taker. So at every committed moment all givers of a sender have met, or have waiting, the
 * same numbers from 1 on, and giver and taker agree when all has arrived. Each backup is
 * restored, verified, opened, worked off and compared; it has all that was acknowledged
 * before it began and nothing that was sent after it ended. What a restored store sends has
 * an id above all the first store gave before, and a key that no other one has. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { SENDERS = 2, GIVERS = 4, ALL = SENDERS * GIVERS, BACKUPS_MAX = 1000 };

static int backups = 5;

static atomic_ullong posted[SENDERS], acknowledged[SENDERS], highest_id;
static atomic_ullong met[2][ALL]; /* [0] by givers, [1] by takers */
static atomic_int    told, noted, wrong;
static char          keys[BACKUPS_MAX + 1][33];
static atomic_bool   stop;

/* The next number and no other. */
static int meet(hf_turn *turn, const hf_message *msg)
{
    bool giver = strncmp(msg->to, "giver/", 6) == 0;
    int which = atoi(strchr(msg->to, '/') + 1);
    uint64_t last = 0, number = 0;
    char to[32];
    if (hf_state(turn).len == sizeof last)
        memcpy(&last, hf_state(turn).data, sizeof last);
    if (strcmp(msg->kind, "tell") == 0) {
        atomic_store(&met[!giver][which], last);
        atomic_fetch_add(&told, 1);
        return HF_OK;
    }
    if (msg->body.len == sizeof number)
        memcpy(&number, msg->body.data, sizeof number);
    if (number != last + 1)
        atomic_fetch_add(&wrong, 1);
    hf_save(turn, hf_view(&number, sizeof number));
    (void)snprintf(to, sizeof to, "taker/%d", which);
    if (giver)
        hf_send(turn, to, "take", hf_view(&number, sizeof number));
    return HF_OK;
}

static int note(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    memcpy(keys[atomic_load(&noted)], msg->key, sizeof keys[0]);
    atomic_fetch_add(&noted, 1);
    return HF_OK;
}

static const hf_type types[] = { { .name = "giver", .handle = meet },
                                 { .name = "taker", .handle = meet },
                                 { .name = "note", .handle = note }, { 0 } };

static const char *at(const char *name)
{
    static char paths[4][128];
    static int turn;
    char *path = paths[turn++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s", ring_path(name));
    return path;
}

/* ---- The load */

typedef struct sender {
    hf_engine *engine;
    int        number;
} sender;

static void came(void *user, int err, const hf_receipt *receipts, size_t count)
{
    const sender *s = user;
    if (err != HF_OK) {
        print_error("a letter was refused: %s\n", hf_strerror(err));
        atomic_fetch_add(&wrong, 1);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned long long before = atomic_load(&highest_id);
        while (before < receipts[i].id
               && !atomic_compare_exchange_weak(&highest_id, &before, receipts[i].id))
            ;
    }
    atomic_fetch_add(&acknowledged[s->number], 1);
}

static void *send_on(void *user)
{
    const sender *s = user;
    char to[GIVERS][16];
    hf_letter letters[GIVERS] = { { .size = sizeof letters[0] } };
    for (uint64_t number = 1; !atomic_load(&stop);) {
        for (int i = 0; i < GIVERS; i++) {
            (void)snprintf(to[i], sizeof to[i], "giver/%d", s->number * GIVERS + i);
            letters[i] = (hf_letter){ .size = sizeof letters[i], .to = to[i], .kind = "give",
                                      .body = hf_view(&number, sizeof number) };
        }
        hf_stats stats = HF_STATS; /* as fast as the turns go: each copy has to work off the rest */
        while (number % 16 == 0 && !atomic_load(&stop) && hf_stat(s->engine, &stats) == HF_OK
               && stats.waiting > 4000)
            usleep(500);
        int err = hf_post(s->engine, letters, GIVERS, came, user);
        if (err == HF_OK) {
            atomic_store(&posted[s->number], number++);
        } else if (err == HF_EAGAIN) {
            usleep(200);
        } else {
            atomic_fetch_add(&wrong, 1);
            break;
        }
    }
    return NULL;
}

/* ---- One copy */

static int count_row(void *user, hf_bytes row)
{
    (void)row;
    ++*(int *)user;
    return HF_OK;
}

static void check_sound(const char *name)
{
    int rows = 0;
    ring_ok(hf_verify(at(name), count_row, &rows));
    assert_int_equal(rows, 1); /* the sum, and no finding */
}

/* All that waits arrives; then each sender's givers and takers have met the same, and
 * how much lies between these. The engine stays open. */
static hf_engine *check_moment(const char *name, const uint64_t least[SENDERS],
                               const uint64_t most[SENDERS])
{
    char to[32];
    hf_engine *engine = ring_open(name, types);
    ring_ok(hf_drain(engine, 60000));
    atomic_store(&told, 0);
    for (int i = 0; i < 2 * ALL; i++) {
        (void)snprintf(to, sizeof to, "%s/%d", i % 2 ? "giver" : "taker", i / 2);
        ring_ok(hf_tell(engine, to, "tell", hf_view(NULL, 0)));
    }
    ring_until(&told, 2 * ALL);
    for (int i = 0; i < ALL; i++) {
        assert_true(atomic_load(&met[0][i]) == atomic_load(&met[1][i]));
        assert_true(atomic_load(&met[0][i]) == atomic_load(&met[0][i / GIVERS * GIVERS]));
        assert_true(atomic_load(&met[0][i]) >= least[i / GIVERS]);
        assert_true(atomic_load(&met[0][i]) <= most[i / GIVERS]);
    }
    assert_int_equal(atomic_load(&wrong), 0);
    return engine;
}

/* A new letter: an id above `above`, a key nobody had. */
static void check_new(hf_engine *engine, uint64_t above)
{
    hf_receipt receipt = { 0 };
    int count = atomic_load(&noted);
    ring_ok(hf_mail(engine, HF_LETTER(.to = "note/1"), 1, &receipt));
    ring_until(&noted, count + 1);
    assert_true(receipt.id > above);
    for (int i = 0; i < count; i++)
        assert_string_not_equal(keys[i], keys[count]);
    ring_ok(hf_close(engine, 20000));
}

static int end_senders(void **state)
{
    (void)state;
    atomic_store(&stop, true);
    usleep(100000);
    return ring_remove_root(state);
}

static void test_moments(void **state)
{
    pthread_t threads[SENDERS];
    static sender senders[SENDERS]; /* should this test end before they do */
    uint64_t least[SENDERS], most[SENDERS], total = 0;
    (void)state;
    hf_engine *engine = ring_open("load", types);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (sender){ engine, i };
        assert_int_equal(pthread_create(&threads[i], NULL, send_on, &senders[i]), 0);
    }
    for (int n = 0; n < backups; n++) {
        char remove[200];
        for (int i = 0; i < SENDERS; i++)
            least[i] = atomic_load(&acknowledged[i]);
        ring_ok(hf_backup(at("load"), at("load.hfb"), NULL, NULL));
        for (int i = 0; i < SENDERS; i++) /* one may be posted and not yet noted as such */
            most[i] = atomic_load(&posted[i]) + 1;
        ring_ok(hf_restore(at("load.hfb"), at("copy"), NULL, NULL));
        uint64_t given = atomic_load(&highest_id);
        check_sound("copy");
        check_new(check_moment("copy", least, most), given);
        check_sound("copy");
        (void)snprintf(remove, sizeof remove, "rm -rf %s", at("copy"));
        assert_int_equal(system(remove), 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    ring_ok(hf_sync(engine, 60000));
    ring_ok(hf_close(engine, 60000));
    for (int i = 0; i < SENDERS; i++) {
        least[i] = most[i] = atomic_load(&posted[i]);
        total += least[i] * GIVERS;
    }
    check_new(check_moment("load", least, most), atomic_load(&highest_id));
    print_message("%d backups while %llu letters were sent and sent on\n", backups,
                  (unsigned long long)total);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_moments) };
    if (argc > 1)
        backups = atoi(argv[1]);
    if (argc > 2 || backups < 1 || backups > BACKUPS_MAX) {
        fprintf(stderr, "usage: copies_load [BACKUPS, 1 to %d]\n", (int)BACKUPS_MAX);
        return 2;
    }
    return cmocka_run_group_tests(tests, ring_make_root, end_senders);
}
