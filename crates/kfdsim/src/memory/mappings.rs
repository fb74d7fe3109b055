//! The GPUs' address spaces: which buffers are mapped where.

use kfd_abi::flags::alloc;

use super::{Extent, Mapping, Memory, Place};
use crate::sys::{Errno, Result};

/// End of a GPU's address space: 48 bits (gmc_v10_0.c, gmc_v10_0_sw_init).
const VM_END: u64 = 1 << 48;

impl Memory {
    /// Maps a buffer object on a GPU.
    pub(crate) fn map(&mut self, handle: u64, gpu: usize) -> Result<()> {
        let buffer = self.buffers.get_mut(&handle).ok_or(Errno(libc::ENOMEM))?;
        let (bit, place) = (1 << gpu, buffer.place);
        if buffer.mapped & bit != 0 {
            return Ok(());
        }
        let read_only = buffer.flags & alloc::WRITABLE == 0; // get_pte_flags
        let parts: Vec<u64> = buffer.addresses().collect();
        let size = buffer.size;
        for (done, va) in parts.iter().enumerate() {
            let end = va.checked_add(size).ok_or(Errno(libc::EINVAL));
            let mapped = end.and_then(|end| self.map_range(gpu, *va, end, place));
            if let Err(errno) = mapped {
                parts[..done].iter().for_each(|va| self.unmap_range(gpu, *va));
                return Err(errno);
            }
            if let Some(mapping) = self.mappings.get_mut(va) {
                mapping.read_only = read_only;
            }
        }
        if let Some(buffer) = self.buffers.get_mut(&handle) {
            buffer.mapped |= bit;
        }
        Ok(())
    }

    /// Enters a range into the address space of a GPU.
    pub(crate) fn map_range(&mut self, gpu: usize, va: u64, end: u64, place: Place) -> Result<()> {
        let bit = 1 << gpu;
        let taken = |(start, mapping): (&u64, &Mapping)| {
            mapping.end > va && (mapping.gpus & bit != 0 || *start != va || mapping.place != place)
        };
        // amdgpu_vm_verify_parameters, and amdgpu_vm_bo_map refuses a range that is taken
        // (amdgpu_vm.c 6.12).
        if !va.is_multiple_of(4096)
            || end > VM_END
            || self.mappings.range(..end).rev().take_while(|(_, m)| m.end > va).any(taken)
        {
            return Err(Errno(libc::EINVAL));
        }
        let new = Mapping { end, place, gpus: 0, read_only: false };
        self.mappings.entry(va).or_insert(new).gpus |= bit;
        Ok(())
    }

    /// Takes a buffer object off a GPU.
    pub(crate) fn unmap(&mut self, handle: u64, gpu: usize) -> Result<()> {
        let buffer = self.buffers.get_mut(&handle).ok_or(Errno(libc::ENOMEM))?;
        let bit = 1 << gpu;
        if buffer.mapped & bit == 0 {
            return Err(Errno(libc::EINVAL)); // amdgpu_amdkfd_gpuvm_unmap_memory_from_gpu
        }
        buffer.mapped &= !bit;
        let parts: Vec<u64> = buffer.addresses().collect();
        for va in parts {
            self.unmap_range(gpu, va);
        }
        Ok(())
    }

    /// Takes the range that starts at `va` off a GPU.
    pub(crate) fn unmap_range(&mut self, gpu: usize, va: u64) {
        if let Some(mapping) = self.mappings.get_mut(&va) {
            mapping.gpus &= !(1 << gpu);
            if mapping.gpus == 0 {
                self.mappings.remove(&va);
            }
        }
    }

    /// Whether any GPU has something mapped in a range.
    pub(crate) fn is_mapped(&self, start: u64, end: u64) -> bool {
        self.mappings.range(..end).next_back().is_some_and(|(_, mapping)| mapping.end > start)
    }

    /// Address of GPU memory in this process. What is not mapped by KFD or amdgpu is system
    /// memory under the same address, as with SVM.
    pub(crate) fn resolve(&self, gpu: usize, va: u64, size: u64) -> Result<u64> {
        let Some((start, mapping)) =
            self.mappings.range(..=va).next_back().filter(|(_, mapping)| va < mapping.end)
        else {
            return Ok(va);
        };
        let inside = va.checked_add(size).is_some_and(|end| end <= mapping.end);
        if mapping.gpus & 1 << gpu == 0 || !inside {
            return Err(Errno(libc::EFAULT));
        }
        let place = mapping.place.plus(va - start);
        self.backing.map(|backing| backing.address(place)).ok_or(Errno(libc::EFAULT))
    }

    /// What a GPU reaches at an address that KFD or amdgpu has mapped.
    pub(crate) fn extent(&self, gpu: usize, va: u64) -> Option<Extent> {
        let (start, mapping) = self.mappings.range(..=va).next_back()?;
        if va >= mapping.end || mapping.gpus & 1 << gpu == 0 {
            return None;
        }
        let address = self.address(mapping.place.plus(va - start))?;
        Some(Extent { address, left: mapping.end - va, writable: !mapping.read_only })
    }

    /// Where the mapping that covers `va` starts, and its address and size, if it is memory of
    /// the file: code objects are looked for there.
    pub(crate) fn image(&self, gpu: usize, va: u64) -> Option<(u64, u64, u64)> {
        let (start, mapping) = self.mappings.range(..=va).next_back()?;
        let inside = va < mapping.end && mapping.gpus & 1 << gpu != 0;
        match mapping.place {
            Place::File(_) if inside => {
                Some((*start, self.address(mapping.place)?, mapping.end - start))
            }
            _ => None,
        }
    }
}
