/* pages.h - read the data file of a store page by page, without LMDB.
 *
 * LMDB believes what stands in its file: a damaged or truncated one can end the
 * process. Here every offset, length and page number is checked before it is used, so
 * whatever the bytes are, all that can be read is read, and the rest is named. For
 * salvage and verify; nothing is written, nobody is waited for. */
#ifndef STORAGE_PAGES_H
#define STORAGE_PAGES_H

#include "storage/store.h"

typedef struct hf_pages hf_pages;

/* One of the two roots of the file: the state after one commit. */
typedef struct hf_pages_root {
    uint64_t txn;       /* number of the commit */
    uint64_t last_page; /* highest page it uses */
    uint64_t map_bytes;
    uint64_t tables;    /* page that its tree of tables begins at */
    bool     sound;     /* what it says can be true */
} hf_pages_root;

/* A tree of rows. */
typedef struct hf_pages_tree {
    uint64_t root, rows;
    uint32_t depth;
    bool     empty;
} hf_pages_tree;

/* Open a data file (data.mdb). HF_ECORRUPT: neither root can be read, so that not even
 * the size of a page is known; HF_ENOTFOUND, HF_EIO, HF_ENOMEM. One thread. */
int  hf_pages_open(hf_pages **pages, const char *file);
/* The same of a file both of whose roots are lost: the size of its pages is guessed from
 * what they say about themselves. HF_ECORRUPT: there is no page in it. */
int  hf_pages_open_rootless(hf_pages **pages, const char *file);
void hf_pages_close(hf_pages *pages); /* NULL is fine */

uint32_t hf_pages_size(const hf_pages *pages);  /* of one, bytes */
uint64_t hf_pages_count(const hf_pages *pages); /* whole ones in the file */
/* 0: the newer of the two that are sound, 1: the other one. */
hf_pages_root hf_pages_root_of(const hf_pages *pages, int which);

/* A table of that root by its name. HF_ENOTFOUND: there is none that can be found. */
int hf_pages_table(hf_pages *pages, int root, const char *name, hf_pages_tree *tree);

/* Told of each row that can be read, in key order where pages are sound. HF_OK goes on.
 * key, value: lent until it returns. */
typedef int (*hf_pages_row)(void *user, uint64_t page, hf_bytes key, hf_bytes value);
/* Told of each page that can't: rows below it are missing. */
typedef void (*hf_pages_bad)(void *user, uint64_t page, const char *why);

/* All rows of a tree; pages that were met before are not read again (and reported: a
 * tree has no page twice). HF_ENOMEM, HF_EIO, or what `each` returned. */
int hf_pages_walk(hf_pages *pages, const hf_pages_tree *tree, hf_pages_row each,
                  hf_pages_bad bad, void *user);
/* The pages of the newer root that are free, and its trees of tables and free pages,
 * which count as met. */
int hf_pages_free(hf_pages *pages, int (*each)(void *user, uint64_t page), hf_pages_bad bad,
                  void *bad_user, void *user);
/* Rows of all leaf pages that no walk has met: what a damaged branch led to, and what
 * is free and out of date. */
int hf_pages_orphans(hf_pages *pages, hf_pages_row each, void *user);
/* Was it met by a walk? And: none was. */
bool hf_pages_met(const hf_pages *pages, uint64_t page);
void hf_pages_forget(hf_pages *pages);

/* The bytes of each run of large pages that no walk has met. How much of them is a value
 * stood in the row that is lost. */
int hf_pages_runs(hf_pages *pages, int (*each)(void *user, uint64_t page, hf_bytes bytes),
                  void *user);

/* Each page, met or not, that could be the tree of tables of some commit, since it leads to
 * a table called `name`; and: read the file from now on as if root 0 led there. */
int  hf_pages_trees(hf_pages *pages, const char *name, int (*each)(void *user, uint64_t page),
                    void *user);
void hf_pages_take_tree(hf_pages *pages, uint64_t page);

#endif
