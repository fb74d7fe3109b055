//! Requests, structures, flags and numbers against the kernel's own headers, at compile time.
//!
//! Headers: this machine's (linux-libc-dev, libdrm-dev), those of the cached ROCm roots, and
//! the include directories named in KFD_ABI_INCLUDE, separated by colons. What a header is too
//! old to know is said with SKIPPED.

#![cfg(feature = "ioctl")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kfd_abi::flags::{Names, alloc, svm};
use kfd_abi::layout::Layout;
use kfd_abi::{drm, ioctl};

/// Structures and fields by the minor version of KFD that brought them.
const SINCE: &[(&str, &str, u32)] = &[
    ("kfd_ioctl_create_queue_args", "sdma_engine_id", 17),
    ("kfd_event_data", "last_event_age", 14),
];

/// Fields with another name here, because the kernel has a union; `None` is a part of one.
const OTHER_NAMES: &[(&str, &str, Option<&str>)] = &[
    ("kfd_event_data", "last_event_age", Some("signal_event_data.last_event_age")),
    ("kfd_event_data", "exception_data", None),
    ("kfd_event_data", "kfd_event_data_ext", Some("kfd_event_data_ext")),
    ("kfd_ioctl_dbg_trap_args", "operation", Some("enable")),
    ("drm_amdgpu_gem_mmap", "handle_or_addr", Some("out.addr_ptr")),
    ("drm_amdgpu_info", "request", Some("read_mmr_reg")),
    ("drm_amdgpu_cs_chunk_ib", "pad", Some("_pad")),
    ("drm_amdgpu_info_device", "ngg_addresses", None),
    ("drm_amdgpu_info_device", "ngg_sizes", None),
];

/// Structures that are unions in the kernel's header.
const UNIONS: &[&str] = &["drm_amdgpu_gem_mmap"];

/// Padding of older headers that has become a field since.
const WERE_PADDING: &[&str] = &["pcie_gen", "pcie_num_lanes"];

/// Structures of which this crate has a first part only: what ROCm reads, and what Linux 6.12 has.
const FIRST_PART: &[&str] = &["drm_amdgpu_info_device", "drm_amdgpu_gem_va"];

/// The kernel's name of a request's arguments.
fn c_name(request: &str) -> String {
    let name = match request {
        "AVAILABLE_MEMORY" => "get_available_memory",
        "CRIU_OP" => "criu",
        other => &other.trim_end_matches("_DEPRECATED").to_lowercase(),
    };
    format!("kfd_ioctl_{name}_args")
}

/// The assertions for a structure; says what a header of this version does not have.
fn structure(
    source: &mut String,
    skipped: &mut Vec<String>,
    name: &str,
    layout: &Layout,
    minor: u32,
) {
    let since = |field: &str| {
        SINCE.iter().find(|(s, f, _)| *s == name && *f == field).map_or(1, |(_, _, since)| *since)
    };
    let tag = if UNIONS.contains(&name) { "union" } else { "struct" };
    // A field that the header lacks makes the structure shorter, if it is at its end.
    let missing = layout.fields.iter().find(|field| since(field.name) > minor);
    if let Some(field) = missing {
        skipped.push(format!("struct {name}: {}", field.name));
    } else {
        let relation = if FIRST_PART.contains(&name) { ">=" } else { "==" };
        let size = layout.size;
        writeln!(source, "_Static_assert(sizeof({tag} {name}) {relation} {size}, \"\");").unwrap();
    }
    for field in layout.fields {
        let known = OTHER_NAMES.iter().find(|(s, f, _)| *s == name && *f == field.name);
        let member = match known {
            Some((_, _, None)) => continue,
            Some((_, _, Some(other))) => other,
            None => field.name.trim_start_matches("r#"),
        };
        if field.name == "pad" || since(field.name) > minor {
            continue;
        }
        writeln!(
            source,
            "_Static_assert(offsetof({tag} {name}, {member}) == {}, \"\");",
            field.offset
        )
        .unwrap();
        if known.is_none() {
            writeln!(
                source,
                "_Static_assert(sizeof((({tag} {name} *)0)->{member}) == {}, \"\");",
                field.size
            )
            .unwrap();
        }
    }
}

/// Flags that headers of older kernels lack.
const NEWER_FLAGS: &[&str] = &["CONTIGUOUS", "EXT_COHERENT"];

/// An assertion for every flag.
fn flags(source: &mut String, prefix: &str, names: &Names) {
    for (bit, name) in names {
        let assertion = format!("_Static_assert((unsigned){prefix}{name} == {bit}u, \"\");");
        if NEWER_FLAGS.contains(name) {
            writeln!(source, "#ifdef {prefix}{name}\n{assertion}\n#endif").unwrap();
        } else {
            writeln!(source, "{assertion}").unwrap();
        }
    }
}

