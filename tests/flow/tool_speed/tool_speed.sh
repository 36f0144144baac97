#!/bin/sh
# tool_speed.sh BUILD MESSAGES - a store in which so many messages wait, beside a living
# engine: `ls` counts all of them, `find` tells the oldest first and no one twice, page by
# page. From a million on it also says how long that takes, and how much slower the engine is
# while `top` looks at it. These figures are shown, not judged: they depend on the machine.
set -eu
build=$(cd "${1:?where is the build}" && pwd)
messages=${2:?how many messages}
work=$(mktemp -d "$build/tool_speed.XXXXXX")
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export HOLDFAST_STORE="$work/store" TERM=xterm NO_COLOR=1
tool=$build/holdfast
hundreds=$((messages / 100))

fail() { echo "tool_speed: $*" >&2; cat log >&2; exit 1; }
said() { # how many lines that begin so, within 400 s
    tries=0
    until test "$(grep -c "^$2" answers)" -ge "$1"; do
        tries=$((tries + 1))
        test $tries -lt 4000 || fail "it does not say $2: $(cat answers)"
        kill -0 "$pid" 2>/dev/null || fail "it has ended: $(cat answers)"
        sleep 0.1
    done
}
counted() { # TYPE STATUS: as ls tells it
    "$tool" ls --json 2>/dev/null | tr '{' '\n' | grep "\"type\":\"$1\"" | sed "s/.*\"$2\":\([0-9]*\).*/\1/"
}

mkfifo stdin
"$build/large_store" store "$messages" <stdin >answers 2>log &
pid=$!
exec 9>stdin
echo fill >&9
said 1 filled

tries=0 # the last bills die, and the first mail is begun
until test "$(counted bill dead)" = "$hundreds" && test "$(counted mail running)" = 1; do
    tries=$((tries + 1))
    test $tries -lt 600 || fail "$(counted bill dead) of $hundreds bills are dead"
    sleep 0.2
done
# A machine so slow that the engine answers too late hears what the disk knows: not what runs.
counts() { # TYPE STATUS N
    for turn in 1 2 3 4 5 6 7 8 9 10; do
        is=$(counted "$1" "$2")
        test "$is" = "$3" && return 0
        sleep 0.5
    done
    fail "$is of $1 are $2, not $3"
}
counts order paused $((hundreds * 20))
counts parcel paused $((hundreds * 40))
counts mail waiting $((hundreds * 39 - 1))
actors=$("$tool" ls actors --where 'type = parcel' --json --limit 1 2>/dev/null | sed -n 's/.*"groups":\([0-9]*\).*/\1/p')
test "$actors" = "$(counted parcel actors)" || fail "$actors actors, $(counted parcel actors) by type"

# Each way of looking finds the same messages, the oldest first.
ids() { "$tool" find --plain --fields id "$@" 2>/dev/null || fail "find $*"; }
ids --where 'type = order and status = paused' --limit 20 >quick
ids --where 'type = order and kind = do' --limit 20 >slow
cmp quick slow || fail "two ways to find orders: $(cat quick slow)"
test "$(sort -nu quick | wc -l)" = 20 && sort -nc quick || fail "not in order: $(cat quick)"
ids --where 'type = bill and status = dead' --limit 5 >quick
ids --where 'type = bill and status = dead' --limit 5 --after "$(tail -1 quick)" >>quick
ids --where 'type = bill and error ~ "no such"' --limit 10 >slow
cmp quick slow || fail "two ways to find bills: $(cat quick slow)"
if test "$messages" -lt 1000000; then
    for type in order bill; do
        ids --where "type = $type" --limit "$messages" >all
        sort -nc all && sort -nu all | cmp - all || fail "$type: pages overlap"
    done
    test "$(wc -l <all)" = "$hundreds" || fail "$(wc -l <all) bills found"
    echo "tool_speed: $messages messages counted and found"
    exit 0
fi

now() { date +%s%N; }
took() { # the middle one of five
    for turn in 1 2 3 4 5; do
        start=$(now)
        "$tool" "$@" >/dev/null 2>&1
        echo $((($(now) - start) / 1000000))
    done | sort -n | sed -n 3p
}
echo "tool_speed: $messages messages, beside the engine:"
echo "  ls: $(took ls) ms, ls errors: $(took ls errors) ms, ls actors: $(took ls actors) ms"
for selection in 'type = bill and status = dead' 'type = order and status = paused' \
    'type = mail and status = waiting' 'type = parcel and status = paused'; do
    echo "  find $selection: $(took find --limit 50 --where "$selection") ms"
done

# Turns a second by themselves and with `top` on a terminal, in turn. Long enough for its
# count of what waits, which it makes at the start and then in a fiftieth of the time.
flood() {
    echo "work 30000" >&9
    rounds=$((rounds + 1))
    said $rounds turns
}
rounds=0
while test $rounds -lt 6; do
    flood
    { sleep 30; printf q; } | script -qec "'$tool' top --interval 1s" /dev/null >screen &
    flood
    wait $!
done
grep -q "DONE/s" screen || fail "top shows nothing"
sed -n 's/^turns //p' answers | awk '
    NR % 2 { alone = $1; next }
    { printf "  top: %.2f M turns/s alone, %.2f M with it: %+.1f %%\n", alone / 1e6, $1 / 1e6,
          ($1 / alone - 1) * 100; a += alone; b += $1 }
    END { printf "  top: %+.1f %% over all\n", (b / a - 1) * 100 }'
