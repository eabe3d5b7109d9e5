//! One rule: the paths that it asks, what their values become, and what follows where there is none.

use std::borrow::Cow;

use super::distinct::Distinct;
use super::draft::Draft;
use super::gather::gathers;
use super::{MAX_ITEMS, Place, Run, too_many};
use crate::hl7v2::{self, ErrorCode};
use crate::mapping::coerce::{self, Coercion, coded, person};
use crate::mapping::compile::{OnUnmapped, RulePlan, Target, typed};
use crate::mapping::file::Required;
use crate::mapping::input::{Location, Path, Resolved, Scope, Value};
use crate::mapping::result;
use crate::mapping::table::{Looked, Table};
use crate::mapping::{MapError, Rejected, Skipped, Unmapped, UnmappedOutcome};
use crate::record::schema::Shape;
use crate::record::{Kind, Text, Value as Json};

/// What a visit or report is known by. `""` there takes nothing back: without its number the next message would make another one.
const KEYS: &[(Kind, &str)] =
    &[(Kind::Visit, "number"), (Kind::LabReport, "filler_order_number"), (Kind::LabReport, "placer_order_number")];

/// Times that are remembered: those of a message's header, order and results.
const MAX_TIMES: usize = 4;

/// Why a record or item comes to an early end.
pub(super) enum Stop {
    /// `required = "skip"`.
    LeaveOut(Skipped),
    /// `on_unmapped = "reject"`.
    Reject(Rejected, Location),
    /// `required = true`.
    Fail(MapError),
}

/// What one path gave.
pub(super) enum Found {
    Json(Json),
    /// The target is filled, or deliberately left.
    Done,
    /// Nothing; the next path is asked.
    Nothing,
}

/// Why a value is not taken.
pub(super) enum Refused {
    /// It is not what it should be; the next path is asked.
    Value(coerce::Refusal),
    /// It ends the item or the message.
    Stop(Box<Stop>),
}

