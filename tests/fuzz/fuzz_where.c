/* fuzz_where.c - any text as a selection of messages (`--where`).
 *
 * An accepted text in brackets, twice joined to itself, or negated twice selects the same;
 * negated, the opposite. What it fixes a field to, every message that it selects has. A
 * refused text names a byte of itself and says why. */
#include "tests/fuzz/fuzz.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/where_terms.h"

#include "storage/error.h"

enum { SAMPLES = 4 };

/* Made to measure: the first terms' own values. */
static hf_message sample(const hf_where *where, uint32_t number, char *to, char *word)
{
    static const char body[] = "\x82\xa1"
                               "a\x92\x01\xa1"
                               "x\xa1"
                               "b\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18";
    hf_message m = { .to = "order/1", .kind = "", .from = "", .error = "", .id = number,
                     .status = (hf_status)(number % 8), .sent = number * 1000,
                     .due = number & 1 ? number : 0, .body = hf_view(body, sizeof body - 1) };
    for (uint32_t i = 0; i < where->count; i++) {
        const hf_where_value *v = &where->values[where->terms[i].first];
        size_t len = v->text.len < 60 ? v->text.len : 60;
        hf_where_field field = where->terms[i].field;
        if (field == HF_BY_ACTOR || field == HF_BY_TYPE) {
            memcpy(to, v->text.data, len);
            strcpy(to + len, field == HF_BY_TYPE ? "/1" : "");
            m.to = to;
        } else if (field == HF_BY_KIND || field == HF_BY_ERROR || field == HF_BY_FROM) {
            memcpy(word, v->text.data, len);
            word[len] = 0;
            *(field == HF_BY_KIND ? &m.kind : field == HF_BY_ERROR ? &m.error : &m.from) = word;
        } else if (field == HF_BY_ID) {
            m.id = v->from - (number & 1);
        } else if (field == HF_BY_STATUS) {
            m.status = (hf_status)v->from;
        } else if (field == HF_BY_DUE) {
            m.due = v->from + (number & 1) * v->span;
        }
    }
    return m;
}

/* The text with something around it: the same, or with `not` the opposite. */
static void check_around(const hf_where *where, const char *text, const char *before,
                         const char *after, bool opposite)
{
    size_t len = strlen(text), size = 2 * len + 64;
    char *whole = malloc(size), to[70], word[70];
    hf_where *other = NULL;
    FUZZ_CHECK(whole);
    (void)snprintf(whole, size, "%s%s%s", before, text, after);
    if (hf_where_parse(&other, whole, NULL) == HF_OK) {
        for (uint32_t i = 0; i < SAMPLES; i++) {
            hf_message m = sample(where, i, to, word);
            bool is = hf_where_match(where, &m, i);
            other->now = where->now;
            FUZZ_CHECK(hf_where_match(other, &m, i) == (is != opposite));
        }
        hf_where_free(other);
    } else { /* only for being too much */
        FUZZ_CHECK(where->count * 2 > HF_WHERE_TERMS_MAX
                   || where->value_count * 2 > HF_WHERE_VALUES_MAX
                   || where->length * 2 + 3 > HF_WHERE_PROGRAM_MAX
                   || strstr(hf_error_detail(), "brackets"));
    }
    free(whole);
}

static void check_fixed(const hf_where *where)
{
    char to[70], word[70];
    for (uint32_t i = 0; i < SAMPLES; i++) {
        hf_message m = sample(where, i, to, word);
        hf_bytes text;
        uint64_t number;
        if (!hf_where_match(where, &m, i))
            continue;
        if (hf_where_fixes(where, HF_BY_ID, NULL, &number))
            FUZZ_CHECK(m.id == number);
        if (hf_where_fixes(where, HF_BY_STATUS, NULL, &number))
            FUZZ_CHECK((uint64_t)m.status == number);
        if (hf_where_fixes(where, HF_BY_ACTOR, &text, NULL))
            FUZZ_CHECK(fuzz_same(text, hf_str(m.to)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_where *where = NULL;
    char *text = fuzz_text(data, size);
    size_t column = SIZE_MAX;
    int err = hf_where_parse(&where, text, &column);
    FUZZ_CHECK(hf_where_check(text, NULL) == err);
    if (err) {
        FUZZ_CHECK(err == HF_EINVAL && !where && column <= strlen(text));
        FUZZ_CHECK(*hf_error_detail());
    } else {
        FUZZ_CHECK(where && where->count > 0 && where->count <= HF_WHERE_TERMS_MAX);
        size_t len = strlen(text);
        char *twice = malloc(len + 16);
        FUZZ_CHECK(twice);
        (void)snprintf(twice, len + 16, ") and (%s)", text);
        check_around(where, text, "(", ")", false);
        check_around(where, text, "not (", ")", true);
        check_around(where, text, "not not(", ")", false);
        check_around(where, text, "(", twice, false);
        check_fixed(where);
        free(twice);
        hf_where_free(where);
    }
    free(text);
    return 0;
}
