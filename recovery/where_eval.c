/* where_eval.c - does a selection take a message?
 *
 * Happy path: the terms' program is run with a stack of bits. A field that is left out
 * is empty text, and equals no number or time; what a body lacks equals nothing. Never
 * fails. Any thread. */
#include "recovery/where_terms.h"

#include "storage/msgpack_scan.h"

#include <stdlib.h>

static int compare_bytes(hf_bytes a, hf_bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.data, b.data, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static bool contains(hf_bytes text, hf_bytes part)
{
    return part.len == 0 || (text.len && memmem(text.data, text.len, part.data, part.len));
}

/* order: how it stands to the value, below 0, 0, above. */
static bool stands(hf_where_op op, int order)
{
    switch (op) {
    case HF_IS:       return order == 0;
    case HF_IS_NOT:   return order != 0;
    case HF_BELOW:    return order < 0;
    case HF_UP_TO:    return order <= 0;
    case HF_ABOVE:    return order > 0;
    case HF_FROM:     return order >= 0;
    case HF_CONTAINS: return false;
    }
    return false;
}

static bool match_text(hf_where_op op, const hf_where_value *value, hf_bytes text)
{
    return op == HF_CONTAINS ? contains(text, value->text)
                             : stands(op, compare_bytes(text, value->text));
}

static bool match_number(hf_where_op op, const hf_where_value *value, uint64_t number)
{
    if (number < value->from)
        return stands(op, -1);
    return stands(op, number - value->from < value->span ? 0 : 1);
}

static bool match_time(hf_where_op op, const hf_where_value *value, uint64_t time)
{
    return time ? match_number(op, value, time) : op == HF_IS_NOT;
}

/* ---- Bodies */

/* Take one whole value off `rest`; its first token is *token. */
static bool skip_value(hf_bytes *rest, hf_token *token)
{
    uint64_t left = 1;
    bool first = true;
    while (left) {
        hf_token t;
        if (hf_msgpack_token(*rest, &t))
            return false;
        if (first)
            *token = t;
        first = false;
        *rest = hf_view((const uint8_t *)rest->data + t.size, rest->len - t.size);
        left--;
        if (t.type == HF_TOKEN_ARRAY)
            left += t.count;
        if (t.type == HF_TOKEN_MAP)
            left += 2 * (uint64_t)t.count;
    }
    return true;
}

/* Into the container at the start of *at, to the value of that name or number. */
static bool enter(hf_bytes *at, const char *name, size_t len, bool index)
{
    hf_token head, key;
    uint64_t number = 0;
    if (hf_msgpack_token(*at, &head) || head.type != (index ? HF_TOKEN_ARRAY : HF_TOKEN_MAP))
        return false;
    hf_bytes rest = hf_view((const uint8_t *)at->data + head.size, at->len - head.size);
    for (size_t i = 0; index && i < len; i++)
        number = number * 10 + (uint64_t)(name[i] - '0');
    if (index && number >= head.count)
        return false;
    for (uint32_t i = 0; i < head.count; i++) {
        bool found = index && i == number;
        if (!index && !skip_value(&rest, &key))
            return false;
        if (!index)
            found = key.type == HF_TOKEN_STR && key.as.bytes.len == len
                && memcmp(key.as.bytes.data, name, len) == 0;
        if (found) {
            *at = rest;
            return true;
        }
        if (!skip_value(&rest, &key))
            return false;
    }
    return false;
}

static bool find_value(hf_bytes body, hf_bytes path, hf_token *token)
{
    const char *text = path.data;
    hf_msgpack_shape shape;
    if (!body.len || hf_msgpack_scan(body, &shape))
        return false;
    for (size_t at = 0; at < path.len;) {
        bool index = text[at++] == '[';
        size_t len = 0;
        while (at + len < path.len && text[at + len] != '.' && text[at + len] != '['
               && !(index && text[at + len] == ']'))
            len++;
        if (!enter(&body, text + at, len, index))
            return false;
        at += len + index;
    }
    return hf_msgpack_token(body, token) == HF_OK;
}

/* All of the text as a number; a long double holds every integer of 64 bits. */
static bool as_number(hf_bytes text, long double *number)
{
    char digits[64], *end;
    if (!text.len || text.len >= sizeof digits)
        return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = 0;
    if (strspn(digits, "0123456789+-.eE") != text.len)
        return false;
    *number = strtold(digits, &end);
    return *end == 0;
}

static bool match_token(hf_where_op op, const hf_where_value *value, const hf_token *t)
{
    long double number, wanted;
    switch (t->type) {
    case HF_TOKEN_STR:
    case HF_TOKEN_BIN:
        return match_text(op, value, t->as.bytes);
    case HF_TOKEN_NIL:
        return match_text(op, value, hf_str("null"));
    case HF_TOKEN_BOOL:
        return match_text(op, value, hf_str(t->as.u ? "true" : "false"));
    case HF_TOKEN_UINT:    number = (long double)t->as.u; break;
    case HF_TOKEN_INT:     number = (long double)t->as.i; break;
    case HF_TOKEN_FLOAT32:
    case HF_TOKEN_FLOAT64: number = (long double)t->as.f; break;
    default:
        return op == HF_IS_NOT;
    }
    if (!as_number(value->text, &wanted) || number != number)
        return op == HF_IS_NOT;
    return stands(op, (number > wanted) - (number < wanted));
}

/* ---- Terms */

/* Besides the message. */
typedef struct about {
    uint64_t died;
    uint32_t strikes;
    uint32_t unknown; /* bits of fields that equal nothing */
} about;

static bool match_value(const hf_where *where, const hf_where_term *term,
                        const hf_where_value *value, const hf_message *msg, const about *rest)
{
    hf_where_op op = term->op;
    hf_token token;
    switch (term->field) {
    case HF_BY_ID:       return match_number(op, value, msg->id);
    case HF_BY_TYPE:     return match_text(op, value, hf_view(msg->to, strcspn(msg->to, "/")));
    case HF_BY_ACTOR:    return match_text(op, value, hf_str(msg->to));
    case HF_BY_KIND:     return match_text(op, value, hf_str(msg->kind));
    case HF_BY_STATUS:   return match_number(op, value, (uint64_t)msg->status);
    case HF_BY_ATTEMPTS: return match_number(op, value, msg->attempt);
    case HF_BY_ERROR:    return match_text(op, value, hf_str(msg->error));
    case HF_BY_FROM:     return match_text(op, value, hf_str(msg->from));
    case HF_BY_DIED:     return match_time(op, value, rest->died);
    case HF_BY_DUE:      return match_time(op, value, msg->due);
    case HF_BY_SENT:     return match_time(op, value, msg->sent);
    case HF_BY_AGE:
        return match_number(op, value, where->now > msg->sent ? where->now - msg->sent : 0);
    case HF_BY_URGENCY:  return match_number(op, value, msg->urgency);
    case HF_BY_STRIKES:  return match_number(op, value, rest->strikes);
    case HF_BY_BODY:
        return find_value(msg->body, term->path, &token) ? match_token(op, value, &token)
                                                         : op == HF_IS_NOT;
    }
    return false;
}

static bool match_term(const hf_where *where, const hf_where_term *term, const hf_message *msg,
                       const about *rest)
{
    if (rest->unknown >> term->field & 1)
        return false;
    for (uint32_t i = 0; i < term->count; i++)
        if (match_value(where, term, &where->values[term->first + i], msg, rest))
            return true;
    return false;
}

bool hf_where_match(const hf_where *where, const hf_message *msg, uint64_t died)
{
    return hf_where_match_struck(where, msg, died, 0);
}

bool hf_where_asks(const hf_where *where, hf_where_field field)
{
    for (uint32_t i = 0; where && i < where->count; i++)
        if (where->terms[i].field == field)
            return true;
    return false;
}

static bool run(const hf_where *where, const hf_message *msg, const about *rest)
{
    uint64_t stack = 1; /* the newest at bit 0; never more than the terms there can be */
    if (where == NULL || !where->length)
        return true;
    for (uint32_t i = 0; i < where->length; i++) {
        uint8_t what = where->program[i];
        if (what == HF_WHERE_NOT)
            stack ^= 1;
        else if (what == HF_WHERE_AND)
            stack = stack >> 1 & (stack | ~(uint64_t)1);
        else if (what == HF_WHERE_OR)
            stack = stack >> 1 | (stack & 1);
        else
            stack = stack << 1 | match_term(where, &where->terms[what], msg, rest);
    }
    return stack & 1;
}

bool hf_where_match_struck(const hf_where *where, const hf_message *msg, uint64_t died,
                           uint32_t strikes)
{
    const about rest = { died, strikes, 0 };
    return run(where, msg, &rest);
}

bool hf_where_match_known(const hf_where *where, const hf_message *msg, uint64_t died,
                          uint32_t unknown)
{
    const about rest = { died, 0, unknown };
    return run(where, msg, &rest);
}

bool hf_where_fixes(const hf_where *where, hf_where_field field, hf_bytes *text,
                    uint64_t *number)
{
    if (where == NULL || field == HF_BY_DIED || field == HF_BY_DUE || field == HF_BY_SENT
        || field == HF_BY_AGE || field == HF_BY_BODY)
        return false;
    for (uint32_t i = 0; i < where->count; i++) {
        const hf_where_term *term = &where->terms[i];
        if (term->field != field || !term->sure || term->op != HF_IS || term->count != 1)
            continue;
        if (text != NULL)
            *text = where->values[term->first].text;
        if (number != NULL)
            *number = where->values[term->first].from;
        return true;
    }
    return false;
}

bool hf_where_plain(const hf_where *where, hf_status *status)
{
    uint32_t of[2] = { 0, 0 };
    *status = HF_DONE;
    for (uint32_t i = 0; where != NULL && i < where->count; i++) {
        const hf_where_term *term = &where->terms[i];
        bool type = term->field == HF_BY_TYPE;
        if ((!type && term->field != HF_BY_STATUS) || !term->sure || term->op != HF_IS
            || term->count != 1 || of[type]++ > 0)
            return false;
        if (!type)
            *status = (hf_status)where->values[term->first].from;
    }
    return true;
}
