/* one_argument.h - the arguments of a question, as its test packs them; lent until the next. */
#ifndef UNIT_ONE_ARGUMENT_H
#define UNIT_ONE_ARGUMENT_H

#include "recovery/out.h"

static hf_out args;

static inline hf_bytes one_text(const char *name, const char *text)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_text(&args, name, hf_str(text));
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

#endif
