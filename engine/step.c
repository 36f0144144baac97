/* step.c - outside calls that are remembered, and undone when all fails.
 *
 * Happy path: hf_begin_step commits that the step was begun, the handler calls
 * out, hf_end_step commits what came of it; a later attempt is told the result
 * instead of calling again. When the message fails for good its steps are
 * undone, last begun first, each in a turn of its own that is retried like any
 * other; then the message is dead. Requeued, it begins what was undone anew, as
 * another step with another key; what was not undone keeps its key and result.
 *
 * Fails with what the commit answered; the handler hands that on. A message's
 * steps are known from this run (its parcel), from the table and from the
 * window that was replayed. Pool threads. */
#include "engine/step.h"

#include "engine/timebase.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/view.h"

#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BEGUN = 1, ENDED, UNDONE };

typedef struct known_step {
    struct known_step *next;   /* last begun first */
    uint64_t           number;
    uint32_t           phase;
    char               name[HF_NAME_MAX + 1];
    char               key[33], undo_key[33];
    uint8_t           *result;
    size_t             result_len;
} known_step;

struct hf_steps {
    known_step *last;
    uint64_t    count;
    bool        loaded;
};

static void free_step(known_step *s)
{
    hf_mem_free(s->result);
    hf_mem_free(s);
}

void hf_steps_free(struct hf_steps *steps)
{
    while (steps && steps->last) {
        known_step *next = steps->last->next;
        free_step(steps->last);
        steps->last = next;
    }
    hf_mem_free(steps);
}

/* ---- Keys: store, message, step and which time it is begun */

