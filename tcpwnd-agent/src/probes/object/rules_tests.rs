//! What the perf buffer object may not contain, so that kernels from 4.14 on have all that it uses.
//!
//! No such kernel runs here; hence the object is read, instruction by instruction.

use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolKind,
};

use super::rules::{Insn, Program, broken_by};
use super::{PERF, RING};

/// Everything in an object that breaks a rule, one line each.
fn broken(bytes: &[u8]) -> Vec<String> {
    let file = object::File::parse(bytes).unwrap();
    let name = |index: SectionIndex| file.section_by_index(index).unwrap().name().unwrap();
    let mut broken = Vec::new();
    for section in file.sections() {
        let name = section.name().unwrap();
        let data = [".rodata", ".data", ".bss"];
        if data.iter().any(|data| name.starts_with(data)) && section.size() != 0 {
            broken.push(format!("{name}: a data section"));
        }
    }
    let maps = file.section_by_name("maps").unwrap();
    for symbol in file.symbols() {
        let Some(section) = symbol.section_index() else {
            continue;
        };
        let what = symbol.name().unwrap();
        let start = usize::try_from(symbol.address()).unwrap();
        let end = start + usize::try_from(symbol.size()).unwrap();
        if section == maps.index() && symbol.kind() == SymbolKind::Data {
            broken.extend(broken_by_map(what, &maps.data().unwrap()[start..end]));
        }
        if symbol.kind() != SymbolKind::Text || name(section) == ".text" {
            continue;
        }
        let section = file.section_by_index(section).unwrap();
        let program = Program::decode(&section.data().unwrap()[start..end]);
        broken.extend(broken_by(&program).map(|rule| format!("{what}: {rule}")));
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(target) = relocation.target() else {
                panic!("{what}: {relocation:?}");
            };
            let target = file.symbol_by_index(target).unwrap();
            let place = name(target.section_index().unwrap());
            if (start..end).contains(&usize::try_from(offset).unwrap()) && place != "maps" {
                broken.push(format!("{what}: refers to section {place}"));
            }
        }
    }
    broken
}

/// Types of maps that 4.14 has (include/uapi/linux/bpf.h): hash, array, perf event array, array per
/// CPU, LRU hash.
const MAP_TYPES: [u32; 5] = [1, 2, 4, 6, 9];

/// `map`: type, sizes of key and value, number of entries, flags, and what only aya reads.
fn broken_by_map(name: &str, map: &[u8]) -> Vec<String> {
    let word = |n: usize| u32::from_ne_bytes(map[4 * n..4 * n + 4].try_into().unwrap());
    let mut broken = Vec::new();
    if !MAP_TYPES.contains(&word(0)) {
        broken.push(format!("{name}: map type {}", word(0)));
    }
    if word(4) != 0 {
        broken.push(format!("{name}: map flags {:#x}", word(4)));
    }
    broken
}

#[test]
fn perf_object_uses_nothing_newer_than_4_14() {
    let broken = broken(PERF);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn perf_object_has_every_program_of_the_other() {
    let programs = |bytes: &[u8]| {
        let file = object::File::parse(bytes).unwrap();
        let text = file.section_by_name(".text").map(|text| text.index());
        let programs = file.symbols().filter(|symbol| {
            symbol.kind() == SymbolKind::Text && symbol.section_index() != text && symbol.size() > 0
        });
        let mut names: Vec<_> = programs
            .map(|program| program.name().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(programs(PERF), programs(RING));
    assert!(programs(PERF).len() > 30);
}

/// The ring buffer object breaks the rules that the next tests do not try: what finds nothing wrong
/// with it is broken itself.
#[test]
fn ring_object_breaks_the_rules() {
    let broken = broken(RING);
    for rule in [
        ".rodata: a data section",
        "refers to section .rodata",
        "EVENTS: map type 27",
        "COUNTERS: map flags 0x400",
        "helper 113",
        "helper 131",
    ] {
        let found = broken.iter().any(|line| line.contains(rule));
        assert!(found, "{rule} is not among\n{}", broken.join("\n"));
    }
}

fn jump(offset: i16) -> Insn {
    Insn {
        code: 0x05,
        offset,
        ..Insn::default()
    }
}

const EXIT: Insn = Insn {
    code: 0x95,
    source: 0,
    offset: 0,
    immediate: 0,
};

fn rules_of(insns: Vec<Insn>) -> Vec<String> {
    broken_by(&Program::of(insns)).collect()
}

#[test]
fn backward_jumps_are_refused_only_where_they_make_a_loop() {
    // if r1 == 0 goto +0; goto -2.
    let condition = Insn {
        code: 0x15,
        offset: 1,
        ..Insn::default()
    };
    assert_eq!(
        rules_of(vec![condition, jump(-2), EXIT]),
        ["a loop: instruction 1 jumps back to 0"]
    );
    // 0 jumps to 2, which jumps back to 1, the end: twice is no loop.
    assert_eq!(rules_of(vec![jump(1), EXIT, jump(-2)]), [""; 0]);
}

#[test]
fn long_programs_are_refused() {
    let mov = Insn {
        code: 0xb7,
        ..Insn::default()
    };
    let of = |len: usize| rules_of([vec![mov; len - 1], vec![EXIT]].concat());
    assert_eq!(of(4096), [""; 0]);
    assert_eq!(of(4097), ["4097 instructions"]);
}

#[test]
fn newer_instructions_are_refused() {
    let insn = |code: u8, offset: i16, immediate: i32| Insn {
        code,
        offset,
        immediate,
        ..Insn::default()
    };
    for newer in [
        // 32-bit comparison (5.1).
        insn(0x16, 0, 0),
        // fetch_add (5.12).
        insn(0xdb, 0, 1),
        // Sign-extending load (6.6), and move.
        insn(0x81, 0, 0),
        insn(0xbf, 8, 0),
        // Byte swap (6.6).
        insn(0xd7, 0, 16),
    ] {
        let found = rules_of(vec![newer, EXIT]);
        assert!(
            matches!(&found[..], [rule] if rule.contains("newer instruction")),
            "{newer:?}: {found:?}"
        );
    }
    // Addition without result, and htons().
    let old = vec![insn(0xdb, 0, 0), insn(0xdc, 0, 16), EXIT];
    assert_eq!(rules_of(old), [""; 0]);
}
