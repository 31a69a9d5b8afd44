//! A real JVM's ServerSocketChannel as listener, opened as a Kafka broker opens it: IPv4 and IPv6
//! clients, without and with cookies.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::bench::{Bench, Unsupported, compare};
use super::stage::{COOKIES, PORT};
use crate::client::come_and_go;
use crate::net::{Namespace, Pair, PairOptions};

/// Where the runtime is, with the compiled tcpwnd-lab/java/Listener.java beside its `bin`.
const RUNTIME: &str = "/usr/lib/tcpwnd-jvm";

const EACH: usize = 10;

pub fn play(bench: &Bench) -> Result<String> {
    if !Path::new(RUNTIME).join("Listener.class").exists() {
        return Err(Unsupported(format!("there is no JVM in {RUNTIME}")).into());
    }
    let pair = Pair::new(PairOptions::default())?;
    let _jvm = Jvm::start(&pair.server)?;
    visit(bench, &pair, "normal")?;
    for (name, value) in COOKIES {
        pair.server.set(name, value)?;
    }
    visit(bench, &pair, "cookie")?;
    let by_cookie = if bench.affected { "1 to 7" } else { "ok" };
    Ok(format!("{0} ok; {0} by cookie: {by_cookie}", 2 * EACH))
}

fn visit(bench: &Bench, pair: &Pair, path: &str) -> Result<()> {
    let mut agent = bench.trace()?;
    let mut visits = Vec::new();
    for address in [Pair::SERVER_V4, Pair::SERVER_V6] {
        visits.extend(come_and_go(
            &pair.client,
            SocketAddr::new(address, PORT),
            EACH,
        )?);
    }
    agent.wait_handshakes(2 * EACH)?;
    let report = agent.finish()?;
    compare(&report, PORT, &[], &visits)?;
    if path == "cookie" && bench.affected {
        report.expect_all(2 * EACH, "mismatch", path, Some("cookie_ignored_rcvbuf"))
    } else {
        report.expect_all(2 * EACH, "ok", path, None)
    }
}

/// A running JVM. Dropping it kills it.
struct Jvm {
    child: Child,
}

impl Jvm {
    fn start(at: &Namespace) -> Result<Self> {
        let child = at.enter(|| {
            Command::new(format!("{RUNTIME}/bin/java"))
                // Interpreting is faster than compiling for the little that it does.
                .args([
                    "-Xint",
                    "-Xshare:auto",
                    "-XX:+UseSerialGC",
                    "-Xmx64m",
                    "-cp",
                    RUNTIME,
                ])
                .args(["Listener", &PORT.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("failed to start the JVM")
        })?;
        let mut jvm = Self { child };
        let stdout = jvm
            .child
            .stdout
            .take()
            .context("the JVM has no standard output")?;
        let first = BufReader::new(stdout).lines().next();
        first
            .context("the JVM ended at once")?
            .context("failed to read from the JVM")?;
        Ok(jvm)
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        // Harmless when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
