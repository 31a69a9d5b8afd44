//! The kernel's type information. The only place that knows the crate btf-rs.
//!
//! Constraint: answers questions about types and decides nothing; which fields are needed, and
//! what an absence means, is `offsets`' business.

use std::io;
use std::path::PathBuf;

use btf_rs::{Btf, BtfType, Member, Type};

/// Where the kernel shows its own BTF (CONFIG_DEBUG_INFO_BTF, from 5.4 on).
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// More modifiers than this in a row mean that the types go in a circle.
const MAX_CHAIN: usize = 64;

/// Why there is no type information.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// Built without CONFIG_DEBUG_INFO_BTF, or before 5.4.
    #[error(
        "kernel {release} has no BTF ({VMLINUX} is missing): it was built without \
         CONFIG_DEBUG_INFO_BTF (use --btf PATH with the BTF of exactly this kernel)"
    )]
    Missing {
        /// The running kernel.
        release: String,
    },
    /// The file is there, or was named, and cannot be read.
    #[error("failed to read BTF from {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The folder has none for this kernel.
    #[error(
        "there is no BTF for kernel {release} in {} (looked for {release}.btf and \
         {release}.btf.tar.xz, 4 folders deep)",
        folder.display()
    )]
    NotInFolder {
        /// The folder.
        folder: PathBuf,
        /// The running kernel.
        release: String,
    },
    /// The folder has several, and nothing says which one is right.
    #[error(
        "kernel {release} can be that of {} or of {} (use --btf with one of them)",
        one.display(), other.display()
    )]
    Ambiguous {
        /// The running kernel.
        release: String,
        /// One file.
        one: PathBuf,
        /// Another one.
        other: PathBuf,
    },
    /// What was read is no BTF.
    #[error("{source_name} is not usable: {error}")]
    Malformed {
        /// Which BTF, `the BTF of 6.1.0-50-amd64` for instance.
        source_name: String,
        /// Why.
        #[source]
        error: btf_rs::Error,
    },
}

/// Why a path leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// A member is missing, or its struct is: the answer that `offsets` may accept.
    #[error("struct {container} has no member {member} in {source_name}")]
    NoMember {
        /// The struct that the path begins with.
        container: String,
        /// The rest of the path.
        member: String,
        /// Which BTF.
        source_name: String,
    },
    /// The struct that the path begins with is not there at all.
    #[error("there is no struct {container} in {source_name}")]
    NoStruct {
        /// Its name.
        container: String,
        /// Which BTF.
        source_name: String,
    },
    /// The types contradict each other, or the path asks for an element beyond the end.
    #[error("{path} cannot be located in {source_name}: {reason}")]
    Inconsistent {
        /// The whole path.
        path: String,
        /// Which BTF.
        source_name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Place of a member, counted from the beginning of the struct that its path begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in bits, least significant bit first.
    pub bit_offset: u32,
    /// Width in bits.
    pub bits: u32,
}

/// A function that is there or not, or whose parameters differ, from one kernel to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Gets the SYN or not.
    MakeSynack,
    /// Gets the MSS or not.
    CookieCheck,
    /// Gets a reason for drops or not.
    CheckReq,
    /// BPF programs can make requests.
    AssignReqsk,
    /// Setting SO_RCVBUF is a function of its own.
    SetRcvbuf,
}

impl Telling {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MakeSynack,
        Self::CookieCheck,
        Self::CheckReq,
        Self::AssignReqsk,
        Self::SetRcvbuf,
    ];

    /// What the kernel calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MakeSynack => "tcp_make_synack",
            Self::CookieCheck => "__cookie_v4_check",
            Self::CheckReq => "tcp_check_req",
            Self::AssignReqsk => "bpf_sk_assign_tcp_reqsk",
            Self::SetRcvbuf => "tcp_set_rcvbuf",
        }
    }
}

/// Type information of one kernel.
pub struct KernelBtf {
    btf: Btf,
    name: String,
}

impl KernelBtf {
    /// Parses `bytes`; `name` is what messages call it, `the BTF of …`.
    ///
    /// # Errors
    ///
    /// When they are no BTF.
    pub fn parse(bytes: &[u8], name: String) -> Result<Self, BtfError> {
        match Btf::from_bytes(bytes) {
            Ok(btf) => Ok(Self { btf, name }),
            Err(error) => Err(BtfError::Malformed {
                source_name: name,
                error,
            }),
        }
    }

    /// What messages call this BTF.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parameters of a function; `None` when the kernel has no such function, because it was
    /// inlined everywhere for instance.
    pub fn parameters(&self, function: Telling) -> Option<usize> {
        self.parameters_of(function.name())
    }

    /// Whether it has a function.
    pub fn has_function(&self, name: &str) -> bool {
        self.parameters_of(name).is_some()
    }

    pub(super) fn parameters_of(&self, function: &str) -> Option<usize> {
        let types = self.btf.resolve_types_by_name(function).ok()?;
        types.iter().find_map(|found| {
            let Type::Func(function) = found else {
                return None;
            };
            match self.btf.resolve_chained_type(function).ok()? {
                Type::FuncProto(prototype) => Some(prototype.parameters.len()),
                _ => None,
            }
        })
    }

