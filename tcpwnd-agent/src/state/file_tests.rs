//! The file on disk: whole or not at all, and nobody else's.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Content, MAX_BYTES, StateFile};
use crate::state::document::Document;
use crate::state::former::Former;
use crate::testing;

struct Folder {
    folder: TempDir,
    file: StateFile,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(&folder.path().join("state.json")).unwrap();
        Self { folder, file }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }

    /// Why what is there is left alone.
    fn foreign(&self) -> String {
        match self.file.read() {
            Content::Foreign(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

const BOOTS: [&str; 2] = [
    "9f0c1b6e-0b1f-4b1e-9a55-3b1de6d1a2c3",
    "0000aaaa-0b1f-4b1e-9a55-3b1de6d1a2c3",
];

fn document(boot: &str) -> Document {
    let engine = testing::engine();
    Document::of(engine.flows(), &Former::default(), boot, 0, true)
}

#[test]
fn the_next_one_takes_the_place_of_the_last_and_only_its_owner_reads_it() {
    let folder = Folder::new();
    assert!(matches!(folder.file.read(), Content::Nothing));
    for boot in BOOTS {
        folder.file.write(&document(boot)).unwrap();
        match folder.file.read() {
            Content::Read(read) => assert_eq!((read.boot_id.as_str(), read.len()), (boot, 0)),
            other => panic!("{other:?}"),
        }
        assert_eq!(folder.names(), ["state.json"]);
        let mode = fs::metadata(folder.file.path()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o600);
    }
}

#[test]
fn what_a_killed_agent_left_is_in_nobodys_way() {
    let folder = Folder::new();
    let victim = folder.path("victim");
    fs::write(&victim, "precious").unwrap();
    for leave in [
        &(|| fs::write(folder.path(".state.json.new"), "half").unwrap()) as &dyn Fn(),
        // Nor does a link lead astray what is written.
        &|| symlink(&victim, folder.path(".state.json.new")).unwrap(),
    ] {
        leave();
        folder.file.write(&document(BOOTS[0])).unwrap();
        assert_eq!(folder.names(), ["state.json", "victim"]);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}

#[test]
fn a_write_that_fails_leaves_the_old_one() {
    let folder = Folder::new();
    folder.file.write(&document(BOOTS[0])).unwrap();
    // A folder that is not empty cannot be replaced.
    fs::create_dir_all(folder.path(".state.json.new/x")).unwrap();
    assert!(folder.file.write(&document(BOOTS[1])).is_err());
    match folder.file.read() {
        Content::Read(read) => assert_eq!(read.boot_id, BOOTS[0]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_link_is_not_followed() {
    let folder = Folder::new();
    let elsewhere = StateFile::at(&folder.path("elsewhere")).unwrap();
    elsewhere.write(&document(BOOTS[0])).unwrap();
    symlink(elsewhere.path(), folder.file.path()).unwrap();
    assert_eq!(folder.foreign(), "it is a symbolic link");
}

#[test]
fn other_things_are_left_alone() {
    let folder = Folder::new();
    fs::create_dir(folder.file.path()).unwrap();
    assert_eq!(folder.foreign(), "it is not an ordinary file");
    fs::remove_dir(folder.file.path()).unwrap();

    fs::write(folder.file.path(), "TCPWND_PORT=9092\n").unwrap();
    assert_eq!(folder.foreign(), "it is no state file of tcpwnd");

    // One that nobody writes into would be waited for without end.
    fs::remove_file(folder.file.path()).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(folder.file.path())
        .status();
    assert!(made.unwrap().success());
    assert_eq!(folder.foreign(), "it is not an ordinary file");
}

#[test]
fn what_is_too_large_is_not_read() {
    let folder = Folder::new();
    let file = fs::File::create(folder.file.path()).unwrap();
    file.set_len(MAX_BYTES + 1).unwrap();
    assert_eq!(folder.foreign(), "it has more than 8388608 bytes");
}

#[test]
fn an_empty_one_is_none_and_a_blank_one_is_spoiled() {
    let folder = Folder::new();
    fs::write(folder.file.path(), "").unwrap();
    assert!(matches!(folder.file.read(), Content::Nothing));
    fs::write(folder.file.path(), [0; 4096]).unwrap();
    assert!(matches!(folder.file.read(), Content::Spoiled(_)));
}

#[test]
fn one_agent_a_file() {
    let folder = Folder::new();
    let first = folder.file.lock().unwrap();
    let taken = folder.file.lock().unwrap_err();
    assert!(matches!(taken, fs::TryLockError::WouldBlock), "{taken}");
    let beside = StateFile::at(&folder.path("other.json")).unwrap();
    beside.lock().unwrap();
    drop(first);
    folder.file.lock().unwrap();

    let elsewhere = folder.path("victim");
    fs::remove_file(folder.path(".state.json.lock")).unwrap();
    symlink(&elsewhere, folder.path(".state.json.lock")).unwrap();
    assert!(folder.file.lock().is_err(), "a link is not followed");
    assert!(!elsewhere.exists());
}

#[test]
fn a_damaged_one_is_moved_aside_once() {
    let folder = Folder::new();
    for _ in 0..2 {
        folder.file.write(&document(BOOTS[0])).unwrap();
        let whole = fs::read(folder.file.path()).unwrap();
        fs::write(folder.file.path(), &whole[..whole.len() / 2]).unwrap();
        match folder.file.read() {
            Content::Spoiled(why) => assert!(why.starts_with("it is damaged: "), "{why}"),
            other => panic!("{other:?}"),
        }
        folder.file.set_aside().unwrap();
        assert_eq!(folder.names(), ["state.json.unusable"]);
    }
}

#[test]
fn there_must_be_a_folder_for_it() {
    let folder = Folder::new();
    fs::write(folder.path("a-file"), "").unwrap();
    for bad in ["nowhere/state", "a-file/state"] {
        assert!(StateFile::at(&folder.path(bad)).is_err(), "{bad}");
    }
    assert!(StateFile::at("/".as_ref()).is_err());
    assert!(StateFile::at("..".as_ref()).is_err());
    assert!(StateFile::at("state.json".as_ref()).is_ok());
}
