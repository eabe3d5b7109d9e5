//! Persons with their visits, reports and history; and what is decided of them by hand.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::AppState;
use super::call::{Answer, Call, cut, from_store, from_writer, json, now};
use super::messages::MOST_REASON;
use super::problem::{Problem, ProblemKind};
use crate::disclosure::{Gate, Recipient};
use crate::identity::{ManualDecision, ManualRefusal, ManualStep};
use crate::policy::Document;
use crate::record::{Fields, RecordNumber, Value, schema, when};
use crate::store::persons::{self, Person, PersonSearch};
use crate::store::{Reader, StoreError, clinical, records};
use crate::view;

/// `GET /v1/persons`.
pub(crate) async fn find(state: Arc<AppState>, call: Call) -> Answer {
    let recipient = call.recipient(&state)?;
    let text = |name| call.parameters.text(name).map(str::to_owned);
    let search = PersonSearch { name: text("name"), birth_date: text("birth_date"), phone: text("phone") };
    let limit = call.parameters.integer("limit") as usize;
    if search.birth_date.as_deref().is_some_and(|date| !when::is_date(date)) {
        return Err(criteria("`birth_date` is no date as YYYY-MM-DD"));
    }
    let found = match text("identifier") {
        Some(_) if search != PersonSearch::default() => {
            return Err(criteria("`identifier` stands alone"));
        }
        Some(identifier) => {
            let number: RecordNumber = identifier.parse().map_err(|_| {
                criteria("`identifier` is SYSTEM|VALUE, for example HIS|P0001, or |VALUE; write | as %7C")
            })?;
            may_look(recipient.as_ref().is_none_or(|recipient| recipient.may_look_by_number(&number.value)))?;
            state
                .store
                .read_async(move |reader| {
                    let found = persons::with_identifier(reader, &number, limit + 1)?;
                    admitted(reader, recipient.as_ref(), found, Some(&number))
                })
                .await
        }
        // A birth date alone would list a day's births: look-ups are for people already known by something.
        None if search.name.is_none() && search.phone.is_none() => {
            return Err(criteria("give `identifier`, `name` or `phone`"));
        }
        None => {
            may_look(recipient.as_ref().is_none_or(|recipient| recipient.may_look_by(&asked_by(&search))))?;
            state
                .store
                .read_async(move |reader| {
                    let found = persons::search(reader, &search, limit + 1)?;
                    admitted(reader, recipient.as_ref(), found, None)
                })
                .await
        }
    };
    let (all, found) = found.map_err(from_store)?;
    if all > limit {
        // A list cut short looks like the whole: the one who is sought may be behind the cut.
        return Err(criteria(&format!("it is too wide, more than {limit} persons fit; add to it, or raise `limit`")));
    }
    let told = found.iter().filter_map(|person| person.get("one_id")?.as_str());
    call.trace.persons(told);
    json(&json!({"persons": found, "next": null}))
}

/// `GET /v1/persons/{one_id}`.
pub(crate) async fn show(state: Arc<AppState>, call: Call) -> Answer {
    let asked = call.path().to_owned();
    let found = with_person(&state, &call, |reader, gate, person| {
        let survivor = person.one_id.clone();
        Ok((survivor, gate.show(Document::Person, view::person_looked_up(reader, person)?)?))
    });
    let (survivor, shown) = found.await?;
    let mut shown = shown.ok_or_else(unknown)?;
    if survivor != asked {
        shown.insert("merged_into", survivor.into());
    }
    json(&shown)
}

/// `GET /v1/persons/{one_id}/visits`.
pub(crate) async fn visits(state: Arc<AppState>, call: Call) -> Answer {
    let (after, limit) = page(&call);
    let visits = with_person(&state, &call, move |reader, gate, person| {
        let visits = clinical::visits_of_person(reader, &person.one_id, after, limit + 1)?;
        let shown = |visit| gate.show(Document::Visit, view::visit(visit, &person.one_id)?);
        visits.iter().map(|(place, visit)| Ok((*place, shown(visit)?))).collect()
    });
    list("visits", visits.await?, limit)
}

/// `GET /v1/persons/{one_id}/lab-reports`.
pub(crate) async fn lab_reports(state: Arc<AppState>, call: Call) -> Answer {
    let (after, limit) = page(&call);
    let reports = with_person(&state, &call, move |reader, gate, person| {
        let reports = clinical::lab_reports_of_person(reader, &person.one_id, after, limit + 1)?;
        let shown = |report| gate.show(Document::LabReport, view::lab_report(report, &person.one_id)?);
        reports.iter().map(|(place, report)| Ok((*place, shown(report)?))).collect()
    });
    list("lab_reports", reports.await?, limit)
}

