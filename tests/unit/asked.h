/* asked.h - a question about an open disk, and all rows of its answer. For one test
 * program, in its one .c file. */
#ifndef UNIT_ASKED_H
#define UNIT_ASKED_H

#include "tests/unit/full_set.h"
#include "tests/unit/one_argument.h"

#include "recovery/arguments.h"
#include "recovery/change.h"

#include "storage/error.h"
#include "storage/memory.h"

enum { ASKED_ROWS = 4096 };

static struct {
    hf_disk         *disk;
    const hf_living *living;
    hf_out           rows[ASKED_ROWS];
    size_t           count; /* of them; the last one says how it ended */
    int              stop;  /* what whoever takes the rows answers */
} asked;

static inline int asked_keep(void *user, hf_bytes row)
{
    (void)user;
    assert_true(asked.count < ASKED_ROWS);
    hf_out *out = &asked.rows[asked.count++];
    hf_out_clear(out);
    hf_out_raw(out, NULL, row);
    return asked.stop;
}

static inline hf_inquiry asked_inquiry(void)
{
    asked.count = 0;
    return (hf_inquiry){ .disk = asked.disk, .living = asked.living,
                         .source = asked.living ? "engine" : "disk", .each = asked_keep };
}

static inline int asked_of(const char *question, hf_bytes arguments)
{
    hf_inquiry i = asked_inquiry();
    return hf_inquire(&i, question, arguments);
}

static inline hf_argument asked_field(size_t row, const char *name, hf_argument_type type)
{
    hf_argument a = { .name = name, .type = type };
    assert_true(row < asked.count);
    assert_int_equal(hf_arguments_known("row", hf_out_bytes(&asked.rows[row]), &a, 1), HF_OK);
    return a;
}

static inline uint64_t asked_number(size_t row, const char *name)
{
    return asked_field(row, name, HF_ARG_UINT).number;
}

static inline bool asked_truth(size_t row, const char *name)
{
    return asked_field(row, name, HF_ARG_BOOL).number;
}

/* "" if the row has no such field. */
static inline const char *asked_text(size_t row, const char *name)
{
    static char text[4][1100];
    static int turn;
    hf_argument a = asked_field(row, name, HF_ARG_TEXT);
    char *out = text[turn++ % 4];
    (void)snprintf(out, sizeof text[0], HF_FMT, HF_ARG(a.bytes));
    return a.given ? out : "";
}

static inline void asked_says(const char *words)
{
    if (!strstr(hf_error_detail(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, hf_error_detail());
}

/* It is refused with that code, and those words say why. */
static inline void asked_refuses(const char *question, hf_bytes arguments, int err,
                                 const char *words)
{
    assert_int_equal(asked_of(question, arguments), err);
    asked_says(words);
    assert_int_equal(asked.count, 0);
}

static inline void asked_done(void)
{
    for (size_t i = 0; i < ASKED_ROWS; i++)
        hf_out_done(&asked.rows[i]);
    hf_out_done(&args);
}

/* An argument and another: a text (NULL: none) and a number. */
static inline hf_bytes text_and_number(const char *name, const char *text, const char *other,
                                       uint64_t number)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    if (text)
        hf_out_text(&args, name, hf_str(text));
    if (other)
        hf_out_uint(&args, other, number);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

/* Put a row with a checksum of its own. */
static inline void asked_put(hf_txn *txn, hf_table table, const hf_key *key, const void *payload,
                             size_t len)
{
    hf_rowbuf buf = { 0 };
    CORE_OK(hf_row_put(txn, table, key, hf_view(payload, len), &buf));
    hf_rowbuf_done(&buf);
}

#endif
