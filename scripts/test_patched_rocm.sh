#!/usr/bin/env bash
# Checks an installed overlay of `rdnafix build rocm`: its files, rocminfo, the HIP allocation
# probe, PyTorch.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/test_patched_rocm.sh [PREFIX]

Checks the overlay in PREFIX [default: /opt/rocm-patched], a line for each check. Programs run
on this machine's ROCm if it is of the overlay's release and the libraries start here, else in
the root that `rdnafix sim root RELEASE` makes. What a real GPU can show is tried on it where
there is one; what the kernel is asked for is read from the simulated one.

The exit code is 0 where no check fails; what cannot run is SKIPPED, with the reason, and counted.
TEXT
}

case ${1-} in
    -h | --help)
        usage
        exit 0
        ;;
esac
(($# <= 1)) || {
    usage >&2
    die "more than one PREFIX"
}
prefix=$(realpath -e "${1:-/opt/rocm-patched}") || die "there is no ${1:-/opt/rocm-patched}"
rdnafix=$(target_directory)/release/rdnafix
[[ -x $rdnafix ]] || die "there is no $rdnafix: run 'cargo build --release --workspace' first"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

passed=0 failed=0 skipped=0

# check NAME COMMAND...: the last line that it says is the reason where it fails. With the exit
# code 77 it is SKIPPED.
check() {
    local name=$1 code=0
    shift
    "$@" >"$work/said" 2>&1 || code=$?
    case $code in
        0)
            passed=$((passed + 1))
            say "passed   $name"
            ;;
        77)
            skipped=$((skipped + 1))
            say "SKIPPED: $name: $(tail -n 1 "$work/said")"
            ;;
        *)
            failed=$((failed + 1))
            say "FAILED   $name: $(tail -n 1 "$work/said")"
            ;;
    esac
}

skip() {
    say "$*"
    return 77
}

check "the files are as they were installed" "$rdnafix" build verify --prefix "$prefix"
((failed == 0)) || die "$prefix is not an overlay, or was changed: nothing of it is run"
release=$(sed -n 's/^  "release": "\(.*\)",$/\1/p' "$prefix/share/rdnafix/manifest.json")
patched=$(sed -n 's/^  "patched": \(.*\),$/\1/p' "$prefix/share/rdnafix/manifest.json")

# Whether the libraries start here, beside a ROCm of their release.
starts_here() {
    local said
    said=$(LD_LIBRARY_PATH=$prefix/lib ldd "$prefix/lib/libamdhip64.so" 2>&1)
    [[ $said != *"not found"* ]] && find_rocm && [[ $(hip_release) == "${release%.*}" ]]
}

root='' where="this machine"
if ! starts_here; then
    if ! tree=$("$rdnafix" sim root "$release"); then
        die "the libraries do not start here, and the root $release cannot be had"
    fi
    root=$release where="the root $release"
fi
say "         ROCm $release of $where; patched: $patched"

# on GPU LOG LIBRARIES PROGRAM...: on a simulated GPU; LIBRARIES is the overlay's or empty.
on() {
    local gpu=$1 log=$2 libraries=$3
    shift 3
    timeout 120 "$rdnafix" sim ${root:+--root "$root"} --gpu "$gpu" --log "$log" -- \
        env -u LD_LIBRARY_PATH ${libraries:+LD_LIBRARY_PATH="$libraries"} "$@"
}

real() { LD_LIBRARY_PATH=$prefix/lib timeout 120 "$@"; }

# What the kernel is asked for, call by call, without what differs from run to run.
asked() {
    grep -oE '"text":"> [^"]*"|"domain":"[^"]*"|"coherent":[a-z]+,"mtype":\{[^}]*\}' "$1"
}

make_probe() {
    probe=$work/alloc_probe
    if [[ -z $root ]]; then
        compile_example alloc_probe "$probe"
        return
    fi
    # The headers of ROCm by themselves: those of the root's C library do not go with this
    # machine's compiler.
    mkdir -p "$work/include"
    ln -s "$tree"/usr/include/{hip,hsa} "$work/include/"
    local lib=$tree/usr/lib/x86_64-linux-gnu
    g++ -std=c++17 -O1 -D__HIP_PLATFORM_AMD__ -isystem "$work/include" examples/alloc_probe.cpp \
        -o "$probe" -Wl,--allow-shlib-undefined "$lib/libamdhip64.so" "$lib/libhsa-runtime64.so" -ldl
}

