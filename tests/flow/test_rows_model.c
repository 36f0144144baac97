/* test_rows_model.c - random puts, gets and walks of many actors against a plain model,
 * through tiny windows, closes, kills and failing turns; then the table as a reader sees it.
 *
 * What message n of an actor does follows from (seed, actor, n), so that a life that was
 * killed is known to have done exactly what the actor's state says: n messages. */
#include "tests/support/ring.h"

#include "storage/address.h"
#include "storage/entry.h"
#include "storage/view.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum { ACTORS = 12, KEYS = 40, ROUNDS = 2000, LIVES = 12, LEN_MAX = 9000 };

#define CHECK(x)                                                             \
    do {                                                                     \
        if (!(x)) {                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);          \
            abort();                                                         \
        }                                                                    \
    } while (0)

/* In a child, which has no test to fail: it ends. */
#define MUST(call)                                                           \
    do {                                                                     \
        int must_ = (call);                                                  \
        if (must_)                                                           \
            fprintf(stderr, "%s: %s\n", hf_strerror(must_), hf_detail());    \
        CHECK(!must_);                                                       \
    } while (0)

static uint32_t seed;

/* ---- Chance */

typedef struct dice {
    uint64_t x;
} dice;

static uint32_t roll(dice *d, uint32_t below)
{
    d->x += 0x9e3779b97f4a7c15;
    uint64_t z = d->x;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ (z >> 31)) >> 32) % below;
}

static dice dice_for(uint32_t actor, uint32_t n)
{
    return (dice){ (uint64_t)seed << 40 ^ (uint64_t)actor << 32 ^ n };
}

/* ---- Keys: all bytes, prefixes of each other, the longest there is */

typedef struct row_key {
    uint8_t bytes[127];
    uint8_t len;
} row_key;

static row_key keys[KEYS]; /* in order */

static int compare_keys(const void *pa, const void *pb)
{
    const row_key *a = pa, *b = pb;
    int order = memcmp(a->bytes, b->bytes, a->len < b->len ? a->len : b->len);
    return order ? order : a->len - b->len;
}

static void make_keys(void)
{
    static const uint8_t some[] = { 0, 1, '/', 'a', 'u', 0x7f, 0x80, 0xff };
    dice d = { 4711 };
    memset(keys, 0, sizeof keys);
    for (int i = 0; i < KEYS; i++) {
        keys[i].len = (uint8_t)(i < 4 ? 127 : i < 12 ? 1 + roll(&d, 3) : 1 + roll(&d, 127));
        for (int at = 0; at < keys[i].len; at++)
            keys[i].bytes[at] = some[roll(&d, at < 2 ? 8 : 3)];
    }
    qsort(keys, KEYS, sizeof *keys, compare_keys);
    for (int i = 1; i < KEYS; i++)
        if (compare_keys(&keys[i - 1], &keys[i]) == 0)
            keys[i].bytes[keys[i].len++ - 1] ^= 0x55; /* rare; the sort below mends it */
    qsort(keys, KEYS, sizeof *keys, compare_keys);
    for (int i = 1; i < KEYS; i++)
        CHECK(compare_keys(&keys[i - 1], &keys[i]) < 0);
}

static hf_bytes key_at(int i)
{
    return hf_view(keys[i].bytes, keys[i].len);
}

static int key_index(hf_bytes key)
{
    for (int i = 0; i < KEYS; i++)
        if (keys[i].len == key.len && memcmp(keys[i].bytes, key.data, key.len) == 0)
            return i;
    return -1;
}

/* ---- The model of one actor */

typedef struct cell {
    uint32_t seed, len; /* seed 0: no such row */
} cell;

typedef struct shop {
    cell     cells[KEYS];
    uint32_t n;         /* messages it has done */
} shop;

static shop shops[ACTORS];

static void fill(uint8_t *at, cell c)
{
    for (uint32_t i = 0; i < c.len; i++)
        at[i] = (uint8_t)(c.seed * 31 + i * 7 + (i >> 8));
}

