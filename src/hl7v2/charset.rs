//! Character sets: what they are called in MSH-18 and in the configuration, and strict conversion both ways.
//!
//! Strict means: no replacement character is ever made. Bytes that do not fit are an error with their offset.
//!
//! All supported sets read ASCII bytes as ASCII where they start, so MSH can be found before its own MSH-18 is known.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use encoding_rs::{DecoderResult, EncoderResult, Encoding};

/// A character set in which messages can be read and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Charset {
    /// 7 bits only.
    Ascii,
    /// UTF-8.
    Utf8,
    /// GB 18030, with which GBK and GB 2312 text is read too: it contains both.
    Gb18030,
    /// Big5 with the Hong Kong additions.
    Big5,
    /// Korean, EUC-KR (KS X 1001).
    EucKr,
    /// Japanese by escape sequences (ISO 2022-JP, JIS X 0208).
    Iso2022Jp,
    /// One part of ISO 8859: 1 to 11, 13 to 16. Bytes 0x80 to 0x9F are control characters and refused.
    Iso8859(u8),
    /// Windows code page 1252, often sent as 8859/1 by mistake.
    Windows1252,
}

/// How the character set of a source's messages is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CharsetSetting {
    /// MSH-18; where it is empty or unknown: UTF-8 if the bytes are that, else GB 18030.
    #[default]
    Auto,
    /// This one, whatever MSH-18 says.
    Forced(Charset),
}

/// A name that stands for no character set which can be read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown character set {label:?}: use auto, UTF-8, GB18030, GBK, GB2312, Big5, ASCII, 8859/1 to 8859/16, \
     windows-1252, KS X 1001 or ISO IR87"
)]
pub struct UnknownCharset {
    /// The name as given.
    pub label: String,
}

/// Names seen in practice, as [`folded`]: HL7 table 0211, what Chinese systems send, and MIME names. ISO 8859 is apart.
const NAMES: &[(&str, Charset)] = &[
    ("UNICODEUTF8", Charset::Utf8),
    ("UTF8", Charset::Utf8),
    // Withdrawn from table 0211, where it meant two bytes a character; who still sends it means UTF-8.
    ("UNICODE", Charset::Utf8),
    ("GB180302000", Charset::Gb18030),
    ("GB180302005", Charset::Gb18030),
    ("GB180302022", Charset::Gb18030),
    ("GB18030", Charset::Gb18030),
    ("GBK", Charset::Gb18030),
    ("GB2312", Charset::Gb18030),
    ("GB23121980", Charset::Gb18030),
    ("EUCCN", Charset::Gb18030),
    ("CP936", Charset::Gb18030),
    ("WINDOWS936", Charset::Gb18030),
    ("BIG5", Charset::Big5),
    ("BIG5HKSCS", Charset::Big5),
    ("CP950", Charset::Big5),
    ("KSX1001", Charset::EucKr),
    ("EUCKR", Charset::EucKr),
    ("ISOIR87", Charset::Iso2022Jp),
    ("ISO2022JP", Charset::Iso2022Jp),
    ("ASCII", Charset::Ascii),
    ("USASCII", Charset::Ascii),
    ("ISOIR6", Charset::Ascii),
    ("WINDOWS1252", Charset::Windows1252),
    ("CP1252", Charset::Windows1252),
    ("LATIN1", Charset::Iso8859(1)),
];

/// Upper case, letters and digits only: `GB 18030-2000` and `gb18030_2000` are one name.
fn folded(label: &str) -> String {
    label.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_uppercase()).collect()
}

impl Charset {
    /// The set that a label in MSH-18 or in a configuration names.
    pub fn from_label(label: &str) -> Option<Self> {
        let folded = folded(label);
        if let Some((_, charset)) = NAMES.iter().find(|(name, _)| *name == folded) {
            return Some(*charset);
        }
        // `8859/1`, `ISO-8859-15`, `ISO8859_1`.
        let part: u8 = folded.strip_prefix("ISO").unwrap_or(&folded).strip_prefix("8859")?.parse().ok()?;
        Some(Self::Iso8859(part)).filter(|charset| charset.encoding().is_some())
    }

