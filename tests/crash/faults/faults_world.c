/* faults_world.c - the actors, and what must be true of them.
 *
 * Happy path: a number comes to its first actor, which counts it in its state and
 * sends it on; the second counts it, too. Some fail the first time, some are buried
 * (grave/0 counts these), some have a step undone. At the end every actor tells its
 * state and each number must have been done as often as the answers say: once if
 * HF_OK, never if refused, once or never if unknown. Threads of the engine, and the
 * child's own. */
#include "tests/crash/faults/faults_world.h"

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ledger *book;

#define BODY_MAGIC 0x5eed1e55u

const char *const faults_actors[ACTORS] = {
    "calm/0", "calm/1", "calm/2", "slow/0", "slow/1", "after/0", "after/1", "grave/0",
};
enum { AFTER_AT = 5, GRAVE_AT = 7 };

void broken(const char *format, ...)
{
    va_list args;
    if (atomic_exchange(&book->broken, true))
        return;
    va_start(args, format);
    (void)vsnprintf(book->why, sizeof book->why, format, args);
    va_end(args);
}

/* ---- Numbers */

static uint32_t place_of(uint32_t n)
{
    return n % 4 == 3 ? 3 + n / 4 % 2 : n % 3;
}

const char *number_to(uint32_t n)
{
    return faults_actors[place_of(n)];
}

bool number_is_undone(uint32_t n)
{
    return n % 4 == 3 && n % 5 == 2;
}

bool number_is_buried(uint32_t n)
{
    return number_is_undone(n) || n % 10 == 6;
}

hf_bytes number_body(uint8_t body[BODY_MAX], uint32_t n, size_t size)
{
    uint32_t tail[2] = { BODY_MAGIC ^ n, n };
    memset(body, (int)n, size);
    memcpy(body + size - sizeof tail, tail, sizeof tail);
    return hf_view(body, size);
}

/* The number at the end of a body; NUMBERS: torn. */
static uint32_t number_of(hf_bytes body)
{
    uint32_t tail[2] = { 0 };
    if (body.len >= sizeof tail)
        memcpy(tail, (const uint8_t *)body.data + body.len - sizeof tail, sizeof tail);
    if (tail[0] != (BODY_MAGIC ^ tail[1]) || tail[1] >= NUMBERS) {
        broken("a body of %zu bytes is not what was sent", body.len);
        return NUMBERS;
    }
    return tail[1];
}

uint32_t number_take(uint32_t count)
{
    uint32_t first = book->next;
    if (first + count > NUMBERS)
        abort();
    for (uint32_t i = first; i < first + count; i++) {
        book->least[i] = 0;
        book->most[i] = 1;
        book->fails_once[i] = i % 10 == 1;
        book->answer[i] = 1;
    }
    book->next += count;
    return first;
}

void number_answered(uint32_t first, uint32_t count, int err)
{
    for (uint32_t i = first; i < first + count; i++) {
        book->answer[i] = err;
        if (err == HF_OK)
            book->least[i] = book->most[i];
        else if (err != HF_EUNKNOWN)
            book->most[i] = book->least[i];
    }
    if (err == HF_OK)
        atomic_fetch_add(&book->done, 1);
    else if (err == HF_EUNKNOWN)
        atomic_fetch_add(&book->unknown, 1);
    else
        atomic_fetch_add(&book->refused, 1);
}

int answered(const char *call, int err)
{
    (void)snprintf(book->at, sizeof book->at, "%s -> %d", call, err);
    if (err && atomic_fetch_add(&book->errors, 1) == 0)
        (void)snprintf(book->error, sizeof book->error, "%s: %s: %s", call, hf_strerror(err),
                       hf_detail());
    if (err == HF_EUNKNOWN && strncmp(call, "hf_", 3) == 0)
        atomic_store(&book->told_stopped, true);
    if (err && err != HF_ETIMEDOUT && err != HF_EAGAIN && !*hf_detail())
        broken("%s answers %d (%s) and no detail", call, err, hf_strerror(err));
    return err;
}

/* ---- The state */

