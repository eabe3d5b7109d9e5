//! A plan applied to a message or a unit. Pure: input and context in, records out.
//!
//! Invariants
//! - Every OBX or Observation ends as stored, skipped by a named rule, or rejected; so does every repetition that a list block opens.
//! - Nothing fails for the mapping's own sake: what can be wrong here is wrong with the message.
//! - No text of an error, note or reason holds a value of the message.

mod choices;
mod distinct;
mod draft;
mod explain;
mod gather;
mod left_out;
mod present;
mod rule;

use super::coerce::person;
use super::compile::{BlockPlan, ListPlan, Plan, SkipPlan, Target};
use super::file::OnNull;
use super::input::{Format, Input, Location, Path, Resolved, Scope, Value};
use super::result;
use super::{Context, Disposition, ExplainedField, MapError, Mapped, MappedRecord, Skipped};
use crate::hl7v2::ErrorCode;
use crate::record::{Fields, Kind, Text, Value as Json};
use choices::Choices;
use distinct::Distinct;
use draft::Draft;
use present::Present;
use rule::Stop;

/// Items of one list of one record, those left out for want of a value included. The longest real ones have some dozens; a field
/// of 100 000 repetitions would be stored, published and compared with each message after it. Results are not meant: each is a
/// segment of its own, whose number is bounded for the message, and a document may come as thousands of them.
const MAX_ITEMS: usize = 1_000;
/// Applies a plan to a message or a unit.
pub(crate) fn run(plan: &Plan, input: Input<'_>, context: &Context<'_>) -> Result<Mapped, MapError> {
    if input.format() != plan.format {
        let reason = format!("the mapping is for format = {:?}", plan.format.name());
        return Ok(Mapped { disposition: Disposition::Ignored { reason }, ..Mapped::default() });
    }
    let whole = Scope::whole(input);
    if let Some(reason) = unfit(plan, &whole) {
        return Ok(Mapped { disposition: Disposition::Ignored { reason }, ..Mapped::default() });
    }
    let observations = input.observations().into_iter().map(|index| (index, None)).collect();
    // An explanation tells what was looked for, so nothing is passed over for it.
    let present = if context.explain { Present::ANYTHING } else { Present::of(plan, input) };
    let mut run = Run {
        plan,
        context,
        present,
        mapped: Mapped::default(),
        explained: Vec::new(),
        patient: 0,
        sex: None,
        started: 0,
        observations,
        times: Vec::new(),
        choices: Choices::default(),
    };
    plan.matches.iter().for_each(|condition| run.ask(&condition.path, &whole));
    match run.patients(&whole) {
        Ok(()) => {
            run.report_unread(input);
            run.explain_other_lost(input);
            run.explain_choices();
            Ok(run.mapped)
        }
        Err(error) => Err(MapError { unmapped: run.mapped.unmapped, ..error }),
    }
}

/// A status or a flag of no result, a type of no number: what a block gives that opens again what another one reads.
fn says_nothing_of_anything(list: &str, fields: &Fields) -> bool {
    let needed: &[&str] = match list {
        "results" => &["code", "name", "value_number", "value_text", "value_code"],
        "identifiers" => &["value"],
        _ => return false,
    };
    // `null` is said: there is no such number any more.
    !needed.iter().any(|name| fields.contains_key(name))
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
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on after the last star, if it has to stand for one character more.
    let mut retry = None;
    loop {
        let before = text.clone();
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                text = before;
                retry = Some((pattern.clone(), text.clone()));
            }
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {}
            _ => {
                let Some((after_star, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (after_star.clone(), from.clone());
            }
        }
    }
}

struct Run<'r> {
    plan: &'r Plan,
    context: &'r Context<'r>,
    present: Present,
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
    /// Times as sent and as understood: a message says the same one many times.
    times: Vec<(Text, Json)>,
    /// If explanations are wanted.
    choices: Choices,
}

