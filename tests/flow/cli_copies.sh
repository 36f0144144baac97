#!/bin/sh
# cli_copies.sh BUILD - `holdfast backup`, `restore` and `compact` from outside: codes, words,
# pipes, and what is left behind.
set -eu

build=$(cd "$1" && pwd)
shipped=$(cd "$(dirname "$0")/../../examples/orders" && pwd)/orders.ndjson
work=$build/cli-copies.$$
mkdir "$work"
cd "$work"
finish() {
    code=$?
    if [ $code -eq 0 ]; then cd "$build" && rm -rf "$work"; else echo "FAILED; see $work" >&2; fi
}
trap finish EXIT
die() { echo "$*" >&2; exit 1; }
hf() { "$build/holdfast" "$@"; }
# ends CODE WORD ARGUMENTS...: the tool ends with the code and says the word.
ends() {
    wanted=$1 word=$2
    shift 2
    code=0
    hf "$@" >out 2>err || code=$?
    [ $code = "$wanted" ] || die "$*: exit $code, not $wanted: $(cat out err)"
    grep -q -e "$word" out err || die "$* does not say \"$word\": $(cat out err)"
}

# Beside a living engine: each one is sound.
mkfifo input
"$build/orders" --store live --ledger l2 - <input >orders.out 2>&1 &
pid=$!
exec 3>input
cat "$shipped" >&3
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -d live ] && break
    sleep 0.2
done
for n in 1 2 3 4; do
    ends 0 "read back and whole" backup -d live "$n.hfb"
    ends 0 "rows" restore "$n.hfb" --to "r$n"
    ends 0 "Sound:" verify -d "r$n"
    rm -rf "r$n"
done
ends 4 "open in process" compact -d live
exec 3>&-
wait $pid

hf send -d live nobody/1 '{"waits":1}' >/dev/null

# Through a pipe, and as a document.
hf backup -d live - >piped.hfb 2>err
ends 0 "rows" restore - --to piped <piped.hfb
hf backup -d live --json file.hfb | grep -q '"done":true' || die "no document"
hf restore file.hfb --to filed --json | grep -q '"taken":' || die "no time in the document"
hf find -d live --where 'type = nobody' --fields id,key,body --plain >before
for store in piped filed; do
    hf find -d $store --where 'type = nobody' --fields id,key,body --plain >after
    cmp before after || die "$store: other letters, or other keys"
done
[ -z "$(hf backup -q -d live quiet.hfb 2>&1)" ] || die "-q is not quiet"

# Refused, and nothing is left.
ends 2 "there is a store" restore file.hfb --to filed
ends 2 "where to" restore file.hfb
ends 3 "no store" backup -d nowhere x.hfb
ends 3 "" restore nowhere.hfb --to x
head -c 200 file.hfb >short.hfb
ends 5 "cut short" restore short.hfb --to x
echo "Dear all" >letter
ends 5 "no backup" restore letter --to x
ends 2 "no backup" backup -d live letter
[ "$(cat letter)" = "Dear all" ] || die "a letter was overwritten"
{ head -c 8 file.hfb; printf '\011\000\000\000'; tail -c +13 file.hfb; } >newer.hfb
ends 8 "version 9" restore newer.hfb --to x
[ ! -e x ] && [ ! -e x.hfb ] || die "something is left"
[ -z "$(find . -name '*.part' -o -name '*.tmp-*')" ] || die "left behind: $(find .)"

# Compaction keeps what there is.
cp live/strikes strikes.before
ends 0 "before" compact -d live
cmp strikes.before live/strikes || die "strikes are gone"
hf find -d live --where 'type = nobody' --fields id,key,body --plain >after
cmp before after || die "compact: other letters"
ends 0 "Sound:" verify -d live
ends 0 "same store" compact -d live --to moved
ends 0 "Sound:" verify -d moved
ends 2 "there is a store" compact -d live --to moved
ends 3 "no store" compact -d nowhere
[ ! -e nowhere ] || die "compact made a store"
hf send -d live nobody/2 '{"waits":2}' >/dev/null
ends 0 "Sound:" verify -d live
ends 0 "waits" find -d live --where 'actor = nobody/2' --fields id,body

# Killed at any moment: at the place there is the old store or the new one, or nothing.
for ms in 001 002 003 004 005 006 008 010 013 017; do
    "$build/holdfast" compact -d live >out 2>err &
    pid=$!
    "$build/holdfast" restore file.hfb --to killed >out2 2>err2 &
    other=$!
    sleep 0.$ms
    kill -9 $pid $other 2>/dev/null || true
    wait $pid $other 2>/dev/null || true
    ends 0 "Sound:" verify -d live
    ends 0 "waits" find -d live --where 'actor = nobody/2' --fields id,body
    if [ -e killed ]; then
        ends 0 "Sound:" verify -d killed
        rm -r killed
    fi
done

# What is not the store's stays where it is.
echo "call Ann" >live/notes
ends 2 "notes is no file of the store" compact -d live
[ "$(cat live/notes)" = "call Ann" ] || die "the notes are gone"
rm live/notes

# Nothing is left of what was ended, also while its pipe is silent, nor where files may not grow.
mkfifo silent.pipe
# begin_restore NAME FILE: from a pipe that falls silent; waits till FILE of its nest is there.
begin_restore() {
    "$build/holdfast" restore - --to "$1" <silent.pipe 2>err &
    pid=$!
    exec 3>silent.pipe
    head -c 300 file.hfb >&3
    for _ in $(seq 300); do
        [ -z "$(find . -path "./$1.tmp-*" -prune -exec test -e "{}/$2" \; -print)" ] || break
        sleep 0.1
    done
}
begin_restore silent '.'
kill -TERM $pid
code=0
wait $pid || code=$?
exec 3>&-
[ $code = 130 ] || die "ended: exit $code, not 130: $(cat err)"
[ -z "$(find . -name 'silent*' ! -name silent.pipe)" ] || die "left behind: $(find . -name 'silent*')"
if (ulimit -f 0 && hf --version) >/dev/null 2>&1; then # ThreadSanitizer can't even begin there
    (ulimit -f 0 && hf backup -d live grown.hfb 2>&1) | grep -q "full" \
        || die "no word of a full disk"
fi
[ -z "$(find . -name 'grown*')" ] || die "left behind: $(find . -name 'grown*')"

# Who was killed, and begins again at once, leaves nothing either.
begin_restore again data.mdb
kill -9 $pid
wait $pid 2>/dev/null || true
exec 3>&-
[ -n "$(find . -name 'again.tmp-*')" ] || die "it was not killed in the middle"
ends 0 "rows" restore file.hfb --to again
[ -z "$(find . -name 'again.tmp-*')" ] || die "left behind: $(find . -name 'again.tmp-*')"
