//! A plan applied to a message. Pure: message and context in, records out.
//!
//! Invariants
//! - Every OBX ends as stored, skipped by a named rule, or rejected; so does every repetition that a list block opens.
//! - Nothing fails for the mapping's own sake: what can be wrong here is wrong with the message.
//! - No text of an error, note or reason holds a value of the message.

mod distinct;
mod explain;

use std::borrow::Cow;

use super::coerce::lab_value::LabValue;
use super::coerce::range::Range;
use super::coerce::{self, Coercion, coded, person};
use super::compile::{BlockPlan, ListPlan, OnUnmapped, Plan, RulePlan, SkipPlan, Target, typed};
use super::file::{OnNull, Required};
use super::result;
use super::table::{Looked, Table};
use super::{
    Context, Disposition, ExplainedField, MapError, Mapped, MappedRecord, Rejected, Skipped, Unmapped, UnmappedOutcome,
};
use crate::hl7v2::{ErrorCode, Location, Message, Path, Resolved, Scope, Value};
use crate::record::schema::Shape;
use crate::record::{Fields, Kind, Text, Value as Json};
use distinct::Distinct;

/// Items of one list of one record, those left out for want of a value included. The longest real ones have some dozens; a field
/// of 100 000 repetitions would be stored, published and compared with each message after it. Results are not meant: each is a
/// segment of its own, whose number is bounded for the message, and a document may come as thousands of them.
const MAX_ITEMS: usize = 1_000;
/// What a visit or report is known by. `""` there takes nothing back: without its number the next message would make another one.
const KEYS: &[(Kind, &str)] =
    &[(Kind::Visit, "number"), (Kind::LabReport, "filler_order_number"), (Kind::LabReport, "placer_order_number")];

/// Applies a plan to a message.
pub(crate) fn run(plan: &Plan, message: &Message, context: &Context<'_>) -> Result<Mapped, MapError> {
    let whole = message.scope();
    if let Some(reason) = unfit(plan, &whole) {
        return Ok(Mapped { disposition: Disposition::Ignored { reason }, ..Mapped::default() });
    }
    let observations = message.segments_named("OBX").map(|segment| (segment.index(), None)).collect();
    let mut run = Run {
        plan,
        context,
        mapped: Mapped::default(),
        explained: Vec::new(),
        patient: 0,
        sex: None,
        started: 0,
        observations,
    };
    plan.matches.iter().for_each(|condition| run.ask(&condition.path));
    match run.patients(&whole) {
        Ok(()) => {
            run.report_unread(message);
            Ok(run.mapped)
        }
        Err(error) => Err(MapError { unmapped: run.mapped.unmapped, ..error }),
    }
}

/// Why the message is not for this mapping.
fn unfit(plan: &Plan, whole: &Scope<'_>) -> Option<String> {
    let fits = |path: &Path, patterns: &[String]| {
        let value = path.resolve(whole).value();
        let text = value.as_ref().map(Value::text).unwrap_or_default();
        patterns.iter().any(|pattern| matches_pattern(pattern, &text))
    };
    plan.matches
        .iter()
        .find(|condition| !fits(&condition.path, &condition.patterns))
        .map(|condition| format!("{} is none of {}", condition.path, condition.patterns.join(", ")))
}

/// `*` stands for any characters, `?` for one.
pub(crate) fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star, if it has to stand for one character more.
    let mut retry = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            retry = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after_star, from)) = retry {
            retry = Some((after_star, from + 1));
            p = after_star;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&character| character == '*')
}

struct Run<'r> {
    plan: &'r Plan,
    context: &'r Context<'r>,
    mapped: Mapped,
    /// Of the record in work, if explanations are wanted.
    explained: Vec<ExplainedField>,
    /// Number of the patient in work, see [`MappedRecord::patient`].
    patient: usize,
    /// The patient's sex, for reference ranges by sex.
    sex: Option<String>,
    /// Records begun, whatever became of them.
    started: usize,
    /// Position of each OBX and the record that has read it, by its place in `started`.
    observations: Vec<(usize, Option<usize>)>,
}

