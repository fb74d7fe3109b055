//! What the hooks need of the HIP runtime besides the functions they take over: the current
//! device, the version, the last error. Calls forward-only questions; decides nothing.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kfd_abi::topology::PciAddress;
use policy::{GfxTarget, HipVersion};

use crate::gpus;
use crate::hook::Library;
use crate::resolve::{PerCaller, neighbour};

/// hipSuccess
pub(crate) const SUCCESS: c_int = 0;
/// hipErrorSharedObjectSymbolNotFound (hip_runtime_api.h): there is no real function.
pub(crate) const SYMBOL_NOT_FOUND: c_int = 302;
/// hipErrorOutOfMemory (hip_runtime_api.h)
pub(crate) const OUT_OF_MEMORY: c_int = 2;
/// hipStreamLegacy (hip_runtime_api.h), a name of the null stream
const STREAM_LEGACY: usize = 1;
/// HIP device numbers that are known here; more GPUs than this no machine has.
pub(crate) const DEVICES: usize = 64;
/// hipMemAdviseSetCoarseGrain (hip_runtime_api.h, AMD's addition to hipMemoryAdvise)
const ADVISE_SET_COARSE_GRAIN: c_uint = 100;
/// hipDeviceAttributeComputeCapabilityMajor and Minor: the same numbers from 5.2.3 to 7.2.4
const CAPABILITY_MAJOR: c_uint = 23;
const CAPABILITY_MINOR: c_uint = 61;

/// `hipHostMalloc`, `hipHostAlloc`, `hipMallocManaged`, `hipExtMallocWithFlags`
pub(crate) type AllocFlags = unsafe extern "C-unwind" fn(*mut *mut c_void, usize, c_uint) -> c_int;
/// `hipMemAllocHost`, `hipMalloc`
pub(crate) type Alloc = unsafe extern "C-unwind" fn(*mut *mut c_void, usize) -> c_int;
/// `hipHostFree`, `hipFreeHost`, `hipFree`
pub(crate) type Free = unsafe extern "C-unwind" fn(*mut c_void) -> c_int;
/// `hipHostGetFlags`
pub(crate) type GetFlags = unsafe extern "C-unwind" fn(*mut c_uint, *mut c_void) -> c_int;

/// `hipPointerGetAttributes`
pub(crate) type GetAttributes =
    unsafe extern "C-unwind" fn(*mut PointerAttributes, *const c_void) -> c_int;

/// hipPointerAttribute_t: the same layout from 5.2 to 7.2; only the first member was renamed.
#[repr(C)]
pub(crate) struct PointerAttributes {
    kind: c_uint,
    device: c_int,
    device_pointer: *mut c_void,
    host_pointer: *mut c_void,
    is_managed: c_int,
    pub(crate) allocation_flags: c_uint,
}

type TotalMemory = unsafe extern "C-unwind" fn(*mut usize, c_int) -> c_int;
type StreamDevice = unsafe extern "C-unwind" fn(*mut c_void, *mut c_int) -> c_int;
type DevicePool = unsafe extern "C-unwind" fn(*mut *mut c_void, c_int) -> c_int;
type GetDevice = unsafe extern "C-unwind" fn(*mut c_int) -> c_int;
type PciBusId = unsafe extern "C-unwind" fn(*mut c_char, c_int, c_int) -> c_int;
type Attribute = unsafe extern "C-unwind" fn(*mut c_int, c_uint, c_int) -> c_int;
type LastError = unsafe extern "C-unwind" fn() -> c_int;
type AddressRange = unsafe extern "C-unwind" fn(*mut *mut c_void, *mut usize, *mut c_void) -> c_int;
type Advise = unsafe extern "C-unwind" fn(*const c_void, usize, c_uint, c_int) -> c_int;

