/* ring_topics.c - who subscribed gets one copy, in the order sent; who did not gets none.
 *
 * Each sender has topics, readers and a herald of his own, and so knows at every moment
 * which of his subscriptions stand; one that a kill left open may or may not. A herald
 * publishes in its turns, which may fail first. Of a publication that a kill left open all
 * that must get it did, or none. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdio.h>
#include <stdlib.h>

enum { READERS = 3, PATTERNS = 4, NEWS = 500, HERALD = 0x8000, SUMS = READERS * OUTSIDERS };

typedef enum stand { NO, YES, PERHAPS } stand;

typedef struct news {
    uint8_t must, may, fate; /* readers, by bit; ring_told */
} news;

typedef struct paper {
    uint16_t number, sender; /* HERALD and more: published in a turn */
} paper;

/* The state of a reader. */
typedef struct pile {
    uint32_t count;
    paper    papers[2 * NEWS];
} pile;

typedef struct book_of_topics {
    uint8_t  stands[OUTSIDERS][PATTERNS][READERS];
    news     news[OUTSIDERS][NEWS];
    uint32_t count[OUTSIDERS], heralded[OUTSIDERS];
    pile     piles[OUTSIDERS][READERS];
    bool     there[OUTSIDERS][READERS];
} book_of_topics;

static book_of_topics *book;

static void begin(void)
{
    book = ring_share(book, sizeof *book);
}

/* "@s1.a", "@s1.b", "@s1.*", "@s1.a*" */
static const char *const ends[PATTERNS] = { "a", "b", "*", "a*" };
static const bool matches[PATTERNS][2] = { { 1, 0 }, { 0, 1 }, { 1, 1 }, { 1, 0 } };

/* ---- In a turn */

static size_t pile_size(const pile *p)
{
    return sizeof p->count + p->count * sizeof p->papers[0];
}

int ring_reader_handle(hf_turn *turn, const hf_message *msg)
{
    pile *p = hf_alloc(turn, sizeof *p);
    hf_bytes old = hf_state(turn);
    if (!p)
        return HF_ENOMEM;
    p->count = 0;
    if (old.len)
        memcpy(p, old.data, old.len);
    if (strcmp(msg->kind, "report") == 0) {
        uint32_t sender = 0, reader = 0;
        (void)sscanf(msg->to, "reader/%u-%u", &sender, &reader);
        book->piles[sender][reader] = *p;
        book->there[sender][reader] = true;
        return HF_OK;
    }
    if (p->count >= 2 * NEWS || msg->body.len < sizeof(paper)) {
        ring_broken("%s: %u papers, this one has %zu bytes", msg->to, p->count, msg->body.len);
        return HF_OK;
    }
    memcpy(&p->papers[p->count++], msg->body.data, sizeof(paper));
    hf_save(turn, hf_view(p, pile_size(p)));
    return msg->id % 9 == 0 && msg->attempt == 1 ? hf_fail(turn, 6, "once") : HF_OK;
}

/* Its state is how many it published. */
int ring_herald_handle(hf_turn *turn, const hf_message *msg)
{
    uint32_t count = 0, sender = (uint32_t)atoi(strchr(msg->to, '/') + 1);
    uint8_t body[300] = { 0 };
    char to[24];
    if (hf_state(turn).len)
        memcpy(&count, hf_state(turn).data, sizeof count);
    if (strcmp(msg->kind, "report") == 0) {
        book->heralded[sender] = count;
        return HF_OK;
    }
    if (count + 1 >= NEWS)
        return HF_OK;
    paper p = { (uint16_t)++count, (uint16_t)(HERALD + sender) };
    memcpy(body, &p, sizeof p);
    (void)snprintf(to, sizeof to, "@h%u.%s", sender, count % 2 ? "x" : "y");
    hf_send(turn, to, "news", hf_view(body, count % 3 ? sizeof body : sizeof p));
    hf_save(turn, hf_view(&count, sizeof count));
    return msg->id % 5 == 0 && msg->attempt == 1 ? hf_fail(turn, 7, "once") : HF_OK;
}

/* ---- Outside */

static int subscribe(hf_engine *engine, bool on, const char *topic, uint32_t sender,
                     uint32_t reader)
{
    char actor[24];
    (void)snprintf(actor, sizeof actor, "reader/%u-%u", sender, reader);
    return on ? hf_subscribe(engine, topic, actor) : hf_unsubscribe(engine, topic, actor);
}

static void change(hf_engine *engine, uint32_t sender, uint64_t what)
{
    char topic[24];
    uint32_t pattern = (uint32_t)(what >> 8) % PATTERNS, reader = (uint32_t)(what >> 16) % READERS;
    uint8_t *stands = &book->stands[sender][pattern][reader], before = *stands;
    bool on = what >> 24 & 1;
    (void)snprintf(topic, sizeof topic, "@s%u.%s", sender, ends[pattern]);
    *stands = PERHAPS; /* if nobody comes back to tell */
    int err = subscribe(engine, on, topic, sender, reader);
    *stands = ring_taken(err, "a subscription") ? on ? YES : NO : before;
}

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)receipts;
    (void)count;
    ((news *)user)->fate = ring_taken(err, "a publication, posted") ? ACKED : REFUSED;
}

