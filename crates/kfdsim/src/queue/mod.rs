//! User queues and the thread that works on them: the "GPU".
//!
//! One thread serves all queues of the process by polling, because a doorbell is only a store.
//! It moves data and signals; kernels are not executed, a few of ROCm's own copy and fill
//! kernels are recognised instead. A queue is stopped by taking its lock, which the thread
//! holds for one packet at a time, so nothing touches the ring after DESTROY_QUEUE.

mod access;
mod aql;
mod atomic;
mod exceptions;
mod faults;
mod kernels;
mod pm4;
mod sdma;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sim::Sim;
use crate::sys;
use access::{Access, Result, Stop};
use aql::Aql;
use pm4::Pm4;
use sdma::Sdma;
use stream::{Decoder, Ring, Stream};

/// What reads a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Compute with PM4 packets.
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
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) read: u64,
    pub(crate) write: u64,
}

/// What an engine knows of a queue.
#[derive(Debug)]
enum Work {
    Pm4(Stream, Box<Pm4>),
    Aql(Box<Aql>),
    Sdma(Stream, Sdma),
}

/// What changes while a queue runs.
#[derive(Debug)]
struct Progress {
    rings: Rings,
    work: Work,
    alive: bool,
    enabled: bool,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    id: u32,
    gpu: usize,
    doorbell: u64,
    is_compute: bool,
    /// Address of its save area; 0 if it has none.
    save_area: u64,
    /// Calls of the program that want `progress`: the thread lets them go first. A mutex alone
    /// is not fair, and DESTROY_QUEUE would wait long for a queue that is always busy.
    callers: AtomicUsize,
    progress: Mutex<Progress>,
}

impl Queue {
    pub(crate) fn new(id: u32, engine: Engine, gpu: usize, rings: Rings, doorbell: u64) -> Queue {
        access::store(doorbell, 0u64);
        let work = match engine {
            Engine::Pm4 => Work::Pm4(Stream::default(), Box::default()),
            Engine::Aql => Work::Aql(Box::default()),
            Engine::Sdma => Work::Sdma(Stream::default(), Sdma::default()),
        };
        let progress = Mutex::new(Progress { rings, work, alive: true, enabled: true });
        let (is_compute, callers) = (engine != Engine::Sdma, AtomicUsize::new(0));
        Queue { id, gpu, doorbell, is_compute, save_area: 0, callers, progress }
    }

    /// With a save area at this address.
    pub(crate) fn saved_at(self, save_area: u64) -> Queue {
        Queue { save_area, ..self }
    }

