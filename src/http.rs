//! Health and metrics over HTTP, on a port of their own: for probes, Prometheus and people.
//!
//! It only tells: nothing can be changed here, and no device, topic or payload is
//! named. Whoever reaches the port may read it.
//!
//! ```
//! use nearfar::{Detector, Node, deployment, http};
//!
//! let node = Node::builder().deployment(deployment::Config::edge(), Detector::shipped()?).start()?;
//! let server = http::Server::start(http::Config::loopback(), node.observer())?;
//! println!("curl http://{}/metrics", server.address());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod callers;
mod catalogue;
mod exposition;
mod hybrids;
mod page;
mod process;
mod refusals;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use self::callers::Callers;
use self::refusals::Refusals;
use crate::broker;
use crate::node::Observer;
use crate::rate_limit::{RateLimit, WARN_EVERY};

pub use self::answers::{LIVE, METRICS, READY};
pub use self::refusals::Refusal;

/// The port where Prometheus' exporters of this kind are looked for by default.
pub const PORT_DEFAULT: u16 = 9464;

/// Connections at the same time; for a further one the oldest of the address that has most ends.
const CONNECTIONS_MAX: usize = 64;
/// Where fewer files may be open, one in so many is for a connection.
const FILES_PER_CONNECTION: usize = 8;
/// Bytes of a request's line and headers; a longer one is answered with status 431.
const HEADER_BYTES_MAX: usize = 8 * 1_024;
/// How long a request's headers may take.
const HEADER_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a connection may take, of which each carries one request.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
/// How long no connection is accepted when the system has no socket for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
}

impl Config {
    /// Loopback, on a free port.
    pub fn loopback() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 0).into() }
    }
}

/// Why health and metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum HttpError {
    /// The address cannot be had.
    #[error(
        "cannot serve health and metrics on {address}: {source}; choose another address (http.listen, --http; port 0 takes a free one)"
    )]
    Bind { address: SocketAddr, source: io::Error },
    /// No thread, or no runtime for it, can be had.
    #[error("cannot start the thread for health and metrics: {0}")]
    Thread(#[source] io::Error),
}

/// Answers until it is dropped.
pub struct Server {
    address: SocketAddr,
    /// There until the thread is told to end, which its disappearance does.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds the port and starts the thread `http`, which tells what `observer` sees.
    ///
    /// # Errors
    /// [`HttpError`] when the address cannot be had, or the system has no thread left.
    pub fn start(config: Config, observer: Observer) -> Result<Self, HttpError> {
        let bind_failed = |source| HttpError::Bind { address: config.listen, source };
        let listener = std::net::TcpListener::bind(config.listen).map_err(bind_failed)?;
        let address = listener.local_addr().map_err(bind_failed)?;
        listener.set_nonblocking(true).map_err(bind_failed)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(HttpError::Thread)?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener).map_err(bind_failed)?
        };
        let (stop, stopped) = oneshot::channel();
        let serve = move || runtime.block_on(serve(listener, observer, stopped));
        let thread =
            thread::Builder::new().name("http".to_owned()).spawn(serve).map_err(HttpError::Thread)?;
        info!(%address, "health and metrics");
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// The address it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread for health and metrics panicked");
        }
    }
}

/// Accepts connections until it is told to stop, which ends those that are open.
async fn serve(listener: TcpListener, observer: Observer, mut stopped: oneshot::Receiver<()>) {
    let files_max = broker::open_files_max().unwrap_or(usize::MAX);
    let mut callers = Callers::new((files_max / FILES_PER_CONNECTION).clamp(1, CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let refusals = Arc::new(Refusals::default());
    let mut warnings = RateLimit::new(WARN_EVERY);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if callers.make_room(peer.ip()) {
                        refusals.count(Refusal::ConnectionsMax);
                        // The one that was ended closes its socket when its task runs.
                        tokio::task::yield_now().await;
                    }
                    callers.add(peer.ip(), connections.spawn(converse(stream, observer.clone(), Arc::clone(&refusals))));
                }
                Err(error) => {
                    // Mostly out of file descriptors. The connection stays in the system's queue, so
                    // trying again at once would spin.
                    if warnings.is_due() {
                        warn!(%error, "cannot accept a connection for health and metrics");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// One request and its answer.
async fn converse(stream: TcpStream, observer: Observer, refusals: Arc<Refusals>) {
    let respond = service_fn(|request| {
        let response = answers::answer(&request, &observer, &refusals);
        Refusal::of_status(response.status()).into_iter().for_each(|refusal| refusals.count(refusal));
        async { Ok::<_, Infallible>(response) }
    });
    // A probe or a scrape comes every few seconds, and for that a kept connection saves
    // nothing worth its bounds.
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), respond);
    match tokio::time::timeout(CONNECTION_TIME_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            Refusal::of_error(&error).into_iter().for_each(|refusal| refusals.count(refusal));
            debug!(%error, "an HTTP connection ended");
        }
        Err(_) => {
            refusals.count(Refusal::Timeout);
            debug!("an HTTP connection took too long");
        }
    }
}
