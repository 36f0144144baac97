/* where.c - parse and evaluate a selection of messages.
 *
 *   where = term { "and" term }
 *   term  = field "=" value
 *   value = bare word up to a space | "…" | '…'   (\ escapes inside quotes)
 *
 * Happy path: hf_where_parse walks the text once and leaves an array of terms,
 * each with its value as text and, where the field is a number, a status or a
 * time, as a span of numbers; hf_where_match compares a message with each.
 *
 * Fails with HF_EINVAL and the byte at which the text stops making sense; the
 * detail lists what could stand there. Runs on any thread, keeps no state. */
#include "recovery/where.h"
#include "recovery/holdfast_recovery.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

enum { TERMS_MAX = 32, WORD_MAX = 32 };

#define DAY_MS UINT64_C(86400000)

typedef struct hf_where_term {
    hf_where_field field;
    hf_bytes       text;
    uint64_t       from, span; /* numbers from .. from + span - 1 match */
} hf_where_term;

struct hf_where {
    size_t        count;
    hf_where_term terms[TERMS_MAX];
    char          text[]; /* the values, unescaped */
};

typedef struct hf_where_reader {
    const char *text;
    size_t      at;   /* next byte to read */
    size_t      from; /* where the thing being read began */
    char       *room; /* where the next value goes */
} hf_where_reader;

static const struct {
    const char    *name;
    hf_where_field field;
} fields[] = {
    { "id", HF_BY_ID },         { "type", HF_BY_TYPE },         { "actor", HF_BY_ACTOR },
    { "kind", HF_BY_KIND },     { "status", HF_BY_STATUS },     { "attempts", HF_BY_ATTEMPTS },
    { "error", HF_BY_ERROR },   { "from", HF_BY_FROM },         { "died", HF_BY_DIED },
    { "due", HF_BY_DUE },
};

static const struct {
    const char *name;
    hf_status   status;
} statuses[] = {
    { "waiting", HF_WAITING }, { "delayed", HF_DELAYED }, { "retrying", HF_RETRYING },
    { "held", HF_HELD },       { "paused", HF_PAUSED },   { "running", HF_RUNNING },
    { "dead", HF_DEAD },       { "done", HF_DONE },
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool same(hf_bytes text, const char *other)
{
    size_t len = strlen(other);
    return text.len == len && (len == 0 || memcmp(text.data, other, len) == 0);
}

static void skip_spaces(hf_where_reader *reader)
{
    while (is_space(reader->text[reader->at]))
        reader->at++;
    reader->from = reader->at;
}

/* A run of lower-case letters and `_`, lent; empty if none stands here. */
static hf_bytes read_word(hf_where_reader *reader)
{
    skip_spaces(reader);
    const char *start = reader->text + reader->at;
    size_t len = 0;
    while ((start[len] >= 'a' && start[len] <= 'z') || start[len] == '_')
        len++;
    reader->at += len;
    return hf_view(start, len);
}

static int read_field(hf_where_reader *reader, hf_where_field *field)
{
    hf_bytes word = read_word(reader);
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (same(word, fields[i].name)) {
            *field = fields[i].field;
            return HF_OK;
        }
    }
    const char *known = "id type actor kind status attempts error from died due";
    if (word.len == 0)
        return hf_error(HF_EINVAL, "a field is missing here; fields: %s", known);
    int shown = word.len > WORD_MAX ? WORD_MAX : (int)word.len;
    return hf_error(HF_EINVAL, "no field is called '%.*s'; fields: %s", shown,
                    (const char *)word.data, known);
}

static int read_operator(hf_where_reader *reader)
{
    skip_spaces(reader);
    if (reader->text[reader->at] != '=')
        return hf_error(HF_EINVAL, "'=' is missing here");
    reader->at++;
    return HF_OK;
}

static int read_quoted(hf_where_reader *reader, hf_bytes *value)
{
    char quote = reader->text[reader->at++];
    char *out = reader->room;
    for (;;) {
        char c = reader->text[reader->at];
        if (c == 0)
            return hf_error(HF_EINVAL, "the value that begins here lacks its closing %c", quote);
        reader->at++;
        if (c == quote)
            break;
        if (c == '\\' && reader->text[reader->at] != 0)
            c = reader->text[reader->at++];
        *out++ = c;
    }
    *value = hf_view(reader->room, (size_t)(out - reader->room));
    reader->room = out;
    char next = reader->text[reader->at];
    if (next != 0 && !is_space(next)) {
        reader->from = reader->at;
        return hf_error(HF_EINVAL, "a space is missing after the value");
    }
    return HF_OK;
}

