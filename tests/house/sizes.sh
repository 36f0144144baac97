#!/bin/sh
# sizes.sh ROOT - no function above 60 lines, no file above 600, no file name
# twice. The check checks itself first.
set -eu
root=${1:?which tree}
folders="engine storage recovery tools tests examples"

check() { # DIR: prints what is too long or named twice, fails if there was one
    (cd "$1" && find $folders \( -name '*.[ch]' -o -name '*.cpp' \) | sort | xargs awk '
    FNR == 1 { start = 0; name = "" }
    /^[A-Za-z_].*\(/ { name = $0 }
    /^\{/ { start = FNR }
    /^\}/ {
        if (start && FNR - start > 60) {
            printf "%s:%d: %d lines: %s\n", FILENAME, start, FNR - start, name
            bad = 1
        }
        start = 0
    }
    FNR == 601 { printf "%s: more than 600 lines\n", FILENAME; bad = 1 }
    END { exit bad }') || return 1
    # store.h and store.c belong together, so a name may have one of each kind,
    # but in one folder.
    (cd "$1" && find $folders -type f \
        \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.sh' \) | awk -F/ '
    {
        folder = $0; sub(/\/[^\/]*$/, "", folder)
        stem = $NF; sub(/\.[a-z]*$/, "", stem)
        if (stem in at && at[stem] != folder) {
            printf "%s: that name is also in %s\n", $0, at[stem]
            bad = 1
        }
        at[stem] = folder
    }
    END { exit bad }')
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$root" && root=$(pwd)
cd "$scratch" && mkdir $folders

function_of() { # LINES between the braces
    printf 'int f(void)\n{\n'
    awk -v n="$1" 'BEGIN { while (n-- > 0) print "    g();" }'
    printf '}\n'
}
expect() { # EXPECTED WHAT
    found=0
    check . >report 2>&1 || found=1
    [ $found = "$1" ] || { echo "self-check: $2 gave $found, not $1"; cat report; exit 1; }
    rm -f engine/* storage/* tests/*
}
function_of 59 >engine/a.c; expect 0 "60 lines"
function_of 60 >engine/a.c; expect 1 "61 lines"
function_of 60 >tests/a.c; expect 1 "61 lines of a test"
seq 600 >storage/a.c; expect 0 "600 lines"
seq 601 >storage/a.c; expect 1 "601 lines"
echo >engine/a.c; echo >engine/a.h; expect 0 "a.c beside a.h"
echo >engine/a.c; echo >storage/a.c; expect 1 "a.c twice"
echo >engine/a.c; echo >storage/a.h; expect 1 "a.c far from a.h"

check "$root"