impl Run<'_> {
    /// The rules of a block in order, up to one that ends it early.
    pub(super) fn rules<'p>(
        &mut self,
        rules: &'p [RulePlan],
        scope: &Scope<'_>,
        draft: &mut Draft<'p>,
        place: Place,
    ) -> Result<(), Box<Stop>> {
        for rule in rules {
            if self.present.has(&rule.reads) {
                self.rule(rule, scope, draft, place)?;
            }
        }
        Ok(())
    }

    pub(super) fn rule<'p>(
        &mut self,
        rule: &'p RulePlan,
        scope: &Scope<'_>,
        draft: &mut Draft<'p>,
        place: Place,
    ) -> Result<(), Box<Stop>> {
        if self.context.explain {
            rule.when.iter().for_each(|when| self.ask_condition(when, scope));
            rule.from.iter().for_each(|path| self.ask_for(rule, path, scope));
            if rule.when.as_ref().is_none_or(|when| when.holds(scope)) {
                self.note_choices(rule, scope, place);
            }
        }
        if rule.is_alternative && draft.is_filled(rule) || rule.when.as_ref().is_some_and(|when| !when.holds(scope)) {
            return Ok(());
        }
        if let Some(constant) = &rule.constant {
            self.explain(rule, constant, None, place);
            draft.put(rule, constant.clone());
            return Ok(());
        }
        if gathers(rule) {
            return self.gather(rule, scope, draft, place);
        }
        let mut refused = None;
        let mut imprecise = None;
        for path in &rule.from {
            let Some(value) = self.first_value(rule, path, scope, draft, place) else { continue };
            let (explained, unmapped) = (self.explained.len(), self.mapped.unmapped.len());
            let mut all = Vec::new();
            match self.taken(rule, (path, scope), &value, &mut all, draft, place) {
                Ok(Found::Nothing) => {}
                Ok(Found::Done) => {
                    if !draft.is_filled(rule) {
                        // A code that stands for nothing here, or that no table knows, is no value.
                        if rule.required == Required::Block {
                            return self.missing(rule, scope, None, place);
                        }
                        draft.left.push(rule);
                    }
                    self.explain_all(explained, &all);
                    return Ok(());
                }
                Ok(Found::Json(json)) => {
                    if rule.coercion == Coercion::Instant && !json.as_str().is_some_and(|when| when.contains('T')) {
                        imprecise.get_or_insert((json, value));
                        continue;
                    }
                    self.keep(rule, json, &value, draft, place);
                    self.explain_all(explained, &all);
                    self.explain_unmapped(explained, unmapped);
                    return Ok(());
                }
                Err(Refused::Value(reason)) => self.refuse(rule, &reason, &value, &mut refused, draft, place),
                Err(Refused::Stop(stop)) => return Err(stop),
            }
        }
        if let Some((json, value)) = imprecise {
            self.keep(rule, json, &value, draft, place);
            return Ok(());
        }
        self.give_up(rule, scope, refused, draft, place)
    }

    /// The first value that a path leads to; what is null or withheld there is noted.
    #[inline]
    pub(super) fn first_value<'p, 'm>(
        &mut self,
        rule: &'p RulePlan,
        path: &'m Path,
        scope: &Scope<'m>,
        draft: &mut Draft<'p>,
        place: Place,
    ) -> Option<Value<'m>> {
        let value = match path.resolve(scope) {
            Resolved::Absent => return None,
            Resolved::Withheld => {
                draft.left.push(rule);
                self.mapped.notes.extend(path.trouble(scope));
                if self.context.explain {
                    draft.lost.extend(path.lost(scope).into_iter().map(|lost| (rule, lost)));
                }
                return None;
            }
            Resolved::Null => {
                if rule.clears() && !KEYS.contains(&(place.kind, rule.target.name)) {
                    draft.nulls.push((rule, scope.missing(path)));
                }
                let all = if path.is_plural() { path.values(scope) } else { Vec::new() };
                all.into_iter().next()?
            }
            Resolved::Value(value) => value,
        };
        self.ask_behind(rule, &value);
        Some(value)
    }

    /// What a rule takes from a path that leads to `value`; `all`: the values, where it takes more than the first.
    #[inline]
    pub(super) fn taken<'m>(
        &mut self,
        rule: &RulePlan,
        (path, scope): (&'m Path, &Scope<'m>),
        value: &Value<'m>,
        all: &mut Vec<Value<'m>>,
        draft: &mut Draft<'_>,
        place: Place,
    ) -> Result<Found, Refused> {
        if rule.coercion != Coercion::LabValue && !takes_all(path, &rule.target) {
            if self.context.explain && rule.coercion == Coercion::ReferenceRange && path.hl7v2().is_none() {
                // Those for other people and ages are read as well.
                *all = path.values(scope);
            }
            return self.single(rule, (path, scope), value, draft, place);
        }
        if is_alone(path, value) {
            return self.several(rule, std::slice::from_ref(value), draft, place);
        }
        *all = path.values(scope);
        self.several(rule, all, draft, place)
    }

    /// Reports a value that is not what it should be.
    pub(super) fn refuse<'p>(
        &mut self,
        rule: &'p RulePlan,
        reason: &str,
        value: &Value<'_>,
        refused: &mut Option<Location>,
        draft: &mut Draft<'p>,
        place: Place,
    ) {
        let text = format!("{} was left out: {reason}", place.target(&rule.target));
        let location = value.location();
        let path = location.to_string();
        refused.get_or_insert(location);
        draft.left.push(rule);
        self.mapped.rejected.push(Rejected { path, code: ErrorCode::DataType, text });
    }

    /// No path gave anything: the default, or what follows where the rule is required.
    pub(super) fn give_up(
        &mut self,
        rule: &RulePlan,
        scope: &Scope<'_>,
        refused: Option<Location>,
        draft: &mut Draft<'_>,
        place: Place,
    ) -> Result<(), Box<Stop>> {
        let is_null = || draft.nulls.iter().any(|(null, _)| null.target == rule.target);
        if let Some(default) = rule.default.as_ref().filter(|_| !is_null()) {
            self.explain(rule, default, None, place);
            draft.put(rule, default.clone());
            return Ok(());
        }
        self.missing(rule, scope, refused, place)
    }

    /// Takes back what a complete resource does not say any more: it states all that its server knows, so what its rules find no
    /// value for is there no longer. What is there and not for us, or not understood, stays as it was.
    pub(super) fn withdraw<'p>(&mut self, rules: &'p [RulePlan], draft: &mut Draft<'p>, place: Place) {
        for rule in rules.iter().filter(|rule| rule.clears() && !KEYS.contains(&(place.kind, rule.target.name))) {
            if !draft.is_filled(rule) && !draft.left.iter().any(|left| left.slot == rule.slot) {
                for name in rule.target.fills() {
                    draft.clear(name);
                }
            }
        }
    }

    /// Carries out what `""` asked for, where nothing else was said.
    pub(super) fn clear(&mut self, draft: &mut Draft<'_>, place: Place) {
        for (rule, location) in std::mem::take(&mut draft.nulls) {
            if draft.is_filled(rule) {
                continue;
            }
            for name in rule.target.fills() {
                if draft.clear(name) {
                    draft.has_substance = true;
                    self.explain_cleared(rule, name, &location, place);
                }
            }
        }
    }

    pub(super) fn keep(&mut self, rule: &RulePlan, json: Json, value: &Value<'_>, draft: &mut Draft<'_>, place: Place) {
        self.explain(rule, &json, Some(value), place);
        draft.put(rule, json);
        draft.has_substance |= rule.target.name != "updated_at";
    }

    fn missing(
        &self,
        rule: &RulePlan,
        scope: &Scope<'_>,
        refused: Option<Location>,
        place: Place,
    ) -> Result<(), Box<Stop>> {
        if rule.required == Required::No {
            return Ok(());
        }
        let paths: Vec<String> = rule.from.iter().map(ToString::to_string).collect();
        let paths = paths.join(", ");
        let code = if refused.is_some() { ErrorCode::DataType } else { ErrorCode::RequiredFieldMissing };
        let location = refused.or_else(|| rule.from.first().map(|path| scope.missing(path)));
        let location = location.unwrap_or_else(|| scope.header());
        let target = place.target(&rule.target);
        Err(Box::new(match rule.required {
            Required::Block => Stop::LeaveOut(Skipped {
                path: location.to_string(),
                rule: format!("{target} is required"),
                reason: format!("there is no usable value in {paths}"),
                deliberate: false,
            }),
            _ => Stop::Fail(MapError::new(
                location,
                code,
                format!("{target} is required and there is no usable value in {paths}"),
            )),
        }))
    }

    /// One value for a target that holds one, or one that it spreads over several.
    fn single<'m>(
        &mut self,
        rule: &RulePlan,
        (path, scope): (&Path, &Scope<'m>),
        value: &Value<'m>,
        draft: &mut Draft<'_>,
        place: Place,
    ) -> Result<Found, Refused> {
        if rule.coercion == Coercion::Name && rule.target.spread {
            let name = match value {
                Value::Hl7v2(value) => person::name(value),
                Value::Fhir(element) => coerce::fhir::name(element),
            };
            let Some(name) = name else { return Ok(Found::Nothing) };
            let parts = [("name", Some(name.whole)), ("family_name", name.family), ("given_name", name.given)];
            for (target, text) in parts {
                if let Some(text) = text {
                    let json = Json::from(text);
                    self.explain_as(rule, target, &json, Some(value), place);
                    draft.put_in(target, json);
                }
            }
            draft.has_substance = true;
            return Ok(Found::Done);
        }
        if rule.coercion == Coercion::ReferenceRange {
            let read = result::range(path, value, || path.values(scope), self.sex.as_deref());
            if let Some(note) = read.note {
                self.mapped.notes.push(format!("{}: {note}", value.location()));
            }
            draft.range = read.range;
            return Ok(read.object.map_or(Found::Nothing, Found::Json));
        }
        let shape = if rule.target.shape == Shape::TextList { Shape::Text } else { rule.target.shape };
        let found = self.converted(rule, shape, value, place)?;
        Ok(match (rule.target.shape, found) {
            (Shape::TextList, Found::Json(json)) => Found::Json(Json::Array(vec![json])),
            (_, found) => found,
        })
    }

    /// All values of a plural path: a list, lines of a text, or the repetitions of one laboratory value.
    fn several(
        &mut self,
        rule: &RulePlan,
        values: &[Value<'_>],
        draft: &mut Draft<'_>,
        place: Place,
    ) -> Result<Found, Refused> {
        if rule.coercion == Coercion::LabValue {
            let Some(first) = values.first() else { return Ok(Found::Nothing) };
            let read = result::value(values, self.context.zone);
            if let Some(note) = read.note {
                self.mapped.notes.push(format!("{}: {note}", first.location()));
            }
            if read.fields.is_empty() {
                return Ok(Found::Nothing);
            }
            draft.has_substance = true;
            for (target, json) in read.fields {
                self.explain_as(rule, target, &json, Some(first), place);
                draft.put_in(target, json);
            }
            draft.value = read.value;
            return Ok(Found::Done);
        }
        if let Some(last) = values.get(MAX_ITEMS).filter(|_| rule.target.shape == Shape::TextList) {
            let location = match last.location() {
                Location::Hl7v2(location) => Location::Hl7v2(hl7v2::Location { repetition: None, ..location }),
                location => location,
            };
            return Err(Refused::Stop(Box::new(Stop::Fail(too_many(place.target(&rule.target), location)))));
        }
        // A list names each thing once; a text may say the same line twice.
        let mut found = Distinct::default();
        for value in values {
            match self.converted(rule, Shape::Text, value, place)? {
                Found::Json(json) if rule.target.shape == Shape::TextList => drop(found.add(json)),
                Found::Json(json) => found.kept.push(json),
                Found::Done | Found::Nothing => {}
            }
        }
        if found.kept.is_empty() {
            return Ok(Found::Nothing);
        }
        if rule.target.shape == Shape::TextList {
            return Ok(Found::Json(Json::Array(found.kept)));
        }
        let lines: Vec<&str> = found.kept.iter().filter_map(Json::as_str).collect();
        Ok(Found::Json(Json::from(lines.join("\n"))))
    }

    /// Coercion, then table or closed list.
    fn converted(&mut self, rule: &RulePlan, shape: Shape, value: &Value<'_>, place: Place) -> Result<Found, Refused> {
        let Some(table) = rule.table else {
            let inner = match shape {
                Shape::Object(inner) => inner,
                _ => &[],
            };
            let coerced = match rule.coercion {
                Coercion::DateTime | Coercion::Instant => self.time(value),
                coercion => coerce::apply(coercion, value, inner, self.context.zone),
            };
            let Some(json) = coerced.map_err(Refused::Value)? else { return Ok(Found::Nothing) };
            if let Some(doubt) = json.as_str().and_then(|text| rule.coercion.doubt(text)) {
                self.mapped.notes.push(format!("{}: {doubt}, kept as sent", value.location()));
            }
            return match (shape, json) {
                (Shape::Code(legal), Json::String(code)) if !legal.contains(&code.as_str()) => {
                    self.unmapped(rule, rule.target.name, &code, shape, value, place)
                }
                (_, json) => Ok(Found::Json(json)),
            };
        };
        let table = &self.plan.tables[table];
        let code = code_of(rule, table, value);
        if code.is_empty() {
            return Ok(Found::Nothing);
        }
        let looked = match table.look_up(&code) {
            Looked::Unknown if rule.coercion == Coercion::Unit => table.look_up(&coded::unit_key(&code)),
            looked => looked,
        };
        match looked {
            // The compiler has checked that every target is legal.
            Looked::Target(target) => Ok(typed(target, shape).map_or(Found::Done, Found::Json)),
            Looked::Nothing => Ok(Found::Done),
            Looked::Unknown => self.unmapped(rule, &table.name, &code, shape, value, place),
        }
    }

    /// A date or time, read once however often the message says it.
    fn time(&mut self, value: &Value<'_>) -> Result<Option<Json>, coerce::Refusal> {
        let Value::Hl7v2(field) = value else {
            return coerce::apply(Coercion::DateTime, value, &[], self.context.zone);
        };
        let sent = field.raw();
        if let Some((_, json)) = self.times.iter().find(|(known, _)| known == sent) {
            return Ok(Some(json.clone()));
        }
        let read = coerce::apply(Coercion::DateTime, value, &[], self.context.zone)?;
        if let Some(json) = &read {
            self.times.truncate(MAX_TIMES - 1);
            self.times.insert(0, (Text::new(sent), json.clone()));
        }
        Ok(read)
    }

    fn unmapped(
        &mut self,
        rule: &RulePlan,
        table: &str,
        code: &str,
        shape: Shape,
        value: &Value<'_>,
        place: Place,
    ) -> Result<Found, Refused> {
        let target = place.target(&rule.target);
        let (outcome, found) = match &rule.on_unmapped {
            OnUnmapped::Literal(json) => (UnmappedOutcome::Replaced, Found::Json(json.clone())),
            OnUnmapped::Keep if shape == Shape::Text => (UnmappedOutcome::Kept, Found::Json(Json::from(code))),
            // A closed list has no room for the sender's code.
            OnUnmapped::Keep | OnUnmapped::Leave => (UnmappedOutcome::Left, Found::Done),
            OnUnmapped::Reject => (UnmappedOutcome::Rejected, Found::Nothing),
        };
        let (table_name, sent) = (table.to_owned(), code.to_owned());
        self.mapped.unmapped.push(Unmapped { table: table_name, code: sent, target: target.clone(), outcome });
        match outcome {
            UnmappedOutcome::Kept | UnmappedOutcome::Left | UnmappedOutcome::Replaced => Ok(found),
            UnmappedOutcome::Rejected => {
                let location = value.location();
                let text = format!(
                    "{target}: table {table} does not know the code in {location}: add a row for it (`heyi mapping unmapped`)"
                );
                let rejected = Rejected { path: location.to_string(), code: ErrorCode::TableValueNotFound, text };
                Err(Refused::Stop(Box::new(Stop::Reject(rejected, location))))
            }
        }
    }
}

