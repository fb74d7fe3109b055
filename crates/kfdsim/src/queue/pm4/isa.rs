//! A few instructions of RDNA1 and RDNA2, enough for kfdtest's shaders that copy, poll and count.
//!
//! Encodings: "RDNA2 Instruction Set Architecture" (AMD, 2020), sections 5 to 13, and LLVM's
//! assembler for gfx1030. One thread for each wave. A program with an instruction that is not
//! here does not run at all: nothing is half done, nothing is guessed.
//! `wave` executes what is decoded here.

/// Words of a program that are looked at.
pub(super) const LONGEST: usize = 1024;

/// The scalar that is VCC, of which one thread has the lowest bit.
pub(super) const VCC: usize = 106;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Scalar(usize),
    Vector(usize),
    Constant(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    Always,
    /// If SCC, or VCC (the lower half, of wave32), is this.
    Scc(bool),
    Vcc(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// s_nop, s_waitcnt, s_sleep: everything is done at once here.
    Nothing,
    End,
    /// Words after the next instruction.
    Branch(Branch, i16),
    Move {
        to: usize,
        from: Source,
    },
    MoveVector {
        to: usize,
        from: Source,
    },
    /// s_add_u32, s_addc_u32: `carry` comes in.
    Add {
        to: usize,
        from: [Source; 2],
        carry: bool,
    },
    /// s_cmp of two signed or unsigned words.
    Compare {
        how: u32,
        signed: bool,
        from: [Source; 2],
    },
    /// v_cmp of two unsigned words, into VCC.
    CompareVector {
        how: u32,
        from: [Source; 2],
    },
    ShiftLeft {
        to: usize,
        from: [Source; 2],
    },
    /// v_add_co_u32, v_add_co_ci_u32.
    AddVector {
        to: usize,
        from: [Source; 2],
        carry_in: Option<usize>,
        carry_out: usize,
    },
    LoadScalar {
        to: usize,
        words: usize,
        base: usize,
        offset: i32,
    },
    Load {
        to: usize,
        words: usize,
        address: usize,
        offset: i32,
    },
    Store {
        from: usize,
        words: usize,
        address: usize,
        offset: i32,
    },
    Atomic {
        returns: Option<usize>,
        from: usize,
        address: usize,
        offset: i32,
    },
}

/// An instruction and its length in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) operation: Operation,
    pub(super) length: usize,
}

/// A program, by word: `None` where no instruction starts.
#[derive(Debug)]
pub(super) struct Program(Vec<Option<Instruction>>);

/// A source of 8 or 9 bits; 255 is the word `literal`.
fn source(field: u32, literal: Option<u32>) -> Option<Source> {
    Some(match field {
        0..=107 => Source::Scalar(field as usize),
        128..=192 => Source::Constant(field - 128),
        193..=208 => Source::Constant(192u32.wrapping_sub(field)),
        255 => Source::Constant(literal?),
        256..=511 => Source::Vector(field as usize - 256),
        _ => return None,
    })
}

