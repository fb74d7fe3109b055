//! `rdnafix build kernel` on a Debian 12 with dkms: the module is built, installed, switched on
//! and taken back, for real. Slow once; what did not change is not compiled again.

mod kernel_machine;

use kernel_machine::Machine;
use kernel_machine::cli_common::text;
use serde_json::Value;

const OPTIONS: &str = "/etc/modprobe.d/amdgpu-rdna.conf";

/// The events that a build printed.
fn events(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

/// What was done, as `EVENT STEP`, but for progress.
fn steps(out: &str) -> Vec<String> {
    let part = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let events = events(out).into_iter().filter(|event| event["event"] != "progress");
    events.map(|event| format!("{} {}", part(&event, "event"), part(&event, "step"))).collect()
}

const MODULE: &str = "modinfo -k $K -F filename amdgpu";
/// Hashes of the amdgpu that is in the initramfs.
const IN_INITRAMFS: &str = "mkdir -p /x && cd /x && unmkinitramfs /boot/initrd.img-$K . >/dev/null && \
    find . -name 'amdgpu.ko*' -exec sha256sum {} + | cut -d ' ' -f 1 && rm -rf /x";

/// The machine has no sysfs but this.
const SECURE_BOOT: &str = "mkdir -p /sys/firmware/efi/efivars && printf '\\6\\0\\0\\0\\1' \
    >/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Makes amdgpu a part of the initramfs, as it is where a splash screen or such needs it.
const ADD_TO_INITRAMFS: &str =
    "echo amdgpu >>/etc/initramfs-tools/modules && update-initramfs -u -k $K";

#[test]
fn the_patched_module_is_installed_beside_the_stock_one_and_taken_back() {
    let Some(machine) = Machine::new("the patched module on Debian 12") else { return };
    let kernel = machine.kernel.clone();
    let stock = machine.succeed(MODULE);
    assert!(stock.contains("/kernel/drivers/gpu/drm/amd/amdgpu/"), "{stock}");
    machine.succeed(ADD_TO_INITRAMFS);
    let stock_in_initramfs = machine.succeed(IN_INITRAMFS);
    assert_eq!(stock_in_initramfs.lines().count(), 1, "{stock_in_initramfs}");

    let out = machine.succeed("rdnafix build kernel --kernel $K --json");
    let last = events(&out).pop().unwrap();
    assert_eq!(last["event"], "installed");
    let module = format!("/lib/modules/{kernel}/updates/dkms/amdgpu.ko");
    assert_eq!(last["module"], module.as_str());
    assert_eq!(last["signer"], "DKMS module signing key");
    assert_eq!(last["enabled"], false);
    assert!(last["version"].as_str().unwrap().starts_with("6.1."), "{last}");
    for step in ["package", "dkms", "install", "initramfs"] {
        assert!(steps(&out).contains(&format!("done {step}")), "{step} in {out}");
    }
    assert_eq!(machine.succeed(MODULE).trim(), module);
    let parameters = machine.succeed("modinfo -k $K -F parm amdgpu");
    assert!(parameters.contains("rdna_noncoherent:"), "{parameters}");
    let in_initramfs = machine.succeed(IN_INITRAMFS);
    assert_ne!(in_initramfs, stock_in_initramfs);
    let installed = machine.succeed(&format!("sha256sum <{module} | cut -d ' ' -f 1"));
    assert_eq!(in_initramfs, installed, "it is the one that was installed");

    // Every symbol of the kernel has the CRC that the stock module wants.
    let crcs = machine.succeed(&format!("modprobe --dump-modversions {module} | sort"));
    let wanted = machine.succeed(&format!("modprobe --dump-modversions {} | sort", stock.trim()));
    assert!(crcs.lines().count() > 900, "{}", crcs.lines().count());
    assert_eq!(crcs, wanted);
    let vermagic = machine.succeed(&format!("modinfo -F vermagic {module} {}", stock.trim()));
    let mut both = vermagic.lines();
    assert_eq!(both.next(), both.next());

    // Again, where signatures are enforced: nothing is done, and what it means is said.
    assert_eq!(last["enforcement"], Value::Null);
    machine.succeed(SECURE_BOOT);
    let said = text(&machine.run("rdnafix build kernel --kernel $K").stderr);
    for part in
        ["Secure Boot is on", "will NOT load", "sudo mokutil --import /var/lib/dkms/mok.pub"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    let out = machine.succeed("rdnafix build kernel --kernel $K");
    assert!(out.contains("it is used once its key is enrolled, and not before"), "{out}");
    let out = machine.succeed("rdnafix build kernel --kernel $K --json");
    assert_eq!(events(&out).pop().unwrap()["enforcement"], "Secure Boot is on");
    let again = steps(&out);
    assert!(again[..7].iter().all(|step| step.starts_with("kept ")), "{again:?}");
    // A file of that name that says something else switches nothing on, and is kept.
    let changed = "options amdgpu ppfeaturemask=0xffffffff";
    machine.succeed(&format!("echo '{changed}' >{OPTIONS}"));
    let said = machine.refused("rdnafix build kernel --kernel $K --enable");
    assert!(said.contains("was changed by somebody and is kept"), "{said}");
    assert_eq!(machine.succeed(&format!("cat {OPTIONS}")).trim(), changed);
    let out = machine.succeed("rdnafix build kernel --kernel $K --json");
    assert_eq!(events(&out).pop().unwrap()["enabled"], false);
    machine.succeed(&format!("rm {OPTIONS}"));
    // With --enable: only that.
    let out = machine.succeed("rdnafix build kernel --kernel $K --enable --json");
    let done: Vec<_> = steps(&out).into_iter().filter(|step| step.starts_with("done ")).collect();
    assert_eq!(done, ["done options", "done initramfs"]);
    assert_eq!(events(&out).pop().unwrap()["enabled"], true);
    let options = machine.succeed("modprobe -S $K --showconfig | grep '^options amdgpu'");
    assert_eq!(options.trim(), "options amdgpu rdna_noncoherent=1");

    let said = machine.succeed("rdnafix build kernel --remove");
    assert!(said.contains("is removed") && said.contains("modprobe.blacklist=amdgpu"), "{said}");
    assert_eq!(machine.succeed(MODULE), stock);
    assert_eq!(machine.succeed(IN_INITRAMFS), stock_in_initramfs);
    let left = machine.succeed(
        "ls -d /usr/src/amdgpu-rdna* /var/lib/dkms/amdgpu-rdna /lib/modules/$K/updates \
         /etc/modprobe.d/amdgpu-rdna.conf 2>/dev/null || true",
    );
    assert_eq!(left, "");
    let said = machine.succeed("rdnafix build kernel --remove");
    assert!(said.contains("was not installed"), "{said}");
}

#[test]
fn the_debian_package_installs_the_module_and_its_removal_brings_the_stock_one_back() {
    let Some(machine) = Machine::new("the Debian package of the module") else { return };
    let stock = machine.succeed(MODULE);
    machine.succeed(ADD_TO_INITRAMFS);
    let stock_in_initramfs = machine.succeed(IN_INITRAMFS);
    assert_eq!(stock_in_initramfs.lines().count(), 1, "{stock_in_initramfs}");
    let made = machine.succeed("rdnafix build kernel --deb /out");
    assert!(made.starts_with("/out/amdgpu-rdna-dkms_"), "{made}");
    // With the objects of earlier builds, which only saves time.
    machine.succeed(SECURE_BOOT);
    let said = machine.succeed(
        "export AMDGPU_RDNA_WORK=/cache/rdnafix/build/linux-$K && mkdir -p $AMDGPU_RDNA_WORK/src && \
         dpkg -i /out/*.deb 2>&1",
    );
    assert!(said.contains("mokutil --import /var/lib/dkms/mok.pub"), "{said}");
    // The machine's dpkg leaves documentation out.
    let licences = machine.succeed(
        "dpkg-deb --fsys-tarfile /out/*.deb | tar -xO ./usr/share/doc/amdgpu-rdna-dkms/copyright",
    );
    assert!(licences.contains("MIT OR Apache-2.0") && licences.contains("GPL-2.0"), "{licences}");
    assert!(machine.succeed(MODULE).contains("/updates/dkms/"));
    assert_ne!(machine.succeed(IN_INITRAMFS), stock_in_initramfs);
    let said = machine.refused("rdnafix build kernel --remove");
    assert!(said.contains("sudo apt-get remove amdgpu-rdna-dkms"), "{said}");
    let said = machine.refused("rdnafix build kernel --kernel $K");
    assert!(said.contains("sudo apt-get remove amdgpu-rdna-dkms"), "{said}");
    machine.succeed("dpkg -r amdgpu-rdna-dkms");
    assert_eq!(machine.succeed(MODULE), stock);
    assert_eq!(machine.succeed(IN_INITRAMFS), stock_in_initramfs);
    let left =
        machine.succeed("ls -d /usr/src/amdgpu-rdna* /var/lib/dkms/amdgpu-rdna 2>&1 || true");
    assert!(left.lines().all(|line| line.contains("No such file")), "{left}");
}

#[test]
fn options_that_somebody_changed_are_kept_and_said_when_the_module_is_removed() {
    let Some(machine) = Machine::new("the removal of changed options") else { return };
    let options = "options amdgpu rdna_noncoherent=1 ppfeaturemask=0xffffffff";
    machine.succeed(&format!("echo '{options}' >/etc/modprobe.d/amdgpu-rdna.conf"));
    let output = machine.run("rdnafix build kernel --remove");
    assert!(output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("amdgpu-rdna.conf was changed and is kept"), "{said}");
    assert_eq!(machine.succeed("cat /etc/modprobe.d/amdgpu-rdna.conf").trim(), options);
}
