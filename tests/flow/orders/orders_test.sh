#!/bin/sh
# orders_test.sh - the orders program from end to end.
#
#     orders_test.sh BUILD demo          100 orders, twice; mistakes
#     orders_test.sh BUILD speed         at most 1.10 times their floor; on a quiet machine
#     orders_test.sh BUILD lines         lines that are no orders, unknown things
#     orders_test.sh BUILD kill [RUNS]   killed at random, until done [10]
#     orders_test.sh BUILD fail [RUNS]   the same with services that fail; requeue [5]
#     orders_test.sh BUILD down          a payment service that is down; requeue
#
# BUILD is the build directory. Everything happens in a directory of its own
# under BUILD, which stays when a test fails.
set -eu

build=$(cd "$1" && pwd)
part=$2
runs=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
shipped=$here/../../../examples/orders/orders.ndjson
work=$build/orders-$part.$$
pid=

mkdir "$work"
cd "$work"

finish() {
    code=$?
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || :
    if [ $code -eq 0 ]; then
        cd "$build" && rm -rf "$work"
    else
        echo "FAILED; what it left is in $work" >&2
    fi
}
trap finish EXIT

die() {
    echo "$*" >&2
    exit 1
}

# field NAME FILE: a number from the last line of FILE, which is JSON
field() {
    tail -n 1 "$2" | sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"
}

# counts FILE: paid, dead and undone in one word
counts() {
    echo "paid=$(field paid "$1") dead=$(field dead "$1") undone=$(field undone "$1")"
}

# expect WANTED FILE
expect() {
    [ "$(counts "$2")" = "$1" ] || die "wanted $1, got: $(tail -n 1 "$2")"
}

# balance LEDGER ORDERS FILE: the ledger is right, and FILE says the same
balance() {
    "$build/ledger_check" "$1" "$2" > balance.json || die "the ledger does not balance"
    [ "$(counts balance.json)" = "$(counts "$3")" ] ||
        die "the ledger says $(counts balance.json), the program $(counts "$3")"
}

# random MAX: 0 .. MAX - 1
random() {
    echo $(($(od -An -N4 -tu4 /dev/urandom) % $1))
}

# refuses WORDS COMMAND...: fails, and says WORDS
refuses() {
    words=$1
    shift
    if "$@" > refused.out 2> refused.err; then
        die "should have been refused: $*"
    fi
    grep -q -e "$words" refused.err || die "does not say \"$words\": $(cat refused.err)"
}

# Of three runs the best counts: whatever else the machine does is not ours.
speed() {
    for _ in 1 2 3; do
        rm -rf store ledger*
        "$build/orders" --store store --ledger ledger --json > out
        expect "paid=100 dead=0 undone=0" out
        cat out
        if awk "BEGIN { exit !($(field seconds out) <= 1.10 * $(field floor out)) }"; then
            return
        fi
    done
    die "slower than 1.10 times its floor, three times"
}

demo() {
    "$build/orders" --store store --ledger ledger --json > out
    expect "paid=100 dead=0 undone=0" out
    balance ledger "$shipped" out
    # Started again, it knows them all and does nothing.
    "$build/orders" --store store --ledger ledger --json > again
    expect "paid=100 dead=0 undone=0" again
    [ "$(field floor again)" = 0.0000 ] || die "something was called again"
    balance ledger "$shipped" again

    refuses "no store" "$build/orders" --store other --ledger ledger
    refuses "do not belong together" "$build/orders" --store store --ledger other
    refuses "cannot open the store" "$build/orders" --store nowhere/at/all --ledger new
    refuses "cannot open the ledger" "$build/orders" --store s2 --ledger nowhere/at/all
    refuses "cannot read" "$build/orders" --store s2 --ledger l2 nowhere.ndjson
    refuses "no service" "$build/orders" --down bank
    refuses "from 1 to 1000" "$build/orders" --workers 0
    mkfifo input
    "$build/orders" --store store --ledger ledger - < input > out 2>&1 &
    pid=$!
    exec 3> input
    sleep 1
    refuses "cannot open the store" "$build/orders" --store store --ledger ledger
    grep -q "$pid" refused.err || die "does not name the process that has it: $(cat refused.err)"
    exec 3>&-
    wait "$pid"
    pid=
}

