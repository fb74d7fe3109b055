//! The ioctls of a run in words, without what differs from run to run.

use kfd_abi::log::{Event, Ioctl, Record};
use serde_json::Value;

use super::Ran;

/// What the runtime asks when it happens to wait; how often differs from run to run.
const WAITING: [&str; 4] = ["WAIT_EVENTS", "SET_EVENT", "RESET_EVENT", "GET_CLOCK_COUNTERS"];

/// The records of the thread that made the first ioctl, the one that runs `main`, without waiting.
pub fn of_main_thread(records: &[Record]) -> impl Iterator<Item = &Record> {
    let main = records.first().expect("records").tid;
    records.iter().filter(move |record| {
        record.tid == main
            && !matches!(&record.event, Event::Ioctl(ioctl) if WAITING.contains(&&ioctl.name[..]))
    })
}

/// The ioctls of a run's main thread in order.
pub fn sequence(ran: &Ran) -> Vec<String> {
    of_main_thread(&ran.records)
        .filter_map(|record| match &record.event {
            Event::Ioctl(ioctl) => Some(in_words(ioctl)),
            _ => None,
        })
        .collect()
}

/// An ioctl, its arguments and what it did to memory.
pub fn in_words(ioctl: &Ioctl) -> String {
    let memory: Vec<String> = ioctl.memory.iter().map(super::in_words).collect();
    format!("{} {}", arguments(ioctl), memory.join(", "))
}

/// An ioctl and its arguments.
pub fn arguments(ioctl: &Ioctl) -> String {
    let lasting: Vec<String> = ioctl
        .args
        .iter()
        .filter(|(name, value)| !is_address(name, value))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{} errno={} {}", ioctl.name, ioctl.errno, lasting.join(" "))
}

/// Addresses and handles are hexadecimal strings in the log; a GPU's id is one too, but lasts.
fn is_address(name: &str, value: &Value) -> bool {
    name != "gpu_id" && value.as_str().is_some_and(|text| text.starts_with("0x"))
}
