//! Cuts BTF down to the types that are asked for: kilobytes instead of megabytes, for kernels that do
//! not show their own.
//!
//! Constraint: works on the raw format (Documentation/bpf/btf.rst) and not through the parser that
//! reads the result. Members keep their names, offsets and types; a pointer points to void.

use std::collections::{BTreeSet, HashMap, HashSet};

/// What is wrong with some bytes that should be BTF.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBtf {
    /// They do not begin as BTF does.
    #[error("it does not begin with BTF's magic number")]
    Magic,
    /// Written on a machine with the other byte order.
    #[error("it has the other byte order")]
    ByteOrder,
    /// They end too early, or something in them refers to what is not there.
    #[error("it is cut off or damaged")]
    Damaged,
    /// From a newer kernel than anything that this was written for.
    #[error("it has a kind of type, {0}, that this version does not know")]
    Kind(u32),
}

const MAGIC: u16 = 0xeb9f;
/// Length of the header that is written, in bytes.
const HEADER: u32 = 24;

// Kinds of types, include/uapi/linux/btf.h.
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const ENUM64: u32 = 19;
const LAST_KIND: u32 = ENUM64;

/// A type: its three fixed words and the ones of its kind, as they lie there: there are some hundred
/// thousand types, and few are kept.
#[derive(Clone, Copy)]
struct Raw<'a> {
    name: u32,
    info: u32,
    size_or_type: u32,
    extra: &'a [u8],
}

impl Raw<'_> {
    fn kind(&self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    fn keep(self) -> Kept {
        let words = self.extra.chunks_exact(size_of::<u32>());
        let words = words.filter_map(|word| word.first_chunk().copied());
        Kept {
            name: self.name,
            info: self.info,
            size_or_type: self.size_or_type,
            extra: words.map(u32::from_ne_bytes).collect(),
        }
    }
}

/// A type that is kept.
struct Kept {
    name: u32,
    info: u32,
    size_or_type: u32,
    extra: Vec<u32>,
}

impl Kept {
    fn kind(&self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    /// Words of one entry behind the fixed ones, and the one that refers to a type; the first one is a
    /// name.
    fn entries(&self) -> Option<(usize, Option<usize>)> {
        match self.kind() {
            STRUCT | UNION => Some((3, Some(1))),
            FUNC_PROTO => Some((2, Some(1))),
            ENUM => Some((2, None)),
            ENUM64 => Some((3, None)),
            _ => None,
        }
    }
}

/// The structs and functions called `names`, with everything embedded in them.
///
/// # Errors
/// When `btf` is no BTF.
pub fn shrink(btf: &[u8], names: &BTreeSet<&str>) -> Result<Vec<u8>, NotBtf> {
    let (types, strings) = parse(btf)?;
    let names: HashSet<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let mut shrinker = Shrinker {
        types: &types,
        numbers: HashMap::new(),
        order: Vec::new(),
    };
    for (raw, id) in types.iter().zip(1..) {
        let is_wanted = |name| names.contains(name);
        if matches!(raw.kind(), STRUCT | FUNC) && bytes_at(strings, raw.name).is_some_and(is_wanted)
        {
            shrinker.number(id);
        }
    }
    let kept = shrinker.keep()?;
    write(kept, strings)
}

/// Numbers the types that are kept, in the order in which they were found to be needed.
struct Shrinker<'a> {
    types: &'a [Raw<'a>],
    numbers: HashMap<u32, u32>,
    order: Vec<u32>,
}

impl Shrinker<'_> {
    /// The new number of a type, which is kept from now on.
    fn number(&mut self, id: u32) -> u32 {
        // Void.
        if id == 0 {
            return 0;
        }
        *self.numbers.entry(id).or_insert_with(|| {
            self.order.push(id);
            self.order.len() as u32
        })
    }

    /// Copies what is kept, and what turns out to be needed meanwhile.
    fn keep(mut self) -> Result<Vec<Kept>, NotBtf> {
        let mut kept = Vec::new();
        while let Some(&id) = self.order.get(kept.len()) {
            let raw = self.types.get(id as usize - 1).ok_or(NotBtf::Damaged)?;
            let mut own = raw.keep();
            self.renumber(&mut own);
            kept.push(own);
        }
        Ok(kept)
    }

    fn renumber(&mut self, raw: &mut Kept) {
        if let Some((step, refers)) = raw.entries()
            && let Some(at) = refers
        {
            for entry in raw.extra.chunks_mut(step) {
                if let Some(word) = entry.get_mut(at) {
                    *word = self.number(*word);
                }
            }
        }
        match raw.kind() {
            // Their word is a size, or a flag.
            INT | FLOAT | ENUM | ENUM64 | STRUCT | UNION | FWD => {}
            PTR => raw.size_or_type = 0,
            // Type of the elements, of the index, and their number.
            ARRAY => {
                for word in raw.extra.iter_mut().take(2) {
                    *word = self.number(*word);
                }
            }
            _ => raw.size_or_type = self.number(raw.size_or_type),
        }
    }
}

