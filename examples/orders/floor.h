/* floor.h - how fast could it have been?
 *
 * Sums up what the calls of each order took in this run and schedules these
 * sums on the workers as a list: each order goes to the worker that is free
 * first. No engine can be faster that gives an order's calls one after another.
 * Any thread. */
#ifndef ORDERS_FLOOR_H
#define ORDERS_FLOOR_H

#include <stdint.h>

typedef struct floor_sums floor_sums;

floor_sums *floor_open(void);            /* NULL: out of memory */
void        floor_close(floor_sums *sums); /* NULL is fine */

/* A call for `order` took this long, starting at `began` (both nanoseconds). */
void floor_add(floor_sums *sums, const char *order, uint64_t began, uint64_t took);

/* When the first call began; 0 if there was none. */
uint64_t floor_began(floor_sums *sums);

double floor_seconds(floor_sums *sums, uint32_t workers);

#endif