static void make_key(const hf_engine *engine, const hf_entry *m, const char *name,
                     uint64_t number, const char *what, char key[33])
{
    uint8_t text[16 + 8 + 8 + HF_NAME_MAX + 8];
    size_t len = strlen(name), more = strlen(what);
    hf_turn_key_prefix(engine, m->id, (char *)text);
    hf_put64(text + 16, m->id);
    hf_put64(text + 24, number);
    memcpy(text + 32, name, len);
    memcpy(text + 32 + len, what, more);
    XXH128_hash_t hash = XXH3_128bits(text, 32 + len + more);
    snprintf(key, 33, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

/* ---- What is known */

/* The step of that name that was begun last. */
static known_step *find_step(const struct hf_steps *steps, const char *name)
{
    known_step *s = steps->last;
    while (s && strcmp(s->name, name) != 0)
        s = s->next;
    return s;
}

static known_step *find_number(const struct hf_steps *steps, uint64_t number)
{
    known_step *s = steps->last;
    while (s && s->number != number)
        s = s->next;
    return s;
}

static int set_result(known_step *s, hf_bytes result)
{
    uint8_t *copy = hf_mem_alloc(result.len + 1);
    if (!copy)
        return hf_error(HF_ENOMEM, "result of a step");
    if (result.len)
        memcpy(copy, result.data, result.len);
    copy[result.len] = 0; /* so that a text may be read as one */
    hf_mem_free(s->result);
    s->result = copy;
    s->result_len = result.len;
    return HF_OK;
}

static int add_step(const hf_engine *engine, struct hf_steps *steps, const hf_entry *m,
                    const char *name, uint64_t number, known_step **out)
{
    known_step *s = hf_mem_zero(1, sizeof *s);
    if (!s)
        return hf_error(HF_ENOMEM, "a step");
    memcpy(s->name, name, strlen(name));
    s->number = number;
    make_key(engine, m, name, number, "", s->key);
    make_key(engine, m, name, number, " undo", s->undo_key);
    s->next = steps->last;
    steps->last = s;
    if (steps->count <= number)
        steps->count = number + 1;
    *out = s;
    return HF_OK;
}

/* A STEP entry of this message, from the table or the window. */
static int learn(const hf_engine *engine, struct hf_steps *steps, const hf_entry *m,
                 const hf_entry *e)
{
    known_step *s = find_number(steps, e->place);
    int err = s ? HF_OK : add_step(engine, steps, m, e->name, e->place, &s);
    if (err)
        return err;
    s->phase = e->phase;
    return e->phase == ENDED ? set_result(s, e->data) : HF_OK;
}

static int load_table(const hf_engine *engine, struct hf_steps *steps, const hf_entry *m)
{
    hf_txn *txn;
    hf_cursor *cursor;
    hf_key from;
    hf_bytes key, value, payload;
    hf_entry e;
    int err = hf_txn_read(engine->disk, &txn);
    if (err)
        return err;
    hf_key_step(&from, m->id, 0, 0);
    err = hf_cursor_open(txn, HF_IN_STEPS, &cursor);
    if (!err) {
        for (err = hf_cursor_seek(cursor, hf_key_bytes(&from), &key, &value);
             !err && key.len == 24 && memcmp(key.data, from.bytes, 8) == 0;
             err = hf_cursor_next(cursor, &key, &value)) {
            err = hf_row_open(HF_IN_STEPS, key, value, &payload);
            if (!err && !hf_entry_decode(payload.data, payload.len, &e))
                err = hf_error(HF_ECORRUPT, "a step can't be read");
            if (!err)
                err = learn(engine, steps, m, &e);
            if (err)
                break;
        }
        hf_cursor_close(cursor);
    }
    hf_txn_abort(txn);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* The steps of the replayed window: whole entries, one after another. */
static int load_window(const hf_engine *engine, struct hf_steps *steps, const hf_entry *m)
{
    const uint8_t *at = engine->old_steps, *end = at + engine->old_steps_len;
    int err = HF_OK;
    while (!err && at < end) {
        hf_entry e;
        at += hf_entry_decode(at, (size_t)(end - at), &e);
        if (e.id == m->id)
            err = learn(engine, steps, m, &e);
    }
    return err;
}

/* Dead and requeued in this run: its steps may lie anywhere. */
typedef struct step_walk {
    const hf_engine *engine;
    struct hf_steps *steps;
    const hf_entry  *m;
} step_walk;

enum { PAST = 1 };

static int learn_row(void *user, hf_bytes key, hf_bytes payload)
{
    step_walk *w = user;
    hf_entry e;
    if (key.len != 24 || hf_get64_key(key.data) != w->m->id)
        return PAST;
    if (!hf_entry_decode(payload.data, payload.len, &e))
        return hf_error(HF_ECORRUPT, "a step can't be read");
    return learn(w->engine, w->steps, w->m, &e);
}

static int load_view(const hf_engine *engine, struct hf_steps *steps, const hf_entry *m)
{
    step_walk w = { engine, steps, m };
    hf_view_of *view;
    hf_key from;
    int err = hf_view_open(&view, engine->disk);
    if (err)
        return err;
    hf_key_step(&from, m->id, 0, 0);
    err = hf_view_walk(view, HF_IN_STEPS, hf_key_bytes(&from), learn_row, &w);
    hf_view_close(view);
    return err == PAST ? HF_OK : err;
}

static int load_steps(hf_turn *turn, hf_parcel *p)
{
    const hf_engine *engine = turn->engine;
    struct hf_steps *steps = p->steps;
    if (!steps)
        steps = p->steps = hf_mem_zero(1, sizeof *steps);
    if (!steps)
        return hf_error(HF_ENOMEM, "steps");
    if (steps->loaded || (p->e.id >= engine->first_id && !p->requeued)) {
        steps->loaded = true;
        return HF_OK;
    }
    int err = p->requeued ? load_view(engine, steps, &p->e) : load_table(engine, steps, &p->e);
    if (!err && !p->requeued)
        err = load_window(engine, steps, &p->e);
    steps->loaded = !err;
    return err;
}

static int keep_old_step(void *user, const hf_entry *e, uint64_t position)
{
    hf_engine *engine = user;
    (void)position;
    if (e->op != HF_OP_STEP)
        return HF_OK;
    size_t size = hf_entry_size(e);
    uint8_t *grown = hf_mem_grow(engine->old_steps, engine->old_steps_len + size);
    if (!grown)
        return hf_error(HF_ENOMEM, "steps of the window");
    engine->old_steps = grown;
    hf_entry_encode(e, grown + engine->old_steps_len);
    engine->old_steps_len += size;
    return HF_OK;
}

int hf_steps_load(hf_engine *engine)
{
    return hf_window_facts(hf_log_window(engine->log), keep_old_step, engine);
}

void hf_steps_done(hf_engine *engine)
{
    hf_mem_free(engine->old_steps);
}

/* ---- Beginning and ending */

static void step_entry(hf_entry *e, const hf_entry *m, const known_step *s, uint32_t phase,
                       hf_bytes result)
{
    *e = (hf_entry){ .op = HF_OP_STEP, .to = m->to, .to_len = m->to_len, .hash = m->hash,
                     .name = s->name, .name_len = (uint8_t)strlen(s->name), .data = result,
                     .id = m->id, .place = s->number,
                     .phase = phase, .error = "", .from = "" };
}

/* On disk before we return: that is what a step is for. */
static int commit_step(hf_turn *turn, const known_step *s, uint32_t phase, hf_bytes result)
{
    hf_engine *engine = turn->engine;
    hf_batch *batch = hf_batch_new(engine);
    hf_entry e;
    if (!batch)
        return hf_error(HF_ENOMEM, "a batch");
    step_entry(&e, &turn->parcel->e, s, phase, result);
    int err = hf_segment_add(hf_batch_facts(batch), &e);
    if (!err)
        err = hf_journal_wait(engine, batch);
    hf_batch_free(batch);
    return err;
}

static void show_step(const known_step *s, hf_step *out)
{
    *out = (hf_step){ .name = s->name, .key = s->key, .undo_key = s->undo_key,
                      .result = hf_view(s->result, s->result_len) };
}

static int check_turn(const hf_turn *turn, const char *name)
{
    hf_error_clear();
    if (!turn || !name || !*name || strnlen(name, HF_NAME_MAX + 1) > HF_NAME_MAX)
        return hf_error(HF_EINVAL, "a step's name has 1 to %d bytes", HF_NAME_MAX);
    int err = hf_disk_forked(turn->engine->disk);
    if (err)
        return err;
    if (turn->on_shard)
        return hf_error(HF_EDEADLOCK, "a step waits for the disk: its type needs .threads");
    if (turn->undoing)
        return hf_error(HF_EINVAL, "no steps while a step is undone");
    return HF_OK;
}

int hf_begin_step(hf_turn *turn, const char *name, hf_step *step)
{
    int err = check_turn(turn, name);
    if (!err)
        err = load_steps(turn, turn->parcel);
    if (err)
        return err;
    hf_parcel *p = turn->parcel;
    known_step *s = find_step(p->steps, name);
    if (!s || s->phase == UNDONE) {
        err = add_step(turn->engine, p->steps, &p->e, name, p->steps->count, &s);
        if (!err && (err = commit_step(turn, s, BEGUN, hf_view(NULL, 0)))) {
            p->steps->last = s->next; /* not begun after all */
            free_step(s);
        }
        if (err)
            return err;
        s->phase = BEGUN;
        p->e.flags |= HF_ENTRY_STEPS;
    }
    p->e.flags |= HF_ENTRY_STEPS;
    show_step(s, step);
    return s->phase == ENDED ? HF_OK : HF_TODO;
}

int hf_end_step(hf_turn *turn, hf_step *step, hf_bytes result)
{
    int err = check_turn(turn, step ? step->name : NULL);
    if (err)
        return err;
    known_step *s = turn->parcel->steps ? find_step(turn->parcel->steps, step->name) : NULL;
    if (!s)
        return hf_error(HF_EINVAL, "step \"%s\" was not begun", step->name);
    if (result.len > turn->engine->options.body_max)
        return hf_error(HF_ETOOBIG, "result of step \"%s\": %zu bytes", s->name, result.len);
    if (result.len && !result.data)
        return hf_error(HF_EINVAL, "result of step \"%s\": %zu bytes at NULL", s->name,
                        result.len);
    err = commit_step(turn, s, ENDED, result);
    if (!err)
        err = set_result(s, result);
    if (err)
        return err;
    s->phase = ENDED;
    show_step(s, step);
    return HF_OK;
}

/* ---- Undoing */

static known_step *step_to_undo(const struct hf_steps *steps)
{
    known_step *s = steps->last;
    while (s && s->phase == UNDONE)
        s = s->next;
    return s;
}

bool hf_step_must_undo(hf_turn *turn, hf_parcel *p)
{
    if (!turn->kind->is.undo || !turn->on_pool)
        return false;
    /* Without memory or with a damaged row: try, the undoing will say what is. */
    return load_steps(turn, p) || step_to_undo(p->steps) != NULL;
}

static void run_undo(hf_turn *turn, hf_parcel *p, bool *stands)
{
    hf_step step;
    turn->undoing = true;
    int code = load_steps(turn, p);
    known_step *s = code ? NULL : step_to_undo(p->steps);
    turn->msg.attempt = p->e.attempt;
    if (!code && turn->state_version != turn->kind->is.version)
        code = hf_upgrade_state(turn);
    if (!code && s) {
        show_step(s, &step);
        if (s->phase != ENDED)
            step.result = hf_view(NULL, 0);
        hf_turn *outer = hf_turn_enter(turn);
        code = turn->kind->is.undo(turn, &turn->msg, &step);
        if (code == HF_PENDING)
            code = hf_turn_wait(turn);
        hf_turn_enter(outer);
    }
    *stands = hf_turn_judge(turn, code);
}

bool hf_step_run(hf_turn *turn, hf_parcel *p)
{
    bool stands;
    if (!p->e.phase)
        return hf_turn_run(turn);
    run_undo(turn, p, &stands);
    return stands;
}

/* All is undone, or can't be: the message is dead. */
static int bury_undone(hf_turn *turn, hf_parcel *p)
{
    uint32_t phase = p->e.phase;
    p->e.phase = 0;
    p->end = HF_END_DEAD;
    int err = hf_outcome_bury(turn, &p->e);
    if (err)
        p->e.phase = phase; /* undoing goes on */
    return err;
}

/* What the message failed of, where its error says what undoing it failed of. */
static const char *error_before(const char *error)
{
    static const char failed[] = "undo of step \"", before[] = "; before that: ";
    const char *at = strncmp(error, failed, strlen(failed)) ? NULL : strstr(error, before);
    return at ? at + strlen(before) : error;
}

/* One step is undone: say so, and go on with the one before. */
static int keep_undo(hf_turn *turn, hf_parcel *p)
{
    known_step *s = step_to_undo(p->steps);
    hf_entry e;
    uint32_t before = s ? s->phase : 0;
    int err = HF_OK;
    if (s) {
        step_entry(&e, &p->e, s, UNDONE, hf_view(NULL, 0));
        err = hf_segment_add(hf_batch_facts(turn->batch), &e);
        if (err)
            return err;
        s->phase = UNDONE;
    }
    if (!step_to_undo(p->steps)) {
        const char *error = error_before(p->e.error);
        p->e.error_len -= (uint32_t)(error - p->e.error);
        p->e.error = error;
        err = bury_undone(turn, p);
    } else {
        p->e.phase = 1;
        p->due_ms = p->e.due = hf_timebase_now(turn->engine);
        p->end = HF_END_RESTS;
        err = hf_outcome_retry(turn->batch, &p->e);
    }
    if (err && s)
        s->phase = before; /* the turn is cut off: it was not undone */
    return err;
}

static int give_up_undo(hf_turn *turn, hf_parcel *p, const char *why)
{
    char error[HF_ERROR_MAX + 1];
    known_step *s = p->steps ? step_to_undo(p->steps) : NULL;
    snprintf(error, sizeof error, "undo of step \"%s\" failed: %.400s; before that: %.400s",
             s ? s->name : "?", why, error_before(p->e.error));
    int err = hf_parcel_note(p, p->e.err, error, hf_clock_wall_ms());
    return err ? err : bury_undone(turn, p);
}

static int leave_undo(hf_turn *turn, hf_parcel *p)
{
    const hf_type *type = &turn->kind->is;
    char why[HF_ERROR_MAX + 1];
    uint64_t now = hf_timebase_now(turn->engine);
    bool snoozed = turn->verdict == HF_TURN_SNOOZED; /* burns no try */
    memcpy(why, turn->error, sizeof why);
    hf_turn_cut(turn);
    turn->err = HF_OK;
    if (turn->verdict == HF_TURN_BURIED
        || (!snoozed && type->tries != HF_NEVER && p->e.phase >= type->tries))
        return give_up_undo(turn, p, why);
    p->e.phase += !snoozed;
    p->due_ms = now + (snoozed ? turn->snooze_ms : hf_outcome_pause(type, p->e.phase - 1));
    p->e.due = p->due_ms;
    p->end = HF_END_RESTS;
    return hf_outcome_retry(turn->batch, &p->e);
}

int hf_step_outcome(hf_turn *turn, hf_parcel *p, bool stands)
{
    if (turn->undoing)
        return stands ? keep_undo(turn, p) : leave_undo(turn, p);
    int err = hf_outcome_failed(turn, p, &p->due_ms);
    p->end = p->due_ms ? HF_END_RESTS : HF_END_DEAD;
    return err;
}
