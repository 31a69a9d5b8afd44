//! A command in a VM that prints one answer a line, as the laboratory does.
//!
//! Constraint: whatever goes wrong becomes a failed answer, also with the VM itself.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::exec::Boot;
use super::job::Job;
use super::results::{Answer, Outcome, WHOLE_VM};

/// Boots, runs the command, says each answer on stderr as it comes, and returns all of them. What
/// is `expected` and gives no answer has failed.
pub fn ask(boot: &Boot<'_>, argv: &[&str], expected: &[String], label: &str) -> Vec<Answer> {
    let lines = Lines::new(label.to_owned());
    let answers = lines.answers.clone();
    let complaint =
        run(boot, argv, lines).unwrap_or_else(|error| Some((format!("{error:#}"), String::new())));
    let mut answers = std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some((complaint, log)) = complaint {
        eprintln!("{label}: {complaint}\n{}", log.trim_end());
        answers.push(failure(WHOLE_VM, &complaint));
        return answers;
    }
    if answers.is_empty() {
        answers.push(failure(WHOLE_VM, "ran nothing"));
    }
    for name in expected {
        if !answers.iter().any(|answer| answer.scenario == *name) {
            answers.push(failure(name, "gave no answer"));
        }
    }
    answers
}

/// Returns what is wrong with the run as a whole, with the kernel's log if it matters.
fn run(boot: &Boot<'_>, argv: &[&str], lines: Lines) -> anyhow::Result<Option<(String, String)>> {
    let answers = lines.answers.clone();
    let outcome = boot.run(&Job::new(argv), lines, io::stderr())?;
    if let Some(trouble) = outcome.trouble() {
        return Ok(Some((trouble, outcome.log)));
    }
    let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = answers
        .iter()
        .any(|answer| answer.outcome == Outcome::Failed);
    Ok(match outcome.code {
        // 1 is what the laboratory says when something failed.
        Ok(code) if code != u8::from(failed) => {
            Some((format!("tcpwnd-lab ended with {code}"), String::new()))
        }
        _ => None,
    })
}

fn failure(scenario: &str, detail: &str) -> Answer {
    Answer {
        scenario: scenario.to_owned(),
        outcome: Outcome::Failed,
        seconds: 0.0,
        detail: detail.to_owned(),
        provoked: Vec::new(),
    }
}

/// Takes the laboratory's lines as they come and says each on stderr.
struct Lines {
    label: String,
    pending: Vec<u8>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Lines {
    fn new(label: String) -> Self {
        Self {
            label,
            pending: Vec::new(),
            answers: Arc::default(),
        }
    }

    fn take(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let label = &self.label;
        let answer = match serde_json::from_str::<Answer>(&line) {
            Ok(answer) => answer,
            Err(error) => failure(WHOLE_VM, &format!("no answer ({error}): {line}")),
        };
        let Answer {
            scenario,
            outcome,
            seconds,
            detail,
            ..
        } = &answer;
        let word = format!("{outcome:?}").to_lowercase();
        eprintln!("{label:<28} {scenario:<32} {word:<11} {seconds:6.1} s  {detail}");
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(answer);
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.take(line.trim_ascii());
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

    use super::{Lines, Outcome};

    #[test]
    fn lines_may_come_in_pieces_and_what_is_no_answer_fails() {
        let mut lines = Lines::new("x".to_owned());
        lines
            .write_all(b"{\"scenario\":\"a\",\"outcome\":\"pas")
            .unwrap();
        lines
            .write_all(b"sed\",\"seconds\":1}\nnonsense\n")
            .unwrap();
        let answers = lines.answers.lock().unwrap();
        let outcomes: Vec<_> = answers.iter().map(|answer| answer.outcome).collect();
        assert_eq!(outcomes, [Outcome::Passed, Outcome::Failed]);
    }
}
