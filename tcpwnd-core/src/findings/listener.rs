//! Who listens: the socket that a connection came in at, and whose it is.
//!
//! Constraint: this crate knows only what the record says, the socket and the id of its cgroup;
//! the rest is for whoever can look at the host, and stays `None` where nobody did.

use serde::Serialize;
use tcpwnd_common::HandshakeRecord;

use super::Place;
use crate::detect::window_scale::Paired;

/// The listener of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Inode number of its socket, as in /proc/PID/fd.
    pub inode: Option<u64>,
    /// Id of the cgroup that it was made in.
    #[serde(skip)]
    pub cgroup_id: Option<u64>,
    /// Name of its network namespace, where it has one.
    pub netns_name: Option<String>,
    /// The process that has it open.
    pub process: Option<Process>,
    /// The cgroup that it was made in, below the cgroup2 file system; where the kernel keeps none,
    /// that of the process.
    pub cgroup: Option<String>,
    /// What the cgroup is called after.
    #[serde(flatten)]
    pub place: Place,
}

/// A process that has a listener open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, of at most 15 bytes.
    pub name: String,
    /// It is a Kafka broker, by its command line.
    pub kafka: bool,
    /// Other processes that have the same socket open, as far as they were looked at. Of all of them the one with the smallest
    /// number is named.
    pub others: u32,
}

impl Listener {
    /// What a record says of it. The listener that took the ACK of a cookie counts, for it has the
    /// connection; nothing is taken from a record of another connection.
    pub(crate) fn of(record: &HandshakeRecord, paired: Option<&Paired<'_>>) -> Self {
        let Some(paired) = paired else {
            return Self::default();
        };
        let cookie = Some(&record.handshake.cookie_inputs).filter(|inputs| inputs.present != 0);
        let inputs = cookie.or(paired.inputs);
        let some = |number: u64| Some(number).filter(|number| *number != 0);
        Self {
            inode: inputs.and_then(|inputs| some(inputs.listener)),
            cgroup_id: inputs.and_then(|inputs| some(inputs.cgroup)),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::window_scale::Paired;
    use crate::fixture;
    use tcpwnd_common::HandshakeRecord;

    fn listener(record: &HandshakeRecord) -> super::Listener {
        super::Listener::of(record, Paired::of(record).as_ref())
    }

    #[test]
    fn the_listener_that_took_the_ack_counts() {
        let mut record = fixture::healthy();
        record.handshake.inputs.listener = 1;
        record.handshake.inputs.cgroup = 10;
        assert_eq!(listener(&record).inode, Some(1));
        record.handshake.cookie_inputs = record.handshake.inputs;
        record.handshake.cookie_inputs.listener = 2;
        record.handshake.cookie_inputs.cgroup = 0;
        let both = listener(&record);
        assert_eq!((both.inode, both.cgroup_id), (Some(2), None));
    }

    #[test]
    fn a_record_of_another_connection_names_nobody() {
        let mut record = fixture::healthy();
        record.handshake.inputs.listener = 1;
        record.child.snd_una = record.child.snd_una.wrapping_add(77);
        record.handshake.ack.snd_una = record.child.snd_una;
        assert_eq!(listener(&record), super::Listener::default());
        record.record_found = 0;
        assert_eq!(listener(&record), super::Listener::default());
    }
}
