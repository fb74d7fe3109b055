#!/usr/bin/env bash
# Builds rdnafix and shows what it does: the ROCm allocation calls, stock and with rdnafix.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/quickstart.sh [--yes] [--no-install]

Installs what is missing (on Debian and Ubuntu, with apt-get: a C++ compiler, rocminfo, the
HIP and HSA libraries and headers), builds the workspace, compiles examples/alloc_probe.cpp
and runs it under `rdnafix compare`: on your RDNA1/2 GPU if there is one, otherwise on a
simulated one. It can be run again: what is there already is left alone.

  --yes         do not ask before installing; without a terminal it never asks
  --no-install  install nothing, only say what is missing

Needs Rust 1.88 or later. A ROCm in a folder of its own is found in /opt/rocm, or by
ROCM_PATH=FOLDER.
TEXT
}

install=yes
ask=yes
for argument in "$@"; do
    case $argument in
        --yes) ask=no ;;
        --no-install) install=no ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            die "unknown argument '$argument'"
            ;;
    esac
done

need_rust 1.88
# The compiler first: without it a ROCm that is there cannot be told from one that is missing.
need_command g++ g++
install_missing "$install" "$ask"
need_rocm
[[ -x /opt/rocm/bin/rocminfo ]] || need_command rocminfo rocminfo
install_missing "$install" "$ask"
find_rocm || die "the HIP and HSA headers and libraries are still not found"

say "building (the first time takes a few minutes)"
cargo build --release --workspace
target=$(target_directory)
probe=$target/examples-bin/alloc_probe
compile_example alloc_probe "$probe"

say
"$target/release/rdnafix" compare -- "$probe"
say
say "Run a program of your own with it:"
say "  $target/release/rdnafix run -- PROGRAM"
