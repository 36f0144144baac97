/* requeue_jobs.c - jobs that die, and are counted when they are done: requeue_jobs STORE JOBS.
 *
 * Job n goes to the actor job/(n % 1000), which keeps how often it did each of its jobs.
 * Until the file STORE.mended exists every job is buried. On stdin:
 *   send    mails all jobs, once each
 *   audit   waits until nothing is left and says "once N of JOBS, twice N"
 * Says "ready" first and "sent" after send; closes when stdin ends. */
#include "engine/holdfast.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ACTORS = 1000, PER_ACTOR = 1000, BATCH = 500 };

static char       mended[4096];
static atomic_int once, twice, told;

static int handle(hf_turn *turn, const hf_message *msg)
{
    unsigned char times[PER_ACTOR] = { 0 };
    hf_bytes found = hf_state(turn);
    unsigned number = 0;
    if (found.len == sizeof times)
        memcpy(times, found.data, sizeof times);
    if (strcmp(msg->kind, "audit") == 0) {
        for (int i = 0; i < PER_ACTOR; i++) {
            atomic_fetch_add(&once, times[i] == 1);
            atomic_fetch_add(&twice, times[i] > 1);
        }
        atomic_fetch_add(&told, 1);
        return HF_OK;
    }
    if (access(mended, F_OK) != 0)
        return hf_bury(turn, "the price has a comma");
    if (msg->body.len != sizeof number)
        return hf_bury(turn, "no number");
    memcpy(&number, msg->body.data, sizeof number);
    if (times[number / ACTORS] < 255)
        times[number / ACTORS]++;
    hf_save(turn, hf_view(times, sizeof times));
    return HF_OK;
}

static int send_jobs(hf_engine *engine, unsigned jobs)
{
    static char to[BATCH][16];
    static unsigned numbers[BATCH];
    hf_letter letters[BATCH];
    for (unsigned at = 0; at < jobs;) {
        unsigned count = 0;
        for (; count < BATCH && at < jobs; count++, at++) {
            numbers[count] = at;
            (void)snprintf(to[count], sizeof to[count], "job/%u", at % ACTORS);
            letters[count] = (hf_letter){ .size = sizeof letters[0], .to = to[count], .kind = "do",
                                          .body = hf_view(&numbers[count], sizeof numbers[0]) };
        }
        int err = hf_mail(engine, letters, count, NULL);
        if (err)
            return err;
    }
    return HF_OK;
}

static int audit(hf_engine *engine, unsigned jobs)
{
    int err = hf_drain(engine, 120000);
    for (int i = 0; !err && i < ACTORS; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "job/%d", i);
        err = hf_tell(engine, to, "audit", hf_view(NULL, 0));
    }
    if (!err)
        err = hf_drain(engine, 120000);
    if (!err && atomic_load(&told) != ACTORS)
        return HF_ECORRUPT;
    printf("once %d of %u, twice %d\n", atomic_load(&once), jobs, atomic_load(&twice));
    return err;
}

int main(int argc, char **argv)
{
    const hf_type types[] = { { .name = "job", .handle = handle }, { 0 } };
    hf_engine *engine = NULL;
    char line[16];
    unsigned jobs = argc == 3 ? (unsigned)atoi(argv[2]) : 0;
    if (jobs < 1 || jobs > ACTORS * PER_ACTOR)
        return 2;
    (void)snprintf(mended, sizeof mended, "%s.mended", argv[1]);
    int err = hf_open(&engine, argv[1], HF_OPTIONS(.types = types, .log = hf_log_stderr));
    for (puts("ready"); !err && fflush(stdout) == 0 && fgets(line, sizeof line, stdin);) {
        if (strcmp(line, "audit\n") == 0)
            err = audit(engine, jobs);
        else if ((err = send_jobs(engine, jobs)) == HF_OK)
            puts("sent");
    }
    if (err)
        fprintf(stderr, "requeue_jobs: %s: %s\n", hf_strerror(err), hf_detail());
    return hf_close(engine, 60000) != HF_OK || err;
}
