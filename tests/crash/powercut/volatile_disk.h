/* volatile_disk.h - a disk that forgets: a FUSE file system of one file, whose flushed
 * bytes are durable and whose other bytes are at stake when the power goes. */
#ifndef POWERCUT_VOLATILE_DISK_H
#define POWERCUT_VOLATILE_DISK_H

#include "tests/crash/powercut/platter.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* Between the disk's process and the test, in shared memory. */
typedef struct volatile_disk {
    /* The test sets: */
    char           file[200];  /* the durable bytes; after the end what survived */
    char           mount[200]; /* where the disk appears: a file, too */
    uint64_t       seed;
    bool           lies;       /* answers a flush without doing it */
    bool           at_flush;   /* only flushes count, and the last one does nothing */
    _Atomic int64_t countdown; /* lose power at the so-manieth write or flush; 0: never */
    atomic_bool    cut, end;   /* lose power now; choose what survives, and exit */
    /* The disk sets: */
    atomic_bool    ready, dark; /* dark: before any request fails for want of power */
    _Atomic uint64_t writes, flushes;
    platter_loss   loss;
} volatile_disk;

/* NULL, or why there can be none on this machine. */
const char *volatile_disk_missing(void);

/* Start its process and wait until it is there; -1: it is not. */
pid_t volatile_disk_start(volatile_disk *disk);

#endif
