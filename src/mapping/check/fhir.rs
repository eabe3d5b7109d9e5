//! The checks of a mapping for FHIR. That its paths lead somewhere has been seen when they were compiled; here is what they are for.

use super::super::compile;
use super::super::file::{Block, Located, MatchRule, Rule};
use super::super::run::matches_pattern;
use super::texts::Comparison;
use super::vocabulary::Vocabulary;
use super::{Checker, coercion_of, table_hint};
use crate::fhir::compose::FOCAL;
use crate::mapping::coerce::Coercion;
use crate::mapping::input::{ElementPath, Format, Within};
use crate::mapping::meant;
use crate::record::Kind;
use crate::record::schema::{self, Field, Shape};

/// The path by which `match` asks for the type of the focal resource.
const RESOURCE_TYPE: &str = "resourceType";

impl Checker<'_, '_, '_> {
    pub(super) fn units(&mut self) {
        for own in self.declared.segments.iter().take(1) {
            let text = "segments are of HL7 v2; a unit of FHIR has none".to_owned();
            self.reader.error(own.segment.file, own.segment.span.clone(), "M014", text, "remove [segments]");
        }
        for condition in self.declared.matches.iter().flatten() {
            self.element_patterns(condition);
        }
        for kind in Kind::ALL {
            let blocks: Vec<&Block> =
                self.declared.records.iter().filter(|(other, _)| *other == kind).map(|(_, block)| block).collect();
            for block in &blocks {
                self.element_block(block, kind.name(), schema::fields(kind));
            }
            self.twins(&blocks, kind.name());
        }
    }

    fn element_patterns(&mut self, MatchRule { path, patterns }: &MatchRule) {
        for (index, pattern) in patterns.iter().enumerate() {
            let is_type = path.value.trim() == RESOURCE_TYPE;
            let codes = match is_type {
                true => Some(FOCAL.to_vec()),
                false => {
                    ElementPath::parse(&path.value, &Within::whole(Format::Fhir)).ok().and_then(|path| path.codes())
                }
            };
            let lacks = |codes: &Vec<&str>| !codes.iter().any(|code| matches_pattern(&pattern.value, code));
            // Without any character it is of what has no value there.
            if let Some(codes) = codes.filter(|codes| !pattern.value.is_empty() && lacks(codes)) {
                let text = match is_type {
                    true => format!("no unit is of the type {:?}", pattern.value),
                    false => format!("no version of FHIR has the code {:?} for {}", pattern.value, path.value),
                };
                let hint = meant::hint_of_pattern(&pattern.value, &codes);
                self.reader.warn(pattern.file, pattern.span.clone(), "M022", text, &hint);
            } else {
                self.unlikely_text(pattern, Comparison::Pattern);
            }
            let mut earlier = patterns[..index].iter();
            if let Some(wider) = earlier.find(|wider| matches_pattern(&wider.value, &pattern.value)) {
                let text = format!("{:?} is said already by {:?}", pattern.value, wider.value);
                self.reader.warn(pattern.file, pattern.span.clone(), "M021", text, "leave it out");
            }
        }
    }

    fn element_block(&mut self, block: &Block, place: &str, level: &'static [Field]) {
        // Switched off, whatever else it says.
        if block.when.as_ref().is_some_and(|when| when.value.trim() == "false") {
            return;
        }
        let skips = block.skip.as_deref().unwrap_or_default();
        for (index, rule) in skips.iter().enumerate() {
            if skips[..index].iter().any(|before| before.when.value.trim() == rule.when.value.trim()) {
                let text = "this rule is never reached: one before it has the same condition".to_owned();
                self.reader.warn(rule.when.file, rule.when.span.clone(), "M021", text, "leave it out");
            }
        }
        let rules: Vec<(&Located<String>, &Rule)> =
            block.fields.iter().filter_map(|(target, rule)| Some((target, rule.as_ref()?))).collect();
        for (target, rule) in &rules {
            self.element_rule(target, rule, place, level);
        }
        self.paths_of_other_fields(&rules, place, level);
        self.alternatives(&rules);
        self.set_twice(&rules.iter().map(|(target, _)| *target).collect::<Vec<_>>());
        if self.is_whole {
            self.needs(block, place);
        }
        for (name, blocks) in &block.lists {
            let Some(Shape::List(inner)) = level.iter().find(|field| field.name == *name).map(|field| field.shape)
            else {
                continue;
            };
            let place = format!("{place}.{name}");
            for block in blocks {
                self.element_block(block, &place, inner);
            }
            self.twins(&blocks.iter().collect::<Vec<_>>(), &place);
        }
    }

    fn element_rule(&mut self, target: &Located<String>, rule: &Rule, place: &str, level: &'static [Field]) {
        self.without_effect(rule, place.contains('.'));
        for (index, written) in rule.from.iter().enumerate() {
            if rule.from[..index].iter().any(|before| before.value.trim() == written.value.trim()) {
                let text = format!("{} is named twice", written.value);
                self.reader.warn(written.file, written.span.clone(), "M021", text, "leave it out");
            }
        }
        let Some(found) = compile::target(level, &target.value) else { return };
        self.on_unmapped(rule, &found);
        self.left_out(rule, &found);
        if let (Shape::Code(legal), None, Some(first), None) =
            (found.shape, &rule.table, rule.from.first(), &rule.on_unmapped)
        {
            let text =
                format!("{place}.{} is a coded field and needs a table: it takes {}", found.name, legal.join(", "));
            let hint = table_hint(rule, &first.value, &found);
            self.reader.warn(first.file, first.span.clone(), "M011", text, &hint);
        }
        let coercion = coercion_of(rule, &found, level);
        self.said_by_fhir(rule, found.name, coercion);
        self.words_beside(rule, &found, coercion);
        if let (Some(table), Some(vocabulary)) = (&rule.table, Vocabulary::of(&found, coercion)) {
            self.vocabularies.insert(table.value.clone(), vocabulary);
        }
    }

    /// Paths of which FHIR says that they are something else than the field: the URI of a system, a whole period for its end, the patient
    /// for somebody of the staff.
    fn said_by_fhir(&mut self, rule: &Rule, target: &str, coercion: Option<Coercion>) {
        for written in &rule.from {
            let path = written.value.trim();
            let (before, last) = path.rsplit_once('.').unwrap_or(("", path));
            let (text, hint) = match last {
                "system" if !target.ends_with("system") && rule.table.is_none() => {
                    let (sibling, what) =
                        if before.ends_with("coding") { ("code", "code") } else { ("value", "number or contact") };
                    (format!("{path} says of which system the {what} is"), format!("is {before}.{sibling} meant?"))
                }
                "period" if target == "ended_at" => {
                    (format!("{path} gives the start of the period"), format!("write {path}.end"))
                }
                "subject" | "patient" if coercion == Some(Coercion::Staff) => {
                    (format!("{path} is the patient"), "somebody of the staff is asked for".to_owned())
                }
                _ => continue,
            };
            self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
        }
    }
}
