//! What a mapping leaves unread in a set of messages, and which of its rules never gave anything.
//!
//! A value counts as read if a rule or condition asked for its field, component or element in that message, whether or not the value was
//! the one taken. A rule asks for what its coercion looks at: of a field the components of the data type, of an element all that is in
//! it, behind a Reference the number and name. What `each` opens is not yet read. What the engine reads by itself is no mapping's
//! business.

mod fhir;

use std::collections::{BTreeMap, BTreeSet, HashSet};

pub(super) use fhir::WHOLE;

use super::input::Input;
use super::{Asked, Disposition, MapError, Mapped, MappedRecord, Mapping, RuleName, Trace, Unmapped};
use crate::hl7v2::Segment;
use crate::record::schema::{self, Field, Shape};
use crate::record::{Fields, Kind, Value as Json};

/// Fields that the engine reads (EVN-1 in place of MSH-9.2, the declared type of a result), and numbers of segments, which say
/// nothing. MSH, about the message and not its patient, is left out as a whole.
const OF_THE_ENGINE: &[(&str, &[usize])] = &[
    ("EVN", &[1]),
    ("OBX", &[1, 2]),
    ("AIP", &[1]),
    ("AIL", &[1]),
    ("AIS", &[1]),
    ("RGS", &[1]),
    ("PID", &[1]),
    ("PV1", &[1]),
    ("OBR", &[1]),
    ("NTE", &[1]),
    ("DG1", &[1]),
    ("NK1", &[1]),
    ("IN1", &[1]),
    ("PR1", &[1]),
    ("SPM", &[1]),
];

/// What a mapping made of a set of messages.
#[derive(Debug, Default)]
pub struct Coverage {
    /// Messages looked at.
    pub messages: u64,
    /// Of them, those that `match` leaves out.
    pub ignored: u64,
    /// Of them, those that fail as a whole; what they hold is not counted below.
    pub failed: u64,
    /// Fields and components with a value that nothing asked for.
    pub unread: BTreeMap<Asked, Occurrences>,
    /// Elements, segments and fields that no condition of the mapping chooses, with the fields of the record that choose among them.
    pub unchosen: BTreeMap<String, (Occurrences, BTreeSet<String>)>,
    /// Codes that no table knows, and the number of messages with each.
    pub unmapped: BTreeMap<Unmapped, u64>,
    /// Resources that were counted with another unit, by their hashes.
    counted: HashSet<u64>,
    fired: BTreeSet<RuleName>,
    filled: BTreeSet<String>,
}

/// How often something was there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Occurrences {
    /// In so many messages.
    pub messages: u64,
    /// So many times.
    pub values: u64,
}

impl Coverage {
    /// Counts one message and what the mapping made of it with an explanation; `published` is what a mapped record looks like to
    /// consumers, where more may be filled.
    pub fn add(
        &mut self,
        input: Input<'_>,
        result: Result<Mapped, MapError>,
        published: impl Fn(&MappedRecord, &[MappedRecord]) -> Fields,
    ) {
        self.messages += 1;
        let unmapped = match &result {
            Ok(mapped) => &mapped.unmapped,
            Err(error) => &error.unmapped,
        };
        for code in unmapped.iter().collect::<BTreeSet<_>>() {
            *self.unmapped.entry(code.clone()).or_default() += 1;
        }
        let mapped = match result {
            Ok(mapped) => mapped,
            Err(_) => return self.failed += 1,
        };
        if mapped.holds_nothing() {
            return self.failed += 1;
        }
        if mapped.disposition != Disposition::Records {
            self.ignored += 1;
            return;
        }
        for record in &mapped.records {
            self.filled.insert(record.kind.name().to_owned());
            for fields in [record.fields.clone(), published(record, &mapped.records)] {
                fill(record.kind.name(), &Json::Object(fields), &mut self.filled);
            }
        }
        let Trace { asked, fired, unchosen, .. } = mapped.trace;
        self.fired.extend(fired);
        let mut elements: BTreeMap<String, u64> = BTreeMap::new();
        let known = match input {
            Input::Unit(unit) => fhir::counted_before(unit, &mut self.counted),
            Input::Message(_) => BTreeSet::new(),
        };
        for (place, targets) in unchosen.into_iter().filter(|(place, _)| !fhir::is_of(place, &known)) {
            let element = part_of(&place);
            self.unchosen.entry(element.clone()).or_default().1.extend(targets);
            *elements.entry(element).or_default() += 1;
        }
        for (element, values) in elements {
            let counted = &mut self.unchosen.entry(element).or_default().0;
            counted.messages += 1;
            counted.values += values;
        }
        let mut unread: BTreeMap<Asked, u64> = BTreeMap::new();
        let is_left_out = |place: String| mapped.skipped.iter().any(|skipped| skipped.path == place);
        match input {
            Input::Message(message) => {
                let segments = message.segments().skip(1);
                for segment in segments.filter(|segment| !is_left_out(segment.location_of(0).to_string())) {
                    count_unread(&segment, &asked, &mut unread);
                }
            }
            Input::Unit(unit) => fhir::count_unread(unit, &asked, (&mapped.skipped, &known), &mut unread),
        }
        for (place, values) in unread {
            let counted = self.unread.entry(place).or_default();
            counted.messages += 1;
            counted.values += values;
        }
    }

