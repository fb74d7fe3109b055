// The hooks: every function that librdnafix.so takes over, in one table. src/hook.rs makes the
// exported functions from it, and with them rustc's version script; tests/exports.rs and
// docs/hooks.md are checked against it.
//
// variant, library, C name, register of the first argument that is not used (`stack` where all
// are), handler, what it is for
hooks! {
    HipHostMalloc, Hip, hipHostMalloc, rcx, crate::hooks::pinned::host_malloc,
        "flags 0 become NonCoherent; Mapped from level `mapped`, explicit requests at `full`";
    HipHostAlloc, Hip, hipHostAlloc, rcx, crate::hooks::pinned::host_alloc,
        "flags 0 become hipHostMalloc(NonCoherent) from ROCm 6.3 on; earlier it gives no coherent memory";
    HipMemAllocHost, Hip, hipMemAllocHost, rdx, crate::hooks::pinned::mem_alloc_host,
        "becomes hipHostMalloc(NonCoherent)";
    HipHostGetFlags, Hip, hipHostGetFlags, rdx, crate::hooks::pinned::host_get_flags,
        "gives back the flags that the program passed";
    HipPointerGetAttributes, Hip, hipPointerGetAttributes, rdx, crate::hooks::pinned::pointer_get_attributes,
        "gives back the flags that the program passed";
    HipHostFree, Hip, hipHostFree, rsi, crate::hooks::pinned::host_free,
        "forgets what was remembered of the allocation";
    HipFreeHost, Hip, hipFreeHost, rsi, crate::hooks::pinned::free_host,
        "forgets what was remembered of the allocation";
    HipFree, Hip, hipFree, rsi, crate::hooks::pinned::free,
        "forgets what was remembered of the allocation";
    HipMalloc, Hip, hipMalloc, rdx, crate::hooks::vram::malloc,
        "counted, and refused above `RDNAFIX_VRAM_FRACTION`; without it forwarded";
    HipMallocPitch, Hip, hipMallocPitch, r8, crate::hooks::vram::malloc_pitch,
        "as hipMalloc";
    HipMemAllocPitch, Hip, hipMemAllocPitch, r9, crate::hooks::vram::mem_alloc_pitch,
        "as hipMalloc";
    HipMalloc3D, Hip, hipMalloc3D, rsi, crate::hooks::vram::malloc_3d,
        "as hipMalloc";
    HipMallocAsync, Hip, hipMallocAsync, rcx, crate::hooks::vram::malloc_async,
        "as hipMalloc";
    HipMallocFromPoolAsync, Hip, hipMallocFromPoolAsync, r8, crate::hooks::vram::malloc_from_pool_async,
        "as hipMalloc";
    HipFreeAsync, Hip, hipFreeAsync, rdx, crate::hooks::vram::free_async,
        "no longer counted";
    HipMemCreate, Hip, hipMemCreate, r8, crate::hooks::vram::mem_create,
        "as hipMalloc";
    HipMemRelease, Hip, hipMemRelease, rsi, crate::hooks::vram::mem_release,
        "no longer counted";
    HipDeviceReset, Hip, hipDeviceReset, rdi, crate::hooks::vram::device_reset,
        "nothing of that device is counted any longer";
    HipMallocManaged, Hip, hipMallocManaged, rcx, crate::hooks::managed::malloc_managed,
        "SetCoarseGrain afterwards, where the HSA hooks are not on the runtime's path";
    HipExtMallocWithFlags, Hip, hipExtMallocWithFlags, rcx, crate::hooks::device::ext_malloc,
        "an explicit request: left alone, here and in the HSA call that it makes, below `full`";
    HipGetProcAddress, Hip, hipGetProcAddress, r9, crate::dl::get_proc_address,
        "gives out the functions of this table, with RDNAFIX_DLSYM=1";
    HipGetDriverEntryPoint, Hip, hipGetDriverEntryPoint, r8, crate::dl::get_driver_entry_point,
        "gives out the functions of this table, with RDNAFIX_DLSYM=1";
    HsaSvmAttributesSet, Hsa, hsa_amd_svm_attributes_set, r8, crate::hooks::svm::attributes_set,
        "a range that gets GPU access and no grain becomes coarse-grained in the same call";
    HsaMemoryPoolAllocate, Hsa, hsa_amd_memory_pool_allocate, r8, crate::hooks::pool::allocate,
        "fine-grained GPU pools become the coarse-grained one; the PCIe bit is cleared";
    HsaMemoryLockToPool, Hsa, hsa_amd_memory_lock_to_pool, stack, crate::hooks::pool::lock,
        "at `full`, registered host memory is locked to the coarse-grained pool";
    HsaVmemHandleCreate, Hsa, hsa_amd_vmem_handle_create, r9, crate::hooks::pool::vmem_create,
        "fine-grained GPU pools become the coarse-grained one";
}
