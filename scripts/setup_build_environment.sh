#!/usr/bin/env bash
# Gets what `rdnafix build rocm` needs: packages where this system has them, else a root made
# from the Debian archive.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/setup_build_environment.sh [--root] [--yes] [--no-install] [RELEASE]

Gets what building the patched libraries of a ROCm release (6.4.3) needs. On Debian sid, which
has the compiler and the headers of that release, their packages are installed with apt-get. On
any other system nothing of it is changed: `rdnafix sim root build-RELEASE` extracts the
compiler, the headers and the sources from the Debian archive into the cache, which needs
mmdebstrap. It can be run again: what is there already is left alone.

  --root        make the root, even where the packages could be installed
  --yes         do not ask before installing; without a terminal it never asks
  --no-install  install nothing, only say what is missing
TEXT
}

install=yes ask=yes root=no release=6.4.3
for argument in "$@"; do
    case $argument in
        --root) root=yes ;;
        --yes) ask=no ;;
        --no-install) install=no ;;
        -h | --help)
            usage
            exit 0
            ;;
        [0-9]*) release=$argument ;;
        *)
            usage >&2
            die "unknown argument '$argument'"
            ;;
    esac
done

need_rust 1.88
rdnafix=$(target_directory)/release/rdnafix
cargo build --quiet --release --workspace

# Whether apt has every package, and the headers of this release of HIP.
apt_has_it() {
    command -v apt-cache >/dev/null || return 1
    [[ $(apt-cache show libamdhip64-dev 2>/dev/null) == *"Version: ${release%.*}."* ]] || return 1
    local package
    for package in "${packages[@]}"; do known_package "$package" || return 1; done
}

if [[ $root == no ]]; then
    mapfile -t packages < <("$rdnafix" build check --release "$release" --packages)
    if ((${#packages[@]})) && apt_has_it; then
        add_missing "what ROCm $release is built with" "${packages[@]}"
        install_missing "$install" "$ask"
        packages=()
    fi
    if ((${#packages[@]} == 0)); then
        "$rdnafix" build check --release "$release"
        exit
    fi
    say "this system has no packages for ROCm $release (${packages[*]}): a root is made instead"
fi
need_command mmdebstrap mmdebstrap
install_missing "$install" "$ask"
made=$("$rdnafix" sim root "build-$release")
say "ROCm $release can be built in the root $made"
