//! The numbers of a merge and those of a patient: both name the same cards, and a merge whose numbers are read by other rules names
//! numbers that nobody has. It is then lost without a word: the patient who was given up stays, and one who never was is made.

use super::Checker;
use crate::hl7v2::Path;
use crate::mapping::expression::Expression;
use crate::mapping::file::{Block, Rule};
use crate::record::Kind;

/// What a number is known by.
const FIELDS: &[&str] = &["system", "type", "value"];
/// The field of a patient's numbers, and that of the numbers that are given up (HL7 v2.8.2, 3.4.2.3 and 3.4.10.1).
pub(super) const PATIENT_NUMBERS: &str = "PID-3";
pub(super) const RETIRED_NUMBERS: &str = "MRG-1";

/// One list of a merge whose items are read otherwise.
struct Difference<'d> {
    fields: Vec<&'static str>,
    /// Where it is read so, for people.
    place: String,
    /// What would read it as the patient's number is read, as TOML for people.
    remedy: String,
    /// The rules of both sides.
    rules: Vec<&'d Rule>,
}

impl<'d> Checker<'_, '_, 'd> {
    /// Lists of merges that read numbers otherwise than the patient's own list does.
    pub(super) fn numbers_of_merges(&mut self) {
        // A source without this segment sends no merges.
        if self.match_facts.lacks("MRG") {
            return;
        }
        let declared = self.declared;
        let patients = declared.records.iter().filter(|(kind, _)| *kind == Kind::Patient);
        let lists = patients.flat_map(|(_, block)| lists_of(block, "identifiers"));
        let Some(numbers) = lists.into_iter().find(|block| reads(block, PATIENT_NUMBERS)) else { return };
        let mut differences = Vec::new();
        for (_, merge) in declared.records.iter().filter(|(kind, _)| *kind == Kind::Merge) {
            let is_never = merge.when.as_ref().and_then(|when| Expression::parse(&when.value).ok());
            if is_never.is_some_and(|when| self.match_facts.ask(&when) == Some(false)) {
                continue;
            }
            for (list, each) in [("survivor", PATIENT_NUMBERS), ("retired", RETIRED_NUMBERS)] {
                let found = lists_of(merge, list).into_iter().find(|block| reads(block, each));
                if let Some(found) = found {
                    self.differences(numbers, merge, (list, each, found), &mut differences);
                }
            }
        }
        self.tell_differences(&differences);
    }

    fn differences(
        &self,
        numbers: &'d Block,
        merge: &'d Block,
        (list, each, block): (&str, &str, &'d Block),
        found: &mut Vec<Difference<'d>>,
    ) {
        let (name, outer) = match &merge.label {
            Some(label) => (format!(" of {}", label.value), format!("block = {:?}", label.value)),
            None => {
                let each = merge.each.as_ref().map_or("", |each| each.value.as_str());
                (String::new(), format!("each = {each:?}"))
            }
        };
        let (mut fields, mut rules) = (Vec::new(), Vec::new());
        let mut remedy = format!("[[merge]] {outer} [[merge.{list}]] each = {each:?}");
        for field in FIELDS.iter().copied() {
            let (of_patient, of_merge) = (rules_of(numbers, field), rules_of(block, field));
            if is_otherwise(&of_patient, &of_merge, each) {
                let written = of_patient.iter().map(|rule| self.written(rule, each)).collect::<Vec<_>>();
                let right = match written.as_slice() {
                    [] => "false".to_owned(),
                    [one] => one.clone(),
                    several => format!("[{}]", several.join(", ")),
                };
                remedy.push_str(&format!(" {field} = {right}"));
                fields.push(field);
                rules.extend(of_patient.into_iter().chain(of_merge));
            }
        }
        if !fields.is_empty() {
            let file = &self.reader.files[block.file];
            let place = format!("merge.{list}{name} ({}:{})", file.name, file.line(block.span.start));
            found.push(Difference { fields, place, remedy, rules });
        }
    }

    /// One mistake, one problem: at what the site wrote of the patient's numbers, or of the merge's where it wrote that alone.
    fn tell_differences(&mut self, differences: &[Difference<'_>]) {
        let rules = differences.iter().flat_map(|difference| &difference.rules);
        let Some(rule) = rules.min_by_key(|rule| (rule.file, rule.span.start)) else { return };
        let fields: Vec<&str> = FIELDS
            .iter()
            .copied()
            .filter(|field| differences.iter().any(|difference| difference.fields.contains(field)))
            .collect();
        let places: Vec<&str> = differences.iter().map(|difference| difference.place.as_str()).collect();
        let text = format!(
            "patient.identifiers of {PATIENT_NUMBERS} reads {} otherwise than merges do, which then name numbers that nobody has: {}",
            fields.join(" and "),
            places.join(", ")
        );
        let remedies: Vec<&str> = differences.iter().map(|difference| difference.remedy.as_str()).collect();
        let hint = format!("say the same in merges: {}", remedies.join("; "));
        self.reader.warn(rule.file, rule.span.clone(), "M028", text, &hint);
    }

    /// A rule as its file has it, on one line, for the paths of another field.
    fn written(&self, rule: &Rule, each: &str) -> String {
        let text = self.reader.files[rule.file].text.get(rule.span.clone()).unwrap_or("…");
        moved(&text.split_whitespace().collect::<Vec<_>>().join(" "), each)
    }
}

fn lists_of<'d>(block: &'d Block, name: &str) -> Vec<&'d Block> {
    block.lists.iter().filter(|(list, _)| *list == name).flat_map(|(_, blocks)| blocks).collect()
}

