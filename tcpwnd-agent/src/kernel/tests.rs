//! The resolver against real kernels: trimmed BTF of each, and what pahole says about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{env, fs};

use tcpwnd_common::Field;

use super::btf::KernelBtf;
use super::{btf_trim, offsets};

/// The kernels of the test matrix.
const KERNELS: [&str; 6] = ["5.10-affected", "5.10", "6.1", "6.12", "6.18", "newest"];

/// Functions whose parameters are counted, and one that every compiler inlined.
const FUNCTIONS: [&str; 4] = [
    "tcp_make_synack",
    "__cookie_v4_check",
    "__cookie_v6_check",
    "tcp_select_window",
];

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/btf")
}

fn fixture(kernel: &str) -> KernelBtf {
    let bytes = fs::read(fixtures().join(format!("{kernel}.btf"))).unwrap();
    KernelBtf::parse(&bytes, format!("the BTF of {kernel}")).unwrap()
}

/// `kernel path byte:bit/width`, or `-` for a field that the kernel does not have.
fn expected() -> BTreeMap<(String, String), String> {
    let table = fs::read_to_string(fixtures().join("pahole.tsv")).unwrap();
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split('\t').map(str::to_owned);
            let mut next = || words.next().unwrap();
            ((next(), next()), next())
        })
        .collect()
}

#[test]
fn every_field_is_where_pahole_says() {
    let expected = expected();
    assert_eq!(expected.len(), KERNELS.len() * Field::ALL.len());
    for kernel in KERNELS {
        let resolved = offsets::resolve(&fixture(kernel)).unwrap();
        for &field in Field::ALL {
            let at = resolved.table.get(field);
            let found = if at.is_present() {
                format!("{}:{}/{}", at.byte, at.bit, at.width)
            } else {
                "-".to_owned()
            };
            let key = (kernel.to_owned(), field.path().to_owned());
            assert_eq!(Some(&found), expected.get(&key), "{kernel} {}", key.1);
        }
    }
}

/// Makes the fixtures anew: `TCPWND_FULL_BTF=DIR cargo test -p tcpwnd-agent trim_fixtures --
/// --ignored`, where DIR holds `<kernel>.btf`, each the file /sys/kernel/btf/vmlinux of that kernel.
#[test]
#[ignore = "writes the fixtures"]
fn trim_fixtures() {
    let full = PathBuf::from(env::var("TCPWND_FULL_BTF").unwrap());
    let mut names: BTreeSet<_> = Field::ALL
        .iter()
        .filter_map(|field| field.path().split('.').next())
        .collect();
    names.extend(FUNCTIONS);
    let names: Vec<_> = names.into_iter().collect();
    for kernel in KERNELS {
        let bytes = fs::read(full.join(format!("{kernel}.btf"))).unwrap();
        let trimmed = btf_trim::trim(&bytes, &names);
        fs::write(fixtures().join(format!("{kernel}.btf")), trimmed).unwrap();
    }
}
