#!/bin/sh
# readme.sh ROOT - what README.md and docs/architecture.md say about the tree is so:
# the first program is examples/hello.c, letter for letter, the second one
# examples/greeter_test.c; every preset, file and folder that is named is there; every
# source file of the library is explained. The check checks itself first.
set -eu
root=${1:?which tree}

program() { # DIR NUMBER: that C program of the README's
    awk -v n="$2" '/^```/ { inside = 0 } inside && at == n { print }
        /^```c$/ { inside = 1; at++ }' "$1/README.md"
}

check() { # DIR: prints what is wrong, fails if anything is
    bad=0
    number=0
    for file in hello.c greeter_test.c; do
        number=$((number + 1))
        program "$1" $number >"$scratch/program"
        diff "$scratch/program" "$1/examples/$file" || { echo "README.md: not examples/$file"; bad=1; }
    done
    for preset in $(sed -n 's/.*cmake --workflow --preset \([a-z]*\).*/\1/p' "$1/README.md"); do
        grep -q "\"name\": \"$preset\"" "$1/CMakePresets.json" ||
            { echo "README.md: there is no preset $preset"; bad=1; }
    done
    # `name.c` is a file of the tree, `folder/` and `folder/name` are there as well.
    for name in $(grep -ho '`[a-z_]*\.[ch]`\|`[a-z]*/[a-z_./]*`' "$1/README.md" \
        "$1/docs/architecture.md" | tr -d '`' | sort -u); do
        case $name in
        build/* | type/key) ;;
        */*) [ -e "$1/$name" ] ;;
        *) [ -n "$(find "$1" -path "$1/build" -prune -o -name "$name" -print)" ] ;;
        esac || { echo "named, but not there: $name"; bad=1; }
    done
    for file in "$1"/engine/*.c "$1"/storage/*.c "$1"/recovery/*.c; do
        grep -q "^| \`$(basename "$file")\`" "$1/docs/architecture.md" ||
            { echo "docs/architecture.md does not say what $(basename "$file") is"; bad=1; }
    done
    return $bad
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$root" && root=$(pwd)

expect() { # EXPECTED WHAT
    found=0
    check "$scratch/tree" >"$scratch/report" 2>&1 || found=1
    [ $found = "$1" ] || { echo "self-check: $2 gave $found, not $1"; cat "$scratch/report"; exit 1; }
}
plant() { # a small tree with nothing wrong
    rm -rf "$scratch/tree"
    mkdir -p "$scratch/tree" && cd "$scratch/tree"
    mkdir docs engine storage recovery examples
    touch engine/a.c storage/b.c recovery/c.c
    echo 'int main(void);' >examples/hello.c
    echo 'int test(void);' >examples/greeter_test.c
    echo '{ "name": "demo" }' >CMakePresets.json
    printf '%s\n' 'cmake --workflow --preset demo' '```c' 'int main(void);' '```' \
        text '```c' 'int test(void);' '```' >README.md
    printf '| `%s` | it |\n' a.c b.c c.c engine/ >docs/architecture.md
}
plant; expect 0 "a tree without a fault"
plant; echo 'int other(void);' >>examples/hello.c; expect 1 "another program"
plant; echo 'int other(void);' >>examples/greeter_test.c; expect 1 "another test"
plant; sed -i 's/demo/show/' CMakePresets.json; expect 1 "a preset that is not there"
plant; echo 'Not `build/release/x`.' >>README.md; expect 0 "a file that is built"
plant; echo 'See `engine/d.c`.' >>README.md; expect 1 "a file that is not there"
plant; echo 'See `d.h`.' >>docs/architecture.md; expect 1 "a header that is not there"
plant; touch storage/d.c; expect 1 "a file that is not explained"

check "$root"
