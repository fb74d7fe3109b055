#!/usr/bin/env bash
# Builds AMD's kfdtest, the test suite of the thunk, from the source in the Debian archive.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
# shellcheck source=scripts/amd_tests.sh
. scripts/amd_tests.sh

usage() {
    cat <<'TEXT'
usage: scripts/kfdtest.sh

Builds kfdtest of ROCr 6.4.3 and prints the directory with the result, the program kfdtest. What
was built before is used again as long as this script, the root and the source are the same; it
is kept in $XDG_CACHE_HOME/rdnafix (~/.cache/rdnafix).

It is built in a root that `rdnafix sim root kfdtest-6.4.3` makes of packages of the Debian
archive, and needs `cargo build --release --workspace` first. The exit code is 69 where that
root cannot be had.

Run it in the root 6.4.3, which has its libraries, on the simulated GPU, and never where it can
suspend the machine: KFDPMTest calls `sudo pm-suspend`. tests/kfdtest.rs does so.
TEXT
}

begin_build kfdtest libhsakmt "$@"

# The archive's tarball lacks gtest, which upstream had copied: the root's is linked. LLVM is
# linked as archives, so that each test starts in a tenth of a second and needs no LLVM.
tree=$work/libhsakmt
tests=$tree/tests/kfdtest
sed -i -e 's/ gtest-1.6.0\/gtest-all.cpp$/ /' -e 's/if (LLVM_LINK_LLVM_DYLIB)/if (FALSE)/' \
    -e 's/(llvm_libs AMDGPUAsmParser Core Support)/(llvm_libs AMDGPUAsmParser AMDGPUDesc AMDGPUInfo MC Core Support)/' \
    "$tests/CMakeLists.txt"

if ! {
    in_root cmake -G Ninja -S "/machine$tree" -B "/machine$work/thunk" -DCMAKE_BUILD_TYPE=Release \
        -DBUILD_SHARED_LIBS=OFF &&
        in_root cmake --build "/machine$work/thunk" --target hsakmt &&
        LIBHSAKMT_PATH=/machine$work/thunk in_root cmake -G Ninja -S "/machine$tests" \
            -B "/machine$work/build" -DCMAKE_BUILD_TYPE=Release -DLLVM_DIR=/usr/lib/llvm-19/cmake \
            -DCMAKE_CXX_FLAGS='-include cstdint -include iomanip' \
            -DCMAKE_CXX_STANDARD_LIBRARIES=-lgtest &&
        in_root cmake --build "/machine$work/build"
} >"$log" 2>&1; then
    build_failed
fi

mv "$work/build/kfdtest" "$work/done/"
keep_build
