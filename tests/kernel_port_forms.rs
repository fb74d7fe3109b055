//! `rdnafix patch create --component linux` on Debian's kernels, made what other kernels are as far as
//! the hooks are concerned: another stable release, Linux 6.6 and up to 6.11. Those kernels themselves are
//! not in the archive; whether a port builds is not shown here.

mod cli_common;
mod kernel_common;
mod source_common;

use std::fs;
use std::path::Path;

use cli_common::{output, rdnafix, text};
use kernel_common::decide::answers;
use kernel_common::extract::function;
use kernel_common::{Source, VERSIONS};
use source_common::{Contents, contents, edit, ported};

const GMC: &str = "drivers/gpu/drm/amd/amdgpu/amdgpu_gmc.c";
const GMC_10: &str = "drivers/gpu/drm/amd/amdgpu/gmc_v10_0.c";
const DRV: &str = "drivers/gpu/drm/amd/amdgpu/amdgpu_drv.c";
const HEADER: &str = "drivers/gpu/drm/amd/amdgpu/amdgpu.h";
const SVM: &str = "drivers/gpu/drm/amd/amdkfd/kfd_svm.c";

/// Files on disk.
fn written(files: &Contents) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
        fs::write(path, content).expect("writable");
    }
    directory
}

/// The patched functions of a port decide as those of the series.
fn decides_as_the_series(source: &Source, ported: &Contents) {
    let (ours, wanted) = (written(ported), source.patched());
    let (ours, wanted) =
        (answers(source, ours.path(), false), answers(source, wanted.path(), false));
    assert!(ours.len() > 300_000, "Linux {}: {} inputs", source.version, ours.len());
    assert!(ours == wanted, "Linux {}: another decision", source.version);
}

/// A function of a file.
fn body(files: &Contents, file: &str, name: &str) -> String {
    function(&text(&files[Path::new(file)]), name).unwrap_or_else(|| panic!("{file} has no {name}"))
}

#[test]
fn a_stable_release_that_the_series_does_not_fit_any_more_is_ported() {
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        let tree = source.to_port();
        for (file, from, to) in [
            (
                GMC_10,
                "#include <linux/pci.h>\n",
                "#include <linux/pci.h>\n#include <linux/io.h>\n\n/*\n * More\n */\n",
            ),
            (
                GMC_10,
                "funcs(adev);\n\n\tadev->gmc.shared",
                "funcs(adev);\n\tgmc_v10_0_set_more(adev);\n\tadev->gmc.shared",
            ),
            (
                GMC,
                "= (gc_ver == IP_VERSION(9, 0, 1) ||",
                "= (gc_ver == IP_VERSION(8, 0, 1) ||\n\t\t\t\tgc_ver == IP_VERSION(9, 0, 1) ||",
            ),
            (
                HEADER,
                "extern int amdgpu_noretry;\n",
                "extern int amdgpu_more;\nextern int amdgpu_noretry;\nextern int amdgpu_most;\n",
            ),
            (
                DRV,
                "int amdgpu_noretry = -1;\n",
                "int amdgpu_more;\nint amdgpu_noretry = -1;\nint amdgpu_most;\n",
            ),
            (
                SVM,
                "\tdefault:\n\t\tmapping_flags |= coherent",
                "\tcase IP_VERSION(13, 0, 0):\n\t\tmapping_flags |= AMDGPU_VM_MTYPE_NC;\n\t\tbreak;\n\tdefault: /* the others */\n\t\tmapping_flags |=\n\t\t\tcoherent",
            ),
            (
                SVM,
                "\t*flags =\n\t\tKFD_IOCTL_SVM_FLAG_HOST_ACCESS",
                "\t/* what user mode expects */\n\t*flags = KFD_IOCTL_SVM_FLAG_HOST_ACCESS",
            ),
        ] {
            edit(tree.path(), file, from, to);
        }
        let refused = output(rdnafix(["patch", "apply", "--source"]).arg(tree.path()));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(125), "Linux {version}: {said}");
        decides_as_the_series(&source, &ported("linux", tree.path()));
    }
}

