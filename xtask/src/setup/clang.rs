//! clang and libbpf, for what the agent's programs are measured against: Debian's packages, of rustc's
//! LLVM, so that both come out of the same code generator. Only measuring wants them, so that set-up
//! leaves them out.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::packages;
use super::rust_src::rustc_llvm_major;
use crate::command::which;

/// What says that libbpf can be built with.
const LIBBPF: &str = "/usr/include/bpf/libbpf.h";

/// The compiler, installed if it is missing.
///
/// # Errors
///
/// When something is missing and this is not root on a Debian system, or apt-get fails.
pub fn ensure() -> anyhow::Result<PathBuf> {
    let clang = format!("clang-{}", rustc_llvm_major()?);
    let mut missing = Vec::new();
    if which(&clang).is_none() {
        missing.push(clang.clone());
    }
    if !Path::new(LIBBPF).exists() {
        missing.push("libbpf-dev".to_owned());
    }
    let _lock = super::lock()?;
    packages::bring(&missing)?;
    which(&clang).with_context(|| format!("{clang} is missing although it was installed"))
}
