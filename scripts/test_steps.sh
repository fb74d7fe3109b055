# The steps of scripts/test.sh, which sources this: a function for each. A step decides nothing
# about the others; what it could not run goes through `skip` or `collect` into the summary.
# It uses what scripts/test.sh sets: install, quick, tools, work, all_releases.
# shellcheck shell=bash disable=SC2154

# skip REASON: ends a step that cannot run here.
skip() {
    printf '%s' "$1" >"$work/reason"
    exit 77
}

step_tools() {
    if [[ $install == no ]]; then skip "--no-install"; fi
    need_command g++ g++
    install_missing yes no
    need_command rocminfo rocminfo
    need_command shellcheck shellcheck
    need_command valgrind valgrind
    need_command mmdebstrap mmdebstrap
    need_command script bsdutils
    need_command setcap libcap2-bin
    need_command groff groff
    need_command zsh zsh
    need_command fish fish
    need_command qemu-system-x86_64 qemu-system-x86
    [[ -e /usr/include/libdrm/amdgpu_drm.h ]] || add_missing "the headers of libdrm" libdrm-dev
    need_command python3 python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || add_missing "Python's venv" python3-venv
    need_library libjemalloc.so.2 libjemalloc2
    [[ -e /lib/ld-linux.so.2 ]] || add_missing "a 32-bit loader" libc6-i386
    need_library libtcmalloc_minimal.so.4 libtcmalloc-minimal4
    need_rocm
    install_missing yes no
    if ! cargo_deny --version >/dev/null 2>&1; then
        # Unoptimised: it builds in a fraction of the time, and checks in a second.
        cargo install --locked --debug --no-default-features --root "$tools" \
            --version "$cargo_deny_version" cargo-deny
    fi
}

# The installed cargo-deny, or the one that the step tools has built.
cargo_deny() { PATH=$PATH:$tools/bin cargo deny "$@"; }

step_format() { cargo fmt --all --check; }

step_lint() { cargo clippy --workspace --all-targets --all-features -- -D warnings; }

step_build() { cargo build --release --workspace; }

step_unit() {
    cargo test --workspace --exclude rdnafix --no-fail-fast
    cargo test --package rdnafix --lib --no-fail-fast
    # Here for what it says: which headers the types were compared with, and which are not there.
    cargo test --package kfd-abi --all-features --test header -- --nocapture 2>&1 |
        tee "$work/output"
    collect unit
}

step_threads() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    compgen -G "$(rustc --print sysroot)/lib/rustlib/$host/lib/librustc-*_rt.tsan.a" >/dev/null ||
        skip "this Rust toolchain comes without ThreadSanitizer"
    # The standard library is not instrumented, so its locks would be reported: only what does
    # without them is run. The flags are unstable, and the toolchain is pinned.
    echo 'race:std::sync::mpmc' >"$work/suppressions" # the channel of the test harness
    RUSTC_BOOTSTRAP=1 TSAN_OPTIONS="suppressions=$work/suppressions" \
        RUSTFLAGS='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer' \
        cargo test --package rdnafix --lib --target "$host" \
        --target-dir "$(target_directory)/tsan" without_locks -- --test-threads=1
}

# The test files of the steps patches, kernel, releases, fidelity, packages and readme; all others are
# those of e2e.
of_patches=(patch_policy patches 'port_*' cli_patch 'cli_build*' equivalence pytorch_patch)
of_kernel=('kernel_*')
of_releases=(cli_root clients golden 'releases_*')
of_fidelity=(kfdtest rocrtst)
of_packages=(packages packages_many)
of_readme=(docs)
# Those of e2e that also run with the programs in the root of each other release.
of_every_release=(found_by_testing robustness_loader robustness_process)