static int count(hf_turn *turn, uint32_t n, bool in_order)
{
    memory *m = hf_alloc(turn, sizeof *m);
    if (!m)
        return HF_ENOMEM;
    memset(m, 0, sizeof *m);
    hf_bytes old = hf_state(turn);
    if (old.len && old.len != sizeof *m)
        broken("a state of %zu bytes", old.len);
    else if (old.len)
        memcpy(m, old.data, sizeof *m);
    if (in_order && m->count && n <= m->last)
        broken("%u came after %u", n, m->last);
    m->seen[n]++;
    m->last = n;
    m->count++;
    m->hash += (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    hf_save(turn, hf_view(m, sizeof *m));
    return HF_OK;
}

static bool is_report(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "report") != 0)
        return false;
    for (uint32_t i = 0; i < ACTORS; i++) {
        if (strcmp(msg->to, faults_actors[i]) != 0)
            continue;
        if (hf_state(turn).len)
            memcpy(&book->reports[i], hf_state(turn).data, sizeof(memory));
        atomic_fetch_or(&book->reported, 1u << i);
    }
    return true;
}

static void go_on(hf_turn *turn, uint32_t n, const char *kind, hf_bytes body)
{
    hf_send(turn, faults_actors[AFTER_AT + n % 2], kind, body);
}

static int handle_calm(hf_turn *turn, const hf_message *msg)
{
    if (is_report(turn, msg))
        return HF_OK;
    uint32_t n = number_of(msg->body);
    if (n == NUMBERS)
        return HF_OK;
    if (strcmp(msg->to, number_to(n)) != 0)
        broken("%u came to %s", n, msg->to);
    int err = count(turn, n, !number_is_buried(n)); /* a requeued one comes late */
    if (err)
        return err;
    go_on(turn, n, "on", msg->body);
    if (number_is_buried(n))
        return hf_bury(turn, "not wanted");
    return book->fails_once[n] && msg->attempt == 1 ? hf_fail(turn, 1, "the first time") : HF_OK;
}

static int handle_slow(hf_turn *turn, const hf_message *msg)
{
    hf_step step;
    if (is_report(turn, msg))
        return HF_OK;
    uint32_t n = number_of(msg->body);
    if (n == NUMBERS)
        return HF_OK;
    int err = hf_begin_step(turn, "pay", &step);
    if (err == HF_TODO)
        err = hf_end_step(turn, &step, hf_view(&n, sizeof n));
    if (err)
        return hf_fail(turn, err, "step: %s", hf_detail());
    if (step.result.len != sizeof n || memcmp(step.result.data, &n, sizeof n) != 0)
        broken("the step of %u has another result", n);
    if (number_is_undone(n))
        return hf_bury(turn, "undo it");
    err = count(turn, n, true);
    if (err)
        return err;
    go_on(turn, n, "on", msg->body);
    return book->fails_once[n] && msg->attempt == 1 ? hf_fail(turn, 1, "the first time") : HF_OK;
}

static int undo(hf_turn *turn, const hf_message *msg, const hf_step *step)
{
    uint32_t n = number_of(msg->body);
    if (n == NUMBERS)
        return HF_OK;
    if (strcmp(step->name, "pay") != 0 || (step->result.data && step->result.len != sizeof n))
        broken("what is undone for %u is not what was done", n);
    go_on(turn, n, "undone", msg->body);
    return HF_OK;
}

static int handle_after(hf_turn *turn, const hf_message *msg)
{
    if (is_report(turn, msg))
        return HF_OK;
    uint32_t n = number_of(msg->body);
    return n == NUMBERS ? HF_OK : count(turn, n, false);
}

#define PATIENT .retry_ms = 1, .retry_ms_max = 4, .tries = 100000, .strikes = HF_NEVER
const hf_type faults_types[] = {
    { .name = "calm", .handle = handle_calm, .dead_to = "grave/0", PATIENT },
    { .name = "slow", .handle = handle_slow, .undo = undo, .threads = 2, .dead_to = "grave/0",
      PATIENT },
    { .name = "after", .handle = handle_after, PATIENT },
    { .name = "grave", .handle = handle_after, PATIENT },
    { 0 },
};