static bool is_cell(hf_bytes value, cell c)
{
    static _Thread_local uint8_t wanted[LEN_MAX];
    fill(wanted, c);
    return value.data && value.len == c.len && memcmp(value.data, wanted, c.len) == 0;
}

/* ---- What a message does; turn NULL: only to the model */

static void put(hf_turn *turn, shop *s, int i, dice *d)
{
    static _Thread_local uint8_t bytes[LEN_MAX];
    cell c = { 1 + roll(d, 1000000), roll(d, 20) ? roll(d, 200) : roll(d, LEN_MAX) };
    s->cells[i] = c;
    fill(bytes, c);
    if (turn)
        hf_put(turn, key_at(i), hf_view(bytes, c.len));
    memset(bytes, 0xee, sizeof bytes); /* it was copied */
}

static void drop(hf_turn *turn, shop *s, int i)
{
    s->cells[i] = (cell){ 0, 0 };
    if (turn)
        hf_put(turn, key_at(i), hf_view(NULL, 0));
}

static void get(hf_turn *turn, const shop *s, int i)
{
    hf_bytes value = hf_str("left alone");
    if (!turn)
        return;
    int err = hf_get(turn, key_at(i), &value);
    CHECK(err == (s->cells[i].seed ? HF_OK : HF_ENOTFOUND));
    CHECK(s->cells[i].seed ? is_cell(value, s->cells[i]) : !value.data);
}

typedef struct stroll {
    hf_turn *turn;
    shop    *s;
    dice    *d;
    int      next;     /* the key that may come next */
    int      left;     /* rows, then it stops */
    bool     puts;
} stroll;

enum { ENOUGH = 77 };

/* The next row of the model at or behind `i`. */
static int next_cell(const shop *s, int i)
{
    while (i < KEYS && !s->cells[i].seed)
        i++;
    return i;
}

/* Changes rows ahead, behind and the one it is shown. */
static void change_some(stroll *w, int i)
{
    int other = (int)roll(w->d, KEYS);
    switch (roll(w->d, 5)) {
    case 0: put(w->turn, w->s, other, w->d); break;
    case 1: drop(w->turn, w->s, other); break;
    case 2: put(w->turn, w->s, i, w->d); break;
    case 3: drop(w->turn, w->s, i); break;
    default: break;
    }
}

static int see(void *user, hf_bytes key, hf_bytes value)
{
    stroll *w = user;
    int i = key_index(key);
    CHECK(i == next_cell(w->s, w->next));
    cell shown = w->s->cells[i];
    CHECK(is_cell(value, shown));
    w->next = i + 1;
    if (w->puts)
        change_some(w, i);
    CHECK(is_cell(value, shown)); /* lent until we return */
    return --w->left ? HF_OK : ENOUGH;
}

/* The same on the model alone. */
static void stroll_blind(stroll *w)
{
    for (int i; w->left && (i = next_cell(w->s, w->next)) < KEYS; w->left--) {
        w->next = i + 1;
        if (w->puts)
            change_some(w, i);
    }
}

static void walk(hf_turn *turn, shop *s, dice *d)
{
    stroll w = { .turn = turn, .s = s, .d = d, .puts = roll(d, 2) };
    bool all = roll(d, 3) == 0;
    w.next = all ? 0 : (int)roll(d, KEYS);
    w.left = all ? KEYS * 9 : 1 + (int)roll(d, 12);
    if (!turn) {
        stroll_blind(&w);
        return;
    }
    int err = hf_walk(turn, all ? hf_str("") : key_at(w.next), see, &w);
    CHECK(err == (w.left ? HF_OK : ENOUGH));
    CHECK(!w.left || next_cell(s, w.next) == KEYS);
}

