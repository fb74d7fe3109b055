//! What `rdnafix build kernel` refuses, and what it says then: nothing is changed before the
//! machine has all that is needed, and a kernel that cannot be served keeps its stock module.

mod kernel_machine;

use kernel_machine::Machine;
use kernel_machine::cli_common::text;
use serde_json::Value;

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

/// Takes a file or directory away for as long as the command runs.
fn without(path: &str, command: &str) -> String {
    format!("mv {path} /tmp/away\ncode=0; {command} || code=$?\nmv /tmp/away {path}; exit $code")
}

/// A shell's words: the command as a user who is not root.
const AS_USER: &str = "setpriv --reuid=65534 --clear-groups";

/// Runs a command on a kernel that says `uname -v`: of the machine's release, and running.
fn running(version: &str, command: &str) -> String {
    format!(
        "cat >/uname.c <<'C'\n\
         static void put(char *to, const char *from) {{ while ((*to++ = *from++)); }}\n\
         int uname(char name[6][65]) {{\n\
             put(name[0], \"Linux\"), put(name[1], \"here\"), put(name[2], RELEASE);\n\
             put(name[3], VERSION), put(name[4], \"x86_64\"), put(name[5], \"\");\n\
             return 0;\n\
         }}\nC\n\
         gcc-12 -shared -fPIC -nostdlib -fno-builtin -o /uname.so /uname.c \
             -DRELEASE=\"\\\"$K\\\"\" -DVERSION='\"{version}\"'\n\
         LD_PRELOAD=/uname.so {command}"
    )
}

#[test]
fn the_running_kernel_has_to_be_the_one_of_the_installed_packages() {
    let Some(machine) = Machine::new("the version of the running kernel") else { return };
    let version = machine.succeed("dpkg-query -W -f '${Version}' linux-image-$K");
    let check = "rdnafix build kernel --check";
    let of = |version: &str| format!("#1 SMP PREEMPT_DYNAMIC Debian {version} (2026-11-16)");
    let said = machine.succeed(&running(&of(&version), check));
    assert!(said.contains(&format!("({version}) can be built here")), "{said}");
    let said = machine.refused(&running(&of("6.1.1-1"), check));
    let lack = format!("is 6.1.1-1, and its package linux-image-{} is {version}", machine.kernel);
    assert!(said.contains(&lack) && said.contains("restart"), "{said}");
    let said = machine.refused(&running("#1 SMP Mon Nov 23 12:00:00 UTC 2026", check));
    assert!(said.contains("only Debian's own kernels are supported"), "{said}");
}

#[test]
fn what_is_missing_is_said_to_a_user_who_is_not_root() {
    let Some(machine) = Machine::new("what a user is told") else { return };
    let check = format!("{AS_USER} env PATH=/usr/local/bin:/usr/bin:/bin {BUILD} --check");
    let said = machine.succeed(&check);
    assert!(said.contains("can be built here") && said.contains("sudo rdnafix"), "{said}");
    let out = machine.succeed(&format!("{check} --json"));
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["possible"], true, "{out}");
    assert_eq!(document["kernel"], machine.kernel.as_str());

    let without_make = without("/usr/bin/make", &format!("{check} --json"));
    let output = machine.run(&without_make);
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["possible"], false);
    assert_eq!(document["packages"], serde_json::json!(["make"]));
    let said = machine.refused(&without("/usr/bin/make", &format!("{AS_USER} {BUILD}")));
    assert!(said.contains("run it with sudo") && said.contains("make is missing"), "{said}");
    // Root's own PATH may lack what is there: that is no package.
    let said = machine.refused(&format!("PATH=/usr/local/bin:/usr/bin:/bin {BUILD}"));
    assert!(said.contains("dkms is in /usr/sbin, which is not in PATH"), "{said}");
    assert!(!said.contains("apt-get install"), "{said}");
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

    // The kernel itself is of another version than its headers and its source.
    let image = format!("linux-image-{kernel}");
    let said = machine.refused(&with_version(&image, "6.1.1-1", BUILD));
    for package in [format!("linux-headers-{kernel}"), "linux-source-6.1".to_owned()] {
        let lack = format!("{package} is {version}, and kernel {kernel} is 6.1.1-1");
        assert!(said.contains(&lack), "{lack} in {said}");
        assert!(said.contains(&format!("apt-get install {package}=6.1.1-1")), "{said}");
    }
    let said =
        machine.refused(&without("/lib/modules/$K/kernel/drivers/gpu/drm/amd/amdgpu", BUILD));
    assert!(said.contains("the stock amdgpu of Linux") && said.contains("is missing"), "{said}");
    let said = machine.refused(&without("/usr/sbin/update-initramfs", BUILD));
    assert!(said.contains("neither of update-initramfs and dracut is here"), "{said}");

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

    let said = machine.refused(&format!("{AS_USER} rdnafix build kernel --remove"));
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
    for package in ["linux-source-6.1".to_owned(), format!("linux-image-{}", machine.kernel)] {
        let output = machine.run(&with_version(&package, "6.1.1-1", installed));
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{package}: {said}");
        let status = machine.succeed("dkms status -m amdgpu-rdna");
        assert!(status.trim().ends_with("added"), "{package}: {status}");
    }
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

#[test]
fn the_certificate_is_the_one_that_dkms_is_configured_to_sign_with() {
    let Some(machine) = Machine::new("the certificate of dkms's configuration") else { return };
    let script = include_str!("../crates/cli/dkms/certificate.sh");
    let script = format!("cat >/c.sh <<'SCRIPT'\n{script}SCRIPT\n");
    let certificate = |configuration: &str| {
        machine.succeed(&format!("{script}{configuration}\nbash /c.sh $K")).trim().to_owned()
    };
    assert_eq!(certificate(":"), "/var/lib/dkms/mok.pub");
    let kernel = &machine.kernel;
    let named =
        certificate("echo 'mok_certificate=/keys/$kernelver.pub' >>/etc/dkms/framework.conf");
    assert_eq!(named, format!("/keys/{kernel}.pub"));
    // What comes later counts, and what is odd in it is dkms's to judge.
    let later = "mkdir -p /etc/dkms/framework.conf.d\n\
                 echo 'false; echo $unset; mok_certificate=/later.pub' >/etc/dkms/framework.conf.d/x.conf";
    assert_eq!(certificate(later), "/later.pub");
}
