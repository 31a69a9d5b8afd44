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
        something_to_use(&host)?;
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

/// Who may not load a program is told so when it is loaded, by who refuses it. That there is no bpf(2) is
/// the end of it, whether the kernel has none or a filter hides it.
fn something_to_use(host: &Host) -> Result<(), AttachError> {
    match (features::bpf(host), features::tracing(host)) {
        (Support::Unsupported(why) | Support::Forbidden(why), _)
        | (_, Support::Unsupported(why)) => Err(AttachError::NothingToUse(why)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::something_to_use;
    use crate::confine::attempts::forbid;
    use crate::kernel::host::Host;

    #[test]
    fn that_there_is_no_bpf_is_said_before_anything_is_missed() {
        let said = |filtered| {
            let thread = std::thread::spawn(move || {
                forbid(&[(libc::SYS_bpf, None)], libc::ENOSYS);
                let host = Host {
                    filtered,
                    ..Host::read()
                };
                something_to_use(&host).unwrap_err().to_string()
            });
            thread.join().unwrap()
        };
        assert_eq!(
            said(false),
            "failed to load the kernel programs: this kernel was built without the bpf system call \
             (CONFIG_BPF_SYSCALL)"
        );
        let hidden = said(true);
        assert!(hidden.contains("a seccomp filter hides it"), "{hidden}");
    }
}
