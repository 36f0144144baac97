#!/bin/sh
# orders_mended.sh BUILD - a payment provider that is down and orders of a customer nobody
# knows: all of it found, understood, edited and requeued with the tool alone, while the
# engine runs and after it was killed; in the end the ledger balances to the cent.
set -eu
build=$(cd "${1:?where is the build}" && pwd)
self=orders_mended
here=$(cd "$(dirname "$0")" && pwd)
shipped=$here/../../../examples/orders/orders.ndjson
work=$(mktemp -d "$build/orders-mended.XXXXXX")
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export HOLDFAST_STORE="$work/store" NO_COLOR=1
tool=$build/holdfast
ORDERS=12
: >log
. "$here/../../support/cli_words.sh"

start() { # OPTION...
    "$build/orders" --store store --ledger ledger --latency-ms 1 "$@" - <stdin >>log 2>&1 &
    pid=$!
    exec 9>stdin
    soon '"source":"engine"' stats --json
}
of() { "$tool" find --where "actor = $1" --plain --fields id 2>>log | head -1; }

# As they were meant, and as they came: two with a customer that is none.
head -n $ORDERS "$shipped" >meant
sed '2s/"customer":"[^"]*"/"customer":"CUST-9"/; 5s/"customer":"[^"]*"/"customer":"CUST-9"/' meant >input
second=$(sed -n '2s/.*"customer":"\([^"]*\)".*/\1/p' meant)
fifth=$(sed -n '5s/.*"customer":"\([^"]*\)".*/\1/p' meant)
mkfifo stdin
start --down payment --retry-ms 600000 --retry-max-ms 600000
cat input >&9

# ---- Found and understood, live
soon '"dead":2' ls errors --json
soon "\"retrying\":$((ORDERS - 2))," ls errors --json
must '"error":"unknown customer CUST-9"' ls errors --json
must '"error":"payment: the payment service is down"' ls errors --json
test "$("$tool" find --where 'status = dead and body.customer = CUST-9' --plain 2>>log | wc -l)" -eq 2 ||
    fail "not the two orders of CUST-9"
id=$(of order/ORD-2)
must '"customer":"CUST-9"' show "$id" --json
must '"why":"retry"' actor order/ORD-1 --json

# ---- Edited and requeued, live: now it waits for the payment like the others
must 'Nothing was done' edit "$id" --set "customer=$second" --dry-run
must '"customer":"CUST-9"' show "$id" --json
must '"edited":1' edit "$id" --set "customer=$second" --reason 'mistyped' --json
must "\"customer\":\"$second\"" show "$id" --json
must '"requeued":1' requeue "$id" --json
soon "\"retrying\":$((ORDERS - 1))," ls errors --json

# ---- Killed: the other one is edited and requeued on disk
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
pid=
exec 9>&-
must "\"customer\":\"$second\"" show "$id" --json # what was answered is there
must '"edited":1' edit --where 'status = dead and body.customer = CUST-9' --set "customer=$fifth" --yes --json
id=$(of order/ORD-5)
must "\"customer\":\"$fifth\"" show "$id" --json
must 'CUST-9' show "$id" --json # the first body is kept
must '"requeued":1' requeue "$id" --json

# ---- The provider is back: all go on, and each is paid once
start
soon "\"retrying\":$((ORDERS - 1))," ls errors --json
must '"requeued":' requeue --where 'status = retrying' --yes --json
tries=0
until "$build/ledger_check" ledger meant >books 2>&1 && grep -q "\"paid\":$ORDERS," books; do
    tries=$((tries + 1))
    test $tries -lt 200 || fail "the ledger does not balance: $(cat books)"
    sleep 0.1
done
soon '"groups":0' ls errors --json
exec 9>&-
wait "$pid" || fail "the shop did not end well"
pid=
must Sound verify
echo "orders_mended: $ORDERS orders paid, to the cent"
