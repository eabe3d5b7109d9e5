//! What was found at a place of a message, and what is in and around it.

use std::borrow::Cow;

use super::Place;
use crate::hl7v2::message::Parts;
use crate::hl7v2::{Location, Message, Segment};

/// What a path leads to. Empty and blank are absent; `""` is null, for every part of what it stands for.
#[derive(Debug, Clone, Copy)]
pub enum Resolved<'m> {
    /// The message says nothing here.
    Absent,
    /// The message says that there is no value any more.
    Null,
    /// A value.
    Value(Value<'m>),
}

/// A value and where it was found.
#[derive(Debug, Clone, Copy)]
pub struct Value<'m> {
    pub(super) segment: Segment<'m>,
    pub(super) raw: &'m str,
    pub(super) place: Place,
    /// From 1.
    pub(super) repetition: usize,
}

impl<'m> Resolved<'m> {
    /// The value, if there is one.
    pub fn value(self) -> Option<Value<'m>> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Whether the message says nothing.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<'m> Value<'m> {
    /// As sent.
    pub fn raw(&self) -> &'m str {
        self.raw
    }

    /// As meant: escape sequences resolved, blanks around it left out.
    pub fn text(&self) -> Cow<'m, str> {
        self.text_of(self.raw)
    }

    /// A piece of this value, taken from [`Value::parts`], as meant.
    pub fn text_of(&self, piece: &'m str) -> Cow<'m, str> {
        if self.segment.is_delimiters(self.place.field) {
            return Cow::Borrowed(piece);
        }
        self.message().unescaped(trimmed(piece))
    }

    /// Its components, read once; for types with many of them. Where this is a component itself, it is the only one, and its
    /// subcomponents are `subcomponent(1, n)`.
    pub fn parts(&self) -> Parts<'m> {
        self.message().parts(self.raw)
    }

    /// A component of this value; where it is a component itself, a subcomponent.
    pub fn component(&self, number: usize) -> Resolved<'m> {
        match self.place {
            Place { field: 0, .. } => Resolved::Absent,
            Place { component: 0, .. } => self.part(number, 0),
            Place { component, subcomponent: 0, .. } => {
                self.found(self.parts().subcomponent(1, number), component, number)
            }
            Place { .. } => {
                if number == 1 {
                    self.itself()
                } else {
                    Resolved::Absent
                }
            }
        }
    }

    /// Whether its field has other repetitions.
    pub fn repeats(&self) -> bool {
        self.message().repetitions(self.segment.field(self.place.field)).nth(1).is_some()
    }

    /// Whether it is a later repetition of its field, and those before it are empty.
    pub fn is_after_nothing(&self) -> bool {
        let before = self.message().repetitions(self.segment.field(self.place.field)).take(self.repetition - 1);
        self.repetition > 1 && before.into_iter().all(|raw| raw.trim().is_empty())
    }

    /// Where it is.
    pub fn location(&self) -> Location {
        let Place { field, component, subcomponent } = self.place;
        let number = |number: usize| (number > 0).then_some(number);
        Location {
            repetition: number(self.repetition).filter(|_| self.repeats() && !self.segment.is_delimiters(field)),
            component: number(component),
            subcomponent: number(subcomponent),
            ..self.segment.location_of(field)
        }
    }

    /// The first repetition of another field of its segment.
    pub fn beside(&self, field: usize) -> Resolved<'m> {
        let raw = self.message().repetitions(self.segment.field(field)).next().unwrap_or_default();
        let place = Place { field, component: 0, subcomponent: 0 };
        Self { raw, place, repetition: 1, ..*self }.itself()
    }

    /// The segment that it is in.
    pub fn segment(&self) -> Segment<'m> {
        self.segment
    }

    /// The message that it is in.
    pub fn message(&self) -> &'m Message {
        self.segment.message()
    }

    /// Part of a whole repetition.
    pub(super) fn part(&self, component: usize, subcomponent: usize) -> Resolved<'m> {
        if let Given::Null = given(self.raw) {
            return Resolved::Null;
        }
        if self.segment.is_delimiters(self.place.field) {
            return if component == 1 { self.found(self.raw, 1, subcomponent) } else { Resolved::Absent };
        }
        let delimiters = self.message().delimiters();
        let whole = piece(self.raw, Some(delimiters.component), component);
        if subcomponent == 0 || matches!(given(whole), Given::Null) {
            return self.found(whole, component, 0);
        }
        self.found(piece(whole, delimiters.subcomponent, subcomponent), component, subcomponent)
    }

    fn found(&self, raw: &'m str, component: usize, subcomponent: usize) -> Resolved<'m> {
        Self { raw, place: Place { component, subcomponent, ..self.place }, ..*self }.itself()
    }

    pub(super) fn itself(self) -> Resolved<'m> {
        match given(self.raw) {
            Given::Nothing => Resolved::Absent,
            Given::Null => Resolved::Null,
            Given::Text => Resolved::Value(self),
        }
    }
}

/// One piece of a text, by its number. A path wants one: reading all components for it costs ten times as much.
pub(super) fn piece(text: &str, separator: Option<u8>, number: usize) -> &str {
    let mut rest = text;
    for _ in 1..number {
        match separator.and_then(|separator| find(separator, rest)) {
            Some(cut) => rest = &rest[cut + 1..],
            None => return "",
        }
    }
    let end = separator.and_then(|separator| find(separator, rest));
    &rest[..end.unwrap_or(rest.len())]
}

/// Where a delimiter is. Most fields are so short that looking byte by byte is over before `memchr` has begun.
fn find(delimiter: u8, text: &str) -> Option<usize> {
    const SHORT: usize = 16;
    let bytes = text.as_bytes();
    if bytes.len() <= SHORT {
        return bytes.iter().position(|byte| *byte == delimiter);
    }
    memchr::memchr(delimiter, bytes)
}

/// Without the blanks around it. What begins and ends with letters or digits, as nearly all does, has none.
pub(crate) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [only] if only.is_ascii_alphanumeric() => text,
        [first, .., last] if begins_plain(*first) && last.is_ascii_alphanumeric() => text,
        [first, .., lead, _, _] if begins_plain(*first) && is_chinese(*lead) => text,
        _ => text.trim(),
    }
}

/// Whether a text that begins so needs no trimming to be told from nothing and from null.
fn begins_plain(first: u8) -> bool {
    first.is_ascii_alphanumeric() || is_chinese(first)
}

/// The first byte of U+4000 to U+9FFF in UTF-8: no blank, and never a byte inside another character.
fn is_chinese(byte: u8) -> bool {
    (0xE4..=0xE9).contains(&byte)
}

/// What a piece of a message says.
pub(super) enum Given {
    Nothing,
    Null,
    Text,
}

pub(super) fn given(raw: &str) -> Given {
    match raw.as_bytes() {
        [] => return Given::Nothing,
        [first, ..] if begins_plain(*first) => return Given::Text,
        _ => {}
    }
    match raw.trim() {
        "" => Given::Nothing,
        "\"\"" => Given::Null,
        _ => Given::Text,
    }
}
