//! Paths into a message, as the standard writes them: `PID-3[5=PI].1`. Parsed once, resolved often.
//!
//! | form | means |
//! |---|---|
//! | `PV1` | a segment |
//! | `PID-8`, `PID-3.4`, `PID-3.4.2` | a field, a component, a subcomponent of its first repetition |
//! | `PID-3[2].1` | of its second repetition |
//! | `PID-3[*].1` | of all repetitions |
//! | `PID-3[5=PI].1`, `PID-3[5 in PI,MR].1`, `PID-3[4.2=1.2.3]` | of the repetitions whose component (or subcomponent) is one of these |
//! | `OBX[2]-5`, `DG1[*]-3.1` | of the second segment of that name in the scope; of all |
//! | `OBX[3.1.2=IMP]-5`, `PRT[4=OP]-5`, `OBX[2 in TX,FT]-5` | of all whose field (component, subcomponent) is one of these |
//!
//! `MSH-9.2` means EVN-1 where MSH-9 has no trigger event, as in v2.1 and v2.2.
//!
//! All numbers count from 1. Values in a predicate may be quoted (`[5='a,b']`), and are compared without blanks around them.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use super::group::Current;
use super::message::{Parts, is_segment_name};
use super::{Location, Message, Scope, Segment, escape};

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    source: String,
    name: [u8; 3],
    occurrence: Occurrence,
    place: Place,
    repetition: Selector,
    /// It means a field or a part of one, and chooses nothing.
    is_plain: bool,
}

/// Which segments of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Occurrence {
    /// None was written: the current one, else the first.
    Default,
    Number(usize),
    All,
    /// All whose value at this place is one of these.
    Where(Place, Vec<String>),
}

/// Numbers from 1; 0: the whole of what is before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    field: usize,
    component: usize,
    subcomponent: usize,
}

/// Which repetitions of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selector {
    /// None was written: the current one, else the first.
    Default,
    Number(usize),
    All,
    Where {
        component: usize,
        subcomponent: usize,
        values: Vec<String>,
    },
}

/// Why text is no path, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PathError {
    /// Byte offset in the path.
    pub offset: usize,
    /// What was expected.
    pub problem: &'static str,
}

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
    segment: Segment<'m>,
    raw: &'m str,
    place: Place,
    /// From 1.
    repetition: usize,
}

/// What is done with each thing found; `Break` ends the search.
type Visit<'v, T> = &'v mut dyn FnMut(T) -> ControlFlow<()>;

impl Path {
    /// Parses a path.
    pub fn parse(source: &str) -> Result<Self, PathError> {
        let mut reader = Reader { source, offset: 0 };
        let name = reader.segment_name()?;
        let occurrence = match reader.take("[") {
            true => reader.occurrence()?,
            false => Occurrence::Default,
        };
        let mut place = Place { field: 0, component: 0, subcomponent: 0 };
        let mut repetition = Selector::Default;
        if reader.take("-") {
            place.field = reader.number("expected a field number from 1, as in PID-3")?;
            if reader.take("[") {
                repetition = reader.repetition()?;
            }
            if reader.take(".") {
                place.component = reader.number("expected a component number from 1, as in PID-3.1")?;
                if reader.take(".") {
                    place.subcomponent = reader.number("expected a subcomponent number from 1, as in PID-3.4.1")?;
                }
            }
        }
        reader.end()?;
        Ok(Self::new(source.to_owned(), name, occurrence, place, repetition))
    }

    fn new(source: String, name: [u8; 3], occurrence: Occurrence, place: Place, repetition: Selector) -> Self {
        let is_plain = (&occurrence, &repetition) == (&Occurrence::Default, &Selector::Default)
            && place.field > 0
            && !is_trigger_event(name, place);
        Self { source, name, occurrence, place, repetition, is_plain }
    }

