//! An MLLP client: sends messages over one connection and awaits their answers, in order. For `heyi send` and for tests.
//!
//! Invariants
//! - After a time-out or a broken frame the connection is of no more use: an answer that comes late would be taken for the
//!   answer to the next message. Every call after that fails.
//!
//! It must never resend by itself: whether a message without an answer was kept is for its sender to find out.

use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::frame::{Decoder, Event, FrameLimits, Received, framed};
use crate::tls::{ClientFiles, TlsError, client_config};

/// Bytes per read: an acknowledgement has some hundred.
const READ_BUFFER: usize = 4096;

/// Whom to send to, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `host:port`.
    pub address: String,
    /// TLS, if the listener wants it.
    pub tls: Option<ClientFiles>,
    /// Bounds.
    pub limits: Limits,
}

/// How long the client waits, and how much it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the connection, with its TLS handshake.
    pub connect: Duration,
    /// For one answer. Senders in the field wait between 10 and 60 s.
    pub answer: Duration,
    /// Size of an answer.
    pub frame: FrameLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            // An acknowledgement lists errors, not content.
            frame: FrameLimits { message: 1024 * 1024, ..FrameLimits::default() },
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The TLS files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The part before the port is no name that a certificate could bear.
    #[error("{0}: not a host and port such as 127.0.0.1:2575")]
    Address(String),
    /// No connection.
    #[error("{address}: cannot connect ({reason}); is the listener running, and does it speak {protocol}?")]
    Connect {
        /// Where to.
        address: String,
        /// What the system or the TLS handshake says.
        reason: String,
        /// What was tried: `TLS` or `plain MLLP`.
        protocol: &'static str,
    },
    /// The connection broke while sending or waiting.
    #[error("the connection broke ({0}); the message may or may not have been kept")]
    Broken(std::io::Error),
    /// The other side closed instead of answering.
    #[error(
        "the listener closed the connection without an answer: is this machine in `allow` of the source? If it was open before, the message may or may not have been kept"
    )]
    Closed,
    /// Nothing came in time.
    #[error("no answer within {} s; the message may or may not have been kept", .0.as_secs_f32())]
    Silent(Duration),
    /// The answer is no frame, or too large a one.
    #[error("the answer is not an MLLP frame of acceptable size; is this an MLLP listener?")]
    NotAnAnswer,
    /// An earlier answer never came.
    #[error("the connection cannot be used after an answer was missing; connect again")]
    Unusable,
}

/// One connection.
pub struct Client {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    limits: Limits,
    decoder: Decoder,
    unread: Vec<u8>,
    usable: bool,
}

impl Client {
    /// Connects, with TLS if set.
    pub async fn connect(settings: &Settings) -> Result<Self, ClientError> {
        let Settings { address, tls, limits } = settings;
        let protocol = if tls.is_some() { "TLS" } else { "plain MLLP" };
        let secure = match tls {
            None => None,
            Some(files) => Some((TlsConnector::from(client_config(files)?), server_name(address)?)),
        };
        let connected = timeout(limits.connect, async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(match secure {
                None => Either::Left(stream),
                Some((connector, name)) => Either::Right(Box::new(connector.connect(name, stream).await?)),
            })
        });
        let failed = |reason| ClientError::Connect { address: address.clone(), reason, protocol };
        let stream = match connected.await {
            Ok(connected) => connected.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed("not done in time".to_owned())),
        };
        let decoder = Decoder::new(limits.frame);
        Ok(Self { stream, limits: *limits, decoder, unread: Vec::new(), usable: true })
    }

    /// Sends one message (without framing) and awaits its answer.
    pub async fn exchange(&mut self, message: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.send(message).await?;
        self.answer().await
    }

    /// Sends one message without waiting. Not more than a few hundred ahead of the answers: a listener that is not read from
    /// stops reading too.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ClientError> {
        self.send_bytes(&framed(message)).await
    }

    /// Sends bytes as they are, frames or not: for trying out how a listener takes bad input.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.while_usable()?;
        let stream = &mut self.stream;
        let sent = timeout(self.limits.answer, async {
            stream.write_all(bytes).await?;
            stream.flush().await
        });
        let sent = sent.await.map_err(|_| ClientError::Silent(self.limits.answer))?;
        sent.map_err(ClientError::Broken)?;
        self.usable = true;
        Ok(())
    }

    /// The next answer, without framing.
    pub async fn answer(&mut self) -> Result<Vec<u8>, ClientError> {
        self.while_usable()?;
        let limit = self.limits.answer;
        let answer = timeout(limit, self.read_answer()).await.map_err(|_| ClientError::Silent(limit))??;
        self.usable = true;
        Ok(answer)
    }

    /// Says that nothing more will be sent; answers can still be awaited.
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        self.stream.shutdown().await.map_err(ClientError::Broken)
    }

    /// Taken back by the caller when all went well: so a cancelled call leaves the connection unusable too.
    fn while_usable(&mut self) -> Result<(), ClientError> {
        if std::mem::replace(&mut self.usable, false) { Ok(()) } else { Err(ClientError::Unusable) }
    }

    async fn read_answer(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            let mut rest = self.unread.as_slice();
            let event = self.decoder.next(&mut rest);
            self.unread = rest.to_vec();
            match event {
                Some(Event::Received(Received::Whole(answer))) => return Ok(answer),
                Some(_) => return Err(ClientError::NotAnAnswer),
                None => {}
            }
            self.unread.resize(READ_BUFFER, 0);
            let count = self.stream.read(&mut self.unread).await.map_err(ClientError::Broken)?;
            self.unread.truncate(count);
            if count == 0 {
                return Err(ClientError::Closed);
            }
        }
    }
}

/// The name or address that the listener's certificate must bear.
fn server_name(address: &str) -> Result<ServerName<'static>, ClientError> {
    let host = address.rsplit_once(':').map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']'));
    host.and_then(|host| ServerName::try_from(host.to_owned()).ok())
        .ok_or_else(|| ClientError::Address(address.to_owned()))
}
