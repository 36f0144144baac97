/* ring_life.c - one life of the engine: senders send, somebody pauses, and at
 * some moment it is closed or killed. Runs in a child of its own. */
#include "tests/flow/ring_model/ring_rules.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef struct sender {
    hf_engine *engine;
    uint32_t   number;
    uint64_t   dice;
    uint32_t   ops;
    uint64_t   tags[4]; /* of its mayflies */
} sender;

#define roll ring_roll

/* ---- Letters of one call */

enum { CALL_MAX = 24 };
typedef struct call {
    uint32_t  sender, count;
    uint16_t  actors[CALL_MAX], seqs[CALL_MAX];
    char      to[CALL_MAX][32];
    hf_letter letters[CALL_MAX];
    uint8_t   bodies[CALL_MAX][RING_BODY_MAX];
    char      dedupes[CALL_MAX][16];
} call;

/* Those may be said again: by whoever was not told what became of them, too. */
static bool has_dedupe(uint32_t from, uint32_t actor, uint32_t seq)
{
    return ring_hash(ring_dice(from, actor, seq), 55) % 2;
}

static void add_letter(call *c, uint32_t actor, uint32_t seq)
{
    uint32_t n = c->count++;
    c->actors[n] = (uint16_t)actor;
    c->seqs[n] = (uint16_t)seq;
    ring_address(actor, c->to[n]);
    size_t len = ring_write(c->bodies[n], c->sender, actor, seq, DEPTH);
    c->letters[n] = (hf_letter){ .size = sizeof(hf_letter), .to = c->to[n], .kind = "go",
                                 .body = hf_view(c->bodies[n], len) };
    ring_dress(&c->letters[n], c->sender, actor, seq);
    if (has_dedupe(c->sender, actor, seq)) {
        snprintf(c->dedupes[n], sizeof c->dedupes[n], "%u-%u", c->sender, seq);
        c->letters[n].dedupe = c->dedupes[n];
    }
}

static void fill(call *c, sender *s, uint32_t count)
{
    c->sender = s->number;
    c->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t actor = (uint32_t)(roll(&s->dice) % ACTORS);
        if (ring->told[s->number][actor] >= MOST)
            continue;
        uint32_t seq = ++ring->told[s->number][actor];
        add_letter(c, actor, seq);
        ring->fate[s->number][actor][seq] = TOLD;
    }
}

static void note_fate(const call *c, ring_told fate)
{
    for (uint32_t i = 0; i < c->count; i++)
        ring->fate[c->sender][c->actors[i]][c->seqs[i]] = (uint8_t)fate;
}

static void answered(call *c, int err)
{
    if (!err)
        note_fate(c, ACKED);
    else if (err == HF_EAGAIN || err == HF_EFULL || err == HF_ECLOSED)
        note_fate(c, REFUSED);
    else
        ring_broken("a call answered %d: %s (%s)", err, hf_strerror(err), hf_detail());
}

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    call *c = user;
    if (count != c->count)
        ring_broken("posted %u letters, told of %zu", c->count, count);
    for (size_t i = 1; !err && i < count; i++)
        if (!receipts[i].id || receipts[i].err)
            ring_broken("a receipt without an id");
    answered(c, err);
    free(c);
}

/* Once more: nothing comes of it but the same receipts. */
static void say_again(sender *s, const call *c, const hf_receipt *first)
{
    hf_receipt again[CALL_MAX];
    hf_letter letters[CALL_MAX];
    uint64_t ids[CALL_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->letters[i].dedupe) {
            ids[count] = first[i].id;
            letters[count++] = c->letters[i];
        }
    int err = count ? hf_mail(s->engine, letters, count, again) : HF_EAGAIN;
    for (uint32_t i = 0; !err && i < count; i++)
        if (again[i].err != HF_EDUPLICATE || again[i].id != ids[i])
            ring_broken("said again: %d, id %llu, not %llu", again[i].err,
                        (unsigned long long)again[i].id, (unsigned long long)ids[i]);
    if (err && err != HF_EAGAIN && err != HF_EFULL && err != HF_ECLOSED)
        ring_broken("said again: %d %s", err, hf_detail());
}

/* The next of those that a kill left open. */
static void fill_open(call *c, const sender *s, uint32_t actor)
{
    c->sender = s->number;
    c->count = 0;
    for (uint32_t seq = 1; seq <= ring->told[s->number][actor] && c->count < CALL_MAX; seq++)
        if (ring->fate[s->number][actor][seq] == TOLD && has_dedupe(s->number, actor, seq))
            add_letter(c, actor, seq);
}

/* What was open is said again, before anything else: then it stands. False: it was
 * refused, and is as open as before. */
