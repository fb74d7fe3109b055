//! The registers of a dispatch, as SET_SH_REG leaves them, and the dispatch that they make.
//!
//! Shaders of kfdtest's kind are executed (see `isa`); for any other the log says which one did
//! nothing, and why.

use std::collections::VecDeque;

use super::isa::{LONGEST, Program};
use super::wave::Wave;
use crate::queue::access::{Access, Result};

/// `PACKET3_SET_SH_REG_START` (nvd.h): the register that offset 0 is.
const START: u32 = 0x2c00;
/// The compute registers (gc_10_3_0_offset.h: mmCOMPUTE_DISPATCH_INITIATOR is the first).
const FIRST: u32 = 0x2e00;
const COUNT: usize = 0x100;
/// `mmCOMPUTE_NUM_THREAD_X` to Z: threads of a workgroup.
const THREADS: u32 = 0x2e07;
/// `mmCOMPUTE_PGM_LO` and `mmCOMPUTE_PGM_HI`.
const PROGRAM: u32 = 0x2e0c;
/// `mmCOMPUTE_PGM_RSRC2`: SCRATCH_EN bit 0, USER_SGPR bits 1 to 5, TGID_X_EN to Z bits 7 to 9.
const RESOURCES: u32 = 0x2e13;
/// `mmCOMPUTE_USER_DATA_0`: the first scalars of a wave.
const USER_DATA: u32 = 0x2e40;

/// Waves that are in work at the same time, and turns of waves for each step of the queue.
const RESIDENT: usize = 1024;
const TURNS: usize = 32;
/// Instructions of a turn.
const TURN: u32 = 64;

/// The compute registers of a queue.
#[derive(Debug)]
pub(super) struct Registers([u32; COUNT]);

impl Default for Registers {
    fn default() -> Registers {
        Registers([0; COUNT])
    }
}

impl Registers {
    /// SET_SH_REG: the offset of the first register, and values.
    pub(super) fn set(&mut self, packet: &[u32]) {
        let Some((offset, values)) = packet.get(1..).and_then(<[u32]>::split_first) else { return };
        let first = START + (offset & 0xffff);
        for (register, value) in (first..).zip(values) {
            let index = register.checked_sub(FIRST).map(|index| index as usize);
            if let Some(place) = index.and_then(|index| self.0.get_mut(index)) {
                *place = *value;
            }
        }
    }

    fn get(&self, register: u32) -> u32 {
        self.0[(register - FIRST) as usize]
    }

    /// DISPATCH_DIRECT of so many workgroups; `None`, with a remark in the log, for a shader
    /// that is not executed here.
    pub(super) fn dispatch(&self, access: &Access, groups: [u32; 3]) -> Result<Option<Dispatch>> {
        let (low, high) = (self.get(PROGRAM), self.get(PROGRAM + 1));
        let va = (u64::from(low) | u64::from(high & 0xff) << 32) << 8;
        let program = match self.refusal(access) {
            Some(reason) => Err(reason.to_owned()),
            None => Program::new(&fetch(access, va)?),
        };
        match program {
            Ok(program) => {
                let resources = self.get(RESOURCES);
                let count = (resources >> 1 & 0x1f).min(16);
                let user = (0..count).map(|index| self.get(USER_DATA + index)).collect();
                let ids = [7, 8, 9].map(|bit| resources >> bit & 1 != 0);
                Ok(Some(Dispatch {
                    program,
                    groups,
                    next: [0; 3],
                    user,
                    ids,
                    waves: VecDeque::new(),
                }))
            }
            Err(reason) => {
                access.sim.note(format!("shader at {va:#x} did nothing: {reason}"));
                Ok(None)
            }
        }
    }

    fn refusal(&self, access: &Access) -> Option<&'static str> {
        if access.sim.config.boards[access.gpu].gfx_target_version / 10_000 != 10 {
            Some("only shaders for RDNA1 and RDNA2 are executed here")
        } else if (0..3).any(|axis| self.get(THREADS + axis) != 1) {
            Some("only workgroups of one thread are executed here")
        } else if self.get(RESOURCES) & 1 != 0 {
            Some("there is no scratch memory here")
        } else {
            None
        }
    }
}

/// The words of a program, as far as its memory goes.
fn fetch(access: &Access, va: u64) -> Result<Vec<u32>> {
    const CHUNK: usize = 64; // programs start at multiples of 256 bytes: no chunk leaves a page
    let mut words = vec![0; LONGEST];
    for (index, chunk) in words.chunks_exact_mut(CHUNK).enumerate() {
        let result = access.read_words(va + (index * CHUNK * 4) as u64, chunk, "shader");
        if index == 0 {
            result?;
        } else if result.is_err() {
            words.truncate(index * CHUNK);
            break;
        }
    }
    Ok(words)
}

/// A dispatch in work.
#[derive(Debug)]
pub(super) struct Dispatch {
    program: Program,
    groups: [u32; 3],
    /// The workgroup that starts next.
    next: [u32; 3],
    user: Vec<u32>,
    /// The ids of the workgroup that a wave gets after its user data.
    ids: [bool; 3],
    waves: VecDeque<Wave>,
}

impl Dispatch {
    fn start_wave(&mut self) -> Option<Wave> {
        if self.groups.contains(&0) || self.next[2] >= self.groups[2] {
            return None;
        }
        let ids = self.next.iter().zip(self.ids).filter(|(_, wanted)| *wanted);
        let scalars: Vec<u32> = self.user.iter().copied().chain(ids.map(|(id, _)| *id)).collect();
        for axis in 0..3 {
            self.next[axis] += 1;
            if self.next[axis] < self.groups[axis] || axis == 2 {
                break;
            }
            self.next[axis] = 0;
        }
        Some(Wave::new(&scalars))
    }

    /// Executes some instructions; says whether all waves have ended.
    pub(super) fn run(&mut self, access: &Access) -> Result<bool> {
        for _ in 0..TURNS {
            while self.waves.len() < RESIDENT {
                let Some(wave) = self.start_wave() else { break };
                self.waves.push_back(wave);
            }
            let Some(mut wave) = self.waves.pop_front() else { return Ok(true) };
            if !wave.run(access, &self.program, TURN)? {
                self.waves.push_back(wave);
            }
        }
        Ok(self.waves.is_empty()
            && self.start_wave().is_none_or(|wave| {
                self.waves.push_back(wave);
                false
            }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn registers_are_set_from_their_offset_on() {
        let mut registers = Registers::default();
        registers.set(&[0, PROGRAM - START, 7, 8]);
        assert_eq!((registers.get(PROGRAM), registers.get(PROGRAM + 1)), (7, 8));
        assert_eq!(registers.get(PROGRAM + 2), 0);
    }

    proptest! {
        #[test]
        fn any_words_are_taken(packet in prop::collection::vec(any::<u32>(), 0..600)) {
            Registers::default().set(&packet);
        }
    }
}
