#!/bin/sh
# cli_salvage.sh BUILD - `holdfast salvage`: whatever page is damaged, what is left comes
# back in a sound store, the report says what is not, and the old store is as it was.
set -eu

build=$(cd "$1" && pwd)
shipped=$(cd "$(dirname "$0")/../../examples/orders" && pwd)/orders.ndjson
tmp=/dev/shm # hundreds of copies: no disk need hold them
[ -w $tmp ] || tmp=$build
work=$tmp/holdfast-cli-salvage.$$
mkdir "$work"
cd "$work"
finish() {
    code=$?
    if [ $code -eq 0 ]; then cd / && rm -rf "$work"; else echo "FAILED; see $work" >&2; fi
}
trap finish EXIT
die() { echo "$*" >&2; exit 1; }
hf() { "$build/holdfast" "$@"; }
state_of() { [ ! -d "$1" ] || { ls -l "$1" && cat "$1"/* | cksum; }; }
# salvage CODE STORE WORD...: into `new`; it ends with the code and says each word.
salvage() {
    wanted=$1 store=$2
    shift 2
    rm -rf new
    before=$(state_of "$store")
    code=0
    hf salvage -d "$store" --to new >out 2>err || code=$?
    [ $code = "$wanted" ] || die "salvage $store: exit $code, not $wanted: $(cat out err)"
    for word in "$@"; do
        grep -q -e "$word" out err || die "salvage $store does not say \"$word\": $(cat out err)"
    done
    [ "$before" = "$(state_of "$store")" ] || die "$store was changed"
    case $code in
    0 | 7) hf verify -d new >out2 2>&1 || die "the new store: $(cat out2)" ;;
    *) [ ! -e new ] || die "something is left at the new place" ;;
    esac
}
# count STORE WHERE: how many messages that are.
count() { hf find -d "$1" --where "$2" --fields id --plain 2>err | grep -c . || true; }

"$build/orders" --store sound --ledger ledger --latency-ms 1 --fail-rate 0.1 --retry-ms 5 --retry-max-ms 50 --json "$shipped" >orders.out
for n in 1 2 3 4 5 6 7 8; do
    hf send -d sound "nobody/$n" --count 40 '{"n":'$n'}' >ids
done
salvage 0 sound "Nothing is missing"
[ "$(count new 'type = nobody')" = 320 ] || die "of 320 messages $(count new 'type = nobody') came"
# What the new store sends has an id that no one before had.
old=$(tail -1 ids | tr -dc 0-9) id=$(hf send -d new nobody/1 '{}' --plain | tr -dc 0-9)
[ "$id" -gt "$old" ] || die "id $id after $old"

# Page after page, some forty of them, live or not; what was not there comes back nowhere.
size=$(wc -c <sound/data.mdb)
page=4096 whole=0 partly=0 n=2
step=$((size / page / 40 + 1))
while [ $n -lt $((size / page)) ]; do
    rm -rf hurt && cp -r sound hurt
    head -c 400 /dev/zero | tr '\0' '\356' |
        dd of=hurt/data.mdb bs=1 seek=$((n * page + 24)) conv=notrunc 2>/dev/null
    rm -rf new
    code=0
    hf salvage -d hurt --to new >out 2>err || code=$?
    case $code in
    0) whole=$((whole + 1)) ;;
    7) partly=$((partly + 1)) ;;
    *) die "page $n: exit $code: $(cat out err)" ;;
    esac
    hf verify -d new >out2 2>&1 || die "page $n: the new store: $(cat out2)"
    [ "$(count new 'type = nobody')" -le 320 ] || die "page $n: more than there were"
    n=$((n + step))
done
[ $partly -gt 0 ] || die "of $((whole + partly)) damaged pages only $partly were missed"

# One root, both roots, a file cut short, no marker, no file.
rm -rf hurt && cp -r sound hurt
head -c 4096 /dev/zero | dd of=hurt/data.mdb conv=notrunc 2>/dev/null
salvage 0 hurt "one of the two roots"
[ "$(count new 'type = nobody')" = 320 ] || die "a root lost: $(count new 'type = nobody') came"
head -c 8192 /dev/zero | dd of=hurt/data.mdb conv=notrunc 2>/dev/null
salvage 7 hurt "root damaged" "paused" "everything"
[ "$(count new 'type = nobody')" = 320 ] || die "both roots lost: $(count new 'type = nobody') came"
rm -rf hurt && cp -r sound hurt
dd if=sound/data.mdb of=hurt/data.mdb bs=4096 count=$((size / page / 2)) 2>/dev/null
salvage 7 hurt
rm -rf hurt && cp -r sound hurt && rm hurt/holdfast.id
salvage 0 hurt "it is missing"
: >hurt/data.mdb
salvage 5 hurt
rm hurt/data.mdb
salvage 3 hurt
salvage 3 nowhere

# The place is taken; the words for a script.
mkdir taken && : >taken/file
code=0
hf salvage -d sound --to taken >out 2>err || code=$?
[ $code = 2 ] || [ $code = 1 ] || die "into a directory with files: exit $code"
[ "$(ls taken)" = file ] || die "something is left beside the file"
code=0
hf salvage -d sound >out 2>err || code=$?
[ $code = 2 ] || die "without --to: exit $code"
rm -rf new
hf salvage -d sound --to new --json >json 2>err
grep -q '"lost":0' json || die "the document lacks its sum: $(cat json)"

# Not beside an engine.
mkfifo input
"$build/orders" --store live --ledger l2 - <input >orders.out 2>&1 &
pid=$!
exec 3>input
cat "$shipped" >&3
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -S live/control.sock ] && break
    sleep 0.2
done
code=0
hf salvage -d live --to new2 >out 2>err || code=$?
[ $code = 4 ] && grep -q "process $pid" err || die "beside an engine: exit $code: $(cat err)"
exec 3>&-
wait $pid
echo "$partly damaged pages were missed, $whole were not"
