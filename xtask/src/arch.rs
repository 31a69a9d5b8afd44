//! The architectures that the agent is built for, and what each is called by whom.

/// An architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// The one that all of this is done on
    #[value(name = "x86_64")]
    X86_64,
    /// Built across, and run in VMs alone
    Aarch64,
}

impl Arch {
    /// As the compiler calls it, with the C library that is linked into the programs.
    pub const fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// As Debian calls it.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Debian's kernels with virtual hardware only, the smallest ones, end in this.
    pub const fn flavour(self) -> &'static str {
        match self {
            Self::X86_64 => "-cloud-amd64",
            Self::Aarch64 => "-cloud-arm64",
        }
    }
}
