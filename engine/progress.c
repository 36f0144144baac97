/* progress.c - hf_progress: how far a long turn got.
 *
 * Happy path: the turn's newest note is kept beside it in memory, for whoever looks at
 * what runs, and told at once to a caller that asked with hf_ask_watched. Nothing of it
 * goes to disk: a turn that runs again begins anew. Refused when it is too long, or
 * without memory. The turn's thread writes, any thread looks; both under one lock. */
#include "engine/ask.h"

#include "storage/error.h"
#include "storage/memory.h"

struct hf_turn_note {
    struct hf_turn_note *next, **link; /* of all turns with one */
    uint64_t             id;           /* of the message */
    size_t               len;
    uint8_t              bytes[HF_NOTE_MAX];
};

static pthread_mutex_t *lock_of(hf_engine *engine)
{
    return &engine->notes_lock;
}

static void enlist(hf_turn *turn, struct hf_turn_note *n)
{
    hf_engine *engine = turn->engine;
    n->next = engine->notes;
    n->link = &engine->notes;
    if (n->next)
        n->next->link = &n->next;
    engine->notes = n;
    turn->noted = true;
}

int hf_progress(hf_turn *turn, hf_bytes note)
{
    hf_error_clear();
    if (!turn || (note.len && !note.data))
        return hf_error(HF_EINVAL, "hf_progress needs a turn and a note");
    int err = hf_disk_forked(turn->engine->disk);
    if (err)
        return err;
    if (note.len > HF_NOTE_MAX)
        return hf_error(HF_ETOOBIG, "a note of %zu bytes, the limit is %d", note.len, HF_NOTE_MAX);
    if (!turn->note && !(turn->note = hf_mem_zero(1, sizeof *turn->note)))
        return hf_error(HF_ENOMEM, "a note");
    pthread_mutex_lock(lock_of(turn->engine));
    struct hf_turn_note *n = turn->note;
    n->id = turn->e->id;
    n->len = note.len;
    if (note.len)
        memcpy(n->bytes, note.data, note.len);
    if (!turn->noted)
        enlist(turn, n);
    pthread_mutex_unlock(lock_of(turn->engine));
    if (turn->e->ask && turn->e->id >= turn->engine->first_id)
        hf_asks_note(turn->engine, turn->e->ask, note);
    return HF_OK;
}

size_t hf_progress_of(hf_engine *engine, uint64_t id, uint8_t note[HF_NOTE_MAX])
{
    size_t len = 0;
    pthread_mutex_lock(lock_of(engine));
    for (const struct hf_turn_note *n = engine->notes; n; n = n->next)
        if (n->id == id) {
            len = n->len;
            memcpy(note, n->bytes, len);
            break;
        }
    pthread_mutex_unlock(lock_of(engine));
    return len;
}

void hf_progress_over(hf_turn *turn)
{
    struct hf_turn_note *n = turn->note;
    pthread_mutex_lock(lock_of(turn->engine));
    *n->link = n->next;
    if (n->next)
        n->next->link = n->link;
    turn->noted = false;
    pthread_mutex_unlock(lock_of(turn->engine));
}

void hf_progress_free(hf_turn *turn)
{
    hf_mem_free(turn->note);
    turn->note = NULL;
}
