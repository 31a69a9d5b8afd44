//! What a listener's settings are called: by Kafka's names where the listener is a broker.
//!
//! Constraint: Kafka's names stand alone only where every damaged listener is known to be a broker,
//! and are left out only where each is known to be something else.

use std::collections::BTreeSet;

use tcpwnd_core::findings::Process;

use super::set;

/// The setting's name and since when Kafka has it.
const BACKLOG: &str = "socket.listen.backlog.size";
const SINCE: &str = "in Kafka from 3.2 on";
const RCVBUF: &str = "socket.receive.buffer.bytes=-1 in Kafka";

/// What listens where damaged connections came in.
#[derive(Clone, Debug, Default)]
pub struct Listens {
    /// Whether they are Kafka brokers; `None` of one whose process is not known.
    kafka: BTreeSet<Option<bool>>,
}

/// What all of them are.
enum Kind {
    Kafka,
    Other,
    Unknown,
}

impl Listens {
    /// Takes in the process that has a listener open.
    pub fn add(&mut self, process: Option<&Process>) {
        self.kafka.insert(process.map(|process| process.kafka));
    }

    fn kind(&self) -> Kind {
        let mut all = self.kafka.iter();
        match (all.next(), all.next()) {
            (Some(Some(true)), None) => Kind::Kafka,
            (Some(Some(false)), None) => Kind::Other,
            _ => Kind::Unknown,
        }
    }

    /// The backlog, with the proposed value and the present one.
    pub fn backlog(&self, now: Option<u32>, wanted: u64) -> String {
        let generic = set("the backlog given to listen()", now, wanted);
        match self.kind() {
            Kind::Kafka => format!("{} {SINCE}", set(BACKLOG, now, wanted)),
            Kind::Other => generic,
            Kind::Unknown => match generic.strip_suffix(')').filter(|_| now.is_some()) {
                Some(open) => format!("{open}; {BACKLOG} {SINCE})"),
                None => format!("{generic} ({BACKLOG} {SINCE})"),
            },
        }
    }

    /// How to do without SO_RCVBUF, which is so many bytes now, from the smallest to the largest.
    pub fn no_rcvbuf(&self, (least, most): (u32, u32)) -> String {
        let now = if least == most {
            format!("now {least}")
        } else {
            format!("now {least} to {most}")
        };
        match self.kind() {
            Kind::Kafka => format!("{RCVBUF} ({now})"),
            Kind::Other => format!("no SO_RCVBUF ({now})"),
            Kind::Unknown => format!("no SO_RCVBUF ({now}; {RCVBUF})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Listens, Process};

    /// Of one listener, or of all the same.
    const ONE: (u32, u32) = (102_400, 102_400);

    fn listens(kafka: &[Option<bool>]) -> Listens {
        let mut listens = Listens::default();
        for kafka in kafka {
            let process = kafka.map(|kafka| Process {
                pid: 812,
                name: "java".to_owned(),
                kafka,
                others: 0,
            });
            listens.add(process.as_ref());
        }
        listens
    }

    #[test]
    fn a_broker_is_told_kafkas_names_alone() {
        let kafka = listens(&[Some(true), Some(true)]);
        assert_eq!(
            kafka.backlog(Some(50), 1_024),
            "socket.listen.backlog.size=1024 (now 50) in Kafka from 3.2 on"
        );
        assert_eq!(
            kafka.no_rcvbuf(ONE),
            "socket.receive.buffer.bytes=-1 in Kafka (now 102400)"
        );
    }

    #[test]
    fn what_is_no_broker_hears_nothing_of_kafka() {
        let other = listens(&[Some(false)]);
        let backlog = |now| other.backlog(now, 1_024);
        assert_eq!(
            backlog(Some(50)),
            "the backlog given to listen()=1024 (now 50)"
        );
        assert_eq!(
            backlog(Some(4_096)),
            "the backlog given to listen() as it is (4096)"
        );
        assert_eq!(other.no_rcvbuf(ONE), "no SO_RCVBUF (now 102400)");
        assert_eq!(
            other.no_rcvbuf((65_536, 102_400)),
            "no SO_RCVBUF (now 65536 to 102400)"
        );
    }

    #[test]
    fn where_it_is_not_known_or_both_are_there_both_are_named() {
        for kafka in [
            &[][..],
            &[None],
            &[None, Some(true)],
            &[None, Some(false)],
            &[Some(true), Some(false)],
        ] {
            let listens = listens(kafka);
            assert_eq!(
                listens.backlog(Some(50), 1_024),
                "the backlog given to listen()=1024 (now 50; socket.listen.backlog.size in Kafka \
                 from 3.2 on)"
            );
            assert_eq!(
                listens.backlog(None, 1_024),
                "the backlog given to listen()=1024 (socket.listen.backlog.size in Kafka from 3.2 on)"
            );
            assert_eq!(
                listens.no_rcvbuf(ONE),
                "no SO_RCVBUF (now 102400; socket.receive.buffer.bytes=-1 in Kafka)"
            );
        }
    }
}
