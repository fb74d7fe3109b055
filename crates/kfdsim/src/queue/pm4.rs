//! PM4 packets of the compute queues of GFX9 to GFX12 (MEC), as kfdtest and ROCr write them.
//!
//! Opcodes: amdgpu/nvd.h of Linux 6.12. Fields: the same, ROCr's amd_gpu_pm4.h and kfdtest's
//! pm4_pkt_struct_{common,ai,nv}.h (ROCm 6.4.3). Registers and caches are not modelled:
//! packets for them do nothing. An opcode that is not known is an error, as its effect is.

mod isa;
mod registers;
mod wave;

use super::access::{Access, Result, Stop, store};
use super::atomic::Atomic;
use super::stream::{Decoder, Next};
use super::{compare, gpu_clock};
use registers::{Dispatch, Registers};

const NOP: u32 = 0x10;
const SET_BASE: u32 = 0x11;
const CLEAR_STATE: u32 = 0x12;
const DISPATCH_DIRECT: u32 = 0x15;
const DISPATCH_INDIRECT: u32 = 0x16;
const ATOMIC_MEM: u32 = 0x1e;
const COND_EXEC: u32 = 0x22;
const PRED_EXEC: u32 = 0x23;
const CONTEXT_CONTROL: u32 = 0x28;
const WRITE_DATA: u32 = 0x37;
const WAIT_REG_MEM: u32 = 0x3c;
const INDIRECT_BUFFER: u32 = 0x3f;
const COPY_DATA: u32 = 0x40;
const PFP_SYNC_ME: u32 = 0x42;
const SURFACE_SYNC: u32 = 0x43;
const EVENT_WRITE: u32 = 0x46;
const RELEASE_MEM: u32 = 0x49;
const DMA_DATA: u32 = 0x50;
const ACQUIRE_MEM: u32 = 0x58;
const SET_CONFIG_REG: u32 = 0x68;
const SET_CONTEXT_REG: u32 = 0x69;
const SET_SH_REG: u32 = 0x76;
const SET_UCONFIG_REG: u32 = 0x79;
const SET_UCONFIG_REG_INDEX: u32 = 0x7a;
const WAIT_REG_MEM64: u32 = 0x93;
const HDP_FLUSH: u32 = 0x95;
const INVALIDATE_TLBS: u32 = 0x98;
const SET_SH_REG_INDEX: u32 = 0x9b;

/// A count that makes NOP a packet of one word (amdgpu's ring padding).
const ONE_WORD: u32 = 0x3fff;

/// The state of a PM4 processor: one for each queue.
#[derive(Debug, Default)]
pub(super) struct Pm4 {
    registers: Registers,
    /// What the last ATOMIC_MEM found, for COPY_DATA.
    returned: u64,
    interrupt: Option<u32>,
    /// The dispatch that is not over yet: nothing after it is done before.
    dispatch: Option<Box<Dispatch>>,
}

/// The body of a packet, by the ordinals of the documentation: 1 is the word after the header.
#[derive(Clone, Copy)]
struct Body<'a>(&'a [u32]);

impl Body<'_> {
    /// A word; packets may end early, and then it is zero.
    fn word(self, ordinal: usize) -> u32 {
        self.0.get(ordinal).copied().unwrap_or(0)
    }

    fn long(self, ordinal: usize) -> u64 {
        u64::from(self.word(ordinal)) | u64::from(self.word(ordinal + 1)) << 32
    }

    /// An address of which the lower bits have another meaning.
    fn address(self, ordinal: usize, size: u64) -> u64 {
        self.long(ordinal) & !(size - 1)
    }

    fn bits(self, ordinal: usize, shift: u32, mask: u32) -> u32 {
        self.word(ordinal) >> shift & mask
    }

    /// The words from one on, as bytes.
    fn rest(self, ordinal: usize) -> Vec<u8> {
        self.0.iter().skip(ordinal).flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// Where data goes; hardware tells memory, L2 and registers apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    Memory,
    /// Registers, GDS and performance counters: not modelled.
    Other,
}

/// `dst_sel` of WRITE_DATA and COPY_DATA: 1 memory through GRBM, 2 L2, 5 memory.
fn destination(select: u32) -> Space {
    if matches!(select, 1 | 2 | 5) { Space::Memory } else { Space::Other }
}

