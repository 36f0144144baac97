/* follow.c - asks whose letter was sent before under its word: the first one's reply is
 * theirs.
 *
 * Happy path: the journal says that the letter was a duplicate; the ask joins the list of
 * those that follow another message. Whenever something came of any word the loop looks up,
 * for all of the list, what is known of theirs: what is on disk is told, the rest waits on.
 * A look-up may read the disk, which the journal's thread must not. Of a type with HF_NOW
 * they wait on for the row, as the first one does.
 *
 * Told HF_EDUPLICATE: a reply too large to be kept, or a word that is over. */
#include "engine/asking.h"

#include "engine/dedupe.h"
#include "engine/flush.h"

#include "storage/memory.h"

void hf_asks_unfollow(struct hf_asks *s, hf_asking *a)
{
    *a->follower_link = a->follower;
    if (a->follower)
        a->follower->follower_link = a->follower_link;
    a->follows = 0;
    atomic_fetch_sub(&s->follower_count, 1);
}

void hf_asks_word_settled(hf_batch *batch, int err)
{
    struct hf_asks *s = batch->engine->asks;
    hf_dedupe_settled(batch, err);
    if (err || !atomic_load(&s->follower_count))
        return;
    pthread_mutex_lock(&s->lock);
    s->look = true;
    hf_asks_wake(s);
    pthread_mutex_unlock(&s->lock);
}

void hf_asks_follow(struct hf_asks *s, uint64_t number, uint64_t first)
{
    pthread_mutex_lock(&s->lock);
    hf_asking *a = hf_asks_find(s, number);
    if (a && a->word && first) {
        a->follows = first;
        a->follower = s->followers;
        a->follower_link = &s->followers;
        if (a->follower)
            a->follower->follower_link = &a->follower;
        s->followers = a;
        atomic_fetch_add(&s->follower_count, 1);
        s->look = true;
        hf_asks_wake(s);
    }
    pthread_mutex_unlock(&s->lock);
}

/* What a follower is told; HF_PENDING: nothing yet. */
static int told_of(const hf_taken *taken)
{
    switch (taken->outcome) {
    case HF_TAKEN_OPEN: return HF_PENDING;
    case HF_TAKEN_REPLIED:
    case HF_TAKEN_SILENT: return HF_OK;
    case HF_TAKEN_DEAD: return HF_EDEAD;
    default: return HF_EDUPLICATE; /* it replied more than is kept */
    }
}

/* Does what it is told wait for the row that the turn changed? */
static bool waits_for_row(struct hf_asks *s, uint64_t number, const char *to, hf_response *reply)
{
    if (!reply || reply->err || !hf_flush_park_known(s->engine, to, strlen(to), reply))
        return false;
    pthread_mutex_lock(&s->lock);
    hf_asking *a = hf_asks_find(s, number);
    if (a && a->follows)
        hf_asks_unfollow(s, a);
    pthread_mutex_unlock(&s->lock);
    return true;
}

static void look_at_one(struct hf_asks *s, uint64_t number, uint64_t first, const char *word)
{
    hf_taken taken = { .id = 0 };
    uint8_t *bytes = NULL;
    size_t len = strlen(word);
    hf_response *reply = NULL;
    int err = hf_dedupe_find(s->engine, word, len, word + len + 1, &taken, &bytes);
    if (err == HF_ENOTFOUND || (!err && taken.id != first))
        err = HF_EDUPLICATE; /* a day has gone since */
    else if (!err)
        err = told_of(&taken);
    if (err == HF_OK || err == HF_EDEAD) {
        bool given = taken.outcome != HF_TAKEN_SILENT;
        reply = hf_response_new(number, err, given ? &taken.reply : NULL);
        err = reply ? err : HF_ENOMEM;
    }
    if (err != HF_PENDING && !waits_for_row(s, number, word, reply))
        hf_asks_end(s->engine, number, err, reply);
    hf_mem_free(bytes);
}

static uint32_t copy_followers(struct hf_asks *s, uint64_t *numbers, uint32_t room)
{
    uint32_t count = 0;
    for (hf_asking *a = s->followers; a && count < room; a = a->follower)
        numbers[count++] = a->number;
    return count;
}

/* Is it still open? Then a copy of its word. */
static bool copy_word(struct hf_asks *s, uint64_t number, uint64_t *first, char *word)
{
    pthread_mutex_lock(&s->lock);
    const hf_asking *a = hf_asks_find(s, number);
    bool open = a && a->follows;
    if (open) {
        size_t len = strlen(a->word) + 1;
        *first = a->follows;
        memcpy(word, a->word, len + strlen(a->word + len) + 1);
    }
    pthread_mutex_unlock(&s->lock);
    return open;
}

void hf_asks_look(struct hf_asks *s)
{
    char word[HF_ADDRESS_MAX + 1 + HF_NAME_MAX + 1];
    uint64_t first = 0, *numbers = NULL;
    uint32_t count = 0;
    pthread_mutex_lock(&s->lock);
    uint32_t room = s->look ? atomic_load(&s->follower_count) : 0;
    if (room && (numbers = hf_mem_alloc(room * sizeof *numbers)))
        count = copy_followers(s, numbers, room);
    s->look = room && !numbers; /* without memory: with the next one */
    pthread_mutex_unlock(&s->lock);
    for (uint32_t i = 0; i < count; i++)
        if (copy_word(s, numbers[i], &first, word))
            look_at_one(s, numbers[i], first, word);
    hf_mem_free(numbers);
}
