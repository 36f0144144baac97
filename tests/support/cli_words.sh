#!/bin/sh
# cli_words.sh - words that judge what the tool says; read with `.` by tests that have set `tool`,
# `self` (their name) and `pid`, and stand in their own folder, with a file `log`.
# shellcheck disable=SC2154,SC2034
fail() { echo "$self: $*" >&2; cat log >&2; exit 1; }
has() { # WHAT TEXT: the text holds it
    case $2 in *"$1"*) return 0 ;; *) return 1 ;; esac
}
must() { # WHAT COMMAND...: its output holds WHAT
    what=$1; shift
    text=$("$tool" "$@" 2>&1) || fail "holdfast $*: exit $?: $text"
    has "$what" "$text" || fail "holdfast $*: no '$what' in: $text"
}
soon() { # WHAT COMMAND...: within 20 s its output holds WHAT
    what=$1; shift
    tries=0
    while :; do
        text=$("$tool" "$@" 2>&1) || true
        has "$what" "$text" && return 0
        tries=$((tries + 1))
        test $tries -lt 200 || fail "holdfast $*: still no '$what' in: $text"
        sleep 0.1
    done
}
exits() { # CODE COMMAND...
    code=$1; shift
    is=0
    text=$("$tool" "$@" 2>&1 </dev/null) || is=$?
    test "$is" -eq "$code" || fail "holdfast $*: exit $is, not $code: $text"
}
murder() {
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || true
    pid=
    exec 9>&-
}
