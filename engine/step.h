/* step.h - outside calls that are remembered, and undone when all fails. */
#ifndef ENGINE_STEP_H
#define ENGINE_STEP_H

#include "engine/turn.h"

/* Run the parcel's turn: its handler or, once it failed for good, the undoing
 * of its steps, one a turn. True: what was staged stands. */
bool hf_step_run(hf_turn *turn, hf_parcel *parcel);

/* Its turn failed, or undid a step: stage what follows; sets parcel->end. */
int  hf_step_outcome(hf_turn *turn, hf_parcel *parcel, bool stands);

/* It fails for good: are there steps that were begun and not undone? */
bool hf_step_must_undo(hf_turn *turn, hf_parcel *parcel);

/* Steps that lie in the window that was replayed: copied at open, engine's. */
int  hf_steps_load(hf_engine *engine);
void hf_steps_done(hf_engine *engine);

#endif
