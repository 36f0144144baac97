/* orders_input.h - lines of a file or a pipe become messages to orders. */
#ifndef ORDERS_ORDERS_INPUT_H
#define ORDERS_ORDERS_INPUT_H

#include <holdfast.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct orders_read {
    uint64_t lines, told, wrong; /* wrong: no orders, each reported on stderr */
} orders_read;

/* Open it; "-" is standard input. -1: a sentence has been said. */
int orders_input_open(const char *path);

/* Tell each order in it to its actor, as it comes; returns when the input ends,
 * *stop is set, or the engine takes no more (its error). Closes fd. */
int orders_input_tell(hf_engine *engine, int fd, const volatile sig_atomic_t *stop,
                      orders_read *result);

#endif
