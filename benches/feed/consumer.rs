//! A consumer on one connection that it keeps: pages as they are given, or the stream. It looks at no more than it must, so that what is
//! measured is the daemon's work.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What ends the name of a report's order in an event, and what begins it.
const ORDER: &[u8] = b"\"filler_order_number\":\"L";

/// A page: where to go on, and whether that is the end.
struct Page {
    next: String,
    is_last: bool,
}

/// Reads pages of a consumer.
pub(crate) struct Pages {
    stream: TcpStream,
    token: String,
    buffer: Vec<u8>,
}

impl Pages {
    pub(crate) async fn connect(address: SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the daemon accepts");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, token: token.to_owned(), buffer: Vec::new() }
    }

    /// The next page; who is told to wait (429) waits as long as it is told.
    async fn page(&mut self, after: &str, wait: u32) -> Page {
        loop {
            if let Some(page) = self.try_page(after, wait).await {
                return page;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn try_page(&mut self, after: &str, wait: u32) -> Option<Page> {
        let head = format!(
            "GET /v1/feed?after={after}&limit=1000&wait={wait} HTTP/1.1\r\nHost: heyi\r\nAuthorization: Bearer {}\r\n\r\n",
            self.token
        );
        self.stream.write_all(head.as_bytes()).await.expect("the daemon takes a request");
        self.buffer.clear();
        let begins = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            assert_ne!(
                self.stream.read_buf(&mut self.buffer).await.expect("an answer"),
                0,
                "the connection was closed"
            );
        };
        let head = String::from_utf8_lossy(&self.buffer[..begins]).to_ascii_lowercase();
        assert!(["http/1.1 200", "http/1.1 429"].iter().any(|known| head.starts_with(known)), "{head}");
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse().ok())
            .expect("a page with its length");
        while self.buffer.len() < begins + length {
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.expect("a page"), 0, "the connection was closed");
        }
        if head.starts_with("http/1.1 429") {
            return None;
        }
        let body = &self.buffer[begins..];
        let member = |name: &str| -> String {
            let begins = rfind(body, format!("\"{name}\":\"").as_bytes()).expect("a member") + name.len() + 4;
            body[begins..].iter().take_while(|byte| **byte != b'"').map(|byte| char::from(*byte)).collect()
        };
        let (next, head) = (member("next"), member("head"));
        Some(Page { is_last: next == head, next })
    }

    /// Reads from the beginning to the end, how many events there were: all are this consumer's, and the log has no holes.
    pub(crate) async fn read_all(&mut self) -> usize {
        let mut cursor = "start".to_owned();
        loop {
            let page = self.page(&cursor, 0).await;
            if page.is_last {
                let sequence = page.next.rsplit_once('-').expect("a cursor").1;
                return sequence.parse().expect("a number");
            }
            cursor = page.next;
        }
    }

    /// Follows the log from its head until `done`.
    pub(crate) async fn follow(&mut self, done: &AtomicBool) {
        let mut cursor = "head".to_owned();
        while !done.load(Ordering::SeqCst) {
            cursor = self.page(&cursor, 1).await.next;
        }
    }
}

/// Follows the stream from the head until `done`: which orders' reports came, and when.
pub(crate) async fn follow_stream(address: SocketAddr, token: &str, done: &AtomicBool) -> Vec<(String, Instant)> {
    let mut stream = TcpStream::connect(address).await.expect("the daemon accepts");
    stream.set_nodelay(true).expect("a socket");
    let head =
        format!("GET /v1/feed/stream?after=head HTTP/1.1\r\nHost: heyi\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("the daemon takes a request");
    let (mut buffer, mut came) = (Vec::new(), Vec::new());
    while !done.load(Ordering::SeqCst) {
        let read = tokio::time::timeout(Duration::from_millis(200), stream.read_buf(&mut buffer));
        let Ok(read) = read.await else { continue };
        assert_ne!(read.expect("the stream"), 0, "the stream ended");
        let at = Instant::now();
        while let Some(end) = find(&buffer, b"\n\n") {
            if let Some(begins) = find(&buffer[..end], ORDER) {
                let rest = &buffer[begins + ORDER.len()..end];
                came.push((rest.iter().take_while(|byte| **byte != b'"').map(|byte| char::from(*byte)).collect(), at));
            }
            buffer.drain(..end + 2);
        }
    }
    came
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn rfind(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).rposition(|window| window == what)
}
