/* paging.c - messages out of the inbox table, some at a time.
 *
 * Happy path: an actor with rows - in the table, or left in the log by an earlier
 * run - gets a page of them, copied out of one short snapshot: those above the highest place it has
 * taken and below what the fold is known to have moved. A scan with a fair cursor finds actors that
 * have rows but nobody who knows about them: after open, and when the fold overtook us.
 *
 * Fails for want of memory (tried again); a damaged row sets its actor aside.
 * What the reader looks at was settled before its snapshot began: `taken` and
 * `folded` change only on this thread. The shard's thread. */
#include "engine/conflate.h"
#include "engine/inbox.h"
#include "engine/turn.h"
#include "engine/urgency.h"

#include "storage/error.h"
#include "storage/memory.h"

enum { PAGE_ROWS = 64, PAGE_BYTES = 256 << 10, SCAN_ACTORS = 64,
       KEPT_ROWS = 1024 };

enum { STOP = 1 };

static bool same_actor(const hf_key *actor, hf_bytes key)
{
    return key.len == actor->len + 8 && memcmp(key.data, actor->bytes, actor->len) == 0;
}

int hf_paging_look(hf_shard *shard, size_t *near, hf_overlay *tables)
{
    *tables = (hf_overlay){ .buf = &shard->row, .hint = near };
    return hf_log_look(shard->engine->log, &tables->txn, &tables->facts);
}

typedef struct check {
    const hf_shard *shard;
    hf_actor       *actor;
    hf_key          key;
} check;

static int see_row(void *user, hf_bytes key, hf_bytes payload)
{
    check *c = user;
    (void)payload;
    if (same_actor(&c->key, key))
        c->actor->rows = hf_get64_key((const uint8_t *)key.data + c->key.len) < c->shard->folded;
    return STOP;
}

int hf_paging_check(hf_shard *shard, hf_actor *actor)
{
    check c = { .shard = shard, .actor = actor };
    hf_overlay tables;
    hf_key from;
    actor->checked = shard->spills;
    if (!shard->rows_possible || actor->rows)
        return HF_OK;
    int err = hf_paging_look(shard, &shard->near_inbox, &tables);
    if (err)
        return err;
    hf_key_actor(&c.key, actor->address, actor->len, actor->hash);
    hf_key_place(&from, actor->address, actor->len, actor->hash, actor->taken + 1);
    tables.within = hf_key_bytes(&c.key);
    tables.keys = true;
    err = hf_overlay_walk(&tables, HF_IN_INBOX, hf_key_bytes(&from), see_row, &c);
    hf_txn_abort(tables.txn);
    hf_mailbox *box;
    err = err == STOP ? HF_OK : err;
    if (!err && actor->rows && !(err = hf_dispatch_mailbox(shard, actor, &box)))
        hf_dispatch_ready(shard, box);
    if (!err && actor->rows && actor->kind->is.inbox_max != HF_NEVER)
        err = hf_inbox_count(shard, actor);
    return err;
}

/* ---- A page */

typedef struct draft {
    hf_shard  *shard;
    hf_actor  *actor;
    hf_page   *page;
    size_t     used, room;
    uint32_t   count, kept;
    uint64_t   last;            /* place of the last row looked at */
    hf_key     key;             /* the actor's */
    bool       more;            /* rows are left */
    bool       urgent;          /* some message is */
    size_t     offsets[PAGE_ROWS];
    uint64_t   ids[PAGE_ROWS], places[PAGE_ROWS], times[PAGE_ROWS];
} draft;

static bool is_parcel(const hf_actor *actor, uint64_t id)
{
    const hf_parcel *p = actor->mailbox ? actor->mailbox->parcels : NULL;
    for (; p; p = p->next)
        if (p->e.id == id)
            return true;
    return false;
}

static int draft_room(draft *d, size_t size)
{
    if (d->page && d->used + size <= d->room)
        return HF_OK;
    size_t room = d->used + size > 4096 ? (d->used + size) * 2 : 4096;
    hf_page *page = hf_mem_grow(d->page, sizeof *page + 16 + room);
    if (!page)
        return hf_error(HF_ENOMEM, "a page of %s", d->actor->address);
    d->page = page;
    d->room = room;
    return HF_OK;
}

/* Entries in a page stand on 16-byte boundaries of memory. */
static size_t page_base(const hf_page *page)
{
    return (16 - ((uintptr_t)page->bytes & 15)) & 15;
}

