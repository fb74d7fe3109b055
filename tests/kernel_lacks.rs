//! What `rdnafix build kernel` refuses, and what it says then: nothing is changed before the
//! machine has all that is needed, and a kernel that cannot be served keeps its stock module.

mod kernel_machine;

use kernel_machine::Machine;
use kernel_machine::cli_common::text;

const BUILD: &str = "rdnafix build kernel --kernel $K";

/// Changes the version that dpkg knows of a package, for as long as the command runs.
fn with_version(package: &str, version: &str, command: &str) -> String {
    format!(
        "cp /var/lib/dpkg/status /status\n\
         sed -i '/^Package: {package}$/,/^$/s/^Version: .*/Version: {version}/' /var/lib/dpkg/status\n\
         code=0; {command} || code=$?\n\
         cp /status /var/lib/dpkg/status; exit $code"
    )
}

#[test]
fn each_lack_is_named_with_the_command_that_mends_it_and_nothing_is_changed() {
    let Some(machine) = Machine::new("what a build of the kernel's module lacks") else { return };
    let kernel = machine.kernel.clone();

    // The running kernel is the host's, which is not here.
    let said = machine.refused("rdnafix build kernel");
    assert!(said.contains("there is no kernel ") && said.contains(&kernel), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    let said = machine.refused("rdnafix build kernel --kernel ../$K");
    assert!(said.contains("is no release of a kernel"), "{said}");

    let said = machine.refused(&with_version("linux-source-6.1", "6.1.1-1", BUILD));
    let version = machine.succeed("dpkg-query -W -f '${Version}' linux-headers-$K");
    assert!(said.contains("linux-source-6.1 is 6.1.1-1"), "{said}");
    assert!(said.contains(&format!("apt-get install linux-source-6.1={version}")), "{said}");

    for (lack, package, script) in [
        ("make is missing", "make", "mv /usr/bin/make /usr/bin/none"),
        ("openssl is missing", "openssl", "mv /usr/bin/openssl /usr/bin/none"),
        ("dkms is missing", "dkms", "mv /usr/sbin/dkms /usr/sbin/none"),
        ("gcc-12 is missing", "gcc-12", "mv /usr/bin/gcc-12 /usr/bin/none"),
        ("pahole is missing", "pahole", "touch /lib/modules/$K/build/vmlinux"),
    ] {
        // Each in a shell whose changes are taken back.
        let undo = match script.split_whitespace().collect::<Vec<_>>()[..] {
            ["mv", from, to] => format!("mv {to} {from}"),
            _ => "rm /lib/modules/$K/build/vmlinux".to_owned(),
        };
        let said =
            machine.refused(&format!("{script}; code=0; {BUILD} || code=$?; {undo}; exit $code"));
        assert!(said.contains(lack), "{lack} in {said}");
        assert!(
            said.contains(&format!("apt-get install {package}")) || said.contains("apt knows no"),
            "{said}"
        );
    }

    let said = machine.refused(&format!(
        "mkdir -p /var/lib/dkms/amdgpu; code=0; {BUILD} || code=$?; rmdir /var/lib/dkms/amdgpu; \
         exit $code"
    ));
    assert!(said.contains("sudo apt-get remove amdgpu-dkms"), "{said}");

    let said = machine.refused(&format!(
        "mkdir -p /small && mount -t tmpfs -o size=100m none /small && \
         XDG_CACHE_HOME=/small {BUILD}"
    ));
    assert!(said.contains("/small has 0.10 GB free of the 3.00"), "{said}");

    let said = machine.refused(&format!("setpriv --reuid=65534 --clear-groups {BUILD}"));
    assert!(said.contains("run it with sudo"), "{said}");
    let said =
        machine.refused("setpriv --reuid=65534 --clear-groups rdnafix build kernel --remove");
    assert!(said.contains("run it with sudo"), "{said}");

    let left = machine.succeed("ls -d /usr/src/amdgpu-rdna* /lib/modules/$K/updates 2>&1 || true");
    assert!(left.lines().all(|line| line.contains("No such file")), "{left}");
}

#[test]
fn a_kernel_whose_source_is_not_there_is_passed_over_by_dkms_and_keeps_its_module() {
    let Some(machine) = Machine::new("a kernel without its source") else { return };
    machine.succeed("mkdir /out/deb && rdnafix build kernel --deb /out/deb");
    machine.succeed("dpkg-deb -x /out/deb/*.deb /");
    machine.succeed("v=$(ls -d /usr/src/amdgpu-rdna-*) && dkms add -m amdgpu-rdna -v ${v##*-}");
    // As the installation of a kernel does it.
    let installed = "{ dkms autoinstall -k $K && /etc/kernel/postinst.d/dkms $K; }";
    let output = machine.run(&with_version("linux-source-6.1", "6.1.1-1", installed));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let status = machine.succeed("dkms status -m amdgpu-rdna");
    assert!(status.trim().ends_with("added"), "{status}");
    let module = machine.succeed("modinfo -k $K -F filename amdgpu");
    assert!(module.contains("/kernel/drivers/"), "{module}");
}

#[test]
fn a_patch_that_fits_only_with_fuzz_is_refused_and_no_tree_is_left() {
    let Some(machine) = Machine::new("a source that the patches do not fit") else { return };
    // A line of context is another one in the package's patch, as in another source.
    let output = machine.run(
        "mkdir /out/deb && rdnafix build kernel --deb /out/deb >/dev/null && mkdir /out/x && \
         dpkg-deb -x /out/deb/*.deb /out/x && cd /out/x/usr/src/amdgpu-rdna-* && \
         patch=$(ls patches/6.1/0001-*) && \
         awk '/^@@/ { print; getline; print \" \\t/* another line */\"; next } { print }' $patch >/p && \
         cp /p $patch && ./prepare.sh $K",
    );
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("does not fit Linux 6.1."), "{said}");
    let left = machine.run("ls -d /out/x/usr/src/amdgpu-rdna-*/src/linux");
    assert!(!left.status.success(), "{}", text(&left.stdout));
}
