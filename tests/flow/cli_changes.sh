#!/bin/sh
# cli_changes.sh HOLDFAST SHOP - purge, cancel, undo: live and on a store nobody has.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/../support/cli_shared.sh"
is_dead() { soon '"status":"dead"' show "$1" --json; }

# ---- Live: purge
start
bad=$(sent order/1 '{"n":1}' --kind bad)
is_dead "$bad"
waits=$(sent order/2 '{}' --kind flaky)
soon '"status":"retrying"' show "$waits" --json
must 'Nothing was done' purge "$bad" --dry-run
must 'Nothing was done' purge --where 'status = dead' --dry-run
must '"dry_run":true' purge --where 'status = dead' --dry-run --json
exits 3 requeue --where 'type = nobody' --json
has '"requeued":0' "$text" || fail "nothing to requeue is no document: $text"
must '"status":"dead"' show "$bad" --json
exits 6 purge "$bad"                          # also for one that was named
exits 6 purge --where 'status = dead'
must '"status":"dead"' show "$bad" --json
must '"purged":1' purge "$bad" "$waits" --reason 'test data' --yes --json
must '"status":"retrying"' show "$waits" --json # only what is dead
must '"purged":true' show "$bad" --json       # the log knows of it for a time
exits 3 purge "$bad" --yes                    # and once more
exits 3 purge --where 'status = dead' --yes
exits 0 purge "$waits" --yes                  # unchanged is no error

# ---- Live: cancel what rests, what was never begun, what is paused, what runs
must 'Nothing was done' cancel "$waits" --dry-run
must '"status":"retrying"' show "$waits" --json
must '"cancelled":1' cancel "$waits" --reason 'ordered twice' --json
must '"error":"cancelled: ordered twice"' show "$waits" --json
must '"status":"dead"' show "$waits" --json
must '"unchanged":1' cancel "$waits" --json
must '"why":"nothing"' actor order/2 --json
must 'order' pause order
first=$(sent order/3 '{}' --kind place)
second=$(sent order/3 '{}' --kind place)
exits 6 cancel --where 'type = order and status = paused'
must '"cancelled":1' cancel "$first" --json
must '"status":"dead"' show "$first" --json
must '"status":"paused"' show "$second" --json
must 'order' resume order
soon '"state":{"n":1}' actor order/3 --json   # the second one only
runs=$(sent slow/1)
behind=$(sent slow/1)
soon '"status":"running"' show "$runs" --json
must '"asked":1' cancel "$runs" --json
must '"cancelled":1' cancel "$behind" --json
must '"status":"dead"' show "$behind" --json
: >"$HOLDFAST_STORE.mended"
soon 'told to stop' actor slow/1 --json
must '"why":"nothing"' actor slow/1 --json    # the one behind never ran
must '"unchanged":1' undo "$behind" --json    # it began no step
# a cancelled message is a dead letter like any other
must '"requeued":1' requeue "$first" --json
soon '"state":{"n":2}' actor order/3 --json
must '"dead":1' ls --where 'type = slow' --json
rm "$HOLDFAST_STORE.mended"

# ---- Killed: cancel and purge from disk; the next engine buries
must 'order' pause order
marked=$(sent order/4 '{}' --kind place)
kept=$(sent order/4 '{}' --kind place)
murder
must 'Nothing was done' cancel "$marked" --dry-run
must '"status":"paused"' show "$marked" --json
must '"cancelled":1' cancel "$marked" --json
must '"error":"cancelled"' show "$marked" --json
must '"unchanged":1' cancel "$marked" --json
must '"purged":1' purge "$behind" --yes --json
exits 3 purge "$behind" --yes
must 'order' resume order
start
is_dead "$marked"
soon '"state":{"n":1}' actor order/4 --json
must '"status":"done"' show "$kept" --json

# ---- Ten thousand, interrupted, and again
sent order/5 '{}' --kind bad --count 10000 >/dev/null
soon '"dead":10000' ls --where 'actor = order/5' --json
for seconds in 1 3 5; do # on a slow machine the first second goes by with looking
    is=0
    timeout -s INT "$seconds" "$tool" purge --where 'actor = order/5 and status = dead' \
        --rate 4000/s --yes >out 2>&1 || is=$?
    has 'run it again' "$(cat out)" && break
done
test $is -ne 0 || fail "not interrupted: $(cat out)"
has 'run it again' "$(cat out)" || fail "does not say how far: $(cat out)"
left=$("$tool" ls --where 'actor = order/5' --json)
has '"dead":10000' "$left" && fail "nothing was done: $left"
must 'purged' purge --where 'actor = order/5 and status = dead' --yes
exits 3 find --where 'actor = order/5'
exec 9>&-
wait "$pid" || fail "the engine did not close well"
pid=
exits 3 find --where 'actor = order/5'
must '' verify
echo "cli_changes: ok"
