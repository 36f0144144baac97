#!/usr/bin/env bash
# tests/coverage.sh [least percent]: how much of storage/ and recovery/ the tests reach.
#
# Builds with clang's counters (preset coverage), runs the tests of the default size, and
# prints lines and branches per file. Fails when fewer branches than `least` (95) are
# reached. What a killed process reached is not counted: counters are written at exit.
# Needs clang and llvm (Debian: clang llvm).
set -euo pipefail
least=${1:-95}
cd "$(dirname "$0")/.."
build=build/coverage
for tool in llvm-profdata llvm-cov; do
    command -v $tool >/dev/null || { echo "$tool is missing: install llvm" >&2; exit 2; }
done

cmake --preset coverage >/dev/null
cmake --build --preset coverage
rm -rf "$build/profiles"
export LLVM_PROFILE_FILE="$PWD/$build/profiles/%m.profraw"
ctest --preset coverage -L 'unit|flow|crash|fuzz' -E readme || echo "some tests failed; counting all the same" >&2

llvm-profdata merge --sparse -o "$build/merged.profdata" "$build"/profiles/*.profraw
objects=()
for program in "$build"/*; do
    [ -f "$program" ] && [ -x "$program" ] && [[ $program != *.so* ]] && objects+=(-object "$program")
done
llvm-cov report "${objects[@]}" -instr-profile "$build/merged.profdata" storage recovery |
    tee "$build/coverage.txt" |
    awk '/\.c / { printf "%-28s lines %7s  branches %7s\n", $1, $10, $13 } /^TOTAL/ { print $0 }'
reached=$(awk '/^TOTAL/ { sub("%", "", $NF); print $NF }' "$build/coverage.txt")
echo "branches reached: $reached %, wanted: $least %"
awk -v a="$reached" -v b="$least" 'BEGIN { exit !(a + 0 >= b + 0) }'
