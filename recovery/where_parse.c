/* where_parse.c - a selection of messages, from text to terms.
 *
 *   where = all { "or" all }
 *   all   = one { "and" one }
 *   one   = "not" one | "(" where ")" | term
 *   term  = field op value | field "in" "(" value { "," value } ")"
 *   op    = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~"
 *   value = bare word up to a space or ")" | "…" | '…'   (\ escapes inside quotes)
 *
 * Happy path: hf_where_parse walks the text once and leaves terms, each with its values
 * as text and, where the field is a number, a status or a time, as a span of numbers,
 * and a program that joins them.
 *
 * Fails with HF_EINVAL and the byte at which the text stops making sense; the
 * detail lists what could stand there. Runs on any thread, keeps no state. */
#include "recovery/where_terms.h"

#include "recovery/holdfast_recovery.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

enum { WORD_MAX = 32 };

#define DAY_MS UINT64_C(86400000)

typedef struct hf_where_reader {
    const char *text;
    size_t      at;   /* next byte to read */
    size_t      from; /* where the thing being read began */
    char       *room; /* where the next value goes */
    hf_where   *where;
    uint32_t    depth;
} hf_where_reader;

static const struct {
    const char    *name;
    hf_where_field field;
} fields[] = {
    { "id", HF_BY_ID },         { "type", HF_BY_TYPE },         { "actor", HF_BY_ACTOR },
    { "kind", HF_BY_KIND },     { "status", HF_BY_STATUS },     { "attempts", HF_BY_ATTEMPTS },
    { "error", HF_BY_ERROR },   { "from", HF_BY_FROM },         { "died", HF_BY_DIED },
    { "due", HF_BY_DUE },       { "sent", HF_BY_SENT },         { "age", HF_BY_AGE },
    { "urgency", HF_BY_URGENCY }, { "strikes", HF_BY_STRIKES }, { "body", HF_BY_BODY },
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

static bool ends_path(char c)
{
    return c == 0 || is_space(c) || strchr("=!<>~()\"',", c) != NULL;
}

/* ".a.b[0]" behind `body`; lent from the reader's room. */
static int read_path(hf_where_reader *reader, hf_bytes *path)
{
    const char *start = reader->text + reader->at;
    size_t len = 0;
    reader->from = reader->at;
    while (!ends_path(start[len])) {
        size_t begin = ++len, index = start[begin - 1] == '[';
        if (!index && start[begin - 1] != '.')
            return hf_error(HF_EINVAL, "a body's field is body.NAME or body[0]");
        while (!ends_path(start[len]) && start[len] != '.' && start[len] != '['
               && (!index || is_digit(start[len])))
            len++;
        reader->from = reader->at + len;
        if (len == begin || len - begin > 100 || (index && len - begin > 9))
            return hf_error(HF_EINVAL, "a name or a number is missing here, or too long");
        if (index && start[len++] != ']')
            return hf_error(HF_EINVAL, "']' is missing here");
    }
    if (len == 0)
        return hf_error(HF_EINVAL, "what of the body? body.NAME or body[0]");
    memcpy(reader->room, start, len);
    *path = hf_view(reader->room, len);
    reader->room += len;
    reader->at += len;
    return HF_OK;
}

static int read_field(hf_where_reader *reader, hf_where_term *term)
{
    hf_bytes word = read_word(reader);
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (same(word, fields[i].name)) {
            term->field = fields[i].field;
            return term->field == HF_BY_BODY ? read_path(reader, &term->path) : HF_OK;
        }
    }
    const char *known = "id type actor kind status attempts error from died due sent age "
                        "urgency strikes body.PATH";
    if (word.len == 0)
        return hf_error(HF_EINVAL, "a field is missing here; fields: %s", known);
    int shown = word.len > WORD_MAX ? WORD_MAX : (int)word.len;
    return hf_error(HF_EINVAL, "no field is called '%.*s'; fields: %s", shown,
                    (const char *)word.data, known);
}

