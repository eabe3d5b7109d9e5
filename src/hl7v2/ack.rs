//! Answers: original mode (AA, AE, AR) and enhanced mode (CA, CE, CR), HL7 v2.5.1 chapter 2, 2.9.
//!
//! An answer can be made for anything that arrives, also for nothing at all: what the header lacks is left out.

use std::fmt;

use super::{Header, Location};

/// MSA-1 (HL7 table 0008).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckCode {
    /// Application accept.
    AA,
    /// Application error: the content is at fault.
    AE,
    /// Application reject: the kind of message is not taken, or it cannot be taken now.
    AR,
    /// Commit accept: kept safely.
    CA,
    /// Commit error: cannot be kept for its content.
    CE,
    /// Commit reject: cannot be kept now.
    CR,
}

/// ERR-3: what is wrong (HL7 table 0357).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 100: a segment is missing or out of order.
    SegmentSequence,
    /// 101: a required field is missing.
    RequiredFieldMissing,
    /// 102: a value is not of its data type.
    DataType,
    /// 103: a code is not in its table.
    TableValueNotFound,
    /// 200: this message type is not taken.
    UnsupportedMessageType,
    /// 201: this trigger event is not taken.
    UnsupportedEventCode,
    /// 202: this processing id is not taken.
    UnsupportedProcessingId,
    /// 203: this version is not taken.
    UnsupportedVersionId,
    /// 204: a patient, visit or order is not known.
    UnknownKeyIdentifier,
    /// 205: it exists already.
    DuplicateKeyIdentifier,
    /// 206: it is locked.
    ApplicationRecordLocked,
    /// 207: anything else.
    ApplicationInternalError,
}

/// One fault, for one ERR segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckError {
    /// What is wrong.
    pub code: ErrorCode,
    /// Where, if that is known.
    pub location: Option<Location>,
    /// A sentence for whoever runs the sender. It must hold no patient's value.
    pub text: String,
}

/// What an answer says.
#[derive(Debug, Clone, Copy)]
pub struct Ack<'a> {
    /// MSA-1.
    pub code: AckCode,
    /// MSH-10 of the answer.
    pub control_id: &'a str,
    /// MSH-7 of the answer, in HL7's form: `20240305103000+0800`.
    pub time: &'a str,
    /// ERR segments, in this order.
    pub errors: &'a [AckError],
}

/// The answer to the message that `header` was read from, without MLLP framing.
pub fn build(header: &Header, ack: &Ack<'_>) -> Vec<u8> {
    let _ = (header, ack);
    Vec::new()
}

impl AckCode {
    /// The code as sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AA => "AA",
            Self::AE => "AE",
            Self::AR => "AR",
            Self::CA => "CA",
            Self::CE => "CE",
            Self::CR => "CR",
        }
    }

    /// Whether the sender may forget the message.
    pub fn is_positive(self) -> bool {
        matches!(self, Self::AA | Self::CA)
    }
}

impl ErrorCode {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 12] = [
        Self::SegmentSequence,
        Self::RequiredFieldMissing,
        Self::DataType,
        Self::TableValueNotFound,
        Self::UnsupportedMessageType,
        Self::UnsupportedEventCode,
        Self::UnsupportedProcessingId,
        Self::UnsupportedVersionId,
        Self::UnknownKeyIdentifier,
        Self::DuplicateKeyIdentifier,
        Self::ApplicationRecordLocked,
        Self::ApplicationInternalError,
    ];

    /// The code as sent, `101`.
    pub fn as_str(self) -> &'static str {
        self.entry().0
    }

    /// The table's wording, `Required field missing`.
    pub fn meaning(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::SegmentSequence => ("100", "Segment sequence error"),
            Self::RequiredFieldMissing => ("101", "Required field missing"),
            Self::DataType => ("102", "Data type error"),
            Self::TableValueNotFound => ("103", "Table value not found"),
            Self::UnsupportedMessageType => ("200", "Unsupported message type"),
            Self::UnsupportedEventCode => ("201", "Unsupported event code"),
            Self::UnsupportedProcessingId => ("202", "Unsupported processing id"),
            Self::UnsupportedVersionId => ("203", "Unsupported version id"),
            Self::UnknownKeyIdentifier => ("204", "Unknown key identifier"),
            Self::DuplicateKeyIdentifier => ("205", "Duplicate key identifier"),
            Self::ApplicationRecordLocked => ("206", "Application record locked"),
            Self::ApplicationInternalError => ("207", "Application internal error"),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.as_str(), self.meaning())
    }
}
