//! The packages of `scripts/package.sh`: each installed, used and removed again in a clean root
//! of an older Debian and of the one that the tests run on. The step `packages` makes them first.

mod cli_common;
mod packages_common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use cli_common::{clean, output, rdnafix, release::release, succeed, text};
use packages_common::{Root, package, roots};

/// What every installation is asked to do; `rdnafix` is how it is called there.
fn works(root: &Root, rdnafix: &str, library: &str) {
    let said = root.says(&format!("{rdnafix} --version"));
    assert_eq!(said.trim(), format!("rdnafix {}", env!("CARGO_PKG_VERSION")), "{}", root.suite);
    // The loader speaks on stderr of what it cannot load, and goes on.
    assert_eq!(root.says(&format!("LD_PRELOAD={library} sh -c 'echo well' 2>&1")), "well\n");
    let board = "grep gfx_target_version /sys/class/kfd/kfd/topology/nodes/1/properties";
    let said = root.says(&format!("{rdnafix} sim --gpu gfx1012 -- {board}"));
    assert_eq!(said, "gfx_target_version 100102\n", "the simulated GPU is found");
    let said = root.says(&format!("{rdnafix} run -- sh -c 'echo $LD_PRELOAD'"));
    assert!(said.trim().ends_with("/librdnafix.so"), "{said}");
    assert!(root.says(&format!("{rdnafix} patch list")).contains("6.4.3"), "patches are in it");
    // A machine without a GPU is no error: findings, or none.
    let code = root.says(&format!("{rdnafix} doctor >/dev/null; echo $?"));
    assert!(["0\n", "1\n"].contains(&&code[..]), "{code}");
}

/// The files that come with the command, under a prefix.
fn has_its_files(root: &Root, prefix: &str, zsh: &str) {
    for file in [
        "share/man/man1/rdnafix.1.gz",
        "share/bash-completion/completions/rdnafix",
        zsh,
        "share/fish/vendor_completions.d/rdnafix.fish",
        "share/rdnafix/patches/clr/6.4.3/series",
        "share/doc/rdnafix/README.md",
        "share/doc/rdnafix/third-party-licenses.txt",
        "share/doc/rdnafix/examples/drop-ins/profile.d-rdnafix.sh",
        "share/doc/rdnafix/examples/drop-ins/environment.d-rdnafix.conf",
    ] {
        let path = root.path().join(prefix).join(file);
        let size = fs::metadata(&path).map_or(0, |data| data.len());
        assert!(size > 0, "{}: {} is missing", root.suite, path.display());
    }
}

#[test]
fn the_deb_is_installed_used_and_leaves_nothing() {
    for root in roots() {
        let before = root.files();
        root.take(&package(".deb"));
        root.says("dpkg --install /rdnafix_*_amd64.deb && rm /rdnafix_*");
        works(&root, "rdnafix", "librdnafix.so");
        has_its_files(&root, "usr", "share/zsh/vendor-completions/_rdnafix");
        let etc = |files: &BTreeSet<PathBuf>| -> Vec<_> {
            files.iter().filter(|file| file.starts_with("etc")).cloned().collect()
        };
        assert_eq!(etc(&root.files()), etc(&before), "nothing is enabled by installing it");
        root.says("dpkg --purge rdnafix");
        assert_eq!(root.changed(&before), Vec::<PathBuf>::new(), "{}", root.suite);
    }
}

#[test]
fn the_wheel_is_installed_used_and_leaves_nothing() {
    for root in roots() {
        root.says("python3 -m venv /venv");
        let before = root.files();
        root.take(&package(".whl"));
        root.says("/venv/bin/pip install --quiet --no-index /rdnafix-*.whl && rm /rdnafix-*");
        works(&root, "/venv/bin/rdnafix", "/venv/lib/rdnafix/librdnafix.so");
        has_its_files(&root, "venv", "share/zsh/site-functions/_rdnafix");
        root.says("/venv/bin/pip uninstall --quiet --yes rdnafix");
        // pip removes no directories, of no package.
        let mut changed = root.changed(&before);
        changed.retain(|path| !root.path().join(path).is_dir());
        assert_eq!(changed, Vec::<PathBuf>::new(), "{}", root.suite);
    }
}

