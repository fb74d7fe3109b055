//! Calls that allocate device memory, and those that free it: counted, and refused above the
//! cap, if there is one. Without it they are forwarded, from the second call on by a jump.
//!
//! Not counted: arrays, whose size HIP does not say, managed and host memory, and what a
//! program gets past HIP.

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};

use policy::{GfxTarget, HipVersion};

use crate::config::{self, MILLION};
use crate::hip::{self, Alloc, DEVICES, Hip, OUT_OF_MEMORY, SUCCESS, SYMBOL_NOT_FOUND};
use crate::hook::Hook;
use crate::resolve::function_if;
use crate::seen;
use crate::vram::{self, Freed, Room};

type Stream = *mut c_void;
type MallocPitch = unsafe extern "C-unwind" fn(*mut *mut c_void, *mut usize, usize, usize) -> c_int;
type MemAllocPitch =
    unsafe extern "C-unwind" fn(*mut *mut c_void, *mut usize, usize, usize, c_uint) -> c_int;
type Malloc3D = unsafe extern "C-unwind" fn(*mut PitchedPointer, Extent) -> c_int;
type MallocAsync = unsafe extern "C-unwind" fn(*mut *mut c_void, usize, Stream) -> c_int;
type FromPool = unsafe extern "C-unwind" fn(*mut *mut c_void, usize, *mut c_void, Stream) -> c_int;
type FreeAsync = unsafe extern "C-unwind" fn(*mut c_void, Stream) -> c_int;
type MemCreate =
    unsafe extern "C-unwind" fn(*mut *mut c_void, usize, *const Properties, c_ulonglong) -> c_int;
type MemRelease = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;
type DeviceReset = unsafe extern "C-unwind" fn() -> c_int;

/// hipPitchedPtr (driver_types.h)
#[repr(C)]
pub(crate) struct PitchedPointer {
    start: *mut c_void,
    pitch: usize,
    width: usize,
    height: usize,
}

/// hipExtent (driver_types.h)
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    width: usize,
    height: usize,
    depth: usize,
}

/// The start of hipMemAllocationProp (hip_runtime_api.h), from [`PROPERTIES_SINCE`] to 7.2.
#[repr(C)]
pub(crate) struct Properties {
    kind: c_uint,
    handle_type: c_uint,
    location: c_uint,
    device: c_int,
}

/// In 5.2 the members are in another order.
const PROPERTIES_SINCE: HipVersion = HipVersion { major: 5, minor: 7 };

/// hipMemLocationTypeDevice
const ON_DEVICE: c_uint = 1;

/// More bytes than any GPU has.
const TOO_MUCH: usize = 1 << 62;

/// Makes a call that allocates `bytes` on the `device`. Above the cap it asks for [`TOO_MUCH`]
/// more, which HIP refuses in its own words, after it has looked at the other arguments: the call
/// gets how many bytes it has to add. `made` says what came of it: what it is freed by, and its
/// size.
fn count(
    hook: Hook,
    bytes: Option<usize>,
    caller: usize,
    device: impl FnOnce(&Hip) -> Option<c_int>,
    call: impl FnOnce(usize) -> c_int,
    made: impl FnOnce() -> (usize, usize),
) -> c_int {
    if !vram::wanted() || seen::is_counting() {
        return call(0);
    }
    let bytes = bytes.filter(|bytes| *bytes != 0);
    let Some((hip, device, limit)) = bytes.and_then(|_| cap(caller, device)) else {
        return call(0);
    };
    let bytes = bytes.unwrap_or_default() as u64;
    let room = match Room::take(device, bytes, limit) {
        Ok(room) => room,
        Err(held) => {
            tracing::warn!(
                "{}: {bytes} bytes refused: device {device} holds {held} of the {limit} that \
                 RDNAFIX_VRAM_FRACTION allows",
                hook.name(),
            );
            let status = seen::counting(|| call(TOO_MUCH));
            if status == SUCCESS {
                // HIP 5.2 says so of a pool that is exhausted, and gives an address of nothing.
                hip.run_out_of_memory();
                return OUT_OF_MEMORY;
            }
            return status;
        }
    };
    let status = seen::counting(|| call(0));
    if status == SUCCESS {
        let (key, bytes) = made();
        room.fill(key, bytes as u64);
    }
    status
}

/// The device, and how many bytes of it may be held. `None` where no cap is known.
fn cap(
    caller: usize,
    device: impl FnOnce(&Hip) -> Option<c_int>,
) -> Option<(&'static Hip, usize, u64)> {
    let millionths = config::get().cap()?;
    let hip = hip::near(caller)?;
    let device = device(hip)?;
    let index = usize::try_from(device).ok().filter(|index| *index < DEVICES)?;
    hip.target(device).filter(|target: &GfxTarget| target.is_rdna12())?;
    let part = u128::from(hip.total_memory(device)?) * u128::from(millionths);
    Some((hip, index, (part / u128::from(MILLION)) as u64))
}

