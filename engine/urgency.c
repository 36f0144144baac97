/* urgency.c - lines by urgency, in which nobody waits for ever.
 *
 * Happy path: nothing is urgent, all stand at level 0 and are served as they came. An
 * urgent message is counted in its actor's mailbox, which then stands at the level of
 * the most urgent of them; when that has run, at the next one's. A shard that hears of
 * urgent messages further on in the log takes what lies before them into mailboxes,
 * a bounded number, and then serves by urgency.
 *
 * Without memory to count it in, an urgent message is served like any other. Messages
 * that the fold moved into the tables are urgent again when they are paged in. */
#include "engine/urgency.h"

#include "engine/engine.h"
#include "engine/pool.h"

#include "storage/assert.h"
#include "storage/memory.h"

/* What a member has gained, in steps of time, when it stands at this level since then. */
static uint32_t gained(uint32_t level, uint32_t since_ms, uint32_t now_ms)
{
    uint32_t waited = now_ms - since_ms;
    return level * HF_URGENCY_STEP_MS + (waited < UINT32_MAX / 2 ? waited : 0);
}

/* ---- Lines of actors */

static void line_add(hf_line *line, hf_mailbox *box, uint32_t level)
{
    box->in = line;
    box->level = (uint8_t)level;
    box->next_ready = NULL;
    box->prev_ready = line->last[level];
    if (box->prev_ready)
        box->prev_ready->next_ready = box;
    else
        line->first[level] = box;
    line->last[level] = box;
    line->levels |= 1u << level;
    line->count++;
}

static void line_remove(hf_line *line, hf_mailbox *box)
{
    uint32_t level = box->level;
    if (box->prev_ready)
        box->prev_ready->next_ready = box->next_ready;
    else
        line->first[level] = box->next_ready;
    if (box->next_ready)
        box->next_ready->prev_ready = box->prev_ready;
    else
        line->last[level] = box->prev_ready;
    if (!line->first[level])
        line->levels &= ~(1u << level);
    line->count--;
    box->in = NULL;
}

void hf_line_put(hf_line *line, hf_mailbox *box, uint32_t now_ms)
{
    HF_ASSERT(!box->in);
    box->since_ms = now_ms;
    line_add(line, box, box->urgency);
}

hf_mailbox *hf_line_take(hf_line *line, uint32_t now_ms)
{
    hf_mailbox *best = line->first[0];
    if (line->levels > 1) {
        uint32_t most = best ? gained(0, best->since_ms, now_ms) : 0;
        for (uint32_t level = 1; level < HF_URGENCIES; level++) {
            hf_mailbox *box = line->first[level];
            if (!box || gained(level, box->since_ms, now_ms) < most)
                continue;
            most = gained(level, box->since_ms, now_ms);
            best = box;
        }
    }
    if (best)
        line_remove(line, best);
    return best;
}

void hf_line_raise(hf_mailbox *box)
{
    hf_line *line = box->in;
    line_remove(line, box);
    line_add(line, box, box->urgency);
}

/* ---- What is urgent in a mailbox */

void hf_urgency_enter(hf_mailbox *box, uint32_t urgency)
{
    if (!urgency || urgency >= HF_URGENCIES)
        return;
    if (!box->urgent)
        box->urgent = hf_mem_zero(HF_URGENCIES, sizeof *box->urgent);
    if (!box->urgent)
        return;
    box->urgent[urgency]++;
    if (urgency <= box->urgency)
        return;
    box->urgency = (uint8_t)urgency;
    for (hf_parcel *p = box->running ? box->parcels : NULL; p; p = p->next)
        if (p->now == HF_PARCEL_RUNS)
            hf_pool_raise(box->actor->kind->pool, p, urgency);
}

void hf_urgency_leave(hf_mailbox *box, uint32_t urgency)
{
    if (!box->urgent || !urgency || urgency >= HF_URGENCIES || !box->urgent[urgency])
        return;
    box->urgent[urgency]--;
    while (box->urgency && !box->urgent[box->urgency])
        box->urgency--;
}

static uint32_t urgency_of(const hf_letter_in *letter)
{
    hf_entry e;
    if (!(letter->entry[1] & HF_ENTRY_EXTRA) || !hf_entry_decode(letter->entry, SIZE_MAX, &e))
        return 0;
    return e.urgency;
}

void hf_urgency_letter(hf_mailbox *box, const hf_letter_in *letter)
{
    hf_urgency_enter(box, urgency_of(letter));
}

void hf_urgency_pop(hf_mailbox *box, hf_letters *letters)
{
    if (box->urgent)
        hf_urgency_leave(box, urgency_of(hf_letters_front(letters)));
    hf_letters_pop(letters);
}

bool hf_urgency_calls(const hf_shard *shard)
{
    const hf_record *at = shard->at;
    return hf_urgency_presses(shard->engine,
                              at->base + (shard->at_done ? at->count : shard->at_index))
           && shard->ahead <= HF_URGENCY_AHEAD / 2;
}

/* ---- A pool's queue */

static void queue_add(hf_queue *q, hf_parcel *p, uint32_t level)
{
    p->queue_level = (uint8_t)level;
    p->is_queued = true;
    p->queued = NULL;
    p->queued_before = q->last[level];
    if (p->queued_before)
        p->queued_before->queued = p;
    else
        q->first[level] = p;
    q->last[level] = p;
    q->levels |= 1u << level;
}

void hf_queue_put(hf_queue *q, hf_parcel *p, uint32_t urgency, uint32_t now_ms)
{
    p->queued_ms = now_ms;
    queue_add(q, p, urgency);
}

void hf_queue_remove(hf_queue *q, hf_parcel *p)
{
    uint32_t level = p->queue_level;
    if (p->queued_before)
        p->queued_before->queued = p->queued;
    else
        q->first[level] = p->queued;
    if (p->queued)
        p->queued->queued_before = p->queued_before;
    else
        q->last[level] = p->queued_before;
    if (!q->first[level])
        q->levels &= ~(1u << level);
    p->is_queued = false;
    p->queued = p->queued_before = NULL;
}

hf_parcel *hf_queue_take(hf_queue *q, uint32_t now_ms)
{
    hf_parcel *best = q->first[0];
    if (q->levels > 1) {
        uint32_t most = best ? gained(0, best->queued_ms, now_ms) : 0;
        for (uint32_t level = 1; level < HF_URGENCIES; level++) {
            hf_parcel *p = q->first[level];
            if (!p || gained(level, p->queued_ms, now_ms) < most)
                continue;
            most = gained(level, p->queued_ms, now_ms);
            best = p;
        }
    }
    if (best)
        hf_queue_remove(q, best);
    return best;
}

hf_parcel *hf_queue_next(const hf_queue *q, const hf_parcel *after)
{
    if (after && after->queued)
        return after->queued;
    uint32_t level = after ? after->queue_level : HF_URGENCIES;
    while (level--)
        if (q->first[level])
            return q->first[level];
    return NULL;
}

void hf_queue_raise(hf_queue *q, hf_parcel *p, uint32_t urgency)
{
    if (!p->is_queued || p->queue_level >= urgency)
        return;
    hf_queue_remove(q, p);
    queue_add(q, p, urgency);
}
