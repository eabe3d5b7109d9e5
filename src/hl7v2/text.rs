//! Bytes of one message to canonical text: decoded, segments ended by CR, nothing before MSH.
//!
//! Strict: a byte that does not fit is an error, and so is text that is surely in another character set than declared. A message
//! that is refused is kept whole and can be read again after the source's `charset` is set; a wrong name in a record cannot be
//! taken back.
//!
//! What is mended (line ends, blank lines, bytes before MSH, wrapped lines) is noted, never silent. A line that is no segment
//! (`[A-Z][A-Z0-9]{2}`, then a separator or the line's end) continues the segment before it; its line break, and blank lines
//! before it, are kept as line feeds. So canonical text has CR only at the end of segments and LF only inside fields.

use std::fmt;

use memchr::{memchr, memchr2, memmem};

use super::charset::byte_by_byte;
use super::delimiters::DelimitersError;
use super::message::segment_name;
use super::{Charset, CharsetSetting, Delimiters, Dictionary, Limits, Location};

/// Segments that came after the versions in the dictionary: v2.9, appendix A.
const NEWEST: &[&str] = &["CTR", "DEV", "DST", "OH1", "OH2", "OH3", "OH4", "POS"];

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
    /// Zero bytes, end-of-file marks and the like after the last segment were left out.
    AfterEnd(usize),
    /// Blank lines were left out.
    BlankLines(usize),
    /// Blanks before segment names were left out.
    IndentedLines(usize),
    /// Lines that are no segment were joined to the segment before them.
    ContinuationLines(usize),
    /// Lines were read as segments whose names no version of the standard has. Text that a sender broke may begin like one.
    UnknownSegments(usize),
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
    /// No usable MSH.
    #[error(transparent)]
    Header(#[from] DelimitersError),
    /// UTF-16, UTF-32, or no text at all.
    #[error(
        "the message is in UTF-16 or UTF-32, or it is no text (zero bytes, from byte {offset}); send UTF-8 or GB18030"
    )]
    Wide {
        /// Where, from 0.
        offset: usize,
    },
    /// A byte that does not fit.
    #[error(
        "byte {offset}{} is not valid in {charset}, which {}; set the source's charset or correct the sender",
        Place(location), by.says()
    )]
    Undecodable {
        /// The set that was tried.
        charset: Charset,
        /// Where that set came from.
        by: Choice,
        /// Where, from 0, in the bytes as received.
        offset: usize,
        /// Where in the message, if it can be told.
        location: Option<Location>,
    },
    /// The bytes are surely in one set, and another was declared.
    #[error("the text is {found}, but {} {charset}; set the source's charset or correct the sender", by.names())]
    Mislabelled {
        /// What the bytes are.
        found: Charset,
        /// What was declared.
        charset: Charset,
        /// By whom.
        by: Choice,
    },
    /// MSH-18 names nothing that is known, and the bytes are neither ASCII nor UTF-8.
    #[error("MSH-18 names the unknown character set {label:?}; set the source's charset")]
    UnknownLabel {
        /// MSH-18.
        label: String,
    },
    /// MSH-18 is empty, and the bytes can be read as more than one set, or sensibly as none.
    #[error("MSH-18 is empty and the bytes do not show which character set they are in; set the source's charset")]
    Ambiguous,
    /// A character that no sender means: it comes of reading text in a wrong set, here or before.
    #[error(
        "U+{code:04X}{} is a character that text does not have: it was read as {charset} and was not that, or was \
         damaged before it was sent; set the source's charset or correct the sender",
        Place(location)
    )]
    Suspicious {
        /// The character.
        code: u32,
        /// The set in which it was read.
        charset: Charset,
        /// Where in the message, if it can be told.
        location: Option<Location>,
    },
}

/// Who chose the set in which a message was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// MSH-18.
    Header,
    /// The source's setting.
    Setting,
    /// Nobody: it was the best guess.
    Guess,
}

impl TextError {
    /// Where in the message, if that is known.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::Undecodable { location, .. } | Self::Suspicious { location, .. } => location.as_ref(),
            _ => None,
        }
    }
}

impl Choice {
    fn says(self) -> &'static str {
        match self {
            Self::Header => "MSH-18 declares",
            Self::Setting => "the source's charset demands",
            Self::Guess => "was the best guess for an empty MSH-18",
        }
    }

    fn names(self) -> &'static str {
        match self {
            Self::Header => "MSH-18 says",
            Self::Setting => "the source's charset is",
            Self::Guess => "the best guess was",
        }
    }
}

