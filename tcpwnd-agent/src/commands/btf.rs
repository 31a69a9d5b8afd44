//! `btf`: what the kernel's type information has, and the part of it that is needed, for kernels that
//! do not show their own.

use std::fs;
use std::io::{self, Write as _};

use anyhow::{Context, Result, anyhow, ensure};
use tcpwnd_common::Field;

use super::CLEAN;
use crate::cli::BtfArgs;
use crate::kernel::btf::KernelBtf;
use crate::kernel::{self, btf_shrink, btf_source, offsets};
use crate::probes;

/// Runs `btf`.
///
/// # Errors
/// When there is none, when it lacks what is needed, or the file cannot be written.
pub fn run(args: &BtfArgs) -> Result<u8> {
    let release = args.release.clone().unwrap_or_else(kernel::release);
    let source = btf_source::read(args.btf.as_deref(), &release)?;
    let name = source.name(&release);
    let offsets = offsets::resolve(&KernelBtf::parse(&source.bytes, name.clone())?)?;
    let present = |field: &&Field| offsets.table.get(**field).is_present();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{name}: {} bytes, {} of {} fields, with all that are needed",
        source.bytes.len(),
        Field::ALL.iter().filter(present).count(),
        Field::ALL.len()
    )?;
    for missing in &offsets.degradations {
        writeln!(out, "without {}: {}", missing.what, missing.consequence)?;
    }
    if let Some(file) = &args.shrink {
        let small = btf_shrink::shrink(&source.bytes, &kernel::asked_about(&probes::functions()))
            .map_err(|error| anyhow!("{name} is not usable: {error}"))?;
        let again = offsets::resolve(&KernelBtf::parse(&small, "what is left of it".to_owned())?)?;
        ensure!(
            again.table == offsets.table,
            "what is left of {name} says something else than it (this is a fault of tcpwnd)"
        );
        fs::write(file, &small).with_context(|| format!("failed to write {}", file.display()))?;
        writeln!(
            out,
            "{}: {} bytes of it, for --btf",
            file.display(),
            small.len()
        )?;
    }
    Ok(CLEAN)
}
