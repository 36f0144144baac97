#!/bin/sh
# example_test.sh - run a small example twice and read what it says.
#
#     example_test.sh BUILD hello|greeter_test|workers|telemetry
set -eu

build=$(cd "$1" && pwd)
name=$2
work=$build/example-$name.$$
mkdir "$work"
cd "$work"

die() {
    echo "$*" >&2
    exit 1
}

for _ in 1 2; do
    case $name in
    hello)
        "$build/hello" > out || die "hello failed"
        [ "$(cat out)" = "greeter/front-door says hello to Ada" ] || die "it said: $(cat out)"
        ;;
    greeter_test)
        "$build/greeter_test" > out || die "greeter_test failed"
        [ "$(cat out)" = "greeter/front-door says hello to Ada" ] || die "it said: $(cat out)"
        ;;
    workers)
        "$build/workers" > out || die "workers failed: $(cat out)"
        [ "$(grep -c '^ok' out)" -eq 8 ] || die "not all was checked: $(cat out)"
        ! grep -q '^FAIL' out || die "$(cat out)"
        [ -z "$(ls -d workers-* 2>/dev/null)" ] || die "it left its store behind"
        ;;
    telemetry)
        "$build/telemetry" fleet.hf 500 20 > out || die "telemetry failed: $(cat out)"
        grep -q "^10000 fixes of 500 vehicles .* 500 vehicles know all of it, 0 do not" out ||
            die "it said: $(cat out)"
        ;;
    *) die "there is no example \"$name\"" ;;
    esac
done
cat out
cd "$build" && rm -rf "$work"