/// Functions of one copy of libamdhip64. All of them are in every release from 5.2 to 7.2.
pub(crate) struct Hip {
    get_device: GetDevice,
    pci_bus_id: PciBusId,
    attribute: Attribute,
    runtime_version: GetDevice,
    last_error: LastError,
    peek_at_last_error: LastError,
    advise: Advise,
    /// Only used to forget what was remembered of freed memory.
    address_range: Option<AddressRange>,
    /// These six are for the cap on device memory only.
    total_memory: Option<TotalMemory>,
    stream_device: Option<StreamDevice>,
    is_capturing: Option<StreamDevice>,
    pool: Option<DevicePool>,
    default_pool: Option<DevicePool>,
    malloc: Option<Alloc>,
    /// Bytes by device number; 0 while unknown.
    totals: [AtomicU64; DEVICES],
    /// Targets by device number, packed; 0 while unknown.
    targets: [AtomicU32; DEVICES],
}

static COPIES: PerCaller<Hip> = PerCaller::new();

/// The copy of HIP that the code at `caller` uses. Thread-safe.
pub(crate) fn near(caller: usize) -> Option<&'static Hip> {
    COPIES
        .get(caller, || {
            let function = |name: &CStr| Some(neighbour(Library::Hip, name, caller)?.1);
            let (scope, get_device) = neighbour(Library::Hip, c"hipGetDevice", caller)?;
            // SAFETY: each address is the function of that name in libamdhip64, and these are
            // the types that hip_runtime_api.h declares for them, unchanged from 5.2 to 7.2.
            let hip = unsafe {
                Hip {
                    get_device: std::mem::transmute::<*const (), GetDevice>(get_device),
                    pci_bus_id: std::mem::transmute::<*const (), PciBusId>(function(
                        c"hipDeviceGetPCIBusId",
                    )?),
                    attribute: std::mem::transmute::<*const (), Attribute>(function(
                        c"hipDeviceGetAttribute",
                    )?),
                    runtime_version: std::mem::transmute::<*const (), GetDevice>(function(
                        c"hipRuntimeGetVersion",
                    )?),
                    last_error: std::mem::transmute::<*const (), LastError>(function(
                        c"hipGetLastError",
                    )?),
                    peek_at_last_error: std::mem::transmute::<*const (), LastError>(function(
                        c"hipPeekAtLastError",
                    )?),
                    advise: std::mem::transmute::<*const (), Advise>(function(c"hipMemAdvise")?),
                    address_range: function(c"hipMemGetAddressRange")
                        .map(|address| std::mem::transmute::<*const (), AddressRange>(address)),
                    total_memory: function(c"hipDeviceTotalMem")
                        .map(|address| std::mem::transmute::<*const (), TotalMemory>(address)),
                    stream_device: function(c"hipStreamGetDevice")
                        .map(|address| std::mem::transmute::<*const (), StreamDevice>(address)),
                    is_capturing: function(c"hipStreamIsCapturing")
                        .map(|address| std::mem::transmute::<*const (), StreamDevice>(address)),
                    pool: function(c"hipDeviceGetMemPool")
                        .map(|address| std::mem::transmute::<*const (), DevicePool>(address)),
                    default_pool: function(c"hipDeviceGetDefaultMemPool")
                        .map(|address| std::mem::transmute::<*const (), DevicePool>(address)),
                    malloc: function(c"hipMalloc")
                        .map(|address| std::mem::transmute::<*const (), Alloc>(address)),
                    totals: [const { AtomicU64::new(0) }; DEVICES],
                    targets: [const { AtomicU32::new(0) }; DEVICES],
                }
            };
            Some((scope, hip))
        })
        .map(|(_, hip)| hip)
}

impl Hip {
    fn number(question: GetDevice) -> Option<c_int> {
        let mut number = 0;
        // SAFETY: both functions of this type write one int through the pointer.
        (unsafe { question(&raw mut number) } == SUCCESS).then_some(number)
    }

    /// The calling thread's current device.
    pub(crate) fn current_device(&self) -> Option<c_int> {
        Self::number(self.get_device)
    }

    /// The gfx target of the calling thread's current device, as KFD knows it.
    pub(crate) fn current_target(&self) -> Option<GfxTarget> {
        self.target(self.current_device()?)
    }

