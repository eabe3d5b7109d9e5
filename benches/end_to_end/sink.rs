//! The bare durable sink: raw row, group commit with fsync, then the answer. No parsing, no mapping, no matching.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Rows of one commit at most.
const GROUP: usize = 1000;

/// The sink as a process of its own, ended with its handle.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts this very program as a sink that keeps its rows in `path`.
    pub(crate) fn start(path: &Path) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child =
            Command::new(program).env("HEYI_BENCH_SINK", path).stdout(Stdio::piped()).spawn().expect("the sink starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("its address");
        Self { address: line.trim().parse().expect("an address"), child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Row {
    sender: Vec<u8>,
    control_id: Vec<u8>,
    raw: Vec<u8>,
    committed: oneshot::Sender<()>,
}

/// Serves until killed; prints the address that it listens on.
pub(crate) fn serve(path: &Path) {
    let (rows, waiting) = channel();
    let path = path.to_owned();
    std::thread::spawn(move || write(&path, &waiting));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("its address"));
        std::io::stdout().flush().expect("stdout");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(answer(stream, rows.clone()));
        }
    });
}

fn write(path: &Path, waiting: &Receiver<Row>) {
    let store = rusqlite::Connection::open(path).expect("a store");
    store
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE message (id INTEGER PRIMARY KEY, sender BLOB NOT NULL, control_id BLOB NOT NULL, raw BLOB NOT NULL) STRICT;
             CREATE UNIQUE INDEX once ON message (sender, control_id);",
        )
        .expect("a table");
    while let Ok(first) = waiting.recv() {
        let group: Vec<Row> = std::iter::once(first).chain(waiting.try_iter()).take(GROUP).collect();
        store.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
        let mut insert = store
            .prepare_cached("INSERT INTO message (sender, control_id, raw) VALUES (?1, ?2, ?3)")
            .expect("a statement");
        for row in &group {
            insert.execute((&row.sender, &row.control_id, &row.raw)).expect("a row");
        }
        store.execute_batch("COMMIT").expect("a commit");
        // A connection that is gone waits for nothing.
        group.into_iter().for_each(|row| row.committed.send(()).unwrap_or_default());
    }
}

async fn answer(mut stream: TcpStream, rows: Sender<Row>) {
    stream.set_nodelay(true).expect("a socket");
    let mut received = Vec::with_capacity(16 * 1024);
    while stream.read_buf(&mut received).await.is_ok_and(|count| count > 0) {
        while let Some(end) = received.windows(2).position(|pair| pair == [0x1C, 0x0D]) {
            let frame: Vec<u8> = received.drain(..end + 2).collect();
            let raw = frame[1..end].to_vec();
            let mut fields = raw.split(|byte| *byte == b'|');
            let sender = fields.nth(2).unwrap_or_default().to_vec();
            let control_id = fields.nth(6).unwrap_or_default().to_vec();
            let mut acknowledgement =
                b"\x0bMSH|^~\\&|HEYI|CRM|HIS|MAIN|20260101000000||ACK|1|P|2.5.1\rMSA|AA|".to_vec();
            acknowledgement.extend_from_slice(&control_id);
            acknowledgement.extend_from_slice(b"\r\x1c\r");
            let (committed, done) = oneshot::channel();
            rows.send(Row { sender, control_id, raw, committed }).expect("the writer");
            done.await.expect("a commit");
            if stream.write_all(&acknowledgement).await.is_err() {
                return;
            }
        }
    }
}
