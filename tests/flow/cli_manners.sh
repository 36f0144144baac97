#!/bin/sh
# cli_manners.sh HOLDFAST - exit codes, where output goes, what is said.
set -eu
tool=$(realpath "${1:?where is holdfast}")
work=$(mktemp -d "${PWD}/cli-manners.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
unset HOLDFAST_STORE || true

fail() { echo "cli_manners: $*" >&2; exit 1; }
exits() { # CODE TEXT-ON-STDERR COMMAND...; stdout must be empty
    code=$1 says=$2; shift 2
    is=0
    "$tool" "$@" >out 2>err </dev/null || is=$?
    test "$is" -eq "$code" || fail "holdfast $*: exit $is, not $code: $(cat err)"
    test ! -s out || fail "holdfast $*: wrote to stdout: $(cat out)"
    grep -qF -- "$says" err || fail "holdfast $*: no '$says' in: $(cat err)"
}

exits 2 'holdfast --help'
exits 2 "did you mean 'find'" fidn
exits 2 '--bogus' ls --bogus
exits 2 'did you mean --where?' ls --wehre 'status = dead'
exits 2 'did you mean --dry-run?' requeue --dryrun=yes
exits 2 'HOLDFAST_STORE' ls
exits 2 'TYPE/KEY' actor order -d nowhere
exits 2 'a number' show abc -d nowhere
exits 2 "'stat'" find --where 'stat = dead' -d nowhere
exits 2 '         ^' find --where 'status = deed' -d nowhere
exits 2 'not JSON' send order/1 '{"a":' -d nowhere
exits 2 '--json' ls --json --plain -d nowhere
exits 2 'tell, state' bench nonsense
exits 2 '--body is between' bench disk --body 1
exits 3 'nowhere' ls -d nowhere
exits 3 'no store at no/where' ls -d no/where
mkdir empty other
: >other/thing
exits 3 'not a directory' ls -d other/thing
exits 3 'no store at' ls -d empty
exits 3 'holds other files' ls -d other
exits 2 "did you mean 'ls'" lss
exits 2 'types, actors or errors' ls errrs -d nowhere
exits 2 '--limit is at least 1' ls --limit 0 -d nowhere
exits 2 '--fields' find --fields '' -d nowhere
if test "$(id -u)" -ne 0; then
    mkdir closed
    chmod 000 closed
    exits 6 "belongs to the user $(id -un)" ls -d closed
fi
if test "$(id -u)" -eq 0 && command -v setpriv >/dev/null; then
    mkdir -p shut/store
    for closed in shut/store shut .; do # nobody else may come in, or even find it
        chmod 755 . shut shut/store && chmod 700 $closed
        for command in ls verify 'backup b' compact 'salvage --to s'; do
            is=0 # shellcheck disable=SC2086
            setpriv --reuid 65534 --regid 65534 --clear-groups "$tool" $command \
                -d "$work/shut/store" >out 2>err || is=$?
            test $is -eq 6 || fail "$command without permission: exit $is: $(cat err)"
        done
    done
fi
exits 3 'nowhere' requeue 5 -d nowhere
test ! -e nowhere || fail "looking made a store"

"$tool" --help >out 2>err || fail "--help fails"
test ! -s err || fail "--help writes to stderr"
head -1 out | grep -q '^Examples' || fail "--help does not begin with examples"
"$tool" find --help | head -1 | grep -q '^Examples' || fail "find --help"
"$tool" --version | grep -Eq '^holdfast [0-9]+\.[0-9]+\.[0-9]+$' || fail "--version"
if "$tool" --version >/dev/full 2>err; then fail "a full stdout went unnoticed"; fi
grep -q 'stdout' err || fail "nothing was said of a full stdout"

# A bench leaves nothing behind, and does not measure memory.
if df -t tmpfs /dev/shm >/dev/null 2>&1; then
    exits 6 'tmpfs' bench disk --seconds 1 --store "/dev/shm/cli-manners.$$"
    test ! -e "/dev/shm/cli-manners.$$" || fail "a refused bench left its directory"
fi
if ! df -t tmpfs . >/dev/null 2>&1; then
    "$tool" bench disk --seconds 1 --json --store here >out
    for field in overwrite_p50_us append_p50_us lmdb_commit_p50_us machine cores kernel; do
        grep -q "\"$field\":" out || fail "bench disk --json lacks $field: $(cat out)"
    done
    # a word between two cores takes more than nothing and less than forever
    test "$(nproc)" = 1 || grep -Eq '"handoff_ns":[1-9][0-9]{0,6},' out \
        || fail "bench disk --json says no handoff between cores: $(cat out)"
    test ! -e here || fail "the bench left its store"
fi
echo "cli_manners: ok"
