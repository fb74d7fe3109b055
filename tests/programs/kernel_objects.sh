#!/usr/bin/env bash
# Compiles objects of amdgpu against the headers of the kernel. To be run in a root that has them.
set -euo pipefail

usage() {
    echo "usage: kernel_objects.sh TREE OBJECT..."
    echo "TREE has Makefile and drivers/gpu/drm/amd of that kernel; OBJECT is from amdgpu/ on."
}

if [[ ${1:-} == --help ]]; then
    usage
    exit 0
fi
if (($# < 2)); then
    usage >&2
    exit 2
fi
tree=$1
shift
headers=(/usr/src/linux-headers-*-amd64)
module=$tree/drivers/gpu/drm/amd/amdgpu
# amdgpu_trace.h names its own directory from two levels above this one.
mkdir -p "$tree/include/trace" "$tree/bin"
# In a root nothing is configured, so no package has made this link.
ln -sf /usr/bin/mawk "$tree/bin/awk"
export PATH=$PATH:$tree/bin
flags=-I$tree/include/trace
# Where the kernel has no SVM its file is compiled all the same.
grep -q '^CONFIG_HSA_AMD_SVM=y' "${headers[0]}/.config" || flags+=' -DCONFIG_HSA_AMD_SVM=1'
make=(make --jobs=2 -C "${headers[0]}" M="$module" KCFLAGS="$flags")
# Before 6.10 the Makefile puts $(srctree) in front of an absolute path.
# shellcheck disable=SC2016 # as it stands in the Makefile
if grep -q '^FULL_AMD_PATH=$(srctree)/$(src)' "$module/Makefile"; then
    make+=(FULL_AMD_PATH="$module/..")
fi
exec nice "${make[@]}" "$@"
