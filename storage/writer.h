/* writer.h - what log.c and packing.c share: the log from inside. */
#ifndef STORAGE_WRITER_H
#define STORAGE_WRITER_H

#include "storage/log.h"

struct hf_log {
    hf_disk       *disk;
    hf_log_options options;
    hf_window      window;
    hf_fold        fold;
    uint64_t       seed, next;
    uint64_t       folding;      /* meta.folding */
    uint64_t       releasable;   /* see hf_log_release */
    hf_record     *last;         /* newest record, or the stub before the first */
    hf_record     *stub;
    hf_record    **retired;      /* out of the window, maybe still in use */
    uint32_t       retired_count, retired_room;
    hf_record    **fresh;        /* of the group being written */
    uint32_t       fresh_count, fresh_room;
    hf_segment   **sorted;
    uint32_t       sorted_room;
    hf_segment     facts;        /* DONE and ACK entries made here */
    uint64_t       unchecked;    /* bytes appended since space was looked at */
    uint64_t       checked_ns;
    bool           tight;
    int            dead;
    uint64_t       commits, folds, written;
    _Atomic uint64_t folded;
};

/* Make the DONE and ACK entries of the group (into log->facts), sort all its
 * segments (into log->sorted), write them as records (into log->fresh). */
int hf_pack_done(hf_log *log, const hf_group *group);
int hf_pack_sort(hf_log *log, const hf_group *group, uint32_t *count);
int hf_pack_write(hf_log *log, hf_txn *txn, uint32_t count, uint64_t *next);

#endif
