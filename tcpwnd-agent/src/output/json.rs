//! JSON lines: one object a line, as `tcpwnd_core::findings` defines them.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;
use tcpwnd_core::findings::{ClosedFlow, Finding, Line, WindowSeen};

use super::held_back::Report;
use crate::commands::session::Sink;
use crate::host::clock;

/// Writes findings, or every handshake, as JSON.
pub struct Json<W> {
    out: W,
    all: bool,
}

impl<W: Write> Json<W> {
    /// With `all` every handshake is written, else findings only.
    pub const fn new(out: W, all: bool) -> Self {
        Self { out, all }
    }

    /// Writes an object of `kind` that is of now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn now(&mut self, kind: &'static str, body: impl Serialize) -> io::Result<()> {
        self.line(kind, Timestamp::now(), body)
    }

    /// Says what was held back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn held_back(&mut self, report: &Report) -> io::Result<()> {
        self.now(Report::KIND, report)
    }

    /// Whatever was written must be seen now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn line(
        &mut self,
        kind: &'static str,
        time: Timestamp,
        body: impl Serialize,
    ) -> io::Result<()> {
        let time = clock::rfc3339(time);
        serde_json::to_writer(&mut self.out, &Line::new(kind, &time, body))?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> Sink for Json<W> {
    fn handshake(&mut self, finding: &Finding) -> io::Result<()> {
        if !self.all && !finding.is_finding() {
            return Ok(());
        }
        self.line(Finding::KIND, clock::wall(finding.ktime_ns), finding)
    }

    fn closed(&mut self, closed: &ClosedFlow) -> io::Result<()> {
        self.line(ClosedFlow::KIND, clock::wall(closed.ktime_ns), closed)
    }

    fn window(&mut self, window: &WindowSeen) -> io::Result<()> {
        self.line(WindowSeen::KIND, clock::wall(window.ktime_ns), window)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end()
    }
}

/// The object that stands for an error.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

/// Writes an error.
///
/// # Errors
/// When it cannot be written.
pub fn error(out: impl Write, text: &str) -> io::Result<()> {
    let mut json = Json::new(out, true);
    json.now("error", ErrorBody { error: text })?;
    json.end()
}

#[cfg(test)]
mod tests {
    #[test]
    fn errors_are_objects_with_the_common_fields() {
        let mut out = Vec::new();
        super::error(&mut out, "failed to \"x\"").unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with(r#"{"schema":1,"kind":"error","time":"2"#),
            "{text}"
        );
        assert!(
            text.ends_with("Z\",\"error\":\"failed to \\\"x\\\"\"}\n"),
            "{text}"
        );
    }
}
