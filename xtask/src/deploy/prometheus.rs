//! Rules and alerts, as promtool reads them.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

use super::{Answer, file};
use crate::command;
use crate::setup::prometheus;

const RULES: &str = "prometheus/tcpwnd.rules.yml";
const TESTS: &str = "prometheus/tcpwnd.test.yml";

/// The rules are valid, without anything that promtool would rather see otherwise.
pub fn rules() -> anyhow::Result<Answer> {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal"], RULES)
}

/// The rules do on made-up series what they are meant to do, each alert both firing and silent.
pub fn tests() -> anyhow::Result<Answer> {
    let read = |name| fs::read_to_string(file(name)).with_context(|| format!("read {name}"));
    let (rules, tests) = (read(RULES)?, read(TESTS)?);
    for (name, _) in alerts(&rules) {
        let expected: Vec<_> = tests
            .split(&format!("alertname: {name}\n"))
            .skip(1)
            .filter_map(|text| text.lines().next())
            .map(|line| line.trim() == "exp_alerts: []")
            .collect();
        for (silent, word) in [(true, "silent"), (false, "firing")] {
            ensure!(
                expected.contains(&silent),
                "{TESTS}: {name} is never expected to be {word}"
            );
        }
    }
    promtool(&["test", "rules"], TESTS)
}

/// Each alert with its lines.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let after = rules.split("- alert: ").skip(1);
    after.filter_map(|text| text.split_once('\n')).collect()
}

fn promtool(arguments: &[&str], name: &str) -> anyhow::Result<Answer> {
    let promtool = prometheus::ensure()?.promtool;
    command::output(Command::new(promtool).args(arguments).arg(file(name)))
        .with_context(|| format!("promtool does not like {name}"))?;
    Ok(Answer::Held)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::{RULES, TESTS, alerts};
    use crate::deploy::metrics::{golden, is_record, named_in, of_agent, read};
    use crate::paths;

    const RUNBOOKS: &str = "docs/runbooks";
    const SECTIONS: [&str; 4] = ["Meaning", "Impact", "Diagnosis", "Mitigation"];
    const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

    /// Where the runbooks are served; the rules say that it is to be replaced.
    const SERVED: &str = "https://tcpwnd.example/runbooks";

    fn rules() -> String {
        read(&format!("deploy/{RULES}"))
    }

    fn value<'a>(alert: &'a str, key: &str) -> Option<&'a str> {
        let mut lines = alert.lines().map(str::trim);
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    }

    fn runbooks() -> Vec<String> {
        let folder = fs::read_dir(paths::workspace().join(RUNBOOKS)).unwrap();
        let mut names: Vec<_> = folder
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn every_alert_says_what_it_is_and_where_to_read_on() {
        let rules = rules();
        for (name, alert) in alerts(&rules) {
            assert!(name.starts_with("Tcpwnd"), "{name}");
            let severity = value(alert, "severity").unwrap_or_default();
            assert!(SEVERITIES.contains(&severity), "{name}: {severity}");
            for key in ["summary", "description"] {
                assert!(value(alert, key).is_some(), "{name} has no {key}");
            }
            let url = format!("{SERVED}/{name}");
            assert_eq!(value(alert, "runbook_url"), Some(url.as_str()));
        }
    }

    #[test]
    fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
        let rules = rules();
        let wanted: BTreeSet<_> = alerts(&rules)
            .iter()
            .map(|(name, _)| format!("{name}.md"))
            .collect();
        assert!(!wanted.is_empty());
        assert_eq!(runbooks(), wanted.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn every_alert_is_listed_as_it_is() {
        let rules = rules();
        let document = read("docs/alerting.md");
        let listed = document
            .lines()
            .filter(|line| line.starts_with("| [Tcpwnd"));
        assert_eq!(listed.count(), alerts(&rules).len());
        for (name, alert) in alerts(&rules) {
            let severity = value(alert, "severity").unwrap_or_default();
            let begin = format!("| [{name}](runbooks/{name}.md) | {severity} |");
            let time = value(alert, "for").map(|time| time.replace('m', " min"));
            let end = format!("| {} |", time.as_deref().unwrap_or("at once"));
            let mut lines = document.lines();
            assert!(
                lines.any(|line| line.starts_with(&begin) && line.ends_with(&end)),
                "no line {begin} … {end}"
            );
        }
    }

    #[test]
    fn runbooks_have_their_sections_in_order() {
        for runbook in runbooks() {
            let text = read(&format!("{RUNBOOKS}/{runbook}"));
            assert_eq!(
                text.lines().next(),
                Some(&*format!("# {}", &runbook[..runbook.len() - 3]))
            );
            let sections: Vec<_> = text
                .lines()
                .filter_map(|line| line.strip_prefix("## "))
                .collect();
            assert_eq!(sections, SECTIONS, "{runbook}");
        }
    }

    #[test]
    fn metrics_in_rules_and_runbooks_exist() {
        let rules = rules();
        let records: BTreeSet<_> = rules
            .split("- record: ")
            .skip(1)
            .filter_map(|text| text.lines().next())
            .inspect(|record| assert!(is_record(record), "{record}"))
            .map(str::to_owned)
            .collect();
        let mut known = of_agent();
        known.extend(records);
        let mut texts = vec![rules, read(&format!("deploy/{TESTS}"))];
        texts.extend(
            runbooks()
                .iter()
                .map(|name| read(&format!("{RUNBOOKS}/{name}"))),
        );
        for text in texts {
            let unknown: Vec<_> = named_in(&text).difference(&known).cloned().collect();
            assert!(unknown.is_empty(), "{unknown:?} in\n{text}");
        }
    }

    /// Where a reader finds what a label's value means.
    const EXPLAINED: [(&str, &str); 4] = [
        ("tcpwnd_window_scale_mismatches_total", "docs/detection.md"),
        (
            "tcpwnd_window_scale_lost_total",
            "docs/runbooks/TcpwndScaleLostConnections.md",
        ),
        (
            "tcpwnd_window_scale_unverified_total",
            "docs/runbooks/TcpwndHandshakesUnverified.md",
        ),
        (
            "tcpwnd_events_lost_total",
            "docs/runbooks/TcpwndEventsLost.md",
        ),
    ];

    #[test]
    fn every_cause_and_stage_is_explained() {
        let golden = golden().unwrap();
        for (metric, document) in EXPLAINED {
            let text = read(document);
            let values: BTreeSet<_> = golden
                .lines()
                .filter(|line| line.starts_with(metric))
                .filter_map(|line| line.split_once("cause=").or(line.split_once("stage=")))
                .filter_map(|(_, value)| value.split('"').nth(1))
                .collect();
            assert!(!values.is_empty(), "{metric}");
            for value in values {
                assert!(text.contains(&format!("`{value}`")), "{value}: {document}");
            }
        }
    }
}