/// Decodes and canonicalises the bytes of one message.
pub fn decode(raw: &[u8], setting: &CharsetSetting, limits: &Limits) -> Result<Decoded, TextError> {
    if raw.len() > limits.message_bytes {
        return Err(TextError::TooLarge { length: raw.len(), limit: limits.message_bytes });
    }
    let mut notes = Vec::new();
    let (start, bytes) = message_bytes(raw, &mut notes)?;
    let delimiters = Delimiters::read(bytes)?;
    let label = declared(first_line(bytes), &delimiters);
    let (charset, by) = choose(bytes, &label, setting, &mut notes)?;
    if by != Choice::Guess
        && let Some(found) = surely_other(bytes, charset)
    {
        return Err(TextError::Mislabelled { found, charset, by });
    }
    let text = charset.decode(bytes).map_err(|offset| TextError::Undecodable {
        charset,
        by,
        offset: start + offset,
        location: charset.decode(&bytes[..offset]).ok().and_then(|before| place_after(&before, &delimiters)),
    })?;
    if let Some((offset, character)) = suspicious(&text) {
        let location = place_after(&text[..offset], &delimiters);
        return Err(TextError::Suspicious { code: character.into(), charset, location });
    }
    Ok(Decoded { text: canonical(&text, &delimiters, &mut notes), charset, notes })
}

/// From MSH to the last byte that means anything, and where that starts.
fn message_bytes<'r>(raw: &'r [u8], notes: &mut Vec<Note>) -> Result<(usize, &'r [u8]), TextError> {
    let is_padding = |byte: &u8| matches!(byte, 0 | b'\n' | 0x0B | b'\r' | 0x1A | 0x1C);
    if raw.iter().all(|byte| byte.is_ascii_whitespace() || is_padding(byte)) {
        return Err(TextError::Empty);
    }
    let end = raw.iter().rposition(|byte| !is_padding(byte)).map_or(0, |last| last + 1);
    let wide_mark = raw.starts_with(b"\xFF\xFE") || raw.starts_with(b"\xFE\xFF");
    if let Some(offset) = memchr(0, &raw[..end]).or(wide_mark.then_some(0)) {
        return Err(TextError::Wide { offset });
    }
    let is_header = |start: &usize| Delimiters::start_message(&raw[*start..end]);
    let start = memmem::find_iter(&raw[..end], "MSH").find(is_header).ok_or(DelimitersError::NoHeader)?;
    let before = &raw[..start];
    let unmarked = before.strip_suffix(b"\xEF\xBB\xBF");
    notes.extend(unmarked.map(|_| Note::ByteOrderMark));
    note_count(notes, unmarked.unwrap_or(before).len(), Note::BeforeHeader);
    note_count(notes, raw[end..].iter().filter(|byte| !byte.is_ascii_whitespace()).count(), Note::AfterEnd);
    Ok((start, &raw[start..end]))
}

fn note_count(notes: &mut Vec<Note>, count: usize, note: fn(usize) -> Note) {
    if count > 0 {
        notes.push(note(count));
    }
}

pub(super) fn first_line(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len())]
}

/// The set that MSH-18 names, of a header line that is not decoded yet.
///
/// In GBK and Big5 a separator may be the second half of a character, so a name in MSH-3 to MSH-6 could shift MSH-18. A label that
/// agrees with the set in which it was read is the right one.
pub(super) fn declared(line: &[u8], delimiters: &Delimiters) -> String {
    let plain = label_in(&byte_by_byte(line), delimiters);
    if line.is_ascii() {
        return plain;
    }
    let read_as = |charset: Charset| charset.decode(line).ok().map(|text| label_in(&text, delimiters));
    for charset in [Charset::Utf8, Charset::Gb18030, Charset::Big5] {
        if let Some(label) = read_as(charset).filter(|label| Charset::from_label(label) == Some(charset)) {
            return label;
        }
    }
    match Charset::from_label(&plain) {
        Some(_) => plain,
        None => read_as(Charset::Utf8).or_else(|| read_as(Charset::Gb18030)).unwrap_or(plain),
    }
}

