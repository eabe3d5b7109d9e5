//! What a record or item needs to be of use, and a mapping that fills none.

use super::Checker;
use crate::mapping::file::{Block, Located, Rule};
use crate::mapping::input::Format;

/// Fields that a record or item needs: one of each list.
struct Need {
    place: &'static str,
    one_of: &'static [&'static str],
    reason: &'static str,
}

const NEEDS: &[Need] = &[
    Need { place: "patient", one_of: &["identifiers"], reason: "a patient without any number is kept for nobody" },
    Need {
        place: "patient",
        one_of: &["updated_at"],
        reason: "without it messages count in the order of their arrival",
    },
    Need { place: "visit", one_of: &["number"], reason: "a visit without a number cannot be kept" },
    Need { place: "visit", one_of: &["event", "status"], reason: "without it nothing is known of the visit's course" },
    Need { place: "visit", one_of: &["updated_at"], reason: "without it messages count in the order of their arrival" },
    Need {
        place: "lab_report",
        one_of: &["filler_order_number", "placer_order_number"],
        reason: "a report without an order number cannot be told from others",
    },
    Need { place: "lab_report", one_of: &["status"], reason: "without it nobody knows whether the report is final" },
    Need {
        place: "lab_report",
        one_of: &["updated_at"],
        reason: "without it messages count in the order of their arrival",
    },
    Need {
        place: "merge",
        one_of: &["survivor", "visit"],
        reason: "a merge has numbers that live on and numbers that are given up",
    },
    // Other actions are about one side alone; what each needs is known when it is carried out.
    Need {
        place: "merge",
        one_of: &["retired", "retired_visit", "action"],
        reason: "a merge has numbers that live on and numbers that are given up",
    },
    Need { place: "merge", one_of: &["updated_at"], reason: "without it messages count in the order of their arrival" },
    Need { place: "consent", one_of: &["purpose"], reason: "nobody knows what it is for" },
    Need { place: "consent", one_of: &["state"], reason: "without it nobody knows what was said" },
    Need {
        place: "consent",
        one_of: &["updated_at"],
        reason: "without it messages count in the order of their arrival",
    },
    Need { place: "patient.identifiers", one_of: &["value"], reason: "a number without a value is none" },
    Need { place: "merge.survivor", one_of: &["value"], reason: "a number without a value is none" },
    Need { place: "merge.retired", one_of: &["value"], reason: "a number without a value is none" },
    Need { place: "patient.identifiers", one_of: &["type"], reason: "a number without a type proves nothing" },
    Need { place: "merge.survivor", one_of: &["type"], reason: "a number without a type proves nothing" },
    Need { place: "merge.retired", one_of: &["type"], reason: "a number without a type proves nothing" },
    Need { place: "patient.phones", one_of: &["value"], reason: "a phone without a number is none" },
    Need { place: "visit.diagnoses", one_of: &["code", "name"], reason: "a diagnosis has a code or a name" },
    Need { place: "visit.procedures", one_of: &["code", "name"], reason: "a procedure has a code or a name" },
    Need { place: "lab_report.results", one_of: &["code", "name"], reason: "a result has a code or a name" },
    Need {
        place: "lab_report.results",
        one_of: &["status"],
        reason: "without it nobody knows whether the result is final",
    },
    Need {
        place: "lab_report.results",
        one_of: &["value", "value_number", "value_text", "value_code"],
        reason: "a result without a value says nothing",
    },
];

impl Checker<'_, '_, '_> {
    pub(super) fn needs(&mut self, block: &Block, place: &str) {
        let skips_all = block.skip.iter().flatten().any(|rule| rule.when.value.trim() == "true");
        let is_astray = self.reader.astray.contains(&(block.file, block.span.start));
        if is_astray || skips_all || (block.fields.is_empty() && block.lists.is_empty()) {
            // It only switches something, or what it lacks has been said of it.
            return;
        }
        let has = |name: &str| {
            let is_target =
                |target: &str| target == name || target.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            block.fields.iter().any(|(target, rule)| rule.is_some() && is_target(&target.value))
                || block.lists.iter().any(|(list, _)| *list == name)
        };
        let removed = |need: &Need| {
            let removes = |(target, rule): &&(Located<String>, Option<Rule>)| {
                rule.is_none() && need.one_of.contains(&target.value.as_str())
            };
            block.fields.iter().find(removes).map(|(target, _)| target)
        };
        let mut lacks = Vec::new();
        for need in NEEDS.iter().filter(|need| need.place == place && !need.one_of.iter().any(|name| has(name))) {
            match removed(need) {
                Some(target) => {
                    let text = format!("this takes the rule for {} away: {}", target.value, need.reason);
                    self.reader.warn(target.file, target.span.clone(), "M023", text, "");
                }
                None => lacks.push(format!("{}: {}", need.one_of.join(" or "), need.reason)),
            }
        }
        let names = self.names_of_base(block, place).filter(|_| !lacks.is_empty());
        if names.is_some() {
            // What its items lack is in the base's block.
            let inner = block.lists.iter().flat_map(|(_, blocks)| blocks);
            self.reader.astray.extend(inner.map(|block| (block.file, block.span.start)));
        }
        if !lacks.is_empty() {
            let text = format!("{place} has no rule for {}", lacks.join(", nor for "));
            let hint = names.as_ref().map_or_else(String::new, |names| {
                format!("to change one of the base's blocks, write its name: block = \"…\", of {names}")
            });
            self.reader.warn(block.file, block.span.clone(), "M023", text, &hint);
        }
        let segment = match place {
            "lab_report" => Some("OBR"),
            "merge" => Some("MRG"),
            "consent" => Some("CON"),
            _ => None,
        };
        // Meant for one of the base's, it lacks the each of that as well.
        if let (Some(segment), None, None, Format::Hl7v2) = (segment, &block.each, names, self.declared.format()) {
            let text = format!("without each there is one {place} of a patient, however many the message holds");
            self.reader.warn(block.file, block.span.clone(), "M023", text, &format!("add each = {segment:?}"));
        }
    }

    /// The names of the base's blocks of a kind of record, of which a new block of a site may be meant for one.
    fn names_of_base(&self, block: &Block, place: &str) -> Option<String> {
        let others =
            self.declared.records.iter().filter(|(kind, other)| kind.name() == place && other.file > block.file);
        let names: Vec<&str> =
            others.filter_map(|(_, other)| other.label.as_ref()).map(|name| name.value.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// A mapping that gives no record makes every message fail: an emptied file must not come into force.
    pub(super) fn fills_nothing(&mut self) {
        if !self.declared.records.iter().any(|(_, block)| fills(block)) {
            let text = "this mapping, with what it extends, fills no record: every message would fail".to_owned();
            self.reader.error(0, 0..0, "M023", text, "extends = \"hl7v2.toml\", or blocks like [patient]");
        }
    }
}

/// Whether a block can give a field: it, or a list of it, has a rule and is not switched off.
fn fills(block: &Block) -> bool {
    let is_off = block.when.as_ref().is_some_and(|when| when.value.trim() == "false");
    !is_off
        && (block.fields.iter().any(|(_, rule)| rule.is_some())
            || block.lists.iter().flat_map(|(_, blocks)| blocks).any(fills))
}