static void act(hf_turn *turn, shop *s, dice *d)
{
    for (uint32_t i = 1 + roll(d, 8); i; i--) {
        switch (roll(d, 10)) {
        case 0: case 1: case 2: case 3: put(turn, s, (int)roll(d, KEYS), d); break;
        case 4: drop(turn, s, (int)roll(d, KEYS)); break;
        case 5: case 6: get(turn, s, (int)roll(d, KEYS)); break;
        case 7: case 8: walk(turn, s, d); break;
        default:
            if (roll(d, 20) == 0) {
                if (turn)
                    hf_forget(turn);
                memset(s->cells, 0, sizeof s->cells);
            }
        }
    }
}

static bool is_pooled(uint32_t actor)
{
    return actor % 3 == 2;
}

static const char *address(uint32_t actor)
{
    static _Thread_local char text[40];
    (void)snprintf(text, sizeof text, "%s/%u", is_pooled(actor) ? "pooled" : "plain", actor);
    return text;
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    uint32_t message[2], n = 0;
    hf_bytes state = hf_state(turn);
    CHECK(msg->body.len == sizeof message);
    memcpy(message, msg->body.data, sizeof message);
    uint32_t actor = message[0];
    if (state.data)
        memcpy(&n, state.data, sizeof n);
    CHECK(message[1] == n);
    shop *s = &shops[actor], after;
    while (s->n < n) { /* an earlier life did that */
        dice old = dice_for(actor, s->n++);
        act(NULL, s, &old);
    }
    CHECK(s->n == n);
    after = *s;
    dice d = dice_for(actor, n);
    act(turn, &after, &d);
    after.n++;
    hf_save(turn, hf_view(&after.n, sizeof after.n));
    uint32_t trouble = (seed + actor * 7 + n) % 11;
    if (trouble == 0 && msg->attempt == 1)
        return hf_fail(turn, 5, "once");
    if (trouble == 1 && msg->attempt < 3) {
        hf_put(turn, hf_str(""), hf_str("no key"));
        return HF_OK;
    }
    *s = after;
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "plain", .handle = handle, .retry_ms = 1, .retry_ms_max = 2, .tries = HF_NEVER,
      .strikes = HF_NEVER, .idle_ms = 1 },
    { .name = "pooled", .handle = handle, .retry_ms = 1, .retry_ms_max = 2, .tries = HF_NEVER,
      .strikes = HF_NEVER, .idle_ms = 1, .threads = 3 },
    { 0 }
};

/* ---- A life */

static hf_engine *open_store(const char *path)
{
    hf_engine *e = NULL;
    MUST(hf_open(&e, path, HF_OPTIONS(.types = types, .shards = 2, .window = 64 << 10,
                                         .store_max = 256 << 20)));
    return e;
}

/* The messages that an earlier life sent are in the store: how many each got so far. */
typedef struct tally {
    uint32_t sent[ACTORS];
} tally;

static int count_sent(void *user, const hf_entry *e)
{
    uint32_t message[2];
    memcpy(message, e->data.data, sizeof message);
    ((tally *)user)->sent[message[0]] = message[1] + 1;
    return HF_OK;
}

static tally tally_of(const char *path)
{
    tally t = { { 0 } };
    hf_disk *disk;
    hf_view_of *view;
    int err = hf_disk_open(&disk, path, &(hf_disk_options){ .flags = HF_LOOK });
    if (err == HF_ENOTFOUND)
        return t;
    MUST(err);
    MUST(hf_view_open(&view, disk));
    for (uint32_t a = 0; a < ACTORS; a++) {
        hf_bytes image;
        uint64_t version;
        if (hf_view_state(view, address(a), &image, &version) == HF_OK)
            memcpy(&t.sent[a], image.data, sizeof t.sent[a]);
    }
    for (uint32_t a = 0; a < ACTORS; a++)
        MUST(hf_view_inbox(view, address(a), 0, count_sent, &t));
    hf_view_close(view);
    hf_disk_close(disk);
    return t;
}

