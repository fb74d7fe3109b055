//! KFD events, as amdkfd/kfd_events.c of Linux 6.12 has them.
//!
//! The rule that matters: setting an event wakes everyone who waits for it, and an auto-reset
//! event stays signaled only if nobody does (set_event). Blocking is the caller's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use kfd_abi::ioctl::{
    EVENT_DEBUG, EVENT_HW_EXCEPTION, EVENT_MEMORY, EVENT_SIGNAL, EventData, SIGNAL_EVENT_LIMIT,
    WAIT_RESULT_COMPLETE, WAIT_RESULT_FAIL, WAIT_RESULT_TIMEOUT,
};

use crate::sys::{self, Errno, Result};

/// `KFD_FIRST_NONSIGNAL_EVENT_ID` (kfd_events.h).
const FIRST_OTHER: u32 = 0x4000_0000;

/// `UNSIGNALED_EVENT_SLOT` (kfd_events.c).
pub(crate) const UNSIGNALED: u64 = u64::MAX;

const WAITING: u8 = 0;
const ACTIVATED: u8 = 1;
const DESTROYED: u8 = 2;

#[derive(Debug)]
struct Event {
    kind: u32,
    auto_reset: bool,
    signaled: bool,
    age: u64,
    /// What an exception was: the head of `EventData`.
    exception: [u64; 4],
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
    /// Slots that user space has: of its own page, or as many as it mapped.
    pub(crate) slots: Option<u32>,
    /// The kernel has made a page, because there was none when the first event came.
    own_page: bool,
    /// No id below these is free, from 1 and from `FIRST_OTHER` on.
    lowest: [u32; 2],
}

impl Events {
    /// Whether there is a page for signals, be it user space's or the kernel's.
    pub(crate) fn has_page(&self) -> bool {
        self.page.is_some() || self.own_page
    }

