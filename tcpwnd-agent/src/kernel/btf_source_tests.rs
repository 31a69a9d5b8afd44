use std::fs;
use std::io::Write;
use std::path::Path;

use lzma_rust2::{XzOptions, XzWriter};

use super::{Source, arch, read};

const RELEASE: &str = "5.4.0-1009-aws";

/// An archive as BTFHub has it, with one file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, name, content).unwrap();
    let mut xz = XzWriter::new(Vec::new(), XzOptions::default()).unwrap();
    xz.write_all(&tar.into_inner().unwrap()).unwrap();
    xz.finish().unwrap()
}

fn put(folder: &Path, path: &str, content: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn bytes(path: &Path) -> Vec<u8> {
    read(Some(path), RELEASE)
        .map(|Source { bytes, .. }| bytes)
        .unwrap()
}

fn refused(path: &Path) -> String {
    let error = read(Some(path), RELEASE).map(|_| ()).unwrap_err();
    error.to_string()
}

#[test]
fn a_file_is_read_as_it_is_and_an_archive_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "plain", b"BTF");
    put(
        folder.path(),
        "packed",
        &archive("./5.4.0.btf", b"packed BTF"),
    );
    assert_eq!(bytes(&folder.path().join("plain")), b"BTF");
    assert_eq!(bytes(&folder.path().join("packed")), b"packed BTF");
}

#[test]
fn a_folder_is_looked_through_for_this_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    put(at, "5.4.0-1010-aws.btf", b"another");
    assert!(refused(at).contains(RELEASE), "{}", refused(at));
    let name = format!("x/1/{}/{RELEASE}.btf.tar.xz", arch().unwrap());
    put(at, &name, &archive("a.btf", b"this"));
    assert_eq!(bytes(at), b"this");
    // Of another machine.
    put(at, &format!("x/1/sparc/{RELEASE}.btf"), b"foreign");
    assert_eq!(bytes(at), b"this");
    // Of another distribution, and which one is right cannot be told.
    put(
        at,
        &format!("y/1/{}/{RELEASE}.btf", arch().unwrap()),
        b"or this",
    );
    let refused = refused(at);
    assert!(
        refused.contains("/x/1/") && refused.contains("/y/1/"),
        "{refused}"
    );
}

#[test]
fn what_is_wrong_with_an_archive_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |content: &[u8]| {
        put(folder.path(), "a", content);
        refused(&folder.path().join("a"))
    };
    let good = archive("a.btf", b"BTF");
    assert!(refused(&archive("readme", b"")).contains("no file whose name ends in .btf"));
    for length in [6, 20, good.len() / 2, good.len() - 1] {
        assert!(refused(&good[..length]).contains("failed to read BTF from"));
    }
}
