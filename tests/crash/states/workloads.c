/* workloads.c - live a store's life operation by operation, with a model beside it.
 *
 * Happy path: begin is noted, the operation runs on store and model, the ack is
 * noted, and what the store says now must be what the model says. With a fault put
 * in on purpose that last check is left out, and a failing operation only ends the
 * recording: the crash states shall tell. One thread. */
#include "tests/crash/states/workloads.h"

#include "tests/crash/states/crashdisk.h"
#include "tests/crash/states/mutants.h"

#include "recovery/replay.h"

#include "storage/clock.h"
#include "storage/error.h"

#include "tests/support/outdate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KIB(n) ((uint64_t)(n) << 10)
#define SMALL  .window = 1024, .store_max = KIB(2048), .reserve = KIB(2048)

const workload workloads[] = {
    { .name = "create",
      SMALL,
      .ops = 8,
      .body = 60,
      .creation = true,
      .weight = { [DO_SEND] = 4, [DO_DONE] = 1, [DO_CLOSE] = 3, [DO_DIE] = 3 } },
    { .name = "append", SMALL, .ops = 24, .body = 60, .weight = { [DO_SEND] = 1 } },
    { .name = "done",
      SMALL,
      .ops = 30,
      .body = 60,
      .folds = true,
      .weight = { [DO_SEND] = 6, [DO_DONE] = 5, [DO_FOLD] = 1 } },
    { .name = "save",
      SMALL,
      .ops = 26,
      .body = 90,
      .folds = true,
      .packs = true,
      .weight = { [DO_SAVE] = 6, [DO_FORGET] = 1, [DO_FOLD] = 1 } },
    { .name = "alarms",
      SMALL,
      .ops = 30,
      .body = 40,
      .folds = true,
      .slice = 300,
      .weight = { [DO_ALARM] = 6, [DO_CANCEL] = 2, [DO_FIRE] = 4, [DO_DONE] = 2, [DO_FOLD] = 1 } },
    { .name = "letters",
      SMALL,
      .ops = 34,
      .body = 60,
      .folds = true,
      .slice = 500,
      .weight = { [DO_SEND] = 5,
                  [DO_DONE] = 2,
                  [DO_RETRY] = 4,
                  [DO_DEAD] = 3,
                  [DO_REQUEUE] = 2,
                  [DO_PURGE] = 1,
                  [DO_STEP] = 1,
                  [DO_FOLD] = 2 } },
    { .name = "steps",
      SMALL,
      .ops = 30,
      .body = 50,
      .folds = true,
      .weight = { [DO_SEND] = 4, [DO_STEP] = 6, [DO_DONE] = 3, [DO_RETRY] = 1, [DO_FOLD] = 1 } },
    { .name = "pauses",
      SMALL,
      .ops = 26,
      .body = 40,
      .folds = true,
      .weight = { [DO_PAUSE] = 4, [DO_RESUME] = 3, [DO_SEND] = 2, [DO_FOLD] = 1 } },
    { .name = "rows",
      SMALL,
      .ops = 34,
      .body = 60,
      .slice = 300,
      .folds = true,
      .weight = { [DO_PUT] = 8, [DO_SEND] = 1, [DO_FOLD] = 1, [DO_READ] = 1 } },
    { .name = "slices",
      .window = 4096,
      .store_max = KIB(2048),
      .reserve = KIB(2048),
      .ops = 60,
      .body = 200,
      .slice = 400,
      .folds = true,
      .packs = true,
      .weight = { [DO_SEND] = 5, [DO_DONE] = 2, [DO_SAVE] = 3, [DO_RETRY] = 1, [DO_FOLD] = 3 } },
    { .name = "paging",
      SMALL,
      .ops = 34,
      .body = 60,
      .slice = 250,
      .folds = true,
      .weight = { [DO_SEND] = 5, [DO_DONE] = 3, [DO_SAVE] = 2, [DO_FOLD] = 2, [DO_READ] = 4 } },
    { .name = "headroom",
      .window = 4096,
      .store_max = KIB(400),
      .reserve = KIB(128),
      .ops = 70,
      .body = 6000,
      .slice = 6000,
      .large = true,
      .tightens = true,
      .folds = true,
      .weight = { [DO_SEND] = 8, [DO_DONE] = 3, [DO_SAVE] = 1, [DO_FOLD] = 1 } },
    { .name = "mixed",
      SMALL,
      .ops = 50,
      .body = 80,
      .slice = 350,
      .folds = true,
      .packs = true,
      .weight = { 8, 5, 4, 1, 3, 1, 2, 3, 2, 2, 1, 3, 1, 1, 3, 4, 1, 1, 1, 1 } },
};
const unsigned workload_count = sizeof workloads / sizeof *workloads;

hf_disk_options workload_disk(const workload *load)
{
    return (hf_disk_options){ .store_max = load->store_max, .reserve = load->reserve };
}

hf_log_options workload_log(const workload *load)
{
    return (hf_log_options){ .window = load->window, .history = 30, .history_ms = UINT64_MAX,
                             .packs = load->packs };
}

