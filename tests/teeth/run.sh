#!/bin/sh
# run.sh [options] [-- CMAKE OPTIONS] - do the tests have teeth?
#
# Each mutants/NN-name.patch breaks one promise on purpose. It names the layer that
# has to notice: a program of the build directory, and its arguments. The tree (git ls-files, and
# what is not committed) is copied, built once, and every layer is run on it as it is:
# what fails there could not tell anything. Then the mutants, one at a time: apply,
# build what the layer needs, run it, take the patch back.
#
#   --only PATTERN   mutants whose file name contains that
#   --list           name them, and stop
#   --apply          only see whether each still applies to the tree
#   --jobs N         processes of a build [2]
#   --scratch DIR    work there, and leave it: the next run builds less
#
# A patch's header, a line each: `what:` (which promise breaks), `by:` (the command, in
# which $BUILD and $TREE stand for the two directories; of several the first that fails
# is enough), `build:` (programs, if the command's first word is none), `limit:` (seconds
# for one command [60]). A layer that fails, crashes or
# runs into its limit has noticed. Fails if a mutant survives, does not apply or does not
# compile, and if its layer fails without it.
set -eu

tests=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$tests/../.." && pwd)
only='' mode=run jobs=2 scratch=''

while [ $# -gt 0 ]; do
    case $1 in
    --only) only=${2:?which}; shift ;;
    --list) mode=list ;;
    --apply) mode=apply ;;
    --jobs) jobs=${2:?how many}; shift ;;
    --scratch) scratch=${2:?where}; shift ;;
    --) shift; break ;;
    -D*) break ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done

patches=$(find "$tests/mutants" -name "*$only*.patch" | sort)
[ "$patches" ] || { echo "no mutant is called *$only*" >&2; exit 2; }

name() { basename "$1" .patch; }
said() { # WORD PATCH: what its header says to that
    sed -n "/^--- /q; s/^$1: *//p" "$2"
}

if [ $mode = list ]; then
    for patch in $patches; do
        printf '%-32s %s\n' "$(name "$patch")" "$(said what "$patch")"
    done
    exit 0
fi

applies() { # PATCH DIRECTORY: to the letter, at whatever line
    patch --dry-run -s -f -F0 -p1 -d "$2" <"$1" >/dev/null 2>&1
}

if [ $mode = apply ]; then
    bad=0 count=0
    for patch in $patches; do
        count=$((count + 1))
        for word in what by; do
            [ "$(said $word "$patch")" ] && continue
            echo "$(name "$patch"): no \"$word:\" in its header"
            bad=1
        done
        applies "$patch" "$tree" && continue
        echo "$(name "$patch"): does not apply any more; mutants have to follow the code"
        bad=1
    done
    echo "$count mutants"
    exit $bad
fi

# ---- The copy and its build

[ "$scratch" ] || { scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT; }
trap 'exit 130' INT TERM
mkdir -p "$scratch/tree" "$scratch/run"
scratch=$(cd "$scratch" && pwd)
build=$scratch/build log=$scratch/log
(cd "$tree" && git ls-files -co --exclude-standard) >"$scratch/files.all"
(cd "$tree" && while read -r file; do [ ! -f "$file" ] || echo "$file"; done) \
    <"$scratch/files.all" >"$scratch/files"
# Files that are the same keep their time, so that what was built stays.
if [ -f "$scratch/files.before" ]; then
    sort "$scratch/files" >"$scratch/files.sorted"
    comm -13 "$scratch/files.sorted" "$scratch/files.before" \
        | while read -r file; do rm -f "$scratch/tree/$file"; done
fi
while read -r file; do
    cmp -s "$tree/$file" "$scratch/tree/$file" && continue
    mkdir -p "$scratch/tree/$(dirname "$file")"
    cp "$tree/$file" "$scratch/tree/$file"
done <"$scratch/files"
sort "$scratch/files" >"$scratch/files.before"

cmake -S "$scratch/tree" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DHF_TESTPOINTS=ON -DHF_WERROR=OFF "$@" >"$log" 2>&1 || { tail -20 "$log"; exit 1; }

