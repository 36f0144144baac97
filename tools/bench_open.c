/* bench_open.c - `holdfast bench open`: how soon a store with a backlog works.
 *
 * A child process pauses the type, sends everything, and kills itself with
 * SIGKILL, so that the store ends unclean. Then the page cache is dropped, and
 * the clock runs from the call of hf_open to the first turn (hf_resume lies in
 * between), and on until all is drained. Handlers check that each actor's
 * numbers only grow and add all of them up: the sum must be that of 1 .. N.
 * A second open must find nothing left.
 *
 * Handlers run on the engine's threads, the rest on the caller's. */
#include "tools/bench.h"
#include "tools/times.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct open_load {
    uint64_t *last; /* by actor */
} open_load;

static int handle(hf_turn *turn, const hf_message *msg)
{
    const open_load *load = msg->user;
    const bench_body *body = msg->body.data;
    bench_slot *slot = bench_slot_mine();
    (void)turn;
    if (slot->first_ns == 0)
        slot->first_ns = cli_now_ns();
    slot->wrong += body->number <= load->last[body->actor];
    load->last[body->actor] = body->number;
    slot->handled++;
    slot->sum += body->number;
    return HF_OK;
}

static int open_engine(bench *run, open_load *load, hf_engine **engine)
{
    const hf_type types[] = {
        { .name = "p", .handle = handle, .strikes = HF_NEVER,
          .user = load },
        { 0 },
    };
    return hf_open(engine, run->store,
                   HF_OPTIONS(.types = types, .shards = run->shards, .log = hf_log_stderr));
}

/* ---- In the child */

static int send_all(bench *run, hf_engine *engine)
{
    bench_block block = { 0 };
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
    int err = HF_OK;
    bench_block_init(&block, BENCH_BLOCK, run->body, NULL);
    for (uint64_t at = 0; err == HF_OK && at < run->pending;) {
        size_t count = run->pending - at < BENCH_BLOCK ? (size_t)(run->pending - at) : BENCH_BLOCK;
        for (size_t i = 0; i < count; i++) {
            uint32_t actor = bench_below(&seed, run->actors);
            bench_block_address(&block, i, "p", actor);
            *bench_block_body(&block, i) = (bench_body){ .actor = actor, .number = at + i + 1 };
        }
        err = bench_post(engine, block.letters, count, NULL);
        at += count;
    }
    bench_block_free(&block);
    return err == HF_OK ? hf_sync(engine, HF_NEVER) : err;
}

static _Noreturn void child(bench *run, open_load *load)
{
    hf_engine *engine = NULL;
    int err = open_engine(run, load, &engine);
    if (err == HF_OK)
        err = hf_pause(engine, "p", NULL, NULL);
    if (err == HF_OK)
        err = send_all(run, engine);
    if (err == HF_OK)
        (void)kill(getpid(), SIGKILL);
    _exit(err == HF_EAGAIN ? CLI_INTERRUPTED : bench_failed("filling the store", err));
}

static int fill(bench *run, open_load *load)
{
    int status;
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        cli_complain("fork: %s", strerror(errno));
        return CLI_FAILED;
    }
    if (pid == 0)
        child(run, load);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return CLI_FAILED;
    }
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return CLI_OK;
    cli_complain("the process that fills the store ended with status %d", status);
    return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : CLI_FAILED;
}

/* ---- A cold cache */

static void drop_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fdatasync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)close(fd);
}

/* How it was done is part of the result: only root can drop everything. */
const char *bench_drop_cache(const bench *run)
{
    sync();
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    bool dropped = fd >= 0 && write(fd, "3\n", 2) == 2;
    if (fd >= 0)
        (void)close(fd);
    if (dropped)
        return "drop_caches";
    DIR *dir = opendir(run->store);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX + 260];
        (void)snprintf(path, sizeof path, "%s/%s", run->store, entry->d_name);
        drop_file(path);
    }
    if (dir != NULL)
        (void)closedir(dir);
    return "fadvise";
}

