/* env.h - the part of an open store that all who have it open in this process
 * share: one LMDB environment. Between store.c, which knows LMDB, and disk.c and
 * room.c, which do not; nobody else includes it. */
#ifndef STORAGE_ENV_H
#define STORAGE_ENV_H

#include "storage/lock.h"
#include "storage/marker.h"
#include "storage/store.h"
#include "storage/tail.h"

#include <limits.h>

enum {
    HF_ENV_POOLED     = 16,   /* read transactions kept for the next reader */
    HF_ENV_LOCK_TABLE = 32768 /* bytes of lock.mdb, at least: LMDB's table of readers */
};

typedef struct hf_env hf_env;

struct hf_txn {
    hf_env         *env;
    struct MDB_txn *mdb;
    bool            write;
    int             err;     /* of the put or delete that spoiled it */
    unsigned        cursors; /* open ones */
    uint64_t        bytes;   /* put, */
    uint64_t        rows;    /* in so many puts and deletes */
};

struct hf_env {
    hf_claim        claim; /* first: the registry finds us by it */
    char            path[PATH_MAX];
    hf_marker       marker;
    struct MDB_env *mdb;
    unsigned        tables[HF_TABLES]; /* LMDB's handles */
    const char     *lmdb;      /* its version, in words */
    uint64_t        map_bytes, page_size;
    uint64_t        given;     /* bytes of the file that what is new may use: the map has more
                                  where the file was larger than store_max before */
    int             watch; /* another descriptor of the data file, see store.c */
    bool            writable;
    bool            engine; /* an engine, not only lookers, has it open */
    unsigned        disks;  /* open on it */
    unsigned        forks;  /* when it was opened */
    atomic_bool     dead;
    atomic_bool     writing;
    hf_txn          writer;
    hf_tail         tail;       /* journal thread's, but for tail.end */
    size_t          counted;    /* the commit at which */
    uint64_t        spare;      /* so many bytes in the file were free */
    _Atomic(hf_txn *) idle[HF_ENV_POOLED];
};

struct hf_disk {
    hf_env *env;
    bool    look;
};

/* HF_EFORK in a child, HF_EUNKNOWN after a failed write. Two loads. */
int hf_env_usable(const hf_env *env);

/* Map the data file in `directory` (made if missing), env->path for messages, with
 * env->map_bytes; open or `create` the tables. */
int  hf_env_map(hf_env *env, const char *directory, const hf_disk_options *options);
int  hf_env_remap(hf_env *env, const hf_disk_options *options); /* no transaction is open */
int  hf_env_tables(hf_env *env, bool create);
int  hf_env_fd(hf_env *env); /* of the data file; stays LMDB's */
void hf_env_close(hf_env *env); /* and free it */
int  hf_env_sweep(hf_env *env); /* how many readers were dead */
/* A line of text for each reader: pid, thread, transaction ("-": between two). */
int  hf_env_readers(hf_env *env, int (*line)(const char *text, void *user), void *user);

/* Bytes of the file by the newest commit, and which commit that was. */
uint64_t hf_env_file_bytes(const hf_env *env, size_t *commit);

/* Is there less room than the transaction needs at most? */
bool hf_env_lacks_room(const hf_txn *txn);

/* Bytes in the file that the next write transaction may use. */
int hf_env_spare(hf_disk *disk, uint64_t *bytes);

#endif