fn reads(block: &Block, each: &str) -> bool {
    let is_off = block.when.as_ref().is_some_and(|when| when.value.trim() == "false");
    !is_off && !block.is_unclear && block.each.as_ref().is_some_and(|written| written.value.trim() == each)
}

fn rules_of<'d>(block: &'d Block, field: &str) -> Vec<&'d Rule> {
    block.fields.iter().filter(|(target, _)| target.value == field).filter_map(|(_, rule)| rule.as_ref()).collect()
}

/// Whether a merge's rules for a field give something else than the patient's.
fn is_otherwise(of_patient: &[&Rule], of_merge: &[&Rule], each: &str) -> bool {
    let all = || of_patient.iter().chain(of_merge);
    // What is wrong with a rule is told of it; and what else a patient's rule reads, the segment of a merge does not have.
    let is_elsewhere = |path: Path| path.segment() != "MSH" && (path.segment(), path.field()) != ("PID", Some(3));
    let reads_elsewhere = |rule: &&Rule| rule.from.iter().any(|path| Path::parse(&path.value).is_ok_and(is_elsewhere));
    if all().any(|rule| rule.is_unclear) || (each != PATIENT_NUMBERS && of_patient.iter().any(reads_elsewhere)) {
        return false;
    }
    // Who wrote both in one file knows of both: another constant or condition is then meant.
    let is_of_one_hand = match (of_patient.first(), of_merge.first()) {
        (Some(patient), Some(merge)) => patient.file == merge.file,
        _ => false,
    };
    let is_own_choice = all().any(|rule| rule.constant.is_some()) || of_patient.len() != of_merge.len();
    if is_of_one_hand && is_own_choice {
        return false;
    }
    let patient = of_patient.iter().map(|rule| meaning(rule, each, !is_of_one_hand));
    let merge = of_merge.iter().map(|rule| meaning(rule, each, !is_of_one_hand));
    patient.ne(merge)
}

/// All that decides what a rule gives, with the paths of another field in the place of the patient's.
fn meaning(rule: &Rule, each: &str, with_condition: bool) -> Vec<String> {
    let from = rule.from.iter().map(|path| moved(path.value.trim(), each));
    let keys = [&rule.constant, &rule.coercion, &rule.table, &rule.default, &rule.on_unmapped];
    let keys = keys.into_iter().map(|key| key.as_ref().map_or_else(String::new, |key| key.value.clone()));
    let when = rule.when.as_ref().filter(|_| with_condition).map(|when| {
        let when = moved(&when.value, each);
        Expression::parse(&when).map_or(when, |condition| format!("{condition:?}"))
    });
    from.chain(keys).chain(when).collect()
}

/// A text with the paths of another field in the place of those of the patient's numbers.
fn moved(text: &str, each: &str) -> String {
    let mut moved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(PATIENT_NUMBERS) {
        moved.push_str(before);
        // PID-30 is another field.
        moved.push_str(if behind.starts_with(|letter: char| letter.is_ascii_digit()) { PATIENT_NUMBERS } else { each });
        rest = behind;
    }
    moved.push_str(rest);
    moved
}
