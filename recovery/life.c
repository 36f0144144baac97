/* life.c - the life of a message, read out of the log.
 *
 * Happy path: its SEND lies at its id, one look-up away; what is told of it later lies
 * behind, up to the group that ends it, which also holds what its last turn sent. Of a
 * message whose SEND is gone the whole log is read. Lists are bounded and say how much
 * is missing. Any thread, in one snapshot. */
#include "recovery/life.h"

#include "storage/error.h"

#define BIT(op) (UINT32_C(1) << (op))
#define OPS (BIT(HF_OP_SEND) | BIT(HF_OP_DUE) | BIT(HF_OP_DONE) | BIT(HF_OP_ACK) \
             | BIT(HF_OP_RETRY) | BIT(HF_OP_DEAD) | BIT(HF_OP_REQUEUE) | BIT(HF_OP_PURGE) \
             | BIT(HF_OP_STEP))

enum { STOP = 0x5709 }; /* ends a walk that has seen enough; no code of ours */

/* A failure has a time of its own; entries that an operator made repeat older ones. */
static void note_fail(hf_life *l, const hf_entry *e)
{
    if (!e->err || e->times.len < 8)
        return;
    uint64_t at = hf_get64((const uint8_t *)e->times.data + e->times.len - 8);
    if (l->fail_count && l->fails[l->fail_count - 1].at == at)
        return;
    if (l->fail_count == HF_LIFE_FAILS)
        memmove(l->fails, l->fails + 1, --l->fail_count * sizeof *l->fails);
    l->fails[l->fail_count++] = (hf_failure){ at, e->took, e->err,
                                              hf_view(e->error, e->error_len) };
}

static void note_step(hf_life *l, const hf_entry *e)
{
    uint32_t i = 0;
    while (i < l->step_count
           && (l->steps[i].place != e->place || l->steps[i].generation != e->generation))
        i++;
    if (i == HF_LIFE_STEPS)
        return;
    l->steps[i] = *e;
    l->step_count += i == l->step_count;
}

static void note_end(hf_life *l, const hf_annal *a)
{
    l->ended = true;
    l->end_ms = a->time_ms;
    l->end_group = a->group;
    l->took = a->e.op == HF_OP_ACK ? a->e.took : 0;
    l->purged = a->e.op == HF_OP_PURGE;
}

static void note_own(hf_life *l, const hf_annal *a)
{
    const hf_entry *e = &a->e;
    if (e->notes.len)
        l->notes = e->notes;
    switch (e->op) {
    case HF_OP_SEND:
    case HF_OP_DUE:
        l->place = a->position;
        l->whole = *e;
        break;
    case HF_OP_RETRY:
    case HF_OP_DEAD:
        l->attempts = e->attempt;
        note_fail(l, e);
        if (e->op == HF_OP_DEAD)
            l->whole = *e;
        break;
    case HF_OP_REQUEUE:
        l->attempts = e->attempt;
        l->whole = *e;
        break;
    case HF_OP_STEP:
        note_step(l, e);
        break;
    default:
        note_end(l, a);
        break;
    }
}

static int see(void *user, const hf_annal *a)
{
    hf_life *l = user;
    const hf_entry *e = &a->e;
    if (l->ended && a->group != l->end_group)
        return STOP;
    if (e->op == HF_OP_DONE) {
        if (l->place && l->place >= e->hash && l->place - e->hash < e->count)
            note_end(l, a);
    } else if (e->id == l->id) {
        note_own(l, a);
    } else if (e->op == HF_OP_SEND && e->parent == l->id) {
        if (l->child_count < HF_LIFE_CHILDREN) {
            l->children[l->child_count] = *e;
            l->child_times[l->child_count] = a->time_ms;
        }
        l->child_count++;
    }
    return HF_OK;
}

int hf_life_read(hf_life *l, hf_txn *txn, uint64_t id)
{
    memset(l, 0, sizeof *l);
    l->id = id;
    int err = hf_annals_find(txn, id, &l->sent);
    if (err && err != HF_ENOTFOUND)
        return err;
    l->sent_known = !err && hf_entry_is_message(l->sent.e.op) && l->sent.e.id == id;
    if (l->sent_known) { /* a plain one is not met again */
        hf_annal first = l->sent;
        note_own(l, &first);
    }
    err = hf_annals_walk(txn, id, OPS, see, l);
    return err == STOP ? HF_OK : err;
}

/* ---- What is told of it */

static const hf_failure *fail_at(const hf_life *l, uint64_t at)
{
    for (uint32_t i = 0; i < l->fail_count; i++)
        if (l->fails[i].at == at)
            return &l->fails[i];
    return NULL;
}

