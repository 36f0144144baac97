/* scenarios.c - what goes on while a call fails.
 *
 * Happy path: `before` does without faults what the scenario only needs, `run` is what
 * they fall into, `after` closes what is still open. Nothing here expects a call to
 * succeed; every answer is noted, and world_verify compares. The child's thread. */
#include "tests/crash/faults/faults_world.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = 16, LARGE = 1500, CLOSE_MS = 8000 };

static hf_engine *engine;

static void give_up(const char *what)
{
    fprintf(stderr, "faults: without faults %s: %s\n", what, hf_detail());
    exit(1);
}

/* ---- Calls, with their answers noted */

static int tell(uint32_t n, size_t size)
{
    uint8_t body[BODY_MAX];
    int err = answered("hf_tell", hf_tell(engine, number_to(n), "n", number_body(body, n, size)));
    number_answered(n, 1, err);
    return err;
}

static void mail(uint32_t count)
{
    static uint8_t bodies[8][BODY_MAX];
    hf_letter letters[8];
    hf_receipt receipts[8];
    uint32_t first = number_take(count);
    for (uint32_t i = 0; i < count; i++)
        letters[i] = *HF_LETTER(.to = number_to(first + i), .kind = "n",
                                .body = number_body(bodies[i], first + i, SMALL));
    int err = answered("hf_mail", hf_mail(engine, letters, count, receipts));
    number_answered(first, count, err);
    for (uint32_t i = 0; !err && i < count; i++) {
        if (!receipts[i].id || receipts[i].err)
            broken("hf_mail answers HF_OK, and a receipt is empty");
        book->id[first + i] = receipts[i].id;
    }
}

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    if ((receipts == NULL) != (err != HF_OK))
        broken("a posting is told %d with receipts %p", err, (const void *)receipts);
    number_answered((uint32_t)(uintptr_t)user, (uint32_t)count, err);
    atomic_fetch_add(&book->posted, 1);
}

static void post(uint32_t count)
{
    static uint8_t bodies[8][BODY_MAX];
    hf_letter letters[8];
    uint32_t first = number_take(count);
    for (uint32_t i = 0; i < count; i++)
        letters[i] = *HF_LETTER(.to = number_to(first + i), .kind = "n",
                                .body = number_body(bodies[i], first + i, SMALL));
    int err = answered("hf_post", hf_post(engine, letters, count, posted,
                                          (void *)(uintptr_t)first));
    if (err)
        number_answered(first, count, err);
    else
        atomic_fetch_add(&book->posts, 1);
}

static void open_engine(const char *path)
{
    engine = NULL;
    book->open_err = answered("hf_open", world_open(&engine, path));
    if (book->open_err == HF_EUNKNOWN)
        broken("hf_open may not answer HF_EUNKNOWN: %s", hf_detail());
    if (book->open_err && engine)
        broken("hf_open fails and leaves an engine");
    if (!book->open_err)
        book->opened_before = true;
}

static void close_engine(void)
{
    (void)snprintf(book->at, sizeof book->at, "hf_close");
    int err = hf_close(engine, CLOSE_MS);
    if (err)
        broken("hf_close answers %d (%s)", err, hf_detail());
    engine = NULL;
    if (atomic_load(&book->told_stopped) && !atomic_load(&book->stopped))
        broken("a call was told that the engine stopped, and the hook was not");
    if (atomic_load(&book->posted) != atomic_load(&book->posts))
        broken("%u postings were accepted and %u told", atomic_load(&book->posts),
               atomic_load(&book->posted));
}

/* A fault that is over leaves nothing undone, unless the engine said that it stopped. */
static void drain(void)
{
    if (inject->for_good) {
        (void)hf_drain(engine, 100);
        return;
    }
    int err = answered("hf_drain", hf_drain(engine, 6000));
    if (err && err != HF_EUNKNOWN)
        broken("hf_drain after one fault answers %d (%s)", err, hf_detail());
}

/* ---- Stores to begin with */

static int nothing(void *user, const hf_message *msg)
{
    (void)user, (void)msg;
    return HF_OK;
}

/* Dead letters, steps, folded states; then messages that wait behind pauses. */
static void fill(bool waiting)
{
    for (int i = 0; i < 56; i++)
        if (tell(number_take(1), LARGE))
            give_up("hf_tell");
    mail(8);
    if (hf_drain(engine, 10000))
        give_up("hf_drain");
    if (waiting
        && (hf_pause(engine, "calm", nothing, NULL) || hf_pause(engine, "slow", NULL, NULL)))
        give_up("hf_pause");
    for (int i = 0; i < 16; i++)
        if (tell(number_take(1), i < 8 ? SMALL : LARGE))
            give_up("hf_tell");
}

void template_make(const char *path, const char *store)
{
    bool dies = strcmp(store, "unclean") == 0;
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (world_open(&engine, path))
            give_up("hf_open");
        fill(true);
        if (!dies && hf_close(engine, 10000))
            give_up("hf_close");
        if (dies)
            (void)kill(getpid(), SIGKILL);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child
        || (dies ? !WIFSIGNALED(status) : status != 0)) {
        fprintf(stderr, "faults: the store %s cannot be made\n", store);
        exit(1);
    }
    book->opened_before = true;
}

/* ---- Opening */

static void run_create(const char *path)
{
    open_engine(path);
    if (engine) {
        (void)tell(number_take(1), SMALL);
        (void)tell(number_take(1), LARGE);
    }
    close_engine();
}

static void run_open(const char *path)
{
    open_engine(path);
    if (engine) {
        (void)answered("hf_resume", hf_resume(engine, "calm"));
        (void)answered("hf_resume", hf_resume(engine, "slow"));
        (void)tell(number_take(1), SMALL);
        drain();
    }
    close_engine();
}

