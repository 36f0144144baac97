/* control.h - the control socket: questions and changes from other processes.
 *
 * STORE/control.sock, as docs/control.md says. The loop accepts and reads; two
 * threads answer, so that a long question delays nothing on the loop. */
#ifndef ENGINE_CONTROL_H
#define ENGINE_CONTROL_H

#include "engine/holdfast.h"

#include <stdbool.h>

struct uv_loop_s;
typedef struct hf_control hf_control;

/* Tells one row; anything but HF_OK: stop, nobody listens any more. */
typedef int (*hf_control_row)(void *to, hf_bytes row);

/* Answer on a worker's thread: tell rows, return the code of the end frame. */
typedef int (*hf_control_answer)(void *user, bool change, const char *name, hf_bytes arguments,
                                 hf_control_row row, void *to);

/* Bind the socket; only under the store's lock. Before the loop runs, or on its
 * thread. HF_EIO, HF_EFULL, HF_ENOMEM. */
int  hf_control_open(hf_control **control, struct uv_loop_s *loop, const char *store,
                     hf_control_answer answer, void *user);

/* User id of whom a row goes to: of the peer, as it was when it connected. */
uint32_t hf_control_uid(const void *to);

/* On the loop's thread: remove the socket, hang up, let the workers end what
 * they are at. Its memory goes with the loop's next round. NULL is fine. */
void hf_control_close(hf_control *control);

#endif
