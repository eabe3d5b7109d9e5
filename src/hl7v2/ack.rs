//! Answers: original mode (AA, AE, AR) and enhanced mode (CA, CE, CR), HL7 v2.5.1 chapter 2, 2.9.
//!
//! An answer can be made for anything that arrives, also for nothing at all: what the header lacks is left out.

use std::fmt;

use super::escape::escape;
use super::{Delimiters, Header, Location};

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

/// Version of answers to messages whose own cannot be read.
const DEFAULT_VERSION: &str = "2.5.1";

/// The answer to the message that `header` was read from, without MLLP framing: in its delimiters, character set and version,
/// with sender and receiver swapped.
pub fn build(header: &Header, ack: &Ack<'_>) -> Vec<u8> {
    let delimiters = &header.delimiters;
    let written = |text: &str| escape(text, delimiters).into_owned();
    let version = if header.version.is_empty() { DEFAULT_VERSION } else { &header.version };
    let number = version_number(version.split(char::from(delimiters.component)).next().unwrap_or(""));
    let first_error = ack.errors.first().map_or("", |error| &error.text);
    let mut answer = Segments { text: String::with_capacity(256), separator: char::from(delimiters.field) };
    answer.add(&[
        "MSH",
        &delimiters.encoding_characters(),
        &header.receiving_application,
        &header.receiving_facility,
        &header.sending_application,
        &header.sending_facility,
        &written(ack.time),
        "",
        &message_type(header, number),
        &written(ack.control_id),
        if header.processing_id.is_empty() { "P" } else { &header.processing_id },
        version,
        "",
        "",
        "",
        "",
        "",
        &header.character_set,
    ]);
    // MSA-3 was withdrawn in v2.7 in favour of ERR (chapter 2, 2.14.8.3).
    let text = if number < (2, 7, 0) { written(first_error) } else { String::new() };
    answer.add(&["MSA", ack.code.as_str(), &header.control_id, &text]);
    for error in ack.errors {
        answer.add_error(error, delimiters, number);
    }
    header.charset.encode(&answer.text)
}

/// `2.5.1` as numbers; what is no version counts as the default.
fn version_number(version: &str) -> (u8, u8, u8) {
    let mut parts = version.trim().split('.').map(|part| part.parse().ok());
    match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten()) {
        (Some(major), minor, patch) => (major, minor.unwrap_or(0), patch.unwrap_or(0)),
        _ => (2, 5, 1),
    }
}

/// MSH-9: the trigger event joined in v2.3, the structure in v2.3.1.
fn message_type(header: &Header, version: (u8, u8, u8)) -> String {
    let trigger = &header.trigger_event;
    let component = char::from(header.delimiters.component);
    if trigger.is_empty() || version < (2, 3, 0) {
        "ACK".to_owned()
    } else if version < (2, 3, 1) {
        format!("ACK{component}{trigger}")
    } else {
        format!("ACK{component}{trigger}{component}ACK")
    }
}

struct Segments {
    text: String,
    separator: char,
}

impl Segments {
    /// Empty fields at the end are left out.
    fn add(&mut self, fields: &[&str]) {
        let valued = fields.iter().rposition(|field| !field.is_empty()).map_or(0, |last| last + 1);
        for (index, field) in fields[..valued].iter().enumerate() {
            if index > 0 {
                self.text.push(self.separator);
            }
            self.text.push_str(field);
        }
        self.text.push('\r');
    }

    fn add_error(&mut self, error: &AckError, delimiters: &Delimiters, version: (u8, u8, u8)) {
        let join = |separator: u8, parts: &[&str]| {
            let valued = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
            parts[..valued].join(char::from(separator).encode_utf8(&mut [0; 4]))
        };
        let component = delimiters.component;
        let [segment, occurrence, field, repetition, part, subpart] = error_location(error.location.as_ref());
        let (code, meaning) = (error.code.as_str(), error.code.meaning());
        if version < (2, 5, 0) {
            // ERR-1 (ELD); its fourth component is a coded element of its own.
            let coded = match delimiters.subcomponent {
                Some(separator) => join(separator, &[code, meaning, TABLE]),
                None => code.to_owned(),
            };
            return self.add(&["ERR", &join(component, &[&segment, &occurrence, &field, &coded])]);
        }
        let location = join(component, &[&segment, &occurrence, &field, &repetition, &part, &subpart]);
        let place = error.location.as_ref().map(Location::to_string).unwrap_or_default();
        let text = escape(&error.text, delimiters);
        self.add(&[
            "ERR",
            "",
            &location,
            &join(component, &[code, meaning, TABLE]),
            "E",
            "",
            "",
            &escape(&place, delimiters),
            &text,
        ]);
    }
}

const TABLE: &str = "HL70357";

/// The six components of ERL (chapter 2A); of a segment that occurs once, the first.
fn error_location(location: Option<&Location>) -> [String; 6] {
    let Some(location) = location else { return Default::default() };
    let number = |number: Option<usize>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        location.segment.clone(),
        location.occurrence.unwrap_or(1).to_string(),
        number(location.field),
        number(location.repetition),
        number(location.component),
        number(location.subcomponent),
    ]
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

impl std::str::FromStr for ErrorCode {
    type Err = ();

