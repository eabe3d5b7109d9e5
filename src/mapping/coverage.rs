//! What a mapping leaves unread in a set of messages, and which of its rules never gave anything.
//!
//! A value counts as read if a rule or condition asked for its field, component or element in that message, whether or not the value was
//! the one taken. A rule asks for what its coercion looks at: of a field the components of the data type, of an element all that is in
//! it, behind a Reference the number and name. What `each` opens is not yet read. A repetition of which nothing is asked for is told although
//! others of its field are read (`PV1-7[2]`), and so is a segment like others that are read where it stands (`NTE-3 behind PID`). What the engine reads by itself is no mapping's
//! business.

mod fhir;

use std::collections::{BTreeMap, BTreeSet, HashSet};

pub(super) use fhir::WHOLE;

use super::input::Input;
use super::{Asked, Disposition, MapError, Mapped, MappedRecord, Mapping, Reached, RuleName, Trace, Unmapped};
use crate::hl7v2::{Location, Segment};
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
        let Trace { asked, reached, fired, unchosen, .. } = mapped.trace;
        self.fired.extend(fired);
        let mut elements: BTreeMap<String, u64> = BTreeMap::new();
        let known = match input {
            Input::Unit(unit) => fhir::counted_before(unit, &mut self.counted),
            Input::Message(_) => BTreeSet::new(),
        };
        let mut told = Told { places: unchosen.keys().cloned().collect(), ..Told::default() };
        told.places.extend(mapped.skipped.iter().map(|skipped| skipped.path.clone()));
        told.ends.extend(mapped.rejected.iter().map(|rejected| rejected.path.clone()));
        told.ends.extend(told.places.iter().cloned());
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
                    count_unread(&segment, &asked, &reached, &told, &mut unread);
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

/// What is told of by itself.
#[derive(Default)]
struct Told {
    /// Segments and repetitions that were left out, or that no condition chooses.
    places: BTreeSet<String>,
    /// Values that could not be taken, and places of those that are missing: with one of them its record or item may have come to an
    /// end, and the other fields were not asked for.
    ends: BTreeSet<String>,
}

impl Told {
    /// Whether the whole of a repetition, or of its segment, is told of.
    fn has(&self, segment: &Segment<'_>, repetition: &Location) -> bool {
        let first = Location { repetition: None, ..repetition.clone() };
        let is_only = repetition.repetition == Some(1);
        [segment.location_of(0), repetition.clone()].iter().any(|place| self.places.contains(&place.to_string()))
            || is_only && self.places.contains(&first.to_string())
    }

