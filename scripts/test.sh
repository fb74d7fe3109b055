#!/usr/bin/env bash
# Runs the tests of rdnafix.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

cargo_deny_version=0.20.2

usage() {
    cat <<'TEXT'
usage: scripts/test.sh [--quick] [--no-install] [--release NAME] [--board GFX] [STEP...]

Runs all tests, or the named steps:

  tools       install what the tests need (with apt-get; cargo-deny with cargo)
  format      rustfmt
  lint        clippy, warnings are errors
  build       the release build, which the end-to-end tests use
  unit        unit and property tests of all crates
  threads     the state that threads share without locks, under ThreadSanitizer
  roots       make the trees of the other ROCm releases (rdnafix sim root) and what real
              clients need, or say what cannot be had
  patches     the source patches; the patched libraries of ROCm 6.4.3 and the patched allocators of
              PyTorch (built once, some minutes each), and what they ask the kernel for
  kernel      the patches for Linux: sources and headers of three kernels from the Debian archive,
              what the patched functions decide, and that they build; the module of 6.1, built and installed
              by DKMS in a Debian 12 (some minutes once), and loaded in QEMU
  e2e         end-to-end tests: the real ROCm libraries on the simulated GPU
  releases    end-to-end tests on every ROCm release and every simulated board
  fidelity    AMD's own tests, kfdtest and rocrtst, on the simulated GPU
  packages    the deb, the wheel and the tarball: made twice, installed in clean roots, removed
  examples    the examples compile without warnings, and start
  shell       shellcheck
  licenses    licences and sources of all dependencies
  advisories  known vulnerabilities of all dependencies (needs the network)
  docs        the documentation builds without warnings
  bench       the benchmarks compile
  readme      all pages (*.md): their commands run, their links and files are there

  --quick       format, lint, build, unit and a part of e2e: less than 3 minutes once built
  --no-install  install nothing: what cannot run without is SKIPPED
  --release NAME  in the step releases, only this release (5.2.3, 5.7.1, 6.4.3 or 7.2.4):
                  less than 3 minutes
  --board GFX     in the test of real clients, only this board; the golden tables are always
                  those of all boards
TEXT
}

all_steps=(tools format lint build unit threads roots patches kernel e2e releases fidelity packages examples shell licenses advisories docs bench readme)
all_releases=(5.2.3 5.7.1 6.4.3 7.2.4)
quick_steps=(format lint build unit e2e)

quick=no
install=yes
steps=()
while (($#)); do
    argument=$1
    shift
    case $argument in
        --release | --board)
            (($#)) || die "$argument needs a value"
            if [[ $argument == --release ]]; then
                [[ " ${all_releases[*]} " == *" $1 "* ]] ||
                    die "--release '$1': there are ${all_releases[*]}"
                export RDNAFIX_TEST_RELEASE=$1
            else
                [[ -f crates/kfdsim/boards/$1.toml ]] ||
                    die "--board '$1': there are$(for file in crates/kfdsim/boards/*.toml; do printf ' %s' "$(basename "$file" .toml)"; done)"
                export RDNAFIX_TEST_BOARD=$1
            fi
            shift
            ;;
        --quick) quick=yes ;;
        --no-install) install=no ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            if [[ " ${all_steps[*]} " != *" $argument "* ]]; then
                usage >&2
                die "there is no step '$argument'"
            fi
            steps+=("$argument")
            ;;
    esac
done
if ((${#steps[@]} == 0)); then
    if [[ $quick == yes ]]; then steps=("${quick_steps[@]}"); else steps=("${all_steps[@]}"); fi
fi

need_rust 1.88
tools=${XDG_CACHE_HOME:-$HOME/.cache}/rdnafix/tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bold='' red='' green='' yellow='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' plain=$'\e[0m'
fi

# shellcheck source=scripts/test_steps.sh
. scripts/test_steps.sh

names=() results=() details=()
failed=0 passed=0 skipped=0
for step in "${steps[@]}"; do
    printf '\n%s== %s%s\n' "$bold" "$step" "$plain"
    rm -f "$work/reason"
    start=$SECONDS
    # Not in a condition, where bash would pass over failing commands inside the function.
    set +e
    (
        set -e
        "step_$step"
    )
    code=$?
    set -e
    names+=("$step")
    detail="$((SECONDS - start)) s"
    if ((code == 0)); then
        results+=(passed)
        passed=$((passed + 1))
    elif ((code == 77)) && [[ -f $work/reason ]]; then
        results+=(SKIPPED)
        skipped=$((skipped + 1))
        detail+=": $(<"$work/reason")"
    else
        results+=(FAILED)
        failed=$((failed + 1))
    fi
    details+=("$detail")
    say "-- $step: ${results[-1]}, $detail"
done

# Lines of single tests: what could not run, what failed once, what of the matrix ran.
single=()
if [[ -s $work/single ]]; then mapfile -t single <"$work/single"; fi

printf '\n%s== summary%s\n' "$bold" "$plain"
for i in "${!names[@]}"; do
    case ${results[i]} in
        passed) colour=$green ;;
        FAILED) colour=$red ;;
        *) colour=$yellow ;;
    esac
    printf '%-10s  %s%-7s%s  %s\n' "${names[i]}" "$colour" "${results[i]}" "$plain" "${details[i]}"
done
for line in "${single[@]}"; do
    colour=$yellow
    case $line in
        *' SKIPPED: '*) skipped=$((skipped + 1)) ;;
        *' MATRIX: '*) colour=$green ;;
    esac
    printf '%-10s  %s%s%s\n' "${line%% *}" "$colour" "${line#* }" "$plain"
done
say "$passed passed, $failed failed, $skipped skipped; $((SECONDS / 60)) min $((SECONDS % 60)) s in all"
((failed == 0))
