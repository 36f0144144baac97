/* send.c - hf_tell, hf_mail, hf_post, hf_sync: messages from outside.
 *
 * Happy path: check each letter, write its entry into a batch, hand the batch
 * to the journal, wait until it is on disk (tell, mail) or have a callback told
 * (post). Bad letters are refused before anything is sent; a full store answers
 * HF_EFULL. Any thread of the host. */
#include "engine/ask.h"
#include "engine/letter.h"
#include "engine/timebase.h"
#include "engine/turn.h"

#include "recovery/change.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <limits.h>

enum { BATCH_MAX = 16 << 20 };

/* ---- Letters */

/* If its type is defined only the key is left to be looked at. */
static int check_address(const hf_engine *engine, const hf_letter *letter, size_t *len)
{
    if (!letter->to)
        return hf_error(HF_EINVAL, "a letter without .to");
    *len = strnlen(letter->to, HF_ADDRESS_MAX + 1);
    const hf_kind_of *kind = hf_types_find(&engine->types, letter->to, *len);
    if (kind && hf_address_key_ok(letter->to, kind->name_len, *len))
        return HF_OK;
    if (kind || !hf_address_ok(letter->to, *len))
        return hf_error(HF_EINVAL, "\"%.255s\" is no address (type/key, at most %d bytes)",
                        letter->to, HF_ADDRESS_MAX);
    return hf_error(HF_ENOTYPE, "%s", letter->to);
}

static int read_word(const hf_letter *letter, hf_entry *e)
{
    size_t len = strnlen(letter->dedupe, HF_NAME_MAX + 1);
    if (!len || len > HF_NAME_MAX)
        return hf_error(HF_EINVAL, ".dedupe is an id of 1 to %d bytes", HF_NAME_MAX);
    if (letter->join)
        return hf_error(HF_EINVAL, ".dedupe does not go with .join: what was taken before "
                                   "does not end again");
    if (letter->to[0] == '@')
        return hf_error(HF_EINVAL, ".dedupe is for one actor, not for a topic");
    e->dedupe = letter->dedupe;
    e->dedupe_len = (uint32_t)len;
    return HF_OK;
}

/* Its kind and body, which every letter has. */
static int plain_contents(const hf_engine *engine, const hf_letter *letter, hf_plain *p)
{
    size_t kind_len = letter->kind ? strnlen(letter->kind, HF_NAME_MAX + 1) : 0;
    if (kind_len > HF_NAME_MAX)
        return hf_error(HF_EINVAL, "kind \"%.20s...\" is longer than %d bytes", letter->kind,
                        HF_NAME_MAX);
    if (letter->body.len > engine->options.body_max)
        return hf_error(HF_ETOOBIG, "%zu bytes to %s, the limit is %u", letter->body.len,
                        letter->to, engine->options.body_max);
    if (letter->body.len && !letter->body.data)
        return hf_error(HF_EINVAL, "a body of %zu bytes at NULL", letter->body.len);
    p->name = letter->kind ? letter->kind : "";
    p->name_len = (uint8_t)kind_len;
    p->data = letter->body;
    return HF_OK;
}

static int plain_letter(const hf_engine *engine, const hf_letter *letter, hf_plain *p,
                        uint32_t *shard)
{
    size_t to_len = 0;
    int err = check_address(engine, letter, &to_len);
    if (!err)
        err = plain_contents(engine, letter, p);
    if (err)
        return err;
    p->to = letter->to;
    p->to_len = (uint8_t)to_len;
    p->hash = hf_address_hash(engine->seed, letter->to, to_len);
    *shard = hf_address_shard(p->hash, engine->shard_count);
    return HF_OK;
}

/* Most letters say no more than that. */
static bool is_plain(const hf_letter *letter)
{
    return !(letter->delay_ms | letter->at | letter->expires_ms | letter->urgency | letter->about
             | letter->join)
        && !letter->conflate && !letter->answer && !letter->dedupe;
}

