#!/bin/sh
# cli_export.sh HOLDFAST SHOP - messages out of one store and into another, live and from disk; send and requeue by all options.
# shellcheck disable=SC2016
set -eu
. "$(dirname "$0")/../support/cli_shared.sh"

# ---- What there is: waiting, delayed, retrying, dead; bodies of all kinds
start
must 'order' pause order --reason 'being moved'
sent order/1 '{"big":18446744073709551615,"low":-9223372036854775808,"bin":{"$bin":"AP8="}}' --kind keep >/dev/null
printf '\377\000raw' | "$tool" send order/2 - --raw --plain >/dev/null
printf 'plain text' | "$tool" send order/2 - --raw --kind keep --plain >/dev/null
sent order/2 >/dev/null
printf '\201\241a\312\077\200\000\000' | "$tool" send order/2 - --raw --kind keep --plain >/dev/null # a float of 32 bits
printf '\315\000\001' | "$tool" send order/2 - --raw --kind keep --plain >/dev/null # longer than need be
word=$(sent order/3 '[1]' --kind keep --dedupe once --urgency 7)
test "$word" = "$(sent order/3 '[1]' --kind keep --dedupe once --urgency 7)" || fail "sent twice"
exits 1 send order/3 '[2]' --kind keep --dedupe once
late=$(sent order/4 '{"n":1}' --kind keep --at 2100-01-31T12:00:00Z)
must '"due":"2100-01-31T12:00:00.000Z"' show "$late" --json
ends=$(sent order/4 '{"n":2}' --kind keep --expires 2h)
must '"expires":' show "$ends" --json
exits 2 send order/4 --at yesterday
exits 2 send order/4 --at 2100-01-31 --in 5m
exits 2 send order/4 --dedupe x --count 2
exits 2 send order/4 --urgency 10
must 'order' resume order
dead=$(sent order/5 '{"n":3}' --kind bad)
soon '"status":"dead"' show "$dead" --json
retries=$(sent order/6 '{"n":4}' --kind keep)
soon '"status":"retrying"' show "$retries" --json
must 'order' pause order
must '"edited":1' edit "$retries" --set n=5 --json
sent slow/1 '{"n":6}' >/dev/null
"$tool" export -o out.ndjson 2>err || fail "export: $(cat err)"
exits 3 export --where 'type = nobody' -o none.ndjson
test ! -e none.ndjson || fail "an empty export left a file"
"$tool" export --where 'status = dead' >dead.ndjson 2>err || fail "export: $(cat err)"
test "$(wc -l <dead.ndjson)" = 3 || fail "one dead letter: $(cat dead.ndjson)"
has '"holdfast_export":1' "$(head -1 out.ndjson)" || fail "no header"
count=$(grep -c '"message":' out.ndjson)

# ---- Two at once do not write into each other's file
flock busy.ndjson.part "$tool" export -o busy.ndjson 2>err && fail "two exports at once"
has 'another export writes busy.ndjson.part' "$(cat err)" || fail "two exports: $(cat err)"
rm busy.ndjson.part

# ---- From disk it says the same, but for what runs
bodies() { sed -n 's/.*,"body"://p' "$1" | sort; }
murder
"$tool" export -o disk.ndjson 2>err || fail "export: $(cat err)"
bodies out.ndjson >live
bodies disk.ndjson >disk
cmp -s live disk || fail "from disk: $(diff live disk)"

# ---- What is damaged is refused before anything is written
HOLDFAST_STORE="$work/other"
start
head -n 3 out.ndjson >cut.ndjson
exits 2 import cut.ndjson
sed 's/"actor":"order/"actor":"ordr/' out.ndjson >types.ndjson
exits 2 import types.ndjson
has "ordr" "$text" || fail "does not name the type: $text"
sed 's/"holdfast_export":1/"holdfast_export":2/' out.ndjson >newer.ndjson
exits 8 import newer.ndjson
sed '3s/"message":{/"message":{{/' out.ndjson >broken.ndjson
exits 2 import broken.ndjson
has 'line 3' "$text" || fail "does not name the line: $text"
for odd in "\"actor\":\"order\\/$(printf %300s '' | tr ' ' x)\"" '"kind":"k\\u0000k"' '"urgency":77' '"attempt":5000000000'; do
    name=${odd%%:*}
    sed "4s/$name:[^,}]*,/$odd,/; t; 4s/\"message\":{/&$odd,/" out.ndjson >odd.ndjson
    cmp -s odd.ndjson out.ndjson && fail "nothing is odd: $odd"
    exits 2 import odd.ndjson --limit 2
    has 'line 4' "$text" || fail "does not name the line of $name: $text"
