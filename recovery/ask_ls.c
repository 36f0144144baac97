/* ask_ls.c - the question `ls`: how many messages, by type, actor or error.
 *
 * Happy path: walk all messages the selection takes, count each under its name,
 * sort, tell the biggest. Memory grows with the groups, not with the messages.
 * Any thread. */
#include "recovery/arguments.h"
#include "recovery/crew.h"
#include "recovery/tallies.h"

#include "storage/error.h"

enum { LIMIT = 10000, LIMIT_MAX = 100000 };

typedef enum by { BY_TYPES, BY_ACTORS, BY_ERRORS } by;

typedef struct listing {
    hf_scan    scan;
    hf_tallies tallies;
    hf_tally  *last;    /* the tally of the message before; NULL: it may have moved */
    uint64_t   actor;   /* and its actor: hash, */
    uint64_t   number;  /* and hf_standing.number */
    by         by;
    uint64_t   limit;
} listing;

static int count_error(listing *l, const hf_sight *s)
{
    char name[HF_TYPE_MAX + 1 + HF_ERROR_MAX];
    if (s->msg.status != HF_DEAD && s->msg.status != HF_RETRYING)
        return HF_OK;
    size_t type = hf_address_type_len(s->msg.to, s->e.to_len), text = strlen(s->msg.error);
    if (type > HF_TYPE_MAX)
        type = HF_TYPE_MAX;
    if (text > HF_ERROR_MAX)
        text = HF_ERROR_MAX;
    memcpy(name, s->msg.to, type);
    name[type] = 0;
    memcpy(name + type + 1, s->msg.error, text);
    hf_tally *tally = hf_tallies_of(&l->tallies, name, type + 1 + text);
    if (!tally)
        return hf_error(HF_ENOMEM, "a list of errors");
    hf_tally_add(tally, s);
    return HF_OK;
}

/* Was this actor not seen before? The inbox comes last and shows an actor's messages one
 * after the other, so of what stands there nothing must be noted. */
static int see_actor(listing *l, uint64_t hash, bool apart, bool *fresh)
{
    if (apart || !l->scan.plain)
        return hf_tallies_see(&l->tallies, hash, fresh);
    *fresh = (!l->last || l->actor != hash) && !hf_tallies_saw(&l->tallies, hash);
    return HF_OK;
}

static int count(void *user, const hf_sight *s)
{
    listing *l = user;
    if (l->by == BY_ERRORS)
        return count_error(l, s);
    size_t len = s->e.to_len;
    if (l->by == BY_TYPES)
        len = hf_address_type_len(s->msg.to, len);
    bool fresh = false;
    int err = l->by == BY_TYPES ? see_actor(l, s->e.hash, s->died || s->delayed, &fresh) : HF_OK;
    hf_tally *tally = err ? NULL : hf_tallies_of(&l->tallies, s->msg.to, len);
    if (!tally)
        return hf_error(HF_ENOMEM, "a list of actors");
    tally->actors += fresh;
    hf_tally_add(tally, s);
    l->last = tally;
    l->actor = s->e.hash;
    l->number = 0;
    return HF_OK;
}

/* The same for a message of the same group as the one before, in fewer steps. */
static bool count_plain(void *user, const hf_standing *actor, hf_status status, uint64_t id,
                        uint64_t sent)
{
    listing *l = user;
    hf_tally *t = l->last;
    if (l->by == BY_ERRORS) /* it never failed */
        return true;
    if (!t)
        return false;
    if (l->number != actor->number) {
        size_t len = actor->len;
        bool fresh = false;
        if (l->by == BY_TYPES)
            len = hf_address_type_len(actor->to, len);
        if (t->len != len || memcmp(t->name, actor->to, len) != 0)
            return false;
        if (l->by == BY_TYPES && see_actor(l, actor->hash, false, &fresh))
            return false;
        t->actors += fresh;
        l->actor = actor->hash;
        l->number = actor->number;
    }
    t->by[status]++;
    if (sent && (!t->oldest || sent < t->oldest))
        t->oldest = sent;
    if (id > t->newest)
        t->newest = id;
    return true;
}

/* Types that are defined or paused have a row even without messages. */
static int add_empty_types(listing *l)
{
    const hf_living *living = l->scan.inquiry->living;
    for (uint32_t i = 0; living; i++) {
        const char *name = living->type(living->user, i);
        if (!name)
            break;
        if (!hf_tallies_of(&l->tallies, name, strlen(name)))
            return hf_error(HF_ENOMEM, "a list of types");
    }
    for (size_t i = 0; i < l->scan.pausings.count; i++) {
        const char *what = l->scan.pausings.items[i].what;
        if (*what && !strchr(what, '/') && !hf_tallies_of(&l->tallies, what, strlen(what)))
            return hf_error(HF_ENOMEM, "a list of types");
    }
    return HF_OK;
}

