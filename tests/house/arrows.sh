#!/bin/sh
# arrows.sh ROOT - fail if a file of the tree includes what its folder may not.
#
#   tools, examples -> public headers      engine -> recovery -> storage
#
# Everyone may include engine/holdfast.h, and programs may name the public headers
# as strangers do, without the folder. Only store.c and the disk probes of the
# benchmarks include <lmdb.h>; storage and recovery know no loop; public headers
# stand on standard headers alone. First the check checks itself on a small tree
# with one wrong arrow after the other.
set -eu
root=${1:?which tree}

check() { # DIR: prints every wrong arrow, fails if there was one
    (cd "$1" && find engine storage recovery tools examples tests \
        -name '*.[ch]' -o -name '*.cpp' | sort | xargs awk '
    function wrong(why) { printf "%s:%d: %s: %s\n", FILENAME, FNR, $0, why; bad = 1 }
    function is_public(name) {
        return name ~ /^(engine\/holdfast|engine\/holdfast_msgpack|engine\/holdfast_test|recovery\/holdfast_recovery)\.h$/
    }
    FNR == 1 { folder = FILENAME; sub(/\/.*/, "", folder) }
    /^[ \t]*#[ \t]*include[ \t]*</ {
        name = $0; sub(/^[^<]*</, "", name); sub(/>.*/, "", name)
        if (name == "lmdb.h" && FILENAME != "storage/store.c" &&
            FILENAME !~ /^(tools|tests\/bench)\/[a-z_]*(bench|probe)[a-z_]*\.c$/)
            wrong("only storage/store.c knows LMDB")
        if (name == "uv.h" && folder ~ /^(storage|recovery)$/)
            wrong("storage and recovery know no loop")
        if (is_public(FILENAME) && name !~ /^(stddef|stdint|string)\.h$/ &&
            !(name == "msgpack.h" && FILENAME == "engine/holdfast_msgpack.h"))
            wrong("a public header stands on standard headers")
        if (name ~ /^(engine|storage|recovery|tools)\// || (name ~ /^holdfast/ && folder !~ /^(tools|examples)$/))
            wrong("ours are written \"folder/name.h\"")
        next
    }
    /^[ \t]*#[ \t]*include/ {
        name = $0
        if (!sub(/^[^"]*"/, "", name)) { wrong("a name was expected"); next }
        sub(/".*/, "", name)
        target = name; if (!sub(/\/.*/, "", target)) target = ""
        if (target == "") {
            if (name !~ /^holdfast(_msgpack|_recovery|_test)?\.h$/ || !(is_public(FILENAME) ||
                folder ~ /^(tools|examples)$/ || FILENAME ~ /^tests\/house\/consumer\//))
                wrong("written from the root of the tree: folder/name.h")
        } else if (is_public(FILENAME))
            wrong("installed headers lie side by side")
        else if (folder == "tests" || target == folder || name == "engine/holdfast.h")
            next
        else if (folder == "engine" && target ~ /^(recovery|storage)$/)
            next
        else if (folder == "recovery" && target == "storage")
            next
        else if (folder ~ /^(tools|examples)$/ && is_public(name))
            next
        else
            wrong(folder " may not use " target)
    }
    END { exit bad }')
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$root" && root=$(pwd)
cd "$scratch" && mkdir engine storage recovery tools examples tests

plant() { # EXPECTED FILE LINE: a tree of that one line passes (0) or does not (1)
    mkdir -p "$(dirname "$2")"
    printf '%s\n' "$3" >"$2"
    found=0
    check . >report 2>&1 || found=1
    if [ $found != "$1" ] || { [ $found = 1 ] && ! grep -q "^$2:1: " report; }; then
        echo "self-check: $2 with $3 gave $found, not $1"
        cat report
        exit 1
    fi
    rm "$2"
}
plant 0 engine/a.c '#include "storage/a.h"'
plant 0 engine/a.c '#include "recovery/a.h"'
plant 0 recovery/a.c '#include "storage/a.h"'
plant 0 storage/a.c '#include "engine/holdfast.h"'
plant 0 storage/store.c '#include <lmdb.h>'
plant 0 tools/a.c '#include "recovery/holdfast_recovery.h"'
plant 0 tools/a.c '#include <holdfast.h>'
plant 0 engine/a.c '#include "engine/holdfast_test.h"'
plant 0 engine/holdfast_test.h '#include "holdfast.h"'
plant 1 engine/holdfast_test.h '#include "engine/a.h"'
plant 1 engine/a.c '#include <holdfast.h>'
plant 0 examples/a.c '#include "holdfast.h"'
plant 0 examples/a.c '#include <holdfast.h>'
plant 0 recovery/holdfast_recovery.h '#include "holdfast.h"'
plant 0 tests/unit/a.c '#include "storage/a.h"'
plant 1 storage/a.c '#include "engine/a.h"'
plant 1 storage/a.c '  # include "recovery/a.h"'
plant 1 storage/a.c '#include "engine/holdfast_msgpack.h"'
plant 1 storage/a.h '#include <uv.h>'
plant 1 recovery/a.c '#include "engine/a.h"'
plant 1 recovery/a.c '#include <lmdb.h>'
plant 1 engine/a.c '#include "tools/a.h"'
plant 1 engine/a.c '#include "a.h"'
plant 1 engine/a.c '#include <storage/a.h>'
plant 1 engine/a.c '#include <lmdb.h>'
plant 1 engine/a.c '#include "tests/support/a.h"'
plant 1 tools/a.c '#include "storage/a.h"'
plant 1 tools/a.c '#include "engine/a.h"'
plant 1 tools/a.c '#include A_MACRO'
plant 1 examples/a/a.c '#include "engine/a.h"'
plant 1 examples/a.cpp '#include "storage/a.h"'
plant 1 engine/holdfast.h '#include <uv.h>'
plant 1 engine/holdfast.h '#include "storage/a.h"'
plant 1 tests/unit/a.c '#include <lmdb.h>'

check "$root"
