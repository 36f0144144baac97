/* find.c - hf_find and hf_requeue: the plain ways to what hf_query and hf_change do.
 *
 * Happy path of hf_find: ask for page after page of `messages`, with bodies,
 * and tell each as a struct. What changes meanwhile may or may not be seen;
 * nothing is told twice. One thread. */
#include "recovery/arguments.h"
#include "recovery/question.h"

#include "storage/error.h"
#include "storage/memory.h"

enum { PAGE = 1000 };
enum {
    ID, KEY, ACTOR, FROM, KIND, CAUSE, STATUS, ATTEMPT, SENT, DUE, DIED, RETRY, ERR, ERROR,
    JOINED, LOST, URGENCY, EXPIRES, REPLACED, ABOUT, BODY_BYTES, BODY, SCANNED, MATCHED, MORE,
    NEXT, FIELDS
};

typedef struct walk {
    hf_message_fn each;
    void         *user;
    uint64_t      next;
    bool          more;
    uint8_t      *body;   /* aligned */
    size_t        room;
} walk;

static const hf_argument fields[FIELDS] = {
    [ID] = { .name = "id", .type = HF_ARG_UINT },
    [KEY] = { .name = "key", .type = HF_ARG_TEXT },
    [ACTOR] = { .name = "actor", .type = HF_ARG_TEXT },
    [FROM] = { .name = "from", .type = HF_ARG_TEXT },
    [KIND] = { .name = "kind", .type = HF_ARG_TEXT },
    [CAUSE] = { .name = "cause", .type = HF_ARG_TEXT },
    [STATUS] = { .name = "status", .type = HF_ARG_TEXT },
    [ATTEMPT] = { .name = "attempt", .type = HF_ARG_UINT },
    [SENT] = { .name = "sent", .type = HF_ARG_UINT },
    [DUE] = { .name = "due", .type = HF_ARG_UINT },
    [DIED] = { .name = "died", .type = HF_ARG_UINT },
    [RETRY] = { .name = "retry", .type = HF_ARG_UINT },
    [ERR] = { .name = "err", .type = HF_ARG_INT },
    [ERROR] = { .name = "error", .type = HF_ARG_TEXT },
    [JOINED] = { .name = "joined", .type = HF_ARG_UINT },
    [LOST] = { .name = "lost", .type = HF_ARG_UINT },
    [URGENCY] = { .name = "urgency", .type = HF_ARG_UINT },
    [EXPIRES] = { .name = "expires", .type = HF_ARG_UINT },
    [REPLACED] = { .name = "replaced", .type = HF_ARG_UINT },
    [ABOUT] = { .name = "about", .type = HF_ARG_UINT },
    [BODY_BYTES] = { .name = "body_bytes", .type = HF_ARG_UINT },
    [BODY] = { .name = "body", .type = HF_ARG_BIN },
    [SCANNED] = { .name = "scanned", .type = HF_ARG_UINT },
    [MATCHED] = { .name = "matched", .type = HF_ARG_UINT },
    [MORE] = { .name = "more", .type = HF_ARG_BOOL },
    [NEXT] = { .name = "next", .type = HF_ARG_UINT },
};

static void copy_text(char *room, size_t size, const hf_argument *a)
{
    size_t len = a->bytes.len < size ? a->bytes.len : size - 1;
    if (len)
        memcpy(room, a->bytes.data, len);
    room[len] = 0;
}

static int copy_body(walk *w, hf_bytes *body)
{
    if (!body->len) {
        body->data = NULL; /* not somewhere odd inside the row */
        return HF_OK;
    }
    if (body->len > w->room) {
        uint8_t *grown = hf_mem_grow(w->body, body->len);
        if (!grown)
            return hf_error(HF_ENOMEM, "a body of %zu bytes", body->len);
        w->body = grown;
        w->room = body->len;
    }
    memcpy(w->body, body->data, body->len);
    body->data = w->body;
    return HF_OK;
}

static int number_of(const hf_argument *a, const char *(*name)(int), int count)
{
    for (int i = 0; i < count; i++)
        if (strlen(name(i)) == a->bytes.len && memcmp(name(i), a->bytes.data, a->bytes.len) == 0)
            return i;
    return 0;
}

static const char *status_name(int i)
{
    return hf_status_name((hf_status)i);
}

static const char *cause_name(int i)
{
    return hf_cause_name((hf_cause)i);
}