step_e2e() {
    find_rocm || skip "no ROCm here (HIP and HSA headers and libraries)"
    # The tables that these tests expect are those of one release; the step releases has the others.
    [[ $(hip_release) == 5.2 ]] || skip "the tests are for ROCm 5.2.3 (Debian 12), here is $(hip_release)"
    local python
    python=$(scripts/clients.sh --where)/host/bin/python
    if [[ -x $python ]]; then local -x RDNAFIX_TEST_HIP_PYTHON=$python; fi
    local -a tests=()
    local file name
    for file in tests/*.rs; do
        name=$(basename "$file" .rs)
        [[ $quick == no || $name == cli_* ]] || continue
        is_one_of "$name" "${of_patches[@]}" "${of_kernel[@]}" "${of_releases[@]}" "${of_fidelity[@]}" \
            "${of_packages[@]}" "${of_readme[@]}" || tests+=("$name")
    done
    run_tests e2e "${tests[@]}"
}

# is_one_of NAME PATTERN...
is_one_of() {
    local name=$1 pattern
    shift
    for pattern in "$@"; do
        # shellcheck disable=SC2053 # it is a pattern
        [[ $name == $pattern ]] && return
    done
    return 1
}

# run_tests STEP TEST...: end-to-end tests by the names of their files. A test that cannot run
# here says so on a line of its own and is counted in the summary; one that fails once and then
# passes is shown as flaky there.
run_tests() {
    local step=$1 name code=0
    local -a tests=()
    shift
    for name in "$@"; do tests+=(--test "$name"); done
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --package rdnafix "${tests[@]}" --no-fail-fast --retries 1 \
            --success-output final --status-level retry --final-status-level flaky 2>&1 |
            tee "$work/output" || code=$?
    else
        cargo test --package rdnafix "${tests[@]}" --no-fail-fast -- --nocapture 2>&1 |
            tee "$work/output" || code=$?
    fi
    collect "$step"
    return "$code"
}

# collect STEP: keeps for the summary what tests have said of themselves in the last output.
collect() {
    grep -oE '(SKIPPED: |FLAKY |MATRIX: ).*' "$work/output" | sort -u |
        sed "s/^/$1 /" >>"$work/single" || true
}

step_roots() {
    local rdnafix name code line
    rdnafix=$(target_directory)/release/rdnafix
    [[ -x $rdnafix ]] || skip "there is no $rdnafix: run the step build first"
    while IFS= read -r line; do
        # A name begins its line; a long description goes on in the next ones.
        name=${line%% *}
        [[ -n $name && $name == *"${RDNAFIX_TEST_RELEASE:-}" ]] || continue
        code=0
        "$rdnafix" sim root "$name" >/dev/null 2>"$work/root" || code=$?
        case $code in
            0) say "$name: there" ;;
            69) # It cannot be had, which is no failure of the project's.
                line=$(tail -n 1 "$work/root")
                say "$name: $line"
                say "roots SKIPPED: ${line#rdnafix: }" >>"$work/single"
                ;;
            *)
                cat "$work/root"
                return 1
                ;;
        esac
    done < <("$rdnafix" sim root)
    [[ -z ${RDNAFIX_TEST_RELEASE:-} ]] || return 0
    scripts/clients.sh || say "roots SKIPPED: a part of what real clients need cannot be had" >>"$work/single"
}

step_patches() {
    run_tests patches "${of_patches[@]}"
}

step_kernel() {
    run_tests kernel "${of_kernel[@]}"
}

step_releases() {
    local rdnafix name code=0
    run_tests releases "${of_releases[@]}" || code=$?
    rdnafix=$(target_directory)/release/rdnafix
    # What this machine has is tested by the step e2e.
    for name in "${all_releases[@]:1}"; do
        [[ $name == *"${RDNAFIX_TEST_RELEASE:-}" ]] || continue
        if ! "$rdnafix" sim root "$name" --json >/dev/null 2>&1; then
            say "releases SKIPPED: ROCm $name cannot be had: ${of_every_release[*]}" >>"$work/single"
            continue
        fi
        say "## ROCm $name: ${of_every_release[*]}"
        RDNAFIX_TEST_INSIDE=$name run_tests releases "${of_every_release[@]}" || code=$?
    done
    return "$code"
}

step_fidelity() {
    run_tests fidelity "${of_fidelity[@]}"
}

step_packages() {
    local -x SOURCE_DATE_EPOCH RDNAFIX_TEST_PACKAGES RDNAFIX_TEST_PACKAGING
    local -a options=()
    local file staging
    if [[ $install == no ]]; then options=(--no-install); fi
    SOURCE_DATE_EPOCH=$(source_date)
    RDNAFIX_TEST_PACKAGES=$(target_directory)/packages
    RDNAFIX_TEST_PACKAGING=$(scripts/package.sh --tools)
    rm -rf "$RDNAFIX_TEST_PACKAGES"
    scripts/release.sh "${options[@]}" --out "$RDNAFIX_TEST_PACKAGES"
    say "## the same again, from another directory and from nothing, staged on another file system"
    mkdir "$work/again"
    if [[ -w /dev/shm ]]; then
        staging=$(mktemp -d -p /dev/shm)
        # shellcheck disable=SC2064 # the variable is gone when the step's shell ends
        trap "rm -rf '$staging'" EXIT
    else
        staging=$work
        say "packages SKIPPED: staging on a tmpfs: /dev/shm is not writable" >>"$work/single"
    fi
    { git ls-files -z 2>/dev/null || find . -path ./target -prune -o -type f -print0; } |
        tar --create --null --files-from=- | tar --extract --directory="$work/again"
    (
        unset CARGO_TARGET_DIR
        TMPDIR=$staging RDNAFIX_PACKAGE_TARGET=$work/again/target \
            "$work/again/scripts/release.sh" "${options[@]}" --out "$work/packages"
    )
    for file in "$RDNAFIX_TEST_PACKAGES"/*; do
        cmp "$file" "$work/packages/${file##*/}"
    done
    rm -rf "$work/again"
    run_tests packages "${of_packages[@]}"
}

