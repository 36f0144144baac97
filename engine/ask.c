/* ask.c - callers from outside that wait for a reply: hf_ask, hf_ask_watched.
 *
 * Happy path: the ask takes a slot and with it a number, which goes to disk in the
 * message; the caller goes on. What ends it - a reply that is committed, a death, its
 * time, the engine's end - takes it out of the table and queues its callback, all under
 * one lock, so it is told once, and no note after it. A number is a slot and a count that
 * began at random: what an earlier run was asked finds nobody here.
 *
 * A slot is given back before the callback is made, which may ask again. Deadlines stand
 * in a heap; the loop's clock is woken only for one that comes before all it knew.
 * A letter with .dedupe that was sent before follows the first: the loop's thread looks
 * what came of that whenever something came of any. Refused when too many are open, or the
 * letter is; then no callback comes. Any thread. */
#include "engine/asking.h"

#include "engine/dedupe.h"
#include "engine/letter.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/random.h"

enum {
    SLOT_BITS  = 20,
    CHUNK      = HF_ASKS_CHUNK,
    CHUNKS     = HF_ASKS_MAX / CHUNK,
    EXPIRE_MAX = 1024, /* under the lock at once */
};

#define NO_SLOT UINT32_MAX

int hf_asks_make(hf_engine *engine)
{
    struct hf_asks *s = hf_mem_zero(1, sizeof *s);
    if (!s || pthread_mutex_init(&s->lock, NULL)) {
        hf_mem_free(s);
        return hf_error(HF_ENOMEM, "the table of asks");
    }
    s->engine = engine;
    s->free = NO_SLOT;
    s->count = hf_random();
    s->armed_ns = UINT64_MAX;
    engine->asks = s;
    return HF_OK;
}

void hf_asks_free(hf_engine *engine)
{
    struct hf_asks *s = engine->asks;
    if (!s)
        return;
    for (uint32_t i = 0; i < CHUNKS; i++) {
        for (uint32_t n = 0; s->chunks[i] && n < CHUNK; n++) {
            hf_mem_free(s->chunks[i][n].note);
            hf_mem_free(s->chunks[i][n].word);
        }
        hf_mem_free(s->chunks[i]);
    }
    hf_mem_free(s->heap);
    pthread_mutex_destroy(&s->lock);
    hf_mem_free(s);
    engine->asks = NULL;
}

uint64_t hf_asks_count(const hf_engine *engine)
{
    return atomic_load_explicit(&engine->asks->open, memory_order_relaxed);
}

/* ---- Deadlines: a heap. Under the lock */

static void heap_set(struct hf_asks *s, uint32_t at, hf_asking *a)
{
    s->heap[at] = a;
    a->heap = at + 1;
}

static void heap_up(struct hf_asks *s, uint32_t at)
{
    hf_asking *a = s->heap[at];
    for (; at && s->heap[(at - 1) / 2]->due_ns > a->due_ns; at = (at - 1) / 2)
        heap_set(s, at, s->heap[(at - 1) / 2]);
    heap_set(s, at, a);
}

static void heap_down(struct hf_asks *s, uint32_t at)
{
    hf_asking *a = s->heap[at];
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child + 1 < s->heap_count && s->heap[child + 1]->due_ns < s->heap[child]->due_ns)
            child++;
        if (child >= s->heap_count || s->heap[child]->due_ns >= a->due_ns)
            break;
        heap_set(s, at, s->heap[child]);
        at = child;
    }
    heap_set(s, at, a);
}

static void heap_remove(struct hf_asks *s, hf_asking *a)
{
    uint32_t at = a->heap - 1;
    hf_asking *last = s->heap[--s->heap_count];
    a->heap = 0;
    if (last == a)
        return;
    heap_set(s, at, last);
    heap_up(s, at);
    heap_down(s, last->heap - 1);
}

/* ---- Slots. Under the lock */

static hf_asking *slot_at(const struct hf_asks *s, uint64_t slot)
{
    return &s->chunks[slot / CHUNK][slot % CHUNK];
}

