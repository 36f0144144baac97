#!/bin/sh
# cli_tail.sh HOLDFAST SHOP - tail: what comes, ends and fails, as it does; an engine that goes
# and comes back; how it ends; and what the log of a store tells that nobody has.
set -eu
tool=$(realpath "${1:?where is holdfast}")
shop=$(realpath "${2:?where is cli_shop}")
work=$(mktemp -d "${PWD}/cli-tail.XXXXXX")
pid='' tail=''
trap 'kill -9 $pid $tail 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
: >log
export HOLDFAST_STORE="$work/store" NO_COLOR=1
mkfifo stdin pipe

fail() { echo "cli_tail: $*" >&2; tail -n 20 log out err >&2 2>/dev/null || true; exit 1; }
soon() { # FILE WHAT: within 20 s it has such a line
    tries=0
    until grep -q -e "$2" "$1"; do
        tries=$((tries + 1))
        test $tries -lt 400 || fail "no '$2' in $1"
        sleep 0.05
    done
}
exits() { # CODE COMMAND...
    code=$1; shift
    is=0
    "$tool" "$@" >out 2>err </dev/null || is=$?
    test "$is" -eq "$code" || fail "holdfast $*: exit $is, not $code"
}
start() {
    : >ready
    "$shop" store <stdin >ready 2>>log &
    pid=$!
    exec 9>stdin
    soon ready ready
}
stop() {
    exec 9>&-
    wait "$pid" || fail "the shop did not end well"
    pid=
}
follow() { # ARGUMENTS...: its lines in `out`
    : >err
    "$tool" tail "$@" >out 2>err </dev/null 9>&- & # or the shop's stdin does not end
    tail=$!
    soon err 'Following from position'
}
ends() { # SIGNAL CODE
    test -z "$1" || kill -s "$1" "$tail"
    is=0
    wait "$tail" || is=$?
    tail=
    test "$is" -eq "$2" || fail "tail ends with $is, not $2"
}
count() { grep -c -e "$1" "$2" || true; }

start
before=$("$tool" send order/0 --plain)
tries=0
until "$tool" show "$before" --json | grep -q '"status":"done"'; do
    tries=$((tries + 1))
    test $tries -lt 400 || fail "the first one is not done"
    sleep 0.05
done

# Everything that may happen to a message, in the order of the log.
follow --ndjson
good=$("$tool" send order/1 --kind place --plain)
soon out "\"done\",\"id\":$good,\"actor\":\"order/1\",\"kind\":\"place\""
bad=$("$tool" send order/1 --kind bad --plain)
soon out "\"dead\",\"id\":$bad,\"actor\":\"order/1\",\"kind\":\"bad\".*\"error\":\"no such product\""
flaky=$("$tool" send order/2 '{"qty":2}' --kind flaky --plain)
soon out "\"retry\",\"id\":$flaky,\"actor\":\"order/2\",\"kind\":\"flaky\",\"attempt\":1,.*the bank is down"
"$tool" requeue "$bad" --reason 'once more' -q >/dev/null
soon out "\"requeued\",\"id\":$bad,.*\"reason\":\"once more\""
"$tool" edit "$flaky" --set qty=1 --reason cheaper -q >/dev/null
soon out "\"edited\",\"id\":$flaky,.*\"reason\":\"cheaper\""
"$tool" requeue "$flaky" --reason now -q >/dev/null
soon out "\"requeued\",\"id\":$flaky,.*\"reason\":\"now\""
tries=0
until test "$(count "\"retry\",\"id\":$flaky," out)" = 2; do # it fails once more
    tries=$((tries + 1))
    test $tries -lt 400 || fail "no second retry"
    sleep 0.05
done
"$tool" cancel "$flaky" --reason 'sent twice' -q >/dev/null
soon out "\"cancelled\",\"id\":$flaky,.*\"reason\":\"sent twice\""
"$tool" pause order/3 --reason lunch -q >/dev/null
soon out '"paused","actor":"order/3".*"reason":"lunch"'
"$tool" resume order/3 -q >/dev/null
soon out '"resumed","actor":"order/3"'
late=$("$tool" send order/4 --in 30m --plain)
soon out "\"sent\",\"id\":$late,.*\"due\":\"2"
"$tool" requeue "$late" -q >/dev/null
soon out "\"due\",\"id\":$late,"
soon out "\"done\",\"id\":$late,"
"$tool" purge "$flaky" --reason test --yes -q >/dev/null
soon out "\"purged\",\"id\":$flaky,\"actor\":\"order/2\",.*\"reason\":\"test\""
grep -q "\"id\":$before," out && fail "what was before is told"
ends INT 0
grep -q ' told; --after ' err || fail "it does not say where it ended"
cut -d : -f 2 out | sort -n -c || fail "not in the order of the log"

# What is selected; from a position on; so many.
exits 2 tail --limit 0
exits 2 tail --where 'status ='
exits 0 tail --after 0 --limit 1 --where "status = dead" --plain
test "$(cut -f 2,3,5 out)" = "$(printf 'dead\t%s\tbad' "$bad")" || fail "--where: $(cat out)"
exits 0 tail --after "$good" --limit 1
grep -q "Z  done  *$good  order/1  place$" out || fail "--after: $(cat out)"
exits 0 tail --after 0 --limit 3 --json
test "$(count '"what":' out)" = 3 || fail "--limit 3"
grep -q '^],"next":[0-9]*}' out || fail "no end of the document"

# More than one answer holds: nothing twice, nothing left out.
"$tool" pause order/5 -q >/dev/null
"$tool" send order/5 --kind many --count 2500 -q >/dev/null
follow --plain --where 'actor = order/5 and kind = many and status = done'
touch store.mended
"$tool" resume order/5 -q >/dev/null
soon err 'Following'
tries=0
until test "$(wc -l <out)" -ge 2500; do
    tries=$((tries + 1))
    test $tries -lt 400 || fail "$(wc -l <out) of 2500 are told"
    sleep 0.05
done
ends TERM 0
test "$(cut -f 3 out | sort -u | wc -l)" = 2500 || fail "told twice"
test "$(wc -l <out)" = 2500 || fail "too many are told"

# The engine goes and comes back.
follow --ndjson
stop
soon err 'The engine is gone. Waiting'
start
soon err 'The engine is back'
again=$("$tool" send order/6 --plain)
soon out "\"done\",\"id\":$again,"
test "$(count "\"sent\",\"id\":$again," out)" = 1 || fail "sent twice"
ends TERM 0

# The reader of the pipe goes.
"$tool" tail >pipe 2>err </dev/null 9>&- &
tail=$!
exec 8<pipe
soon err 'Following'
exec 8<&-
ends '' 0
stop

# Nobody has the store.
exits 3 tail
grep -q -e '--after 0' err || fail "it does not say how to see the log"
exits 0 tail --after 0 --plain --where "id = $good"
test "$(cut -f 2 out | tr '\n' ' ')" = 'sent done ' || fail "from disk: $(cat out)"
exits 3 tail --after "$again" --where 'type = slow'
exits 3 tail --after 0 --where 'strikes = 0'
cp -r store copy
exits 0 tail -d copy --after "$again" --plain
test "$(cut -f 2 out | tr '\n' ' ')" = 'done ' || fail "a copy: $(cat out)"
echo "cli_tail: ok"
