/* astray.h - a store whose damage ends whoever maps it. */
#ifndef CLI_ASTRAY_H
#define CLI_ASTRAY_H

/* From now on SIGSEGV, SIGBUS and SIGABRT end the program with `code`, after `line` on stdout
 * (NULL: none; it must live on) and what to do about it on stderr. */
void cli_astray_expect(int code, const char *line);

#endif