fn kfd_source(minor: u32, skipped: &mut Vec<String>) -> String {
    let mut source = "#include <stddef.h>\n#include <linux/kfd_ioctl.h>\n".to_owned();
    for (request, layout) in ioctl::REQUESTS.iter().zip(ioctl::ARGUMENTS) {
        if request.since() > minor {
            skipped.push(format!("AMDKFD_IOC_{}", request.name));
            continue;
        }
        let name = c_name(request.name);
        let before = skipped.len();
        structure(&mut source, skipped, &name, layout, minor);
        if skipped.len() == before {
            writeln!(
                source,
                "_Static_assert((unsigned)AMDKFD_IOC_{} == {}u, \"\");",
                request.name,
                request.code()
            )
            .unwrap();
        }
    }
    for layout in ioctl::STRUCTS {
        structure(&mut source, skipped, layout.name, layout, minor);
    }
    for (name, value) in ioctl::NUMBERS {
        if *name == "KFD_IOC_QUEUE_TYPE_SDMA_BY_ENG_ID" && minor < 17 {
            skipped.push((*name).to_owned());
            continue;
        }
        writeln!(source, "_Static_assert({name} == {value}, \"\");").unwrap();
    }
    flags(&mut source, "KFD_IOC_ALLOC_MEM_FLAGS_", alloc::NAMES);
    // The SVM enumerations are no macros, so a header without one of them does not compile:
    // all but EXT_COHERENT are as old as the API.
    writeln!(source, "_Static_assert(KFD_IOCTL_SVM_OP_SET_ATTR == {}, \"\");", svm::OP_SET_ATTR)
        .unwrap();
    writeln!(source, "_Static_assert(KFD_IOCTL_SVM_OP_GET_ATTR == {}, \"\");", svm::OP_GET_ATTR)
        .unwrap();
    for (value, name) in svm::ATTRIBUTES.iter().enumerate() {
        writeln!(source, "_Static_assert(KFD_IOCTL_SVM_ATTR_{name} == {value}, \"\");").unwrap();
    }
    flags(&mut source, "KFD_IOCTL_SVM_FLAG_", svm::NAMES);
    source
}

fn drm_source(header: &str) -> String {
    let mut source = "#include <stddef.h>\n#include <drm.h>\n#include <amdgpu_drm.h>\n".to_owned();
    for layout in drm::STRUCTS {
        structure(&mut source, &mut Vec::new(), layout.name, layout, u32::MAX);
    }
    for field in WERE_PADDING.iter().filter(|field| !header.contains(**field)) {
        println!("SKIPPED: {field}: this libdrm-dev does not have it");
        source = source.lines().filter(|line| !line.contains(field)).collect::<Vec<_>>().join("\n")
            + "\n";
    }
    for (name, nr) in [
        ("DRM_IOCTL_VERSION", drm::VERSION),
        ("DRM_IOCTL_GEM_CLOSE", drm::GEM_CLOSE),
        ("DRM_IOCTL_GET_CAP", drm::GET_CAP),
        ("DRM_IOCTL_PRIME_HANDLE_TO_FD", drm::PRIME_HANDLE_TO_FD),
        ("DRM_IOCTL_PRIME_FD_TO_HANDLE", drm::PRIME_FD_TO_HANDLE),
        ("DRM_IOCTL_AMDGPU_GEM_MMAP", drm::AMDGPU_GEM_MMAP),
        ("DRM_IOCTL_AMDGPU_INFO", drm::AMDGPU_INFO),
        ("DRM_IOCTL_AMDGPU_GEM_VA", drm::AMDGPU_GEM_VA),
    ] {
        writeln!(source, "_Static_assert(_IOC_NR({name}) == {nr}, \"\");").unwrap();
        writeln!(source, "_Static_assert(_IOC_TYPE({name}) == {}, \"\");", drm::BASE).unwrap();
    }
    for (name, value) in [
        ("DRM_CAP_SYNCOBJ", drm::CAP_SYNCOBJ),
        ("DRM_CAP_SYNCOBJ_TIMELINE", drm::CAP_SYNCOBJ_TIMELINE),
        ("AMDGPU_INFO_ACCEL_WORKING", drm::INFO_ACCEL_WORKING.into()),
        ("AMDGPU_INFO_VRAM_USAGE", drm::INFO_VRAM_USAGE.into()),
        ("AMDGPU_INFO_VRAM_GTT", drm::INFO_VRAM_GTT.into()),
        ("AMDGPU_INFO_DEV_INFO", drm::INFO_DEV_INFO.into()),
        ("AMDGPU_INFO_MEMORY", drm::INFO_MEMORY.into()),
        ("AMDGPU_VA_OP_MAP", drm::VA_OP_MAP.into()),
        ("AMDGPU_VA_OP_UNMAP", drm::VA_OP_UNMAP.into()),
        ("AMDGPU_VA_OP_CLEAR", drm::VA_OP_CLEAR.into()),
        ("AMDGPU_VA_OP_REPLACE", drm::VA_OP_REPLACE.into()),
    ] {
        writeln!(source, "_Static_assert({name} == {value}, \"\");").unwrap();
    }
    for (bit, name) in drm::VM_PAGE_NAMES {
        let name = if *name == "DELAY_UPDATE" {
            "AMDGPU_VM_DELAY_UPDATE".to_owned()
        } else {
            format!("AMDGPU_VM_PAGE_{name}")
        };
        writeln!(source, "_Static_assert({name} == {bit}, \"\");").unwrap();
    }
    for (value, name) in drm::VM_MTYPE_NAMES.iter().enumerate() {
        writeln!(source, "_Static_assert(AMDGPU_VM_MTYPE_{name} == {value} << 5, \"\");").unwrap();
    }
    source
}