    /// Ends its work: for itself alone if the runtime can be told of it, or as after a fault.
    fn cannot_go_on(&self, access: &Access, stop: &Stop) {
        match stop {
            Stop::Refused { exception, why }
                if exceptions::send(access, self.save_area, *exception) =>
            {
                self.stop();
                access.sim.note(format!("queue {} refuses {why}", self.id));
            }
            _ => faults::report(access, self.id, stop),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // A panic of the thread has ended the process already.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for calls of the program.
    fn claim(&self) -> MutexGuard<'_, Progress> {
        self.callers.fetch_add(1, Ordering::Relaxed);
        let progress = self.progress();
        self.callers.fetch_sub(1, Ordering::Relaxed);
        progress
    }

    /// Index of its GPU.
    pub(crate) fn gpu(&self) -> usize {
        self.gpu
    }

    /// Waits for the packet in work, if any, and starts no other.
    pub(crate) fn stop(&self) {
        self.claim().alive = false;
    }

    /// Pauses.
    pub(crate) fn disable(&self) {
        self.claim().enabled = false;
    }

    /// Resumes, with a ring that may have been moved.
    pub(crate) fn enable(&self, base: u64, size: u64) {
        let mut progress = self.claim();
        (progress.rings.base, progress.rings.size) = (base, size);
        progress.enabled = true;
    }

    /// Whether it is a compute queue that is paused, whose waves may be asked for.
    pub(crate) fn is_saved(&self) -> bool {
        self.is_compute && !self.claim().enabled
    }

    /// Works on at most one packet; says whether there was one.
    fn step(&self, access: &Access) -> Result<bool> {
        if self.callers.load(Ordering::Relaxed) > 0 {
            return Ok(false);
        }
        let mut progress = self.progress();
        if !progress.alive || !progress.enabled {
            return Ok(false);
        }
        let Progress { rings, work, .. } = &mut *progress;
        let ring = |written| Ring { base: rings.base, words: rings.size / 4, written };
        match work {
            Work::Aql(aql) => aql.step(access, *rings),
            // The doorbell has words, and what is read is told modulo the ring's size: the MQD
            // of GFX9 and later (kfd_mqd_manager_v10.c, PM4 without NO_UPDATE_RPTR).
            Work::Pm4(stream, pm4) => {
                let ring = ring(access::load::<u64>(self.doorbell));
                let done = stream.step(access, ring, &mut **pm4)?;
                if done {
                    access::store(rings.read, (stream.read & (ring.words - 1)) as u32);
                    raise(access, pm4.take_interrupt());
                }
                Ok(done)
            }
            // The doorbell has bytes, and what is read is not wrapped.
            Work::Sdma(stream, sdma) => {
                let ring = ring(access::load::<u64>(self.doorbell) / 4);
                let done = stream.step(access, ring, sdma)?;
                if done {
                    access::store(rings.read, stream.read * 4);
                    raise(access, sdma.take_interrupt());
                }
                Ok(done)
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

fn raise(access: &Access, interrupt: Option<u32>) {
    if let Some(id) = interrupt {
        access.interrupt(id);
    }
}

/// The functions of WAIT_REG_MEM (nvd.h) and POLL_REGMEM (navi10_sdma_pkt_open.h).
fn compare(function: u32, value: u64, reference: u64) -> bool {
    match function {
        1 => value < reference,
        2 => value <= reference,
        3 => value == reference,
        4 => value != reference,
        5 => value >= reference,
        6 => value > reference,
        _ => true,
    }
}

/// All queues of the process.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    all: BTreeMap<u32, Arc<Queue>>,
    has_thread: bool,
    /// The GPUs that have faulted, as bits: they do nothing more for this process.
    stopped: u32,
    /// Changes whenever `all` does.
    generation: Arc<AtomicU64>,
}

impl Queues {
    pub(crate) fn any(&self) -> bool {
        !self.all.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn free_id(&self) -> Option<u32> {
        (0..MAX_QUEUES).find(|id| !self.all.contains_key(id))
    }

    pub(crate) fn get(&self, id: u32) -> Option<Arc<Queue>> {
        self.all.get(&id).cloned()
    }

    /// Adds a queue. The caller wakes those who wait for a change.
    pub(crate) fn insert(&mut self, sim: &'static Sim, queue: Queue) {
        if self.stopped & 1 << queue.gpu != 0 {
            queue.stop();
        }
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
    let mut queues: Vec<Arc<Queue>> = Vec::new();
    let mut idle = 0u32;
    loop {
        let current = generation.load(Ordering::Acquire);
        if current != known {
            known = current;
            queues = wait_for_queues(sim, generation, &mut known);
            idle = 0;
        }
        let mut worked = false;
        for queue in &queues {
            let access = Access { sim, gpu: queue.gpu };
            // A few packets of each in turn, so that none starves another.
            for _ in 0..64 {
                match queue.step(&access) {
                    Ok(true) => worked = true,
                    Ok(false) => break,
                    Err(stop) => {
                        queue.cannot_go_on(&access, &stop);
                        break;
                    }
                }
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

/// The queues there are; sleeps while there is none.
fn wait_for_queues(sim: &Sim, generation: &AtomicU64, known: &mut u64) -> Vec<Arc<Queue>> {
    let mut state = sim.lock();
    while !state.queues.any() {
        state = sim.wait(state, None);
    }
    // Changed under the lock only.
    *known = generation.load(Ordering::Acquire);
    state.queues.list()
}