#[test]
fn between_6_6_and_6_12_the_same_is_said_in_other_words() {
    let Some(source) = Source::get("6.12") else { return };
    let tree = source.to_port();
    // The macro takes the type alone, and a range's default attributes do not know whose it is.
    let uncached = "*flags = AMDGPU_PTE_MTYPE_NV10(*flags, MTYPE_UC);";
    let masked = "*flags = (*flags & ~AMDGPU_PTE_MTYPE_NV10_MASK) |\n\t\t\t AMDGPU_PTE_MTYPE_NV10(0ULL, MTYPE_UC);";
    edit(tree.path(), GMC_10, uncached, masked);
    edit(tree.path(), SVM, "attributes(svms, &", "attributes(&");
    edit(
        tree.path(),
        SVM,
        "attributes(struct svm_range_list *svms, int32_t *location,",
        "attributes(int32_t *location,",
    );
    edit(tree.path(), SVM, "*granularity = svms->default_granularity;", "*granularity = 9;");
    let ported = ported("linux", tree.path());
    let calls = text(&ported[Path::new(SVM)]);
    assert_eq!(
        calls.matches("svm_range_set_default_attributes(svms, &").count(),
        2,
        "both callers"
    );
    decides_as_the_series(&source, &ported);
}

#[test]
fn linux_6_6_has_no_extended_coherence() {
    let Some(source) = Source::get("6.12") else { return };
    let tree = source.to_port();
    for (file, from, to) in [
        (GMC_10, "\t\t\t       AMDGPU_GEM_CREATE_EXT_COHERENT |\n", ""),
        (
            SVM,
            "(KFD_IOCTL_SVM_FLAG_COHERENT | KFD_IOCTL_SVM_FLAG_EXT_COHERENT)",
            "KFD_IOCTL_SVM_FLAG_COHERENT",
        ),
        (SVM, "\tbool ext_coherent = flags & KFD_IOCTL_SVM_FLAG_EXT_COHERENT;\n", ""),
        (SVM, " && !ext_coherent", ""),
        (
            SVM,
            "\t\tif (ext_coherent)\n\t\t\tmtype_local = node->adev->rev_id ? AMDGPU_VM_MTYPE_CC : AMDGPU_VM_MTYPE_UC;\n\t\telse\n",
            "",
        ),
        (SVM, "ext_coherent ? AMDGPU_VM_MTYPE_UC : AMDGPU_VM_MTYPE_NC", "AMDGPU_VM_MTYPE_NC"),
    ] {
        edit(tree.path(), file, from, to);
    }
    let ported = ported("linux", tree.path());
    // A range or buffer that asks for it all the same is left alone, as in 6.1.
    let flags = body(&ported, SVM, "svm_range_get_pte_flags");
    let lines = "\tdefault:\n\t\t/* BIT(7) is EXT_COHERENT in the uAPI of later kernels. */\n\
        \t\tif (node->adev->gmc.rdna_noncoherent && !(flags & BIT(7)) &&\n\
        \t\t    domain == SVM_RANGE_VRAM_DOMAIN && bo_node == node)\n\t\t\tcoherent = false;\n";
    assert!(flags.contains(lines), "{flags}");
    let entry = body(&ported, GMC_10, "gmc_v10_0_get_vm_pte");
    let lines = "AMDGPU_GEM_CREATE_UNCACHED) &&\n\t    !(*flags & AMDGPU_PTE_VALID &&\n\
        \t      gmc_v10_0_bo_is_noncoherent(adev, bo)))\n";
    assert!(entry.contains(lines), "{entry}");
    if let Some(older) = Source::get("6.1") {
        let older = contents(older.patched().path());
        let decision = |files: &Contents| body(files, GMC_10, "gmc_v10_0_bo_is_noncoherent");
        assert_eq!(decision(&ported), decision(&older));
        let include = "#include <uapi/linux/kfd_ioctl.h>\n";
        assert!(text(&ported[Path::new(GMC_10)]).contains(include));
    }
}

#[test]
fn the_trees_own_names_and_its_line_ends_stay() {
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        let tree = source.to_port();
        let stock = contents(tree.path());
        let patched = ported("linux", tree.path());

        let renamed = |files: &Contents| {
            let whole = text(&files[Path::new(GMC_10)]);
            let old = body(files, GMC_10, "gmc_v10_0_get_vm_pte");
            whole.replace(&old, &old.replace("*flags", "*entry").replace("adev", "device"))
        };
        fs::write(tree.path().join(GMC_10), renamed(&stock)).expect("writable");
        let got = text(&ported("linux", tree.path())[Path::new(GMC_10)]);
        assert!(got == renamed(&patched), "Linux {version}: other names");

        let crlf = |content: &[u8]| text(content).replace('\n', "\r\n").into_bytes();
        for (path, content) in &stock {
            fs::write(tree.path().join(path), crlf(content)).expect("writable");
        }
        for (path, content) in ported("linux", tree.path()) {
            let same = content == crlf(&patched[&path]);
            assert!(same, "Linux {version}: {}: with CRLF", path.display());
        }
    }
}
