//! The listener against real sockets, ill-behaved ones included.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Connections, Pages, bind, serve};
use crate::output::connections::LIMIT;
use crate::output::exposition::Family;

struct Fixed {
    ready: bool,
    /// Samples of /metrics beside the first one.
    samples: usize,
    scrapes: Arc<AtomicUsize>,
}

impl Pages for Fixed {
    fn metrics(&self) -> Vec<Family> {
        self.scrapes.fetch_add(1, Ordering::Relaxed);
        let samples = (0..self.samples).map(|_| (vec![("padding", "x".repeat(40).into())], 7.0));
        let mut demo = Family::counter("demo", "Demo").value(7.0);
        demo.samples.extend(samples);
        vec![demo]
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready {
            Ok(())
        } else {
            Err("tcp_make_synack".to_owned())
        }
    }

    fn settled(&self) -> Pin<Box<dyn Future<Output = bool>>> {
        let ready = self.ready;
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ready
        })
    }

    fn findings(&self, query: &str, settled: bool) -> Result<String, String> {
        match query {
            "bad" => Err("unknown parameter 'bad'".to_owned()),
            _ => Ok(format!("{{\"query\":\"{query}\",\"settled\":{settled}}}")),
        }
    }
}

/// Serves on a free port while `client` runs on a thread of its own; gives back what it returned.
fn with_server<T: Send + 'static>(
    ready: bool,
    client: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    with_counting_server(ready, 0, |addr, _| client(addr))
}

/// The same; `client` is given the number of scrapes so far, too.
fn with_counting_server<T: Send + 'static>(
    ready: bool,
    samples: usize,
    client: impl FnOnce(SocketAddr, &AtomicUsize) -> T + Send + 'static,
) -> T {
    let scrapes = Arc::new(AtomicUsize::new(0));
    let fixed = Fixed {
        ready,
        samples,
        scrapes: Arc::clone(&scrapes),
    };
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (stop, stopped) = watch::channel(false);
    let connections = Rc::new(Connections::default());
    let client = std::thread::spawn(move || {
        let result = client(addr, &scrapes);
        stop.send(true).unwrap();
        result
    });
    let local = tokio::task::LocalSet::new();
    runtime
        .block_on(local.run_until(serve(
            listener,
            Rc::new(fixed),
            Rc::clone(&connections),
            stopped,
        )))
        .unwrap();
    let result = client.join().unwrap();
    drop(local);
    assert_eq!(connections.open(), 0);
    result
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
fn silent_connections_keep_nobody_out() {
    let (answers, took) = with_server(true, |addr| {
        let silent: Vec<TcpStream> = (0..10 * LIMIT).map(|_| connect(addr)).collect();
        let begun = Instant::now();
        let answers: Vec<String> = (0..3).map(|_| get(addr, "/healthz")).collect();
        let took = begun.elapsed();
        drop(silent);
        (answers, took)
    });
    for answer in answers {
        assert!(answer.ends_with("ok\n"), "{answer}");
    }
    // Less than the time after which the silent ones would go by themselves.
    assert!(took < super::HEAD_TIMEOUT / 2, "{took:?}");
}

#[test]
fn a_scraper_that_stays_is_not_displaced_by_others_that_stay_silent() {
    let answers = with_server(true, |addr| {
        let mut scraper = connect(addr);
        let mut answers = Vec::new();
        let mut silent = Vec::new();
        for _ in 0..10 {
            silent.extend((0..LIMIT / 2).map(|_| connect(addr)));
            // Who comes after them gets an answer: so they have all been taken by then.
            assert!(get(addr, "/healthz").ends_with("ok\n"));
            let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
            scraper.write_all(request).unwrap();
            let mut answer = String::new();
            let mut part = [0; 512];
            while !answer.ends_with("ok\n") {
                let count = scraper.read(&mut part).unwrap();
                if count == 0 {
                    break;
                }
                answer.push_str(&String::from_utf8_lossy(&part[..count]));
            }
            answers.push(answer);
        }
        answers
    });
    for answer in answers {
        assert!(answer.ends_with("ok\n"), "{answer}");
    }
}

/// Else 8 KiB of requests would make hundreds of answers pile up in memory.
#[test]
fn pipelined_requests_wait_until_the_answers_before_them_are_read() {
    const REQUESTS: usize = 30;
    let (made, all) = with_counting_server(true, 20_000, |addr, scrapes| {
        let mut stream = connect(addr);
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(REQUESTS - 1);
        let last = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all((request + last).as_bytes()).unwrap();
        // The server has had its turn many times then.
        for _ in 0..20 {
            assert!(get(addr, "/healthz").ends_with("ok\n"));
        }
        let made = scrapes.load(Ordering::Relaxed);
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).unwrap();
        (made, scrapes.load(Ordering::Relaxed))
    });
    assert_eq!(all, REQUESTS);
    // What the kernel's buffers hold, and one.
    assert!(made < REQUESTS / 2, "{made} of {all} were made early");
}