libraries_are_used() {
    on gfx1030 "$work/log" "$prefix/lib" env LD_DEBUG=libs "$probe" >"$work/out" 2>"$work/debug"
    local library
    for library in libamdhip64 libhsa-runtime64; do
        grep -q "calling init: $prefix/lib/$library.so" "$work/debug" || {
            say "$library is not that of the overlay"
            return 1
        }
    done
}

rocminfo_runs() {
    on "$1" "$work/log" "$prefix/lib" rocminfo >"$work/out" || return
    grep -q "Name: *$1 *\$" "$work/out" || {
        say "rocminfo does not list $1"
        return 1
    }
}

# The board's host memory that nobody asked to be coherent: coherent or not, as expected.
host_memory() {
    local gpu=$1 wanted=$2 found
    on "$gpu" "$work/log-$gpu" "$prefix/lib" "$probe" >"$work/out" || return
    found=$(sed -n '/"text":"> hipHostMalloc(Default)"/,/"text":"< /p' "$work/log-$gpu" |
        sed -n 's/.*"name":"ALLOC_MEMORY_OF_GPU".*"coherent":\([a-z]*\).*/\1/p')
    [[ $found == "$wanted" ]] || {
        say "hipHostMalloc(0) asks for coherent: ${found:-nothing}, and not $wanted"
        return 1
    }
}

as_stock() {
    on "$1" "$work/stock" '' "$probe" >"$work/out" || return
    on "$1" "$work/overlay" "$prefix/lib" "$probe" >"$work/out" || return
    [[ $(asked "$work/stock" | wc -l) -gt 50 ]] || {
        say "the log has too little in it"
        return 1
    }
    if ! diff <(asked "$work/stock") <(asked "$work/overlay") >"$work/difference"; then
        say "it asks for something else than stock: $(sed -n 2p "$work/difference")"
        return 1
    fi
}

# with_gpu PROGRAM...: on the real GPU.
with_gpu() {
    [[ -r /dev/kfd ]] || skip "there is no GPU here (/dev/kfd)" || return
    [[ -z $root ]] || skip "the libraries do not start on this machine" || return
    real "$@" >"$work/out"
}

pytorch() {
    local python=${RDNAFIX_PYTHON:-python3}
    "$python" -c 'import torch, sys; sys.exit(torch.version.hip is None)' 2>/dev/null ||
        skip "there is no PyTorch for ROCm here ($python; RDNAFIX_PYTHON names another)" || return
    # Wheels bring ROCm libraries of their own, which have to be replaced by name.
    local program='import torch; x = torch.ones(1 << 20).pin_memory(); print(x.to("cuda").sum().item())'
    if [[ -r /dev/kfd ]]; then
        real env LD_PRELOAD="$prefix/lib/libhsa-runtime64.so:$prefix/lib/libamdhip64.so" "$python" -c "$program"
    else
        skip "there is no GPU here, and the simulated one runs no kernels"
    fi
}

check "the HIP allocation probe compiles" make_probe
((failed == 0)) || die "without the probe nothing more can be checked"
check "programs get both libraries of the overlay" libraries_are_used
for gpu in gfx1010 gfx1030 gfx1100; do
    check "rocminfo lists $gpu (simulated)" rocminfo_runs "$gpu"
done
check "rocminfo on the real GPU" with_gpu rocminfo
check "the HIP allocation probe on the real GPU" with_gpu "$probe"
if [[ $patched == true ]]; then
    for gpu in gfx1010 gfx1030; do
        check "hipHostMalloc(0) is non-coherent on $gpu (simulated)" host_memory "$gpu" false
    done
else
    check "hipHostMalloc(0) is coherent on gfx1030 (simulated)" host_memory gfx1030 true
fi
for gpu in gfx1100 gfx906; do
    check "the kernel is asked for what stock asks for on $gpu (simulated)" as_stock "$gpu"
done
check "PyTorch" pytorch

say "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
