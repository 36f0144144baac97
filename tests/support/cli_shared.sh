#!/bin/sh
# cli_shared.sh - the beginning of tests of the tool: read with `.`, given HOLDFAST and SHOP.
# A folder that is gone at the end, the words that judge an output, a shop's engine to ask.
# shellcheck disable=SC2154,SC2034
self=$(basename "$0" .sh)
here=$(cd "$(dirname "$0")" && pwd)
tool=$(realpath "${1:?where is holdfast}")
shop=$(realpath "${2:?where is cli_shop}")
work=$(mktemp -d "${PWD}/$self.XXXXXX")
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
: >log
export HOLDFAST_STORE="$work/store" NO_COLOR=1
mkfifo stdin
. "$here/../support/cli_words.sh"

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
sent() { # ARGUMENTS...: its id
    "$tool" send "$@" --plain
}