/// The instruction at the start of `words`, if it is one that is known here.
fn decode(words: &[u32]) -> Option<Instruction> {
    let (w, next) = (*words.first()?, words.get(1).copied());
    let bits = |low: u32, mask: u32| (w >> low & mask) as usize;
    // The two sources of scalar and of vector instructions, and the length with a literal.
    let scalars = || {
        let fields = [w & 0xff, w >> 8 & 0xff];
        Some((
            [source(fields[0], next)?, source(fields[1], next)?],
            1 + usize::from(fields.contains(&255)),
        ))
    };
    let vectors = || {
        let fields = [w & 0x1ff, 256 | w >> 9 & 0xff];
        Some((
            [source(fields[0], next)?, source(fields[1], next)?],
            1 + usize::from(fields[0] == 255),
        ))
    };
    let (operation, length) = if w >> 23 == 0x17f {
        // SOPP
        let offset = w as i16;
        let operation = match bits(16, 0x7f) {
            0 | 12 | 14 => Operation::Nothing,
            1 => Operation::End,
            2 => Operation::Branch(Branch::Always, offset),
            op @ (4 | 5) => Operation::Branch(Branch::Scc(op == 5), offset),
            op @ (6 | 7) => Operation::Branch(Branch::Vcc(op == 7), offset),
            _ => return None,
        };
        (operation, 1)
    } else if w >> 23 == 0x17e {
        // SOPC: six comparisons, signed and then unsigned
        let op = w >> 16 & 0x7f;
        let (from, length) = scalars()?;
        if op > 11 {
            return None;
        }
        (Operation::Compare { how: op % 6, signed: op < 6, from }, length)
    } else if w >> 23 == 0x17d {
        // SOP1: s_mov_b32
        let (to, from) = (bits(16, 0x7f), source(w & 0xff, next)?);
        let length = 1 + usize::from(w & 0xff == 255);
        (bits(8, 0xff) == 3 && to <= VCC + 1).then_some((Operation::Move { to, from }, length))?
    } else if w >> 28 == 0xb {
        // SOPK: s_movk_i32
        let (to, from) = (bits(16, 0x7f), Source::Constant(i32::from(w as i16).cast_unsigned()));
        (bits(23, 0x1f) == 0 && to <= VCC + 1).then_some((Operation::Move { to, from }, 1))?
    } else if w >> 30 == 2 {
        // SOP2: s_add_u32, s_addc_u32
        let (to, (from, length)) = (bits(16, 0x7f), scalars()?);
        let carry = match bits(23, 0x7f) {
            0 => false,
            4 => true,
            _ => return None,
        };
        (to <= VCC + 1).then_some((Operation::Add { to, from, carry }, length))?
    } else if w >> 26 == 0x3d {
        // SMEM: s_load_dword, x2, x4 with an offset in the instruction
        let (to, base, next) = (bits(6, 0x7f), bits(0, 0x3f) * 2, next?);
        let words = 1 << bits(18, 0xff).min(3);
        if words > 4 || next >> 25 != 0x7d || to + words > VCC || base + 2 > VCC {
            return None;
        }
        let offset = (next << 11).cast_signed() >> 11;
        (Operation::LoadScalar { to, words, base, offset }, 2)
    } else if w >> 26 == 0x37 {
        return flat(w, next?);
    } else if w >> 26 == 0x35 {
        return add_vectors(w, next?);
    } else if w >> 25 == 0x3f {
        // VOP1: v_mov_b32
        let from = source(w & 0x1ff, next)?;
        let length = 1 + usize::from(w & 0x1ff == 255);
        let operation = Operation::MoveVector { to: bits(17, 0xff), from };
        (bits(9, 0xff) == 1).then_some((operation, length))?
    } else if w >> 25 == 0x3e {
        // VOPC: v_cmp_lt_u32 (1), eq (2), le (3), gt (4), ne (5), ge (6)
        let (from, length) = vectors()?;
        let how = bits(17, 0xff) as u32;
        // In the order of SOPC: eq, ne, gt, ge, lt, le.
        let how = [4, 0, 5, 2, 1, 3].get(how.wrapping_sub(0xc1) as usize)?;
        (Operation::CompareVector { how: *how, from }, length)
    } else if w >> 25 == 26 {
        // VOP2: v_lshlrev_b32
        let (from, length) = vectors()?;
        (Operation::ShiftLeft { to: bits(17, 0xff), from }, length)
    } else {
        return None;
    };
    Some(Instruction { operation, length })
}

/// FLAT and GLOBAL loads, stores and additions of one and two words at a vector address.
fn flat(w: u32, next: u32) -> Option<Instruction> {
    let (address, data, to) = (next & 0xff, next >> 8 & 0xff, next >> 24);
    let (address, data, to) = (address as usize, data as usize, to as usize);
    // Segment 0 flat, 2 global; no scalar address.
    if !matches!(w >> 14 & 3, 0 | 2) || next >> 16 & 0x7f != 0x7d {
        return None;
    }
    let offset = (w << 20).cast_signed() >> 20;
    let operation = match w >> 18 & 0x7f {
        op @ (12 | 13) => Operation::Load { to, words: op as usize - 11, address, offset },
        op @ (28 | 29) => Operation::Store { from: data, words: op as usize - 27, address, offset },
        50 => {
            let returns = (w >> 16 & 1 != 0).then_some(to);
            Operation::Atomic { returns, from: data, address, offset }
        }
        _ => return None,
    };
    Some(Instruction { operation, length: 2 })
}

/// VOP3: v_add_co_u32 and v_add_co_ci_u32.
fn add_vectors(w: u32, next: u32) -> Option<Instruction> {
    let from = [source(next & 0x1ff, None)?, source(next >> 9 & 0x1ff, None)?];
    let (to, carry_out) = ((w & 0xff) as usize, (w >> 8 & 0x7f) as usize);
    let carry_in = match w >> 16 & 0x3ff {
        0x30f => None,
        0x128 => Some((next >> 18 & 0x1ff) as usize),
        _ => return None,
    };
    // No negation or clamp, and carries in scalars.
    let plain = next >> 29 == 0 && w >> 15 & 1 == 0;
    if !plain || carry_out > VCC || carry_in.is_some_and(|scalar| scalar > VCC) {
        return None;
    }
    Some(Instruction {
        operation: Operation::AddVector { to, from, carry_in, carry_out },
        length: 2,
    })
}

