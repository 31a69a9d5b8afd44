use std::collections::BTreeSet;

use super::{ARRAY, FUNC, INT, Kept, MAGIC, NotBtf, PTR, STRUCT, shrink, write};

fn raw(name: u32, kind: u32, count: u32, size_or_type: u32, extra: &[u32]) -> Kept {
    Kept {
        name,
        info: (kind << 24) | count,
        size_or_type,
        extra: extra.to_vec(),
    }
}

/// `struct s { u32 a; struct s *next; u32 more[2]; }`, `struct t { u32 a; }` and an `u32`.
fn some() -> Vec<u8> {
    let strings = b"\0u32\0s\0a\0next\0more\0t\0";
    let types = vec![
        raw(1, INT, 0, 4, &[32]),
        raw(0, PTR, 0, 3, &[]),
        raw(5, STRUCT, 3, 24, &[7, 1, 0, 9, 2, 64, 14, 4, 128]),
        raw(0, ARRAY, 0, 0, &[1, 1, 2]),
        raw(19, STRUCT, 1, 4, &[7, 1, 0]),
    ];
    write(types, strings).unwrap()
}

fn names<const N: usize>(names: [&'static str; N]) -> BTreeSet<&'static str> {
    names.into()
}

#[test]
fn what_is_asked_for_is_kept_with_what_is_embedded_in_it() {
    let small = shrink(&some(), &names(["s"])).unwrap();
    let btf = btf_rs::Btf::from_bytes(&small).unwrap();
    assert!(btf.resolve_types_by_name("t").unwrap().is_empty());
    let found = btf.resolve_types_by_name("s").unwrap();
    let [btf_rs::Type::Struct(found)] = &found[..] else {
        panic!("{found:?}");
    };
    let members = found.members.iter();
    let members: Vec<_> = members
        .map(|member| (btf.resolve_name(member).unwrap(), member.bit_offset()))
        .collect();
    let expected = [("a", 0), ("next", 64), ("more", 128)];
    assert_eq!(members, expected.map(|(name, at)| (name.to_owned(), at)));
    // Once more changes nothing.
    assert_eq!(shrink(&small, &names(["s"])).unwrap(), small);
}

#[test]
fn what_is_not_there_is_left_out() {
    let small = shrink(&some(), &names(["nothing"])).unwrap();
    assert_eq!(small.len(), 25);
}

#[test]
fn bad_input_is_refused_with_the_reason() {
    let good = some();
    let refused = |bytes: &[u8]| shrink(bytes, &names(["s"])).unwrap_err();
    assert_eq!(refused(b""), NotBtf::Magic);
    assert_eq!(refused(b"\x7fELF"), NotBtf::Magic);
    let mut other = good.clone();
    other[..2].copy_from_slice(&MAGIC.swap_bytes().to_ne_bytes());
    assert_eq!(refused(&other), NotBtf::ByteOrder);
    for length in 2..good.len() {
        assert_eq!(refused(&good[..length]), NotBtf::Damaged, "{length} bytes");
    }
    let newer = write(vec![raw(0, 30, 0, 0, &[])], b"\0").unwrap();
    assert_eq!(refused(&newer), NotBtf::Kind(30));
    // A function of a type that is not there.
    let lost = write(vec![raw(1, FUNC, 0, 9, &[])], b"\0s\0").unwrap();
    assert_eq!(refused(&lost), NotBtf::Damaged);
}

#[test]
fn no_bytes_make_it_panic() {
    let good = some();
    for at in 0..good.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            // Whatever comes of it.
            let _ = shrink(&bytes, &names(["s", "t"]));
        }
    }
}
