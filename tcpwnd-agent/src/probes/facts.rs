//! What has to be known of the kernel before anything can be loaded.

use super::{AttachError, Settings, table};
use crate::kernel;
use crate::kernel::btf::KernelBtf;
use crate::kernel::features::{self, Support};
use crate::kernel::host::{self, Host};
use crate::kernel::offsets;
use crate::kernel::symbols::{Presence, Symbols};

/// All of it.
pub struct KernelFacts {
    /// Its types.
    pub btf: KernelBtf,
    /// Where the fields are that the programs read.
    pub offsets: offsets::Offsets,
    /// Its functions.
    pub symbols: Symbols,
    /// For the reasons.
    pub host: Host,
}

impl KernelFacts {
    /// Finds it out.
    ///
    /// # Errors
    ///
    /// Without bpf(2) or BTF, or where a field is not as the programs need it.
    pub fn read(settings: &Settings) -> Result<Self, AttachError> {
        host::lift_memlock_limit();
        let host = Host::read();
        // Before what is missing there too, and would be blamed: BTF.
        for support in [features::bpf(&host), features::tracing(&host)] {
            if let Support::Unsupported(why) = support {
                return Err(AttachError::NothingToUse(why));
            }
        }
        let functions = table::functions();
        let btf = kernel::type_information(settings.btf.as_deref(), &functions)?;
        let offsets = offsets::resolve(&btf)?;
        let symbols = Symbols::load(&functions);
        Ok(Self {
            btf,
            offsets,
            symbols,
            host,
        })
    }

    /// Whether the kernel has a function. Without kallsyms the BTF says which there are.
    pub fn presence(&self, name: &str) -> Presence {
        match self.symbols.presence(name) {
            Presence::Unknown if self.btf.has_function(name) => Presence::Present,
            Presence::Unknown => Presence::Missing,
            known => known,
        }
    }
}
