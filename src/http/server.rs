//! The accept loop: plain or TLS, HTTP/1.1, every wait bounded, stopped without cutting an answer.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::audit;
use super::call::Peer;
use super::limits::{HANDSHAKE_TIME, HEAD_BYTES, HEAD_TIME, HEADERS, WRITE_TIME};
use super::{AppState, router};
use crate::tls::ServerTls;

/// Pause after a failed `accept`: the usual cause is a lack of file descriptors, which passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP on `listener` until `state.stopping` is cancelled; then takes no more connections, lets requests finish and returns.
/// Dropping what this returns cuts every connection.
pub async fn serve(listener: Arc<TcpListener>, tls: Option<Arc<ServerTls>>, state: Arc<AppState>) {
    let router = router(Arc::clone(&state));
    let permits = Arc::new(Semaphore::new(state.guard.connections()));
    let requests = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    while let Some((stream, peer, permit)) = next_connection(&listener, &permits, &mut connections, &state).await {
        let Some(place) = state.guard.connect(peer) else {
            tracing::info!(address = %peer, "an HTTP connection was refused: not allowed, or too many of this address");
            continue;
        };
        let connection = Connection {
            peer,
            router: router.clone(),
            tls: tls.clone(),
            watcher: requests.watcher(),
            open: OpenConnection::new(&state),
            state: Arc::clone(&state),
        };
        connections.spawn(async move {
            connection.serve(stream).await;
            drop((permit, place));
        });
    }
    drop(listener);
    requests.shutdown().await;
    while connections.join_next().await.is_some() {}
}

/// The next connection with its permit; `None` when the daemon stops. The permit comes first, so that what cannot be
/// served waits in the kernel's bounded backlog.
async fn next_connection(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    connections: &mut JoinSet<()>,
    state: &AppState,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let accepted = async {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((stream, peer.ip(), permit)),
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::pin!(accepted);
    loop {
        tokio::select! {
            biased;
            () = state.stopping.cancelled() => return None,
            // What has ended is forgotten as it ends.
            Some(_) = connections.join_next() => {}
            accepted = &mut accepted => return accepted,
        }
    }
}

struct Connection {
    peer: IpAddr,
    router: Router,
    tls: Option<Arc<ServerTls>>,
    watcher: Watcher,
    open: OpenConnection,
    state: Arc<AppState>,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        // Small answers are written in one piece; waiting for more (Nagle) only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "an HTTP connection ended before it began");
            return;
        }
        let Some(tls) = &self.tls else { return self.serve_plain(stream).await };
        let handshake = timeout(HANDSHAKE_TIME, tls.acceptor().accept(stream));
        let shaken = tokio::select! { () = self.open.0.stopping.cancelled() => return, shaken = handshake => shaken };
        match shaken {
            Ok(Ok(stream)) => self.serve_plain(stream).await,
            Ok(Err(error)) => {
                tracing::info!(address = %self.peer, %error, "a TLS handshake for HTTP failed");
                if is_about_certificate(&error) {
                    audit::certificate_refused(&self.state, self.peer).await;
                }
            }
            Err(_) => tracing::info!("a TLS handshake for HTTP took longer than {HANDSHAKE_TIME:?}"),
        }
    }

    async fn serve_plain<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_headers(HEADERS)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(
                TokioIo::new(TimedWrites::new(stream, WRITE_TIME)),
                WithPeer { router: TowerToHyperService::new(self.router), peer: Peer(self.peer) },
            );
        if let Err(error) = self.watcher.watch(connection).await {
            // A peer that leaves or is silent is no event; what it sent is not shown.
            tracing::debug!(%error, "an HTTP connection ended early");
        }
        drop(self.open);
    }
}

/// Whether a handshake failed because the other side showed no certificate of the authority that is asked for.
fn is_about_certificate(error: &io::Error) -> bool {
    let reason = error.get_ref().and_then(|reason| reason.downcast_ref::<rustls::Error>());
    matches!(reason, Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)))
}

/// The router, told with each request who asks.
struct WithPeer {
    router: TowerToHyperService<Router>,
    peer: Peer,
}

impl Service<hyper::Request<Incoming>> for WithPeer {
    type Response = <TowerToHyperService<Router> as Service<hyper::Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<hyper::Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<hyper::Request<Incoming>>>::Future;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.router.call(request)
    }
}

/// Counts a connection as open while it lives.
struct OpenConnection(Arc<AppState>);

impl OpenConnection {
    fn new(state: &Arc<AppState>) -> Self {
        state.metrics.http_connections.inc();
        Self(Arc::clone(state))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.metrics.http_connections.dec();
    }
}

/// A stream whose writes fail when the peer takes nothing for a time; hyper bounds reading, not writing.
struct TimedWrites<S> {
    stream: S,
    limit: Duration,
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedWrites<S> {
    fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, blocked: None }
    }

    /// Passes `outcome` on; while it is pending, the time runs.
    fn timed<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.blocked = None;
            return outcome;
        }
        let limit = self.limit;
        match self.blocked.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedWrites<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedWrites<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = pin!(&mut self.stream).poll_write(context, bytes);
        self.timed(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = pin!(&mut self.stream).poll_flush(context);
        self.timed(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = pin!(&mut self.stream).poll_shutdown(context);
        self.timed(context, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn a_peer_that_stops_reading_is_given_up() {
        let (near, far) = tokio::io::duplex(16);
        let error = TimedWrites::new(near, Duration::from_millis(20)).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(far);
    }
}
