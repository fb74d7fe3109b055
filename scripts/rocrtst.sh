#!/usr/bin/env bash
# Builds AMD's rocrtst, the test suite of ROCr, from the source in the Debian archive.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/rocrtst.sh

Builds rocrtst of ROCr 6.4.3 and its OpenCL kernels for gfx1010 and gfx1030, and prints the
directory with the result: the program rocrtst64 and a directory of kernels for each GPU. What
was built before is used again as long as this script, the root and the source are the same; it
is kept in $XDG_CACHE_HOME/rdnafix (~/.cache/rdnafix).

It is built in a root that `rdnafix sim root rocrtst-6.4.3` makes of packages of the Debian
archive, and needs `cargo build --release --workspace` first. The exit code is 69 where that
root cannot be had.
TEXT
}

case ${1:-} in
    "") ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        die "unknown argument '$1'"
        ;;
esac

recipe=rocrtst-6.4.3
gpus='gfx1010;gfx1030'
rdnafix=$(target_directory)/release/rdnafix
[[ -x $rdnafix ]] || die "$rdnafix is missing: run 'cargo build --release --workspace' first"

# in_root PROGRAM...: runs it in the root, where the machine's own tree is under /machine.
in_root() { "$rdnafix" sim root "$recipe" -- "$@"; }

# lld and cmake look at each file of LLVM: paths of the root, not of this machine.
llvm=/usr/lib/llvm-21
root=$("$rdnafix" sim root "$recipe") # exits with its code where there is none
source=("$root"/usr/src/deb/rocr-runtime_*.orig.tar.*)
[[ -f ${source[0]} ]] || die "the source of rocr-runtime is not in $root: remove the root"

hash=$(cat scripts/rocrtst.sh "crates/cli/roots/$recipe.toml" "${source[0]}" | sha256sum)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rdnafix
result=$cache/rocrtst-${hash:0:16}
if [[ -d $result ]]; then
    say "$result"
    exit 0
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/.rocrtst-XXXXXX")
trap 'rm -rf "$work"' EXIT
say "building rocrtst, half a minute on two processors" >&2
in_root tar --extract --file="/usr/src/deb/${source[0]##*/}" --directory="/machine$work" \
    --strip-components=1 --wildcards '*/rocrtst/*'

# The archive's tarball lacks what upstream copied from elsewhere: gtest and hwloc. Those of
# the root are newer: gtest needs C++17, and hwloc 2 has another call for I/O devices.
tree=$work/rocrtst
mkdir -p "$tree/gtest" "$tree/thirdparty/lib"
cat >"$tree/gtest/CMakeLists.txt" <<'TEXT'
add_library(google-test-frwk64 INTERFACE)
target_link_libraries(google-test-frwk64 INTERFACE gtest)
TEXT
ln -s /usr/lib/x86_64-linux-gnu/libhwloc.so "$tree/thirdparty/lib/libhwloc.so.5"
sed -i 's/-std=c++11/-std=c++17/' "$tree/suites/test_common/CMakeLists.txt"
sed -i -e '/HWLOC_TOPOLOGY_FLAG_WHOLE_SYSTEM/s/ |$/);/' \
    -e 's/^ *HWLOC_TOPOLOGY_FLAG_IO_DEVICES);/hwloc_topology_set_io_types_filter(topology_, HWLOC_TYPE_FILTER_KEEP_ALL);/' \
    "$tree/suites/performance/memory_async_copy.cc"

log=$cache/rocrtst.log
if ! {
    in_root cmake -G Ninja -S "/machine$tree/suites/test_common" -B "/machine$work/build" \
        -DROCRTST_BLD_TYPE=Release "-DTARGET_DEVICES=$gpus" -DLLVM_DIR=$llvm/bin \
        -DOPENCL_DIR=$llvm/lib/clang/21 -DBITCODE_DIR=$llvm/lib/clang/21/amdgcn/bitcode &&
        in_root cmake --build "/machine$work/build"
} >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "rocrtst does not build (log: $log)"
fi

# The program looks for libraries in thirdparty/lib beside it: there they are for roots that
# have ROCr and not these.
mkdir -p "$work/done/thirdparty/lib"
mv "$work/build/rocrtst64" "$work/build"/gfx*/ "$work/done/"
for library in libhwloc.so.15 librocm_smi64.so.1; do
    cp --dereference "$root/usr/lib/x86_64-linux-gnu/$library" "$work/done/thirdparty/lib/"
done
chmod 755 "$work/done"
mv --no-target-directory "$work/done" "$result" 2>/dev/null || [[ -d $result ]] ||
    die "cannot make $result"
say "$result"
