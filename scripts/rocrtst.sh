#!/usr/bin/env bash
# Builds AMD's rocrtst, the test suite of ROCr, from the source in the Debian archive.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
# shellcheck source=scripts/amd_tests.sh
. scripts/amd_tests.sh

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

begin_build rocrtst rocrtst "$@"
gpus='gfx1010;gfx1030'
# lld and cmake look at each file of LLVM: paths of the root, not of this machine.
llvm=/usr/lib/llvm-21

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

if ! {
    in_root cmake -G Ninja -S "/machine$tree/suites/test_common" -B "/machine$work/build" \
        -DROCRTST_BLD_TYPE=Release "-DTARGET_DEVICES=$gpus" -DLLVM_DIR=$llvm/bin \
        -DOPENCL_DIR=$llvm/lib/clang/21 -DBITCODE_DIR=$llvm/lib/clang/21/amdgcn/bitcode &&
        in_root cmake --build "/machine$work/build"
} >"$log" 2>&1; then
    build_failed
fi

# The program looks for libraries in thirdparty/lib beside it: there they are for roots that
# have ROCr and not these.
mkdir -p "$work/done/thirdparty/lib"
mv "$work/build/rocrtst64" "$work/build"/gfx*/ "$work/done/"
for library in libhwloc.so.15 librocm_smi64.so.1; do
    cp --dereference "$root/usr/lib/x86_64-linux-gnu/$library" "$work/done/thirdparty/lib/"
done
keep_build
