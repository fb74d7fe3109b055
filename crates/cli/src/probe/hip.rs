//! HIP and hiprtc, opened at run time: this command is linked with neither, and works without.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr;

use anyhow::{Context, Result, anyhow, bail};
use libloading::os::unix::{Library, Symbol};

/// All kernels, as source.
pub(crate) const KERNELS: &str = include_str!("kernels.hip");

type Status = c_int;
/// A pointer to something of HIP's own.
pub(crate) type Handle = *mut c_void;

/// libamdhip64.
pub(crate) struct Hip {
    library: Library,
    /// Where to look for libhiprtc first.
    directory: Option<std::path::PathBuf>,
    /// Of its major version.
    pub(crate) major: c_int,
    minor: c_int,
}

/// The newest first, as programs that are built against it name it; then the one of developers.
const HIP_NAMES: [&str; 4] =
    ["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"];
/// Where AMD's packages install, which the loader may not search.
const OPT_ROCM: &str = "/opt/rocm/lib";

/// Opens the first of some libraries that is there.
fn open(names: &[String], directory: Option<&Path>) -> Result<Library> {
    let mut first = None;
    for name in names {
        let paths = match directory {
            Some(directory) => vec![directory.join(name)],
            None => vec![name.into(), Path::new(OPT_ROCM).join(name)],
        };
        for path in paths {
            // SAFETY: the initialisers of ROCm's libraries run, which is what is asked for.
            match unsafe { Library::new(&path) } {
                Ok(library) => return Ok(library),
                Err(error) => {
                    let _ = first.get_or_insert(error);
                }
            }
        }
    }
    Err(first.map_or_else(|| anyhow!("no name was given"), anyhow::Error::from))
}

/// A function by its name. The type is the caller's to state.
unsafe fn symbol<T>(library: &Library, name: &str) -> Result<Symbol<T>> {
    // SAFETY: as the caller states.
    unsafe { library.get(name) }.with_context(|| format!("the library has no {name}"))
}

/// Calls a function of HIP whose type follows from its arguments, all of which are passed as
/// they are; fails unless it returns hipSuccess.
macro_rules! call {
    ($hip:expr, $name:literal ( $($argument:expr => $type:ty),* $(,)? )) => {{
        // SAFETY: the type is that of the function in hip_runtime_api.h, 5.2 to 7.2.
        let function = unsafe {
            symbol::<unsafe extern "C" fn($($type),*) -> Status>(&$hip.library, $name)
        }?;
        // SAFETY: pointers are to live variables or come from HIP.
        let status = unsafe { function($($argument),*) };
        $hip.check($name, status)
    }};
}

