//! Bounds of the HTTP side: value, unit, reason.

use std::time::Duration;

/// Time for a request's head to arrive, and the longest that an idle connection is kept.
pub const HEAD_TIME: Duration = Duration::from_secs(30);
/// Time for a TLS handshake.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Time for a peer to take the next bytes of an answer, so that one that stopped reading does not hold its page for ever.
pub const WRITE_TIME: Duration = Duration::from_secs(30);
/// Time for a whole request: the longest poll, and as much again for reading.
pub const REQUEST_TIME: Duration = Duration::from_secs(60);
/// Headers in a request.
pub const HEADERS: usize = 64;
/// Bytes of a request's head, and of hyper's buffers.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Bytes of a request's body: the largest is a patient record.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Bytes of event data in one page; a page always has at least one event if there is one.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Streams that may be open at a time; each looks at the log after every commit. A hospital has some ten consumers.
pub const STREAMS: usize = 64;
/// Events in one piece of a stream.
pub const STREAM_EVENTS: usize = 200;
/// Bytes of event data in one piece of a stream: two of them are held for a slow reader.
pub const STREAM_BYTES: usize = 1024 * 1024;
/// Pause between two comments of a stream, so that who is between does not think it dead: the contract's 15 s.
pub const STREAM_COMMENT: Duration = Duration::from_secs(15);
/// Events that a stream passes over before it says where it is.
pub const STREAM_CHECKPOINT: u64 = 10_000;
/// Time between two looks of one stream at the log: what is committed meanwhile leaves in one piece, under one entry of the audit.
pub const STREAM_GATHERING: Duration = Duration::from_millis(20);
/// What a long poll waits for more before it answers with less than a page, for the same reason.
pub const POLL_GATHERING: Duration = Duration::from_millis(50);
/// Longest wait of a page, of a stream's piece or a snapshot's, while the writer has messages to take in: 1,000 events in it are still 10,000 a
/// second.
pub const GIVING_WAY_TIME: Duration = Duration::from_millis(100);
/// Longest wait between two looks at the head of the log in a long poll: another process may have written.
pub const HEAD_CHECK: Duration = Duration::from_secs(1);
/// Time for the store to take a job in `/readyz`.
pub const READY_TIME: Duration = Duration::from_secs(2);
/// How long the answer of one such job stands for those who ask meanwhile.
pub const READY_AGE: Duration = Duration::from_secs(1);
/// A token's last use is written at most this often.
pub const LAST_USE_INTERVAL: Duration = Duration::from_secs(60);
/// Unknown codes that are told at once, the most frequent ones: a table that lacks more is the wrong table.
pub const UNMAPPED_CODES: usize = 1_000;
