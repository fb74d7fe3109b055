# shellcheck shell=bash
# Functions that the scripts share: messages, packages, the ROCm installation, cargo.
# To be sourced after `set -euo pipefail`, in the root of the repository.

# What the installation has to add, collected by need_* and dealt with by install_missing.
missing_packages=()
missing_why=()

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# need_command COMMAND PACKAGE: the package is missing if the command is.
need_command() {
    command -v "$1" >/dev/null || add_missing "the command $1" "$2"
}

# need_library FILE PACKAGE: the package is missing if the loader does not know the library.
need_library() {
    # /sbin is not in everybody's PATH.
    [[ $(PATH=$PATH:/sbin:/usr/sbin ldconfig -p) == *"$1"* ]] || add_missing "the library $1" "$2"
}

# need_rocm: the ROCm headers and libraries are missing if nothing links with them.
need_rocm() {
    find_rocm || add_missing "the HIP and HSA headers and libraries" libamdhip64-dev libhsa-runtime-dev
}

add_missing() {
    missing_why+=("$1")
    shift
    missing_packages+=("$@")
}

# install_missing INSTALL ASK: installs what need_* found missing, after saying so.
# INSTALL=no only says what is missing, and fails. ASK=yes asks first.
install_missing() {
    local install=$1 ask=$2 package why
    ((${#missing_packages[@]})) || return 0
    for why in "${missing_why[@]}"; do say "missing: $why"; done
    if ! command -v apt-get >/dev/null; then
        die "this system has no apt-get: install these with its own package manager; a ROCm in a folder of its own is found by ROCM_PATH=FOLDER"
    fi
    if [[ $install == no ]]; then
        die "nothing is installed (--no-install); the packages are: ${missing_packages[*]}"
    fi
    say "to be installed with apt-get: ${missing_packages[*]}"
    if [[ $ask == yes && -t 0 ]]; then
        local answer
        read -r -p "Go on? [Y/n] " answer
        [[ ${answer:-y} == [Yy]* ]] || die "nothing was installed"
    fi
    for package in "${missing_packages[@]}"; do
        known_package "$package" && continue
        as_root apt-get update
        break
    done
    for package in "${missing_packages[@]}"; do
        known_package "$package" ||
            die "apt knows no package $package: install ROCm from elsewhere and set ROCM_PATH to its folder"
    done
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing_packages[@]}"
    missing_packages=()
    missing_why=()
}

known_package() { apt-cache show "$1" >/dev/null 2>&1; }

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "not root, and there is no sudo: run this as root: $*"
    fi
}

# find_rocm: sets rocm_flags to what a program that uses HIP and HSA is compiled with.
# ROCM_PATH comes first, then /opt/rocm, then what the compiler finds by itself.
find_rocm() {
    local folder
    local -a flags
    command -v g++ >/dev/null || return 1
    for folder in ${ROCM_PATH:+"$ROCM_PATH"} /opt/rocm "" /opt/rocm-*; do
        flags=(-D__HIP_PLATFORM_AMD__)
        if [[ -n $folder ]]; then
            [[ -d $folder/include ]] || continue
            flags+=("-I$folder/include" "-L$folder/lib" "-Wl,-rpath,$folder/lib")
        fi
        if links "${flags[@]}"; then
            rocm_flags=("${flags[@]}")
            return 0
        fi
    done
    return 1
}

links() {
    g++ -std=c++17 "$@" -x c++ -o /dev/null - -lamdhip64 -lhsa-runtime64 2>/dev/null <<'CPP'
#include <hip/hip_runtime_api.h>
#include <hsa/hsa_ext_amd.h>
int main() { return hipInit(0) + hsa_init(); }
CPP
}

# hip_release: the MAJOR.MINOR of the HIP headers that find_rocm has found.
hip_release() {
    printf '%s\n' '#include <hip/hip_version.h>' 'HIP_VERSION_MAJOR.HIP_VERSION_MINOR' |
        g++ "${rocm_flags[@]}" -E -P -x c++ - 2>/dev/null | tail -n 1 | tr -d ' '
}

# compile_example NAME OUTPUT [FLAG...]: compiles examples/NAME.cpp.
compile_example() {
    local name=$1 output=$2
    shift 2
    find_rocm || die "no ROCm to compile examples/$name.cpp with"
    mkdir -p "$(dirname "$output")"
    g++ -std=c++17 -O1 "$@" "${rocm_flags[@]}" "examples/$name.cpp" -o "$output" \
        -lamdhip64 -lhsa-runtime64 -ldl
}

# need_rust MAJOR.MINOR: the oldest compiler that the workspace builds with.
need_rust() {
    local wanted=$1 version
    if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
        die "there is no Rust (cargo, rustc): install it with rustup; $wanted or later is needed"
    fi
    version=$(rustc --version | cut -d ' ' -f 2)
    printf '%s\n%s\n' "$wanted" "$version" | sort --version-sort --check=quiet ||
        die "Rust $version is too old, $wanted or later is needed: install it with rustup"
}

# target_directory: where cargo puts what it builds, CARGO_TARGET_DIR and its configuration
# respected.
target_directory() {
    cargo metadata --format-version 1 --no-deps |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# package_version: of the library, the command and the packages.
package_version() {
    cargo metadata --format-version 1 --no-deps --locked |
        python3 -c 'import json, sys
print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "rdnafix"))'
}

# source_date: the time that files in packages have: SOURCE_DATE_EPOCH, else that of the commit, else
# of the locked dependencies.
source_date() {
    if [[ -n ${SOURCE_DATE_EPOCH:-} ]]; then
        say "$SOURCE_DATE_EPOCH"
    else
        git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.lock
    fi
}