/// Where a field is in the records, for reports.
#[derive(Clone, Copy)]
struct Place {
    kind: Kind,
    /// The list and the position in it.
    item: Option<(&'static str, usize)>,
}

/// The fields of a record or item in work.
#[derive(Default)]
struct Work<'p> {
    fields: Fields,
    /// Rules that found `""` and where: they clear what no other path or rule fills.
    nulls: Vec<(&'p RulePlan, Location)>,
    /// Something other than the time was said.
    has_substance: bool,
    /// What a result's value and range were understood as.
    value: Option<LabValue>,
    range: Option<Range>,
}

impl Work<'_> {
    /// Few rules give nothing where their block is wanted.
    fn for_rules(rules: &[RulePlan]) -> Self {
        Self { fields: Fields::with_capacity(rules.len()), ..Self::default() }
    }
}

/// The items of a list in work.
#[derive(Default)]
struct Items {
    found: Distinct,
    /// Kept or not.
    read: usize,
}

/// Why a record or item comes to an early end.
enum Stop {
    /// `required = "skip"`.
    LeaveOut(Skipped),
    /// `on_unmapped = "reject"`.
    Reject(Rejected, Location),
    /// `required = true`.
    Fail(MapError),
}

/// What one path gave.
enum Found {
    Json(Json),
    /// The target is filled, or deliberately left.
    Done,
    /// Nothing; the next path is asked.
    Nothing,
}

impl<'r> Run<'r> {
    fn patients(&mut self, whole: &Scope<'_>) -> Result<(), MapError> {
        let patients = whole.patients();
        // A report that stands before the only patient is that patient's; before several it is nobody's, least of all everybody's.
        let first =
            patients.first().filter(|_| patients.len() > 1).and_then(Scope::anchor).map_or(0, |first| first.index());
        for (number, patient) in patients.into_iter().enumerate() {
            self.patient = number;
            self.sex = None;
            let plan = self.plan;
            for (kind, block) in &plan.records {
                let Some(each) = &block.each else {
                    self.record(*kind, block, &patient)?;
                    continue;
                };
                self.ask(each);
                let is_nobodys = *kind == Kind::LabReport
                    && patient.segment(each.segment()).is_some_and(|segment| segment.index() < first);
                if !is_nobodys {
                    for scope in patient.each(each) {
                        self.record(*kind, block, &scope)?;
                    }
                }
            }
        }
        self.report_unowned(whole, first);
        Ok(())
    }

    fn record(&mut self, kind: Kind, block: &'r BlockPlan, scope: &Scope<'_>) -> Result<(), MapError> {
        if !self.is_wanted(block, scope, kind.name()) {
            return Ok(());
        }
        self.explained.clear();
        self.started += 1;
        let mut work = Work::for_rules(&block.rules);
        let place = Place { kind, item: None };
        for rule in &block.rules {
            let Err(stop) = self.rule(rule, scope, &mut work, place) else { continue };
            return match *stop {
                Stop::LeaveOut(skipped) => {
                    self.mapped.skipped.push(skipped);
                    Ok(())
                }
                Stop::Reject(rejected, location) => Err(MapError::new(location, rejected.code, rejected.text)),
                Stop::Fail(error) => Err(error),
            };
        }
        self.clear(&mut work, place);
        for list in &block.lists {
            self.list(list, scope, &mut work, kind)?;
        }
        if kind == Kind::Merge {
            whole_merge(block, scope, &work)?;
        }
        if let (Kind::Visit, Some(facility), false) =
            (kind, self.context.facility, work.fields.contains_key("facility"))
        {
            work.fields.insert("facility", Json::from(facility));
        }
        if kind == Kind::Patient {
            self.sex = work.fields.get("sex").and_then(Json::as_str).map(str::to_owned);
        }
        if work.has_substance {
            let index = self.mapped.records.len();
            self.mapped
                .explanation
                .extend(self.explained.drain(..).map(|field| ExplainedField { record: index, ..field }));
            self.mapped.records.push(MappedRecord { kind, patient: self.patient, fields: work.fields });
        }
        Ok(())
    }

    /// `when` and `skip`. What `skip` names is reported, what `when` excludes was never meant.
    fn is_wanted(&mut self, block: &BlockPlan, scope: &Scope<'_>, name: &str) -> bool {
        block.when.iter().chain(block.skip.iter().map(|rule| &rule.when)).for_each(|when| self.ask_condition(when));
        if block.when.as_ref().is_some_and(|when| !when.holds(scope)) {
            return false;
        }
        let Some(rule) = block.skip.iter().position(|rule| rule.when.holds(scope)) else { return true };
        let SkipPlan { reason, deliberate, .. } = &block.skip[rule];
        self.mapped.skipped.push(Skipped {
            path: scope_path(scope, block.each.as_ref()),
            rule: format!("{name}.skip[{rule}]"),
            reason: reason.clone(),
            deliberate: *deliberate,
        });
        false
    }