impl Hip {
    /// Opens it: from a directory, or where the loader finds it.
    ///
    /// # Errors
    /// Where it is not there or does not work.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self> {
        let library = open(&HIP_NAMES.map(str::to_owned), directory)
            .context("cannot open libamdhip64, the HIP runtime")?;
        let mut hip =
            Self { library, directory: directory.map(Path::to_owned), major: 0, minor: 0 };
        let mut version: c_int = 0;
        call!(hip, "hipRuntimeGetVersion"(&raw mut version => *mut c_int))?;
        hip.major = version / 10_000_000;
        hip.minor = version / 100_000 % 100;
        Ok(hip)
    }

    /// `6.4`
    pub(crate) fn version(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    fn check(&self, name: &str, status: Status) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: hipGetErrorString takes a number and gives a constant string.
        let text = unsafe {
            symbol::<unsafe extern "C" fn(Status) -> *const c_char>(
                &self.library,
                "hipGetErrorString",
            )
            .map(|function| function(status))
        };
        let text = match text {
            // SAFETY: a constant string of HIP's.
            Ok(text) if !text.is_null() => unsafe { CStr::from_ptr(text) }.to_string_lossy(),
            _ => "".into(),
        };
        bail!("{name} failed: error {status} ({text})")
    }

    /// The PCI address and the name of a device, which becomes the current one.
    pub(crate) fn device(&self, index: c_int) -> Result<(String, String)> {
        let mut count: c_int = 0;
        call!(self, "hipGetDeviceCount"(&raw mut count => *mut c_int))?;
        if index >= count {
            bail!("HIP has {count} devices, numbered from 0, and device {index} is asked for");
        }
        call!(self, "hipSetDevice"(index => c_int))?;
        let mut pci: [c_char; 64] = [0; 64];
        call!(self, "hipDeviceGetPCIBusId"(pci.as_mut_ptr() => *mut c_char, 64 => c_int, index => c_int))?;
        let mut name: [c_char; 256] = [0; 256];
        call!(self, "hipDeviceGetName"(name.as_mut_ptr() => *mut c_char, 256 => c_int, index => c_int))?;
        // SAFETY: both end in a zero, as nothing has written to the last byte.
        Ok(unsafe { (text(&mut pci), text(&mut name)) })
    }

    /// `hipMalloc`
    pub(crate) fn malloc(&self, bytes: usize) -> Result<Handle> {
        let mut memory = ptr::null_mut();
        call!(self, "hipMalloc"(&raw mut memory => *mut Handle, bytes => usize))?;
        Ok(memory)
    }

    /// `hipHostMalloc`: the CPU's and the GPU's address.
    pub(crate) fn host_malloc(&self, bytes: usize, flags: u32) -> Result<(Handle, Handle)> {
        let (mut host, mut device) = (ptr::null_mut(), ptr::null_mut());
        call!(self, "hipHostMalloc"(&raw mut host => *mut Handle, bytes => usize, flags => c_uint))?;
        call!(self, "hipHostGetDevicePointer"(&raw mut device => *mut Handle, host => Handle, 0 => c_uint))?;
        Ok((host, device))
    }

    /// `hipMallocManaged`
    pub(crate) fn malloc_managed(&self, bytes: usize) -> Result<Handle> {
        const ATTACH_GLOBAL: c_uint = 1;
        let mut memory = ptr::null_mut();
        call!(self, "hipMallocManaged"(&raw mut memory => *mut Handle, bytes => usize, ATTACH_GLOBAL => c_uint))?;
        Ok(memory)
    }

    /// Copies words to VRAM.
    pub(crate) fn upload(&self, to: Handle, from: &[u32]) -> Result<()> {
        const HOST_TO_DEVICE: c_int = 1;
        call!(self, "hipMemcpy"(
            to => Handle, from.as_ptr().cast() => *const c_void, size_of_val(from) => usize,
            HOST_TO_DEVICE => c_int,
        ))
    }

    /// Copies words from VRAM.
    pub(crate) fn download(&self, to: &mut [u32], from: Handle) -> Result<()> {
        const DEVICE_TO_HOST: c_int = 2;
        call!(self, "hipMemcpy"(
            to.as_mut_ptr().cast() => Handle, from.cast_const() => *const c_void,
            size_of_val(to) => usize, DEVICE_TO_HOST => c_int,
        ))
    }

    /// `hipDeviceSynchronize`
    pub(crate) fn synchronize(&self) -> Result<()> {
        call!(self, "hipDeviceSynchronize"())
    }

    /// Loads a code object.
    pub(crate) fn load(&self, code: &[u8]) -> Result<Handle> {
        let mut module = ptr::null_mut();
        call!(self, "hipModuleLoadData"(&raw mut module => *mut Handle, code.as_ptr().cast() => *const c_void))?;
        Ok(module)
    }

    /// A kernel of a module. Looking it up takes time, so it is done before anything is timed.
    pub(crate) fn kernel(&self, module: Handle, name: &str) -> Result<Kernel> {
        let text = CString::new(name)?;
        let mut function = ptr::null_mut();
        call!(self, "hipModuleGetFunction"(&raw mut function => *mut Handle, module => Handle, text.as_ptr() => *const c_char))
            .with_context(|| format!("kernel {name}"))?;
        Ok(Kernel { function, name: name.to_owned() })
    }

    /// Launches a kernel in the default stream: blocks of 256 threads. `arguments` are pointers
    /// to them, as the kernel has them.
    pub(crate) fn launch(
        &self,
        kernel: &Kernel,
        blocks: u32,
        arguments: &mut [Handle],
    ) -> Result<()> {
        call!(self, "hipModuleLaunchKernel"(
            kernel.function => Handle,
            blocks => c_uint, 1 => c_uint, 1 => c_uint,
            THREADS => c_uint, 1 => c_uint, 1 => c_uint,
            0 => c_uint, ptr::null_mut() => Handle,
            arguments.as_mut_ptr() => *mut Handle, ptr::null_mut() => *mut Handle,
        ))
        .with_context(|| format!("kernel {}", kernel.name))
    }

    /// Milliseconds on the GPU's clock that what is launched takes.
    pub(crate) fn time(&self, launch: impl FnOnce() -> Result<()>) -> Result<f64> {
        let (mut start, mut end) = (ptr::null_mut(), ptr::null_mut());
        call!(self, "hipEventCreate"(&raw mut start => *mut Handle))?;
        call!(self, "hipEventCreate"(&raw mut end => *mut Handle))?;
        call!(self, "hipEventRecord"(start => Handle, ptr::null_mut() => Handle))?;
        launch()?;
        call!(self, "hipEventRecord"(end => Handle, ptr::null_mut() => Handle))?;
        call!(self, "hipEventSynchronize"(end => Handle))?;
        let mut milliseconds: f32 = 0.0;
        call!(self, "hipEventElapsedTime"(&raw mut milliseconds => *mut f32, start => Handle, end => Handle))?;
        call!(self, "hipEventDestroy"(start => Handle))?;
        call!(self, "hipEventDestroy"(end => Handle))?;
        Ok(f64::from(milliseconds))
    }

    /// The kernels, compiled for a target, or for the current device where none is known.
    ///
    /// # Errors
    /// Where there is no hiprtc, or it does not know the target.
    pub(crate) fn compile(&self, target: Option<&str>) -> Result<Vec<u8>> {
        let own = |name: String| open(&[name], self.directory.as_deref());
        // The release's own first; 7.x has it in a library of its own only, 5.x in libamdhip64.
        let libraries = [own(format!("libhiprtc.so.{}", self.major)), own("libhiprtc.so".into())];
        let mut opened = libraries.into_iter().filter_map(Result::ok);
        let separate = opened.next();
        let library = separate.as_ref().unwrap_or(&self.library);
        // SAFETY: only whether it is there is asked.
        if unsafe { symbol::<Handle>(library, "hiprtcCompileProgram") }.is_err() {
            bail!(
                "there is no hiprtc, which compiles the kernels: neither libhiprtc.so.{major} nor \
                 libamdhip64 has it; install it (on Debian the package libhiprtc{major})",
                major = self.major
            );
        }
        compile_with(library, target)
    }
}

