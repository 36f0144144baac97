/* compare.c - what the store shows, against the model.
 *
 * compare_view: every table through one view. compare_window: what the log's
 * memory says is done. compare_tables: after a full fold, how many rows there
 * really are, and that the two tables of alarms name each other. */
#include "tests/flow/store_model/model.h"

#include "storage/due.h"

#include "storage/error.h"

#include <stdlib.h>

typedef struct look {
    run           *r;
    hf_view_of    *view;
    const letter **letters; /* expected, in order */
    uint32_t       count, at;
    bool           died;
} look;

#define VIEW_OK(r, call) view_ok((r), (call), #call)
static void view_ok(run *r, int err, const char *call)
{
    if (err)
        run_fail(r, "%s answers %d: %s", call, err, hf_error_detail());
}

static void expect(look *l, bool same, const char *what, uint64_t where)
{
    if (!same)
        run_fail(l->r, "%s is wrong (%llu)", what, (unsigned long long)where);
}

static bool text_is(const char *want, const char *text, size_t len)
{
    return strlen(want) == len && memcmp(want, text, len) == 0 && !text[len];
}

/* ---- Messages */

static void expect_letter(look *l, const letter *want, const hf_entry *e)
{
    expect(l, e->id == want->id && e->place == want->place, "a message's place", e->id);
    expect(l, text_is(model_actors[want->actor], e->to, e->to_len), "to", e->id);
    expect(l, text_is(want->kind, e->name, e->name_len), "kind", e->id);
    expect(l, text_is(want->error, e->error, e->error_len), "error", e->id);
    expect(l, text_is(want->from, e->from, e->from_len), "from", e->id);
    expect(l, model_same(want->body, e->data), "body", e->id);
    expect(l, e->sent == want->sent, "sent", e->id);
    expect(l, e->due == want->due && e->died == want->died, "due or died", e->id);
    expect(l, e->generation == want->generation, "generation", e->id);
    expect(l, e->attempt == want->attempt && e->phase == want->phase, "attempt or phase", e->id);
    expect(l, e->err == want->err && e->cause == want->cause && e->reason == want->reason,
           "err, cause or reason", e->id);
    expect(l, (e->flags & HF_ENTRY_STEPS) == (want->flags & HF_ENTRY_STEPS), "flags", e->id);
    hf_bytes times = model_times(want->times);
    expect(l, times.len == e->times.len
           && (!times.len || memcmp(times.data, e->times.data, times.len) == 0), "times", e->id);
}

static int take_letter(void *user, const hf_entry *e)
{
    look *l = user;
    if (l->at == l->count)
        run_fail(l->r, "message %llu to %s is too many", (unsigned long long)e->id, e->to);
    expect_letter(l, l->letters[l->at++], e);
    return HF_OK;
}

static int take_dead(void *user, hf_bytes key, hf_bytes payload)
{
    look *l = user;
    hf_entry e;
    if (payload.len < 8 || key.len != 8
        || !hf_entry_decode((const uint8_t *)payload.data + 8, payload.len - 8, &e))
        run_fail(l->r, "a dead row can't be read");
    expect(l, hf_get64_key(key.data) == e.id, "key of a dead row", e.id);
    return take_letter(l, &e);
}

static int compare_places(const void *a, const void *b)
{
    uint64_t x = (*(const letter *const *)a)->place, y = (*(const letter *const *)b)->place;
    return (x > y) - (x < y);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = (*(const letter *const *)a)->id, y = (*(const letter *const *)b)->id;
    return (x > y) - (x < y);
}

static void gather(look *l, int where, int actor, uint64_t after)
{
    const model *m = &l->r->model;
    l->count = l->at = 0;
    for (uint32_t i = 0; i < m->letter_count; i++) {
        const letter *it = &m->letters[i];
        if ((int)it->where == where && (actor < 0 || it->actor == actor) && it->place > after)
            l->letters[l->count++] = it;
    }
    if (l->count)
        qsort(l->letters, l->count, sizeof *l->letters,
              where == IS_DEAD ? compare_ids : compare_places);
}

static int count_row(void *user, hf_bytes key, hf_bytes payload)
{
    uint32_t *count = user;
    (void)key, (void)payload;
    ++*count;
    return HF_OK;
}

static uint32_t walk_count(look *l, hf_table table)
{
    uint32_t count = 0;
    VIEW_OK(l->r, hf_view_walk(l->view, table, hf_view(NULL, 0), count_row, &count));
    return count;
}