    fn list(&mut self, list: &ListPlan, scope: &Scope<'_>, work: &mut Work<'_>, kind: Kind) -> Result<(), MapError> {
        let mut items = Items::default();
        let mut nulls: Vec<(&BlockPlan, Location)> = Vec::new();
        // What depends on the other items comes after them, wherever a site has added its own.
        let (last, first): (Vec<_>, Vec<_>) = list.blocks.iter().partition(|block| !block.when_none.is_empty());
        for block in first.into_iter().chain(last) {
            if items.found.kept.iter().any(|item| has_all(item, &block.when_none)) {
                continue;
            }
            // The compiler has seen to it that there is one.
            let Some(each) = &block.each else { continue };
            self.ask(each);
            let scopes = scope.each(each);
            if scopes.is_empty()
                && block.on_null == OnNull::Clear
                && each.field().is_some()
                && matches!(each.resolve(scope), Resolved::Null)
                && block.when.as_ref().is_none_or(|when| when.holds(scope))
            {
                nulls.push((block, missing_location(each, scope)));
            }
            for item_scope in scopes {
                if self.is_anothers(&item_scope) {
                    continue;
                }
                let place = Place { kind, item: Some((list.name, items.found.kept.len())) };
                self.item(block, &item_scope, place, &mut items)?;
                if list.name != "results" && items.read > MAX_ITEMS {
                    return Err(too_many(format!("{}.{}", kind.name(), list.name), missing_location(each, scope)));
                }
            }
        }
        if !items.found.kept.is_empty() {
            work.fields.insert(list.name, Json::Array(items.found.kept));
            work.has_substance = true;
        } else if !nulls.is_empty() {
            work.fields.insert(list.name, Json::Null);
            work.has_substance = true;
            nulls.iter().for_each(|(block, location)| self.explain_list_cleared(block, list.name, location));
        }
        Ok(())
    }

    fn item(&mut self, block: &BlockPlan, scope: &Scope<'_>, place: Place, items: &mut Items) -> Result<(), MapError> {
        let reported = self.mapped.skipped.len();
        let wanted = self.is_wanted(block, scope, place.list_name());
        if !wanted {
            if self.mapped.skipped.len() > reported {
                self.settle(scope);
            }
            return Ok(());
        }
        self.settle(scope);
        items.read += 1;
        let explained = self.explained.len();
        let mut work = Work::for_rules(&block.rules);
        for rule in &block.rules {
            let stop = match self.rule(rule, scope, &mut work, place) {
                Ok(()) => continue,
                Err(stop) => stop,
            };
            self.explained.truncate(explained);
            match *stop {
                Stop::LeaveOut(skipped) => {
                    let path = scope_path(scope, block.each.as_ref());
                    self.mapped.skipped.push(Skipped { path, ..skipped });
                }
                Stop::Reject(rejected, _) => self.mapped.rejected.push(rejected),
                Stop::Fail(error) => return Err(error),
            }
            return Ok(());
        }
        match place.list_name() {
            "results" => result::judge(&mut work.fields, work.value.as_ref(), work.range.as_ref()),
            "identifiers" if !person::settle_identifier(&mut work.fields) => {
                let path = scope_path(scope, block.each.as_ref());
                self.mapped.notes.push(format!("{path}: no valid resident number, kept as sent"));
            }
            _ => {}
        }
        self.explain_settled(explained, &work.fields);
        if work.has_substance {
            let item = Json::Object(work.fields);
            // A number that is sent twice is one number; two equal results are two results.
            if place.list_name() == "results" {
                items.found.kept.push(item);
            } else if !items.found.add(item) {
                self.explained.truncate(explained);
            }
        } else {
            self.explained.truncate(explained);
            self.mapped.skipped.push(Skipped {
                path: scope_path(scope, block.each.as_ref()),
                rule: place.list_name().to_owned(),
                reason: "none of the fields that this mapping reads has a value".to_owned(),
                deliberate: false,
            });
        }
        Ok(())
    }

    /// An OBX that no order owns is seen by each that has none of its own; it is the first one's.
    fn is_anothers(&self, scope: &Scope<'_>) -> bool {
        self.observation(scope).and_then(|position| self.observations[position].1).is_some_and(|by| by != self.started)
    }