/* ---- Working */

static void before_work(const char *path)
{
    open_engine(path);
    if (!engine)
        give_up("hf_open");
}

static void run_work(const char *path)
{
    hf_stats stats = HF_STATS;
    (void)path;
    for (int i = 0; i < 12; i++)
        (void)tell(number_take(1), LARGE);
    mail(5);
    post(3);
    (void)answered("hf_pause", hf_pause(engine, "calm", nothing, NULL));
    post(4);
    (void)answered("hf_sync", hf_sync(engine, 4000));
    for (int i = 0; i < 6; i++)
        (void)tell(number_take(1), LARGE);
    (void)answered("hf_resume", hf_resume(engine, "calm"));
    (void)answered("hf_resume", hf_resume(engine, "slow"));
    (void)hf_stat(engine, &stats);
    for (int i = 0; i < 12; i++)
        (void)tell(number_take(1), LARGE);
    drain();
    mail(8);
    if (!inject->for_good && atomic_load(&book->stopped) == 0)
        (void)answered("hf_drain", hf_drain(engine, 6000));
    close_engine();
}

/* ---- The tool's side: a store nobody has, and one behind a socket */

static int row(void *user, hf_bytes bytes)
{
    uint32_t *rows = user;
    (void)bytes;
    ++*rows;
    return HF_OK;
}

typedef struct arguments {
    hf_out send, requeue, what, actor, where, id;
    uint32_t letter, dead; /* numbers */
} arguments;

static void put_one(hf_out *out, const char *name, const char *text)
{
    hf_out_map(out, NULL);
    hf_out_text(out, name, hf_str(text));
    hf_out_end(out);
}

static arguments args;

/* Made before the faults: they are the caller's. */
static void make_arguments(const char *path)
{
    uint8_t body[BODY_MAX];
    (void)path;
    args = (arguments){ .letter = number_take(2), .dead = 26 };
    hf_out *s = &args.send;
    hf_out_map(s, NULL);
    hf_out_array(s, "letters");
    for (uint32_t n = args.letter; n < args.letter + 2; n++) {
        hf_out_map(s, NULL);
        hf_out_text(s, "to", hf_str(number_to(n)));
        hf_out_text(s, "kind", hf_str("n"));
        hf_out_bin(s, "body", number_body(body, n, SMALL));
        hf_out_end(s);
    }
    hf_out_end(s);
    hf_out_end(s);
    for (; args.dead < 64 && (!number_is_buried(args.dead) || number_is_undone(args.dead)
                              || !book->id[args.dead]); args.dead++)
        ;
    hf_out_map(&args.requeue, NULL);
    hf_out_array(&args.requeue, "ids");
    hf_out_uint(&args.requeue, NULL, book->id[args.dead]);
    hf_out_end(&args.requeue);
    hf_out_end(&args.requeue);
    put_one(&args.what, "what", "calm/1");
    put_one(&args.actor, "actor", "calm/0");
    put_one(&args.where, "where", "status = dead and type = calm");
    hf_out_map(&args.id, NULL);
    hf_out_uint(&args.id, "id", book->id[args.dead]);
    hf_out_end(&args.id);
}

static void free_arguments(void)
{
    hf_out *all[] = { &args.send, &args.requeue, &args.what, &args.actor, &args.where, &args.id };
    for (int i = 0; i < 6; i++)
        hf_out_done(all[i]);
}

static int change(hf_store *store, const char *name, const hf_out *with)
{
    uint32_t rows = 0;
    int err = hf_change(store, name, hf_out_bytes(with), row, &rows);
    if (!err && rows != 1)
        broken("hf_change %s tells %u rows", name, rows);
    return answered(name, err);
}

static void query(hf_store *store, const char *name, const hf_out *with)
{
    uint32_t rows = 0;
    hf_bytes none = { NULL, 0 };
    int err = answered(name, hf_query(store, name, with ? hf_out_bytes(with) : none, row, &rows));
    if (!err && !rows)
        broken("hf_query %s tells nothing", name);
}

static void look_and_change(const char *path)
{
    hf_store *store = NULL;
    int err = answered("hf_store_open", hf_store_open(&store, path, 200));
    if (!err) {
        query(store, "stats", NULL);
        query(store, "ls", NULL);
        query(store, "actor", &args.actor);
        query(store, "messages", &args.where);
        query(store, "message", &args.id);
        number_answered(args.letter, 2, change(store, "send", &args.send));
        (void)change(store, "pause", &args.what);
        book->most[args.dead]++;
        number_answered(args.dead, 1, change(store, "requeue", &args.requeue));
        (void)change(store, "resume", &args.what);
        query(store, "ls", NULL);
    } else {
        number_answered(args.letter, 2, err);
    }
    hf_store_close(store);
}

static void after_dead(const char *path)
{
    (void)path;
    free_arguments();
}

static void before_socket(const char *path)
{
    make_arguments(path);
    before_work(path);
}

static void after_socket(const char *path)
{
    (void)path;
    close_engine();
    free_arguments();
}

const scenario scenarios[] = {
    { "create", "", true, NULL, run_create, NULL },
    { "clean", "clean", false, NULL, run_open, NULL },
    { "unclean", "unclean", false, NULL, run_open, NULL },
    { "work", "clean", false, before_work, run_work, NULL },
    { "dead", "unclean", false, make_arguments, look_and_change, after_dead },
    { "socket", "clean", false, before_socket, look_and_change, after_socket },
};
const uint32_t scenario_count = sizeof scenarios / sizeof *scenarios;
