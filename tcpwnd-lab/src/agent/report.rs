//! What an agent reported, from its first line to its summary.
//!
//! Constraint: the books are checked in every scenario, whatever it is about.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};

use crate::findings::{Closed, Handshake, Line, Summary, Window};

/// Everything that an agent printed.
#[derive(Debug, Clone)]
pub struct Report {
    /// One entry a handshake, in the order printed.
    pub handshakes: Vec<Handshake>,
    /// Windows of connections under watch.
    pub windows: Vec<Window>,
    /// Ends of connections with a finding.
    pub closed: Vec<Closed>,
    /// The last line.
    pub summary: Summary,
}

impl Report {
    /// Reads an agent's lines.
    ///
    /// # Errors
    /// When a line is not of the schema, or the summary is not there or not the last line.
    pub fn read(lines: &[String]) -> Result<Self> {
        let (mut handshakes, mut windows, mut closed) = (Vec::new(), Vec::new(), Vec::new());
        let mut summary = None;
        for line in lines {
            ensure!(summary.is_none(), "a line after the summary: {line}");
            let parsed = serde_json::from_str(line)
                .with_context(|| format!("not a line of the schema: {line}"))?;
            match parsed {
                Line::Handshake(handshake) => handshakes.push(*handshake),
                Line::Window(window) => windows.push(window),
                Line::Closed(end) => closed.push(end),
                Line::Summary(books) => summary = Some(*books),
                Line::Error { error } => bail!("tcpwnd reported an error: {error}"),
            }
        }
        let summary = summary.context("no summary")?;
        Ok(Self {
            handshakes,
            windows,
            closed,
            summary,
        })
    }

    /// Says which runs were missed: what a scenario then finds amiss may come of that.
    pub fn tell_missed(&self) {
        let entries = ("entry_missed", self.summary.counters.get("entry_missed"));
        let probes = self.summary.probes.iter();
        let skipped = probes.map(|probe| (probe.probe.as_str(), probe.missed.as_ref()));
        for (name, missed) in skipped.chain([entries]) {
            if let Some(missed) = missed.filter(|missed| **missed > 0) {
                eprintln!("{name}: {missed} missed");
            }
        }
    }

    /// Checks that every handshake ended in exactly one class, and that the lines agree with the
    /// sums.
    ///
    /// # Errors
    /// When they do not.
    pub fn check_books(&self) -> Result<()> {
        let summary = &self.summary;
        let accounted = summary.ok
            + summary.mismatch
            + summary.scale_lost
            + summary.ignored
            + summary.unverified
            + summary.lost();
        ensure!(
            summary.handshakes == accounted && summary.balanced,
            "the books do not balance: {} handshakes, {accounted} accounted for: {summary:?}",
            summary.handshakes
        );
        // More would mean that changes were handled twice, and that lost ones do not show.
        let (stood_in, skipped) = summary.stood_in()?;
        ensure!(
            skipped.is_none_or(|skipped| stood_in <= skipped),
            "programs stood in {stood_in} times for {skipped:?} skipped runs"
        );
        for (verdict, sum) in [
            ("ok", summary.ok),
            ("mismatch", summary.mismatch),
            ("scale_lost", summary.scale_lost),
            ("unverified", summary.unverified),
        ] {
            let counted = self.with_verdict(verdict).filter(|line| !line.ignored);
            let lines = counted.count() as u64;
            ensure!(
                lines == sum,
                "{lines} {verdict} lines, but the summary says {sum}"
            );
        }
        let ignored = self.handshakes.iter().filter(|line| line.ignored).count();
        ensure!(
            ignored as u64 == summary.ignored,
            "{ignored} lines are ignored, but the summary says {}",
            summary.ignored
        );
        Ok(())
    }

    /// The handshakes with a verdict.
    pub fn with_verdict(&self, verdict: &str) -> impl Iterator<Item = &Handshake> {
        self.handshakes
            .iter()
            .filter(move |handshake| handshake.verdict == verdict)
    }

    /// The one handshake with this peer.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn of(&self, peer: SocketAddr) -> Result<&Handshake> {
        let mut all = self
            .handshakes
            .iter()
            .filter(|handshake| handshake.flow.remote.address() == peer);
        let first = all
            .next()
            .with_context(|| format!("no report about {peer}"))?;
        ensure!(all.next().is_none(), "more than one report about {peer}");
        Ok(first)
    }

    /// The one handshake from this address of the observed host's.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn opened_from(&self, local: SocketAddr) -> Result<&Handshake> {
        let of_it = |at: &&Handshake| at.role == "client" && at.flow.local.address() == local;
        let mut all = self.handshakes.iter().filter(of_it);
        let first = all
            .next()
            .with_context(|| format!("no report about a connection from {local}"))?;
        ensure!(all.next().is_none(), "more than one report about {local}");
        Ok(first)
    }

    /// Checks that exactly `count` handshakes were reported, each with this verdict, path and
    /// cause.
    ///
    /// # Errors
    /// When not; the message shows the first that differs.
    pub fn expect_all(
        &self,
        count: usize,
        verdict: &str,
        path: &str,
        cause: Option<&str>,
    ) -> Result<()> {
        for handshake in &self.handshakes {
            handshake.expect(verdict, path, cause)?;
        }
        let reported = self.handshakes.len();
        ensure!(
            reported == count,
            "{count} handshakes made, but {reported} reported"
        );
        Ok(())
    }
}

impl Handshake {
    /// Checks verdict, path and cause.
    ///
    /// # Errors
    /// When one differs.
    pub fn expect(&self, verdict: &str, path: &str, cause: Option<&str>) -> Result<()> {
        ensure!(
            self.verdict == verdict && self.path == path && self.cause.as_deref() == cause,
            "expected {verdict} ({cause:?}) by path {path}, but reported was {self:?}"
        );
        Ok(())
    }
}
