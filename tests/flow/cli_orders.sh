#!/bin/sh
# cli_orders.sh BUILD ORDERS - a payment service that is down, seen from the desk
# of whoever is called: found, understood, requeued, while the engine runs and
# after it was killed, until every order is paid, once.
set -eu
self=cli_orders
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "${1:?where is the build}")
orders=$(realpath "${2:?where are the orders}")
work=$(mktemp -d "$build/cli-orders.XXXXXX")
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export HOLDFAST_STORE="$work/store" NO_COLOR=1
tool=$build/holdfast
ORDERS=12
head -n $ORDERS "$orders" >input
mkfifo stdin
: >log
. "$here/../support/cli_words.sh"

start() { # OPTION...: the shop, which reads orders as long as we let it
    "$build/orders" --ledger ledger --store store --latency-ms 1 "$@" - <stdin >>log 2>&1 &
    pid=$!
    exec 9>stdin
    soon '"source":"engine"' stats --json
}
paid() { # N: within 20 s the ledger says so; with all of them it balances
    tries=0
    while :; do
        sound=0
        "$build/ledger_check" ledger input >books 2>&1 || sound=$?
        if grep -q "\"paid\":$1[,}]" books && { test "$1" -lt $ORDERS || test $sound -eq 0; }; then
            return 0
        fi
        tries=$((tries + 1))
        test $tries -lt 200 || fail "not $1 paid: $(cat books)"
        sleep 0.1
    done
}
first() { "$tool" find --where "$1" --limit 1 --plain --fields "$2" 2>>log; }

# ---- They wait: found, and one of them looked at
start --down payment --retry-ms 600000 --retry-max-ms 600000
cat input >&9
soon "\"retrying\":$ORDERS," ls errors --json
must '"error":"payment: the payment service is down"' ls errors --json
actor=$(first 'status = retrying' actor)
id=$(first 'status = retrying' id)
must '"why":"retry"' actor "$actor" --json
must "Message $id failed (payment: the payment service is down)" actor "$actor"
must '"name":"invoice"' show "$id" --json     # what was done outside already
must '"status":"retrying"' show "$id" --json
"$tool" find --where 'error = "payment: the payment service is down"' --plain >found 2>>log
test "$(wc -l <found)" -eq $ORDERS || fail "found: $(cat found)"

# ---- Killed: all of it is still there; the service is back, one order is sent on
murder
must "\"retrying\":$ORDERS," ls errors --json
must '"why":"stopped"' actor "$actor" --json
must '"requeued":1' requeue "$id" --json
must "\"retrying\":$((ORDERS - 1))," ls errors --json
start
paid 1
# ---- Live: and now the others
must "\"requeued\":$((ORDERS - 1))" requeue --where 'status = retrying' --yes --json
paid $ORDERS
soon '"scanned":0' ls errors --json
murder

# ---- They end, as configured: dead, with the step that could not be undone
rm -rf store ledger*
start --down payment --tries 2 --retry-ms 10
cat input >&9
soon "\"dead\":$ORDERS," ls errors --json
must 'undo of step \"payment\" failed: the payment service is down' ls errors --json
id=$(first 'status = dead' id)
must '"status":"dead"' show "$id" --json
# Requeued too early they are dead again, each once.
must "\"requeued\":$ORDERS" requeue --where 'status = dead' --reason 'is it back?' --yes --json
soon "\"dead\":$ORDERS," ls errors --json
murder
# ---- Killed: half of them from disk, the rest while the engine runs
must "\"requeued\":$((ORDERS / 2))" requeue --where 'status = dead' --limit $((ORDERS / 2)) --yes --json
start
paid $((ORDERS / 2))
must "\"requeued\":$((ORDERS / 2))" requeue --where 'type = order and status = dead' --yes --json
paid $ORDERS
exec 9>&-
wait "$pid" || fail "the shop did not end well"
pid=
must '"groups":0' ls errors --json
must '"source":"disk"' stats --json
echo "cli_orders: ok"