/// Where a field is in the records, for reports.
#[derive(Clone, Copy)]
struct Place {
    kind: Kind,
    /// The list and the position in it.
    item: Option<(&'static str, usize)>,
}

/// The items of a list in work.
#[derive(Default)]
struct Items {
    found: Distinct,
    /// Kept or not.
    read: usize,
    /// On those that were left out.
    notes: Vec<left_out::Note>,
}

impl<'r> Run<'r> {
    fn patients(&mut self, whole: &Scope<'_>) -> Result<(), MapError> {
        let patients = whole.patients();
        // A report that stands before the only patient is that patient's; before several it is nobody's, least of all everybody's.
        let first = patients.first().filter(|_| patients.len() > 1).and_then(Scope::position).unwrap_or(0);
        for (number, patient) in patients.into_iter().enumerate() {
            self.patient = number;
            self.sex = None;
            let plan = self.plan;
            for (kind, block) in &plan.records {
                if !self.present.has(&block.reads) {
                    continue;
                }
                let Some(each) = &block.each else {
                    self.record(*kind, block, &patient)?;
                    continue;
                };
                self.ask(each, &patient);
                let is_nobodys = *kind == Kind::LabReport && patient.begins_before(each, first);
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
        let mut draft = Draft::of(block);
        let place = Place { kind, item: None };
        let ended = self.rules(&block.rules, scope, &mut draft, place);
        self.explain_lost(&draft, place);
        if let Err(stop) = ended {
            return match *stop {
                Stop::LeaveOut(skipped) => {
                    self.mapped.skipped.push(skipped);
                    Ok(())
                }
                Stop::Reject(rejected, location) => Err(MapError::new(location, rejected.code, rejected.text)),
                Stop::Fail(error) => Err(error),
            };
        }
        if self.plan.format == Format::Fhir {
            self.withdraw(&block.rules, &mut draft, place);
        }
        self.clear(&mut draft, place);
        let mut has_substance = draft.has_substance;
        let mut fields = draft.into_fields();
        if kind == Kind::Patient && fields.contains_key("other_names") {
            without_own_name(&mut fields, self.plan.format);
            self.explain_settled(0, &fields);
            self.explained.retain(|told| told.field != "other_names" || fields.contains_key("other_names"));
        }
        for list in &block.lists {
            if let Some(items) = self.list(list, scope, kind, &mut fields)? {
                has_substance |= self.plan.format == Format::Hl7v2 || !items.is_null();
                fields.insert(list.name, items);
            }
        }
        if kind == Kind::Merge {
            whole_merge(block, scope, &fields)?;
        }
        if let (Kind::Visit, Some(facility), false) = (kind, self.context.facility, fields.contains_key("facility")) {
            fields.insert("facility", Json::from(facility));
        }
        if kind == Kind::Patient {
            self.sex = fields.get("sex").and_then(Json::as_str).map(str::to_owned);
        }
        if has_substance {
            let index = self.mapped.records.len();
            self.mapped
                .explanation
                .extend(self.explained.drain(..).map(|field| ExplainedField { record: index, ..field }));
            self.mapped.records.push(MappedRecord { kind, patient: self.patient, fields });
        }
        Ok(())
    }

    /// `when` and `skip`. What `skip` names is reported, what `when` excludes was never meant.
    fn is_wanted(&mut self, block: &BlockPlan, scope: &Scope<'_>, name: &str) -> bool {
        block
            .when
            .iter()
            .chain(block.skip.iter().map(|rule| &rule.when))
            .for_each(|when| self.ask_condition(when, scope));
        if let Some(when) = block.when.as_ref().filter(|when| !when.holds(scope)) {
            self.mapped.notes.extend(when.trouble(scope));
            return false;
        }
        let Some(rule) = block.skip.iter().position(|rule| rule.when.holds(scope)) else { return true };
        let SkipPlan { reason, deliberate, .. } = &block.skip[rule];
        self.mapped.skipped.push(Skipped {
            path: scope.path(block.each.as_ref()),
            rule: format!("{name}.skip[{rule}]"),
            reason: reason.clone(),
            deliberate: *deliberate,
        });
        false
    }

    /// The items of a list, or `null`; `None`: the message says nothing of it. `fields`: of the record, for notes on items that are left out.
    fn list(
        &mut self,
        list: &'r ListPlan,
        scope: &Scope<'_>,
        kind: Kind,
        fields: &mut Fields,
    ) -> Result<Option<Json>, MapError> {
        let mut items = Items::default();
        let mut nulls: Vec<(&BlockPlan, Location)> = Vec::new();
        for block in &list.blocks {
            if !self.present.has(&block.reads) || items.found.kept.iter().any(|item| has_all(item, &block.when_none)) {
                continue;
            }
            // The compiler has seen to it that there is one.
            let Some(each) = &block.each else { continue };
            self.ask(each, scope);
            self.explain_lost_items(each, scope, kind, list.name);
            if self.context.explain {
                self.note_choice(each, scope, &format!("{}.{}", kind.name(), list.name));
            }
            let scopes = scope.each(each);
            if scopes.is_empty()
                && block.on_null == OnNull::Clear
                && !each.is_whole()
                && matches!(each.resolve(scope), Resolved::Null)
                && block.when.as_ref().is_none_or(|when| when.holds(scope))
            {
                nulls.push((block, scope.missing(each)));
            }
            for item_scope in scopes {
                if self.is_anothers(&item_scope) {
                    continue;
                }
                let place = Place { kind, item: Some((list.name, items.found.kept.len())) };
                self.item(block, &item_scope, place, &mut items)?;
                if list.name != "results" && items.read > MAX_ITEMS {
                    return Err(too_many(format!("{}.{}", kind.name(), list.name), scope.missing(each)));
                }
            }
        }
        self.add_left_out(std::mem::take(&mut items.notes), list, scope, fields);
        if !items.found.kept.is_empty() {
            return Ok(Some(Json::Array(items.found.kept)));
        }
        nulls.iter().for_each(|(block, location)| self.explain_list_cleared(block, list.name, location));
        let is_withdrawn = self.plan.format == Format::Fhir && items.read == 0 && is_withdrawn(list, scope);
        Ok((!nulls.is_empty() || is_withdrawn).then_some(Json::Null))
    }

    fn item(
        &mut self,
        block: &'r BlockPlan,
        scope: &Scope<'_>,
        place: Place,
        items: &mut Items,
    ) -> Result<(), MapError> {
        let reported = self.mapped.skipped.len();
        let wanted = self.is_wanted(block, scope, place.list_name());
        if !wanted {
            if self.mapped.skipped.len() > reported {
                self.settle(scope);
                items.notes.extend(self.note_left_out(block, scope, place));
            }
            return Ok(());
        }
        self.settle(scope);
        items.read += 1;
        let explained = self.explained.len();
        let mut draft = Draft::of(block);
        let ended = self.rules(&block.rules, scope, &mut draft, place);
        self.explain_lost(&draft, place);
        if let Err(stop) = ended {
            self.explained.truncate(explained);
            match *stop {
                Stop::LeaveOut(skipped) => {
                    let path = scope.path(block.each.as_ref());
                    self.mapped.skipped.push(Skipped { path, ..skipped });
                }
                Stop::Reject(rejected, _) => self.mapped.rejected.push(rejected),
                Stop::Fail(error) => return Err(error),
            }
            return Ok(());
        }
        let (has_substance, value, range) = (draft.has_substance, draft.value.take(), draft.range.take());
        let mut fields = draft.into_fields();
        match place.list_name() {
            "results" => result::judge(&mut fields, value.as_ref(), range.as_ref()),
            "identifiers" => {
                if let Some(note) = person::settle_identifier(&mut fields) {
                    let path = scope.path(block.each.as_ref());
                    self.mapped.notes.push(format!("{path}: {note}, kept as sent"));
                }
            }
            _ => {}
        }
        self.explain_settled(explained, &fields);
        let tells_nothing = says_nothing_of_anything(place.list_name(), &fields);
        if has_substance && !tells_nothing {
            let item = Json::Object(fields);
            // A number that is sent twice is one number; two equal results are two results.
            if place.list_name() == "results" {
                items.found.kept.push(item);
            } else if place.list_name() == "identifiers" && is_known_number(&item, &items.found.kept)
                || !items.found.add(item)
            {
                self.explained.truncate(explained);
            }
        } else {
            self.explained.truncate(explained);
            self.mapped.skipped.push(Skipped {
                path: scope.path(block.each.as_ref()),
                rule: place.list_name().to_owned(),
                reason: if tells_nothing && place.list_name() == "results" {
                    "it has neither a code nor a name, and no value that a record can hold; or the block opens what another one reads".to_owned()
                } else if tells_nothing {
                    "it has neither a name nor a value: does a block open what another one reads?".to_owned()
                } else {
                    "none of the fields that this mapping reads has a value".to_owned()
                },
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
        let index = scope.observation()?;
        self.observations.binary_search_by_key(&index, |(index, _)| *index).ok()
    }

    /// Reports before the position `first`, the first of several patients.
    fn report_unowned(&mut self, whole: &Scope<'_>, first: usize) {
        let blocks = self.plan.records.iter().filter(|(kind, _)| *kind == Kind::LabReport).map(|(_, block)| block);
        for (block, each) in blocks.filter_map(|block| Some((block, block.each.as_ref().filter(|_| first > 0)?))) {
            let before = whole.each(each).into_iter();
            let before = before.take_while(|scope| scope.position().is_some_and(|position| position < first));
            for scope in before.filter(|scope| block.when.as_ref().is_none_or(|when| when.holds(scope))) {
                self.mapped.skipped.push(Skipped {
                    path: scope.path(Some(each)),
                    rule: "unread".to_owned(),
                    reason: "it stands before several patients, and nothing says whose it is".to_owned(),
                    deliberate: false,
                });
            }
        }
    }

    fn report_unread(&mut self, input: Input<'_>) {
        for (index, _) in self.observations.iter().filter(|(_, by)| by.is_none()) {
            let Some(path) = input.observation_path(*index) else { continue };
            self.mapped.skipped.push(Skipped {
                path,
                rule: "unread".to_owned(),
                reason: "it belongs to no record that this mapping makes of the message".to_owned(),
                deliberate: false,
            });
        }
    }
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

/// Whether a list without items is there no longer: see [`Run::withdraw`]. Results are never taken back as a list.
fn is_withdrawn(list: &ListPlan, scope: &Scope<'_>) -> bool {
    let may_have = |block: &BlockPlan| {
        block.on_null == OnNull::Keep
            || block.each.as_ref().is_some_and(|each| matches!(each.resolve(scope), Resolved::Withheld))
    };
    list.name != "results" && !list.blocks.iter().any(may_have)
}

/// Whether a number of no known type is one of those that are there already, of the same authority or without one: systems write the
/// patient's number into PID-2 and PID-4 as well.
fn is_known_number(item: &Json, known: &[Json]) -> bool {
    let is_untyped = item.get("type").and_then(Json::as_str) == Some("other");
    let (system, value) = (item.get("system"), item.get("value"));
    let is_same =
        |known: &Json| known.get("value") == value && system.is_none_or(|system| known.get("system") == Some(system));
    is_untyped && known.iter().any(is_same)
}

/// Takes the name itself out of the other names: a repetition of PID-5 without a type may be the one that was chosen.
fn without_own_name(fields: &mut Fields, format: Format) {
    let Some(name) = fields.get("name").cloned() else { return };
    let Some(others) = fields.get_mut("other_names").and_then(Json::as_array_mut) else { return };
    others.retain(|other| *other != name);
    if !others.is_empty() {
        return;
    }
    match format {
        Format::Hl7v2 => drop(fields.remove("other_names")),
        // A complete resource says that there are none.
        Format::Fhir => drop(fields.insert("other_names", Json::Null)),
    }
}

/// Whether an item has these values; no item has none.
fn has_all(item: &Json, values: &[(&'static str, Json)]) -> bool {
    !values.is_empty() && values.iter().all(|(field, value)| item.get(field) == Some(value))
}

fn too_many(list: String, location: Location) -> MapError {
    let text =
        format!("{list} has more than {MAX_ITEMS} items, the limit; the message is refused whole, correct the sender");
    MapError::new(location, ErrorCode::ApplicationInternalError, text)
}

/// A merge with one side only cannot be carried out, and must not pass for done.
fn whole_merge(block: &BlockPlan, scope: &Scope<'_>, given: &Fields) -> Result<(), MapError> {
    let action = given.get("action").and_then(Json::as_str).unwrap_or_default();
    let needed: &[&str] = match action {
        "link" | "unlink" | "deactivate" => &["survivor"],
        "merge_visit" | "merge_account" => &["visit", "retired_visit"],
        "move_visit" => &["visit"],
        _ => &["survivor", "retired"],
    };
    let Some(missing) = needed.iter().find(|name| !given.contains_key(name)) else {
        return Ok(());
    };
    let of_lists = block.lists.iter().filter(|list| list.name == *missing).flat_map(|list| &list.blocks);
    let of_lists = of_lists.filter_map(|block| block.each.as_ref());
    let of_rules = block.rules.iter().filter(|rule| rule.target.name == *missing).flat_map(|rule| &rule.from);
    let paths: Vec<&Path> = of_lists.chain(of_rules).collect();
    let location = paths.first().map_or_else(|| scope.merge(), |path| scope.missing(path));
    let mut paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
    paths.dedup();
    let text = format!("merge.{missing} is required and there is no usable value in {}", paths.join(", "));
    Err(MapError::new(location, ErrorCode::RequiredFieldMissing, text))
}

#[cfg(test)]
mod tests {
    use super::matches_pattern;

    /// As the words say it; for short texts only.
    fn model(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|length| model(rest, &text[length..])),
            ([wanted, pattern @ ..], [found, text @ ..]) => (*wanted == '?' || wanted == found) && model(pattern, text),
            _ => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn a_star_stands_for_any_characters_and_a_question_mark_for_one(pattern in "[ab张*?]{0,7}", text in "[ab张*]{0,8}") {
            let [characters, of_text] = [&pattern, &text].map(|text| text.chars().collect::<Vec<_>>());
            proptest::prop_assert_eq!(matches_pattern(&pattern, &text), model(&characters, &of_text));
        }
    }
}
