#!/usr/bin/env bash
# Builds PyTorch's allocators, stock and patched, from the source in the Debian archive.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh
# shellcheck source=scripts/amd_tests.sh
. scripts/amd_tests.sh

usage() {
    cat <<'TEXT'
usage: scripts/pytorch.sh 1.13.1|2.6.0

Builds c10, c10/hip and the allocator for pinned memory (ATen) of this PyTorch, once as it is and
once with patches/pytorch/VERSION, and prints the directory with the result: stock/ and patched/,
each with the libraries and the program pytorch_alloc (tests/programs), linked with the real
libamdhip64. PyTorch's own tool (tools/amd_build/build_amd.py) makes the HIP sources. No GPU and
no HIP compiler is needed.

What was built before is used again as long as this script, the patches, the program, the roots
and the source are the same; it is kept in $XDG_CACHE_HOME/rdnafix (~/.cache/rdnafix).

The compiler and the source are in a root that `rdnafix sim root build-pytorch-VERSION` makes of
packages of the Debian archive; HIP's headers and library are those of the root of a release. It
needs `cargo build --release --workspace` first. The exit code is 69 where a root cannot be had.
TEXT
}

(($# == 1)) || {
    usage >&2
    die "name one version"
}
version=$1
case $version in
    1.13.1) hip=5.2.3 standard=c++14 defines=(-DPYTORCH=113 -DROCM_VERSION=50200 -DTORCH_HIP_VERSION=502) ;;
    2.6.0) hip=6.4.3 standard=c++17 defines=(-DPYTORCH=206 -DROCM_VERSION=60403 -DTORCH_HIP_VERSION=604) ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        die "there are no patches for '$version'"
        ;;
esac

# What is needed of the tree: c10, ATen around the allocator for pinned memory, and the tools that
# make code.
parts=(c10 aten tools torch/utils torchgen version.txt)
if [[ $version != 1.13.1 ]]; then parts+=(torch/_inductor/codegen); fi # hipify looks there
programs=(tests/programs/pytorch_alloc.cpp tests/programs/mark.h)

name=pytorch-$version
recipe=build-$name
rdnafix=$(built_rdnafix)
root=$("$rdnafix" sim root "$recipe") # exits with its code where there is none
rocm=$("$rdnafix" sim root "$hip")
source=$(compgen -G "$root/usr/src/deb/pytorch_$version*.orig.tar.*") ||
    die "the source of PyTorch $version is not in $root: remove the root"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rdnafix