static void compare_messages(look *l)
{
    run *r = l->r;
    for (int actor = 0; actor < ACTORS; actor++) {
        gather(l, WAITS, actor, 0);
        VIEW_OK(r, hf_view_inbox(l->view, model_actors[actor], 0, take_letter, l));
        expect(l, l->at == l->count, "the end of an inbox", l->at);
        if (!l->count)
            continue;
        uint64_t after = l->letters[chance(r, l->count)]->place - chance(r, 2);
        gather(l, WAITS, actor, after);
        VIEW_OK(r, hf_view_inbox(l->view, model_actors[actor], after, take_letter, l));
        expect(l, l->at == l->count, "the end of an inbox's page", l->at);
    }
    gather(l, WAITS, -1, 0);
    expect(l, walk_count(l, HF_IN_INBOX) == l->count, "how many wait", l->count);
    gather(l, IS_DEAD, -1, 0);
    VIEW_OK(r, hf_view_walk(l->view, HF_IN_DEAD, hf_view(NULL, 0), take_dead, l));
    expect(l, l->at == l->count, "how many are dead", l->at);
}

/* ---- States, alarms, steps, pauses */

static void compare_states(look *l)
{
    uint32_t there = 0;
    for (int actor = 0; actor < ACTORS; actor++) {
        const image *want = &l->r->model.states[actor];
        hf_bytes bytes;
        uint64_t version;
        uint32_t form;
        int err = hf_view_form(l->view, model_actors[actor], &bytes, &version, &form);
        there += want->there;
        expect(l, err == (want->there ? HF_OK : HF_ENOTFOUND), "a state's being there",
               (uint64_t)actor);
        if (!err)
            expect(l, version == want->version && form == want->form
                   && model_same(want->bytes, bytes), "a state", (uint64_t)actor);
    }
    expect(l, walk_count(l, HF_IN_STATE) == there, "how many states there are", there);
}

static void row_key(const look *l, int actor, uint64_t row, hf_key *key)
{
    const char *to = model_actors[actor];
    size_t len = strlen(to);
    hf_key_actor(key, to, len, hf_address_hash(hf_view_seed(l->view), to, len));
    key->bytes[key->len++] = 0;
    memcpy(key->bytes + key->len, model_rows[row].data, model_rows[row].len);
    key->len += model_rows[row].len;
}

/* One by one, each in its table, and how many there are. */
static void compare_rows(look *l)
{
    uint32_t rows = 0, topics = 0;
    for (int actor = 0; actor < ACTORS; actor++)
        for (uint64_t row = 0; row < ROWS; row++) {
            const image *want = &l->r->model.rows[actor][row];
            bool topic = *(const char *)model_rows[row].data == HF_SHELF_TOPIC;
            hf_bytes payload;
            hf_key key;
            row_key(l, actor, row, &key);
            int err = hf_view_get(l->view, topic ? HF_IN_TOPICS : HF_IN_ROWS, hf_key_bytes(&key),
                                  &payload);
            expect(l, err == (want->there ? HF_OK : HF_ENOTFOUND), "a row's being there", row);
            rows += want->there && !topic;
            topics += want->there && topic;
            if (!err)
                expect(l, payload.len >= 8 && hf_get64(payload.data) == want->version
                       && model_same(want->bytes, hf_view((const uint8_t *)payload.data + 8,
                                                          payload.len - 8)), "a row", row);
        }
    expect(l, walk_count(l, HF_IN_ROWS) == rows, "how many rows there are", rows);
    expect(l, walk_count(l, HF_IN_TOPICS) == topics, "how many topics there are", topics);
}

typedef struct row_walk {
    look    *l;
    int      actor;
    uint64_t next;
} row_walk;

enum { ENOUGH = 99 };

static int take_row(void *user, hf_bytes key, hf_bytes payload)
{
    row_walk *w = user;
    const image *rows = w->l->r->model.rows[w->actor];
    hf_key want;
    row_key(w->l, w->actor, 0, &want);
    size_t prefix = want.len - model_rows[0].len;
    if (key.len < prefix || memcmp(key.data, want.bytes, prefix) != 0)
        return ENOUGH;
    while (w->next < ROWS
           && (!rows[w->next].there || *(const char *)model_rows[w->next].data == HF_SHELF_TOPIC))
        w->next++;
    expect(w->l, w->next < ROWS, "a row too many", w->next);
    row_key(w->l, w->actor, w->next, &want);
    expect(w->l, key.len == want.len && memcmp(key.data, want.bytes, key.len) == 0
           && hf_get64(payload.data) == rows[w->next].version, "the order of rows", w->next);
    w->next++;
    return HF_OK;
}

