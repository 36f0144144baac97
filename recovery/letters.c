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
enum { TO, KIND, BODY, FIELDS };

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

static int read_letter(hf_bytes *rest, hf_letter *letter, char **room)
{
    hf_argument args[FIELDS] = {
        [TO] = { .name = "to", .type = HF_ARG_TEXT },
        [KIND] = { .name = "kind", .type = HF_ARG_TEXT },
        [BODY] = { .name = "body", .type = HF_ARG_BIN },
    };
    int err = hf_arguments_next("send", rest, args, FIELDS);
    if (err)
        return err;
    if (!args[TO].given)
        return hf_error(HF_EINVAL, "send: a letter without `to`");
    if (!hf_address_ok(args[TO].bytes.data, args[TO].bytes.len))
        return hf_error(HF_EINVAL, "send: \"%.*s\" is no address (type/key)",
                        args[TO].bytes.len > 300 ? 300 : (int)args[TO].bytes.len,
                        (const char *)args[TO].bytes.data);
    if (args[KIND].bytes.len > HF_NAME_MAX)
        return hf_error(HF_EINVAL, "send: `kind` is at most %d bytes", HF_NAME_MAX);
    *letter = (hf_letter){ .size = sizeof *letter, .body = args[BODY].bytes };
    letter->to = keep(room, &args[TO]);
    letter->kind = keep(room, &args[KIND]);
    return HF_OK;
}

int hf_plan_letters(hf_plan *plan, hf_bytes arguments)
{
    hf_argument list = { .name = "letters", .type = HF_ARG_ARRAY };
    int err = hf_arguments_read("send", arguments, &list, 1);
    if (err)
        return err;
    if (!list.count || list.count > LETTERS_MAX)
        return hf_error(HF_EINVAL, "send: `letters` are 1 .. %d", LETTERS_MAX);
    /* A text takes no more room than it does in msgpack, its head becoming its zero. */
    plan->letters = hf_mem_zero(list.count, sizeof *plan->letters);
    plan->texts = hf_mem_alloc(list.bytes.len + 1);
    if (!plan->letters || !plan->texts)
        return hf_error(HF_ENOMEM, "letters");
    char *room = plan->texts;
    for (uint32_t i = 0; !err && i < list.count; i++)
        err = read_letter(&list.bytes, &plan->letters[i], &room);
    plan->count = err ? 0 : list.count;
    return err;
}
