/* actor_schedules.c - the schedules of an actor, for `actor`.
 *
 * Happy path: their rows lie together; each is told with its words and when it is due
 * next, up to the limit. Fails on a damaged row, and for want of memory. Any thread. */
#include "recovery/actor_schedules.h"

#include "storage/error.h"

enum { STOP = 1, POSITION = 8, FIELDS = 16 };

typedef struct schedule_list {
    hf_actor_schedules *schedules;
    hf_key              shelf;
    uint64_t            limit;
    const hf_scan      *scan;
} schedule_list;

static int meet_schedule(void *user, hf_bytes key, hf_bytes payload)
{
    schedule_list *l = user;
    size_t before = l->shelf.len;
    if (key.len <= before || memcmp(key.data, l->shelf.bytes, before) != 0
        || l->schedules->told == l->limit)
        return STOP;
    const uint8_t *at = (const uint8_t *)payload.data + POSITION;
    size_t left = payload.len > POSITION ? payload.len - POSITION : 0;
    if (left <= FIELDS || !memchr(at + FIELDS, 0, left - FIELDS))
        return hf_error(HF_ECORRUPT, "a schedule can't be read");
    hf_out *out = &l->schedules->out;
    hf_out_map(out, NULL);
    hf_out_text(out, "name", hf_view((const uint8_t *)key.data + before, key.len - before));
    const char *words = (const char *)at + FIELDS;
    hf_out_text(out, "schedule", hf_str(words));
    hf_out_uint(out, "due",
                hf_scan_told(l->scan, hf_get64(at + 8),
                             strncmp(words + strspn(words, " \t"), "every", 5) != 0));
    hf_out_uint(out, "missed", hf_get32(at));
    hf_out_end(out);
    l->schedules->told++;
    return out->err;
}

int hf_actor_schedules_read(hf_actor_schedules *schedules, const hf_scan *scan, const char *actor,
                            uint64_t limit)
{
    schedule_list l = { .schedules = schedules, .limit = limit, .scan = scan };
    size_t len = strlen(actor);
    hf_key_actor(&l.shelf, actor, len, hf_address_hash(hf_view_seed(scan->view), actor, len));
    l.shelf.bytes[l.shelf.len++] = 0;
    l.shelf.bytes[l.shelf.len++] = HF_SHELF_SCHEDULE;
    int err = hf_view_walk(scan->view, HF_IN_ROWS, hf_key_bytes(&l.shelf), meet_schedule, &l);
    return err == STOP ? HF_OK : err;
}

void hf_actor_schedules_put(hf_actor_schedules *schedules, hf_out *out)
{
    hf_out_array(out, "schedules");
    if (schedules->told)
        hf_out_raw(out, NULL, hf_out_bytes(&schedules->out));
    out->open[out->depth - 1].count = (uint32_t)schedules->told;
    hf_out_end(out);
}
