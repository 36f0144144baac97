#!/bin/sh
# operations.sh BUILD PAGE [SECTION] - do what docs/operations.md says, and see what it shows.
#
# Each `## Title` of the page is a situation: begin_TITLE below prepares a store for it and
# end_TITLE checks what became of it; every `console` block is run, line by line, and each
# line that the page shows under a command must come, numbers, times and sizes apart. A
# situation without its two functions fails, and so does a function without a situation.
#   4711 on the page is the message that matters; begin_TITLE or before_N_TITLE, which runs
#   before the N-th block, sets it. /var, /mnt and /backup lie in a scratch directory.
#   A line "…" stands for others, at the end of a line it stands for more.
# shellcheck disable=SC2329 # functions are called by the page's titles
set -u
build=$(cd "${1:?where is the build}" && pwd)
page=$(realpath "${2:?which page}")
only=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d "$build/operations.XXXXXX")
pid=
supervisor=
cleanup() {
    rm -f "$root/up"
    for p in $pid $supervisor; do kill -9 "$p" 2>/dev/null; done
    rm -rf "$root"
}
trap cleanup EXIT
cd "$root" || exit 1
store=$root/var/lib/shop
export PATH="$build:$PATH" NO_COLOR=1 TERM=dumb
section=

die() {
    echo "operations: $section: $*" >&2
    [ ! -s log ] || { echo "the engine's log:"; tail -5 log; } >&2
    exit 1
}
quietly() { "$@" >/dev/null 2>&1 || die "$*: exit $?"; }

# ---- The shop, and what a machine has that runs it
start() { # OPTION...
    rm -f stdin
    mkfifo stdin
    : >ready
    ops_shop "$store" "$@" <stdin >ready 2>>log &
    pid=$!
    exec 9>stdin
    tries=0
    until grep -q ready ready; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || die "the engine does not start"
        sleep 0.1
    done
}
stop() {
    [ -n "$pid" ] || return 0
    exec 9>&-
    wait "$pid" || die "the engine did not end well"
    pid=
}
murder() {
    kill -9 "$pid"
    wait "$pid" 2>/dev/null
    pid=
    exec 9>&-
}
systemctl() {
    case $1 in
    start) start ;;
    stop) stop ;;
    esac
}
ssh() { # HOST COMMAND: the other machine is another folder
    shift
    eval "$(echo "$*" | sed "s,$root/,$root/new/,g")"
}
fresh() { # a store and nothing else
    rm -rf "$root/var" "$root/mnt" "$root/backup" "$root/new"
    mkdir -p "$root/var/lib" "$root/mnt" "$root/backup" "$root/new/var/lib"
    : >log
}
mend() { : >"$store.mended"; }
sent() { holdfast send "$@" --plain 2>>log | tail -1; } # its id
soon() { # WHAT COMMAND...: within 20 s
    what=$1; shift
    tries=0
    while :; do
        text=$("$@" 2>&1)
        case $text in *"$what"*) return 0 ;; esac
        tries=$((tries + 1))
        [ $tries -lt 200 ] || die "$*: still no '$what' in: $text"
        sleep 0.1
    done
}
must() { # WHAT COMMAND...
    what=$1; shift
    text=$("$@" 2>&1)
    case $text in *"$what"*) ;; *) die "$*: no '$what' in: $text" ;; esac
}

. "$here/situations.sh"

# ---- The page
mkdir steps
awk '
    /^## / {
        slug = tolower(substr($0, 4)); gsub(/[^a-z0-9]+/, "_", slug); gsub(/^_|_$/, "", slug)
        block = 0; step = 0
        print slug >"steps/list"
    }
    /^```/ { inside = 0 }
    inside && /^\$ / {
        step++
        base = sprintf("steps/%s.%02d.%02d", slug, block, step)
        print substr($0, 3) >(base ".cmd")
        printf "" >(base ".out")
        next
    }
    inside && /^> / { print substr($0, 3) >(base ".cmd"); next }
    inside { print >(base ".out") }
    /^```console$/ { inside = 1; block++; step = 0 }
' "$page"

# Numbers, times, sizes and ids become N, columns one space.
level() {
    sed -E -e "s,$root/,/,g; s/ops_shop/shop/g" \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/N/g' \
        -e 's/\b[0-9a-f]{32}\b/N/g' \
        -e 's/\b([0-9]+(ms|s|m|h|d|y))+\b/N/g' \
        -e 's/[0-9]+([.,:][0-9]+)*/N/g' \
        -e 's/N ([KMGT]iB|B)/N/g' -e 's/[ \t]+/ /g; s/^ //; s/ $//'
}

run_step() { # BASE
    base=$1
    command=$(sed -e "s,/var/lib/,$root/var/lib/,g; s,/backup/,$root/backup/,g; s,/mnt/,$root/mnt/,g" \
        -e "s/4711/${ID:-4711}/g" "$base.cmd")
    code=0
    eval "$command" >"$root/said" 2>&1 </dev/null || code=$?
    [ $code -eq 0 ] || die "exit $code: $command: $(cat "$root/said")"
    level <"$root/said" >"$root/level"
    while IFS= read -r line; do
        case $line in '…' | '') continue ;; esac
        printf '%s\n' "${line%…}" | level >"$root/want"
        how=-qxF
        case $line in *…) how=-qF ;; esac # its beginning
        grep $how -f "$root/want" "$root/level" ||
            die "$command does not say:
$line
but: $(cat "$root/said")"
    done <"$base.out"
}

situation() { # SLUG
    section=$1
    fresh
    ID=
    export HOLDFAST_STORE=/nowhere
    command -v "begin_$1" >/dev/null && command -v "end_$1" >/dev/null ||
        die "no begin_$1 and end_$1 in situations.sh"
    HOLDFAST_STORE=$store
    "begin_$1"
    ! grep -q 4711 steps/"$1".*.cmd 2>/dev/null || [ -n "$ID" ] ||
        die "no message for 4711"
    last=
    for cmd in steps/"$1".*.cmd; do
        [ -e "$cmd" ] || die "no command on the page"
        block=$(echo "$cmd" | sed 's/.*\.\([0-9]*\)\.[0-9]*\.cmd/\1/')
        if [ "$block" != "$last" ]; then
            last=$block
            number=${block#0}
            if command -v "before_${number}_$1" >/dev/null; then "before_${number}_$1"; fi
        fi
        run_step "${cmd%.cmd}"
    done
    "end_$1"
    stop
    echo "operations: $1: ok"
}

done=0
while read -r slug; do
    [ -n "$(ls steps/"$slug".* 2>/dev/null)" ] || continue # only words
    [ -z "$only" ] || [ "$only" = "$slug" ] || continue
    situation "$slug"
    done=$((done + 1))
done <steps/list
[ $done -gt 0 ] || die "no such situation: $only"
if [ -z "$only" ]; then
    [ $done -ge 10 ] || die "only $done situations"
    for name in $(sed -n 's/^begin_\([a-z0-9_]*\)().*/\1/p' "$here/situations.sh"); do
        grep -qx "$name" steps/list || die "begin_$name is for no situation of the page"
    done
fi
# The check checks itself: a page that shows what no command says, or names one that is not
# there, fails.
if [ -z "$only" ]; then
    for change in 's/^requeued   1$/requeued   one/' 's/holdfast requeue 4711/holdfast again 4711/'; do
        sed "$change" "$page" >stale.md
        cmp -s "$page" stale.md && die "self-check: nothing to change by $change"
        ! sh "$here/operations.sh" "$build" "$root/stale.md" one_order_is_stuck >/dev/null 2>&1 ||
            die "self-check: $change is not noticed"
    done
fi