static void put_counts(listing *l, const hf_tally *t)
{
    hf_out *out = &l->scan.inquiry->row;
    const hf_living *living = l->scan.inquiry->living;
    size_t type = hf_address_type_len(t->name, t->len);
    hf_out_text(out, "type", hf_view(t->name, type));
    if (l->by == BY_ACTORS)
        hf_out_text(out, "actor", hf_view(t->name, t->len));
    for (int status = HF_WAITING; status <= HF_DEAD; status++)
        hf_out_uint(out, hf_status_name((hf_status)status), t->by[status]);
    hf_out_time(out, "oldest", t->oldest);
    if (l->by == BY_TYPES) {
        hf_out_uint(out, "actors", t->actors);
        if (living)
            hf_out_bool(out, "defined", living->defines(living->user, t->name, t->len));
    }
    hf_out_pausing(out, hf_pausings_find(&l->scan.pausings, t->name, t->len));
    if (living)
        hf_out_uint(out, "stuck", t->stuck);
}

static void put_error(hf_out *out, const hf_tally *t)
{
    size_t type = strlen(t->name);
    hf_out_text(out, "type", hf_view(t->name, type));
    hf_out_text(out, "error", hf_view(t->name + type + 1, t->len - type - 1));
    hf_out_uint(out, "retrying", t->by[HF_RETRYING]);
    hf_out_uint(out, "dead", t->by[HF_DEAD]);
    hf_out_time(out, "first", t->first);
    hf_out_time(out, "last", t->last);
    hf_out_uint(out, "id", t->newest);
}

static int tell(listing *l)
{
    hf_inquiry *inquiry = l->scan.inquiry;
    int err = HF_OK;
    hf_tallies_sort(&l->tallies);
    for (size_t i = 0; !err && i < l->tallies.count && i < l->limit; i++) {
        hf_out_map(&inquiry->row, NULL);
        if (l->by == BY_ERRORS)
            put_error(&inquiry->row, &l->tallies.items[i]);
        else
            put_counts(l, &l->tallies.items[i]);
        err = hf_inquiry_tell(inquiry);
    }
    if (err)
        return err;
    hf_out_map(&inquiry->row, NULL);
    hf_out_uint(&inquiry->row, "scanned", l->scan.scanned);
    hf_out_uint(&inquiry->row, "groups", l->tallies.count);
    return hf_inquiry_tell(inquiry);
}

static int which(const hf_argument *a, by *which)
{
    static const char *const names[] = { "types", "actors", "errors" };
    for (int i = 0; i < 3; i++) {
        if (!a->given || (strlen(names[i]) == a->bytes.len
                          && memcmp(names[i], a->bytes.data, a->bytes.len) == 0)) {
            *which = (by)i;
            return HF_OK;
        }
    }
    return hf_error(HF_EINVAL, "ls: `by` is types, actors or errors");
}

/* For another thread. Which actors have dead or delayed messages was seen before. */
static void begin_anew(void *user)
{
    listing *l = user;
    hf_tallies seen = l->tallies;
    l->tallies = (hf_tallies){ .seen = seen.seen, .seen_count = seen.seen_count,
                               .seen_mask = seen.seen_mask };
    l->last = NULL;
}

static int take_over(void *user, void *other)
{
    listing *l = user, *o = other;
    int err = l ? hf_tallies_merge(&l->tallies, &o->tallies) : HF_OK;
    if (l)
        l->last = NULL; /* it may have moved */
    o->tallies.seen = NULL; /* lent */
    hf_tallies_done(&o->tallies);
    return err;
}

static const hf_crew crew = { sizeof(listing), begin_anew, take_over };

static int list(hf_inquiry *inquiry, listing *l, hf_where *where)
{
    int err = hf_scan_open(&l->scan, inquiry);
    if (err)
        return err;
    l->scan.where = where;
    if (!where) {
        l->scan.plain = count_plain;
        l->scan.keyless = true;
        l->scan.crew = &crew;
    }
    err = hf_scan_all(&l->scan, count, l);
    if (!err && l->by == BY_TYPES && !where)
        err = add_empty_types(l);
    if (!err)
        err = tell(l);
    hf_scan_close(&l->scan);
    return err;
}

int hf_ask_ls(hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_argument args[] = { { .name = "by", .type = HF_ARG_TEXT },
                           { .name = "where", .type = HF_ARG_TEXT },
                           { .name = "limit", .type = HF_ARG_UINT } };
    listing l = { .limit = LIMIT };
    hf_where *where = NULL;
    int err = hf_arguments_read("ls", arguments, args, 3);
    if (!err)
        err = which(&args[0], &l.by);
    if (!err)
        err = hf_where_argument(&where, &args[1]);
    if (!err && args[2].given)
        l.limit = args[2].number;
    if (!err && l.limit > LIMIT_MAX)
        err = hf_error(HF_EINVAL, "ls: `limit` is at most %d", LIMIT_MAX);
    if (!err)
        err = list(inquiry, &l, where);
    hf_tallies_done(&l.tallies);
    hf_where_free(where);
    return err;
}
