#!/usr/bin/env bash
# Compiles objects of amdgpu against the headers of the kernel. To be run in a root that has them.
# Where the kernel compares CRCs, it also makes lists of them, as modprobe --dump-modversions does:
# in TREE/new-crcs those that a module of the objects has, in TREE/stock-crcs the stock module's.
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
linked=("$@")
# Where the kernel has no SVM its file is compiled all the same, but is no part of a module.
if ! grep -q '^CONFIG_HSA_AMD_SVM=y' "${headers[0]}/.config"; then
    flags+=' -DCONFIG_HSA_AMD_SVM=1'
    linked=()
    for object in "$@"; do
        [[ $object == */kfd_svm.o ]] || linked+=("$object")
    done
fi
make=(make --jobs=2 -C "${headers[0]}" M="$module" KCFLAGS="$flags")
# Before 6.10 the Makefile puts $(srctree) in front of an absolute path.
# shellcheck disable=SC2016 # as it stands in the Makefile
if grep -q '^FULL_AMD_PATH=$(srctree)/$(src)' "$module/Makefile"; then
    make+=(FULL_AMD_PATH="$module/..")
fi
nice "${make[@]}" "$@"

grep -q '^CONFIG_MODVERSIONS=y' "${headers[0]}/.config" || exit 0
cd "$module"
nice ld -r -o changed.o "${linked[@]}"
printf "$module/%s\n" "${linked[@]}" >changed.mod
cd "${headers[0]}"
# It warns of the symbols of the rest of the driver.
nice scripts/mod/modpost -m -w -i Module.symvers -o "$tree/symvers" "$module/changed.o" 2>"$tree/modpost.log"
sed -n 's/^\t{ \(0x[0-9a-f]*\), "\(.*\)" },$/\1\t\2/p' "$module/changed.mod.c" >"$tree/new-crcs"
stock=(/lib/modules/*/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko*)
/sbin/modprobe --dump-modversions "${stock[0]}" >"$tree/stock-crcs"
