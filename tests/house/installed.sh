#!/bin/sh
# installed.sh SOURCE BUILD CC CXX - a stranger's view: install the library into
# an empty prefix, build a C11 and a C++20 program against what lies there, once
# through pkg-config and once through find_package, shared and static, run all.
set -eu
source=$1 build=$2 cc=$3 cxx=$4
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix
warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"

cmake --install "$build" --prefix "$prefix" >"$scratch/install.log"
cp -r "$source/tests/house/consumer" "$scratch/consumer"
cd "$scratch"

pc=$(find "$prefix" -name holdfast.pc)
libdir=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH="$libdir/pkgconfig"
flags=$(pkg-config --cflags --libs holdfast)
static="$(pkg-config --cflags holdfast) $libdir/libholdfast.a $(pkg-config --static --libs-only-l holdfast |
    sed 's/-lholdfast//') -pthread"

run() { # NAME: it does its work in a folder of its own
    mkdir "$scratch/run-$1"
    said=$(cd "$scratch/run-$1" && LD_LIBRARY_PATH="$libdir" "$2")
    [ "$said" = "door/front says hello to Ada" ] || { echo "$1 said: $said"; exit 1; }
    echo "$1: ok"
}
# shellcheck disable=SC2086 # flags are lists of words
{
    $cc -std=c11 $warnings consumer/consumer.c -o pc_c $flags
    # g++ calls it an oversight, HF_LETTER(.to = ...) means it: the rest is zero.
    $cxx -std=c++20 $warnings -Wno-missing-field-initializers consumer/consumer_cxx.cpp -o pc_cxx $flags
    $cc -std=c11 $warnings consumer/consumer.c -o pc_static $static
    xxhash=$($cc -print-file-name=libxxhash.a) # may lack what the shared one has
    [ "$xxhash" = libxxhash.a ] ||
        $cc -std=c11 $warnings consumer/consumer.c -o pc_xxhash $(echo "$static" | sed "s,-lxxhash,$xxhash,")
}
run pkg-config-c ./../pc_c
run pkg-config-c++ ./../pc_cxx
run pkg-config-static ./../pc_static
[ ! -x pc_xxhash ] || run static-xxhash ./../pc_xxhash
if ldd pc_static | grep holdfast; then
    echo "the static program still asks for the shared library"
    exit 1
fi

cmake -S consumer -B consumer-build -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" >cmake.log || { cat cmake.log; exit 1; }
cmake --build consumer-build >build.log || { cat build.log; exit 1; }
run find_package-c "$scratch/consumer-build/consumer_c"
run find_package-c++ "$scratch/consumer-build/consumer_cxx"
run find_package-static "$scratch/consumer-build/consumer_static"

tool=$(find "$prefix" -type f -path '*/bin/holdfast')
if [ -n "$tool" ]; then
    "$tool" --help >/dev/null
    echo "holdfast --help: ok"
    [ -s "$prefix/share/bash-completion/completions/holdfast" ] || { echo "no completion"; exit 1; }
    [ -s "$prefix/share/man/man1/holdfast-requeue.1" ] || { echo "no man pages"; exit 1; }
    if command -v man >/dev/null; then
        man -M "$prefix/share/man" holdfast-requeue >page
        grep -q "keep-attempts" page || { echo "holdfast-requeue(1) says: $(cat page)"; exit 1; }
    fi
    echo "man pages and completion: ok"
fi