    /// The first thing that the path means in `scope`, and that is not absent.
    pub fn resolve<'m>(&self, scope: &Scope<'m>) -> Resolved<'m> {
        if self.is_plain {
            return self.resolve_plain(scope);
        }
        let mut found = Resolved::Absent;
        self.visit(scope, &mut |value| {
            found = value;
            ControlFlow::Break(())
        });
        found
    }

    /// The same for a path that means one place: most of them, so nothing is searched there.
    fn resolve_plain<'m>(&self, scope: &Scope<'m>) -> Resolved<'m> {
        let Place { field, component, subcomponent } = self.place;
        let Some(segment) = scope.first_seen(self.name) else { return Resolved::Absent };
        let whole = segment.field(field);
        if whole.is_empty() {
            return Resolved::Absent;
        }
        let (repetition, raw) = match scope.current().filter(|current| current.is_of(&segment, field)) {
            Some(current) => (current.repetition, current.raw),
            None if segment.is_delimiters(field) => (1, whole),
            None => (1, piece(whole, segment.message().delimiters().repetition, 1)),
        };
        let value = Value { segment, raw, place: Place { field, component: 0, subcomponent: 0 }, repetition };
        if component == 0 { value.itself() } else { value.part(component, subcomponent) }
    }

    /// All that the path means in `scope`, without what is absent, in order.
    pub fn resolve_all<'m>(&self, scope: &Scope<'m>) -> Vec<Resolved<'m>> {
        let mut found = Vec::new();
        self.visit(scope, &mut |value| {
            found.push(value);
            ControlFlow::Continue(())
        });
        found
    }

    /// The scopes that `each` opens, see [`Scope::each`].
    pub(super) fn scopes<'m>(&self, scope: &Scope<'m>) -> Vec<Scope<'m>> {
        let mut found = Vec::new();
        let field = self.place.field;
        let occurrence = match &self.occurrence {
            Occurrence::Default => &Occurrence::All,
            written => written,
        };
        self.visit_segments(scope, occurrence, &mut |segment| {
            if field == 0 {
                found.push(scope.at(segment.index(), None));
                return ControlFlow::Continue(());
            }
            let current = scope.current().filter(|current| current.is_of(&segment, field));
            let selector = if current.is_some() { &self.repetition } else { or_all(&self.repetition) };
            visit_repetitions(segment, field, selector, current, &mut |(repetition, raw)| {
                if let Given::Text = given(raw) {
                    let segment = segment.index();
                    found.push(scope.at(segment, Some(Current { segment, field, repetition, raw })));
                }
                ControlFlow::Continue(())
            })
        });
        found
    }

    fn visit<'m>(&self, scope: &Scope<'m>, visit: Visit<'_, Resolved<'m>>) {
        let Place { field, component, .. } = self.place;
        if is_trigger_event(self.name, self.place)
            && let Some(event) = scope.message().event_segment()
        {
            let place = Place { field: 1, component: 0, subcomponent: 0 };
            let resolved = Value { segment: event, raw: event.field(1), place, repetition: 1 }.part(1, 0);
            if !resolved.is_absent() {
                let _ = visit(resolved);
            }
            return;
        }
        self.visit_segments(scope, &self.occurrence, &mut |segment| {
            if field == 0 {
                return visit(Resolved::Value(Value {
                    segment,
                    raw: segment.text(),
                    place: self.place,
                    repetition: 1,
                }));
            }
            let whole =
                |repetition, raw| Value { segment, raw, place: Place { component: 0, ..self.place }, repetition };
            let current = scope.current().filter(|current| current.is_of(&segment, field));
            visit_repetitions(segment, field, &self.repetition, current, &mut |(repetition, raw)| {
                let value = whole(repetition, raw);
                let resolved = match component {
                    0 => value.itself(),
                    _ => value.part(component, self.place.subcomponent),
                };
                if resolved.is_absent() { ControlFlow::Continue(()) } else { visit(resolved) }
            })
        });
    }

    fn visit_segments<'m>(&self, scope: &Scope<'m>, occurrence: &Occurrence, visit: Visit<'_, Segment<'m>>) {
        let (skipped, taken) = match occurrence {
            Occurrence::Number(number) => (number - 1, 1),
            Occurrence::All | Occurrence::Where(..) => (0, usize::MAX),
            Occurrence::Default => (0, 1),
        };
        if (skipped, taken) == (0, 1) {
            if let Some(segment) = scope.first_seen(self.name) {
                let _ = visit(segment);
            }
            return;
        }
        if scope.message().positions(self.name).is_empty() {
            return;
        }
        let segments = scope.seen(self.name).filter_map(|index| scope.message().segment(index));
        let wanted = |segment: &Segment<'m>| match occurrence {
            Occurrence::Where(place, values) => holds_one_of(segment, place, values),
            _ => true,
        };
        for segment in segments.filter(wanted).skip(skipped).take(taken) {
            if visit(segment).is_break() {
                return;
            }
        }
    }

    /// The name of the segment.
    pub fn segment(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or("")
    }

    /// The field; `None`: the path means a segment.
    pub fn field(&self) -> Option<usize> {
        (self.place.field > 0).then_some(self.place.field)
    }

    /// The component, if one is named.
    pub fn component(&self) -> Option<usize> {
        (self.place.component > 0).then_some(self.place.component)
    }

    /// The subcomponent, if one is named.
    pub fn subcomponent(&self) -> Option<usize> {
        (self.place.subcomponent > 0).then_some(self.place.subcomponent)
    }

    /// The number of the segment, if the path asks for one.
    pub fn occurrence(&self) -> Option<usize> {
        match self.occurrence {
            Occurrence::Number(number) => Some(number),
            Occurrence::Default | Occurrence::All | Occurrence::Where(..) => None,
        }
    }

    /// What chooses among the segments by a value, as in `OBX[3.1=WBC]`: the path to it, and the values.
    pub fn chosen_by(&self) -> Option<(Self, &[String])> {
        let Occurrence::Where(place, values) = &self.occurrence else { return None };
        let numbers = [place.field, place.component, place.subcomponent].into_iter().take_while(|number| *number > 0);
        let source =
            format!("{}-{}", self.segment(), numbers.map(|number| number.to_string()).collect::<Vec<_>>().join("."));
        Some((Self::new(source, self.name, Occurrence::Default, *place, Selector::Default), values))
    }

    /// The number of the repetition, if the path asks for one.
    pub fn repetition(&self) -> Option<usize> {
        self.repetition.number()
    }

    /// Whether repetitions are chosen: by number, all, or by a predicate.
    pub fn chooses_repetitions(&self) -> bool {
        self.repetition != Selector::Default
    }

    /// Component, subcomponent (0: none) and values of a predicate, as in `[4.1=HIS]`.
    pub fn predicate(&self) -> Option<(usize, usize, &[String])> {
        match &self.repetition {
            Selector::Where { component, subcomponent, values } => Some((*component, *subcomponent, values)),
            Selector::Default | Selector::Number(_) | Selector::All => None,
        }
    }

    /// Whether every value that `other` leads to is a part of what this path leads to, so that `other` has none where this has none.
    pub fn covers(&self, other: &Self) -> bool {
        let part = |own: usize, others: usize| own == 0 || own == others;
        self.name == other.name
            && self.occurrence == other.occurrence
            && self.repetition == other.repetition
            && self.place.field == other.place.field
            && part(self.place.component, other.place.component)
            && part(self.place.subcomponent, other.place.subcomponent)
    }

    /// Whether the path can mean more than one thing.
    pub fn is_plural(&self) -> bool {
        matches!(self.occurrence, Occurrence::All | Occurrence::Where(..)) || matches!(self.repetition, Selector::All)
    }

    /// Whether it asks one segment alone, however many its name has.
    pub fn means_one_segment(&self) -> bool {
        !matches!(self.occurrence, Occurrence::All | Occurrence::Where(..))
    }

    /// The place that the path names, where nothing was found there.
    pub fn location(&self) -> Location {
        Location {
            occurrence: self.occurrence(),
            field: self.field(),
            repetition: self.repetition.number(),
            component: self.component(),
            subcomponent: self.subcomponent(),
            ..Location::segment(self.segment())
        }
    }
}

