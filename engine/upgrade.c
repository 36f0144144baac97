/* upgrade.c - a state that another version of its type saved.
 *
 * Happy path: before its handler, a turn that finds a state of an older version has
 * type.upgrade make today's of it; that is what the turn finds, and it is stored when
 * the turn saves. Fails: a newer state is never shown to old code, nor is one that
 * could not be upgraded; the turn fails, and neither it nor its failed hook can save
 * over what they were not shown. The turn's thread. */
#include "engine/turn.h"

#include "storage/error.h"

static int run_upgrade(hf_turn *turn, hf_bytes *now)
{
    uint32_t version = turn->state_version;
    hf_turn *outer = hf_turn_enter(turn);
    int code = turn->kind->is.upgrade(turn, version, turn->state, now);
    hf_turn_enter(outer);
    if (turn->err)
        return turn->err;
    if (turn->verdict != HF_TURN_RETURNED)
        return turn->code;
    return !code ? HF_OK
        : hf_fail(turn, code, "a state of version %u could not be upgraded: %s", version,
                  code < 0 ? hf_strerror(code) : ".upgrade failed");
}

int hf_upgrade_state(hf_turn *turn)
{
    const hf_type *type = &turn->kind->is;
    uint32_t version = turn->state_version;
    hf_bytes now = { NULL, 0 };
    int err;
    if (!turn->state.data)
        return HF_OK;
    if (version > type->version)
        err = hf_fail(turn, HF_EVERSION, "its state has version %u, type \"%s\" here has %u",
                      version, type->name, type->version);
    else if (!type->upgrade)
        err = hf_fail(turn, HF_EVERSION,
                      "its state has version %u, type \"%s\" here has %u and no .upgrade", version,
                      type->name, type->version);
    else
        err = run_upgrade(turn, &now);
    turn->state = now;
    if (!err)
        return HF_OK;
    turn->state = hf_view(NULL, 0);
    turn->sealed = true;
    return err;
}
