/* order.c - a placed order, from the first look-up to "it is paid".
 *
 * Happy path: a "place" message is unpacked, looked up, and taken through the
 * steps of order_steps.c; then the actor's state says "paid" and the tally is
 * told, both in the commit that ends the message. After a kill the message
 * comes again: finished steps hand back their results, the one that was begun
 * is repeated with the same key.
 *
 * How it fails: a service that does not answer fails the turn, which is tried
 * again; one that refuses ends it as a dead letter at once. When a message is
 * dead, order_undo is called for each step that was begun, last first: refund
 * payment, void invoice, cancel order and tell the customer.
 *
 * The state remembers which message the order is (by its key) and what it said.
 * So the same line told again is known and ignored, another order under the
 * same number is buried, and a dead letter that is requeued goes on. */
#include "examples/orders/order.h"

#include "examples/orders/order_steps.h"
#include "examples/orders/shop.h"
#include "examples/orders/tally.h"

#include <stdio.h>

enum { WHY_FAILED = 1, REFUSED_MAX = 16 };

/* ---- The state: status, key, order, error, and who was refused */
typedef struct order_known {
    char           status[16]; /* "paid", "dead"; "" while unknown */
    char           key[64];    /* of the message that is this order */
    place_order    command;
    msgpack_object refused;    /* array of { key, order }, or nil */
} order_known;

static bool copy_text(const msgpack_object *map, const char *name, char *out, size_t size)
{
    hf_bytes text = hf_text(map, name);

    if (!text.data || text.len >= size)
        return false;
    memcpy(out, text.data, text.len);
    out[text.len] = 0;
    return true;
}

static int known_load(hf_turn *turn, order_known *known)
{
    hf_bytes state = hf_state(turn);
    msgpack_object map;
    const msgpack_object *refused;
    char why[WHY_SIZE];

    memset(known, 0, sizeof *known);
    if (!state.data)
        return HF_OK;
    int err = hf_unpack(turn, state, &map);
    if (err)
        return err;
    refused = hf_field(&map, "refused");
    if (refused && refused->type == MSGPACK_OBJECT_ARRAY)
        known->refused = *refused;
    if (!copy_text(&map, "status", known->status, sizeof known->status)
        || !copy_text(&map, "key", known->key, sizeof known->key)
        || command_unpack(hf_field(&map, "order"), &known->command, why))
        return HF_ECORRUPT;
    return HF_OK;
}

static void pack_name(msgpack_packer *packer, const char *name)
{
    size_t len = strlen(name);

    msgpack_pack_str(packer, len);
    msgpack_pack_str_body(packer, name, len);
}

/* `also`, `also_key`: another order under this number, now refused; or NULL. */
static void known_save(hf_turn *turn, const order_known *known, const char *error,
                       const place_order *also, const char *also_key)
{
    msgpack_packer *packer = hf_packer(turn);
    uint32_t old = known->refused.type == MSGPACK_OBJECT_ARRAY ? known->refused.via.array.size
                                                               : 0;
    uint32_t refused = old + (also ? 1 : 0);

    msgpack_pack_map(packer, 3u + (error ? 1 : 0) + (refused ? 1 : 0));
    hf_pack_text(packer, "status", hf_str(known->status));
    hf_pack_text(packer, "key", hf_str(known->key));
    if (error)
        hf_pack_text(packer, "error", hf_str(error));
    pack_name(packer, "order");
    command_pack(packer, &known->command);
    if (refused) {
        pack_name(packer, "refused");
        msgpack_pack_array(packer, refused);
        for (uint32_t i = 0; i < old; i++)
            msgpack_pack_object(packer, known->refused.via.array.ptr[i]);
        if (also) {
            msgpack_pack_map(packer, 2);
            hf_pack_text(packer, "key", hf_str(also_key));
            pack_name(packer, "order");
            command_pack(packer, also);
        }
    }
    hf_save(turn, hf_packed(packer));
}

/* Was this content refused before? *mine: by this very message. */
static bool was_refused(const order_known *known, const place_order *command, const char *key,
                        bool *mine)
{
    place_order other;
    char why[WHY_SIZE], of[64];

    *mine = false;
    if (known->refused.type != MSGPACK_OBJECT_ARRAY)
        return false;
    for (uint32_t i = 0; i < known->refused.via.array.size; i++) {
        const msgpack_object *entry = &known->refused.via.array.ptr[i];
        if (command_unpack(hf_field(entry, "order"), &other, why) == 0
            && command_equal(&other, command)) {
            *mine = copy_text(entry, "key", of, sizeof of) && strcmp(of, key) == 0;
            return true;
        }
    }
    return false;
}

/* This message is the order now, and this is how it stands. */
static void settle(hf_turn *turn, const hf_message *msg, order_known *known,
                   const place_order *command, const char *status, const char *error)
{
    tally_move(turn, known->status, status);
    snprintf(known->status, sizeof known->status, "%s", status);
    snprintf(known->key, sizeof known->key, "%s", msg->key);
    known->command = *command;
    known_save(turn, known, error, NULL, NULL);
}

/* ---- Handling */