    /// Reads the code as sent, `101`.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|code| code.as_str() == text).ok_or(())
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.as_str(), self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::{Charset, CharsetSetting, Limits, Message, header};

    fn check(sent: &[u8], code: AckCode, errors: &[AckError], expected: &[&str]) {
        let header = header::peek(sent, &CharsetSetting::Auto);
        let ack = Ack { code, control_id: "H1", time: "20240305103000+0800", errors };
        let answer = build(&header, &ack);
        let expected = expected.iter().map(|segment| format!("{segment}\r")).collect::<String>();
        assert_eq!(header.charset.decode(&answer).unwrap(), expected);
    }

    fn missing() -> AckError {
        AckError {
            code: ErrorCode::RequiredFieldMissing,
            location: Some(Location { occurrence: Some(2), component: Some(1), ..Location::field("PID", 3) }),
            text: "PID-3 is empty; send a number & its authority".to_owned(),
        }
    }

    #[test]
    fn sender_and_receiver_are_swapped() {
        check(
            br"MSH|^~\&|HIS|H1|CRM|F1|20240305||ADT^A01^ADT_A01|42|T|2.5.1||||||UNICODE UTF-8",
            AckCode::AA,
            &[],
            &[r"MSH|^~\&|CRM|F1|HIS|H1|20240305103000+0800||ACK^A01^ACK|H1|T|2.5.1||||||UNICODE UTF-8", "MSA|AA|42"],
        );
    }

    #[test]
    fn faults_are_told_in_the_form_of_the_version() {
        let sent = |version: &str| format!(r"MSH|^~\&|HIS||||||ADT^A01|42|P|{version}").into_bytes();
        let text = r"PID-3 is empty; send a number \T\ its authority";
        let header = |kind: &str, version: &str| format!(r"MSH|^~\&|||HIS||20240305103000+0800||{kind}|H1|P|{version}");
        for (version, kind) in [("2.1", "ACK"), ("2.3", "ACK^A01"), ("2.3.1", "ACK^A01^ACK"), ("2.4", "ACK^A01^ACK")] {
            let msa = format!("MSA|AE|42|{text}");
            let err = "ERR|PID^2^3^101&Required field missing&HL70357";
            check(&sent(version), AckCode::AE, &[missing()], &[&header(kind, version), &msa, err]);
        }
        for (version, msa) in [
            ("2.5", format!("MSA|CE|42|{text}")),
            ("2.7", "MSA|CE|42".to_owned()),
            ("2.5.1^CHN", format!("MSA|CE|42|{text}")),
        ] {
            let err = format!("ERR||PID^2^3^^1|101^Required field missing^HL70357|E|||PID[2]-3.1|{text}");
            check(&sent(version), AckCode::CE, &[missing()], &[&header("ACK^A01^ACK", version), &msa, &err]);
        }
    }

    #[test]
    fn anything_gets_an_answer() {
        let nothing = AckError { code: ErrorCode::SegmentSequence, location: None, text: "no MSH".to_owned() };
        let expected = [
            r"MSH|^~\&|||||20240305103000+0800||ACK|H1|P|2.5.1",
            "MSA|AR||no MSH",
            "ERR|||100^Segment sequence error^HL70357|E||||no MSH",
        ];
        for sent in [&b""[..], b"\xff\xfe\x00", b"GET / HTTP/1.1\r\n\r\n"] {
            check(sent, AckCode::AR, std::slice::from_ref(&nothing), &expected);
        }
        check(
            b"MSH|^~\\&|\xff|H|||||ADT^A01|42|P|2.3\rPID|\xff",
            AckCode::AR,
            &[nothing],
            &[
                r"MSH|^~\&||||H|20240305103000+0800||ACK^A01|H1|P|2.3",
                "MSA|AR|42|no MSH",
                "ERR|^^^100&Segment sequence error&HL70357",
            ],
        );
    }

    #[test]
    fn defect_11_delimiters_of_the_sender_are_used_and_escaped() {
        check(
            b"MSH$%*!@$HIS$$$$$$ADT%A01$4!F!2$P$2.4",
            AckCode::AE,
            &[AckError { text: "a$b^c".to_owned(), ..missing() }],
            &[
                "MSH$%*!@$$$HIS$$20240305103000+0800$$ACK%A01%ACK$H1$P$2.4",
                "MSA$AE$4!F!2$a!F!b^c",
                "ERR$PID%2%3%101@Required field missing@HL70357",
            ],
        );
    }

    #[test]
    fn an_answer_is_in_the_charset_of_the_sender() {
        let sent = Charset::Gb18030.encode(r"MSH|^~\&|医院|瑋|||||ADT^A01|42|P|2.4||||||GB18030");
        let header = header::peek(&sent, &CharsetSetting::Auto);
        let answer = build(&header, &Ack { code: AckCode::AA, control_id: "H1", time: "2024", errors: &[] });
        assert!(std::str::from_utf8(&answer).is_err());
        let (read, _) = Message::read(&answer, &CharsetSetting::Auto, &Limits::default()).unwrap();
        let header = read.header();
        assert_eq!((&*header.receiving_application, &*header.receiving_facility), ("医院", "瑋"));
    }
}
