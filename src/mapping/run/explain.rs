//! What a run says of itself when asked: where each field came from, what the rules looked at, which of them gave something.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::draft::Draft;
use super::rule::code_of;
use super::{Place, Run};
use crate::hl7v2;
use crate::mapping::coerce::{self, Coercion, coded};
use crate::mapping::compile::{BlockPlan, RulePlan};
use crate::mapping::coverage::WHOLE;
use crate::mapping::input::{Condition, Format, Input, Location, Path, Scope, Value};
use crate::mapping::{Asked, ExplainedField, Reached, RuleName};
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
    pub(super) fn ask(&mut self, path: &Path, scope: &Scope<'_>) {
        if !self.context.explain {
            return;
        }
        match (path, scope) {
            (Path::Hl7v2(path), Scope::Hl7v2(scope)) => self.ask_choices(path, scope),
            (Path::Hl7v2(_), Scope::Fhir(_)) => {}
            (Path::Fhir(path), _) => self.ask_elements(path.elements(), ""),
        }
    }

    /// Notes what a rule looks at: of the field or element that the path leads to, what its coercion reads.
    pub(super) fn ask_for(&mut self, rule: &RulePlan, path: &Path, scope: &Scope<'_>) {
        let (path, scope) = match (path, scope) {
            (Path::Hl7v2(path), Scope::Hl7v2(scope)) => (path, scope),
            (Path::Fhir(path), _) => {
                self.ask_elements(path.elements(), "");
                self.ask_elements(path.results(), WHOLE);
                return;
            }
            _ => return,
        };
        self.ask_choices(path, scope);
        let Some(field) = path.field() else { return };
        let components = match (path.component(), rule.coercion.components()) {
            (None, Some(read)) => read.iter().copied().map(Some).collect(),
            (component, _) => vec![component],
        };
        // Of a result all repetitions are the value; the `~` between two limits is none.
        let reads_whole_field = matches!(rule.coercion, Coercion::LabValue | Coercion::ReferenceRange);
        self.reach(path, scope, &components, reads_whole_field);
        components.into_iter().for_each(|component| self.ask_field(path.segment(), field, component));
        if path.segment() == "OBX" && matches!(rule.coercion, Coercion::LabValue | Coercion::ReferenceRange) {
            // The unit tells a percentage from a count, and what a range without one means.
            let unit = Coercion::Unit.components().unwrap_or_default();
            unit.iter().for_each(|component| self.ask_field("OBX", UNIT, Some(*component)));
            let unit: Vec<_> = unit.iter().copied().map(Some).collect();
            for value in path.resolve_all(scope).into_iter().filter_map(hl7v2::Resolved::value) {
                self.note_reached(value.segment().index(), UNIT, 1..=1, &unit);
            }
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

    /// Notes the values that a path leads to; `reads_whole_field`: and all repetitions beside each.
    fn reach(
        &mut self,
        path: &hl7v2::Path,
        scope: &hl7v2::Scope<'_>,
        components: &[Option<usize>],
        reads_whole_field: bool,
    ) {
        for value in path.resolve_all(scope).into_iter().filter_map(hl7v2::Resolved::value) {
            let (segment, location) = (value.segment(), value.location());
            let Some(field) = location.field else { continue };
            let count = segment.message().repetitions(segment.field(field)).count();
            let own = location.repetition.unwrap_or(1);
            let repetitions = if reads_whole_field { 1..=count.max(1) } else { own..=own };
            self.note_reached(segment.index(), field, repetitions, components);
        }
    }

    fn note_reached(
        &mut self,
        segment: usize,
        field: usize,
        repetitions: RangeInclusive<usize>,
        components: &[Option<usize>],
    ) {
        let reached = repetitions.flat_map(|repetition| {
            components.iter().map(move |component| Reached { segment, field, repetition, component: *component })
        });
        self.mapped.trace.reached.extend(reached);
    }

    fn ask_field(&mut self, segment: &str, field: usize, component: Option<usize>) {
        self.mapped.trace.asked.insert(Asked::Field { segment: segment.to_owned(), field, component });
    }

    /// The components by which a path chooses among segments and repetitions: it looks at those of all of them.
    fn ask_choices(&mut self, path: &hl7v2::Path, scope: &hl7v2::Scope<'_>) {
        let by_repetition =
            path.predicate().zip(path.field()).map(|((component, _, _), field)| (field, Some(component)));
        let chosen_by = path.chosen_by();
        let by_segment = chosen_by.and_then(|(choice, _)| Some((choice.field()?, choice.component())));
        for (field, component) in by_repetition.into_iter().chain(by_segment) {
            self.ask_field(path.segment(), field, component);
            if let Ok(all) = hl7v2::Path::parse(&format!("{}[*]-{field}[*]", path.segment())) {
                self.reach(&all, scope, &[component], false);
            }
        }
    }

    pub(super) fn ask_condition(&mut self, condition: &Condition, scope: &Scope<'_>) {
        if !self.context.explain {
            return;
        }
        match (condition, scope) {
            (Condition::Hl7v2(condition), Scope::Hl7v2(scope)) => condition.each_path(&mut |path| {
                self.ask_choices(path, scope);
                if let Some(field) = path.field() {
                    self.ask_field(path.segment(), field, path.component());
                    self.reach(path, scope, &[path.component()], false);
                }
            }),
            (Condition::Hl7v2(_), Scope::Fhir(_)) => {}
            (Condition::Fhir(path), _) => self.ask_elements(path.elements(), ""),
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
