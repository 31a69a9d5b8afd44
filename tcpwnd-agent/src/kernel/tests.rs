//! The resolver against real kernels: trimmed BTF of each, and what pahole says about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{env, fs};

use tcpwnd_common::Field;

use super::btf::{KernelBtf, Telling};
use super::{asked_about, btf_shrink, offsets};

/// The kernels of the test matrix.
const KERNELS: [&str; 6] = ["5.10-affected", "5.10", "6.1", "6.12", "6.18", "newest"];

/// One that every compiler inlined.
const INLINED: &str = "tcp_select_window";

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/btf")
}

/// What is asked of BTF.
fn needed() -> BTreeSet<&'static str> {
    asked_about(&["__cookie_v6_check", INLINED])
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
    let names = needed();
    for kernel in KERNELS {
        let bytes = fs::read(full.join(format!("{kernel}.btf"))).unwrap();
        let trimmed = btf_shrink::shrink(&bytes, &names).unwrap();
        fs::write(fixtures().join(format!("{kernel}.btf")), trimmed).unwrap();
    }
}

/// Where a path leads in 6.1, or the message.
fn locate(path: &str) -> Result<String, String> {
    match fixture("6.1").locate(path) {
        Ok(extent) => Ok(format!("{}/{}", extent.bit_offset, extent.bits)),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_missing_member_is_named_with_its_struct_and_kernel() {
    assert_eq!(
        locate("tcp_sock.rx_opt.rcv_wscala").unwrap_err(),
        "struct tcp_sock has no member rx_opt.rcv_wscala in the BTF of 6.1"
    );
    assert_eq!(
        locate("tcp_socket.rx_opt").unwrap_err(),
        "there is no struct tcp_socket in the BTF of 6.1"
    );
}

#[test]
fn a_path_that_leads_nowhere_says_where_it_ends() {
    let reason = |path| locate(path).unwrap_err();
    assert!(reason("net.ipv4.sysctl_tcp_rmem[3]").contains("has only 3 elements"));
    assert!(reason("sock.sk_rcvbuf[0]").contains("sk_rcvbuf is no array"));
    assert!(reason("sock.sk_rcvbuf.x").contains("sk_rcvbuf has no members"));
    assert!(reason("net.ipv4.sysctl_tcp_rmem[x]").contains("no valid index"));
}

#[test]
fn arrays_and_embedded_structs_have_their_whole_width() {
    assert_eq!(
        locate("net.ipv4.sysctl_tcp_rmem")
            .unwrap()
            .split_once('/')
            .unwrap()
            .1,
        "96"
    );
    assert_eq!(locate("sock_common.skc_v6_daddr").unwrap(), "448/128");
}

#[test]
fn a_field_that_is_needed_is_an_error_when_it_is_missing() {
    let btf = without_struct("tcp_sock");
    assert_eq!(
        offsets::resolve(&btf).unwrap_err().to_string(),
        "there is no struct tcp_sock in this BTF"
    );
}

/// The 6.1 kernel without a struct.
fn without_struct(name: &str) -> KernelBtf {
    let mut names = needed();
    names.remove(name);
    let bytes = fs::read(fixtures().join("6.1.btf")).unwrap();
    let small = btf_shrink::shrink(&bytes, &names).unwrap();
    KernelBtf::parse(&small, "this BTF".to_owned()).unwrap()
}

#[test]
fn what_is_cut_down_answers_the_same() {
    for kernel in KERNELS {
        let bytes = fs::read(fixtures().join(format!("{kernel}.btf"))).unwrap();
        let small = btf_shrink::shrink(&bytes, &needed()).unwrap();
        let small = KernelBtf::parse(&small, "the small one".to_owned()).unwrap();
        let whole = fixture(kernel);
        let [one, other] = [&small, &whole].map(|btf| offsets::resolve(btf).unwrap());
        assert_eq!(one.table, other.table, "{kernel}");
        for function in Telling::ALL {
            assert_eq!(small.parameters(function), whole.parameters(function));
        }
    }
}

/// The 6.1 kernel with one member called otherwise: as good as taken out, offsets unchanged.
fn without(member: &str) -> KernelBtf {
    let mut bytes = fs::read(fixtures().join("6.1.btf")).unwrap();
    let name = [b"\0", member.as_bytes(), b"\0"].concat();
    let at = bytes
        .windows(name.len())
        .position(|window| window == name)
        .unwrap();
    bytes[at + 1] = b'X';
    KernelBtf::parse(&bytes, format!("a BTF without {member}")).unwrap()
}

#[test]
fn a_kernel_without_ipv6_is_a_degradation() {
    let resolved = offsets::resolve(&without("skc_v6_daddr")).unwrap();
    assert!(!resolved.table.get(Field::RemoteAddr6).is_present());
    assert_eq!(resolved.degradations.len(), 1);
    assert_eq!(resolved.degradations[0].what, "sock_common.skc_v6_daddr");
    assert!(resolved.degradations[0].consequence.contains("only IPv4"));
}

#[test]
fn a_kernel_without_cgroups_is_a_degradation() {
    for (btf, what) in [
        (without_struct("cgroup"), "cgroup.kn"),
        (without("sk_cgrp_data"), "sock.sk_cgrp_data.cgroup"),
    ] {
        let resolved = offsets::resolve(&btf).unwrap();
        assert_eq!(resolved.degradations.len(), 1);
        assert_eq!(resolved.degradations[0].what, what);
    }
}

#[test]
fn one_of_scaling_ratio_and_adv_win_scale_is_needed() {
    let complete = offsets::resolve(&fixture("6.1")).unwrap();
    assert!(complete.degradations.is_empty());
    let error = offsets::resolve(&without("sysctl_tcp_adv_win_scale")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("net has no member ipv4.sysctl_tcp_adv_win_scale")
    );
}

#[test]
fn a_field_of_another_width_is_refused() {
    // sk_rcvbuf, an int, changes its name with sk_lingertime, an unsigned long.
    let mut bytes = fs::read(fixtures().join("6.1.btf")).unwrap();
    let swap = |bytes: &mut Vec<u8>, from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to);
    };
    swap(&mut bytes, b"\0sk_rcvbuf\0", b"\0sk_RCVBUF\0");
    swap(&mut bytes, b"\0sk_lingertime\0", b"\0sk_rcvbuf\0\0\0\0\0");
    let btf = KernelBtf::parse(&bytes, "this BTF".to_owned()).unwrap();
    assert_eq!(
        offsets::resolve(&btf).unwrap_err().to_string(),
        "sock.sk_rcvbuf is 64 bits wide in this BTF, where 32 can be read"
    );
}

