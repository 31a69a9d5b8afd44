//! Cuts a kernel's BTF down to what the tests ask it for: fixtures of some kilobytes instead of
//! five megabytes.
//!
//! Constraint: works on the raw format (Documentation/bpf/btf.rst) and not through the parser
//! that the tests test. Members keep their names, offsets and types; a pointer points to void.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const ENUM64: u32 = 19;

/// A type: its three fixed words and the ones of its kind.
struct Raw {
    name: u32,
    info: u32,
    size_or_type: u32,
    extra: Vec<u32>,
}

impl Raw {
    fn kind(&self) -> u32 {
        (self.info >> 24) & 0x1f
    }
}

/// The types called `names`, structs and functions alike, with everything embedded in them.
pub fn trim(btf: &[u8], names: &[&str]) -> Vec<u8> {
    let (types, strings) = parse(btf);
    let mut trimmer = Trimmer {
        types: &types,
        strings: &strings,
        renumbered: HashMap::new(),
        kept: Vec::new(),
    };
    for (index, raw) in types.iter().enumerate() {
        let wanted = names.contains(&text(&strings, raw.name).as_str());
        if wanted && matches!(raw.kind(), STRUCT | FUNC) {
            trimmer.keep(index as u32 + 1);
        }
    }
    trimmer.write()
}

struct Trimmer<'a> {
    types: &'a [Raw],
    strings: &'a [u8],
    renumbered: HashMap<u32, u32>,
    kept: Vec<Raw>,
}

impl Trimmer<'_> {
    /// Copies a type and what is embedded in it; returns its new number.
    fn keep(&mut self, id: u32) -> u32 {
        if id == 0 {
            return 0;
        }
        if let Some(&new) = self.renumbered.get(&id) {
            return new;
        }
        let raw = &self.types[id as usize - 1];
        self.kept.push(Raw {
            name: raw.name,
            info: raw.info,
            size_or_type: raw.size_or_type,
            extra: raw.extra.clone(),
        });
        let slot = self.kept.len() - 1;
        let new = slot as u32 + 1;
        self.renumbered.insert(id, new);
        match raw.kind() {
            INT | FLOAT | ENUM | ENUM64 => {}
            PTR => self.kept[slot].size_or_type = 0,
            ARRAY => {
                self.kept[slot].extra[0] = self.keep(raw.extra[0]);
                self.kept[slot].extra[1] = self.keep(raw.extra[1]);
            }
            STRUCT | UNION => {
                for at in (1..raw.extra.len()).step_by(3) {
                    self.kept[slot].extra[at] = self.keep(raw.extra[at]);
                }
            }
            FUNC_PROTO => {
                self.kept[slot].size_or_type = self.keep(raw.size_or_type);
                for at in (1..raw.extra.len()).step_by(2) {
                    self.kept[slot].extra[at] = self.keep(raw.extra[at]);
                }
            }
            // A forward declaration's word is no type; everything else refers to one.
            7 => {}
            _ => self.kept[slot].size_or_type = self.keep(raw.size_or_type),
        }
        new
    }

    fn write(mut self) -> Vec<u8> {
        let mut strings = vec![0];
        let mut known = HashMap::from([(String::new(), 0)]);
        let old = self.strings;
        let mut intern = |offset: u32| {
            *known.entry(text(old, offset)).or_insert_with_key(|name| {
                let at = strings.len() as u32;
                strings.extend_from_slice(name.as_bytes());
                strings.push(0);
                at
            })
        };
        let mut words = Vec::new();
        for raw in &mut self.kept {
            let step = match raw.kind() {
                STRUCT | UNION | ENUM64 => 3,
                ENUM | FUNC_PROTO => 2,
                _ => usize::MAX,
            };
            if step != usize::MAX {
                for at in (0..raw.extra.len()).step_by(step) {
                    raw.extra[at] = intern(raw.extra[at]);
                }
            }
            words.extend([intern(raw.name), raw.info, raw.size_or_type]);
            words.append(&mut raw.extra);
        }
        let types: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut out = Vec::new();
        out.extend(MAGIC.to_le_bytes());
        out.extend([1, 0]);
        for word in [24, 0, types.len(), types.len(), strings.len()] {
            out.extend((word as u32).to_le_bytes());
        }
        out.extend(types);
        out.extend(strings);
        out
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn text(strings: &[u8], offset: u32) -> String {
    let rest = &strings[offset as usize..];
    let end = rest.iter().position(|&byte| byte == 0).unwrap();
    String::from_utf8(rest[..end].to_vec()).unwrap()
}

fn parse(btf: &[u8]) -> (Vec<Raw>, Vec<u8>) {
    assert_eq!(u16::from_le_bytes([btf[0], btf[1]]), MAGIC);
    let header = word(btf, 4) as usize;
    let start = header + word(btf, 8) as usize;
    let end = start + word(btf, 12) as usize;
    let strings = header + word(btf, 16) as usize;
    let strings = btf[strings..strings + word(btf, 20) as usize].to_vec();
    let mut types = Vec::new();
    let mut at = start;
    while at < end {
        let info = word(btf, at + 4);
        let count = (info & 0xffff) as usize;
        let words = match (info >> 24) & 0x1f {
            INT | VAR | DECL_TAG => 1,
            ARRAY => 3,
            STRUCT | UNION | DATASEC | ENUM64 => 3 * count,
            ENUM | FUNC_PROTO => 2 * count,
            _ => 0,
        };
        types.push(Raw {
            name: word(btf, at),
            info,
            size_or_type: word(btf, at + 8),
            extra: (0..words).map(|n| word(btf, at + 12 + 4 * n)).collect(),
        });
        at += 12 + 4 * words;
    }
    (types, strings)
}
