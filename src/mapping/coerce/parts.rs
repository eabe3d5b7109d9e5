//! One value as sent, and its parts: the components of a repetition, or the subcomponents of a component.

use std::borrow::Cow;

use crate::hl7v2::{Charset, Delimiters, escape};

/// A value as it stands in the message, still escaped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'m> {
    raw: &'m str,
    /// Separates the parts; `None`: there is only one.
    separator: Option<u8>,
    delimiters: &'m Delimiters,
    charset: Charset,
}

impl<'m> Parts<'m> {
    /// A repetition of a field (`is_component` false) or a component of one.
    pub(crate) fn new(raw: &'m str, is_component: bool, delimiters: &'m Delimiters, charset: Charset) -> Self {
        let separator = if is_component { delimiters.subcomponent } else { Some(delimiters.component) };
        Self { raw, separator, delimiters, charset }
    }

    /// The value as sent.
    pub(crate) fn raw(self) -> &'m str {
        self.raw
    }

    /// The value as meant, its separators kept: what a sender writes into a text field without escaping is still text.
    pub(crate) fn whole(self) -> Cow<'m, str> {
        trimmed(self.unescaped(self.raw))
    }

    /// Part `number`, from 1: unescaped, trimmed, `None` if empty or `""`.
    pub(crate) fn get(self, number: usize) -> Option<Cow<'m, str>> {
        self.value(self.part(number))
    }

    /// The first part of part `number`: XPN.1 is `family`, since v2.3 `family&own family&…`.
    pub(crate) fn first_of(self, number: usize) -> Option<Cow<'m, str>> {
        self.nested(number).get(1)
    }

    /// Part `number` as a value of its own.
    pub(crate) fn nested(self, number: usize) -> Self {
        let separator = self.delimiters.subcomponent.filter(|_| self.separator == Some(self.delimiters.component));
        Self { raw: self.part(number), separator, ..self }
    }

    /// How many parts there are, empty ones counted.
    pub(crate) fn count(self) -> usize {
        self.separator.map_or(1, |separator| memchr::memchr_iter(separator, self.raw.as_bytes()).count() + 1)
    }

    fn part(self, number: usize) -> &'m str {
        match self.separator {
            Some(separator) => self.raw.split(char::from(separator)).nth(number - 1).unwrap_or(""),
            None if number == 1 => self.raw,
            None => "",
        }
    }

    fn value(self, raw: &'m str) -> Option<Cow<'m, str>> {
        let raw = raw.trim();
        if raw.is_empty() || raw == "\"\"" {
            return None;
        }
        Some(trimmed(self.unescaped(raw))).filter(|text| !text.is_empty())
    }

    fn unescaped(self, raw: &'m str) -> Cow<'m, str> {
        escape::unescape(raw, self.delimiters, self.charset)
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}
