//! A message: canonical text and a flat index of its segments and fields. The only file that names `hl7_parser`.
//!
//! The index is our own and holds nothing but offsets; what is inside a field is read by `hl7_parser`, and only when asked for.
//! Its whole-message parser may not be used: it drops the rest of a message after one odd line without an error, shifts MSH
//! when MSH-2 has five characters, and takes 128 bytes of memory for each byte of the message.

use std::borrow::Cow;
use std::ops::Range;

use hl7_parser::message::{Repeat, Separators};
use hl7_parser::parser::parse_repeat_with_separators;
use memchr::{memchr, memchr_iter, memchr2};

use super::delimiters::DelimitersError;
use super::text::{self, Decoded, Note, TextError};
use super::{Charset, CharsetSetting, Delimiters, ErrorCode, FieldSet, Header, Limits, Location, Scope, escape, group};

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    text: String,
    charset: Charset,
    delimiters: Delimiters,
    segments: Vec<SegmentEntry>,
    /// Of all segments, one after the other; field 0 (the name) is left out.
    fields: Vec<Span>,
    /// Positions of the segments, ordered by their names and then by position.
    by_name: Vec<u32>,
    /// Each name once, in order.
    names: Vec<Named>,
    /// The escape character stands behind MSH-2 too, so that texts may have to be resolved.
    has_escapes: bool,
    groups: group::Groups,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy)]
struct SegmentEntry {
    name: [u8; 3],
    span: Span,
    /// Its part of all fields.
    fields: Span,
}

/// The segments of one name.
#[derive(Debug, Clone)]
struct Named {
    key: u32,
    /// Their part of `by_name`.
    part: Range<u32>,
    /// The fields that are not empty in at least one of them.
    filled: FieldSet,
}

/// One segment of a message.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'m> {
    message: &'m Message,
    index: usize,
}

/// The components of one repetition, read once.
#[derive(Debug, Clone)]
pub struct Parts<'m> {
    raw: &'m str,
    /// `None`: there is only one component with one subcomponent.
    repeat: Option<Repeat<'m>>,
}

/// Why text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// MSH-1 and MSH-2 cannot be used.
    #[error(transparent)]
    Delimiters(#[from] DelimitersError),
    /// The text was not made by `text::decode`.
    #[error("line {line} is no segment; the text must be canonical, as text::decode gives it")]
    NotASegment {
        /// Which line, from 1.
        line: usize,
    },
    /// Two messages in one.
    #[error("line {line} is a second MSH segment; messages must be split before they are read")]
    SecondHeader {
        /// Which line, from 1.
        line: usize,
    },
    /// A limit is exceeded.
    #[error("{} has {found} {what}, the limit is {limit}; it is refused whole", place(location))]
    TooMany {
        /// Where; `None`: the message itself.
        location: Option<Box<Location>>,
        /// What there is too much of.
        what: &'static str,
        /// How many there are, or how many were counted before giving up.
        found: usize,
        /// How many are allowed.
        limit: usize,
    },
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// They are no text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The text is no message.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

impl ReadError {
    /// The condition for an answer, of HL7 table 0357: 100 where there is no message to be seen, 102 where its text cannot be
    /// read, 207 where it is beyond a limit.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Text(TextError::Empty | TextError::Header(_)) => ErrorCode::SegmentSequence,
            Self::Parse(
                ParseError::Delimiters(_) | ParseError::NotASegment { .. } | ParseError::SecondHeader { .. },
            ) => ErrorCode::SegmentSequence,
            Self::Text(TextError::TooLarge { .. }) | Self::Parse(ParseError::TooMany { .. }) => {
                ErrorCode::ApplicationInternalError
            }
            Self::Text(
                TextError::Wide { .. }
                | TextError::Undecodable { .. }
                | TextError::Mislabelled { .. }
                | TextError::UnknownLabel { .. }
                | TextError::Ambiguous
                | TextError::Suspicious { .. },
            ) => ErrorCode::DataType,
        }
    }

    /// Where in the message, if that is known.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::Text(error) => error.location(),
            Self::Parse(ParseError::TooMany { location, .. }) => location.as_deref(),
            Self::Parse(_) => None,
        }
    }
}

