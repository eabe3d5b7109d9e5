//! The fields of MSH that steer reading and answering, from any bytes.

use memchr::memmem;

use super::charset::byte_by_byte;
use super::text::{declared, first_line};
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

/// Bytes that are looked at for MSH when a message is not read as a whole; headers have some 200.
const HEADER_BYTES: usize = 64 << 10;

/// Reads MSH from bytes as received, whatever they are: an empty header from nothing at all.
///
/// Where the line does not decode as a whole, fields with other than ASCII characters are left empty.
pub fn peek(raw: &[u8], setting: &CharsetSetting) -> Header {
    let raw = &raw[..raw.len().min(HEADER_BYTES)];
    let starts = memmem::find_iter(raw, "MSH");
    let read = |start| readable(&raw[start..]).map(|delimiters| (first_line(&raw[start..]), delimiters));
    let Some((line, delimiters)) = starts.filter_map(read).next() else {
        return Header::from_line("", Charset::Utf8);
    };
    let preferred = match setting {
        CharsetSetting::Forced(charset) => Some(*charset),
        CharsetSetting::Auto => Charset::from_label(&declared(line, &delimiters)),
    };
    for charset in preferred.into_iter().chain([Charset::Utf8, Charset::Gb18030]) {
        if let Ok(line) = charset.decode(line) {
            return Header::from_line(&line, charset);
        }
    }
    let mut header = Header::from_line(&byte_by_byte(line), preferred.unwrap_or(Charset::Utf8));
    for field in header.fields() {
        if !field.is_ascii() {
            field.clear();
        }
    }
    header
}

/// The delimiters of a header; the standard's, where its MSH-2 is unusable but the fields can be told apart.
fn readable(header: &[u8]) -> Option<Delimiters> {
    Delimiters::read(header).ok().or_else(|| header.starts_with(b"MSH|").then_some(Delimiters::STANDARD))
}

impl Header {
    /// Reads one decoded MSH segment; anything else gives an empty header with standard delimiters.
    pub fn from_line(line: &str, charset: Charset) -> Self {
        let (line, delimiters) =
            readable(line.as_bytes()).map_or(("", Delimiters::STANDARD), |delimiters| (line, delimiters));
        // The first separator is MSH-1 itself, so MSH-2 is piece 1.
        // A line feed is the join of a continuation line: what follows is no part of a header field and must not be echoed.
        let pieces: Vec<&str> = line
            .split(char::from(delimiters.field))
            .take(18)
            .map(|piece| piece.split('\n').next().unwrap_or_default().trim())
            .collect();
        let field = |number: usize| pieces.get(number - 1).copied().unwrap_or("");
        let component = |number: usize| field(9).split(char::from(delimiters.component)).nth(number - 1).unwrap_or("");
        Self {
            delimiters,
            charset,
            sending_application: field(3).to_owned(),
            sending_facility: field(4).to_owned(),
            receiving_application: field(5).to_owned(),
            receiving_facility: field(6).to_owned(),
            message_type: component(1).trim().to_owned(),
            trigger_event: component(2).trim().to_owned(),
            structure: component(3).trim().to_owned(),
            control_id: field(10).to_owned(),
            processing_id: field(11).to_owned(),
            version: field(12).to_owned(),
            accept_acknowledgement: field(15).to_owned(),
            application_acknowledgement: field(16).to_owned(),
            character_set: field(18).to_owned(),
        }
    }

    fn fields(&mut self) -> [&mut String; 13] {
        [
            &mut self.sending_application,
            &mut self.sending_facility,
            &mut self.receiving_application,
            &mut self.receiving_facility,
            &mut self.message_type,
            &mut self.trigger_event,
            &mut self.structure,
            &mut self.control_id,
            &mut self.processing_id,
            &mut self.version,
            &mut self.accept_acknowledgement,
            &mut self.application_acknowledgement,
            &mut self.character_set,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(raw: &[u8], setting: CharsetSetting, expected: [&str; 4]) {
        let header = peek(raw, &setting);
        let found = [&header.sending_application, &header.message_type, &header.trigger_event, &header.control_id];
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(raw));
    }

    #[test]
    fn a_header_is_read_from_anything() {
        let auto = CharsetSetting::Auto;
        check(b"", auto, ["", "", "", ""]);
        check(b"PID|1", auto, ["", "", "", ""]);
        check(b"MSH", auto, ["", "", "", ""]);
        check(br"MSH|^^\&&&&|HIS||||||ADT^A01|42", auto, ["HIS", "ADT", "A01", "42"]);
        check(br"MSH^^^HIS", auto, ["", "", "", ""]);
        check(br"MSH|^~\&|HIS|H|C|F|20240305||ADT^A01^ADT_A01|42|P|2.5.1", auto, ["HIS", "ADT", "A01", "42"]);
        check(b"junk\x0bMSH|^~\\&#|HIS|||||| ADT^A01 | 42 \rPID|\xff\xff", auto, ["HIS", "ADT", "A01", "42"]);
        check(b"MSH$%$HIS$$$$$$ADT%A01$42", auto, ["HIS", "ADT", "A01", "42"]);
    }

    #[test]
    fn a_header_is_read_in_its_charset_or_in_part() {
        // 瑋 is AC 7C in GBK: its second byte is the field separator.
        let gbk = b"MSH|^~\\&|\xac\x7c|H|C|F|20240305||ADT^A01|42|P|2.4||||||GBK";
        check(gbk, CharsetSetting::Auto, ["瑋", "ADT", "A01", "42"]);
        check(gbk, CharsetSetting::Forced(Charset::Gb18030), ["瑋", "ADT", "A01", "42"]);
        check("MSH|^~\\&|医院||||||ADT^A01|42".as_bytes(), CharsetSetting::Auto, ["医院", "ADT", "A01", "42"]);
        check(b"MSH|^~\\&|\xff|H|C|F|20240305||ADT^A01|42|P|2.4", CharsetSetting::Auto, ["", "ADT", "A01", "42"]);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_header(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            peek(&bytes, &CharsetSetting::Auto);
            peek(&[b"MSH", &bytes[..]].concat(), &CharsetSetting::Auto);
            peek(&[b"MSH|^~\\&|", &bytes[..]].concat(), &CharsetSetting::Forced(Charset::Big5));
        }
    }
}
