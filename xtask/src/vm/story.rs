//! What the laboratory tells when it shows something over time: a story for people, and a last line
//! with what was measured, to be drawn.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde::Deserialize;

use crate::charts::{self, Chart, Line, Unit};

/// The title of something that is drawn, and what its values are.
pub type Panel = (&'static str, Unit);

#[derive(Debug, Deserialize)]
struct Measured {
    panels: Vec<Lines>,
}

#[derive(Debug, Deserialize)]
struct Lines {
    title: String,
    lines: Vec<Line>,
}

/// Keeps the last line.
#[derive(Clone, Default)]
pub struct Story(Arc<Mutex<Vec<u8>>>);

impl Story {
    /// Passes the story on.
    pub fn to<W: Write>(&self, out: W) -> Told<W> {
        let story = self.clone();
        Told { out, story }
    }

    /// Draws these of what was measured.
    ///
    /// # Errors
    ///
    /// When the last line is another, or lacks one.
    pub fn draw(&self, panels: &[Panel]) -> anyhow::Result<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut measured: Measured = serde_json::from_slice(&last)
            .context("the laboratory's last line is not what it measured")?;
        let mut charts = Vec::new();
        for &(title, unit) in panels {
            let mut all = measured.panels.iter_mut();
            let found = all.find(|panel| panel.title == title);
            let found = found.with_context(|| format!("\"{title}\" was not measured"))?;
            // What never was anything but 0 is left out, so that the rest can be seen.
            let is_anything = |line: &Line| line.points.iter().any(|(_, value)| *value != 0.0);
            charts.push(Chart {
                title: title.to_owned(),
                unit,
                lines: found.lines.drain(..).filter(is_anything).collect(),
            });
        }
        charts::svg(&charts)
    }
}

/// Passes on whole lines, but for the one that is no part of the story.
pub struct Told<W> {
    out: W,
    story: Story,
}

impl<W: Write> Write for Told<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.story.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        while let Some(end) = kept.iter().position(|byte| *byte == b'\n')
            && !kept.starts_with(b"{")
        {
            self.out.write_all(&kept[..=end])?;
            kept.drain(..=end);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::{Panel, Story};
    use crate::charts::Unit;

    const PANELS: [Panel; 2] = [("one", Unit::Count), ("two", Unit::Bytes)];

    fn told(story: &Story, titles: &[&str]) {
        let lines = [("up", 2.0), ("never", 0.0)]
            .map(|(name, value)| json!({"name": name, "points": [[0.0, 0.0], [5.0, value]]}));
        let panels = titles
            .iter()
            .map(|title| json!({"title": title, "lines": lines}));
        let text = json!({"panels": panels.collect::<Vec<_>>()}).to_string();
        story.to(Vec::new()).write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_last_line_is_kept_and_not_told() {
        let story = Story::default();
        let mut out = Vec::new();
        let mut lines = story.to(&mut out);
        lines.write_all(b"one\ntw").unwrap();
        lines.write_all(b"o\n{\"panels\":").unwrap();
        lines.write_all(b"[]}\n").unwrap();
        assert_eq!(out, b"one\ntwo\n");
        assert!(story.draw(&[]).is_ok());
    }

    #[test]
    fn is_drawn_without_what_never_was() {
        let story = Story::default();
        told(&story, &["two", "three", "one"]);
        let text = story.draw(&PANELS).unwrap();
        assert!(text.contains("up") && !text.contains("never"), "{text}");
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let story = Story::default();
        assert!(story.draw(&PANELS).is_err());
        told(&story, &["one"]);
        let error = story.draw(&PANELS).unwrap_err().to_string();
        assert!(error.contains("two"), "{error}");
    }
}
