#!/bin/sh
# cli_alarms.sh HOLDFAST SHOP - what is due when: alarms, schedules, delayed messages; live and from disk.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/../support/cli_shared.sh"

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
