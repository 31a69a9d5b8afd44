//! Instructions, and which of them the perf buffer object may use.
//!
//! Constraint: no rule is about what the verifier makes of a program, only about what there has to
//! be for it to be looked at.

/// An instruction (Documentation/bpf/standardization/instruction-set.rst).
#[derive(Clone, Copy, Debug, Default)]
pub struct Insn {
    pub code: u8,
    pub source: u8,
    pub offset: i16,
    pub immediate: i32,
}

/// Classes of instructions: the three lowest bits.
const STX: u8 = 3;
const ALU: u8 = 4;
const JMP: u8 = 5;
const JMP32: u8 = 6;
const ALU64: u8 = 7;
/// Loads of 16 bytes take two places.
const WIDE: u8 = 0x18;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const GOTO: u8 = 0x05;

/// BPF_MAXINSNS (include/uapi/linux/bpf_common.h); more are allowed from 5.2 on.
const MOST: usize = 4096;

/// Helpers that may be called, by number (include/uapi/linux/bpf.h, 4.14): lookup, update and
/// deletion of elements, probe_read, ktime_get_ns, get_smp_processor_id, perf_event_output.
const HELPERS: [i32; 7] = [1, 2, 3, 4, 5, 8, 25];

impl Insn {
    const fn class(self) -> u8 {
        self.code & 7
    }

    /// Whether 4.14 does not know it.
    const fn is_newer(self) -> bool {
        // Modes of access: the three highest bits.
        let mode = self.code & 0xe0;
        match self.class() {
            // 5.1.
            JMP32 => true,
            // Atomic operations other than BPF_ADD without its result: 5.12.
            STX => mode == 0xc0 && self.immediate != 0,
            // Sign-extending loads: 6.6.
            1 => mode == 0x80,
            // Byte swaps, signed division, sign-extending moves: 6.6.
            ALU64 => self.code & 0xf0 == 0xd0 || self.offset != 0,
            ALU => self.offset != 0,
            _ => false,
        }
    }
}

/// A program: its instructions, each at its place. The second half of a wide one is none.
pub struct Program {
    places: Vec<Option<Insn>>,
}

impl Program {
    /// From the bytes in an object file.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut wide = false;
        let places = bytes.chunks_exact(8).map(|insn| {
            let first = !std::mem::take(&mut wide);
            wide = first && insn[0] == WIDE;
            first.then(|| Insn {
                code: insn[0],
                source: insn[1] >> 4,
                offset: i16::from_ne_bytes([insn[2], insn[3]]),
                immediate: i32::from_ne_bytes([insn[4], insn[5], insn[6], insn[7]]),
            })
        });
        Self {
            places: places.collect(),
        }
    }

    /// Of narrow instructions.
    pub fn of(insns: Vec<Insn>) -> Self {
        Self {
            places: insns.into_iter().map(Some).collect(),
        }
    }

    /// The places that the instruction at `place` can go on to.
    fn next(&self, place: usize) -> Vec<usize> {
        let Some(insn) = self.places[place] else {
            return vec![place + 1];
        };
        let target = (place + 1).wrapping_add_signed(isize::from(insn.offset));
        match (insn.code, insn.class()) {
            (EXIT, _) => vec![],
            (CALL, _) => vec![place + 1],
            (GOTO, _) => vec![target],
            (_, JMP | JMP32) => vec![place + 1, target],
            _ => vec![place + 1],
        }
    }

    /// A jump back to where it came from, as `check_cfg` (kernel/bpf/verifier.c) looks for it: a
    /// path that meets itself. Backward jumps that meet another path are no loop to it.
    fn back_edge(&self) -> Option<(usize, usize)> {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            Never,
            OnPath,
            Done,
        }
        let mut seen = vec![Seen::Never; self.places.len()];
        let mut path = vec![(0, self.next(0))];
        seen[0] = Seen::OnPath;
        while let Some((from, open)) = path.last_mut() {
            let from = *from;
            match open.pop() {
                None => {
                    seen[from] = Seen::Done;
                    path.pop();
                }
                Some(to) => match seen[to] {
                    Seen::OnPath => return Some((from, to)),
                    Seen::Done => {}
                    Seen::Never => {
                        seen[to] = Seen::OnPath;
                        path.push((to, self.next(to)));
                    }
                },
            }
        }
        None
    }
}

/// The rules that a program breaks.
pub fn broken_by(program: &Program) -> impl Iterator<Item = String> {
    let mut broken = Vec::new();
    let len = program.places.len();
    if len > MOST {
        broken.push(format!("{len} instructions"));
    }
    for (place, insn) in program.places.iter().enumerate() {
        let Some(insn) = insn else { continue };
        if insn.is_newer() {
            broken.push(format!("{place}: newer instruction {:#04x}", insn.code));
        }
        match (insn.code, insn.source) {
            (CALL, 0) if HELPERS.contains(&insn.immediate) => {}
            (CALL, 0) => broken.push(format!("{place}: calls helper {}", insn.immediate)),
            // 4.16.
            (CALL, 1) => broken.push(format!("{place}: calls a function of the object")),
            (CALL, _) => broken.push(format!("{place}: calls a function of the kernel")),
            _ => {}
        }
    }
    if let Some((from, to)) = program.back_edge() {
        broken.push(format!("a loop: instruction {from} jumps back to {to}"));
    }
    broken.into_iter()
}