    /// Bytes to text. `Err` holds the offset of the first byte that does not fit.
    pub fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
        let Some(encoding) = self.encoding() else {
            return match (self, std::str::from_utf8(bytes)) {
                (Self::Ascii, _) if !bytes.is_ascii() => Err(Encoding::ascii_valid_up_to(bytes)),
                (_, read) => read.map(Cow::Borrowed).map_err(|error| error.valid_up_to()),
            };
        };
        let control = match self {
            Self::Iso8859(_) => bytes.iter().position(|byte| (0x80..0xA0).contains(byte)),
            _ => None,
        };
        match (encoding.decode_without_bom_handling_and_without_replacement(bytes), control) {
            (Some(text), None) => Ok(text),
            (Some(_), Some(control)) => Err(control),
            (None, control) => Err(first_malformed(encoding, bytes).min(control.unwrap_or(bytes.len()))),
        }
    }

    /// Text to bytes; a character that the set does not have becomes `?`. For answers only: what is stored is UTF-8.
    pub fn encode(self, text: &str) -> Vec<u8> {
        let Some(encoding) = self.encoding() else {
            return match self {
                Self::Ascii => {
                    text.chars().map(|character| if character.is_ascii() { character as u8 } else { b'?' }).collect()
                }
                _ => text.as_bytes().to_vec(),
            };
        };
        let mut encoder = encoding.new_encoder();
        let mut bytes = Vec::with_capacity(text.len() + 16);
        let mut rest = text;
        loop {
            // Room for the longest form of what is left, so that the encoder never stops for want of it.
            bytes.reserve(rest.len() * 4 + 16);
            let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(rest, &mut bytes, true);
            rest = &rest[read..];
            match result {
                EncoderResult::InputEmpty => return bytes,
                EncoderResult::Unmappable(_) => bytes.push(b'?'),
                EncoderResult::OutputFull => {}
            }
        }
    }

    fn encoding(self) -> Option<&'static Encoding> {
        Some(match self {
            Self::Ascii | Self::Utf8 => return None,
            Self::Gb18030 => encoding_rs::GB18030,
            Self::Big5 => encoding_rs::BIG5,
            Self::EucKr => encoding_rs::EUC_KR,
            Self::Iso2022Jp => encoding_rs::ISO_2022_JP,
            Self::Windows1252 => encoding_rs::WINDOWS_1252,
            Self::Iso8859(part) => match part {
                // These three differ from the Windows page only in 0x80 to 0x9F, which `decode` refuses.
                1 => encoding_rs::WINDOWS_1252,
                9 => encoding_rs::WINDOWS_1254,
                11 => encoding_rs::WINDOWS_874,
                2 => encoding_rs::ISO_8859_2,
                3 => encoding_rs::ISO_8859_3,
                4 => encoding_rs::ISO_8859_4,
                5 => encoding_rs::ISO_8859_5,
                6 => encoding_rs::ISO_8859_6,
                7 => encoding_rs::ISO_8859_7,
                8 => encoding_rs::ISO_8859_8,
                10 => encoding_rs::ISO_8859_10,
                13 => encoding_rs::ISO_8859_13,
                14 => encoding_rs::ISO_8859_14,
                15 => encoding_rs::ISO_8859_15,
                16 => encoding_rs::ISO_8859_16,
                _ => return None,
            },
        })
    }
}

/// Each byte as one character, so that ASCII can be found among bytes of any set.
pub(super) fn byte_by_byte(bytes: &[u8]) -> Cow<'_, str> {
    encoding_rs::mem::decode_latin1(bytes)
}

fn first_malformed(encoding: &'static Encoding, bytes: &[u8]) -> usize {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut scratch = String::with_capacity(4096);
    let mut read_before = 0;
    loop {
        scratch.clear();
        let (result, read) = decoder.decode_to_string_without_replacement(&bytes[read_before..], &mut scratch, true);
        read_before += read;
        match result {
            DecoderResult::Malformed(length, after) => {
                return read_before.saturating_sub(usize::from(length) + usize::from(after));
            }
            DecoderResult::InputEmpty => return bytes.len(),
            DecoderResult::OutputFull => {}
        }
    }
}

impl fmt::Display for Charset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ascii => formatter.write_str("ASCII"),
            Self::Utf8 => formatter.write_str("UTF-8"),
            Self::Gb18030 => formatter.write_str("GB18030"),
            Self::Big5 => formatter.write_str("Big5"),
            Self::EucKr => formatter.write_str("KS X 1001"),
            Self::Iso2022Jp => formatter.write_str("ISO IR87"),
            Self::Iso8859(part) => write!(formatter, "8859/{part}"),
            Self::Windows1252 => formatter.write_str("windows-1252"),
        }
    }
}

impl FromStr for CharsetSetting {
    type Err = UnknownCharset;