    /// Whether something in the segment may have ended what reads it.
    fn ends(&self, segment: &Segment<'_>) -> bool {
        let place = segment.location_of(0).to_string();
        self.ends
            .iter()
            .any(|path| path.strip_prefix(&place).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    }
}

fn count_unread(
    segment: &Segment<'_>,
    asked: &BTreeSet<Asked>,
    reached: &BTreeSet<Reached>,
    told: &Told,
    unread: &mut BTreeMap<Asked, u64>,
) {
    let message = segment.message();
    let own: &[usize] =
        OF_THE_ENGINE.iter().find(|(name, _)| *name == segment.name()).map_or(&[], |(_, fields)| fields);
    for field in (1..=segment.field_count()).filter(|field| !own.contains(field)) {
        if segment.field(field).trim().is_empty() {
            continue;
        }
        let place = |component| Asked::Field { segment: segment.name().to_owned(), field, component };
        let last = place(Some(usize::MAX));
        let is_read_in_part = asked.range(place(None)..=last).next().is_some();
        let is_asked = |component| asked.contains(&place(None)) || asked.contains(&place(Some(component)));
        for (number, repetition) in (1..).zip(message.repetitions(segment.field(field))) {
            let parts = message.parts(repetition);
            let is_given = |component: &usize| !matches!(parts.component(*component).trim(), "" | "\"\"");
            let given: Vec<usize> = (1..=parts.count()).filter(is_given).collect();
            if !is_read_in_part {
                if !given.is_empty() {
                    *unread.entry(place(None)).or_default() += 1;
                }
                continue;
            }
            let (asked_for, others): (Vec<usize>, Vec<usize>) =
                given.into_iter().partition(|component| is_asked(*component));
            for component in others {
                *unread.entry(place(Some(component))).or_default() += 1;
            }
            if let Some(place) = read_elsewhere(segment, (field, number), &asked_for, reached, told) {
                *unread.entry(Asked::Elsewhere { place }).or_default() += 1;
            }
        }
    }
}

/// A repetition of which nothing is read, although its field is read in other segments or repetitions. `given`: the components with a
/// value that are read there.
fn read_elsewhere(
    segment: &Segment<'_>,
    (field, number): (usize, usize),
    given: &[usize],
    reached: &BTreeSet<Reached>,
    told: &Told,
) -> Option<String> {
    let index = segment.index();
    let at = |repetition, component| Reached { segment: index, field, repetition, component };
    let any = |from: usize, to: usize| reached.range(at(from, None)..=at(to, Some(usize::MAX))).next().is_some();
    let location = Location { repetition: Some(number), ..segment.location_of(field) };
    if given.is_empty() || any(number, number) || told.has(segment, &location) {
        return None;
    }
    let name = segment.name();
    if any(1, usize::MAX) {
        return Some(format!("{name}-{field}[{number}]"));
    }
    let owner = segment.owner().filter(|_| name == "NTE");
    if told.ends(owner.as_ref().unwrap_or(segment)) {
        return None;
    }
    Some(match owner {
        Some(owner) => format!("{name}-{field} behind {}", owner.name()),
        None => format!("{name}-{field} of a further {name}"),
    })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::hl7v2::{Charset, Limits, Message};
    use crate::mapping::{Context, Mapping};

    fn unread(mapping: &str, body: &str) -> Vec<String> {
        let read = |_: &str| Ok(format!("match = {{ 'MSH-9.1' = ['ORU'] }}\n{mapping}"));
        let mapping = Mapping::load("site.toml", &read).unwrap();
        let text = format!("MSH|^~\\&|LIS||||||ORU^R01|1|P|2.5.1\n{body}\n").replace('\n', "\r");
        let message = Message::parse(text, Charset::Utf8, &Limits::default()).unwrap();
        let mut coverage = Coverage::default();
        let context = Context { zone: &TimeZone::UTC, facility: None, explain: true };
        coverage.add((&message).into(), mapping.apply(&message, &context), |record, _| record.fields.clone());
        assert_eq!((coverage.ignored, coverage.failed), (0, 0), "{body}");
        coverage.unread.keys().map(ToString::to_string).collect()
    }

    const REPORT: &str = "[patient]\nbirth_date = 'PID-7'\n[[patient.identifiers]]\neach = 'PID-3'\nvalue = 'PID-3.1'
        [[lab_report]]\neach = 'OBR'\nfiller_order_number = 'OBR-3.1'\nrequester = 'OBR-16'\nconclusion = 'NTE[*]-3[*]'
        [[lab_report.results]]\neach = 'OBX'\ncode = 'OBX-3.1'\nvalue = 'OBX-5'\nreference_range = 'OBX-7'
        observed_at = { from = 'OBX-14', required = 'skip' }\nnote = 'NTE[*]-3[*]'";

    #[test]
    fn repetitions_and_segments_of_which_nothing_is_read_are_told_although_others_are() {
        const RESULT: &str = "OBX|||K||1~2||3~5|||||||20240305";
        let check = |body: &str, expected: &[&str]| assert_eq!(unread(REPORT, body), expected, "{body}");
        check("PID|||1~2\nOBR|||F1\nNTE|||a~b\nOBX|||K||1~2||3~5|||||||20240305\nNTE|||c~d", &[]);
        check("PID|||1~2\nOBR|||F1|||||||||||||D1^王~D2^李~D3^赵", &["OBR-16[2]", "OBR-16[3]"]);
        check(&format!("PID|||1\nNTE|||a\nOBR|||F1\n{RESULT}"), &["NTE-3 behind PID"]);
        // What a result that is left out for want of something says is told by that.
        check(&format!("PID|||1\nOBR|||F1\n{RESULT}\nNTE|||a\nOBX|||K||1\nNTE|||b"), &[]);
    }

    #[test]
    fn all_that_a_condition_looks_at_is_read() {
        let chosen = REPORT.replace("'OBR-16'", "'OBR-16[13=X]'");
        assert_eq!(unread(&chosen, "PID|||1\nOBR|||F1|||||||||||||D1^^^^^^^^^^^^X"), [""; 0]);
        let found = unread(
            &format!("{REPORT}\nwhen = 'OBX-20[2]'"),
            "PID|||1\nOBR|||F1\nOBX|||K||1|||||||||20240305||||||a~b~c",
        );
        assert_eq!(found, ["OBX-20[1]", "OBX-20[3]"]);
    }
}
