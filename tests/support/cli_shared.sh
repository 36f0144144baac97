#!/bin/sh
# cli_shared.sh - the beginning of tests of the tool: read with `.`, given HOLDFAST and SHOP.
# A folder that is gone at the end, the words that judge an output, a shop's engine to ask.
# shellcheck disable=SC2154,SC2034
self=$(basename "$0" .sh)
tool=$(realpath "${1:?where is holdfast}")
shop=$(realpath "${2:?where is cli_shop}")
work=$(mktemp -d "${PWD}/$self.XXXXXX")
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
: >log
export HOLDFAST_STORE="$work/store" NO_COLOR=1
mkfifo stdin

fail() { echo "$self: $*" >&2; cat log >&2; exit 1; }
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
