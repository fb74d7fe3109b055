# shellcheck shell=bash
# What kfdtest.sh and rocrtst.sh share: a test program of AMD's is built from the source of ROCr
# in the Debian archive, in a root, and kept in the cache. To be sourced after lib.sh.

# begin_build NAME PART ARGUMENT...: for the script NAME.sh, which has a function usage and no
# arguments of its own. Ends the script where NAME was built before. Otherwise PART of the source
# is in $work/PART, and in_root runs programs in the root NAME-6.4.3, which is at $root.
begin_build() {
    name=$1
    local part=$2 rdnafix hash source
    case ${3:-} in
        "") ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            die "unknown argument '$3'"
            ;;
    esac
    recipe=$name-6.4.3
    rdnafix=$(built_rdnafix)
    root=$("$rdnafix" sim root "$recipe") # exits with its code where there is none
    source=$(compgen -G "$root/usr/src/deb/rocr-runtime_*.orig.tar.*") ||
        die "the source of rocr-runtime is not in $root: remove the root"
    hash=$(cat "scripts/$name.sh" scripts/amd_tests.sh "crates/cli/roots/$recipe.toml" "$source" |
        sha256sum)
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/rdnafix
    result=$cache/$name-${hash:0:16}
    log=$cache/$name.log
    if [[ -d $result ]]; then
        say "$result"
        exit 0
    fi
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/.$name-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    say "building $name, a minute on two processors" >&2
    in_root tar --extract --file="/usr/src/deb/${source##*/}" --directory="/machine$work" \
        --strip-components=1 --wildcards "*/$part/*"
    mkdir "$work/done"
}

# in_root PROGRAM...: runs it in the root, where the machine's own tree is under /machine.
in_root() { "$(built_rdnafix)" sim root "$recipe" -- "$@"; }

# build_failed: ends the script with the end of the log.
build_failed() {
    tail -n 20 "$log" >&2
    die "$name does not build (log: $log)"
}

# keep_build: puts $work/done into the cache, unless somebody was quicker, and says where it is.
keep_build() {
    chmod 755 "$work/done"
    mv --no-target-directory "$work/done" "$result" 2>/dev/null || [[ -d $result ]] ||
        die "cannot make $result"
    say "$result"
}

# built_rdnafix: the command of the release build.
built_rdnafix() {
    local rdnafix
    rdnafix=$(target_directory)/release/rdnafix
    [[ -x $rdnafix ]] || die "$rdnafix is missing: run 'cargo build --release --workspace' first"
    say "$rdnafix"
}
