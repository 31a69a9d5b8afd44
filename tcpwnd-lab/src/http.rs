//! Asking the agent over HTTP, as Prometheus does, and asking Prometheus.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};

use crate::wait::PATIENCE;

/// Gets a page; any answer but 200 is an error.
///
/// # Errors
/// When it does not answer, or refuses.
pub fn get(from: SocketAddr, path: &str) -> Result<String> {
    ask(from, path, "HTTP/1.1")
}

/// The same from a server that sends long pages in chunks, which HTTP/1.0 does not know.
///
/// # Errors
/// As [`get`].
pub fn get_whole(from: SocketAddr, path: &str) -> Result<String> {
    ask(from, path, "HTTP/1.0")
}

fn ask(from: SocketAddr, path: &str, version: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&from, PATIENCE)
        .with_context(|| format!("failed to connect to {from}"))?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("failed to set a time-out")?;
    let request = format!("GET {path} {version}\r\nHost: {from}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .context("failed to send a request")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .with_context(|| format!("failed to read the answer for {path}"))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("an answer without a body")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.contains(" 200 "),
        "{path} was answered with {status}"
    );
    Ok(body.to_owned())
}

/// Sums a metric over all of its series that have every one of `labels` (such as
/// `local_port="9092"`).
///
/// # Errors
/// When there is no such series, or a value is no number.
pub fn metric(page: &str, name: &str, labels: &[&str]) -> Result<f64> {
    let mut sum = None;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let named = series.split('{').next() == Some(name);
        if named && labels.iter().all(|label| series.contains(label)) {
            let value: f64 = value
                .parse()
                .with_context(|| format!("not a number: {line}"))?;
            sum = Some(sum.unwrap_or(0.0) + value);
        }
    }
    sum.with_context(|| format!("no metric {name} with {labels:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_series() {
        let page = "# HELP a A.\na{p=\"1\",q=\"x\"} 2\na{p=\"1\",q=\"y\"} 3\na{p=\"2\"} 4\nab 9\n";
        assert_eq!(metric(page, "a", &["p=\"1\""]).unwrap(), 5.0);
        assert_eq!(metric(page, "a", &[]).unwrap(), 9.0);
        assert!(metric(page, "b", &[]).is_err());
    }
}