/* The rows of one actor, from somewhere on. */
static void compare_some_rows(look *l)
{
    row_walk w = { l, (int)chance(l->r, ACTORS), chance(l->r, ROWS) };
    hf_key from;
    row_key(l, w.actor, w.next, &from);
    int err = hf_view_walk(l->view, HF_IN_ROWS, hf_key_bytes(&from), take_row, &w);
    VIEW_OK(l->r, err == ENOUGH ? HF_OK : err);
    for (; w.next < ROWS; w.next++)
        expect(l, !l->r->model.rows[w.actor][w.next].there
               || *(const char *)model_rows[w.next].data == HF_SHELF_TOPIC, "a row less", w.next);
}

static int take_delayed(look *l, uint64_t id, uint64_t due, hf_bytes payload)
{
    const model *m = &l->r->model;
    hf_entry e;
    if (!hf_entry_decode((const uint8_t *)payload.data + 16, payload.len - 16, &e))
        run_fail(l->r, "a delayed letter can't be read");
    e.id = e.place = id;
    for (uint32_t i = 0; i < m->letter_count; i++)
        if (m->letters[i].id == id && m->letters[i].where == IS_DELAYED) {
            expect_letter(l, &m->letters[i], &e);
            expect(l, hf_due_time(&e) == due, "when a letter is due", id);
            l->at++;
            return HF_OK;
        }
    run_fail(l->r, "letter %llu is not delayed", (unsigned long long)id);
}

static int take_fired(look *l, uint64_t generation, hf_bytes key, hf_bytes payload)
{
    expect(l, payload.len == 16, "the row of an alarm that went off", generation);
    for (int actor = 0; actor < ACTORS; actor++)
        for (int name = 0; name < NAMES; name++) {
            const alarm_set *want = &l->r->model.alarms[actor][name];
            size_t len = strlen(model_names[name]);
            if (want->fired && want->generation == generation && key.len > len
                && memcmp((const char *)key.data + key.len - len, model_names[name], len) == 0)
                l->at++;
        }
    return HF_OK;
}

static int take_alarm(void *user, hf_bytes key, hf_bytes payload)
{
    look *l = user;
    hf_entry e;
    uint64_t due, generation;
    VIEW_OK(l->r, hf_fate_alarm(payload, &due, &generation));
    uint64_t id;
    size_t len;
    if (hf_due_letter_of(key, &id, &len))
        return take_delayed(l, id, due, payload);
    if (!due)
        return take_fired(l, generation, key, payload);
    if (!hf_entry_decode((const uint8_t *)payload.data + 16, payload.len - 16, &e))
        run_fail(l->r, "an alarm can't be read");
    for (int actor = 0; actor < ACTORS; actor++)
        for (int name = 0; name < NAMES; name++) {
            const alarm_set *want = &l->r->model.alarms[actor][name];
            if (!text_is(model_actors[actor], e.to, e.to_len)
                || !text_is(model_names[name], e.name, e.name_len))
                continue;
            expect(l, want->there && want->due == due && want->generation == generation
                   && model_same(want->body, e.data), "an alarm", generation);
            l->at++;
        }
    return HF_OK;
}

static uint32_t alarms_of(const model *m)
{
    uint32_t there = 0;
    for (int actor = 0; actor < ACTORS; actor++)
        for (int name = 0; name < NAMES; name++)
            there += m->alarms[actor][name].there;
    for (uint32_t i = 0; i < m->letter_count; i++)
        there += m->letters[i].where == IS_DELAYED;
    return there;
}

/* That went off, and whose messages have not ended. */
static uint32_t fired_of(const model *m)
{
    uint32_t fired = 0;
    for (int actor = 0; actor < ACTORS; actor++)
        for (int name = 0; name < NAMES; name++)
            fired += m->alarms[actor][name].fired;
    return fired;
}

