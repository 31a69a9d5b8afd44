//! The HTTP listener: five pages, nothing that can be written to.
//!
//! Constraint: whatever a client sends or leaves out, it costs a bounded amount of memory and
//! time. Requests have no body, connections have a lifetime, and their number has a limit.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tcpwnd_core::findings::SCHEMA;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connections::Connections;
use super::exposition::{self, Family, Format};

/// Connections that the kernel holds until they are taken; `net.core.somaxconn` may make it fewer.
const BACKLOG: i32 = 1024;
/// What of an answer the kernel holds for a client that does not read it, bytes. It could be
/// megabytes (`net.ipv4.tcp_wmem`), and requests that nobody awaits the answers of fill it.
const SEND_BUFFER: usize = 256 << 10;
/// More connections than scrapers and scripts have: from there on clients take turns.
const CROWD: usize = 8;
/// Between two requests of one connection in a crowd.
const PACE: Duration = Duration::from_secs(1);
/// For a request's head, from the moment when one may come.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection's whole life. Scrapers keep theirs open; they come again.
const LIFETIME: Duration = Duration::from_secs(300);
/// A request's head, bytes; hyper takes no less.
const MAX_HEAD: usize = 8192;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// How long requests that are under way may take once the listener is to end.
const GRACE: Duration = Duration::from_secs(2);

/// What the pages show.
pub trait Pages {
    /// Every metric, as of now.
    fn metrics(&self) -> Vec<Family>;

    /// Whether everything that is required is attached.
    ///
    /// # Errors
    /// With what is missing.
    fn ready(&self) -> Result<(), String>;

    /// Waits until everything has been taken in that the kernel has reported so far; false when
    /// that would take too long.
    fn settled(&self) -> Pin<Box<dyn Future<Output = bool>>>;

    /// Answers what `/api/v1/findings` was asked, as JSON.
    ///
    /// # Errors
    /// With what is wrong with the question.
    fn findings(&self, query: &str, settled: bool) -> Result<String, String>;
}

/// Takes the address.
///
/// # Errors
/// When it cannot be had; the message names the address and the way out.
pub fn bind(addr: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(addr).map_err(|error| {
        let way_out = match error.kind() {
            io::ErrorKind::AddrInUse => "stop what listens there, or choose another with --listen",
            io::ErrorKind::PermissionDenied => "choose a port above 1023 with --listen",
            _ => "choose an address of this host with --listen",
        };
        let reason = crate::host::reason(&error);
        anyhow::Error::new(error)
            .context(format!("failed to listen on {addr}: {reason}: {way_out}"))
    })?;
    listener.set_nonblocking(true)?;
    // Clients that come all at once would overflow the 128 of the standard library, and a scraper
    // among them would come again only after a second.
    let socket = socket2::SockRef::from(&listener);
    socket.listen(BACKLOG)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    Ok(listener)
}

/// Serves until `stop` becomes true, then lets what is under way finish.
///
/// # Errors
/// When the runtime cannot take the listener.
pub async fn serve(
    listener: std::net::TcpListener,
    pages: Rc<dyn Pages>,
    connections: Rc<Connections>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut tasks = JoinSet::new();
    let served = Rc::new(Served {
        pages,
        connections,
        scrape: RefCell::default(),
    });
    let for_connections = stop.clone();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let served = Rc::clone(&served);
                    tasks.spawn_local(connection(stream, served, for_connections.clone()));
                    // What it sent may be there already: it has its turn before the next one that
                    // could take its place.
                    tokio::task::yield_now().await;
                }
                // Out of descriptors, or a connection that was gone before it was taken: the first
                // would come back at once, so let go of the CPU in between.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
    drop(listener);
    let all = async { while tasks.join_next().await.is_some() {} };
    // What is not finished by then is cut off.
    let _ = tokio::time::timeout(GRACE, all).await;
    Ok(())
}

