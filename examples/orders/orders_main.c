/* orders_main.c - a shop's orders, from the line they come in as to the end.
 *
 * Happy path: open the ledger and the store (work that waited from last time
 * goes on at once), tell every line to its order's actor, wait until nothing
 * waits any more, ask the tally how it went. All lines are told every time: the
 * orders know what they have been told before.
 *
 * How it fails: with a sentence that says what to do, and exit code 1. What was
 * told is in the store, whatever happens to this process; start it again.
 *
 * The main thread reads and waits; orders run on --workers threads of their
 * type, the tally on a shard. */
#include "examples/orders/order.h"
#include "examples/orders/order_book.h"
#include "examples/orders/orders_input.h"
#include "examples/orders/orders_options.h"
#include "examples/orders/shop.h"
#include "examples/orders/tally.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_MS = 200, CLOSE_MS = 10000, EXIT_INTERRUPTED = 130 };

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* The first one ends the program in good order, a second one at once. */
static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- Opening */

/* orders.ndjson lies beside this source file. */
static int open_input(const char *path)
{
    static char shipped[4096] = __FILE__;
    char *slash = strrchr(shipped, '/');

    if (path)
        return orders_input_open(path);
    snprintf(slash ? slash + 1 : shipped, 64, "orders.ndjson");
    if (access(shipped, R_OK) != 0) {
        fprintf(stderr, "orders: the orders that ship with it are not at %s any more.\n"
                "Give a FILE with orders, or - for standard input.\n", shipped);
        return -1;
    }
    return orders_input_open(shipped);
}

/* Orders would be placed a second time if their store were lost and the ledger
 * were not. */
static bool belong_together(const orders_options *options, ledger *books)
{
    char why[LEDGER_WHY];
    ledger_totals totals;

    if (!ledger_count(books, &totals, why)) {
        fprintf(stderr, "orders: ledger %s: %s\n", options->ledger, why);
        return false;
    }
    if (totals.orders == 0 || access(options->store, F_OK) == 0)
        return true;
    fprintf(stderr, "orders: the ledger %s holds orders already, but there is no store %s.\n"
            "Give the --store they were placed with, or a new --ledger.\n", options->ledger,
            options->store);
    return false;
}

static void say_open_failed(const orders_options *options, int err)
{
    const char *hint = "";

    if (err == HF_EBUSY)
        hint = "Wait until it has ended, or give another --store.\n";
    else if (err == HF_EINVAL || err == HF_ENOTFOUND || err == HF_EIO)
        hint = "--store wants a directory that Holdfast made, or a new name in one that exists.\n";
    else if (err == HF_EFULL)
        hint = "Make room, or give a --store on another disk.\n";
    fprintf(stderr, "orders: cannot open the store %s: %s%s%s\n%s", options->store,
            hf_strerror(err), *hf_detail() ? ": " : "", hf_detail(), hint);
}

static int open_engine(hf_engine **engine, const orders_options *options, order_shop *shop)
{
    const hf_type types[] = {
        { .name = "order", .handle = order_handle, .undo = order_undo, .failed = order_failed,
          .threads = options->workers, .tries = options->tries, .retry_ms = options->retry_ms,
          .retry_ms_max = options->retry_max_ms, .strikes = HF_NEVER, .user = shop,
          .flush = order_book_write },
        { .name = "tally", .handle = tally_handle, .strikes = HF_NEVER, .user = shop },
        { 0 },
    };

    return hf_open(engine, options->store,
                   HF_OPTIONS(.types = types, .log = options->verbose ? hf_log_stderr : NULL));
}

/* ---- Waiting */

static void show_progress(hf_engine *engine, bool end)
{
    static bool shown;
    hf_stats stats = HF_STATS;

    if (!isatty(STDERR_FILENO))
        return;
    if (end) {
        if (shown)
            fprintf(stderr, "\r\033[K");
        shown = false;
    } else if (hf_stat(engine, &stats) == HF_OK) {
        fprintf(stderr, "\r\033[K%llu wait, %llu are worked on, %llu attempts failed",
                (unsigned long long)stats.waiting, (unsigned long long)stats.running,
                (unsigned long long)stats.failed);
        shown = true;
    }
}

/* Until every order has ended, or a signal comes. */
static int wait_for_orders(hf_engine *engine)
{
    int err = HF_ETIMEDOUT;

    while (err == HF_ETIMEDOUT && !interrupted) {
        err = hf_drain(engine, SLICE_MS);
        show_progress(engine, err != HF_ETIMEDOUT);
    }
    show_progress(engine, true);
    return err;
}

static int ask_tally(hf_engine *engine, order_shop *shop)
{
    int err = hf_tell(engine, TALLY_ACTOR, "report", hf_str(""));

    if (!err)
        err = wait_for_orders(engine);
    pthread_mutex_lock(&shop->lock);
    if (!err && !shop->reported)
        err = HF_ETIMEDOUT; /* somebody has paused the tally */
    pthread_mutex_unlock(&shop->lock);
    return err;
}