/// MSH-18; where it repeats, the first that is more than ASCII, because every other set contains that.
fn label_in(line: &str, delimiters: &Delimiters) -> String {
    let field = line.split(char::from(delimiters.field)).nth(17).unwrap_or("");
    let labels =
        || field.split(delimiters.inside_fields().map(char::from)).map(str::trim).filter(|label| !label.is_empty());
    let more = labels().find(|label| Charset::from_label(label) != Some(Charset::Ascii));
    more.or_else(|| labels().next()).unwrap_or("").to_owned()
}

fn choose(
    bytes: &[u8],
    label: &str,
    setting: &CharsetSetting,
    notes: &mut Vec<Note>,
) -> Result<(Charset, Choice), TextError> {
    let named = Charset::from_label(label);
    if let CharsetSetting::Forced(charset) = *setting {
        if !label.is_empty() && named != Some(charset) {
            notes.push(Note::Overridden(shortened(label), charset));
        }
        return Ok((charset, Choice::Setting));
    }
    if let Some(charset) = named {
        return Ok((charset, Choice::Header));
    }
    let is_utf8 = std::str::from_utf8(bytes).is_ok();
    let charset = if is_utf8 { Charset::Utf8 } else { Charset::Gb18030 };
    let unclear = match is_utf8 {
        true => !notes.contains(&Note::ByteOrderMark) && may_be_gb2312(bytes),
        false => !has_pairs(bytes),
    };
    match label {
        "" if unclear => return Err(TextError::Ambiguous),
        "" if bytes.is_ascii() => {}
        "" => notes.push(Note::Guessed(charset)),
        _ if unclear || !is_utf8 => return Err(TextError::UnknownLabel { label: shortened(label) }),
        _ => notes.push(Note::UnknownLabel(shortened(label), charset)),
    }
    Ok((charset, Choice::Guess))
}

/// A label is no patient's value, but a shifted header could put anything there.
fn shortened(label: &str) -> String {
    label.chars().filter(|character| !character.is_control()).take(24).collect()
}

/// Runs of bytes above ASCII, each with its neighbours.
fn high_runs(bytes: &[u8]) -> impl Iterator<Item = (Option<u8>, &[u8], Option<u8>)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let from = start + bytes[start..].iter().position(|byte| !byte.is_ascii())?;
        let length = bytes[from..].iter().position(u8::is_ascii).unwrap_or(bytes.len() - from);
        start = from + length;
        let before = from.checked_sub(1).map(|before| bytes[before]);
        Some((before, &bytes[from..start], bytes.get(start).copied()))
    })
}

/// Whether bytes that are valid UTF-8 could as well be the common Chinese characters of GB 2312: two-byte sequences only, each a
/// character of its levels 1 and 2. About every fifth such character is also valid UTF-8, so a message with one short name can
/// be both: 魏伟 is `κΰ`. What stands alone and is no Latin letter (`°`, `10 µL`, `μg/L`, `β-HCG`) is believed to be UTF-8, unless
/// it is a letter that fills its component; so are accented letters beside ASCII letters.
fn may_be_gb2312(bytes: &[u8]) -> bool {
    let mut likely_chinese = false;
    for (before, run, after) in high_runs(bytes) {
        let Ok(text) = std::str::from_utf8(run) else { return false };
        if !is_gb2312(run) || text.chars().any(|character| character.len_utf8() != 2) {
            return false;
        }
        let beside = |is_such: fn(&u8) -> bool| [before, after].iter().flatten().any(is_such);
        let is_alone = text.chars().count() == 1;
        let is_letter = text.chars().all(char::is_alphabetic);
        let is_latin = text.chars().all(|character| matches!(character, '\u{C0}'..='\u{24F}'));
        let is_sign = is_alone && !is_letter;
        let is_greek = is_alone && !is_latin && beside(|byte| byte.is_ascii_alphanumeric() || b" -/(".contains(byte));
        likely_chinese |= !(is_sign || is_greek || is_latin && beside(u8::is_ascii_alphabetic));
    }
    likely_chinese
}

/// Chinese text in GBK has two bytes above ASCII side by side somewhere; text in a Latin set hardly ever.
fn has_pairs(bytes: &[u8]) -> bool {
    high_runs(bytes).any(|(_, run, _)| run.len() > 1)
}

