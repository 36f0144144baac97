/* cmd_bench.c - `holdfast bench NAME`: the published numbers, on your machine.
 *
 * Makes a directory for the bench (never in memory: a tmpfs is refused), runs
 * it, prints its figures with the machine they came from, and removes what it
 * made, also after a failure or Ctrl-C. One thread; benches have their own. */
#include "tools/bench.h"
#include "tools/commands.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(bench *run);
    uint32_t body;
    uint64_t actors;
} benches[] = {
    { "tell", bench_tell, 100, 1000 },
    { "state", bench_state, 16, 1000000 },
    { "wait", bench_wait, 100, 1 },
    { "open", bench_open, 100, 1000000 },
    { "memory", bench_memory, 16, 1000000 },
    { "crowd", bench_crowd, 100, 1000 },
    { "alarms", bench_alarms, 16, 1000 },
    { "peek", bench_peek, 16, 1000000 },
    { "disk", bench_disk, 100, 1 },
};

static const cli_column figures[] = {
    { "bench", "bench", CLI_AS_TEXT },
    { "turns/s", "turns_per_s", CLI_AS_TEXT },
    { "latency p50 µs", "p50_us", CLI_AS_TEXT },
    { "latency p99 µs", "p99_us", CLI_AS_TEXT },
    { "samples", "samples", CLI_AS_TEXT },
    { "commits/s", "commits_per_s", CLI_AS_TEXT },
    { "commit p50 µs", "commit_p50_us", CLI_AS_TEXT },
    { "commit p99 µs", "commit_p99_us", CLI_AS_TEXT },
    { "bytes a turn", "bytes_per_turn", CLI_AS_TEXT },
    { "peak turns/s", "peak_turns_per_s", CLI_AS_TEXT },
    { "p50 without, µs", "base_p50_us", CLI_AS_TEXT },
    { "p99 without, µs", "base_p99_us", CLI_AS_TEXT },
    { "p99 / without", "p99_ratio", CLI_AS_TEXT },
    { "late p50 µs", "late_p50_us", CLI_AS_TEXT },
    { "late p99 µs", "late_p99_us", CLI_AS_TEXT },
    { "latest µs", "late_max_us", CLI_AS_TEXT },
    { "set/s", "sets_per_s", CLI_AS_TEXT },
    { "peeks/s", "peeks_per_s", CLI_AS_TEXT },
    { "from the table", "table_peeks_per_s", CLI_AS_TEXT },
    { "from a log", "log_peeks_per_s", CLI_AS_TEXT },
    { "LMDB gets/s", "lmdb_gets_per_s", CLI_AS_TEXT },
    { "peeks", "peeks", CLI_AS_TEXT },
    { "sent in s", "fill_s", CLI_AS_TEXT },
    { "crowd's turns", "crowd_turns", CLI_AS_TEXT },
    { "first turn s", "first_turn_s", CLI_AS_TEXT },
    { "open s", "open_s", CLI_AS_TEXT },
    { "bytes an actor", "bytes_per_actor", CLI_AS_TEXT },
    { "beyond its state", "bytes_beyond_state", CLI_AS_TEXT },
    { "residents", "residents", CLI_AS_TEXT },
    { "memory", "rss_anon_bytes", CLI_AS_BYTES },
    { "memory before", "rss_anon_base_bytes", CLI_AS_BYTES },
    { "overwrite p50 µs", "overwrite_p50_us", CLI_AS_TEXT },
    { "overwrite p99 µs", "overwrite_p99_us", CLI_AS_TEXT },
    { "append p50 µs", "append_p50_us", CLI_AS_TEXT },
    { "append p99 µs", "append_p99_us", CLI_AS_TEXT },
    { "LMDB commit p50 µs", "lmdb_commit_p50_us", CLI_AS_TEXT },
    { "LMDB commit p99 µs", "lmdb_commit_p99_us", CLI_AS_TEXT },
    { "LMDB commits/s", "lmdb_commits_per_s", CLI_AS_TEXT },
    { "p50 / LMDB's", "p50_ratio", CLI_AS_TEXT },
    { "rate / LMDB's", "rate_ratio", CLI_AS_TEXT },
    { "measured s", "seconds", CLI_AS_TEXT },
    { "checked", "checked", CLI_AS_TEXT },
    { "cache dropped by", "cache_dropped_by", CLI_AS_TEXT },
    { "actors", "actors", CLI_AS_TEXT },
    { "body", "body", CLI_AS_TEXT },
    { "state", "state", CLI_AS_TEXT },
    { "threads", "threads", CLI_AS_TEXT },
    { "alarms", "alarms", CLI_AS_TEXT },
    { "pending", "pending", CLI_AS_TEXT },
    { "history", "history", CLI_AS_TEXT },
    { "flood", "flood", CLI_AS_TEXT },
    { "machine", "machine", CLI_AS_JSON },
};

