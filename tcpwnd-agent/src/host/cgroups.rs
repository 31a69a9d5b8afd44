//! Cgroups by their id: the directory below the cgroup2 file system whose inode number it is.
//!
//! On machines of 64 bits the id of a cgroup is that number (`kernfs_id_ino`,
//! include/linux/kernfs.h, 5.5), and `readdir` tells it without looking into each directory.
//! Constraint: reads names of directories only, as many as the effort allows.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::owners::Effort;

/// What came of looking for a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its path below the mount, with a slash in front, and the processes that are in it now, as
    /// far as they are in this PID namespace.
    At(String, BTreeSet<u32>),
    /// It is below no mount: it was removed, or the mount shows a part only.
    Nowhere,
    /// No cgroup2 file system is mounted here.
    NoMount,
    /// The effort did not suffice to look everywhere.
    CutShort,
}

/// Where cgroup2 is mounted, as this process sees it.
#[must_use]
pub fn mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounted(&text)
}

/// proc_pid_mountinfo(5): the fifth field is the mount point, and behind a lone dash comes the type.
fn mounted(mountinfo: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let (fields, kind) = line.split_once(" - ")?;
        let point = fields.split(' ').nth(4)?;
        kind.starts_with("cgroup2 ")
            .then(|| PathBuf::from(unescape(point)))
    };
    mountinfo.lines().filter_map(of_line).collect()
}

/// Space, tab, newline and backslash are in octal (`mangle_path`, fs/seq_file.c).
fn unescape(text: &str) -> String {
    [
        (r"\040", " "),
        (r"\011", "\t"),
        (r"\012", "\n"),
        (r"\134", r"\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (code, char)| {
        text.replace(code, char)
    })
}

/// Looks below the mounts for a cgroup.
#[must_use]
pub fn find(id: u64, effort: &mut Effort) -> Found {
    let mounts = mounts();
    if mounts.is_empty() {
        return Found::NoMount;
    }
    for mount in mounts {
        match below(&mount, id, effort) {
            Found::Nowhere => {}
            found => return found,
        }
    }
    Found::Nowhere
}

/// Level by level, for the cgroups that matter are near the top.
fn below(mount: &Path, id: u64, effort: &mut Effort) -> Found {
    if fs::metadata(mount).is_ok_and(|root| root.ino() == id) {
        return Found::At("/".to_owned(), processes(mount));
    }
    let mut waiting = VecDeque::from([mount.to_owned()]);
    while let Some(folder) = waiting.pop_front() {
        // Those that are being removed cannot be read.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if entry.ino() == id {
                let below = path.strip_prefix(mount).unwrap_or(&path);
                return Found::At(format!("/{}", below.display()), processes(&path));
            }
            if !effort.spend() {
                return Found::CutShort;
            }
            waiting.push_back(path);
        }
    }
    Found::Nowhere
}

/// cgroup.procs has 0 for a process of another PID namespace.
fn processes(folder: &Path) -> BTreeSet<u32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let numbers = text.lines().filter_map(|line| line.parse().ok());
    numbers.filter(|pid| *pid != 0).collect()
}

/// The cgroup of a process, from /proc/PID/cgroup: of the unified hierarchy unless that is its
/// root, else of the one that systemd keeps in order, else the deepest.
#[must_use]
pub fn of_process(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    of_process_in(&text)
}

/// cgroups(7): `hierarchy:controllers:path`, one a line.
fn of_process_in(text: &str) -> Option<String> {
    let lines = || {
        text.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            (path != "/").then_some((controllers, path))
        })
    };
    let named = |name: &str| lines().find(|(controllers, _)| *controllers == name);
    let deepest = || lines().max_by_key(|(_, path)| path.len());
    let (_, path) = named("")
        .or_else(|| named("name=systemd"))
        .or_else(deepest)?;
    Some(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Effort, Found, below, mounted, of_process_in};
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    #[test]
    fn mounts_of_cgroup2_are_found_among_others() {
        let text = "\
24 1 0:22 / /proc rw,nosuid - proc proc rw
31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
32 24 0:28 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
40 24 0:27 /../.. /host\\040cgroups ro,relatime shared:7 master:2 - cgroup2 cgroup rw
";
        let expected = ["/sys/fs/cgroup/unified", "/host cgroups"].map(PathBuf::from);
        assert_eq!(mounted(text), expected);
    }

    /// Any file system has inode numbers.
    #[test]
    fn a_directory_is_found_by_its_number_and_no_other_is() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("kubepods.slice/pod/container");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir(root.path().join("system.slice")).unwrap();
        let file = root.path().join("cgroup.procs");
        std::fs::write(&file, "").unwrap();
        let inode = |path: &std::path::Path| std::fs::metadata(path).unwrap().ino();
        let look = |id, effort| below(root.path(), id, &mut Effort(effort));
        std::fs::write(deep.join("cgroup.procs"), "7\n0\n3\n").unwrap();
        let at =
            |path: &str, pids: &[u32]| Found::At(path.to_owned(), pids.iter().copied().collect());
        assert_eq!(
            look(inode(&deep), 100),
            at("/kubepods.slice/pod/container", &[3, 7])
        );
        assert_eq!(look(inode(root.path()), 100), at("/", &[]));
        assert_eq!(look(inode(&file), 100), Found::Nowhere);
        let id = inode(&deep);
        assert_eq!(look(id, 1), Found::CutShort);
        std::fs::remove_dir_all(&deep).unwrap();
        assert_eq!(look(id, 100), Found::Nowhere);
    }

    #[test]
    fn a_process_is_where_the_hierarchy_that_is_in_use_has_it() {
        let of = |text| of_process_in(text);
        let unified = "0::/system.slice/kafka.service\n";
        assert_eq!(of(unified).unwrap(), "/system.slice/kafka.service");
        let hybrid = "\
12:memory:/system.slice/kafka.service/child
1:name=systemd:/system.slice/kafka.service
0::/
";
        assert_eq!(of(hybrid).unwrap(), "/system.slice/kafka.service");
        let without_systemd = "3:cpu,cpuacct:/\n2:memory:/docker/0123\n";
        assert_eq!(of(without_systemd).unwrap(), "/docker/0123");
        assert_eq!(of("0::/\n"), None);
        assert_eq!(of(""), None);
        // A path may have colons.
        assert_eq!(of("0::/a:b:c\n").unwrap(), "/a:b:c");
    }
}