    /// The gfx target of a device, as KFD knows it.
    pub(crate) fn target(&self, device: c_int) -> Option<GfxTarget> {
        let cached = self.targets.get(usize::try_from(device).ok()?)?;
        match cached.load(Ordering::Relaxed) {
            0 => {
                let target = gpus::target_at(self.pci(device)?, || self.capability(device))?;
                let packed = u32::from_be_bytes([1, target.major, target.minor, target.stepping]);
                cached.store(packed, Ordering::Relaxed);
                Some(target)
            }
            packed => {
                let [_, major, minor, stepping] = packed.to_be_bytes();
                Some(GfxTarget { major, minor, stepping })
            }
        }
    }

    /// Bytes of memory that a device has. Asked for once.
    pub(crate) fn total_memory(&self, device: c_int) -> Option<u64> {
        let cached = self.totals.get(usize::try_from(device).ok()?)?;
        match cached.load(Ordering::Relaxed) {
            0 => {
                let mut bytes = 0;
                // SAFETY: the function writes one number through the pointer.
                let status = unsafe { (self.total_memory?)(&raw mut bytes, device) };
                let bytes = (status == SUCCESS && bytes != 0).then_some(bytes as u64)?;
                cached.store(bytes, Ordering::Relaxed);
                Some(bytes)
            }
            bytes => Some(bytes),
        }
    }

    /// The device of a stream; the current one where HIP does not say (before 5.6). `None` while
    /// the stream is captured: nothing is allocated then, but by the graph when it runs.
    pub(crate) fn device_of(&self, stream: *mut c_void) -> Option<c_int> {
        // The null stream, by both its names (0 and hipStreamLegacy): it is of the current device
        // and cannot be captured. Asking would end the capture of another stream, and
        // hipStreamGetDevice crashes on the second in 6.4.3 and 7.2.4.
        if stream.addr() <= STREAM_LEGACY {
            return self.current_device();
        }
        if let Some(question) = self.is_capturing
            && self.of_stream(question, stream)? != 0
        {
            return None;
        }
        match self.stream_device {
            Some(question) => self.of_stream(question, stream),
            None => self.current_device(),
        }
    }

    /// Whether a pool is the one that a device allocates from. Of others HIP does not say which
    /// device they are of.
    pub(crate) fn is_pool_of(&self, pool: *mut c_void, device: c_int) -> bool {
        let pending = self.error_pending();
        let found = [self.pool, self.default_pool].into_iter().flatten().any(|question| {
            let mut own = std::ptr::null_mut();
            // SAFETY: both functions of this type write one handle through the pointer.
            unsafe { question(&raw mut own, device) == SUCCESS && own == pool }
        });
        if !pending {
            self.clear_error();
        }
        found
    }

    /// What HIP says of a stream; a failure leaves no error behind.
    fn of_stream(&self, question: StreamDevice, stream: *mut c_void) -> Option<c_int> {
        let mut answer = 0;
        let pending = self.error_pending();
        // SAFETY: both functions of this type write one int (hipStreamCaptureStatus is an enum)
        // through the pointer; the stream is the program's.
        let status = unsafe { question(stream, &raw mut answer) };
        if status != SUCCESS && !pending {
            self.clear_error();
        }
        (status == SUCCESS).then_some(answer)
    }

    /// Has HIP itself say that there is no memory, by asking it for more than any GPU has, so
    /// that its last error is what the program expects.
    pub(crate) fn run_out_of_memory(&self) {
        const TOO_MUCH: usize = 1 << 62;
        let mut memory = std::ptr::null_mut();
        if let Some(malloc) = self.malloc {
            // SAFETY: a place for the result, and any size.
            unsafe { malloc(&raw mut memory, TOO_MUCH) };
        }
    }

