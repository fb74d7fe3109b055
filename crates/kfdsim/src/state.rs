//! What the simulated kernel knows of this process. All of it is behind one lock.

use crate::events::Events;
use crate::memory::Memory;
use crate::queue::Queues;
use crate::svm::Ranges;

/// The state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) memory: Memory,
    pub(crate) svm: Ranges,
    pub(crate) events: Events,
    pub(crate) queues: Queues,
    /// The GPUs whose address space the process has acquired, as bits.
    pub(crate) acquired: u32,
}

impl State {
    /// A process that has just opened /dev/kfd.
    pub(crate) fn new(gpus: usize) -> State {
        State {
            memory: Memory::new(gpus),
            svm: Ranges::default(),
            events: Events::default(),
            queues: Queues::default(),
            acquired: 0,
        }
    }

    /// Lets go of what belongs to the parent, in a forked child.
    pub(crate) fn abandon(&mut self) {
        self.memory.abandon();
    }
}