/// Of several codes for one thing the first that the table has something for, else the first that it knows, else the first.
fn known_code<'m>(table: &Table, codes: Vec<Cow<'m, str>>) -> Cow<'m, str> {
    let says = |wanted: fn(&Looked<'_>) -> bool| codes.iter().find(|code| wanted(&table.look_up(code)));
    let known = says(|looked| matches!(looked, Looked::Target(_)));
    let known = known.or_else(|| says(|looked| *looked != Looked::Unknown)).cloned();
    known.or_else(|| codes.into_iter().next()).unwrap_or_default()
}

/// The text that a rule's table is asked for.
pub(super) fn code_of<'m>(rule: &RulePlan, table: &Table, value: &Value<'m>) -> Cow<'m, str> {
    if let (Value::Fhir(element), false) = (value, rule.coercion == Coercion::Text) {
        return known_code(table, coerce::fhir::codes(element));
    }
    match rule.coercion {
        Coercion::Unit => {
            let Value::Hl7v2(value) = value else { return value.text() };
            let is_known = |unit: &str| matches!(table.look_up(unit), Looked::Target(_));
            coded::known_unit(value, is_known).unwrap_or_default()
        }
        Coercion::Text => value.text(),
        _ => coerce::code(value),
    }
}

/// Texts become lines, lists become lists; anything else takes the first value. A FHIRPath says itself how texts are joined.
fn takes_all(path: &Path, target: &Target) -> bool {
    match path {
        Path::Hl7v2(path) if target.shape == Shape::TextList => path.is_plural() || path.predicate().is_some(),
        Path::Hl7v2(path) => path.is_plural() && !target.spread && target.shape == Shape::Text,
        Path::Fhir(_) => target.shape == Shape::TextList,
    }
}

/// Whether the path can lead to no other value than this one.
fn is_alone(path: &Path, value: &Value<'_>) -> bool {
    match (path, value) {
        (Path::Hl7v2(path), Value::Hl7v2(value)) => path.means_one_segment() && !value.repeats(),
        _ => false,
    }
}
