//! User queues and the thread that works on them: the "GPU".
//!
//! One thread serves all queues of the process by polling, because a doorbell is only a store.
//! It moves data and signals; kernels are not executed, a few of ROCm's own copy and fill
//! kernels are recognised instead. A queue is stopped by taking its lock, which the thread
//! holds for one packet at a time, so nothing touches the ring after DESTROY_QUEUE.

mod access;
mod aql;
mod kernels;
mod sdma;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sim::Sim;
use crate::sys;
use access::Access;

/// What reads a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Compute with PM4 packets: never executed here.
    Pm4,
    /// Compute with AQL packets.
    Aql,
    /// Copies.
    Sdma,
}

/// Addresses in this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rings {
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) read: u64,
    pub(crate) write: u64,
}

/// What changes while a queue runs.
#[derive(Debug)]
struct Progress {
    /// Packets (AQL) or bytes (SDMA) done.
    read: u64,
    alive: bool,
    enabled: bool,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    id: u32,
    engine: Engine,
    gpu: usize,
    rings: Rings,
    doorbell: u64,
    progress: Mutex<Progress>,
}

impl Queue {
    pub(crate) fn new(id: u32, engine: Engine, gpu: usize, rings: Rings, doorbell: u64) -> Queue {
        access::store(doorbell, 0u64);
        let progress = Mutex::new(Progress { read: 0, alive: true, enabled: true });
        Queue { id, engine, gpu, rings, doorbell, progress }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // A panic of the thread has ended the process already.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the packet in work, if any, and starts no other.
    pub(crate) fn stop(&self) {
        self.progress().alive = false;
    }

    /// Pauses or resumes.
    pub(crate) fn enable(&self, enabled: bool) {
        self.progress().enabled = enabled;
    }

    /// Works on at most one packet; says whether there was one.
    fn step(&self, access: &Access) -> bool {
        let mut progress = self.progress();
        if !progress.alive || !progress.enabled {
            return false;
        }
        let done = match self.engine {
            Engine::Aql => aql::step(access, self.rings, progress.read),
            Engine::Sdma => sdma::step(access, self.rings, self.doorbell, progress.read),
            Engine::Pm4 => Ok(0),
        };
        match done {
            Ok(done) => {
                progress.read += done;
                done > 0
            }
            Err(reason) => {
                // As a real engine hangs on such a packet, but telling why.
                progress.alive = false;
                access.sim.note(format!("queue {} is stuck: {reason}", self.id));
                false
            }
        }
    }
}

/// Where the doorbell of a queue is in the doorbell pages of its GPU: 8 bytes each.
pub(crate) fn doorbell_offset(id: u32) -> u64 {
    u64::from(id) * 8
}

/// `KFD_MAX_NUM_OF_QUEUES_PER_PROCESS` (kfd_priv.h); as many doorbells fit the two pages.
const MAX_QUEUES: u32 = 1024;

/// The clock of a GPU: 100 MHz.
pub(crate) fn gpu_clock() -> u64 {
    sys::clock(libc::CLOCK_MONOTONIC_RAW) / 10
}

/// All queues of the process.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    all: BTreeMap<u32, Arc<Queue>>,
    has_thread: bool,
    /// Changes whenever `all` does.
    generation: Arc<AtomicU64>,
}

impl Queues {
    pub(crate) fn any(&self) -> bool {
        !self.all.is_empty()
    }

    pub(crate) fn free_id(&self) -> Option<u32> {
        (0..MAX_QUEUES).find(|id| !self.all.contains_key(id))
    }

    pub(crate) fn get(&self, id: u32) -> Option<Arc<Queue>> {
        self.all.get(&id).cloned()
    }

    pub(crate) fn insert(&mut self, sim: &'static Sim, queue: Queue) {
        self.all.insert(queue.id, Arc::new(queue));
        self.generation.fetch_add(1, Ordering::Release);
        if !self.has_thread {
            self.has_thread = true;
            let generation = Arc::clone(&self.generation);
            start(sim, generation);
        }
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Arc<Queue>> {
        let queue = self.all.remove(&id)?;
        self.generation.fetch_add(1, Ordering::Release);
        Some(queue)
    }

    fn list(&self) -> Vec<Arc<Queue>> {
        self.all.values().cloned().collect()
    }
}

/// Starts the thread, with all signals blocked: they are the program's.
fn start(sim: &'static Sim, generation: Arc<AtomicU64>) {
    let blocked = access::block_signals();
    let thread = std::thread::Builder::new().name("kfdsim".to_owned()).stack_size(256 << 10);
    let started = thread.spawn(move || run(sim, &generation));
    access::restore_signals(&blocked);
    if let Err(error) = started {
        sys::fatal(&format!("cannot start the queue thread: {error}"));
    }
}

/// Never unwinds out of the thread: a queue without its thread would hang the program.
extern "C" fn run(sim: &'static Sim, generation: &AtomicU64) {
    let mut known = 0;
    let mut queues: Vec<(Arc<Queue>, Access)> = Vec::new();
    let mut idle = 0u32;
    loop {
        let current = generation.load(Ordering::Acquire);
        if current != known {
            known = current;
            let all = sim.lock().queues.list();
            queues = all
                .into_iter()
                .map(|queue| {
                    let gpu = queue.gpu;
                    (queue, Access { sim, gpu })
                })
                .collect();
        }
        let mut worked = false;
        for (queue, access) in &queues {
            // A few packets of each in turn, so that none starves another.
            for _ in 0..64 {
                if !queue.step(access) {
                    break;
                }
                worked = true;
            }
        }
        idle = if worked { 0 } else { idle.saturating_add(1) };
        match idle {
            0 => {}
            1..200 => std::thread::yield_now(),
            // Long idle is cheap, and a copy after a pause still starts within a millisecond.
            200..5000 => std::thread::sleep(Duration::from_micros(50)),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
