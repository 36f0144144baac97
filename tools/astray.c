/* astray.c - a store whose damage ends whoever maps it.
 *
 * LMDB believes the pages it reads: a damaged one can lead it out of the map, or make it
 * abort. Who looks at such a store hears that and what to do, and a script gets an exit code,
 * not a signal. Only calls that a handler may make. A handler that is there already (of a
 * sanitizer) stays. One thread. */
#include "tools/astray.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static int         exit_code;
static const char *first;

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        _exit(exit_code);
}

static void end(int number)
{
    (void)number;
    if (first != NULL)
        say(STDOUT_FILENO, first);
    say(STDERR_FILENO, "holdfast: the store is damaged where LMDB looks first. `holdfast verify` "
                       "names what, `holdfast salvage` saves the rest. Keep a copy before you go on.\n");
    _exit(exit_code);
}

void cli_astray_expect(int code, const char *line)
{
    static const int numbers[] = { SIGSEGV, SIGBUS, SIGABRT };
    exit_code = code;
    first = line;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action = { .sa_handler = end }, before;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            (void)sigaction(numbers[i], &action, NULL);
    }
}
