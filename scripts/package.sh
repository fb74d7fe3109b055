#!/usr/bin/env bash
# Makes the packages of rdnafix.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
. scripts/lib.sh

usage() {
    cat <<'TEXT'
usage: scripts/package.sh [--out DIR] [--no-install] [deb|wheel|tarball]...

Builds the release once, for glibc 2.28 and newer (Debian 10, Ubuntu 20.04, RHEL 8), and makes of
it the named packages, or all:

  deb      rdnafix_VERSION_amd64.deb
  wheel    rdnafix-VERSION-py3-none-manylinux_2_28_x86_64.whl, for pip
  tarball  rdnafix-VERSION-x86_64-linux.tar.gz, to be unpacked anywhere

  --out DIR     where they go; by default target/packages
  --no-install  install nothing: what is missing is an error
  --tools       only fetch the packaging tools, and print where they are

The same sources give the same bytes, wherever and whenever they are built with the same Rust.
TEXT
}

out=
install=yes
only_tools=no
wanted=()
while (($#)); do
    case $1 in
        --out)
            (($# > 1)) || die "--out needs a directory"
            out=$2
            shift
            ;;
        --no-install) install=no ;;
        --tools) only_tools=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        deb | wheel | tarball) wanted+=("$1") ;;
        *)
            usage >&2
            die "there is no package '$1'"
            ;;
    esac
    shift
done
((${#wanted[@]})) || wanted=(deb wheel tarball)

need_rust 1.88
need_command python3 python3
python3 -c 'import ensurepip, venv' 2>/dev/null || add_missing "Python's venv" python3-venv
need_command dpkg-deb dpkg
install_missing "$install" no >&2

# The tools from PyPI, in a folder of their own: what is named in the file, with those hashes.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rdnafix
venv=$cache/tools/packaging-$(sha256sum packaging/requirements.txt | cut -c 1-16)
if [[ ! -e $venv/complete ]]; then
    [[ $install == yes ]] || die "--no-install, and the packaging tools are not there ($venv)"
    say "fetching the packaging tools" >&2
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --require-hashes --requirement packaging/requirements.txt
    touch "$venv/complete"
fi
if [[ $only_tools == yes ]]; then
    say "$venv"
    exit
fi

target=x86_64-unknown-linux-gnu
multiarch=x86_64-linux-gnu
glibc=2.28
version=$(package_version)
[[ -n $out ]] || out=$(target_directory)/packages
mkdir -p "$out"
out=$(cd "$out" && pwd)
SOURCE_DATE_EPOCH=$(source_date)
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "building for glibc $glibc"
# No path of the machine that builds may be in the files.
remap="--remap-path-prefix=$PWD=/rdnafix --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
env PATH="$venv/bin:$PATH" RUSTFLAGS="$remap" \
    cargo zigbuild --release --workspace --locked --target "$target.$glibc" \
    --target-dir "${RDNAFIX_PACKAGE_TARGET:-$cache/package}"
built=${RDNAFIX_PACKAGE_TARGET:-$cache/package}/$target/release

# What every package has, as it lies under /usr or any other prefix.
stage=$work/stage
share=$stage/share
install -D "$built/rdnafix" "$stage/bin/rdnafix"
install -D -m 644 -t "$stage/lib" "$built/librdnafix.so" "$built/libkfdsim.so"
mkdir -p "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/site-functions" \
    "$share/fish/vendor_completions.d" "$share/doc/rdnafix" "$share/rdnafix"
"$built/rdnafix" man --out "$share/man/man1" >/dev/null
gzip -9n "$share"/man/man1/*.1
"$built/rdnafix" completions bash >"$share/bash-completion/completions/rdnafix"
"$built/rdnafix" completions zsh >"$share/zsh/site-functions/_rdnafix"
"$built/rdnafix" completions fish >"$share/fish/vendor_completions.d/rdnafix.fish"
cp -r patches "$share/rdnafix/"
for file in README.md CHANGELOG.md LICENSE LICENSE-APACHE LICENSE-MIT docs examples; do
    [[ ! -e $file ]] || cp -r "$file" "$share/doc/rdnafix/"
done
cp -r packaging/drop-ins "$share/doc/rdnafix/examples/"
python3 packaging/licenses.py "$target" >"$share/doc/rdnafix/third-party-licenses.txt"

# settle DIR: modes and times as they are in the package.
settle() {
    chmod -R u=rwX,go=rX "$1"
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

make_deb() {
    local root=$work/deb file=$out/rdnafix_${version}_amd64.deb
    mkdir -p "$root/usr" "$root/DEBIAN"
    cp -a "$stage/." "$root/usr/"
    mkdir "$root/usr/lib/$multiarch"
    mv "$root"/usr/lib/*.so "$root/usr/lib/$multiarch/"
    mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
    mv "$root/usr/share/doc/rdnafix/LICENSE" "$root/usr/share/doc/rdnafix/copyright"
    if [[ -e $root/usr/share/doc/rdnafix/CHANGELOG.md ]]; then
        mv "$root/usr/share/doc/rdnafix/CHANGELOG.md" "$root/usr/share/doc/rdnafix/changelog"
        gzip -9n "$root/usr/share/doc/rdnafix/changelog"
    fi
    # As dpkg-gencontrol counts it: what du says depends on the file system.
    local size
    size=$(find "$root/usr" \( -type f -printf '%s\n' \) -o -printf '1\n' |
        awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
    sed -e "s/@VERSION@/$version/" -e "s/@GLIBC@/$glibc/" -e "s/@SIZE@/$size/" \
        packaging/control.in >"$root/DEBIAN/control"
    echo 'activate-noawait ldconfig' >"$root/DEBIAN/triggers"
    (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
    settle "$root"
    dpkg-deb --root-owner-group --uniform-compression -Zxz --build "$root" "$file" >/dev/null
    say "$file"
}

make_wheel() {
    local root=$work/wheel
    local data=$root/rdnafix-$version.data info=$root/rdnafix-$version.dist-info
    mkdir -p "$data/data" "$data/scripts" "$info/licenses"
    cp -a "$stage/." "$data/data/"
    mv "$data/data/bin/rdnafix" "$data/scripts/"
    rmdir "$data/data/bin"
    # Not among the libraries of a virtual environment: only the command looks for them there.
    mkdir "$data/data/lib/rdnafix"
    mv "$data"/data/lib/*.so "$data/data/lib/rdnafix/"
    cp LICENSE LICENSE-APACHE LICENSE-MIT "$info/licenses/"
    { sed "s/@VERSION@/$version/" packaging/METADATA.in && cat README.md; } >"$info/METADATA"
    sed "s/@TAG@/py3-none-manylinux_${glibc/./_}_x86_64/" packaging/WHEEL.in >"$info/WHEEL"
    settle "$root"
    "$venv/bin/python" -m wheel pack --dest-dir "$out" "$root" >/dev/null
    say "$out/rdnafix-$version-py3-none-manylinux_${glibc/./_}_x86_64.whl"
}

make_tarball() {
    local name=rdnafix-$version-x86_64-linux
    cp -a "$stage" "$work/$name"
    settle "$work/$name"
    tar --create --directory "$work" --sort=name --owner=0 --group=0 --numeric-owner \
        --format=gnu "$name" | gzip -9n >"$out/$name.tar.gz"
    say "$out/$name.tar.gz"
}

for package in "${wanted[@]}"; do "make_$package"; done
