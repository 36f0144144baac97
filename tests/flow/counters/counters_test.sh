#!/bin/sh
# counters_test.sh - the counters program: its figures, and what kills make of it.
#
#     counters_test.sh BUILD run          a million increments: few row writes, and fast
#     counters_test.sh BUILD kill [RUNS]  killed at random; then every row as its actor [10]
#
# Everything happens in a directory of its own under BUILD, which stays when a test fails.
set -eu

build=$(cd "$1" && pwd)
part=$2
runs=${3:-10}
work=$build/counters-$part.$$
pid=

mkdir "$work"
cd "$work"

finish() {
    code=$?
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || :
    if [ $code -eq 0 ]; then
        cd "$build" && rm -rf "$work"
    else
        echo "FAILED; what it left is in $work" >&2
    fi
}
trap finish EXIT

die() {
    echo "$*" >&2
    exit 1
}

# field NAME FILE: a number from the JSON in FILE
field() {
    sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" "$2"
}

# at_least A B: is A >= B? numbers with fractions
at_least() {
    awk "BEGIN { exit !($1 >= $2) }"
}

random() {
    echo $(($(od -An -N4 -tu4 /dev/urandom) % $1))
}

case $part in
run)
    "$build/counters" --store s --db c.db --json > out || die "counters failed"
    cat out
    [ "$(field total out)" = 1000000 ] || die "not all were counted"
    at_least 2 "$(field row_percent out)" || die "too many row writes"
    # How fast it is depends on what else the machine does: much less than it could be.
    at_least "$(field times out)" 20 || die "not 20 times as fast as a write each"
    "$build/counters" --store t --db t.db > text || die "counters failed"
    tail -n 1 text | grep -q "row writes, .* times the .* that SQLite syncs one by one" \
        || die "the last line does not say what it saved: $(tail -n 1 text)"
    "$build/counters" --store s --db c.db --json --increments 0 > out
    [ "$(field row_writes out)" = 0 ] || die "what was written is written again"
    [ "$(field total out)" = 1000000 ] || die "the second run counts otherwise"
    ;;
kill)
    n=0
    while [ $n -lt "$runs" ]; do
        "$build/counters" --store s --db c.db --increments 3000000 --flush-ms 30 > out 2>&1 &
        pid=$!
        sleep "0.$(printf %03d "$(random 900)")"
        kill -9 $pid 2>/dev/null || :
        wait $pid 2>/dev/null || :
        pid=
        n=$((n + 1))
        # Now and then one run gets to its end, and compares.
        if [ $((n % 5)) -eq 0 ]; then
            "$build/counters" --store s --db c.db --increments 0 --json > out || die "after $n kills"
        fi
    done
    "$build/counters" --store s --db c.db --increments 1000 --compare-ms 100 --json > out \
        || die "at the end"
    [ "$(field wrong out)" = 0 ] || die "rows differ"
    cat out
    ;;
*)
    die "no such part: $part"
    ;;
esac
