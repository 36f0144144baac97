/* generate.h - what is made of the table of commands at build time. */
#ifndef TOOLS_PAGES_GENERATE_H
#define TOOLS_PAGES_GENERATE_H

#include "tools/options.h"

/* holdfast(1), or holdfast-COMMAND(1). */
void page_program(FILE *to);
void page_command(FILE *to, const cli_command *command);

/* The completion for bash; needs nothing but bash. */
void page_completion(FILE *to);

#endif
