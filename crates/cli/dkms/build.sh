#!/bin/sh
# build.sh KERNEL HEADERS: builds the module from the tree that prepare.sh has made, here or in
# AMDGPU_RDNA_WORK, and puts it where dkms looks for it.
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
# Without its debug information, which is twenty times as large and which dkms strips anyway.
strip -g -o "$module/amdgpu.small" "$module/amdgpu.ko"
# With a version, which the stock module has not: dkms installs nothing that has the version of
# what is there, and /sys/module/amdgpu/version shows which one is loaded.
objcopy -O binary --only-section=.modinfo "$module/amdgpu.small" "$module/amdgpu.info"
# objcopy does not call it an error where there is no such section.
[ -s "$module/amdgpu.info" ]
printf 'version=rdna-@VERSION@\0' >>"$module/amdgpu.info"
objcopy --update-section ".modinfo=$module/amdgpu.info" "$module/amdgpu.small"
mkdir -p "$here/src/linux/$below"
mv "$module/amdgpu.small" "$here/src/linux/$below/amdgpu.ko"
