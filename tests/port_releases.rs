//! `rdnafix patch create` on the real sources with what is different in other releases, as far as
//! the hooks are concerned: other parameters, a function that is not split off yet, calls through
//! another name. The releases themselves are not in the archive.

mod cli_common;
mod source_common;

use std::fs;
use std::path::Path;

use cli_common::text;
use source_common::{edit, ported, sources};

const MEMORY: &str = "hipamd/src/hip_memory.cpp";
const DEVICE: &str = "rocclr/device/rocm/rocdevice.cpp";
const BUFFER: &str = "rocclr/device/rocm/rocmemory.cpp";

/// The text of a file between two others, the first included.
fn between(tree: &Path, file: &str, from: &str, to: &str) -> String {
    let text = text(&fs::read(tree.join(file)).unwrap());
    let start = text.find(from).unwrap_or_else(|| panic!("{file} has no {from}"));
    let end = text[start..].find(to).unwrap_or_else(|| panic!("{file} has no {to}"));
    text[start..start + end].to_owned()
}

/// After a port, a file has these lines one after the other.
fn assert_has(tree: &Path, file: &str, wanted: &[&str]) {
    let patched = ported("clr", tree);
    let text = text(&patched[Path::new(file)]);
    for wanted in wanted {
        assert!(text.contains(wanted), "{file} has no\n{wanted}");
    }
}

#[test]
fn as_in_5_2_pinned_memory_is_returned_in_one_statement_and_pools_have_no_extended_grain() {
    let Some(tree) = sources("clr/5.7.1") else { return };
    let status = r"  hipError_t status = ihipMalloc(ptr, sizeBytes, ihipFlags);

  if ((status == hipSuccess) && ((*ptr) != nullptr)) {
    size_t offset = 0; // This is ignored
    amd::Memory* svmMem = getMemoryObject(*ptr, offset);
    // Save the HIP memory flags so that they can be accessed later
    svmMem->getUserData().flags = flags;
  }

  HIP_RETURN_DURATION(status, *ptr);
}

hipError_t hipFree(";
    let at_once = r"  HIP_RETURN_DURATION(ihipMalloc(ptr, sizeBytes, ihipFlags), *ptr);
}

hipError_t hipFree(";
    edit(tree.path(), MEMORY, status, at_once);
    edit(
        tree.path(),
        DEVICE,
        "deviceLocalAlloc(size_t size, bool atomics, bool pseudo_fine_grain)",
        "deviceLocalAlloc(size_t size, bool atomics)",
    );
    edit(
        tree.path(),
        BUFFER,
        "bool Buffer::create(bool alloc_local) {",
        "bool Buffer::create() {\n  const bool alloc_local = false;",
    );
    edit(
        tree.path(),
        BUFFER,
        "if (!(amd::Os::releaseMemory(deviceMemory_, size()))) {",
        "amd::Os::uncommitMemory(deviceMemory_, size());\n            {",
    );
    assert_has(
        tree.path(),
        MEMORY,
        &[
            r"  if (rdnafix::host_malloc_flags(flags, *hip::getCurrentDevice()->devices()[0]) != flags) {
    const hipError_t status = ihipMalloc(ptr, sizeBytes, ihipFlags & ~CL_MEM_SVM_ATOMICS);
    if (status == hipSuccess) {
      HIP_RETURN_DURATION(status, *ptr);
    }
  }
  HIP_RETURN_DURATION(ihipMalloc(ptr, sizeBytes, ihipFlags), *ptr);
",
        ],
    );
    assert_has(tree.path(), DEVICE, &["    void* coarse = deviceLocalAlloc(size);\n"]);
    assert_has(
        tree.path(),
        BUFFER,
        &[
            r"              rdnafix_svm_range_freed(deviceMemory_, size());
            }
            amd::Os::uncommitMemory(",
            "owner()->getSize(), nullptr, 0, asked, 0, &deviceMemory_);\n",
        ],
    );
}

#[test]
fn as_in_6_0_to_6_2_there_is_a_dispatch_table_and_no_function_for_pinned_memory_alone() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    let wrapper = between(tree.path(), MEMORY, "hipError_t hipHostMalloc(", "hipError_t hipFree(");
    edit(tree.path(), MEMORY, &wrapper, "");
    for file in [MEMORY, "hipamd/src/hip_internal.hpp"] {
        edit(tree.path(), file, "ihipHostMalloc", "hipHostMalloc");
    }
    assert_has(
        tree.path(),
        MEMORY,
        &[r"  hipError_t status = hipErrorOutOfMemory;
  if (rdnafix::host_malloc_flags(flags, *hip::getCurrentDevice()->devices()[0]) != flags) {
    status = ihipMalloc(ptr, sizeBytes, ihipFlags & ~CL_MEM_SVM_ATOMICS);
  }
"],
    );
    let table = "hipamd/src/hip_table_interface.cpp";
    let patched = ported("clr", tree.path());
    let hooks = text(&patched[Path::new(table)]).matches("const rdnafix::PublicCall call(").count();
    // hipHostMalloc, hipMallocManaged and hipMemAllocHost; hipHostAlloc gives device memory.
    assert_eq!(hooks, 3);
}

