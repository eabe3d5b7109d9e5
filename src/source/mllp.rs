//! An MLLP listener: whom it lets in, how many, and how it stops. What happens on one connection is in `connection.rs`.
//!
//! Invariants
//! - A connection takes a slot before anything is read from it, and gives it back only when its last message is done.
//! - Slots cannot be lost to silence: when none is free, the connection that has been silent longest yields.
//! - Trouble with one peer, or with accepting, never ends the listener.
//! - Stopping: no new connections, no new frames, no more handshakes; frames in work are answered. How long that may take is the
//!   caller's to say: dropping what [`Listener::serve`] returned cuts off every connection.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::connection::{self, Context};
use super::frame::{FrameLimits, Received};
use super::slots::Slots;
use super::window::{Turn, WindowLimits};
use crate::tls::{ServerFiles, ServerTls, TlsError};

/// How one listener is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The source's name, for the log.
    pub source: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who may connect. Nobody, if empty.
    pub allow: Vec<IpNet>,
    /// TLS, and whether clients must show a certificate.
    pub tls: Option<ServerFiles>,
    /// Bounds.
    pub limits: Limits,
    /// What it shares with the other sources.
    pub budget: Budget,
}

/// The bounds of one listener.
///
/// A connection holds at most a frame being read, [`WindowLimits::bytes`] in work and one frame more; all sources together what the
/// [`Budget`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of a message.
    pub frame: FrameLimits,
    /// Messages of one connection in work at once.
    pub window: WindowLimits,
    /// Connections at once. A hospital has tens of senders on a port; each connection may hold several messages.
    pub connections: usize,
    /// How long a connection may be silent. Senders that work in bursts reconnect; one whose host is gone must not stay for ever.
    pub idle: Duration,
    /// How long a frame may take from VT to FS: 16 MiB in two minutes is 1 Mbit/s.
    pub in_frame: Duration,
    /// How long a peer may refuse to take an answer of some hundred bytes.
    pub write: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// Bytes outside frames, between two frames, before the peer is taken for something else than a sender.
    pub junk: u64,
    /// How long a connection must have been silent before it yields its slot to a new one.
    pub yields_after: Duration,
    /// How long the other side has to take the last answer and close, after we have. Closing at once with unread bytes would
    /// reset the connection and destroy the answer on its way (RFC 1122 4.2.2.13).
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: FrameLimits::default(),
            window: WindowLimits::default(),
            connections: 256,
            idle: Duration::from_secs(600),
            in_frame: Duration::from_secs(120),
            write: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            junk: 64 * 1024,
            yields_after: Duration::from_secs(60),
            linger: Duration::from_secs(1),
        }
    }
}

/// Who sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other end's address.
    pub address: SocketAddr,
    /// Whether the line is TLS.
    pub encrypted: bool,
}

/// What to send back for one frame, each as a frame of its own: none (enhanced mode can ask for that), one acknowledgement,
/// or several (accept and application acknowledgement; one for each message of a batch).
pub type Answers = Vec<Vec<u8>>;

/// What a listener counts, since it began. Relaxed counters: read them for metrics, not for decisions.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Connections let in.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections closed at once because their address is not on the list.
    pub refused_address: AtomicU64,
    /// Connections closed at once because all slots were taken by others at work.
    pub refused_full: AtomicU64,
    /// Silent connections closed in favour of a new one.
    pub yielded: AtomicU64,
    /// Failures to accept (out of file handles and the like).
    pub accept_errors: AtomicU64,
    /// TLS handshakes that failed.
    pub tls_failures: AtomicU64,
    /// Frames read to their end, too large ones included.
    pub frames: AtomicU64,
    /// Frames above the size limit.
    pub too_large: AtomicU64,
    /// Frames that never ended.
    pub cut: AtomicU64,
    /// Bytes outside frames.
    pub junk_bytes: AtomicU64,
    /// Answers written.
    pub answers: AtomicU64,
    /// Connections closed for silence.
    pub idle_timeouts: AtomicU64,
    /// Connections closed because a frame took too long.
    pub frame_timeouts: AtomicU64,
    /// Connections closed because an answer could not be delivered.
    pub undelivered: AtomicU64,
    /// Panics in the handler: each cost a connection, and its message no answer.
    pub panics: AtomicU64,
}

impl Statistics {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// Why a listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or needs rights.
    #[error(
        "source {source_name}: cannot listen on {address} ({error}); choose a free port of this machine, or stop what uses it"
    )]
    Bind {
        /// Which source.
        source_name: String,
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The TLS files.
    #[error("source {source_name}: {error}")]
    Tls {
        /// Which source.
        source_name: String,
        /// What is wrong with which file.
        error: TlsError,
    },
}

/// A bound port: connections queue in the kernel until [`Listener::serve`]. It is free again when the value is dropped and nothing
/// serves it.
#[derive(Debug)]
pub struct Listener {
    settings: Arc<Settings>,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<ServerTls>,
    statistics: Arc<Statistics>,
}