/// Compiles; gives what the compiler said if it refused.
fn compile(source: &str, include: &[&Path]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    // The header includes drm/drm.h, which only libdrm-dev has, and needs its types only.
    std::fs::create_dir(dir.path().join("drm")).unwrap();
    std::fs::write(dir.path().join("drm/drm.h"), "#include <linux/types.h>\n").unwrap();
    let file = dir.path().join("header.c");
    std::fs::write(&file, source).unwrap();
    let triple = "x86_64-unknown-linux-gnu";
    let mut build = cc::Build::new();
    build.cargo_metadata(false).target(triple).host(triple).opt_level(0).out_dir(dir.path());
    build.include(dir.path()).includes(include).define("__user", "");
    let output =
        build.get_compiler().to_command().arg("-fsyntax-only").arg(&file).output().unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// `KFD_IOCTL_MINOR_VERSION` of a header.
fn minor(header: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(header).ok()?;
    let line = text.lines().find(|line| line.starts_with("#define KFD_IOCTL_MINOR_VERSION"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// Include directories with a kfd_ioctl.h.
fn includes() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/usr/include")];
    if let Some(more) = std::env::var_os("KFD_ABI_INCLUDE") {
        found.extend(std::env::split_paths(&more));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let roots = cache.and_then(|cache| std::fs::read_dir(cache.join("rdnafix/roots")).ok());
    found.extend(roots.into_iter().flatten().flatten().map(|root| root.path().join("usr/include")));
    found.retain(|include| include.join("linux/kfd_ioctl.h").exists());
    found
}

#[test]
fn kfd_requests_structures_and_numbers_are_the_kernels() {
    let includes = includes();
    assert!(!includes.is_empty(), "linux/kfd_ioctl.h: install linux-libc-dev");
    let mut checked = 0;
    for include in includes {
        let minor = minor(&include.join("linux/kfd_ioctl.h")).expect("a version in kfd_ioctl.h");
        let mut skipped = Vec::new();
        let source = kfd_source(minor, &mut skipped);
        for what in &skipped {
            println!("SKIPPED: {what}: the header of KFD 1.{minor} does not have it");
        }
        compile(&source, &[&include])
            .unwrap_or_else(|error| panic!("{} (KFD 1.{minor}):\n{error}", include.display()));
        checked = checked.max(source.matches("_Static_assert").count());
    }
    println!("{checked} assertions held");
    assert!(checked > 200, "only {checked} assertions");
}

#[test]
fn drm_requests_and_structures_are_the_kernels() {
    let mut checked = false;
    for include in includes().into_iter().map(|include| include.join("libdrm")) {
        let Ok(header) = std::fs::read_to_string(include.join("amdgpu_drm.h")) else { continue };
        compile(&drm_source(&header), &[&include])
            .unwrap_or_else(|error| panic!("{}:\n{error}", include.display()));
        checked = true;
    }
    if !checked {
        println!("SKIPPED: DRM structures: no libdrm/amdgpu_drm.h: install libdrm-dev");
    }
}

#[test]
fn a_wrong_size_offset_or_number_would_be_found() {
    let source = kfd_source(1, &mut Vec::new());
    for (right, wrong) in [
        (
            "sizeof(struct kfd_ioctl_acquire_vm_args) == 8",
            "sizeof(struct kfd_ioctl_acquire_vm_args) == 16",
        ),
        ("AMDKFD_IOC_ACQUIRE_VM == 1074285333u", "AMDKFD_IOC_ACQUIRE_VM == 1074285332u"),
        (
            "offsetof(struct kfd_ioctl_acquire_vm_args, gpu_id) == 4",
            "offsetof(struct kfd_ioctl_acquire_vm_args, gpu_id) == 0",
        ),
    ] {
        assert!(source.contains(right), "no {right}");
        let error = compile(&source.replace(right, wrong), &[]).unwrap_err();
        assert!(error.contains("static assertion failed"), "{error}");
    }
}