/// `GET /v1/persons/{one_id}/history`.
pub(crate) async fn history(state: Arc<AppState>, call: Call) -> Answer {
    let (after, limit) = page(&call);
    let history = with_person(&state, &call, move |reader, gate, person| {
        let changes = records::whole_history(reader, &person.one_id, after, limit + 1)?;
        let shown = |change| gate.show(Document::Link, view::link(reader, change)?);
        changes.into_iter().map(|(place, change)| Ok((place, shown(change)?))).collect()
    });
    list("history", history.await?, limit)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MergeRequest {
    into: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitRequest {
    #[serde(default)]
    records: Vec<String>,
    reason: String,
}

/// `GET /v1/persons/{one_id}/explain`.
pub(crate) async fn explain(state: Arc<AppState>, call: Call) -> Answer {
    let recipient = call.recipient(&state)?;
    may_look(recipient.as_ref().is_none_or(Recipient::may_see_evidence))?;
    let record: Option<RecordNumber> = call.parameters.text("record").and_then(|record| record.parse().ok());
    let record = record.ok_or_else(|| {
        let detail = "Give `record` as SYSTEM|VALUE, for example HIS|P0001; write | as %7C.";
        Problem::new(ProblemKind::ParameterNotValid, detail).with("parameter", "record")
    })?;
    let (explain, one_id) = (Arc::clone(&state.explain), call.path().to_owned());
    let at = now();
    let explained = state.store.read_async(move |reader| {
        if !Gate::new(reader, recipient.as_ref(), at)?.admits(&one_id)? {
            return Ok(None);
        }
        explain(reader, &one_id, &record).map(Some)
    });
    match explained.await.map_err(from_store)?.ok_or_else(unknown)? {
        Ok(document) => json(&document),
        Err(sentence) => Err(Problem::new(ProblemKind::RecordUnknown, format!("{sentence}."))),
    }
}

/// `POST /v1/persons/match`. Writes nothing.
pub(crate) async fn find_matches(state: Arc<AppState>, call: Call) -> Answer {
    let recipient = call.recipient(&state)?;
    let record = schema::asked_patient(call.json("a patient record, as /openapi.json describes it")?)
        .map_err(|reason| Problem::new(ProblemKind::BodyNotValid, format!("As sent, {reason}.")))?;
    let (find, limit) = (Arc::clone(&state.find_matches), call.parameters.integer("limit") as usize);
    may_look(recipient.as_ref().is_none_or(|recipient| recipient.may_look_by(&record)))?;
    let at = now();
    let found = state.store.read_async(move |reader| {
        let gate = Gate::new(reader, recipient.as_ref(), at)?;
        let Some(found) = find(reader, &record, limit)? else { return Ok(None) };
        found
            .into_iter()
            .filter_map(|candidate| shown_candidate(&gate, candidate).transpose())
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    });
    let found = found.await.map_err(from_store)?;
    let too_little = || {
        let detail = "Add an identity number, a card, a phone, a medical record number with its authority, or a birth date \
                      beside the name.";
        Problem::new(ProblemKind::RecordSaysTooLittle, detail)
    };
    let found = found.ok_or_else(too_little)?;
    call.trace.persons(found.iter().filter_map(|candidate| candidate["one_id"].as_str()));
    json(&json!({"candidates": found}))
}

/// Records named in one split: more than one patient ever has.
pub(crate) const MOST_RECORDS: usize = 100;

/// `POST /v1/persons/{one_id}/merge`.
pub(crate) async fn merge(state: Arc<AppState>, call: Call) -> Answer {
    let MergeRequest { into, reason } = call.json("{\"into\": ONE_ID, \"reason\": TEXT}")?;
    let one_id = call.path().to_owned();
    decide(&state, &call, ManualStep::Merge { one_id, into }, reason).await
}

/// `POST /v1/persons/{one_id}/split`.
pub(crate) async fn split(state: Arc<AppState>, call: Call) -> Answer {
    let expected = format!("{{\"records\": [\"SYSTEM|VALUE\"], at most {MOST_RECORDS}, optional, \"reason\": TEXT}}");
    let SplitRequest { records, reason } = call.json(&expected)?;
    let records: Result<Vec<RecordNumber>, String> = records.iter().map(|record| record.parse()).collect();
    let records = records.ok().filter(|records| records.len() <= MOST_RECORDS);
    let records = records.ok_or_else(|| Problem::new(ProblemKind::BodyNotValid, format!("Expected {expected}.")))?;
    let one_id = call.path().to_owned();
    decide(&state, &call, ManualStep::Split { one_id, records }, reason).await
}

async fn decide(state: &Arc<AppState>, call: &Call, step: ManualStep, reason: String) -> Answer {
    if reason.trim().is_empty() || reason.chars().count() > MOST_REASON {
        let text = format!("Say why in `reason`, in at most {MOST_REASON} characters; it is kept with the history.");
        return Err(Problem::new(ProblemKind::BodyNotValid, text));
    }
    let by = call.caller.as_ref().map_or_else(String::new, |caller| caller.name.clone());
    let decided = (state.decide)(ManualDecision { step, by, reason }, call.trace.for_change()).await;
    let decided = decided.map_err(from_writer)?;
    call.trace.written();
    match decided {
        Ok(decided) => json(&view::decided(&decided)),
        Err(refusal @ ManualRefusal::UnknownOneId { .. }) => {
            Err(Problem::new(ProblemKind::RecordUnknown, format!("{refusal}.")))
        }
        Err(refusal) => Err(Problem::new(ProblemKind::DecisionRefused, format!("{refusal}."))),
    }
}

fn page(call: &Call) -> (i64, usize) {
    (call.parameters.key("after").unwrap_or(0), call.parameters.integer("limit") as usize)
}

/// A page of what may leave; what may not is passed over, so a page may be short.
fn list(plural: &str, found: Vec<(i64, Option<Fields>)>, limit: usize) -> Answer {
    let (found, next) = cut(found, limit, |(place, _)| *place);
    let records: Vec<Fields> = found.into_iter().filter_map(|(_, record)| record).collect();
    json(&json!({plural: records, "next": next}))
}

/// What a search asks by, as a patient record. A name is looked for among the other names too.
fn asked_by(search: &PersonSearch) -> Fields {
    let mut asked = Fields::new();
    for (name, value) in [
        ("name", &search.name),
        ("other_names", &search.name),
        ("birth_date", &search.birth_date),
        ("phones", &search.phone),
    ] {
        asked.extend(value.as_ref().map(|value| (name, Value::from(value.as_str()))));
    }
    asked
}

/// How many were found, and of those whom the caller may know of what may leave. `number`: what was asked by.
fn admitted(
    reader: &Reader<'_>,
    recipient: Option<&Recipient>,
    found: Vec<Person>,
    number: Option<&RecordNumber>,
) -> Result<(usize, Vec<Fields>), StoreError> {
    let gate = Gate::new(reader, recipient, now())?;
    let all = found.len();
    let mut shown = Vec::with_capacity(all);
    for person in found {
        let may_be_found = number.is_none_or(|number| gate.found_by(&person, &number.system, &number.value));
        if may_be_found && gate.admits(&person.one_id)? {
            shown.extend(gate.show(Document::Person, view::person(person))?);
        }
    }
    Ok((all, shown))
}

/// A person who may be meant, if the caller may know of that person.
fn shown_candidate(gate: &Gate<'_>, mut candidate: serde_json::Value) -> Result<Option<serde_json::Value>, StoreError> {
    let one_id = candidate["one_id"].as_str().unwrap_or_default().to_owned();
    if gate.is_open() {
        return Ok(Some(candidate));
    }
    if !gate.admits(&one_id)? {
        return Ok(None);
    }
    let person = candidate.as_object_mut().and_then(|candidate| candidate.remove("person")).map(Value::from);
    let Value::Object(candidate) = Value::from(candidate) else { return Ok(None) };
    let Some(mut shown) = gate.show(Document::Candidate, candidate)? else { return Ok(None) };
    if let Some(Value::Object(person)) = person {
        shown.extend(gate.show(Document::Person, person)?.map(|person| ("person", Value::Object(person))));
    }
    Ok(Some(Value::Object(shown).into()))
}

/// Reads something about the person who answers for the path's One ID, in one snapshot.
async fn with_person<T: Send + 'static>(
    state: &Arc<AppState>,
    call: &Call,
    read: impl FnOnce(&Reader<'_>, &Gate<'_>, Person) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let recipient = call.recipient(state)?;
    let (one_id, at) = (call.path().to_owned(), now());
    let found = state.store.read_async(move |reader| {
        let gate = Gate::new(reader, recipient.as_ref(), at)?;
        match persons::resolve(reader, &one_id)? {
            Some(person) if gate.admits(&person.one_id)? => {
                let one_id = person.one_id.clone();
                Ok(Some((one_id, read(reader, &gate, person)?)))
            }
            _ => Ok(None),
        }
    });
    let (one_id, read) = found.await.map_err(from_store)?.ok_or_else(unknown)?;
    call.trace.persons([one_id.as_str()]);
    Ok(read)
}

pub(crate) fn unknown() -> Problem {
    Problem::new(ProblemKind::RecordUnknown, "No person has this One ID; search by /v1/persons.")
}

/// Refuses a look-up by what the caller's policy hides: the answer would tell whether a guess is right.
fn may_look(may: bool) -> Result<(), Problem> {
    let detail = "Look by fields that your policy shows as they are; `heyi policy explain` lists them.";
    if may { Ok(()) } else { Err(Problem::new(ProblemKind::HiddenByPolicy, detail)) }
}

fn criteria(reason: &str) -> Problem {
    Problem::new(ProblemKind::ParameterNotValid, format!("The search is not valid: {reason}."))
}