impl Message {
    /// Decodes and indexes the bytes of one message; the notes say what was mended.
    pub fn read(raw: &[u8], setting: &CharsetSetting, limits: &Limits) -> Result<(Self, Vec<Note>), ReadError> {
        let Decoded { text, charset, notes } = text::decode(raw, setting, limits)?;
        Ok((Self::parse(text, charset, limits)?, notes))
    }

    /// Indexes canonical text, see [`text::decode`].
    pub fn parse(text: String, charset: Charset, limits: &Limits) -> Result<Self, ParseError> {
        let delimiters = Delimiters::read(text.as_bytes())?;
        let bytes = text.as_bytes();
        if u32::try_from(bytes.len()).is_err() {
            return Err(too_many(None, "bytes", bytes.len(), u32::MAX as usize));
        }
        let mut segments = Vec::with_capacity(32);
        let mut fields = Vec::with_capacity(256);
        let mut start = 0;
        while start < bytes.len() {
            let end = memchr(b'\r', &bytes[start..]).map_or(bytes.len(), |length| start + length);
            let line = segments.len() + 1;
            let name = segment_name(&bytes[start..end], delimiters.field).ok_or(ParseError::NotASegment { line })?;
            if line > 1 && &name == b"MSH" {
                return Err(ParseError::SecondHeader { line });
            }
            if line > limits.segments {
                return Err(too_many(None, "segments", line, limits.segments));
            }
            let first_field = fields.len();
            index_fields(bytes, start, end, &delimiters, limits.fields_of_segment, &mut fields);
            let count = fields.len() - first_field;
            if count > limits.fields_of_segment {
                let location = Some(Location::segment(str_of(&name)));
                return Err(too_many(location, "fields", count, limits.fields_of_segment));
            }
            if fields.len() > limits.fields {
                return Err(too_many(None, "fields", fields.len(), limits.fields));
            }
            let part = Span::new(first_field, fields.len());
            segments.push(SegmentEntry { name, span: Span::new(start, end), fields: part });
            start = end + 1;
        }
        let (by_name, names) = ordered_by_name(&segments, &fields);
        let behind_delimiters = fields.get(2).map_or(bytes.len(), |field| field.start as usize);
        let has_escapes = delimiters.escape.is_some_and(|escape| memchr(escape, &bytes[behind_delimiters..]).is_some());
        let groups = group::Groups::default();
        let mut message = Self { text, charset, delimiters, segments, fields, by_name, names, has_escapes, groups };
        let names: Vec<[u8; 3]> = message.segments.iter().map(|entry| entry.name).collect();
        message.groups = group::Groups::of(&names, message.grouping());
        message.check_parts(limits.parts_of_field)?;
        Ok(message)
    }

    /// `hl7_parser` takes some 100 bytes for each part of a field, so a field of a million separators is refused beforehand.
    fn check_parts(&self, limit: usize) -> Result<(), ParseError> {
        let separators = self.delimiters.inside_fields();
        let count = |bytes: &[u8]| bytes.iter().filter(|byte| separators.contains(byte)).count();
        if self.text.len() <= limit || count(self.text.as_bytes()) <= limit {
            return Ok(());
        }
        for segment in self.segments() {
            for field in 1..=segment.field_count() {
                let found = count(segment.field(field).as_bytes());
                if found > limit {
                    return Err(too_many(
                        Some(segment.location_of(field)),
                        "separators of components and repetitions",
                        found,
                        limit,
                    ));
                }
            }
        }
        Ok(())
    }

    /// The canonical text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The set it was sent in.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// Its delimiters.
    pub fn delimiters(&self) -> &Delimiters {
        &self.delimiters
    }