static int draft_row(draft *d, hf_bytes key, hf_bytes payload)
{
    hf_entry e;
    int err = hf_row_message_in(HF_IN_INBOX, key, payload, &e);
    if (err)
        return err;
    d->last = e.place;
    if (is_parcel(d->actor, e.id))
        return HF_OK; /* begun: the table just doesn't know yet */
    bool kept = false; /* by those that replace each other */
    if (e.flags & HF_ENTRY_CONFLATES && (err = hf_conflate_row(d->shard, d->actor, &e, &kept)))
        return err;
    d->kept += kept;
    if (kept)
        return HF_OK;
    size_t size = hf_entry_size(&e);
    if ((err = draft_room(d, size)))
        return err;
    /* Encoded where it will be aligned once the page has its final place. */
    hf_entry_encode(&e, d->page->bytes + page_base(d->page) + d->used);
    d->offsets[d->count] = d->used;
    d->ids[d->count] = e.id;
    d->places[d->count] = e.place;
    d->times[d->count] = e.sent;
    d->used += size;
    d->urgent |= e.urgency != 0;
    d->count++;
    return HF_OK;
}

static int take_row(void *user, hf_bytes key, hf_bytes payload)
{
    draft *d = user;
    /* From there on the message still waits in the log for its turn. */
    if (!same_actor(&d->key, key)
        || hf_get64_key((const uint8_t *)key.data + d->key.len) >= d->shard->folded)
        return STOP;
    d->more = d->count == PAGE_ROWS || d->kept == KEPT_ROWS || d->used >= PAGE_BYTES;
    return d->more ? STOP : draft_row(d, key, payload);
}

static int read_rows(draft *d)
{
    hf_overlay tables;
    hf_key from;
    const hf_actor *a = d->actor;
    int err = hf_paging_look(d->shard, &d->shard->near_inbox, &tables);
    if (err)
        return err;
    hf_key_actor(&d->key, a->address, a->len, a->hash);
    hf_key_place(&from, a->address, a->len, a->hash, a->taken + 1);
    tables.within = hf_key_bytes(&d->key);
    err = hf_overlay_walk(&tables, HF_IN_INBOX, hf_key_bytes(&from), take_row, d);
    hf_txn_abort(tables.txn);
    return err == STOP ? HF_OK : err;
}

static int hand_over(draft *d)
{
    hf_mailbox *box;
    int err = hf_dispatch_mailbox(d->shard, d->actor, &box);
    if (!d->page)
        return err;
    d->page->uses = 1;
    for (uint32_t i = 0; !err && i < d->count; i++) {
        hf_letter_in letter = { d->page->bytes + page_base(d->page) + d->offsets[i], d->page,
                                d->ids[i], d->places[i], d->times[i] };
        err = hf_letters_push(&box->paged, &letter);
        if (!err)
            d->page->uses++;
        if (!err && d->urgent)
            hf_urgency_letter(box, &letter);
    }
    hf_page_drop(d->page);
    return err;
}

int hf_paging_fill(hf_shard *shard, hf_actor *actor)
{
    draft d = { .shard = shard, .actor = actor };
    int err = read_rows(&d);
    if (err == HF_ECORRUPT || err == HF_EVERSION) {
        actor->damaged = true;
        hf_engine_log(shard->engine, HF_ERROR, "%s is set aside: a message is damaged (%s)",
                      actor->address, hf_error_detail());
        d.more = false;
        err = HF_OK;
    }
    if (err) {
        hf_mem_free(d.page);
        return err;
    }
    if (!d.count && actor->taken < d.last)
        actor->taken = d.last;
    err = hand_over(&d);
    uint32_t read = d.count + d.kept;
    if (actor->mailbox)
        actor->mailbox->unread -= read < actor->mailbox->unread ? read : actor->mailbox->unread;
    actor->rows = d.more || err; /* what found no memory is read again */
    return err;
}

/* ---- The scan */

void hf_paging_scan_again(hf_shard *shard)
{
    shard->scanning = true;
    shard->scan_kind = 0;
    shard->scan_key.len = 0;
}

/* First key of this shard's share of a type. */
static void share_start(const hf_shard *shard, const hf_kind_of *kind, hf_key *key)
{
    uint64_t low = ((uint64_t)shard->index << 32) / shard->engine->shard_count;
    while (hf_address_shard(low << 32, shard->engine->shard_count) < shard->index)
        low++;
    memcpy(key->bytes, kind->is.name, kind->name_len);
    key->bytes[kind->name_len] = 0;
    hf_put64_key(key->bytes + kind->name_len + 1, low << 32);
    key->len = kind->name_len + 9;
}

