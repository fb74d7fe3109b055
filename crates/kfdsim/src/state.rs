//! What the simulated kernel knows of this process. All of it is behind one lock.

use crate::config::{Config, MAX_GPUS};
use crate::drm::Graphics;
use crate::events::Events;
use crate::memory::{EVENT_PAGE, Memory, Place};
use crate::queue::Queues;
use crate::svm::Ranges;

/// The state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) memory: Memory,
    pub(crate) svm: Ranges,
    pub(crate) events: Events,
    pub(crate) queues: Queues,
    pub(crate) graphics: Graphics,
    /// The GPUs whose address space the process has acquired, as bits.
    pub(crate) acquired: u32,
    /// The opens of DRM nodes that they were acquired by.
    pub(crate) vm_files: [u32; MAX_GPUS],
    /// The runtime has announced itself to the debugger (`RUNTIME_ENABLE`).
    pub(crate) runtime_enabled: bool,
}

impl State {
    /// A process that has just opened /dev/kfd.
    pub(crate) fn new(config: &Config) -> State {
        State {
            memory: Memory::new(config.boards.len()),
            svm: Ranges::new(config.range_starts_with()),
            events: Events::default(),
            queues: Queues::default(),
            graphics: Graphics::default(),
            acquired: 0,
            vm_files: [0; MAX_GPUS],
            runtime_enabled: false,
        }
    }

    /// Address in this process of the slots of signal events, if there are any.
    pub(crate) fn event_slots(&self) -> Option<u64> {
        let place = match self.events.page {
            Some(handle) => self.memory.buffer(handle)?.place,
            None => Place::File(EVENT_PAGE),
        };
        self.memory.address(place)
    }

    /// Lets go of what belongs to the parent, in a forked child.
    pub(crate) fn abandon(&mut self) {
        self.memory.abandon();
    }
}
