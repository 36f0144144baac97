/* numbers.h - numbered messages, the actors that count them, and the book about both.
 *
 * For tests that end a process, or its world, in the middle: threads in a child tell
 * number after number and note in the book, in memory shared with the test, what
 * hf_tell acknowledged. The actors keep a count, a running hash and the last number
 * of each sender, and forward each number to a second actor, which counts again.
 * Whatever the store has been through: no acknowledged number may be missing, none
 * come twice or before an earlier one, and both actors must have seen the same. */
#ifndef SUPPORT_NUMBERS_H
#define SUPPORT_NUMBERS_H

#include "engine/holdfast.h"

#include <stdatomic.h>
#include <stdbool.h>

enum {
    NUMBERS_SENDERS = 2,
    NUMBERS_ACTORS = 8,
    NUMBERS_MAX = 4000000,
    NUMBERS_FILLER = 8192
};

typedef struct numbers {
    atomic_bool broken;   /* something was wrong; the first such thing: */
    char        why[300];
    atomic_uint lost;     /* acknowledged numbers that an actor did not get */
    const atomic_bool *dark; /* or NULL: set when the disk is gone; from then on the
                                engine may fail */
    bool        lenient;  /* what is acknowledged after that does not count */
    uint32_t    filler;   /* 0 .. NUMBERS_FILLER bytes may follow a number */
    _Atomic uint32_t next[NUMBERS_SENDERS];
    uint8_t     acked[NUMBERS_SENDERS][NUMBERS_MAX];
} numbers;

extern numbers *numbers_book; /* shared, zero at first; the test sets it */

void numbers_broken(const char *format, ...) HF_PRINTF(1, 2);
void numbers_forget(void); /* a new store, a new page: what was acknowledged, too */
uint32_t numbers_acked(void);

/* The engine with the counting actors; a failure is `broken` unless it is dark. */
int numbers_open(hf_engine **engine, const char *path);

/* Start the senders, which go on until the process ends or the disk is gone. */
void numbers_send(hf_engine *engine);

/* Let all work end, then ask every actor whether it got everything; close. */
void numbers_end(hf_engine *engine);

#endif
