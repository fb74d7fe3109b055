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
//! On none of these GPUs does it matter whose memory it is, so there is no placement here.

use kfd_abi::flags::{alloc, svm};
use kfd_abi::log::Mtype;

/// For a buffer object with these ALLOC_MEMORY_OF_GPU flags.
pub(crate) fn of_buffer(gfx_target_version: u32, flags: u32) -> Mtype {
    let uncached = if gfx_target_version >= 120_000 { alloc::UNCACHED } else { alloc::COHERENCE };
    if flags & uncached != 0 { Mtype::Uc } else { Mtype::Nc }
}

/// For an SVM range with these flags.
pub(crate) fn of_range(gfx_target_version: u32, flags: u32) -> Mtype {
    let coherent = flags & (svm::COHERENT | svm::EXT_COHERENT) != 0;
    if coherent && gfx_target_version < 120_000 { Mtype::Uc } else { Mtype::Nc }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_follows_its_own_rule() {
        for flag in [alloc::COHERENT, alloc::EXT_COHERENT, alloc::UNCACHED] {
            for target in [90_006, 100_100, 100_306, 110_000] {
                assert_eq!(of_buffer(target, alloc::VRAM | flag), Mtype::Uc);
            }
        }
        assert_eq!(of_buffer(120_001, alloc::COHERENT | alloc::EXT_COHERENT), Mtype::Nc);
        assert_eq!(of_buffer(120_001, alloc::UNCACHED), Mtype::Uc);
        assert_eq!(of_buffer(100_300, alloc::USERPTR | alloc::WRITABLE), Mtype::Nc);
    }

    #[test]
    fn an_svm_range_starts_uncached_except_on_gfx12() {
        assert_eq!(of_range(100_300, svm::DEFAULT_FLAGS), Mtype::Uc);
        assert_eq!(of_range(100_300, svm::DEFAULT_FLAGS & !svm::COHERENT), Mtype::Nc);
        assert_eq!(of_range(110_000, svm::EXT_COHERENT), Mtype::Uc);
        assert_eq!(of_range(120_001, svm::DEFAULT_FLAGS), Mtype::Nc);
    }
}
