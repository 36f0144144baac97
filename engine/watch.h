/* watch.h - which turns run, since when, and whether too long. */
#ifndef ENGINE_WATCH_H
#define ENGINE_WATCH_H

#include "engine/engine.h"

typedef struct hf_running {
    uint64_t id;       /* of the message */
    uint64_t since_ms; /* wall clock */
    bool     stuck;    /* longer than its type's stuck_ms */
} hf_running;

typedef struct hf_watch {
    hf_engine         *engine;
    pthread_mutex_t    lock;
    struct hf_watched *threads; /* all that run turns */
    uint32_t           count;
} hf_watch;

/* Shards and pools run already, and run on until done. HF_ENOMEM. */
int      hf_watch_init(hf_watch *watch, hf_engine *engine);
void     hf_watch_done(hf_watch *watch); /* also of one that is all zero */

/* What runs now, by id; free it. Returns how many; *running NULL: none, or no
 * memory to say. Any thread. */
uint32_t hf_watch_look(hf_watch *watch, hf_running **running);

/* Ask the turn that runs this message to stop, if one does. Any thread. */
void     hf_watch_stop(hf_watch *watch, uint64_t id);

/* Once a second: turns that run longer than their type's stuck_ms are logged,
 * once each, and asked to stop (hf_cancelled). */
void     hf_watch_tick(hf_watch *watch);

#endif