static int rarer_contents(const hf_engine *engine, const hf_letter *letter, const hf_plain *p,
                          hf_entry *e)
{
    if (letter->urgency > 9)
        return hf_error(HF_EINVAL, ".urgency is 0 to 9, not %u", letter->urgency);
    if (letter->conflate && letter->join)
        return hf_error(HF_EINVAL, ".conflate does not go with .join: what is replaced never ends");
    memset(e, 0, sizeof *e);
    e->op = HF_OP_SEND;
    e->name = p->name;
    e->name_len = p->name_len;
    e->data = p->data;
    e->error = e->from = "";
    e->urgency = letter->urgency;
    if (letter->conflate)
        e->flags = HF_ENTRY_CONFLATES;
    if ((letter->delay_ms | letter->at | letter->expires_ms)
        && hf_timebase_letter(engine, letter, e))
        return HF_EINVAL;
    int err = letter->answer || letter->about ? hf_ask_letter(letter, e) : HF_OK;
    return !err && letter->dedupe ? read_word(letter, e) : err;
}

int hf_letter_contents(const hf_engine *engine, const hf_letter *letter, hf_entry *e)
{
    hf_plain p;
    int err = plain_contents(engine, letter, &p);
    return err ? err : rarer_contents(engine, letter, &p, e);
}

int hf_letter_entry(const hf_engine *engine, const hf_letter *letter, hf_entry *e, uint32_t *shard)
{
    hf_plain p;
    int err = plain_letter(engine, letter, &p, shard);
    if (!err)
        err = rarer_contents(engine, letter, &p, e);
    if (err)
        return err;
    e->to = p.to;
    e->to_len = p.to_len;
    e->hash = p.hash;
    return HF_OK;
}

/* The caller's letters may be of an older, shorter struct. */
static const hf_letter *letter_at(const hf_letter *letters, size_t size, size_t i, hf_letter *copy)
{
    if (size == sizeof *letters)
        return &letters[i];
    memset(copy, 0, sizeof *copy);
    memcpy(copy, (const char *)letters + i * size, size < sizeof *copy ? size : sizeof *copy);
    return copy;
}

static int check_outside(const hf_letter *letter)
{
    if (letter->answer)
        return hf_error(HF_EINVAL, ".answer is for turns; from outside use hf_ask");
    if (letter->join)
        return hf_error(HF_EINVAL, ".join is for turns that call hf_join");
    return HF_OK;
}

/* What one call sends, on its way into a batch. */
typedef struct bundle {
    hf_engine  *engine;
    hf_batch   *batch;
    hf_receipt *receipts; /* NULL: nobody wants them */
    uint64_t    bytes;
    bool        plain;    /* nothing but what letters say themselves goes with them */
} bundle;

enum { TO_A_TOPIC = -1 }; /* of a receipt, until the commit */

static int add_published(bundle *b, const hf_letter *letter, size_t i)
{
    hf_entry e;
    if (b->receipts)
        b->receipts[i] = (hf_receipt){ .err = TO_A_TOPIC };
    int err = hf_topic_letter(b->engine, letter, &e);
    if (!err)
        err = check_outside(letter);
    if (!err && b->batch->ask)
        err = hf_error(HF_EINVAL, "hf_ask: \"%s\" is a topic, nobody in particular", letter->to);
    return err ? err
               : hf_topic_send(b->engine, b->batch, letter->to, &e, BATCH_MAX, &b->bytes,
                               &b->batch->sends);
}

/* It stands in a segment, `from` which byte on, unless err. */
static int added(bundle *b, const hf_segment *s, uint32_t from, size_t i, int err)
{
    b->bytes += s->len - from;
    if (!err && b->bytes > BATCH_MAX)
        err = hf_error(HF_ETOOBIG, "one call may send 16 MiB");
    if (err)
        return err;
    /* Until the commit a receipt holds which of its shard's it is. */
    if (b->receipts)
        b->receipts[i] = (hf_receipt){ .id = s->count - 1, .err = (int)s->shard };
    b->batch->sends++;
    return HF_OK;
}

static int add_plain(bundle *b, const hf_letter *letter, size_t i)
{
    hf_plain p;
    uint32_t shard;
    int err = plain_letter(b->engine, letter, &p, &shard);
    if (err)
        return err;
    hf_segment *s = &b->batch->segments[shard];
    uint32_t from = s->len;
    err = hf_segment_add_plain(s, &p);
    return added(b, s, from, i, err);
}

