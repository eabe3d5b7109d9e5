//! What a mapping names of the configuration: sources whose visits a report belongs to, assigning authorities. Whether the configuration has
//! them is asked when it is at hand.

use std::collections::BTreeMap;

use super::Checker;
use crate::diagnostic::{Diagnostic, is_one_letter_away, listed, similar};
use crate::mapping::expression::Expression;
use crate::mapping::file::{Block, Located};
use crate::mapping::input::Format;

/// Fields that hold an assigning authority, with the list or object that they stand in.
const AUTHORITIES: &[&str] = &[
    "patient.identifiers.system",
    "merge.survivor.system",
    "merge.retired.system",
    "patient.mother_identifier.system",
    "visit.number_system",
    "lab_report.visit_system",
];
/// The field that holds the name of a source.
const SOURCE: &str = "lab_report.visit_source";
/// Shortest authority of which one letter more or less is sooner a slip than another authority: HIS and LIS are two.
const LEAST_AUTHORITY: usize = 4;
/// Of shorter ones another letter is another system.
const LEAST_WORD: usize = 6;

/// One name of the configuration, in a constant or a default.
#[derive(Debug)]
pub(in crate::mapping) struct Named {
    is_source: bool,
    value: String,
    /// At its place, or at the `extends` behind which it stands.
    place: Diagnostic,
    /// Where the base has it, with the block that a site changes.
    of_base: Vec<String>,
}

/// Tells which of the names the configuration does not have.
pub(in crate::mapping) fn unknown_names(named: &[Named], sources: &[&str], authorities: &[&str]) -> Vec<Diagnostic> {
    let told = named.iter().filter_map(|name| {
        let (text, hint) = match name.is_source {
            true if sources.contains(&name.value.as_str()) => return None,
            true => {
                let meant = similar(&name.value, sources.iter().copied());
                let meant = meant.map_or_else(String::new, |meant| format!("did you mean {meant}? "));
                let here = listed(sources.iter().copied());
                let write = match name.of_base.is_empty() {
                    true => String::new(),
                    false => "; write visit_source = { constant = \"…\" } in these blocks".to_owned(),
                };
                let text = format!("no source is called {}, whose visits reports are said to belong to", name.value);
                (text, format!("{meant}sources here are {here}{write}"))
            }
            false => {
                let is_known = authorities.contains(&name.value.as_str());
                let meant = authorities.iter().find(|known| !is_known && is_nearly(&name.value, known))?;
                let text = format!("the authority {} is no source's, and nearly {meant}", name.value);
                (text, format!("did you mean {meant}? an authority is known as it is written only"))
            }
        };
        let mut problem = name.place.clone();
        problem.text = match name.of_base.is_empty() {
            true => text,
            false => format!("{text}: {}", name.of_base.join(", ")),
        };
        Some(problem.hint(hint))
    });
    told.collect()
}

/// Whether two authorities differ by a slip: in case, by letters that look alike, by one letter. Numbers tell branches apart.
fn is_nearly(name: &str, known: &str) -> bool {
    let seen = |text: &str| -> String {
        let letters = text.to_lowercase();
        letters
            .chars()
            .map(|letter| if "1i|".contains(letter) { 'l' } else { letter })
            .collect::<String>()
            .replace('0', "o")
    };
    let without_digits = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
    let (one, other) = (name.to_lowercase(), known.to_lowercase());
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    let is_long = name.chars().count().max(known.chars().count()) >= LEAST_AUTHORITY;
    let has_changed_places = sorted(&one) == sorted(&other);
    // DHIS and DLIS are two systems of one hospital.
    let is_another_letter = one.len() == other.len() && !has_changed_places && one.len() < LEAST_WORD;
    let is_slip = is_one_letter_away(&one, &other) && (is_long || has_changed_places) && !is_another_letter;
    seen(name) == seen(known) || (is_slip && without_digits(&one) != without_digits(&other))
}

impl Checker<'_, '_, '_> {
    /// What the mapping names of the configuration, each name once.
    pub(super) fn names(&self) -> Vec<Named> {
        let mut found: Vec<(String, &Located<String>, &Block)> = Vec::new();
        for (kind, block) in &self.declared.records {
            self.names_of(block, block, kind.name(), &mut found);
        }
        let mut of_base: BTreeMap<(bool, &str), Vec<String>> = BTreeMap::new();
        let mut named = Vec::new();
        for (place, written, block) in found {
            let is_source = place == SOURCE;
            if written.file == 0 {
                let place = Diagnostic::warning(&self.reader.files[0], written.span.clone(), "M029", "");
                named.push(Named { is_source, value: written.value.clone(), place, of_base: Vec::new() });
            } else {
                let file = &self.reader.files[written.file];
                let name = block.label.as_ref().map_or_else(String::new, |name| format!(" of {}", name.value));
                let place = format!("{place}{name} ({}:{})", file.name, file.line(written.span.start));
                of_base.entry((is_source, &written.value)).or_default().push(place);
            }
        }
        let Some(extends) = &self.reader.extends else { return named };
        named.extend(of_base.into_iter().map(|((is_source, value), of_base)| {
            let place = Diagnostic::warning(&self.reader.files[0], extends.span.clone(), "M029", "");
            Named { is_source, value: value.to_owned(), place, of_base }
        }));
        named
    }

    fn names_of<'b>(
        &self,
        block: &'b Block,
        record: &'b Block,
        place: &str,
        found: &mut Vec<(String, &'b Located<String>, &'b Block)>,
    ) {
        let never = |when: &Located<String>| {
            let is_hl7v2 = self.declared.format() == Format::Hl7v2;
            let known = Expression::parse(&when.value).ok().filter(|_| is_hl7v2);
            when.value.trim() == "false" || known.is_some_and(|when| self.match_facts.ask(&when) == Some(false))
        };
        if block.when.as_ref().is_some_and(never) {
            return;
        }
        for (target, rule) in &block.fields {
            let name = format!("{place}.{}", target.value);
            if name != SOURCE && !AUTHORITIES.contains(&name.as_str()) {
                continue;
            }
            let values = rule.iter().flat_map(|rule| [&rule.constant, &rule.default]).flatten();
            found.extend(values.map(|written| (name.clone(), written, record)));
        }
        for (list, blocks) in &block.lists {
            blocks.iter().for_each(|block| self.names_of(block, record, &format!("{place}.{list}"), found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_nearly;

    #[test]
    fn authorities_that_differ_by_a_slip_are_nearly_the_same() {
        for (name, known, expected) in [
            ("DHlS", "DHIS", true),
            ("dhis", "DHIS", true),
            ("DHSI", "DHIS", true),
            ("DHISS", "DHIS", true),
            ("HIS", "DHIS", true),
            ("HSI", "HIS", true),
            ("LIS", "HIS", false),
            ("DLIS", "DHIS", false),
            ("HOSPITEL", "HOSPITAL", true),
            ("HIS1", "HIS2", false),
            ("HOSPITAL1", "HOSPITAL", false),
            ("EMR", "DHIS", false),
        ] {
            assert_eq!(is_nearly(name, known), expected, "{name} {known}");
        }
    }
}