    /// The end of this scope's OBX is known.
    fn settle(&mut self, scope: &Scope<'_>) {
        if let Some(position) = self.observation(scope) {
            self.observations[position].1 = Some(self.started);
        }
    }

    fn observation(&self, scope: &Scope<'_>) -> Option<usize> {
        let index = scope.anchor().filter(|anchor| anchor.name() == "OBX")?.index();
        self.observations.binary_search_by_key(&index, |(index, _)| *index).ok()
    }

    /// Reports before the position `first`, the first of several patients.
    fn report_unowned(&mut self, whole: &Scope<'_>, first: usize) {
        let blocks = self.plan.records.iter().filter(|(kind, _)| *kind == Kind::LabReport).map(|(_, block)| block);
        for (block, each) in blocks.filter_map(|block| Some((block, block.each.as_ref().filter(|_| first > 0)?))) {
            let before = whole.each(each).into_iter();
            let before = before.take_while(|scope| scope.anchor().is_some_and(|anchor| anchor.index() < first));
            for scope in before.filter(|scope| block.when.as_ref().is_none_or(|when| when.holds(scope))) {
                self.mapped.skipped.push(Skipped {
                    path: scope_path(&scope, Some(each)),
                    rule: "unread".to_owned(),
                    reason: "it stands before several patients, and nothing says whose it is".to_owned(),
                    deliberate: false,
                });
            }
        }
    }

    fn report_unread(&mut self, message: &Message) {
        for (index, _) in self.observations.iter().filter(|(_, by)| by.is_none()) {
            let Some(segment) = message.segment(*index) else { continue };
            self.mapped.skipped.push(Skipped {
                path: segment.location_of(0).to_string(),
                rule: "unread".to_owned(),
                reason: "it belongs to no record that this mapping makes of the message".to_owned(),
                deliberate: false,
            });
        }
    }

