//! SDMA packets, one by one.

use super::*;
use crate::queue::access::Stop;

/// Header words.
const COPY: u32 = 1;
const INDIRECT: u32 = 4;
const FENCE: u32 = 5;
const TRAP: u32 = 6;
const POLL: u32 = 8;
const ATOMIC: u32 = 10;
const FILL: u32 = 11;
const TIMESTAMP: u32 = 13;
const SEMAPHORE: u32 = 7;

fn fence(index: usize, value: u32) -> Vec<u32> {
    let [low, high] = at(index);
    vec![FENCE, low, high, value]
}

#[test]
fn a_linear_copy_goes_to_one_or_two_places() {
    let mut machine = Machine::new();
    machine.memory.0[..2].copy_from_slice(&[0x0403_0201, 0x0807_0605]);
    let ([from, high], [to, _], [also, _]) = (at(0), at(10), at(20));
    machine.sdma(&[COPY, 5 - 1, 0, from, high, to + 1, high]).unwrap();
    assert_eq!(machine.memory.0[10..12], [0x0302_0100, 0x0504]);
    machine.sdma(&[COPY | 1 << 27, 8 - 1, 0, from, high, to, high, also, high]).unwrap();
    assert_eq!(machine.memory.0[10..12], machine.memory.0[..2]);
    assert_eq!(machine.memory.0[20..22], machine.memory.0[..2]);
}

#[test]
fn a_rectangle_is_copied_row_by_row_and_slice_by_slice() {
    let mut machine = Machine::new();
    for (index, word) in machine.memory.0[..64].iter_mut().enumerate() {
        *word = index as u32 + 1;
    }
    // Elements of 4 bytes, rows of 4 elements, slices of 4 rows; 2 by 3 by 2 elements from
    // (1, 1, 0) to (2, 0, 1) of rows of 8 and slices of 32.
    let ([from, high], [to, _]) = (at(0), at(1000));
    let packet = [
        COPY | 4 << 8 | 2 << 29,
        from,
        high,
        1 | 1 << 16,
        (4 - 1) << 13,
        16 - 1,
        to,
        high,
        2,
        1 | (8 - 1) << 13,
        32 - 1,
        (2 - 1) | (3 - 1) << 16,
        2 - 1,
    ];
    machine.sdma(&packet).unwrap();
    let mut wanted = [0; 96];
    for (z, y, x) in (0..2).flat_map(|z| (0..3).flat_map(move |y| (0..2).map(move |x| (z, y, x)))) {
        wanted[(z + 1) * 32 + y * 8 + x + 2] = (z * 16 + (y + 1) * 4 + x + 1 + 1) as u32;
    }
    assert_eq!(machine.memory.0[1000..1096], wanted);
}

#[test]
fn words_are_written_and_memory_is_filled_by_bytes_or_words() {
    let mut machine = Machine::new();
    let [low, high] = at(0);
    machine.sdma(&[2, low, high, 3 - 1, 7, 8, 9]).unwrap();
    assert_eq!(machine.memory.0[..4], [7, 8, 9, 0]);
    machine.sdma(&[FILL | 2 << 30, low, high, 0x1234_5678, 8 - 1]).unwrap();
    assert_eq!(machine.memory.0[..3], [0x1234_5678, 0x1234_5678, 9]);
    machine.sdma(&[FILL, low, high, 0x1234_5678, 3 - 1]).unwrap();
    assert_eq!(machine.memory.0[..2], [0x1278_7878, 0x1234_5678]);
}

#[test]
fn a_trap_interrupts_and_a_fence_and_a_time_stamp_are_written() {
    let mut machine = Machine::new();
    let [low, high] = at(2);
    let stamp = [TIMESTAMP | 2 << 8, low, high];
    let packets = [&fence(0, 5)[..], &stamp, &[TRAP, 0xf000_0007]].concat();
    assert_eq!(machine.sdma(&packets).unwrap(), [7]);
    assert_eq!(machine.memory.0[0], 5);
    let time = u64::from(machine.memory.0[2]) | u64::from(machine.memory.0[3]) << 32;
    assert!(time > 0 && time <= crate::queue::gpu_clock());
}

