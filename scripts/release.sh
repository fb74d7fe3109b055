#!/usr/bin/env bash
# Makes everything that a release has.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/release.sh [--out DIR] [--no-install]

Makes the packages (scripts/package.sh), what they are made of as CycloneDX JSON (an SBOM for the
library, the command and the simulated GPU), and SHA256SUMS of all of it.

  --out DIR     where they go; by default target/release-VERSION. What is there of an earlier run
                is replaced
  --no-install  install nothing: what is missing is an error
TEXT
}

cyclonedx_version=0.5.9
out=
options=()
while (($#)); do
    case $1 in
        --out)
            (($# > 1)) || die "--out needs a directory"
            out=$2
            shift
            ;;
        --no-install) options+=(--no-install) ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            die "'$1' is not understood"
            ;;
    esac
    shift
done

need_rust 1.88
version=$(package_version)
[[ -n $out ]] || out=$(target_directory)/release-$version
mkdir -p "$out"
out=$(cd "$out" && pwd)
SOURCE_DATE_EPOCH=$(source_date)
export SOURCE_DATE_EPOCH

scripts/package.sh "${options[@]}" --out "$out"

# Another version writes another SBOM.
tools=${XDG_CACHE_HOME:-$HOME/.cache}/rdnafix/tools
PATH=$tools/bin:$PATH
if [[ $(cargo cyclonedx --version 2>/dev/null) != *" $cyclonedx_version" ]]; then
    ((${#options[@]} == 0)) || die "--no-install, and cargo-cyclonedx $cyclonedx_version is not there"
    say "building cargo-cyclonedx $cyclonedx_version"
    # Unoptimised: it builds in a fraction of the time.
    cargo install --quiet --locked --debug --root "$tools" --version "$cyclonedx_version" cargo-cyclonedx
fi
# It writes beside each Cargo.toml: of a copy, to leave this tree alone.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r Cargo.toml Cargo.lock build.rs src crates benches patches "$work/"
for package in rdnafix rdnafix-cli kfdsim; do
    manifest=crates/${package#rdnafix-}/Cargo.toml
    [[ $package != rdnafix ]] || manifest=Cargo.toml
    (
        cd "$work"
        cargo cyclonedx --quiet --format json --target x86_64-unknown-linux-gnu \
            --manifest-path "$manifest" --override-filename "$package-$version.cdx"
    )
    # The place where it was made is in the references: of no use to anybody.
    sed "s|$work|/rdnafix|g" "$work/$(dirname "$manifest")/$package-$version.cdx.json" \
        >"$out/$package-$version.cdx.json"
    say "$out/$package-$version.cdx.json"
done

# Not what an earlier version has left there.
(
    cd "$out"
    sha256sum -- *[-_]"$version"[-_.]* >SHA256SUMS
)
say "$out/SHA256SUMS"
