//! Bytes of one message to canonical text: decoded, segments ended by CR, nothing before MSH.
//!
//! Strict: a byte that does not fit is an error, and so is text that is surely in another character set than declared. A message
//! that is refused is whole and can be read again after the source's `charset` is set; a wrong name in a record cannot be taken back.
//!
//! What is mended (line ends, blank lines, bytes before MSH, wrapped lines) is noted, never silent. A line that is no segment
//! (`[A-Z][A-Z0-9]{2}`, then a separator or the line's end) continues the segment before it; its line break is kept as a line
//! feed, so canonical text has no CR but at the end of segments, and LF only inside fields.

use std::fmt;

use super::{Charset, CharsetSetting, Limits, Location};

/// A message as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Canonical text.
    pub text: String,
    /// The set it was sent in.
    pub charset: Charset,
    /// What was mended.
    pub notes: Vec<Note>,
}

/// Something that was mended or guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A byte order mark was left out.
    ByteOrderMark,
    /// Bytes before MSH were left out.
    BeforeHeader(usize),
    /// Blank lines were left out.
    BlankLines(usize),
    /// Lines that are no segment were joined to the segment before them.
    ContinuationLines(usize),
    /// MSH-18 is empty; this set was found by looking at the bytes.
    Guessed(Charset),
    /// MSH-18 names a set that is not known; the bytes are readable as this one.
    UnknownLabel(String, Charset),
    /// The source's setting overrides MSH-18.
    Overridden(String, Charset),
}

/// Why bytes cannot be made into text. The texts say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but blanks.
    #[error("the message is empty")]
    Empty,
    /// More than `limits.message_bytes`.
    #[error("the message has {length} bytes, the limit is {limit}; raise max_message if such messages are wanted")]
    TooLarge {
        /// Bytes received.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No MSH anywhere.
    #[error("no MSH segment with a field separator was found; this is no HL7 v2 message in ER7 form")]
    NoHeader,
}

impl TextError {
    /// Where in the message, if that is known.
    pub fn location(&self) -> Option<&Location> {
        None
    }
}

/// Decodes and canonicalises the bytes of one message.
pub fn decode(raw: &[u8], setting: &CharsetSetting, limits: &Limits) -> Result<Decoded, TextError> {
    let _ = (raw, setting, limits);
    Err(TextError::Empty)
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByteOrderMark => formatter.write_str("a byte order mark was left out"),
            Self::BeforeHeader(bytes) => write!(formatter, "{bytes} bytes before MSH were left out"),
            Self::BlankLines(lines) => write!(formatter, "{lines} blank lines were left out"),
            Self::ContinuationLines(lines) => {
                write!(formatter, "{lines} lines that are no segment were joined to the segment before them")
            }
            Self::Guessed(charset) => write!(formatter, "MSH-18 is empty, the bytes were read as {charset}"),
            Self::UnknownLabel(label, charset) => {
                write!(formatter, "MSH-18 names the unknown character set {label:?}, the bytes were read as {charset}")
            }
            Self::Overridden(label, charset) => {
                write!(formatter, "MSH-18 says {label:?}, the source's setting is {charset}")
            }
        }
    }
}