lines() {
    cat > input <<'END'
{"order":"A-1","customer":"CUST-001","merchant":"MRCN-001","payment":"CARD-001","items":[{"id":"IT-001","qty":1}]}
this is not an order
{"order":"A-1","customer":"CUST-001","merchant":"MRCN-001","payment":"CARD-001","items":[{"id":"IT-001","qty":1}]}

{"order":"A-2","customer":"CUST-9","merchant":"MRCN-001","payment":"CARD-001","items":[{"id":"IT-001","qty":1}]}
{"order":"A-3","customer":"CUST-001","merchant":"MRCN-001","payment":"CARD-001","items":[{"id":"IT-9","qty":1}]}
{"order":"A-4","customer":"CUST-001","merchant":"MRCN-001","payment":"CARD-001","promo":"PROM-9","items":[{"id":"IT-001","qty":1}]}
{"order":"A-5","customer":"CUST-001","merchant":"MRCN-001","payment":"CARD-001","items":[]}
{"order":"A-6","customer":"CUST-001","merchant":"MRCN-9","payment":"CARD-001","items":[{"id":"IT-001","qty":1}]}
{"order":"A-1","customer":"CUST-002","merchant":"MRCN-001","payment":"CARD-001","items":[{"id":"IT-001","qty":1}]}
END
    printf '%s' '{"order":"A-7","customer":"CUST-001","merchant":"MRCN-001","payment":"CARD-001","items":[{"id":"IT-002","qty":3}]}' >> input
    # Another order under a known number is one more dead letter, not an order.
    for try in 1 2; do
        "$build/orders" --store store --ledger ledger --latency-ms 1 --json - < input > out 2> err
        expect "paid=2 dead=5 undone=0" out
        grep -q "^line 2 is not an order: " err || die "line 2 is not reported: $(cat err)"
        grep -q "^line 8 is not an order: \"items\" is missing or empty" err || die "nor line 8"
        grep -q "^2 of 11 lines are not orders" err || die "nor how many: $(cat err)"
        if [ $try = 1 ]; then
            for words in "A-2: unknown customer CUST-9" "A-3: unknown product IT-9" \
                "A-4: unknown promotion PROM-9" "A-6: unknown merchant MRCN-9" \
                "A-1: this order number was given before"; do
                grep -q "order/$words" err || die "no dead letter says $words: $(cat err)"
            done
        elif grep -q "(dead)" err; then
            die "told again, it died again: $(cat err)"
        fi
    done
    "$build/ledger_check" ledger input > balance.json || die "the ledger does not balance"
    expect "paid=2 dead=4 undone=0" balance.json
}

# until_done KILLS ARGUMENT...: start, kill after a while, start again; the last
# time it may end. What it says is in out.
until_done() {
    kills=$1
    shift
    while [ "$kills" -gt 0 ]; do
        "$build/orders" --store store --ledger ledger --latency-ms 5 "$@" > out 2> err &
        pid=$!
        sleep "0.$(printf '%03d' "$(random 450)")"
        kill -9 "$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
        pid=
        kills=$((kills - 1))
    done
    "$build/orders" --store store --ledger ledger --latency-ms 5 --json "$@" > out 2> err ||
        die "it did not end well: $(cat out err)"
}

kill_loop() {
    run=0
    while [ $run -lt "${runs:-10}" ]; do
        run=$((run + 1))
        rm -rf store ledger*
        until_done $((1 + $(random 5)))
        expect "paid=100 dead=0 undone=0" out
        balance ledger "$shipped" out
    done
    echo "$run runs, each killed up to 5 times: every order paid once, to the cent"
}