static int add_rarer(bundle *b, const hf_letter *letter, size_t i)
{
    hf_batch *batch = b->batch;
    hf_entry e;
    uint32_t shard;
    int err = hf_letter_entry(b->engine, letter, &e, &shard);
    if (!err)
        err = check_outside(letter);
    if (err)
        return err;
    if (e.flags & HF_ENTRY_CONFLATES && batch->ask)
        return hf_error(HF_EINVAL, ".conflate is for letters whose end nobody waits for");
    if ((err = hf_inbox_admit(b->engine, &e)))
        return err;
    e.ask = batch->ask;
    e.notes = batch->signature;
    if (batch->more)
        hf_letter_dress(&batch->more[i], &e);
    hf_segment *s = &batch->segments[shard];
    uint32_t from = s->len;
    err = hf_segment_add(s, &e);
    if (!err && e.dedupe_len)
        err = hf_dedupe_note_send(batch, &e, shard, (uint32_t)i);
    return added(b, s, from, i, err);
}

static int add_letters(hf_engine *engine, hf_batch *batch, const hf_letter *letters, size_t count,
                       hf_receipt *receipts)
{
    size_t size = letters[0].size ? letters[0].size : sizeof *letters;
    bundle b = { engine, batch, receipts, 0,
                 !batch->ask && !batch->signature.len && !batch->more
                     && !hf_inboxes_any(engine) };
    int err = HF_OK;
    for (size_t i = 0; !err && i < count; i++) {
        hf_letter copy;
        const hf_letter *letter = letter_at(letters, size, i, &copy);
        if (hf_topic_named(letter->to))
            err = add_published(&b, letter, i);
        else
            err = b.plain && is_plain(letter) ? add_plain(&b, letter, i)
                                              : add_rarer(&b, letter, i);
    }
    return err;
}

int hf_letters_add(hf_engine *engine, hf_batch *batch, const hf_letter *letters, size_t count)
{
    return add_letters(engine, batch, letters, count, NULL);
}

static void fill_receipts(const hf_batch *batch, hf_receipt *receipts, size_t count)
{
    for (size_t i = 0; receipts && i < count; i++) {
        if (receipts[i].err == TO_A_TOPIC) {
            receipts[i].err = HF_OK;
            continue;
        }
        const hf_segment *s = &batch->segments[receipts[i].err];
        receipts[i] = (hf_receipt){ .id = s->base + receipts[i].id, .err = HF_OK };
    }
    if (batch->note_count)
        hf_dedupe_receipts(batch, receipts);
}

static int check_call(const hf_engine *engine, const hf_letter *letters, size_t count)
{
    hf_error_clear();
    int err = hf_engine_check(engine);
    if (err)
        return err;
    if (!letters || !count || count > UINT32_MAX / 64)
        return hf_error(HF_EINVAL, "%zu letters", count);
    return HF_OK;
}

int hf_engine_may_wait(const hf_engine *engine)
{
    const hf_turn *turn = hf_turn_current();
    if (turn && turn->on_shard)
        return hf_error(HF_EDEADLOCK, "a turn on a shard must not wait; use hf_send or hf_post");
    if (hf_callbacks_inside(&engine->callbacks))
        return hf_error(HF_EDEADLOCK, "a callback must not wait; use hf_post");
    return HF_OK;
}

/* ---- Calls that wait */

static int mail(hf_engine *engine, const hf_letter *letters, size_t count, hf_receipt *receipts,
                hf_bytes signature, const hf_letter_more *more)
{
    int err = check_call(engine, letters, count);
    if (!err)
        err = hf_engine_may_wait(engine);
    if (err)
        return err;
    hf_batch *batch = hf_batch_new(engine);
    if (!batch)
        return hf_error(HF_ENOMEM, "a batch");
    batch->outside = true;
    batch->signature = signature;
    batch->more = more;
    err = add_letters(engine, batch, letters, count, receipts);
    bool nobody = !err && hf_batch_is_empty(batch); /* no subscriber */
    if (!err && !nobody)
        err = hf_journal_admit(engine, hf_batch_bytes(batch), HF_NEVER);
    if (!err && !nobody)
        err = hf_journal_wait(engine, batch);
    if (!err)
        fill_receipts(batch, receipts, count);
    if (err == HF_ECONFLICT)
        err = hf_dedupe_explain(batch);
    hf_batch_free(batch);
    return err;
}

