//! KFD events, as amdkfd/kfd_events.c of Linux 6.12 has them.
//!
//! The rule that matters: setting an event wakes everyone who waits for it, and an auto-reset
//! event stays signaled only if nobody does (set_event). Blocking is the caller's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use kfd_abi::ioctl::{
    EVENT_DEBUG, EVENT_SIGNAL, EventData, SIGNAL_EVENT_LIMIT, WAIT_RESULT_COMPLETE,
    WAIT_RESULT_FAIL, WAIT_RESULT_TIMEOUT,
};

use crate::sys::{Errno, Result};

/// `KFD_FIRST_NONSIGNAL_EVENT_ID` (kfd_events.h).
const FIRST_OTHER: u32 = 0x4000_0000;

const WAITING: u8 = 0;
const ACTIVATED: u8 = 1;
const DESTROYED: u8 = 2;

#[derive(Debug)]
struct Event {
    kind: u32,
    auto_reset: bool,
    signaled: bool,
    age: u64,
    /// Waiters that were not activated when they came, and their place in the wait.
    waiting: Vec<(Arc<Wait>, usize)>,
}

impl Event {
    fn set(&mut self) {
        self.signaled = !self.auto_reset || self.waiting.is_empty();
        self.age += 1;
        for (wait, index) in &self.waiting {
            wait.slots[*index].store(ACTIVATED, Ordering::Relaxed);
        }
    }
}

/// One call of WAIT_EVENTS in progress. Changed under the state lock only.
#[derive(Debug)]
pub(crate) struct Wait {
    ids: Vec<u32>,
    /// Whether user space gave an age, by event.
    ages: Vec<bool>,
    slots: Vec<AtomicU8>,
    all: bool,
}

impl Wait {
    /// What test_event_condition says.
    pub(crate) fn result(&self) -> u32 {
        let count =
            |state| self.slots.iter().filter(|slot| slot.load(Ordering::Relaxed) == state).count();
        let activated = count(ACTIVATED);
        if count(DESTROYED) > 0 {
            WAIT_RESULT_FAIL
        } else if activated == self.slots.len() || !self.all && activated > 0 {
            WAIT_RESULT_COMPLETE
        } else {
            WAIT_RESULT_TIMEOUT
        }
    }
}

/// All events of the process.
#[derive(Debug, Default)]
pub(crate) struct Events {
    all: BTreeMap<u32, Event>,
    /// Handle of the buffer object that is the event page, if user space brought one.
    pub(crate) page: Option<u64>,
    /// Slots that the page has.
    pub(crate) slots: Option<u32>,
}

impl Events {
    /// Whether events of this kind have a slot in the event page.
    pub(crate) fn has_slot(kind: u32) -> bool {
        kind == EVENT_SIGNAL || kind == EVENT_DEBUG
    }

    /// Makes an event.
    pub(crate) fn create(&mut self, kind: u32, auto_reset: bool) -> Result<u32> {
        let (first, end) = if Events::has_slot(kind) {
            // 256 slots for user space without a page of its own; id 0 is never given out.
            (1, self.slots.unwrap_or(256).min(SIGNAL_EVENT_LIMIT))
        } else {
            (FIRST_OTHER, i32::MAX as u32)
        };
        let id = (first..end).find(|id| !self.all.contains_key(id)).ok_or(Errno(libc::ENOSPC))?;
        let event = Event { kind, auto_reset, signaled: false, age: 1, waiting: Vec::new() };
        self.all.insert(id, event);
        Ok(id)
    }

    pub(crate) fn destroy(&mut self, id: u32) -> Result<()> {
        let event = self.all.remove(&id).ok_or(Errno(libc::EINVAL))?;
        for (wait, index) in event.waiting {
            wait.slots[index].store(DESTROYED, Ordering::Relaxed);
        }
        Ok(())
    }

    /// AMDKFD_IOC_SET_EVENT.
    pub(crate) fn set(&mut self, id: u32) -> Result<()> {
        self.signal_event(id)?.set();
        Ok(())
    }

    /// AMDKFD_IOC_RESET_EVENT.
    pub(crate) fn reset(&mut self, id: u32) -> Result<()> {
        self.signal_event(id)?.signaled = false;
        Ok(())
    }

    fn signal_event(&mut self, id: u32) -> Result<&mut Event> {
        let event = self.all.get_mut(&id).filter(|event| event.kind == EVENT_SIGNAL);
        event.ok_or(Errno(libc::EINVAL))
    }

    /// An interrupt of a GPU for an event; one that is gone is not an error.
    pub(crate) fn interrupt(&mut self, id: u32) {
        if let Some(event) = self.all.get_mut(&id).filter(|event| Events::has_slot(event.kind)) {
            event.set();
        }
    }

    /// Starts a wait (init_event_waiter for each event).
    pub(crate) fn wait(&mut self, data: &[EventData], all: bool) -> Result<Arc<Wait>> {
        let wait = Arc::new(Wait {
            ids: data.iter().map(|data| data.event_id).collect(),
            ages: data.iter().map(|data| data.last_event_age != 0).collect(),
            slots: data.iter().map(|_| AtomicU8::new(WAITING)).collect(),
            all,
        });
        for (index, data) in data.iter().enumerate() {
            let Some(event) = self.all.get_mut(&data.event_id) else {
                self.end(&wait);
                return Err(Errno(libc::EINVAL));
            };
            let aged = event.kind == EVENT_SIGNAL
                && data.last_event_age != 0
                && data.last_event_age != event.age;
            let activated = event.signaled || aged;
            event.signaled &= !event.auto_reset;
            if activated {
                wait.slots[index].store(ACTIVATED, Ordering::Relaxed);
            } else {
                event.waiting.push((Arc::clone(&wait), index));
            }
        }
        Ok(wait)
    }

