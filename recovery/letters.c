/* letters.c - the letters of a `send`, out of msgpack.
 *
 * Happy path: every letter is a small map; its texts are copied behind each
 * other with a zero after each, its body points into the arguments. Fails with
 * the name of what is wrong. Any thread. */
#include "recovery/arguments.h"
#include "recovery/change.h"

#include "storage/error.h"
#include "storage/memory.h"

enum { LETTERS_MAX = 1000 };
enum {
    TO, KIND, BODY, DEDUPE, DELAY, AT, EXPIRES, URGENCY,
    FROM, SENT, ATTEMPT, ERR, ERROR, DIED, FIRST_BODY, FIELDS
};

/* So many milliseconds of delay or life make sense: 100 years. */
#define LONGEST_MS ((uint64_t)100 * 366 * 24 * 3600 * 1000)

static const char *keep(char **room, const hf_argument *a)
{
    if (!a->given)
        return NULL;
    char *text = *room;
    if (a->bytes.len)
        memcpy(text, a->bytes.data, a->bytes.len);
    text[a->bytes.len] = 0;
    *room += a->bytes.len + 1;
    return text;
}

static const hf_argument fields[FIELDS] = {
    [TO] = { .name = "to", .type = HF_ARG_TEXT },
    [KIND] = { .name = "kind", .type = HF_ARG_TEXT },
    [BODY] = { .name = "body", .type = HF_ARG_BIN },
    [DEDUPE] = { .name = "dedupe", .type = HF_ARG_TEXT },
    [DELAY] = { .name = "delay_ms", .type = HF_ARG_UINT },
    [AT] = { .name = "at", .type = HF_ARG_UINT },
    [EXPIRES] = { .name = "expires_ms", .type = HF_ARG_UINT },
    [URGENCY] = { .name = "urgency", .type = HF_ARG_UINT },
    [FROM] = { .name = "from", .type = HF_ARG_TEXT },
    [SENT] = { .name = "sent", .type = HF_ARG_UINT },
    [ATTEMPT] = { .name = "attempt", .type = HF_ARG_UINT },
    [ERR] = { .name = "err", .type = HF_ARG_INT },
    [ERROR] = { .name = "error", .type = HF_ARG_TEXT },
    [DIED] = { .name = "died", .type = HF_ARG_UINT },
    [FIRST_BODY] = { .name = "first_body", .type = HF_ARG_BIN },
};

static int check_letter(const hf_argument *args)
{
    if (args[KIND].bytes.len > HF_NAME_MAX)
        return hf_error(HF_EINVAL, "send: `kind` is at most %d bytes", HF_NAME_MAX);
    if (args[DEDUPE].given && (!args[DEDUPE].bytes.len || args[DEDUPE].bytes.len > HF_NAME_MAX))
        return hf_error(HF_EINVAL, "send: `dedupe` is 1 .. %d bytes", HF_NAME_MAX);
    if (args[DELAY].number && args[AT].number)
        return hf_error(HF_EINVAL, "send: a letter with `delay_ms` and `at`");
    if (args[DELAY].number > LONGEST_MS || args[EXPIRES].number > LONGEST_MS)
        return hf_error(HF_EINVAL, "send: `delay_ms` and `expires_ms` are at most 100 years");
    if (args[URGENCY].number > 9)
        return hf_error(HF_EINVAL, "send: `urgency` is 0 .. 9");
    if (args[FROM].given && args[FROM].bytes.len
        && !hf_address_ok(args[FROM].bytes.data, args[FROM].bytes.len))
        return hf_error(HF_EINVAL, "send: `from` is no address (type/key)");
    if (args[ATTEMPT].number > UINT32_MAX)
        return hf_error(HF_EINVAL, "send: `attempt` is too large");
    if (args[ERROR].bytes.len > HF_ERROR_MAX)
        return hf_error(HF_EINVAL, "send: `error` is at most %d bytes", HF_ERROR_MAX);
    if (args[DIED].number && (args[DELAY].number || args[AT].number || !(int)args[ERR].number))
        return hf_error(HF_EINVAL, "send: a dead letter has `err`, and is not delayed");
    return HF_OK;
}

