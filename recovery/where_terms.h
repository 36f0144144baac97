/* where_terms.h - a selection as the parser leaves it for the evaluation.
 *
 * A program in postfix order: a number below TERMS_MAX compares that term, the others
 * join what stands before them. */
#ifndef RECOVERY_WHERE_TERMS_H
#define RECOVERY_WHERE_TERMS_H

#include "recovery/where.h"

enum { HF_WHERE_TERMS_MAX = 32, HF_WHERE_VALUES_MAX = 256, HF_WHERE_DEPTH_MAX = 16,
       HF_WHERE_PROGRAM_MAX = 128 };
enum { HF_WHERE_AND = 200, HF_WHERE_OR, HF_WHERE_NOT };

typedef enum hf_where_op {
    HF_IS, HF_IS_NOT, HF_BELOW, HF_UP_TO, HF_ABOVE, HF_FROM, HF_CONTAINS,
} hf_where_op;

typedef struct hf_where_value {
    hf_bytes text;       /* unescaped */
    uint64_t from, span; /* numbers from .. from + span - 1 are it */
} hf_where_value;

typedef struct hf_where_term {
    hf_where_field field;
    hf_where_op    op;
    bool           sure;         /* nothing is selected that it does not take */
    hf_bytes       path;         /* of a body: ".a.b[0]", as written */
    uint32_t       first, count; /* values; more than one: any of them */
} hf_where_term;

struct hf_where {
    uint32_t       count, value_count, length;
    uint64_t       now;
    hf_where_term  terms[HF_WHERE_TERMS_MAX];
    hf_where_value values[HF_WHERE_VALUES_MAX];
    uint8_t        program[HF_WHERE_PROGRAM_MAX];
    char           text[]; /* the values, unescaped, and the paths */
};

#endif