static int take_step(void *user, hf_bytes key, hf_bytes payload)
{
    look *l = user;
    const uint8_t *k = key.data;
    hf_entry e;
    expect(l, l->at < l->r->model.step_count, "how many steps there are", l->at);
    const step_row *want = &l->r->model.steps[l->at++];
    expect(l, key.len == 24 && hf_get64_key(k) == want->id
           && hf_get64_key(k + 8) == want->generation && hf_get64_key(k + 16) == want->number,
           "a step's key", want->id);
    if (!hf_entry_decode(payload.data, payload.len, &e))
        run_fail(l->r, "a step can't be read");
    expect(l, e.id == want->id && e.generation == want->generation && e.place == want->number
           && e.phase == want->phase && text_is(model_names[want->name], e.name, e.name_len)
           && model_same(want->result, e.data), "a step", want->id);
    return HF_OK;
}

static int take_pause(void *user, hf_bytes key, hf_bytes payload)
{
    look *l = user;
    for (int i = 0; i < PAUSABLE; i++) {
        const char *name = model_pausable[i];
        if (strlen(name) != key.len || memcmp(name, key.data, key.len) != 0)
            continue;
        expect(l, payload.len > 8 && l->r->model.paused[i]
               && hf_get64(payload.data) == l->r->model.paused[i], "since when one is paused",
               (uint64_t)i);
        l->at++;
    }
    return HF_OK;
}

static void compare_rest(look *l)
{
    run *r = l->r;
    uint32_t paused = 0;
    l->at = 0;
    VIEW_OK(r, hf_view_walk(l->view, HF_IN_ALARM_NAMES, hf_view(NULL, 0), take_alarm, l));
    expect(l, l->at == alarms_of(&r->model) + fired_of(&r->model), "how many alarms there are",
           l->at);
    l->at = 0;
    VIEW_OK(r, hf_view_walk(l->view, HF_IN_STEPS, hf_view(NULL, 0), take_step, l));
    expect(l, l->at == r->model.step_count, "how many steps there are", l->at);
    for (int i = 0; i < PAUSABLE; i++)
        paused += r->model.paused[i] != 0;
    l->at = 0;
    VIEW_OK(r, hf_view_walk(l->view, HF_IN_PAUSES, hf_view(NULL, 0), take_pause, l));
    expect(l, l->at == paused && walk_count(l, HF_IN_PAUSES) == paused, "how many are paused",
           paused);
}

/* Look one step up: there, and what a neighbour's key gives is not. */
static void compare_one_row(look *l)
{
    const model *m = &l->r->model;
    hf_bytes payload;
    hf_key key;
    if (!m->step_count)
        return;
    const step_row *row = &m->steps[chance(l->r, m->step_count)];
    hf_key_step(&key, row->id, row->generation, row->number);
    VIEW_OK(l->r, hf_view_get(l->view, HF_IN_STEPS, hf_key_bytes(&key), &payload));
    hf_key_step(&key, row->id, row->generation, row->number + 100);
    expect(l, hf_view_get(l->view, HF_IN_STEPS, hf_key_bytes(&key), &payload) == HF_ENOTFOUND,
           "a step that is not there", row->id);
}

void compare_view(run *r)
{
    look l = { .r = r };
    l.letters = malloc((r->model.letter_count + 1) * sizeof *l.letters);
    VIEW_OK(r, hf_view_open(&l.view, r->core.disk));
    expect(&l, hf_view_next(l.view) >= r->next, "the next position", hf_view_next(l.view));
    compare_messages(&l);
    compare_states(&l);
    compare_rest(&l);
    compare_one_row(&l);
    compare_rows(&l);
    compare_some_rows(&l);
    hf_view_close(l.view);
    free(l.letters);
    compare_window(r);
}

/* ---- The log's memory */

void compare_window(run *r)
{
    const hf_window *w = hf_log_window(r->core.log);
    const model *m = &r->model;
    uint32_t at = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        const hf_record *record = hf_window_at(w, i);
        uint32_t live = 0;
        while (at < m->letter_count && m->letters[at].place < record->base)
            at++;
        for (; at < m->letter_count && m->letters[at].place < record->base + record->count; at++) {
            uint32_t index = (uint32_t)(m->letters[at].place - record->base);
            live += !m->letters[at].ended && !m->letters[at].delayed;
            if (i >= w->sealed && hf_record_is_done(record, index) != m->letters[at].ended)
                run_fail(r, "memory is wrong about %llu", (unsigned long long)m->letters[at].place);
        }
        if (i >= w->sealed && record->live != live)
            run_fail(r, "a record has %u live messages, not %u", record->live, live);
        if (!record->data && (live || record->keep))
            run_fail(r, "a record's bytes went too early");
    }
}