/// MSH-9.2, which may stand in EVN-1.
fn is_trigger_event(name: [u8; 3], place: Place) -> bool {
    &name == b"MSH" && place.field == 9 && place.component == 2
}

/// In `each`, a path without brackets means all.
fn or_all(selector: &Selector) -> &Selector {
    match selector {
        Selector::Default => &Selector::All,
        written => written,
    }
}

/// Whether a repetition of a field has one of these values at its place.
fn holds_one_of(segment: &Segment<'_>, place: &Place, values: &[String]) -> bool {
    segment.message().repetitions(segment.field(place.field)).any(|raw| part_is(segment.message(), raw, place, values))
}

/// Whether a component, or subcomponent, of a repetition is one of these values; without a component the whole of it.
fn part_is(message: &Message, raw: &str, place: &Place, values: &[String]) -> bool {
    let delimiters = message.delimiters();
    let component = match place.component {
        0 => raw,
        number => piece(raw, Some(delimiters.component), number),
    };
    let part = match place.subcomponent {
        0 => component,
        number => piece(component, delimiters.subcomponent, number),
    };
    let meant = escape::unescape(trimmed(part), delimiters, message.charset());
    values.iter().any(|value| *value == meant)
}

/// Repetitions of one field with their numbers, by `selector`, or only the current one where none is named.
fn visit_repetitions<'m>(
    segment: Segment<'m>,
    field: usize,
    selector: &Selector,
    current: Option<&Current<'m>>,
    visit: Visit<'_, (usize, &'m str)>,
) -> ControlFlow<()> {
    let raw = segment.field(field);
    if raw.is_empty() {
        return ControlFlow::Continue(());
    }
    if let (Selector::Default, Some(current)) = (selector, current) {
        return visit((current.repetition, current.raw));
    }
    if segment.is_delimiters(field) {
        return visit((1, raw));
    }
    if let Given::Null = given(raw) {
        // Null is said of the field, so of all that it could repeat.
        return visit((1, raw));
    }
    let message = segment.message();
    let mut numbered = (1..).zip(message.repetitions(raw));
    match selector {
        Selector::Default => numbered.next().map_or(ControlFlow::Continue(()), visit),
        Selector::Number(number) => numbered.nth(number - 1).map_or(ControlFlow::Continue(()), visit),
        Selector::All => numbered.try_for_each(visit),
        Selector::Where { component, subcomponent, values } => {
            let place = Place { field, component: *component, subcomponent: *subcomponent };
            numbered.filter(|(_, raw)| part_is(message, raw, &place, values)).try_for_each(visit)
        }
    }
}

