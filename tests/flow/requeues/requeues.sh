#!/bin/sh
# requeues.sh BUILD JOBS - so many dead letters requeued by a filter, as it goes at night: it
# shows how far it is, Ctrl-C ends it, the engine is killed under it, it goes on without an
# engine and is interrupted there as well. Then each job was done once, and none twice.
set -eu
self=requeues
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?where is the build}" && pwd)
jobs=${2:?how many}
work=$(mktemp -d "$build/requeues.XXXXXX")
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export HOLDFAST_STORE="$work/store" TERM=xterm
unset NO_COLOR || true
tool=$build/holdfast
dead='status = dead and error ~ "comma"'
: >log
: >ready
mkfifo stdin
. "$here/../../support/cli_words.sh"

start() {
    : >ready
    "$build/requeue_jobs" store "$jobs" <stdin >ready 2>>log &
    pid=$!
    exec 9>stdin
    said ready
}
said() { # WHAT: within 200 s
    tries=0
    until grep -q "$1" ready; do
        tries=$((tries + 1))
        test $tries -lt 1000 || fail "it does not say $1: $(cat ready)"
        kill -0 "$pid" 2>/dev/null || fail "it has ended: $(cat ready)"
        sleep 0.2
    done
}
left() { # how many are dead
    "$tool" ls --json --where "$dead" 2>/dev/null | sed -n 's/.*"dead":\([0-9]*\).*/\1/p' | head -1
}
below() { # N: until fewer are dead
    tries=0
    while now=$(left); test "${now:-0}" -ge "$1"; do
        tries=$((tries + 1))
        test $tries -lt 300 || fail "still ${now:-0} dead, not below $1"
        sleep 0.1
    done
}
# interrupted RATE: requeue on a terminal, Ctrl-C when the first ones went; it says how far
interrupted() {
    before=$(left)
    code=0
    { below "$before"; printf '\003'; sleep 0.3; } |
        script -qec "'$tool' requeue --where '$dead' --yes --rate $1/s" /dev/null >screen || code=$?
    test $code -eq 130 || fail "interrupted: exit $code, not 130: $(cat screen)"
    grep -q "stopped after [0-9]* of $before; run it again to go on" screen ||
        fail "does not say how far it came: $(cat screen)"
    grep -q "requeue: [0-9]* of $before" screen || fail "shows no progress: $(cat screen)"
    after=$(left)
    test "${after:-0}" -lt "$before" && test "${after:-0}" -gt 0 ||
        fail "interrupted, but ${after:-0} of $before are left"
}

# The jobs are sent and die.
start
echo send >&9
said sent
tries=0
until test "$(left)" = "$jobs"; do
    tries=$((tries + 1))
    test $tries -lt 600 || fail "only $(left) of $jobs are dead"
    sleep 0.2
done
: >store.mended
rate=$((jobs / 6)) # all would take six seconds

if script -qec true /dev/null >/dev/null 2>&1; then
    interrupted $rate # the engine answers
fi
# The engine is killed under it: what was answered is on disk, the rest is still dead.
before=$(left)
"$tool" requeue --where "$dead" --yes --limit $((before / 2)) --rate $rate/s >out 2>&1 &
other=$!
below "$before"
murder
code=0
wait $other || code=$?
# Without the engine it goes on with the store itself, or says that it stopped.
test $code -eq 0 || grep -q 'run it again' out || fail "killed under it: $(cat out)"
if script -qec true /dev/null >/dev/null 2>&1; then
    interrupted $rate # no engine: under the store's lock
fi
# And the rest: some without an engine, the others with one.
now=$(left)
test "${now:-0}" -eq 0 || "$tool" requeue --where "$dead" --yes --limit $((now / 2 + 1)) --rate 1000000 \
    >out 2>&1 || fail "the half: $(cat out)"
start
code=0
"$tool" requeue --where "$dead" --yes --rate 1000000 >out 2>&1 || code=$?
test $code -eq 0 || test $code -eq 3 || fail "the rest: exit $code: $(cat out)"
test -z "$(left)" || test "$(left)" -eq 0 || fail "$(left) are still dead"
echo audit >&9
said "^once"
grep -q "^once $jobs of $jobs, twice 0$" ready || fail "$(cat ready)"
exec 9>&-
wait "$pid" || fail "it did not end well"
pid=
"$tool" verify >/dev/null 2>log || fail "not sound"
echo "requeues: $jobs jobs requeued, interrupted, killed: once each"
