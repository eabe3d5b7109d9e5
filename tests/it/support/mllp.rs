//! An MLLP client on a bare socket: it can send what no client should.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::hl7::Ack;

const START: u8 = 0x0B;
const END: u8 = 0x1C;
const CARRIAGE_RETURN: u8 = 0x0D;

/// `content` in MLLP framing.
pub(crate) fn framed(content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(content.len() + 3);
    frame.push(START);
    frame.extend_from_slice(content);
    frame.extend_from_slice(&[END, CARRIAGE_RETURN]);
    frame
}

/// One connection to a listener.
pub(crate) struct Mllp {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Mllp {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the listener accepts")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Writes bytes as they are, framing and all.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("the peer takes what is written");
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Frames `content`, sends it and reads the answer.
    pub(crate) fn ask(&mut self, content: impl AsRef<[u8]>) -> Ack {
        self.write(&framed(content.as_ref()));
        self.answer()
    }

    /// The next answer; panics when none comes.
    pub(crate) fn answer(&mut self) -> Ack {
        match self.receive(PATIENCE) {
            Received::Frame(content) => Ack::parse(&content),
            other => panic!("no answer within {PATIENCE:?}: {other:?}"),
        }
    }

    /// The next frame, the end of the stream, or nothing for as long as `within`.
    pub(crate) fn receive(&mut self, within: Duration) -> Received {
        let deadline = Instant::now() + within;
        loop {
            if let Some(content) = self.take_frame() {
                return Received::Frame(content);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Received::Nothing;
            }
            self.stream.set_read_timeout(Some(left)).expect("a time-out");
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Received::Closed,
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Received::Closed,
            }
        }
    }

    /// A second handle that only writes, for another thread.
    pub(crate) fn sender(&self) -> TcpStream {
        self.stream.try_clone().expect("a second handle")
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub(crate) fn finish_writing(&self) {
        self.stream.shutdown(Shutdown::Write).expect("an open socket");
    }

    /// Answers must be whole frames with nothing in between: anything else is a fault of the product.
    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let end = self.received.windows(2).position(|pair| pair == [END, CARRIAGE_RETURN])?;
        let frame: Vec<u8> = self.received.drain(..end + 2).collect();
        assert_eq!(frame[0], START, "bytes outside a frame in an answer");
        Some(frame[1..end].to_vec())
    }
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Frame(Vec<u8>),
    Closed,
    Nothing,
}