/* ---- Measuring */

static void put_figures(bench *run, uint64_t start_ns, uint64_t opened_ns, uint64_t end_ns,
                        const hf_stats *stats)
{
    bench_slot sums = bench_slots_sum();
    double drained = (double)(end_ns - sums.first_ns) / 1e9;
    bench_put_real(run, "first_turn_s", (double)(sums.first_ns - start_ns) / 1e9);
    bench_put_real(run, "open_s", (double)(opened_ns - start_ns) / 1e9);
    bench_put_real(run, "turns_per_s", (double)sums.handled / drained);
    bench_put_real(run, "commits_per_s", (double)stats->commits / drained);
    bench_put_real(run, "seconds", drained);
}

static int check(const bench *run)
{
    bench_slot sums = bench_slots_sum();
    uint64_t sum = run->pending % 2 == 0 ? run->pending / 2 * (run->pending + 1)
                                         : (run->pending + 1) / 2 * run->pending;
    if (sums.handled != run->pending)
        return bench_wrong("messages handled", sums.handled, run->pending);
    if (sums.sum != sum)
        return bench_wrong("sum of their numbers", sums.sum, sum);
    if (sums.wrong != 0)
        return bench_wrong("messages out of order", sums.wrong, 0);
    return CLI_OK;
}

static int measure(bench *run, open_load *load)
{
    hf_engine *engine = NULL;
    hf_stats stats = HF_STATS;
    uint64_t written = bench_written(), start_ns = cli_now_ns();
    int err = open_engine(run, load, &engine);
    uint64_t opened_ns = cli_now_ns();
    if (err == HF_OK)
        err = hf_resume(engine, "p");
    if (err == HF_OK)
        err = bench_drain(engine);
    uint64_t end_ns = cli_now_ns();
    if (err == HF_OK)
        err = hf_stat(engine, &stats);
    int closed = bench_close(engine);
    if (err == CLI_INTERRUPTED)
        return CLI_INTERRUPTED;
    if (err != HF_OK || closed != HF_OK)
        return bench_failed("opening and draining", err != HF_OK ? err : closed);
    put_figures(run, start_ns, opened_ns, end_ns, &stats);
    bench_put_real(run, "bytes_per_turn",
                   (double)(bench_written() - written) / (double)run->pending);
    return check(run);
}

/* Nothing that was acknowledged may come again. */
static int check_reopened(bench *run, open_load *load)
{
    hf_engine *engine = NULL;
    int err = open_engine(run, load, &engine);
    if (err == HF_OK)
        err = bench_drain(engine);
    int closed = bench_close(engine);
    if (err == CLI_INTERRUPTED)
        return CLI_INTERRUPTED;
    err = err != HF_OK ? err : closed;
    return err == HF_OK ? check(run) : bench_failed("reopening", err);
}

int bench_open(bench *run)
{
    open_load load = { .last = cli_alloc(run->actors * sizeof *load.last) };
    bench_watch watch;
    for (uint64_t i = 0; i < run->actors; i += 512) /* the bench's, not the engine's: held now */
        atomic_store_explicit((_Atomic uint64_t *)&load.last[i], 0, memory_order_relaxed);
    int code = fill(run, &load);
    if (code == CLI_OK) {
        bench_put_text(run, "cache_dropped_by", bench_drop_cache(run));
        uint64_t before = bench_rss_anon();
        code = bench_watch_start(&watch);
        if (code == CLI_OK) {
            code = measure(run, &load);
            uint64_t most = bench_watch_stop(&watch);
            bench_put_uint(run, "rss_anon_bytes", most > before ? most - before : 0);
        }
    }
    if (code == CLI_OK)
        code = check_reopened(run, &load);
    if (code == CLI_OK)
        bench_put_uint(run, "checked", run->pending);
    free(load.last);
    return code;
}
