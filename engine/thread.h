/* thread.h - start a thread of the engine's own.
 *
 * It blocks all signals, so that the host's handlers run on the host's threads,
 * and has a name that debuggers and `top -H` show (at most 15 bytes). */
#ifndef ENGINE_THREAD_H
#define ENGINE_THREAD_H

#include <pthread.h>

/* HF_OK or HF_ENOMEM. Join it with pthread_join. */
int hf_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg);

#endif
