//! The patched module in Debian's kernel, in QEMU without KVM: it loads, shows its parameter, and
//! goes. No GPU is there: nothing that a device's driver does is run.

mod kernel_machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kernel_machine::Machine;
use kernel_machine::cli_common::text;

/// Debian's kernel and an initramfs with busybox, amdgpu and what it depends on.
struct Boot {
    directory: tempfile::TempDir,
}

/// How long a start may take at most: 16 s were measured, with nothing else at work.
const LIMIT: Duration = Duration::from_secs(240);

/// What the machine does: `$1` in its words is what is given to modprobe.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
dmesg -c >/before
echo "MODPROBE $(cat /parameters)"
modprobe amdgpu $(cat /parameters)
echo "RC $?"
echo "PARAMETER $(cat /sys/module/amdgpu/parameters/rdna_noncoherent 2>&1)"
test -c /dev/kfd && echo "KFD there"
test -d /sys/module/amdgpu && echo "MODULE there"
rmmod amdgpu && echo "RMMOD done"
test -d /sys/module/amdgpu || echo "MODULE gone"
dmesg -r >/said
echo "TAINT $(cat /proc/sys/kernel/tainted)"
# Priorities up to 4 are warnings and worse (KERN_WARNING of <linux/kern_levels.h>).
grep -E '^<[0-4]>|Call Trace|module is rejected' /said | sed 's/^/DMESG /'
echo END
poweroff -f
"#;

impl Boot {
    /// With the amdgpu that modprobe takes in a machine now.
    fn of(machine: &Machine, parameters: &str) -> Self {
        Self::with(machine, parameters, "true")
    }

    /// The same without the signature, which is behind the ELF file.
    fn unsigned(machine: &Machine) -> Self {
        let cut = "grep -q 'Module signature appended' .$module && strip -g .$module && \
                   ! grep -q 'Module signature appended' .$module";
        let cut = format!("module=$(modinfo -k $K -n amdgpu) && {cut}");
        Self::with(machine, "rdna_noncoherent=1", &cut)
    }

    /// `change` is made in the directory of the initramfs.
    fn with(machine: &Machine, parameters: &str, change: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let initramfs = machine.run(&format!(
            "rm -rf /i && mkdir -p /i/bin /i/proc /i/sys /i/dev && cd /i && cp /bin/busybox bin/\n\
             cat >init <<'INIT'\n{INIT}INIT\n\
             chmod +x init && echo '{parameters}' >parameters\n\
             modprobe -S $K --show-depends amdgpu | sed -n 's/^insmod \\([^ ]*\\).*/\\1/p' |\n\
             while read -r file; do mkdir -p .${{file%/*}}; cp $file .$file; done\n\
             cp /lib/modules/$K/modules.order /lib/modules/$K/modules.builtin* lib/modules/$K/\n\
             {{ {change}; }} || exit 1\n\
             depmod -b . $K\n\
             find . | cpio -o -H newc --quiet"
        ));
        assert!(initramfs.status.success(), "{}", text(&initramfs.stderr));
        fs::write(directory.path().join("initramfs"), &initramfs.stdout).unwrap();
        Self { directory }
    }

    /// Starts it; gives what it said, which must have an end.
    fn said(&self, kernel: &Path, append: &str) -> String {
        let mut qemu = Command::new("timeout");
        qemu.arg(LIMIT.as_secs().to_string()).arg("qemu-system-x86_64");
        qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "1024", "-nic", "none"]);
        qemu.args(["-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none"]);
        qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(self.directory.path().join("initramfs"));
        // The timer of an emulated machine may be late where others are at work, which is no
        // broken timer.
        let line = format!("console=ttyS0 quiet panic=-1 no_timer_check {append}");
        qemu.args(["-append", &line]);
        let output = qemu.output().expect("timeout starts");
        let said = text(&output.stdout).replace('\r', "");
        assert!(said.lines().any(|line| line == "END"), "{said}\n{}", text(&output.stderr));
        said
    }
}

fn there_is_qemu(test: &str) -> bool {
    let there = Command::new("qemu-system-x86_64").arg("--version").output().is_ok();
    if !there {
        println!("SKIPPED: {test}: qemu-system-x86_64 is not installed (qemu-system-x86)");
    }
    there
}

fn kernel(machine: &Machine) -> PathBuf {
    machine.file(&format!("boot/vmlinuz-{}", machine.kernel))
}

#[track_caller]
fn expect(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.lines().any(|there| there == *line), "'{line}' is not in:\n{said}");
    }
}

/// What the kernel warned of from modprobe on, but for what every module has to expect that is not
/// of the kernel's own tree, and a parameter that the stock module does not have.
fn warnings(said: &str) -> Vec<&str> {
    const EXPECTED: [&str; 3] = [
        "loading out-of-tree module taints kernel",
        "module verification failed",
        "unknown parameter 'rdna_noncoherent' ignored",
    ];
    let lines = said.lines().filter_map(|line| line.strip_prefix("DMESG "));
    lines.filter(|line| !EXPECTED.iter().any(|expected| line.contains(expected))).collect()
}

const ENFORCED: &str = "module.sig_enforce=1 lockdown=integrity";

#[test]
fn the_module_loads_with_its_parameter_and_goes_and_the_stock_one_does_after_its_removal() {
    let test = "the module in Debian's kernel in QEMU";
    if !there_is_qemu(test) {
        return;
    }
    let Some(machine) = Machine::new(test) else { return };
    let loaded = ["RC 0", "KFD there", "RMMOD done", "MODULE gone"];

    // The stock module, which ignores what it does not know, and loads where it is enforced.
    let stock = Boot::of(&machine, "rdna_noncoherent=1");
    let said = stock.said(&kernel(&machine), ENFORCED);
    expect(&said, &loaded);
    expect(&said, &["TAINT 0"]);
    assert!(said.contains("unknown parameter 'rdna_noncoherent' ignored"), "{said}");
    assert_eq!(warnings(&said), [""; 0], "{said}");

    machine.succeed("rdnafix build kernel --kernel $K");
    for (parameters, value) in [("rdna_noncoherent=1", "1"), ("", "-1")] {
        let patched = Boot::of(&machine, parameters);
        let said = patched.said(&kernel(&machine), "");
        expect(&said, &loaded);
        expect(&said, &[&format!("PARAMETER {value}")]);
        // Out of tree (4096), and signed with a key that this kernel does not know (8192).
        expect(&said, &["TAINT 12288"]);
        assert_eq!(warnings(&said), [""; 0], "{said}");
    }
    // Where signatures are enforced it is refused, as long as its key is not enrolled.
    let patched = Boot::of(&machine, "rdna_noncoherent=1");
    let said = patched.said(&kernel(&machine), ENFORCED);
    assert!(!said.contains("RC 0") && !said.contains("MODULE there"), "{said}");
    assert!(said.contains("Key was rejected") || said.contains("Required key"), "{said}");

    let said = Boot::unsigned(&machine).said(&kernel(&machine), ENFORCED);
    assert!(!said.contains("RC 0") && !said.contains("MODULE there"), "{said}");
    assert!(said.contains("Loading of unsigned module is rejected"), "{said}");

    machine.succeed("rdnafix build kernel --remove");
    let back = Boot::of(&machine, "rdna_noncoherent=1");
    let said = back.said(&kernel(&machine), ENFORCED);
    expect(&said, &loaded);
    assert!(said.contains("unknown parameter 'rdna_noncoherent' ignored"), "{said}");
}