#[test]
fn in_a_crowd_clients_take_turns_and_share_a_scrape() {
    const REQUESTS: usize = 3;
    let (alone, crowded, made) = with_counting_server(true, 20_000, |addr, scrapes| {
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(REQUESTS);
        let three = || {
            let begun = Instant::now();
            let mut stream = connect(addr);
            stream.write_all(&request).unwrap();
            let mut answers = Vec::new();
            let mut buffer = [0; 4096];
            while answers.windows(3).filter(|at| at == b"ok\n").count() < REQUESTS {
                let count = stream.read(&mut buffer).unwrap();
                assert_ne!(count, 0);
                answers.extend_from_slice(&buffer[..count]);
            }
            begun.elapsed()
        };
        let alone = three();
        let crowd: Vec<_> = (0..=super::CROWD).map(|_| connect(addr)).collect();
        // Taken in the order in which they came, so before this one.
        assert!(get(addr, "/healthz").ends_with("ok\n"));
        let crowded = three();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".as_bytes();
        let before = scrapes.load(Ordering::Relaxed);
        let mut scrapers: Vec<_> = (0..5).map(|_| connect(addr)).collect();
        scrapers
            .iter_mut()
            .for_each(|at| at.write_all(request).unwrap());
        for scraper in &mut scrapers {
            assert_ne!(scraper.read(&mut [0; 16]).unwrap(), 0);
        }
        drop(crowd);
        (alone, crowded, scrapes.load(Ordering::Relaxed) - before)
    });
    let turns = super::PACE * (REQUESTS as u32 - 1);
    assert!(alone < turns, "{alone:?} alone");
    assert!(crowded >= turns, "{crowded:?} in a crowd");
    assert!(made < 5, "{made} were made for 5");
}

#[test]
fn findings_are_asked_once_everything_was_taken_in() {
    let (good, unsettled, bad) = with_server(true, |addr| {
        let good = get(addr, "/api/v1/findings?port=9092&since=2m");
        let bad = get(addr, "/api/v1/findings?bad");
        let unsettled = with_server(false, |addr| get(addr, "/api/v1/findings"));
        (good, unsettled, bad)
    });
    assert!(good.starts_with("HTTP/1.1 200 OK"), "{good}");
    assert!(good.contains("content-type: application/json"), "{good}");
    let body = "\r\n\r\n{\"query\":\"port=9092&since=2m\",\"settled\":true}\n";
    assert!(good.ends_with(body), "{good}");
    assert!(unsettled.ends_with("\"settled\":false}\n"), "{unsettled}");
    assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");
    let error = "\r\n\r\n{\"error\":\"unknown parameter 'bad'\",\"kind\":\"error\",\"schema\":1}\n";
    assert!(bad.ends_with(error), "{bad}");
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
