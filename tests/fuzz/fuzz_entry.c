/* fuzz_entry.c - any bytes as an entry of the log, and as a message of a table.
 *
 * What is accepted lies within the bytes, its texts end with a zero, its fields keep
 * to the limits everyone else counts on; written again it is no longer and reads
 * back as the same; cut by a byte it is refused. Sealed as a row it is the message
 * it was, and with one bit flipped, or under another key, it is nothing. And an entry
 * whose fields are made of the input comes back with each of them. */
#include "tests/fuzz/fuzz.h"

#include "storage/row.h"

static void check_text(const char *text, size_t len, size_t most, const uint8_t *at, size_t size)
{
    FUZZ_CHECK(len <= most);
    FUZZ_CHECK(text[len] == 0);
    if (len)
        FUZZ_CHECK(fuzz_within(hf_view(text, len + 1), at, size));
}

static void check_fields(const hf_entry *e, const uint8_t *at, size_t size)
{
    FUZZ_CHECK(e->op >= HF_OP_SEND && e->op < HF_OPS);
    FUZZ_CHECK(fuzz_within(e->data, at, size));
    FUZZ_CHECK(fuzz_within(e->times, at, size));
    FUZZ_CHECK(e->times.len <= HF_TIMES_MAX * 8 && e->times.len % 8 == 0);
    check_text(e->to, e->to_len, HF_ADDRESS_MAX, at, size);
    bool row = e->op == HF_OP_PUT || e->op == HF_OP_DROP;
    check_text(e->name, e->name_len, row ? HF_ROW_NAME_MAX : HF_NAME_MAX, at, size);
    check_text(e->answer, e->answer_len, HF_NAME_MAX, at, size);
    check_text(e->dedupe, e->dedupe_len, HF_NAME_MAX, at, size);
    FUZZ_CHECK(e->urgency <= 9 && e->version <= UINT8_MAX);
    check_text(e->error, e->error_len, HF_ERROR_MAX, at, size);
    check_text(e->from, e->from_len, HF_ADDRESS_MAX, at, size);
    if (e->op == HF_OP_DONE)
        FUZZ_CHECK(!e->to_len && !e->name_len && !e->data.len);
}

static bool same_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return fuzz_same(hf_view(a, a_len), hf_view(b, b_len));
}

static void check_same(const hf_entry *a, const hf_entry *b)
{
    FUZZ_CHECK(a->op == b->op && a->count == b->count && a->hash == b->hash);
    FUZZ_CHECK((a->flags | HF_ENTRY_EXTRA) == (b->flags | HF_ENTRY_EXTRA));
    FUZZ_CHECK(a->id == b->id && a->place == b->place && a->due == b->due);
    FUZZ_CHECK(a->sent == b->sent && a->died == b->died && a->generation == b->generation);
    FUZZ_CHECK(a->attempt == b->attempt && a->phase == b->phase && a->err == b->err);
    FUZZ_CHECK(a->cause == b->cause && a->reason == b->reason);
    FUZZ_CHECK(a->expires == b->expires && a->about == b->about && a->ask == b->ask);
    FUZZ_CHECK(a->join == b->join && a->urgency == b->urgency && a->version == b->version);
    FUZZ_CHECK(same_text(a->answer, a->answer_len, b->answer, b->answer_len));
    FUZZ_CHECK(same_text(a->dedupe, a->dedupe_len, b->dedupe, b->dedupe_len));
    FUZZ_CHECK(fuzz_same(a->data, b->data) && fuzz_same(a->times, b->times));
    FUZZ_CHECK(!a->first.data == !b->first.data && fuzz_same(a->first, b->first));
    FUZZ_CHECK(same_text(a->to, a->to_len, b->to, b->to_len));
    FUZZ_CHECK(same_text(a->name, a->name_len, b->name, b->name_len));
    FUZZ_CHECK(same_text(a->error, a->error_len, b->error, b->error_len));
    FUZZ_CHECK(same_text(a->from, a->from_len, b->from, b->from_len));
}

/* Returns its size; the bytes are the caller's to free. */
static size_t check_round(const hf_entry *e, size_t used, uint8_t **out)
{
    hf_entry again;
    size_t size = hf_entry_size(e);
    FUZZ_CHECK(size <= used);
    uint8_t *one = malloc(size), *two = malloc(size);
    FUZZ_CHECK(one && two);
    FUZZ_CHECK(hf_entry_encode(e, one) == size);
    FUZZ_CHECK(hf_entry_decode(one, size, &again) == size);
    check_fields(&again, one, size);
    check_same(e, &again);
    FUZZ_CHECK(hf_entry_encode(&again, two) == size && memcmp(one, two, size) == 0);
    free(two);
    two = fuzz_copy(one, size - 1);
    FUZZ_CHECK(hf_entry_decode(two, size - 1, &again) == 0);
    free(two);
    *out = one;
    return size;
}

