//! A command in a VM that prints one answer a line, as the laboratory does.
//!
//! Constraint: whatever goes wrong becomes a failed answer, also with the VM itself.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::exec::Boot;
use super::job::Job;
use super::lines::Lines;
use super::results::{Answer, Outcome, WHOLE_VM};

/// Boots, runs the command, says each answer on stderr as it comes, and returns all of them. What
/// is `expected` and gives no answer has failed.
pub fn ask(boot: &Boot<'_>, argv: &[&str], expected: &[String], label: &str) -> Vec<Answer> {
    let answers = Arc::default();
    let complaint = run(boot, argv, &answers, label)
        .unwrap_or_else(|error| Some((format!("{error:#}"), String::new())));
    let mut answers = std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some((complaint, log)) = &complaint {
        eprintln!("{label}: {complaint}\n{}", log.trim_end());
    }
    let complaint = complaint.as_ref().map(|(complaint, _)| complaint.as_str());
    complete(&mut answers, complaint, expected);
    answers
}

/// Adds a failure of each that was expected and gave no answer; of the VM only where there is none
/// such, since what runs again alone would not take its place.
fn complete(answers: &mut Vec<Answer>, complaint: Option<&str>, expected: &[String]) {
    let is_silent = |name: &&String| !answers.iter().any(|answer| answer.scenario == **name);
    let silent: Vec<_> = expected.iter().filter(is_silent).collect();
    if silent.is_empty() {
        let nothing = answers.is_empty().then_some("ran nothing");
        let reason = complaint.or(nothing);
        answers.extend(reason.map(|reason| failure(WHOLE_VM, reason)));
    }
    let reason = complaint.unwrap_or("gave no answer");
    answers.extend(silent.into_iter().map(|name| failure(name, reason)));
}

/// Returns what is wrong with the run as a whole, with the kernel's log if it matters.
fn run(
    boot: &Boot<'_>,
    argv: &[&str],
    answers: &Arc<Mutex<Vec<Answer>>>,
    label: &str,
) -> anyhow::Result<Option<(String, String)>> {
    let (kept, label) = (Arc::clone(answers), label.to_owned());
    let lines = Lines::new(move |line: &str| {
        let answer = answer(line, &label);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(answer);
    });
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

/// What the laboratory said in this line, told on stderr.
fn answer(line: &str, label: &str) -> Answer {
    let answer = match serde_json::from_str::<Answer>(line) {
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
    answer
}

#[cfg(test)]
mod tests {
    use super::{Outcome, WHOLE_VM, answer, complete, failure};

    #[test]
    fn what_is_no_answer_fails() {
        let outcome = |line| answer(line, "x").outcome;
        let passed = "{\"scenario\":\"a\",\"outcome\":\"passed\",\"seconds\":1}";
        assert_eq!(outcome(passed), Outcome::Passed);
        assert_eq!(outcome("nonsense"), Outcome::Failed);
    }

    #[test]
    fn whoever_was_expected_answers_for_the_vm() {
        let after = |answered: &[&str], complaint, expected: &[&str]| {
            let mut answers: Vec<_> = answered.iter().map(|name| failure(name, "it")).collect();
            let expected: Vec<_> = expected.iter().map(|&name| name.to_owned()).collect();
            complete(&mut answers, complaint, &expected);
            let added = answers.into_iter().skip(answered.len());
            let texts = added.map(|answer| format!("{}: {}", answer.scenario, answer.detail));
            texts.collect::<Vec<_>>()
        };
        let of_vm = |what| vec![format!("{WHOLE_VM}: {what}")];
        assert_eq!(after(&[], None, &[]), of_vm("ran nothing"));
        assert_eq!(after(&["a"], Some("panic"), &[]), of_vm("panic"));
        assert_eq!(after(&["a"], Some("panic"), &["a"]), of_vm("panic"));
        assert_eq!(after(&["a"], Some("killed"), &["a", "b"]), ["b: killed"]);
        assert_eq!(after(&["a"], None, &["b"]), ["b: gave no answer"]);
        assert!(after(&["a"], None, &["a"]).is_empty());
    }
}
