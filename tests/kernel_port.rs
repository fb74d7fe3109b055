//! `rdnafix patch create --component linux`: it makes the series that are in `patches/linux/`, and
//! nothing where a kernel is not as expected. Other kernels: `kernel_port_forms.rs`.

mod cli_common;
mod kernel_common;
mod source_common;

use std::fs;
use std::path::Path;

use cli_common::{rdnafix, stdout, text};
use kernel_common::{DRIVER, Source, VERSIONS};
use source_common::{contents, create, create_refuses, edit, patch, patches};
use source_common::{patches_in, patches_of, restore};

const GMC: &str = "drivers/gpu/drm/amd/amdgpu/amdgpu_gmc.c";
const GMC_H: &str = "drivers/gpu/drm/amd/amdgpu/amdgpu_gmc.h";
const GMC_10: &str = "drivers/gpu/drm/amd/amdgpu/gmc_v10_0.c";
const DRV: &str = "drivers/gpu/drm/amd/amdgpu/amdgpu_drv.c";
const HEADER: &str = "drivers/gpu/drm/amd/amdgpu/amdgpu.h";
const SVM: &str = "drivers/gpu/drm/amd/amdkfd/kfd_svm.c";

fn read(tree: &Path, file: &str) -> String {
    text(&fs::read(tree.join(file)).expect(file))
}

#[test]
fn the_series_of_this_repository_are_what_create_makes() {
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let out = directory.path().join("out");
        let mut command = rdnafix(["patch", "create", "--component", "linux", "--version"]);
        let said =
            stdout(command.arg(version).arg("--source").arg(&source.tree).arg("--out").arg(&out));
        let has_it = "left out, the tree has it already: drm/amdgpu: turn retry faults off";
        assert_eq!(said.contains(has_it), version == "7.2", "{said}");
        let (made, there) = (contents(&out), contents(&patches().join("linux").join(version)));
        assert!(made.keys().eq(there.keys()), "Linux {version}: {:?}", made.keys());
        for (name, text) in &made {
            let name = name.display();
            let how = "is not what the hooks make: scripts/create_source_patches.sh --all";
            assert!(there[Path::new(&name.to_string())] == *text, "Linux {version}: {name}: {how}");
        }
    }
}

/// Each change of a file is refused with the file, the number of a line that has this text where
/// one is named, and these words.
fn refused(source: &Source, tree: &Path, table: &[(&str, &str, &str, &str, &str)]) {
    let stock = contents(tree);
    for (file, from, to, at, words) in table {
        edit(tree, file, from, to);
        let said = create_refuses("linux", tree);
        let what = format!("Linux {}: {from} -> {to}: {said}", source.version);
        let name = file.rsplit('/').next().expect("a name");
        for words in [*words, "nothing is written"] {
            assert!(said.contains(words), "{words} in {what}");
        }
        assert!(said.contains(name) || words.contains("no file"), "{name} in {what}");
        let changed = read(tree, file);
        let mut lines = changed.lines().zip(1..).filter(|(line, _)| line.contains(at));
        let named = |number: usize| {
            [format!("{name}:{number}: "), format!("line {number}: "), format!("; there: {number}")]
                .iter()
                .any(|place| said.contains(place))
        };
        assert!(at.is_empty() || lines.any(|(_, number)| named(number)), "{at} in {what}");
        restore(tree, &stock);
    }
}

#[test]
fn a_function_that_is_gone_or_takes_something_else_is_refused() {
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        let tree = source.to_port();
        let stock = read(tree.path(), GMC_10);
        let begin = stock.find("static void gmc_v10_0_get_vm_pte(").expect("the function");
        let head = &stock[begin..begin + stock[begin..].find("\n{").expect("its body")];
        let other = head.replace("uint64_t *flags", "u64 *flags");
        refused(
            &source,
            tree.path(),
            &[
                (
                    GMC,
                    "noretry_set(struct",
                    "noretry(struct",
                    "",
                    "no file defines `amdgpu_gmc_noretry_set(",
                ),
                (
                    GMC_10,
                    "int gmc_v10_0_early_init(",
                    "int gmc_v10_0_init(",
                    "",
                    "no file defines `gmc_v10_0_early_init(",
                ),
                (
                    GMC_10,
                    head,
                    &other,
                    "static void gmc_v10_0_get_vm_pte(",
                    "gmc_v10_0_get_vm_pte has the parameters (struct amdgpu_device *, ",
                ),
                (
                    SVM,
                    "\nsvm_range_get_pte_flags(struct",
                    "\nsvm_range_pte_flags(struct",
                    "",
                    "no file defines `svm_range_get_pte_flags(",
                ),
                (
                    SVM,
                    "*prefetch_loc,",
                    "prefetch_loc,",
                    "",
                    "svm_range_set_default_attributes has the parameters (",
                ),
            ],
        );
        // Two of them: which is meant is not known.
        let again = format!("{DRIVER}/amdgpu/gmc_v10_1.c");
        fs::write(tree.path().join(&again), &stock).expect("writable");
        let said = create_refuses("linux", tree.path());
        assert!(said.contains("is defined in several places: ") && said.contains(&again), "{said}");
    }
}

