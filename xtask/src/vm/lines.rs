//! What a VM prints, line by line.
//!
//! Constraint: pieces come as the serial port has them; only whole lines are handed on.

use std::io::{self, Write};

/// Hands each line to `take`, without its end.
pub struct Lines<F> {
    pending: Vec<u8>,
    take: F,
}

impl<F: FnMut(&str)> Lines<F> {
    /// Those to come.
    pub fn new(take: F) -> Self {
        Self {
            pending: Vec::new(),
            take,
        }
    }
}

impl<F: FnMut(&str)> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            (self.take)(String::from_utf8_lossy(&line).trim());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::Lines;

    #[test]
    fn lines_may_come_in_pieces() {
        let mut seen = Vec::new();
        let mut lines = Lines::new(|line: &str| seen.push(line.to_owned()));
        for piece in ["on", "e\r\ntw", "o\nthr"] {
            lines.write_all(piece.as_bytes()).unwrap();
        }
        assert_eq!(seen, ["one", "two"]);
    }
}