    fn pci(&self, device: c_int) -> Option<PciAddress> {
        let mut text = [0 as c_char; 64];
        // SAFETY: the buffer is as long as it is said to be.
        let status = unsafe { (self.pci_bus_id)(text.as_mut_ptr(), text.len() as c_int, device) };
        let bytes = text.map(|byte| byte as u8);
        let text = CStr::from_bytes_until_nul(&bytes).ok()?.to_str().ok()?;
        (status == SUCCESS).then(|| parse_pci(text))?
    }

    /// gfx10.1 and gfx10.3 by compute capability, without the stepping: HIP's own word, for
    /// kernels that do not say.
    fn capability(&self, device: c_int) -> Option<GfxTarget> {
        let attribute = |which| {
            let mut value = 0;
            // SAFETY: the function writes one int through the pointer.
            let status = unsafe { (self.attribute)(&raw mut value, which, device) };
            (status == SUCCESS).then(|| u8::try_from(value).ok())?
        };
        Some(GfxTarget {
            major: attribute(CAPABILITY_MAJOR)?,
            minor: attribute(CAPABILITY_MINOR)?,
            stepping: 0,
        })
    }

    /// The version of this runtime.
    pub(crate) fn version(&self) -> Option<HipVersion> {
        HipVersion::from_runtime(Self::number(self.runtime_version)?)
    }

    /// Whether an error of an earlier call is still pending for this thread.
    pub(crate) fn error_pending(&self) -> bool {
        // SAFETY: takes nothing and only reads thread-local state.
        unsafe { (self.peek_at_last_error)() != SUCCESS }
    }

    /// Takes back the error that a call of ours left behind; the program made none.
    pub(crate) fn clear_error(&self) {
        // SAFETY: takes nothing and resets thread-local state.
        unsafe { (self.last_error)() };
    }

    /// Bytes of the allocation that starts at `start`; 0 where there is none.
    pub(crate) fn allocated(&self, start: *mut c_void) -> usize {
        self.allocation(start).filter(|(base, _)| *base == start).map_or(0, |(_, size)| size)
    }

    /// The start of the allocation that an address is in, and its bytes.
    pub(crate) fn allocation(&self, address: *mut c_void) -> Option<(*mut c_void, usize)> {
        let address_range = self.address_range?;
        let pending = self.error_pending();
        let (mut base, mut size) = (std::ptr::null_mut(), 0);
        // SAFETY: the function writes two values through the pointers; it takes any address.
        let status = unsafe { address_range(&raw mut base, &raw mut size, address) };
        if status != SUCCESS && !pending {
            self.clear_error();
        }
        (status == SUCCESS).then_some((base, size))
    }

    /// Advises the runtime that a managed range be coarse-grained.
    ///
    /// # Safety
    /// The range must be a live managed allocation.
    pub(crate) unsafe fn advise_coarse(&self, start: *const c_void, size: usize) -> bool {
        let Some(device) = self.current_device() else {
            return false;
        };
        // SAFETY: the caller vouches for the range; the rest are plain values.
        unsafe { (self.advise)(start, size, ADVISE_SET_COARSE_GRAIN, device) == SUCCESS }
    }
}

/// `0000:03:00.0`, as hipDeviceGetPCIBusId writes it.
fn parse_pci(text: &str) -> Option<PciAddress> {
    let (domain, rest) = text.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let part = |text: &str, largest: u16| {
        u16::from_str_radix(text, 16).ok().filter(|value| *value <= largest)
    };
    Some(PciAddress {
        domain: u32::from_str_radix(domain, 16).ok()?,
        bdf: part(bus, 0xff)? << 8 | part(device, 0x1f)? << 3 | part(function, 7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_read_as_hip_writes_it() {
        assert_eq!(parse_pci("0000:03:00.0"), Some(PciAddress { domain: 0, bdf: 0x300 }));
        assert_eq!(parse_pci("0001:c4:1f.7"), Some(PciAddress { domain: 1, bdf: 0xc4ff }));
        for junk in ["", "0000:03:00", "0000:103:00.0", "0000:03:20.0", "0000:03:00.8", "x:y:z.w"] {
            assert_eq!(parse_pci(junk), None, "{junk}");
        }
    }
}
