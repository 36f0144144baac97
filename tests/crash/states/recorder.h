/* recorder.h - what a process did to the files under one directory, call by call.
 *
 * The program defines open, pwrite, fdatasync and the like itself; liblmdb and the
 * library find these before the C library's. While a tape runs, each call that
 * changes a file under its root is noted with its bytes. LMDB's lock file and ours
 * are left out: what they hold after a crash means nothing. */
#ifndef STATES_RECORDER_H
#define STATES_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum tape_what {
    TAPE_LINK,       /* inode appears in dir as name: a file or a directory */
    TAPE_UNLINK,     /* name leaves dir */
    TAPE_RENAME,     /* name of dir becomes to_name of to_dir */
    TAPE_WRITE,      /* bytes at off; nothing is synced */
    TAPE_SIZE,       /* inode is `off` bytes long */
    TAPE_SYNC,       /* of a file: bytes and size; of a directory: its names */
    TAPE_SYNC_RANGE, /* off, len: a write to a descriptor opened with O_DSYNC */
    TAPE_BEGIN,      /* operation `op` begins */
    TAPE_ACK         /* and has returned: it must survive from here on */
} tape_what;

enum { TAPE_NAME = 64 };

typedef struct tape_event {
    uint8_t  what;
    bool     is_dir;
    uint32_t inode, dir, to_dir; /* numbers of our own; 0 is the root */
    uint64_t off, len, op;
    uint8_t *bytes;
    char     name[TAPE_NAME], to_name[TAPE_NAME];
} tape_event;

typedef struct tape {
    tape_event *events;
    size_t      count, room;
    uint32_t    inodes;
} tape;

/* One tape at a time, started and stopped while nothing writes. `root` is an existing, absolute
 * directory. */
void tape_start(tape *on, const char *root);
void tape_stop(void);
void tape_free(tape *of);

void tape_begin(uint64_t op);
void tape_ack(uint64_t op);

/* Pretend that what happens now happens only at tape_catch_up (or tape_stop): marks
 * are not held back, so things are acknowledged before they were done. */
void tape_postpone(bool on);
void tape_catch_up(void);

/* Pretend that nobody ever syncs a directory: to see that it would be noticed. */
extern bool tape_blind_to_directories;

#endif
