//! Resolves every field that the programs read to its place in the running kernel.
//!
//! Constraint: a field is either located with a width that the programs can read, or absent for
//! a reason written down here; everything else is an error that names it.

use tcpwnd_common::{FIELD_COUNT, Field, FieldRef, FieldTable};

use super::Degradation;
use super::btf::{Extent, KernelBtf, PathError};

/// Why the table cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OffsetError {
    /// The field is not where it should be.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The programs would read too much or too little of it.
    #[error("{path} is {bits} bits wide in {source_name}, where {expected} can be read")]
    Width {
        /// Path of the field.
        path: &'static str,
        /// Its width, bits.
        bits: u32,
        /// Which BTF.
        source_name: String,
        /// The widths that are supported.
        expected: String,
    },
    /// A plain integer that does not begin at a byte, or lies too far behind.
    #[error("{path} begins at bit {bit_offset} in {source_name}, which cannot be read")]
    Position {
        /// Path of the field.
        path: &'static str,
        /// Its offset, bits.
        bit_offset: u32,
        /// Which BTF.
        source_name: String,
    },
}

/// The table, and what it lacks.
#[derive(Clone, Debug)]
pub struct Offsets {
    /// Ready to be injected.
    pub table: FieldTable,
    /// Fields that this kernel does not have and that can be done without.
    pub degradations: Vec<Degradation>,
}

