/* floor.c - list scheduling of the measured calls.
 *
 * Happy path: floor_add finds the order in a hash table (open addressing, at
 * most half full) and adds to its sum; floor_seconds walks the orders in the
 * sequence they came and gives each to the worker that is free first.
 *
 * How it fails: without memory an order is left out, which makes the floor
 * lower, never higher. Any thread. */
#include "examples/orders/floor.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct sum {
    char    *order;
    uint64_t nanoseconds;
};

struct floor_sums {
    pthread_mutex_t lock;
    struct sum     *sums;  /* as they came */
    size_t          count;
    uint32_t       *slots; /* number of a sum + 1, 0: free */
    size_t          size;  /* of both, a power of two */
    uint64_t        began;
};

floor_sums *floor_open(void)
{
    floor_sums *sums = calloc(1, sizeof *sums);

    if (sums)
        pthread_mutex_init(&sums->lock, NULL);
    return sums;
}

void floor_close(floor_sums *sums)
{
    if (!sums)
        return;
    for (size_t i = 0; i < sums->count; i++)
        free(sums->sums[i].order);
    free(sums->sums);
    free(sums->slots);
    pthread_mutex_destroy(&sums->lock);
    free(sums);
}

static uint32_t *slot_of(floor_sums *sums, const char *order)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (const char *at = order; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    for (size_t i = hash & (sums->size - 1);; i = (i + 1) & (sums->size - 1)) {
        uint32_t *slot = &sums->slots[i];
        if (*slot == 0 || strcmp(sums->sums[*slot - 1].order, order) == 0)
            return slot;
    }
}

static bool grow(floor_sums *sums)
{
    size_t size = sums->size ? 2 * sums->size : 256;
    uint32_t *slots = calloc(size, sizeof *slots);
    struct sum *list = slots ? realloc(sums->sums, size * sizeof *list) : NULL;

    if (!list) {
        free(slots);
        return false;
    }
    free(sums->slots);
    sums->slots = slots;
    sums->sums = list;
    sums->size = size;
    for (size_t i = 0; i < sums->count; i++)
        *slot_of(sums, list[i].order) = (uint32_t)(i + 1);
    return true;
}

static struct sum *sum_of(floor_sums *sums, const char *order)
{
    uint32_t *slot;
    char *copy;

    if (sums->count * 2 >= sums->size && !grow(sums))
        return NULL;
    slot = slot_of(sums, order);
    if (*slot)
        return &sums->sums[*slot - 1];
    copy = strdup(order);
    if (!copy)
        return NULL;
    sums->sums[sums->count++] = (struct sum){ copy, 0 };
    *slot = (uint32_t)sums->count;
    return &sums->sums[sums->count - 1];
}

void floor_add(floor_sums *sums, const char *order, uint64_t began, uint64_t took)
{
    pthread_mutex_lock(&sums->lock);
    if (sums->began == 0 || began < sums->began)
        sums->began = began;
    struct sum *sum = sum_of(sums, order);
    if (sum)
        sum->nanoseconds += took;
    pthread_mutex_unlock(&sums->lock);
}

uint64_t floor_began(floor_sums *sums)
{
    pthread_mutex_lock(&sums->lock);
    uint64_t began = sums->began;
    pthread_mutex_unlock(&sums->lock);
    return began;
}

double floor_seconds(floor_sums *sums, uint32_t workers)
{
    uint64_t *busy_until = calloc(workers ? workers : 1, sizeof *busy_until);
    uint64_t last = 0;

    if (!busy_until)
        return 0;
    pthread_mutex_lock(&sums->lock);
    for (size_t i = 0; i < sums->count; i++) {
        uint32_t first = 0;
        for (uint32_t w = 1; w < workers; w++)
            if (busy_until[w] < busy_until[first])
                first = w;
        busy_until[first] += sums->sums[i].nanoseconds;
        if (busy_until[first] > last)
            last = busy_until[first];
    }
    pthread_mutex_unlock(&sums->lock);
    free(busy_until);
    return (double)last / 1e9;
}