/* The actor of a row, if it is of our share; 0: past its end. */
static size_t actor_of_row(const hf_shard *shard, const hf_kind_of *kind, hf_bytes key,
                           char *address, uint64_t *hash)
{
    const uint8_t *bytes = key.data;
    if (key.len < kind->name_len + 17 || memcmp(bytes, kind->is.name, kind->name_len + 1) != 0)
        return 0;
    size_t len = hf_address_of_key(address, bytes, key.len - 8, hash);
    return hf_address_shard(*hash, shard->engine->shard_count) == shard->index ? len : 0;
}

typedef struct found {
    char     address[SCAN_ACTORS][HF_ADDRESS_MAX + 1];
    uint8_t  len[SCAN_ACTORS];
    uint64_t hash[SCAN_ACTORS];
    uint32_t count;
} found;

typedef struct scan {
    hf_shard         *shard;
    const hf_kind_of *kind;
    found            *found;
    uint32_t          skipped; /* rows of the actor found last */
} scan;

enum { SKIP = 2, FULL = 3, SKIP_MAX = 32 };

static int see_actor(void *user, hf_bytes key, hf_bytes payload)
{
    scan *s = user;
    found *f = s->found;
    hf_key *last = &s->shard->scan_key;
    uint64_t hash;
    (void)payload;
    if (f->count && key.len == last->len && memcmp(key.data, last->bytes, key.len - 8) == 0)
        return ++s->skipped < SKIP_MAX ? HF_OK : SKIP;
    if (f->count == SCAN_ACTORS)
        return FULL;
    size_t len = actor_of_row(s->shard, s->kind, key, f->address[f->count], &hash);
    if (!len)
        return STOP;
    f->len[f->count] = (uint8_t)len;
    f->hash[f->count++] = hash;
    /* On from whatever comes after all of this actor's places. */
    memcpy(last->bytes, key.data, key.len - 8);
    memset(last->bytes + key.len - 8, 0xff, 8);
    last->len = key.len;
    s->skipped = 0;
    return HF_OK;
}

/* Look up to some actors further; sets whether this type is through. */
static int scan_type(hf_shard *shard, const hf_kind_of *kind, found *f, bool *through)
{
    scan s = { shard, kind, f, 0 };
    hf_overlay tables;
    int err = hf_paging_look(shard, &shard->near_inbox, &tables);
    if (err)
        return err;
    tables.keys = true;
    if (!shard->scan_key.len)
        share_start(shard, kind, &shard->scan_key);
    do {
        hf_key from = shard->scan_key;
        s.skipped = 0;
        err = hf_overlay_walk(&tables, HF_IN_INBOX, hf_key_bytes(&from), see_actor, &s);
    } while (err == SKIP);
    hf_txn_abort(tables.txn);
    *through = err != FULL;
    return err == FULL || err == STOP ? HF_OK : err;
}

static int wake_found(hf_shard *shard, const found *f)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < f->count; i++) {
        hf_mailbox *box;
        hf_actor *actor = hf_actors_find(&shard->actors, f->hash[i], f->address[i], f->len[i]);
        if (!actor)
            err = hf_resident_load(shard, f->hash[i], f->address[i], f->len[i], &actor);
        if (err || !actor)
            continue;
        err = hf_paging_check(shard, actor);
        if (!err && actor->rows && !(err = hf_dispatch_mailbox(shard, actor, &box)))
            hf_dispatch_ready(shard, box);
    }
    return err;
}

void hf_paging_scan(hf_shard *shard)
{
    hf_types *types = &shard->engine->types;
    static _Thread_local found f;
    bool through;
    f.count = 0;
    if (shard->scan_kind >= types->count) {
        shard->scanning = false;
        return;
    }
    hf_key before = shard->scan_key;
    int err = scan_type(shard, &types->kinds[shard->scan_kind], &f, &through);
    if (!err)
        err = wake_found(shard, &f);
    if (err == HF_ECORRUPT) {
        /* Rows may be hidden: whoever goes on would say that there are none. */
        hf_engine_stop(shard->engine, err, "the inbox can't be walked; see holdfast salvage");
        shard->scanning = false;
    }
    if (err) { /* tried again from where it was */
        shard->scan_key = before;
        return;
    }
    if (through) {
        shard->scan_kind++;
        shard->scan_key.len = 0;
    }
}
