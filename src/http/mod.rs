//! A system seen and steered over HTTP: a page, an API under `/api/v1`, metrics for Prometheus, a stream of events and
//! arrays over WebSocket. Nothing else of the library knows of HTTP; everything here goes through
//! [`Watch`](crate::system::Watch).
//!
//! | part | what it does |
//! |---|---|
//! | `service` | holds the run: one that somebody else started, or one that is started and stopped from here |
//! | `hub` | takes a run's events and arrays once, for all readers |
//! | `guard` | who may ask: address, host, origin, token, how often |
//! | `routes`, `stream`, `metrics` | what is answered |
//!
//! The server has one thread of its own; what waits or computes is done on others, so that no reader holds up another.

mod guard;
mod hub;
mod metrics;
mod routes;
mod service;
mod stream;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, oneshot};

pub use routes::openapi;
pub use service::{Mode, Service};

use crate::{Error, Result};
use guard::Guard;

/// The address where nobody names one.
pub const ADDRESS: &str = "127.0.0.1:8080";

/// Connections at a time.
const CONNECTIONS: usize = 160;

/// How long the beginning of a request may take.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// How long readers may take to hear the end of a run.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where and to whom a system is shown.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// ADDRESS:PORT.
    pub address: String,
    /// A file with the token that every request must carry; needed at any address but the machine's own.
    pub token_file: Option<PathBuf>,
    /// Names under which requests may come: those of the proxy with TLS before it, which is needed at any address but the
    /// machine's own. At that one requests may also come under the address itself.
    pub hosts: Vec<String>,
}

/// A server at work. One that is dropped ends.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    service: Arc<Service>,
}

impl Server {
    /// Listens, and answers for what `service` holds.
    ///
    /// # Errors
    /// Where the address is not this machine's own and there is no token or no name of a proxy, or somebody else listens there.
    pub fn start(settings: &Settings, service: Arc<Service>) -> Result<Self> {
        let wanted = &settings.address;
        let wrong = |what: String| Error::input(format!("--http {wanted}: {what}"));
        let mut found = wanted
            .to_socket_addrs()
            .map_err(|error| wrong(format!("{error}; accepted: ADDRESS:PORT, e.g. {ADDRESS}")))?;
        let address = found.next().ok_or_else(|| wrong(format!("no such address; accepted: e.g. {ADDRESS}")))?;
        let token = settings.token_file.as_deref().map(guard::read_token).transpose()?;
        if !address.ip().is_loopback() {
            if token.is_none() {
                return Err(wrong(
                    "others can reach this address; accepted: 127.0.0.1 or [::1], or a --http-token-file".into(),
                ));
            }
            if settings.hosts.is_empty() {
                return Err(wrong(
                    "whoever is on the way could read the token; accepted: beside it --http-host NAME, the name of the proxy \
                     with TLS that stands before this address"
                        .into(),
                ));
            }
        }
        let listener = TcpListener::bind(address).map_err(|error| wrong(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| wrong(error.to_string()))?;
        listener.set_nonblocking(true).map_err(|error| wrong(error.to_string()))?;
        let guard = Arc::new(Guard::new(address, token, settings.hosts.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(16)
            .build()
            .map_err(|error| Error::device(format!("no server: {error}")))?;
        let (stop, stopped) = oneshot::channel();
        let shown = Arc::clone(&service);
        let thread = thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(accept(listener, guard, shown, stopped));
            // A command that waits for its answer is not waited for.
            runtime.shutdown_background();
        });
        let thread = thread.map_err(|error| Error::device(format!("no thread for the server: {error}")))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread), service })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.service.hub().close();
        if let Some(stop) = self.stop.take() {
            // It is gone already where its thread has ended.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes connections until somebody says stop, and then lets the readers hear the end.
async fn accept(listener: TcpListener, guard: Arc<Guard>, service: Arc<Service>, mut stopped: oneshot::Receiver<()>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let router = routes::router(guard, Arc::clone(&service));
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&connections).acquire_owned() => permit,
            _ = &mut stopped => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        let (Ok(permit), Ok((stream, _))) = (permit, accepted) else {
            // No descriptor is left, or the peer is gone already: others may do better.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Small messages are wanted at once; where that cannot be they come a little later.
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
                .with_upgrades();
            // A connection that breaks concerns nobody but its client.
            let _ = served.await;
            drop(permit);
        });
    }
    let since = tokio::time::Instant::now();
    while service.hub().readers() > 0 && since.elapsed() < FAREWELL {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
