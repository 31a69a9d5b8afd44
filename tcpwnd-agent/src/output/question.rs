//! What `/api/v1/findings` is asked: the query string of its address.
//!
//! Constraint: nothing is guessed. A parameter that is not known, or is there twice, is an error,
//! for a script that misspelt one would take the answer for that to another question.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;

/// Findings that an answer lists unless asked for more or fewer.
const DEFAULT_LIMIT: usize = 100;

/// Longest part of a value that an error repeats, characters.
const QUOTED: usize = 40;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// From when on; `None` for as long as there has been watching.
    pub since: Option<Timestamp>,
    /// Port of the listener; `None` for any.
    pub port: Option<u16>,
    /// Most findings that are listed.
    pub limit: usize,
}

impl Question {
    /// Reads a query string, as of `now`.
    ///
    /// # Errors
    /// One line: what is wrong with which parameter, and what it should be.
    pub fn parse(query: &str, now: Timestamp) -> Result<Self, String> {
        let (mut since, mut port, mut limit) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| format!("invalid value for {}: not UTF-8", quoted(name)))?;
            let again = match name {
                "since" => since.replace(read_since(&value, now)?).is_some(),
                "port" => port.replace(read_port(&value)?).is_some(),
                "limit" => limit.replace(read_limit(&value)?).is_some(),
                _ => {
                    return Err(format!(
                        "unknown parameter '{}': there are since, port and limit",
                        quoted(name)
                    ));
                }
            };
            if again {
                return Err(format!("{name} is given twice"));
            }
        }
        Ok(Self {
            since,
            port,
            limit: limit.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

fn read_since(value: &str, now: Timestamp) -> Result<Timestamp, String> {
    let time = rfc3339(value)
        .or_else(|| unix_seconds(value))
        .or_else(|| ago(value, now))
        .ok_or_else(|| {
            format!(
                "invalid value '{}' for since: a time as in 2026-01-31T12:00:00Z, seconds since \
                 1970, or how long ago, as in 2m",
                quoted(value)
            )
        })?;
    if time > now {
        return Err(format!(
            "invalid value '{}' for since: by this host's clock ({now:.6}) that is yet to come; \
             take it from the field now of an earlier answer",
            quoted(value)
        ));
    }
    Ok(time)
}

fn rfc3339(value: &str) -> Option<Timestamp> {
    value.parse().ok()
}

/// `1700000000` or `1700000000.25`, as `date +%s` and metrics have it.
fn unix_seconds(value: &str) -> Option<Timestamp> {
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || fraction.len() > 9 || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

fn ago(value: &str, now: Timestamp) -> Option<Timestamp> {
    let age: Duration = value.parse::<humantime::Duration>().ok()?.into();
    now.checked_sub(SignedDuration::try_from(age).ok()?).ok()
}

fn read_port(value: &str) -> Result<u16, String> {
    match value.parse() {
        Ok(0) | Err(_) => Err(format!(
            "invalid value '{}' for port: a number from 1 to 65535",
            quoted(value)
        )),
        Ok(port) => Ok(port),
    }
}

fn read_limit(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| {
        format!(
            "invalid value '{}' for limit: how many findings to list, 0 for none",
            quoted(value)
        )
    })
}

/// What goes into an error: one line of it, and not much.
fn quoted(value: &str) -> String {
    let plain = value.chars().filter(|c| !c.is_control());
    plain.take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::Question;

    fn now() -> Timestamp {
        "2026-01-31T12:00:00.5Z".parse().unwrap()
    }

    fn since(value: &str) -> Result<Timestamp, String> {
        let question = Question::parse(&format!("since={value}"), now())?;
        Ok(question.since.unwrap())
    }

    #[test]
    fn nothing_said_is_everything() {
        for query in ["", "&", "&&"] {
            let question = Question::parse(query, now()).unwrap();
            assert_eq!((question.since, question.port), (None, None));
            assert_eq!(question.limit, super::DEFAULT_LIMIT);
        }
    }

    #[test]
    fn since_is_a_time_seconds_or_how_long_ago() {
        for (value, time) in [
            ("2026-01-31T11:58:00Z", "2026-01-31T11:58:00Z"),
            ("2026-01-31T12:58:00.25+01:00", "2026-01-31T11:58:00.25Z"),
            ("2026-01-31T12%3A58%3A00%2B01%3A00", "2026-01-31T11:58:00Z"),
            ("1769860680", "2026-01-31T11:58:00Z"),
            ("1769860680.250", "2026-01-31T11:58:00.25Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("2m", "2026-01-31T11:58:00.5Z"),
            ("1h%2030s", "2026-01-31T10:59:30.5Z"),
            ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.5Z"),
        ] {
            assert_eq!(since(value), Ok(time.parse().unwrap()), "{value}");
        }
    }

    #[test]
    fn what_is_yet_to_come_is_refused_with_this_hosts_time() {
        let error = since("2026-01-31T12:00:01Z").unwrap_err();
        assert!(
            error.contains("2026-01-31T12:00:00.500000Z") && error.contains("the field now"),
            "{error}"
        );
    }

    #[test]
    fn port_and_limit() {
        let question = Question::parse("limit=0&port=9092", now()).unwrap();
        assert_eq!((question.port, question.limit), (Some(9092), 0));
    }

    #[test]
    fn everything_else_is_refused_in_one_short_line() {
        let long = format!("since={}", "9".repeat(5000));
        for (query, part) in [
            ("since=", "invalid value '' for since"),
            ("since", "invalid value '' for since"),
            ("since=yesterday", "invalid value 'yesterday' for since"),
            ("since=-5", "for since"),
            ("since=1.2.3", "for since"),
            ("since=2026-01-31", "for since"),
            (&long, "for since"),
            ("port=0", "for port"),
            ("port=65536", "for port"),
            ("port=9092,9093", "for port"),
            ("port=", "for port"),
            ("limit=-1", "for limit"),
            ("limit=ten", "for limit"),
            ("limit=%ff", "not UTF-8"),
            ("port=9092&port=9093", "port is given twice"),
            ("prot=9092", "unknown parameter 'prot'"),
            ("Port=9092", "unknown parameter 'Port'"),
            ("since=%0a%1b[31m", "invalid value '[31m' for since"),
        ] {
            let error = Question::parse(query, now()).unwrap_err();
            assert!(error.contains(part), "{query}: {error}");
            assert!(
                error.len() < 250 && !error.contains(char::is_control),
                "{query}: {error}"
            );
        }
    }
}