/* Sets *list: "in". */
static int read_operator(hf_where_reader *reader, hf_where_op *op, bool *list)
{
    static const struct {
        const char *text;
        hf_where_op op;
    } ops[] = { { "!=", HF_IS_NOT }, { "<=", HF_UP_TO }, { ">=", HF_FROM }, { "=", HF_IS },
                { "<", HF_BELOW },   { ">", HF_ABOVE },  { "~", HF_CONTAINS } };
    hf_bytes word = read_word(reader);
    *op = HF_IS;
    *list = same(word, "in");
    if (*list)
        return HF_OK;
    for (size_t i = 0; word.len == 0 && i < COUNT(ops); i++) {
        size_t len = strlen(ops[i].text);
        if (strncmp(reader->text + reader->at, ops[i].text, len) == 0) {
            reader->at += len;
            *op = ops[i].op;
            return HF_OK;
        }
    }
    return hf_error(HF_EINVAL, "one of '=' '!=' '<' '<=' '>' '>=' '~' 'in' is missing here");
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
    if (next != 0 && !is_space(next) && next != ')' && next != ',') {
        reader->from = reader->at;
        return hf_error(HF_EINVAL, "a space is missing after the value");
    }
    return HF_OK;
}

/* in a list a comma ends it, too */
static int read_value(hf_where_reader *reader, bool list, hf_bytes *value)
{
    skip_spaces(reader);
    const char *start = reader->text + reader->at;
    if (*start == '"' || *start == '\'')
        return read_quoted(reader, value);
    size_t len = 0;
    while (start[len] != 0 && !is_space(start[len]) && start[len] != ')'
           && !(list && start[len] == ','))
        len++;
    if (len == 0 || same(hf_view(start, len), "and") || same(hf_view(start, len), "or"))
        return hf_error(HF_EINVAL, "a value is missing here");
    if (strchr("=<>~!(", *start) != NULL)
        return hf_error(HF_EINVAL, "put a value that begins with %c in quotes",
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
static bool to_iso_time(hf_bytes text, hf_where_value *value)
{
    uint64_t year, month, day, hour, minute, second, ms = 0;
    size_t at = 0;
    bool whole_day = text.len == 10;
    if (!take_digits(text, &at, 4, '-', &year) || !take_digits(text, &at, 2, '-', &month)
        || !take_digits(text, &at, 2, whole_day ? 0 : 'T', &day))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    value->from = days_from_civil(year, month, day) * DAY_MS;
    value->span = DAY_MS;
    if (whole_day)
        return true;
    bool fraction = text.len == 24;
    if (!take_digits(text, &at, 2, ':', &hour) || !take_digits(text, &at, 2, ':', &minute)
        || !take_digits(text, &at, 2, fraction ? '.' : 'Z', &second))
        return false;
    if (fraction && !take_digits(text, &at, 3, 'Z', &ms))
        return false;
    if (at != text.len || hour > 23 || minute > 59 || second > 59)
        return false;
    value->from += ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    value->span = fraction ? 1 : 1000;
    return true;
}

/* 250ms 30s 5m 2h 3d, and 1h30m. */
static bool to_duration(hf_bytes text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t    ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", DAY_MS } };
    const char *at = text.data;
    size_t left = text.len;
    *ms = 0;
    while (left) {
        size_t digits = 0, unit = 0, i = 0;
        uint64_t number;
        while (digits < left && is_digit(at[digits]))
            digits++;
        while (digits + unit < left && !is_digit(at[digits + unit]))
            unit++;
        while (i < COUNT(units) && !same(hf_view(at + digits, unit), units[i].unit))
            i++;
        if (i == COUNT(units) || !to_number(hf_view(at, digits), UINT32_MAX, &number))
            return false;
        *ms += number * units[i].ms; /* far below 2^64: the text is not that long */
        at += digits + unit;
        left -= digits + unit;
    }
    return text.len > 0;
}

static int to_status(hf_where_value *value)
{
    for (size_t i = 0; i < COUNT(statuses); i++) {
        if (same(value->text, statuses[i].name)) {
            value->from = (uint64_t)statuses[i].status;
            return HF_OK;
        }
    }
    return hf_error(HF_EINVAL, "no such status; one of: waiting delayed retrying held paused "
                               "running dead done");
}

/* Give the term's value the sense its field needs. */
static int understand(const hf_where_term *term, hf_where_value *value)
{
    value->span = 1;
    switch (term->field) {
    case HF_BY_ID:
        if (!to_number(value->text, UINT64_MAX, &value->from))
            return hf_error(HF_EINVAL, "an id is a number");
        return HF_OK;
    case HF_BY_ATTEMPTS:
        if (!to_number(value->text, UINT32_MAX, &value->from))
            return hf_error(HF_EINVAL, "attempts is a number");
        return HF_OK;
    case HF_BY_DIED:
    case HF_BY_DUE:
    case HF_BY_SENT:
        if (!to_number(value->text, UINT64_MAX, &value->from) && !to_iso_time(value->text, value))
            return hf_error(HF_EINVAL, "a time is Unix milliseconds, 2026-03-01 or "
                                       "2026-03-01T10:20:30Z");
        return HF_OK;
    case HF_BY_AGE:
        if (!to_duration(value->text, &value->from))
            return hf_error(HF_EINVAL, "an age is 30s, 5m, 2h or 3d");
        return HF_OK;
    case HF_BY_URGENCY:
        if (!to_number(value->text, UINT32_MAX, &value->from))
            return hf_error(HF_EINVAL, "an urgency is a number");
        return HF_OK;
    case HF_BY_STRIKES:
        if (!to_number(value->text, UINT32_MAX, &value->from))
            return hf_error(HF_EINVAL, "strikes are a number");
        return HF_OK;
    case HF_BY_STATUS:
        return to_status(value);
    case HF_BY_TYPE:
    case HF_BY_ACTOR:
    case HF_BY_KIND:
    case HF_BY_ERROR:
    case HF_BY_FROM:
    case HF_BY_BODY:
        return HF_OK;
    }
    return HF_OK;
}

static bool is_text(hf_where_field field)
{
    return field == HF_BY_TYPE || field == HF_BY_ACTOR || field == HF_BY_KIND
        || field == HF_BY_ERROR || field == HF_BY_FROM || field == HF_BY_BODY;
}

static int add_value(hf_where_reader *reader, hf_where_term *term, bool list)
{
    hf_where *w = reader->where;
    if (w->value_count == HF_WHERE_VALUES_MAX) {
        skip_spaces(reader);
        return hf_error(HF_EINVAL, "more than %d values", (int)HF_WHERE_VALUES_MAX);
    }
    hf_where_value *value = &w->values[w->value_count];
    int err = read_value(reader, list, &value->text);
    if (!err)
        err = understand(term, value);
    if (err)
        return err;
    term->count++;
    w->value_count++;
    return HF_OK;
}

static int read_list(hf_where_reader *reader, hf_where_term *term)
{
    char next = '(';
    do {
        skip_spaces(reader);
        if (reader->text[reader->at] != next)
            return hf_error(HF_EINVAL, "'%c' is missing here", next);
        reader->at++;
        int err = add_value(reader, term, true);
        if (err)
            return err;
        skip_spaces(reader);
        next = ',';
    } while (reader->text[reader->at] == ',');
    if (reader->text[reader->at] != ')')
        return hf_error(HF_EINVAL, "',' or ')' is missing here");
    reader->at++;
    return HF_OK;
}

static int emit(hf_where_reader *reader, uint32_t what)
{
    hf_where *w = reader->where;
    if (w->length == HF_WHERE_PROGRAM_MAX)
        return hf_error(HF_EINVAL, "the selection is too long");
    w->program[w->length++] = (uint8_t)what;
    return HF_OK;
}

static int read_term(hf_where_reader *reader)
{
    hf_where *w = reader->where;
    bool list;
    if (w->count == HF_WHERE_TERMS_MAX) {
        skip_spaces(reader);
        return hf_error(HF_EINVAL, "more than %d comparisons", (int)HF_WHERE_TERMS_MAX);
    }
    hf_where_term *term = &w->terms[w->count];
    *term = (hf_where_term){ .first = w->value_count, .sure = true };
    int err = read_field(reader, term);
    if (!err)
        err = read_operator(reader, &term->op, &list);
    if (err)
        return err;
    if (term->op == HF_CONTAINS && !is_text(term->field))
        return hf_error(HF_EINVAL, "'~' is for texts");
    if (term->op != HF_IS && term->op != HF_IS_NOT && term->field == HF_BY_STATUS)
        return hf_error(HF_EINVAL, "a status is compared with '=' '!=' or 'in'");
    err = list ? read_list(reader, term) : add_value(reader, term, false);
    return err ? err : emit(reader, w->count++);
}

/* Is this the next word? Then it is read. */
static bool take_word(hf_where_reader *reader, const char *word)
{
    skip_spaces(reader);
    size_t at = reader->at;
    hf_bytes read = read_word(reader);
    char next = reader->text[reader->at];
    if (same(read, word) && (next == 0 || is_space(next) || next == '('))
        return true;
    reader->at = reader->from = at;
    return false;
}

static void not_sure(hf_where *w, uint32_t from)
{
    for (; from < w->count; from++)
        w->terms[from].sure = false;
}

static int read_any(hf_where_reader *reader);

static int read_one(hf_where_reader *reader)
{
    uint32_t first = reader->where->count;
    bool negated = take_word(reader, "not");
    if (!negated && reader->text[reader->at] != '(')
        return read_term(reader);
    if (reader->depth == HF_WHERE_DEPTH_MAX)
        return hf_error(HF_EINVAL, "more than %d brackets inside each other",
                        (int)HF_WHERE_DEPTH_MAX);
    reader->depth++;
    reader->at += !negated;
    int err = negated ? read_one(reader) : read_any(reader);
    reader->depth--;
    if (err)
        return err;
    not_sure(reader->where, negated ? first : reader->where->count);
    if (negated)
        return emit(reader, HF_WHERE_NOT);
    skip_spaces(reader);
    if (reader->text[reader->at] != ')')
        return hf_error(HF_EINVAL, "only 'and', 'or' and ')' may stand here; put a value with "
                                   "spaces in quotes");
    reader->at++;
    return HF_OK;
}

static int read_all(hf_where_reader *reader)
{
    int err = read_one(reader);
    while (!err && take_word(reader, "and")) {
        err = read_one(reader);
        if (!err)
            err = emit(reader, HF_WHERE_AND);
    }
    return err;
}

static int read_any(hf_where_reader *reader)
{
    uint32_t first = reader->where->count;
    int err = read_all(reader);
    while (!err && take_word(reader, "or")) {
        err = read_all(reader);
        if (!err)
            err = emit(reader, HF_WHERE_OR);
        not_sure(reader->where, first);
    }
    return err;
}

static int read_whole(hf_where_reader *reader)
{
    int err = read_any(reader);
    if (err)
        return err;
    skip_spaces(reader);
    if (reader->text[reader->at] == 0)
        return HF_OK;
    if (reader->text[reader->at] == ')')
        return hf_error(HF_EINVAL, "nothing is open that ')' could close; is it part of a value, "
                                   "put that in quotes");
    return hf_error(HF_EINVAL, "only 'and' or 'or' may stand here; put a value with spaces in "
                               "quotes");
}

int hf_where_parse(hf_where **where, const char *text, size_t *column)
{
    size_t len = text == NULL ? 0 : strlen(text);
    hf_where *made = hf_mem_zero(1, sizeof *made + len + 1);
    if (made == NULL)
        return hf_error(HF_ENOMEM, "where of %zu bytes", len);
    made->now = hf_clock_wall_ms();
    hf_where_reader reader = { .text = text, .room = made->text, .where = made };
    int err = text == NULL ? HF_OK : read_whole(&reader);
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
