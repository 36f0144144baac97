/* verify.h - the parts of a checkup: pages, rows, and what holds between rows. */
#ifndef RECOVERY_VERIFY_H
#define RECOVERY_VERIFY_H

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include "storage/pages.h"
#include "storage/row.h"

typedef struct hf_checkup {
    const char *path;
    hf_row_fn   each;
    void       *user;
    int         err;       /* of each, or for want of memory: the checkup ends */
    uint64_t    findings;
    uint64_t    rows, pages_met;
    hf_out      row;
    hf_pages   *pages;
    bool        torn;      /* pages can't be followed: LMDB must not try, either */
    uint64_t    seed;      /* of address hashes; 0: not known */
    hf_table    table;     /* being walked */
    uint64_t    position;  /* log: the next one */
    uint64_t    waiting;   /* messages, says its newest record */
    bool        group_open;
} hf_checkup;

/* Where it was found; what is not known is 0 or empty. */
typedef struct hf_finding {
    const char *name; /* "row damaged": docs/control.md lists them */
    const char *table;
    uint64_t    page, id;
    hf_bytes    key;  /* of the row */
} hf_finding;

/* Tell a finding, with the words for people. */
void hf_checkup_found(hf_checkup *checkup, const hf_finding *finding, const char *format, ...)
    HF_PRINTF(3, 4);

/* verify_pages.c: roots, page lists, every tree and every row by itself. */
void hf_checkup_pages(hf_checkup *checkup);
/* verify_rows.c: does this row say what its key says? */
void hf_checkup_row(hf_checkup *checkup, uint64_t page, hf_bytes key, hf_bytes value);
/* verify_between.c: what must hold between rows, in one moment of the store. */
void hf_checkup_between(hf_checkup *checkup, hf_disk *disk);

#endif
