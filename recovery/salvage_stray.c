/* salvage_stray.c - look for what the gaps lack in pages that belong to no tree.
 *
 * LMDB never overwrites a page in use: what a row or a record was before often stands
 * elsewhere. Happy path: each row of such a page that is sound and belongs into a gap goes
 * into the new store, the newest of several; records of the log also from runs of large
 * pages whose row is lost, where the checksum says at which position they stood.
 * Who was restored so may be out of date, or have ended: that is noted, and settled when
 * the log has been applied. One thread. */
#include "recovery/salvage.h"

#include "storage/due.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/record.h"

/* Of two rows under one key the one with the higher age is the newer one. */
static uint64_t age_of(hf_table table, hf_bytes key, hf_bytes value)
{
    const uint8_t *payload = (const uint8_t *)value.data + 1;
    hf_entry e;
    switch (table) {
    case HF_IN_STATE:
        return hf_state_position(hf_get64(payload));
    case HF_IN_ALARM_NAMES:
        return hf_get64(payload + 8) * 2 + (hf_get64(payload) == 0);
    case HF_IN_INBOX:
        return hf_row_message(table, key, value, &e) ? 0 : e.attempt + ((uint64_t)e.phase << 32);
    case HF_IN_DEAD:
        return hf_row_message(table, key, value, &e) ? 0 : e.died;
    case HF_IN_STEPS:
        return hf_entry_decode(payload, value.len - HF_ROW_EXTRA, &e) ? e.phase : 0;
    default:
        return value.len < HF_ROW_EXTRA + 8 ? 0 : hf_get64(payload);
    }
}

/* What else there is to remember of it. */
static int note_stray(hf_salvaging *s, hf_table table, hf_bytes key)
{
    static const char why[] = "salvage: what it has may be out of date";
    char address[HF_ADDRESS_MAX + 1];
    uint64_t id;
    size_t len;
    switch (table) {
    case HF_IN_LOG:
        return hf_numbers_add(&s->records, hf_get64_key(key.data));
    case HF_IN_INBOX:
        return hf_keys_add(&s->letters, key);
    case HF_IN_DEAD:
        return hf_numbers_add(&s->dead, hf_get64_key(key.data));
    case HF_IN_ALARM_NAMES:
        if (hf_due_letter_of(key, &id, &len))
            return hf_keys_add(&s->delayed, key);
        break;
    case HF_IN_STATE:
    case HF_IN_ROWS:
        break;
    default:
        return HF_OK;
    }
    return hf_salvage_actor(table, key, address) ? hf_salvage_hold(s, address, why) : HF_OK;
}

static int take_in(hf_salvaging *s, hf_table table, hf_bytes key, hf_bytes value)
{
    hf_bytes there;
    int err = hf_rebuild_find(s->rebuild, table, key, &there);
    if (!err && age_of(table, key, there) >= age_of(table, key, value))
        return HF_OK;
    if (err && err != HF_ENOTFOUND)
        return err;
    bool fresh = err == HF_ENOTFOUND;
    err = hf_salvage_admit(s, table, key, value);
    if (err || !fresh)
        return err;
    s->restored[table]++;
    return note_stray(s, table, key);
}

static int see_stray(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    hf_salvaging *s = user;
    int err = HF_OK;
    for (int t = 0; !err && t < HF_TABLES; t++) {
        hf_table table = (hf_table)t;
        if (table == HF_IN_LOG && key.len == 8 && hf_get64_key(key.data) < s->tail)
            continue;
        if (!hf_gaps_find(&s->gaps, table, key) || hf_rebuild_check(table, key, value)
            || !hf_salvage_sound(&s->quiet, table, page, key, value))
            continue;
        return take_in(s, table, key, value);
    }
    return err;
}

/* ---- Records of the log whose row is lost */

