//! Events: CREATE, DESTROY, SET, RESET, WAIT.

use std::time::{Duration, Instant};

use kfd_abi::ioctl::{
    CreateEvent, DestroyEvent, EventData, ResetEvent, SIGNAL_EVENT_LIMIT, SetEvent,
    WAIT_RESULT_COMPLETE, WAIT_RESULT_FAIL, WAIT_RESULT_TIMEOUT, WaitEvents, mmap,
};

use super::Call;
use super::memory::bound;
use crate::events::Events;
use crate::memory::Place;
use crate::sys::{self, Errno, Result};

const INVALID: Errno = Errno(libc::EINVAL);

/// Bytes of the event page, and what a slot without a signal holds (kfd_events.c,
/// UNSIGNALED_EVENT_SLOT).
const PAGE_SIZE: u64 = SIGNAL_EVENT_LIMIT as u64 * 8;
const UNSIGNALED: u8 = 0xff;

/// A list of events to wait for is never longer than this here; the kernel takes any length
/// that it has memory for.
const MAX_EVENTS: u32 = 1 << 16;

pub(super) fn create(call: &mut Call, args: &mut CreateEvent) -> Result<()> {
    let mut state = call.sim.lock();
    if args.event_page_offset != 0 {
        // kfd_kmap_event_page: user space brings a buffer object, once.
        let handle = args.event_page_offset;
        if state.events.has_page() {
            return Err(INVALID);
        }
        bound(&state, call.gpu((handle >> 32) as u32)?)?;
        let buffer = state.memory.buffer(handle).ok_or(INVALID)?;
        if buffer.size < PAGE_SIZE || matches!(buffer.place, Place::User(_)) {
            return Err(INVALID);
        }
        let (place, slots) = (buffer.place, buffer.size / 8);
        let address = state.memory.address(place).ok_or(INVALID)?;
        sys::copy_to_user(address, &vec![UNSIGNALED; PAGE_SIZE as usize])?;
        state.events.page = Some(handle);
        state.events.slots = Some(slots as u32);
    }
    args.event_page_offset = 0;
    let id = state.events.create(args.event_type, args.auto_reset != 0)?;
    if Events::has_slot(args.event_type) {
        args.event_page_offset = mmap::offset(mmap::TYPE_EVENTS, 0);
        args.event_slot_index = id;
    }
    (args.event_id, args.event_trigger_data) = (id, id);
    Ok(())
}

pub(super) fn destroy(call: &mut Call, args: &mut DestroyEvent) -> Result<()> {
    call.sim.lock().events.destroy(args.event_id)?;
    call.sim.changed.notify_all();
    Ok(())
}

pub(super) fn set(call: &mut Call, args: &mut SetEvent) -> Result<()> {
    call.sim.lock().events.set(args.event_id)?;
    call.sim.changed.notify_all();
    Ok(())
}

pub(super) fn reset(call: &mut Call, args: &mut ResetEvent) -> Result<()> {
    call.sim.lock().events.reset(args.event_id)
}

pub(super) fn wait(call: &mut Call, args: &mut WaitEvents) -> Result<()> {
    let result = wait_on_events(call, args);
    match result {
        Err(_) => args.wait_result = WAIT_RESULT_FAIL,
        Ok(()) if args.wait_result == WAIT_RESULT_FAIL => return Err(Errno(libc::EIO)),
        Ok(()) => {}
    }
    result
}

/// The event data of a wait, and whether all of it could be read: an unknown event before the
/// place that cannot be read is found first.
fn read_data(at: u64, count: usize) -> (Vec<EventData>, bool) {
    if let Ok(all) = sys::read_many(at, count) {
        return (all, true);
    }
    let each =
        (0..count as u64).map(|index| at.wrapping_add(index * size_of::<EventData>() as u64));
    (each.map_while(|at| sys::read(at).ok()).collect(), false)
}

/// kfd_wait_on_events.
fn wait_on_events(call: &mut Call, args: &mut WaitEvents) -> Result<()> {
    if args.num_events > MAX_EVENTS {
        return Err(Errno(libc::ENOMEM));
    }
    let (data, complete) = read_data(args.events_ptr, args.num_events as usize);
    let ids: Vec<u32> = data.iter().map(|data| data.event_id).collect();
    call.args.insert("events".to_owned(), ids.into());
    let deadline = match args.timeout {
        u32::MAX => None, // KFD_EVENT_TIMEOUT_INFINITE
        timeout => Some(Instant::now() + Duration::from_millis(timeout.into())),
    };
    let sim = call.sim;
    let mut state = sim.lock();
    let wait = state.events.wait(&data, args.wait_for_all != 0)?;
    if !complete {
        state.events.end(&wait);
        return Err(Errno(libc::EFAULT));
    }
    loop {
        args.wait_result = wait.result();
        if args.wait_result != WAIT_RESULT_TIMEOUT {
            break;
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break;
        }
        state = sim.wait(state, left);
    }
    let told = if args.wait_result == WAIT_RESULT_COMPLETE {
        state.events.data(&wait)
    } else {
        Vec::new()
    };
    state.events.end(&wait);
    drop(state);
    for (index, words) in told {
        let at = args.events_ptr + (index * size_of::<EventData>()) as u64;
        sys::copy_to_user(at, bytemuck::cast_slice(&words))?;
    }
    Ok(())
}
