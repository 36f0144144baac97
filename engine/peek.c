/* peek.c - hf_peek: what an actor's state is, without a turn.
 *
 * Happy path: peeks gather in a group at the desk of the actor's shard, which is called
 * once for many of them. It looks into memory, or, for an actor that is not there, into
 * the tables, with one snapshot for a group, copies the states and queues one callback for
 * all. A state that is staged and not committed waits in a group of its own batch. Groups
 * are used again with their memory, so a busy reader allocates nothing.
 *
 * Fails: too many on their way; without memory; a damaged state is told as such. A shard
 * reads only so many at once, and none while the answers of many are not taken: its turns
 * come first. Any thread asks; the shard's looks; the callback thread tells. */
#include "engine/peek.h"

#include "storage/address.h"
#include "storage/error.h"
#include "storage/memory.h"

enum {
    GROUP       = 256,        /* peeks at most */
    PENDING_MAX = 64 << 10,   /* of one shard */
    HELD_MAX    = 32 << 20,   /* bytes of states not told yet */
    KEEP_MAX    = 256 << 10,  /* bytes of a group that is kept for reuse */
    IDLE_MAX    = 64,         /* groups kept */
    BUDGET      = 4096,       /* of an errand: */
    READ_COSTS  = 8,          /* a look into the tables */
};

/* Bytes, one after another. */
typedef struct arena {
    uint8_t *bytes;
    size_t   len, room;
} arena;

typedef struct peek {
    hf_answer_fn answer;      /* NULL: it moved to a group that waits */
    void        *user;
    uint64_t     hash;
    size_t       at, state;   /* of the address, of the state, in their arenas */
    size_t       state_len;
    int          err;
    uint8_t      len;
    bool         found;
} peek;

typedef struct group {
    hf_callback   callback;
    struct group *next;
    struct desk  *desk;
    uint64_t      after;      /* a batch of the shard's: told once that is committed */
    uint32_t      count;
    uint32_t      live;       /* of them, those that did not move */
    arena         addresses, states;
    peek          peeks[GROUP];
} group;

typedef struct queue {
    group *first, **end;
} queue;

/* What waits at one shard. */
typedef struct desk {
    hf_errand       errand;
    hf_shard       *shard;
    pthread_mutex_t lock;
    queue           asked;    /* the last one is being filled */
    group          *last;
    group          *idle;
    uint32_t        idle_count, pending;
    bool            called;   /* the errand is on its way */
    bool            stalled;  /* the shard waits until answers are taken */
    size_t          held;
    /* the shard's thread */
    queue           taken;
    queue           late;     /* by `after` */
    bool            later;    /* a group was added to it */
} desk;

struct hf_peeks {
    uint32_t count;
    desk     desks[];
};

static void queue_init(queue *q)
{
    q->first = NULL;
    q->end = &q->first;
}

static void queue_add(queue *q, group *g)
{
    g->next = NULL;
    *q->end = g;
    q->end = &g->next;
}

static group *queue_take(queue *q)
{
    group *g = q->first;
    if (g && !(q->first = g->next))
        q->end = &q->first;
    return g;
}

/* ---- Groups */

static int put(arena *a, const void *bytes, size_t len, size_t *at)
{
    size_t start = (a->len + 15) & ~(size_t)15;
    if (start + len > a->room) {
        size_t room = (start + len) * 2 < 4096 ? 4096 : (start + len) * 2;
        void *grown = hf_mem_grow(a->bytes, room);
        if (!grown)
            return hf_error(HF_ENOMEM, "a peek");
        a->bytes = grown;
        a->room = room;
    }
    if (len)
        memcpy(a->bytes + start, bytes, len);
    a->len = start + len;
    *at = start;
    return HF_OK;
}

static void free_group(group *g)
{
    hf_mem_free(g->addresses.bytes);
    hf_mem_free(g->states.bytes);
    hf_mem_free(g);
}

static void tell_group(hf_callback *callback);