int hf_letters_mail(hf_engine *engine, const hf_letter *letters, size_t count,
                    hf_receipt *receipts, hf_bytes signature, const hf_letter_more *more)
{
    hf_engine_enter(engine);
    int err = mail(engine, letters, count, receipts, signature, more);
    hf_engine_leave(engine);
    return err;
}

int hf_mail(hf_engine *engine, const hf_letter *letters, size_t count, hf_receipt *receipts)
{
    return hf_letters_mail(engine, letters, count, receipts, hf_view(NULL, 0), NULL);
}

int hf_tell(hf_engine *engine, const char *to, const char *kind, hf_bytes body)
{
    hf_letter letter = { .size = sizeof letter, .to = to, .kind = kind, .body = body };
    return hf_mail(engine, &letter, 1, NULL);
}

int hf_sync(hf_engine *engine, uint32_t timeout_ms)
{
    hf_error_clear();
    hf_engine_enter(engine);
    int err = hf_engine_check(engine);
    if (!err)
        err = hf_engine_may_wait(engine);
    if (!err)
        err = hf_journal_sync(engine, timeout_ms);
    hf_engine_leave(engine);
    return err;
}

/* ---- Calls that don't */

typedef struct hf_posting {
    hf_callback  callback;
    hf_engine   *engine;
    hf_posted_fn posted;
    void        *user;
    hf_receipt  *receipts;
    size_t       count;
    int          err;
} hf_posting;

static void run_posting(hf_callback *callback)
{
    hf_posting *p = (hf_posting *)callback;
    p->posted(p->user, p->err, p->err ? NULL : p->receipts, p->count);
    hf_mem_free(p->receipts);
    hf_mem_free(p);
}

static void posting_settled(hf_batch *batch, int err)
{
    hf_posting *p = batch->owner;
    if (p) {
        p->err = err;
        if (!err)
            fill_receipts(batch, p->receipts, p->count);
        hf_callbacks_queue(&batch->engine->callbacks, &p->callback);
    }
    hf_batch_free(batch);
}

static hf_posting *posting_new(hf_engine *engine, hf_posted_fn posted, void *user, size_t count)
{
    hf_posting *p = hf_mem_zero(1, sizeof *p);
    hf_receipt *receipts = hf_mem_zero(count, sizeof *receipts);
    if (!p || !receipts) {
        hf_mem_free(p);
        hf_mem_free(receipts);
        return NULL;
    }
    *p = (hf_posting){ .callback = { .run = run_posting }, .engine = engine, .posted = posted,
                       .user = user, .receipts = receipts, .count = count };
    return p;
}

static void posting_free(hf_posting *p)
{
    if (p)
        hf_mem_free(p->receipts);
    hf_mem_free(p);
}

int hf_post(hf_engine *engine, const hf_letter *letters, size_t count, hf_posted_fn posted,
            void *user)
{
    int err = check_call(engine, letters, count);
    if (err)
        return err;
    hf_posting *p = posted ? posting_new(engine, posted, user, count) : NULL;
    hf_batch *batch = hf_batch_new(engine);
    if (!batch || (posted && !p))
        err = hf_error(HF_ENOMEM, "a batch");
    if (!err) {
        batch->outside = true;
        batch->owner = p;
        batch->settled = posting_settled;
        err = add_letters(engine, batch, letters, count, p ? p->receipts : NULL);
    }
    if (!err)
        err = hf_journal_admit(engine, hf_batch_bytes(batch), 0);
    if (!err) {
        if (p)
            hf_callbacks_reserve(&engine->callbacks);
        err = hf_journal_submit(engine, batch);
        if (err && p)
            hf_callbacks_cancel(&engine->callbacks);
    }
    if (err) {
        posting_free(p);
        hf_batch_free(batch);
    }
    return err;
}
