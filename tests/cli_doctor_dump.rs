//! Dumps of `rdnafix doctor`: what is in them, reading them back, and the boards made of them.

mod cli_common;
mod doctor_common;

use std::path::{Path, PathBuf};
use std::process::Command;

use cli_common::{output, rdnafix, succeed, text};
use doctor_common::{BOARDS, Examined, examine, on_board, simulated};
use serde_json::Value;
use tempfile::TempDir;

/// A dump of simulated boards, in a directory of its own.
fn dump(boards: &str, environment: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("machine.tar.gz");
    let arguments = ["doctor", "--dump", file.to_str().unwrap()];
    let said = succeed(&mut simulated(boards, &[], environment, &arguments));
    assert!(text(&said.stdout).contains("Look into it before you send it"));
    (dir, file)
}

/// What is found in a copy of a machine, from any environment.
fn of_copy(root: &Path) -> Examined {
    let mut command = rdnafix(["doctor", "--json", "--root"]);
    command.arg(root).env("HSA_DISABLE_CACHE", "1").env("HSA_OVERRIDE_GFX_VERSION", "9.0.0");
    examine(&mut command)
}

fn unpack(file: &Path) -> PathBuf {
    let to = file.parent().unwrap();
    succeed(Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(to));
    to.join("rdnafix-dump")
}