programs() { # PATCH: what its layers need
    words=$(said build "$1")
    [ "$words" ] || words=$(said by "$1" | sed 's/ .*//' | sort -u)
    echo "$words"
}
compile() { # PROGRAM...
    ninja -C "$build" -j "$jobs" "$@" >"$log" 2>&1
}

# Run it where it may leave things behind.
layer() { # SECONDS COMMAND
    status=0
    rm -rf "$scratch/run" && mkdir "$scratch/run"
    program=${2%% *}
    ls -d /dev/shm/holdfast-* >"$scratch/left" 2>/dev/null || : # other people's
    (cd "$scratch/run" && TMPDIR=$scratch/run PATH=$build:$PATH BUILD=$build TREE=$scratch/tree \
        timeout -k 5 "$1" sh -c "$2") \
        >"$log" 2>&1 </dev/null || status=$?
    for place in "/dev/shm/holdfast-$program-"* "/dev/shm/holdfast-${program#test_}-"* \
        "/dev/shm/holdfast-${program#store_}-"*; do # of one that died
        grep -qxF "$place" "$scratch/left" || kill -0 "${place##*-}" 2>/dev/null \
            || rm -rf "$place"
    done
    return $status
}
limit() {
    seconds=$(said limit "$1")
    echo "${seconds:-60}"
}
now() { date +%s; }

# ---- Nothing is broken: every layer passes

first=$(now)
# shellcheck disable=SC2046,SC2086 # words, on purpose
compile $(for patch in $patches; do programs "$patch"; done | tr ' ' '\n' | sort -u) \
    || { tail -20 "$log"; echo "the tree itself does not compile"; exit 1; }
for patch in $patches; do
    said by "$patch" | while read -r command; do
        echo "$(limit "$patch") $command"
    done
done | sort -k2 -k1,1nr | awk '{ line = $0; sub(/^[^ ]* /, "") } !($0 in seen) { seen[$0]; print line }' \
    >"$scratch/layers"
: >"$scratch/useless"
while read -r seconds command; do
    start=$(now)
    layer "$seconds" "$command" && continue
    tail -5 "$log"
    echo "FAILS WITHOUT A MUTANT ($(($(now) - start)) s): $command"
    echo "$command" >>"$scratch/useless"
done <"$scratch/layers"
useless=$(wc -l <"$scratch/useless")
echo "$(($(wc -l <"$scratch/layers") - useless)) layers pass on the tree as it is," \
    "$useless fail, $(($(now) - first)) s"

# ---- Mutants

notice() { # PATCH: sets `caught` to what noticed, `asked` to how many layers could
    caught='' asked=0
    said by "$1" >"$scratch/commands"
    while read -r command; do
        grep -qxF -e "$command" "$scratch/useless" && continue
        asked=$((asked + 1)) start=$(now)
        layer "$(limit "$1")" "$command" && continue
        how=
        [ $status = 124 ] && how=", by running into its limit"
        caught="$command ($(($(now) - start)) s$how)"
        break
    done <"$scratch/commands"
}

count=0 survived=0 errors=0
for patch in $patches; do
    count=$((count + 1))
    if ! applies "$patch" "$scratch/tree"; then
        echo "$(name "$patch"): ERROR: does not apply any more"
        errors=$((errors + 1))
        continue
    fi
    patch -s -f -F0 -p1 -d "$scratch/tree" <"$patch"
    # shellcheck disable=SC2046
    if ! compile $(programs "$patch"); then
        tail -5 "$log"
        echo "$(name "$patch"): ERROR: does not compile"
        errors=$((errors + 1))
    else
        notice "$patch"
        if [ "$caught" ]; then
            echo "$(name "$patch"): caught by $caught"
        elif [ $asked = 0 ]; then
            echo "$(name "$patch"): ERROR: its layer fails without it, too"
            errors=$((errors + 1))
        else
            echo "$(name "$patch"): SURVIVED: $(said what "$patch")"
            survived=$((survived + 1))
        fi
    fi
    patch -s -R -f -F0 -p1 -d "$scratch/tree" <"$patch"
done
echo "$count mutants: $((count - survived - errors)) caught, $survived survived," \
    "$errors in error, $(($(now) - first)) s"
[ $((survived + errors + useless)) = 0 ]