static bool close_open(sender *s)
{
    call *c = calloc(1, sizeof *c);
    int err = HF_OK;
    if (!c)
        abort();
    for (uint32_t actor = 0; !err && actor < ACTORS;) {
        fill_open(c, s, actor);
        if (!c->count)
            actor++;
        else if (!(err = hf_mail(s->engine, c->letters, c->count, NULL)))
            note_fate(c, ACKED);
    }
    if (err && err != HF_EAGAIN && err != HF_EFULL && err != HF_ECLOSED)
        ring_broken("what was open: %d %s", err, hf_detail());
    free(c);
    return !err;
}

/* What stands since long, maybe handled, folded, dead: nothing comes of it. */
static void say_old(sender *s)
{
    hf_receipt receipts[CALL_MAX];
    call *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->sender = s->number;
    for (uint32_t tries = 0; tries < 200 && c->count < CALL_MAX; tries++) {
        uint32_t actor = (uint32_t)(roll(&s->dice) % ACTORS);
        uint32_t told = ring->told[s->number][actor];
        uint32_t seq = told ? 1 + (uint32_t)(roll(&s->dice) % told) : 0;
        if (ring->fate[s->number][actor][seq] == ACKED && has_dedupe(s->number, actor, seq))
            add_letter(c, actor, seq);
    }
    int err = c->count ? hf_mail(s->engine, c->letters, c->count, receipts) : HF_EAGAIN;
    for (uint32_t i = 0; !err && i < c->count; i++)
        if (receipts[i].err != HF_EDUPLICATE)
            ring_broken("%u/%u to %u was taken again (%d)", s->number, c->seqs[i], c->actors[i],
                        receipts[i].err);
    if (err && err != HF_EAGAIN && err != HF_EFULL && err != HF_ECLOSED)
        ring_broken("said again after long: %d %s", err, hf_detail());
    free(c);
}

static void send_call(sender *s)
{
    call *c = calloc(1, sizeof *c);
    uint64_t how = roll(&s->dice) % 4;
    if (!c)
        abort();
    fill(c, s, how == 0 ? 1 : 1 + (uint32_t)(roll(&s->dice) % CALL_MAX));
    if (!c->count) {
        free(c);
        return;
    }
    if (c->count == 1 && roll(&s->dice) % 2) {
        ring_ask(s->engine, &c->letters[0], s->number, c->actors[0], c->seqs[0]);
        free(c);
        return;
    }
    if (how >= 2) {
        int err = hf_post(s->engine, c->letters, c->count, posted, c);
        if (err) {
            answered(c, err);
            free(c);
        }
        return;
    }
    hf_receipt receipts[CALL_MAX];
    int err = hf_mail(s->engine, c->letters, c->count, receipts);
    answered(c, err);
    if (!err && roll(&s->dice) % 4 == 0)
        say_again(s, c, receipts);
    free(c);
}

static void send_mayfly(sender *s)
{
    uint32_t which = (uint32_t)(roll(&s->dice) % 4);
    ring_mayfly m = { .found = s->tags[which], .made = roll(&s->dice) | 1,
                      .op = (uint32_t)(roll(&s->dice) % 6) };
    static const uint8_t leaves[] = { 0, 1, 2, 2, 1, 1 }; /* as before, made, nothing */
    char to[48];
    snprintf(to, sizeof to, "mayfly/%u-%u-%u", ring->life, s->number, which);
    hf_letter l = { .size = sizeof l, .to = to, .body = hf_view(&m, sizeof m) };
    int err = roll(&s->dice) % 4 ? hf_post(s->engine, &l, 1, NULL, NULL)
                                 : hf_mail(s->engine, &l, 1, NULL);
    if (!err)
        s->tags[which] = leaves[m.op] == 0 ? m.found : leaves[m.op] == 1 ? m.made : 0;
    else if (err != HF_EAGAIN && err != HF_ECLOSED)
        ring_broken("a mayfly: %d %s", err, hf_detail());
}

static void act_by_rule(sender *s)
{
    uint32_t count = 0;
    while (ring_rules[count] && ring_rules[count]->act)
        count++;
    ring_rules[roll(&s->dice) % count]->act(s->engine, s->number, &s->dice);
}

static void *send_all(void *user)
{
    sender *s = user;
    if (!close_open(s))
        return NULL;
    say_old(s);
    for (uint32_t i = 0; i < s->ops && !atomic_load(&ring->broken); i++) {
        uint64_t what = roll(&s->dice) % 9;
        if (what < 2)
            send_mayfly(s);
        else if (what < 5)
            send_call(s);
        else
            act_by_rule(s);
        if (roll(&s->dice) % 16 == 0)
            usleep((useconds_t)(roll(&s->dice) % 2000));
    }
    return NULL;
}

/* ---- The operator */

static int in_order(void *user, const hf_message *msg)
{
    uint64_t *last = user;
    if (msg->id <= *last)
        ring_broken("hf_pause tells %llu after %llu", (unsigned long long)msg->id,
                    (unsigned long long)*last);
    *last = msg->id;
    return HF_OK;
}

