//! Files and frames to single messages: FHS, BHS, BTS, FTS (HL7 v2.5.1 chapter 2, 2.10.3), several MSH in a row, MLLP-framed files.
//!
//! Works on bytes, before the character set is known. That is safe because a message starts only at a line start that reads
//! `MSH` and two characters of punctuation, and CR, LF, VT and FS are never part of a longer character in UTF-8, GB 18030, Big5,
//! EUC-KR or ISO 2022-JP.

use std::fmt;

use memchr::memchr3;

use super::Delimiters;

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
    /// More of the same, not told apart.
    More(u64),
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
    let mut reader = LineReader::default();
    let mut messages = Vec::new();
    let mut open = None;
    let mut start = 0;
    while start < raw.len() {
        let end = line_end(&raw[start..]).map_or(raw.len(), |length| start + length);
        let kind = reader.read(&raw[start..end], start as u64);
        reader.add_junk((end - start).saturating_sub(PREFIX_BYTES));
        if !matches!(kind, Line::Inside | Line::Outside) {
            messages.extend(open.take().map(|open| without_ends(&raw[open..start])));
        }
        if let Line::Message { skipped } = kind {
            open = Some(start + skipped);
        }
        start = end + 1;
    }
    messages.extend(open.map(|open| without_ends(&raw[open..])));
    Batch { messages, notes: reader.finish() }
}

/// Splits a stream that is too large for memory, chunk by chunk. Holds one message at most.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    reader: LineReader,
    /// The line that is not yet long enough to say what it is.
    prefix: Vec<u8>,
    /// What the line is, once that is known.
    is_read: bool,
    /// Bytes of the stream before the line.
    offset: u64,
    line_bytes: u64,
    message: Option<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    length: u64,
}

impl Splitter {
    /// A splitter for messages of at most `limit` bytes, line ends included.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            reader: LineReader::default(),
            prefix: Vec::new(),
            is_read: false,
            offset: 0,
            line_bytes: 0,
            message: None,
        }
    }

    /// Takes the next bytes and appends the messages that they complete to `pieces`.
    pub fn push(&mut self, chunk: &[u8], pieces: &mut Vec<Piece>) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let end = line_end(rest);
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.take(line, pieces);
            rest = after;
            if end.is_some() {
                self.read_line(pieces);
                self.collect(&after[..1]);
                self.offset += self.line_bytes + 1;
                self.line_bytes = 0;
                self.is_read = false;
                rest = &after[1..];
            }
        }
    }

    /// Ends the stream: appends the last message, gives what there is to say.
    pub fn finish(mut self, pieces: &mut Vec<Piece>) -> Vec<BatchNote> {
        self.read_line(pieces);
        self.complete(pieces);
        self.reader.finish()
    }

    /// Takes bytes of one line.
    fn take(&mut self, mut bytes: &[u8], pieces: &mut Vec<Piece>) {
        self.line_bytes += bytes.len() as u64;
        if !self.is_read {
            let (start, more) = bytes.split_at(bytes.len().min(PREFIX_BYTES - self.prefix.len()));
            self.prefix.extend_from_slice(start);
            bytes = more;
            if self.prefix.len() == PREFIX_BYTES {
                self.read_line(pieces);
            }
        }
        if self.is_read {
            self.reader.add_junk(bytes.len());
            self.collect(bytes);
        }
    }

    /// Decides what the line is by its prefix.
    fn read_line(&mut self, pieces: &mut Vec<Piece>) {
        if std::mem::replace(&mut self.is_read, true) {
            return;
        }
        let prefix = std::mem::take(&mut self.prefix);
        let kind = self.reader.read(&prefix, self.offset);
        if !matches!(kind, Line::Inside | Line::Outside) {
            self.complete(pieces);
        }
        let skipped = match kind {
            Line::Message { skipped } => {
                self.message = Some(Collected::default());
                skipped
            }
            Line::Inside | Line::Outside | Line::Batch => 0,
        };
        self.collect(&prefix[skipped..]);
    }

    fn collect(&mut self, bytes: &[u8]) {
        let Some(message) = &mut self.message else { return };
        message.length += bytes.len() as u64;
        let room = self.limit.saturating_sub(message.bytes.len());
        message.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn complete(&mut self, pieces: &mut Vec<Piece>) {
        let Some(Collected { mut bytes, length }) = self.message.take() else { return };
        if bytes.len() as u64 == length {
            bytes.truncate(without_ends(&bytes).len());
            pieces.push(Piece::Message(bytes));
        } else {
            bytes.truncate(HEAD_BYTES);
            pieces.push(Piece::TooLarge { head: bytes, length });
        }
    }
}

/// What decides about a line is in its first bytes; lines themselves may be as long as a message.
const PREFIX_BYTES: usize = 256;
/// What is kept of a message beyond the limit.
const HEAD_BYTES: usize = 4 << 10;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// The first of a message, behind some bytes that are none of it.
    Message { skipped: usize },
    /// Part of the message that is open.
    Inside,
    /// Blank, or junk.
    Outside,
    /// FHS, BHS, BTS or FTS.
    Batch,
}