void hf_letter_dress(const hf_letter_more *more, hf_entry *e)
{
    e->sent = more->sent ? more->sent : e->sent;
    e->attempt = more->attempt;
    e->err = more->err;
    if (more->err && more->error) {
        e->error = more->error;
        e->error_len = (uint32_t)strlen(more->error);
    }
    if (more->from) {
        e->from = more->from;
        e->from_len = (uint32_t)strlen(more->from);
    }
    e->first = more->first;
    if (more->died) { /* never handled: whoever has it next buries it, and tells nobody */
        e->died = more->died;
        e->phase = 1;
    }
}

static int read_letter(hf_bytes *rest, hf_letter *letter, hf_letter_more *more, char **room)
{
    hf_argument args[FIELDS];
    memcpy(args, fields, sizeof args);
    int err = hf_arguments_next("send", rest, args, FIELDS);
    if (err)
        return err;
    if (!args[TO].given)
        return hf_error(HF_EINVAL, "send: a letter without `to`");
    if (!hf_address_ok(args[TO].bytes.data, args[TO].bytes.len))
        return hf_error(HF_EINVAL, "send: \"%.*s\" is no address (type/key)",
                        args[TO].bytes.len > 300 ? 300 : (int)args[TO].bytes.len,
                        (const char *)args[TO].bytes.data);
    if ((err = check_letter(args)))
        return err;
    *letter = (hf_letter){ .size = sizeof *letter, .body = args[BODY].bytes,
                           .delay_ms = args[DELAY].number, .at = args[AT].number,
                           .expires_ms = args[EXPIRES].number,
                           .urgency = (uint32_t)args[URGENCY].number };
    letter->to = keep(room, &args[TO]);
    letter->kind = keep(room, &args[KIND]);
    letter->dedupe = keep(room, &args[DEDUPE]);
    *more = (hf_letter_more){ .sent = args[SENT].number, .died = args[DIED].number,
                              .attempt = (uint32_t)args[ATTEMPT].number,
                              .err = (int)(int64_t)args[ERR].number };
    more->error = keep(room, &args[ERROR]);
    more->from = keep(room, &args[FROM]);
    if (args[FIRST_BODY].given)
        more->first = args[FIRST_BODY].bytes.len ? args[FIRST_BODY].bytes : hf_view("", 0);
    return HF_OK;
}

int hf_plan_letters(hf_plan *plan, hf_bytes arguments)
{
    hf_argument args[] = { { .name = "letters", .type = HF_ARG_ARRAY },
                           { .name = "reason", .type = HF_ARG_TEXT } };
    int err = hf_arguments_read("send", arguments, args, 2);
    if (err)
        return err;
    if (args[1].bytes.len > HF_ERROR_MAX)
        return hf_error(HF_EINVAL, "send: `reason` is at most %d bytes", HF_ERROR_MAX);
    plan->pen.reason = args[1].bytes;
    hf_argument list = args[0];
    if (!list.count || list.count > LETTERS_MAX)
        return hf_error(HF_EINVAL, "send: `letters` are 1 .. %d", LETTERS_MAX);
    /* A text takes no more room than it does in msgpack, its head becoming its zero. */
    plan->letters = hf_mem_zero(list.count, sizeof *plan->letters);
    plan->texts = hf_mem_alloc(list.bytes.len + 1);
    plan->more = hf_mem_zero(list.count, sizeof *plan->more);
    if (!plan->letters || !plan->texts || !plan->more)
        return hf_error(HF_ENOMEM, "letters");
    char *room = plan->texts;
    for (uint32_t i = 0; !err && i < list.count; i++)
        err = read_letter(&list.bytes, &plan->letters[i], &plan->more[i], &room);
    plan->count = err ? 0 : list.count;
    return err;
}