impl Program {
    /// Decodes up to the first s_endpgm.
    ///
    /// # Errors
    /// What is not known here.
    pub(super) fn new(words: &[u32]) -> std::result::Result<Program, String> {
        let mut program = vec![None; words.len()];
        let mut at = 0;
        loop {
            let rest = words.get(at..).filter(|rest| !rest.is_empty()).ok_or("it has no end")?;
            let instruction = decode(rest)
                .ok_or_else(|| format!("instruction {:08x} is not executed here", rest[0]))?;
            program[at] = Some(instruction);
            if instruction.operation == Operation::End {
                break;
            }
            at += instruction.length;
        }
        let program = Program(program);
        for (at, instruction) in program.0.iter().enumerate() {
            if let Some(Instruction { operation: Operation::Branch(_, by), .. }) = instruction
                && program.at(target(at + 1, *by)).is_none()
            {
                return Err("a branch out of it".to_owned());
            }
        }
        Ok(program)
    }

    /// The instruction that starts at a word.
    pub(super) fn at(&self, index: usize) -> Option<Instruction> {
        self.0.get(index).copied().flatten()
    }
}

/// Where a branch goes: `by` words after the next instruction.
pub(super) fn target(next: usize, by: i16) -> usize {
    next.wrapping_add_signed(isize::from(by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// kfdtest's PollMemoryIsa as LLVM assembles it for gfx1030.
    pub(in crate::queue) const POLL: [u32; 12] = [
        0xb012_5678,
        0x7e00_0202,
        0x7e02_0203,
        0x7e04_02ff,
        0x5678,
        0xf401_0400,
        0xfa00_0000,
        0xbf00_1210,
        0xbf84_fffc,
        0xdc72_0000,
        0x007d_0200,
        0xbf81_0000,
    ];

    #[test]
    fn instructions_are_decoded_as_llvm_encodes_them() {
        let one = |words: &[u32]| decode(words).map(|instruction| instruction.operation);
        let scalar = Source::Scalar;
        for (words, operation) in [
            (
                &[0x8002_8800][..],
                Operation::Add { to: 2, from: [scalar(0), Source::Constant(8)], carry: false },
            ),
            (
                &[0x8203_8001],
                Operation::Add { to: 3, from: [scalar(1), Source::Constant(0)], carry: true },
            ),
            (&[0xbe92_03ff, 0xcafe], Operation::Move { to: 18, from: Source::Constant(0xcafe) }),
            (
                &[0xf401_0440, 0xfa00_0004],
                Operation::LoadScalar { to: 17, words: 1, base: 0, offset: 4 },
            ),
            (
                &[0xdccb_0000, 0x037d_0200],
                Operation::Atomic { returns: Some(3), from: 2, address: 0, offset: 0 },
            ),
            (
                &[0xdc36_0000, 0x0e7d_000c],
                Operation::Load { to: 14, words: 2, address: 12, offset: 0 },
            ),
            (
                &[0xd70f_6a04, 0x0002_0002],
                Operation::AddVector {
                    to: 4,
                    from: [scalar(2), Source::Vector(0)],
                    carry_in: None,
                    carry_out: VCC,
                },
            ),
            (
                &[0xd528_6a05, 0x01a9_0105],
                Operation::AddVector {
                    to: 5,
                    from: [Source::Vector(5), Source::Constant(0)],
                    carry_in: Some(VCC),
                    carry_out: VCC,
                },
            ),
            (
                &[0x7d82_1709],
                Operation::CompareVector { how: 4, from: [Source::Vector(9), Source::Vector(11)] },
            ),
            (
                &[0x3400_0082],
                Operation::ShiftLeft { to: 0, from: [Source::Constant(2), Source::Vector(0)] },
            ),
        ] {
            assert_eq!(one(words), Some(operation), "{words:x?}");
        }
        assert_eq!(one(&[0x0600_00f4]), None, "v_add_f32");
        assert_eq!(one(&[0xb984_f814]), None, "s_setreg_b32");
    }

    #[test]
    fn a_program_with_an_unknown_instruction_or_without_an_end_is_refused() {
        assert!(Program::new(&POLL).is_ok());
        assert!(Program::new(&POLL[..11]).unwrap_err().contains("no end"));
        assert!(Program::new(&[0x0600_00f4, 0xbf81_0000]).unwrap_err().contains("060000f4"));
        assert!(Program::new(&[0xbf82_0007, 0xbf81_0000]).unwrap_err().contains("branch"));
    }

    proptest! {
        #[test]
        fn any_words_are_a_program_or_none(words in prop::collection::vec(any::<u32>(), 0..40)) {
            let _ = Program::new(&words);
            let _ = Program::new(&[&words[..], &[0xbf81_0000]].concat());
        }
    }
}