/// Reads lines in order and counts what trailers declare.
#[derive(Debug, Default)]
struct LineReader {
    is_inside: bool,
    is_junk: bool,
    batches: u64,
    /// Messages since the last batch header.
    messages: u64,
    notes: Vec<BatchNote>,
    more_notes: u64,
}

/// Notes about one file that are kept apart; more are counted together. A file of junk has as many as lines.
const NOTES: usize = 100;

impl LineReader {
    fn read(&mut self, line: &[u8], offset: u64) -> Line {
        let line = &line[..line.len().min(PREFIX_BYTES)];
        let skipped = line.len() - without_mark(line).len();
        let content = &line[skipped..];
        let is_batch = |name: &[u8]| {
            content.starts_with(name) && content.get(3).is_none_or(|&byte| byte.is_ascii_punctuation() && byte != b'"')
        };
        self.is_junk = false;
        let kind = if Delimiters::start_message(content) {
            self.messages += 1;
            Line::Message { skipped }
        } else if is_batch(b"BHS") {
            self.messages = 0;
            Line::Batch
        } else if is_batch(b"BTS") {
            self.batches += 1;
            let (batch, found) = (self.batches, std::mem::take(&mut self.messages));
            if let Some(declared) = count_in(content).filter(|declared| *declared != found) {
                self.note(BatchNote::MessageCount { batch, declared, found });
            }
            Line::Batch
        } else if is_batch(b"FHS") || is_batch(b"FTS") {
            let found = self.batches;
            let declared = if content.starts_with(b"FTS") { count_in(content) } else { None };
            if let Some(declared) = declared.filter(|declared| *declared != found) {
                self.note(BatchNote::BatchCount { declared, found });
            }
            Line::Batch
        } else if self.is_inside {
            Line::Inside
        } else {
            if !content.is_empty() || line.len() == PREFIX_BYTES {
                self.is_junk = true;
                self.note(BatchNote::Junk { offset, bytes: line.len() as u64 });
            }
            Line::Outside
        };
        self.is_inside = matches!(kind, Line::Message { .. } | Line::Inside);
        kind
    }

    /// Counts what follows the prefix of a line of junk.
    fn add_junk(&mut self, more: usize) {
        if let Some(BatchNote::Junk { bytes, .. }) =
            self.notes.last_mut().filter(|_| self.is_junk && self.more_notes == 0)
        {
            *bytes += more as u64;
        }
    }

    fn note(&mut self, note: BatchNote) {
        if self.notes.len() < NOTES { self.notes.push(note) } else { self.more_notes += 1 }
    }

    fn finish(mut self) -> Vec<BatchNote> {
        if self.more_notes > 0 {
            self.notes.push(BatchNote::More(self.more_notes));
        }
        self.notes
    }
}

/// CR, LF, and FS, which ends a message in a file of MLLP frames.
fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr3(b'\r', b'\n', 0x1C, bytes)
}

/// A line without blanks, VT and a byte order mark before it.
fn without_mark(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0B;
    let trimmed = |line: &'_ [u8]| line.iter().position(|byte| !is_blank(byte)).unwrap_or(line.len());
    let line = &line[trimmed(line)..];
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    &line[trimmed(line)..]
}

/// A message without line ends, FS and VT after it.
fn without_ends(message: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0x1C | 0x0B);
    &message[..message.iter().rposition(|byte| !is_end(byte)).map_or(0, |last| last + 1)]
}