/// One piece of a text, by its number. A path wants one: reading all components for it costs ten times as much.
fn piece(text: &str, separator: Option<u8>, number: usize) -> &str {
    let mut rest = text;
    for _ in 1..number {
        match separator.and_then(|separator| memchr::memchr(separator, rest.as_bytes())) {
            Some(cut) => rest = &rest[cut + 1..],
            None => return "",
        }
    }
    let end = separator.and_then(|separator| memchr::memchr(separator, rest.as_bytes()));
    &rest[..end.unwrap_or(rest.len())]
}

/// Without the blanks around it. What begins and ends with letters or digits, as nearly all does, has none.
fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => text,
        _ => text.trim(),
    }
}

/// What a piece of a message says.
enum Given {
    Nothing,
    Null,
    Text,
}

fn given(raw: &str) -> Given {
    // What begins with a letter or digit need not be trimmed to be told from nothing and from null.
    if raw.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) {
        return Given::Text;
    }
    match raw.trim() {
        "" => Given::Nothing,
        "\"\"" => Given::Null,
        _ => Given::Text,
    }
}

impl Selector {
    fn number(&self) -> Option<usize> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Default | Self::All | Self::Where { .. } => None,
        }
    }
}

/// Reads a path from left to right; every error has the offset that it stands at.
struct Reader<'s> {
    source: &'s str,
    offset: usize,
}

