/* actor_rows.c - the first rows of an actor's own table, for `actor`.
 *
 * Happy path: walk the shelf of what its handler put, up to the limit, and write each
 * as an element of an array. Large values are told by their size only. Fails on a
 * damaged row, and for want of memory. Any thread. */
#include "recovery/actor_rows.h"

#include "storage/error.h"

enum { VALUE_MAX = 4 << 10, PAGE_BYTES = 256 << 10, STOP = 1 };

typedef struct row_list {
    hf_actor_rows *rows;
    hf_key         shelf;
    uint64_t       limit;
} row_list;

/* A text is told as one, so that "7" is not taken for a number. */
static bool is_text(hf_bytes key)
{
    const uint8_t *at = key.data;
    for (size_t i = 0; i < key.len; i++)
        if (at[i] < 0x20 || at[i] > 0x7e)
            return false;
    return true;
}

static int meet_row(void *user, hf_bytes key, hf_bytes payload)
{
    row_list *l = user;
    hf_actor_rows *rows = l->rows;
    hf_key shelf = l->shelf;
    if (key.len <= shelf.len || memcmp(key.data, shelf.bytes, shelf.len) != 0)
        return STOP;
    if (payload.len < 8)
        return hf_error(HF_ECORRUPT, "a row is cut short");
    if (rows->told == l->limit || rows->out.len >= PAGE_BYTES) {
        rows->more = true;
        return STOP;
    }
    hf_bytes value = hf_view((const uint8_t *)payload.data + 8, payload.len - 8);
    hf_bytes own = hf_view((const uint8_t *)key.data + shelf.len, key.len - shelf.len);
    hf_out_map(&rows->out, NULL);
    if (is_text(own))
        hf_out_text(&rows->out, "key", own);
    else
        hf_out_bin(&rows->out, "key", own);
    hf_out_uint(&rows->out, "value_bytes", value.len);
    if (value.len <= VALUE_MAX)
        hf_out_bin(&rows->out, "value", value);
    hf_out_end(&rows->out);
    rows->told++;
    return rows->out.err;
}

int hf_actor_rows_read(hf_actor_rows *rows, hf_view_of *view, const char *actor, uint64_t limit)
{
    row_list l = { .rows = rows, .limit = limit };
    size_t len = strlen(actor);
    hf_key_actor(&l.shelf, actor, len, hf_address_hash(hf_view_seed(view), actor, len));
    l.shelf.bytes[l.shelf.len++] = 0;
    l.shelf.bytes[l.shelf.len++] = HF_SHELF_USER;
    int err = hf_view_walk(view, HF_IN_ROWS, hf_key_bytes(&l.shelf), meet_row, &l);
    return err == STOP ? HF_OK : err;
}

void hf_actor_rows_put(hf_actor_rows *rows, hf_out *out)
{
    hf_out_array(out, "rows");
    if (rows->told)
        hf_out_raw(out, NULL, hf_out_bytes(&rows->out));
    out->open[out->depth - 1].count = (uint32_t)rows->told;
    hf_out_end(out);
    if (rows->more)
        hf_out_bool(out, "rows_more", true);
}
