//! Builds the kernel programs, twice from the same sources: the object for the ring buffer goes to
//! `$OUT_DIR/tcpwnd-ebpf.o`, the one for perf buffers to `$OUT_DIR/tcpwnd-ebpf-perf.o`.
//!
//! aya-build would do the same with a nightly toolchain or `rustup run`, and build `core` anew for
//! each profile. Here the one stable toolchain does it, and all profiles share `target/bpf`
//! and `target/bpf-perf`.

#[path = "build/slim.rs"]
mod slim;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The kernel programs' target; little-endian as x86_64 and aarch64 are.
const TARGET: &str = "bpfel-unknown-none";

/// What the outer cargo and its user set for the agent, and would break the kernel programs.
const OUTER_VARIABLES: [&str; 7] = [
    "RUSTC",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "CARGO_UNSTABLE_",
];

/// An object and how it is built.
struct Object {
    /// Its name in `$OUT_DIR`.
    name: &'static str,
    /// Under `target`. One for each, and for each architecture: cargo would compile `core` anew
    /// whenever the flags change.
    folder: &'static str,
    /// Of the crate.
    features: &'static [&'static str],
    /// For the compiler, beside [`cargo`]'s.
    flags: &'static [&'static str],
}

const RING: Object = Object {
    name: "tcpwnd-ebpf.o",
    folder: "target/bpf",
    features: &[],
    flags: &[],
};

const PERF: Object = Object {
    name: "tcpwnd-ebpf-perf.o",
    folder: "target/bpf-perf",
    features: &["perf"],
    flags: &[
        // No loops (before 5.3); calls of memset and memcpy, which are loops, no object has.
        "-Clink-arg=--unroll-loops",
        "-Clink-arg=--disable-memory-builtins",
    ],
};

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcpwnd-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let workspace = Path::new(&variable("CARGO_MANIFEST_DIR")?)
        .parent()
        .ok_or("the crate has no parent folder")?
        .to_owned();
    for watched in ["tcpwnd-ebpf", "tcpwnd-common", "Cargo.toml", "Cargo.lock"] {
        println!(
            "cargo:rerun-if-changed={}",
            workspace.join(watched).display()
        );
    }
    println!("cargo:rerun-if-env-changed=XDG_CACHE_HOME");
    check_rust_src()?;
    let mut ring = cargo(&workspace, &RING)?;
    // Without messages in the programs the agent has none to show. They travel through a ring
    // buffer of their own.
    if env::var_os("CARGO_FEATURE_DEBUG_LOG").is_some() {
        ring.args(["--features", "log"]);
    }
    make(&workspace, &RING, ring)?;
    make(&workspace, &PERF, cargo(&workspace, &PERF)?)
}

fn make(workspace: &Path, object: &Object, mut cargo: Command) -> Result<(), Box<dyn Error>> {
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("building tcpwnd-ebpf for {TARGET} failed: {status}").into());
    }
    let built = folder(workspace, object)?
        .join(TARGET)
        .join("release/tcpwnd-ebpf");
    let place = Path::new(&variable("OUT_DIR")?).join(object.name);
    keep(&built, &place)
}

/// Where an object is built.
fn folder(workspace: &Path, object: &Object) -> Result<PathBuf, Box<dyn Error>> {
    let name = match variable("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => object.folder.to_owned(),
        other => format!("{}-{other}", object.folder),
    };
    Ok(workspace.join(name))
}

/// Copies an object, without what only a debugger would read.
fn keep(object: &Path, place: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(object).map_err(|error| format!("read {}: {error}", object.display()))?;
    let slim = slim::slim(&bytes).ok_or_else(|| format!("{} is no object", object.display()))?;
    fs::write(place, slim).map_err(|error| format!("write {}: {error}", place.display()).into())
}

/// The nested cargo, with nothing of the outer build's flags, wrappers and profile left.
fn cargo(workspace: &Path, object: &Object) -> Result<Command, Box<dyn Error>> {
    let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{architecture}\""),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Else the linker turns each filling and copying of a record into a call of a loop over bytes.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        // The object names its sources, and says the same wherever it was built.
        format!("--remap-path-prefix={}=/tcpwnd", workspace.display()),
    ];
    flags.extend(object.flags.iter().map(|&flag| flag.to_owned()));
    flags.extend(registries().iter().map(|folder| {
        // As build::dist of xtask has it for the agent.
        format!("--remap-path-prefix={}=/crates", folder.display())
    }));
    let mut cargo = Command::new(variable("CARGO")?);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if OUTER_VARIABLES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            cargo.env_remove(&*name);
        }
    }
    cargo
        .current_dir(workspace)
        .args(["build", "--release", "-p", "tcpwnd-ebpf"])
        .args(["--target", TARGET, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(folder(workspace, object)?)
        // build-std is unstable; this is what lets a stable compiler take it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("PATH", path_with_linker()?);
    for feature in object.features {
        cargo.args(["--features", feature]);
    }
    Ok(cargo)
}

/// The folders in which cargo has unpacked crates, whose names would be in the object's BTF.
fn registries() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    let entries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok());
    let entries = entries.into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).collect()
}

/// PATH with set-up's bpf-linker first.
fn path_with_linker() -> Result<std::ffi::OsString, Box<dyn Error>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = cache().map(|cache| cache.join("bin")).into_iter().collect();
    folders.extend(env::split_paths(&path));
    if !folders
        .iter()
        .any(|folder| folder.join("bpf-linker").is_file())
    {
        return Err("there is no bpf-linker: run `cargo xtask setup`".into());
    }
    Ok(env::join_paths(folders)?)
}

/// The cache that `cargo xtask setup` fills.
fn cache() -> Option<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")))?;
    Some(base.join("tcpwnd"))
}

/// Without the standard library's source, cargo's own message does not say what to do.
fn check_rust_src() -> Result<(), Box<dyn Error>> {
    let printed = Command::new(variable("RUSTC")?)
        .args(["--print", "sysroot"])
        .output()?;
    let sysroot = String::from_utf8(printed.stdout)?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    if library.is_file() {
        Ok(())
    } else {
        Err(format!("{} is missing: run `cargo xtask setup`", library.display()).into())
    }
}

fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}
