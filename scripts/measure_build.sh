#!/usr/bin/env bash
# Measures what `rdnafix build rocm` costs, in the root that has the compilers.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/measure_build.sh

Builds ROCm 6.4.3 twice from the source in the root build-6.4.3, patched and stock, each from
nothing in a directory of its own, and prints the table of docs/performance.md: wall and CPU
time, and the most that was on the disk. Then the patched one again: with nothing changed, with
a patched source file changed, and with the header changed that all patches include. Takes five
minutes on two cores; nothing else should run meanwhile.
TEXT
}

case ${1-} in
    -h | --help)
        usage
        exit 0
        ;;
    '') ;;
    *)
        usage >&2
        die "unknown argument '$1'"
        ;;
esac
rdnafix=$(target_directory)/release/rdnafix
[[ -x $rdnafix ]] || die "there is no $rdnafix: run 'cargo build --release --workspace' first"
"$rdnafix" sim root build-6.4.3 >/dev/null
work=$(mktemp -d)
watcher=''
trap 'if [[ -n $watcher ]]; then kill "$watcher"; fi; rm -rf "$work"' EXIT

# measure NAME KIND: a row of the table.
measure() {
    local name=$1 kind=$2 seconds compiled
    local -a options=()
    if [[ $kind == stock ]]; then options=(--stock); fi
    # In the background, so that it dies with this script.
    while sleep 1; do du -sk "$work/$kind" || true; done >"$work/disk" 2>/dev/null &
    watcher=$!
    local TIMEFORMAT='%R %U %S'
    { time "$rdnafix" sim root build-6.4.3 -- env XDG_CACHE_HOME="$work/$kind" "$rdnafix" build \
        rocm --prefix "$work/$kind/rocm" "${options[@]}" >"$work/log" 2>&1; } 2>"$work/time"
    seconds=$(tail -n 1 "$work/time" | awk '{ printf "%.1f s | %.1f s", $1, $2 + $3 }')
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    watcher=''
    du -sk "$work/$kind" >>"$work/disk"
    compiled=$(compiled "$kind")
    say "| $name | $seconds | $compiled | $(sort -n "$work/disk" | tail -n 1 | awk '{ printf "%d MB", $1 / 1000 }') |"
}

# compiled KIND: how many commands ninja ran in the steps that were not left out.
compiled() {
    local component count=0
    for component in rocr-runtime clr; do
        if grep -q "build-$component: done" "$work/log"; then
            count=$((count + $(grep -c '^\[' "$work/$1/rdnafix/build/rocm-6.4.3-$1/log/build-$component.log")))
        fi
    done
    say "$count"
}

# change FILE: what a changed patch leaves to be done: the file has to be written again.
change() {
    local build=$work/patched/rdnafix/build/rocm-6.4.3-patched
    say '// changed' >>"$build/src/clr/$1"
    rm "$build/stamps/patch-clr" "$build/stamps/build-clr"
}

say "| | wall | CPU | commands | disk |"
say "| --- | ---: | ---: | ---: | ---: |"
measure "patched, from nothing" patched
measure "stock, from nothing" stock
measure "nothing changed" patched
change rocclr/device/rocm/rocmemory.cpp
measure "a patched source file of HIP changed" patched
change rocclr/device/rdnafix_policy.h
measure "the policy of HIP changed" patched
