//! Paths that HL7 v2 has, and that hold something else than what they are read for.

use super::Checker;
use super::path::reads;
use crate::hl7v2::Path;
use crate::hl7v2::dictionary::shown;
use crate::mapping::coerce::Coercion;
use crate::mapping::compile::Target;
use crate::mapping::file::{Block, Located, Rule};

/// Lists whose items are repetitions of a field, and what makes one of them.
const ITEMS: &[(&str, Coercion, &str)] = &[
    ("patient.identifiers", Coercion::Identifier, "numbers"),
    ("patient.phones", Coercion::Phone, "phone numbers"),
    ("patient.addresses", Coercion::Address, "addresses"),
];

impl Checker<'_, '_, '_> {
    /// A list whose `each` is a field of something else.
    pub(super) fn each_of_list(&mut self, block: &Block, place: &str, each: &Path) {
        let Some((_, coercion, items)) = ITEMS.iter().find(|(list, ..)| *list == place) else { return };
        let (Some(written), Some(_), Ok(meaning)) = (&block.each, each.field(), self.meaning(each)) else { return };
        if meaning.types.is_empty() || meaning.types.iter().any(|name| reads(*coercion, name, self.dictionary)) {
            return;
        }
        let text = format!("{each} ({}) holds no {items}", shown(&meaning.types));
        self.reader.warn(written.file, written.span.clone(), "M018", text, "is another field meant?");
    }

    /// OBX-5 where its segment makes no record or item: the first of them, whatever it is about.
    pub(super) fn only_the_first(&mut self, rule: &Rule, within: Option<&Path>) {
        if within.is_some_and(|each| each.segment() == "OBX") {
            return;
        }
        for written in &rule.from {
            let Ok(path) = Path::parse(&written.value) else { continue };
            let is_value = (path.segment(), path.field()) == ("OBX", Some(5));
            if is_value && path.means_one_segment() && path.occurrence().is_none() {
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
