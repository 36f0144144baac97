/* slurp.c - all of a file, or of stdin.
 *
 * Happy path: read to the end. What is longer than a body may be is refused. One thread. */
#include "tools/slurp.h"

#include "tools/output.h"

#include <errno.h>
#include <stdio.h>

enum { MOST = 16 << 20 };

int cli_slurp(const char *file, cli_buffer *to)
{
    uint8_t part[65536];
    size_t len;
    bool whole = true, is_stdin = strcmp(file, "-") == 0;
    FILE *from = is_stdin ? stdin : fopen(file, "rb");
    if (from == NULL) {
        cli_complain("cannot read %s: %s", file, strerror(errno));
        return CLI_NOT_FOUND;
    }
    while (whole && (len = fread(part, 1, sizeof part, from)) > 0) {
        cli_buffer_add(to, part, len);
        whole = to->len <= MOST;
    }
    bool failed = ferror(from) != 0;
    if (failed)
        cli_complain("cannot read %s: %s", file, strerror(errno));
    else if (!whole)
        cli_complain("%s is longer than %d MiB", file, MOST >> 20);
    if (!is_stdin)
        (void)fclose(from);
    return failed ? CLI_FAILED : whole ? CLI_OK : CLI_USAGE;
}
