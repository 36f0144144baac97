/* workers.c - one actor with many hands, and actors in a row.
 *
 * First: 1 to 100 are queued to ONE actor with five workers and stopped in the
 * middle. What was processed and what hf_pause tells of are together 1 to 100,
 * none missing, none twice. Resumed, the rest is processed too.
 *
 * Then three actors in a row: bale speaks, bane answers, subtitle shows what is
 * said. Three lines get through; the one that bane cannot answer reaches the
 * failed hook with its message, its number and the error.
 *
 * Exit code 0 only if all of that was seen. Handlers run on their types' own
 * threads, which may sleep. */
#include <ftw.h>
#include <holdfast.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { NUMBERS = 100, WORKERS = 5, SUM = 5050 };

static struct scene {
    pthread_mutex_t lock;
    unsigned processed[NUMBERS + 1], by_worker[WORKERS + 1], count;
    unsigned reported[NUMBERS + 1], reports;
    unsigned subtitles[3], strangers; /* what came through, and what should not */
    unsigned failures;
    bool     failure_told; /* with everything one needs to know */
    bool     sound;
} scene = { .lock = PTHREAD_MUTEX_INITIALIZER, .sound = true };

static void check(bool holds, const char *what)
{
    printf("%s  %s\n", holds ? "ok  " : "FAIL", what);
    scene.sound = scene.sound && holds;
}

static void sleep_ms(long ms)
{
    struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&pause, NULL);
}

