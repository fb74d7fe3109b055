#!/usr/bin/env bash
# Builds the patched amdgpu of a Debian kernel and installs it by DKMS, or takes it back.
set -euo pipefail
called_in=$PWD
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/build_patched_kernel.sh [OPTION...]

Builds the command if it is older than its source, and runs `rdnafix build kernel OPTION...` as root:

  --kernel VERSION  the kernel, as uname -r prints it [default: the running one]
  --check           only say whether this machine has what is needed; needs no root
  --enable          switch the parameter rdna_noncoherent on
  --remove          take the stock module back
  --deb DIR         make the Debian package amdgpu-rdna-dkms in DIR; needs no root
  --json            one JSON object per line
TEXT
}

as_user=no
# DIR is the caller's, also where it is relative.
from_caller() { (cd "$called_in" && realpath -m -- "$1"); }
arguments=()
while (($#)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --deb=*)
            as_user=yes
            arguments+=("--deb=$(from_caller "${1#--deb=}")")
            ;;
        --deb)
            as_user=yes
            arguments+=(--deb)
            # Without DIR the command says so.
            (($# > 1)) && arguments+=("$(from_caller "$2")") && shift
            ;;
        --check)
            as_user=yes
            arguments+=(--check)
            ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
rdnafix=$(target_directory)/release/rdnafix
# The patches are inside the command: an older one would build older ones.
cargo build --quiet --release --workspace
if [[ $as_user == yes ]]; then
    "$rdnafix" build kernel "${arguments[@]}"
else
    as_root "$rdnafix" build kernel "${arguments[@]}"
fi
