/* row.c - keys and values of the tables.
 *
 * Happy path: build the key, write the payload into a buffer, seal it, put it.
 * A value is checked whole before its payload is believed. Any thread; the
 * buffers belong to the caller. */
#include "storage/row.h"

#include "storage/assert.h"
#include "storage/error.h"
#include "storage/memory.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void hf_key_actor(hf_key *key, const char *to, size_t len, uint64_t hash)
{
    key->len = hf_address_key(key->bytes, to, len, hash);
}

void hf_key_place(hf_key *key, const char *to, size_t len, uint64_t hash, uint64_t place)
{
    hf_key_actor(key, to, len, hash);
    hf_put64_key(key->bytes + key->len, place);
    key->len += 8;
}

void hf_key_name(hf_key *key, const hf_entry *e)
{
    hf_key_actor(key, e->to, e->to_len, e->hash);
    key->bytes[key->len++] = 0;
    memcpy(key->bytes + key->len, e->name, e->name_len);
    key->len += e->name_len;
}

hf_table hf_row_table(const hf_entry *e)
{
    if (e->flags & HF_ENTRY_DEDUPE)
        return HF_IN_DEDUPE;
    return e->name_len && e->name[0] == HF_SHELF_TOPIC ? HF_IN_TOPICS : HF_IN_ROWS;
}

void hf_key_number(hf_key *key, uint64_t number)
{
    hf_put64_key(key->bytes, number);
    key->len = 8;
}

void hf_key_alarm(hf_key *key, uint64_t due, uint64_t generation)
{
    hf_put64_key(key->bytes, due);
    hf_put64_key(key->bytes + 8, generation);
    key->len = 16;
}

void hf_key_step(hf_key *key, uint64_t id, uint64_t generation, uint64_t number)
{
    hf_put64_key(key->bytes, id);
    hf_put64_key(key->bytes + 8, generation);
    hf_put64_key(key->bytes + 16, number);
    key->len = 24;
}

void hf_key_text(hf_key *key, const char *text)
{
    key->len = strlen(text);
    HF_ASSERT(key->len <= HF_ADDRESS_MAX);
    memcpy(key->bytes, text, key->len);
}

int hf_rowbuf_need(hf_rowbuf *buf, size_t size)
{
    if (size <= buf->room)
        return HF_OK;
    size_t room = size < 4096 ? 4096 : size + size / 2;
    uint8_t *bytes = hf_mem_grow(buf->bytes, room);
    if (!bytes)
        return hf_error(HF_ENOMEM, "a row of %zu bytes", size);
    buf->bytes = bytes;
    buf->room = room;
    return HF_OK;
}

void hf_rowbuf_done(hf_rowbuf *buf)
{
    hf_mem_free(buf->bytes);
    memset(buf, 0, sizeof *buf);
}

static uint64_t checksum(hf_table table, hf_bytes key, const uint8_t *bytes, size_t len)
{
    uint64_t seed = XXH3_64bits_withSeed(key.data, key.len, (uint64_t)table);
    return XXH3_64bits_withSeed(bytes, len, seed);
}

hf_bytes hf_row_seal(hf_rowbuf *buf, size_t len, hf_table table, hf_bytes key)
{
    HF_ASSERT(len + HF_ROW_EXTRA <= buf->room);
    buf->bytes[0] = HF_ROW_VERSION;
    hf_put64(buf->bytes + 1 + len, checksum(table, key, buf->bytes, 1 + len));
    buf->len = len + HF_ROW_EXTRA;
    return hf_view(buf->bytes, buf->len);
}

int hf_row_open(hf_table table, hf_bytes key, hf_bytes value, hf_bytes *payload)
{
    const uint8_t *bytes = value.data;
    if (value.len < HF_ROW_EXTRA)
        return hf_error(HF_ECORRUPT, "a row of table %d is cut short", (int)table);
    if (hf_get64(bytes + value.len - 8) != checksum(table, key, bytes, value.len - 8))
        return hf_error(HF_ECORRUPT, "checksum of a row of table %d does not match", (int)table);
    if (bytes[0] != HF_ROW_VERSION)
        return hf_error(HF_EVERSION, "a row of table %d has version %u, this library reads %u",
                        (int)table, bytes[0], HF_ROW_VERSION);
    *payload = hf_view(bytes + 1, value.len - HF_ROW_EXTRA);
    return HF_OK;
}

int hf_row_put(hf_txn *txn, hf_table table, const hf_key *key, hf_bytes payload, hf_rowbuf *buf)
{
    int err = hf_rowbuf_need(buf, payload.len + HF_ROW_EXTRA);
    if (err)
        return err;
    if (payload.len)
        memcpy(buf->bytes + 1, payload.data, payload.len);
    hf_bytes k = hf_key_bytes(key);
    return hf_txn_put(txn, table, k, hf_row_seal(buf, payload.len, table, k));
}

int hf_row_get(hf_txn *txn, hf_table table, const hf_key *key, hf_bytes *payload)
{
    hf_bytes value;
    int err = hf_txn_get(txn, table, hf_key_bytes(key), &value);
    return err ? err : hf_row_open(table, hf_key_bytes(key), value, payload);
}

int hf_meta_put(hf_txn *txn, const char *name, uint64_t value)
{
    uint8_t bytes[8 + HF_ROW_EXTRA];
    hf_rowbuf buf = { .bytes = bytes, .room = sizeof bytes };
    uint8_t number[8];
    hf_key key;
    hf_key_text(&key, name);
    hf_put64(number, value);
    return hf_row_put(txn, HF_IN_META, &key, hf_view(number, 8), &buf);
}

int hf_meta_get(hf_txn *txn, const char *name, uint64_t missing, uint64_t *value)
{
    hf_key key;
    hf_bytes payload;
    hf_key_text(&key, name);
    *value = missing;
    int err = hf_row_get(txn, HF_IN_META, &key, &payload);
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    if (payload.len != 8)
        return hf_error(HF_ECORRUPT, "meta %s is no number", name);
    *value = hf_get64(payload.data);
    return HF_OK;
}

int hf_row_message(hf_table table, hf_bytes key, hf_bytes value, hf_entry *message)
{
    hf_bytes payload;
    int err = hf_row_open(table, key, value, &payload);
    return err ? err : hf_row_message_in(table, key, payload, message);
}

int hf_row_message_in(hf_table table, hf_bytes key, hf_bytes payload, hf_entry *message)
{
    const uint8_t *bytes = payload.data;
    if (payload.len < 8 || key.len < 8
        || hf_entry_decode(bytes + 8, payload.len - 8, message) != payload.len - 8
        || message->flags & HF_ENTRY_SHARES)
        return hf_error(HF_ECORRUPT, "a message of table %d can't be read", (int)table);
    uint64_t number = hf_get64_key((const uint8_t *)key.data + key.len - 8);
    if (!message->sent)
        message->sent = hf_get64(bytes);
    if (table == HF_IN_INBOX)
        message->place = number;
    if (!message->id)
        message->id = number; /* a plain SEND: its id is its place */
    return HF_OK;
}
