#!/bin/sh
# layout.sh ROOT - how the lines of the C files look: at most 100 columns, an operator that joins
# two lines begins the second one, declarations in functions stand in no columns, no tabs, nothing
# behind a line's end, never two empty lines. The check checks itself first.
set -eu
root=${1:?which tree}

check() { # DIR: prints what is wrong, fails if something was
    (cd "$1" && find engine storage recovery tools tests examples -name '*.[ch]' -o -name '*.cpp' |
        sort | LC_ALL=C xargs awk '
    function bad(what) { printf "%s:%d: %s\n", FILENAME, FNR, what; found = 1 }
    FNR == 1 { inside = nested = comment = 0; before = "x" }
    /\t/ { bad("a tab") }
    / $/ { bad("a blank at the end") }
    $0 == "" && before == "" { bad("two empty lines") }
    { before = $0 }
    { # a column is a character, not a byte
        wide = $0
        gsub(/[\200-\277]/, "", wide)
        if (length(wide) > 100 && $0 !~ /^ *"/)
            bad(length(wide) " columns")
    }
    /^\{/ { inside = 1 }
    /^\}/ { inside = nested = 0 }
    {
        line = $0
        gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
        gsub(/\/\*[^*]*\*\//, "", line)
        sub(/ +$/, "", line)
    }
    comment { comment = line !~ /\*\//; next }
    line ~ /\/\*/ { comment = 1; next }
    line ~ /(&&|\|\|| \?| \|)( \\)?$/ { bad("an operator at the end") }
    inside && line ~ /(struct|union|enum)[^=;()]*\{$/ { nested++ }
    inside && nested && line ~ /^ *\}/ { nested--; next }
    inside && !nested && line !~ /^ *(return|case|goto|else) / &&
        line ~ /^ +((static|const|unsigned|struct|volatile|_Atomic) )*[A-Za-z_][A-Za-z_0-9]*  +[*]*[A-Za-z_][A-Za-z_0-9]*( =|;|,|\[)/ {
            bad("a declaration in columns")
    }
    END { exit found }')
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$root" && root=$(pwd)
cd "$scratch" && mkdir engine storage recovery tools tests examples
expect() { # EXPECTED WHAT, of the text on the input
    found=0
    cat >engine/a.c
    check . >report 2>&1 || found=1
    [ $found = "$1" ] || { echo "self-check: $2 gave $found, not $1"; cat report; exit 1; }
}
printf '/* … %093d */\n' 0 | expect 1 "101 columns"
printf '/* … %092d */\n' 0 | expect 0 "100 columns, one of three bytes"
printf 'int\ta;\n' | expect 1 "a tab"
printf 'int a; \n' | expect 1 "a blank at the end"
printf 'int a;\n\n\nint b;\n' | expect 1 "two empty lines"
printf 'int f(void)\n{\n    return a &&\n        b;\n}\n' | expect 1 "an operator at the end"
printf 'int f(void)\n{\n    int    a;\n}\n' | expect 1 "a declaration in columns"
printf 'struct s {\n    int    a;\n    char   b; /* && */\n};\n' | expect 0 "members in columns"
rm engine/*

check "$root"
