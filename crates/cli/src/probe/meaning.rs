//! What each line of a report means, in the report itself: who reads it may not know the command.

use super::model::{Kind, Report};

/// Why the simulated GPU gives no result.
pub(crate) const SIMULATED: &str = "kernels are not executed on the simulated GPU \
    (libkfdsim.so), so there is no result; run this on a machine with the GPU";

/// For one report.
pub(crate) fn of(report: &Report) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut add = |text: &str| texts.push(text.to_owned());
    if !report.rows.is_empty() {
        add(
            "stock: without librdnafix.so; with librdnafix.so: preloaded, at the policy level that \
             is named. Each kind of memory and each of the two ran in a process of its own.",
        );
        add("VRAM: hipMalloc; default host: hipHostMalloc with flags 0; mapped, coherent, \
             non-coherent: hipHostMalloc with that flag; managed: hipMallocManaged.");
        if report.launch_only {
            add(
                "accepted: loaded, launched and ended. No result was read, so nothing is known of \
                 what the GPU did.",
            );
        } else if report.kind == Kind::Probe {
            add("A cell is the number of elements, of 65536, that are not what the CPU computes \
                 after one 32-bit atomic on each; 0 is right. Each ran twice, without and with its \
                 old value used, and the larger number is shown; the JSON has both. Compilers may make \
                 a store of an exchange whose old value is not used. float_add is \
                 compiled as hiprtc does by default, on RDNA1 and RDNA2 a loop of cas.");
        } else {
            add(
                "A cell is in GB/s, 10^9 bytes that the kernel asked for per second: the median of 5 \
                 runs of at least 20 ms, by the GPU's clock, after 200 ms that do not count. The sum of what was read is \
                 the CPU's. streaming: 256 MiB once, in order; reread: 1 MiB 256 times, which the \
                 L2 cache can hold; random: 4 bytes anywhere in 256 MiB.",
            );
        }
        add(
            "failed: HIP refused; crashed: the process died; timeout: it was ended; not run: because \
             of what came before. None of these is a result.",
        );
    }
    if !report.risks.is_empty() && report.kind == Kind::Probe {
        add(
            "At risk: uncached system memory behind a link without PCIe atomics, from the flags of \
             KFD's topology alone. In ROCm/clr#285 atomicMin was lost there and atomicAdd was not.",
        );
        add(
            "A link with PCIe atomics has add, exchange and cas: these are not at risk there in any \
             memory. PCIe has no other ones, so what becomes of min, max, and, or, xor, inc and dec \
             in uncached memory is unknown until it is measured.",
        );
    }
    texts
}