static void check_row(hf_table table, const uint8_t *entry, size_t size, uint64_t number)
{
    hf_entry is, was;
    hf_key key, other;
    hf_rowbuf buf = { 0 };
    hf_key_place(&key, "order/42", 8, number, number >> 1 | 1);
    hf_key_place(&other, "order/42", 8, number, (number >> 1 | 1) + 2);
    FUZZ_CHECK(hf_rowbuf_need(&buf, 8 + size + HF_ROW_EXTRA) == HF_OK);
    hf_put64(buf.bytes + 1, 77);
    memcpy(buf.bytes + 9, entry, size);
    hf_bytes value = hf_row_seal(&buf, 8 + size, table, hf_key_bytes(&key));
    if (entry[1] & HF_ENTRY_SHARES) { /* a row stands alone */
        FUZZ_CHECK(hf_row_message(table, hf_key_bytes(&key), value, &is) == HF_ECORRUPT);
        hf_rowbuf_done(&buf);
        return;
    }
    FUZZ_CHECK(hf_row_message(table, hf_key_bytes(&key), value, &is) == HF_OK);
    FUZZ_CHECK(hf_entry_decode(entry, size, &was) == size);
    if (table == HF_IN_INBOX)
        was.place = number >> 1 | 1;
    was.id = was.id ? was.id : number >> 1 | 1;
    was.sent = was.sent ? was.sent : 77;
    check_same(&was, &is);
    FUZZ_CHECK(hf_row_message(table, hf_key_bytes(&other), value, &is) != HF_OK);
    FUZZ_CHECK(hf_row_message(HF_IN_STATE, hf_key_bytes(&key), value, &is) != HF_OK);
    fuzz_flip(buf.bytes, buf.len, number);
    FUZZ_CHECK(hf_row_message(table, hf_key_bytes(&key), value, &is) != HF_OK);
    hf_rowbuf_done(&buf);
}

/* ---- The other way: fields of the input's making */

typedef struct source {
    const uint8_t *at;
    size_t         left;
} source;

/* Mostly 0, so that entries have some of the rarer fields and not all. */
static uint64_t take(source *s)
{
    uint8_t raw[8] = { 0 };
    if (!s->left)
        return 0;
    size_t width = (size_t)*s->at & 15;
    s->at++, s->left--;
    width = width > 8 ? 0 : width < s->left ? width : s->left;
    memcpy(raw, s->at, width);
    s->at += width, s->left -= width;
    return hf_get64(raw);
}

/* At most `most` bytes of the input, with a zero behind them; freed by the caller. */
static char *take_text(source *s, size_t most, size_t *len)
{
    size_t want = (size_t)take(s) % (most + 1);
    *len = want < s->left ? want : s->left;
    char *text = fuzz_text(s->at, *len);
    s->at += *len, s->left -= *len;
    return text;
}

static void check_made(const uint8_t *data, size_t size)
{
    source s = { data, size };
    hf_entry e = { .op = (uint8_t)(1 + take(&s) % (HF_OPS - 1)), .hash = take(&s) }, back;
    enum { TEXTS = 8 };
    size_t len[TEXTS];
    char *text[TEXTS];
    static const size_t most[TEXTS] = { HF_ADDRESS_MAX - 1, HF_NAME_MAX, 4096, HF_ERROR_MAX,
                                        HF_ADDRESS_MAX, HF_TIMES_MAX * 8, HF_NAME_MAX,
                                        HF_NAME_MAX };
    for (int i = 0; i < TEXTS; i++)
        text[i] = take_text(&s, most[i], &len[i]);
    if (!len[0] || !text[0][0])
        (void)strcpy(text[0] = realloc(text[0], 2), "t"), len[0] = 1;
    e.to = e.name = e.error = e.from = e.answer = e.dedupe = "";
    if (e.op == HF_OP_DONE) {
        e.count = (uint32_t)take(&s);
    } else {
        e.flags = (uint8_t)take(&s) & (HF_ENTRY_STEPS | HF_ENTRY_PURGES);
        e.to = text[0], e.to_len = (uint8_t)len[0];
        e.name = text[1], e.name_len = (uint8_t)len[1];
        e.data = hf_view(text[2], len[2]);
        e.error = text[3], e.error_len = (uint32_t)len[3];
        e.from = text[4], e.from_len = (uint32_t)len[4];
        e.times = hf_view(text[5], len[5] & ~(size_t)7);
        e.id = take(&s), e.place = take(&s), e.due = take(&s), e.sent = take(&s);
        e.died = take(&s), e.generation = take(&s), e.attempt = (uint32_t)take(&s);
        e.phase = (uint32_t)take(&s), e.err = (int)(uint32_t)take(&s);
        e.cause = (uint32_t)take(&s), e.reason = (uint32_t)take(&s);
        e.expires = take(&s), e.about = take(&s), e.ask = take(&s), e.join = take(&s);
        e.urgency = (uint32_t)take(&s) % 10, e.version = (uint8_t)take(&s);
        e.answer = text[6], e.answer_len = (uint32_t)len[6];
        e.dedupe = text[7], e.dedupe_len = (uint32_t)len[7];
    }
    uint8_t *bytes = malloc(hf_entry_size(&e));
    FUZZ_CHECK(bytes && hf_entry_encode(&e, bytes) == hf_entry_size(&e));
    FUZZ_CHECK(hf_entry_decode(bytes, hf_entry_size(&e), &back) == hf_entry_size(&e));
    check_same(&e, &back);
    free(bytes);
    for (int i = 0; i < TEXTS; i++)
        free(text[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_entry e;
    uint8_t *bytes;
    size_t used = hf_entry_decode(data, size, &e);
    check_made(data, size);
    (void)hf_row_message(HF_IN_INBOX, hf_str("anything"), hf_view(data, size), &e);
    if (!used)
        return 0;
    FUZZ_CHECK(used <= size && used % 16 == 0);
    FUZZ_CHECK(hf_entry_decode(data, used, &e) == used); /* looks at no byte behind it */
    check_fields(&e, data, used);
    size_t made = check_round(&e, used, &bytes);
    uint64_t number = fuzz_number(data, size);
    check_row(number & 1 ? HF_IN_INBOX : HF_IN_DEAD, bytes, made, number >> 1);
    free(bytes);
    return 0;
}
