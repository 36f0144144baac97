/* bench_disk.c - `holdfast bench disk`: what the bare disk can do.
 *
 * Three loops, each for a third of the time: overwrite 4 KiB inside a file that
 * is there already and fdatasync; append 4 KiB and fdatasync; commit one small
 * record to a bare LMDB. Figures of other benches mean something only beside
 * these. The LMDB part is used by `bench wait` and `bench peek`
 * too. One thread. */
#include "tools/bench.h"
#include "tools/times.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, FILE_PAGES = 16384 };
#define LMDB_MAP ((size_t)1 << 32)

struct bench_lmdb {
    MDB_env *env;
    MDB_dbi  dbi;
    uint64_t number;
};

static int lmdb_failed(const char *call, int code)
{
    cli_complain("bare LMDB: %s: %s", call, mdb_strerror(code));
    return CLI_FAILED;
}

static int open_table(bench_lmdb *lmdb)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    if (code != 0)
        return code;
    code = mdb_dbi_open(txn, NULL, 0, &lmdb->dbi);
    if (code == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

int bench_lmdb_open(bench_lmdb **opened, const char *path)
{
    bench_lmdb *lmdb = cli_alloc(sizeof *lmdb);
    *opened = lmdb;
    if (mkdir(path, 0700) != 0) {
        cli_complain("cannot make %s: %s", path, strerror(errno));
        return CLI_FAILED;
    }
    int code = mdb_env_create(&lmdb->env);
    if (code == 0)
        code = mdb_env_set_mapsize(lmdb->env, LMDB_MAP);
    if (code == 0)
        code = mdb_env_open(lmdb->env, path, 0, 0600);
    if (code == 0)
        code = open_table(lmdb);
    return code == 0 ? CLI_OK : lmdb_failed("open", code);
}

void bench_lmdb_close(bench_lmdb *lmdb)
{
    if (lmdb != NULL && lmdb->env != NULL)
        mdb_env_close(lmdb->env);
    free(lmdb);
}

static int commit_one(bench_lmdb *lmdb, const uint8_t *value, size_t len)
{
    uint8_t key[8];
    MDB_txn *txn;
    uint64_t number = ++lmdb->number;
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(number >> (56 - 8 * i));
    MDB_val k = { sizeof key, key }, v = { len, (void *)(uintptr_t)value };
    int code = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    if (code != 0)
        return code;
    code = mdb_put(txn, lmdb->dbi, &k, &v, MDB_APPEND);
    if (code == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

int bench_lmdb_run(bench_lmdb *lmdb, uint32_t value, uint64_t ms, bench_times *times)
{
    uint8_t *bytes = cli_alloc(value + 1);
    uint64_t now = cli_now_ns(), end = now + ms * 1000000;
    int code = 0;
    while (code == 0 && now < end && !cli_interrupted()) {
        code = commit_one(lmdb, bytes, value);
        uint64_t then = cli_now_ns();
        bench_times_add(times, then - now);
        now = then;
    }
    free(bytes);
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    return code == 0 ? CLI_OK : lmdb_failed("commit", code);
}

/* ---- Looking at random */

enum { ROW_EXTRA = 17, KEY = 16 }; /* of an engine's row beside the state; its key */

static void key_bytes(uint8_t key[KEY], uint64_t mixed)
{
    memset(key, 0, KEY);
    for (size_t i = 0; i < sizeof mixed; i++)
        key[i] = (uint8_t)(mixed >> (56 - 8 * i));
}

/* An odd factor: no two numbers become the same one. */
static uint64_t mixed_of(uint64_t number)
{
    return (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static int in_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int fill_rows(bench_lmdb *lmdb, uint64_t rows, uint32_t state)
{
    uint64_t *keys = cli_alloc(rows * sizeof *keys);
    uint8_t *bytes = cli_alloc(state + ROW_EXTRA), key[KEY];
    MDB_txn *txn;
    for (uint64_t i = 0; i < rows; i++)
        keys[i] = mixed_of(i);
    qsort(keys, (size_t)rows, sizeof *keys, in_order);
    int code = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    for (uint64_t i = 0; code == 0 && i < rows; i++) {
        MDB_val k = { sizeof key, key }, v = { state + ROW_EXTRA, bytes };
        key_bytes(key, keys[i]);
        code = mdb_put(txn, lmdb->dbi, &k, &v, MDB_APPEND);
        if (code != 0)
            mdb_txn_abort(txn);
    }
    if (code == 0)
        code = mdb_txn_commit(txn);
    free(bytes);
    free(keys);
    return code;
}

int bench_lmdb_look(bench_lmdb *lmdb, uint64_t rows, uint32_t state, uint64_t ms, double *rate)
{
    enum { MANY = 256 };
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15), gets = 0;
    uint8_t key[KEY];
    MDB_txn *txn = NULL;
    int code = fill_rows(lmdb, rows, state);
    if (code == 0)
        code = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn);
    uint64_t start = cli_now_ns(), now = start;
    while (code == 0 && now < start + ms * 1000000 && !cli_interrupted()) {
        for (int i = 0; code == 0 && i < MANY; i++) {
            MDB_val k = { sizeof key, key }, v;
            key_bytes(key, mixed_of(bench_below(&seed, rows)));
            code = mdb_get(txn, lmdb->dbi, &k, &v);
        }
        gets += MANY;
        now = cli_now_ns();
    }
    if (txn != NULL)
        mdb_txn_abort(txn);
    *rate = (double)gets / ((double)(now - start) / 1e9);
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    return code == 0 ? CLI_OK : lmdb_failed("get", code);
}

static int disk_failed(const char *call)
{
    cli_complain("bench disk: %s: %s", call, strerror(errno));
    return CLI_FAILED;
}

static bool write_page(int fd, off_t page, uint8_t mark)
{
    _Alignas(4096) static uint8_t bytes[PAGE];
    memset(bytes, mark, sizeof bytes);
    return pwrite(fd, bytes, sizeof bytes, page * PAGE) == PAGE;
}

/* pages 0: append; else overwrite the first `pages`, one after another. */
static int sync_loop(int fd, off_t pages, uint64_t ms, bench_times *times)
{
    uint64_t now = cli_now_ns(), end = now + ms * 1000000;
    for (off_t at = 0; now < end; at++) {
        if (cli_interrupted())
            return CLI_INTERRUPTED;
        if (!write_page(fd, pages == 0 ? at : at % pages, (uint8_t)at) || fdatasync(fd) != 0)
            return disk_failed("write");
        uint64_t then = cli_now_ns();
        bench_times_add(times, then - now);
        now = then;
    }
    return CLI_OK;
}

static int file_run(bench *run, off_t pages, const char *name, bench_times *times)
{
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/%s", run->root, name);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return disk_failed(path);
    int code = CLI_OK;
    for (off_t page = 0; code == CLI_OK && page < pages; page++) {
        if (!write_page(fd, page, 1))
            code = disk_failed("write");
    }
    if (code == CLI_OK && fsync(fd) != 0)
        code = disk_failed("fsync");
    if (code == CLI_OK)
        code = sync_loop(fd, pages, run->ms / 3 + 1, times);
    (void)close(fd);
    return code;
}

static void put_times(bench *run, const char *what, const bench_times *times)
{
    char name[48];
    (void)snprintf(name, sizeof name, "%s_p50_us", what);
    bench_put_real(run, name, bench_times_us(times, 0.5));
    (void)snprintf(name, sizeof name, "%s_p99_us", what);
    bench_put_real(run, name, bench_times_us(times, 0.99));
}

int bench_disk(bench *run)
{
    bench_times *times = cli_alloc(3 * sizeof *times);
    bench_lmdb *lmdb = NULL;
    int code = file_run(run, FILE_PAGES, "overwrite", &times[0]);
    if (code == CLI_OK)
        code = file_run(run, 0, "append", &times[1]);
    if (code == CLI_OK)
        code = bench_lmdb_open(&lmdb, run->probe);
    if (code == CLI_OK)
        code = bench_lmdb_run(lmdb, run->body, run->ms / 3 + 1, &times[2]);
    bench_lmdb_close(lmdb);
    if (code == CLI_OK) {
        put_times(run, "overwrite", &times[0]);
        put_times(run, "append", &times[1]);
        put_times(run, "lmdb_commit", &times[2]);
    }
    free(times);
    return code;
}