impl Listener {
    /// Reads the TLS files and takes the port.
    pub async fn bind(settings: Settings) -> Result<Self, ListenError> {
        let source_name = || settings.source.clone();
        let tls = match settings.tls.clone().map(ServerTls::load) {
            None => None,
            Some(Ok(tls)) => Some(tls),
            Some(Err(error)) => return Err(ListenError::Tls { source_name: source_name(), error }),
        };
        let bound = async {
            let listener = TcpListener::bind(settings.listen).await?;
            listener.local_addr().map(|address| (listener, address))
        };
        let (listener, address) = bound.await.map_err(|error| ListenError::Bind {
            source_name: source_name(),
            address: settings.listen,
            error,
        })?;
        Ok(Self { settings: Arc::new(settings), listener, address, tls, statistics: Arc::default() })
    }

    /// Where it listens; the real port, if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its TLS, for whoever writes renewals down.
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// What it counts.
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.statistics)
    }

    /// Accepts connections and gives every frame to `handler`, until `stop` is cancelled and all is answered.
    ///
    /// Frames of one connection are handled side by side, up to [`Limits::window`], and answered in order. The answer leaves
    /// when the handler returns, so it returns after the commit. Answers to [`Received::Cut`] are not sent.
    pub async fn serve<H, F>(self: Arc<Self>, handler: H, stop: CancellationToken)
    where
        H: Fn(Received, Peer, Turn) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answers> + Send + 'static,
    {
        let Self { settings, listener, tls, statistics, .. } = &*self;
        let slots = Slots::new(settings.limits.connections, settings.limits.yields_after, Arc::clone(statistics));
        let mut connections = JoinSet::new();
        let mut refusals = Seldom::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let source = &settings.source;
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    Statistics::add(&statistics.accept_errors, 1);
                    if let Some(unsaid) = refusals.say() {
                        tracing::warn!(source, %error, unsaid, "cannot accept connections for the moment");
                    }
                    // Out of handles or memory: trying again at once would only burn the processor.
                    tokio::select! { () = stop.cancelled() => break, () = tokio::time::sleep(ACCEPT_PAUSE) => continue }
                }
            };
            if !is_allowed(&settings.allow, address) {
                Statistics::add(&statistics.refused_address, 1);
                if let Some(unsaid) = refusals.say() {
                    tracing::warn!(source, peer = %address, unsaid, "connection refused: the address is not in this source's `allow`");
                }
                continue;
            }
            let Some(slot) = slots.take(&stop, Instant::now()) else {
                Statistics::add(&statistics.refused_full, 1);
                if let Some(unsaid) = refusals.say() {
                    tracing::warn!(source, peer = %address, unsaid, "connection refused: `max_connections` are open and at work");
                }
                continue;
            };
            Statistics::add(&statistics.accepted, 1);
            let acceptor = tls.as_ref().map(ServerTls::acceptor);
            let (settings, statistics, handler) = (Arc::clone(settings), Arc::clone(statistics), handler.clone());
            connections.spawn(async move {
                let peer = Peer { address, encrypted: acceptor.is_some() };
                let Settings { source, limits, budget, .. } = &*settings;
                let context = Context { source, peer, limits, budget, statistics: &statistics, slot: &slot };
                if let Some(stream) = secured(stream, acceptor, &context).await {
                    connection::run(context, stream, handler).await;
                }
            });
        }
        // The port is given back before the connections are done.
        drop(self);
        while connections.join_next().await.is_some() {}
    }
}

/// Pause after a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time between two lines on refused connections.
const REFUSAL_LINES: Duration = Duration::from_secs(10);

/// An IPv4 peer of a socket that listens on IPv6 as well counts as IPv4.
fn is_allowed(allow: &[IpNet], address: SocketAddr) -> bool {
    let address = address.ip().to_canonical();
    allow.iter().any(|network| network.contains(&address))
}

/// The stream to read from, after the TLS handshake if there has to be one; `None` if that failed.
async fn secured(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    context: &Context<'_>,
) -> Option<Either<TcpStream, Box<TlsStream<TcpStream>>>> {
    // An answer is one small write that somebody waits for. Without it an answer may be up to 40 ms late; no reason to refuse.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else { return Some(Either::Left(stream)) };
    let Context { source, peer, limits, statistics, slot, .. } = context;
    let handshake = timeout(limits.handshake, acceptor.accept(stream));
    // Nobody has sent a message yet, so nobody waits for an answer.
    let shaken = tokio::select! { () = slot.close.cancelled() => return None, shaken = handshake => shaken };
    let reason = match shaken {
        Ok(Ok(stream)) => return Some(Either::Right(Box::new(stream))),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "not done in time".to_owned(),
    };
    Statistics::add(&statistics.tls_failures, 1);
    tracing::warn!(source, peer = %peer.address, reason, "TLS handshake failed: the sender must speak TLS 1.2 or 1.3, trust this certificate, and show its own where `client_ca` is set");
    None
}

/// Keeps a flood of connections from becoming a flood of log lines.
#[derive(Debug, Default)]
struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// Whether to write a line now, and how many were left out before it.
    fn say(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < REFUSAL_LINES) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}
