#!/usr/bin/env bash
# Makes what the tests of real clients (tests/clients.rs) need beside the roots: Python packages
# and libroctracer64, in the cache, once. All versions are pinned.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/clients.sh [--where]

Makes the directory that the tests of real clients use, and prints its path:

  host/      a Python environment for this machine, with hip-python
  python/    hip-python, CuPy and numpy for the Python of the roots
  lib/       libroctracer64, which CuPy's wheel is linked with and Debian does not package

--where prints the path only.
TEXT
}

# By what it is made from: another version of this file makes another directory.
clients=${XDG_CACHE_HOME:-$HOME/.cache}/rdnafix/clients-$(sha256sum scripts/clients.sh | cut -c1-16)

# For hip-python: two of the wheels differ with the version of Python.
hip_python='
hip-python==10.0.0.0.1.2 \
    --hash=sha256:5a3d06b5248024ee7fe38b69350024cb955c02928d93aa47d48e67e4c76b13e7
rocm-bindings-core==10.0.0.0.1.2 \
    --hash=sha256:943da68c125cbc7f9ecdc8106241881ae29b36fd6b20e62ac0a7bc2782a41041 \
    --hash=sha256:5f6111926679b4d64b79dd547a737d38814b77cb39b1db95d790c55958009d90
rocm-bindings-hip==10.0.0.0.1.2 \
    --hash=sha256:b288d26fac3ab77d2f25f4b832397abb1d01157871f23226f9dd389e92b22ee4 \
    --hash=sha256:9d31be6c1a4c19d4ded2f2222da3f4bce14d81c58680bd119bffce983e466039
'
cupy='
cupy-rocm-7-0==14.2.0 \
    --hash=sha256:ca39266fd9d2d24260bdd95e149048540a3c31c58fa75de65b2bdd97d55412aa
numpy==2.4.6 \
    --hash=sha256:a2c306dea656c12c68f51f4cea133cbe78ca7435eb28c735eac1d3ebe73be6e8
'

make_python() {
    local new=$1
    printf '%s' "$hip_python" >"$new/hip-python.txt"
    printf '%s' "$hip_python$cupy" >"$new/all.txt"
    # The path of an environment is written into it, so it is made where it stays.
    rm -rf "$clients.host"
    python3 -m venv "$clients.host"
    local -a pip=("$clients.host/bin/pip" install --quiet --disable-pip-version-check
        --no-deps --require-hashes --only-binary ':all:')
    # hip-python has no wheel for every Python; its test on this machine is SKIPPED then.
    if "${pip[@]}" --requirement "$new/hip-python.txt"; then
        ln -s "$clients.host" "$new/host"
    else
        say "there is no hip-python for this machine's Python" >&2
    fi
    "${pip[@]}" --requirement "$new/all.txt" --target "$new/python" --python-version 3.14 \
        --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64
}

# libroctracer64 from AMD's own source, as the archive has it, for ROCm 7.2.4: the tables that
# its build generates, the sources, one link. The tracer itself is not used by the tests.
make_roctracer() {
    local new=$1 rdnafix=$2 rocm generator work=$1/roctracer
    rocm=$("$rdnafix" sim root cupy-7.2.4)
    generator=$("$rdnafix" sim root roctracer-6.4.1)
    mkdir -p "$work/include" "$work/generated" "$new/lib"
    tar -xf "$generator"/usr/src/deb/roctracer_*.orig.tar.gz -C "$work" --strip-components=1
    # The headers of ROCm by themselves: those of the root's C library do not go with this
    # machine's compiler.
    ln -s "$rocm/usr/include/hip" "$rocm/usr/include/hsa" "$work/include/"
    (
        cd "$work"
        local -a python=("$rdnafix" sim root roctracer-6.4.1 -- /usr/bin/python3)
        # The root's own directories hide the machine's: what is read comes by this path.
        local here=/machine$PWD
        cp -r include/hsa/. generated/hsa
        "${python[@]}" "$here/script/hsaap.py" "$here/generated" "$here/generated/hsa"
        gcc -E include/hsa/hsa.h -o generated/hsa.i
        gcc -E include/hsa/hsa_ext_amd.h -o generated/hsa_ext_amd.i
        gcc -E -Iinclude -D__HIP_PLATFORM_AMD__=1 -D__HIP_ROCclr__=1 \
            src/roctracer/hip_full_api.h -o generated/hip.i
        "${python[@]}" "$here/script/gen_ostream_ops.py" \
            -in "$here/generated/hsa.i,$here/generated/hsa_ext_amd.i" \
            -out "$here/generated/hsa_ostream_ops.h"
        "${python[@]}" "$here/script/gen_ostream_ops.py" \
            -in "$here/generated/hip.i" -out "$here/generated/hip_ostream_ops.h"
    ) >"$new/roctracer.log" 2>&1
    local -a defines=(-DNDEBUG -DAMD_INTERNAL_BUILD -DPROF_API_IMPL -DHIP_PROF_HIP_API_STRING=1
        -D__HIP_PLATFORM_AMD__=1 -DROCTRACER_EXPORTS)
    local -a directories=(-I"$work/include" -I"$work/include/hsa" -I"$work/generated"
        -I"$work/inc" -I"$work/inc/ext" -I"$work/src/roctracer" -I"$work/src/util" -I"$work/src")
    g++ -std=c++17 -O1 -w -fPIC -fvisibility=hidden -shared "${defines[@]}" "${directories[@]}" \
        "$work"/src/roctracer/*.cpp "$work"/src/util/*.cpp \
        -Wl,-soname,libroctracer64.so.4 -Wl,--allow-shlib-undefined \
        -Wl,--version-script="$work/src/roctracer/exportmap" \
        "$rocm/usr/lib/x86_64-linux-gnu/libhsa-runtime64.so.1" -lstdc++fs -lpthread -ldl \
        -o "$new/lib/libroctracer64.so.4"
    rm -rf "$work"
}

case ${1-} in
    --where)
        say "$clients"
        exit 0
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    '') ;;
    *)
        usage >&2
        die "there is no option '$1'"
        ;;
esac

if [[ ! -d $clients ]]; then
    rdnafix=$(target_directory)/release/rdnafix
    [[ -x $rdnafix ]] || die "there is no $rdnafix: run 'cargo build --release --workspace' first"
    mkdir -p "$(dirname "$clients")"
    new=$(mktemp -d "$clients.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    make_python "$new"
    # Without it only CuPy cannot run, and its test says so. Not in a condition, where bash would
    # pass over failing commands inside the function.
    set +e
    (
        set -e
        make_roctracer "$new" "$rdnafix"
    )
    code=$?
    set -e
    if ((code != 0)); then
        # Nothing is kept, so that the next run tries again.
        mv "$new/roctracer.log" "$clients.log" 2>/dev/null || true
        die "libroctracer64 cannot be built, and the test of CuPy will be SKIPPED: see $clients.log; run scripts/clients.sh again"
    fi
    chmod 755 "$new"
    mv "$new" "$clients"
    trap - EXIT
fi
say "$clients"
