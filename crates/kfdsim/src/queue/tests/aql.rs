//! AQL packets of AMD's own formats, and that no bytes do harm.

use super::*;
use crate::queue::Rings;
use crate::queue::aql::Aql;

const PACKETS: usize = 4;

#[repr(C, align(64))]
struct Queue {
    packets: [[u32; 16]; PACKETS],
    read: u64,
    write: u64,
}

impl Queue {
    fn rings(&mut self) -> Rings {
        let size = size_of_val(&self.packets) as u64;
        let base = &raw mut self.packets as u64;
        Rings { base, size, read: &raw mut self.read as u64, write: &raw mut self.write as u64 }
    }
}

/// Works on one packet until it waits; says whether it was done.
fn run(machine: &Machine, aql: &mut Aql, queue: &mut Queue, packet: [u32; 16]) -> bool {
    let index = queue.read as usize;
    queue.packets[index % PACKETS] = packet;
    queue.write = index as u64 + 1;
    let rings = queue.rings();
    for _ in 0..100 {
        if !aql.step(&machine.access, rings).expect("it is a packet") {
            break;
        }
    }
    queue.read as usize == index + 1
}

#[test]
fn a_barrier_on_a_value_waits_for_its_condition() {
    let machine = Machine::new();
    let (mut aql, mut queue) = (Aql::default(), Queue { packets: [[1; 16]; 4], read: 0, write: 0 });
    for (condition, value, passes) in
        [(0, 5, true), (0, 4, false), (1, 4, true), (2, 4, true), (2, 5, false), (3, 5, true)]
    {
        let signal = at(100);
        let mut packet = [0; 16];
        packet[0] = 2 << 16; // vendor specific, barrier on a value
        packet[2..4].copy_from_slice(&signal);
        (packet[4], packet[6], packet[8]) = (5, 0xff, condition);
        machine.access.write(BASE + 408, &(value | 0x100u64).to_le_bytes(), "value").unwrap();
        assert_eq!(run(&machine, &mut aql, &mut queue, packet), passes, "{condition} {value}");
        machine
            .access
            .write(BASE + 408, &[5 - u8::from(condition == 1 || condition == 2)], "")
            .unwrap();
        assert!(run(&machine, &mut aql, &mut queue, packet), "{condition}");
    }
}

#[test]
fn an_indirect_buffer_in_aql_is_executed_and_may_wait() {
    let machine = Machine::new();
    let (mut aql, mut queue) = (Aql::default(), Queue { packets: [[1; 16]; 4], read: 0, write: 0 });
    let ([buffer, high], [flag, _], [target, _]) = (at(0), at(50), at(51));
    let wait = [0xc005_3c00, 3 | 1 << 4, flag, high, 1, u32::MAX, 4];
    let write = [0xc003_3700, 5 << 8, target, high, 7];
    machine.memory_of(&[&wait[..], &write].concat());
    let mut packet = [0; 16];
    packet[0] = 1 << 16; // vendor specific, PM4 indirect buffer
    packet[1..5].copy_from_slice(&[0xc002_3f00, buffer, high, 0xc | 1 << 23]);
    assert!(!run(&machine, &mut aql, &mut queue, packet));
    assert_eq!(machine.memory.0[51], 0);
    machine.access.write(BASE + 200, &[1, 0, 0, 0], "flag").unwrap();
    assert!(run(&machine, &mut aql, &mut queue, packet));
    assert_eq!(machine.memory.0[51], 7);
}

#[test]
fn any_bytes_are_an_aql_packet_or_an_error() {
    let machine = Machine::new();
    let packet = prop::collection::vec(any::<u32>(), 16);
    let header = (0u32..8, 0u32..4);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(300));
    let result = runner.run(&(header, packet), |((kind, format), words)| {
        let mut packet: [u32; 16] = words.try_into().expect("as many");
        packet[0] = kind | format << 16;
        let mut queue = Queue { packets: [packet; PACKETS], read: 0, write: PACKETS as u64 };
        let (mut aql, rings) = (Aql::default(), queue.rings());
        for _ in 0..50 {
            match aql.step(&machine.access, rings) {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        Ok(())
    });
    result.expect("it does not panic");
}
