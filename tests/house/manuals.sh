#!/bin/sh
# manuals.sh BUILD - man pages and completion say what the program says: each command has a
# page with all its options, and no other has one; roff and mandoc find nothing wrong; a
# real bash completes; --help names all that the parser of --where knows.
set -eu
build=$(cd "$1" && pwd)
tool=$build/holdfast
pages=$build/pages
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
die() { echo "manuals: $*" >&2; exit 1; }

# ---- The pages against --help
"$tool" --help >help
sed -n '/^Commands/,/^$/s/^  \([a-z]*\) .*/\1/p' help >commands
[ "$(wc -l <commands)" -gt 15 ] || die "--help lists no commands: $(cat help)"
{ echo holdfast.1; sed 's/.*/holdfast-&.1/' commands; } | sort >wanted
ls "$pages/man1" | sort >found
diff wanted found || die "not a page for each command"
plain() { # PAGE: as text, unwrapped, nothing bold
    if command -v groff >/dev/null; then
        groff -man -Tutf8 -P-cbou -rLL=1000n "$1"
    else # roff itself, its signs made plain
        sed 's/\\-/-/g; s/\\f[BIR]//g; s/\\(rs/\\/g; s/\\(aq/'"'"'/g; s/\\(ti/~/g' "$1"
    fi
}
while read -r command; do
    plain "$pages/man1/holdfast-$command.1" >page
    "$tool" "$command" --help >said
    sed -n '/^Options/,/^$/s/.* \(--[a-z-]*\).*/\1/p' said >options
    [ -s options ] || die "$command --help has no options: $(cat said)"
    while read -r option; do
        grep -q -e "$option\b" page || die "holdfast-$command(1) lacks $option"
    done <options
    example=$(sed -n '2s/^  //p' said)
    grep -qF -e "$example" page || die "holdfast-$command(1) lacks: $example"
    sed -n "s/^  $command  *//p" help | tr -d "\`" >summary # in the page that is bold
    grep -qF -f summary page || die "holdfast-$command(1) lacks: $(cat summary)"
done <commands

# ---- No complaint of those who format them. A date is left out so that the same source
# makes the same page.
for page in "$pages"/man1/*; do
    if command -v groff >/dev/null; then
        groff -man -Tutf8 -ww -z "$page" >said 2>&1 || die "groff fails on $page: $(cat said)"
        [ ! -s said ] || die "groff says of $page: $(cat said)"
    fi
    if command -v mandoc >/dev/null; then
        mandoc -T lint -W warning "$page" | grep -v 'missing date' >said || :
        [ ! -s said ] || die "mandoc says: $(cat said)"
    fi
done

# ---- --where: what the parser knows, --help names
"$tool" find --where 'nofield = 1' 2>said || :
fields=$(sed -n 's/.*fields: //p' said)
[ "$(echo "$fields" | wc -w)" -gt 12 ] || die "the parser names no fields: $(cat said)"
sed -n '/^Selections/,/^$/p' help >selections
for word in $fields and or not in '!=' '<=' '>=' '~' contains brackets quotes; do
    grep -q -e "[ (\"]$word\([ ,.;\"]\|$\)" selections ||
        die "--help does not explain $word in selections"
done
example=$(sed -n '2s/^  //p' selections)
"$tool" find -d nowhere --where "$example" 2>said && die "there is a store?"
! grep -q -e --where said || die "the example of --help is none: $(cat said)"
while read -r status; do
    [ "$status" != done ] || continue # what is done is gone
    grep -qF "$status" selections || die "--help does not name the status $status"
done <<END
$("$tool" find --where 'status = deed' 2>&1 | sed -n 's/.*one of: //p' | tr ' ' '\n')
END

# ---- bash
if ! command -v bash >/dev/null; then
    echo "manuals: no bash here, the completion is not tried"
    exit 0
fi
mkdir -p 'here/a store' here/another
: >here/a.hfb
cat >complete.bash <<'END'
source "$1"
complete -p holdfast >/dev/null || exit 1
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_holdfast
printf '%s\n' "${COMPREPLY[@]}" | sort
END
completes() { # WANTED WORD...: the last word is the one under the cursor
    wanted=$1; shift
    found=$(cd here && bash -u ../complete.bash "$pages/completions/holdfast" holdfast "$@" \
        2>../err | tr '\n' '|')
    [ ! -s err ] || die "holdfast $*: $(cat err)"
    [ "$found" = "$wanted" ] || die "holdfast $*: completes to '$found', not '$wanted'"
}
completes "$(sort commands | tr '\n' '|')" ''
completes 'find|' fin
completes 'requeue|restore|resume|' re
completes 'find|' -d 'a store' fin
completes 'find|' --color = never fin
completes 'actors|errors|types|' ls ''
completes 'errors|' ls e
completes '|' ls errors ''
completes 'always|' ls --color al
completes 'always|auto|never|' ls --color =
completes 'never|' ls --color = n
completes 'a store|another|' ls -d ''
completes 'a store|' find --store 'a '
completes 'another|' restore a.hfb --to an
completes 'a store|a.hfb|another|' restore ''
completes 'a.hfb|' backup a.
completes '--limit|' ls --li
completes '--dry-run|' requeue --where 'status = dead' --dr
completes '--where|' requeue 17 --w --wh
completes '|' ls --bod
completes '|' ls --limit ''
completes '|' show ''
completes '|' ls -- --li
completes 'crowd|' bench --seconds 3 c
for command in $(cat commands); do # what --help lists is what is completed, and nothing else
    "$tool" "$command" --help | sed -n '/^Options/,/^$/s/^  *\(-., \)*--\([a-z-]*\).*/--\2/p' |
        LC_ALL=C sort >wanted
    bash complete.bash "$pages/completions/holdfast" holdfast "$command" -- |
        LC_ALL=C sort >found
    diff wanted found || die "$command: other options are completed"
done
# And as a person types it, on a terminal.
if command -v script >/dev/null && script -qec true /dev/null >/dev/null 2>&1; then
    cat >typed <<END
PS1=
bind 'set bell-style none'
source '$pages/completions/holdfast'
holdfast() { printf '<%s>' said "\$@"; echo; }
holdfast req$(printf '\t')--dr$(printf '\t')-d a\\ $(printf '\t')
exit
END
    cd here && TERM=dumb script -qec "bash --norc --noprofile -i" /dev/null <../typed >../seen 2>&1 || :
    cd ..
    grep -qF '<said><requeue><--dry-run><-d><a store/>' seen || die "typed: $(cat seen)"
fi
echo "manuals: ok"
