//! MLLP framing (HL7 v2 Transport Specification: MLLP, Release 1): `VT message FS CR`. Pure: bytes in, events out.
//!
//! Invariants
//! - The events depend on the bytes alone, never on how the network cut them.
//! - Every byte is accounted for: it is content, framing, a line end between frames, or counted as junk.
//! - FS ends a frame. The CR after it is skipped when it comes, never waited for: senders that leave it out want their answer too.
//! - VT directly before `MSH`, `FHS` or `BHS` always starts a frame. Inside one it means that the sender gave up on the frame
//!   before and began anew; any other VT inside a frame is content.
//! - Memory is bounded by [`FrameLimits`]: of a frame that is too large only the head is kept, enough to answer it.
//!
//! VT, FS and CR are never trail bytes in GB18030, Big5, UTF-8 or ISO 8859, so framing needs no character set.

use crate::hl7v2::limits::MESSAGES_OF_FRAME;

/// Start of a frame.
pub const VT: u8 = 0x0B;
/// End of a frame.
pub const FS: u8 = 0x1C;
/// What follows FS.
pub const CR: u8 = 0x0D;
const LF: u8 = 0x0A;

/// Bytes that one message needs until its frame is answered, however short it is: its answer, mostly 200 bytes to 500, and its
/// places in the work.
const ANSWER: usize = 1024;

/// How many bytes the names that start a message have.
const NAME: usize = 3;

/// `message` as a frame, ready to send.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 3);
    frame.push(VT);
    frame.extend_from_slice(message);
    frame.extend_from_slice(&[FS, CR]);
    frame
}

/// What a decoder keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Bytes of one message.
    pub message: usize,
    /// Bytes kept of a larger one: its MSH, from which the refusal is addressed.
    pub head: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        // 16 MiB is a report with a scanned page in base64; an MSH segment has some 200 bytes, escaped names and all.
        Self { message: 16 * 1024 * 1024, head: 4096 }
    }
}

/// What came as one frame.
#[derive(Clone, PartialEq, Eq)]
pub enum Received {
    /// All between VT and FS, perhaps nothing.
    Whole(Vec<u8>),
    /// A frame above [`FrameLimits::message`], read to its end.
    TooLarge {
        /// Its first bytes.
        head: Vec<u8>,
        /// How many it had.
        length: u64,
    },
    /// A frame that never ended: the sender began anew, fell silent or closed. Nobody waits for an answer to it, and the next
    /// answer on the line would be taken for one to the next message: it is kept, not answered.
    Cut {
        /// What came of it; its first bytes only, if it was too large as well.
        bytes: Vec<u8>,
        /// How many bytes came.
        length: u64,
    },
}

impl Received {
    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        match self {
            Received::Whole(bytes) | Received::Cut { bytes, .. } => bytes.len(),
            Received::TooLarge { head, .. } => head.len(),
        }
    }

    /// What the work on it takes of the budget: its bytes, and 1 KiB for each message that it could be a batch of. Counted where a
    /// message could begin, which is never too few; beyond [`MESSAGES_OF_FRAME`] it is refused as a whole.
    pub fn weight(&self) -> usize {
        let messages = match self {
            Received::Whole(bytes) => memchr::memmem::find_iter(bytes, b"MSH").take(MESSAGES_OF_FRAME).count(),
            Received::TooLarge { .. } | Received::Cut { .. } => 0,
        };
        self.held() + messages * ANSWER
    }
}

impl std::fmt::Debug for Received {
    /// Shows lengths only: the content is a patient's.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Received::Whole(bytes) => write!(formatter, "Whole({} bytes)", bytes.len()),
            Received::TooLarge { length, .. } => write!(formatter, "TooLarge({length} bytes)"),
            Received::Cut { length, .. } => write!(formatter, "Cut({length} bytes)"),
        }
    }
}

/// What the bytes turn out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A frame, whole or damaged.
    Received(Received),
    /// Bytes outside any frame, reported when a frame starts or the stream ends.
    Junk {
        /// How many.
        bytes: u64,
        /// What they look like.
        guess: Guess,
    },
}

/// What bytes outside a frame look like, so that the log can say what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// A TLS handshake on a plain port.
    Tls,
    /// A request of a browser, health check or scanner.
    Http,
    /// An HL7 message without its frame.
    Unframed,
    /// Nothing known.
    Unknown,
}