static int read_value(hf_where_reader *reader, hf_bytes *value)
{
    skip_spaces(reader);
    const char *start = reader->text + reader->at;
    if (*start == '"' || *start == '\'')
        return read_quoted(reader, value);
    size_t len = 0;
    while (start[len] != 0 && !is_space(start[len]))
        len++;
    if (len == 0 || same(hf_view(start, len), "and"))
        return hf_error(HF_EINVAL, "a value is missing here");
    if (strchr("=<>~!(", *start) != NULL)
        return hf_error(HF_EINVAL, "only '=' compares; put a value that begins with %c in quotes",
                        *start);
    memcpy(reader->room, start, len);
    *value = hf_view(reader->room, len);
    reader->room += len;
    reader->at += len;
    return HF_OK;
}

/* All of `text` as a decimal number up to `max`. */
static bool to_number(hf_bytes text, uint64_t max, uint64_t *number)
{
    const char *digits = text.data;
    uint64_t sum = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(digits[i]))
            return false;
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (sum > (max - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *number = sum;
    return text.len > 0;
}

/* `count` digits at text[*at], then `after` (0: nothing). */
static bool take_digits(hf_bytes text, size_t *at, size_t count, char after, uint64_t *number)
{
    const char *start = (const char *)text.data + *at;
    size_t need = count + (after != 0);
    if (text.len - *at < need || (after != 0 && start[count] != after))
        return false;
    *at += need;
    return to_number(hf_view(start, count), UINT64_MAX, number);
}

/* Days from 1970-01-01 to a day of the Gregorian calendar. */
static uint64_t days_from_civil(uint64_t year, uint64_t month, uint64_t day)
{
    uint64_t y = month <= 2 ? year - 1 : year;
    uint64_t shifted = month <= 2 ? month + 9 : month - 3; /* March is 0 */
    uint64_t days = y * 365 + y / 4 - y / 100 + y / 400;
    return days + (153 * shifted + 2) / 5 + day - 1 - 719468;
}

/* 2026-03-01, 2026-03-01T10:20:30Z or 2026-03-01T10:20:30.456Z. */
static bool to_iso_time(hf_bytes text, hf_where_term *term)
{
    uint64_t year, month, day, hour, minute, second, ms = 0;
    size_t at = 0;
    bool whole_day = text.len == 10;
    if (!take_digits(text, &at, 4, '-', &year) || !take_digits(text, &at, 2, '-', &month) ||
        !take_digits(text, &at, 2, whole_day ? 0 : 'T', &day))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    term->from = days_from_civil(year, month, day) * DAY_MS;
    term->span = DAY_MS;
    if (whole_day)
        return true;
    bool fraction = text.len == 24;
    if (!take_digits(text, &at, 2, ':', &hour) || !take_digits(text, &at, 2, ':', &minute) ||
        !take_digits(text, &at, 2, fraction ? '.' : 'Z', &second))
        return false;
    if (fraction && !take_digits(text, &at, 3, 'Z', &ms))
        return false;
    if (at != text.len || hour > 23 || minute > 59 || second > 59)
        return false;
    term->from += ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    term->span = fraction ? 1 : 1000;
    return true;
}

static int to_status(hf_where_term *term)
{
    for (size_t i = 0; i < COUNT(statuses); i++) {
        if (same(term->text, statuses[i].name)) {
            term->from = (uint64_t)statuses[i].status;
            return HF_OK;
        }
    }
    return hf_error(HF_EINVAL, "no such status; one of: waiting delayed retrying held paused "
                               "running dead done");
}

/* Give the term's value the sense its field needs. */
static int understand(hf_where_term *term)
{
    term->span = 1;
    switch (term->field) {
    case HF_BY_ID:
        if (!to_number(term->text, UINT64_MAX, &term->from))
            return hf_error(HF_EINVAL, "an id is a number");
        return HF_OK;
    case HF_BY_ATTEMPTS:
        if (!to_number(term->text, UINT32_MAX, &term->from))
            return hf_error(HF_EINVAL, "attempts is a number");
        return HF_OK;
    case HF_BY_DIED:
    case HF_BY_DUE:
        if (!to_number(term->text, UINT64_MAX, &term->from) && !to_iso_time(term->text, term))
            return hf_error(HF_EINVAL, "a time is Unix milliseconds, 2026-03-01 or "
                                       "2026-03-01T10:20:30Z");
        return HF_OK;
    case HF_BY_STATUS:
        return to_status(term);
    case HF_BY_TYPE:
    case HF_BY_ACTOR:
    case HF_BY_KIND:
    case HF_BY_ERROR:
    case HF_BY_FROM:
        return HF_OK;
    }
    return HF_OK;
}

static int read_term(hf_where_reader *reader, hf_where_term *term)
{
    int err = read_field(reader, &term->field);
    if (err == HF_OK)
        err = read_operator(reader);
    if (err == HF_OK)
        err = read_value(reader, &term->text);
    if (err == HF_OK)
        err = understand(term);
    return err;
}

static int read_terms(hf_where_reader *reader, hf_where *where)
{
    for (;;) {
        if (where->count == TERMS_MAX) {
            skip_spaces(reader);
            return hf_error(HF_EINVAL, "more than %d comparisons", (int)TERMS_MAX);
        }
        int err = read_term(reader, &where->terms[where->count]);
        if (err != HF_OK)
            return err;
        where->count++;
        hf_bytes word = read_word(reader);
        char next = reader->text[reader->at];
        if (word.len == 0 && next == 0)
            return HF_OK;
        if (!same(word, "and") || (next != 0 && !is_space(next)))
            return hf_error(HF_EINVAL, "only 'and' may stand here; put a value with spaces in quotes");
    }
}

int hf_where_parse(hf_where **where, const char *text, size_t *column)
{
    size_t len = text == NULL ? 0 : strlen(text);
    hf_where *made = hf_mem_zero(1, sizeof *made + len + 1);
    if (made == NULL)
        return hf_error(HF_ENOMEM, "where of %zu bytes", len);
    hf_where_reader reader = { .text = text, .room = made->text };
    int err = text == NULL ? HF_OK : read_terms(&reader, made);
    if (err != HF_OK) {
        hf_where_free(made);
        if (column != NULL)
            *column = reader.from;
        return err;
    }
    *where = made;
    return HF_OK;
}

void hf_where_free(hf_where *where)
{
    hf_mem_free(where);
}

int hf_where_check(const char *where, size_t *column)
{
    hf_where *parsed = NULL;
    int err = hf_where_parse(&parsed, where, column);
    if (err == HF_OK)
        hf_where_free(parsed);
    return err;
}

static hf_bytes type_of(const char *actor)
{
    return hf_view(actor, strcspn(actor, "/"));
}

static bool same_bytes(hf_bytes a, hf_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static bool in_span(const hf_where_term *term, uint64_t number)
{
    return number >= term->from && number - term->from < term->span;
}

static bool match_term(const hf_where_term *term, const hf_message *msg, uint64_t died)
{
    switch (term->field) {
    case HF_BY_ID:
        return in_span(term, msg->id);
    case HF_BY_TYPE:
        return same_bytes(term->text, type_of(msg->to));
    case HF_BY_ACTOR:
        return same(term->text, msg->to);
    case HF_BY_KIND:
        return same(term->text, msg->kind);
    case HF_BY_STATUS:
        return in_span(term, (uint64_t)msg->status);
    case HF_BY_ATTEMPTS:
        return in_span(term, msg->attempt);
    case HF_BY_ERROR:
        return same(term->text, msg->error);
    case HF_BY_FROM:
        return same(term->text, msg->from);
    case HF_BY_DIED:
        return died != 0 && in_span(term, died);
    case HF_BY_DUE:
        return msg->due != 0 && in_span(term, msg->due);
    }
    return false;
}

bool hf_where_match(const hf_where *where, const hf_message *msg, uint64_t died)
{
    if (where == NULL)
        return true;
    for (size_t i = 0; i < where->count; i++) {
        if (!match_term(&where->terms[i], msg, died))
            return false;
    }
    return true;
}

bool hf_where_fixes(const hf_where *where, hf_where_field field, hf_bytes *text,
                    uint64_t *number)
{
    if (where == NULL || field == HF_BY_DIED || field == HF_BY_DUE)
        return false;
    for (size_t i = 0; i < where->count; i++) {
        const hf_where_term *term = &where->terms[i];
        if (term->field != field)
            continue;
        if (text != NULL)
            *text = term->text;
        if (number != NULL)
            *number = term->from;
        return true;
    }
    return false;
}