fail_loop() {
    run=0
    ends=
    while [ $run -lt "${runs:-5}" ]; do
        run=$((run + 1))
        rm -rf store ledger*
        until_done $((1 + $(random 3))) --fail-rate 0.2 --tries 9 --retry-ms 5 --retry-max-ms 40
        [ $(($(field paid out) + $(field dead out) + $(field undone out))) -eq 100 ] ||
            die "not all orders ended: $(cat out)"
        balance ledger "$shipped" out
        ends="$ends$(counts out)
"
    done
    # What was given up and undone in the last run may be asked for again.
    "$build/holdfast" requeue --store store --where 'status = dead' --yes || [ $? -eq 3 ]
    "$build/orders" --store store --ledger ledger --latency-ms 5 --json > out
    expect "paid=100 dead=0 undone=0" out
    balance ledger "$shipped" out
    printf '%s' "$ends" | sort | uniq -c
    echo "$run runs with failing services: the ledger balances"
}

# found STATUS: how many messages say that the payment service is down
found() {
    "$build/holdfast" ls errors --store store --plain > plain 2> plain.err || :
    awk -F '\t' '/payment service is down/ { dead += $2; retrying += $3 }
        END { print '"$1"' + 0 }' plain
}

# start ARGUMENT...: in the background, reading from a pipe that stays open
start() {
    rm -f input
    mkfifo input
    "$build/orders" --store store --ledger ledger --latency-ms 2 "$@" - < input > live.out 2>&1 &
    pid=$!
    exec 3> input
}

# soon COMMAND...: within 20 s
soon() {
    tries=200
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || die "in vain: $* $(cat plain live.out live.json 2>/dev/null)"
        sleep 0.1
    done
}

all_found() {
    [ "$(found "$1")" -eq 100 ]
}

paid() {
    "$build/ledger_check" ledger "$shipped" > live.json 2> /dev/null || :
    [ "$(field paid live.json)" = "$1" ]
}

down() {
    tool=$build/holdfast
    [ -x "$tool" ] || die "there is no $tool"

    # They wait, as configured: found while the engine runs and after its end,
    # and due at once when someone says so.
    start --down payment --retry-ms 50 --retry-max-ms 600000
    cat "$shipped" >&3
    soon all_found retrying
    kill "$pid"
    wait "$pid" && die "interrupted, it should say so"
    exec 3>&-
    pid=
    all_found retrying || die "not found without an engine: $(cat plain plain.err)"
    start
    "$tool" requeue --store store --where 'status = retrying' --yes
    soon paid 100
    exec 3>&-
    wait "$pid" || die "it did not end well: $(cat live.out)"
    pid=
    "$build/orders" --store store --ledger ledger --latency-ms 2 --json > out
    expect "paid=100 dead=0 undone=0" out
    balance ledger "$shipped" out

    # They end, as configured: the payment can't even be undone, so they are dead
    # and say so, with the step.
    rm -rf store ledger*
    start --down payment --tries 2 --retry-ms 20
    cat "$shipped" >&3
    soon all_found dead
    grep -q 'undo of step "payment"' plain || die "the step is not named: $(cat plain)"
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || :
    exec 3>&-
    pid=
    all_found dead || die "not found without an engine: $(cat plain plain.err)"
    "$build/orders" --store store --ledger ledger --latency-ms 2 --json > out 2> err
    expect "paid=0 dead=100 undone=0" out

    # Requeued while an engine runs: the first one; after a kill: all others.
    start
    "$tool" requeue --store store --where 'actor = "order/ORD-1"' --yes
    soon paid 1
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || :
    exec 3>&-
    pid=
    "$tool" requeue --store store --where 'status = dead' --yes
    "$build/orders" --store store --ledger ledger --latency-ms 2 --json > out 2> err
    expect "paid=100 dead=0 undone=0" out
    balance ledger "$shipped" out
}

case $part in
demo) demo ;;
speed) speed ;;
lines) lines ;;
kill) kill_loop ;;
fail) fail_loop ;;
down) down ;;
*) die "there is no part \"$part\": demo speed lines kill fail down" ;;
esac