impl Decoder for Pm4 {
    fn length(&self, words: &[u32]) -> Result<Option<u64>> {
        let Some(header) = words.first() else { return Ok(None) };
        let (kind, opcode, count) = (header >> 30, header >> 8 & 0xff, header >> 16 & 0x3fff);
        match kind {
            2 => Ok(Some(1)), // a filler
            3 if opcode == NOP && count == ONE_WORD => Ok(Some(1)),
            3 => Ok(Some(u64::from(count) + 2)),
            _ => Err(Stop::Bad(format!("PM4 packet {header:#010x} of type {kind}"))),
        }
    }

    fn execute(&mut self, access: &Access, packet: &[u32]) -> Result<Next> {
        let length = packet.len() as u64;
        let skip = Next::Skip(length);
        let body = Body(packet);
        let header = body.word(0);
        if header >> 30 != 3 {
            return Ok(skip);
        }
        match header >> 8 & 0xff {
            SET_SH_REG | SET_SH_REG_INDEX => self.registers.set(packet),
            DISPATCH_DIRECT if !self.dispatch(access, body)? => return Ok(Next::Again),
            DISPATCH_INDIRECT => access.sim.note("DISPATCH_INDIRECT did nothing: not done here"),
            WRITE_DATA => write_data(access, body)?,
            RELEASE_MEM => self.interrupt = release_mem(access, body)?,
            COPY_DATA => self.copy_data(access, body)?,
            DMA_DATA => dma_data(access, body)?,
            ATOMIC_MEM => return self.atomic_mem(access, body, skip),
            WAIT_REG_MEM | WAIT_REG_MEM64 if !holds(access, body)? => return Ok(Next::Wait),
            COND_EXEC => {
                // nvd.h: the following words are discarded if the word in memory is zero.
                let va = body.address(1, 4);
                let go = super::access::load::<u32>(access.word(va, 4, "COND_EXEC")?) != 0;
                let count = if go { 0 } else { body.word(4) & 0x3fff };
                return Ok(Next::Skip(length + u64::from(count)));
            }
            PRED_EXEC => {
                // The upper byte selects accelerator dies; these GPUs are die 0.
                let go = body.bits(1, 24, 1) != 0;
                let count = if go { 0 } else { body.word(1) & 0x3fff };
                return Ok(Next::Skip(length + u64::from(count)));
            }
            INDIRECT_BUFFER => {
                let va = body.address(1, 4) & 0xffff_ffff_ffff;
                let words = u64::from(body.word(3) & 0xf_ffff);
                let chains = body.bits(3, 20, 1) != 0;
                return Ok(if chains {
                    Next::Chain { va, words }
                } else {
                    Next::Call { va, words }
                });
            }
            // Caches, events and registers are not modelled; the last three did their work above.
            NOP
            | SET_BASE
            | CLEAR_STATE
            | CONTEXT_CONTROL
            | PFP_SYNC_ME
            | SURFACE_SYNC
            | EVENT_WRITE
            | ACQUIRE_MEM
            | SET_CONFIG_REG
            | SET_CONTEXT_REG
            | SET_UCONFIG_REG
            | SET_UCONFIG_REG_INDEX
            | HDP_FLUSH
            | INVALIDATE_TLBS
            | WAIT_REG_MEM
            | WAIT_REG_MEM64
            | DISPATCH_DIRECT => {}
            opcode => return Err(Stop::Bad(format!("PM4 opcode {opcode:#x} is not known here"))),
        }
        Ok(skip)
    }

    fn take_interrupt(&mut self) -> Option<u32> {
        self.interrupt.take()
    }
}

fn write_data(access: &Access, body: Body) -> Result<()> {
    if destination(body.bits(1, 8, 0xf)) == Space::Other {
        return Ok(());
    }
    let va = body.address(2, 4);
    if body.bits(1, 16, 1) == 0 {
        return access.write(va, &body.rest(4), "WRITE_DATA");
    }
    // All words go to one address: only the last is seen.
    let last = body.0.get(4..).and_then(<[u32]>::last);
    last.map_or(Ok(()), |word| access.write(va, &word.to_le_bytes(), "WRITE_DATA"))
}

