//! What to do about damaged connections that this host opened.

use std::collections::BTreeSet;

use tcpwnd_core::findings::OpenedEvidence;
use tcpwnd_core::{LostCause, Verdict};

use super::set;
use crate::host::settings::Settings;

/// What findings about such connections have in common.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    mismatch: bool,
    lost: BTreeSet<LostCause>,
    // Of the servers that did not grant scaling: those that granted nothing else either, and others.
    bare: bool,
    refused: bool,
}

impl Opened {
    /// Takes in what was found of a damaged connection.
    pub fn add(&mut self, verdict: Verdict, evidence: &OpenedEvidence) {
        match verdict {
            Verdict::Mismatch(_) => self.mismatch = true,
            Verdict::ScaleLost(cause) => {
                if cause == LostCause::PeerDidNotGrant {
                    self.bare |= evidence.is_bare();
                    self.refused |= !evidence.is_bare();
                }
                self.lost.insert(cause);
            }
            Verdict::Ok | Verdict::Unverified(_) => {}
        }
    }

    /// Whether nothing was damaged.
    pub fn is_empty(&self) -> bool {
        !self.mismatch && self.lost.is_empty()
    }

    /// The steps, most useful first.
    pub fn steps(&self, settings: &Settings) -> Vec<String> {
        let mut steps = Vec::new();
        if self.bare {
            let now = settings
                .timestamps
                .map_or_else(String::new, |value| format!(" (now {value} on this host)"));
            steps.push(format!(
                "some servers granted neither window scale nor timestamps nor SACK, as a SYN cookie \
                 does without timestamps: net.ipv4.tcp_timestamps=1 on both ends{now}, a longer \
                 listen queue on those servers, and nothing in between that strips options"
            ));
        }
        if self.refused {
            steps.push(
                "some servers grant no window scaling: look at net.ipv4.tcp_window_scaling there, \
                 and for a middlebox that strips the option"
                    .to_owned(),
            );
        }
        if self.mismatch || self.lost.contains(&LostCause::DisabledHere) {
            steps.push(set(
                "net.ipv4.tcp_window_scaling",
                settings.window_scaling,
                1,
            ));
        }
        steps
    }
}
