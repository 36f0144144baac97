/* thread.h - start a thread of the engine's own.
 *
 * It blocks all signals, so that the host's handlers run on the host's threads,
 * and has a name that debuggers and `top -H` show (at most 15 bytes). */
#ifndef ENGINE_THREAD_H
#define ENGINE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* HF_OK or HF_ENOMEM. Join it with pthread_join. */
int hf_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg);

/* How a thread goes before others while it is in a hurry. */
typedef struct hf_haste {
    uint32_t levels;  /* of nice; the system may allow fewer, or none */
    bool     hurries;
    int      usual;   /* its nice value before */
} hf_haste;

/* The calling thread is in a hurry from now on, or no more; cheap if nothing changes. */
void hf_thread_hurry(hf_haste *haste, bool hurry);

#endif