    fn rule<'p>(
        &mut self,
        rule: &'p RulePlan,
        scope: &Scope<'_>,
        work: &mut Work<'p>,
        place: Place,
    ) -> Result<(), Box<Stop>> {
        if self.context.explain {
            rule.when.iter().for_each(|when| self.ask_condition(when));
            rule.from.iter().for_each(|path| self.ask(path));
        }
        if rule.is_alternative && is_filled(&work.fields, &rule.target)
            || rule.when.as_ref().is_some_and(|when| !when.holds(scope))
        {
            return Ok(());
        }
        if let Some(constant) = &rule.constant {
            self.explain(rule, constant, None, place);
            put(&mut work.fields, &rule.target, constant.clone());
            return Ok(());
        }
        let mut refused = None;
        let mut imprecise = None;
        for path in &rule.from {
            let value = match path.resolve(scope) {
                Resolved::Absent => continue,
                Resolved::Null => {
                    if rule.clears() && !KEYS.contains(&(place.kind, rule.target.name)) {
                        work.nulls.push((rule, missing_location(path, scope)));
                    }
                    let all = if path.is_plural() { path.resolve_all(scope) } else { Vec::new() };
                    all.into_iter().find_map(Resolved::value)
                }
                Resolved::Value(value) => Some(value),
            };
            let Some(value) = value else { continue };
            let (explained, unmapped) = (self.explained.len(), self.mapped.unmapped.len());
            let mut all = Vec::new();
            let found = if rule.coercion == Coercion::LabValue || (path.is_plural() && holds_several(&rule.target)) {
                if path.means_one_segment() && !value.repeats() {
                    self.several(rule, std::slice::from_ref(&value), work, place)
                } else {
                    all = path.resolve_all(scope).into_iter().filter_map(Resolved::value).collect();
                    self.several(rule, &all, work, place)
                }
            } else {
                self.single(rule, path, &value, work, place)
            };
            match found {
                Ok(Found::Nothing) => {}
                Ok(Found::Done) => {
                    self.explain_all(explained, &all);
                    return Ok(());
                }
                Ok(Found::Json(json)) => {
                    if rule.coercion == Coercion::Instant && !json.as_str().is_some_and(|when| when.contains('T')) {
                        imprecise.get_or_insert((json, value));
                        continue;
                    }
                    self.keep(rule, json, &value, work, place);
                    self.explain_all(explained, &all);
                    self.explain_unmapped(explained, unmapped);
                    return Ok(());
                }
                Err(Refused::Value(reason)) => {
                    let text = format!("{} was left out: {reason}", place.target(&rule.target));
                    refused.get_or_insert(value.location());
                    let path = value.location().to_string();
                    self.mapped.rejected.push(Rejected { path, code: ErrorCode::DataType, text });
                }
                Err(Refused::Stop(stop)) => return Err(stop),
            }
        }
        if let Some((json, value)) = imprecise {
            self.keep(rule, json, &value, work, place);
            return Ok(());
        }
        let is_null = work.nulls.iter().any(|(null, _)| null.target == rule.target);
        if let Some(default) = rule.default.as_ref().filter(|_| !is_null) {
            self.explain(rule, default, None, place);
            put(&mut work.fields, &rule.target, default.clone());
            return Ok(());
        }
        self.missing(rule, scope, refused, place)
    }

    /// Carries out what `""` asked for, where nothing else was said.
    fn clear(&mut self, work: &mut Work<'_>, place: Place) {
        for (rule, location) in std::mem::take(&mut work.nulls) {
            let names = if is_filled(&work.fields, &rule.target) { Vec::new() } else { cleared_by(&rule.target) };
            for name in names {
                if !work.fields.contains_key(name) {
                    work.fields.insert(name, Json::Null);
                    work.has_substance = true;
                    self.explain_cleared(rule, name, &location, place);
                }
            }
        }
    }

    fn keep(&mut self, rule: &RulePlan, json: Json, value: &Value<'_>, work: &mut Work<'_>, place: Place) {
        self.explain(rule, &json, Some(value), place);
        put(&mut work.fields, &rule.target, json);
        work.has_substance |= rule.target.name != "updated_at";
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
        let location = refused.or_else(|| rule.from.first().map(|path| missing_location(path, scope)));
        let location = location.unwrap_or_else(|| Location::segment("MSH"));
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
    fn single(
        &mut self,
        rule: &RulePlan,
        path: &Path,
        value: &Value<'_>,
        work: &mut Work<'_>,
        place: Place,
    ) -> Result<Found, Refused> {
        if rule.coercion == Coercion::Name && rule.target.spread {
            let Some(name) = person::name(value) else { return Ok(Found::Nothing) };
            let parts = [("name", Some(name.whole)), ("family_name", name.family), ("given_name", name.given)];
            for (target, text) in parts {
                if let Some(text) = text {
                    let json = Json::from(text);
                    self.explain_as(rule, target, &json, Some(value), place);
                    work.fields.insert(target, json);
                }
            }
            work.has_substance = true;
            return Ok(Found::Done);
        }
        if rule.coercion == Coercion::ReferenceRange {
            let read = result::reference_range(path, value, self.sex.as_deref());
            if let Some(note) = read.note {
                self.mapped.notes.push(format!("{}: {note}", value.location()));
            }
            work.range = read.range;
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
        work: &mut Work<'_>,
        place: Place,
    ) -> Result<Found, Refused> {
        if rule.coercion == Coercion::LabValue {
            let Some(first) = values.first() else { return Ok(Found::Nothing) };
            let read = result::read_value(values);
            if let Some(note) = read.note {
                self.mapped.notes.push(format!("{}: {note}", first.location()));
            }
            if read.fields.is_empty() {
                return Ok(Found::Nothing);
            }
            work.has_substance = true;
            for (target, json) in read.fields {
                self.explain_as(rule, target, &json, Some(first), place);
                work.fields.insert(target, json);
            }
            work.value = read.value;
            return Ok(Found::Done);
        }
        if let Some(last) = values.get(MAX_ITEMS).filter(|_| rule.target.shape == Shape::TextList) {
            let location = Location { repetition: None, ..last.location() };
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
            let coerced = coerce::apply(rule.coercion, value, inner, self.context.zone).map_err(Refused::Value)?;
            let Some(json) = coerced else { return Ok(Found::Nothing) };
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

/// The text that a rule's table is asked for.
fn code_of<'m>(rule: &RulePlan, table: &Table, value: &Value<'m>) -> Cow<'m, str> {
    match rule.coercion {
        Coercion::Unit => {
            let is_known = |unit: &String| matches!(table.look_up(unit), Looked::Target(_));
            let joined = coded::joined_unit(value).filter(is_known);
            Cow::Owned(joined.or_else(|| coded::unit(value)).unwrap_or_default())
        }
        Coercion::Text => value.text(),
        _ => coerce::code(value),
    }
}

/// Why a value is not taken.
enum Refused {
    /// It is not what it should be; the next path is asked.
    Value(coerce::Refusal),
    /// It ends the item or the message.
    Stop(Box<Stop>),
}

impl Place {
    fn list_name(&self) -> &'static str {
        self.item.map_or(self.kind.name(), |(list, _)| list)
    }

    /// `lab_report.results.status`.
    fn target(&self, target: &Target) -> String {
        let mut name = self.kind.name().to_owned();
        let parts = [self.item.map(|(list, _)| list), target.parent, Some(target.name)];
        for part in parts.into_iter().flatten() {
            name.push('.');
            name.push_str(part);
        }
        name
    }
}

/// Whether an item has these values; no item has none.
fn has_all(item: &Json, values: &[(&'static str, Json)]) -> bool {
    !values.is_empty() && values.iter().all(|(field, value)| item.get(field) == Some(value))
}

/// Texts become lines, lists become lists; anything else takes the first value.
fn holds_several(target: &Target) -> bool {
    !target.spread && matches!(target.shape, Shape::Text | Shape::TextList)
}

fn is_filled(fields: &Fields, target: &Target) -> bool {
    match target.parent {
        Some(parent) => fields.get(parent).is_some_and(|object| object.get(target.name).is_some()),
        None => fields.contains_key(target.name),
    }
}

fn put(fields: &mut Fields, target: &Target, json: Json) {
    let Some(parent) = target.parent else {
        fields.insert(Text::new_static(target.name), json);
        return;
    };
    let entry = fields.get_or_insert_with(parent, || Json::Null);
    match entry {
        Json::Object(inner) => drop(inner.insert(target.name, json)),
        _ => *entry = Json::Object(Fields::from_iter([(target.name, json)])),
    }
}

/// The fields that `""` clears: all that the target fills. A part of an object cannot be cleared alone, the object is meant.
fn cleared_by(target: &Target) -> Vec<&'static str> {
    if target.spread { vec!["name", "family_name", "given_name"] } else { vec![target.parent.unwrap_or(target.name)] }
}

fn too_many(list: String, location: Location) -> MapError {
    let text =
        format!("{list} has more than {MAX_ITEMS} items, the limit; the message is refused whole, correct the sender");
    MapError::new(location, ErrorCode::ApplicationInternalError, text)
}

/// A merge with one side only cannot be carried out, and must not pass for done.
fn whole_merge(block: &BlockPlan, scope: &Scope<'_>, work: &Work<'_>) -> Result<(), MapError> {
    let action = work.fields.get("action").and_then(Json::as_str).unwrap_or_default();
    let needed: &[&str] = match action {
        "link" | "unlink" | "deactivate" => &["survivor"],
        "merge_visit" | "merge_account" => &["visit", "retired_visit"],
        "move_visit" => &["visit"],
        _ => &["survivor", "retired"],
    };
    let Some(missing) = needed.iter().find(|name| !work.fields.contains_key(name)) else {
        return Ok(());
    };
    let of_lists = block.lists.iter().filter(|list| list.name == *missing).flat_map(|list| &list.blocks);
    let of_lists = of_lists.filter_map(|block| block.each.as_ref());
    let of_rules = block.rules.iter().filter(|rule| rule.target.name == *missing).flat_map(|rule| &rule.from);
    let paths: Vec<&Path> = of_lists.chain(of_rules).collect();
    let location = paths.first().map_or_else(|| Location::segment("MRG"), |path| missing_location(path, scope));
    let mut paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
    paths.dedup();
    let text = format!("merge.{missing} is required and there is no usable value in {}", paths.join(", "));
    Err(MapError::new(location, ErrorCode::RequiredFieldMissing, text))
}

/// Where a scope is: `OBX[3]`, `PID-3[2]`.
fn scope_path(scope: &Scope<'_>, each: Option<&Path>) -> String {
    if let Some(path) = each.filter(|path| path.field().is_some())
        && let Resolved::Value(value) = path.resolve(scope)
    {
        return value.location().to_string();
    }
    scope.anchor().map_or_else(|| "MSH".to_owned(), |anchor| anchor.location_of(0).to_string())
}

/// The place of a value that is missing: in the scope's own segment, if the path means that.
fn missing_location(path: &Path, scope: &Scope<'_>) -> Location {
    match scope.anchor().filter(|anchor| anchor.name() == path.segment()) {
        Some(anchor) => Location { component: path.component(), ..anchor.location_of(path.field().unwrap_or(0)) },
        None => path.location(),
    }
}