    /// All segments in order.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'_>> {
        (0..self.segments.len()).map(|index| Segment { message: self, index })
    }

    /// The segment at a position, counted from 0.
    pub fn segment(&self, index: usize) -> Option<Segment<'_>> {
        (index < self.segments.len()).then_some(Segment { message: self, index })
    }

    /// The segments of one name, in order.
    pub fn segments_named(&self, name: &str) -> impl Iterator<Item = Segment<'_>> {
        let positions = name.as_bytes().try_into().map_or(&[][..], |name| self.positions(name));
        positions.iter().map(|&position| Segment { message: self, index: position as usize })
    }

    /// The whole message as a scope for paths.
    pub fn scope(&self) -> Scope<'_> {
        Scope::whole(self)
    }

    /// MSH for an answer, with [`Message::trigger_event`].
    pub fn header(&self) -> Header {
        let header = Header::from_line(self.segment(0).map_or("", |segment| segment.text()), self.charset);
        Header { trigger_event: self.trigger_event().to_owned(), ..header }
    }

    /// MSH-10, as sent.
    pub fn control_id(&self) -> &str {
        self.header_field(10)
    }

    /// MSH-9.1, `ADT`.
    pub fn message_type(&self) -> &str {
        self.header_component(9, 1)
    }

    /// MSH-9.2, `A01`; EVN-1 where MSH-9 has none, as in v2.1.
    pub fn trigger_event(&self) -> &str {
        match self.header_component(9, 2) {
            "" => self.event_segment().map_or("", |event| event.field(1).trim()),
            trigger => trigger,
        }
    }

    /// The EVN whose field 1 stands for MSH-9.2, as in v2.1 and v2.2; `None` where MSH-9 has a trigger event itself.
    pub(super) fn event_segment(&self) -> Option<Segment<'_>> {
        self.segments_named("EVN").next().filter(|_| self.header_component(9, 2).is_empty())
    }

    /// MSH-9.3, `ADT_A01`.
    pub fn structure(&self) -> &str {
        self.header_component(9, 3)
    }

    /// MSH-12.1, `2.5.1`.
    pub fn version(&self) -> &str {
        self.header_component(12, 1)
    }

    /// MSH-3, as sent.
    pub fn sending_application(&self) -> &str {
        self.header_field(3)
    }

    /// MSH-4, as sent.
    pub fn sending_facility(&self) -> &str {
        self.header_field(4)
    }

    /// MSH-15: when an accept acknowledgement is wanted: AL, NE, ER, SU or empty.
    pub fn accept_acknowledgement(&self) -> &str {
        self.header_field(15)
    }

    /// MSH-16: when an application acknowledgement is wanted: AL, NE, ER, SU or empty.
    pub fn application_acknowledgement(&self) -> &str {
        self.header_field(16)
    }

    fn header_field(&self, number: usize) -> &str {
        self.segment(0).map_or("", |header| header.field(number)).trim()
    }

    fn header_component(&self, field: usize, component: usize) -> &str {
        let separator = char::from(self.delimiters.component);
        self.header_field(field).split(separator).nth(component - 1).unwrap_or("").trim()
    }

    /// The repetitions of a raw field; one, if it does not repeat.
    pub fn repetitions<'m>(&'m self, field: &'m str) -> impl Iterator<Item = &'m str> {
        let separator = self.delimiters.repetition;
        let mut rest = Some(field);
        std::iter::from_fn(move || {
            let text = rest?;
            let cut = separator.and_then(|separator| memchr(separator, text.as_bytes()));
            rest = cut.map(|cut| &text[cut + 1..]);
            Some(cut.map_or(text, |cut| &text[..cut]))
        })
    }

    /// The components of one raw repetition.
    pub fn parts<'m>(&'m self, repetition: &'m str) -> Parts<'m> {
        let component = self.delimiters.component;
        let subcomponent = self.delimiters.subcomponent.unwrap_or(component);
        let repeat = memchr2(component, subcomponent, repetition.as_bytes())
            .and_then(|_| parse_repeat_with_separators(repetition, self.separators()).ok());
        Parts { raw: repetition, repeat }
    }

    /// CR stands for a delimiter that the message does not have: it is in no field.
    fn separators(&self) -> Separators {
        let or_none = |delimiter: Option<u8>| char::from(delimiter.unwrap_or(b'\r'));
        Separators {
            field: char::from(self.delimiters.field),
            component: char::from(self.delimiters.component),
            subcomponent: or_none(self.delimiters.subcomponent),
            repetition: or_none(self.delimiters.repetition),
            escape: or_none(self.delimiters.escape),
            lenient_newlines: false,
        }
    }

    /// In OUL an ORC comes after the OBR that it belongs to, everywhere else before it (HL7 v2.5.1 chapter 7, 7.3.7). All types of
    /// messages about orders and observations begin with O (table 0076): a TXA there is a part of an order (v2.8.2 chapter 7, 7.3.1).
    fn grouping(&self) -> group::Structure {
        let first = |name: &[u8; 3]| self.positions(*name).first();
        let is_behind = matches!((first(b"OBR"), first(b"ORC")), (Some(order), Some(orc)) if order < orc);
        group::Structure {
            orc_follows: self.message_type() == "OUL" && is_behind,
            has_documents: !self.message_type().starts_with('O'),
        }
    }

    pub(super) fn groups(&self) -> &group::Groups {
        &self.groups
    }

    pub(super) fn name_at(&self, index: usize) -> [u8; 3] {
        self.segments[index].name
    }

    /// A piece of a field as meant.
    pub(super) fn unescaped<'t>(&self, piece: &'t str) -> Cow<'t, str> {
        if self.has_escapes { escape::unescape(piece, &self.delimiters, self.charset) } else { Cow::Borrowed(piece) }
    }

    /// Positions of the segments of one name, in order.
    pub(super) fn positions(&self, name: [u8; 3]) -> &[u32] {
        self.named(name).map_or(&[], |Named { part, .. }| &self.by_name[part.start as usize..part.end as usize])
    }

    /// The fields that have anything in them in any segment of this name.
    pub(crate) fn filled(&self, name: [u8; 3]) -> FieldSet {
        self.named(name).map_or(FieldSet::default(), |named| named.filled)
    }

    fn named(&self, name: [u8; 3]) -> Option<&Named> {
        self.names.binary_search_by_key(&key(name), |named| named.key).ok().map(|found| &self.names[found])
    }
}