/* ---- Time: later than any file's, so that what crashed may be swept */

static uint64_t now_ms;

static uint64_t wall(void *user)
{
    (void)user;
    return now_ms;
}

static uint64_t mono(void *user)
{
    (void)user;
    return now_ms * 1000000;
}

void workload_clock(uint64_t ms)
{
    static const hf_clock ours = { .wall_ms = wall, .mono_ns = mono };
    now_ms = UINT64_C(4000000000000) + ms;
    hf_clock_use(&ours);
}

uint64_t workload_now(void)
{
    return now_ms;
}

/* ---- One operation */

static int run_open(crash_run *run)
{
    hf_disk_options disk = workload_disk(run->load);
    hf_log_options log = workload_log(run->load);
    disk.lmdb_unsafe = mutant_lmdb_flags();
    int err = hf_disk_open(&run->disk, run->store, &disk);
    if (!err)
        err = hf_log_open(&run->log, run->disk, &log);
    if (!err)
        err = hf_replay(run->log);
    return err ? err : hf_log_start(run->log);
}

static int run_close(crash_run *run, bool clean)
{
    int err = hf_log_close(run->log, clean);
    run->log = NULL;
    hf_disk_close(run->disk);
    run->disk = NULL;
    return err;
}

static void stage_deed(crash_run *run, deed what)
{
    stage *s = &run->stage;
    world *w = &run->world;
    uint64_t chance = chance_next(&run->chance);
    uint32_t body = run->load->body;
    switch (what) {
    case DO_SEND:
        stage_send(s, w, chance, body);
        break;
    case DO_DONE:
        stage_done(s, w, chance);
        break;
    case DO_SAVE:
        stage_save(s, w, chance, body);
        break;
    case DO_FORGET:
        stage_forget(s, w, chance);
        break;
    case DO_ALARM:
        stage_alarm(s, w, chance, body);
        break;
    case DO_CANCEL:
        stage_cancel(s, w, chance);
        break;
    case DO_FIRE:
        stage_fire(s, w, chance);
        break;
    case DO_RETRY:
        stage_retry(s, w, chance);
        break;
    case DO_DEAD:
        stage_dead(s, w, chance);
        break;
    case DO_REQUEUE:
        stage_requeue(s, w, chance);
        break;
    case DO_PURGE:
        stage_purge(s, w, chance);
        break;
    case DO_STEP:
        stage_step(s, w, chance, body);
        break;
    case DO_PAUSE:
        stage_pause(s, w, chance);
        break;
    case DO_PUT:
        stage_put(s, w, chance, body);
        break;
    default:
        stage_resume(s, w, chance);
        break;
    }
}

static deed choose(crash_run *run, unsigned below)
{
    unsigned sum = 0, at = 0;
    for (unsigned i = 0; i < below; i++)
        sum += run->load->weight[i];
    unsigned dice = (unsigned)(chance_next(&run->chance) % sum);
    while (dice >= run->load->weight[at])
        dice -= run->load->weight[at++];
    return (deed)at;
}

/* A group of one to four changes. While space is short nothing comes in. */
static int run_group(crash_run *run, deed first)
{
    stage *s = &run->stage;
    bool room = hf_log_room(run->log);
    unsigned more = (unsigned)(chance_next(&run->chance) % 4);

    run->tight += !room;
    stage_begin(s, run->op, now_ms, hf_log_folded(run->log));
    stage_deed(run, room ? first : DO_DONE);
    for (unsigned i = 0; i < more; i++) {
        deed what = choose(run, CHANGES);
        stage_deed(run, room ? what : DO_DONE);
    }
    stage_ready(s);
    int err = hf_log_append(run->log, &s->group);
    if (err == HF_EFULL)
        return HF_OK; /* none of it is there */
    if (err)
        return err;
    stage_commit(s, &run->world);
    if (chance_next(&run->chance) % 2)
        outdate_all(run->log);
    return HF_OK;
}

static uint64_t fold_budget(crash_run *run)
{
    return 1 + chance_next(&run->chance) % (run->load->slice ? run->load->slice : 2000);
}

/* What a view shows does not change, whatever is written meanwhile. */
static int run_read(crash_run *run)
{
    hf_view_of *view;
    int err = hf_view_open(&view, run->disk);
    if (err)
        return err;
    uint64_t before;
    world_content(&run->world, &run->wanted);
    before = run->wanted.sum;
    err = run_group(run, DO_SEND);
    if (!err)
        err = hf_log_fold(run->log, fold_budget(run));
    if (!err)
        err = content_of_view(&run->found, view);
    if (!err && run->found.sum != before && mutant_used() == MUTANT_NONE)
        err = hf_error(HF_ECORRUPT, "a view changed under its reader");
    hf_view_close(view);
    return err;
}