/// The set that bytes are surely in, if that is not the declared one.
///
/// Where valid UTF-8 was declared to be Chinese or Korean, two-byte sequences say nothing, but three bytes that make a Chinese,
/// Japanese, Korean or full-width character do. Where it was declared to be in a set of single bytes, any sequence says so. And
/// six accented letters in a row are in no Latin text: they are GBK, declared as 8859/1 because that stood in an example.
fn surely_other(bytes: &[u8], charset: Charset) -> Option<Charset> {
    if matches!(charset, Charset::Ascii | Charset::Utf8 | Charset::Iso2022Jp) || bytes.is_ascii() {
        return None;
    }
    let is_asian = |character| {
        let code = u32::from(character);
        matches!(code, 0x3000..=0x30FF | 0x3400..=0x9FFF | 0xAC00..=0xD7A3 | 0xFF00..=0xFFEF)
    };
    let is_single_byte = matches!(charset, Charset::Iso8859(_) | Charset::Windows1252);
    let is_utf8 = std::str::from_utf8(bytes).is_ok_and(|text| is_single_byte || text.chars().any(is_asian));
    let is_latin = matches!(charset, Charset::Iso8859(1..=4 | 9 | 10 | 13..=16) | Charset::Windows1252);
    match is_utf8 {
        true => Some(Charset::Utf8),
        false => (is_latin && high_runs(bytes).any(|(_, run, _)| is_chinese_run(run))).then_some(Charset::Gb18030),
    }
}

/// Three or more characters of GB 2312, and no row of dots. Two could be `ÄÖÜß` in a list of letters.
fn is_chinese_run(run: &[u8]) -> bool {
    run.len() >= 6 && is_gb2312(run) && run.iter().any(|byte| *byte != run[0])
}

/// Characters of levels 1 and 2 only, as names are written in.
fn is_gb2312(run: &[u8]) -> bool {
    run.chunks(2).all(|pair| matches!(pair, [0xB0..=0xF7, 0xA1..=0xFE]))
}

/// The first control character of the second row, noncharacter, or mark of a character that was lost before.
fn suspicious(text: &str) -> Option<(usize, char)> {
    let is_suspicious = |character| {
        let code = u32::from(character);
        matches!(code, 0x80..=0x9F | 0xFFFD | 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
    };
    if text.is_ascii() { None } else { text.char_indices().find(|(_, character)| is_suspicious(*character)) }
}

/// Lines by CR, LF or CRLF, without these, and where each starts.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let end = memchr2(b'\r', b'\n', &text.as_bytes()[start..]).map(|length| start + length);
        next = end.map(|end| end + if text[end..].starts_with("\r\n") { 2 } else { 1 });
        Some((start, &text[start..end.unwrap_or(text.len())]))
    })
}

/// A segment's line without what may stand before its name.
fn as_segment<'l>(line: &'l str, delimiters: &Delimiters) -> Option<&'l str> {
    let content = line.trim_start_matches(|character: char| character.is_whitespace() || character == '\u{0B}');
    segment_name(content.as_bytes(), delimiters.field).map(|_| content)
}

/// Whether some version of HL7 v2 has a segment of this name, or it is a site's own (Z…).
fn is_known(name: &str) -> bool {
    name.starts_with('Z') || NEWEST.contains(&name) || Dictionary::standard().has_segment(name)
}

fn canonical(text: &str, delimiters: &Delimiters, notes: &mut Vec<Note>) -> String {
    let mut canonical = String::with_capacity(text.len() + 1);
    let (mut blank, mut waiting_blank, mut indented, mut continued, mut unknown) = (0, 0, 0, 0, 0);
    for (_, line) in lines(text) {
        if let Some(segment) = as_segment(line, delimiters) {
            unknown += usize::from(segment.get(..3).is_some_and(|name| !is_known(name)));
            blank += std::mem::take(&mut waiting_blank);
            indented += usize::from(segment.len() < line.len());
            canonical.push_str(segment);
            canonical.push('\r');
        } else if line.trim().is_empty() {
            waiting_blank += 1;
        } else {
            // The first line is MSH, so there is always a segment to continue; its end moves behind this line.
            canonical.pop();
            canonical.extend(std::iter::repeat_n('\n', 1 + std::mem::take(&mut waiting_blank)));
            canonical.push_str(line);
            canonical.push('\r');
            continued += 1;
        }
    }
    note_count(notes, blank + waiting_blank, Note::BlankLines);
    note_count(notes, indented, Note::IndentedLines);
    note_count(notes, continued, Note::ContinuationLines);
    note_count(notes, unknown, Note::UnknownSegments);
    canonical
}

