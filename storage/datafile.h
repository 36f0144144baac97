/* datafile.h - look at data.mdb with plain reads before it is mapped: a file that
 * is shorter than its pages say would kill the process with SIGBUS. */
#ifndef STORAGE_DATAFILE_H
#define STORAGE_DATAFILE_H

#include <stdint.h>

#define HF_DATA_FILE "data.mdb"

typedef struct hf_datafile {
    uint32_t page_size;
    uint64_t pages;    /* in use or free, by the newest meta page */
    uint64_t map_size; /* what the last writer had mapped */
} hf_datafile;

/* HF_ECORRUPT: missing, empty, not LMDB's, damaged meta pages, truncated.
 * HF_EVERSION: of another version of LMDB's format. HF_EIO. */
int hf_datafile_check(const char *directory, hf_datafile *file);

#endif