#[test]
fn as_in_7_x_flags_are_a_structure_and_hsa_is_called_by_another_name() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    let tree = tree.path();
    edit(
        tree,
        DEVICE,
        r"deviceLocalAlloc(size_t size, bool atomics, bool pseudo_fine_grain,
                               bool contiguous)",
        "deviceLocalAlloc(size_t size, const AllocationFlags& how)",
    );
    edit(
        tree,
        DEVICE,
        r"SetSvmAttributesInt(const void* dev_ptr, size_t count,
                              amd::MemoryAdvice advice, bool first_alloc, bool use_cpu)",
        r"SetSvmAttributesInt(const void* dev_ptr, size_t count,
                              amd::MemoryAdvice advice, bool first, bool use_cpu, int numa_id)",
    );
    edit(
        tree,
        DEVICE,
        "    hsa_status_t status = hsa_amd_svm_attributes_set(",
        "    hsa_status_t status =\n        Hsa::svm_attributes_set(",
    );
    edit(
        tree,
        BUFFER,
        r#"if (!(amd::Os::releaseMemory(deviceMemory_, size()))) {
              ClPrint(amd::LOG_DEBUG, amd::LOG_MEM, "[ROCClr] munmap failed \n");
            }
          } else {"#,
        "dev().releaseMemory(deviceMemory_, size());\n          } else {",
    );
    // The lock has a function of its own, in another file.
    let lock = between(
        tree,
        BUFFER,
        "      hsa_amd_memory_pool_t pool = (memFlags & CL_MEM_SVM_ATOMICS)",
        r"    } else {
      deviceMemory_ = owner()->getHostMem();
    }
  } else {",
    );
    edit(
        tree,
        BUFFER,
        &lock,
        r"      deviceMemory_ = dev().hostLock(owner()->getHostMem(), owner()->getSize(), segment);
",
    );
    let free = r"void Device::hostFree(void* ptr, size_t size) const { memFree(ptr, size); }
";
    let own = r"void* Device::hostLock(void* from, size_t size, const MemorySegment segment) const {
  hsa_amd_memory_pool_t pool = getHostMemoryPool(segment);
  void* deviceMemory = nullptr;
  hsa_status_t status = Hsa::memory_lock_to_pool(
      from, size, const_cast<hsa_agent_t*>(&_bkendDevice), 1, pool, 0, &deviceMemory);
  return status == HSA_STATUS_SUCCESS ? deviceMemory : nullptr;
}

";
    edit(tree, DEVICE, free, &format!("{own}{free}"));
    assert_has(
        tree,
        DEVICE,
        &[
            r"    AllocationFlags plain = how;
    plain.atomics_ = false;
    plain.pseudo_fine_grain_ = false;
    void* coarse = deviceLocalAlloc(size, plain);
",
            r"    const int grain = first ? rdnafix::grain_of_new_range(devices()) : -1;
",
            r"      attr.pop_back();
      status = Hsa::svm_attributes_set(const_cast<void*>(dev_ptr), count,
",
            r"  const hsa_amd_memory_pool_t asked = pool;
  if ((segment == kAtomics || segment == kUncachedAtomics) &&
",
            r"    pool = getHostMemoryPool(kNoAtomics);
  }
  hsa_status_t status = Hsa::memory_lock_to_pool(
",
            r"    status = Hsa::memory_lock_to_pool(from, size, const_cast<hsa_agent_t*>(&_bkendDevice), 1, asked, 0, &deviceMemory);
",
        ],
    );
    assert_has(
        tree,
        BUFFER,
        &[r"              rdnafix_svm_range_freed(deviceMemory_, size());
            }
            dev().releaseMemory(deviceMemory_, size());
"],
    );
}

#[test]
fn as_in_7_x_public_functions_catch_exceptions() {
    let Some(tree) = sources("clr/6.4.3") else { return };
    let table = "hipamd/src/hip_table_interface.cpp";
    let call = "  return hip::GetHipDispatchTable()->hipMemAllocHost_fn(ptr, size);\n";
    edit(tree.path(), table, call, &format!("  TRY;\n{call}  CATCH;\n"));
    let hook = "  const rdnafix::PublicCall call(__builtin_return_address(0));\n";
    assert_has(tree.path(), table, &[&format!("{hook}  TRY;\n{call}  CATCH;\n")]);
}