/// Gives the context of the interrupt that it asks for.
fn release_mem(access: &Access, body: Body) -> Result<Option<u32>> {
    const WHAT: &str = "RELEASE_MEM";
    let write = |size: u64, value: u64| -> Result<()> {
        let target = access.target(body.address(3, size), size, WHAT)?;
        if size == 4 {
            store(target, value as u32);
        } else {
            store(target, value);
        }
        Ok(())
    };
    match body.bits(2, 29, 7) {
        0 => {}
        1 => write(4, body.long(5))?,
        2 => write(8, body.long(5))?,
        3 => write(8, gpu_clock())?,
        other => return Err(Stop::Bad(format!("{WHAT} of data {other} is not known here"))),
    }
    // int_sel: 1 always, 2 after the write; 0 and 3 never (pm4_pkt_struct_ai.h). The context
    // is the word that GFX9 added.
    Ok(matches!(body.bits(2, 24, 7), 1 | 2).then(|| body.word(7)))
}

fn dma_data(access: &Access, body: Body) -> Result<()> {
    let (to, size) = (body.long(4), u64::from(body.word(6) & 0x3ff_ffff));
    // Control: 1 is GDS in either field; command: bits 26 and 27 are registers.
    if body.bits(1, 20, 3) == 1 || body.bits(1, 29, 3) == 1 || body.bits(6, 26, 3) != 0 {
        return Ok(());
    }
    match body.bits(1, 29, 3) {
        2 => access.fill(to, size, &body.word(2).to_le_bytes()),
        _ => access.copy(to, body.long(2), size),
    }
}

/// Whether WAIT_REG_MEM is over. Registers are not modelled: what waits for one goes on.
fn holds(access: &Access, body: Body) -> Result<bool> {
    if body.bits(1, 4, 3) == 0 {
        return Ok(true);
    }
    let function = body.bits(1, 0, 7);
    if body.word(0) >> 8 & 0xff == WAIT_REG_MEM64 {
        let at = access.word(body.address(2, 8), 8, "WAIT_REG_MEM64")?;
        let value = super::access::load::<u64>(at) & body.long(6);
        return Ok(compare(function, value, body.long(4)));
    }
    let at = access.word(body.address(2, 4), 4, "WAIT_REG_MEM")?;
    let value = super::access::load::<u32>(at) & body.word(5);
    Ok(compare(function, u64::from(value), u64::from(body.word(4))))
}

impl Pm4 {
    /// Works on a dispatch; says whether it is over.
    fn dispatch(&mut self, access: &Access, body: Body) -> Result<bool> {
        if self.dispatch.is_none() {
            let groups = [1, 2, 3].map(|ordinal| body.word(ordinal));
            self.dispatch = self.registers.dispatch(access, groups)?.map(Box::new);
        }
        let over = match &mut self.dispatch {
            Some(dispatch) => dispatch.run(access)?,
            None => true,
        };
        if over {
            self.dispatch = None;
        }
        Ok(over)
    }

    fn atomic_mem(&mut self, access: &Access, body: Body, skip: Next) -> Result<Next> {
        let atomic = Atomic {
            operation: body.word(1) & 0x7f,
            va: body.long(2),
            operand: body.long(4),
            compare: body.long(6),
        };
        let Some(old) = atomic.run(access)? else {
            let reason = format!("ATOMIC_MEM operation {} is not known here", atomic.operation);
            return Err(Stop::Bad(reason));
        };
        self.returned = old;
        // Command 1: until the comparison is true.
        let again = body.bits(1, 8, 0xf) == 1 && atomic.compares() && old != atomic.compare;
        Ok(if again { Next::Wait } else { skip })
    }

    fn copy_data(&self, access: &Access, body: Body) -> Result<()> {
        let wide = body.bits(1, 16, 1) != 0;
        let size = if wide { 8 } else { 4 };
        let value = match body.bits(1, 0, 0xf) {
            1 | 2 => {
                let mut bytes = [0; 8];
                access.read(body.long(2), &mut bytes[..size], "COPY_DATA source")?;
                u64::from_le_bytes(bytes)
            }
            5 => body.long(2),
            6 => self.returned,
            9 => gpu_clock(),
            _ => 0, // registers, GDS and counters
        };
        if destination(body.bits(1, 8, 0xf)) == Space::Other {
            return Ok(());
        }
        access.write(body.long(4), &value.to_le_bytes()[..size], "COPY_DATA destination")
    }
}
