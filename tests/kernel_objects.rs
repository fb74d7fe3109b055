//! The files of the kernel that the patches change, stock and patched, compiled against Debian's
//! headers by the compiler of that kernel. It shows that they build and what they link to; the
//! whole module is another matter.

mod cli_common;
mod kernel_common;
mod source_common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use cli_common::{rdnafix, root, succeed, text};
use kernel_common::{DRIVER, Source, recipe, touched};
use source_common::{patch, patches_of};

/// The CRC by which a kernel knows that a symbol is the one that a module was built for.
type Crcs = BTreeMap<String, u32>;

/// What two builds of the changed files gave.
struct Built {
    /// Of all objects.
    undefined: BTreeSet<String>,
    exported: BTreeSet<String>,
    /// Text and sizes do not matter; that the compiler had nothing to say does.
    said: String,
    /// Those that a module of these objects asks the kernel for, and those that the stock module
    /// does; `None` where the kernel compares none.
    crcs: Option<(Crcs, Crcs)>,
}

/// Of lines that begin with a CRC and a name.
fn crcs(lines: &str) -> Crcs {
    let entry = |line: &str| {
        let mut words = line.split('\t');
        let crc = words.next().and_then(|crc| crc.strip_prefix("0x")).expect("a CRC");
        let crc = u32::from_str_radix(crc, 16).expect("a number");
        (words.next().expect("a name").to_owned(), crc)
    };
    lines.lines().map(entry).collect()
}

/// The objects of the files that are changed, as make names them in the directory of amdgpu.
fn objects(version: &str) -> Vec<String> {
    let sources = touched(version).into_iter().filter_map(|file| {
        let name = file.strip_suffix(".c")?.strip_prefix(DRIVER)?;
        Some(name.strip_prefix("/amdgpu/").map_or_else(|| format!("..{name}"), String::from) + ".o")
    });
    sources.collect()
}

fn build(source: &Source, tree: &Path) -> Built {
    let version = source.version;
    let objects = objects(version);
    let script = root().join("tests/programs/kernel_objects.sh");
    let mut make = rdnafix(["sim", "root", &recipe(version), "--", "bash"]);
    let output = succeed(make.arg(script).arg(tree).args(&objects));
    let said = text(&output.stdout) + &text(&output.stderr);
    let list = |name: &str| fs::read_to_string(tree.join(name)).ok().map(|lines| crcs(&lines));
    let mut built = Built {
        undefined: BTreeSet::new(),
        exported: BTreeSet::new(),
        said,
        crcs: list("new-crcs").zip(list("stock-crcs")),
    };
    for object in &objects {
        let file = tree.join(DRIVER).join("amdgpu").join(object);
        // Of the build's compiler, but the format is one.
        let listed = text(&succeed(Command::new("nm").arg("-P").arg(&file)).stdout);
        for line in listed.lines() {
            let mut words = line.split(' ');
            let (name, kind) = (words.next().expect("a name"), words.next().expect("a kind"));
            if kind == "U" {
                built.undefined.insert(name.to_owned());
            }
            if name.starts_with("__export_symbol_") || name.starts_with("__ksymtab_") {
                built.exported.insert(name.to_owned());
            }
        }
    }
    built
}

/// The symbols that the kernel and its modules export.
fn exports(source: &Source) -> Crcs {
    let mut cat = rdnafix(["sim", "root", &recipe(source.version), "--", "bash", "-c"]);
    let all = text(&succeed(cat.arg("cat /usr/src/linux-headers-*-amd64/Module.symvers")).stdout);
    crcs(&all)
}

fn check(version: &'static str) {
    let Some(source) = Source::get(version) else { return };
    let (stock_tree, tree) = (source.build_tree(), source.build_tree());
    for (path, _) in patches_of(&source.series()) {
        patch(tree.path(), &path, &[]);
    }
    let stock = build(&source, stock_tree.path());
    let patched = build(&source, tree.path());
    assert!(!patched.said.contains("warning"), "Linux {version}: {}", patched.said);
    // The one variable is the driver's own. Everything else was linked to before.
    let new: Vec<&String> = patched.undefined.difference(&stock.undefined).collect();
    assert_eq!(new, ["amdgpu_rdna_noncoherent"], "Linux {version}");
    assert!(stock.undefined.is_subset(&patched.undefined), "Linux {version}");
    assert_eq!(stock.exported, patched.exported, "Linux {version}");
    let exports = exports(&source);
    let linked = patched.undefined.iter().filter(|name| exports.contains_key(*name)).count();
    assert!(linked > 30, "Linux {version}: {linked} symbols of Module.symvers");
    let crcs = if exports.values().any(|crc| *crc != 0) {
        let (new, stock) = patched.crcs.as_ref().expect("lists of CRCs");
        assert!(new.len() > 30, "Linux {version}: {} CRCs", new.len());
        for (name, crc) in new {
            assert_eq!(stock.get(name), Some(crc), "Linux {version}: {name}: the stock module's");
        }
        format!("; {} CRCs are those of the stock module's {}", new.len(), stock.len())
    } else {
        assert!(patched.crcs.is_none(), "Linux {version}: CRCs of nothing");
        println!(
            "SKIPPED: Linux {version}: CRCs of symbols: it is built without CONFIG_MODVERSIONS"
        );
        String::new()
    };
    let module = tree.path().join(DRIVER).join("amdgpu/amdgpu_drv.o");
    let strings = fs::read(module).expect("an object");
    let has = |text: &str| strings.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has("parmtype=rdna_noncoherent:int"), "Linux {version}: modinfo lists the parameter");
    assert!(has("parm=rdna_noncoherent:Cache fine-grain local VRAM and managed memory"));
    println!(
        "MATRIX: Linux {version}: {} objects build without a warning; of the {} symbols that they \
         link to, {linked} are the kernel's, all of them the stock objects', too{crcs}",
        objects(version).len(),
        patched.undefined.len(),
    );
}

#[test]
fn the_changed_files_of_6_1_build_and_link_to_nothing_new() {
    check("6.1");
}

#[test]
fn the_changed_files_of_6_12_build_and_link_to_nothing_new() {
    check("6.12");
}

#[test]
fn the_changed_files_of_7_2_build_and_link_to_nothing_new() {
    check("7.2");
}
