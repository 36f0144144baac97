#!/bin/sh
# cli_history.sh HOLDFAST SHOP - show: what became of a message, and who changed it; live
# and on a store nobody has.
set -eu
. "$(dirname "$0")/../support/cli_shared.sh"
me=$(id -un)

stop() {
    exec 9>&-
    wait "$pid" || fail "the shop did not end well"
    pid=
}

start
good=$("$tool" send order/1 '{"a":1}' --kind place --reason 'by hand' --plain)
bad=$("$tool" send order/1 '{}' --kind bad --plain)
soon '"status":"done"' show "$good" --json
must '"change":"send"' show "$good" --json
must "\"user\":\"$me\"" show "$good" --json
must '"reason":"by hand"' show "$good" --json
must '"ended":"2' show "$good" --json
must 'Changed by operators' show "$good"
soon '"status":"dead"' show "$bad" --json
must '"error":"no such product"' show "$bad" --json

must 'requeued' requeue "$bad" --reason 'is it in stock now?'
soon '"change":"requeue"' show "$bad" --json
soon '"status":"dead"' show "$bad" --json
must 'is it in stock now?' show "$bad"
must 'paused' pause order/1 --reason 'lunch'
must '"user":' actor order/1 --json
must 'resumed' resume order/1 --reason 'back again'
must 'back again' actor order/1
must '"change":"pause"' actor order/1 --json
must '"what":"order/1"' actor order/1 --json
exits 3 show 123456789
has 'finished, or never was' "$text" || fail "a message that is unknown: $text"
stop

# Nobody has the store: the same, and more of it.
must '"status":"done"' show "$good" --json
exits 3 resume order/2 --reason nothing
must 'paused' pause order --reason 'for good'
must 'for good' actor order/1
must 'lunch' actor order/1
must 'back again' actor order/1
must 'purged' purge "$bad" --reason 'test data' --yes
must '"purged":true' show "$bad" --json
must '"reason":"test data"' show "$bad" --json
must 'is it in stock now?' show "$bad"
must 'history' stats
text=$("$tool" verify 2>&1) || fail "verify: $text"
exit 0
