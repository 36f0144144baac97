/* fuzz_address.c - any bytes as an address, and as the key of an actor's row.
 *
 * What hf_address_ok takes is a type, a slash and a key of sound UTF-8 without
 * control characters (said here by another decoder); its row key reads back as the
 * address and its hash. No key, however made, is longer than there is room. */
#include "tests/fuzz/fuzz.h"

#include "storage/row.h"
#include "tools/buffer.h"

static bool plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return true;
}

static bool should_be_ok(const char *text, size_t len)
{
    const char *slash = len ? memchr(text, '/', len) : NULL;
    size_t type = slash ? (size_t)(slash - text) : len;
    if (!slash || len > HF_ADDRESS_MAX || !type || type > HF_TYPE_MAX || type + 1 == len)
        return false;
    for (size_t i = 0; i < type; i++)
        if (!memchr("abcdefghijklmnopqrstuvwxyz0123456789_-", text[i], 38))
            return false;
    hf_bytes key = hf_view(slash + 1, len - type - 1);
    return plain(key.data, key.len) && cli_utf8_valid(key);
}

static void check_key(const char *text, size_t len)
{
    hf_key key;
    char back[HF_ADDRESS_MAX + 1];
    uint64_t hash = 0, wanted = hf_address_hash(len, text, len);
    hf_key_actor(&key, text, len, wanted);
    FUZZ_CHECK(key.len <= sizeof key.bytes);
    FUZZ_CHECK(hf_address_of_key(back, key.bytes, key.len, &hash) == len);
    FUZZ_CHECK(hash == wanted && memcmp(back, text, len) == 0 && back[len] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char back[HF_ADDRESS_MAX + 1];
    const char *text = (const char *)data;
    bool ok = hf_address_ok(text, size);
    FUZZ_CHECK(ok == should_be_ok(text, size));
    if (ok)
        check_key(text, size);
    size_t len = hf_address_of_key(back, data, size, NULL);
    FUZZ_CHECK(len <= HF_ADDRESS_MAX && (!len || (len < size && back[len] == 0)));
    if (hf_address_type_ok(text, size))
        FUZZ_CHECK(hf_address_type_len(text, size) == size);
    return 0;
}
