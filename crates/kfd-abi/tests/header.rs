//! The requests and flags against the kernel's own header, as far as the installed one goes.

#![cfg(feature = "ioctl")]

use std::fmt::Write as _;
use std::process::Command;

use kfd_abi::flags::{alloc, svm};
use kfd_abi::ioctl::REQUESTS;

/// What a C program that includes `<linux/kfd_ioctl.h>` says of these macros; those that the
/// header does not have are left out.
fn values(macros: &[String]) -> Vec<(String, u64)> {
    let dir = tempfile::tempdir().unwrap();
    // The header includes drm/drm.h, which only libdrm-dev has, and needs its types only.
    std::fs::create_dir(dir.path().join("drm")).unwrap();
    std::fs::write(dir.path().join("drm/drm.h"), "#include <linux/types.h>\n").unwrap();
    let mut source =
        String::from("#include <linux/kfd_ioctl.h>\n#include <stdio.h>\nint main(void) {\n");
    for name in macros {
        write!(
            source,
            "#ifdef {name}\nprintf(\"{name} %lu\\n\", (unsigned long)(unsigned){name});\n#endif\n"
        )
        .unwrap();
    }
    source.push_str("return 0; }\n");
    let (file, program) = (dir.path().join("header.c"), dir.path().join("header"));
    std::fs::write(&file, source).unwrap();
    let include = std::env::var_os("KFD_ABI_INCLUDE");
    let mut compiler = Command::new("gcc");
    compiler.arg("-I").arg(dir.path());
    if let Some(include) = include {
        compiler.arg("-I").arg(include); // another kernel's include/uapi
    }
    let status = compiler.arg(&file).arg("-o").arg(&program).status().expect("gcc is installed");
    assert!(status.success(), "linux/kfd_ioctl.h: install linux-libc-dev");
    let output = Command::new(&program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn request_numbers_and_sizes_are_the_kernels() {
    let names: Vec<String> =
        REQUESTS.iter().map(|request| format!("AMDKFD_IOC_{}", request.name)).collect();
    let mut macros = names.clone();
    macros.push("KFD_IOCTL_MINOR_VERSION".to_owned());
    let values = values(&macros);
    let value =
        |name: &str| values.iter().find(|(found, _)| found == name).map(|(_, value)| *value);
    let minor = value("KFD_IOCTL_MINOR_VERSION").unwrap();
    let mut known = 0;
    for (request, name) in REQUESTS.iter().zip(&names) {
        let Some(code) = value(name) else { continue };
        known += 1;
        // CREATE_QUEUE has grown by 8 bytes in KFD 1.17.
        let missing = if request.name == "CREATE_QUEUE" && minor < 17 { 8 } else { 0 };
        assert_eq!(code, u64::from(request.code()) - (missing << 16), "{name}");
    }
    assert!(known >= 0x23, "only {known} requests in the header");
}

#[test]
fn flags_are_the_kernels() {
    let flags: Vec<(String, u32)> = alloc::NAMES
        .iter()
        .map(|(bit, name)| (format!("KFD_IOC_ALLOC_MEM_FLAGS_{name}"), *bit))
        .chain(svm::NAMES.iter().map(|(bit, name)| (format!("KFD_IOCTL_SVM_FLAG_{name}"), *bit)))
        .collect();
    let macros: Vec<String> = flags.iter().map(|(name, _)| name.clone()).collect();
    let values = values(&macros);
    assert!(values.len() >= 19, "only {} flags in the header", values.len());
    for (name, value) in values {
        let flag = flags.iter().find(|(found, _)| *found == name).unwrap().1;
        assert_eq!(value, u64::from(flag), "{name}");
    }
}