/// A name as a number, in the order of names.
fn key([first, second, third]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, first, second, third])
}

/// Positions by name, and the names.
fn ordered_by_name(segments: &[SegmentEntry], fields: &[Span]) -> (Vec<u32>, Vec<Named>) {
    let mut by_name: Vec<u32> = (0..segments.len() as u32).collect();
    by_name.sort_unstable_by_key(|&position| (key(segments[position as usize].name), position));
    let mut names: Vec<Named> = Vec::with_capacity(16);
    for (place, &position) in (0..).zip(&by_name) {
        let key = key(segments[position as usize].name);
        let filled = filled(segments[position as usize].spans(fields));
        match names.last_mut().filter(|last| last.key == key) {
            Some(named) => {
                named.part.end = place + 1;
                named.filled = named.filled.and(filled);
            }
            None => names.push(Named { key, part: place..place + 1, filled }),
        }
    }
    (by_name, names)
}

/// The segment itself and the fields that are not empty.
fn filled(fields: &[Span]) -> FieldSet {
    let filled = (1..).zip(fields).filter(|(_, span)| span.start < span.end);
    filled.fold(FieldSet::of(0), |filled, (field, _)| filled.and(FieldSet::of(field)))
}

/// The name of the segment that a line is: `[A-Z][A-Z0-9]{2}` and then the separator or nothing.
pub(super) fn segment_name(line: &[u8], separator: u8) -> Option<[u8; 3]> {
    let name: [u8; 3] = *line.first_chunk()?;
    (is_segment_name(&name) && line.get(3).is_none_or(|&byte| byte == separator)).then_some(name)
}

/// HL7 v2.5.1 chapter 2, 2.5.2: three characters; here, stricter, a capital letter and two capitals or digits.
pub(super) fn is_segment_name(name: &[u8; 3]) -> bool {
    name[0].is_ascii_uppercase() && name[1..].iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Gives up after one field more than `limit`, so that a line of separators costs no more memory than that.
fn index_fields(bytes: &[u8], start: usize, end: usize, delimiters: &Delimiters, limit: usize, fields: &mut Vec<Span>) {
    if start + 3 >= end {
        return;
    }
    if start == 0 {
        // MSH-1 is the separator itself (chapter 2, 2.14.9).
        fields.push(Span::new(3, 4));
    }
    let mut field_start = start + 4;
    for separator in memchr_iter(delimiters.field, &bytes[field_start..end]).take(limit) {
        let field_end = start + 4 + separator;
        fields.push(Span::new(field_start, field_end));
        field_start = field_end + 1;
    }
    fields.push(Span::new(field_start, end));
}

fn place(location: &Option<Box<Location>>) -> String {
    location.as_ref().map_or_else(|| "the message".to_owned(), ToString::to_string)
}

fn too_many(location: Option<Location>, what: &'static str, found: usize, limit: usize) -> ParseError {
    ParseError::TooMany { location: location.map(Box::new), what, found, limit }
}

/// Segment names are ASCII by construction.
fn str_of(name: &[u8; 3]) -> &str {
    std::str::from_utf8(name).unwrap_or("")
}

impl Span {
    /// The caller has checked that the text is shorter than 4 GiB.
    fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or("")
    }
}