static int run_deed(crash_run *run, deed what)
{
    hf_log_stats stats;
    int err;
    switch (what) {
    case DO_FOLD:
        err = hf_log_fold(run->log, fold_budget(run));
        break;
    case DO_FOLD_ALL:
        err = hf_log_fold_all(run->log);
        break;
    case DO_READ:
        err = run_read(run);
        break;
    case DO_CLOSE:
    case DO_DIE:
        hf_log_stat(run->log, &stats);
        run->folds += (uint32_t)stats.folds;
        err = run_close(run, what == DO_CLOSE);
        if (!err)
            err = run_open(run);
        break;
    default:
        err = run_group(run, what);
        break;
    }
    return err;
}

/* ---- The whole life */

static void moment_add(crash_run *run)
{
    hf_log_stats stats = { .next = 1 };
    if (run->moment_count == run->moment_room) {
        run->moment_room = run->moment_room * 2 + 64;
        run->moments = realloc(run->moments, run->moment_room * sizeof *run->moments);
        if (!run->moments)
            abort();
    }
    if (run->log)
        hf_log_stat(run->log, &stats);
    world_content(&run->world, &run->wanted);
    run->moments[run->moment_count++] = (moment){ run->wanted.sum, content_sorted(&run->wanted),
                                                  stats.next };
}

static bool is_line(const char *text, const char *line, size_t len)
{
    for (const char *at = text; *at; at = strchr(at, '\n') + 1)
        if (strncmp(at, line, len) == 0)
            return true;
    return false;
}

static void print_only(const char *title, const char *in, const char *not_in)
{
    for (const char *at = in; *at; at = strchr(at, '\n') + 1) {
        size_t len = (size_t)(strchr(at, '\n') - at) + 1;
        if (!is_line(not_in, at, len))
            printf("    %s: %.*s", title, (int)len, at);
    }
}

void print_difference(const char *wanted, const char *found)
{
    print_only("missing", wanted, found);
    print_only("unexpected", found, wanted);
}

static bool agrees(crash_run *run)
{
    int err = content_of_disk(&run->found, run->disk);
    if (err) {
        printf("%s, seed %" PRIu64 ", operation %" PRIu64 ": cannot be read: %s (%s)\n",
               run->load->name, run->seed, run->op, hf_strerror(err), hf_error_detail());
        return false;
    }
    const moment *m = &run->moments[run->moment_count - 1];
    if (run->found.sum == m->sum)
        return true;
    char *found = content_sorted(&run->found);
    printf("%s, seed %" PRIu64 ", operation %" PRIu64 ": store and model differ without a crash\n",
           run->load->name, run->seed, run->op);
    print_difference(m->text, found);
    free(found);
    return false;
}

static bool failed(const crash_run *run, int err)
{
    if (mutant_used() != MUTANT_NONE) {
        printf("the recording ends at operation %" PRIu64 ": %s (%s)\n", run->op, hf_strerror(err),
               hf_error_detail());
        return false; /* up to here it was recorded */
    }
    printf("%s, seed %" PRIu64 ", operation %" PRIu64 ": %s (%s)\n", run->load->name, run->seed,
           run->op, hf_strerror(err), hf_error_detail());
    return true;
}

static bool live(crash_run *run, uint32_t ops)
{
    run->op = 1;
    tape_begin(run->op);
    int err = run_open(run);
    if (err)
        return !failed(run, err);
    memcpy(run->uuid, hf_disk_uuid(run->disk), sizeof run->uuid);
    run->world.seed = hf_log_seed(run->log);
    tape_ack(run->op);
    moment_add(run);
    while (run->op < ops) {
        run->op++;
        workload_clock(run->op * 20);
        tape_begin(run->op);
        err = run_deed(run, choose(run, DEEDS));
        if (err)
            return !failed(run, err);
        tape_ack(run->op);
        moment_add(run);
        if (mutant_used() == MUTANT_NONE && !agrees(run))
            return false;
    }
    return true;
}

bool crash_run_record(crash_run *run, const workload *load, uint64_t seed, uint32_t ops,
                      const char *root)
{
    hf_log_stats stats;
    memset(run, 0, sizeof *run);
    run->load = load;
    run->seed = run->chance = seed;
    (void)snprintf(run->store, sizeof run->store, "%s/store", root);
    workload_clock(0);
    fold_slice_most = load->slice;
    moment_add(run); /* before anything */
    tape_start(&run->tape, root);
    bool fine = live(run, ops ? ops : load->ops);
    tape_stop();
    fold_slice_most = 0;
    if (run->log) {
        hf_log_stat(run->log, &stats);
        run->folds += (uint32_t)stats.folds;
        (void)hf_log_close(run->log, false);
    }
    run->log = NULL;
    hf_disk_close(run->disk);
    run->disk = NULL;
    /* The last operation may have failed: then it has begun, and may be there. */
    if (run->moment_count == run->op)
        moment_add(run);
    return fine;
}

void crash_run_free(crash_run *run)
{
    for (size_t i = 0; i < run->moment_count; i++)
        free(run->moments[i].text);
    free(run->moments);
    tape_free(&run->tape);
    world_free(&run->world);
    stage_free(&run->stage);
    content_free(&run->wanted);
    content_free(&run->found);
    memset(run, 0, sizeof *run);
}
