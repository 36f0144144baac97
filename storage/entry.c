/* entry.c - entries to bytes and back.
 *
 * Encoding trusts its caller (sizes were checked when the call was made);
 * decoding trusts nobody: each length is checked against the bytes that are
 * left, each string against its final zero. Pure functions; any thread. */
#include "storage/entry.h"

#include "storage/address.h"
#include "storage/assert.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    TAG_ID = 1, TAG_PLACE, TAG_DUE, TAG_SENT, TAG_DIED, TAG_GENERATION,
    TAG_ATTEMPT, TAG_PHASE, TAG_ERR, TAG_CAUSE, TAG_REASON,
    TAG_EXPIRES, TAG_ABOUT, TAG_ASK, TAG_JOIN, TAG_URGENCY, TAG_BACK, TAG_VERSION,
    TAG_REPLACED, TAG_PARENT, TAG_TOOK, TAG_FIRST,
    TAG_TEXT = 64, TAG_ERROR = TAG_TEXT, TAG_FROM, TAG_TIMES, TAG_ANSWER, TAG_DEDUPE, TAG_NOTES,
};

/* The rarer fields, 16 bytes of them at a time; the version lies behind them. */
typedef uint64_t rarer __attribute__((vector_size(16), aligned(8), may_alias));
enum { RARER_AT = offsetof(hf_entry, id), RARER_END = offsetof(hf_entry, version) };
_Static_assert((RARER_END - RARER_AT) % sizeof(rarer) == 0, "no gap before the version");
_Static_assert(RARER_END + 4 >= sizeof(hf_entry) - 4, "nothing behind the version");

/* Messages of outside senders and states, the bulk of all entries, have none of the
 * rarer fields, so this is asked first and costs one branch. */
static bool is_plain(const hf_entry *e)
{
    const rarer *at = (const rarer *)(const void *)&e->id;
    rarer any = at[0];
    for (size_t i = 1; i < (RARER_END - RARER_AT) / sizeof *at; i++)
        any |= at[i];
    return !(any[0] | any[1] | e->version);
}

static bool is_whole(uint8_t op)
{
    return hf_entry_is_message(op) || op == HF_OP_REQUEUE || op == HF_OP_DEAD;
}

/* One more than the bytes of its first body; 0: it was never edited, or no whole message. */
static uint64_t first_mark(const hf_entry *e)
{
    return is_whole(e->op) && e->first.data ? e->first.len + 1 : 0;
}

/* All bytes of data on disk. */
static size_t data_size(const hf_entry *e)
{
    return e->data.len + (e->first.data && first_mark(e) ? e->first.len : 0);
}

static size_t number_size(uint64_t value)
{
    return value ? 1 + 8 : 0;
}

static size_t text_size(size_t len)
{
    return len ? 1 + 2 + len + 1 : 0;
}

static size_t extra_size(const hf_entry *e)
{
    if (is_plain(e))
        return 0;
    return number_size(e->id) + number_size(e->place) + number_size(e->due) + number_size(e->sent)
        + number_size(e->died) + number_size(e->generation) + number_size(e->attempt)
        + number_size(e->phase) + number_size((uint32_t)e->err) + number_size(e->cause)
        + number_size(e->reason) + number_size(e->expires) + number_size(e->about)
        + number_size(e->ask) + number_size(e->join) + number_size(e->urgency)
        + number_size(e->back) + number_size(e->version) + number_size(e->replaced)
        + number_size(e->parent) + number_size(e->took) + number_size(first_mark(e))
        + text_size(e->error_len)
        + text_size(e->from_len) + text_size(e->times.len) + text_size(e->answer_len)
        + text_size(e->dedupe_len) + text_size(e->notes.len);
}

