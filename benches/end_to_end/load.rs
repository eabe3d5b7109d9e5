//! The client: connections that each send a message, wait for its answer, and send the next.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::messages::Messages;

/// What to send.
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
}

/// What came of it.
pub(crate) struct Outcome {
    /// From the first message to the last answer.
    pub(crate) elapsed: Duration,
    /// One for each message, each answered AA under its own number.
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    /// Loads `address` from one thread, so that the server keeps most of the machine.
    pub(crate) fn run(&self, address: SocketAddr) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let started = Instant::now();
            let until = started + self.duration;
            let tasks: Vec<_> = (0..self.connections)
                .map(|connection| tokio::spawn(converse(address, Messages::new(connection, self.seed), until)))
                .collect();
            let mut latencies = Vec::new();
            for task in tasks {
                latencies.append(&mut task.await.expect("a connection"));
            }
            Outcome { elapsed: started.elapsed(), latencies }
        })
    }
}

async fn converse(address: SocketAddr, mut messages: Messages, until: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    stream.set_nodelay(true).expect("a socket");
    let (mut text, mut frame, mut answer) = (String::new(), Vec::new(), Vec::new());
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let id = messages.next(&mut text);
        frame.clear();
        frame.push(0x0B);
        frame.extend_from_slice(text.as_bytes());
        frame.extend_from_slice(&[0x1C, 0x0D]);
        let sent = Instant::now();
        stream.write_all(&frame).await.expect("the server takes a message");
        answer.clear();
        while !answer.ends_with(&[0x1C, 0x0D]) {
            assert_ne!(stream.read_buf(&mut answer).await.expect("an answer"), 0, "the server closed the connection");
        }
        latencies.push(sent.elapsed());
        let expected = format!("MSA|AA|{id}");
        let positive = answer.windows(expected.len()).any(|window| window == expected.as_bytes());
        assert!(positive, "not AA: {}", String::from_utf8_lossy(&answer));
    }
    latencies
}
