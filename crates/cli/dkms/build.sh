#!/bin/sh
# build.sh KERNEL HEADERS: builds the module from the tree that prepare.sh has made. Where
# AMDGPU_RDNA_WORK names that tree's directory, the module is copied to where dkms looks for it.
set -eu
here=$PWD
root=$(cd "${AMDGPU_RDNA_WORK:-.}" && pwd)/src/linux
below=drivers/gpu/drm/amd/amdgpu
module=$root/$below

set -- -C "$2" "KERNELRELEASE=$1" "M=$module" "KCFLAGS=-I$root/include/trace"
# shellcheck disable=SC2016 # it is the text of the Makefile
# Before 6.10 the Makefile puts the path of the headers before that of the module.
if grep -q '^FULL_AMD_PATH=$(srctree)/$(src)' "$module/Makefile"; then
    set -- "$@" "FULL_AMD_PATH=$module/.."
fi
# The list of objects comes first: it tells how much there is to do.
make "$@" amdgpu.mod
make -j"${AMDGPU_RDNA_JOBS:-$(nproc)}" "$@" modules
if [ "$here/src/linux" != "$root" ]; then
    mkdir -p "$here/src/linux/$below"
    # Without its debug information, which is twenty times as large and which dkms strips anyway.
    strip -g -o "$here/src/linux/$below/amdgpu.ko" "$module/amdgpu.ko"
fi
