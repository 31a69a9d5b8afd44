//! The listener against real sockets, ill-behaved ones included.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Pages, bind, serve};
use crate::output::exposition::Family;

struct Fixed {
    ready: bool,
}

impl Pages for Fixed {
    fn metrics(&self) -> Vec<Family> {
        vec![Family::counter("demo", "Demo").value(7.0)]
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready {
            Ok(())
        } else {
            Err("tcp_make_synack".to_owned())
        }
    }
}

/// Serves on a free port while `client` runs on a thread of its own; gives back what it returned.
fn with_server<T: Send + 'static>(
    ready: bool,
    client: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (stop, stopped) = watch::channel(false);
    let client = std::thread::spawn(move || {
        let result = client(addr);
        stop.send(true).unwrap();
        result
    });
    let local = tokio::task::LocalSet::new();
    runtime
        .block_on(local.run_until(serve(listener, Rc::new(Fixed { ready }), stopped)))
        .unwrap();
    client.join().unwrap()
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Sends `request` and reads until the server closes.
fn exchange(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(addr);
    // The server may refuse and close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(addr: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    exchange(addr, request.as_bytes())
}

#[test]
fn pages_answer() {
    let (index, metrics, health, ready, unknown) = with_server(true, |addr| {
        let page = |path| get(addr, path);
        (
            page("/"),
            page("/metrics"),
            page("/healthz"),
            page("/readyz"),
            page("/secret"),
        )
    });
    assert!(
        index.starts_with("HTTP/1.1 200 OK") && index.contains("/metrics"),
        "{index}"
    );
    assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.ends_with("demo_total 7\n"), "{metrics}");
    assert!(health.ends_with("\r\n\r\nok\n"), "{health}");
    assert!(ready.starts_with("HTTP/1.1 200 OK"), "{ready}");
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
}

#[test]
fn not_ready_says_what_is_missing() {
    let answer = with_server(false, |addr| get(addr, "/readyz"));
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("not ready: tcp_make_synack\n"), "{answer}");
}

#[test]
fn openmetrics_when_asked_for() {
    let answer = with_server(true, |addr| {
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                       Accept: application/openmetrics-text; version=1.0.0\r\n\r\n";
        exchange(addr, request.as_bytes())
    });
    assert!(
        answer.contains("content-type: application/openmetrics-text"),
        "{answer}"
    );
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[test]
fn head_has_no_body_and_post_is_refused() {
    let (head, post) = with_server(true, |addr| {
        let head = exchange(
            addr,
            b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        // A body that never comes: the answer must not wait for it.
        let post = exchange(
            addr,
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n",
        );
        (head, post)
    });
    assert!(
        head.starts_with("HTTP/1.1 200 OK") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(
        post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"),
        "{post}"
    );
}

#[test]
fn garbage_and_oversized_heads_are_refused() {
    let (garbage, long, many) = with_server(true, |addr| {
        let garbage = exchange(addr, b"\x16\x03\x01 not http at all\r\n\r\n");
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
        let headers: String = (0..1000).map(|i| format!("X-{i}: y\r\n")).collect();
        let many = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        (
            garbage,
            exchange(addr, long.as_bytes()),
            exchange(addr, many.as_bytes()),
        )
    });
    assert!(!garbage.contains("200 OK"), "{garbage}");
    assert!(!long.contains("200 OK"), "{long}");
    assert!(!many.contains("200 OK"), "{many}");
}

#[test]
fn slow_heads_are_cut_off() {
    let took = with_server(true, |addr| {
        let begun = Instant::now();
        let mut stream = connect(addr);
        stream.write_all(b"GET / HT").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        begun.elapsed()
    });
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn silent_connections_do_not_keep_others_out_for_long() {
    let (answer, took) = with_server(true, |addr| {
        let silent: Vec<TcpStream> = (0..super::MAX_CONNECTIONS).map(|_| connect(addr)).collect();
        let begun = Instant::now();
        let answer = get(addr, "/healthz");
        drop(silent);
        (answer, begun.elapsed())
    });
    assert!(answer.ends_with("ok\n"), "{answer}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn two_requests_on_one_connection() {
    let answer = with_server(true, |addr| {
        let twice = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\
                     GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        exchange(addr, twice.as_bytes())
    });
    assert_eq!(answer.matches("\r\n\r\nok\n").count(), 2, "{answer}");
}

#[test]
fn stop_does_not_wait_for_idle_connections() {
    let begun = Instant::now();
    let idle = with_server(true, connect);
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    drop(idle);
}

#[test]
fn taken_address_is_one_line_with_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = bind(addr).unwrap_err().to_string();
    let start = format!("failed to listen on {addr}: address already in use: ");
    assert!(
        error.starts_with(&start) && error.contains("--listen"),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}
