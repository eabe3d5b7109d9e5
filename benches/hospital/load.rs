//! The client: connections that each send a message, wait for its answer, and send the next.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::messages::Messages;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// The number of the first: two loads with connections in common send messages under the same MSH-10.
    pub(crate) first: usize,
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
    /// Messages a second over all connections at most; `None`: as fast as answers come.
    pub(crate) rate: Option<f64>,
}

/// What came of it.
pub(crate) struct Outcome {
    /// From the first message to the last answer.
    pub(crate) elapsed: Duration,
    /// One for each message, each answered AA under its own number.
    pub(crate) answers: Vec<Answer>,
}

/// One message that was answered.
pub(crate) struct Answer {
    /// Its MSH-10.
    pub(crate) id: String,
    /// From its last byte written to its answer.
    pub(crate) latency: Duration,
    /// When its answer was read.
    pub(crate) at: Instant,
}

impl Outcome {
    /// How long the answers took, the shortest first.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        let mut latencies: Vec<_> = self.answers.iter().map(|answer| answer.latency).collect();
        latencies.sort_unstable();
        latencies
    }

    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers.len() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    /// Loads `address` from one thread, so that the server keeps most of the machine.
    pub(crate) fn run(&self, address: SocketAddr) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let pause = self.rate.map(|rate| Duration::from_secs_f64(self.connections as f64 / rate));
        runtime.block_on(async {
            let started = Instant::now();
            let until = started + self.duration;
            let tasks: Vec<_> = (self.first..self.first + self.connections)
                .map(|connection| tokio::spawn(converse(address, Messages::new(connection, self.seed), pause, until)))
                .collect();
            let mut answers = Vec::new();
            for task in tasks {
                answers.append(&mut task.await.expect("a connection"));
            }
            Outcome { elapsed: started.elapsed(), answers }
        })
    }
}

async fn converse(address: SocketAddr, mut messages: Messages, pause: Option<Duration>, until: Instant) -> Vec<Answer> {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    stream.set_nodelay(true).expect("a socket");
    let (mut text, mut frame, mut answer) = (String::new(), Vec::new(), Vec::new());
    let mut answers = Vec::new();
    let mut due = Instant::now();
    while Instant::now() < until {
        if let Some(pause) = pause {
            tokio::time::sleep_until(due.into()).await;
            due += pause;
        }
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
        let (at, latency) = (Instant::now(), sent.elapsed());
        let expected = format!("MSA|AA|{id}");
        let positive = answer.windows(expected.len()).any(|window| window == expected.as_bytes());
        assert!(positive, "not AA: {}", String::from_utf8_lossy(&answer));
        answers.push(Answer { id, latency, at });
    }
    answers
}
