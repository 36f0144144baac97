/* place.h - what lies at the path of a store, and how a new one gets there whole:
 * it is made in a directory beside, its nest, and renamed. */
#ifndef STORAGE_PLACE_H
#define STORAGE_PLACE_H

#include <limits.h>

typedef enum hf_place {
    HF_PLACE_NOTHING, /* no such path */
    HF_PLACE_EMPTY,   /* an empty directory */
    HF_PLACE_STORE    /* a directory with a marker */
} hf_place;

/* Make `path` absolute, links followed, in `out` (PATH_MAX bytes), and say what is
 * there. HF_EINVAL: a file, a foreign directory, no parent, a file system that is
 * remote (LMDB's memory maps and locks do not hold there). HF_ECORRUPT: data
 * without a marker. */
int hf_place_find(const char *path, char *out, hf_place *place);

/* Does the directory hold only files of a store? HF_EINVAL names what else is there: it
 * would go with the store when that is replaced; or a link, whose file would not. */
int hf_place_only_ours(const char *path);

typedef struct hf_nest {
    char path[PATH_MAX]; /* where to put the files */
    int  lock_fd;        /* the lock of the store to be, already taken */
} hf_nest;

/* Make a nest beside `path`, sweeping away old ones that crashed. */
int hf_nest_make(hf_nest *nest, const char *path);

/* Sync it, rename it to `path`, sync the parent. HF_EBUSY: somebody else was
 * faster. After a failure call hf_nest_discard. */
int hf_nest_publish(hf_nest *nest, const char *path);

/* The same, but a store is at `path`, which gives way: it is removed. HF_EINVAL: this
 * file system can't exchange two directories, or `path` is the root of one. */
int hf_nest_replace(hf_nest *nest, const char *path);

/* Remove the nest, if it was not published, and drop its lock. */
void hf_nest_discard(hf_nest *nest);

#endif
