#!/usr/bin/env bash
# Builds the patched amdgpu of a Debian kernel and installs it by DKMS, or takes it back.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/build_patched_kernel.sh [OPTION...]

Builds the command if it is older than its source, and runs `rdnafix build kernel OPTION...` as root:

  --kernel VERSION  the kernel, as uname -r prints it [default: the running one]
  --enable          switch the parameter rdna_noncoherent on
  --remove          take the stock module back
  --deb DIR         make the Debian package amdgpu-rdna-dkms in DIR; needs no root
  --json            one JSON object per line
TEXT
}

deb=no
for argument in "$@"; do
    case $argument in
        -h | --help)
            usage
            exit 0
            ;;
        --deb | --deb=*) deb=yes ;;
    esac
done
rdnafix=$(target_directory)/release/rdnafix
# The patches are inside the command: an older one would build older ones.
cargo build --quiet --release --workspace
if [[ $deb == yes ]]; then
    "$rdnafix" build kernel "$@"
else
    as_root "$rdnafix" build kernel "$@"
fi
