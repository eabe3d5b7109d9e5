//! What a run says of itself when asked: where each field came from, what the rules looked at, which of them gave something.

use std::borrow::Cow;

use super::rule::code_of;
use super::{Place, Run};
use crate::hl7v2;
use crate::mapping::coerce::{Coercion, coded};
use crate::mapping::compile::{BlockPlan, RulePlan};
use crate::mapping::coverage::WHOLE;
use crate::mapping::input::{Condition, Format, Location, Path, Value};
use crate::mapping::{Asked, ExplainedField, RuleName};
use crate::record::{Fields, Value as Json};

/// What was read of a value: a range is read from its whole field, because the `~` between two limits is no repetition.
fn sent<'m>(rule: &RulePlan, value: &Value<'m>) -> Cow<'m, str> {
    match value {
        Value::Hl7v2(value) if rule.coercion == Coercion::ReferenceRange => match value.location() {
            hl7v2::Location { field: Some(field), component: None, .. } => Cow::Borrowed(value.segment().field(field)),
            _ => Cow::Borrowed(value.raw()),
        },
        value => value.raw(),
    }
}

impl Run<'_> {
    /// Several values made what was explained since `from`: all of them were sent.
    #[inline]
    pub(super) fn explain_all(&mut self, from: usize, values: &[Value<'_>]) {
        if let (true, [_, _, ..]) = (self.context.explain, values) {
            let between = if self.plan.format == Format::Hl7v2 { "~" } else { ", " };
            let all = values.iter().map(Value::raw).collect::<Vec<_>>().join(between);
            self.explained[from..].iter_mut().for_each(|field| field.raw = Some(all.clone()));
        }
    }

    /// What was explained since `from` holds codes that were met since `met`.
    #[inline]
    pub(super) fn explain_unmapped(&mut self, from: usize, met: usize) {
        if !self.context.explain {
            return;
        }
        let outcome = self.mapped.unmapped.get(met..).and_then(<[_]>::last).map(|unmapped| unmapped.outcome);
        self.explained[from..].iter_mut().for_each(|field| field.unmapped = outcome);
    }

    /// Notes that the mapping looks there.
    pub(super) fn ask(&mut self, path: &Path) {
        if !self.context.explain {
            return;
        }
        match path {
            Path::Hl7v2(path) => self.ask_message(path),
            Path::Fhir(path) => {
                self.mapped.trace.asked.extend(path.elements().map(|element| Asked::Element(element.to_owned())))
            }
        }
    }

    fn ask_message(&mut self, path: &hl7v2::Path) {
        let compared = path.predicate().map(|(component, _, _)| Some(component));
        let mut read = |path: &hl7v2::Path, component: Option<usize>| {
            if let Some(field) = path.field() {
                self.mapped.trace.asked.insert(Asked::Field { segment: path.segment().to_owned(), field, component });
            }
        };
        compared.into_iter().chain([path.component()]).for_each(|component| read(path, component));
        if let Some((choice, _)) = path.chosen_by() {
            read(&choice, choice.component());
        }
    }

    pub(super) fn ask_condition(&mut self, condition: &Condition) {
        if !self.context.explain {
            return;
        }
        match condition {
            Condition::Hl7v2(condition) => condition.each_path(&mut |path| self.ask_message(path)),
            Condition::Fhir(path) => {
                self.mapped.trace.asked.extend(path.elements().map(|element| Asked::Element(element.to_owned())))
            }
        }
    }

    pub(super) fn explain(&mut self, rule: &RulePlan, json: &Json, value: Option<&Value<'_>>, place: Place) {
        self.explain_as(rule, rule.target.name, json, value, place);
    }

    #[inline]
    pub(super) fn explain_as(
        &mut self,
        rule: &RulePlan,
        name: &str,
        json: &Json,
        value: Option<&Value<'_>>,
        place: Place,
    ) {
        if self.context.explain {
            self.tell(rule, name, json, value, place);
        }
    }

    /// All that is in an element was read, by the coercion that made something of it.
    fn ask_whole(&mut self, value: &Value<'_>) {
        let Value::Fhir(element) = value else { return };
        if let Some(place) = element.element().filter(|_| element.json().is_some_and(|json| json.is_object())) {
            self.mapped.trace.asked.insert(Asked::Element(place + WHOLE));
        }
    }

    fn tell(&mut self, rule: &RulePlan, name: &str, json: &Json, value: Option<&Value<'_>>, place: Place) {
        value.iter().for_each(|value| self.ask_whole(value));
        let rule_name =
            RuleName { file: self.plan.files[rule.file].clone(), line: rule.line, target: place.target(&rule.target) };
        self.mapped.trace.fired.insert(rule_name);
        let table = rule.table.map(|table| &self.plan.tables[table]);
        let row = table.zip(value).and_then(|(table, value)| {
            let code = code_of(rule, table, value);
            let in_one_spelling = || (rule.coercion == Coercion::Unit).then(|| coded::unit_key(&code));
            table.row(&code).or_else(|| table.row(&in_one_spelling()?))
        });
        let mut field = String::new();
        if let Some((list, index)) = place.item {
            field = format!("{list}[{index}].");
        }
        if let Some(parent) = rule.target.parent {
            field.push_str(parent);
            field.push('.');
        }
        field.push_str(name);
        self.explained.push(ExplainedField {
            record: 0,
            field,
            value: json.clone(),
            path: value.map(|value| value.location().to_string()),
            raw: value.map(|value| sent(rule, value).into_owned()),
            unmapped: None,
            coercion: value.map(|_| rule.coercion.name()),
            table: table.map(|table| table.name.clone()),
            row: row.map(|row| (self.plan.files[row.file].clone(), row.line)),
            file: self.plan.files[rule.file].clone(),
            line: rule.line,
        });
    }

    /// `name` is null because of the `""` at `location`.
    pub(super) fn explain_cleared(&mut self, rule: &RulePlan, name: &str, location: &Location, place: Place) {
        self.explain_as(rule, name, &Json::Null, None, place);
        if let Some(told) = self.explained.last_mut() {
            told.path = Some(location.to_string());
            told.raw = Some("\"\"".to_owned());
        }
    }

    /// The list `name` is null because of the `""` at `location`, which `block` reads.
    pub(super) fn explain_list_cleared(&mut self, block: &BlockPlan, name: &str, location: &Location) {
        if !self.context.explain {
            return;
        }
        self.explained.push(ExplainedField {
            record: 0,
            field: name.to_owned(),
            value: Json::Null,
            path: Some(location.to_string()),
            unmapped: None,
            raw: Some("\"\"".to_owned()),
            coercion: None,
            table: None,
            row: None,
            file: self.plan.files[block.file].clone(),
            line: block.line,
        });
    }

    /// What the fields of an item, explained from position `first` on, have become after all its rules.
    pub(super) fn explain_settled(&mut self, first: usize, item: &Fields) {
        for told in &mut self.explained[first..] {
            let name = told.field.split_once("].").map_or(told.field.as_str(), |(_, name)| name);
            let (name, part) = name.split_once('.').unwrap_or((name, ""));
            let settled = item.get(name).and_then(|value| if part.is_empty() { Some(value) } else { value.get(part) });
            if let Some(settled) = settled {
                told.value = settled.clone();
            }
        }
    }
}