step_examples() {
    local file
    find_rocm || skip "no ROCm here (HIP and HSA headers and libraries)"
    for file in examples/*.cpp; do
        compile_example "$(basename "$file" .cpp)" "$work/example" -Wall -Wextra -Werror
    done
    for file in examples/*.py; do
        python3 "$file" --help >/dev/null
    done
}

step_shell() {
    command -v shellcheck >/dev/null || skip "no shellcheck here"
    shellcheck --external-sources .ci/run scripts/*.sh packaging/drop-ins/*.sh examples/*.sbatch \
        crates/cli/dkms/*.sh crates/cli/dkms/deb/p*
}

step_licenses() {
    cargo_deny --version >/dev/null 2>&1 || skip "no cargo-deny here"
    cargo_deny check licenses bans sources
}

step_advisories() {
    cargo_deny --version >/dev/null 2>&1 || skip "no cargo-deny here"
    # The database is a git repository on a host that is not reachable from everywhere.
    if timeout 120 env PATH="$PATH:$tools/bin" cargo deny check advisories >"$work/advisories" 2>&1; then
        return
    fi
    if grep -q 'failed to fetch advisory database' "$work/advisories" || [[ ! -s $work/advisories ]]; then
        skip "the advisory database cannot be fetched from here"
    fi
    cat "$work/advisories"
    return 1
}

step_docs() {
    # In two calls: the library rdnafix and the command rdnafix have one file name there.
    local -x RUSTDOCFLAGS='-D warnings'
    cargo doc --workspace --no-deps --document-private-items --lib
    cargo doc --package rdnafix-cli --no-deps --document-private-items
}

step_bench() { cargo bench --workspace --bench '*' --no-run; }

# The pages: README.md and all others.
step_readme() {
    if [[ $install == no ]]; then local -x RDNAFIX_TEST_NO_INSTALL=1; fi
    find_rocm || skip "no ROCm here (HIP and HSA headers and libraries)"
    run_tests readme "${of_readme[@]}"
}
