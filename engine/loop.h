/* loop.h - the engine's own libuv loop: the control socket, slow clockwork. */
#ifndef ENGINE_LOOP_H
#define ENGINE_LOOP_H

#include "engine/engine.h"

int  hf_loop_start(hf_engine *engine);
void hf_loop_stop(hf_engine *engine); /* NULL loop is fine */

#endif