/* One more chunk of slots, and room in the heap for all. */
static int grow(struct hf_asks *s)
{
    if (s->slots == HF_ASKS_MAX)
        return hf_error(HF_EAGAIN, "%u asks are open", s->slots);
    if (s->heap_room < s->slots + CHUNK) {
        uint32_t room = s->slots ? s->slots * 2 : CHUNK;
        void *heap = hf_mem_grow(s->heap, room * sizeof(hf_asking *));
        if (!heap)
            return hf_error(HF_ENOMEM, "asks");
        s->heap = heap;
        s->heap_room = room;
    }
    hf_asking *chunk = hf_mem_zero(CHUNK, sizeof *chunk);
    if (!chunk)
        return hf_error(HF_ENOMEM, "asks");
    s->chunks[s->slots / CHUNK] = chunk;
    for (uint32_t i = CHUNK; i--;) {
        chunk[i].slot = s->slots + i;
        chunk[i].next_free = s->free;
        s->free = s->slots + i;
    }
    s->slots += CHUNK;
    return HF_OK;
}

static void give_back(struct hf_asks *s, hf_asking *a)
{
    hf_mem_free(a->note);
    hf_mem_free(a->word);
    a->note = NULL;
    a->word = NULL;
    a->next_free = s->free;
    s->free = a->slot;
}

hf_asking *hf_asks_find(const struct hf_asks *s, uint64_t number)
{
    uint64_t slot = number & (HF_ASKS_MAX - 1);
    hf_asking *a = number && slot < s->slots ? slot_at(s, slot) : NULL;
    return a && a->number == number ? a : NULL;
}

/* ---- Callbacks */

static void make_answer(hf_callback *callback)
{
    hf_asking *a = (hf_asking *)(void *)((char *)callback - offsetof(hf_asking, answered));
    struct hf_asks *s = a->asks;
    hf_answer_fn answer = a->answer;
    void *user = a->user;
    int err = a->err;
    hf_response *reply = a->reply;
    pthread_mutex_lock(&s->lock);
    a->told = true;
    if (!a->note_queued) /* else that gives it back */
        give_back(s, a);
    pthread_mutex_unlock(&s->lock);
    answer(user, err, reply ? hf_response_bytes(reply) : hf_view(NULL, 0));
    hf_mem_free(reply);
}

static void make_note(hf_callback *callback)
{
    hf_asking *a = (hf_asking *)(void *)((char *)callback - offsetof(hf_asking, noted));
    struct hf_asks *s = a->asks;
    void (*progress)(void *user, hf_bytes note) = a->progress;
    void *user = a->user;
    uint8_t bytes[HF_NOTE_MAX];
    pthread_mutex_lock(&s->lock);
    size_t len = a->note->len;
    bool told = a->told; /* in a uv_run inside a callback that came before this one */
    memcpy(bytes, a->note->bytes, len);
    a->note_queued = false;
    if (told)
        give_back(s, a);
    pthread_mutex_unlock(&s->lock);
    if (!told)
        progress(user, hf_view(bytes, len));
}

/* It is over: its callback is queued. Under the lock. */
static void end(struct hf_asks *s, hf_asking *a, int err, hf_response *reply)
{
    if (a->heap)
        heap_remove(s, a);
    if (a->follows)
        hf_asks_unfollow(s, a);
    a->number = 0;
    a->err = err;
    a->reply = reply;
    atomic_fetch_sub_explicit(&s->open, 1, memory_order_relaxed);
    hf_callbacks_queue(&s->engine->callbacks, &a->answered);
}

void hf_asks_end(hf_engine *engine, uint64_t number, int err, hf_response *reply)
{
    struct hf_asks *s = engine->asks;
    pthread_mutex_lock(&s->lock);
    hf_asking *a = hf_asks_find(s, number);
    if (a)
        end(s, a, err, reply);
    pthread_mutex_unlock(&s->lock);
    if (!a)
        hf_mem_free(reply);
}

