//! Leaves debugging information out of an ELF object: the compiler makes BTF from it, and nothing else
//! reads it, yet it is nine tenths of the object that the agent carries.
//!
//! Constraint: sections keep their numbers, to which symbols and other sections refer; what is left out
//! stays as an empty section.

use std::ops::Range;

/// Of the header: where the section headers are, how many there are, and the number of the one that
/// has the sections' names (Elf64_Ehdr).
const SECTIONS_AT: Range<usize> = 0x28..0x30;
const SECTION_COUNT: usize = 0x3c;
const NAMES: usize = 0x3e;
const HEADER: usize = 64;

/// Of a section's header (Elf64_Shdr).
const SECTION: usize = 64;
const OFFSET: usize = 24;
const SIZE: usize = 32;

/// Sections that nobody reads: debugging information, and where it, or BTF, would have to be changed if
/// the object was linked with another.
const UNREAD: [&str; 3] = [".debug", ".rel.debug", ".rel.BTF"];

/// The object without them; `None` for what is no 64-bit little-endian ELF object with sections.
pub fn slim(object: &[u8]) -> Option<Vec<u8>> {
    let at = usize::try_from(u64_at(object, SECTIONS_AT.start)?).ok()?;
    let count = usize::from(u16_at(object, SECTION_COUNT)?);
    if !object.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let mut sections = object.get(at..at + count * SECTION)?.to_vec();
    let names = usize::from(u16_at(object, NAMES)?) * SECTION;
    let names = content(object, sections.get(names..)?)?;
    let mut slim = object.get(..HEADER)?.to_vec();
    for section in sections.chunks_exact_mut(SECTION) {
        let name = names.get(u32_at(section, 0)? as usize..)?;
        let is_unread = UNREAD
            .iter()
            .any(|unread| name.starts_with(unread.as_bytes()));
        let content = if is_unread {
            &[]
        } else {
            content(object, section)?
        };
        slim.resize(slim.len().next_multiple_of(16), 0);
        section[OFFSET..OFFSET + 8].copy_from_slice(&(slim.len() as u64).to_le_bytes());
        if is_unread {
            section[SIZE..SIZE + 8].fill(0);
        }
        slim.extend_from_slice(content);
    }
    slim.resize(slim.len().next_multiple_of(16), 0);
    let at = slim.len() as u64;
    slim[SECTIONS_AT].copy_from_slice(&at.to_le_bytes());
    slim.extend(sections);
    Some(slim)
}

/// What is in a section; nothing in one that is only a size (SHT_NOBITS).
fn content<'a>(object: &'a [u8], section: &[u8]) -> Option<&'a [u8]> {
    const NOBITS: u32 = 8;
    if u32_at(section, 4)? == NOBITS {
        return Some(&[]);
    }
    let offset = usize::try_from(u64_at(section, OFFSET)?).ok()?;
    let size = usize::try_from(u64_at(section, SIZE)?).ok()?;
    object.get(offset..offset.checked_add(size)?)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
