/* fuzz_where.c - any text as a selection of messages (`--where`).
 *
 * The parser is built into this program, so that its terms can be seen. An accepted
 * text, printed from its terms, is accepted again and gives the same terms; both
 * select the same messages, and one made to measure is selected. A refused text
 * names a byte of itself and says why. */
#include "tests/fuzz/fuzz.h"

#include "recovery/where.c" /* its terms are its own */

#include "tools/buffer.h"

static void print_term(cli_buffer *out, const hf_where_term *term)
{
    const char *text = term->text.data;
    for (size_t i = 0; i < COUNT(fields); i++)
        if (fields[i].field == term->field)
            cli_buffer_text(out, fields[i].name);
    cli_buffer_text(out, " = \"");
    for (size_t i = 0; i < term->text.len; i++) {
        if (text[i] == '"' || text[i] == '\\')
            cli_buffer_byte(out, '\\');
        cli_buffer_byte(out, (uint8_t)text[i]);
    }
    cli_buffer_byte(out, '"');
}

static char *print_where(const hf_where *where)
{
    cli_buffer out = { 0 };
    for (size_t i = 0; i < where->count; i++) {
        if (i)
            cli_buffer_text(&out, " and ");
        print_term(&out, &where->terms[i]);
    }
    cli_buffer_byte(&out, 0);
    return (char *)out.data;
}

static void check_same(const hf_where *a, const hf_where *b)
{
    FUZZ_CHECK(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        const hf_where_term *x = &a->terms[i], *y = &b->terms[i];
        FUZZ_CHECK(x->field == y->field && x->from == y->from && x->span == y->span);
        FUZZ_CHECK(fuzz_same(x->text, y->text));
    }
}

/* A message that fits every term, unless two of them want different things. */
typedef struct wish {
    hf_message msg;
    uint64_t   died;
    char      *texts[TERMS_MAX];
    size_t     count;
    bool       cannot;
} wish;

static const char *keep(wish *w, hf_bytes text)
{
    return w->texts[w->count++] = fuzz_text(text.data, text.len);
}

static void grant(wish *w, const hf_where_term *term)
{
    hf_message *m = &w->msg;
    switch (term->field) {
    case HF_BY_ID: m->id = term->from; break;
    case HF_BY_TYPE: /* of an actor that a later term names */
        m->to = keep(w, term->text);
        w->cannot |= strchr(m->to, '/') != NULL;
        break;
    case HF_BY_ACTOR: m->to = keep(w, term->text); break;
    case HF_BY_KIND: m->kind = keep(w, term->text); break;
    case HF_BY_STATUS: m->status = (hf_status)term->from; break;
    case HF_BY_ATTEMPTS: m->attempt = (uint32_t)term->from; break;
    case HF_BY_ERROR: m->error = keep(w, term->text); break;
    case HF_BY_FROM: m->from = keep(w, term->text); break;
    case HF_BY_DIED:
        w->died = term->from;
        w->cannot |= !w->died;
        break;
    case HF_BY_DUE:
        m->due = term->from;
        w->cannot |= !m->due;
        break;
    }
}

static void check_selects(const hf_where *where, const hf_where *again)
{
    for (size_t i = 0; i < where->count; i++) {
        wish w = { .msg = { .to = "", .kind = "", .from = "", .error = "" } };
        grant(&w, &where->terms[i]);
        FUZZ_CHECK(w.cannot || match_term(&where->terms[i], &w.msg, w.died));
        FUZZ_CHECK(hf_where_match(where, &w.msg, w.died) == hf_where_match(again, &w.msg, w.died));
        if (where->count == 1)
            FUZZ_CHECK(w.cannot || hf_where_match(where, &w.msg, w.died));
        while (w.count)
            free(w.texts[--w.count]);
    }
}

static void check_fixed(const hf_where *where)
{
    for (int field = HF_BY_ID; field <= HF_BY_DUE; field++) {
        hf_bytes text = hf_view(NULL, 0);
        uint64_t number = 0;
        bool there = false;
        for (size_t i = 0; i < where->count; i++)
            there |= where->terms[i].field == (hf_where_field)field;
        bool fixed = hf_where_fixes(where, (hf_where_field)field, &text, &number);
        FUZZ_CHECK(fixed == (there && field != HF_BY_DIED && field != HF_BY_DUE));
        FUZZ_CHECK(!fixed || text.data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_where *where = NULL, *again = NULL;
    char *text = fuzz_text(data, size), *printed;
    size_t column = SIZE_MAX;
    int err = hf_where_parse(&where, text, &column);
    FUZZ_CHECK(hf_where_check(text, NULL) == err);
    if (err) {
        FUZZ_CHECK(err == HF_EINVAL && !where && column <= strlen(text));
        FUZZ_CHECK(*hf_error_detail());
    } else {
        FUZZ_CHECK(where && where->count > 0 && where->count <= TERMS_MAX);
        printed = print_where(where);
        FUZZ_CHECK(hf_where_parse(&again, printed, NULL) == HF_OK);
        check_same(where, again);
        check_selects(where, again);
        check_fixed(where);
        hf_where_free(again);
        hf_where_free(where);
        free(printed);
    }
    free(text);
    return 0;
}