    /// The ages to tell user space, by place in the wait (copy_signaled_event_data).
    pub(crate) fn ages(&self, wait: &Wait) -> Vec<(usize, u64)> {
        let activated = |index: &usize| wait.slots[*index].load(Ordering::Relaxed) == ACTIVATED;
        (0..wait.ids.len())
            .filter(|index| wait.ages[*index] && activated(index))
            .filter_map(|index| {
                let event = self.all.get(&wait.ids[index])?;
                (event.kind == EVENT_SIGNAL).then_some((index, event.age))
            })
            .collect()
    }

    /// Ends a wait.
    pub(crate) fn end(&mut self, wait: &Arc<Wait>) {
        for id in &wait.ids {
            if let Some(event) = self.all.get_mut(id) {
                event.waiting.retain(|(other, _)| !Arc::ptr_eq(other, wait));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn data(event_id: u32, last_event_age: u64) -> EventData {
        EventData { event_id, last_event_age, ..EventData::zeroed() }
    }

    #[test]
    fn setting_an_auto_reset_event_wakes_all_waiters_and_leaves_it_unsignaled() {
        let mut events = Events::default();
        let id = events.create(EVENT_SIGNAL, true).unwrap();
        let one = events.wait(&[data(id, 0)], false).unwrap();
        let two = events.wait(&[data(id, 0)], false).unwrap();
        assert_eq!((one.result(), two.result()), (WAIT_RESULT_TIMEOUT, WAIT_RESULT_TIMEOUT));
        events.set(id).unwrap();
        assert_eq!((one.result(), two.result()), (WAIT_RESULT_COMPLETE, WAIT_RESULT_COMPLETE));
        events.end(&one);
        events.end(&two);
        assert_eq!(events.wait(&[data(id, 0)], false).unwrap().result(), WAIT_RESULT_TIMEOUT);
    }

    #[test]
    fn a_signal_that_nobody_waits_for_is_kept_once() {
        let mut events = Events::default();
        let id = events.create(EVENT_SIGNAL, true).unwrap();
        events.set(id).unwrap();
        events.set(id).unwrap();
        let first = events.wait(&[data(id, 0)], true).unwrap();
        assert_eq!(first.result(), WAIT_RESULT_COMPLETE);
        assert_eq!(events.wait(&[data(id, 0)], true).unwrap().result(), WAIT_RESULT_TIMEOUT);
    }

    #[test]
    fn waiting_for_all_needs_all() {
        let mut events = Events::default();
        let ids = [0; 3].map(|_| events.create(EVENT_SIGNAL, false).unwrap());
        let wait = events.wait(&ids.map(|id| data(id, 0)), true).unwrap();
        for id in ids {
            assert_eq!(wait.result(), WAIT_RESULT_TIMEOUT);
            events.set(id).unwrap();
        }
        assert_eq!(wait.result(), WAIT_RESULT_COMPLETE);
    }

    #[test]
    fn a_destroyed_event_fails_its_waiters_and_a_bad_one_leaves_none_behind() {
        let mut events = Events::default();
        let id = events.create(EVENT_SIGNAL, true).unwrap();
        let wait = events.wait(&[data(id, 0)], true).unwrap();
        assert_eq!(events.wait(&[data(id, 0), data(99, 0)], true).err(), Some(Errno(libc::EINVAL)));
        assert_eq!(events.all[&id].waiting.len(), 1);
        events.destroy(id).unwrap();
        assert_eq!(wait.result(), WAIT_RESULT_FAIL);
        assert_eq!(events.destroy(id), Err(Errno(libc::EINVAL)));
    }

    #[test]
    fn an_age_tells_of_signals_that_were_missed() {
        let mut events = Events::default();
        let id = events.create(EVENT_SIGNAL, true).unwrap();
        assert_eq!(events.wait(&[data(id, 1)], true).unwrap().result(), WAIT_RESULT_TIMEOUT);
        events.set(id).unwrap();
        let wait = events.wait(&[data(id, 1)], true).unwrap();
        assert_eq!(wait.result(), WAIT_RESULT_COMPLETE);
        assert_eq!(events.ages(&wait), [(0, 2)]);
    }

    #[test]
    fn ids_are_given_out_within_the_event_page() {
        let mut events = Events::default();
        let ids: Vec<u32> = (0..255).map(|_| events.create(EVENT_SIGNAL, true).unwrap()).collect();
        assert_eq!(ids, (1..256).collect::<Vec<_>>());
        assert_eq!(events.create(EVENT_SIGNAL, true), Err(Errno(libc::ENOSPC)));
        assert_eq!(events.create(8, true), Ok(FIRST_OTHER));
        events.slots = Some(4096);
        assert_eq!(events.create(EVENT_SIGNAL, true), Ok(256));
    }
}
