//! Which functions the running kernel has, from /proc/kallsyms.
//!
//! Constraint: exact names only. `tcp_rtx_synack.part.0` is a fragment that GCC split off
//! (`.cold`, `.constprop`, `.isra` alike) and no probe point of the function it is named after.
//! Addresses are not needed, and read as 0 without CAP_SYSLOG.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};

const KALLSYMS: &str = "/proc/kallsyms";

/// Whether a function can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    Present,
    /// It is not: this kernel was built without it, or every call of it was inlined.
    Missing,
    /// The list of symbols could not be read.
    Unknown,
}

/// The functions out of a given set that the kernel has.
#[derive(Debug)]
pub enum Symbols {
    /// What was found.
    Known(HashSet<String>),
    /// Nothing: there is no list (CONFIG_KALLSYMS), it is empty, or it is hidden from us.
    Unreadable,
}

impl Symbols {
    /// Looks for `names` in the running kernel.
    #[must_use]
    pub fn load(names: &[&str]) -> Self {
        match File::open(KALLSYMS).and_then(|file| find(BufReader::new(file), names)) {
            Ok(found) => Self::Known(found),
            Err(_) => Self::Unreadable,
        }
    }

    /// Whether the kernel has `name`, one of those that were looked for.
    #[must_use]
    pub fn presence(&self, name: &str) -> Presence {
        match self {
            Self::Known(found) if found.contains(name) => Presence::Present,
            Self::Known(_) => Presence::Missing,
            Self::Unreadable => Presence::Unknown,
        }
    }
}

/// Lines are `address kind name[\t[module]]`, kind `t` or `T` for functions (`w`, `W`: weak ones). There
/// are some two hundred thousand.
fn find(mut list: impl BufRead, names: &[&str]) -> io::Result<HashSet<String>> {
    let names: HashMap<_, _> = names.iter().map(|name| (name.as_bytes(), *name)).collect();
    let mut found = HashSet::new();
    let mut line = Vec::new();
    let mut symbols = 0_usize;
    while list.read_until(b'\n', &mut line)? != 0 {
        let mut words = line.split(u8::is_ascii_whitespace).skip(1);
        if let (Some(b"t" | b"T" | b"w" | b"W"), Some(name)) = (words.next(), words.next()) {
            symbols += 1;
            if let Some(name) = names.get(name) {
                found.insert((*name).to_owned());
            }
        }
        line.clear();
    }
    if symbols == 0 {
        return Err(io::Error::other("it lists no functions"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
0000000000000000 A fixed_percpu_data
0000000000000000 t tcp_rtx_synack.part.0
0000000000000000 T __tcp_select_window
0000000000000000 d tcp_make_synack
0000000000000000 t tcp_conn_request.cold
0000000000000000 t cookie_v6_check\t[ipv6]
";

    fn found(name: &str) -> bool {
        find(LIST.as_bytes(), &[name]).unwrap().contains(name)
    }

    #[test]
    fn fragments_are_not_the_function() {
        assert!(!found("tcp_rtx_synack"));
        assert!(!found("tcp_conn_request"));
        assert!(!found("tcp_select_window"));
        assert!(found("__tcp_select_window"));
    }

    #[test]
    fn data_of_that_name_is_no_function() {
        assert!(!found("tcp_make_synack"));
    }

    #[test]
    fn functions_of_modules_count() {
        assert!(found("cookie_v6_check"));
    }

    #[test]
    fn an_empty_list_is_unreadable_not_a_kernel_without_functions() {
        assert!(find(&b""[..], &["tcp_make_synack"]).is_err());
        let presence = Symbols::Unreadable.presence("tcp_make_synack");
        assert_eq!(presence, Presence::Unknown);
    }

    #[test]
    fn this_kernel_has_the_tcp_stack() {
        let symbols = Symbols::load(&["tcp_make_synack", "tcp_no_such_function"]);
        if let Symbols::Known(_) = symbols {
            assert_eq!(symbols.presence("tcp_make_synack"), Presence::Present);
            assert_eq!(symbols.presence("tcp_no_such_function"), Presence::Missing);
        }
    }
}
