#!/bin/sh
# cli_alarms.sh HOLDFAST SHOP - what is due when: alarms, schedules, delayed messages; live and from disk.
# shellcheck disable=SC2016
set -eu
tool=$(realpath "${1:?where is holdfast}")
shop=$(realpath "${2:?where is cli_shop}")
work=$(mktemp -d "${PWD}/cli-alarms.XXXXXX")
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
: >log
export HOLDFAST_STORE="$work/store" NO_COLOR=1
mkfifo stdin

fail() { echo "cli_alarms: $*" >&2; cat log >&2; exit 1; }
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
    "$shop" "$HOLDFAST_STORE" <stdin >ready 2>>log &
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
sent() { # ARGUMENTS...: its id
    "$tool" send "$@" --plain
}

start
exits 3 alarms
exits 2 alarms --limit 0
exits 2 alarms --where 'due <'
sent order/1 '{}' --kind remind >/dev/null
soon '"name":"reminder"' alarms --json
late=$(sent order/2 '{}' --kind keep --in 30m)
sent order/3 '{}' --kind keep --at 2100-01-31 >/dev/null
all() {
    "$tool" alarms --plain >out 2>err || fail "alarms: $(cat err)"
    test "$(cut -f 3 out | tr '\n' ' ')" = 'message alarm schedule message ' || fail "order: $(cat out)"
    must '"what":"schedule","name":"nightly"' alarms --where 'kind = nightly' --json
    must '"schedule":"every 2h","missed":1' alarms --where 'actor = order/1' --json
    must "\"id\":$late" alarms --where 'actor = order/2' --json
    must '"wall":true' alarms --where 'due > 2099-01-01' --json
    must '"more":true' alarms --limit 2 --json
    exits 3 alarms --where 'type = slow'
    test "$("$tool" alarms --limit 3 --ndjson 2>err | wc -l)" = 3 || fail "--limit 3: $(cat err)"
}
all
murder
all                                           # from disk, out of the log
must '"requeued":1' requeue "$late" --json    # folds
must '"status":"waiting"' show "$late" --json
late=$(sent order/2 '{}' --kind keep --in 30m)
all                                           # from the tables
# pages: more than the tool asks for at once
sent order/4 '{}' --in 3h --count 6000 >/dev/null
test "$("$tool" alarms --plain 2>err | wc -l)" = 6004 || fail "pages: $(cat err)"
"$tool" alarms --plain --where 'actor = order/4' | cut -f 6 >ids
test "$(sort -n ids | uniq | wc -l)" = 6000 || fail "told twice"
start
test "$("$tool" alarms --plain 2>err | wc -l)" = 6004 || fail "pages, live: $(cat err)"
must '"cancelled":1' cancel "$late" --json
exits 3 alarms --where 'actor = order/2'
exec 9>&-
wait "$pid" || fail "the engine did not close well"
pid=
must '' verify
echo "cli_alarms: ok"