/* ---- The tables themselves, when all is folded */

static void expect_rows(run *r, hf_txn *txn, hf_table table, uint64_t want)
{
    uint64_t rows;
    VIEW_OK(r, hf_txn_count(txn, table, &rows));
    if (rows != want)
        run_fail(r, "table %d has %llu rows, not %llu", (int)table, (unsigned long long)rows,
                 (unsigned long long)want);
}

/* Of the log only what may stay is left, and the log knows how much that is. */
static void expect_history(run *r, hf_txn *txn)
{
    hf_kept kept;
    hf_log_stats stats;
    uint64_t tail;
    VIEW_OK(r, hf_kept_tail(txn, &tail));
    VIEW_OK(r, hf_kept_load(&kept, txn, tail));
    expect_rows(r, txn, HF_IN_LOG, kept.records);
    hf_log_stat(r->core.log, &stats);
    /* What an earlier life left, with a larger window, goes with the next commit. Alarms and
     * bodies are counted as messages by whoever only reads the heads. */
    if (stats.history != kept.bytes || kept.bytes > 65536 / 4 || kept.messages > 90)
        run_fail(r, "%llu bytes of history stay, the log says %llu; %llu messages",
                 (unsigned long long)kept.bytes, (unsigned long long)stats.history,
                 (unsigned long long)kept.messages);
}

static void expect_alarm_index(run *r, hf_txn *txn)
{
    hf_cursor *cursor;
    hf_bytes key, value, name, payload;
    uint64_t due, generation;
    VIEW_OK(r, hf_cursor_open(txn, HF_IN_ALARMS, &cursor));
    for (int err = hf_cursor_first(cursor, &key, &value); err != HF_ENOTFOUND;
         err = hf_cursor_next(cursor, &key, &value)) {
        hf_key row;
        VIEW_OK(r, err);
        VIEW_OK(r, hf_row_open(HF_IN_ALARMS, key, value, &name));
        memcpy(row.bytes, name.data, name.len);
        row.len = name.len;
        VIEW_OK(r, hf_row_get(txn, HF_IN_ALARM_NAMES, &row, &payload));
        VIEW_OK(r, hf_fate_alarm(payload, &due, &generation));
        if (key.len != 16 || hf_get64_key(key.data) != due
            || hf_get64_key((const uint8_t *)key.data + 8) != generation)
            run_fail(r, "the index of alarms names one that is not set so");
    }
    hf_cursor_close(cursor);
}

void compare_tables(run *r)
{
    const model *m = &r->model;
    hf_txn *txn;
    uint64_t waits = 0, dead = 0, states = 0, paused = 0, rows = 0, topics = 0;
    for (uint32_t i = 0; i < m->letter_count; i++) {
        waits += m->letters[i].where == WAITS;
        dead += m->letters[i].where == IS_DEAD;
    }
    for (int i = 0; i < ACTORS; i++)
        states += m->states[i].there;
    for (int i = 0; i < ACTORS; i++)
        for (int row = 0; row < ROWS; row++) {
            bool topic = *(const char *)model_rows[row].data == HF_SHELF_TOPIC;
            rows += m->rows[i][row].there && !topic;
            topics += m->rows[i][row].there && topic;
        }
    for (int i = 0; i < PAUSABLE; i++)
        paused += m->paused[i] != 0;
    VIEW_OK(r, hf_txn_read(r->core.disk, &txn));
    expect_history(r, txn);
    expect_rows(r, txn, HF_IN_INBOX, waits);
    expect_rows(r, txn, HF_IN_DEAD, dead);
    expect_rows(r, txn, HF_IN_STATE, states);
    expect_rows(r, txn, HF_IN_ALARM_NAMES, alarms_of(m) + fired_of(m));
    expect_rows(r, txn, HF_IN_ALARMS, alarms_of(m));
    expect_rows(r, txn, HF_IN_STEPS, m->step_count);
    expect_rows(r, txn, HF_IN_PAUSES, paused);
    expect_rows(r, txn, HF_IN_ROWS, rows);
    expect_rows(r, txn, HF_IN_TOPICS, topics);
    expect_alarm_index(r, txn);
    hf_txn_abort(txn);
}