impl Guess {
    /// What whoever set the sender up should know.
    pub fn hint(self) -> &'static str {
        match self {
            Guess::Tls => {
                "the peer speaks TLS to a plain port: set `tls` for this source, or turn TLS off at the sender"
            }
            Guess::Http => "the peer speaks HTTP to an MLLP port: a health check or scanner, or a wrong port",
            Guess::Unframed => "the peer sends HL7 without MLLP framing: turn on MLLP (VT … FS CR) at the sender",
            Guess::Unknown => "bytes outside any MLLP frame",
        }
    }

    fn of(start: &[u8]) -> Self {
        const METHODS: [&[u8]; 5] = [b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"PUT "];
        // RFC 8446 5.1: record type handshake (22), legacy version 3.x.
        if start.starts_with(&[0x16, 0x03]) {
            Guess::Tls
        } else if METHODS.iter().any(|method| start.starts_with(method)) {
            Guess::Http
        } else if starts_message(start) {
            Guess::Unframed
        } else {
            Guess::Unknown
        }
    }
}

/// Takes the bytes of one connection, gives its frames. Has no `Debug`: it holds content.
pub struct Decoder {
    limits: FrameLimits,
    junk: Junk,
    frame: Option<Partial>,
}

#[derive(Default)]
struct Junk {
    bytes: u64,
    /// The first few, for the guess.
    start: Vec<u8>,
}

/// A frame that has not ended.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    /// Content bytes so far, kept or not.
    length: u64,
    /// The bytes after a VT in the content, until they are known to be the start of a message or not.
    after_vt: Option<Vec<u8>>,
}

