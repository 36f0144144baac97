/* stores.h - small stores in a directory of this run, for tests of storage. */
#ifndef SUPPORT_STORES_H
#define SUPPORT_STORES_H

#include "storage/error.h"
#include "storage/store.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB(n) ((uint64_t)(n) << 20)

static char root[64];

/* Group set-up and tear-down. */
static inline int make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/holdfast-test-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static inline int remove_root(void **state)
{
    char command[200];
    (void)state;
    (void)snprintf(command, sizeof command, "umount -l %s/mount 2>/dev/null; rm -rf %s", root,
                   root);
    return system(command);
}

static inline const char *path_of(const char *name)
{
    static char path[4][128];
    static int turn;
    char *out = path[turn++ % 4];
    (void)snprintf(out, sizeof path[0], "%s/%s", root, name);
    return out;
}

static inline int open_small(hf_disk **disk, const char *path)
{
    hf_disk_options options = { .store_max = MIB(64), .reserve = MIB(16) };
    return hf_disk_open(disk, path, &options);
}

static inline hf_disk *open_ok(const char *name)
{
    hf_disk *disk = NULL;
    int err = open_small(&disk, path_of(name));
    if (err)
        print_error("%s: %d %s\n", name, err, hf_error_detail());
    assert_int_equal(err, HF_OK);
    return disk;
}

static inline void refused(const char *name, int err, const char *words)
{
    hf_disk *disk = NULL;
    assert_int_equal(open_small(&disk, path_of(name)), err);
    assert_null(disk);
    if (!strstr(hf_error_detail(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, hf_error_detail());
}

typedef struct number_key {
    uint8_t bytes[8];
} number_key;

static inline hf_bytes key_of(number_key *key, uint64_t n)
{
    for (int i = 7; i >= 0; i--, n >>= 8)
        key->bytes[i] = (uint8_t)n;
    return hf_view(key->bytes, 8);
}

static inline uint64_t number_of(hf_bytes key)
{
    uint64_t n = 0;
    for (size_t i = 0; i < key.len; i++)
        n = n << 8 | ((const uint8_t *)key.data)[i];
    return n;
}

static inline int put_number(hf_txn *txn, uint64_t n, size_t len)
{
    static const char filler[8192];
    number_key key;
    return hf_txn_put(txn, HF_IN_STATE, key_of(&key, n), hf_view(filler, len));
}

/* One transaction with `count` rows from `first` on. */
static inline int put_many(hf_disk *disk, uint64_t first, uint64_t count, size_t len)
{
    hf_txn *txn;
    int err = hf_txn_write(disk, &txn);
    if (err)
        return err;
    for (uint64_t i = 0; i < count && !err; i++)
        err = put_number(txn, first + i, len);
    if (!err)
        return hf_txn_commit(txn);
    hf_txn_abort(txn);
    return err;
}

static inline int del_many(hf_disk *disk, uint64_t first, uint64_t count)
{
    hf_txn *txn;
    number_key key;
    int err = hf_txn_write(disk, &txn);
    if (err)
        return err;
    for (uint64_t i = 0; i < count && !err; i++)
        err = hf_txn_del(txn, HF_IN_STATE, key_of(&key, first + i));
    if (!err)
        return hf_txn_commit(txn);
    hf_txn_abort(txn);
    return err;
}

static inline uint64_t rows_of(hf_disk *disk)
{
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes key, value;
    uint64_t walked = 0, counted;

    assert_int_equal(hf_txn_read(disk, &txn), HF_OK);
    assert_int_equal(hf_cursor_open(txn, HF_IN_STATE, &cursor), HF_OK);
    while (hf_cursor_next(cursor, &key, &value) == HF_OK)
        walked += value.len > 0;
    assert_int_equal(hf_txn_count(txn, HF_IN_STATE, &counted), HF_OK);
    hf_cursor_close(cursor);
    hf_txn_abort(txn);
    assert_int_equal(walked, counted);
    return walked;
}

static inline void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline unsigned names_with(const char *part)
{
    unsigned count = 0;
    DIR *dir = opendir(root);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir))
        count += strstr(e->d_name, part) != NULL;
    (void)closedir(dir);
    return count;
}

static inline off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? -1 : st.st_size;
}

#endif