static void pause_some(hf_engine *engine, uint64_t *dice)
{
    char what[32];
    uint32_t actor = (uint32_t)(roll(dice) % ACTORS);
    uint64_t last = 0;
    ring_address(actor, what);
    if (roll(dice) % 2) {
        int err = hf_pause(engine, what, in_order, &last);
        if (err)
            ring_broken("hf_pause: %d %s", err, hf_detail());
        else
            atomic_store(&ring->paused[actor], true);
    } else {
        atomic_store(&ring->paused[actor], false);
        int err = hf_resume(engine, what);
        if (err)
            ring_broken("hf_resume: %d %s", err, hf_detail());
    }
}

static void operate(hf_engine *engine, uint64_t *dice)
{
    hf_stats stats = HF_STATS;
    switch (roll(dice) % 5) {
    case 0: pause_some(engine, dice); break;
    case 1: (void)hf_drain(engine, (uint32_t)(roll(dice) % 5)); break;
    case 2: (void)hf_stat(engine, &stats); break;
    case 3: (void)hf_sync(engine, HF_NEVER); break;
    default: usleep((useconds_t)(roll(dice) % 3000)); break;
    }
}

static void *kill_later(void *user)
{
    usleep((useconds_t)(uintptr_t)user);
    kill(getpid(), SIGKILL);
    return NULL;
}

/* ---- The last life: everything comes to rest and is reported */

static void ask_report(hf_engine *engine, const char *to, uint32_t actor)
{
    ring_letter l = { .actor = (uint16_t)actor };
    int err = hf_tell(engine, to, "report", hf_view(&l, sizeof l));
    if (err)
        ring_broken("asking %s: %d %s", to, err, hf_detail());
}

static void drain(hf_engine *engine, const char *when)
{
    hf_stats stats = HF_STATS;
    int err = hf_drain(engine, RING_PATIENCE);
    hf_stat(engine, &stats);
    if (err)
        ring_broken("hf_drain %s: %d %s", when, err, hf_detail());
    else if (stats.waiting)
        ring_broken("%llu messages wait after hf_drain %s", (unsigned long long)stats.waiting,
                    when);
}

static void report_all(hf_engine *engine)
{
    char to[32];
    for (uint32_t i = 0; i < ACTORS; i++) {
        ring_address(i, to);
        atomic_store(&ring->paused[i], false);
        if (hf_resume(engine, to))
            ring_broken("hf_resume at the end: %s", hf_detail());
    }
    for (const ring_rule *const *r = ring_rules; *r; r++)
        if ((*r)->rest)
            (*r)->rest(engine);
    drain(engine, "at the end");
    for (uint32_t i = 0; i < ACTORS; i++) {
        ring_address(i, to);
        ask_report(engine, to, i);
    }
    ask_report(engine, "tally/all", 0);
    ask_report(engine, "grave/yard", 0);
    drain(engine, "after the reports");
}

static void log_text(void *user, hf_level level, const char *text)
{
    (void)user;
    if (level >= HF_ERROR)
        ring_broken("the engine says: %s", text);
}

_Noreturn void ring_live(const char *path, uint64_t dice, bool last)
{
    static const uint64_t windows[] = { 64 << 10, 64 << 10, 128 << 10, 512 << 10 };
    hf_type types[RING_TYPES];
    hf_engine *engine;
    pthread_t threads[OUTSIDERS], killer;
    sender senders[OUTSIDERS];
    uint64_t *d = &dice;
    bool killed = !last && roll(d) % 2;
    uint32_t ops = last ? 0 : 1 + (uint32_t)(roll(d) % 90);
    memcpy(types, ring_types, sizeof types);
    for (uint32_t i = 0; types[i].name; i++)
        types[i].version = types[i].upgrade ? ring->life : 0;
    int err = hf_open(&engine, path, HF_OPTIONS(.types = types, .log = log_text,
                      .shards = 1 + (uint32_t)(roll(d) % 4), .store_max = 64 << 20,
                      .window = windows[roll(d) % 4]));
    if (err) {
        ring_broken("hf_open: %d %s (%s)", err, hf_strerror(err), hf_detail());
        _exit(1);
    }
    ring_finisher_start();
    if (killed && pthread_create(&killer, NULL, kill_later, (void *)(uintptr_t)(roll(d) % 30000)))
        abort();
    for (uint32_t i = 0; i < OUTSIDERS; i++) {
        senders[i] = (sender){ .engine = engine, .number = i, .dice = roll(d), .ops = ops };
        if (pthread_create(&threads[i], NULL, send_all, &senders[i]))
            abort();
    }
    for (uint32_t i = 0; !last && i < 8; i++)
        operate(engine, d);
    for (uint32_t i = 0; i < OUTSIDERS; i++)
        pthread_join(threads[i], NULL);
    if (killed && roll(d) % 2)
        kill(getpid(), SIGKILL);
    if (last)
        report_all(engine);
    err = hf_close(engine, HF_NEVER);
    if (err)
        ring_broken("hf_close: %d %s", err, hf_detail());
    exit(atomic_load(&ring->broken) ? 1 : 0);
}
