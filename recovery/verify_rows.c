/* verify_rows.c - does a row say what its key says?
 *
 * Happy path: the checksum is right, the payload can be read, and the key that its
 * content asks for is the key it stands under. Records of the log: each checksum, each
 * position behind the one before, groups whole. One thread. */
#include "recovery/verify.h"

#include "storage/error.h"
#include "storage/record.h"

static void row_found(hf_checkup *c, const char *name, uint64_t page, hf_bytes key,
                      const char *why)
{
    hf_finding f = { .name = name, .table = hf_table_name(c->table), .page = page, .key = key };
    hf_checkup_found(c, &f, "%s", why);
}

static bool same(const hf_key *wanted, hf_bytes key)
{
    return wanted->len == key.len && memcmp(wanted->bytes, key.data, key.len) == 0;
}

/* Is the address hashed as this store hashes? */
static bool hashed_right(const hf_checkup *c, const hf_entry *e)
{
    return !c->seed || !e->to_len || e->hash == hf_address_hash(c->seed, e->to, e->to_len);
}

static const char *check_message(hf_checkup *c, hf_bytes key, hf_bytes payload)
{
    hf_entry e;
    hf_key wanted;
    if (hf_row_message_in(c->table, key, payload, &e))
        return hf_error_detail();
    if (c->table == HF_IN_DEAD)
        hf_key_number(&wanted, e.id);
    else
        hf_key_place(&wanted, e.to, e.to_len, e.hash, e.place);
    if (!same(&wanted, key))
        return "the message belongs under another key";
    return hashed_right(c, &e) ? NULL : "the hash of its address is wrong";
}

/* Rows of an actor: the key begins with its address. */
static const char *check_owner(hf_checkup *c, hf_bytes key, size_t len)
{
    char address[HF_ADDRESS_MAX + 1];
    uint64_t hash;
    len = hf_address_of_key(address, key.data, len, &hash);
    if (!len || !hf_address_ok(address, len))
        return "its key begins with no address";
    if (c->seed && hash != hf_address_hash(c->seed, address, len))
        return "the hash in its key is wrong";
    return NULL;
}

/* The actor part of a key with a name ends at the zero behind it. */
static size_t owner_len(hf_bytes key)
{
    const uint8_t *bytes = key.data, *zero = memchr(bytes, 0, key.len);
    size_t type = zero ? (size_t)(zero - bytes) : key.len;
    if (type + 9 >= key.len)
        return key.len;
    zero = memchr(bytes + type + 9, 0, key.len - type - 9);
    return zero ? (size_t)(zero - bytes) : key.len;
}

static const char *check_step(hf_bytes key, hf_bytes payload)
{
    hf_entry e;
    hf_key wanted;
    if (hf_entry_decode(payload.data, payload.len, &e) != payload.len || e.op != HF_OP_STEP)
        return "it is no step";
    hf_key_step(&wanted, e.id, e.generation, e.place);
    return same(&wanted, key) ? NULL : "the step belongs under another key";
}

static const char *check_payload(hf_checkup *c, hf_bytes key, hf_bytes payload)
{
    switch (c->table) {
    case HF_IN_INBOX:
    case HF_IN_DEAD:
        return check_message(c, key, payload);
    case HF_IN_STATE:
        return payload.len < 8 ? "it is cut short" : check_owner(c, key, key.len);
    case HF_IN_ALARM_NAMES:
        return payload.len < 16 ? "it is cut short" : check_owner(c, key, owner_len(key));
    case HF_IN_ROWS:
    case HF_IN_DEDUPE:
    case HF_IN_TOPICS:
        return payload.len < 8 ? "it is cut short" : check_owner(c, key, owner_len(key));
    case HF_IN_ALARMS:
        return key.len == 16 && payload.len ? NULL : "it is no alarm";
    case HF_IN_STEPS:
        return check_step(key, payload);
    default:
        return NULL;
    }
}

static void check_record(hf_checkup *c, uint64_t page, hf_bytes key, hf_bytes value)
{
    hf_record_head head;
    uint64_t position = key.len == 8 ? hf_get64_key(key.data) : 0;
    if (!position || hf_record_check(value.data, value.len, position, &head)) {
        row_found(c, "record damaged", page, key,
                  position ? hf_error_detail() : "it has no position");
        return;
    }
    if (position < c->position)
        row_found(c, "record misplaced", page, key, "it overlaps the one before");
    bool first = !c->position; /* of its group some may have been folded and deleted */
    if (head.group != position && !first && !c->group_open)
        row_found(c, "group cut", page, key, "its group's first record is missing");
    c->position = position + head.count;
    c->waiting = head.waiting;
    c->group_open = !(head.flags & HF_RECORD_LAST);
}

void hf_checkup_row(hf_checkup *c, uint64_t page, hf_bytes key, hf_bytes value)
{
    hf_bytes payload;
    c->rows++;
    if (c->table == HF_IN_LOG) {
        check_record(c, page, key, value);
        return;
    }
    if (hf_row_open(c->table, key, value, &payload)) {
        row_found(c, "row damaged", page, key, hf_error_detail());
        return;
    }
    const char *why = check_payload(c, key, payload);
    if (why)
        row_found(c, "row misplaced", page, key, why);
}