/// With each path, but those of the system, as the name of its file alone: a dump says no more.
fn nameless(value: &Value) -> Value {
    const SYSTEM: [&str; 7] = ["dev", "etc", "opt", "proc", "run", "sys", "usr"];
    let somebodys = |above: &str| {
        let first = above.strip_prefix('/').and_then(|rest| rest.split('/').next());
        first.is_some_and(|first| !SYSTEM.contains(&first))
    };
    let text = |text: &str| {
        let ends = |letter: char| " :=(),;'".contains(letter);
        let path = |part: &str| match part.rsplit_once('/') {
            Some((above, name)) if somebodys(above) => {
                let end = name.len() - name.trim_end_matches(ends).len();
                if name.contains(".so") && name.starts_with("lib") {
                    name.to_owned()
                } else {
                    format!("PATH{}", &name[name.len() - end..])
                }
            }
            _ => part.to_owned(),
        };
        text.split_inclusive(ends).map(path).collect::<String>()
    };
    match value {
        Value::String(inner) => Value::String(text(inner)),
        Value::Array(values) => values.iter().map(nameless).collect(),
        Value::Object(values) => {
            values.iter().map(|(name, value)| (name.clone(), nameless(value))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn a_dump_has_the_same_findings_packed_and_unpacked_wherever_it_is_read() {
    for (boards, environment) in [
        ("gfx1031", &[][..]),
        ("gfx1010", &[("HSA_OVERRIDE_GFX_VERSION", "10.3.0"), ("KFDSIM_PCIE_ATOMICS", "0")]),
        ("gfx1036,gfx1030,gfx906", &[("HSA_XNACK", "1"), ("LD_PRELOAD", "/gone/x.so")]),
    ] {
        let live = on_board(boards, &[], environment);
        let (_dir, file) = dump(boards, environment);
        let packed = of_copy(&file);
        for part in ["findings", "machine"] {
            let [packed, live] = [&packed, &live].map(|one| nameless(&one.document[part]));
            assert_eq!(packed, live, "{boards}");
        }
        assert_eq!(of_copy(&unpack(&file)).document, packed.document, "{boards}");
    }
}

/// What identifies a machine, in the files that are read.
#[test]
fn a_dump_has_neither_serial_numbers_nor_names_of_what_was_read_in_part() {
    let (_scratch, tree) = tree("gfx1030");
    let properties = tree.join("sys/class/kfd/kfd/topology/nodes/1/properties");
    let there = std::fs::read_to_string(&properties).unwrap();
    std::fs::write(&properties, format!("{there}unique_id 1311768467463790320\n")).unwrap();
    for (file, text) in [
        ("proc/cmdline", "root=UUID=0451fa11-1 ip=10.9.8.7::gw:trillian iommu=pt\n"),
        ("etc/group", "render:x:105:arthurdent,fordp\narthurdent:x:1000:\n"),
        ("etc/environment", "API=hunter2\nHSA_XNACK=1\n"),
        ("etc/modprobe.d/megadodo.conf", "options wifi key=hunter2\n"),
        ("etc/profile.d/megadodo.sh", "export TOKEN=hunter2\n"),
        ("etc/machine-id", "0451fa110451fa11\n"),
        ("sys/bus/pci/devices/0000:03:00.0/unique_id", "1234567890abcdef\n"),
        ("sys/bus/pci/devices/0000:03:00.0/serial_number", "0451fa11\n"),
        ("sys/class/dmi/id/product_serial", "0451fa11\n"),
    ] {
        let file = tree.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("d.tar.gz");
    succeed(rdnafix(["doctor", "--root"]).arg(&tree).arg("--dump").arg(&file));
    let everything = everything(&unpack(&file));
    assert!(everything.contains("iommu=pt") && everything.contains("render:x:105:\n"));
    for secret in [
        "1311768467463790320",
        "1234567890abcdef",
        "0451fa11",
        "10.9.8.7",
        "trillian",
        "arthurdent",
        "fordp",
        "hunter2",
        "megadodo",
    ] {
        assert!(!everything.contains(secret), "{secret}");
    }
}

#[test]
fn what_a_dump_has_is_said_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("d.tar.gz");
    let arguments = ["doctor", "--json", "--dump", file.to_str().unwrap()];
    let said = succeed(&mut simulated("gfx1030", &[], &[], &arguments)).stdout;
    let document: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(document["file"], file.to_str().unwrap());
    assert_eq!(document["bytes"], std::fs::metadata(&file).unwrap().len());
    assert!(document["files"].as_u64().unwrap() > 5);
}

#[test]
fn two_dumps_of_a_machine_are_the_same_bytes() {
    let (_one, first) = dump("gfx1030", &[]);
    let (_other, second) = dump("gfx1030", &[]);
    assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap());
}

#[test]
fn a_dump_of_a_dump_is_that_dump() {
    let (dir, file) = dump("gfx1030,gfx1036", &[]);
    let again = dir.path().join("again.tar.gz");
    succeed(rdnafix(["doctor", "--root"]).arg(&file).arg("--dump").arg(&again));
    assert_eq!(std::fs::read(file).unwrap(), std::fs::read(again).unwrap());
}

/// A virtual environment with a PyTorch, below a directory that names its user.
fn environment_of(user: &str, root: &Path) -> PathBuf {
    let venv = root.join(user).join("venv");
    let torch = venv.join("lib/python3.12/site-packages/torch");
    std::fs::create_dir_all(&torch).unwrap();
    std::fs::write(
        torch.join("version.py"),
        "__version__ = '2.9.1+rocm6.4'\ngit_version = 'secret-of-nobody'\n\
         hip: Optional[str] = '6.4.43484'\n",
    )
    .unwrap();
    venv
}

#[test]
fn a_dump_has_no_name_of_the_user_nor_of_the_host_and_no_serial_number() {
    let root = tempfile::tempdir().unwrap();
    let venv = environment_of("zaphod42", root.path());
    let home = root.path().join("zaphod42");
    // A python of somebody else's, which is read, behind a directory that is not.
    let bin = root.path().join("arthurdent/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("python3"), "").unwrap();
    let path = format!("/srv/bobsecret/bin:{}:/home/fordp/bin:/usr/bin:/bin", bin.display());
    let environment = [
        ("USER", "zaphod42"),
        ("HOME", home.to_str().unwrap()),
        ("VIRTUAL_ENV", venv.to_str().unwrap()),
        ("SECRET_TOKEN", "hunter2hunter2"),
        ("ROCR_VISIBLE_DEVICES", "GPU-feedfacefeedface"),
        ("LD_LIBRARY_PATH", "/srv/bobsecret/rocm/lib:/acmecorp/lib"),
        ("MIOPEN_USER_DB_PATH", "/scratch/projectx/of zaphod42/db"),
        ("PATH", path.as_str()),
        ("HSA_XNACK", "1"),
    ];
    let (_dir, file) = dump("gfx1030", &environment);
    let everything = everything(&unpack(&file));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    for secret in [
        "zaphod42",
        "hunter2",
        "unique_id",
        "secret-of-nobody",
        "feedface",
        "bobsecret",
        "arthurdent",
        "acmecorp",
        "projectx",
        "fordp",
    ] {
        assert!(!everything.contains(secret), "{secret}");
    }
    // Short names of hosts are parts of other words.
    assert!(host.len() < 8 || !everything.contains(host), "{host}");
    let copy = of_copy(&file);
    let torch = copy.document["machine"]["torch"].as_array().unwrap();
    let found = torch.iter().find(|torch| torch["version"]["value"] == "2.9.1+rocm6.4");
    let directory = found.expect("the PyTorch")["directory"].as_str().unwrap();
    assert_eq!(directory, "/home/user/venv/lib/python3.12/site-packages/torch");
}

/// The names of all that is below a directory, and what is in them.
fn everything(directory: &Path) -> String {
    let mut all = String::new();
    for entry in walk(directory) {
        all.push_str(&entry.strip_prefix(directory).unwrap().display().to_string());
        all.push_str(&String::from_utf8_lossy(&std::fs::read(&entry).unwrap_or_default()));
    }
    all
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        }
        files.push(path);
    }
    files
}

#[test]
fn every_board_comes_back_from_its_dump() {
    for board in BOARDS {
        let (dir, file) = dump(board, &[]);
        let mut command = rdnafix(["doctor", "--board", "1", "--root"]);
        let made = succeed(command.arg(&file));
        let boards = dir.path().join("boards");
        std::fs::create_dir(&boards).unwrap();
        std::fs::write(boards.join("from_dump.toml"), &made.stdout).unwrap();
        let own = [("KFDSIM_BOARDS", boards.to_str().unwrap())];
        let again = on_board(board, &[], &own);
        let before = on_board(board, &[], &[]);
        let gpus = |examined: &Examined| examined.document["machine"]["gpus"].clone();
        assert_eq!(gpus(&again), gpus(&before), "{board}");
        assert!(text(&made.stdout).contains("of the simulated GPU"), "{board}");
    }
}

#[test]
fn a_board_of_a_dump_may_differ_from_the_one_of_that_name() {
    let dir = tempfile::tempdir().unwrap();
    let (_dump, file) = dump("gfx1031", &[]);
    let made = succeed(rdnafix(["doctor", "--board", "1", "--root"]).arg(&file));
    let other = text(&made.stdout).replace("firmware_version = 122", "firmware_version = 77");
    assert_ne!(other, text(&made.stdout));
    std::fs::write(dir.path().join("mine.toml"), other).unwrap();
    let examined = on_board("gfx1031", &[], &[("KFDSIM_BOARDS", dir.path().to_str().unwrap())]);
    assert_eq!(examined.document["machine"]["gpus"][0]["firmware_version"], 77);
}

/// A plain tree with the files of a simulated board, and its scratch directory.
fn tree(boards: &str) -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = simulated(boards, &[], &[], &["doctor", "--json"]);
    examine(command.env("TMPDIR", scratch.path()));
    let tree = std::fs::read_dir(scratch.path()).unwrap().next().unwrap().unwrap().path();
    (scratch, tree)
}

#[test]
fn a_plain_tree_of_sysfs_is_examined_without_guessing_access() {
    let (_scratch, tree) = tree("gfx1012");
    let examined = of_copy(&tree);
    assert_eq!(examined.document["machine"]["gpus"][0]["target"], "gfx1012");
    assert_eq!(examined.document["machine"]["devices"][0]["access"], "unknown");
    // Nothing of this machine or of this process is mixed in.
    assert_eq!(examined.document["machine"]["environment"], serde_json::json!({}));
    assert_eq!(examined.ids(), ["no-rocm", "coherent-memory"]);
}

#[test]
fn what_is_wrong_with_the_kernel_is_read_from_a_tree() {
    let (_scratch, tree) = tree("gfx1010,gfx1012");
    let files = [
        ("proc/sys/kernel/osrelease", "6.6.8-1-amd64\n"),
        ("proc/cmdline", "root=UUID=0 amdgpu.mtype_local=1\n"),
        ("sys/module/amdgpu/parameters/noretry", "-1\n"),
        ("etc/modprobe.d/gpu.conf", "options amdgpu mtype_local=1\n"),
        ("var/lib/dkms/amdgpu/6.3.6/6.1.0-20-amd64/log", ""),
        ("opt/rocm-6.0.2/.info/version", "6.0.2-115\n"),
        ("sys/bus/pci/devices/0000:03:00.0/iommu_group/type", "DMA-FQ\n"),
        ("sys/bus/pci/devices/0000:04:00.0/iommu_group/type", "DMA-FQ\n"),
        (
            "sys/bus/pci/devices/0000:03:00.0/resource",
            "0x0000000800000000 0x000000080fffffff 0x000000000014220c\n",
        ),
        ("sys/bus/pci/devices/0000:07:00.0/vendor", "0x1002\n"),
        ("sys/bus/pci/devices/0000:07:00.0/class", "0x030000\n"),
        ("sys/bus/pci/devices/0000:07:00.0/device", "0x73ff\n"),
        ("sys/class/kfd/kfd/proc/11/pasid", "1\n"),
        ("sys/class/kfd/kfd/proc/12/pasid", "2\n"),
        ("sys/class/kfd/kfd/proc/13/pasid", "3\n"),
    ];
    for (file, text) in files {
        let file = tree.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let hip = tree.join("opt/rocm-6.0.2/lib/libamdhip64.so.6.0.60002");
    std::fs::create_dir_all(hip.parent().unwrap()).unwrap();
    std::fs::copy(std::env::current_exe().unwrap(), hip).unwrap();
    let examined = of_copy(&tree);
    for id in [
        "kfd-skips-gpu",
        "dkms-stale",
        "iommu-translates",
        "kernel-6.6-navi10",
        "many-processes",
        "mtype-local",
        "noretry",
    ] {
        assert!(examined.has(id), "{id} in {:?}", examined.ids());
    }
    let what = examined.finding("kfd-skips-gpu")["what"].as_str().unwrap();
    assert_eq!(what, "gfx1032 at 0000:07:00.0 is no node of KFD's topology");
    assert_eq!(examined.document["machine"]["gpus"][0]["visible"], 256 << 20);
    let evidence = &examined.finding("mtype-local")["evidence"];
    assert_eq!(evidence[0]["value"], "amdgpu.mtype_local=1");
    assert_eq!(evidence[1]["from"], "/etc/modprobe.d/gpu.conf");
    // The same of a dump of that tree.
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("d.tar.gz");
    succeed(rdnafix(["doctor", "--root"]).arg(&tree).arg("--dump").arg(&file));
    assert_eq!(of_copy(&file).document, examined.document);
}

#[test]
fn a_truncated_or_strange_dump_is_refused_and_never_a_panic() {
    let (dir, file) = dump("gfx1030", &[]);
    let bytes = std::fs::read(file).unwrap();
    let broken = dir.path().join("broken.tar.gz");
    for length in [0, 1, 10, bytes.len() / 3, bytes.len() / 2] {
        std::fs::write(&broken, &bytes[..length]).unwrap();
        let output = output(rdnafix(["doctor", "--root"]).arg(&broken));
        assert_eq!(output.status.code(), Some(2), "{length}: {}", text(&output.stderr));
    }
}