impl<'s> Reader<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.offset..]
    }

    fn problem(&self, problem: &'static str) -> PathError {
        PathError { offset: self.offset, problem }
    }

    fn take(&mut self, token: &str) -> bool {
        let taken = self.rest().starts_with(token);
        if taken {
            self.offset += token.len();
        }
        taken
    }

    fn expect(&mut self, token: &str, problem: &'static str) -> Result<(), PathError> {
        if self.take(token) { Ok(()) } else { Err(self.problem(problem)) }
    }

    fn end(&self) -> Result<(), PathError> {
        match self.rest() {
            "" => Ok(()),
            _ => Err(self.problem("nothing more was expected here; paths are written as PID-3[5=PI].4.1 or OBX[2]-5")),
        }
    }

    fn segment_name(&mut self) -> Result<[u8; 3], PathError> {
        let name = self.source.as_bytes().first_chunk().copied();
        let name = name.filter(is_segment_name);
        self.offset = if name.is_some() { 3 } else { 0 };
        name.ok_or_else(|| {
            self.problem("expected a segment name: a capital letter and two capitals or digits, as in PID")
        })
    }

    fn number(&mut self, problem: &'static str) -> Result<usize, PathError> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let number = self.rest()[..digits].parse().ok().filter(|number| (1..=MAXIMUM).contains(number));
        let number = number.ok_or_else(|| self.problem(problem))?;
        self.offset += digits;
        Ok(number)
    }

    fn blanks(&mut self) {
        while self.take(" ") {}
    }

    fn occurrence(&mut self) -> Result<Occurrence, PathError> {
        let occurrence = if self.take("*") {
            Occurrence::All
        } else {
            let number = self.number("expected a number from 1, *, or a field to compare, as in [3.1=WBC]")?;
            if self.rest().starts_with(']') {
                Occurrence::Number(number)
            } else {
                let component = match self.take(".") {
                    true => self.number("expected a component number from 1, as in [3.1=WBC]")?,
                    false => 0,
                };
                let (subcomponent, values) = self.comparison()?;
                Occurrence::Where(Place { field: number, component, subcomponent }, values)
            }
        };
        self.expect("]", "expected ]")?;
        Ok(occurrence)
    }

    fn repetition(&mut self) -> Result<Selector, PathError> {
        let selector = if self.take("*") {
            Selector::All
        } else {
            let number =
                self.number("expected a repetition: a number from 1, *, or a component to compare, as in [5=PI]")?;
            if self.rest().starts_with(']') { Selector::Number(number) } else { self.predicate(number)? }
        };
        self.expect("]", "expected ]")?;
        Ok(selector)
    }

    fn predicate(&mut self, component: usize) -> Result<Selector, PathError> {
        let (subcomponent, values) = self.comparison()?;
        Ok(Selector::Where { component, subcomponent, values })
    }

    /// `.2=HIS`, `=PI`, ` in PI,MR`: a subcomponent, or 0, and the values to compare with.
    fn comparison(&mut self) -> Result<(usize, Vec<String>), PathError> {
        let subcomponent = match self.take(".") {
            true => self.number("expected a subcomponent number from 1, as in [4.2=HIS]")?,
            false => 0,
        };
        self.blanks();
        let mut values = Vec::new();
        if self.take("=") {
            values.push(self.value(&[']'])?);
        } else if self.take("in ") {
            values.push(self.value(&[',', ']'])?);
            while self.take(",") {
                values.push(self.value(&[',', ']'])?);
            }
        } else {
            return Err(self.problem("expected ], = or in, as in [5=PI] or [5 in PI,MR]"));
        }
        Ok((subcomponent, values))
    }

    fn value(&mut self, ends: &[char]) -> Result<String, PathError> {
        self.blanks();
        for quote in ["'", "\""] {
            let opened = self.offset;
            if self.take(quote) {
                let length = self.rest().find(quote);
                let length = length.ok_or(PathError { offset: opened, problem: "this quote is not closed" })?;
                let value = self.rest()[..length].to_owned();
                self.offset += length + quote.len();
                self.blanks();
                return Ok(value);
            }
        }
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        let value = self.rest()[..length].trim_end();
        if value.is_empty() {
            return Err(self.problem("expected a value to compare with"));
        }
        self.offset += length;
        Ok(value.to_owned())
    }
}

