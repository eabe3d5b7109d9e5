//! Paths that the base reads for another field of the same record or item, and not for the one that a site reads them for.

use super::merges::{PATIENT_NUMBERS, RETIRED_NUMBERS};
use super::texts::root_of;
use super::{Checker, coercion_of};
use crate::hl7v2::Path;
use crate::mapping::coerce::Coercion;
use crate::mapping::compile::{self, Target};
use crate::mapping::file::{Block, Located, Rule};
use crate::mapping::input::Format;
use crate::record::Kind;
use crate::record::schema::{Field, Shape};

/// Fields that a hospital may well fill from one place: its wards are departments, each of its visits is a stay.
const ALIKE: &[&[&str]] = &[
    &["department", "facility", "ward"],
    &["number", "stay_number"],
    &["conclusion", "note"],
    &["name", "other_names"],
];
/// Times that never move with what is told later: no time of a change.
const FIXED: &[&str] = &["birth_date", "deceased_at"];
/// The same of a visit.
const FIXED_OF_A_VISIT: &[&str] = &["ended_at", "scheduled_at", "started_at"];

/// Coercions of which two fields of one record hardly ever hold the same.
fn is_of_one_field(coercion: Coercion) -> bool {
    matches!(
        coercion,
        Coercion::Date
            | Coercion::DateTime
            | Coercion::Instant
            | Coercion::LabValue
            | Coercion::Name
            | Coercion::ReferenceRange
            | Coercion::Staff
            | Coercion::Unit
    )
}

/// What a field of a site and another of its base read alike without a mistake.
fn may_be_alike(place: &str, target: &str, other: &str) -> bool {
    let is_fixed = |name: &str| FIXED.contains(&name) || place == "visit" && FIXED_OF_A_VISIT.contains(&name);
    match (target, other) {
        // When it was so at the source may be many another time of the record, and an event may begin or end something.
        ("updated_at", other) => !is_fixed(other),
        (target, "updated_at") => !FIXED.contains(&target),
        // An alias is not the name, and the name may be among all that are sent.
        ("name", "other_names") => false,
        _ => ALIKE.iter().any(|fields| fields.contains(&target) && fields.contains(&other)),
    }
}

/// A path as two fields are compared by it.
fn root(written: &Located<String>, format: Format) -> Option<String> {
    match format {
        Format::Hl7v2 => Path::parse(&written.value).ok().map(|path| root_of(&path)),
        Format::Fhir => Some(written.value.trim().to_owned()),
    }
}

