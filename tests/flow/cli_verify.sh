#!/bin/sh
# cli_verify.sh BUILD - `holdfast verify`: sound stores are, damaged ones are not, and
# nothing that is damaged ends the tool.
set -eu

build=$(cd "$1" && pwd)
shipped=$(cd "$(dirname "$0")/../../examples/orders" && pwd)/orders.ndjson
tmp=/dev/shm # hundreds of copies: no disk need hold them
[ -w $tmp ] || tmp=$build
work=$tmp/holdfast-cli-verify.$$
mkdir "$work"
cd "$work"
finish() {
    code=$?
    if [ $code -eq 0 ]; then cd / && rm -rf "$work"; else echo "FAILED; see $work" >&2; fi
}
trap finish EXIT
die() { echo "$*" >&2; exit 1; }

# verify STORE CODE WORD...: ends with the code and says each word.
verify() {
    store=$1 wanted=$2
    shift 2
    code=0
    "$build/holdfast" verify -d "$store" >out 2>err || code=$?
    [ $code = "$wanted" ] || die "verify $store: exit $code, not $wanted: $(cat out err)"
    for word in "$@"; do
        grep -q "$word" out err || die "verify $store does not say \"$word\": $(cat out err)"
    done
}
# overwrite STORE OFFSET BYTES: with what means nothing.
overwrite() {
    head -c "$3" /dev/zero | tr '\0' '\356' |
        dd of="$1/data.mdb" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

"$build/orders" --store sound --ledger ledger --latency-ms 1 --fail-rate 0.1 --retry-ms 5 --retry-max-ms 50 --json >orders.out
verify sound 0 "Sound:" " rows in "
"$build/holdfast" verify -d sound --json >json
grep -q '"found":0' json || die "the document lacks its sum: $(cat json)"
verify nowhere 3 "no store"
[ -z "$("$build/holdfast" verify -q -d sound 2>&1)" ] || die "-q is not quiet"

# Want of descriptors is no damage, and is named.
begun=
for n in 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    code=0
    (ulimit -n $n && exec "$build/holdfast" verify -d sound) >out 2>err || code=$?
    [ $code != 5 ] || die "$n descriptors: $(cat out err)"
    grep -q "cannot begin a child: " err && begun=no
done
[ "$begun" = no ] || die "with so few descriptors a child was begun"

# Each page of the file damaged in turn: found, or a page that nobody uses.
size=$(wc -c <sound/data.mdb)
page=4096 found=0 unused=0 n=2
while [ $n -lt $((size / page)) ]; do
    rm -rf hurt
    cp -r sound hurt
    overwrite hurt $((n * page + 24)) 400
    code=0
    "$build/holdfast" verify -d hurt >out 2>err || code=$?
    case $code in
    0) unused=$((unused + 1)) ;;
    5) found=$((found + 1)) ;;
    *) die "page $n damaged: exit $code: $(cat out err)" ;;
    esac
    n=$((n + 3))
done
[ $found -gt 3 ] || die "of $((found + unused)) damaged pages only $found were found"

# Who looks at a damaged store is not ended by a signal: each page, made of zeros.
n=2
while [ $n -lt $((size / 4096)) ]; do
    rm -rf hurt && cp -r sound hurt
    dd if=/dev/zero of=hurt/data.mdb bs=4096 seek=$n count=1 conv=notrunc 2>/dev/null
    for command in ls stats doctor check 'actor order/1'; do
        code=0 # shellcheck disable=SC2086
        "$build/holdfast" $command -d hurt >out 2>err || code=$?
        [ $code -le 5 ] || die "page $n of zeros: $command: exit $code: $(cat err)"
        [ "$command" != check ] || [ $code -le 2 ] || die "page $n of zeros: check: exit $code"
    done
    n=$((n + 1))
done

rm -rf hurt && cp -r sound hurt && overwrite hurt 0 8192
verify hurt 5 "root damaged"
rm -rf hurt && cp -r sound hurt && dd if=sound/data.mdb of=hurt/data.mdb bs=4096 count=9 2>/dev/null
verify hurt 5 "truncated"
rm -rf hurt && cp -r sound hurt && echo nonsense >hurt/holdfast.id
verify hurt 5 "marker damaged"
rm -rf hurt && cp -r sound hurt && : >hurt/data.mdb
verify hurt 5

# Beside a living engine.
mkfifo input
"$build/orders" --store live --ledger l2 - <input >orders.out 2>&1 &
pid=$!
exec 3>input
cat "$shipped" >&3
for _ in 1 2 3 4 5; do
    [ -d live ] && break
    sleep 0.2
done
for _ in 1 2 3 4 5 6; do verify live 0 "Sound:"; done
# Who may not say that he reads finds no damage in what is written meanwhile.
mv live/lock.mdb readers && mkdir live/lock.mdb
verify live 1 "Is a directory"
rmdir live/lock.mdb && mv readers live/lock.mdb
exec 3>&-
wait $pid
verify live 0
mv live/lock.mdb readers && mkdir live/lock.mdb
verify live 0 "Sound:"
echo "$found damaged pages found, $unused not in use"