static void put_attempt(hf_out *out, uint64_t at, const hf_failure *f)
{
    hf_out_map(out, NULL);
    hf_out_uint(out, "at", at);
    if (f) {
        hf_out_time(out, "took_ms", f->took);
        hf_out_int(out, "err", f->err);
        hf_out_text(out, "error", f->error);
    }
    hf_out_end(out);
}

void hf_life_put_attempts(const hf_life *l, hf_out *out, const hf_sight *s)
{
    enum { SHOWN = 20 };
    const uint8_t *times = s->e.times.data;
    size_t count = s->e.times.len / 8, from = count > SHOWN ? count - SHOWN : 0;
    uint64_t oldest = count ? hf_get64(times + 8 * from) : UINT64_MAX;
    hf_failure last = { 0, s->e.took, s->msg.err, hf_str(s->msg.error) };
    hf_out_array(out, "attempts");
    for (uint32_t i = 0; i < l->fail_count; i++) /* before a requeue with fresh tries */
        if (l->fails[i].at < oldest)
            put_attempt(out, l->fails[i].at, &l->fails[i]);
    for (size_t i = from; i < count; i++) {
        uint64_t at = hf_get64(times + 8 * i);
        const hf_failure *f = fail_at(l, at);
        put_attempt(out, at, f || i + 1 < count || !s->msg.err ? f : &last);
    }
    if (l->ended && !l->purged) {
        hf_out_map(out, NULL);
        hf_out_uint(out, "at", l->end_ms);
        hf_out_time(out, "took_ms", l->took);
        hf_out_end(out);
    }
    hf_out_end(out);
}

enum { STEP_BEGUN = 1, STEP_ENDED, STEP_UNDONE }; /* phases of a STEP entry */

void hf_life_put_steps(const hf_life *l, hf_out *out)
{
    if (!l->step_count)
        return;
    hf_out_array(out, "steps");
    for (uint32_t i = 0; i < l->step_count; i++) {
        const hf_entry *e = &l->steps[i];
        hf_out_map(out, NULL);
        hf_out_text(out, "name", hf_view(e->name, e->name_len));
        if (e->phase != STEP_BEGUN)
            hf_out_bin(out, "result", e->data);
        if (e->phase == STEP_UNDONE)
            hf_out_bool(out, "undone", true);
        hf_out_end(out);
    }
    hf_out_end(out);
}

/* ---- Its kin */

static int note_status(void *user, const hf_sight *s)
{
    *(hf_status *)user = s->msg.status;
    return HF_OK;
}

static int put_kin(hf_scan *scan, hf_out *out, const hf_entry *e, uint64_t time_ms)
{
    hf_status status = HF_DONE;
    int err = hf_scan_known(scan, e, note_status, &status);
    if (err && err != HF_ENOTFOUND)
        return err;
    hf_out_map(out, NULL);
    hf_out_uint(out, "id", e->id);
    hf_out_text(out, "actor", hf_view(e->to, e->to_len));
    if (e->name_len)
        hf_out_text(out, "kind", hf_view(e->name, e->name_len));
    hf_out_text(out, "status", hf_str(hf_status_name(status)));
    hf_out_time(out, "sent", e->sent ? e->sent : time_ms);
    hf_out_end(out);
    return HF_OK;
}

static int put_parents(hf_scan *scan, hf_out *out, uint64_t parent)
{
    int err = HF_OK;
    hf_out_array(out, "parents");
    for (int i = 0; !err && parent && i < HF_LIFE_PARENTS; i++) {
        hf_annal a;
        err = hf_annals_find(hf_view_txn(scan->view), parent, &a);
        if (!err && hf_entry_is_message(a.e.op) && a.e.id == parent) {
            err = put_kin(scan, out, &a.e, a.time_ms);
            parent = a.e.parent;
        } else if (!err || err == HF_ENOTFOUND) { /* no longer kept */
            hf_out_map(out, NULL);
            hf_out_uint(out, "id", parent);
            hf_out_end(out);
            err = HF_OK;
            parent = 0;
        }
    }
    hf_out_end(out);
    return err;
}

int hf_life_put_kin(const hf_life *l, hf_scan *scan, hf_out *out, uint64_t parent)
{
    int err = parent ? put_parents(scan, out, parent) : HF_OK;
    if (err || !l->child_count)
        return err;
    hf_out_array(out, "children");
    for (uint32_t i = 0; !err && i < l->child_count && i < HF_LIFE_CHILDREN; i++)
        err = put_kin(scan, out, &l->children[i], l->child_times[i]);
    hf_out_end(out);
    if (l->child_count > HF_LIFE_CHILDREN)
        hf_out_uint(out, "children_more", l->child_count - HF_LIFE_CHILDREN);
    return err;
}
