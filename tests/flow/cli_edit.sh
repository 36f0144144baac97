#!/bin/sh
# cli_edit.sh HOLDFAST SHOP - another body for what waits, is delayed, retried or dead: live,
# and on a store nobody has.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/../support/cli_shared.sh"

# ---- What it refuses
start
waits=$(sent order/1 '{"total":5,"items":[{"sku":"x"},{"sku":"y"}]}' --kind keep)
soon '"status":"retrying"' show "$waits" --json
exits 2 edit "$waits"
exits 2 edit "$waits" --set total
exits 2 edit --set total=6
exits 2 edit "$waits" --set total=6 --file x
exits 3 edit "$waits" --file no-such-file
exits 3 edit 999999999 --set total=6
exits 1 edit "$waits" --set 'total.deep=6'
exits 1 edit "$waits" --set 'items[7].sku=z'
exits 6 edit --where 'status = retrying' --set total=6
must '"total":5' show "$waits" --json
exits 3 edit 999999999 999999999 --set total=6
has 'missing    1' "$text" || fail "one that was named twice is two: $text"

# ---- Retrying: before and after, its tries and key stay, the first body is kept
key=$("$tool" find --where "id = $waits" --fields key --plain)
must 'Nothing was done' edit "$waits" --set 'items[1].sku="z"' --dry-run
must '"after":{"total":5,"items":[{"sku":"x"},{"sku":"z"}]}' edit "$waits" --set 'items[1].sku=z' --dry-run --json
must '"total":5,"items":[{"sku":"x"},{"sku":"y"}]' show "$waits" --json
must '"edited":1' edit "$waits" --set 'body.items[1].sku=z' --reason 'wrong product' --json
must '"body":{"total":5,"items":[{"sku":"x"},{"sku":"z"}]}' show "$waits" --json
must '"first_body":{"total":5,"items":[{"sku":"x"},{"sku":"y"}]}' show "$waits" --json
must '"attempt":1' show "$waits" --json
must '"status":"retrying"' show "$waits" --json
must '"wrong product"' show "$waits" --json
must '"edited":1' edit "$waits" --set total=7 --json
must '"edited":1' edit "$waits" --set total=7 --json # it may be repeated
must '"first_body":{"total":5,' show "$waits" --json
must "$key" find --where "id = $waits" --fields key --plain
: >"$HOLDFAST_STORE.mended"
must '"requeued":1' requeue "$waits" --json
soon '"state":{"total":7,"items":[{"sku":"x"},{"sku":"z"}]}' actor order/1 --json
soon '"status":"done"' show "$waits" --json

# ---- Waiting behind a pause, in order; never begun
must 'order' pause order
one=$(sent order/2 '"one"' --kind keep)
two=$(sent order/2 '"two"' --kind keep)
three=$(sent order/2 '"three"' --kind keep)
printf '"TWO"' >body
must '"edited":1' edit "$two" --file body --json
must '"first_body":"two"' show "$two" --json
ids=$("$tool" actor order/2 --json)
has "\"id\":$one" "$ids" || fail "one is gone: $ids"
must '"edited":2' edit --where "actor = order/2 and id != $two" --file body --yes --json
must '"paused":3' ls --json
exits 1 edit "$three" --set x=1               # it is no map
printf "\"THREE\"" >body
must "\"edited\":1" edit "$three" --file body --json
must 'order' resume order
soon '"state":"THREE"' actor order/2 --json
soon '"why":"nothing"' actor order/2 --json
must '"waiting":0' stats --json

# ---- Running: refused, and asked nothing
rm "$HOLDFAST_STORE.mended"
runs=$(sent slow/1 '{"a":1}')
behind=$(sent slow/1 '{"a":2}')
soon '"status":"running"' show "$runs" --json
exits 6 edit "$runs" --set a=5
exits 7 edit "$runs" "$behind" --set a=5
must '"body":{"a":5}' show "$behind" --json
must '"status":"running"' show "$runs" --json

# ---- Dead: and requeued it comes with its new body
dead=$(sent order/3 '{"n":1}' --kind bad)
soon '"status":"dead"' show "$dead" --json
must '"edited":1' edit "$dead" --set n=-9223372036854775808 --json
must '"body":{"n":-9223372036854775808}' show "$dead" --json
must '"first_body":{"n":1}' show "$dead" --json
must '"status":"dead"' show "$dead" --json
must '"dead":1' ls --where 'type = order' --json

# ---- Delayed: it comes when it would have, with the new body
late=$(sent order/4 '{"n":1}' --kind keep --in 1h)
soon_due=$(sent order/5 '{"n":1}' --kind keep --in 2s)
: >"$HOLDFAST_STORE.mended"
must '"edited":2' edit "$late" "$soon_due" --set n=2 --json
must '"status":"delayed"' show "$late" --json
must '"first_body":{"n":1}' show "$late" --json
soon '"state":{"n":2}' actor order/5 --json
must '"status":"delayed"' show "$late" --json
must '' verify

# ---- Many, no faster than asked, interrupted and again
must 'order' pause order
sent order/7 '{"n":1}' --kind keep --count 1200 >/dev/null
for seconds in 1 3 5; do # on a slow machine the first second goes by with looking
    is=0
    timeout -s INT "$seconds" "$tool" edit --where 'actor = order/7' --set n=2 --rate 200/s --yes \
        >out 2>&1 || is=$?
    has 'run it again' "$(cat out)" && break
done
test $is -ne 0 || fail "not interrupted: $(cat out)"
has 'run it again' "$(cat out)" || fail "does not say how far: $(cat out)"
must '"edited":1200' edit --where 'actor = order/7' --set n=2 --yes --json
exits 3 find --where 'actor = order/7 and body.n = 1'
must '"cancelled":1200' cancel --where 'actor = order/7' --yes --json
must 'order' resume order

# ---- Killed: what was edited stays so; and from disk
must 'order' pause order
first=$(sent order/6 '{"n":1}' --kind keep)
second=$(sent order/6 '{"n":1}' --kind keep)
must '"edited":1' edit "$first" --set n=3 --json
murder
must '"body":{"n":3}' show "$first" --json
must '"first_body":{"n":1}' show "$first" --json
must '"body":{"n":2}' show "$late" --json
must '"edited":4' edit "$first" "$second" "$late" "$dead" --set n=4 --json
must '"body":{"n":4}' show "$second" --json
must '"first_body":{"n":1}' show "$first" --json
must '"status":"delayed"' show "$late" --json
must '"status":"dead"' show "$dead" --json
must '"edited":1' edit "$second" --set n=5 --json
must '' verify
must 'order' resume order
start
soon '"state":{"n":5}' actor order/6 --json
soon '"why":"nothing"' actor order/6 --json
must '"body":{"n":4}' show "$late" --json
must '"requeued":1' requeue "$late" --json
soon '"state":{"n":4}' actor order/4 --json
soon '"status":"done"' show "$late" --json
exec 9>&-
"$tool" cancel --where 'type = slow' --yes >/dev/null 2>&1 || :
wait "$pid" || fail "the engine did not close well"
pid=
must '' verify
echo "cli_edit: ok"