size_t hf_entry_size(const hf_entry *e)
{
    size_t size = HF_ENTRY_HEAD + data_size(e);
    size += e->to_len ? e->to_len + 1u : 0;
    size += e->name_len ? e->name_len + 1u : 0;
    size_t extra = extra_size(e);
    size += extra ? 2 + extra : 0;
    return (size + 15) & ~(size_t)15;
}

static uint8_t *put_number(uint8_t *at, uint8_t tag, uint64_t value)
{
    if (!value)
        return at;
    *at = tag;
    hf_put64(at + 1, value);
    return at + 1 + 8;
}

static uint8_t *put_text(uint8_t *at, uint8_t tag, const void *text, size_t len)
{
    if (!len)
        return at;
    *at = tag;
    hf_put16(at + 1, (uint16_t)len);
    memcpy(at + 3, text, len);
    at[3 + len] = 0;
    return at + 3 + len + 1;
}

/* In the order of their tags. */
static uint8_t *put_extra(const hf_entry *e, uint8_t *at, size_t extra)
{
    HF_ASSERT(extra <= UINT16_MAX);
    hf_put16(at, (uint16_t)extra);
    at = put_number(at + 2, TAG_ID, e->id);
    at = put_number(at, TAG_PLACE, e->place);
    at = put_number(at, TAG_DUE, e->due);
    at = put_number(at, TAG_SENT, e->sent);
    at = put_number(at, TAG_DIED, e->died);
    at = put_number(at, TAG_GENERATION, e->generation);
    at = put_number(at, TAG_ATTEMPT, e->attempt);
    at = put_number(at, TAG_PHASE, e->phase);
    at = put_number(at, TAG_ERR, (uint64_t)(int64_t)e->err);
    at = put_number(at, TAG_CAUSE, e->cause);
    at = put_number(at, TAG_REASON, e->reason);
    at = put_number(at, TAG_EXPIRES, e->expires);
    at = put_number(at, TAG_ABOUT, e->about);
    at = put_number(at, TAG_ASK, e->ask);
    at = put_number(at, TAG_JOIN, e->join);
    at = put_number(at, TAG_URGENCY, e->urgency);
    at = put_number(at, TAG_BACK, e->back);
    at = put_number(at, TAG_VERSION, e->version);
    at = put_number(at, TAG_REPLACED, e->replaced);
    at = put_number(at, TAG_PARENT, e->parent);
    at = put_number(at, TAG_TOOK, e->took);
    at = put_number(at, TAG_FIRST, first_mark(e));
    at = put_text(at, TAG_ERROR, e->error, e->error_len);
    at = put_text(at, TAG_FROM, e->from, e->from_len);
    at = put_text(at, TAG_TIMES, e->times.data, e->times.len);
    at = put_text(at, TAG_ANSWER, e->answer, e->answer_len);
    at = put_text(at, TAG_DEDUPE, e->dedupe, e->dedupe_len);
    return put_text(at, TAG_NOTES, e->notes.data, e->notes.len);
}

static uint8_t *put_string(uint8_t *at, const char *text, uint8_t len)
{
    if (!len)
        return at;
    memcpy(at, text, len);
    at[len] = 0;
    return at + len + 1;
}

/* Zeros up to the next entry. Returns the size of this one. */
static size_t pad(const uint8_t *start, uint8_t *end)
{
    size_t used = (size_t)(end - start), size = (used + 15) & ~(size_t)15;
    memset(end, 0, size - used);
    return size;
}

size_t hf_entry_encode(const hf_entry *e, uint8_t *at)
{
    uint8_t *start = at;
    size_t extra = extra_size(e);
    at[0] = e->op;
    at[1] = (uint8_t)((e->flags & ~HF_ENTRY_EXTRA) | (extra ? HF_ENTRY_EXTRA : 0));
    at[2] = e->to_len;
    at[3] = e->name_len;
    hf_put32(at + 4, e->op == HF_OP_DONE ? e->count : (uint32_t)data_size(e));
    hf_put64(at + 8, e->hash);
    at += HF_ENTRY_HEAD;
    if (e->data.len) {
        memcpy(at, e->data.data, e->data.len);
        at += e->data.len;
    }
    if (e->first.len && first_mark(e)) {
        memcpy(at, e->first.data, e->first.len);
        at += e->first.len;
    }
    at = put_string(at, e->to, e->to_len);
    at = put_string(at, e->name, e->name_len);
    if (extra)
        at = put_extra(e, at, extra);
    return pad(start, at);
}

