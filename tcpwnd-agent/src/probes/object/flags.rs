//! Flags of maps that the object may not have from the beginning, for kernels that do not know them.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// Where a map's flags are: behind its type, the sizes of key and value, and the number of entries.
const OFFSET: usize = 16;

/// A copy of an object in which maps have these flags.
pub fn with(bytes: &[u8], flags: &[(&str, u32)]) -> Option<Vec<u8>> {
    let file = object::File::parse(bytes).ok()?;
    let (start, _) = file.section_by_name("maps")?.file_range()?;
    let mut changed = bytes.to_vec();
    for (map, flags) in flags {
        let symbol = file.symbol_by_name(map)?;
        let place = usize::try_from(start + symbol.address()).ok()? + OFFSET;
        changed
            .get_mut(place..place + size_of::<u32>())?
            .copy_from_slice(&flags.to_ne_bytes());
    }
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::super::PERF;
    use super::with;

    #[test]
    fn only_the_flags_change() {
        assert_eq!(with(PERF, &[]).unwrap(), PERF);
        let changed = with(PERF, &[("COUNTERS", 0x400), ("SETTINGS", 0x80)]).unwrap();
        let mut different: Vec<_> = (0..PERF.len())
            .filter(|&at| changed[at] != PERF[at])
            .map(|at| (PERF[at], changed[at]))
            .collect();
        different.sort_unstable();
        // Bytes of 0x400 and of 0x80.
        assert_eq!(different, [(0, 0x04), (0, 0x80)]);
        assert!(with(PERF, &[("NOSUCHMAP", 1)]).is_none());
    }
}
