#!/bin/sh
# cli_store.sh HOLDFAST SHOP - the tool on a store: live, killed, live again.
# shellcheck disable=SC2016
set -eu
tool=$(realpath "${1:?where is holdfast}")
shop=$(realpath "${2:?where is cli_shop}")
work=$(mktemp -d "${PWD}/cli-store.XXXXXX")
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export HOLDFAST_STORE="$work/store" NO_COLOR=1
mkfifo stdin

fail() { echo "cli_store: $*" >&2; exit 1; }
has() { # WHAT TEXT: the text holds it
    case $2 in *"$1"*) return 0 ;; *) return 1 ;; esac
}
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
    : >ready
    "$shop" "$HOLDFAST_STORE" <stdin >ready &
    pid=$!
    exec 9>stdin
    tries=0
    until grep -q ready ready; do
        tries=$((tries + 1))
        test $tries -lt 100 || fail "the engine does not start"
        sleep 0.1
    done
}
murder() {
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || true
    pid=
    exec 9>&-
}

exits 3 ls                                    # no store yet
start

# ---- Live: send, look
must '"id":' send order/1 '{"qty":1}' --kind place --json
soon '"state":{"n":1}' actor order/1 --json
must '"why":"nothing"' actor order/1 --json
must '"source":"engine"' stats --json
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
exits 3 resume order

# ---- Live: a retry that is due much later goes on when requeued
late=$("$tool" send order/3 --kind flaky --plain)
soon '"why":"retry"' actor order/3 --json
must 'the bank is down' ls errors
: >"$HOLDFAST_STORE.mended"
must '"requeued":1' requeue "$late" --json
soon '"state":{"n":1}' actor order/3 --json
rm "$HOLDFAST_STORE.mended"

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
exec 9>&-
wait "$pid" || fail "the engine did not close well"
pid=
echo "cli_store: ok"
