//! PM4 packets, one by one.

use super::*;
use crate::queue::access::Stop;

/// A packet: opcode and body.
fn packet(opcode: u32, body: &[u32]) -> Vec<u32> {
    let count = (body.len() as u32).wrapping_sub(1) & 0x3fff;
    let mut words = vec![3 << 30 | count << 16 | opcode << 8 | 2];
    words.extend(body);
    words
}

const MEMORY: u32 = 5 << 8;

fn write(index: usize, values: &[u32]) -> Vec<u32> {
    let [low, high] = at(index);
    packet(0x37, &[&[MEMORY, low, high], values].concat())
}

#[test]
fn no_operation_of_any_length_is_skipped() {
    let mut machine = Machine::new();
    let packets = [vec![0xffff_1002, 2 << 30], packet(0x10, &[1, 2, 3]), write(0, &[9])].concat();
    machine.pm4(&packets).unwrap();
    assert_eq!(machine.memory.0[0], 9);
}

#[test]
fn write_data_writes_words_in_a_row_or_all_to_one_place() {
    let mut machine = Machine::new();
    machine.pm4(&write(4, &[1, 2, 3])).unwrap();
    assert_eq!(machine.memory.0[3..8], [0, 1, 2, 3, 0]);
    let [low, high] = at(4);
    machine.pm4(&packet(0x37, &[MEMORY | 1 << 16, low, high, 7, 8])).unwrap();
    assert_eq!(machine.memory.0[4..6], [8, 2]);
    machine.pm4(&packet(0x37, &[0, low, high, 7])).unwrap(); // a register
    assert_eq!(machine.memory.0[4], 8);
}

#[test]
fn release_mem_writes_what_is_asked_for_and_interrupts_with_its_context() {
    let mut machine = Machine::new();
    let [low, high] = at(2);
    let mut release = |data: u32, interrupt: u32| {
        machine.memory.0[..6].fill(u32::MAX);
        let body = [0, data << 29 | interrupt << 24, low, high, 5, 6, 77];
        let interrupts = machine.pm4(&packet(0x49, &body)).unwrap();
        (machine.memory.0[2], machine.memory.0[3], interrupts)
    };
    assert_eq!(release(0, 1), (u32::MAX, u32::MAX, vec![77]));
    assert_eq!(release(1, 2), (5, u32::MAX, vec![77]));
    assert_eq!(release(2, 3), (5, 6, vec![]));
    assert_eq!(release(2, 0), (5, 6, vec![]));
    let (low, high, _) = release(3, 0);
    assert!(u64::from(low) | u64::from(high) << 32 <= crate::queue::gpu_clock());
}

#[test]
fn wait_reg_mem_waits_for_memory_and_never_for_a_register() {
    let mut machine = Machine::new();
    let [low, high] = at(0);
    let wait = packet(0x3c, &[3 | 1 << 4, low, high, 5, 0xf, 4]);
    let packets = [wait, write(1, &[1])].concat();
    machine.pm4(&packets).unwrap();
    assert_eq!((machine.stream.read, machine.memory.0[1]), (0, 0));
    machine.memory.0[0] = 0x35; // the mask leaves 5
    machine.pm4(&packets).unwrap();
    assert_eq!(machine.memory.0[1], 1);
    machine.pm4(&packet(0x3c, &[3, 0x1234, 0, 5, 0xf, 4])).unwrap();
    let wide = packet(0x93, &[4 | 1 << 4, low, high, 0, 0, u32::MAX, 0, 4]);
    let before = machine.stream.read;
    machine.pm4(&wide).unwrap();
    assert_eq!(machine.stream.read, before + 9);
}

