#!/bin/sh
# cli_snapshots.sh HOLDFAST CLI_SHOP [--update] - what each command prints, against
# tests/flow/snapshots. With --update the files there are written anew: look at the
# difference before it is committed.
#
# Times, ids, processes, sizes and paths are replaced by words. The store is a restored one,
# whose ids are so large that they are nothing else.
set -eu

tool=$(realpath "$1") shop=$(realpath "$2") update=${3:-}
golden=$(cd "$(dirname "$0")" && pwd)/snapshots
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset HOLDFAST_STORE NO_COLOR
export LC_ALL=C.UTF-8 TERM=dumb
cd "$work"
failed=0

normalised() {
    sed -E -e "s#$work#WORK#g" \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z/TIME/g' \
        -e 's/[0-9]{2}:[0-9]{2}:[0-9]{2} UTC/TIME/g' \
        -e 's/\b([0-9]+(ms|s|m|h|d) ago|in [0-9]+(ms|s|m|h|d)|now)\b/WHEN/g' \
        -e 's/\b[0-9a-f]{32}\b/HEX/g' \
        -e 's/\b[0-9]{12,20}\b/ID/g; s/[Pp]rocess [0-9]+/process N/g' \
        -e 's/[0-9.]+ (B|[KMGT]iB)\b/SIZE/g' \
        -e 's/"([a-z0-9_]*(bytes|_us|_us_sum|per_s|seconds)|pid|head|tail|format)":[0-9.]+/"\1":N/g' \
        -e 's/"(tables|table_bytes)":\{[^}]*\}/"\1":{}/g; s/"commit_us":\[[^ ]*\]\]/"commit_us":[]/' \
        -e 's/"commits":[0-9]+/"commits":N/; s/"user":"[^"]*"/"user":"USER"/g' \
        -e "s/\"uid\":[0-9]+/\"uid\":N/g; s/\\b$(id -un) +$(id -u)\\b/USER UID/g" \
        -e 's/"lmdb":"[^"]*"/"lmdb":"LMDB"/; s/LMDB 0[^.]*\.[0-9.]*:? \([^)]*\)/LMDB/' \
        -e 's/([a-z_]*age|window|file|disk_free)=[0-9.]+/\1=N/g' \
        -e 's/\b[0-9]+ us\b/N us/g' \
        -e "s/\"version\":\"[0-9.]*\"/\"version\":\"V\"/; s/holdfast [0-9]+\.[0-9]+\.[0-9]+/holdfast V/"
}

# snap NAME COMMAND...: what it prints on both ways, and its exit code.
snap() {
    name=$1
    shift
    code=0
    "$@" >out 2>err </dev/null || code=$?
    {
        echo "\$ ${tool##*/} $(shift; echo "$*") -> $code"
        cat out
        sed 's/^/! /' err
    } | case $name in help*) normalised ;; *) normalised | sed 's/ \{1,\}/ /g' ;; esac >now
    if [ -n "$update" ]; then
        mkdir -p "$golden"
        cp now "$golden/$name"
    elif ! diff -u "$golden/$name" now; then
        echo "cli_snapshots: $name is not as it was (--update writes it anew)" >&2
        failed=1
    fi
}

# ---- A store: one done, one dead, one that fails, one paused, one delayed by nobody
serve() { # until $1 messages are dead or failing
    mkfifo in
    "$shop" "$work/shop" <in >ready 2>>shop.log &
    exec 3>in
    while ! grep -qs ready ready; do sleep 0.02; done
    while [ "$("$tool" ls -d shop --json | grep -o '"\(dead\|retrying\)":[0-9]*' |
        awk -F: '{ sum += $2 } END { print sum + 0 }')" -lt "$1" ]; do sleep 0.02; done
    [ -z "${2:-}" ] || $2
    exec 3>&-
    wait
    rm in ready
}
serve 0
"$tool" backup -d shop first.hfb -q 2>/dev/null
rm -rf shop
"$tool" restore first.hfb --to shop -q 2>/dev/null
for kind in good bad flaky; do
    eval "$kind=$("$tool" send order/"$kind" '{"qty":1}' --kind "$kind" -d shop --plain 2>/dev/null | tr -dc 0-9)"
done
"$tool" pause order/held --reason 'the bank is down' -d shop -q >/dev/null 2>&1
"$tool" send order/held '{"sku":"x","n":[1,2]}' --kind place -d shop -q >/dev/null 2>&1

live() {
    snap live-ls "$tool" ls -d shop
    snap live-stats-json "$tool" stats -d shop --json
    snap live-actor "$tool" actor order/flaky -d shop
    snap live-actor-paused "$tool" actor order/held -d shop
    snap live-check "$tool" check -d shop --crit-dead 1
    "$tool" doctor -d shop >out 2>err || true # the rest depends on the machine
    grep -E '^(ok|warn|bad) +(engine|last stop|versions|readers|dead|held|paused|stuck) ' out >some
    snap live-doctor cat some
    "$tool" stats -d shop --openmetrics | grep '^#' >families
    snap live-openmetrics cat families
}
serve 2 live

# ---- And without an engine
for format in '' --json --ndjson --plain; do
    snap "ls$format" "$tool" ls -d shop $format
    snap "ls-actors$format" "$tool" ls actors -d shop $format
    snap "ls-errors$format" "$tool" ls errors -d shop $format
    snap "find$format" "$tool" find -d shop $format
    snap "show$format" "$tool" show "$bad" -d shop $format
    snap "actor$format" "$tool" actor order/flaky -d shop $format
done
snap find-where "$tool" find --where 'status = dead and error ~ product' --fields id,body -d shop
snap find-nothing "$tool" find --where 'type = nothing' -d shop
snap find-wrong "$tool" find --where 'status = sad' -d shop
snap actor-unknown "$tool" actor order/nobody -d shop
snap show-unknown "$tool" show 1 -d shop
snap check "$tool" check -d shop --warn-age 1h --crit-age 2h
snap check-no-store "$tool" check -d nowhere
snap check-misused "$tool" check --warn-age soon
snap top-once-json "$tool" top --once --json -d shop
snap top-wrong "$tool" top --interval 1ms -d shop
snap doctor-no-store "$tool" doctor -d nowhere
snap stats-no-store "$tool" stats
snap requeue-dry "$tool" requeue --where 'status = dead' --dry-run -d shop
snap requeue-what "$tool" requeue -d shop
snap purge-asks "$tool" purge --where 'status = dead' -d shop
snap cancel-dry "$tool" cancel --where 'type = order' --dry-run -d shop
snap pause-dry "$tool" pause order --dry-run -d shop
snap resume "$tool" resume order/held -d shop
snap resume-again "$tool" resume order/held -d shop --json
snap purge "$tool" purge "$bad" --yes -d shop
snap undo-unknown "$tool" undo 1 --yes -d shop
snap verify "$tool" verify -d shop -q
snap mistyped "$tool" requeu 1
snap help "$tool" --help
snap version "$tool" --version
for command in $("$tool" --help | sed -n 's/^  \([a-z]\{2,\}\) .*/\1/p' | sort -u); do
    "$tool" "$command" --help >/dev/null 2>&1 || continue
    snap "help-$command" "$tool" "$command" --help
done
exit $failed