/* An empty one; its callback is reserved. Under the desk's lock. */
static group *new_group(desk *d)
{
    group *g = d->idle;
    if (g) {
        d->idle = g->next;
        d->idle_count--;
    } else if (!(g = hf_mem_alloc(sizeof *g))) {
        return NULL;
    } else {
        g->addresses = g->states = (arena){ 0 };
    }
    g->callback.run = tell_group;
    g->desk = d;
    g->after = 0;
    g->count = g->live = 0;
    g->addresses.len = g->states.len = 0;
    hf_callbacks_reserve(&d->shard->engine->callbacks);
    return g;
}

static void tell(const group *g, const peek *p)
{
    /* The empty state of an actor that has one is no NULL. */
    const void *state = p->state_len ? g->states.bytes + p->state : (const void *)"";
    p->answer(p->user, p->err, p->found ? hf_view(state, p->state_len) : hf_view(NULL, 0));
}

/* It is told: on the pile again. */
static void put_away(group *g)
{
    desk *d = g->desk;
    pthread_mutex_lock(&d->lock);
    d->pending -= g->live;
    d->held -= g->states.len;
    bool call = d->stalled && !d->called && d->held < HELD_MAX / 2;
    if (call) {
        d->called = true;
        d->stalled = false;
    }
    bool keep = d->idle_count < IDLE_MAX && g->states.room + g->addresses.room <= KEEP_MAX;
    if (keep) {
        g->next = d->idle;
        d->idle = g;
        d->idle_count++;
    }
    if (call)
        hf_shard_send_errand(d->shard, &d->errand);
    pthread_mutex_unlock(&d->lock);
    if (!keep)
        free_group(g);
}

static void tell_group(hf_callback *callback)
{
    group *g = (group *)(void *)((char *)callback - offsetof(group, callback));
    for (uint32_t i = 0; i < g->count; i++)
        if (g->peeks[i].answer)
            tell(g, &g->peeks[i]);
    put_away(g);
}

static void let_go(group *g)
{
    hf_callbacks_queue(&g->desk->shard->engine->callbacks, &g->callback);
}

/* ---- The shard's thread */

static int copy_state(group *g, peek *p, hf_bytes state)
{
    int err = put(&g->states, state.data, state.len, &p->state);
    p->err = err;
    p->found = !err;
    p->state_len = err ? 0 : state.len;
    return err;
}

/* The group that waits for that batch; NULL: no memory. */
static group *late_group(desk *d, uint64_t after)
{
    group **link = &d->late.first, *last = NULL;
    for (group *g = d->late.first; g && g->after <= after; g = g->next) {
        last = g;
        link = &g->next;
    }
    if (last && last->after == after && last->count < GROUP)
        return last;
    pthread_mutex_lock(&d->lock);
    group *g = new_group(d);
    pthread_mutex_unlock(&d->lock);
    if (!g)
        return NULL;
    g->after = after;
    g->next = *link;
    *link = g;
    if (!g->next)
        d->late.end = &g->next;
    d->later = true;
    return g;
}

/* What memory holds is staged: told when that is committed. */
static void wait_for_commit(desk *d, group *g, peek *p, const hf_actor *actor)
{
    group *late = late_group(d, actor->batch);
    if (!late) {
        p->err = HF_ENOMEM;
        return;
    }
    peek *to = &late->peeks[late->count];
    *to = *p;
    if (actor->state)
        (void)copy_state(late, to, hf_view(actor->state, actor->state_len));
    late->count++;
    late->live++;
    g->live--;
    p->answer = NULL;
}