/* ---- Is it true? */

static void stopped(void *user, int err)
{
    (void)user;
    if (atomic_exchange(&book->stopped, err))
        broken("the stopped hook was called twice");
    if (!err)
        broken("the stopped hook was told HF_OK");
}

int world_open(hf_engine **engine, const char *path)
{
    atomic_store(&book->stopped, 0);
    return hf_open(engine, path,
                   HF_OPTIONS(.types = faults_types, .shards = 2, .window = 64 << 10,
                              .store_max = 16 << 20, .stopped = stopped,
                              .log = getenv("FAULTS_LOG") ? hf_log_stderr : NULL));
}

static uint32_t seen_by(uint32_t actor, uint32_t n)
{
    return book->reports[actor].seen[n];
}

static void expect(uint32_t n, const char *where, uint32_t came, uint32_t times)
{
    if (came != times)
        broken("number %u (answered %d, to be done %u..%u): %s %u times, not %u", n,
               book->answer[n], book->least[n], book->most[n], where, came, times);
}

static void check_number(uint32_t n)
{
    bool buried = number_is_buried(n);
    uint32_t first = seen_by(place_of(n), n), after = seen_by(AFTER_AT + n % 2, n);
    uint32_t dead = seen_by(GRAVE_AT, n), times = buried ? dead : first;
    if (times < book->least[n] || times > book->most[n])
        broken("number %u to %s was answered %d (%s), to be done %u..%u times, and done %u times",
               n, number_to(n), book->answer[n], hf_strerror(book->answer[n]), book->least[n],
               book->most[n], times);
    expect(n, "counted", first, buried ? 0 : times);
    expect(n, "sent on", after, buried && !number_is_undone(n) ? 0 : times);
    expect(n, "told dead", dead, buried ? times : 0);
}

static void check_sums(void)
{
    for (uint32_t a = 0; a < ACTORS; a++) {
        uint64_t hash = 0;
        for (uint32_t n = 0; n < NUMBERS; n++)
            hash += seen_by(a, n) * ((n + 1) * UINT64_C(0x9e3779b97f4a7c15));
        if (hash != book->reports[a].hash)
            broken("the state of %s does not sum up", faults_actors[a]);
    }
}

void world_verify(const char *path)
{
    hf_engine *engine = NULL;
    memset(book->reports, 0, sizeof book->reports);
    atomic_store(&book->reported, 0);
    int err = world_open(&engine, path);
    if (err) {
        broken("without faults hf_open answers %d (%s: %s)", err, hf_strerror(err), hf_detail());
        return;
    }
    static const char *const paused[] = { NULL, "calm", "slow", "calm/1" };
    for (int i = 0; !err && i < 4; i++)
        err = hf_resume(engine, paused[i]);
    if (!err)
        err = hf_drain(engine, 10000);
    for (uint32_t i = 0; !err && i < ACTORS; i++)
        err = hf_tell(engine, faults_actors[i], "report", hf_view(NULL, 0));
    if (!err)
        err = hf_drain(engine, 10000);
    if (err)
        broken("without faults: %d (%s: %s)", err, hf_strerror(err), hf_detail());
    int closed = hf_close(engine, 10000);
    if (closed)
        broken("without faults hf_close answers %d (%s)", closed, hf_detail());
    if (err || closed)
        return;
    if (atomic_load(&book->reported) != (1u << ACTORS) - 1)
        broken("actors that do not answer: %x", atomic_load(&book->reported));
    for (uint32_t n = 0; n < book->next; n++)
        check_number(n);
    check_sums();
}

int open_files(bool polls)
{
    int files = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && (e = readdir(d));) {
        char what[64] = "";
        ssize_t len = readlinkat(dirfd(d), e->d_name, what, sizeof what - 1);
        files += len < 0 || polls || strcmp(what, "anon_inode:[eventpoll]") != 0;
    }
    if (d)
        (void)closedir(d);
    return files;
}
