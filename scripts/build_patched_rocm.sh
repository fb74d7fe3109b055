#!/usr/bin/env bash
# Builds the patched libraries of a ROCm release, and points a stable link to them.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/build_patched_rocm.sh [--prefix DIR] [--link LINK] [OPTION...]
       scripts/build_patched_rocm.sh --uninstall [--prefix DIR] [--link LINK]

Runs `rdnafix build rocm`: on this machine if it has what that needs, else in the root that
scripts/setup_build_environment.sh makes. Then LINK leads to the result.

  --prefix DIR       where it goes [default: /opt/rocm-patched-RELEASE]
  --link LINK        the stable name [default: /opt/rocm-patched if DIR is the default, else none]
  --release RELEASE  the release [default: 6.4.3]
  --uninstall        remove what was installed, and LINK if it leads there
  OPTION...          for rdnafix build rocm: --from, --jobs, --json, --set-default
TEXT
}

release=6.4.3 prefix='' link='' uninstall=no options=()
while (($#)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --prefix | --link | --release)
            (($# > 1)) || die "$1 needs a value"
            case $1 in
                --prefix) prefix=$2 ;;
                --link) link=$2 ;;
                *) release=$2 ;;
            esac
            shift
            ;;
        --uninstall) uninstall=yes ;;
        *) options+=("$1") ;;
    esac
    shift
done
if [[ -z $prefix ]]; then
    prefix=/opt/rocm-patched-$release
    link=${link:-/opt/rocm-patched}
fi
if [[ -n $link && -e $link && ! -L $link ]]; then
    die "$link is there and is not a link: name another one with --link"
fi

rdnafix=$(target_directory)/release/rdnafix
# The patches are inside the command: an older one would build older ones.
cargo build --quiet --release --workspace
if [[ $uninstall == yes ]]; then
    leads_there=no
    if [[ -n $link && -L $link && $(realpath -m "$link") == "$(realpath -m "$prefix")" ]]; then
        leads_there=yes
    fi
    "$rdnafix" build uninstall --prefix "$prefix" "${options[@]}"
    if [[ $leads_there == yes ]]; then rm "$link"; fi
    exit
fi
build=("$rdnafix" build rocm --release "$release" --prefix "$prefix" "${options[@]}")
if ! lacks=$("$rdnafix" build check --release "$release" 2>&1); then
    say "in the root build-$release, because here: ${lacks#rdnafix: }" >&2
    build=("$rdnafix" sim root "build-$release" -- "${build[@]}")
fi
"${build[@]}"

if [[ -n $link ]]; then
    # In one step: who opens the link meanwhile finds the old one or the new one.
    ln -sfn "$(realpath "$prefix")" "$link.new"
    mv -T "$link.new" "$link"
    say "$link leads to $prefix" >&2
fi