    /// `auto`, or any name of a set.
    fn from_str(text: &str) -> Result<Self, UnknownCharset> {
        if text.trim().eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        Charset::from_label(text).map(Self::Forced).ok_or_else(|| UnknownCharset { label: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_seen_in_practice_are_known() {
        for (charset, labels) in [
            (Charset::Utf8, &["UNICODE UTF-8", "UNICODE", "UTF-8", "utf8", "UNICODE_UTF-8"][..]),
            (Charset::Gb18030, &["GB 18030-2000", "GB18030", "gb18030-2022", "GBK", "GB2312", "GB 2312-1980", "CP936"]),
            (Charset::Big5, &["BIG-5", "Big5"]),
            (Charset::Iso8859(1), &["8859/1", "ISO-8859-1", "ISO8859-1", "ISO 8859/1", "latin1"]),
            (Charset::Iso8859(15), &["8859/15", "iso-8859-15"]),
            (Charset::Ascii, &["ASCII", "US-ASCII", "ISO IR6"]),
            (Charset::EucKr, &["KS X 1001", "EUC-KR"]),
            (Charset::Iso2022Jp, &["ISO IR87", "ISO-2022-JP"]),
            (Charset::Windows1252, &["windows-1252", "CP1252"]),
        ] {
            for label in labels {
                assert_eq!(Charset::from_label(label), Some(charset), "{label}");
            }
            assert_eq!(Charset::from_label(&charset.to_string()), Some(charset), "{charset} names itself");
        }
        for label in ["", "auto", "8859/12", "8859/0", "8859", "CNS 11643-1992", "ISO IR159", "中文", "UNICODE UTF-16"]
        {
            assert_eq!(Charset::from_label(label), None, "{label}");
        }
    }

    #[test]
    fn settings_name_what_is_known() {
        assert_eq!("auto".parse(), Ok(CharsetSetting::Auto));
        assert_eq!("gbk".parse(), Ok(CharsetSetting::Forced(Charset::Gb18030)));
        let error = "latin-9000".parse::<CharsetSetting>().unwrap_err().to_string();
        assert!(error.contains("latin-9000") && error.contains("GB18030"), "{error}");
    }

    fn check(charset: Charset, bytes: &[u8], expected: Result<&str, usize>) {
        assert_eq!(charset.decode(bytes).as_deref().map_err(|offset| *offset), expected, "{charset} {bytes:x?}");
    }

    #[test]
    fn bytes_that_do_not_fit_are_an_error_at_their_offset() {
        check(Charset::Ascii, b"abc", Ok("abc"));
        check(Charset::Ascii, b"ab\xc3", Err(2));
        check(Charset::Utf8, "张三".as_bytes(), Ok("张三"));
        check(Charset::Utf8, b"ab\xd5\xc5", Err(2));
        check(Charset::Utf8, b"ab\xe5\xbc", Err(2));
        check(Charset::Gb18030, b"\xd5\xc5\xc8\xfd", Ok("张三"));
        check(Charset::Gb18030, b"\xd5\xc5\xff|", Err(2));
        check(Charset::Gb18030, b"\xd5\xc5\xc8", Err(2));
        check(Charset::Gb18030, b"\xd5\xc5\xc8|\xc8\x20x", Err(4));
        check(Charset::Big5, b"\xa4\x40\xff", Err(2));
        check(Charset::EucKr, b"\xb0\xa1", Ok("가"));
        check(Charset::Iso2022Jp, b"\x1b$B;3\x1b(B^", Ok("山^"));
        check(Charset::Iso8859(1), b"M\xfcller", Ok("Müller"));
        check(Charset::Iso8859(1), b"M\x81ller", Err(1));
        check(Charset::Iso8859(15), b"\xa4", Ok("€"));
        check(Charset::Windows1252, b"\x80", Ok("€"));
    }

    #[test]
    fn answers_encode_what_the_set_has() {
        assert_eq!(Charset::Ascii.encode("a张b"), b"a?b");
        assert_eq!(Charset::Iso8859(1).encode("ü张|"), b"\xfc?|");
        assert_eq!(Charset::Gb18030.encode("张三"), b"\xd5\xc5\xc8\xfd");
        assert_eq!(Charset::Iso2022Jp.encode("山^"), b"\x1b$B;3\x1b(B^");
    }

    proptest! {
        #[test]
        fn text_survives_the_sets_that_have_it(text in "[ -~äß一-龥㐀-䶵𠀀-𠀐]{0,40}") {
            for charset in [Charset::Utf8, Charset::Gb18030] {
                let bytes = charset.encode(&text);
                prop_assert_eq!(charset.decode(&bytes).unwrap(), text.as_str());
            }
        }

        #[test]
        fn what_big5_can_write_it_can_read(text in "[ -~一-龥]{0,40}") {
            let bytes = Charset::Big5.encode(&text);
            let expected: String = text
                .chars()
                .map(|character| if Charset::Big5.encode(&character.to_string()) == b"?" { '?' } else { character })
                .collect();
            prop_assert_eq!(Charset::Big5.decode(&bytes).unwrap(), expected);
        }

        #[test]
        fn any_bytes_decode_or_name_an_offset(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for charset in [
                Charset::Ascii, Charset::Utf8, Charset::Gb18030, Charset::Big5, Charset::EucKr, Charset::Iso2022Jp,
                Charset::Iso8859(1), Charset::Iso8859(8), Charset::Windows1252,
            ] {
                if let Err(offset) = charset.decode(&bytes) {
                    prop_assert!(offset < bytes.len());
                    prop_assert!(charset == Charset::Iso2022Jp || charset.decode(&bytes[..offset]).is_ok());
                }
            }
        }
    }
}