async fn connection(stream: TcpStream, served: Rc<Served>, mut stop: watch::Receiver<bool>) {
    let (place, displaced) = served.connections.enter();
    let last = Cell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        place.touch();
        let (served, last) = (&served, &last);
        async move {
            served.pace(last).await;
            Ok::<_, Infallible>(respond(&request, served).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // An error is the client's own doing (a reset, garbage, a time-out): nothing to report.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = displaced => {}
        () = tokio::time::sleep(LIFETIME) => {}
        _ = stop.wait_for(|stop| *stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// What all connections share.
struct Served {
    pages: Rc<dyn Pages>,
    connections: Rc<Connections>,
    scrape: RefCell<Option<Scrape>>,
}

/// The metrics as they were encoded last.
struct Scrape {
    format: Format,
    body: Bytes,
    made: Instant,
    took: Duration,
}

impl Served {
    /// Many connections: what they ask for may come to more than there is time for.
    fn is_crowded(&self) -> bool {
        self.connections.open() > CROWD
    }

    /// Waits, in a crowd, until the request before was a while ago, so that each client has its turn
    /// before any has its second one.
    async fn pace(&self, last: &Cell<Option<Instant>>) {
        let since = last.get().map(|last| last.elapsed());
        if let Some(since) = since.filter(|since| *since < PACE && self.is_crowded()) {
            tokio::time::sleep(PACE - since).await;
        }
        last.set(Some(Instant::now()));
    }

    /// The metrics of now; in a crowd those that were encoded a moment ago, so that this takes a
    /// tenth of the time at most.
    fn metrics(&self, format: Format) -> Result<Bytes, fmt::Error> {
        let crowded = self.is_crowded();
        let scrape = self.scrape.take().filter(|scrape| {
            crowded && scrape.format == format && scrape.made.elapsed() < 10 * scrape.took
        });
        let scrape = match scrape {
            Some(scrape) => scrape,
            None => {
                let begun = Instant::now();
                let body = exposition::encode(self.pages.metrics(), format)?.into();
                Scrape {
                    format,
                    body,
                    made: Instant::now(),
                    took: begun.elapsed(),
                }
            }
        };
        let body = scrape.body.clone();
        if crowded {
            self.scrape.replace(Some(scrape));
        }
        Ok(body)
    }
}

async fn respond(request: &Request<Incoming>, served: &Served) -> Response<Full<Bytes>> {
    let pages = &*served.pages;
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return closing(response);
    }
    let response = match request.uri().path() {
        "/" => typed(StatusCode::OK, "text/html; charset=utf-8", INDEX.into()),
        "/metrics" => metrics(request, served),
        FINDINGS => findings(request, pages).await,
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match pages.ready() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(missing) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("not ready: {missing}\n"),
            ),
        },
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    };
    // Nobody reads a body here, and skipping one would take as long as the client likes.
    if request.body().is_end_stream() {
        response
    } else {
        closing(response)
    }
}

fn metrics(request: &Request<Incoming>, served: &Served) -> Response<Full<Bytes>> {
    let accept = request
        .headers()
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let format = exposition::negotiate(accept);
    match served.metrics(format) {
        Ok(body) => typed(StatusCode::OK, format.content_type(), body),
        Err(_) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics could not be encoded\n",
        ),
    }
}

async fn findings(request: &Request<Incoming>, pages: &dyn Pages) -> Response<Full<Bytes>> {
    let settled = pages.settled().await;
    let query = request.uri().query().unwrap_or_default();
    let (status, body) = match pages.findings(query, settled) {
        Ok(answer) => (StatusCode::OK, answer),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            serde_json::json!({ "schema": SCHEMA, "kind": "error", "error": error }).to_string(),
        ),
    };
    typed(status, "application/json", format!("{body}\n").into())
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", body.to_owned().into())
}

fn typed(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Where scripts ask.
const FINDINGS: &str = "/api/v1/findings";

/// The page that says what this is.
const INDEX: &str = concat!(
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>tcpwnd</title></head>",
    "<body><h1>tcpwnd ",
    env!("CARGO_PKG_VERSION"),
    "</h1><p>Finds TCP connections whose window scale was damaged in the handshake.</p><ul>",
    "<li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>",
    "<li><a href=\"/api/v1/findings?limit=10\">/api/v1/findings</a>: for scripts (since, port, limit)</li>",
    "<li><a href=\"/healthz\">/healthz</a>: the process answers</li>",
    "<li><a href=\"/readyz\">/readyz</a>: everything that is needed is attached</li>",
    "</ul></body></html>\n"
);

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
