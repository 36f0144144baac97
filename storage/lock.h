/* lock.h - one engine per store: a lock file against other processes, a
 * registry against ourselves, a count of forks against children.
 *
 * LMDB must never be opened twice in one process (closing one of the two drops
 * the locks of both), and must never be used by a forked child. */
#ifndef STORAGE_LOCK_H
#define STORAGE_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* One per store that this process has open; embedded by its owner. */
typedef struct hf_claim {
    dev_t            dev; /* of the store's directory */
    ino_t            ino;
    int              lock_fd; /* holds the lock, -1: none held */
    struct hf_claim *next;
} hf_claim;

/* Everything that opens or closes a store happens between these two. */
void hf_registry_enter(void);
void hf_registry_leave(void);

hf_claim *hf_registry_find(dev_t dev, ino_t ino); /* NULL: not open here */
void      hf_registry_add(hf_claim *claim);
void      hf_registry_remove(hf_claim *claim);

/* Counts up in each forked child, never in the parent. */
extern atomic_uint hf_fork_count;

/* Lock `directory`/holdfast.lock, made if need be, and write our pid into it.
 * HF_EBUSY names the process that holds it. `fresh`: the file must be new. */
int  hf_lock_take(int *fd, const char *directory, bool fresh);
void hf_lock_drop(int fd); /* -1 is fine */

#endif