impl SegmentEntry {
    /// Its fields, of all that the message has.
    fn spans<'f>(&self, fields: &'f [Span]) -> &'f [Span] {
        &fields[self.fields.start as usize..self.fields.end as usize]
    }
}

impl<'m> Segment<'m> {
    fn entry(&self) -> &'m SegmentEntry {
        &self.message.segments[self.index]
    }

    /// Its name.
    pub fn name(&self) -> &'m str {
        str_of(&self.entry().name)
    }

    /// Its position in the message, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The message that it is part of.
    pub fn message(&self) -> &'m Message {
        self.message
    }

    /// The whole segment as sent, without its end.
    pub fn text(&self) -> &'m str {
        self.entry().span.of(&self.message.text)
    }

    /// How many fields it has, empty ones included.
    pub fn field_count(&self) -> usize {
        self.spans().len()
    }

    /// A field as sent, by its number in the standard; empty where there is none.
    pub fn field(&self, number: usize) -> &'m str {
        let span = number.checked_sub(1).and_then(|index| self.spans().get(index));
        span.map_or("", |span| span.of(&self.message.text))
    }

    /// Which of its name it is, from 1, and how many of them there are.
    pub fn occurrence(&self) -> (usize, usize) {
        let positions = self.message.positions(self.entry().name);
        (positions.partition_point(|&position| (position as usize) < self.index) + 1, positions.len())
    }

    /// The segment that it says more of or belongs to, such as the OBX before an NTE.
    pub fn owner(&self) -> Option<Segment<'m>> {
        self.message.segment(self.message.groups.owner(self.index)?)
    }

    /// Its place, for reports; field 0 is the segment as a whole.
    pub fn location_of(&self, field: usize) -> Location {
        let (occurrence, count) = self.occurrence();
        Location {
            occurrence: (count > 1).then_some(occurrence),
            field: (field > 0).then_some(field),
            ..Location::segment(self.name())
        }
    }

    /// MSH-1 and MSH-2 are made of delimiters and not divided by them.
    pub(super) fn is_delimiters(&self, field: usize) -> bool {
        self.index == 0 && (field == 1 || field == 2)
    }

    fn spans(&self) -> &'m [Span] {
        self.entry().spans(&self.message.fields)
    }
}

