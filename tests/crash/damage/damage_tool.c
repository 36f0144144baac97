/* damage_tool.c - the tool's library looks into a damaged store.
 *
 * Happy path of a check: every question is asked; each answer is right, or a clean
 * error. One thread, of a child. */
#include "tests/crash/damage/damage.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include "storage/msgpack_scan.h"

#include <stdio.h>

/* A meta page may claim a map of any size: that cannot be had. */
static void clean_error(int err, const char *what)
{
    bool too_large = err == HF_ENOMEM && strstr(hf_detail(), "cannot map");
    bool clean = err == HF_ECORRUPT || err == HF_EVERSION || err == HF_EIO || err == HF_EINVAL
                 || err == HF_ENOTFOUND || too_large;
    if (err)
        note(clean ? REFUSED : BAD, "%s: %s (%s)", what, hf_strerror(err), hf_detail());
}

/* The field of a row that is a map of plain values; false: it has none. */
static bool skip(hf_bytes *rest, hf_token *token)
{
    if (hf_msgpack_token(*rest, token))
        return false;
    uint64_t more = token->type == HF_TOKEN_MAP     ? 2ull * token->count
                    : token->type == HF_TOKEN_ARRAY ? token->count
                                                    : 0;
    *rest = hf_view((const uint8_t *)rest->data + token->size, rest->len - token->size);
    hf_token inner;
    while (more-- > 0)
        if (!skip(rest, &inner))
            return false;
    return true;
}

bool row_field(hf_bytes row, const char *name, hf_token *value)
{
    hf_token map, key;
    if (hf_msgpack_token(row, &map) || map.type != HF_TOKEN_MAP) {
        note(BAD, "a row is no map");
        return false;
    }
    hf_bytes rest = hf_view((const uint8_t *)row.data + map.size, row.len - map.size);
    for (uint32_t i = 0; i < map.count; i++) {
        if (!skip(&rest, &key) || !skip(&rest, value)) {
            note(BAD, "a row is no msgpack");
            return false;
        }
        if (key.as.bytes.len == strlen(name) && memcmp(key.as.bytes.data, name, strlen(name)) == 0)
            return true;
    }
    return false;
}

/* ---- Messages */

static int see_message(void *user, const hf_message *msg)
{
    uint32_t *count = user, kind, actor;
    ++*count;
    if (!address_known(msg->to, &kind, &actor) || body_number(msg->body, kind, actor) == UINT32_MAX)
        note(BAD, "message %llu to \"%s\" is shown, which nobody sent", (unsigned long long)msg->id,
             msg->to);
    else if (body_number(msg->body, kind, actor) < done_before(kind, actor))
        note(OLD, "a message to %s is shown that was done", msg->to);
    return HF_OK;
}

static void find_all(hf_store *store)
{
    uint32_t count = 0;
    int err = hf_find(store, NULL, see_message, &count);
    clean_error(err, "hf_find");
    if (!err && count != messages_left())
        note(MISSING, "%u messages are shown, not %u", count, messages_left());
}

/* ---- Actors */

typedef struct who {
    uint32_t kind, actor;
} who;

static int see_actor(void *user, hf_bytes row)
{
    const who *is = user;
    hf_token value;
    uint32_t wanted = done_before(is->kind, is->actor);
    if (row_field(row, "why", &value) && value.as.bytes.len == 7
        && memcmp(value.as.bytes.data, "damaged", 7) == 0) {
        note(ASIDE, "%s/%u is shown as damaged", cast[is->kind].type, is->actor);
        return HF_OK;
    }
    if (!row_field(row, "state", &value)) {
        if (wanted)
            note(OLD, "%s/%u is shown without a state", cast[is->kind].type, is->actor);
        return HF_OK;
    }
    uint32_t count = state_count(value.as.bytes, is->kind, is->actor);
    if (count == UINT32_MAX)
        note(BAD, "%s/%u is shown with a state nobody saved", cast[is->kind].type, is->actor);
    else if (count != wanted)
        note(OLD, "%s/%u is shown with the state after message %u", cast[is->kind].type, is->actor,
             count);
    return HF_OK;
}

static void ask_actors(hf_store *store)
{
    hf_out out = { 0 };
    char address[32];
    for (uint32_t kind = 0; kind < KINDS_OF_ACTOR; kind++)
        for (uint32_t actor = 0; actor < cast[kind].actors; actor += 3) {
            who is = { kind, actor };
            hf_out_clear(&out);
            hf_out_map(&out, NULL);
            hf_out_words(&out, "actor", address_of(kind, actor, address));
            hf_out_end(&out);
            clean_error(hf_query(store, "actor", hf_out_bytes(&out), see_actor, &is), "actor");
        }
    hf_out_done(&out);
}

/* ---- The rest: rows that are maps */

static int see_row(void *user, hf_bytes row)
{
    hf_token value;
    (void)user;
    (void)row_field(row, "no such field", &value);
    return HF_OK;
}

static void ask(hf_store *store, const char *question, const char *name, const char *word,
                uint64_t number)
{
    hf_out out = { 0 };
    hf_out_map(&out, NULL);
    if (word)
        hf_out_words(&out, name, word);
    else if (name)
        hf_out_uint(&out, name, number);
    hf_out_end(&out);
    clean_error(hf_query(store, question, hf_out_bytes(&out), see_row, NULL), question);
    hf_out_done(&out);
}

void damage_tool(const char *path)
{
    hf_store *store;
    int err = hf_store_open(&store, path, 0);
    clean_error(err, "hf_store_open");
    if (err)
        return;
    ask(store, "stats", NULL, NULL, 0);
    ask(store, "ls", "by", "types", 0);
    ask(store, "ls", "by", "actors", 0);
    ask(store, "ls", "by", "errors", 0);
    ask(store, "messages", "limit", NULL, 50);
    for (uint64_t id = 1; id < 200; id += 7) {
        hf_out out = { 0 };
        hf_out_map(&out, NULL);
        hf_out_uint(&out, "id", id);
        hf_out_end(&out);
        err = hf_query(store, "message", hf_out_bytes(&out), see_row, NULL);
        if (err != HF_ENOTFOUND)
            clean_error(err, "message");
        hf_out_done(&out);
    }
    ask_actors(store);
    find_all(store);
    hf_store_close(store);
}