size_t hf_plain_size(const hf_plain *p)
{
    size_t size = HF_ENTRY_HEAD + p->data.len + p->to_len + 1;
    size += p->name_len ? p->name_len + 1u : 0;
    return (size + 15) & ~(size_t)15;
}

size_t hf_plain_encode(const hf_plain *p, uint8_t *at)
{
    uint8_t *start = at;
    at[0] = HF_OP_SEND;
    at[1] = 0;
    at[2] = p->to_len;
    at[3] = p->name_len;
    hf_put32(at + 4, (uint32_t)p->data.len);
    hf_put64(at + 8, p->hash);
    at += HF_ENTRY_HEAD;
    if (p->data.len)
        memcpy(at, p->data.data, p->data.len);
    at = put_string(at + p->data.len, p->to, p->to_len);
    at = put_string(at, p->name, p->name_len);
    return pad(start, at);
}

static void set_number(hf_entry *e, uint8_t tag, uint64_t value)
{
    switch (tag) {
    case TAG_ID: e->id = value; break;
    case TAG_PLACE: e->place = value; break;
    case TAG_DUE: e->due = value; break;
    case TAG_SENT: e->sent = value; break;
    case TAG_DIED: e->died = value; break;
    case TAG_GENERATION: e->generation = value; break;
    case TAG_ATTEMPT: e->attempt = (uint32_t)value; break;
    case TAG_PHASE: e->phase = (uint32_t)value; break;
    case TAG_ERR: e->err = (int)(int64_t)value; break;
    case TAG_CAUSE: e->cause = (uint32_t)value; break;
    case TAG_REASON: e->reason = (uint32_t)value; break;
    case TAG_EXPIRES: e->expires = value; break;
    case TAG_ABOUT: e->about = value; break;
    case TAG_ASK: e->ask = value; break;
    case TAG_JOIN: e->join = value; break;
    case TAG_URGENCY: e->urgency = value > 9 ? 9 : (uint32_t)value; break;
    case TAG_BACK: e->back = (uint32_t)value; break;
    case TAG_REPLACED: e->replaced = (uint32_t)value; break;
    case TAG_PARENT: e->parent = value; break;
    case TAG_TOOK: e->took = value; break;
    case TAG_FIRST: e->first.len = value; break; /* one more, until it is found */
    case TAG_VERSION: e->version = (uint32_t)value & 0xff; break;
    default: break; /* of a later minor version: not ours to judge */
    }
}

/* What a writer keeps to and a reader has room for. */
static uint16_t most_text(uint8_t tag)
{
    switch (tag) {
    case TAG_ERROR: return HF_ERROR_MAX;
    case TAG_FROM: return HF_ADDRESS_MAX;
    case TAG_TIMES: return HF_TIMES_MAX * 8;
    case TAG_ANSWER: return HF_ANSWER_MAX;
    case TAG_DEDUPE: return HF_NAME_MAX;
    case TAG_NOTES: return HF_NOTES_MAX;
    default: return UINT16_MAX;
    }
}

/* Rows of tables have keys made of these. */
static bool names_fit(const hf_entry *e)
{
    bool nobody = e->op == HF_OP_PURGE || e->op == HF_OP_STEP; /* known by the message */
    bool row = e->op == HF_OP_PUT || e->op == HF_OP_DROP;
    return (e->to_len || nobody) && e->name_len <= (row ? HF_ROW_NAME_MAX : HF_NAME_MAX);
}