#[test]
fn a_statement_that_is_another_or_is_there_twice_is_refused() {
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        let tree = source.to_port();
        let aperture = "adev->gmc.shared_aperture_start = 0x2000000000000000ULL;\n";
        let mut table = vec![
            (
                GMC_10,
                aperture,
                "",
                "static int gmc_v10_0_early_init(",
                "no statement that begins with `@adev@->gmc.shared_aperture_start =`",
            ),
            (
                GMC_10,
                "adev->gmc.shared_aperture_start = 0x",
                "adev->gmc.shared_aperture_start = 0;\n\tadev->gmc.shared_aperture_start = 0x",
                "",
                "more than one statement begins with",
            ),
            (
                SVM,
                "\tdefault:\n\t\tmapping_flags |= coherent ?",
                "\tdefault:\n\t\tmapping_flags |= snoop ?",
                "static uint64_t",
                "svm_range_get_pte_flags has no statement that begins with `default: mapping_flags |= coherent ?",
            ),
            (
                SVM,
                "KFD_IOCTL_SVM_FLAG_HOST_ACCESS | KFD_IOCTL_SVM_FLAG_COHERENT;",
                "KFD_IOCTL_SVM_FLAG_HOST_ACCESS;",
                "",
                "svm_range_set_default_attributes has no statement that begins with",
            ),
        ];
        let (begins, here) = ("bool noretry_default", "gc_ver >= IP_VERSION(10, 3, 0)");
        let missing = "no `gc_ver >= IP_VERSION(10, 3, 0));` there";
        if version == "7.2" {
            let there = "gc_ver >= IP_VERSION(10, 1, 0)";
            table.push((GMC, there, "gc_ver >= IP_VERSION(10, 2, 0)", begins, missing));
        } else {
            table.push((GMC, here, "gc_ver >= IP_VERSION(10, 2, 0)", begins, missing));
            let no_statement = "has no statement that begins with `bool noretry_default =`";
            let at = "void amdgpu_gmc_noretry_set(";
            table.push((GMC, begins, "int noretry_default", at, no_statement));
        }
        if version == "6.1" {
            table.push((SVM, "bool coherent = flags &", "bool coherent = prange->flags &", "static uint64_t", "has no `bool coherent = flags & KFD_IOCTL_SVM_FLAG_COHERENT;`, which the hook uses"));
            let mask = "*flags |= (mapping->flags & AMDGPU_PTE_MTYPE_NV10_MASK);";
            table.push((
                GMC_10,
                mask,
                "*flags |= mapping->flags;",
                "static void gmc_v10_0_get_vm_pte(",
                "gmc_v10_0_get_vm_pte has no statement",
            ));
            table.push((
                SVM,
                "set_default_attributes(&location,",
                "set_default_attributes(&place,",
                "static int",
                "svm_range_get_attr has no statement",
            ));
        } else {
            table.push((
                GMC_10,
                "if (bo && bo->flags &",
                "if (bo->flags &",
                "static void gmc_v10_0_get_vm_pte(",
                "gmc_v10_0_get_vm_pte has no statement",
            ));
            // Another form than any that is known: neither the one with it nor the one without.
            table.push((
                GMC_10,
                "AMDGPU_GEM_CREATE_EXT_COHERENT",
                "AMDGPU_GEM_CREATE_OTHER",
                "",
                "gmc_v10_0_get_vm_pte has no ",
            ));
            table.push((
                SVM,
                "bool ext_coherent = flags",
                "bool ext = flags",
                "static uint64_t",
                "has no `bool ext_coherent = flags",
            ));
        }
        refused(&source, tree.path(), &table);
    }
}

#[test]
fn what_is_not_compiled_or_means_something_else_is_refused() {
    let aperture = "\tadev->gmc.shared_aperture_start = 0x2000000000000000ULL;\n";
    let dead = format!("#if 0\n{aperture}#endif\n");
    let module_param = "module_param_named(noretry, amdgpu_noretry, int, 0644);\n";
    let here = "gc_ver >= IP_VERSION(10, 3, 0));";
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        let tree = source.to_port();
        let mut table = vec![
            (GMC_10, aperture, &dead[..], "", "the place of the hook is under `#if 0`"),
            // In the lines of the tree as it is.
            (
                DRV,
                module_param,
                "module_param_named(noretry, amdgpu_noretry, int, 0644);\n\
                 module_param_named(noretry, amdgpu_noretry, int, 0644);\n",
                module_param.trim_end(),
                "looked for one line `module_param_named(noretry,",
            ),
        ];
        if version != "7.2" {
            let inverted = "!(gc_ver >= IP_VERSION(10, 3, 0)));";
            table.push((
                GMC,
                here,
                inverted,
                "bool noretry_default",
                "IP_VERSION(10, 3, 0));` there",
            ));
        }
        if version != "6.1" {
            let uncached = "*flags = AMDGPU_PTE_MTYPE_NV10(*flags, MTYPE_UC);\n}\n\nstatic";
            let with_else = "*flags = AMDGPU_PTE_MTYPE_NV10(*flags, MTYPE_UC);\n\telse\n\t\t*flags = 0;\n}\n\nstatic";
            let at = "if (bo && bo->flags";
            table.push((GMC_10, uncached, with_else, at, "the `if` has an `else`"));
            let forced = "if (adev->force_uc || bo && bo->flags &";
            table.push((
                GMC_10,
                "if (bo && bo->flags &",
                forced,
                "",
                "gmc_v10_0_get_vm_pte has no",
            ));
            let only_said = "/* bool ext_coherent = flags & KFD_IOCTL_SVM_FLAG_EXT_COHERENT; */\n\
                             \tbool ext_coherent = false;";
            let flag = "bool ext_coherent = flags & KFD_IOCTL_SVM_FLAG_EXT_COHERENT;";
            table.push((SVM, flag, only_said, "", "has no `bool ext_coherent = flags &"));
        }
        // Then `default:` is not for these GPUs.
        let own =
            "\tcase IP_VERSION(10, 3, 0):\n\t\tbreak;\n\tdefault:\n\t\tmapping_flags |= coherent ?";
        let default = "\tdefault:\n\t\tmapping_flags |= coherent ?";
        table.push((SVM, default, own, "", "has `case IP_VERSION(10,`, which the hook is not for"));
        refused(&source, tree.path(), &table);
    }
}

