#!/usr/bin/env bash
# Makes the source patches for a tree of ROCm's, PyTorch's or Linux's sources: rdnafix patch create.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/create_source_patches.sh --component clr|rocr-runtime|pytorch|linux --source DIR
                                        --out DIR [--version TEXT]
       scripts/create_source_patches.sh --all

Makes the series (the file `series` and the patches) for the sources of any version from 5.2 to
7.x, of PyTorch 1.13 and 2.1 to 2.9, of Linux from 6.1 on: a component's own tree, or a monorepo
that holds it. It is `rdnafix patch create`, built first. Where a function, its parameters or a
statement is not as expected, nothing is written.

  --all   make the series in patches/ anew, from the sources of the Debian archive. Needed after
          a change to patches/policy/ or to a hooks.toml; it can be run again.

Needs Rust 1.88 or later.
TEXT
}

# root_of RECIPE: where the root is, which is made where it is not there.
root_of() {
    local root
    root=$("$rdnafix" sim root "$1" --json) || return
    sed -n 's/.*"path":"\([^"]*\)".*/\1/p' <<<"$root"
}

# sources_of COMPONENT VERSION DIR: unpacks the sources that a series is for.
sources_of() {
    local component=$1 version=$2 directory=$3 root name
    mkdir -p "$directory"
    case $component in
        clr) name=rocm-hipamd ;;
        linux)
            name=linux-source-$version
            root=$(root_of "linux-$version")
            tar --extract --strip-components=1 --directory "$directory" \
                --file "$root/usr/src/$name.tar.xz" "$name/drivers/gpu/drm/amd"
            return
            ;;
        *) name=$component ;;
    esac
    root=$(root_of "build-$version" 2>/dev/null) ||
        root=$(root_of "source-$version" 2>/dev/null) ||
        root=$(root_of "build-$component-$version")
    tar --extract --strip-components=1 --directory "$directory" \
        --file "$(find "$root/usr/src/deb" -name "${name}_$version*.orig.tar.*" -print -quit)"
}

all() {
    local work series version component
    work=$(mktemp --directory)
    # shellcheck disable=SC2064 # of this directory, whatever the variable is later
    trap "rm -rf '$work'" EXIT
    for series in patches/*/*/series; do
        series=${series%/series}
        version=${series##*/}
        component=${series#patches/}
        component=${component%/*}
        sources_of "$component" "$version" "$work/$series.source"
        mkdir -p "$work/$series"
        "$rdnafix" patch create --component "$component" --version "$version" \
            --source "$work/$series.source" --out "$work/$series.new" >/dev/null
    done
    # All of them, or none.
    for series in patches/*/*/series; do
        series=${series%/series}
        [[ -d $work/$series.new ]] || continue
        rm -f "$series"/*.patch
        cp "$work/$series.new"/* "$series/"
        say "$series: made anew"
    done
}

for argument in "$@"; do
    case $argument in
        -h | --help)
            usage
            exit 0
            ;;
    esac
done
if (($# == 0)); then
    usage >&2
    die "nothing is named to make patches for"
fi

need_rust 1.88
cargo build --quiet --release --package rdnafix-cli
rdnafix=$(target_directory)/release/rdnafix
if [[ $1 == --all ]]; then
    (($# == 1)) || die "--all stands alone"
    all
else
    # Of the directory that it was called in, not of the repository's.
    cd "$OLDPWD"
    "$rdnafix" patch create "$@"
fi