done
exits 3 import no-such-file
exits 3 find
must 'Nothing was done' import out.ndjson --dry-run
exits 3 find

# ---- In it comes, once
must 'order' pause order
must '"imported":3' import out.ndjson --limit 3 --json
must "\"imported\":$((count - 3)),\"known\":3" import out.ndjson --json
must "\"imported\":0,\"known\":$count" import - --json <out.ndjson
soon '"dead":1' ls --json
must '"delayed":6' ls --where 'type = order' --json
must '"died":' find --where 'status = dead' --json
must '"error":"no such product"' find --where 'status = dead' --json
must '"urgency":7' find --where 'actor = order/3' --json
must '"dedupe":"once"' find --where 'actor = order/3' --json
must '"first_body":{"n":4}' find --where 'actor = order/6' --json
"$tool" export -o again.ndjson 2>err || fail "export: $(cat err)"
bodies again.ndjson >there
cmp -s live there || fail "not the same bodies: $(diff live there)"
must '"body_bytes":8' find --where 'actor = order/2' --json
must '"body_bytes":3' find --where 'actor = order/2' --json
must '' verify

# ---- Requeue: later, and elsewhere
dead=$("$tool" find --where 'status = dead' --fields id --plain)
must 'order' resume order
must '"unchanged":1' requeue "$("$tool" find --where 'actor = order/4 and due > 2099-01-01' --fields id --plain)" --in 1h --json
exits 2 requeue "$dead" --to ordr/9
must '"requeued":1' requeue "$dead" --to order/9 --in 1h --json
must '"actor":"order/9"' show "$dead" --json
must '"status":"delayed"' show "$dead" --json
: >"$HOLDFAST_STORE.mended"
must '"requeued":1' requeue "$dead" --json
soon '"state":{"n":1}' actor order/9 --json
must '"why":"nothing"' actor order/5 --json
must '' verify
murder

# ---- Into a store that nobody has
HOLDFAST_STORE="$work/third"
start
murder
must "\"imported\":$count" import out.ndjson --json
must "\"imported\":0,\"known\":$count" import out.ndjson --json
must '"dead":1' ls --json
must '' verify
first=$(sent order/7 '{}' --dedupe disk)
test "$first" = "$(sent order/7 '{}' --dedupe disk)" || fail "sent twice on disk"
exits 1 send order/7 '{"other":1}' --dedupe disk
must '"status":"delayed"' show "$(sent order/7 '{}' --in 2h)" --json
"$tool" export -o again.ndjson --where 'actor != order/7' 2>err || fail "export: $(cat err)"
bodies again.ndjson >there
cmp -s live there || fail "not the same bodies on disk: $(diff live there)"
: >"$HOLDFAST_STORE.mended"
start
must '"dead":1' ls --json
must '"requeued":1' requeue "$("$tool" find --where 'actor = order/3' --fields id --plain)" --json
soon '"state":[1]' actor order/3 --json
murder

# ---- Cancelled, and its engine has not buried it yet: never handled, wherever it comes
HOLDFAST_STORE="$work/fourth"
start
must 'order' pause order
marked=$(sent order/8 '{}')
murder
must '"cancelled":1' cancel "$marked" --json
must '"ending":true' show "$marked" --json
"$tool" export -o marked.ndjson 2>err || fail "export: $(cat err)"
HOLDFAST_STORE="$work/fifth"
start
must '"imported":1' import marked.ndjson --json
must '"status":"dead"' find --where 'error = cancelled' --json
must '"known":true' actor order/8 --json
case $("$tool" actor order/8 --json) in *'"state"'*) fail "it was handled" ;; esac

# ---- Out of a pipe that is no stdin, too
mkfifo marked.pipe
cat marked.ndjson >marked.pipe &
must '"known":1' import marked.pipe --json

# ---- One word, taken twice by one actor, more than a day apart
{
    head -n 1 out.ndjson
    grep -F '"dedupe":"once"' out.ndjson
    grep -F '"dedupe":"once"' out.ndjson \
        | sed 's/"id":[0-9]*/"id":900001/; s/"sent":"[^"]*"/"sent":"2020-01-01T00:00:00.000Z"/; s/"body":\[1\]/"body":[2]/'
    echo '{"messages":2}'
} >words.ndjson
must '"imported":2' import words.ndjson --json
must '"known":2' import words.ndjson --json
murder
HOLDFAST_STORE="$work/fourth"
must '"imported":2' import words.ndjson --json
echo "cli_export: ok"