static int set_text(hf_entry *e, uint8_t tag, const uint8_t *text, uint16_t len)
{
    if (text[len] != 0 || len > most_text(tag))
        return 0;
    if (tag == TAG_ERROR) {
        e->error = (const char *)text;
        e->error_len = len;
    } else if (tag == TAG_FROM) {
        e->from = (const char *)text;
        e->from_len = len;
    } else if (tag == TAG_TIMES) {
        e->times = hf_view(text, len);
        return len % 8 == 0;
    } else if (tag == TAG_ANSWER) {
        e->answer = (const char *)text;
        e->answer_len = len;
    } else if (tag == TAG_DEDUPE) {
        e->dedupe = (const char *)text;
        e->dedupe_len = len;
    } else if (tag == TAG_NOTES) {
        e->notes = hf_view(text, len);
    }
    return 1;
}

static int get_extra(hf_entry *e, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        size_t left = (size_t)(end - at);
        uint8_t tag = *at;
        if (tag < TAG_TEXT) {
            if (left < 9)
                return 0;
            set_number(e, tag, hf_get64(at + 1));
            at += 9;
        } else {
            if (left < 4)
                return 0;
            uint16_t len = hf_get16(at + 1);
            if (left < (size_t)len + 4 || !set_text(e, tag, at + 3, len))
                return 0;
            at += len + 4;
        }
    }
    return 1;
}

/* The first body lies behind the newest one. */
static bool find_first(hf_entry *e)
{
    size_t mark = e->first.len;
    e->first = hf_view(NULL, 0);
    if (!mark || !is_whole(e->op))
        return true;
    if (mark - 1 > e->data.len)
        return false;
    e->data.len -= mark - 1;
    e->first = hf_view((const uint8_t *)e->data.data + e->data.len, mark - 1);
    return true;
}

/* A string of `len` bytes and its zero; "" for none. NULL: not there. */
static const char *get_string(const uint8_t **at, size_t *left, uint8_t len)
{
    if (!len)
        return "";
    const char *text = (const char *)*at;
    if (*left < len + 1u || text[len] != 0)
        return NULL;
    *at += len + 1u;
    *left -= len + 1u;
    return text;
}

size_t hf_entry_decode(const uint8_t *at, size_t left, hf_entry *e)
{
    const uint8_t *start = at;
    if (left < HF_ENTRY_HEAD || at[0] < HF_OP_SEND || at[0] >= HF_OPS)
        return 0;
    memset(e, 0, sizeof *e);
    e->op = at[0];
    e->flags = at[1];
    e->to_len = at[2];
    e->name_len = at[3];
    e->hash = hf_get64(at + 8);
    e->error = e->from = e->answer = e->dedupe = e->to = e->name = "";
    uint32_t len = hf_get32(at + 4);
    at += HF_ENTRY_HEAD;
    left -= HF_ENTRY_HEAD;
    if (e->op == HF_OP_DONE) {
        e->count = len;
        return e->to_len || e->name_len || e->flags & HF_ENTRY_EXTRA ? 0 : HF_ENTRY_HEAD;
    }
    if (left < len || !names_fit(e))
        return 0;
    e->data = hf_view(at, len);
    at += len;
    left -= len;
    if (!(e->to = get_string(&at, &left, e->to_len))
        || !(e->name = get_string(&at, &left, e->name_len)) || (e->to_len && !*e->to))
        return 0;
    if (e->flags & HF_ENTRY_EXTRA) {
        uint16_t extra = left >= 2 ? hf_get16(at) : 0;
        if (left < 2 || left - 2 < extra || !get_extra(e, at + 2, at + 2 + extra)
            || !find_first(e))
            return 0;
        at += 2 + extra;
        left -= 2u + extra;
    }
    size_t pad = (16 - ((size_t)(at - start) & 15)) & 15;
    return left < pad ? 0 : (size_t)(at - start) + pad;
}
