//! The MTYPE that Linux gives a mapping, from the flags that user space asked for.
//!
//! Rules of Linux 6.12.117 (drivers/gpu/drm/amd). For buffer objects:
//! - gfx900 to gfx906 (GC 9.0 to 9.4.0): amdgpu/gmc_v9_0.c, gmc_v9_0_get_coherence_flags,
//!   `default`: uncached or (ext_)coherent is UC, else NC;
//! - gfx10: amdgpu/gmc_v10_0.c, gmc_v10_0_get_vm_pte: COHERENT, EXT_COHERENT or UNCACHED is UC;
//! - gfx11: amdgpu/gmc_v11_0.c, gmc_v11_0_get_vm_pte: the same;
//! - gfx120x: amdgpu/gmc_v12_0.c, gmc_v12_0_get_vm_pte: only UNCACHED is UC.
//!
//! For SVM ranges: amdkfd/kfd_svm.c, svm_range_get_pte_flags: GC 12.0.0 and 12.0.1 are always
//! NC; `default`, which is all the others here, is UC if (ext_)coherent, else NC.
//!
//! With the patches of this project and amdgpu.rdna_noncoherent=1 (patches/linux), GC 10.1 and 10.3
//! differ: what is COHERENT and nothing else, in the VRAM of the GPU that maps it, is NC, and SVM
//! ranges start without COHERENT where all GPUs are of these. tests/kernel_mtype.rs compares all
//! of this with the kernel's own functions.
//!
//! Without them it matters on none of these GPUs whose memory it is.

use kfd_abi::flags::{alloc, svm};
use kfd_abi::log::Mtype;

/// Where memory is, seen from the GPU that maps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its own VRAM.
    Local,
    /// In system memory, which is all that an APU has, or in another GPU's VRAM.
    Elsewhere,
}

/// The rules of a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Patched, and amdgpu.rdna_noncoherent is 1.
    pub(crate) rdna_noncoherent: bool,
}

impl Rules {
    /// For a buffer object with these ALLOC_MEMORY_OF_GPU flags.
    pub(crate) fn of_buffer(self, gfx_target_version: u32, flags: u32, place: Place) -> Mtype {
        let grain = flags & alloc::COHERENCE;
        let ours = self.are_for(gfx_target_version) && place == Place::Local;
        if ours && grain == alloc::COHERENT {
            return Mtype::Nc;
        }
        let uncached =
            if gfx_target_version >= 120_000 { alloc::UNCACHED } else { alloc::COHERENCE };
        if grain & uncached != 0 { Mtype::Uc } else { Mtype::Nc }
    }

    /// For an SVM range with these flags.
    pub(crate) fn of_range(self, gfx_target_version: u32, flags: u32, place: Place) -> Mtype {
        let grain = flags & (svm::COHERENT | svm::EXT_COHERENT);
        let ours = self.are_for(gfx_target_version) && place == Place::Local;
        if ours && grain == svm::COHERENT {
            return Mtype::Nc;
        }
        if grain != 0 && gfx_target_version < 120_000 { Mtype::Uc } else { Mtype::Nc }
    }

    /// The flags that an SVM range starts with, in a process that has these GPUs.
    pub(crate) fn range_starts_with(self, gfx_target_versions: &[u32]) -> u32 {
        let ours = gfx_target_versions.iter().all(|version| self.are_for(*version));
        if ours && !gfx_target_versions.is_empty() {
            svm::DEFAULT_FLAGS & !svm::COHERENT
        } else {
            svm::DEFAULT_FLAGS
        }
    }

    /// gmc_v10_0.c serves GC 10.1 and 10.3 and no others.
    fn are_for(self, gfx_target_version: u32) -> bool {
        self.rdna_noncoherent && gfx_target_version / 10_000 == 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: Rules = Rules { rdna_noncoherent: false };
    const PATCHED: Rules = Rules { rdna_noncoherent: true };
    const PLACES: [Place; 2] = [Place::Local, Place::Elsewhere];

    #[test]
    fn each_generation_follows_its_own_rule() {
        for place in PLACES {
            let of = |target, flags| STOCK.of_buffer(target, flags, place);
            for flag in [alloc::COHERENT, alloc::EXT_COHERENT, alloc::UNCACHED] {
                for target in [90_006, 100_100, 100_306, 110_000] {
                    assert_eq!(of(target, alloc::VRAM | flag), Mtype::Uc);
                }
            }
            assert_eq!(of(120_001, alloc::COHERENT | alloc::EXT_COHERENT), Mtype::Nc);
            assert_eq!(of(120_001, alloc::UNCACHED), Mtype::Uc);
            assert_eq!(of(100_300, alloc::USERPTR | alloc::WRITABLE), Mtype::Nc);
        }
    }

    #[test]
    fn an_svm_range_starts_uncached_except_on_gfx12() {
        for place in PLACES {
            let of = |target, flags| STOCK.of_range(target, flags, place);
            assert_eq!(of(100_300, svm::DEFAULT_FLAGS), Mtype::Uc);
            assert_eq!(of(100_300, svm::DEFAULT_FLAGS & !svm::COHERENT), Mtype::Nc);
            assert_eq!(of(110_000, svm::EXT_COHERENT), Mtype::Uc);
            assert_eq!(of(120_001, svm::DEFAULT_FLAGS), Mtype::Nc);
        }
    }

    #[test]
    fn the_patched_kernel_caches_local_vram_that_is_coherent_and_nothing_else() {
        let both = |target, flags, place| {
            [STOCK, PATCHED].map(|rules| rules.of_buffer(target, flags, place))
        };
        for target in [100_100, 100_103, 100_300, 100_306] {
            let coherent = alloc::VRAM | alloc::COHERENT;
            assert_eq!(both(target, coherent, Place::Local), [Mtype::Uc, Mtype::Nc]);
            assert_eq!(both(target, coherent, Place::Elsewhere), [Mtype::Uc; 2]);
            for more in [alloc::UNCACHED, alloc::EXT_COHERENT] {
                assert_eq!(both(target, coherent | more, Place::Local), [Mtype::Uc; 2]);
            }
            let range = |flags, place| PATCHED.of_range(target, flags, place);
            assert_eq!(range(svm::COHERENT, Place::Local), Mtype::Nc);
            assert_eq!(range(svm::COHERENT, Place::Elsewhere), Mtype::Uc);
            assert_eq!(range(svm::COHERENT | svm::EXT_COHERENT, Place::Local), Mtype::Uc);
        }
        for target in [90_006, 110_000] {
            assert_eq!(both(target, alloc::COHERENT, Place::Local), [Mtype::Uc; 2]);
            assert_eq!(PATCHED.of_range(target, svm::COHERENT, Place::Local), Mtype::Uc);
        }
    }

    #[test]
    fn ranges_start_without_coherent_where_all_gpus_are_rdna1_or_2_of_a_patched_kernel() {
        let starts = |rules: Rules, gpus: &[u32]| rules.range_starts_with(gpus) & svm::COHERENT;
        assert_eq!(starts(PATCHED, &[100_300, 100_102]), 0);
        for mixed in [&[100_300, 110_000][..], &[90_006, 100_300], &[120_001], &[]] {
            assert_eq!(starts(PATCHED, mixed), svm::COHERENT, "{mixed:?}");
        }
        assert_eq!(starts(STOCK, &[100_300]), svm::COHERENT);
    }
}
