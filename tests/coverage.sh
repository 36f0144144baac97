#!/usr/bin/env bash
# tests/coverage.sh [least percent [build directory]]: how much of storage/ and recovery/
# the tests reach.
#
# Builds with clang's counters (preset coverage), runs the tests of the default size and
# prints the branches of each file that were taken, and of both folders together. Fails
# when fewer than `least` (95) percent were. What was not is in missing.txt beside them.
#
# Counters lie in files that are mapped (%c), shared by all who run a program (%m): so
# what a killed process reached counts, too. A condition has two branches, however many
# programs it is compiled into. Not counted is what macros expand to: HF_ASSERT, whose
# other branch ends the process, and the table of errors as cases of a switch.
#
# HF_COVERAGE_TESTS: a regular expression, only those tests. Needs clang and llvm (Debian:
# clang llvm), with or without the version behind the name.
set -euo pipefail
least=${1:-95}
cd "$(dirname "$0")/.."
build=${2:-build/coverage}

tool() { # NAME: as it is called here, of clang's own version if there are several
    local version
    version=$(clang -dumpversion | cut -d. -f1)
    command -v "$1-$version" || command -v "$1" ||
        { echo "$1 is missing: install llvm-$version, or llvm" >&2; exit 2; }
}
command -v clang >/dev/null || { echo "clang is missing" >&2; exit 2; }
profdata=$(tool llvm-profdata)
cov=$(tool llvm-cov)

cmake --preset coverage -B "$build" >/dev/null
cmake --build "$build" >"$build/coverage-build.txt" || { cat "$build/coverage-build.txt" >&2; exit 1; }
build=$(cd "$build" && pwd)
rm -rf "$build/profiles"
export LLVM_PROFILE_FILE="$build/profiles/%c%m.profraw"
ctest --test-dir "$build" -j 2 -L 'unit|flow|crash|fuzz' -LE '^(ci|heavy)$' \
    ${HF_COVERAGE_TESTS:+-R "$HF_COVERAGE_TESTS"} >"$build/coverage-tests.txt" || {
    sed -n '/The following tests FAILED/,$p' "$build/coverage-tests.txt" >&2
    echo "some tests failed; counting all the same" >&2
}

"$profdata" merge --sparse -o "$build/merged.profdata" "$build"/profiles/*.profraw
objects=()
for program in "$build"/*; do
    [ -f "$program" ] && [ -x "$program" ] && [[ $program != *.so* ]] && objects+=(-object "$program")
done
"$cov" export -skip-functions -skip-expansions "${objects[@]}" \
    -instr-profile "$build/merged.profdata" \
    -ignore-filename-regex='/(tests|tools|examples|engine|include)/' >"$build/coverage.json"

# Of each file: [[line, column, line, column, times true, times false, ...], ...]
: >"$build/missing.txt"
awk -v missing="$build/missing.txt" '
BEGIN { RS = "\"branches\":" }
NR > 1 {
    list = name = $0
    sub(/,"(expansions|filename|segments|summary)".*/, "", list)
    sub(/.*"filename":"/, "", name)
    sub(/".*/, "", name)
    if (!match(name, /(storage|recovery)\/[a-z_]*\.[ch]$/))
        next
    short = substr(name, RSTART)
    split("", yes); split("", no); split("", order)
    total = hit = places = 0
    n = split(list, one, /\],\[/)
    for (i = 1; i <= n; i++) {
        gsub(/[][]/, "", one[i])
        if (split(one[i], b, ",") < 6)
            continue
        at = b[1] ":" b[2] ":" b[3] ":" b[4]
        if (!(at in yes))
            order[++places] = at
        yes[at] += b[5]
        no[at] += b[6]
    }
    for (i = 1; i <= places; i++) {
        at = order[i]
        total += 2
        hit += (yes[at] > 0) + (no[at] > 0)
        if (yes[at] && no[at])
            continue
        split(at, b, ":")
        printf "%s:%d:%d: never%s%s\n", short, b[1], b[2], yes[at] ? "" : " true",
            no[at] ? "" : " false" >missing
    }
    if (total)
        printf "%-28s %5d of %5d  %6.2f %%\n", short, hit, total, 100 * hit / total
    all += total
    reached += hit
}
END { printf "%-28s %5d of %5d  %6.2f %%\n", "together", reached, all, all ? 100 * reached / all : 0 }
' "$build/coverage.json" | tee "$build/coverage.txt"
sort -t: -k1,1 -k2,2n -k3,3n -o "$build/missing.txt" "$build/missing.txt"

awk -v least="$least" '/^together/ { reached = $(NF - 1) } END { exit !(reached + 0 >= least + 0) }' \
    "$build/coverage.txt" || { echo "fewer than $least %: see $build/missing.txt" >&2; exit 1; }