#[test]
fn a_comment_about_a_patch_is_not_the_patch() {
    for version in ["6.1", "6.12"] {
        let Some(source) = Source::get(version) else { continue };
        let tree = source.to_port();
        let comment = "/* not gc_ver >= IP_VERSION(10, 1, 0) */\n\tbool noretry_default";
        edit(tree.path(), GMC, "bool noretry_default", comment);
        let (made, directory) = create("linux", tree.path());
        assert!(made.status.success(), "{}", text(&made.stderr));
        assert_eq!(patches_in(&directory.path().join("out")).len(), 3, "{}", text(&made.stdout));
    }
}

#[test]
fn a_line_of_a_header_or_of_a_parameter_that_is_not_there_once_is_refused() {
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        let tree = source.to_port();
        let header = "extern int amdgpu_noretry;\n";
        refused(
            &source,
            tree.path(),
            &[
                (
                    HEADER,
                    header,
                    &header.repeat(2),
                    "extern int amdgpu_noretry;",
                    "amdgpu.h: looked for one line `extern int amdgpu_noretry;`",
                ),
                (
                    DRV,
                    "int amdgpu_noretry = -1;",
                    "int amdgpu_noretry = 1;",
                    "",
                    "looked for one line `int amdgpu_noretry = -1;`; there: none",
                ),
                (
                    DRV,
                    "amdgpu_noretry, int, 0644);",
                    "amdgpu_noretry, int, 0444);",
                    "",
                    "looked for one line `module_param_named(noretry,",
                ),
                (
                    GMC_H,
                    "\tint noretry;\n",
                    "\tbool noretry;\n",
                    "",
                    "looked for one line `int noretry;`; there: none",
                ),
            ],
        );
        let stock = contents(tree.path());
        for (file, words) in [
            (GMC, "no file defines `amdgpu_gmc_noretry_set("),
            (GMC_10, "no file defines `gmc_v10_0_get_vm_pte("),
            (SVM, "no file defines `svm_range_get_pte_flags("),
            (HEADER, "no file amdgpu/amdgpu.h"),
            (DRV, "no file amdgpu/amdgpu_drv.c"),
            (GMC_H, "no file amdgpu/amdgpu_gmc.h"),
        ] {
            fs::remove_file(tree.path().join(file)).expect("the file");
            let said = create_refuses("linux", tree.path());
            assert!(said.contains(words) && said.contains("nothing is written"), "{file}: {said}");
            restore(tree.path(), &stock);
        }
    }
}

#[test]
fn a_patched_kernel_is_refused_and_one_that_has_a_patch_is_ported_without_it() {
    for version in VERSIONS {
        let Some(source) = Source::get(version) else { continue };
        let tree = source.to_port();
        let all = patches_of(&source.series());
        let (parameter, before) = (all.len() - 2, &all[..all.len() - 2]);
        for (path, _) in before {
            patch(tree.path(), path, &[]);
        }
        let (made, directory) = create("linux", tree.path());
        assert!(made.status.success(), "{}", text(&made.stderr));
        assert!(text(&made.stdout).contains("the tree has it already: drm/amdgpu: turn retry"));
        let made = patches_in(&directory.path().join("out"));
        let first = made[0].0.file_name().expect("a name").to_string_lossy();
        assert!(made.len() == 2 && first.starts_with("0001-drm-amdkfd-add-a-parameter"), "{first}");
        for (path, _) in &all[parameter..] {
            patch(tree.path(), path, &[]);
            let said = create_refuses("linux", tree.path());
            assert!(said.contains("patched already, wholly or in part"), "Linux {version}: {said}");
            assert!(said.contains(".h:") && said.contains("has 'rdna_noncoherent'"), "{said}");
        }
    }
}
