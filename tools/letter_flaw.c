/* letter_flaw.c - would a store take this letter?
 *
 * Happy path: the limits that the public headers name, held against each field, so that an
 * import finds out before it has written the letters in front. What only the engine knows
 * (its types, its body_max) is not asked here. Any thread. */
#include "tools/letter_flaw.h"

#include <string.h>

enum { ADDRESS_MAX = 255, TYPE_MAX = 31, NAME_MAX_BYTES = 127, ERROR_MAX = 1000 };
#define LONGEST_MS ((uint64_t)100 * 366 * 24 * 3600 * 1000)

static bool has_zero(hf_bytes text)
{
    return text.len > 0 && memchr(text.data, 0, text.len) != NULL;
}

/* type/key, as holdfast.h says; the JSON it came in was UTF-8. */
static bool is_address(hf_bytes text)
{
    const unsigned char *at = text.data;
    size_t type = 0;
    while (type < text.len && at[type] != '/') {
        if (memchr("abcdefghijklmnopqrstuvwxyz0123456789_-", at[type], 38) == NULL)
            return false;
        type++;
    }
    for (size_t i = type; i < text.len; i++)
        if (at[i] < 0x20 || at[i] == 0x7f)
            return false;
    return type >= 1 && type <= TYPE_MAX && type + 1 < text.len && text.len <= ADDRESS_MAX;
}

const char *cli_letter_flaw(hf_bytes letter)
{
    cli_value err;
    hf_bytes from = cli_field_text(letter, "from"), kind = cli_field_text(letter, "kind");
    hf_bytes dedupe = cli_field_text(letter, "dedupe"), error = cli_field_text(letter, "error");
    if (!is_address(cli_field_text(letter, "to")))
        return "`actor` is no address (type/key)";
    if (from.len > 0 && !is_address(from))
        return "`from` is no address (type/key)";
    if (kind.len > NAME_MAX_BYTES || has_zero(kind))
        return "`kind` is longer than 127 bytes, or holds a zero byte";
    if (dedupe.len > NAME_MAX_BYTES || has_zero(dedupe))
        return "`dedupe` is longer than 127 bytes, or holds a zero byte";
    if (error.len > ERROR_MAX || has_zero(error))
        return "`error` is longer than 1000 bytes, or holds a zero byte";
    if (cli_field_uint(letter, "urgency") > 9)
        return "`urgency` is 1 to 9";
    if (cli_field_uint(letter, "attempt") > UINT32_MAX)
        return "`attempt` is too large";
    if (cli_field_uint(letter, "expires_ms") > LONGEST_MS)
        return "`expires` is more than 100 years away";
    if (cli_field_uint(letter, "died") > 0 && cli_field(letter, "err", &err)
        && err.kind != CLI_INT && err.number == 0)
        return "what is dead has an `err` that is not 0";
    return NULL;
}