static int live(const char *path, uint32_t life, int pipe_to)
{
    tally t = tally_of(path);
    hf_engine *e = open_store(path);
    dice d = { (uint64_t)seed * 1000 + life };
    for (uint32_t i = 0; i < ROUNDS / LIVES; i++) {
        uint32_t message[2] = { roll(&d, ACTORS), 0 };
        message[1] = t.sent[message[0]]++;
        MUST(hf_tell(e, address(message[0]), "do", hf_view(message, sizeof message)));
        if (i % 64 == 63 && write(pipe_to, "x", 1) != 1)
            return 1;
        if (i % 97 == 50)
            MUST(hf_drain(e, 60000));
    }
    if (roll(&d, 2))
        MUST(hf_drain(e, 60000));
    MUST(hf_close(e, 60000));
    return 0;
}

/* Every second life is killed, some way in. */
static void run_life(const char *path, uint32_t life)
{
    int ends[2];
    char word;
    int status;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        alarm(100);
        _exit(live(path, life, ends[1]));
    }
    close(ends[1]);
    bool kills = life % 2 == 0 && life + 1 < LIVES;
    for (uint32_t i = 0; kills && i <= life % 3; i++)
        (void)!read(ends[0], &word, 1);
    if (kills)
        kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    close(ends[0]);
    assert_true(kills ? WIFSIGNALED(status) || WIFEXITED(status)
                      : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- What readers see */

typedef struct look {
    hf_key      actor;
    const shop *s;
    int         next;
} look;

static int see_row(void *user, hf_bytes key, hf_bytes payload)
{
    look *l = user;
    if (key.len < l->actor.len || memcmp(key.data, l->actor.bytes, l->actor.len) != 0)
        return ENOUGH;
    const uint8_t *name = (const uint8_t *)key.data + l->actor.len;
    assert_int_equal(name[0], 0);
    assert_int_equal(name[1], HF_SHELF_USER);
    int i = key_index(hf_view(name + 2, key.len - l->actor.len - 2));
    assert_int_equal(i, next_cell(l->s, l->next));
    assert_true(is_cell(hf_view((const uint8_t *)payload.data + 8, payload.len - 8),
                        l->s->cells[i]));
    l->next = i + 1;
    return HF_OK;
}

static void check_all(const char *path)
{
    hf_disk *disk;
    hf_view_of *view;
    uint32_t done = 0;
    ring_ok(hf_disk_open(&disk, path, &(hf_disk_options){ .flags = HF_LOOK }));
    ring_ok(hf_view_open(&view, disk));
    for (uint32_t a = 0; a < ACTORS; a++) {
        shop s = { .n = 0 };
        look l = { .s = &s };
        hf_bytes image;
        uint64_t version;
        uint32_t n;
        if (hf_view_state(view, address(a), &image, &version))
            continue;
        memcpy(&n, image.data, sizeof n);
        while (s.n < n) {
            dice d = dice_for(a, s.n++);
            act(NULL, &s, &d);
        }
        size_t len = strlen(address(a));
        hf_key_actor(&l.actor, address(a), len,
                     hf_address_hash(hf_view_seed(view), address(a), len));
        int err = hf_view_walk(view, HF_IN_ROWS, hf_key_bytes(&l.actor), see_row, &l);
        assert_true(err == HF_OK || err == ENOUGH);
        assert_int_equal(next_cell(&s, l.next), KEYS);
        done += n;
    }
    hf_view_close(view);
    hf_disk_close(disk);
    assert_true(done > ROUNDS / 3);
}

static void run_seed(uint32_t number)
{
    char name[20];
    seed = number;
    (void)snprintf(name, sizeof name, "seed%u", number);
    const char *path = ring_path(name);
    for (uint32_t life = 0; life < LIVES; life++)
        run_life(path, life);
    /* What the last lives left waiting is done, too. */
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        hf_engine *e = open_store(path);
        MUST(hf_drain(e, 60000));
        MUST(hf_close(e, 60000));
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    check_all(path);
}

static void test_model(void **state)
{
    const char *count = getenv("HF_ROWS_SEEDS");
    uint32_t last = count ? (uint32_t)atoi(count) : 4;
    (void)state;
    make_keys();
    for (uint32_t i = 1; i <= last; i++)
        run_seed(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
