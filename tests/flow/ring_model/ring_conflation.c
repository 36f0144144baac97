/* ring_conflation.c - letters that replace each other: the newest comes, all are counted.
 *
 * Each sender has gauges of his own. What a gauge is told grows; those it handled and those
 * they replaced are together all that were taken, and the last is the last. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdio.h>

enum { GAUGES = 2, MARKS = 2000 };

/* The state of a gauge. */
typedef struct gauge {
    uint64_t last, handled, replaced;
} gauge;

typedef struct book_of_gauges {
    uint8_t  fate[OUTSIDERS][GAUGES][MARKS];
    uint32_t count[OUTSIDERS][GAUGES];
    gauge    gauges[OUTSIDERS][GAUGES];
    bool     there[OUTSIDERS][GAUGES];
} book_of_gauges;

static book_of_gauges *book;

static void begin(void)
{
    book = ring_share(book, sizeof *book);
}

int ring_gauge_handle(hf_turn *turn, const hf_message *msg)
{
    gauge g = { 0, 0, 0 };
    uint64_t mark;
    if (hf_state(turn).len)
        memcpy(&g, hf_state(turn).data, sizeof g);
    if (strcmp(msg->kind, "report") == 0) {
        uint32_t sender = 0, number = 0;
        (void)sscanf(strchr(msg->to, '/'), "/%u-%u", &sender, &number);
        book->gauges[sender][number] = g;
        book->there[sender][number] = true;
        return HF_OK;
    }
    memcpy(&mark, msg->body.data, sizeof mark);
    if (mark <= g.last)
        ring_broken("%s: mark %llu after %llu, %u replaced", msg->to, (unsigned long long)mark,
                    (unsigned long long)g.last, msg->replaced);
    g.last = mark;
    g.handled++;
    g.replaced += msg->replaced;
    hf_save(turn, hf_view(&g, sizeof g));
    return mark % 6 == 0 && msg->attempt <= 2 ? hf_fail(turn, 8, "twice") : HF_OK;
}

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)receipts;
    (void)count;
    *(uint8_t *)user = ring_taken(err, "a mark, posted") ? ACKED : REFUSED;
}

static void act(hf_engine *engine, uint32_t sender, uint64_t *dice)
{
    uint32_t which = (uint32_t)(ring_roll(dice) % GAUGES);
    char to[24];
    (void)snprintf(to, sizeof to, "%s/%u-%u", which ? "pressure" : "gauge", sender, which);
    for (uint64_t n = 1 + ring_roll(dice) % 6; n; n--) {
        uint64_t mark = book->count[sender][which] + 1;
        if (mark >= MARKS)
            return;
        uint8_t *fate = &book->fate[sender][which][mark];
        book->count[sender][which] = (uint32_t)mark;
        *fate = TOLD;
        const hf_letter *l = HF_LETTER(.to = to, .kind = "set", .conflate = 1,
                                       .body = hf_view(&mark, sizeof mark));
        bool waits = ring_roll(dice) % 4 == 0;
        int err = waits ? hf_mail(engine, l, 1, NULL) : hf_post(engine, l, 1, posted, fate);
        if (!ring_taken(err, "a mark"))
            *fate = REFUSED;
        else if (waits)
            *fate = ACKED;
    }
}

static void rest(hf_engine *engine)
{
    char to[24];
    for (uint32_t i = 0; i < OUTSIDERS * GAUGES; i++) {
        (void)snprintf(to, sizeof to, "%s/%u-%u", i % GAUGES ? "pressure" : "gauge", i / GAUGES,
                       i % GAUGES);
        ring_tell(engine, to, "report", hf_str(""));
    }
    if (hf_drain(engine, RING_PATIENCE))
        ring_broken("hf_drain of gauges: %s", hf_detail());
}

static void check(void)
{
    for (uint32_t i = 0; i < OUTSIDERS * GAUGES; i++) {
        uint32_t s = i / GAUGES, w = i % GAUGES, least = 0, most = 0, last = 0;
        const gauge *g = &book->gauges[s][w];
        for (uint32_t m = 1; m <= book->count[s][w]; m++) {
            uint8_t fate = book->fate[s][w][m];
            least += fate == ACKED;
            most += fate != REFUSED;
            last = fate == ACKED ? m : last;
            if (m == g->last && fate == REFUSED)
                ring_broken("gauge %u-%u shows %u, which was refused", s, w, m);
        }
        uint64_t all = g->handled + g->replaced;
        if (!book->there[s][w] || g->last < last || all < least || all > most)
            ring_broken("gauge %u-%u shows %llu, not %u; %llu handled, %llu replaced, of %u to %u",
                        s, w, (unsigned long long)g->last, last, (unsigned long long)g->handled,
                        (unsigned long long)g->replaced, least, most);
    }
}

const ring_rule ring_conflation = { begin, act, rest, check };