impl Checker<'_, '_, '_> {
    /// A site's rule whose one path the base reads for another field of the same record or item, and not for this one. Who says
    /// `as = "text"` or a condition knows what is sent.
    pub(super) fn paths_of_other_fields(
        &mut self,
        rules: &[(&Located<String>, &Rule)],
        place: &str,
        level: &'static [Field],
    ) {
        let format = self.declared.format();
        for (target, rule) in rules {
            let ([written], Some(found), None) =
                (rule.from.as_slice(), compile::target(level, &target.value), &rule.when)
            else {
                continue;
            };
            let Some(own) = root(written, format).filter(|_| self.is_judged(rule, written, place, level, &found))
            else {
                continue;
            };
            let is_own = |path: &Located<String>| root(path, format).as_ref() == Some(&own);
            if rule.base_paths.is_empty() || rule.base_paths.iter().any(is_own) {
                continue;
            }
            // What a code is made of by a table may be a code of something else by another.
            let looks_up = rule.table.is_some() || matches!(found.shape, Shape::Object(_));
            // Of the base, or said once more in place of what it says.
            let reads = |of_other: &Rule| {
                if looks_up && of_other.table.is_some() {
                    return false;
                }
                let said_again = || of_other.base_paths.iter().any(is_own);
                let depth = if format == Format::Hl7v2 { usize::MAX } else { 1 };
                let mut paths = of_other.from.iter().take(depth).filter(|path| is_own(path));
                paths.any(|path| path.file > written.file || said_again())
            };
            let owner = rules.iter().find(|(other, of_other)| {
                other.value != target.value && !may_be_alike(place, &target.value, &other.value) && reads(of_other)
            });
            let owner = match owner {
                Some((other, of_other)) => Some((other.value.clone(), of_other.file, of_other.span.start)),
                None => self.number_of_the_patient(&own, written, place, target),
            };
            let Some((other, of_file, start)) = owner else { continue };
            let file = &self.reader.files[of_file];
            let text = format!(
                "{} is what {other} is read from ({}:{}), and {} is to be something else",
                written.value,
                file.name,
                file.line(start),
                target.value
            );
            let of_base = rule.base_paths.first().map_or_else(String::new, |path| path.value.clone());
            let mut hint = format!("is another field meant? the base reads {of_base}");
            if found.shape == Shape::Text && rule.coercion.is_none() && rule.table.is_none() && !found.spread {
                hint.push_str("; as = \"text\" takes what is sent");
            }
            self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
            self.paths_of_others.insert((written.file, written.span.start));
        }
    }

    /// Whether a path that is another field's would be a mistake of the rule: not where two fields may be alike, or where its table is told of.
    fn is_judged(
        &self,
        rule: &Rule,
        written: &Located<String>,
        place: &str,
        level: &'static [Field],
        target: &Target,
    ) -> bool {
        let coercion = coercion_of(rule, target, level);
        // The parts of an address are different ones, and a number is nothing else of it.
        let is_part = place == "patient.addresses" || (place == "patient.identifiers" && target.name == "value");
        let is_explicit = rule.coercion.as_ref().is_some_and(|named| named.value == Coercion::Text.name());
        let holds_what_is_sent =
            matches!(target.shape, Shape::Text | Shape::TextList | Shape::Integer | Shape::Object(_));
        let is_text = self.declared.format() == Format::Hl7v2 && holds_what_is_sent && !is_explicit;
        let is_table_told = rule.table.as_ref().is_some_and(|table| {
            let file = &self.reader.files[table.file];
            let line = file.line(table.span.start);
            self.reader.problems.iter().any(|problem| problem.file == file.name && problem.line == line)
        });
        (is_part || is_text || coercion.is_some_and(is_of_one_field))
            && !is_table_told
            && !self.paths_of_others.contains(&(written.file, written.span.start))
    }

    /// The list of the patient's numbers that the base reads a path for, where a visit, report or order is to be known by it: its field,
    /// file and byte.
    fn number_of_the_patient(
        &self,
        own: &str,
        written: &Located<String>,
        place: &str,
        target: &Located<String>,
    ) -> Option<(String, usize, usize)> {
        const OTHERS: &[&str] = &["visit", "retired_visit"];
        let is_number = target.value.ends_with("number") || OTHERS.contains(&target.value.as_str());
        if place.contains('.') || place == "patient" || !is_number {
            return None;
        }
        let value_of = |block: &Block| {
            let is_numbers = |each: &Located<String>| [PATIENT_NUMBERS, RETIRED_NUMBERS].contains(&each.value.trim());
            let value = block.fields.iter().find(|(name, _)| name.value == "value")?.1.as_ref()?;
            let mut paths = value.from.iter();
            let reads = paths.any(|path| path.file > written.file && root(path, Format::Hl7v2).as_deref() == Some(own));
            (reads && block.each.as_ref().is_some_and(is_numbers)).then_some((value.file, value.span.start))
        };
        let records = &self.declared.records;
        let (of_patients, of_others): (Vec<_>, Vec<_>) = records.iter().partition(|(kind, _)| *kind == Kind::Patient);
        of_patients.into_iter().chain(of_others).find_map(|(kind, block)| {
            block.lists.iter().find_map(|(list, blocks)| {
                let (file, start) = blocks.iter().find_map(value_of)?;
                Some((format!("{}.{list}", kind.name()), file, start))
            })
        })
    }
}