impl<'m> Parts<'m> {
    /// The repetition as sent.
    pub fn raw(&self) -> &'m str {
        self.raw
    }

    /// How many components it has.
    pub fn count(&self) -> usize {
        self.repeat.as_ref().map_or(1, |repeat| repeat.components.len())
    }

    /// A component as sent, from 1; empty where there is none.
    pub fn component(&self, number: usize) -> &'m str {
        match (&self.repeat, number.checked_sub(1)) {
            (Some(repeat), Some(index)) => repeat.components.get(index).map_or("", |component| component.raw_value()),
            (None, Some(0)) => self.raw,
            _ => "",
        }
    }

    /// A subcomponent as sent, both numbers from 1; empty where there is none.
    pub fn subcomponent(&self, component: usize, subcomponent: usize) -> &'m str {
        let Some(index) = subcomponent.checked_sub(1) else { return "" };
        match (&self.repeat, component.checked_sub(1)) {
            (Some(repeat), Some(component)) => repeat
                .components
                .get(component)
                .and_then(|component| component.subcomponents.get(index))
                .map_or("", |subcomponent| subcomponent.value),
            (None, Some(0)) if index == 0 => self.raw,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Path, PathBuf};

    fn parse(text: &str) -> Result<Message, ParseError> {
        Message::parse(text.to_owned(), Charset::Utf8, &Limits::default())
    }

    #[test]
    fn headers_are_read() {
        let message = parse("MSH|^~\\&| HIS |H|CRM|F|20240305||ADT^A01^ADT_A01|42 |P|2.5.1^CHN|||AL|NE\r").unwrap();
        assert_eq!((message.message_type(), message.trigger_event(), message.structure()), ("ADT", "A01", "ADT_A01"));
        assert_eq!((message.control_id(), message.version(), message.sending_application()), ("42", "2.5.1", "HIS"));
        assert_eq!((message.accept_acknowledgement(), message.application_acknowledgement()), ("AL", "NE"));
        assert_eq!(message.header().control_id, "42");
        assert_eq!(parse("MSH|^~\\&|||||||ADT\rEVN|A01\r").unwrap().trigger_event(), "A01");
        assert_eq!(parse("MSH|^\r").unwrap().control_id(), "");
    }

    #[test]
    fn what_cannot_be_read_has_its_code() {
        let limits = Limits { message_bytes: 200, segments: 2, ..Limits::default() };
        for (bytes, code) in [
            (&b""[..], "100"),
            (b"PID|1", "100"),
            (b"MSH|^~\\&|\rMSH|^~\\&|", "100"),
            (b"MSH|^~\\&|\xff|", "102"),
            (b"MSH|^~\\&|\0|", "102"),
            (b"MSH|^~\\&|\rPID\rPID", "207"),
            (&[b' '; 201], "207"),
        ] {
            let error = Message::read(bytes, &CharsetSetting::Auto, &limits).unwrap_err();
            assert_eq!(error.code().as_str(), code, "{error}");
        }
    }

    #[test]
    fn defect_05_msh_2_of_any_length_shifts_nothing() {
        for (characters, components) in [(r"^~\&#", 3), (r"^~\&", 3), (r"^~\", 3), ("^~", 3), ("^", 3), ("@", 1)] {
            let message = parse(&format!("MSH|{characters}|HIS||||||ADT^A01&x^S|42\rPID|a~b\r")).unwrap();
            let header = message.segment(0).unwrap();
            assert_eq!((header.field(1), header.field(2), header.field(3)), ("|", characters, "HIS"));
            assert_eq!((message.control_id(), message.parts(header.field(9)).count()), ("42", components));
            let field = message.segment(1).unwrap().field(1);
            assert_eq!(message.repetitions(field).count(), if characters.len() > 1 { 2 } else { 1 });
        }
    }

    #[test]
    fn defect_06_a_second_header_is_refused() {
        assert_eq!(parse("MSH|^~\\&\rPID|1\rMSH|^~\\&\r").unwrap_err(), ParseError::SecondHeader { line: 3 });
    }

    #[test]
    fn text_that_is_not_canonical_is_refused() {
        assert_eq!(parse("MSH|^~\\&\rpid|1\r").unwrap_err(), ParseError::NotASegment { line: 2 });
        assert_eq!(parse("MSH|^~\\&\r\rPID|1\r").unwrap_err(), ParseError::NotASegment { line: 2 });
        assert!(matches!(parse("PID|1\r"), Err(ParseError::Delimiters(_))));
    }

    #[test]
    fn defect_12_limits_bound_memory() {
        let limits = Limits { segments: 3, fields_of_segment: 20, fields: 30, parts_of_field: 10, ..Limits::default() };
        let check = |body: &str, expected: Result<(), &str>| {
            let found = Message::parse(format!("MSH|^~\\&|HIS\r{body}"), Charset::Utf8, &limits);
            assert_eq!(found.map(|_| ()).map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{body}");
        };
        check("PID|1\rPV1|1\r", Ok(()));
        check("PID|1\rPV1|1\rPV2|1\r", Err("the message has 4 segments, the limit is 3; it is refused whole"));
        check(&format!("PID{}\r", "|".repeat(20)), Ok(()));
        check(&format!("PID{}\r", "|".repeat(21)), Err("PID has 21 fields, the limit is 20; it is refused whole"));
        check(
            &format!("PID{0}\rPV1{0}\r", "|".repeat(19)),
            Err("the message has 41 fields, the limit is 30; it is refused whole"),
        );
        check(&format!("PID|1|{}\r", "^~&".repeat(3)), Ok(()));
        check(
            &format!("PID|1|{}\r", "^~&&".repeat(3)),
            Err("PID-2 has 12 separators of components and repetitions, the limit is 10; it is refused whole"),
        );
    }

    #[test]
    fn a_megabyte_of_separators_costs_little() {
        let text = format!("MSH|^~\\&|HIS\r{}", "PID||||||||||||||||||||||||||||||\r".repeat(30_000));
        let message = parse(&text).unwrap();
        assert!(message.fields.capacity() * size_of::<Span>() <= 16 * text.len());
    }

    /// A field of a well-formed message, and anything in it.
    fn field() -> impl Strategy<Value = String> {
        "([a-z0-9 张三é.]{0,3}[~^&]?){0,6}"
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_hl7_parser(
            segments in prop::collection::vec(("[A-Z][A-Z0-9]{2}", prop::collection::vec(field(), 1..8)), 0..6),
        ) {
            let mut text = "MSH|^~\\&|HIS|H|||20240305||ADT^A01|42|P|2.5\r".to_owned();
            for (name, fields) in segments.iter().filter(|(name, _)| name != "MSH") {
                text.push_str(&format!("{name}|{}\r", fields.join("|")));
            }
            let ours = parse(&text).unwrap();
            let theirs = hl7_parser::Message::parse(text.trim_end_matches('\r')).unwrap();
            prop_assert_eq!(ours.segments().len(), theirs.segments.len());
            for (ours, theirs) in ours.segments().zip(&theirs.segments) {
                prop_assert_eq!(ours.name(), theirs.name);
                prop_assert_eq!(ours.field_count(), theirs.fields.len());
                let first = if ours.index() == 0 { 3 } else { 1 };
                for (number, field) in theirs.fields.iter().enumerate().map(|(index, field)| (index + 1, field)) {
                    prop_assert_eq!(ours.field(number), field.raw_value());
                    if number < first {
                        continue;
                    }
                    let repetitions: Vec<&str> = ours.message().repetitions(ours.field(number)).collect();
                    prop_assert_eq!(repetitions.len(), field.repeats.len());
                    for (ours_raw, repeat) in repetitions.into_iter().zip(&field.repeats) {
                        let parts = ours.message().parts(ours_raw);
                        prop_assert_eq!(parts.count(), repeat.components.len());
                        for (c, component) in repeat.components.iter().enumerate() {
                            prop_assert_eq!(parts.component(c + 1), component.raw_value());
                            for (s, subcomponent) in component.subcomponents.iter().enumerate() {
                                prop_assert_eq!(parts.subcomponent(c + 1, s + 1), subcomponent.value);
                            }
                        }
                    }
                }
            }
        }

        #[test]
        fn any_text_is_a_message_or_an_error(text in "(MSH\\|\\^~.?&)?[A-Z0-9|^~&\r\n张\\\\]{0,80}") {
            if let Ok(message) = parse(&text) {
                for segment in message.segments() {
                    for field in 0..segment.field_count() + 2 {
                        for repetition in message.repetitions(segment.field(field)) {
                            message.parts(repetition);
                        }
                    }
                    // Nothing is left out of the index.
                    let fields = (1..=segment.field_count()).skip(usize::from(segment.index() == 0));
                    let length: usize = fields.map(|field| segment.field(field).len() + 1).sum();
                    prop_assert_eq!(segment.text().len(), 3 + length);
                }
            }
        }
    }

    /// Messages of public projects, where there is a copy of them: `HEYI_CORPUS`, or beside the checkout.
    fn corpus() -> Option<PathBuf> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
        let folder = std::env::var_os("HEYI_CORPUS").map_or(beside, PathBuf::from).join("hl7v2");
        folder.is_dir().then_some(folder)
    }

    #[test]
    fn the_corpus_is_read_whole() {
        let Some(corpus) = corpus() else {
            eprintln!("SKIPPED: no corpus at HEYI_CORPUS or ../shared/corpus");
            return;
        };
        let mut messages = 0;
        for project in corpus.read_dir().unwrap().flatten() {
            for file in project.path().read_dir().unwrap().flatten().map(|entry| entry.path()) {
                let raw = std::fs::read(&file).unwrap();
                for raw in crate::hl7v2::batch::split(&raw).messages {
                    let read = Message::read(raw, &CharsetSetting::Auto, &Limits::default());
                    let (message, _) = read.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                    assert!(!message.control_id().is_empty(), "{}", file.display());
                    messages += 1;
                }
            }
        }
        assert!(messages > 80, "{messages}");
    }
}