static int try_position(hf_salvaging *s, uint64_t position, hf_bytes value, bool *taken)
{
    hf_record_head head;
    hf_key key;
    hf_key_number(&key, position);
    *taken = position >= s->tail && position
             && hf_gaps_find(&s->gaps, HF_IN_LOG, hf_key_bytes(&key))
             && !hf_record_check(value.data, value.len, position, &head)
             && hf_salvage_sound(&s->quiet, HF_IN_LOG, 0, hf_key_bytes(&key), value);
    if (!*taken)
        return HF_OK;
    int err = take_in(s, HF_IN_LOG, hf_key_bytes(&key), value);
    if (!err && !(head.flags & HF_RECORD_LAST))
        err = hf_numbers_add(&s->ends, position + head.count);
    return err;
}

/* A record says where its group begins: there stands the first; others stand behind one
 * that was found before. */
static int see_run(void *user, uint64_t page, hf_bytes bytes)
{
    hf_salvaging *s = user;
    const uint8_t *at = bytes.data;
    bool taken = false;
    (void)page;
    if (bytes.len < HF_RECORD_HEAD || memcmp(at, "HFL", 3) != 0 || hf_get32(at + 12) > bytes.len)
        return HF_OK;
    hf_bytes value = hf_view(at, hf_get32(at + 12));
    int err = try_position(s, hf_get64(at + 24), value, &taken);
    for (size_t i = 0; !err && !taken && i < s->ends.count; i++)
        err = try_position(s, s->ends.all[i], value, &taken);
    return err;
}

/* ---- Which of them were the log's */

static uint64_t end_of(hf_salvaging *s, uint64_t position)
{
    hf_bytes value;
    hf_key key;
    hf_key_number(&key, position);
    if (hf_rebuild_find(s->rebuild, HF_IN_LOG, hf_key_bytes(&key), &value) || value.len < 16)
        return position;
    return position + hf_get32((const uint8_t *)value.data + 8);
}

/* Those that go on where the log ended. */
static size_t take_newest(hf_salvaging *s, size_t from)
{
    uint64_t end = s->log_end;
    size_t i = from;
    for (; i < s->records.count; i++) {
        uint64_t at = s->records.all[i];
        if (at != end && (i > from || at != s->next))
            break;
        end = end_of(s, at);
    }
    return i;
}

static int drop(hf_salvaging *s, size_t from, size_t to)
{
    int err = HF_OK;
    for (size_t i = from; !err && i < to; i++)
        err = hf_numbers_add(&s->dropped, s->records.all[i]);
    s->restored[HF_IN_LOG] -= to - from;
    return err;
}

/* LMDB counted the rows of the log, so it is known how many records are missing. Records
 * that were folded and deleted lie below the oldest that is left: the newest ones count. */
int hf_salvage_choose_records(hf_salvaging *s)
{
    hf_numbers *r = &s->records;
    size_t old = 0;
    hf_numbers_sort(r);
    while (old < r->count && r->all[old] < s->log_end)
        old++;
    if (s->wanted[HF_IN_LOG] == UINT64_MAX)
        return HF_OK; /* nobody counted them: see salvage_void.c */
    size_t newest = take_newest(s, old);
    uint64_t lack = s->wanted[HF_IN_LOG] > s->reached[HF_IN_LOG]
                        ? s->wanted[HF_IN_LOG] - s->reached[HF_IN_LOG] : 0;
    if (!s->older) /* those at the end were counted, too */
        lack -= lack < newest - old ? lack : newest - old;
    size_t drops = old > lack ? (size_t)(old - lack) : 0;
    lack -= old - drops;
    size_t last = r->count - newest < lack ? r->count : newest + (size_t)lack;
    int err = drop(s, 0, drops);
    return err ? err : drop(s, last, r->count);
}

static int sink(void *user, hf_bytes row)
{
    (void)user;
    (void)row;
    return HF_OK;
}

int hf_salvage_strays(hf_salvaging *s)
{
    size_t before;
    s->quiet.each = sink;
    if (!s->gaps.count)
        return HF_OK;
    if (s->hidden)
        hf_pages_forget(s->pages); /* look into all of them */
    int err = hf_pages_orphans(s->pages, see_stray, s);
    if (err || !hf_gaps_any(&s->gaps, HF_IN_LOG))
        return err;
    do { /* again as long as some brings others with it */
        before = s->records.count;
        err = hf_pages_runs(s->pages, see_run, s);
    } while (!err && s->ends.count && s->records.count > before);
    return err;
}
