#!/usr/bin/env bash
# Makes many random sequences of calls, with and without rdnafix, and compares.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/soak.sh [--sequences N] [--seed S] [--release NAME]

Runs tests/differential.rs on N random sequences of HIP and HSA calls (10000 unless told) from
seed S (1) on, on simulated GPUs: what the program sees has to be the same with and without
rdnafix, and what the kernel is asked for may differ only where the policy says so. It goes on
after a failure; the summary says which seeds to look at. Nothing is kept between runs.
--release is one of those that `rdnafix sim root` lists, such as 6.4.3; this machine's ROCm unless
told.

Needs Rust 1.88 or later, g++, and the HIP and HSA libraries and headers.
TEXT
}

sequences=10000
seed=1
release=
while (($# > 0)); do
    case $1 in
        --sequences | --seed)
            [[ ${2:-} =~ ^[0-9]{1,15}$ ]] || die "$1 needs a number"
            if [[ $1 == --seed ]]; then seed=$((10#$2)); else sequences=$((10#$2)); fi
            shift 2
            ;;
        --release)
            [[ ${2:-} =~ ^[0-9]+(\.[0-9]+)+$ ]] || die "--release needs a version such as 6.4.3"
            release=$2
            shift 2
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            die "unknown argument '$1'"
            ;;
    esac
done
((sequences > 0)) || die "--sequences 0: there is nothing to do"

need_rust 1.88
find_rocm || die "no ROCm here (HIP and HSA headers and libraries), or no g++"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [[ -n $release ]]; then export RDNAFIX_FUZZ_RELEASE=$release; fi

say "building"
cargo build --release --workspace
cargo test --release --package rdnafix --test differential --no-run
if [[ -n $release ]]; then
    "$(target_directory)/release/rdnafix" sim root "$release" -- /bin/true || die "ROCm $release cannot be had"
fi

# Slices, so that there is progress to see and a failure does not end the rest.
slice=1000
failed=()
start=$SECONDS
for ((done = 0; done < sequences; done += slice)); do
    from=$((seed + done))
    count=$((sequences - done < slice ? sequences - done : slice))
    if ! RDNAFIX_FUZZ_SEED=$from RDNAFIX_FUZZ_SEQUENCES=$count RUST_BACKTRACE=0 \
        cargo test --release --package rdnafix --test differential >"$work/out" 2>&1; then
        failed+=("$from to $((from + count - 1))")
        cat "$work/out"
    fi
    say "$((done + count)) of $sequences sequences, $((SECONDS - start)) s, ${#failed[@]} slices failed"
done

say
if ((${#failed[@]} > 0)); then
    printf 'FAILED: seeds %s\n' "${failed[@]}"
    say "each failure above names its sequence and the command that repeats it"
    exit 1
fi
say "$sequences sequences from seed $seed${release:+ on ROCm $release}: no difference that the policy does not explain"