static int read_command(hf_turn *turn, const hf_message *msg, place_order *command,
                        char why[WHY_SIZE])
{
    const char *number = strchr(msg->to, '/') + 1;
    msgpack_object map;

    if (hf_unpack(turn, msg->body, &map)) {
        snprintf(why, WHY_SIZE, "%s", hf_detail());
        return -1;
    }
    if (command_unpack(&map, command, why))
        return -1;
    if (strcmp(command->order, number) != 0) {
        snprintf(why, WHY_SIZE, "it is order %s", command->order);
        return -1;
    }
    return 0;
}

static int verdict(hf_turn *turn, reply said, const char *step, const char *why)
{
    const char *colon = *step ? ": " : "";

    if (said == REPLY_REFUSED)
        return hf_bury(turn, "%s%s%s", step, colon, why);
    return hf_fail(turn, WHY_FAILED, "%s%s%s", step, colon, why);
}

/* One step: done by an earlier attempt, or now. */
static int take_step(hf_turn *turn, order_job *job, const order_step *step)
{
    char result[RESULT_SIZE] = "";
    hf_step record;
    int err = hf_begin_step(turn, step->name, &record);

    if (err == HF_TODO) {
        reply said = step->run(job, record.key, result);
        if (said != REPLY_OK)
            return verdict(turn, said, step->name, job->call.why);
        return hf_end_step(turn, &record, hf_str(result));
    }
    if (err == HF_OK && step->recall) {
        snprintf(result, sizeof result, HF_FMT, HF_ARG(record.result));
        if (!step->recall(job, result))
            return hf_bury(turn, "%s: cannot read its result \"%s\"", step->name, result);
    }
    return err;
}

static int place(hf_turn *turn, order_job *job)
{
    reply said = order_look_up(job);

    if (said != REPLY_OK)
        return verdict(turn, said, "", job->call.why);
    for (size_t i = 0; i < order_step_count; i++) {
        if (hf_cancelled(turn)) /* the program ends: go on next time */
            return hf_snooze(turn, 0);
        int err = take_step(turn, job, &order_steps[i]);
        if (err)
            return err;
    }
    return HF_OK;
}

static void job_init(order_job *job, order_shop *shop, const hf_message *msg)
{
    memset(job, 0, sizeof *job);
    job->call.at = &shop->services;
    job->call.order = strchr(msg->to, '/') + 1;
}

int order_handle(hf_turn *turn, const hf_message *msg)
{
    order_known *known = hf_alloc(turn, sizeof *known);
    order_job *job = hf_alloc(turn, sizeof *job);
    char why[WHY_SIZE];
    bool mine;

    if (!known || !job)
        return HF_ENOMEM;
    job_init(job, msg->user, msg);
    if (strcmp(msg->kind, "place") != 0)
        return hf_bury(turn, "an order does not understand \"%s\"", msg->kind);
    if (read_command(turn, msg, &job->command, why))
        return hf_bury(turn, "not an order: %s", why);
    int err = known_load(turn, known);
    if (err)
        return hf_fail(turn, err, "the order's state: %s", hf_detail());
    if (*known->status && strcmp(known->key, msg->key) != 0) {
        if (command_equal(&known->command, &job->command)
            || (was_refused(known, &job->command, msg->key, &mine) && !mine))
            return HF_OK; /* told again */
        return hf_bury(turn, "this order number was given before, to another order");
    }
    err = place(turn, job);
    if (err)
        return err;
    settle(turn, msg, known, &job->command, "paid", NULL);
    return HF_OK;
}

/* ---- When it cannot be */

int order_undo(hf_turn *turn, const hf_message *msg, const hf_step *step)
{
    const order_step *what = order_step_find(step->name);
    order_job *job = hf_alloc(turn, sizeof *job);
    char why[WHY_SIZE];

    if (!job)
        return HF_ENOMEM;
    job_init(job, msg->user, msg);
    if (!what)
        return hf_fail(turn, WHY_FAILED, "nobody knows how to undo %s", step->name);
    if (!what->undo)
        return HF_OK;
    if (read_command(turn, msg, &job->command, why))
        return hf_fail(turn, WHY_FAILED, "not an order: %s", why);
    if (what->undo(job, step->undo_key, step->key) != REPLY_OK)
        return hf_fail(turn, WHY_FAILED, "%s", job->call.why);
    return HF_OK;
}

void order_failed(hf_turn *turn, const hf_message *msg)
{
    order_shop *shop = msg->user;
    order_known *known = hf_alloc(turn, sizeof *known);
    place_order *command = hf_alloc(turn, sizeof *command);
    char why[WHY_SIZE];
    bool mine;

    if (shop->verbose || !msg->retry)
        fprintf(stderr, "#%llu %s: %s (%s)\n", (unsigned long long)msg->id, msg->to, msg->error,
                msg->retry ? "will be tried again" : "dead");
    if (msg->retry || !known || !command)
        return;
    if (read_command(turn, msg, command, why)) {
        tally_move(turn, "", "dead"); /* no order, so no state of one */
        return;
    }
    if (known_load(turn, known))
        return;
    if (!*known->status || strcmp(known->key, msg->key) == 0) {
        settle(turn, msg, known, command, "dead", msg->error);
    } else if (!was_refused(known, command, msg->key, &mine)) {
        tally_move(turn, "", "dead");
        if (known->refused.type != MSGPACK_OBJECT_ARRAY
            || known->refused.via.array.size < REFUSED_MAX)
            known_save(turn, known, NULL, command, msg->key);
    }
}