    /// Whether events of this kind have a slot in the event page.
    pub(crate) fn has_slot(kind: u32) -> bool {
        kind == EVENT_SIGNAL || kind == EVENT_DEBUG
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Makes an event.
    pub(crate) fn create(&mut self, kind: u32, auto_reset: bool) -> Result<u32> {
        let slot = Events::has_slot(kind);
        let (first, end) = if slot {
            self.own_page |= self.page.is_none();
            // 256 slots for user space without a page of its own; id 0 is never given out.
            (1, self.slots.unwrap_or(256).min(SIGNAL_EVENT_LIMIT))
        } else {
            (FIRST_OTHER, i32::MAX as u32)
        };
        let lowest = &mut self.lowest[usize::from(!slot)];
        let first = first.max(*lowest);
        let id = (first..end).find(|id| !self.all.contains_key(id)).ok_or(Errno(libc::ENOSPC))?;
        *lowest = id + 1;
        let event = Event {
            kind,
            auto_reset,
            signaled: false,
            age: 1,
            exception: [0; 4],
            waiting: Vec::new(),
        };
        self.all.insert(id, event);
        Ok(id)
    }

    pub(crate) fn destroy(&mut self, id: u32) -> Result<()> {
        let event = self.all.remove(&id).ok_or(Errno(libc::EINVAL))?;
        let lowest = &mut self.lowest[usize::from(id >= FIRST_OTHER)];
        *lowest = id.min(*lowest);
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

    /// An interrupt of a GPU with the id of an event (kfd_signal_event_interrupt). `slots` is
    /// the address of the event page, where the GPU has written to the slots of what it
    /// signals. An id that is not signaled there is taken for none: all slots are looked at.
    pub(crate) fn interrupt(&mut self, id: u32, slots: Option<u64>) {
        let Some(slots) = slots else { return };
        if self.acknowledge(id, slots) {
            return;
        }
        let ids: Vec<u32> = self.all.range(..FIRST_OTHER).map(|(id, _)| *id).collect();
        for id in ids {
            self.acknowledge(id, slots);
        }
    }

    /// Sets an event whose slot is signaled, and clears the slot.
    fn acknowledge(&mut self, id: u32, slots: u64) -> bool {
        let event = self.all.get_mut(&id).filter(|event| Events::has_slot(event.kind));
        let at = slots + u64::from(id) * 8;
        match event {
            Some(event) if !matches!(sys::read::<u64>(at), Err(_) | Ok(UNSIGNALED)) => {
                // The page is the kernel's as well; if it is gone, so is the signal.
                if sys::copy_to_user(at, &UNSIGNALED.to_ne_bytes()).is_ok() {
                    event.set();
                }
                true
            }
            _ => false,
        }
    }

    /// Sets all events of a kind of exception, with what they tell (the head of EventData);
    /// says whether there is one (kfd_signal_vm_fault_event, kfd_signal_reset_event).
    pub(crate) fn exception(&mut self, kind: u32, data: [u64; 4]) -> bool {
        let mut found = false;
        for event in self.all.values_mut().filter(|event| event.kind == kind) {
            event.exception = data;
            event.set();
            found = true;
        }
        found
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

    /// What to tell user space, by place in the wait: the first words of its `EventData`
    /// (copy_signaled_event_data).
    pub(crate) fn data(&self, wait: &Wait) -> Vec<(usize, Vec<u64>)> {
        let activated = |index: &usize| wait.slots[*index].load(Ordering::Relaxed) == ACTIVATED;
        (0..wait.ids.len())
            .filter(activated)
            .filter_map(|index| {
                let event = self.all.get(&wait.ids[index])?;
                match event.kind {
                    EVENT_SIGNAL => wait.ages[index].then(|| (index, vec![event.age])),
                    EVENT_MEMORY => Some((index, event.exception.to_vec())),
                    EVENT_HW_EXCEPTION => Some((index, event.exception[..2].to_vec())),
                    _ => None,
                }
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
        assert_eq!(events.data(&wait), [(0, vec![2])]);
    }

    /// An event page in memory of the test.
    fn slots() -> Vec<u64> {
        vec![UNSIGNALED; 16]
    }

    #[test]
    fn an_interrupt_signals_the_event_whose_slot_was_written_and_clears_the_slot() {
        let (mut events, mut slots) = (Events::default(), slots());
        let one = events.create(EVENT_SIGNAL, false).unwrap();
        let two = events.create(EVENT_SIGNAL, false).unwrap();
        slots[two as usize] = 1;
        events.interrupt(two, Some(slots.as_ptr() as u64));
        assert_eq!((events.all[&one].signaled, events.all[&two].signaled), (false, true));
        assert_eq!(slots[two as usize], UNSIGNALED);
    }

    #[test]
    fn an_interrupt_for_no_event_signals_all_whose_slots_were_written() {
        let (mut events, mut slots) = (Events::default(), slots());
        let ids = [(); 3].map(|()| events.create(EVENT_SIGNAL, false).unwrap());
        slots[ids[1] as usize] = 7;
        for (id, slots) in [(0, None), (u32::MAX, Some(slots.as_ptr() as u64))] {
            events.interrupt(id, slots);
        }
        assert_eq!(ids.map(|id| events.all[&id].signaled), [false, true, false]);
        events.interrupt(ids[0], Some(8)); // a page that is not there
        assert!(!events.all[&ids[0]].signaled);
    }

    #[test]
    fn an_exception_is_told_to_all_events_of_its_kind() {
        let mut events = Events::default();
        assert!(!events.exception(EVENT_MEMORY, [1, 2, 3, 4]));
        let id = events.create(EVENT_MEMORY, true).unwrap();
        let wait = events.wait(&[data(id, 0)], false).unwrap();
        assert!(events.exception(EVENT_MEMORY, [1, 2, 3, 4]));
        assert!(!events.exception(EVENT_HW_EXCEPTION, [5, 6, 0, 0]));
        assert_eq!(wait.result(), WAIT_RESULT_COMPLETE);
        assert_eq!(events.data(&wait), [(0, vec![1, 2, 3, 4])]);
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
