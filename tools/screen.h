/* screen.h - a terminal that is drawn over and over: frames, keys, its size.
 *
 * Whatever ends the process puts the terminal back first. One screen a process. */
#ifndef TOOLS_SCREEN_H
#define TOOLS_SCREEN_H

#include "tools/buffer.h"

#include <stdbool.h>

/* Can there be one: are stdin and stdout terminals, and not dumb ones? */
bool cli_screen_can(void);

/* Take the terminal: other screen, no echo, keys at once. Signals that end or stop the
 * process put it back as it was before they do. */
bool cli_screen_open(void); /* false: errno says why */
void cli_screen_close(void);

/* Show these lines (ended by \n; what is too long or too much is cut off) in one write.
 * False: the terminal is gone. */
bool cli_screen_draw(hf_bytes lines);

enum { CLI_KEY_NONE = 0, CLI_KEY_REDRAW = -1, CLI_KEY_GONE = -2 };

/* The next key, or CLI_KEY_NONE after so long. CLI_KEY_REDRAW: it has another size, or was
 * given back to us. Keys that are no single byte are passed over. */
int cli_screen_key(uint64_t wait_ms);

#endif
