/* ring_limits.c - a breaker, a rate and a full inbox hold or refuse, and lose nothing.
 *
 * Each sender counts what such an actor took; a turn of `fuse` fails as long as what it
 * calls is down, which burns no more tries than it begins; turns of `paced` begin no more
 * often than its rate says, also after a kill; `narrow` refuses when too many wait, and
 * takes again when they are done. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdio.h>

enum { LIMITED = 3, WORDS = 600, RATE = 4, RATE_MS = 20, BEGUN = 1 << 14 };

typedef struct tally {
    uint64_t last[OUTSIDERS], count[OUTSIDERS];
} tally;

typedef struct book_of_limits {
    uint8_t      fate[LIMITED][OUTSIDERS][WORDS];
    uint32_t     count[LIMITED][OUTSIDERS];
    tally        tallies[LIMITED];
    atomic_uint  there, begun;
    atomic_bool  is_down;
    uint64_t     at[BEGUN]; /* when turns of `paced` began, us */
} book_of_limits;

static book_of_limits *book;
static const char *const actors[LIMITED] = { "fuse/1", "paced/1", "narrow/1" };

static void begin(void)
{
    book = ring_share(book, sizeof *book);
}

/* One actor, so one turn at a time: who began RATE turns ago began RATE_MS ago. What was
 * noted here lies a little after the turn began. */
static void note_begun(void)
{
    uint32_t n = atomic_fetch_add(&book->begun, 1);
    book->at[n % BEGUN] = ring_mono_ms();
    if (n > RATE && book->at[n % BEGUN] + 2 < book->at[(n - RATE - 1) % BEGUN] + RATE_MS)
        ring_broken("%d turns of paced began within %llu ms", RATE + 2,
                    (unsigned long long)(book->at[n % BEGUN] - book->at[(n - RATE - 1) % BEGUN]));
}

int ring_limited_handle(hf_turn *turn, const hf_message *msg)
{
    tally t = { { 0 }, { 0 } };
    uint32_t which = 0, word[2];
    while (strcmp(actors[which], msg->to) != 0)
        which++;
    if (which == 1)
        note_begun();
    if (which == 0 && atomic_load(&book->is_down))
        return hf_fail(turn, 9, "down");
    if (hf_state(turn).len)
        memcpy(&t, hf_state(turn).data, sizeof t);
    if (strcmp(msg->kind, "report") == 0) {
        book->tallies[which] = t;
        atomic_fetch_or(&book->there, 1u << which);
        return HF_OK;
    }
    memcpy(word, msg->body.data, sizeof word);
    if (word[0] >= OUTSIDERS || word[1] <= t.last[word[0]])
        ring_broken("%s: %u of %u after %llu", msg->to, word[1], word[0],
                    (unsigned long long)t.last[word[0] % OUTSIDERS]);
    else {
        t.last[word[0]] = word[1];
        t.count[word[0]]++;
    }
    hf_save(turn, hf_view(&t, sizeof t));
    return HF_OK;
}

static bool taken(int err, const char *call)
{
    return err == HF_EINBOX ? false : ring_taken(err, call);
}

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)receipts;
    (void)count;
    *(uint8_t *)user = taken(err, "a word, posted") ? ACKED : REFUSED;
}

static void act(hf_engine *engine, uint32_t sender, uint64_t *dice)
{
    uint32_t which = (uint32_t)(ring_roll(dice) % LIMITED), many = which == 2 ? 12 : 1;
    if (ring_roll(dice) % 4 == 0)
        atomic_store(&book->is_down, ring_roll(dice) % 2);
    while (many--) {
        uint32_t word[2] = { sender, book->count[which][sender] + 1 };
        if (word[1] >= WORDS)
            return;
        uint8_t *fate = &book->fate[which][sender][word[1]];
        book->count[which][sender] = word[1];
        *fate = TOLD;
        int err = hf_post(engine, HF_LETTER(.to = actors[which], .kind = "word",
                                            .body = hf_view(word, sizeof word)),
                          1, posted, fate);
        if (err && !taken(err, "a word"))
            *fate = REFUSED;
    }
}

static bool all_there(hf_engine *engine)
{
    (void)engine;
    return atomic_load(&book->there) == (1u << LIMITED) - 1;
}

static void rest(hf_engine *engine)
{
    atomic_store(&book->is_down, false);
    for (uint32_t i = 0; i < LIMITED; i++)
        ring_tell(engine, actors[i], "report", hf_str(""));
    ring_until(engine, all_there, "what a breaker and a rate held");
}

static void check(void)
{
    for (uint32_t i = 0; i < LIMITED * OUTSIDERS; i++) {
        uint32_t which = i / OUTSIDERS, s = i % OUTSIDERS, least = 0, most = 0;
        for (uint32_t n = 1; n <= book->count[which][s]; n++) {
            least += book->fate[which][s][n] == ACKED;
            most += book->fate[which][s][n] != REFUSED;
        }
        uint64_t count = book->tallies[which].count[s];
        if (count < least || count > most)
            ring_broken("%s did %llu words of %u, who told it %u to %u", actors[which],
                        (unsigned long long)count, s, least, most);
    }
}

const ring_rule ring_limits = { begin, act, rest, check };
