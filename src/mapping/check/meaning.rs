//! Paths that HL7 v2 has, and that hold something else than what they are read for.

use super::Checker;
use super::path::reads;
use crate::hl7v2::Path;
use crate::hl7v2::dictionary::{Meaning, shown};
use crate::mapping::coerce::Coercion;
use crate::mapping::compile::Target;
use crate::mapping::file::{Block, Located, Rule};

/// Lists whose items are repetitions of a field, and what makes one of them.
const ITEMS: &[(&str, Coercion, &str)] = &[
    ("patient.identifiers", Coercion::Identifier, "numbers"),
    ("patient.phones", Coercion::Phone, "phone numbers"),
    ("patient.addresses", Coercion::Address, "addresses"),
];

/// What else is said of a result, and where HL7 v2 says it.
const OF_A_RESULT: &[(&str, &str)] = &[
    ("code", "OBX-3.1"),
    ("flags", "OBX-8[*]"),
    ("observed_at", "OBX-14"),
    ("reference_range", "OBX-7"),
    ("status", "OBX-11"),
    ("sub_id", "OBX-4"),
    ("system", "OBX-3.3"),
    ("unit", "OBX-6"),
];

impl Checker<'_, '_, '_> {
    /// A list whose `each` is a field of something else.
    pub(super) fn each_of_list(&mut self, block: &Block, place: &str, each: &Path) {
        let Some((_, coercion, items)) = ITEMS.iter().find(|(list, ..)| *list == place) else { return };
        let (Some(written), Some(_), Ok(meaning)) = (&block.each, each.field(), self.meaning(each)) else { return };
        // Of a field that was text once and now has components these say what it is.
        let newest = meaning.types.last().filter(|newest| self.dictionary.is_composite(newest));
        let holds = match newest {
            Some(newest) => reads(*coercion, newest, self.dictionary),
            None => meaning.types.iter().any(|name| reads(*coercion, name, self.dictionary)),
        };
        if meaning.types.is_empty() || holds {
            return;
        }
        let text = format!("{each} ({}) holds no {items}", shown(&meaning.types));
        self.reader.warn(written.file, written.span.clone(), "M018", text, "is another field meant?");
    }

    /// OBX-5, or OBX-3 as what a report is about, where their segment makes no record or item: the first of them, whatever it is about.
    pub(super) fn only_the_first(&mut self, rule: &Rule, within: Option<&Path>) {
        if within.is_some_and(|each| each.segment() == "OBX") {
            return;
        }
        for written in &rule.from {
            let Ok(path) = Path::parse(&written.value) else { continue };
            // A code that is looked up may tell by the first OBX what all of them are.
            let is_code = path.field() == Some(3) && rule.table.is_none();
            let is_judged = path.segment() == "OBX" && (path.field() == Some(5) || is_code);
            if is_judged && path.means_one_segment() && path.occurrence().is_none() {
                let text = format!("{path} is that of the first OBX alone, whatever it is about");
                let hint = "say which, as in OBX[3.1=CODE]-5; OBX[*]-5 is all of them, OBX[1]-5 the first on purpose";
                self.reader.warn(written.file, written.span.clone(), "M021", text, hint);
            }
        }
    }

    /// What the header says is of the message, and nothing of the patient.
    pub(super) fn of_the_message(&mut self, rule: &Rule, target: &str) {
        let is_of_header = |path: &Located<String>| Path::parse(&path.value).is_ok_and(|path| path.segment() == "MSH");
        if let (false, Some(written)) = (target == "updated_at", rule.from.iter().find(|path| is_of_header(path))) {
            let text = format!("{} is about the message, and says nothing of a patient's {target}", written.value);
            self.reader.warn(written.file, written.span.clone(), "M018", text, "is a field of PID meant?");
        }
    }

    /// The value of a result that is read for something else about it.
    pub(super) fn value_for_else(&mut self, path: &Path, written: &Located<String>, place: &str, target: &Target) {
        let is_value = (path.segment(), path.field(), path.component()) == ("OBX", Some(5), None);
        if place != "lab_report.results" || !is_value || target.parent.is_some() {
            return;
        }
        if let Some((name, meant)) = OF_A_RESULT.iter().find(|(name, _)| *name == target.name) {
            let text = format!("{path} is the value of the result, and not its {name}");
            self.reader.warn(written.file, written.span.clone(), "M018", text, &format!("is {meant} meant?"));
        }
    }

    /// One component of a name, or of a person's number and name, where all of it is read.
    pub(super) fn part_of_name(&mut self, rule: &Rule, coercion: Option<Coercion>) {
        let (whole, what) = match coercion {
            Some(Coercion::Name) => (&["XPN", "PN"], "the name"),
            Some(Coercion::Staff) => (&["XCN", "CN"], "the person's number and name"),
            _ => return,
        };
        for written in &rule.from {
            let Ok(path) = Path::parse(&written.value) else { continue };
            let (Some(field), Some(component)) = (path.field(), path.component()) else { continue };
            let source = path.to_string();
            // Up to the component: the path that reads them all.
            let Some((before, _)) = source.rsplit_once(&format!(".{component}")) else { continue };
            let Ok(outer) = Path::parse(before) else { continue };
            let is_whole = |meaning: &Meaning| meaning.types.iter().any(|name| whole.contains(name));
            if outer.field() == Some(field)
                && outer.component().is_none()
                && self.meaning(&outer).is_ok_and(|meaning| is_whole(&meaning))
                && !self.meaning(&path).is_ok_and(|meaning| is_whole(&meaning))
            {
                let text = format!("{path} is a part of {what} alone");
                let hint = format!(
                    "write {outer}: it reads all of {what}; where the sender has all of it in this part, say so: as = \"text\""
                );
                self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
                return;
            }
        }
    }

    /// What `[segments]` says of fields that HL7 v2 has, and that adds nothing to what it says of them.
    pub(super) fn said_by_the_standard(&mut self) {
        for own in &self.declared.segments {
            let number = match own.component {
                0 => own.number.to_string(),
                component => format!("{}.{component}", own.number),
            };
            let Ok(path) = Path::parse(&format!("{}-{number}", own.segment.value)) else { continue };
            let Ok(meaning) = self.dictionary.meaning(&path) else { continue };
            let adds = self.dictionary.is_composite(own.data_type) && !meaning.types.contains(&own.data_type);
            if adds || meaning.types.is_empty() {
                continue;
            }
            let types = shown(&meaning.types);
            let text = format!("{path} is a field of HL7 v2 ({types}), and {} says no more of it", own.data_type);
            let hint = "leave it out: [segments] is for what the sender adds to the standard";
            self.reader.warn(own.place.file, own.place.span.clone(), "M021", text, hint);
        }
    }

    /// A component of a value whose type each OBX says itself. Whether it told.
    pub(super) fn part_of_value(
        &mut self,
        path: &Path,
        written: &Located<String>,
        coercion: Coercion,
        target: &Target,
    ) -> bool {
        let is_part = (path.segment(), path.field()) == ("OBX", Some(5)) && path.component().is_some();
        if coercion != Coercion::LabValue || !target.spread || !is_part {
            return false;
        }
        let text = format!("{path} is one component, of an SN its sign alone, and what the others say is lost");
        let hint = "write OBX-5: the value is read by its type, which OBX-2 says";
        self.reader.warn(written.file, written.span.clone(), "M018", text, hint);
        true
    }
}
