//! Packets on a small memory: what each does, and that none does harm.

mod aql;
mod pm4;
mod sdma;

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::access::{Access, Result};
use super::pm4::Pm4;
use super::sdma::Sdma;
use super::stream::{Decoder, Ring, Stream};
use crate::memory::Place;
use crate::sim;

/// GPU address of the memory that is there; nothing else is.
const BASE: u64 = 0x7000_0000;
const WORDS: usize = 4096;

#[repr(C, align(4096))]
struct Memory([u32; WORDS]);

/// A GPU with four pages of memory.
struct Machine {
    access: Access,
    memory: &'static mut Memory,
    ring: Vec<u32>,
    stream: Stream,
}

impl Machine {
    fn new() -> Machine {
        let memory = Box::leak(Box::new(Memory([0; WORDS])));
        let sim = sim::for_tests();
        let place = Place::User(memory.0.as_ptr() as u64);
        let end = BASE + WORDS as u64 * 4;
        sim.lock().memory.backing(&sim.config);
        sim.lock().memory.map_range(0, BASE, end, place).expect("nothing is mapped yet");
        let access = Access { sim, gpu: 0 };
        Machine { access, memory, ring: vec![0; 256], stream: Stream::default() }
    }

    /// Puts packets into the ring and works on them; gives the interrupts.
    fn run(&mut self, decoder: &mut impl Decoder, packets: &[u32]) -> Result<Vec<u32>> {
        let start = self.stream.read;
        for (index, word) in (start..).zip(packets) {
            self.ring[index as usize % 256] = *word;
        }
        let written = start + packets.len() as u64;
        let ring = Ring { base: self.ring.as_ptr() as u64, words: 256, written };
        let mut interrupts = Vec::new();
        while self.stream.step(&self.access, ring, decoder)? {
            interrupts.extend(decoder.take_interrupt());
        }
        Ok(interrupts)
    }

    /// Puts words at the start of the memory.
    fn memory_of(&self, words: &[u32]) {
        self.access.write(BASE, bytemuck::cast_slice(words), "words").expect("it is mapped");
    }

    fn pm4(&mut self, packets: &[u32]) -> Result<Vec<u32>> {
        self.run(&mut Pm4::default(), packets)
    }

    fn sdma(&mut self, packets: &[u32]) -> Result<Vec<u32>> {
        self.run(&mut Sdma::default(), packets)
    }
}

/// GPU address of a word of the memory, as two words of a packet.
fn at(index: usize) -> [u32; 2] {
    [BASE as u32 + index as u32 * 4, (BASE >> 32) as u32]
}

#[test]
fn a_ring_wraps_and_packets_lie_across_its_end() {
    let mut machine = Machine::new();
    for round in 0..100 {
        // 5 words each: the end of the ring is met at every place.
        let [low, high] = at(7);
        machine.sdma(&[2, low, high, 0, round]).unwrap();
        assert_eq!(machine.memory.0[7], round);
    }
    assert_eq!(machine.stream.read, 500);
}

#[test]
fn a_packet_that_is_not_all_submitted_waits_for_its_rest() {
    let mut machine = Machine::new();
    let [low, high] = at(0);
    for packet in [&[2][..], &[2, low, high], &[2, low, high, 1, 5]] {
        machine.sdma(packet).unwrap();
        assert_eq!((machine.stream.read, machine.memory.0[0]), (0, 0));
    }
    machine.sdma(&[2, low, high, 1, 5, 6]).unwrap();
    assert_eq!((machine.stream.read, &machine.memory.0[..2]), (6, &[5, 6][..]));
}

/// Words that look like packets more often than chance has it.
fn words() -> impl Strategy<Value = Vec<u32>> {
    let address = (0..WORDS).prop_map(|index| at(index)[0]);
    let header = (0u32..=0xff, 0u32..8).prop_map(|(op, count)| 3 << 30 | count << 16 | op << 8);
    let word = prop_oneof![any::<u32>(), header, 0u32..0x20, address, Just(0)];
    prop::collection::vec(word, 0..200)
}

/// Works on packets for a limited number of steps: one step does one packet and ends, and a
/// bad address is a fault, not a crash.
fn survives<D: Decoder + Default>() {
    let machine = RefCell::new(Machine::new());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(300));
    let result = runner.run(&words(), |words| {
        let machine = &mut *machine.borrow_mut();
        machine.memory.0[..words.len()].copy_from_slice(&words);
        machine.ring[..words.len()].copy_from_slice(&words);
        let written = words.len() as u64;
        let ring = Ring { base: machine.ring.as_ptr() as u64, words: 256, written };
        let (mut stream, mut decoder) = (Stream::default(), D::default());
        for _ in 0..500 {
            match stream.step(&machine.access, ring, &mut decoder) {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        Ok(())
    });
    result.expect("it does not panic");
}

#[test]
fn any_words_are_packets_or_an_error() {
    survives::<Pm4>();
    survives::<Sdma>();
}
