/* orders_options.c - the command line.
 *
 * Happy path: getopt_long, one entry of a table for each number. How it fails:
 * a sentence on stderr that names the option, and exit code 2. */
#include "examples/orders/orders_options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "orders - place orders that survive anything\n"
    "\n"
    "    orders                                  the 100 orders that ship with it\n"
    "    orders --fail-rate 0.2 --json           with services that often fail\n"
    "    orders --down payment --tries 3         with one that is down\n"
    "    orders --store shop.hf --ledger shop.db new-orders.ndjson\n"
    "    tail -f new-orders.ndjson | orders -\n"
    "\n"
    "Reads orders, one JSON object a line, from FILE or standard input (-), and takes\n"
    "each through look-ups, order, invoice, payment and notifications. Kill it at any\n"
    "moment and start it again: it goes on, and nothing is paid twice. A line told\n"
    "twice is one order. A line that is no order is reported with its number.\n"
    "\n"
    "    {\"order\":\"ORD-1\",\"customer\":\"CUST-001\",\"merchant\":\"MRCN-001\",\n"
    "     \"payment\":\"CARD-001\",\"promo\":\"PROM-001\",\"items\":[{\"id\":\"IT-001\",\"qty\":1}]}\n"
    "\n"
    "  --store DIR        where the orders wait [orders.hf]\n"
    "  --ledger FILE      the SQLite database of the services [orders.db]\n"
    "  --workers N        orders worked on at once [20]\n"
    "  --latency-ms N     what each call to a service takes [20]\n"
    "  --fail-rate P      how many calls fail, 0 to 1 [0]\n"
    "  --down SERVICE     never answers: customer, merchant, promotion, product, order,\n"
    "                     invoice, payment; may be given several times\n"
    "  --tries N          attempts before an order is given up and undone [20]\n"
    "  --retry-ms N       first pause before another attempt, doubled each time [250]\n"
    "  --retry-max-ms N   longest such pause [10000]\n"
    "  --json             last line: {\"paid\":..,\"dead\":..,\"undone\":..,\"seconds\":..,\"floor\":..}\n"
    "  --verbose          say each attempt that fails\n"
    "  --help             this\n"
    "\n"
    "paid: once, to the cent. undone: given up; invoice void, payment refunded, order\n"
    "cancelled, customer told. dead: given up with nothing to undo; see them with\n"
    "`holdfast ls errors --store DIR`. floor: the time the calls alone take.\n"
    "\n"
    "Exit code: 0 every order has ended, 1 something failed, 2 wrong usage, 130\n"
    "interrupted.\n";

enum { OPT_NUMBER = 256, OPT_STORE = 512, OPT_LEDGER, OPT_FAIL_RATE, OPT_DOWN, OPT_JSON,
       OPT_VERBOSE, OPT_HELP };

static const struct number {
    const char *name;
    size_t      offset;
    uint32_t    least, most;
} numbers[] = {
    { "workers", offsetof(orders_options, workers), 1, 1000 },
    { "latency-ms", offsetof(orders_options, latency_ms), 0, 60000 },
    { "tries", offsetof(orders_options, tries), 1, 1000000 },
    { "retry-ms", offsetof(orders_options, retry_ms), 1, 3600000 },
    { "retry-max-ms", offsetof(orders_options, retry_max_ms), 1, 3600000 },
};

static const struct option names[] = {
    { "workers", required_argument, NULL, OPT_NUMBER + 0 },
    { "latency-ms", required_argument, NULL, OPT_NUMBER + 1 },
    { "tries", required_argument, NULL, OPT_NUMBER + 2 },
    { "retry-ms", required_argument, NULL, OPT_NUMBER + 3 },
    { "retry-max-ms", required_argument, NULL, OPT_NUMBER + 4 },
    { "store", required_argument, NULL, OPT_STORE },
    { "ledger", required_argument, NULL, OPT_LEDGER },
    { "fail-rate", required_argument, NULL, OPT_FAIL_RATE },
    { "down", required_argument, NULL, OPT_DOWN },
    { "json", no_argument, NULL, OPT_JSON },
    { "verbose", no_argument, NULL, OPT_VERBOSE },
    { "help", no_argument, NULL, OPT_HELP },
    { 0 },
};

static int read_number(orders_options *options, const struct number *number, const char *text)
{
    char *end;

    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || value < number->least
        || value > number->most) {
        fprintf(stderr, "orders: --%s wants a number from %u to %u, not \"%s\"\n", number->name,
                number->least, number->most, text);
        return -1;
    }
    *(uint32_t *)(void *)((char *)options + number->offset) = (uint32_t)value;
    return 0;
}

static int read_rate(orders_options *options, const char *text)
{
    char *end;

    options->fail_rate = strtod(text, &end);
    if (end == text || *end || !(options->fail_rate >= 0 && options->fail_rate <= 1)) {
        fprintf(stderr, "orders: --fail-rate wants a number from 0 to 1, not \"%s\"\n", text);
        return -1;
    }
    return 0;
}

static int read_down(orders_options *options, const char *text)
{
    for (int i = 0; i < SERVICES; i++)
        if (strcmp(service_names[i], text) == 0) {
            options->down[i] = true;
            return 0;
        }
    fprintf(stderr, "orders: there is no service \"%s\". There are:", text);
    for (int i = 0; i < SERVICES; i++)
        fprintf(stderr, " %s", service_names[i]);
    fprintf(stderr, "\n");
    return -1;
}

static int read_option(orders_options *options, int which)
{
    switch (which) {
    case OPT_STORE:
        options->store = optarg;
        return 0;
    case OPT_LEDGER:
        options->ledger = optarg;
        return 0;
    case OPT_FAIL_RATE:
        return read_rate(options, optarg);
    case OPT_DOWN:
        return read_down(options, optarg);
    case OPT_JSON:
        options->json = true;
        return 0;
    case OPT_VERBOSE:
        options->verbose = true;
        return 0;
    default:
        if (which >= OPT_NUMBER && which < OPT_STORE)
            return read_number(options, &numbers[which - OPT_NUMBER], optarg);
        return -1; /* getopt has said what is wrong */
    }
}

int orders_options_read(orders_options *options, int argc, char **argv, int *exit_code)
{
    int which;

    *options = (orders_options){ .store = "orders.hf", .ledger = "orders.db", .workers = 20,
        .latency_ms = 20, .tries = 20, .retry_ms = 250, .retry_max_ms = 10000 };
    *exit_code = 2;
    while ((which = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        if (which == OPT_HELP || which == 'h') {
            fputs(help, stdout);
            *exit_code = 0;
            return -1;
        }
        if (read_option(options, which)) {
            fprintf(stderr, "Try: orders --help\n");
            return -1;
        }
    }
    if (argc - optind > 1) {
        fprintf(stderr, "orders: one FILE at a time, not \"%s\" too. Try: orders --help\n",
                argv[optind + 1]);
        return -1;
    }
    options->input = optind < argc ? argv[optind] : NULL;
    return 0;
}
