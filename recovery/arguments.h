/* arguments.h - the arguments of a question or change: a msgpack map, checked. */
#ifndef RECOVERY_ARGUMENTS_H
#define RECOVERY_ARGUMENTS_H

#include "engine/holdfast.h"

#include <stdbool.h>

typedef enum hf_argument_type {
    HF_ARG_TEXT, HF_ARG_BIN, HF_ARG_UINT, HF_ARG_INT, HF_ARG_BOOL, HF_ARG_ARRAY
} hf_argument_type;

/* One that is known: name and type; the rest is filled in. */
typedef struct hf_argument {
    const char      *name;
    hf_argument_type type;
    bool             given;  /* nil is as good as left out */
    uint64_t         number; /* UINT, BOOL; INT: as int64_t */
    hf_bytes         bytes;  /* TEXT, BIN: into the map. ARRAY: its elements */
    uint32_t         count;  /* ARRAY */
} hf_argument;

/* Read the map (data NULL: none are given). HF_EINVAL: no map, damaged msgpack,
 * an unknown name, a name twice, another type, a text with a zero in it; the
 * detail names it. `what` is who takes them, for the detail. */
int hf_arguments_read(const char *what, hf_bytes map, hf_argument *known, size_t count);

/* The same of a row of an answer: names that are unknown are passed over. */
int hf_arguments_known(const char *what, hf_bytes map, hf_argument *known, size_t count);

/* The same of a map that is an element of an array: *rest moves behind it. */
int hf_arguments_next(const char *what, hf_bytes *rest, hf_argument *known, size_t count);

/* Next element of an array, a number. */
int hf_arguments_uint(const char *what, hf_bytes *rest, uint64_t *value);

/* A copy with a zero at its end; NULL: not given (*err HF_OK) or HF_ENOMEM. */
char *hf_argument_copy(const hf_argument *argument, int *err);

#endif
