/* platter.h - what a disk with a volatile cache holds: durable bytes, and the writes
 * that no flush has covered yet. A file is its durable part. One thread. */
#ifndef POWERCUT_PLATTER_H
#define POWERCUT_PLATTER_H

#include <stddef.h>
#include <stdint.h>

enum {
    PLATTER_UNIT = 4096,
    PLATTER_SECTOR = 512,
    PLATTER_WHOLE = 0 /* the unit that is never torn: ext4 writes its superblock, two
                         sectors under one checksum, in place and without its journal;
                         torn, it makes a file system that nobody mounts, whatever lies
                         on it */
};

typedef struct platter platter;

/* What a cut left of the writes that were not flushed. */
typedef struct platter_loss {
    uint32_t pending, kept, torn, dropped; /* units written; torn ones are in neither */
} platter_loss;

/* The file's size is the disk's, in whole units. It changes only by a flush or cut. */
platter *platter_open(const char *file); /* NULL: errno says why */
void     platter_close(platter *p);
size_t   platter_size(const platter *p);

const uint8_t *platter_read(const platter *p, size_t offset); /* with what is not flushed */
void platter_write(platter *p, size_t offset, const void *bytes, size_t len);
void platter_flush(platter *p); /* all before it is durable */

/* The power goes: a subset of the unflushed units that follows from the seed reaches
 * the file, some of them torn between sectors; nothing is pending afterwards. */
platter_loss platter_cut(platter *p, uint64_t seed);

/* NULL, or what is wrong with it; leaves nothing behind in the directory. */
const char *platter_self_check(const char *directory);

#endif
