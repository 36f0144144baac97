/* tail.h - room on the file system that is ours before we need it: blocks of the
 * data file allocated without holes and on beyond its end. */
#ifndef STORAGE_TAIL_H
#define STORAGE_TAIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct hf_tail {
    int              fd;       /* of the data file; not ours to close */
    bool             cow;      /* the file system writes overwrites elsewhere */
    bool             cannot;   /* the file system knows no fallocate */
    _Atomic uint64_t end;      /* everything below is allocated */
} hf_tail;

void hf_tail_init(hf_tail *tail, int fd);

/* Try to have everything below `least` allocated, better `good` (>= least), with
 * as much as there is when it is not enough; never beyond `most`. Returns the end
 * of what is allocated. */
uint64_t hf_tail_reach(hf_tail *tail, uint64_t least, uint64_t good, uint64_t most);

/* Have a file at `path` with all its blocks: `size` bytes of zeros if it is missing
 * or empty, else as long as it is. HF_EFULL, HF_EIO. */
int hf_tail_file(const char *path, uint64_t size);

/* Free bytes of the file system for this process; what a file may grow to. */
uint64_t hf_tail_disk_free(int fd);
uint64_t hf_tail_file_max(void);

#endif
