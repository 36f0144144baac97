/* row.h - what stands in the tables: keys, values, and what facts make of them.
 *
 * A value is  version(1) payload checksum(8): XXH3 of the bytes before it,
 * seeded with table and key, so that a row that was damaged, or strayed to
 * another place, is known. Payloads:
 *   inbox, dead   record's time(8), then the message as an entry
 *   state         position of its SAVE(7), version of its form(1), the image
 *   alarms        key of the row in alarm_names
 *   alarm_names   due(8) generation(8), then the ALARM or delayed SEND; or 0 generation: due.h
 *   steps         the STEP entry
 *   rows, dedupe, topics  position of its PUT(8), the value
 *   pauses        since(8), then the PAUSE entry
 *   meta          as its name says */
#ifndef STORAGE_ROW_H
#define STORAGE_ROW_H

#include "storage/address.h"
#include "storage/entry.h"
#include "storage/store.h"

enum { HF_ROW_VERSION = 1, HF_ROW_EXTRA = 9 };

typedef struct hf_key {
    uint8_t bytes[HF_KEY_MAX + 8];
    size_t  len;
} hf_key;

static inline hf_bytes hf_key_bytes(const hf_key *key)
{
    return hf_view(key->bytes, key->len);
}

/* Keys. */
void hf_key_actor(hf_key *key, const char *to, size_t len, uint64_t hash);
void hf_key_place(hf_key *key, const char *to, size_t len, uint64_t hash, uint64_t place);
void hf_key_name(hf_key *key, const hf_entry *entry);      /* actor 00 name; rows, dedupe, too */
/* The table that a PUT or DROP is about: its name begins with the shelf. */
hf_table hf_row_table(const hf_entry *entry);
void hf_key_number(hf_key *key, uint64_t number);          /* log, dead */
void hf_key_alarm(hf_key *key, uint64_t due, uint64_t generation);
void hf_key_step(hf_key *key, uint64_t id, uint64_t generation, uint64_t number);
void hf_key_text(hf_key *key, const char *text);           /* pauses, meta */

/* The number that a state's payload begins with: where its SAVE stood and, in the upper
 * byte, the version of its form. */
enum { HF_STATE_FORM = 56 };
static inline uint64_t hf_state_position(uint64_t number)
{
    return number & (((uint64_t)1 << HF_STATE_FORM) - 1);
}
static inline uint32_t hf_state_version(uint64_t number)
{
    return (uint32_t)(number >> HF_STATE_FORM);
}

/* A growing buffer that rows are made in. */
typedef struct hf_rowbuf {
    uint8_t *bytes;
    size_t   len, room;
} hf_rowbuf;
int  hf_rowbuf_need(hf_rowbuf *buf, size_t size);
void hf_rowbuf_done(hf_rowbuf *buf);

/* Wrap payload (at buf->bytes + 1, `len` bytes, room for 8 more) as the value. */
hf_bytes hf_row_seal(hf_rowbuf *buf, size_t len, hf_table table, hf_bytes key);

/* The payload inside a value; HF_ECORRUPT, HF_EVERSION. */
int hf_row_open(hf_table table, hf_bytes key, hf_bytes value, hf_bytes *payload);

/* Put and get a whole row. */
int hf_row_put(hf_txn *txn, hf_table table, const hf_key *key, hf_bytes payload, hf_rowbuf *buf);
int hf_row_get(hf_txn *txn, hf_table table, const hf_key *key, hf_bytes *payload);

/* Numbers under a name in meta. get: `missing` when there is no such row. */
int hf_meta_put(hf_txn *txn, const char *name, uint64_t value);
int hf_meta_get(hf_txn *txn, const char *name, uint64_t missing, uint64_t *value);

/* A row of the inbox as it lies there, unchecked: is it a SEND with no rarer field, so that
 * its id is the place in its key? */
static inline bool hf_row_is_plain(hf_bytes key, hf_bytes value)
{
    const uint8_t *entry = (const uint8_t *)value.data + 9;
    return key.len >= 8 && value.len >= HF_ROW_EXTRA + 8 + HF_ENTRY_HEAD
        && entry[0] == HF_OP_SEND && !entry[1];
}

/* A message of inbox or dead; `message->sent` is set. Place from the key. */
int hf_row_message(hf_table table, hf_bytes key, hf_bytes value, hf_entry *message);
int hf_row_message_in(hf_table table, hf_bytes key, hf_bytes payload, hf_entry *message);

#endif
