//! The programs of this machine that a VM gets, with the shared libraries they need.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::arch::Arch;
use crate::command::{self, which};
use crate::setup::foreign;

/// Programs that scenarios call by name. Busybox would have most of them too, with other options;
/// those that start other programs (env, timeout, xargs, …) would prefer its own `ip` and `tc`.
const PROGRAMS: &[&str] = &[
    "bash", "bpftool", "chrt", "curl", "dash", "env", "ip", "jq", "modprobe", "nft", "nice",
    "nohup", "nsenter", "setpriv", "setsid", "ss", "sysctl", "taskset", "tc", "tcpdump", "timeout",
    "unshare", "xargs",
];

/// Names under which one of the programs is known as well.
const ALIASES: &[(&str, &str)] = &[
    ("sh", "dash"),
    ("depmod", "modprobe"),
    ("insmod", "modprobe"),
    ("lsmod", "modprobe"),
    ("modinfo", "modprobe"),
    ("rmmod", "modprobe"),
];

/// A program or library, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Copy {
    /// On this machine.
    pub from: PathBuf,
    /// In the VM.
    pub path: PathBuf,
}

/// Everything of this machine that goes into the base image.
pub struct Tools {
    /// Programs and libraries.
    pub copies: BTreeSet<Copy>,
    /// Links: their place and target.
    pub links: Vec<(PathBuf, PathBuf)>,
}

/// Collects them: this machine's own, and for another architecture those that set-up has fetched.
///
/// # Errors
///
/// When a program is missing that set-up should have installed.
pub fn collect(arch: Arch) -> anyhow::Result<Tools> {
    let bin = Path::new("/usr/bin");
    let find = |program: &str| {
        let found = match arch {
            Arch::X86_64 => which(program),
            Arch::Aarch64 => below(&foreign::root()?, program),
        };
        let found = found.with_context(|| format!("{program} is missing"))?;
        anyhow::Ok(found.canonicalize()?)
    };
    let mut copies = BTreeSet::new();
    for program in PROGRAMS.iter().chain(&["busybox"]) {
        let (from, path) = (find(program)?, bin.join(program));
        copies.insert(Copy { from, path });
    }
    let programs: Vec<PathBuf> = copies.iter().map(|copy| copy.from.clone()).collect();
    copies.extend(match arch {
        Arch::X86_64 => libraries(&programs)?,
        // ldd cannot tell of them. All that were fetched are wanted by something that was.
        Arch::Aarch64 => vec![Copy {
            from: foreign::root()?.join("usr/lib"),
            path: "/usr/lib".into(),
        }],
    });

    let mut links: Vec<_> = ALIASES
        .iter()
        .map(|(alias, program)| (bin.join(alias), PathBuf::from(program)))
        .collect();
    let taken = |name: &str| {
        name == "busybox" || PROGRAMS.contains(&name) || ALIASES.iter().any(|(a, _)| *a == name)
    };
    // This machine's knows the same ones.
    let busybox = which("busybox").context("busybox is missing")?;
    let applets = command::output(Command::new(busybox).arg("--list"))?;
    links.extend(
        applets
            .lines()
            .filter(|applet| !taken(applet))
            .map(|applet| (bin.join(applet), PathBuf::from("busybox"))),
    );
    Ok(Tools { copies, links })
}

/// A program of a root file system that is not this machine's.
fn below(root: &Path, program: &str) -> Option<PathBuf> {
    let folders = ["usr/bin", "usr/sbin"].map(|folder| root.join(folder).join(program));
    folders.into_iter().find(|path| path.exists())
}

/// The shared libraries that these files need, the loader included; files that are no dynamic
/// ELF files need none.
///
/// # Errors
///
/// When ldd cannot be run.
pub fn libraries(files: &[PathBuf]) -> anyhow::Result<Vec<Copy>> {
    let mut all = Vec::new();
    for file in files.iter().filter(|file| is_elf(file)) {
        // ldd fails for a static program; that is an answer too.
        let printed = Command::new("ldd")
            .arg(file)
            .output()
            .context("cannot run ldd (package libc-bin)")?;
        let text = String::from_utf8_lossy(&printed.stdout);
        all.extend(text.lines().filter_map(library_of_line));
    }
    Ok(all)
}

/// `name => /path (address)` or `/path (address)`.
fn library_of_line(line: &str) -> Option<Copy> {
    let path = line.split_once("=>").map_or(line, |(_, path)| path).trim();
    let path = path.split_once(" (").map_or(path, |(path, _)| path);
    let path = Path::new(path);
    (path.is_absolute()).then(|| Copy {
        from: path.to_owned(),
        path: merged(path),
    })
}

/// The same path where /lib, /bin and the like are links into /usr, as they are in the VM.
pub fn merged(path: &Path) -> PathBuf {
    let inside = path.strip_prefix("/").unwrap_or(path);
    let merges = ["bin", "sbin", "lib", "lib64"];
    if merges.iter().any(|folder| inside.starts_with(folder)) {
        Path::new("/usr").join(inside)
    } else {
        path.to_owned()
    }
}

fn is_elf(file: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(file).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && magic == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{library_of_line, merged};

    #[test]
    fn lines_of_ldd() {
        let path = |line| library_of_line(line).map(|copy| copy.path);
        assert_eq!(
            path("\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f)").unwrap(),
            Path::new("/usr/lib/x86_64-linux-gnu/libmnl.so.0")
        );
        assert_eq!(
            path("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)").unwrap(),
            Path::new("/usr/lib64/ld-linux-x86-64.so.2")
        );
        assert_eq!(path("\tlinux-vdso.so.1 (0x00007ffd)"), None);
        assert_eq!(path("\tlibgone.so => not found"), None);
        assert_eq!(path("\tnot a dynamic executable"), None);
    }

    #[test]
    fn only_the_merged_folders_move() {
        assert_eq!(merged(Path::new("/lib/x")), Path::new("/usr/lib/x"));
        assert_eq!(merged(Path::new("/library/x")), Path::new("/library/x"));
    }
}
