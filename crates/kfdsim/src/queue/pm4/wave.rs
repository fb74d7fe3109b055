//! A wave of one thread, which executes the instructions that `isa` decodes.

use super::isa::{Branch, Instruction, Operation, Program, Source, VCC, target};
use crate::queue::access::{Access, Result, Word, store};

const SCALARS: usize = 128;
const VECTORS: usize = 256;

/// A thread that runs a program.
#[derive(Debug)]
pub(super) struct Wave {
    at: usize,
    scalars: [u32; SCALARS],
    vectors: [u32; VECTORS],
    scc: bool,
}

impl Wave {
    /// A wave that starts with these scalars.
    pub(super) fn new(first: &[u32]) -> Wave {
        let mut scalars = [0; SCALARS];
        scalars[..first.len()].copy_from_slice(first);
        Wave { at: 0, scalars, vectors: [0; VECTORS], scc: false }
    }

    fn get(&self, source: Source) -> u32 {
        match source {
            Source::Scalar(index) => self.scalars[index],
            Source::Vector(index) => self.vectors[index],
            Source::Constant(value) => value,
        }
    }

    /// The address in two vectors.
    fn address(&self, index: usize, offset: i32) -> u64 {
        let high = self.vectors.get(index + 1).copied().unwrap_or(0);
        let base = u64::from(self.vectors[index]) | u64::from(high) << 32;
        base.wrapping_add_signed(i64::from(offset))
    }

    fn carry(&self, scalar: usize) -> bool {
        self.scalars[scalar] & 1 != 0
    }

    /// Executes up to `count` instructions; says whether the program has ended.
    pub(super) fn run(&mut self, access: &Access, program: &Program, count: u32) -> Result<bool> {
        for _ in 0..count {
            let Some(Instruction { operation, length }) = program.at(self.at) else {
                return Err("a shader left its program".into());
            };
            self.at += length;
            if operation == Operation::End {
                return Ok(true);
            }
            self.execute(access, operation)?;
        }
        Ok(false)
    }

    fn execute(&mut self, access: &Access, operation: Operation) -> Result<()> {
        match operation {
            Operation::Nothing | Operation::End => {}
            Operation::Branch(when, by) => {
                let taken = match when {
                    Branch::Always => true,
                    Branch::Scc(value) => self.scc == value,
                    Branch::Vcc(value) => (self.scalars[VCC] != 0) == value,
                };
                if taken {
                    self.at = target(self.at, by);
                }
            }
            Operation::Move { to, from } => self.scalars[to] = self.get(from),
            Operation::MoveVector { to, from } => self.vectors[to] = self.get(from),
            Operation::Add { to, from, carry } => {
                let [one, two] = from.map(|source| u64::from(self.get(source)));
                let sum = one + two + u64::from(carry && self.scc);
                (self.scalars[to], self.scc) = (sum as u32, sum >> 32 != 0);
            }
            Operation::Compare { how, signed, from } => {
                self.scc = compare(how, signed, from.map(|source| self.get(source)));
            }
            Operation::CompareVector { how, from } => {
                let holds = compare(how, false, from.map(|source| self.get(source)));
                self.scalars[VCC] = u32::from(holds);
            }
            Operation::ShiftLeft { to, from: [by, value] } => {
                self.vectors[to] = self.get(value) << (self.get(by) & 31);
            }
            Operation::AddVector { to, from, carry_in, carry_out } => {
                let [one, two] = from.map(|source| u64::from(self.get(source)));
                let carry = carry_in.is_some_and(|scalar| self.carry(scalar));
                let sum = one + two + u64::from(carry);
                self.vectors[to] = sum as u32;
                self.scalars[carry_out] = u32::from(sum >> 32 != 0);
            }
            Operation::LoadScalar { to, words, base, offset } => {
                let at = u64::from(self.scalars[base]) | u64::from(self.scalars[base + 1]) << 32;
                let at = at.wrapping_add_signed(i64::from(offset)) & !3;
                access.read_words(at, &mut self.scalars[to..to + words], "shader load")?;
            }
            Operation::Load { to, words, address, offset } => {
                let at = self.address(address, offset);
                let vectors = self.vectors.get_mut(to..to + words);
                access.read_words(at, vectors.ok_or("a load past v255")?, "shader load")?;
            }
            Operation::Store { from, words, address, offset } => {
                let at = self.address(address, offset);
                let vectors = self.vectors.get(from..from + words).ok_or("a store past v255")?;
                if let [word] = *vectors {
                    store(access.target(at, 4, "shader store")?, word);
                } else {
                    access.write(at, bytemuck::cast_slice(vectors), "shader store")?;
                }
            }
            Operation::Atomic { returns, from, address, offset } => {
                let at = access.target(self.address(address, offset), 4, "shader atomic")?;
                let old = u32::update(at, |old| old.wrapping_add(self.vectors[from]));
                if let Some(to) = returns {
                    self.vectors[to] = old;
                }
            }
        }
        Ok(())
    }
}

/// The comparisons of SOPC: eq, ne, gt, ge, lt, le.
fn compare(how: u32, signed: bool, [one, two]: [u32; 2]) -> bool {
    let order = if signed { one.cast_signed().cmp(&two.cast_signed()) } else { one.cmp(&two) };
    match how {
        0 => order.is_eq(),
        1 => order.is_ne(),
        2 => order.is_gt(),
        3 => order.is_ge(),
        4 => order.is_lt(),
        _ => order.is_le(),
    }
}