/// More than any message may hold, see `Limits`, and far from overflow.
const MAXIMUM: usize = 1_000_000;

impl FromStr for Path {
    type Err = PathError;

    fn from_str(source: &str) -> Result<Self, PathError> {
        Self::parse(source)
    }
}

/// As it was written.
impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
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
        let message = self.message();
        let piece = trimmed(piece);
        if !message.has_escapes() {
            return Cow::Borrowed(piece);
        }
        escape::unescape(piece, message.delimiters(), message.charset())
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
    fn part(&self, component: usize, subcomponent: usize) -> Resolved<'m> {
        if let Given::Null = given(self.raw) {
            return Resolved::Null;
        }
        if self.segment.is_delimiters(self.place.field) {
            return if component == 1 { self.found(self.raw, 1, subcomponent) } else { Resolved::Absent };
        }
        let delimiters = self.message().delimiters();
        let whole = piece(self.raw, Some(delimiters.component), component);
        match (subcomponent, given(whole)) {
            (0, _) | (_, Given::Null) => self.found(whole, component, 0),
            _ => self.found(piece(whole, delimiters.subcomponent, subcomponent), component, subcomponent),
        }
    }

    fn found(&self, raw: &'m str, component: usize, subcomponent: usize) -> Resolved<'m> {
        Self { raw, place: Place { component, subcomponent, ..self.place }, ..*self }.itself()
    }

    fn itself(self) -> Resolved<'m> {
        match given(self.raw) {
            Given::Nothing => Resolved::Absent,
            Given::Null => Resolved::Null,
            Given::Text => Resolved::Value(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::{Charset, Limits};
    use proptest::prelude::*;

    const TEXT: &str = "MSH|^~\\&|HIS||||20240305||ADT^A01|42|P|2.5.1\r\
        PID|1||P1^^^HIS&1.2.3&ISO^MR~  ~P2^^^LIS^PI~\"\"^^^X^XX||张^三~Zhang^San||19800101|\"\"|  |a\\T\\b ||\"\"^x\r\
        DG1|1||J18^Pneumonia\rDG1|2||I10^Hypertension~E11\rOBX|1|TX|||line one\nline two~two\r";

    fn message() -> Message {
        Message::parse(TEXT.to_owned(), Charset::Utf8, &Limits::default()).unwrap()
    }

    fn shown(resolved: Resolved<'_>) -> String {
        match resolved {
            Resolved::Absent => "absent".to_owned(),
            Resolved::Null => "null".to_owned(),
            Resolved::Value(value) => format!("{}={}", value.location(), value.text()),
        }
    }

    fn check(path: &str, expected: &str) {
        let path = Path::parse(path).unwrap();
        assert_eq!(shown(path.resolve(&message().scope())), expected, "{path}");
    }

    fn check_all(path: &str, expected: &[&str]) {
        let path = Path::parse(path).unwrap();
        let found: Vec<String> = path.resolve_all(&message().scope()).into_iter().map(shown).collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn paths_lead_to_fields_and_their_parts() {
        check("MSH-1", "MSH-1=|");
        check("MSH-2", "MSH-2=^~\\&");
        check("MSH-2.1", "MSH-2.1=^~\\&");
        check("MSH-2.2", "absent");
        check("MSH-9.2", "MSH-9.2=A01");
        check("PID-5", "PID-5[1]=张^三");
        check("PID-5.1", "PID-5[1].1=张");
        check("PID-5[2].2", "PID-5[2].2=San");
        check("PID-3.4", "PID-3[1].4=HIS&1.2.3&ISO");
        check("PID-3.4.2", "PID-3[1].4.2=1.2.3");
        check("PID-7.1.1", "PID-7.1.1=19800101");
        check("PID-7.2", "absent");
        check("PID-10", "PID-10=a&b");
        check("DG1[2]-3[2].1", "DG1[2]-3[2].1=E11");
        check("DG1[3]-3", "absent");
        check("OBX-5", "OBX-5[1]=line one\nline two");
        check("PV1-2", "absent");
        check("PID-99", "absent");
        check("DG1", "DG1[1]=DG1|1||J18^Pneumonia");
    }

    #[test]
    fn predicates_choose_among_repetitions() {
        check("PID-3[5=PI].1", "PID-3[3].1=P2");
        check("PID-3[5 in PI,MR].1", "PID-3[1].1=P1");
        check("PID-3[5 in 'PI' , \"VN\"].1", "PID-3[3].1=P2");
        check("PID-3[4.2=1.2.3].1", "PID-3[1].1=P1");
        check("PID-3[5=SS].1", "absent");
        check("PID-3[5=XX].1", "null");
        check_all("PID-3[*].1", &["PID-3[1].1=P1", "PID-3[3].1=P2", "null"]);
        check_all("PID-5[*].1", &["PID-5[1].1=张", "PID-5[2].1=Zhang"]);
        check_all("DG1[*]-3[*].1", &["DG1[1]-3.1=J18", "DG1[2]-3[1].1=I10", "DG1[2]-3[2].1=E11"]);
        check_all("DG1[*]-3.1", &["DG1[1]-3.1=J18", "DG1[2]-3[1].1=I10"]);
        check_all("PID-3.1", &["PID-3[1].1=P1"]);
        check_all("PID-9", &[]);
    }

    #[test]
    fn predicates_choose_among_segments() {
        check_all("DG1[1=2]-3.1", &["DG1[2]-3[1].1=I10"]);
        check_all("DG1[3.1=J18]-1", &["DG1[1]-1=1"]);
        check_all("DG1[3.1 in E11,J18]-1", &["DG1[1]-1=1", "DG1[2]-1=2"]);
        check_all("DG1[3.1=X]-1", &[]);
        check_all("PID[3.4.2=1.2.3]-3[1].1", &["PID-3[1].1=P1"]);
        check("DG1[3.2=Hypertension]-3", "DG1[2]-3[1]=I10^Hypertension");
        assert!(Path::parse("DG1[3.1=J18]-1").unwrap().is_plural());
    }

    #[test]
    fn defect_13_null_and_absent_are_told_apart() {
        check("PID-8", "null");
        check("PID-8.2", "null");
        check("PID-8[5=X].1", "null");
        check("PID-9", "absent");
        check("PID-4", "absent");
        check("PID-12.1", "null");
        check("PID-12.1.2", "null");
        check("PID-12.2", "PID-12.2=x");
        check("PID-12", "PID-12=\"\"^x");
        check("PID-3[2]", "absent");
    }

    #[test]
    fn each_makes_a_repetition_the_current_one() {
        let message = message();
        let each = |path: &str| message.scope().each(&Path::parse(path).unwrap());
        let values = |scopes: &[Scope<'_>], path: &str| -> Vec<String> {
            scopes.iter().map(|scope| shown(Path::parse(path).unwrap().resolve(scope))).collect()
        };
        let numbers = each("PID-3");
        assert_eq!(values(&numbers, "PID-3.1"), ["PID-3[1].1=P1", "PID-3[3].1=P2", "null"]);
        assert_eq!(values(&numbers, "PID-3[1].5"), ["PID-3[1].5=MR"; 3]);
        assert_eq!(values(&numbers, "MSH-10"), ["MSH-10=42"; 3]);
        assert_eq!(each("PID-3[5=PI]").len(), 1);
        assert_eq!(each("PID-8").len(), 0);
        assert_eq!(values(&each("DG1"), "DG1-3.1"), ["DG1[1]-3.1=J18", "DG1[2]-3[1].1=I10"]);
        assert_eq!(values(&each("DG1-3"), "DG1-3.1"), ["DG1[1]-3.1=J18", "DG1[2]-3[1].1=I10", "DG1[2]-3[2].1=E11"]);
        assert_eq!(values(&each("DG1[2]"), "DG1-1"), ["DG1[2]-1=2"]);
        let current = numbers[1].each(&Path::parse("PID-3").unwrap());
        assert_eq!(values(&current, "PID-3.1"), ["PID-3[3].1=P2"]);
    }

    #[test]
    fn values_lead_to_the_fields_beside_them() {
        let message = message();
        let name = Path::parse("PID-5[2].1").unwrap().resolve(&message.scope()).value().unwrap();
        let beside = [3, 8, 9, 99].map(|field| shown(name.beside(field)));
        assert_eq!(beside, ["PID-3[1]=P1^^^HIS&1.2.3&ISO^MR", "null", "absent", "absent"]);
    }

    #[test]
    fn values_give_their_components() {
        let message = message();
        let value = Path::parse("PID-3").unwrap().resolve(&message.scope()).value().unwrap();
        assert_eq!(shown(value.component(1)), "PID-3[1].1=P1");
        assert_eq!(shown(value.component(2)), "absent");
        assert_eq!(shown(value.component(4).value().unwrap().component(3)), "PID-3[1].4.3=ISO");
        let parts = value.parts();
        assert_eq!(
            (parts.count(), parts.component(5), parts.subcomponent(4, 1), parts.component(9)),
            (5, "MR", "HIS", "")
        );
        assert_eq!((parts.component(0), parts.subcomponent(1, 0), parts.subcomponent(1, 2)), ("", "", ""));
    }

    #[test]
    fn defect_09_a_path_is_read_to_its_end_or_refused_at_its_offset() {
        for (path, offset) in [
            ("", 0),
            ("pid-3", 0),
            ("PI", 0),
            ("PIDX-3", 3),
            ("PID.3", 3),
            ("PID-", 4),
            ("PID-0", 4),
            ("PID-3.", 6),
            ("PID-3.0", 6),
            ("PID-3.1.1.1", 9),
            ("PID-3.1[2]", 7),
            ("PID-3 ", 5),
            ("PID-3[", 6),
            ("PID-3[0]", 6),
            ("PID-3[2", 7),
            ("PID-3[5=]", 8),
            ("PID-3[5='PI]", 8),
            ("PID-3[5 of PI]", 8),
            ("PID-3[5 in PI,]", 14),
            ("PID-99999999999999999999", 4),
            ("OBX[x]-5", 4),
            ("OBX[1-5", 5),
            ("医院-3", 0),
        ] {
            assert_eq!(Path::parse(path).map_err(|error| error.offset), Err(offset), "{path}");
        }
    }

    #[test]
    fn paths_know_what_they_name() {
        let path: Path = "OBX[2]-5[*].3.1".parse().unwrap();
        assert_eq!(
            (path.segment(), path.field(), path.component(), path.subcomponent()),
            ("OBX", Some(5), Some(3), Some(1))
        );
        assert!(path.is_plural() && !"PID-3[5=PI]".parse::<Path>().unwrap().is_plural());
        assert_eq!(path.to_string(), "OBX[2]-5[*].3.1");
        assert_eq!(path.location().to_string(), "OBX[2]-5.3.1");
        assert_eq!("PV1".parse::<Path>().unwrap().field(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_an_error_inside_it(text in ".{0,20}", likely in "[A-Z0-9]{3}(\\[[0-9*]\\])?-[0-9]{1,3}(\\[[0-9*=in, '.A]{0,8}\\])?(\\.[0-9]){0,3}") {
            for text in [text, likely] {
                match Path::parse(&text) {
                    Ok(path) => {
                        path.resolve_all(&message().scope());
                        prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
                    }
                    Err(error) => prop_assert!(text.is_char_boundary(error.offset)),
                }
            }
        }
    }
}