#[test]
fn indirect_buffers_are_nested_chained_and_wait_inside() {
    let mut machine = Machine::new();
    let call = |index: usize, words: usize, chain: u32| {
        let [low, high] = at(index);
        packet(0x3f, &[low, high, words as u32 | chain << 20 | 1 << 23])
    };
    let [low, high] = at(1);
    let wait = packet(0x3c, &[3 | 1 << 4, low, high, 1, u32::MAX, 4]);
    let inner = [wait, write(2, &[2])].concat();
    let chained = write(3, &[3]);
    let outer = [call(200, inner.len(), 0), call(300, chained.len(), 1), write(4, &[4])].concat();
    for (index, words) in [(100, &outer), (200, &inner), (300, &chained)] {
        machine.memory.0[index..index + words.len()].copy_from_slice(words);
    }
    let packets = [call(100, outer.len(), 0), write(5, &[5])].concat();
    let mut pm4 = Pm4::default();
    machine.run(&mut pm4, &packets).unwrap();
    assert_eq!(machine.memory.0[2..6], [0, 0, 0, 0]);
    assert_eq!(machine.stream.read, 0, "the packet that calls is not done yet");
    machine.memory.0[1] = 1;
    machine.run(&mut pm4, &packets).unwrap();
    assert_eq!(machine.memory.0[2..6], [2, 3, 0, 5], "what follows a chain is left out");
}

#[test]
fn an_indirect_buffer_that_calls_itself_or_is_cut_off_is_an_error() {
    let mut machine = Machine::new();
    let [low, high] = at(0);
    let call = packet(0x3f, &[low, high, 4 | 1 << 23]);
    machine.memory.0[..4].copy_from_slice(&call);
    assert!(matches!(machine.pm4(&call), Err(Stop::Bad(_))));
    let mut machine = Machine::new();
    machine.memory.0[..4].copy_from_slice(&write(9, &[1, 2])[..4]);
    assert!(matches!(machine.pm4(&call), Err(Stop::Bad(_))));
}

#[test]
fn copies_of_data_and_of_atomic_results_arrive() {
    let mut machine = Machine::new();
    let ([from, high], [to, _]) = (at(0), at(8));
    machine.memory.0[..2].copy_from_slice(&[5, 6]);
    let wide = 1 << 16;
    machine.pm4(&packet(0x40, &[2 | 2 << 8, from, high, to, high])).unwrap();
    assert_eq!(machine.memory.0[8..10], [5, 0]);
    machine.pm4(&packet(0x40, &[1 | 5 << 8 | wide, from, high, to, high])).unwrap();
    assert_eq!(machine.memory.0[8..10], [5, 6]);
    machine.pm4(&packet(0x40, &[5 | 2 << 8 | wide, 1, 2, to, high])).unwrap();
    assert_eq!(machine.memory.0[8..10], [1, 2]);
    // ROCr: swap a word, then store what was there.
    let swap = packet(0x1e, &[39, from, high, 7, 8, 0, 0, 0]);
    let store = packet(0x40, &[6 | 2 << 8 | wide, 0, 0, to, high]);
    machine.pm4(&[swap, store].concat()).unwrap();
    assert_eq!((&machine.memory.0[..2], &machine.memory.0[8..10]), (&[7, 8][..], &[5, 6][..]));
    let dma = packet(0x50, &[3 << 20 | 3 << 29, from, high, to, high, 6]);
    machine.memory.0[8..10].fill(0);
    machine.pm4(&dma).unwrap();
    assert_eq!(machine.memory.0[8..10], [7, 8]);
    machine.pm4(&packet(0x50, &[2 << 29, 3, 0, to, high, 8])).unwrap();
    assert_eq!(machine.memory.0[8..10], [3, 3]);
}

#[test]
fn an_atomic_may_wait_until_its_comparison_is_true() {
    let mut machine = Machine::new();
    let [low, high] = at(0);
    let packets = packet(0x1e, &[8 | 1 << 8, low, high, 7, 0, 5, 0, 0]);
    machine.pm4(&packets).unwrap();
    assert_eq!((machine.stream.read, machine.memory.0[0]), (0, 0));
    machine.memory.0[0] = 5;
    machine.pm4(&packets).unwrap();
    assert_eq!(machine.memory.0[0], 7);
}

