/* generate.c - writes the man pages and the bash completion: holdfast_pages DIR.
 *
 * Happy path: DIR/man1/holdfast.1, DIR/man1/holdfast-COMMAND.1 for each command of
 * tools/commands.c, DIR/completions/holdfast. DIR and its two folders must be there;
 * the build makes them and runs this, so what is installed is never older than the
 * table. Fails with 1 and a sentence when a file can't be written. One thread. */
#include "tools/pages/generate.h"

#include <errno.h>
#include <string.h>

static FILE *begin(const char *dir, const char *folder, const char *name, const char *ending)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s/holdfast%s%s%s", dir, folder, *name ? "-" : "", name,
                   ending);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        fprintf(stderr, "holdfast_pages: %s: %s\n", path, strerror(errno));
    return file;
}

static bool end(FILE *file)
{
    bool fine = !ferror(file);
    if (fclose(file) != 0 || !fine) {
        fprintf(stderr, "holdfast_pages: %s\n", strerror(errno));
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: holdfast_pages DIR\n", stderr);
        return 2;
    }
    FILE *file = begin(argv[1], "man1", "", ".1");
    if (file == NULL)
        return 1;
    page_program(file);
    if (!end(file))
        return 1;
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        file = begin(argv[1], "man1", command->name, ".1");
        if (file == NULL)
            return 1;
        page_command(file, command);
        if (!end(file))
            return 1;
    }
    file = begin(argv[1], "completions", "", "");
    if (file == NULL)
        return 1;
    page_completion(file);
    return end(file) ? 0 : 1;
}