/// BTS-1 or FTS-1.
fn count_in(trailer: &[u8]) -> Option<u64> {
    let field = trailer.get(4..)?.split(|byte| *byte == trailer[3]).next()?;
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

impl fmt::Display for BatchNote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Junk { offset, bytes: 1 } => write!(formatter, "1 byte at offset {offset} belongs to no message"),
            Self::Junk { offset, bytes } => write!(formatter, "{bytes} bytes at offset {offset} belong to no message"),
            Self::MessageCount { batch, declared, found } => {
                write!(formatter, "batch {batch} declares {declared} messages in BTS-1 and holds {found}")
            }
            Self::More(count) => write!(formatter, "{count} more notes of this kind"),
            Self::BatchCount { declared, found } => {
                write!(formatter, "the file declares {declared} batches in FTS-1 and holds {found}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: &str = "MSH|^~\\&|HIS||||||ADT^A01|1\rPID|1||P1";
    const TWO: &str = "MSH|^~\\&|HIS||||||ADT^A08|2\rPID|1||P2";

    fn streamed(raw: &[u8], chunk: usize, limit: usize) -> (Vec<Piece>, Vec<BatchNote>) {
        let mut splitter = Splitter::new(limit);
        let mut pieces = Vec::new();
        for chunk in raw.chunks(chunk) {
            splitter.push(chunk, &mut pieces);
        }
        let notes = splitter.finish(&mut pieces);
        (pieces, notes)
    }

    fn check(raw: &str, messages: &[&str], notes: &[BatchNote]) {
        let batch = split(raw.as_bytes());
        let found: Vec<String> = batch.messages.iter().map(|message| String::from_utf8_lossy(message).into()).collect();
        assert_eq!(found, messages, "{raw:?}");
        assert_eq!(batch.notes, notes, "{raw:?}");
        for chunk in [1, 3, 1000] {
            let (pieces, found) = streamed(raw.as_bytes(), chunk, 1000);
            let expected: Vec<Piece> =
                messages.iter().map(|message| Piece::Message(message.as_bytes().to_vec())).collect();
            assert_eq!((pieces, &found[..]), (expected, notes), "{raw:?} by {chunk}");
        }
    }

    #[test]
    fn defect_06_messages_in_a_row_are_split() {
        for end in ["\r", "\n", "\r\n", "\r\r\n\n"] {
            let (one, two) = (ONE.replace('\r', end), TWO.replace('\r', end));
            check(&format!("{one}{end}{two}{end}"), &[&one, &two], &[]);
        }
        check(ONE, &[ONE], &[]);
        check(&format!("{ONE}\r  \u{FEFF}{TWO}"), &[ONE, TWO], &[]);
    }

    #[test]
    fn batches_are_unwrapped_and_counted() {
        let file = |messages: u64, batches: u64| {
            format!("FHS|^~\\&|HIS\rBHS|^~\\&|HIS\r{ONE}\r{TWO}\rBTS|{messages}\rFTS|{batches}\r")
        };
        check(&file(2, 1), &[ONE, TWO], &[]);
        check(
            &file(3, 2),
            &[ONE, TWO],
            &[
                BatchNote::MessageCount { batch: 1, declared: 3, found: 2 },
                BatchNote::BatchCount { declared: 2, found: 1 },
            ],
        );
        check(&format!("BHS|^~\\&\n{ONE}\nBTS\n"), &[ONE], &[]);
    }

    #[test]
    fn mllp_framed_files_are_unwrapped() {
        check(&format!("\u{B}{ONE}\r\u{1C}\r\u{B}{TWO}\r\u{1C}\r"), &[ONE, TWO], &[]);
        check(&format!("\u{B}{ONE}\u{1C}\u{B}{TWO}\u{1C}"), &[ONE, TWO], &[]);
    }

    #[test]
    fn what_belongs_to_no_message_is_noted() {
        check("", &[], &[]);
        check("\r\n \r\n", &[], &[]);
        let junk = "x".repeat(700);
        check(
            &format!("\nhello\n{junk}\n{ONE}"),
            &[ONE],
            &[BatchNote::Junk { offset: 1, bytes: 5 }, BatchNote::Junk { offset: 7, bytes: 700 }],
        );
        let many = split("junk\n".repeat(150).as_bytes()).notes;
        assert_eq!((many.len(), many.last()), (101, Some(&BatchNote::More(50))));
    }

    #[test]
    fn text_that_only_mentions_a_header_does_not_split() {
        let wrapped = format!("{ONE}\rMSH-3 is wrong\rMSHA|x\r\"MSH|^~\\&\"\rBTSX|1");
        check(&wrapped, &[&wrapped], &[]);
    }

    #[test]
    fn a_message_beyond_the_limit_is_told_by_its_head() {
        let large = format!("{ONE}\r{}", "OBX|1|TX|x\r".repeat(1000));
        let raw = format!("{large}{TWO}\r");
        for chunk in [7, 100_000] {
            let (pieces, _) = streamed(raw.as_bytes(), chunk, 5000);
            let [Piece::TooLarge { head, length }, Piece::Message(two)] = &pieces[..] else { panic!("{pieces:?}") };
            assert_eq!((head.len(), *length, two.as_slice()), (HEAD_BYTES, large.len() as u64, TWO.as_bytes()));
        }
        let (pieces, _) = streamed(format!("{ONE}\r\n").as_bytes(), 9, ONE.len() + 2);
        assert_eq!(pieces, [Piece::Message(ONE.into())]);
    }

    #[test]
    fn the_second_byte_of_a_character_never_splits() {
        // 瑋 and 昢 end in `|` and `^` in GBK.
        let gbk = b"MSH|^~\\&|\xac\x7c\x95\x5e|\rPID|\xac\x7c";
        assert_eq!(split(gbk).messages, [&gbk[..]]);
    }

    proptest! {
        #[test]
        fn any_chunks_give_the_same_messages(
            lines in prop::collection::vec("(MSH\\|\\^~|FHS\\||BHS\\||BTS\\|2|FTS\\|1|PID\\|[a-z]{0,9}|\u{b}|\u{1c}|[ \\PC]{0,300})(\r|\n|\r\n|\u{1c}\r)?", 0..12),
            chunk in 1..400usize,
        ) {
            let raw = lines.concat().into_bytes();
            let batch = split(&raw);
            let expected: Vec<Piece> = batch.messages.iter().map(|message| Piece::Message(message.to_vec())).collect();
            prop_assert_eq!(streamed(&raw, chunk, 10_000), (expected, batch.notes));
        }

        #[test]
        fn any_bytes_are_split_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            split(&bytes);
            streamed(&bytes, 7, 20);
        }
    }
}