static int tell(walk *w, const hf_argument *f)
{
    char key[33], to[HF_ADDRESS_MAX + 1], from[HF_ADDRESS_MAX + 1], kind[HF_NAME_MAX + 1];
    char error[HF_ERROR_MAX + 1];
    copy_text(key, sizeof key, &f[KEY]);
    copy_text(to, sizeof to, &f[ACTOR]);
    copy_text(from, sizeof from, &f[FROM]);
    copy_text(kind, sizeof kind, &f[KIND]);
    copy_text(error, sizeof error, &f[ERROR]);
    hf_message message = {
        .id = f[ID].number, .key = key, .to = to, .from = from, .kind = kind,
        .body = f[BODY].bytes, .attempt = (uint32_t)f[ATTEMPT].number,
        .cause = (hf_cause)number_of(&f[CAUSE], cause_name, HF_GONE + 1),
        .status = (hf_status)number_of(&f[STATUS], status_name, HF_DONE + 1),
        .sent = f[SENT].number, .due = f[DUE].number, .retry = f[RETRY].number,
        .err = (int)(int64_t)f[ERR].number, .error = error,
        .urgency = (uint32_t)f[URGENCY].number, .expires = f[EXPIRES].number,
        .joined = (uint32_t)f[JOINED].number, .lost = (uint32_t)f[LOST].number,
    };
    if (message.cause == HF_ALARM) /* a tick's: how many it stands for */
        message.missed = (uint32_t)f[REPLACED].number;
    else
        message.replaced = (uint32_t)f[REPLACED].number;
    /* A question has one in its row, too. */
    if (message.cause == HF_ANSWER || message.cause == HF_GONE)
        message.about = f[ABOUT].number;
    int err = copy_body(w, &message.body);
    return err ? err : w->each(w->user, &message);
}

static int each_row(void *user, hf_bytes row)
{
    walk *w = user;
    hf_argument f[FIELDS];
    memcpy(f, fields, sizeof f);
    int err = hf_arguments_known("messages", row, f, FIELDS);
    if (err)
        return err;
    if (!f[SCANNED].given)
        return tell(w, f);
    w->next = f[NEXT].number;
    w->more = f[MORE].number;
    return HF_OK;
}

int hf_find(hf_store *store, const char *where, hf_message_fn each, void *user)
{
    walk w = { .each = each, .user = user };
    hf_out out = { 0 };
    uint64_t after = 0;
    int err = each ? HF_OK : hf_error(HF_EINVAL, "hf_find without a callback");
    do {
        hf_out_clear(&out);
        hf_out_map(&out, NULL);
        if (where)
            hf_out_text(&out, "where", hf_str(where));
        hf_out_uint(&out, "after", after);
        hf_out_uint(&out, "limit", PAGE);
        hf_out_bool(&out, "bodies", true);
        hf_out_bool(&out, "count", false);
        hf_out_end(&out);
        w.more = false;
        err = err ? err : out.err;
        if (!err)
            err = hf_query(store, "messages", hf_out_bytes(&out), each_row, &w);
        w.more = w.more && w.next > after;
        after = w.next;
    } while (!err && w.more);
    hf_mem_free(w.body);
    hf_out_done(&out);
    return err;
}

static int note_result(void *user, hf_bytes row)
{
    hf_argument f[] = { { .name = "requeued", .type = HF_ARG_UINT },
                        { .name = "missing", .type = HF_ARG_ARRAY } };
    int *result = user;
    int err = hf_arguments_known("requeue", row, f, 2);
    if (err)
        return err;
    *result = f[0].number ? HF_OK : f[1].count ? HF_ENOTFOUND : HF_EINVAL;
    return HF_OK;
}

int hf_requeue(hf_store *store, uint64_t id)
{
    hf_out out = { 0 };
    int result = HF_EIO;
    hf_out_map(&out, NULL);
    hf_out_array(&out, "ids");
    hf_out_uint(&out, NULL, id);
    hf_out_end(&out);
    hf_out_end(&out);
    int err = out.err;
    if (!err)
        err = hf_change(store, "requeue", hf_out_bytes(&out), note_result, &result);
    hf_out_done(&out);
    if (!err && result == HF_EINVAL)
        return hf_error(result, "message %llu waits, is held, paused or runs",
                        (unsigned long long)id);
    return err ? err : result;
}
