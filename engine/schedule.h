/* schedule.h - what comes round: hf_every, and the ticks behind it.
 *
 * A schedule is a row of its actor (shelf 's', its name) and an alarm of ours, whose name
 * begins with a byte that no user's may have. When that goes off the engine takes the turn
 * itself: it sends the actor a message for the tick, sets the alarm again and notes when it
 * will be due, in one commit. So the message may fail, wait or die like any other, and the
 * schedule goes on. */
#ifndef ENGINE_SCHEDULE_H
#define ENGINE_SCHEDULE_H

#include "engine/join.h"
#include "engine/turn.h"

/* First bytes of such names: goes off at a time of day; after an hour at the latest, to
 * see whether somebody has set the clock back meanwhile. */
enum { HF_TICK = 2, HF_TICK_LOOK = 3 };

/* Also one that an operator requeued or edited. A delayed letter is due as well, and may be
 * of any kind: it is no alarm. */
static inline bool hf_schedule_is_tick(const hf_entry *e)
{
    return e->cause == HF_ALARM && e->name_len
           && (e->name[0] == HF_TICK || e->name[0] == HF_TICK_LOOK);
}

/* Is it a message that the engine handles itself? On the shard, also for pooled types; it
 * counts towards no limit, and no hook hears of it. */
static inline bool hf_entry_is_ours(const hf_entry *e)
{
    return hf_join_is_note(e) || hf_schedule_is_tick(e);
}

/* Of the message of a tick, which has an `about`, also requeued; no alarm's has: when it was
 * due, and what it stands for. */
static inline void hf_schedule_told(hf_message *msg, const hf_entry *e)
{
    msg->due = e->about;
    msg->missed = e->replaced;
    msg->replaced = 0;
}

/* The turn of a tick. HF_OK, or what the turn fails with. */
int  hf_schedule_tick(hf_turn *turn);
void hf_schedule_forget(hf_turn *turn); /* the actor's rows of schedules */

#endif