#[test]
fn the_tarball_works_where_it_is_unpacked() {
    for root in roots() {
        root.take(&package(".tar.gz"));
        root.says("mkdir -p /home/me && tar -C /home/me -xzf /rdnafix-*.tar.gz");
        let name = format!("rdnafix-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
        let prefix = format!("home/me/{name}");
        works(&root, &format!("/{prefix}/bin/rdnafix"), &format!("/{prefix}/lib/librdnafix.so"));
        has_its_files(&root, &prefix, "share/zsh/site-functions/_rdnafix");
    }
}

/// By /etc/ld.so.preload a library comes into such programs, too.
#[test]
fn a_set_user_id_program_takes_nothing_from_its_callers_environment() {
    let roots = roots();
    let Some(root) = roots.first() else { return };
    root.take(&package(".deb"));
    let libraries = "/usr/lib/x86_64-linux-gnu";
    root.says(&format!(
        "dpkg --install /rdnafix_*_amd64.deb && cp /usr/bin/env /plain && cp /usr/bin/env /setuid && \
         chmod 4755 /setuid && echo {libraries}/librdnafix.so {libraries}/libkfdsim.so >/etc/ld.so.preload"
    ));
    let by_nobody = |program: &str| {
        root.says(&format!("setpriv --reuid 65534 --clear-groups /usr/bin/env -i {program}"))
    };
    if by_nobody("/setuid id -u") != "0\n" {
        println!("SKIPPED: a set-user-ID program in a clean root: such programs do not work here");
        return;
    }
    // What the library sets for PyTorch on a (simulated) RDNA2 GPU shows that it is there.
    assert!(by_nobody("/plain").contains("PYTORCH_HIP_ALLOC_CONF="));
    assert!(!by_nobody("/setuid").contains("PYTORCH_HIP_ALLOC_CONF="));
}

/// The packages are linked by another linker, for an older C library.
#[test]
fn the_packaged_library_asks_the_kernel_for_what_the_built_one_does() {
    let Some(release) = release("6.4.3") else { return };
    let libraries = ["-std=c++17", "-lamdhip64", "-lhsa-runtime64", "-ldl"];
    let probe = release.compile("examples/alloc_probe.cpp", "alloc_probe", &libraries);
    let unpacked = tempfile::tempdir().expect("a directory");
    succeed(clean("tar").arg("-C").arg(unpacked.path()).arg("-xzf").arg(package(".tar.gz")));
    let name = format!("rdnafix-{}-x86_64-linux/bin/rdnafix", env!("CARGO_PKG_VERSION"));
    let table = |mut command: std::process::Command| {
        command.args(["compare", "--root", "6.4.3", "--gpu", "gfx1030", "--json", "--"]);
        let output = output(command.arg(&probe));
        assert!(output.status.success(), "{}", text(&output.stderr));
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        value["rows"].clone()
    };
    let packaged = table(clean(unpacked.path().join(name)));
    assert!(packaged.as_array().is_some_and(|rows| rows.len() > 20), "{packaged}");
    assert_eq!(packaged, table(rdnafix::<&str>([])));
}

/// auditwheel, of the Python project, reads which systems the libraries in a wheel start on.
#[test]
fn the_wheel_keeps_what_its_name_promises() {
    let tools = PathBuf::from(std::env::var_os("RDNAFIX_TEST_PACKAGING").expect("by the step"));
    let wheel = package(".whl");
    let said = output(clean(tools.join("bin/auditwheel")).arg("show").arg(&wheel));
    let said = text(&said.stdout).replace('\n', " ");
    assert!(said.contains("manylinux_2_28_x86_64\""), "{said}");
}