log=$cache/$name.log
mkdir -p "$cache"
# Whoever comes second waits, and finds it built.
exec {lock}>"$cache/$name.lock"
flock "$lock"
hash=$({
    cat scripts/pytorch.sh "crates/cli/roots/$recipe.toml" "crates/cli/roots/$hip.toml" "$source"
    cat "patches/pytorch/$version"/* "${programs[@]}"
} | sha256sum)
result=$cache/$name-${hash:0:16}
if [[ -d $result ]]; then
    say "$result"
    exit 0
fi
work=$(mktemp -d "$cache/.$name-XXXXXX")
trap 'rm -rf "$work"' EXIT
say "building PyTorch's allocators, some minutes on two processors" >&2

# in_tree VARIANT COMMAND ARGUMENT...: a shell command in the root, in the tree of a variant.
in_tree() {
    local variant=$1 command=$2
    shift 2
    in_root /bin/bash -c "set -euo pipefail; cd /machine$work/$variant; $command" - "$@"
}

# compile VARIANT OBJECTS 'FILE...' OPTION...: the objects of these files of a variant.
compile() {
    local variant=$1 objects=$2 files=$3
    shift 3
    mkdir -p "$work/$objects"
    # shellcheck disable=SC2016 # the shell in the root is to expand it
    in_tree "$variant" 'printf "%s\n" '"$files"' | OBJECTS='"/machine$work/$objects"' nice xargs -P2 -n1 \
        /bin/bash -c '\''for file; do :; done; exec g++ "${@:1:$#-1}" -c "$file" \
        -o "$OBJECTS/${file//\//_}.o"'\'' - "$@"' "$@"
}

# Those of ROCm by themselves: the C library is the root's own. The handles of these libraries are
# named by ATen's headers, and used by nothing that is built here.
make_headers() {
    local rocm_headers=$work/include/rocm library
    mkdir -p "$rocm_headers" "$work/include/c10/macros" "$work/include/c10/hip/impl"
    ln -s "/machine$rocm/usr/include/hip" "/machine$rocm/usr/include/hsa" "$rocm_headers/"
    cat >"$rocm_headers/handles.h" <<'TEXT'
typedef void *hipblasHandle_t, *hipblasLtHandle_t, *hipsolverDnHandle_t, *hipsparseHandle_t;
typedef void *rocblas_handle;
typedef int hipblasStatus_t, hipsolverStatus_t, hipsparseStatus_t, rocblas_status;
TEXT
    for library in hipblas hipblaslt hipsolver hipsparse rocblas; do
        mkdir "$rocm_headers/$library"
        cp "$rocm_headers/handles.h" "$rocm_headers/$library/$library.h"
        cp "$rocm_headers/handles.h" "$rocm_headers/$library.h"
    done
    printf '#define C10_BUILD_SHARED_LIBS\n' >"$work/include/c10/macros/cmake_macros.h"
    printf '#define C10_HIP_BUILD_SHARED_LIBS\n' >"$work/include/c10/hip/impl/hip_cmake_macros.h"
}

# What cmake makes: every feature that is asked for with @NAME@ is off.
make_configuration() {
    mkdir -p "$work/include/ATen/hip"
    sed 's/@[A-Za-z0-9_]*@/0/' "$work/stock/aten/src/ATen/Config.h.in" >"$work/include/ATen/Config.h"
    sed 's/@[A-Za-z0-9_]*@/0/' "$work/stock/aten/src/ATen/hip/HIPConfig.h.in" \
        >"$work/include/ATen/hip/HIPConfig.h"
}

build() {
    local variant out part
    local -a wanted=()
    for part in "${parts[@]}"; do wanted+=("*/$part"); done
    mkdir "$work/stock" "$work/done"
    in_root tar --extract --file="/usr/src/deb/${source##*/}" --directory="/machine$work/stock" \
        --strip-components=1 --wildcards --no-wildcards-match-slash "${wanted[@]}"
    cp -r "$work/stock" "$work/patched"
    local patch
    while read -r patch; do
        patch --directory="$work/patched" --strip=1 --fuzz=0 <"patches/pytorch/$version/$patch"
    done <"patches/pytorch/$version/series"
    make_headers

    local -a flags=("-std=$standard" -O0 -fPIC -w -I. -Iaten/src "-I/machine$work/include"
        -DFMT_HEADER_ONLY)
    local -a hip_flags=(-isystem "/machine$work/include/rocm" -DUSE_ROCM -D__HIP_PLATFORM_AMD__=1
        "${defines[@]}")
    local hip_library=/machine$rocm/usr/lib/x86_64-linux-gnu/libamdhip64.so

    # The patches only add a header to c10 itself.
    compile stock core 'c10/core/*.cpp c10/core/impl/*.cpp c10/mobile/*.cpp c10/util/*.cpp' \
        "${flags[@]}" -DC10_BUILD_MAIN_LIB
    for variant in stock patched; do
        in_tree "$variant" 'python3 tools/amd_build/build_amd.py'
        if [[ ! -e $work/include/ATen/core ]]; then
            # shellcheck disable=SC2016 # the shell in the root is to expand it
            in_tree "$variant" 'python3 -m torchgen.gen --generate headers -s aten/src/ATen -d "$1"' \
                "/machine$work/include/ATen"
            make_configuration
        fi
        compile "$variant" "$variant-c10" 'c10/hip/*.cpp c10/hip/impl/HIPGuardImpl.cpp' \
            "${flags[@]}" "${hip_flags[@]}" -DC10_HIP_BUILD_MAIN_LIB
        compile "$variant" "$variant-aten" 'aten/src/ATen/hip/CachingHostAllocator.cpp aten/src/ATen/hip/impl/*MasqueradingAsCUDA.cpp' \
            "${flags[@]}" "${hip_flags[@]}"
        out=$work/done/$variant
        mkdir "$out"
        # The rest of ATen is not there: what is used does not call it.
        # shellcheck disable=SC2016 # the shell in the root is to expand it
        in_tree "$variant" 'work=$1 variant=$2 hip=$3 program=$4; out=$work/done/$variant; shift 4
            cpuinfo=$(compgen -G "/usr/lib/*/libcpuinfo.so.0" || true)
            [ -z "$cpuinfo" ] || cp "$cpuinfo" "$out/"
            so() { g++ -shared -o "$out/$1" -Wl,-soname,"$1" "${@:2}" -L"$out"; }
            so libc10.so "$work"/core/*.o $cpuinfo
            so libc10_hip.so "$work/$variant-c10"/*.o -lc10 "$hip"
            so libtorch_hip.so "$work/$variant-aten"/*.o -lc10_hip -lc10
            g++ "$@" "$program" -o "$out/pytorch_alloc" -L"$out" -ltorch_hip -lc10_hip -lc10 \
                "$hip" -Wl,--allow-shlib-undefined' \
            "/machine$work" "$variant" "$hip_library" "/machine$PWD/${programs[0]}" \
            "${flags[@]}" "${hip_flags[@]}"
    done
}

# Not in a condition, where bash would pass over failing commands inside the function.
set +e
(
    set -e
    build
) >"$log" 2>&1
code=$?
set -e
((code == 0)) || build_failed
keep_build