    /// Whether any message gave a record of this kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.filled.contains(kind.name())
    }

    /// Rules of the mapping that gave nothing in any message.
    pub fn idle_rules(&self, mapping: &Mapping) -> Vec<RuleName> {
        mapping.rules().into_iter().filter(|rule| !self.fired.contains(rule)).collect()
    }

    /// Fields that no message filled, of the kinds of record that there were: `visit.disposition`.
    pub fn empty_fields(&self) -> Vec<String> {
        let mut empty = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| self.has(*kind)) {
            self.empty_within(kind.name(), schema::fields(kind), &mut empty);
        }
        empty
    }

    /// A list or object without any value is named alone, not part by part.
    fn empty_within(&self, place: &str, level: &[Field], empty: &mut Vec<String>) {
        for field in level {
            let name = format!("{place}.{}", field.name);
            match field.shape {
                _ if !self.filled.contains(&name) => empty.push(name),
                Shape::Object(inner) | Shape::List(inner) => self.empty_within(&name, inner, empty),
                _ => {}
            }
        }
    }
}

fn fill(place: &str, value: &Json, filled: &mut BTreeSet<String>) {
    match value {
        Json::Object(fields) => {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let place = format!("{place}.{name}");
                fill(&place, value, filled);
                filled.insert(place);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| fill(place, item, filled)),
        _ => {}
    }
}

/// What a place is a part of, whichever resource, segment, item or repetition: `Encounter.participant` of `Encounter/8.participant[1]`,
/// `PID-11` of `PID-11[2]`.
fn part_of(place: &str) -> String {
    let (named, rest) = place.split_at(place.find('.').unwrap_or(place.len()));
    let named = named.split('/').next().unwrap_or(named);
    [named, rest].into_iter().flat_map(|text| text.split(['[', ']']).step_by(2)).collect()
}

fn count_unread(segment: &Segment<'_>, asked: &BTreeSet<Asked>, unread: &mut BTreeMap<Asked, u64>) {
    let message = segment.message();
    let own: &[usize] =
        OF_THE_ENGINE.iter().find(|(name, _)| *name == segment.name()).map_or(&[], |(_, fields)| fields);
    for field in (1..=segment.field_count()).filter(|field| !own.contains(field)) {
        let place = |component| Asked::Field { segment: segment.name().to_owned(), field, component };
        if segment.field(field).trim().is_empty() || asked.contains(&place(None)) {
            continue;
        }
        let last = place(Some(usize::MAX));
        let is_read_in_part = asked.range(place(Some(0))..=last).next().is_some();
        for repetition in message.repetitions(segment.field(field)) {
            let parts = message.parts(repetition);
            let is_given = |component: &usize| !matches!(parts.component(*component).trim(), "" | "\"\"");
            let given = (1..=parts.count()).filter(is_given);
            if is_read_in_part {
                for place in given.map(|component| place(Some(component))).filter(|place| !asked.contains(place)) {
                    *unread.entry(place).or_default() += 1;
                }
            } else if given.count() > 0 {
                *unread.entry(place(None)).or_default() += 1;
            }
        }
    }
}