impl Decoder {
    /// A decoder for a new connection.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, junk: Junk::default(), frame: None }
    }

    /// Takes from the front of `input` until there is an event; `None` when all of it is taken.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Event> {
        while !input.is_empty() {
            let event = match self.frame.take() {
                None => self.outside(input),
                Some(frame) => self.inside(frame, input),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// The stream has ended or the peer is given up: what was begun, if anything.
    pub fn finish(&mut self) -> Option<Event> {
        match self.frame.take() {
            Some(frame) => frame.cut(),
            None => self.junk.take(),
        }
    }

    /// Bytes kept of the frame that has begun.
    pub fn held(&self) -> usize {
        self.frame.as_ref().map_or(0, |frame| frame.bytes.len())
    }

    /// Whether a frame has begun and not ended.
    pub fn in_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Bytes outside any frame since the last one, and what they look like so far.
    pub fn junk(&self) -> (u64, Guess) {
        (self.junk.bytes, Guess::of(&self.junk.start))
    }

    fn outside(&mut self, input: &mut &[u8]) -> Option<Event> {
        let start = memchr::memchr(VT, input);
        let (junk, rest) = input.split_at(start.unwrap_or(input.len()));
        self.junk.add(junk);
        *input = rest;
        start?;
        *input = &rest[1..];
        self.frame = Some(Partial::default());
        self.junk.take()
    }

    fn inside(&mut self, mut frame: Partial, input: &mut &[u8]) -> Option<Event> {
        // After a VT the next bytes are looked at one by one; otherwise all up to the next VT or FS are content.
        let reach = if frame.after_vt.is_some() { 1 } else { input.len() };
        let stop = memchr::memchr2(VT, FS, &input[..reach]);
        let (content, rest) = input.split_at(stop.unwrap_or(reach));
        frame.push(content, &self.limits);
        *input = rest;
        if let Some(name) = &mut frame.after_vt {
            name.extend_from_slice(content);
            if starts_message(name) {
                return self.restart(frame);
            }
            if name.len() >= NAME {
                frame.after_vt = None;
            }
        }
        if stop.is_some() {
            let byte = rest[0];
            *input = &rest[1..];
            if byte == FS {
                return Some(Event::Received(frame.whole(&self.limits)));
            }
            frame.push(&[VT], &self.limits);
            frame.after_vt = Some(Vec::with_capacity(NAME));
        }
        self.frame = Some(frame);
        None
    }

    /// `frame` ends with VT and the name that starts a message: they belong to the next one.
    fn restart(&mut self, mut frame: Partial) -> Option<Event> {
        let name = frame.after_vt.take().unwrap_or_default();
        frame.length -= name.len() as u64 + 1;
        frame.bytes.truncate(usize::try_from(frame.length).unwrap_or(usize::MAX));
        let mut next = Partial::default();
        next.push(&name, &self.limits);
        self.frame = Some(next);
        frame.cut()
    }
}

impl Junk {
    fn add(&mut self, bytes: &[u8]) {
        // Line ends belong to the frame before (its CR), or are a keep-alive: nothing worth a word.
        let junk = bytes.iter().filter(|byte| !matches!(**byte, CR | LF));
        self.bytes += junk.clone().count() as u64;
        const ENOUGH: usize = 8;
        self.start.extend(junk.take(ENOUGH.saturating_sub(self.start.len())));
    }

    fn take(&mut self) -> Option<Event> {
        let Junk { bytes, start } = std::mem::take(self);
        (bytes > 0).then(|| Event::Junk { bytes, guess: Guess::of(&start) })
    }
}

impl Partial {
    fn push(&mut self, content: &[u8], limits: &FrameLimits) {
        self.length += content.len() as u64;
        if self.length <= limits.message as u64 {
            self.bytes.extend_from_slice(content);
            return;
        }
        let room = limits.head.saturating_sub(self.bytes.len()).min(content.len());
        self.bytes.extend_from_slice(&content[..room]);
        if self.bytes.len() > limits.head {
            self.bytes.truncate(limits.head);
            self.bytes.shrink_to_fit();
        }
    }

    fn whole(self, limits: &FrameLimits) -> Received {
        if self.length <= limits.message as u64 {
            Received::Whole(self.bytes)
        } else {
            Received::TooLarge { head: self.bytes, length: self.length }
        }
    }

    fn cut(self) -> Option<Event> {
        let Self { bytes, length, .. } = self;
        (length > 0).then_some(Event::Received(Received::Cut { bytes, length }))
    }
}

/// Whether bytes begin as messages and batches do (HL7 v2.5.1 chapter 2, 2.10.3 for FHS and BHS).
fn starts_message(bytes: &[u8]) -> bool {
    [b"MSH", b"FHS", b"BHS"].iter().any(|name| bytes.starts_with(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: FrameLimits = FrameLimits { message: 16, head: 6 };

    fn whole(bytes: &[u8]) -> Event {
        Event::Received(Received::Whole(bytes.to_vec()))
    }

    fn cut(bytes: &[u8]) -> Event {
        Event::Received(Received::Cut { bytes: bytes.to_vec(), length: bytes.len() as u64 })
    }

    fn junk(bytes: u64, guess: Guess) -> Event {
        Event::Junk { bytes, guess }
    }

    fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limits: FrameLimits) -> Vec<Event> {
        let mut decoder = Decoder::new(limits);
        let mut events = Vec::new();
        for mut chunk in chunks {
            while let Some(event) = decoder.next(&mut chunk) {
                events.push(event);
            }
            assert!(chunk.is_empty());
        }
        events.extend(decoder.finish());
        events
    }

    fn check(bytes: &[u8], expected: &[Event]) {
        assert_eq!(decode([bytes], SMALL), expected, "in one piece");
        assert_eq!(decode(bytes.chunks(1), SMALL), expected, "byte by byte");
    }

    #[test]
    fn frames_are_found_whatever_is_around_them() {
        check(b"", &[]);
        check(b"\x0bMSH|1\x1c\r", &[whole(b"MSH|1")]);
        check(b"\x0bMSH|1\x1c\r\x0bMSH|2\x1c\r", &[whole(b"MSH|1"), whole(b"MSH|2")]);
        check(b"\x0bMSH|1\x1c\x0bMSH|2\x1c", &[whole(b"MSH|1"), whole(b"MSH|2")]);
        check(b"\x0b\x1c\r", &[whole(b"")]);
        check(b"\r\n\x0bMSH|1\x1c\r\n\r\n\x0bMSH|2\x1c\r\n", &[whole(b"MSH|1"), whole(b"MSH|2")]);
        check(b"noise\x0bMSH|1\x1c\rmore", &[junk(5, Guess::Unknown), whole(b"MSH|1"), junk(4, Guess::Unknown)]);
        check(b"\x1c\r\x0bMSH|1\x1c\r", &[junk(1, Guess::Unknown), whole(b"MSH|1")]);
    }

    #[test]
    fn a_sender_that_begins_anew_cuts_the_frame_before() {
        check(b"\x0bMSH|1\x0bMSH|2\x1c\r", &[cut(b"MSH|1"), whole(b"MSH|2")]);
        check(b"\x0bMSH|1\x0bFHS|2\x1c\r", &[cut(b"MSH|1"), whole(b"FHS|2")]);
        check(b"\x0b\x0bMSH|2\x1c\r", &[whole(b"MSH|2")]);
        check(b"\x0bMSH|1\x0b\x0bMSH|2\x1c\r", &[cut(b"MSH|1\x0b"), whole(b"MSH|2")]);
        check(b"\x0bMSH|1", &[cut(b"MSH|1")]);
        check(b"\x0b", &[]);
    }

    #[test]
    fn another_vt_is_content() {
        check(b"\x0bMSH|\x0b|MS\x0bMS\x1c\r", &[whole(b"MSH|\x0b|MS\x0bMS")]);
        check(b"\x0bMSH|\x0bMMSH\x1c\r", &[whole(b"MSH|\x0bMMSH")]);
    }

    #[test]
    fn of_too_large_a_frame_the_head_is_kept_and_the_next_one_is_read() {
        let too_large = |head: &[u8], length| Event::Received(Received::TooLarge { head: head.to_vec(), length });
        check(b"\x0bMSH|567890123456\x1c\r", &[whole(b"MSH|567890123456")]);
        check(b"\x0bMSH|5678901234567\x1c\r\x0bMSH|2\x1c\r", &[too_large(b"MSH|56", 17), whole(b"MSH|2")]);
        let cut = Event::Received(Received::Cut { bytes: b"MSH|56".to_vec(), length: 20 });
        check(b"\x0bMSH|5678901234567890\x0bMSH|2\x1c\r", &[cut, whole(b"MSH|2")]);
    }

    #[test]
    fn what_is_no_mllp_is_recognised() {
        check(b"\x16\x03\x01\x02\x00", &[junk(5, Guess::Tls)]);
        check(b"GET / HTTP/1.1\r\n\r\n", &[junk(14, Guess::Http)]);
        check(b"MSH|^~\\&|HIS\r", &[junk(12, Guess::Unframed)]);
    }

    #[test]
    fn many_short_messages_weigh_more_than_their_bytes() {
        let weight = |count: usize| Received::Whole(b"MSH|^\r".repeat(count)).weight();
        assert_eq!(weight(1), 6 + ANSWER);
        assert_eq!(weight(1_000), 1_000 * (6 + ANSWER));
        assert_eq!(weight(100_000), 100_000 * 6 + 1_000 * ANSWER, "refused, with one answer");
    }

    #[test]
    fn received_bytes_stay_out_of_debug_output() {
        assert_eq!(format!("{:?}", whole(b"PID|1||P0001")), "Received(Whole(12 bytes))");
    }

    /// What a stream may hold: pieces that frames are made of, in any order.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(vec![VT]),
            Just(vec![FS]),
            Just(vec![FS, CR]),
            Just(b"\x0bMSH".to_vec()),
            Just(b"MSH|".to_vec()),
            Just(b"BH".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..12),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(bytes in pieces(), cuts in proptest::collection::vec(1..9_usize, 1..9)) {
            let mut chunks = Vec::new();
            let mut rest = bytes.as_slice();
            for size in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (chunk, after) = rest.split_at(rest.len().min(*size));
                chunks.push(chunk);
                rest = after;
            }
            prop_assert_eq!(decode(chunks, SMALL), decode([bytes.as_slice()], SMALL));
        }

        #[test]
        fn every_byte_is_accounted_for(bytes in pieces()) {
            let decoded = decode([bytes.as_slice()], SMALL);
            let content: u64 = decoded.iter().map(|event| match event {
                Event::Received(Received::Whole(bytes)) => bytes.len() as u64 + 2,
                Event::Received(Received::TooLarge { length, .. }) => length + 2,
                Event::Received(Received::Cut { length, .. }) => length + 1,
                Event::Junk { bytes, .. } => *bytes,
            }).sum();
            // Line ends between frames, and the VT of frames that were cut before their first byte, are not reported.
            let unreported = bytes.iter().filter(|byte| matches!(**byte, CR | LF | VT)).count() as u64;
            prop_assert!(content <= bytes.len() as u64 && content + unreported >= bytes.len() as u64);
        }

        #[test]
        fn any_sequence_of_frames_arrives(
            messages in proptest::collection::vec("MSH\\|[ -~\r]{0,40}", 0..6), chunk in 1..50_usize,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|message| framed(message.as_bytes())).collect();
            let expected: Vec<Event> = messages.iter().map(|message| whole(message.as_bytes())).collect();
            prop_assert_eq!(decode(stream.chunks(chunk), FrameLimits::default()), expected);
        }
    }
}