static void publish(hf_engine *engine, uint32_t sender, uint64_t what)
{
    char topic[24];
    uint8_t body[700] = { 0 };
    uint32_t number = book->count[sender], which = what >> 8 & 1;
    if (number + 1 >= NEWS)
        return;
    book->count[sender] = ++number;
    news *n = &book->news[sender][number];
    for (uint32_t r = 0; r < READERS; r++)
        for (uint32_t p = 0; p < PATTERNS; p++) {
            n->must |= (uint8_t)((matches[p][which] && book->stands[sender][p][r] == YES) << r);
            n->may |= (uint8_t)((matches[p][which] && book->stands[sender][p][r] != NO) << r);
        }
    n->fate = TOLD;
    paper one = { (uint16_t)number, (uint16_t)sender };
    memcpy(body, &one, sizeof one);
    (void)snprintf(topic, sizeof topic, "@s%u.%s", sender, which ? "b" : "a");
    const hf_letter *l = HF_LETTER(.to = topic, .kind = "news",
                                   .body = hf_view(body, sizeof one + what % 600));
    if (what >> 9 & 1) {
        int err = hf_post(engine, l, 1, posted, n);
        if (err && !ring_taken(err, "a publication"))
            n->fate = REFUSED;
        return;
    }
    n->fate = ring_taken(hf_mail(engine, l, 1, NULL), "a publication") ? ACKED : REFUSED;
}

/* Before its herald publishes for the first time in a life, all its readers subscribe. */
static void herald(hf_engine *engine, uint32_t sender)
{
    char to[24], topic[24];
    (void)snprintf(topic, sizeof topic, "@h%u.*", sender);
    (void)snprintf(to, sizeof to, "herald/%u", sender);
    for (uint32_t i = 0; i < READERS; i++)
        if (!ring_taken(subscribe(engine, true, topic, sender, i), "a subscription"))
            return;
    (void)ring_taken(hf_tell(engine, to, "go", hf_str("")), "a word to a herald");
}

static void act(hf_engine *engine, uint32_t sender, uint64_t *dice)
{
    uint64_t what = ring_roll(dice);
    if (what % 8 < 3)
        change(engine, sender, ring_roll(dice));
    else if (what % 8 == 3)
        herald(engine, sender);
    else
        publish(engine, sender, ring_roll(dice));
}

static void rest(hf_engine *engine)
{
    char to[24];
    for (uint32_t i = 0; i < SUMS; i++) {
        (void)snprintf(to, sizeof to, "reader/%u-%u", i / READERS, i % READERS);
        ring_tell(engine, to, "report", hf_str(""));
    }
    for (uint32_t i = 0; i < OUTSIDERS; i++) {
        (void)snprintf(to, sizeof to, "herald/%u", i);
        ring_tell(engine, to, "report", hf_str(""));
    }
    if (hf_drain(engine, RING_PATIENCE))
        ring_broken("hf_drain of readers: %s", hf_detail());
}

/* ---- After the last life */

/* Which of the sender's readers got it; what is out of order or double is wrong. */
static void count_pile(uint32_t sender, uint32_t reader, uint8_t got[NEWS])
{
    const pile *p = &book->piles[sender][reader];
    uint32_t last = 0, heralded = 0;
    if (!book->there[sender][reader])
        ring_broken("reader %u-%u did not report", sender, reader);
    for (uint32_t i = 0; i < p->count; i++) {
        paper one = p->papers[i];
        if (one.sender == HERALD + sender) {
            if (one.number != ++heralded)
                ring_broken("reader %u-%u got %u of its herald, not %u", sender, reader,
                            one.number, heralded);
            continue;
        }
        if (one.sender != sender || one.number >= NEWS || one.number <= last) {
            ring_broken("reader %u-%u got %u of %u after %u", sender, reader, one.number,
                        one.sender, last);
            return;
        }
        last = one.number;
        got[last] |= (uint8_t)(1u << reader);
    }
    if (heralded != book->heralded[sender])
        ring_broken("reader %u-%u got %u papers of its herald, and %u were out", sender, reader,
                    heralded, book->heralded[sender]);
}

static void check(void)
{
    for (uint32_t s = 0; s < OUTSIDERS; s++) {
        uint8_t got[NEWS] = { 0 };
        for (uint32_t r = 0; r < READERS; r++)
            count_pile(s, r, got);
        for (uint32_t i = 1; i <= book->count[s]; i++) {
            const news *n = &book->news[s][i];
            uint8_t musts = got[i] & n->must;
            bool all = musts == n->must, none = !got[i];
            if ((got[i] & ~n->may) || !(n->fate == ACKED ? all : n->fate == REFUSED ? none
                                                                                  : all || none))
                ring_broken("publication %u of %u (fate %u) came to readers %x, not to %x of %x",
                            i, s, n->fate, got[i], n->must, n->may);
        }
    }
}

const ring_rule ring_topics = { begin, act, rest, check };
