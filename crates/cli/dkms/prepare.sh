#!/bin/sh
# prepare.sh [--check] KERNEL: unpacks amdgpu from the kernel's own source and applies the patches.
# With --check it only says whether that can be done. The tree is made in src/linux of the current
# directory, or of AMDGPU_RDNA_WORK; one that is as it has to be is left alone.
set -eu

fail() {
    echo "amdgpu-rdna: $*" >&2
    exit 1
}

check=no
if [ "$1" = --check ]; then
    check=yes
    shift
fi
kernel=$1
here=$(cd "$(dirname "$0")" && pwd)

# All packages of one release of the kernel have one version. Its own package is the one that the
# stock module is of: the name is another one from Linux 7 on.
version_of() { dpkg-query --show --showformat='${Version}' "$1" 2>/dev/null; }
stock="*/lib/modules/$kernel/kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko*"
image=$(dpkg-query --search "$stock" 2>/dev/null | sed -n 's/^\([^ ,:]*\).*: .*/\1/p' | head -n 1)
[ -n "$image" ] || fail "no package has the stock amdgpu of kernel $kernel"
version=$(version_of "$image") || fail "the package $image is not installed"
headers=$(version_of "linux-headers-$kernel") || fail "the package linux-headers-$kernel is not installed"
[ "$headers" = "$version" ] || fail "linux-headers-$kernel is $headers, and kernel $kernel is $version"
release=$(echo "$version" | sed -n 's/^\([0-9]*\.[0-9]*\)[.-].*/\1/p')
[ -d "$here/patches/$release" ] || fail "there are no patches for Linux $version"
have=$(version_of "linux-source-$release") || fail "the package linux-source-$release is not installed"
[ "$have" = "$version" ] || fail "linux-source-$release is $have, and kernel $kernel is $version"
tarball=/usr/src/linux-source-$release.tar.xz
[ -r "$tarball" ] || fail "$tarball cannot be read"
[ "$check" = no ] || exit 0

cd "${AMDGPU_RDNA_WORK:-.}"
series=$here/patches/$release
made_from="$version $(cd "$series" && cat series ./*.patch | sha256sum)"
if [ -f src/linux/made-from ] && [ "$(cat src/linux/made-from)" = "$made_from" ]; then
    exit 0
fi
new=src/.new-linux
rm -rf "$new"
# amdgpu_trace.h is found by ../../ from a directory that has to be there.
mkdir -p "$new/include/trace"
tar -xJf "$tarball" -C "$new" --strip-components=1 --no-same-owner \
    "linux-source-$release/Makefile" "linux-source-$release/drivers/gpu/drm/amd"
in_tree=$(sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\) = //p' "$new/Makefile" | paste -sd.)
case $version in
    "$in_tree"-* | "${in_tree%.0}"-*) ;;
    *) fail "$tarball has Linux $in_tree, and kernel $kernel is $version" ;;
esac
while read -r patch; do
    echo "$patch"
    patch -d "$new" -p1 -F0 --batch --forward --no-backup-if-mismatch <"$series/$patch" ||
        fail "$patch does not fit Linux $version"
done <"$series/series"
echo "$made_from" >"$new/made-from"
rm -rf src/linux
mv "$new" src/linux
