//! What a run says of itself when asked: where each field came from, what the rules looked at, which of them gave something.

use std::borrow::Cow;

use super::draft::Draft;
use super::rule::code_of;
use super::{Place, Run};
use crate::hl7v2;
use crate::mapping::coerce::{self, Coercion, coded};
use crate::mapping::compile::{BlockPlan, RulePlan};
use crate::mapping::coverage::WHOLE;
use crate::mapping::input::{Condition, Format, Input, Location, Path, Scope, Value};
use crate::mapping::{Asked, ExplainedField, RuleName};
use crate::record::{Fields, Kind, Value as Json};

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

/// OBX-6.
const UNIT: usize = 6;
/// Elements that name the patient of a focal resource.
const PATIENTS: &[&str] = &[".subject", ".patient"];

impl Run<'_> {
    /// Several values made what was explained since `from`: all of them were sent, each at its place.
    #[inline]
    pub(super) fn explain_all(&mut self, from: usize, values: &[Value<'_>]) {
        if let (true, [_, _, ..]) = (self.context.explain, values) {
            let between = if self.plan.format == Format::Hl7v2 { "~" } else { ", " };
            let all = values.iter().map(Value::raw).collect::<Vec<_>>().join(between);
            let places = values.iter().map(|value| value.location().to_string()).collect::<Vec<_>>().join(", ");
            for field in &mut self.explained[from..] {
                (field.raw, field.path) = (Some(all.clone()), Some(places.clone()));
            }
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

    /// Notes that the mapping looks there, as `each` does: which there are, and not what is in them.
    pub(super) fn ask(&mut self, path: &Path) {
        if !self.context.explain {
            return;
        }
        match path {
            Path::Hl7v2(path) => self.ask_choices(path),
            Path::Fhir(path) => self.ask_elements(path.elements(), ""),
        }
    }

    /// Notes what a rule looks at: of the field or element that the path leads to, what its coercion reads.
    pub(super) fn ask_for(&mut self, rule: &RulePlan, path: &Path) {
        let path = match path {
            Path::Hl7v2(path) => path,
            Path::Fhir(path) => {
                self.ask_elements(path.elements(), "");
                self.ask_elements(path.results(), WHOLE);
                return;
            }
        };
        self.ask_choices(path);
        let Some(field) = path.field() else { return };
        let components = match (path.component(), rule.coercion.components()) {
            (None, Some(read)) => read.iter().copied().map(Some).collect(),
            (component, _) => vec![component],
        };
        components.into_iter().for_each(|component| self.ask_field(path.segment(), field, component));
        if path.segment() == "OBX" && matches!(rule.coercion, Coercion::LabValue | Coercion::ReferenceRange) {
            // The unit tells a percentage from a count, and what a range without one means.
            let unit = Coercion::Unit.components().unwrap_or_default();
            unit.iter().for_each(|component| self.ask_field("OBX", UNIT, Some(*component)));
        }
    }

    /// Notes what is read behind a reference.
    pub(super) fn ask_behind(&mut self, rule: &RulePlan, value: &Value<'_>) {
        let Value::Fhir(element) = value else { return };
        if self.context.explain {
            for read in coerce::fhir::read_behind(rule.coercion, element) {
                self.mapped.trace.asked.insert(Asked::Element(read + WHOLE));
            }
        }
    }

    fn ask_elements<'e>(&mut self, elements: impl Iterator<Item = &'e str>, how: &str) {
        self.mapped.trace.asked.extend(elements.map(|element| Asked::Element(format!("{element}{how}"))));
    }

    fn ask_field(&mut self, segment: &str, field: usize, component: Option<usize>) {
        self.mapped.trace.asked.insert(Asked::Field { segment: segment.to_owned(), field, component });
    }

    /// The components by which a path chooses among segments and repetitions.
    fn ask_choices(&mut self, path: &hl7v2::Path) {
        if let (Some((component, _, _)), Some(field)) = (path.predicate(), path.field()) {
            self.ask_field(path.segment(), field, Some(component));
        }
        if let Some((choice, _)) = path.chosen_by()
            && let Some(field) = choice.field()
        {
            self.ask_field(choice.segment(), field, choice.component());
        }
    }

    pub(super) fn ask_condition(&mut self, condition: &Condition) {
        if !self.context.explain {
            return;
        }
        match condition {
            Condition::Hl7v2(condition) => condition.each_path(&mut |path| {
                self.ask_choices(path);
                if let Some(field) = path.field() {
                    self.ask_field(path.segment(), field, path.component());
                }
            }),
            Condition::Fhir(path) => self.ask_elements(path.elements(), ""),
        }
    }

    /// Rules of a record or item that have no value because a reference leads to nothing.
    pub(super) fn explain_lost(&mut self, draft: &Draft<'_>, place: Place) {
        for (rule, lost) in draft.lost.iter().filter(|(rule, _)| !draft.is_filled(rule)) {
            self.mapped.trace.lost.entry(lost.clone()).or_default().empty.insert(place.target(&rule.target));
        }
    }

    /// Items of a list that are not there because a reference leads to nothing.
    pub(super) fn explain_lost_items(&mut self, each: &Path, scope: &Scope<'_>, kind: Kind, list: &str) {
        if !self.context.explain {
            return;
        }
        for lost in each.lost(scope) {
            self.mapped.trace.lost.entry(lost).or_default().empty.insert(format!("{}.{list}", kind.name()));
        }
    }

    /// Other references that lead to nothing: that of the patient, without whom the record is nobody's, and those of which no field is
    /// the worse.
    pub(super) fn explain_other_lost(&mut self, input: Input<'_>) {
        let Input::Unit(unit) = input else { return };
        if !self.context.explain {
            return;
        }
        let is_nobodys = unit.patient().is_none();
        let focal = unit.focal().type_name();
        for lost in input.lost() {
            let is_patient =
                lost.element.starts_with(focal) && PATIENTS.iter().any(|name| lost.element.ends_with(name));
            let is_patient = is_patient || lost.names.contains("Patient/");
            let fields = self.mapped.trace.lost.entry(lost).or_default();
            if is_nobodys && is_patient {
                fields.empty.insert(Kind::Patient.name().to_owned());
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

    fn tell(&mut self, rule: &RulePlan, name: &str, json: &Json, value: Option<&Value<'_>>, place: Place) {
        if let Some(Value::Fhir(element)) = value
            && let Some(lost) = element.lost()
        {
            self.mapped.trace.lost.entry(lost).or_default().partial.insert(place.target(&rule.target));
        }
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