#[test]
fn a_poll_waits_for_each_of_its_conditions_and_a_register_never() {
    for (function, less, equal, more) in [
        (0, true, true, true),
        (1, true, false, false),
        (2, true, true, false),
        (3, false, true, false),
        (4, true, false, true),
        (5, false, true, true),
        (6, false, false, true),
    ] {
        for (value, passes) in [(4, less), (5, equal), (6, more)] {
            let mut machine = Machine::new();
            machine.memory.0[0] = value | 0x100;
            let [low, high] = at(0);
            let poll = [POLL | function << 28 | 1 << 31, low, high, 5, 0xff, 0];
            machine.sdma(&[&poll[..], &fence(1, 1)].concat()).unwrap();
            assert_eq!(machine.memory.0[1] == 1, passes, "{function} {value}");
        }
    }
    let mut machine = Machine::new();
    machine.sdma(&[&[POLL, 0, 0x8000_0000, 0, 0, 0][..], &fence(1, 1)].concat()).unwrap();
    assert_eq!(machine.memory.0[1], 1, "the HDP flush of ROCr");
}

#[test]
fn an_atomic_adds_and_a_semaphore_counts() {
    let mut machine = Machine::new();
    let [low, high] = at(0);
    machine.memory.0[0] = 5;
    machine.sdma(&[ATOMIC | 47 << 25, low, high, u32::MAX, u32::MAX, 0, 0, 0]).unwrap();
    assert_eq!(machine.memory.0[0], 4);
    machine.memory.0[0] = 0;
    let (signal, wait) = ([SEMAPHORE | 1 << 30, low, high], [SEMAPHORE, low, high]);
    machine.sdma(&[&signal[..], &signal, &wait, &wait, &wait, &fence(2, 1)].concat()).unwrap();
    assert_eq!((machine.memory.0[0], machine.memory.0[2]), (0, 0), "the third waits");
}

#[test]
fn conditional_execution_leaves_words_out_and_an_indirect_buffer_comes_first() {
    let mut machine = Machine::new();
    let [low, high] = at(0);
    let condition = [9, low, high, 1, 4];
    machine.sdma(&[&condition[..], &fence(1, 1), &fence(2, 2)].concat()).unwrap();
    assert_eq!(machine.memory.0[1..3], [0, 2]);
    machine.memory.0[0] = 1;
    machine.sdma(&[&condition[..], &fence(1, 1)].concat()).unwrap();
    assert_eq!(machine.memory.0[1], 1);
    machine.memory.0[64..68].copy_from_slice(&fence(3, 3));
    let [low, high] = at(64);
    machine.sdma(&[&[INDIRECT, low, high, 4, 0, 0][..], &fence(4, 4)].concat()).unwrap();
    assert_eq!(machine.memory.0[3..5], [3, 4]);
}

#[test]
fn packets_without_effect_have_their_length() {
    for (header, words) in [
        (0, 1),
        (3 << 16, 4),
        (14, 3),
        (15, 2),
        (16, 4),
        (17, 5),
        (32, 2),
        (13, 3),
        (POLL | 1 << 8, 4),
    ] {
        let mut machine = Machine::new();
        let mut packets = vec![0; words];
        packets[0] = header;
        packets.extend(fence(0, 1));
        machine.sdma(&packets).unwrap();
        assert_eq!(machine.memory.0[0], 1, "{header:#x}");
    }
}

#[test]
fn an_unknown_opcode_and_an_address_that_is_not_there_are_told() {
    let Err(Stop::Bad(reason)) = Machine::new().sdma(&[12]) else { panic!("it is not known") };
    assert!(reason.contains("12.0"), "{reason}");
    let [low, high] = at(0);
    for (packet, va, what, write) in [
        (vec![COPY, 3, 0, low, high, 0x2000, 0], 0x2000, "copy destination", true),
        (vec![COPY, 3, 0, 0x2000, 0, low, high], 0x2000, "copy source", false),
        (vec![FENCE, 0x3000, 0, 1], 0x3000, "FENCE", true),
        (vec![2, 0x3000, 0, 0, 1], 0x3000, "WRITE", true),
    ] {
        assert_eq!(Machine::new().sdma(&packet), Err(Stop::Fault { va, what, write }));
    }
}
