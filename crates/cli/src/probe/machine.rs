//! What the report says of the machine: no names of hosts or users, and no paths.

use std::collections::BTreeMap;

use anyhow::Result;

use super::child::{Children, End};
use super::model::{Gpu, Machine};
use super::worker::{self, Line, Request};
use crate::doctor::facts::{self, source::Source};

/// The machine, and whether something can be measured.
pub(crate) struct Survey {
    pub(crate) machine: Machine,
    /// Why nothing can.
    pub(crate) failure: Option<String>,
    /// The target to compile for; `None` where hiprtc has to ask the device.
    pub(crate) compile_for: Option<String>,
}

impl Survey {
    /// From the topology, and from HIP in a child.
    ///
    /// # Errors
    /// Where no child can be started.
    pub(crate) fn take(children: &Children, request: &Request) -> Result<Self> {
        let facts = facts::collect(&Source::machine(), &[]);
        let (mut hip, mut device) = (None, None);
        let end = children.run(request, None, |line| match line {
            Line::Hip(version) => hip = Some(version),
            Line::Device { pci, name, .. } => device = Some((pci, name)),
            _ => {}
        })?;
        let failure = match end {
            End::Exited if device.is_some() => None,
            end => Some(format!(
                "no GPU can be used: {}; `rdnafix doctor` looks for the reason, --rocm names \
                 another HIP",
                end.why(children.timeout)
            )),
        };
        let known = match &device {
            Some((pci, _)) => facts.gpus.iter().find(|gpu| gpu.pci.eq_ignore_ascii_case(pci)),
            // For the risks, without HIP.
            None => facts.gpus.get(request.device as usize),
        };
        let mut gpu = known.map(describe);
        if let Some((pci, name)) = device {
            let gpu = gpu.get_or_insert_with(|| Gpu { pci, ..Gpu::default() });
            gpu.name = Some(name).filter(|name| !name.is_empty());
        }
        let environment: BTreeMap<String, String> = facts
            .environment
            .into_iter()
            .map(|(name, read)| (name, read.value))
            .filter(|(name, value)| tells_nothing_private(name, value))
            .collect();
        Ok(Self {
            compile_for: known.and_then(|known| {
                overridden(&environment, known.node).or_else(|| known.target.clone())
            }),
            machine: Machine {
                simulated: worker::simulated(),
                kernel: facts.kernel.release.map(|read| read.value),
                hip,
                gpu,
                environment,
            },
            failure,
        })
    }
}

/// Paths have names of users in them.
fn tells_nothing_private(name: &str, value: &str) -> bool {
    !name.starts_with("LD_") && !value.contains(['/', '\\', '@', '~'])
}

fn describe(known: &facts::Gpu) -> Gpu {
    Gpu {
        pci: known.pci.clone(),
        name: known.name.clone(),
        target: known.target.clone(),
        device_id: Some(known.device_id),
        firmware_version: Some(known.firmware_version),
        apu: known.is_apu(),
        link_flags: known.link.as_ref().map(|link| link.flags),
        pcie_atomics: known.link.as_ref().map(|link| link.atomics),
        svm: Some(known.svm),
    }
}

/// The target that `HSA_OVERRIDE_GFX_VERSION` makes ROCm take a node for: `10.3.0` is gfx1030.
fn overridden(environment: &BTreeMap<String, String>, node: u32) -> Option<String> {
    let value = environment
        .get(&format!("HSA_OVERRIDE_GFX_VERSION_{node}"))
        .or_else(|| environment.get("HSA_OVERRIDE_GFX_VERSION"))?;
    let mut parts = value.split('.').map(|part| part.parse::<u8>().ok());
    let (major, minor, stepping) = (parts.next()??, parts.next()??, parts.next()??);
    Some(format!("gfx{major}{minor:x}{stepping:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_is_what_is_compiled_for() {
        let with = |name: &str, value: &str| {
            let environment = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            overridden(&environment, 1)
        };
        let all = "HSA_OVERRIDE_GFX_VERSION";
        assert_eq!(with(all, "10.3.0").as_deref(), Some("gfx1030"));
        assert_eq!(with(all, "9.0.10").as_deref(), Some("gfx90a"));
        assert_eq!(with(&format!("{all}_1"), "10.1.0").as_deref(), Some("gfx1010"));
        assert_eq!(with(&format!("{all}_2"), "10.1.0"), None);
        assert_eq!(with(all, "ten"), None);
    }

    #[test]
    fn a_path_never_gets_into_the_report() {
        assert!(tells_nothing_private("HSA_XNACK", "1"));
        for value in ["/home/someone/rocm", "lib:~/x", "user@host"] {
            assert!(!tells_nothing_private("HSA_TOOLS_LIB", value), "{value}");
        }
        assert!(!tells_nothing_private("LD_PRELOAD", "libx.so"));
    }
}
