#!/bin/sh
# symbols.sh LIBRARY HEADER... - what the shared library exports is what the
# public headers declare, no more and no less.
set -eu
library=${1:?which library}
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

nm -D --defined-only "$library" | awk 'NF == 3 { print $3 }' | sort >"$scratch/exported"
# Comments out, one statement a line, then the name before the first bracket.
cat "$@" | sed '/^[ \t]*#[ \t]*define/d' | tr '\n' ' ' | sed 's:/\*[^*]*\**\([^/*][^*]*\*\**\)*/: :g' |
    tr ';{}' '\n\n\n' | sed -n 's/.*HF_API[^(]*[ *]\(hf_[a-z0-9_]*\)(.*/\1/p' |
    sort >"$scratch/declared"

marks=$(cat "$@" | grep -c '^HF_API')
if [ "$marks" != "$(sort -u "$scratch/declared" | wc -l)" ] || [ "$marks" -lt 10 ]; then
    echo "read $(wc -l <"$scratch/declared") declarations where HF_API stands $marks times"
    exit 1
fi
if ! diff "$scratch/declared" "$scratch/exported" >"$scratch/diff"; then
    sed -n 's/^< /declared, not exported: /p; s/^> /exported, not declared: /p' "$scratch/diff"
    exit 1
fi
echo "$marks functions"