static int read_state(hf_shard *shard, hf_overlay *tables, group *g, peek *p)
{
    hf_key key;
    hf_bytes payload;
    const char *address = (const char *)g->addresses.bytes + p->at;
    int err = tables->txn ? HF_OK : hf_paging_look(shard, &shard->near_state, tables);
    if (err)
        return err;
    hf_key_actor(&key, address, p->len, p->hash);
    err = hf_overlay_get(tables, HF_IN_STATE, hf_key_bytes(&key), &payload);
    if (!err && payload.len < 8)
        err = hf_error(HF_ECORRUPT, "the state of %s is cut short", address);
    if (!err)
        err = copy_state(g, p, hf_view((const uint8_t *)payload.data + 8, payload.len - 8));
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* One peek; returns what it cost. */
static uint32_t look(desk *d, hf_overlay *tables, group *g, peek *p)
{
    hf_shard *shard = d->shard;
    const char *address = (const char *)g->addresses.bytes + p->at;
    const hf_actor *actor = hf_actors_find(&shard->actors, p->hash, address, p->len);
    if (!actor) {
        p->err = read_state(shard, tables, g, p);
        return READ_COSTS;
    }
    if (actor->damaged)
        p->err = HF_ECORRUPT;
    else if (!hf_resident_is_committed(shard, actor->batch))
        wait_for_commit(d, g, p, actor);
    else if (actor->state)
        (void)copy_state(g, p, hf_view(actor->state, actor->state_len));
    return 1;
}

static uint32_t look_all(desk *d, hf_overlay *tables, group *g)
{
    uint32_t cost = 0;
    for (uint32_t i = 0; i < g->count; i++) {
        if (i + 8 < g->count)
            hf_actors_prefetch(&d->shard->actors, g->peeks[i + 8].hash);
        cost += look(d, tables, g, &g->peeks[i]);
    }
    pthread_mutex_lock(&d->lock);
    d->held += g->states.len;
    pthread_mutex_unlock(&d->lock);
    return cost;
}

typedef enum what_now { LOOK, LATER, ENOUGH } what_now;

/* Take what was asked meanwhile. ENOUGH: nothing is left, or too much is not told yet:
 * then somebody else calls. */
static what_now take_asked(desk *d, bool may_look)
{
    pthread_mutex_lock(&d->lock);
    if (d->asked.first) {
        *d->taken.end = d->asked.first;
        d->taken.end = d->asked.end;
        queue_init(&d->asked);
        d->last = NULL;
    }
    d->stalled = d->taken.first && d->held >= HELD_MAX;
    what_now now = !d->taken.first || d->stalled ? ENOUGH : may_look ? LOOK : LATER;
    d->called = now != ENOUGH;
    pthread_mutex_unlock(&d->lock);
    return now;
}

static void run_errand(hf_shard *shard, hf_errand *errand)
{
    desk *d = (desk *)(void *)errand;
    hf_overlay tables = { .txn = NULL };
    uint32_t cost = 0;
    what_now now;
    while ((now = take_asked(d, cost < BUDGET)) == LOOK) {
        group *g = queue_take(&d->taken);
        cost += look_all(d, &tables, g);
        let_go(g);
    }
    hf_txn_abort(tables.txn);
    if (d->later) { /* what they wait for may ride */
        hf_shard_submit(shard);
        hf_journal_kick(shard->engine);
        d->later = false;
    }
    if (now == LATER)
        hf_shard_send_errand(shard, errand);
}

bool hf_peeks_wait(const hf_shard *shard)
{
    return shard->engine->peeks->desks[shard->index].late.first != NULL;
}

void hf_peeks_settled(hf_shard *shard)
{
    desk *d = &shard->engine->peeks->desks[shard->index];
    bool stopped = atomic_load(&shard->engine->phase) == HF_STOPPED;
    while (d->late.first && (stopped || d->late.first->after <= shard->committed)) {
        group *g = queue_take(&d->late);
        for (uint32_t i = 0; stopped && i < g->count; i++) {
            g->peeks[i].err = HF_EUNKNOWN;
            g->peeks[i].found = false;
        }
        pthread_mutex_lock(&d->lock);
        d->held += g->states.len;
        pthread_mutex_unlock(&d->lock);
        let_go(g);
    }
}

/* ---- Life */

int hf_peeks_make(hf_engine *engine)
{
    uint32_t count = engine->shard_count;
    struct hf_peeks *peeks = hf_mem_zero(1, sizeof *peeks + count * sizeof(desk));
    if (!peeks)
        return hf_error(HF_ENOMEM, "desks");
    peeks->count = count;
    for (uint32_t i = 0; i < count; i++) {
        desk *d = &peeks->desks[i];
        d->errand.run = run_errand;
        d->shard = &engine->shards[i];
        pthread_mutex_init(&d->lock, NULL);
        queue_init(&d->asked);
        queue_init(&d->taken);
        queue_init(&d->late);
    }
    engine->peeks = peeks;
    return HF_OK;
}

static void close_queue(queue *q, int err)
{
    for (group *g; (g = queue_take(q));) {
        for (uint32_t i = 0; i < g->count; i++) {
            g->peeks[i].err = err;
            g->peeks[i].found = false;
        }
        g->desk->held += g->states.len;
        let_go(g);
    }
}

void hf_peeks_stop(hf_engine *engine)
{
    struct hf_peeks *peeks = engine->peeks;
    int err = atomic_load(&engine->phase) == HF_STOPPED ? HF_EUNKNOWN : HF_ECLOSED;
    for (uint32_t i = 0; peeks && i < peeks->count; i++) {
        desk *d = &peeks->desks[i];
        pthread_mutex_lock(&d->lock);
        d->stalled = false;
        d->called = true; /* nobody comes any more */
        d->last = NULL;
        close_queue(&d->late, err);
        close_queue(&d->taken, err);
        close_queue(&d->asked, err);
        pthread_mutex_unlock(&d->lock);
    }
}

void hf_peeks_free(hf_engine *engine)
{
    struct hf_peeks *peeks = engine->peeks;
    for (uint32_t i = 0; peeks && i < peeks->count; i++) {
        desk *d = &peeks->desks[i];
        while (d->idle) {
            group *next = d->idle->next;
            free_group(d->idle);
            d->idle = next;
        }
        pthread_mutex_destroy(&d->lock);
    }
    hf_mem_free(peeks);
    engine->peeks = NULL;
}

/* ---- Asking */

static int add(desk *d, const peek *p, const char *address)
{
    if (d->pending >= PENDING_MAX)
        return hf_error(HF_EAGAIN, "%u peeks are on their way", d->pending);
    group *g = d->last;
    if (!g || g->count == GROUP) {
        g = new_group(d);
        if (!g)
            return hf_error(HF_ENOMEM, "a peek");
        queue_add(&d->asked, g);
        d->last = g;
    }
    peek *to = &g->peeks[g->count];
    *to = *p;
    int err = put(&g->addresses, address, p->len + 1u, &to->at);
    if (err)
        return err; /* what is in the group so far goes on its way */
    g->count++;
    g->live++;
    d->pending++;
    return HF_OK;
}

static int check(const hf_engine *engine, const char *actor, hf_answer_fn answer, size_t *len)
{
    size_t type;
    hf_error_clear();
    int err = hf_engine_check(engine);
    if (err)
        return err;
    if (!actor || !answer)
        return hf_error(HF_EINVAL, "hf_peek needs an actor, and whom to tell its state");
    *len = strnlen(actor, HF_ADDRESS_MAX + 1);
    if (!hf_address_split(actor, *len, &type))
        return hf_error(HF_EINVAL, "\"%.255s\" is no address (type/key, at most %d bytes)", actor,
                        HF_ADDRESS_MAX);
    if (!hf_types_named(&engine->types, actor, type))
        return hf_error(HF_ENOTYPE, "%s", actor);
    return HF_OK;
}

int hf_peek(hf_engine *engine, const char *actor, hf_answer_fn answer, void *user)
{
    size_t len = 0;
    int err = check(engine, actor, answer, &len);
    if (err)
        return err;
    peek p = { .answer = answer, .user = user, .len = (uint8_t)len,
               .hash = hf_address_hash(engine->seed, actor, len) };
    desk *d = &engine->peeks->desks[hf_address_shard(p.hash, engine->shard_count)];
    pthread_mutex_lock(&d->lock);
    err = add(d, &p, actor);
    bool call = d->asked.first && !d->called && !d->stalled;
    if (call)
        d->called = true;
    pthread_mutex_unlock(&d->lock);
    if (call)
        hf_shard_send_errand(d->shard, &d->errand);
    return err;
}