/* ---- Telling how it went */

/* The store and the ledger count on their own, and must agree: an order that
 * died is undone if its row in the ledger is cancelled. */
static bool count_up(const orders_options *options, order_shop *shop, ledger_totals *totals)
{
    const order_tally *tally = &shop->tally;
    char why[LEDGER_WHY];

    if (!ledger_count(shop->services.books, totals, why)) {
        fprintf(stderr, "orders: ledger %s: %s\n", options->ledger, why);
        return false;
    }
    if ((uint64_t)totals->paid >= tally->paid && (uint64_t)totals->undone <= tally->dead)
        return true;
    fprintf(stderr, "orders: the store %s knows %llu paid and %llu dead orders, the ledger %s %lld "
            "paid and %lld undone ones.\nThey do not belong together.\n", options->store,
            (unsigned long long)tally->paid, (unsigned long long)tally->dead, options->ledger,
            (long long)totals->paid, (long long)totals->undone);
    return false;
}

static void print_result(const orders_options *options, const order_tally *tally,
                         uint64_t undone, double seconds, double floor)
{
    printf(options->json
               ? "{\"paid\":%llu,\"dead\":%llu,\"undone\":%llu,\"seconds\":%.4f,\"floor\":%.4f}\n"
               : "%llu paid, %llu dead, %llu undone in %.2f s; the calls alone take %.2f s\n",
           (unsigned long long)tally->paid, (unsigned long long)(tally->dead - undone),
           (unsigned long long)undone, seconds, floor);
}

static int say_waiting(hf_engine *engine, const orders_options *options)
{
    hf_stats stats = HF_STATS;

    if (hf_stat(engine, &stats) || stats.waiting == 0)
        return 0;
    fprintf(stderr, "orders: %llu messages wait because they are paused or held. See: "
            "holdfast ls --store %s\n", (unsigned long long)stats.waiting, options->store);
    return 1;
}

/* ---- From the first line to the last */

static int run(hf_engine *engine, const orders_options *options, order_shop *shop, int input)
{
    uint64_t start = now_ns(), end, first;
    orders_read read;
    ledger_totals totals;
    int err = orders_input_tell(engine, input, &interrupted, &read);

    if (!err)
        err = wait_for_orders(engine);
    end = now_ns();
    if (!err && !interrupted)
        err = ask_tally(engine, shop);
    if (interrupted) {
        fprintf(stderr, "orders: interrupted; what was told is in %s, start again to go on.\n",
                options->store);
        return EXIT_INTERRUPTED;
    }
    if (err) {
        fprintf(stderr, "orders: stopped: %s%s%s\nWhat was told is in %s, start again to go on.\n",
                hf_strerror(err), *hf_detail() ? ": " : "", hf_detail(), options->store);
        return 1;
    }
    if (read.wrong)
        fprintf(stderr, "%llu of %llu lines are not orders\n", (unsigned long long)read.wrong,
                (unsigned long long)read.lines);
    first = floor_began(shop->services.times); /* hf_open may have set old work going */
    if (first && first < start)
        start = first;
    if (!count_up(options, shop, &totals))
        return 1;
    print_result(options, &shop->tally, (uint64_t)totals.undone, (double)(end - start) / 1e9,
                 floor_seconds(shop->services.times, options->workers));
    return say_waiting(engine, options);
}

static int work(const orders_options *options, order_shop *shop, int input)
{
    hf_engine *engine;
    int err = open_engine(&engine, options, shop);
    int code;

    if (err) {
        say_open_failed(options, err);
        close(input);
        return 1;
    }
    code = run(engine, options, shop, input);
    while ((err = hf_close(engine, CLOSE_MS)) == HF_ETIMEDOUT)
        ; /* turns end; what cannot be written into the book is the next time */
    if (err) {
        fprintf(stderr, "orders: closing: %s: %s\n", hf_strerror(err), hf_detail());
        code = 1;
    }
    return code;
}

int main(int argc, char **argv)
{
    orders_options options;
    order_shop shop = { .lock = PTHREAD_MUTEX_INITIALIZER };
    char why[LEDGER_WHY];
    int code, input;

    if (orders_options_read(&options, argc, argv, &code))
        return code;
    catch_signals();
    input = open_input(options.input);
    if (input < 0)
        return 1;
    shop.verbose = options.verbose;
    shop.services.latency_ms = options.latency_ms;
    shop.services.fail_rate = options.fail_rate;
    memcpy(shop.services.down, options.down, sizeof options.down);
    shop.services.times = floor_open();
    if (!shop.services.times || !ledger_open(&shop.services.books, options.ledger, why)) {
        fprintf(stderr, "orders: cannot open the ledger %s: %s\n"
                "--ledger wants a SQLite file, or a new name in a directory that exists.\n",
                options.ledger, shop.services.times ? why : "out of memory");
        code = 1;
    } else {
        code = belong_together(&options, shop.services.books) ? work(&options, &shop, input) : 1;
    }
    ledger_close(shop.services.books);
    floor_close(shop.services.times);
    return code;
}
