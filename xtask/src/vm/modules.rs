//! The kernel modules that a VM gets, with what they depend on, uncompressed: unpacking them in
//! the VM would cost seconds, and older modprobes cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::command::{self, which};
use crate::kernels::Image;

/// Modules that scenarios and `--add`ed programs may want, as far as the kernel has them.
const WANTED: &[&str] = &[
    // Devices.
    "bridge",
    "dummy",
    "ifb",
    "tun",
    "veth",
    "vrf",
    // Queueing, and programs on it.
    "act_bpf",
    "act_gact",
    "act_mirred",
    "act_pedit",
    "act_police",
    "act_skbedit",
    "cls_basic",
    "cls_bpf",
    "cls_flower",
    "cls_matchall",
    "cls_u32",
    "sch_fq",
    "sch_fq_codel",
    "sch_htb",
    "sch_ingress",
    "sch_netem",
    "sch_tbf",
    // The packet filter, synproxy included.
    "nf_conntrack",
    "nf_nat",
    "nf_synproxy_core",
    "nf_tables",
    "nfnetlink",
    "nft_chain_nat",
    "nft_compat",
    "nft_counter",
    "nft_ct",
    "nft_limit",
    "nft_log",
    "nft_masq",
    "nft_nat",
    "nft_objref",
    "nft_redir",
    "nft_reject",
    "nft_reject_inet",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "nft_synproxy",
    "nft_tproxy",
    "nf_log_syslog",
    "xt_SYNPROXY",
    "xt_TCPMSS",
    "xt_tcpudp",
    // Congestion control, diagnosis, capture.
    "af_packet_diag",
    "inet_diag",
    "tcp_bbr",
    "tcp_diag",
    "udp_diag",
    "unix_diag",
];

/// Copies the wanted modules to `stage/lib/modules/RELEASE` and indexes them there.
///
/// # Errors
///
/// When a module cannot be read or unpacked, or depmod fails.
pub fn stage(image: &Image, stage: &Path) -> anyhow::Result<()> {
    let from = image.modules.join("lib/modules").join(&image.release);
    if !from.is_dir() {
        return Ok(());
    }
    let to = stage.join("lib/modules").join(&image.release);
    fs::create_dir_all(&to)?;
    for name in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        if from.join(name).is_file() {
            fs::copy(from.join(name), to.join(name))?;
        }
    }
    let index = from.join("modules.dep");
    let index = fs::read_to_string(&index).with_context(|| format!("read {}", index.display()))?;
    for module in closure(&index, WANTED) {
        place(&from.join(&module), &to.join(plain_name(&module)))?;
    }
    command::output(
        Command::new(which("depmod").context("depmod is missing")?)
            .arg("-b")
            .arg(stage)
            .arg(&image.release),
    )?;
    Ok(())
}

/// The wanted modules and all that they depend on, as paths in modules.dep
/// (`module: dependency dependency…`, already transitive).
fn closure(index: &str, wanted: &[&str]) -> BTreeSet<PathBuf> {
    let by_name: BTreeMap<String, (&str, &str)> = index
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (module_name(path), (path, needs)))
        .collect();
    wanted
        .iter()
        .filter_map(|name| by_name.get(*name))
        .flat_map(|(path, needs)| std::iter::once(*path).chain(needs.split_whitespace()))
        .map(PathBuf::from)
        .collect()
}

/// `kernel/net/sched/sch_netem.ko.xz` is `sch_netem`; a dash in a file name is an underscore.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.split_once(".ko").map_or(file, |(stem, _)| stem);
    stem.replace('-', "_")
}

fn plain_name(module: &Path) -> PathBuf {
    match module.extension().and_then(|extension| extension.to_str()) {
        Some("ko") | None => module.to_owned(),
        Some(_) => module.with_extension(""),
    }
}

fn place(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let unpacker = match from.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => {
            fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
            return Ok(());
        }
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => bail!("{} is no module", from.display()),
    };
    let unpacked = Command::new(unpacker)
        .arg("-dc")
        .arg(from)
        .output()
        .with_context(|| format!("cannot run {unpacker}"))?;
    if !unpacked.status.success() {
        bail!("{unpacker} cannot unpack {}", from.display());
    }
    fs::write(to, unpacked.stdout).with_context(|| format!("write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{closure, plain_name};

    #[test]
    fn what_a_module_needs_comes_along() {
        let index = "kernel/a/nf-x.ko.xz: kernel/b/y.ko.xz kernel/c/z.ko.xz\n\
                     kernel/b/y.ko.xz:\nkernel/d/other.ko.xz:\n";
        let found: Vec<_> = closure(index, &["nf_x", "not_in_this_kernel"])
            .into_iter()
            .collect();
        let paths = [
            "kernel/a/nf-x.ko.xz",
            "kernel/b/y.ko.xz",
            "kernel/c/z.ko.xz",
        ];
        assert_eq!(found, paths.map(PathBuf::from));
        assert_eq!(plain_name(&found[0]), PathBuf::from("kernel/a/nf-x.ko"));
    }
}
