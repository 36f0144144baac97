/* letter_flaw.h - would a store take this letter? */
#ifndef CLI_LETTER_FLAW_H
#define CLI_LETTER_FLAW_H

#include "tools/pack.h"

/* What is wrong with a letter, as `send` takes it; NULL: nothing that can be seen from here. */
const char *cli_letter_flaw(hf_bytes letter);

#endif