/* ---- Its directory */

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *walk)
{
    (void)about;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_root(const bench *run)
{
    if (nftw(run->root, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
        cli_complain("could not remove %s: %s", run->root, strerror(errno));
}

/* --store DIR: made if it is not there, else something inside it is. */
static int make_root(bench *run)
{
    const char *base = cli_text(&run->context->args, OPT_STORE, ".");
    char other[24];
    int len;
    if (mkdir(base, 0700) == 0) {
        len = snprintf(run->root, sizeof run->root, "%s", base);
    } else {
        len = snprintf(run->root, sizeof run->root, "%s/holdfast-bench.XXXXXX", base);
        if (errno != EEXIST || (size_t)len >= sizeof run->root || mkdtemp(run->root) == NULL) {
            cli_complain("cannot make a directory in %s: %s", base, strerror(errno));
            return errno == EACCES ? CLI_REFUSED : CLI_FAILED;
        }
    }
    if ((size_t)len >= sizeof run->root) {
        cli_complain("the path is too long");
        return CLI_USAGE;
    }
    (void)snprintf(run->store, sizeof run->store, "%s/store", run->root);
    (void)snprintf(run->probe, sizeof run->probe, "%s/lmdb", run->root);
    const char *fs = bench_file_system(run->root, other);
    if (strcmp(fs, "tmpfs") == 0 || strcmp(fs, "ramfs") == 0) {
        cli_complain("%s is a %s: it has no disk to measure. Name another with --store DIR", base,
                     fs);
        remove_root(run);
        return CLI_REFUSED;
    }
    return CLI_OK;
}

/* ---- Options */

static int bad_range(const char *name, unsigned long long least, unsigned long long most)
{
    cli_complain("--%s is between %llu and %llu", name, least, most);
    return CLI_USAGE;
}

static int take_options(bench *run, size_t which)
{
    const cli_args *args = &run->context->args;
    uint64_t body = cli_number(args, OPT_BODY, benches[which].body);
    uint64_t state = cli_number(args, OPT_STATE, 64);
    uint64_t threads = cli_number(args, OPT_THREADS, 1);
    uint64_t shards = cli_number(args, OPT_SHARDS, 0);
    run->actors = cli_number(args, OPT_ACTORS, benches[which].actors);
    run->pending = cli_number(args, OPT_PENDING, 10000000);
    run->alarms = cli_number(args, OPT_ALARMS, 1000000);
    run->history = cli_number(args, OPT_HISTORY, 100000);
    run->ms = cli_number(args, OPT_SECONDS, 10000);
    if (body < sizeof(bench_body) || body > 1 << 20)
        return bad_range("body", sizeof(bench_body), 1 << 20);
    if (state < BENCH_STATE_LEAST || state > BENCH_STATE_MOST)
        return bad_range("state", BENCH_STATE_LEAST, BENCH_STATE_MOST);
    if (threads < 1 || threads > 1000)
        return bad_range("threads", 1, 1000);
    if (shards > 256)
        return bad_range("shards", 0, 256);
    if (run->actors < 1 || run->actors > 100000000)
        return bad_range("actors", 1, 100000000);
    if (run->pending < 1 || run->pending > UINT32_MAX)
        return bad_range("pending", 1, UINT32_MAX);
    if (run->alarms < 1 || run->alarms > UINT32_MAX)
        return bad_range("alarms", 1, UINT32_MAX);
    if (run->ms < 100 || run->ms > 86400000)
        return bad_range("seconds", 1, 86400);
    const char *flood = args->set[OPT_FLOOD] ? args->text[OPT_FLOOD] : "actor";
    run->flood_type = strcmp(flood, "type") == 0;
    if (!run->flood_type && strcmp(flood, "actor") != 0) {
        cli_complain("--flood is type or actor, not '%s'", flood);
        return CLI_USAGE;
    }
    run->body = (uint32_t)body;
    run->state = (uint32_t)state;
    run->threads = (uint32_t)threads;
    run->shards = (uint32_t)shards;
    return CLI_OK;
}

static void put_options(bench *run)
{
    bench_put_text(run, "bench", run->name);
    bench_put_uint(run, "body", run->body);
    bool disk = strcmp(run->name, "disk") == 0;
    bool peek = strcmp(run->name, "peek") == 0;
    if (peek || strcmp(run->name, "state") == 0 || strcmp(run->name, "memory") == 0)
        bench_put_uint(run, "state", run->state);
    if (!disk && strcmp(run->name, "wait") != 0)
        bench_put_uint(run, "actors", run->actors);
    bool crowd = strcmp(run->name, "crowd") == 0, open = strcmp(run->name, "open") == 0;
    if (!disk && !open && !crowd && !peek && strcmp(run->name, "memory") != 0)
        bench_put_uint(run, "threads", run->threads);
    bool alarms = strcmp(run->name, "alarms") == 0;
    if (alarms)
        bench_put_uint(run, "alarms", run->alarms);
    if (strcmp(run->name, "tell") == 0 || strcmp(run->name, "state") == 0)
        bench_put_uint(run, "history", run->history);
    if (open || crowd || alarms)
        bench_put_uint(run, "pending", run->pending);
    if (crowd)
        bench_put_text(run, "flood", run->flood_type ? "type" : "actor");
}

static void print(bench *run)
{
    cli_buffer row = { 0 };
    cli_pack_map(&row, run->pair_count);
    cli_buffer_add(&row, run->pairs.data, run->pairs.len);
    cli_record(&run->context->output, cli_buffer_bytes(&row), figures,
               sizeof figures / sizeof *figures);
    cli_buffer_free(&row);
}

int cmd_bench(cli_context *context)
{
    const char *name = context->args.operands[0];
    size_t which = 0, count = sizeof benches / sizeof *benches;
    while (which < count && strcmp(benches[which].name, name) != 0)
        which++;
    if (which == count) {
        cli_complain(
            "no bench is called '%s'; there are tell, state, wait, open, memory, crowd, alarms, peek, disk",
            name);
        return CLI_USAGE;
    }
    bench *run = cli_alloc(sizeof *run);
    run->context = context;
    run->name = benches[which].name;
    int code = take_options(run, which);
    if (code == CLI_OK)
        code = make_root(run);
    if (code == CLI_OK) {
        (void)cli_interrupted(); /* from here on Ctrl-C cleans up */
        put_options(run);
        bench_put_machine(run);
        code = benches[which].run(run);
        if (code == CLI_OK)
            print(run);
        remove_root(run);
    }
    cli_buffer_free(&run->pairs);
    free(run);
    return code;
}