/// Makes a call that allocates `size` bytes on the current device and puts the address at
/// `ptr`, unless that is above the cap.
///
/// # Safety
/// `ptr` must be where the call puts it.
pub(super) unsafe fn counted(
    hook: Hook,
    ptr: *mut *mut c_void,
    size: usize,
    caller: usize,
    call: impl FnOnce(usize) -> c_int,
) -> c_int {
    // SAFETY: as the caller vouches.
    unsafe { counted_on(hook, ptr, size, caller, Hip::current_device, call) }
}

/// The same on another device.
unsafe fn counted_on(
    hook: Hook,
    ptr: *mut *mut c_void,
    size: usize,
    caller: usize,
    device: impl FnOnce(&Hip) -> Option<c_int>,
    call: impl FnOnce(usize) -> c_int,
) -> c_int {
    let bytes = (!ptr.is_null()).then_some(size);
    // SAFETY: read after the call succeeded, which put the address there.
    count(hook, bytes, caller, device, call, || (unsafe { *ptr } as usize, size))
}

/// `hipError_t hipMalloc(void** ptr, size_t size)`
pub(crate) unsafe extern "C-unwind" fn malloc(
    ptr: *mut *mut c_void,
    size: usize,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipMalloc.
    let real = unsafe { function_if::<Alloc>(Hook::HipMalloc, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // SAFETY: the program's own arguments to the function that it called.
    unsafe { counted(Hook::HipMalloc, ptr, size, caller, |more| real(ptr, size | more)) }
}

/// `hipError_t hipMallocPitch(void** ptr, size_t* pitch, size_t width, size_t height)`
pub(crate) unsafe extern "C-unwind" fn malloc_pitch(
    ptr: *mut *mut c_void,
    pitch: *mut usize,
    width: usize,
    height: usize,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipMallocPitch.
    let real = unsafe { function_if::<MallocPitch>(Hook::HipMallocPitch, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // SAFETY: the program's own arguments to the function that it called.
    let call = |more| unsafe { real(ptr, pitch, width, rows(height, width, more)) };
    // SAFETY: the call's own results.
    unsafe { pitched(Hook::HipMallocPitch, (ptr, pitch), (width, height), caller, call) }
}

/// `hipError_t hipMemAllocPitch(hipDeviceptr_t* ptr, size_t* pitch, size_t width,
/// size_t height, unsigned int element_size)`
pub(crate) unsafe extern "C-unwind" fn mem_alloc_pitch(
    ptr: *mut *mut c_void,
    pitch: *mut usize,
    width: usize,
    height: usize,
    element_size: c_uint,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipMemAllocPitch.
    let real =
        unsafe { function_if::<MemAllocPitch>(Hook::HipMemAllocPitch, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // SAFETY: the program's own arguments to the function that it called.
    let call = |more| unsafe { real(ptr, pitch, width, rows(height, width, more), element_size) };
    // SAFETY: the call's own results.
    unsafe { pitched(Hook::HipMemAllocPitch, (ptr, pitch), (width, height), caller, call) }
}

/// So many rows that they are still too much where `more` is, and can be padded without overflow.
fn rows(rows: usize, width: usize, more: usize) -> usize {
    rows.saturating_add((more >> 16) / width.max(1))
}

/// An allocation of rows, which are padded by the call.
///
/// # Safety
/// The pointers must be where the call puts its results.
unsafe fn pitched(
    hook: Hook,
    (ptr, pitch): (*mut *mut c_void, *mut usize),
    (width, height): (usize, usize),
    caller: usize,
    call: impl FnOnce(usize) -> c_int,
) -> c_int {
    let bytes = width.checked_mul(height).filter(|_| !ptr.is_null() && !pitch.is_null());
    // SAFETY: read after the call succeeded, which put its results there.
    let made = || unsafe { (*ptr as usize, (*pitch).saturating_mul(height)) };
    count(hook, bytes, caller, Hip::current_device, call, made)
}

/// `hipError_t hipMalloc3D(hipPitchedPtr* pitched, hipExtent extent)`
pub(crate) unsafe extern "C-unwind" fn malloc_3d(
    pitched: *mut PitchedPointer,
    extent: Extent,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipMalloc3D.
    let real = unsafe { function_if::<Malloc3D>(Hook::HipMalloc3D, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    let Extent { width, height, depth } = extent;
    let call = |more| {
        let depth = rows(depth, width.saturating_mul(height), more);
        // SAFETY: the program's own arguments to the function that it called.
        unsafe { real(pitched, Extent { depth, ..extent }) }
    };
    let rows = height.checked_mul(depth).filter(|_| !pitched.is_null());
    let bytes = rows.and_then(|rows| rows.checked_mul(width));
    let made = || {
        // SAFETY: the call succeeded, so it has filled this in.
        let PitchedPointer { start, pitch, .. } = unsafe { pitched.read() };
        (start as usize, pitch.saturating_mul(rows.unwrap_or(0)))
    };
    count(Hook::HipMalloc3D, bytes, caller, Hip::current_device, call, made)
}

/// `hipError_t hipMallocAsync(void** ptr, size_t size, hipStream_t stream)`
pub(crate) unsafe extern "C-unwind" fn malloc_async(
    ptr: *mut *mut c_void,
    size: usize,
    stream: Stream,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipMallocAsync.
    let real = unsafe { function_if::<MallocAsync>(Hook::HipMallocAsync, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // SAFETY: the program's own arguments to the function that it called.
    let call = |more| unsafe { real(ptr, size | more, stream) };
    let device = |hip: &Hip| hip.device_of(stream);
    // SAFETY: `ptr` takes the result of the call.
    unsafe { counted_on(Hook::HipMallocAsync, ptr, size, caller, device, call) }
}

/// `hipError_t hipMallocFromPoolAsync(void** ptr, size_t size, hipMemPool_t pool,
/// hipStream_t stream)`
///
/// A stream may take from a pool of another device, and HIP does not say of which a pool is: what
/// comes from other pools than those of the stream's device is not counted.
pub(crate) unsafe extern "C-unwind" fn malloc_from_pool_async(
    ptr: *mut *mut c_void,
    size: usize,
    pool: *mut c_void,
    stream: Stream,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipMallocFromPoolAsync.
    let real =
        unsafe { function_if::<FromPool>(Hook::HipMallocFromPoolAsync, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // SAFETY: the program's own arguments to the function that it called.
    let call = |more| unsafe { real(ptr, size | more, pool, stream) };
    let device = |hip: &Hip| hip.device_of(stream).filter(|device| hip.is_pool_of(pool, *device));
    // SAFETY: `ptr` takes the result of the call.
    unsafe { counted_on(Hook::HipMallocFromPoolAsync, ptr, size, caller, device, call) }
}

/// `hipError_t hipMemCreate(hipMemGenericAllocationHandle_t* handle, size_t size,
/// const hipMemAllocationProp* properties, unsigned long long flags)`
pub(crate) unsafe extern "C-unwind" fn mem_create(
    handle: *mut *mut c_void,
    size: usize,
    properties: *const Properties,
    flags: c_ulonglong,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipMemCreate.
    let real = unsafe { function_if::<MemCreate>(Hook::HipMemCreate, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // SAFETY: the program's own arguments to the function that it called.
    let call = |more| unsafe { real(handle, size | more, properties, flags) };
    let device = |hip: &Hip| {
        hip.version().filter(|version| *version >= PROPERTIES_SINCE)?;
        // SAFETY: null, or what hipMemCreate takes, which begins like this.
        let properties = unsafe { properties.as_ref() }?;
        (properties.location == ON_DEVICE).then_some(properties.device)
    };
    // SAFETY: `handle` takes the result of the call.
    unsafe { counted_on(Hook::HipMemCreate, handle, size, caller, device, call) }
}

/// What is being freed: HIP takes any address inside an allocation.
pub(super) fn free(ptr: *mut c_void, caller: usize) -> Freed {
    let freed = vram::free(ptr as usize);
    if freed.is_counted() || ptr.is_null() || vram::is_empty() {
        return freed;
    }
    match hip::near(caller).and_then(|hip| hip.allocation(ptr)) {
        Some((base, _)) if base != ptr => vram::free(base as usize),
        _ => freed,
    }
}

/// `hipError_t hipFreeAsync(void* ptr, hipStream_t stream)`
pub(crate) unsafe extern "C-unwind" fn free_async(
    ptr: *mut c_void,
    stream: Stream,
    caller: usize,
) -> c_int {
    // SAFETY: the type is that of hipFreeAsync.
    let real = unsafe { function_if::<FreeAsync>(Hook::HipFreeAsync, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    let freed = free(ptr, caller);
    // SAFETY: the program's own arguments to the function that it called.
    let status = unsafe { real(ptr, stream) };
    freed.done(status == SUCCESS);
    status
}

/// `hipError_t hipMemRelease(hipMemGenericAllocationHandle_t handle)`
pub(crate) unsafe extern "C-unwind" fn mem_release(handle: *mut c_void, caller: usize) -> c_int {
    // SAFETY: the type is that of hipMemRelease.
    let real = unsafe { function_if::<MemRelease>(Hook::HipMemRelease, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    let freed = vram::free(handle as usize);
    // SAFETY: the program's own argument to the function that it called.
    let status = unsafe { real(handle) };
    freed.done(status == SUCCESS);
    status
}

/// `hipError_t hipDeviceReset(void)`
pub(crate) unsafe extern "C-unwind" fn device_reset(caller: usize) -> c_int {
    // SAFETY: the type is that of hipDeviceReset.
    let real = unsafe { function_if::<DeviceReset>(Hook::HipDeviceReset, caller, vram::wanted) };
    let Some(real) = real else { return SYMBOL_NOT_FOUND };
    // Before the call: asking HIP afterwards would change the last error.
    let device =
        if vram::wanted() { hip::near(caller).and_then(Hip::current_device) } else { None };
    // SAFETY: the program's own call.
    let status = unsafe { real() };
    if status == SUCCESS
        && let Some(device) = device.and_then(|device| usize::try_from(device).ok())
        && device < DEVICES
    {
        vram::forget_device(device);
    }
    status
}
