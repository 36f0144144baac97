/* telemetry.c - many vehicles say where they are; each is an actor that knows
 * its newest position and how often it has been told.
 *
 * Happy path: fixes are posted in batches (hf_post never waits for the disk; a
 * callback counts what has arrived there), the vehicles' states are saved turn
 * by turn. Then the store is closed, opened again, and every vehicle is asked
 * whether it knows all of it.
 *
 * How it fails: HF_EAGAIN, too much on its way to disk, is answered with
 * hf_sync; anything else ends the program with a sentence and exit code 1.
 *
 * Handlers run on the shards, the callback on the engine's callback thread. */
#include <holdfast.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 1000 };

struct fix {
    uint64_t run, at; /* which run of the program; milliseconds in it */
    double   lat, lon;
    uint32_t speed, number;
};

/* The state of a vehicle: `count` fixes of this run, and the newest. */
struct vehicle {
    uint64_t   count;
    struct fix newest;
};

/* What a vehicle should know. */
struct check {
    uint64_t run, count, at;
};

static atomic_ullong posted, refused; /* letters */
static atomic_ullong right, wrong;    /* vehicles */

static int on_fix(hf_turn *turn, const hf_message *msg)
{
    const struct vehicle *old = hf_state(turn).data;
    const struct fix *fix = msg->body.data;
    struct vehicle now = { 0 };

    if (msg->body.len != sizeof *fix)
        return hf_bury(turn, "a fix has %zu bytes, not %zu", sizeof *fix, msg->body.len);
    if (old && old->newest.run == fix->run)
        now = *old;
    now.count++;
    if (fix->at >= now.newest.at)
        now.newest = *fix;
    hf_save(turn, hf_view(&now, sizeof now));
    return HF_OK;
}

static int on_check(hf_turn *turn, const hf_message *msg)
{
    const struct vehicle *known = hf_state(turn).data;
    const struct check *check = msg->body.data;

    if (msg->body.len != sizeof *check)
        return hf_bury(turn, "a check has %zu bytes, not %zu", sizeof *check, msg->body.len);
    if (known && known->newest.run == check->run && known->newest.at == check->at
        && known->count == check->count)
        right++;
    else
        wrong++;
    return HF_OK;
}

static int on_vehicle(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "fix") == 0)
        return on_fix(turn, msg);
    if (strcmp(msg->kind, "check") == 0)
        return on_check(turn, msg);
    return hf_bury(turn, "a vehicle does not understand \"%s\"", msg->kind);
}

static void on_posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)user;
    (void)receipts;
    atomic_fetch_add(err ? &refused : &posted, count);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int fail(const char *what, int err)
{
    fprintf(stderr, "telemetry: %s: %s: %s\n", what, hf_strerror(err), hf_detail());
    return 1;
}

/* One batch on its way. */
static int post(hf_engine *engine, const hf_letter *letters, size_t count)
{
    int err;

    while ((err = hf_post(engine, letters, count, on_posted, NULL)) == HF_EAGAIN)
        if ((err = hf_sync(engine, HF_NEVER)))
            break;
    return err;
}

/* A letter of this kind to each vehicle, in batches. */
static int post_round(hf_engine *engine, uint32_t vehicles, const char *kind, hf_bytes body)
{
    static hf_letter letters[BATCH];
    static char to[BATCH][32];
    int err = HF_OK;

    for (uint32_t first = 0; first < vehicles && !err; first += BATCH) {
        uint32_t count = vehicles - first < BATCH ? vehicles - first : BATCH;
        for (uint32_t i = 0; i < count; i++) {
            snprintf(to[i], sizeof to[i], "vehicle/%u", first + i);
            letters[i] = *HF_LETTER(.to = to[i], .kind = kind, .body = body);
        }
        err = post(engine, letters, count);
    }
    return err;
}

static int drive(hf_engine *engine, uint64_t run, uint32_t vehicles, uint32_t fixes)
{
    int err = HF_OK;

    for (uint32_t n = 1; n <= fixes && !err; n++) {
        struct fix fix = { .run = run, .at = n * 1000u, .lat = 52.52 + n * 1e-5, .lon = 13.4,
                           .speed = 30 + n % 20, .number = n };
        err = post_round(engine, vehicles, "fix", hf_view(&fix, sizeof fix));
    }
    if (!err)
        err = hf_sync(engine, HF_NEVER); /* all are on disk ... */
    if (!err)
        err = hf_drain(engine, HF_NEVER); /* ... and every vehicle knows them */
    return err;
}

static int check(hf_engine *engine, uint64_t run, uint32_t vehicles, uint32_t fixes)
{
    struct check check = { run, fixes, fixes * 1000u };
    int err = post_round(engine, vehicles, "check", hf_view(&check, sizeof check));

    return err ? err : hf_drain(engine, HF_NEVER);
}

int main(int argc, char **argv)
{
    static const hf_type types[] = { { .name = "vehicle", .handle = on_vehicle }, { 0 } };
    const char *store = argc > 1 ? argv[1] : "fleet.hf";
    uint32_t vehicles = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000;
    uint32_t fixes = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 100;
    uint64_t run = now_ms(), took;
    hf_engine *engine;
    int err;

    if (argc > 4 || *store == '-' || vehicles == 0 || fixes == 0 || vehicles > 10000000
        || fixes > 1000000) {
        fprintf(stderr, "usage: telemetry [STORE [VEHICLES [FIXES]]]\n"
                        "for example: telemetry fleet.hf 1000 100\n");
        return 2;
    }
    if ((err = hf_open(&engine, store, HF_OPTIONS(.types = types))))
        return fail(store, err);
    err = drive(engine, run, vehicles, fixes);
    took = now_ms() - run;
    hf_close(engine, HF_NEVER);
    if (err)
        return fail("driving", err);

    if ((err = hf_open(&engine, store, HF_OPTIONS(.types = types))))
        return fail(store, err);
    unsigned long long told = posted;
    err = check(engine, run, vehicles, fixes);
    hf_close(engine, HF_NEVER);
    if (err)
        return fail("checking", err);
    printf("%llu fixes of %u vehicles in %.2f s; opened again: %llu vehicles know all of it, "
           "%llu do not\n", told, vehicles, (double)took / 1000, (unsigned long long)right,
           (unsigned long long)wrong);
    return right == vehicles && wrong == 0 && refused == 0
                   && told == (unsigned long long)vehicles * fixes
               ? 0 : 1;
}