    /// Locates `struct.member[.member]`; anonymous structs and unions are left out of the path,
    /// `[N]` behind a member selects an element.
    ///
    /// # Errors
    ///
    /// When a part of the path does not exist, or does not lead on.
    pub fn locate(&self, path: &str) -> Result<Extent, PathError> {
        let (container, members) = path.split_once('.').unwrap_or((path, ""));
        let mut found: Option<Extent> = None;
        let mut seen = false;
        for candidate in self
            .btf
            .resolve_types_by_name(container)
            .unwrap_or_default()
        {
            let Type::Struct(candidate) = candidate else {
                continue;
            };
            seen = true;
            let extent = self
                .walk(&candidate.members, members)
                .map_err(|reason| self.inconsistent(path, reason))?;
            match (found, extent) {
                (Some(one), Some(other)) if one != other => {
                    let reason = format!("there are two structs {container} that differ");
                    return Err(self.inconsistent(path, reason));
                }
                (None, Some(_)) => found = extent,
                _ => {}
            }
        }
        let container = container.to_owned();
        let source_name = self.name.clone();
        match found {
            Some(extent) => Ok(extent),
            None if seen => Err(PathError::NoMember {
                container,
                member: members.to_owned(),
                source_name,
            }),
            None => Err(PathError::NoStruct {
                container,
                source_name,
            }),
        }
    }

    fn inconsistent(&self, path: &str, reason: String) -> PathError {
        PathError::Inconsistent {
            path: path.to_owned(),
            source_name: self.name.clone(),
            reason,
        }
    }

    /// Follows a path from the members of its first struct. `Ok(None)`: there is no such member.
    fn walk(&self, members: &[Member], path: &str) -> Result<Option<Extent>, String> {
        let (step, rest) = match path.split_once('.') {
            Some((step, rest)) => (step, Some(rest)),
            None => (path, None),
        };
        let (name, index) = split_index(step)?;
        let Some((offset, member)) = self.find(members, name)? else {
            return Ok(None);
        };
        let mut place = Extent {
            bit_offset: offset,
            bits: 0,
        };
        let mut kind = self.target(&member)?;
        if let Some(index) = index {
            let Type::Array(array) = &kind else {
                return Err(format!("{name} is no array"));
            };
            if index >= array.len() {
                return Err(format!("{name} has only {} elements", array.len()));
            }
            let element = self.target(array)?;
            place.bit_offset += to_u32(index)? * self.width(&element)?;
            kind = element;
        }
        match (rest, kind) {
            (Some(rest), Type::Struct(inner) | Type::Union(inner)) => {
                let deeper = self.walk(&inner.members, rest)?;
                Ok(deeper.map(|deeper| Extent {
                    bit_offset: place.bit_offset + deeper.bit_offset,
                    ..deeper
                }))
            }
            (Some(_), _) => Err(format!("{step} has no members")),
            (None, kind) => {
                place.bits = match member.bitfield_size() {
                    Some(bits) if bits != 0 => bits,
                    _ => self.width(&kind)?,
                };
                Ok(Some(place))
            }
        }
    }

    /// Finds a member by name, also inside of anonymous structs and unions.
    fn find(&self, members: &[Member], name: &str) -> Result<Option<(u32, Member)>, String> {
        for member in members {
            let this = self
                .btf
                .resolve_name(member)
                .map_err(|error| error.to_string())?;
            if this == name {
                return Ok(Some((member.bit_offset(), member.clone())));
            }
            if !this.is_empty() {
                continue;
            }
            if let Type::Struct(inner) | Type::Union(inner) = self.target(member)?
                && let Some((offset, found)) = self.find(&inner.members, name)?
            {
                return Ok(Some((member.bit_offset() + offset, found)));
            }
        }
        Ok(None)
    }

    /// The type that `of` refers to, without typedefs, qualifiers and tags.
    fn target<T: BtfType + ?Sized>(&self, of: &T) -> Result<Type, String> {
        let mut kind = self
            .btf
            .resolve_chained_type(of)
            .map_err(|error| error.to_string())?;
        for _ in 0..MAX_CHAIN {
            let next = match &kind {
                Type::Typedef(inner) => self.btf.resolve_chained_type(inner),
                Type::Const(inner) | Type::Volatile(inner) | Type::Restrict(inner) => {
                    self.btf.resolve_chained_type(inner)
                }
                Type::TypeTag(inner) => self.btf.resolve_chained_type(inner),
                _ => return Ok(kind),
            };
            kind = next.map_err(|error| error.to_string())?;
        }
        Err("its type refers to itself".to_owned())
    }

    /// Width of a type in bits.
    fn width(&self, kind: &Type) -> Result<u32, String> {
        let bytes = match kind {
            Type::Int(kind) => kind.size(),
            Type::Ptr(_) => size_of::<usize>(),
            Type::Struct(kind) | Type::Union(kind) => kind.size(),
            Type::Enum(kind) => kind.size(),
            Type::Enum64(kind) => kind.size(),
            Type::Float(kind) => kind.size(),
            Type::Array(array) => {
                let element = self.width(&self.target(array)?)?;
                return Ok(element * to_u32(array.len())?);
            }
            other => return Err(format!("a {} has no width", other.name())),
        };
        Ok(to_u32(bytes)? * 8)
    }
}

fn to_u32(number: usize) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("{number} is out of range"))
}

/// `name[3]` as `name` and 3.
fn split_index(step: &str) -> Result<(&str, Option<usize>), String> {
    let Some((name, rest)) = step.split_once('[') else {
        return Ok((step, None));
    };
    let index = rest
        .strip_suffix(']')
        .and_then(|index| index.parse().ok())
        .ok_or_else(|| format!("{step} has no valid index"))?;
    Ok((name, Some(index)))
}