/// The names that are used, each once.
struct Strings {
    bytes: Vec<u8>,
    known: HashMap<Vec<u8>, u32>,
}

impl Strings {
    fn add(&mut self, name: &[u8]) -> u32 {
        let bytes = &mut self.bytes;
        *self.known.entry(name.to_vec()).or_insert_with_key(|name| {
            let at = bytes.len() as u32;
            bytes.extend_from_slice(name);
            bytes.push(0);
            at
        })
    }
}

fn write(kept: Vec<Kept>, old: &[u8]) -> Result<Vec<u8>, NotBtf> {
    let mut strings = Strings {
        bytes: vec![0],
        known: HashMap::from([(Vec::new(), 0)]),
    };
    let mut types = Vec::new();
    for mut raw in kept {
        if let Some((step, _)) = raw.entries() {
            for name in raw.extra.iter_mut().step_by(step) {
                *name = strings.add(bytes_at(old, *name).ok_or(NotBtf::Damaged)?);
            }
        }
        let name = strings.add(bytes_at(old, raw.name).ok_or(NotBtf::Damaged)?);
        let words = [name, raw.info, raw.size_or_type];
        let words = words.into_iter().chain(raw.extra);
        types.extend(words.flat_map(u32::to_ne_bytes));
    }
    let length = types.len() as u32;
    let mut out = Vec::new();
    out.extend(MAGIC.to_ne_bytes());
    // Version and flags.
    out.extend([1, 0]);
    for word in [HEADER, 0, length, length, strings.bytes.len() as u32] {
        out.extend(word.to_ne_bytes());
    }
    out.extend(types);
    out.extend(strings.bytes);
    Ok(out)
}

/// The types, the first of which has number 1, and the names.
fn parse(btf: &[u8]) -> Result<(Vec<Raw<'_>>, &[u8]), NotBtf> {
    let magic = btf.get(..2).and_then(|magic| magic.try_into().ok());
    match magic.map(u16::from_ne_bytes) {
        Some(MAGIC) => {}
        Some(magic) if magic.swap_bytes() == MAGIC => return Err(NotBtf::ByteOrder),
        _ => return Err(NotBtf::Magic),
    }
    // Offsets count from the end of the header.
    let header = word(btf, 4)? as usize;
    let section = |at| {
        let (begin, length) = (word(btf, at)? as usize, word(btf, at + 4)? as usize);
        let section = btf.get(header..).and_then(|rest| rest.get(begin..));
        section
            .and_then(|rest| rest.get(..length))
            .ok_or(NotBtf::Damaged)
    };
    let (bytes, strings) = (section(8)?, section(16)?);
    let mut types = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let info = word(bytes, at + 4)?;
        let (fixed, end) = (at + 12, at + 12 + 4 * extra_words(info)?);
        types.push(Raw {
            name: word(bytes, at)?,
            info,
            size_or_type: word(bytes, at + 8)?,
            extra: bytes.get(fixed..end).ok_or(NotBtf::Damaged)?,
        });
        at = end;
    }
    Ok((types, strings))
}

/// How many words a type has behind the fixed ones.
fn extra_words(info: u32) -> Result<usize, NotBtf> {
    let count = (info & 0xffff) as usize;
    Ok(match (info >> 24) & 0x1f {
        INT | VAR | DECL_TAG => 1,
        ARRAY => 3,
        STRUCT | UNION | DATASEC | ENUM64 => 3 * count,
        ENUM | FUNC_PROTO => 2 * count,
        kind if kind > LAST_KIND => return Err(NotBtf::Kind(kind)),
        _ => 0,
    })
}

fn word(bytes: &[u8], at: usize) -> Result<u32, NotBtf> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map(|word| u32::from_ne_bytes(*word))
        .ok_or(NotBtf::Damaged)
}

fn bytes_at(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = strings.get(offset as usize..)?;
    rest.get(..rest.iter().position(|&byte| byte == 0)?)
}

#[cfg(test)]
#[path = "btf_shrink_tests.rs"]
mod tests;