#[test]
fn parameters_are_counted() {
    let parameters = |kernel, function| fixture(kernel).parameters_of(function);
    for kernel in KERNELS {
        assert_eq!(parameters(kernel, "tcp_make_synack"), Some(6), "{kernel}");
        assert_eq!(parameters(kernel, INLINED), None, "{kernel}");
    }
    for (kernel, number) in [("5.10", 3), ("6.1", 3), ("6.12", 2), ("newest", 2)] {
        let counted = parameters(kernel, "__cookie_v4_check");
        assert_eq!(counted, Some(number), "{kernel}");
        assert_eq!(parameters(kernel, "__cookie_v6_check"), counted, "{kernel}");
    }
}

#[test]
fn what_is_no_btf_is_an_error() {
    for bytes in [
        &b""[..],
        b"\x9f\xeb",
        b"#!/bin/sh\nexit 1\nand more than a header has",
    ] {
        assert!(KernelBtf::parse(bytes, "the BTF in x".to_owned()).is_err());
    }
    let mut cut = fs::read(fixtures().join("6.1.btf")).unwrap();
    cut.truncate(cut.len() / 2);
    let error = KernelBtf::parse(&cut, "the BTF in x".to_owned()).err();
    assert!(
        error
            .unwrap()
            .to_string()
            .starts_with("the BTF in x is not usable: ")
    );
}
