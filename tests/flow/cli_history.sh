#!/bin/sh
# cli_history.sh HOLDFAST SHOP - show: what became of a message, and who changed it; live
# and on a store nobody has.
set -eu
tool=$(realpath "${1:?where is holdfast}")
shop=$(realpath "${2:?where is cli_shop}")
work=$(mktemp -d "${PWD}/cli-history.XXXXXX")
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
: >log
export HOLDFAST_STORE="$work/store" NO_COLOR=1
mkfifo stdin
me=$(id -un)

fail() { echo "cli_history: $*" >&2; cat log >&2; exit 1; }
has() { case $2 in *"$1"*) return 0 ;; *) return 1 ;; esac; }
must() { # WHAT COMMAND...: its output holds WHAT
    what=$1; shift
    text=$("$tool" "$@" 2>&1) || fail "holdfast $*: exit $?: $text"
    has "$what" "$text" || fail "holdfast $*: no '$what' in: $text"
}
soon() { # WHAT COMMAND...: within 10 s its output holds WHAT
    what=$1; shift
    tries=0
    while :; do
        text=$("$tool" "$@" 2>&1) || true
        has "$what" "$text" && return 0
        tries=$((tries + 1))
        test $tries -lt 100 || fail "holdfast $*: still no '$what' in: $text"
        sleep 0.1
    done
}
exits() { # CODE COMMAND...
    code=$1; shift
    is=0
    text=$("$tool" "$@" 2>&1 </dev/null) || is=$?
    test "$is" -eq "$code" || fail "holdfast $*: exit $is, not $code: $text"
}
start() {
    "$shop" store <stdin >>log 2>&1 &
    pid=$!
    exec 9>stdin
    soon "answered by     engine" stats
}
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