static bool is(hf_bytes text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

/* ---- One actor, five workers */

static unsigned number_of(hf_bytes body)
{
    char text[8] = "";

    if (body.len < sizeof text)
        memcpy(text, body.data, body.len);
    unsigned long number = strtoul(text, NULL, 10);
    return number <= NUMBERS ? (unsigned)number : 0;
}

static int on_number(hf_turn *turn, const hf_message *msg)
{
    unsigned number = number_of(msg->body);

    (void)turn;
    sleep_ms(2); /* the work */
    pthread_mutex_lock(&scene.lock);
    scene.processed[number]++;
    scene.by_worker[msg->worker <= WORKERS ? msg->worker : 0]++;
    scene.count++;
    pthread_mutex_unlock(&scene.lock);
    return HF_OK;
}

static int on_waiting(void *user, const hf_message *msg)
{
    (void)user;
    scene.reported[number_of(msg->body)]++;
    scene.reports++;
    return HF_OK;
}

static unsigned processed(void)
{
    pthread_mutex_lock(&scene.lock);
    unsigned count = scene.count;
    pthread_mutex_unlock(&scene.lock);
    return count;
}

static int queue_numbers(hf_engine *engine)
{
    hf_letter letters[NUMBERS];
    char text[NUMBERS][12];

    for (int i = 0; i < NUMBERS; i++) {
        snprintf(text[i], sizeof text[i], "%d", i + 1);
        letters[i] = *HF_LETTER(.to = "number/all", .kind = "number", .body = hf_str(text[i]));
    }
    return hf_mail(engine, letters, NUMBERS, NULL);
}

/* Processed and reported: each number once, 5050 in all. */
static void check_stopped(void)
{
    unsigned sum = 0, once = 0;

    for (unsigned n = 1; n <= NUMBERS; n++) {
        once += scene.processed[n] + scene.reported[n] == 1;
        sum += n * (scene.processed[n] + scene.reported[n]);
    }
    printf("      %u processed, %u still waiting, sum %u\n", scene.count, scene.reports, sum);
    check(scene.count > 0 && scene.reports > 0, "stopped in the middle");
    check(once == NUMBERS && scene.processed[0] + scene.reported[0] == 0,
          "processed and waiting are 1 to 100, nothing missing, nothing twice");
    check(sum == SUM, "their sum is 5050");
}

static void check_workers(void)
{
    unsigned busy = 0;

    for (int w = 1; w <= WORKERS; w++)
        busy += scene.by_worker[w] > 0;
    check(busy == WORKERS && scene.by_worker[0] == 0, "workers 1 to 5 all had a hand in it");
}

static int five_workers(hf_engine *engine)
{
    unsigned at_pause, once = 0;
    int err = queue_numbers(engine);

    printf("One actor, %d workers: 1 to %d\n", WORKERS, NUMBERS);
    if (err)
        return err;
    while (processed() < NUMBERS * 2 / 5)
        sleep_ms(1);
    if ((err = hf_pause(engine, "number/all", on_waiting, NULL)))
        return err;
    at_pause = processed();
    check_stopped();
    sleep_ms(50);
    check(processed() == at_pause, "nothing is processed while it is paused");

    if ((err = hf_resume(engine, "number/all")) || (err = hf_drain(engine, 30000)))
        return err;
    for (unsigned n = 1; n <= NUMBERS; n++)
        once += scene.processed[n] == 1;
    check(once == NUMBERS && scene.count == NUMBERS, "resumed, the rest is processed, once");
    check_workers();
    return HF_OK;
}

/* ---- Three actors in a row */

static const struct answer {
    const char *heard, *said;
} answers[] = {
    { "I AM VENGEANCE", "I AM INEVITABLE" },
    { "I AM THE NIGHT", "I AM BANE" },
    { "I'M BATMAN", "I WILL BREAK YOU" },
};
enum { ANSWERS = sizeof answers / sizeof *answers };

static int on_bale(hf_turn *turn, const hf_message *msg)
{
    hf_forward(turn, "line", msg->body);
    return HF_OK;
}

static int on_bane(hf_turn *turn, const hf_message *msg)
{
    for (int i = 0; i < ANSWERS; i++)
        if (is(msg->body, answers[i].heard)) {
            hf_forward(turn, "line", hf_str(answers[i].said));
            return HF_OK;
        }
    return hf_fail(turn, 1, "WHATEVER YOU SAY");
}

static int on_subtitle(hf_turn *turn, const hf_message *msg)
{
    int which = 0;

    (void)turn;
    while (which < ANSWERS && !is(msg->body, answers[which].said))
        which++;
    pthread_mutex_lock(&scene.lock);
    printf("      %s, worker %u: " HF_FMT "\n", msg->to, msg->worker, HF_ARG(msg->body));
    if (which < ANSWERS)
        scene.subtitles[which]++;
    else
        scene.strangers++;
    pthread_mutex_unlock(&scene.lock);
    return HF_OK;
}

static void on_failed(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    pthread_mutex_lock(&scene.lock);
    printf("      #%llu %s, worker %u: \"" HF_FMT "\" failed: %s\n", (unsigned long long)msg->id,
           msg->to, msg->worker, HF_ARG(msg->body), msg->error);
    scene.failures++;
    scene.failure_told = msg->id && msg->worker >= 1 && msg->worker <= 3 && msg->err == 1
        && is(msg->body, "HEY HO!") && strcmp(msg->to, "bane/gotham") == 0
        && strcmp(msg->error, "WHATEVER YOU SAY") == 0 && msg->retry == 0;
    pthread_mutex_unlock(&scene.lock);
}

static int in_a_row(hf_engine *engine)
{
    static const char *const lines[] = { "I AM VENGEANCE", "I AM THE NIGHT", "I'M BATMAN",
                                         "HEY HO!" };
    int err = HF_OK;

    printf("bale, bane, subtitle\n");
    for (size_t i = 0; i < sizeof lines / sizeof *lines && !err; i++)
        err = hf_tell(engine, "bale/gotham", "line", hf_str(lines[i]));
    if (!err)
        err = hf_drain(engine, 30000);
    if (err)
        return err;
    check(scene.subtitles[0] == 1 && scene.subtitles[1] == 1 && scene.subtitles[2] == 1
              && scene.strangers == 0, "three good lines are three subtitles");
    check(scene.failures == 1 && scene.failure_told,
          "HEY HO! reached the failed hook: message, number, error");
    return HF_OK;
}

/* ---- A store for the time of this program */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int play(const char *store)
{
    static const hf_type types[] = {
        { .name = "number", .handle = on_number, .threads = WORKERS, .workers = WORKERS },
        { .name = "bale", .handle = on_bale, .next = "bane", .threads = 3, .workers = 3 },
        { .name = "bane", .handle = on_bane, .failed = on_failed, .next = "subtitle",
          .threads = 3, .workers = 3, .tries = 1 },
        { .name = "subtitle", .handle = on_subtitle, .threads = 3, .workers = 3 },
        { 0 },
    };
    hf_engine *engine;
    int err = hf_open(&engine, store, HF_OPTIONS(.types = types));

    if (!err) {
        err = five_workers(engine);
        if (!err)
            err = in_a_row(engine);
        if (err)
            fprintf(stderr, "workers: %s: %s\n", hf_strerror(err), hf_detail());
        hf_close(engine, HF_NEVER);
    } else {
        fprintf(stderr, "workers: %s: %s: %s\n", store, hf_strerror(err), hf_detail());
    }
    return err;
}

int main(void)
{
    char folder[] = "workers-XXXXXX", store[sizeof folder + 8];

    if (!mkdtemp(folder)) {
        perror("workers: cannot make a directory here");
        return 1;
    }
    snprintf(store, sizeof store, "%s/store", folder);
    int err = play(store);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return err || !scene.sound;
}
