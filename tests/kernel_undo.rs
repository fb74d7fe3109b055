//! `rdnafix build kernel` that fails on the way: what the run has changed is taken back, and what
//! was installed before it stays. Slow once; what did not change is not compiled again.

mod kernel_machine;

use kernel_machine::Machine;
use kernel_machine::cli_common::text;

const BUILD: &str = "rdnafix build kernel --kernel $K";
/// Builds again, as after a change of the package.
const AGAIN: &str =
    "rm -f /cache/rdnafix/build/linux-$K/stamps/dkms; rdnafix build kernel --kernel $K";

/// Puts a program in the way of another one, which is there as `NAME.real`.
fn in_the_way_of(program: &str, script: &str) -> String {
    format!(
        "mv {program} {program}.real\ncat >{program} <<'S'\n#!/bin/sh\n{script}\nS\nchmod +x {program}"
    )
}

/// Takes it away.
fn away_from(program: &str) -> String {
    format!("mv {program}.real {program}")
}

const DKMS: &str = "/usr/sbin/dkms";
/// dkms whose own build fails, as where the disk is full: `strip` is the first that is run after
/// make.
const FAILS: &str = "[ $1 != build ] || PATH=/broken:$PATH\nexec /usr/sbin/dkms.real \"$@\"";
const BROKEN: &str = "mkdir -p /broken && printf '#!/bin/sh\\necho no room for $*\\nexit 1\\n' \
    >/broken/strip && chmod +x /broken/strip";

/// All that the package has in the system, each file with its hash.
const STATE: &str = "{ find /usr/src/amdgpu-rdna-* /var/lib/dkms/amdgpu-rdna /lib/modules/*/updates \
    -type f -exec sha256sum {} + -o -type l -exec readlink {} + ; dkms status -m amdgpu-rdna; \
    modinfo -k $K -F filename amdgpu; } 2>/dev/null | sort";

/// Makes a second kernel that has the module, as far as dkms and modprobe can see it.
const SECOND: &str = "\
    from=$(ls -d /var/lib/dkms/amdgpu-rdna/0*) && o=6.1.0-1-amd64 && mkdir -p /lib/modules/$o && \
    cp -al /lib/modules/$K/. /lib/modules/$o && cp -a $from/$K $from/$o && \
    ln -s ${from##*/}/$o/x86_64 /var/lib/dkms/amdgpu-rdna/kernel-$o-x86_64 && depmod $o && \
    touch -d '1 hour' /boot/initrd.img-$o && dkms status -m amdgpu-rdna";

#[test]
fn a_first_build_that_fails_in_dkms_leaves_nothing_but_its_log() {
    let Some(machine) = Machine::new("a build of dkms that fails") else { return };
    let before = machine.succeed(STATE);
    assert!(!before.contains("amdgpu-rdna"), "{before}");
    machine.succeed(&format!("{BROKEN}\n{}", in_the_way_of(DKMS, FAILS)));
    let said = machine.refused(AGAIN);
    assert!(said.contains("step dkms failed"), "{said}");
    assert!(said.contains("removed again, and the stock amdgpu stays"), "{said}");
    let log = said.lines().find_map(|line| line.strip_prefix("the log of dkms's make is kept: "));
    let log = machine.succeed(&format!("cat {}", log.unwrap_or_else(|| panic!("{said}"))));
    assert!(log.contains("no room for -g"), "{log}");
    assert_eq!(machine.succeed(STATE), before);
    let left = machine.succeed("ls -d /usr/src/amdgpu-rdna* /lib/modules/$K/updates 2>&1 || true");
    assert!(left.lines().all(|line| line.contains("No such file")), "{left}");

    // And where somebody ends it.
    machine.succeed(&away_from(DKMS));
    let waits = "[ $1 != build ] || { : >/at-work; sleep 60; }\nexec /usr/sbin/dkms.real \"$@\"";
    machine.succeed(&in_the_way_of(DKMS, waits));
    let output = machine.run(&format!(
        "{BUILD} & while ! [ -e /at-work ]; do sleep 0.1; done; kill -TERM $!; wait $!"
    ));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert!(said.contains("removed again, and the stock amdgpu stays"), "{said}");
    assert_eq!(machine.succeed(STATE), before);
}

#[test]
fn what_was_installed_before_survives_a_build_that_fails_and_every_initramfs_follows() {
    let Some(machine) = Machine::new("a build that fails after one that did not") else { return };
    machine.succeed(BUILD);
    let before = machine.succeed(STATE);
    assert!(before.contains(": installed") && before.contains("/updates/dkms/"), "{before}");
    machine.succeed(&format!("{BROKEN}\n{}", in_the_way_of(DKMS, FAILS)));
    // Other files than those of this command, as of another build of it.
    machine.succeed("echo '# other' >>$(ls -d /usr/src/amdgpu-rdna-*)/dkms.conf");
    let before = machine.succeed(STATE);
    let said = machine.refused(AGAIN);
    assert!(said.contains("what was installed before it is as it was"), "{said}");
    assert_eq!(machine.succeed(STATE), before);
    // An installation that does not end as it should, after dkms has removed the old one.
    machine.succeed(&away_from(DKMS));
    let spoils = "/usr/sbin/dkms.real \"$@\" || exit 1\n\
                  [ $1 != install ] || : >$(ls /lib/modules/*/updates/dkms/amdgpu.ko)";
    machine.succeed(&in_the_way_of(DKMS, spoils));
    let said =
        machine.refused(&format!("rm -f /cache/rdnafix/build/linux-$K/stamps/install; {AGAIN}"));
    assert!(said.contains("step install failed") && said.contains("is no module"), "{said}");
    assert_eq!(machine.succeed(STATE), before);
    machine.succeed(&away_from(DKMS));

    // The options are those of two kernels, and the machine has dracut.
    let status = machine
        .succeed(&format!("o=6.1.0-1-amd64; cp /boot/initrd.img-$K /boot/initrd.img-$o; {SECOND}"));
    assert_eq!(status.lines().filter(|line| line.contains("installed")).count(), 2, "{status}");
    machine.succeed(
        "rm /boot/initrd.img-6.1.0-1-amd64; cp /boot/initrd.img-$K /boot/initrd.img-6.1.0-1-amd64",
    );
    let update = "/usr/sbin/update-initramfs";
    machine.succeed(&format!("mv {update} {update}.real"));
    let dracut = "cat >/usr/bin/dracut <<'S'\n#!/bin/sh\necho \"$@\" >>/called\n\
                  case $2 in *6.1.0-1*) exit 1;; esac\ntouch $2\nS\nchmod +x /usr/bin/dracut";
    machine.succeed(dracut);
    let kernel = &machine.kernel;
    let all = format!(
        "--force /boot/initrd.img-6.1.0-1-amd64 6.1.0-1-amd64\n--force /boot/initrd.img-{kernel} {kernel}\n"
    );
    let said = machine.refused(&format!("{BUILD} --enable"));
    assert!(
        said.contains("step initramfs failed") && said.contains("sudo dracut --force"),
        "{said}"
    );
    assert_eq!(machine.succeed("cat /called"), all, "one that fails does not keep the other");
    machine.succeed("sed -i /case/d /usr/bin/dracut; rm /called");
    machine.succeed(&format!("{BUILD} --enable"));
    assert_eq!(machine.succeed("cat /called"), all.lines().next().unwrap().to_owned() + "\n");
    machine.succeed("rm /called");
    let said = machine.succeed("rdnafix build kernel --remove");
    assert!(said.contains("sudo dracut --force"), "{said}");
    assert_eq!(machine.succeed("sort /called"), all);
}
