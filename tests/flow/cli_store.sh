#!/bin/sh
# cli_store.sh HOLDFAST SHOP - the tool on a store: live, killed, live again.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/../support/cli_shared.sh"
is_json() { # FILE: the tool's own parser takes it
    "$tool" send order/1 - --dry-run <"$1" 2>err || fail "no JSON: $(cat "$1" err)"
}
formats() { # all that looks, in all three formats
    for command in stats ls 'ls actors' 'ls errors' 'actor order/1' find "show $1"; do
        for format in --json --ndjson --plain; do
            # shellcheck disable=SC2086
            "$tool" $command $format >out 2>err || fail "$command $format: $(cat err)"
            test -s out || fail "$command $format says nothing"
            case $format in
            --json) is_json out ;;
            --ndjson) while read -r line; do echo "$line" >line; is_json line; done <out ;;
            --plain) grep -q "$(printf '\t')" out || fail "$command --plain has no tabs" ;;
            esac
        done
    done
}

exits 3 ls                                    # no store yet
start
exits 2 pause ''                              # of a variable that is not set: not everything
exits 2 resume ''
exits 2 pause ordr                            # mistyped: the engine knows its types
has 'ordr' "$text" || fail "does not name it: $text"
"$shop" "$HOLDFAST_STORE" </dev/null >second 2>&1 && fail "a second engine opened the store"
grep -q "process $pid" second || fail "does not name who has it: $(cat second)"

# ---- Live: send, look
must '"id":' send order/1 '{"qty":1}' --kind place --json
soon '"state":{"n":1}' actor order/1 --json
must '"why":"nothing"' actor order/1 --json
must '"state_version":3' actor order/1 --json
must '{"key":"last","value_bytes":4,"value":{"n":1}}' actor order/1 --json
must '"source":"engine"' stats --json
"$tool" stats >out && grep -q '^How long commits took' out && grep -Eq '^log +[0-9]+ ' out \
    || fail "stats shows no latencies, or no tables: $(cat out)"
esc=$(printf '\033')
env -u NO_COLOR TERM=xterm "$tool" ls --color=always | grep -q "$esc" || fail "always: no colour"
test "$("$tool" top --once --plain --interval 100ms | grep -c "$(printf '\t')")" -gt 15 \
    || fail "top --plain says little"
must '"what":"order"' pause order --dry-run --json
for no in NO_COLOR=1 TERM=dumb; do
    env -u NO_COLOR TERM=xterm "$no" "$tool" ls --color=always >out
    ! grep -q "$esc" out || fail "colour with $no"
done
exits 3 actor order/none
exits 3 show 18446744073709551615
exits 3 find --where 'status = dead'
exits 2 find --where 'stat = dead'
exits 2 send nonsense/1 '{}'                  # a type this engine does not define

# ---- Live: dead, found, shown, requeued
bad=$("$tool" send order/1 '{"sku":18446744073709551615,"raw":{"$bin":"AAE="}}' --kind bad --plain)
soon "$bad" find --where 'status = dead and type = order' --plain --fields id
must '"error":"no such product"' ls errors --json
must '"body":{"sku":18446744073709551615,"raw":{"$bin":"AAE="}}' show "$bad" --json
must 'no such product' show "$bad"
must 'Nothing was done' requeue --where 'status = dead' --dry-run
must '"dead":1' ls --json
formats "$bad"
exits 6 requeue --where 'status = dead'       # not asked on a terminal, not told --yes
: >"$HOLDFAST_STORE.mended"
must '"requeued":1' requeue --where 'status = dead' --yes --json
soon '"state":{"n":2}' actor order/1 --json
exits 3 requeue "$bad"                        # done and gone
rm "$HOLDFAST_STORE.mended"

# ---- Live: pause, resume
must '"what":"order"' pause order --reason 'the bank' --json
"$tool" send order/2 '{}' --kind place >/dev/null
must '"why":"paused"' actor order/2 --json
must 'the bank' actor order/2
must '"reason":"the bank"' ls --json
must '"paused":true' resume order --json
soon '"state":{"n":1}' actor order/2 --json
must '"key":{"$hex":"01ff"},"value_bytes":9,"value":{"$text":"two bytes"}' actor order/2 --json
must '0x01ff   9 B  two bytes' actor order/2
must 'last     4 B  {"n":1}' actor order/2
exits 3 resume order

# ---- Live: a retry that is due much later goes on when requeued
late=$("$tool" send order/3 --kind flaky --plain)
soon '"why":"retry"' actor order/3 --json
must 'the bank is down' ls errors
: >"$HOLDFAST_STORE.mended"
must '"requeued":1' requeue "$late" --json
soon '"state":{"n":1}' actor order/3 --json
rm "$HOLDFAST_STORE.mended"

# ---- Live: turns that last, on a thread and on a shard
"$tool" send slow/1 --plain >id
must '"resident":true' actor order/3 --json
soon '"why":"stuck"' actor slow/1 --json
must '"since":' actor slow/1 --json
must "Message $(cat id) runs since" actor slow/1
must '"running":1' ls --where 'type = slow' --json
must '"stuck":1' ls --where 'type = slow' --json
must '"running":1' pause slow --json          # does not wait for it, but says so
must '"paused":true' resume slow --json
"$tool" send order/7 --kind stall --plain >id2
soon '"why":"stuck"' actor order/7 --json
tries=0
until grep -q "message $(cat id) of type \"slow\" runs" log \
    && grep -q "message $(cat id2) of type \"order\" runs" log; do
    tries=$((tries + 1))
    test $tries -lt 100 || fail "stuck turns are not in the log"
    sleep 0.1
done
: >"$HOLDFAST_STORE.mended"
soon 'told to stop' actor slow/1 --json
soon '"state":{"n":1}' actor order/7 --json
rm "$HOLDFAST_STORE.mended"
test "$(grep -c 'longer than stuck_ms' log)" -eq 2 || fail "reported twice"

# ---- Killed: the same questions, the same changes, from disk
buried=$("$tool" send order/4 '{"qty":4}' --kind bad --plain)
soon "$buried" find --where 'status = dead' --plain --fields id
must '"what":"order"' pause order --json
"$tool" send order/5 '{}' --kind place >/dev/null
murder
must '"source":"disk"' stats --json
must '"state":{"n":2}' actor order/1 --json
must '"why":"paused"' actor order/5 --json
must '"body":{"qty":4}' show "$buried" --json
must '"error":"no such product"' ls errors --json
must "$buried" find --where "actor = order/4 and status = dead" --plain --fields id
formats "$buried"
must '"requeued":1' requeue "$buried" --json
exits 3 find --where 'status = dead'
"$tool" send order/6 '{}' --kind place >/dev/null
must '"paused":true' resume order --json

# ---- And again with an engine
: >"$HOLDFAST_STORE.mended"
start
soon '"state":{"n":1}' actor order/4 --json
soon '"state":{"n":1}' actor order/5 --json
soon '"state":{"n":1}' actor order/6 --json
must '"state":{"n":2}' actor order/1 --json   # nothing ran twice
# ---- A reader who takes his time, longer than the engine waits for one: nothing is cut short
must '"what":"order"' pause order --json
"$tool" send order/7 --count 8000 --kind 'a kind that takes some room in each of the rows' >/dev/null
{ "$tool" find --where 'actor = order/7' --ndjson 2>err || echo "exit $?" >>err; } \
    | { sleep 11; cat; } >out
test "$(wc -l <out)" = 8000 || fail "$(wc -l <out) of 8000: $(cat err)"

exec 9>&-
wait "$pid" || fail "the engine did not close well"
pid=
echo "cli_store: ok"