/// Locates every field in `btf`.
///
/// # Errors
///
/// When one that is needed is missing, or has a width that the programs cannot read.
pub fn resolve(btf: &KernelBtf) -> Result<Offsets, OffsetError> {
    let mut refs = [FieldRef::ABSENT; FIELD_COUNT];
    let mut missing = Vec::new();
    for &field in Field::ALL {
        match locate(btf, field) {
            Ok(extent) => refs[field as usize] = reference(btf, field, extent)?,
            Err(error @ PathError::NoMember { .. }) => missing.push((field, error)),
            // Built without CONFIG_CGROUPS.
            Err(error @ PathError::NoStruct { .. }) if field == Field::CgroupNode => {
                missing.push((field, error));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let table = FieldTable { refs };
    let mut degradations = Vec::new();
    for (field, error) in missing {
        match absence(field, &table) {
            Absence::Harmless => {}
            Absence::Costs(consequence) => degradations.push(Degradation {
                what: field.path(),
                consequence,
            }),
            Absence::Fatal => return Err(error.into()),
        }
    }
    Ok(Offsets {
        table,
        degradations,
    })
}

/// Other names of a field: in kernels that call it so, or behind a macro of the kernel's source
/// that BTF does not know.
fn other_paths(field: Field) -> &'static [&'static str] {
    match field {
        // A macro for __req_common.skc_listener (include/net/request_sock.h) from 4.4 on.
        Field::ReqListener => &["sock_common.skc_listener"],
        // "tcp: rename request_sock cookie_ts bit to syncookie", 5.9.
        Field::ReqSyncookie => &["request_sock.cookie_ts"],
        // 8520e224f547 "bpf, cgroups: Fix cgroup v2 fallback on v1/v2 mixed mode", 5.15.
        Field::SockCgroup => &["sock.sk_cgrp_data.val"],
        _ => &[],
    }
}

/// The structs that paths begin with: those of fields, and where else the kernel is asked for a member.
pub fn structs() -> impl Iterator<Item = &'static str> {
    let paths = Field::ALL
        .iter()
        .flat_map(|field| other_paths(*field).iter().copied().chain([field.path()]));
    let structs = paths.filter_map(|path| path.split('.').next());
    structs.chain(["bpf_link_info"])
}

fn locate(btf: &KernelBtf, field: Field) -> Result<Extent, PathError> {
    let first = btf.locate(field.path());
    if !matches!(first, Err(PathError::NoMember { .. })) {
        return first;
    }
    other_paths(field)
        .iter()
        .find_map(|path| btf.locate(path).ok())
        .map_or(first, Ok)
}

/// What it means that a kernel does not have a field.
enum Absence {
    /// Nothing: another field takes its place.
    Harmless,
    /// Something is not known then, and this says what.
    Costs(&'static str),
    /// Without it there are no verdicts.
    Fatal,
}

fn absence(field: Field, table: &FieldTable) -> Absence {
    match field {
        Field::RemoteAddr6 | Field::LocalAddr6 => {
            Absence::Costs("this kernel has no IPv6: only IPv4 connections are seen")
        }
        Field::ReqSyncookie => {
            Absence::Costs("SYN cookies are known from the type of the SYN+ACK alone")
        }
        Field::BytesReceived => {
            Absence::Costs("the bytes that a connection received are not known")
        }
        // CONFIG_CGROUPS, CONFIG_SOCK_CGROUP_DATA.
        Field::SockCgroup | Field::CgroupNode | Field::NodeId => Absence::Costs(
            "container, pod and unit of a listener are only known where its process is",
        ),
        // One follows the other: dfa2f0483360 "tcp: get rid of sysctl_tcp_adv_win_scale", 6.6.
        Field::ScalingRatio if table.get(Field::NetTcpAdvWinScale).is_present() => {
            Absence::Harmless
        }
        Field::NetTcpAdvWinScale if table.get(Field::ScalingRatio).is_present() => {
            Absence::Harmless
        }
        _ => Absence::Fatal,
    }
}

/// Widths in bits that the programs can read a field with.
fn widths(field: Field) -> &'static [u8] {
    match field {
        Field::ReqWscaleOk
        | Field::ReqTstampOk
        | Field::ReqSyncookie
        | Field::Repair
        | Field::TstampOk
        | Field::WscaleOk => &[1],
        Field::ReqSndWscale | Field::ReqRcvWscale | Field::SndWscale | Field::RcvWscale => &[4],
        // u16 sack_ok : 4 up to 4.18, then 3.
        Field::SackOk => &[3, 4],
        Field::State | Field::ScalingRatio => &[8],
        // Bit field of 4 beside sk_no_check_tx up to 6.1, then u8.
        Field::UserLocks => &[4, 8],
        // int up to 5.10, then u8 ("tcp: convert elligible sysctls to u8", 5.13).
        Field::NetTcpWindowScaling | Field::NetTcpTimestamps | Field::NetTcpAdvWinScale => &[8, 32],
        // Bit field of 8 up to 5.5.
        Field::Protocol => &[8, 16],
        Field::Family
        | Field::RemotePort
        | Field::LocalPort
        | Field::InetSport
        | Field::MssClamp
        | Field::AdvMss
        | Field::SkbTransportHeader
        | Field::SkbNetworkHeader => &[16],
        Field::RemoteAddr4
        | Field::LocalAddr4
        | Field::BoundIfindex
        | Field::NetInum
        | Field::NetTcpRmemMax
        | Field::RcvBuf
        | Field::RcvLowat
        | Field::AckBacklog
        | Field::MaxAckBacklog
        | Field::SynQueueLen
        | Field::Drops
        | Field::ReqSntIsn
        | Field::ReqWindowClamp
        | Field::SndUna
        | Field::SndWnd
        | Field::RcvWnd
        | Field::RcvNxt
        | Field::RcvWup
        | Field::RcvTsecr
        | Field::SndNxt
        | Field::WindowClamp
        | Field::RcvSsthresh
        | Field::SrttUs => &[32],
        Field::Net
        | Field::Socket
        | Field::SocketInode
        | Field::SockCgroup
        | Field::CgroupNode
        | Field::NodeId
        | Field::DstCache
        | Field::DstMetrics
        | Field::ReqListener
        | Field::BytesReceived
        | Field::SkbHead => &[64],
        Field::RemoteAddr6 | Field::LocalAddr6 => &[128],
    }
}

fn reference(btf: &KernelBtf, field: Field, extent: Extent) -> Result<FieldRef, OffsetError> {
    let allowed = widths(field);
    let Some(width) = allowed
        .iter()
        .copied()
        .find(|&width| u32::from(width) == extent.bits)
    else {
        let expected: Vec<_> = allowed.iter().map(u8::to_string).collect();
        return Err(OffsetError::Width {
            path: field.path(),
            bits: extent.bits,
            source_name: btf.name().to_owned(),
            expected: expected.join(" or "),
        });
    };
    let position = || OffsetError::Position {
        path: field.path(),
        bit_offset: extent.bit_offset,
        source_name: btf.name().to_owned(),
    };
    let byte = u16::try_from(extent.bit_offset / 8).map_err(|_| position())?;
    let bit = (extent.bit_offset % 8) as u8;
    // Wide fields are copied as whole bytes.
    if bit != 0 && width >= 8 {
        return Err(position());
    }
    Ok(FieldRef { byte, bit, width })
}