/// Segment and field at the end of `before`, the decoded text up to some character.
fn place_after(before: &str, delimiters: &Delimiters) -> Option<Location> {
    let segments: Vec<(usize, &str)> = lines(before)
        .filter_map(|(start, line)| {
            Some((start + line.len() - as_segment(line, delimiters)?.len(), as_segment(line, delimiters)?))
        })
        .collect();
    let &(start, last) = segments.last()?;
    let name = &last[..3];
    let separators = before[start..].matches(char::from(delimiters.field)).count();
    let occurrence = segments.iter().filter(|(_, segment)| segment.starts_with(name)).count();
    Some(Location {
        occurrence: (occurrence > 1).then_some(occurrence),
        // The separator after MSH is MSH-1 itself.
        field: (separators > 0).then_some(separators + usize::from(segments.len() == 1)),
        ..Location::segment(name)
    })
}

struct Place<'l>(&'l Option<Location>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |location| write!(formatter, " in {location}"))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByteOrderMark => formatter.write_str("a byte order mark was left out"),
            Self::BeforeHeader(bytes) => write!(formatter, "{bytes} bytes before MSH were left out"),
            Self::AfterEnd(bytes) => write!(formatter, "{bytes} bytes after the last segment were left out"),
            Self::BlankLines(lines) => write!(formatter, "{lines} blank lines were left out"),
            Self::IndentedLines(lines) => write!(formatter, "blanks before {lines} segments were left out"),
            Self::ContinuationLines(lines) => {
                write!(formatter, "{lines} lines that are no segment were joined to the segment before them")
            }
            Self::UnknownSegments(lines) => {
                write!(formatter, "{lines} lines were read as segments, though HL7 v2 has none of their names")
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AUTO: CharsetSetting = CharsetSetting::Auto;
    const GBK: Charset = Charset::Gb18030;

    /// A message of MSH with this MSH-18 and PID with this name.
    fn message(label: &str, name: &[u8]) -> Vec<u8> {
        [format!("MSH|^~\\&|HIS||||||ADT^A01|1|P|2.4||||||{label}\rPID|1||P1||").as_bytes(), name, b"\r"].concat()
    }

    fn read(raw: &[u8], setting: CharsetSetting) -> Result<Decoded, TextError> {
        decode(raw, &setting, &Limits::default())
    }

    fn check(label: &str, name: &[u8], setting: CharsetSetting, expected: Result<(&str, Charset), TextError>) {
        let found = read(&message(label, name), setting).map(|decoded| {
            let name = decoded.text.rsplit('|').next().unwrap_or_default().trim_end().to_owned();
            (name, decoded.charset)
        });
        assert_eq!(found, expected.map(|(name, charset)| (name.to_owned(), charset)), "{label:?} {name:x?}");
    }

    fn undecodable(charset: Charset, by: Choice, offset: usize) -> TextError {
        TextError::Undecodable { charset, by, offset, location: Some(Location::field("PID", 5)) }
    }

    #[test]
    fn names_of_the_standard_and_of_sites_are_known() {
        for (name, expected) in
            [("MSH", true), ("VTQ", true), ("ABS", true), ("OH1", true), ("ZPI", true), ("CBC", false)]
        {
            assert_eq!(is_known(name), expected, "{name}");
        }
    }

    #[test]
    fn the_label_decides() {
        check("GBK", b"\xd5\xc5\xc8\xfd", AUTO, Ok(("张三", GBK)));
        check("GB 18030-2000", b"\x81\x39\xee\x39", AUTO, Ok(("㐀", GBK)));
        check("UNICODE UTF-8", "张三".as_bytes(), AUTO, Ok(("张三", Charset::Utf8)));
        check("UNICODE", "张三".as_bytes(), AUTO, Ok(("张三", Charset::Utf8)));
        check("8859/1", b"M\xfcller", AUTO, Ok(("Müller", Charset::Iso8859(1))));
        check("BIG-5", b"\xb1\x69", AUTO, Ok(("張", Charset::Big5)));
        check("ASCII~ISO IR87", b"\x1b$B;3\x1b(B", AUTO, Ok(("山", Charset::Iso2022Jp)));
        check("~GB 18030-2000", b"\xd5\xc5", AUTO, Ok(("张", GBK)));
        check("ASCII", b"Zhang", AUTO, Ok(("Zhang", Charset::Ascii)));
    }

    #[test]
    fn the_setting_of_the_source_overrides_the_label() {
        let forced = CharsetSetting::Forced(GBK);
        check("ASCII", b"\xd5\xc5\xc8\xfd", forced, Ok(("张三", GBK)));
        let notes = read(&message("8859/1", b"\xd5\xc5"), forced).unwrap().notes;
        assert_eq!(notes, [Note::Overridden("8859/1".to_owned(), GBK)]);
        assert_eq!(read(&message("GBK", b"\xd5\xc5"), forced).unwrap().notes, []);
    }

    #[test]
    fn without_a_label_the_bytes_decide_or_the_message_is_refused() {
        check("", b"Zhang", AUTO, Ok(("Zhang", Charset::Utf8)));
        check("", "张三".as_bytes(), AUTO, Ok(("张三", Charset::Utf8)));
        check("", b"\xd5\xc5\xc8\xfd", AUTO, Ok(("张三", GBK)));
        check("", "José Müller".as_bytes(), AUTO, Ok(("José Müller", Charset::Utf8)));
        check("", "37.5 °C ±2".as_bytes(), AUTO, Ok(("37.5 °C ±2", Charset::Utf8)));
        check("", "Иванов".as_bytes(), AUTO, Ok(("Иванов", Charset::Utf8)));
        for text in ["5 μg/L", "µg/L", "β-HCG", "10 µL", "37 °", "°", "2×3"] {
            check("", text.as_bytes(), AUTO, Ok((text, Charset::Utf8)));
        }
        // 魏伟 in GBK is valid UTF-8 too, for `κΰ`; 卢梅 for `¬÷`.
        check("", b"\xce\xba\xce\xb0", AUTO, Err(TextError::Ambiguous));
        check("", b"\xce\xba^\xce\xb0", AUTO, Err(TextError::Ambiguous));
        check("", b"\xc2\xac\xc3\xb7", AUTO, Err(TextError::Ambiguous));
        check("", b"M\xfcller", AUTO, Err(TextError::Ambiguous));
        check("", b"\xd5\xc5\xff", AUTO, Err(undecodable(GBK, Choice::Guess, 53)));
        assert_eq!(read(&message("", b"\xd5\xc5"), AUTO).unwrap().notes, [Note::Guessed(GBK)]);
    }

    #[test]
    fn an_unknown_label_is_harmless_for_ascii_and_utf8() {
        check("CNS 11643-1992", b"Zhang", AUTO, Ok(("Zhang", Charset::Utf8)));
        check("LATIN-9000", "张三".as_bytes(), AUTO, Ok(("张三", Charset::Utf8)));
        let refused = TextError::UnknownLabel { label: "LATIN-9000".to_owned() };
        check("LATIN-9000", b"\xd5\xc5\xc8\xfd", AUTO, Err(refused));
        let notes = read(&message("LATIN-9000", b"Z"), AUTO).unwrap().notes;
        assert_eq!(notes, [Note::UnknownLabel("LATIN-9000".to_owned(), Charset::Utf8)]);
    }

    #[test]
    fn mislabelled_text_is_refused() {
        let mislabelled = |charset| TextError::Mislabelled { found: Charset::Utf8, charset, by: Choice::Header };
        check("UTF-8", b"\xd5\xc5\xc8\xfd", AUTO, Err(undecodable(Charset::Utf8, Choice::Header, 56)));
        check("ASCII", "张三".as_bytes(), AUTO, Err(undecodable(Charset::Ascii, Choice::Header, 56)));
        check("GB18030", "张三李四".as_bytes(), AUTO, Err(mislabelled(GBK)));
        check("GB18030", "张三李".as_bytes(), AUTO, Err(mislabelled(GBK)));
        check("BIG-5", "張三李四".as_bytes(), AUTO, Err(mislabelled(Charset::Big5)));
        check("8859/1", "Müller".as_bytes(), AUTO, Err(mislabelled(Charset::Iso8859(1))));
        check("8859/1", "张三".as_bytes(), AUTO, Err(mislabelled(Charset::Iso8859(1))));
        let by_example = |charset| TextError::Mislabelled { found: GBK, charset, by: Choice::Header };
        for (label, charset) in [("8859/1", Charset::Iso8859(1)), ("windows-1252", Charset::Windows1252)] {
            check(label, b"\xd5\xc5\xc8\xfd\xb7\xe1", AUTO, Err(by_example(charset)));
            check(label, b"\xd5\xc5\xc8\xfd", AUTO, Ok(("ÕÅÈý", charset)));
            check(label, b"\xb7\xb7\xb7\xb7 \xc0\xc9\xe9", AUTO, Ok(("···· ÀÉé", charset)));
        }
        check("8859/5", b"\xb8\xd2\xd0\xdd", AUTO, Ok(("Иван", Charset::Iso8859(5))));
        // Two rare characters, and nothing else in the whole message, whose bytes are one of UTF-8 too: asked about, not misread.
        let either = TextError::Mislabelled { found: Charset::Utf8, charset: GBK, by: Choice::Header };
        check("GB18030", &GBK.encode("銗癎"), AUTO, Err(either));
        let forced = TextError::Mislabelled { found: Charset::Utf8, charset: GBK, by: Choice::Setting };
        check("", "张三".as_bytes(), CharsetSetting::Forced(GBK), Err(forced));
        let offset = read(&message("UTF-8", b"\xd5"), AUTO).unwrap_err();
        assert!(offset.to_string().contains("PID-5"), "{offset}");
    }

    #[test]
    fn damaged_text_is_refused() {
        for name in ["\u{FFFD}", "a\u{85}", "\u{FFFF}", "\u{FDD0}"] {
            let error = read(&message("UTF-8", name.as_bytes()), AUTO).unwrap_err();
            assert_eq!(error.location(), Some(&Location::field("PID", 5)), "{error}");
        }
        // Private use is where hospitals keep rare names.
        check("GBK", b"\xaa\xa1", AUTO, Ok(("\u{E000}", GBK)));
    }

    #[test]
    fn wide_and_binary_content_is_refused() {
        let utf16: Vec<u8> = "MSH|^~".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&utf16, AUTO), Err(TextError::Wide { offset: 1 }));
        assert_eq!(read(b"\xff\xfeM", AUTO), Err(TextError::Wide { offset: 0 }));
        assert_eq!(read(b"", AUTO), Err(TextError::Empty));
        assert_eq!(read(b" \r\n\x1c", AUTO), Err(TextError::Empty));
        assert_eq!(read(b"PID|1", AUTO), Err(TextError::Header(DelimitersError::NoHeader)));
        assert_eq!(read(b"MSH|^^|x", AUTO), Err(TextError::Header(DelimitersError::Duplicate)));
        let limits = Limits { message_bytes: 10, ..Limits::default() };
        assert_eq!(decode(&[b'x'; 11], &AUTO, &limits), Err(TextError::TooLarge { length: 11, limit: 10 }));
    }

    #[test]
    fn second_bytes_that_look_like_delimiters_arrive_whole() {
        for (name, bytes) in [
            ("瑋", &b"\xac\x7c"[..]),
            ("昞", b"\x95\x5c"),
            ("珅", b"\xab\x7c"),
            ("玘", b"\xab\x5e"),
            ("誠", b"\xd5\x5c"),
            ("葉", b"\xc8\x7e"),
            ("錦瑋誠", b"\xe5\x5c\xac\x7c\xd5\x5c"),
        ] {
            check("GBK", bytes, AUTO, Ok((name, GBK)));
            check("", &[b"\xd5\xc5", bytes].concat(), AUTO, Ok((&format!("张{name}"), GBK)));
        }
    }

    #[test]
    fn a_name_in_the_header_does_not_hide_the_label() {
        let raw = b"MSH|^~\\&|\xac\x7c|\xc8\x7e|||||ADT^A01|1|P|2.4||||||GBK\rPID|1||||\xd5\xc5";
        let decoded = read(raw, AUTO).unwrap();
        assert_eq!((decoded.charset, decoded.text.starts_with("MSH|^~\\&|瑋|葉|")), (GBK, true));
        let unlabelled = b"MSH|^~\\&|\xac\x7c|\xd5\xc5|||||ADT^A01|1|P|2.4|||||CHN|\rPID|1";
        assert_eq!(read(unlabelled, AUTO).unwrap().notes, [Note::Guessed(GBK)]);
    }

    fn check_lines(raw: &str, expected: &str, notes: &[Note]) {
        let decoded = read(raw.as_bytes(), AUTO).unwrap();
        assert_eq!((decoded.text.as_str(), &decoded.notes[..]), (expected, notes), "{raw:?}");
    }

    #[test]
    fn defect_01_odd_lines_lose_nothing() {
        let canonical = "MSH|^~\\&|HIS\rPID|1\rPV1|1\r";
        for end in ["\r", "\n", "\r\n"] {
            check_lines(&canonical.replace('\r', end), canonical, &[]);
        }
        check_lines("MSH|^~\\&|HIS\r\nPID|1\nPV1|1", canonical, &[]);
        check_lines("MSH|^~\\&|HIS\r\r\nPID|1\r\r\rPV1|1\r\n\r\n", canonical, &[Note::BlankLines(3)]);
        check_lines("MSH|^~\\&|HIS\r  PID|1\r\tPV1|1", canonical, &[Note::IndentedLines(2)]);
        check_lines(
            "MSH|^~\\&|HIS\rOBX|1|TX|||one\ntwo\r\n\r\n  three\rPV1\rPI|1",
            "MSH|^~\\&|HIS\rOBX|1|TX|||one\ntwo\n\n  three\rPV1\nPI|1\r",
            &[Note::ContinuationLines(3)],
        );
    }

    #[test]
    fn defect_07_what_comes_before_msh_and_after_the_end_is_noted() {
        let canonical = "MSH|^~\\&|HIS\r";
        check_lines("\u{FEFF}MSH|^~\\&|HIS", canonical, &[Note::ByteOrderMark]);
        check_lines("\r\n  MSH|^~\\&|HIS", canonical, &[Note::BeforeHeader(4)]);
        check_lines(
            "\u{B}\u{FEFF}MSH|^~\\&|HIS\u{1C}\r",
            canonical,
            &[Note::ByteOrderMark, Note::BeforeHeader(1), Note::AfterEnd(1)],
        );
        check_lines("MSH-3 junk MSH|^~\\&|HIS\r\0\u{1A}", canonical, &[Note::BeforeHeader(11), Note::AfterEnd(2)]);
        let junk = [b"\xff\xff\r", &message("UTF-8", b"Z")[..]].concat();
        assert_eq!(read(&junk, AUTO).unwrap().notes, [Note::BeforeHeader(3)]);
    }

    #[test]
    fn defect_08_only_capitals_and_digits_name_a_segment() {
        check_lines(
            "MSH|^~\\&|HIS\rpid|1\r患者一|2\rPIDX|3\rZ9Z|4\r1PI|5",
            "MSH|^~\\&|HIS\npid|1\n患者一|2\nPIDX|3\rZ9Z|4\n1PI|5\r",
            &[Note::Guessed(Charset::Utf8), Note::ContinuationLines(4)],
        );
    }

    #[test]
    fn a_line_that_only_begins_like_a_segment_is_noted() {
        let canonical = "MSH|^~\\&|HIS\rOBX|1|TX|||seen:\rCBC\rHIV|neg\rZRX|1\r";
        check_lines(canonical, canonical, &[Note::UnknownSegments(2)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), label in "(GBK|BIG-5|8859/1|UTF-8|)") {
            let _ = read(&bytes, AUTO);
            if let Ok(decoded) = read(&message(&label, &bytes), AUTO) {
                prop_assert!(!decoded.text.contains(char::REPLACEMENT_CHARACTER));
                prop_assert!(decoded.text.ends_with('\r') && decoded.text.starts_with("MSH|"));
            }
        }

        #[test]
        fn names_survive_in_the_sets_of_chinese_hospitals(name in "[一-龥㐀-䶵𠀀-𠀐]{1,12}") {
            let sent = GBK.encode(&name);
            if std::str::from_utf8(&sent).is_err() {
                check("GB18030", &sent, AUTO, Ok((&name, GBK)));
            }
            check("UTF-8", name.as_bytes(), AUTO, Ok((&name, Charset::Utf8)));
            check("", name.as_bytes(), AUTO, Ok((&name, Charset::Utf8)));
        }

        #[test]
        fn every_byte_of_text_is_kept(lines in prop::collection::vec("(PID\\|)?[ a-z|^张]{0,12}", 0..8), end in "(\r|\n|\r\n)") {
            let raw = format!("MSH|^~\\&|HIS{end}{}", lines.join(&end));
            let kept: String = read(raw.as_bytes(), AUTO).unwrap().text.split_ascii_whitespace().collect();
            prop_assert_eq!(kept, raw.split_ascii_whitespace().collect::<String>());
        }
    }
}
