#!/bin/sh
# cli_metrics.sh HOLDFAST CLI_SHOP - what monitoring reads: `stats --openmetrics` keeps to its
# format, `check` has the exit codes it promises, `doctor` works on a living and a dead store.
set -eu

tool=$(realpath "$1") shop=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
die() { echo "cli_metrics: $*" >&2; exit 1; }

# Families stand together, each with its TYPE first; names end as type and unit want it; no
# sample comes twice; buckets only grow, the last one is the count; # EOF ends it.
sound() {
    "$tool" stats -d store --openmetrics >metrics
    [ "$(tail -n 1 metrics)" = "# EOF" ] || die "no # EOF at the end"
    awk '
    function wrong(why) { print "line " NR ": " why ": " $0; bad = 1 }
    ended { wrong("something after # EOF") }
    /^# EOF$/ { ended = 1; next }
    /^# TYPE / {
        if ($3 in kind) wrong("a family twice")
        family = $3; kind[family] = $4
        if ($4 !~ /^(counter|gauge|histogram|info)$/) wrong("no such type")
        next
    }
    /^# UNIT / {
        if ($3 != family) wrong("not of its family")
        if (substr(family, length(family) - length($4)) != "_" $4) wrong("a name without its unit")
        next
    }
    /^# HELP / { if ($3 != family || NF < 4) wrong("not of its family"); next }
    {
        if ($0 !~ /^[a-z_][a-z0-9_]*(\{([a-z_]+="([^"\\]|\\[\\"n])*",?)+\})? -?[0-9]+(\.[0-9]+)?$/)
            wrong("no sample")
        name = $0; sub(/[{ ].*/, "", name)
        key = $0; sub(/ [^ ]*$/, "", key)
        if (key in seen) wrong("a sample twice")
        seen[key] = 1
        rest = substr(name, length(family) + 1)
        if (substr(name, 1, length(family)) != family) wrong("not of its family")
        else if (kind[family] == "counter" && rest != "_total") wrong("a counter without _total")
        else if (kind[family] == "info" && rest != "_info") wrong("an info without _info")
        else if (kind[family] == "gauge" && rest != "") wrong("a gauge with an ending")
        else if (kind[family] == "histogram" && rest !~ /^_(bucket|count|sum)$/) wrong("of no histogram")
        if (rest == "_bucket") { if ($NF < last) wrong("a bucket that is less"); last = $NF }
        if (rest == "_count" && $NF != last) wrong("not what the last bucket says")
    }
    END { exit bad }' metrics || die "not as OpenMetrics wants it"
}
has() { grep -q "$1" metrics || die "no $1 in $(cat metrics)"; }

mkfifo in
"$shop" store <in >ready 2>shop.log &
exec 3>in
while ! grep -qs ready ready; do sleep 0.02; done
"$tool" send order/1 '{}' -d store --count 3 -q >/dev/null
"$tool" send order/2 '{}' -d store --kind bad -q >/dev/null
while ! "$tool" ls -d store --json | grep -q '"dead":1'; do sleep 0.02; done
sound
has '^holdfast_up 1$'
has '^holdfast_type_done_total{type="order"} 3$'
has '^holdfast_type_died_total{type="order"} 1$'
has '^holdfast_type_came_total{type="order"} 4$'
has '^holdfast_commit_seconds_bucket{le="+Inf"} [1-9]'
has '^holdfast_store_class_bytes{class="window"} [1-9]'
for class in inbox states dead free; do
    has "^holdfast_store_class_bytes{class=\"$class\"} "
done

# check: CODE WORD OPTION...
check() {
    wanted=$1 word=$2
    shift 2
    code=0
    "$tool" check "$@" >line 2>/dev/null || code=$?
    [ $code = "$wanted" ] || die "check $*: exit $code, not $wanted: $(cat line)"
    grep -q "$word" line || die "check $* does not say \"$word\": $(cat line)"
    [ "$(wc -l <line)" = 1 ] || die "check $*: not one line: $(cat line)"
}
check 0 '^HOLDFAST OK - .* | age=' -d store
check 2 '^HOLDFAST CRITICAL - 1 dead' -d store --crit-dead 1
check 0 'dead=1;;2;0' -d store --crit-dead 2
check 3 '^HOLDFAST UNKNOWN' -d nowhere
"$tool" pause order -d store -q >/dev/null
"$tool" send order/3 '{}' -d store -q >/dev/null
sleep 0.1
check 1 'WARNING - the oldest' -d store --warn-age 50ms
check 2 'CRITICAL - the oldest' -d store --warn-age 10ms --crit-age 50ms
"$tool" doctor -d store --json >doctor || [ $? = 1 ] || die "doctor: exit $?"
grep -q '"check":"dead","found":"1: ' doctor || die "doctor misses the dead: $(cat doctor)"
grep -q 'has the store and answers' doctor || die "doctor misses the engine: $(cat doctor)"
exec 3>&-
wait

sound
has '^holdfast_up 0$'
check 1 'no engine has the store' -d store --warn-age 1h --crit-age 2h
printf '2026-01-01T00:00:00.000Z process 7\nHF_EIO: input or output failed\nthe disk is gone\n' >store/last-stop
check 2 'stopped by itself' -d store --warn-age 1h --crit-age 2h
code=0
"$tool" doctor -d store >doctor 2>&1 || code=$?
[ $code = 1 ] || die "doctor of a store whose engine stopped by itself: exit $code"
grep -q '^bad .*the disk is gone' doctor || die "doctor does not say why: $(cat doctor)"
chmod 755 store
rm store/last-stop
"$tool" doctor -d store >doctor 2>&1 || [ $? = 1 ]
grep -q '^warn  permissions .*755' doctor || die "doctor misses the rights: $(cat doctor)"
# Mounted for reading only it is nobody's fault; who may not mount can't try.
if unshare -m sh -c 'mount --bind store store && mount -o remount,bind,ro store' 2>/dev/null; then
    unshare -m sh -c 'mount --bind store store && mount -o remount,bind,ro store
        "$1" doctor -d store' sh "$tool" >doctor 2>&1 || [ $? = 1 ]
    grep -q '^bad .*for reading only' doctor || die "doctor misses the mount: $(cat doctor)"
fi
touch -d '+1 day' store/data.mdb
code=0
"$tool" doctor -d store >doctor 2>&1 || code=$?
[ $code = 1 ] || die "doctor of a store of tomorrow: exit $code"
grep -q '^bad .*clock was set back' doctor || die "doctor misses the clock: $(cat doctor)"
ls -A store | grep -q probe && die "the probe was left" || true