/// A kernel of a module that is loaded.
pub(crate) struct Kernel {
    function: Handle,
    name: String,
}

/// Threads of a block.
pub(crate) const THREADS: u32 = 256;

/// A string in a buffer; its last byte is made zero.
unsafe fn text(buffer: &mut [c_char]) -> String {
    if let Some(last) = buffer.last_mut() {
        *last = 0;
    }
    // SAFETY: it ends in a zero.
    unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned()
}

fn compile_with(library: &Library, target: Option<&str>) -> Result<Vec<u8>> {
    let (source, name) = (CString::new(KERNELS)?, c"rdnafix.hip");
    let options: Vec<CString> = target
        .map(|target| CString::new(format!("--offload-arch={target}")))
        .transpose()?
        .into_iter()
        .collect();
    let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let mut program: Handle = ptr::null_mut();
    // SAFETY: the types are those of hiprtc.h, 5.2 to 7.2, and all pointers are to live values.
    unsafe {
        type Create = unsafe extern "C" fn(
            *mut Handle,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> Status;
        type Compile = unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> Status;
        type Size = unsafe extern "C" fn(Handle, *mut usize) -> Status;
        type Get = unsafe extern "C" fn(Handle, *mut c_char) -> Status;
        let create = symbol::<Create>(library, "hiprtcCreateProgram")?;
        let (none, source) = (ptr::null(), source.as_ptr());
        let status = create(&raw mut program, source, name.as_ptr(), 0, none, none);
        if status != 0 {
            bail!("hiprtcCreateProgram failed: error {status}");
        }
        let compile = symbol::<Compile>(library, "hiprtcCompileProgram")?;
        let status = compile(program, options.len() as c_int, options.as_ptr());
        let bytes = |size: &str, get: &str| -> Result<Vec<u8>> {
            let mut length = 0;
            if symbol::<Size>(library, size)?(program, &raw mut length) != 0 {
                bail!("{size} failed");
            }
            let mut bytes = vec![0_u8; length];
            if symbol::<Get>(library, get)?(program, bytes.as_mut_ptr().cast()) != 0 {
                bail!("{get} failed");
            }
            Ok(bytes)
        };
        if status != 0 {
            let log = bytes("hiprtcGetProgramLogSize", "hiprtcGetProgramLog").unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let first = log.lines().find(|line| line.contains("error")).unwrap_or_default();
            bail!(
                "hiprtc cannot compile for {}: error {status} {first}",
                target.unwrap_or("the device")
            );
        }
        bytes("hiprtcGetCodeSize", "hiprtcGetCode")
    }
}