#[test]
fn conditional_packets_leave_out_as_many_words_as_they_say() {
    let mut machine = Machine::new();
    let [low, high] = at(0);
    for value in [0, 1] {
        machine.memory.0[0] = value;
        machine.memory.0[1] = 9;
        let both = [packet(0x22, &[low, high, 0, 5]), write(1, &[value]), write(2, &[1])].concat();
        machine.pm4(&both).unwrap();
        assert_eq!(machine.memory.0[1], if value == 0 { 9 } else { 1 });
    }
    machine.pm4(&[packet(0x23, &[2 << 24 | 5]), write(1, &[55])].concat()).unwrap();
    assert_eq!(machine.memory.0[1], 1, "for another die");
    machine.pm4(&[packet(0x23, &[1 << 24 | 5]), write(1, &[55])].concat()).unwrap();
    assert_eq!(machine.memory.0[1], 55);
}

#[test]
fn cache_event_and_register_packets_and_dispatches_are_done_without_effect() {
    let mut machine = Machine::new();
    for opcode in [0x11, 0x12, 0x15, 0x16, 0x28, 0x42, 0x43, 0x46, 0x58, 0x68, 0x69, 0x76, 0x79] {
        let before = machine.stream.read;
        machine.pm4(&packet(opcode, &[0x200, 1, 2, 3])).unwrap();
        assert_eq!(machine.stream.read, before + 5, "{opcode:#x}");
    }
    assert!(machine.memory.0.iter().all(|word| *word == 0));
}

#[test]
fn an_unknown_opcode_an_unknown_type_and_an_address_that_is_not_there_are_told() {
    let bad = |packets: &[u32]| match Machine::new().pm4(packets) {
        Err(Stop::Bad(reason)) => reason,
        other => panic!("{other:?}"),
    };
    assert!(bad(&packet(0xa2, &[0; 6])).contains("0xa2"));
    assert!(bad(&[0]).contains("type 0"));
    let fault = Machine::new().pm4(&packet(0x37, &[MEMORY, 0x1000, 0, 1]));
    let what = "WRITE_DATA";
    assert_eq!(fault, Err(Stop::Fault { va: 0x1000, what, write: true }));
    let [low, high] = at(WORDS - 1);
    let fault = Machine::new().pm4(&packet(0x37, &[MEMORY, low, high, 1, 2]));
    assert_eq!(fault, Err(Stop::Fault { va: BASE + WORDS as u64 * 4, what, write: true }));
}

#[test]
fn a_shader_that_copies_a_word_is_executed_for_each_workgroup_and_another_is_not() {
    // kfdtest's AtomicIncIsa for gfx1030, and the same with v_add_f32 in front.
    let program = [0x7e00_0200, 0x7e02_0201, 0x7e04_0281, 0xdccb_0000, 0x037d_0200, 0xbf81_0000];
    for (first, count) in [(None, 30), (Some(0x0600_00f4), 0)] {
        let mut machine = Machine::new();
        let words: Vec<u32> = first.into_iter().chain(program).collect();
        machine.memory.0[64..64 + words.len()].copy_from_slice(&words);
        let ([low, high], [code, _]) = (at(1), at(64));
        let set =
            |register: u32, values: &[u32]| packet(0x76, &[&[register - 0x2c00], values].concat());
        let packets = [
            set(0x2e07, &[1, 1, 1]),
            set(0x2e0c, &[code >> 8 | high << 24, 0]),
            set(0x2e13, &[4 << 1]),
            set(0x2e40, &[low, high, 0, 0]),
            packet(0x15, &[5, 3, 2, 0x8021]),
            write(0, &[1]),
        ];
        machine.pm4(&packets.concat()).unwrap();
        assert_eq!(machine.memory.0[..2], [1, count]);
    }
}
