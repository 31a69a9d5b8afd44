//! Bytes from the kernel's programs become records.
//!
//! Constraint: total. Length, version, kind and every coded value are checked before anything is
//! believed; integers are read one by one, in native byte order, and no reference to the bytes
//! outlives the call.

mod read;
#[cfg(test)]
mod tests;

use core::mem::size_of;
use tcpwnd_common::{
    ABI_VERSION, ClosedRecord, ConnectRecord, HandshakeRecord, Header, Kind, Outcome,
    ProgressRecord, TcpOptions, WindowRecord,
};
use thiserror::Error;

/// A record, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A connection left SYN_RECV, and where it went.
    Handshake(Box<HandshakeRecord>, Outcome),
    /// A connection that this host opened was established.
    Connect(Box<ConnectRecord>),
    /// A damaged connection ended.
    Closed(ClosedRecord),
    /// A connection under watch announced a window.
    Window(WindowRecord),
    /// Something happened on a suspect of `scan`.
    Progress(ProgressRecord),
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// They end before their header does.
    #[error("record of {found} bytes is shorter than its header")]
    Header {
        /// Length in bytes.
        found: usize,
    },
    /// They were written for another version of the ABI.
    #[error("record has ABI version {found}, expected {ABI_VERSION}")]
    Version {
        /// Version that the record claims.
        found: u16,
    },
    /// There is no such kind of record.
    #[error("record has unknown kind {found}")]
    Kind {
        /// Number of the kind.
        found: u16,
    },
    /// They are more or fewer than a record of this kind has, or than the record itself says.
    #[error("{kind:?} record of {found} bytes claims {claimed}, expected {expected}")]
    Length {
        /// What it claims to be.
        kind: Kind,
        /// Length in bytes.
        found: usize,
        /// Length that its header claims, bytes.
        claimed: u32,
        /// Length of a record of this kind, bytes.
        expected: usize,
    },
    /// A connection cannot have gone where the record says.
    #[error("record has unknown outcome {found}")]
    Outcome {
        /// Number of the outcome.
        found: u8,
    },
    /// A header cannot have so many bytes of options.
    #[error("record has {found} bytes of options in its {segment}")]
    Options {
        /// What it claims to be.
        kind: Kind,
        /// Segment whose options they are.
        segment: &'static str,
        /// Bytes that they claim.
        found: u8,
    },
}

impl DecodeError {
    /// What the record claims to be, as far as that can be told.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Header { .. } | Self::Version { .. } | Self::Kind { .. } => None,
            Self::Length { kind, .. } | Self::Options { kind, .. } => Some(*kind),
            Self::Outcome { .. } => Some(Kind::Handshake),
        }
    }
}

/// Decodes one record, which must be all of `bytes`.
///
/// # Errors
///
/// Whatever is not exactly a record of this version.
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let found = bytes.len();
    if found < size_of::<Header>() {
        return Err(DecodeError::Header { found });
    }
    let header = read::header(&mut &*bytes);
    if header.version != ABI_VERSION {
        return Err(DecodeError::Version {
            found: header.version,
        });
    }
    let kind = Kind::try_from(header.kind).map_err(|found| DecodeError::Kind { found })?;
    let expected = match kind {
        Kind::Handshake => size_of::<HandshakeRecord>(),
        Kind::Closed => size_of::<ClosedRecord>(),
        Kind::Window => size_of::<WindowRecord>(),
        Kind::Progress => size_of::<ProgressRecord>(),
        Kind::Connect => size_of::<ConnectRecord>(),
    };
    if found != expected || header.len as usize != expected {
        return Err(DecodeError::Length {
            kind,
            found,
            claimed: header.len,
            expected,
        });
    }
    match kind {
        Kind::Handshake => handshake(bytes),
        Kind::Closed => Ok(Record::Closed(read::closed(&mut &*bytes))),
        Kind::Window => Ok(Record::Window(read::window(&mut &*bytes))),
        Kind::Progress => Ok(Record::Progress(read::progress(&mut &*bytes))),
        Kind::Connect => connect(bytes),
    }
}

/// `bytes` has the length of a handshake record.
fn handshake(bytes: &[u8]) -> Result<Record, DecodeError> {
    let record = Box::new(read::handshake_record(&mut &*bytes));
    let outcome =
        Outcome::try_from(record.child.outcome).map_err(|found| DecodeError::Outcome { found })?;
    let handshake = &record.handshake;
    for (segment, options) in [
        ("first SYN+ACK", &handshake.first.options),
        ("last SYN+ACK", &handshake.last.options),
        ("SYN", &handshake.syn),
        ("ACK", &handshake.ack.options),
        ("SYN proxy's SYN+ACK", &record.proxy.options),
    ] {
        fits(Kind::Handshake, segment, options)?;
    }
    Ok(Record::Handshake(record, outcome))
}

/// `bytes` has the length of a connect record.
fn connect(bytes: &[u8]) -> Result<Record, DecodeError> {
    let record = Box::new(read::connect_record(&mut &*bytes));
    fits(Kind::Connect, "SYN+ACK", &record.connect.options)?;
    Ok(Record::Connect(record))
}

fn fits(kind: Kind, segment: &'static str, options: &TcpOptions) -> Result<(), DecodeError> {
    if usize::from(options.len) > options.bytes.len() {
        return Err(DecodeError::Options {
            kind,
            segment,
            found: options.len,
        });
    }
    Ok(())
}