void hf_asks_note(hf_engine *engine, uint64_t number, hf_bytes text)
{
    struct hf_asks *s = engine->asks;
    pthread_mutex_lock(&s->lock);
    hf_asking *a = hf_asks_find(s, number);
    if (a && a->progress) {
        a->note->len = text.len;
        if (text.len)
            memcpy(a->note->bytes, text.data, text.len);
        if (!a->note_queued) {
            a->note_queued = true;
            hf_callbacks_reserve(&engine->callbacks);
            hf_callbacks_queue(&engine->callbacks, &a->noted);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

void hf_asks_stop(hf_engine *engine, int err)
{
    struct hf_asks *s = engine->asks;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    if (!s->stopped)
        s->stopped = err;
    for (uint32_t i = 0; i < s->slots; i++) {
        hf_asking *a = slot_at(s, i);
        if (a->number && a->begun)
            end(s, a, err, NULL);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- Time */

void hf_asks_watch(hf_engine *engine, void (*wake)(void *user), void *user)
{
    struct hf_asks *s = engine->asks;
    pthread_mutex_lock(&s->lock);
    s->wake = wake;
    s->waker = user;
    if (wake)
        wake(user);
    pthread_mutex_unlock(&s->lock);
}

uint64_t hf_asks_expire(hf_engine *engine)
{
    struct hf_asks *s = engine->asks;
    bool more = true;
    uint64_t next = UINT64_MAX;
    hf_asks_look(s);
    while (more) {
        uint64_t now = hf_clock_mono_ns();
        pthread_mutex_lock(&s->lock);
        for (int i = 0; i < EXPIRE_MAX && s->heap_count && s->heap[0]->due_ns <= now; i++)
            end(s, s->heap[0], HF_ETIMEDOUT, NULL);
        next = s->armed_ns = s->heap_count ? s->heap[0]->due_ns : UINT64_MAX;
        pthread_mutex_unlock(&s->lock);
        more = next <= now;
    }
    return next;
}

uint64_t hf_asks_next(hf_engine *engine)
{
    struct hf_asks *s = engine->asks;
    pthread_mutex_lock(&s->lock);
    uint64_t next = s->look ? 0 : s->heap_count ? s->heap[0]->due_ns : UINT64_MAX;
    if (next <= hf_clock_mono_ns())
        hf_asks_wake(s);
    pthread_mutex_unlock(&s->lock);
    return next;
}

/* ---- Asking */

/* address 00 word; too long ones are refused later. */
static char *copy_name(const hf_letter *letter)
{
    size_t to = letter->to ? strnlen(letter->to, HF_ADDRESS_MAX) : 0;
    size_t len = strnlen(letter->dedupe, HF_NAME_MAX);
    char *name = hf_mem_zero(1, to + 1 + len + 1);
    if (name) {
        memcpy(name, letter->to ? letter->to : "", to);
        memcpy(name + to + 1, letter->dedupe, len);
    }
    return name;
}

/* A slot and a number; nothing ends it before it began. */
static int take(struct hf_asks *s, const hf_asking *what, const hf_letter *letter, uint64_t *number)
{
    hf_asking_note *kept = what->progress ? hf_mem_zero(1, sizeof *kept) : NULL;
    char *word = letter->dedupe ? copy_name(letter) : NULL;
    if ((what->progress && !kept) || (letter->dedupe && !word)) {
        hf_mem_free(kept);
        hf_mem_free(word);
        return hf_error(HF_ENOMEM, "an ask");
    }
    pthread_mutex_lock(&s->lock);
    int err = s->free == NO_SLOT ? grow(s) : HF_OK;
    if (err) {
        pthread_mutex_unlock(&s->lock);
        hf_mem_free(kept);
        hf_mem_free(word);
        return err;
    }
    hf_asking *a = slot_at(s, s->free);
    uint32_t slot = a->slot;
    s->free = a->next_free;
    while (!(++s->count << SLOT_BITS))
        ;
    *a = *what;
    a->asks = s;
    a->slot = slot;
    a->note = kept;
    a->word = word;
    a->number = *number = s->count << SLOT_BITS | slot;
    atomic_fetch_add_explicit(&s->open, 1, memory_order_relaxed);
    hf_callbacks_reserve(&s->engine->callbacks);
    pthread_mutex_unlock(&s->lock);
    return HF_OK;
}

/* The letter was not taken. */
static void drop(struct hf_asks *s, uint64_t number)
{
    pthread_mutex_lock(&s->lock);
    hf_asking *a = hf_asks_find(s, number);
    a->number = 0;
    atomic_fetch_sub_explicit(&s->open, 1, memory_order_relaxed);
    give_back(s, a);
    hf_callbacks_cancel(&s->engine->callbacks);
    pthread_mutex_unlock(&s->lock);
}

/* The letter was taken: from now on its time runs, if it is not over already. */
static void begin(struct hf_asks *s, uint64_t number, uint64_t due_ns)
{
    pthread_mutex_lock(&s->lock);
    hf_asking *a = hf_asks_find(s, number);
    if (a && s->stopped) {
        end(s, a, s->stopped, NULL);
    } else if (a) {
        a->begun = true;
        if (due_ns != UINT64_MAX) {
            a->due_ns = due_ns;
            s->heap[s->heap_count++] = a;
            heap_up(s, s->heap_count - 1);
        }
        if (due_ns < s->armed_ns) {
            s->armed_ns = due_ns;
            hf_asks_wake(s);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

/* It is in the store now, or never will be. */
static void letter_settled(hf_batch *batch, int err)
{
    uint64_t first = 0;
    if (err)
        hf_asks_end(batch->engine, batch->ask, err, NULL);
    else if (batch->note_count && hf_dedupe_was_taken(batch, 0, &first))
        hf_asks_follow(batch->engine->asks, batch->ask, first);
    hf_batch_free(batch);
}

static int check_ask(const hf_engine *engine, const hf_letter *letter, hf_answer_fn answer)
{
    hf_error_clear();
    int err = hf_engine_check(engine);
    if (err)
        return err;
    if (!letter || !answer)
        return hf_error(HF_EINVAL, "hf_ask needs a letter, and whom to tell the answer");
    if (letter->conflate || (letter->to && letter->to[0] == '@'))
        return hf_error(HF_EINVAL, "hf_ask asks one actor, with a letter that nothing replaces");
    return HF_OK;
}

static int send_letter(hf_engine *engine, const hf_letter *letter, uint64_t number)
{
    hf_batch *batch = hf_batch_new(engine);
    if (!batch)
        return hf_error(HF_ENOMEM, "a batch");
    batch->outside = true;
    batch->ask = number;
    batch->settled = letter_settled;
    int err = hf_letters_add(engine, batch, letter, 1);
    if (!err)
        err = hf_journal_admit(engine, hf_batch_bytes(batch), 0);
    if (!err)
        err = hf_journal_submit(engine, batch);
    if (err)
        hf_batch_free(batch);
    return err;
}

int hf_ask_watched(hf_engine *engine, const hf_letter *letter, uint32_t timeout_ms,
                   hf_answer_fn answer, void (*progress)(void *user, hf_bytes note), void *user)
{
    hf_letter copy;
    letter = letter ? hf_letter_whole(letter, &copy) : NULL;
    int err = check_ask(engine, letter, answer);
    if (err)
        return err;
    uint64_t due_ns = timeout_ms == HF_NEVER
        ? UINT64_MAX : hf_clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
    hf_asking a = { .answered = { .run = make_answer }, .noted = { .run = make_note },
                 .answer = answer, .progress = progress, .user = user };
    uint64_t number = 0;
    err = take(engine->asks, &a, letter, &number);
    if (err)
        return err;
    err = send_letter(engine, letter, number);
    if (err)
        drop(engine->asks, number);
    else
        begin(engine->asks, number, due_ns);
    return err;
}

int hf_ask(hf_engine *engine, const hf_letter *letter, uint32_t timeout_ms, hf_answer_fn answer,
           void *user)
{
    return hf_ask_watched(engine, letter, timeout_ms, answer, NULL, user);
}
