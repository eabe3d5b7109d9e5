//! Persons with their visits, reports and history.

use std::sync::Arc;

use serde_json::json;

use super::call::{Answer, Call, cut, from_store, json};
use super::problem::{Problem, ProblemKind};
use super::{AppState, Purpose};
use crate::record::{Fields, RecordNumber};
use crate::store::persons::{self, Person, PersonSearch};
use crate::store::{Reader, StoreError, clinical, records};
use crate::view;

/// `GET /v1/persons`.
pub(crate) async fn find(state: Arc<AppState>, call: Call) -> Answer {
    may_read(&state, &call)?;
    let text = |name| call.parameters.text(name).map(str::to_owned);
    let search = PersonSearch { name: text("name"), birth_date: text("birth_date"), phone: text("phone") };
    let limit = call.parameters.integer("limit") as usize;
    let found = match text("identifier") {
        Some(_) if search != PersonSearch::default() => {
            return Err(criteria("`identifier` stands alone"));
        }
        Some(identifier) => {
            let number: RecordNumber = identifier.parse().map_err(|_| {
                criteria("`identifier` is SYSTEM|VALUE, for example HIS|P0001, or |VALUE; write | as %7C")
            })?;
            state.store.read_async(move |reader| persons::with_identifier(reader, &number, limit + 1)).await
        }
        // A birth date alone would list a day's births: look-ups are for people already known by something.
        None if search.name.is_none() && search.phone.is_none() => {
            return Err(criteria("give `identifier`, `name` or `phone`"));
        }
        None => state.store.read_async(move |reader| persons::search(reader, &search, limit + 1)).await,
    };
    let found = found.map_err(from_store)?;
    if found.len() > limit {
        // A list cut short looks like the whole: the one who is sought may be behind the cut.
        return Err(criteria(&format!("it is too wide, more than {limit} persons fit; add to it, or raise `limit`")));
    }
    let found: Vec<Fields> = found.into_iter().map(view::person).collect();
    json(&json!({"persons": found, "next": null}))
}

/// `GET /v1/persons/{one_id}`.
pub(crate) async fn show(state: Arc<AppState>, call: Call) -> Answer {
    let asked = call.path().to_owned();
    let found = with_person(&state, &call, |reader, person| {
        let survivor = person.one_id.clone();
        Ok((survivor, view::person_looked_up(reader, person)?))
    });
    let (survivor, mut shown) = found.await?;
    if survivor != asked {
        shown.insert("merged_into", survivor.into());
    }
    json(&shown)
}

/// `GET /v1/persons/{one_id}/visits`.
pub(crate) async fn visits(state: Arc<AppState>, call: Call) -> Answer {
    let (after, limit) = page(&call);
    let visits = with_person(&state, &call, move |reader, person| {
        let visits = clinical::visits_of_person(reader, &person.one_id, after, limit + 1)?;
        visits.iter().map(|(place, visit)| Ok((*place, view::visit(visit, &person.one_id)?))).collect()
    });
    list("visits", visits.await?, limit)
}

/// `GET /v1/persons/{one_id}/lab-reports`.
pub(crate) async fn lab_reports(state: Arc<AppState>, call: Call) -> Answer {
    let (after, limit) = page(&call);
    let reports = with_person(&state, &call, move |reader, person| {
        let reports = clinical::lab_reports_of_person(reader, &person.one_id, after, limit + 1)?;
        reports.iter().map(|(place, report)| Ok((*place, view::lab_report(report, &person.one_id)?))).collect()
    });
    list("lab_reports", reports.await?, limit)
}

/// `GET /v1/persons/{one_id}/history`.
pub(crate) async fn history(state: Arc<AppState>, call: Call) -> Answer {
    let (after, limit) = page(&call);
    let history = with_person(&state, &call, move |reader, person| {
        let changes = records::history(reader, &person.one_id, after, limit + 1)?;
        changes.into_iter().map(|(place, change)| Ok((place, view::link(reader, change)?))).collect()
    });
    list("history", history.await?, limit)
}

fn page(call: &Call) -> (i64, usize) {
    (call.parameters.key("after").unwrap_or(0), call.parameters.integer("limit") as usize)
}

fn list(plural: &str, found: Vec<(i64, Fields)>, limit: usize) -> Answer {
    let (found, next) = cut(found, limit, |(place, _)| *place);
    let records: Vec<Fields> = found.into_iter().map(|(_, record)| record).collect();
    json(&json!({plural: records, "next": next}))
}

/// Reads something about the person who answers for the path's One ID, in one snapshot.
async fn with_person<T: Send + 'static>(
    state: &Arc<AppState>,
    call: &Call,
    read: impl FnOnce(&Reader<'_>, Person) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    may_read(state, call)?;
    let one_id = call.path().to_owned();
    let found = state.store.read_async(move |reader| match persons::resolve(reader, &one_id)? {
        Some(person) => read(reader, person).map(Some),
        None => Ok(None),
    });
    let unknown = || Problem::new(ProblemKind::RecordUnknown, "No person has this One ID; search by /v1/persons.");
    found.await.map_err(from_store)?.ok_or_else(unknown)
}

/// A consumer reads persons only where its policy and purpose let it see every field of everyone.
fn may_read(state: &AppState, call: &Call) -> Result<(), Problem> {
    match call.consumer(state)? {
        Some(consumer) if consumer.purpose == Purpose::Marketing => {
            let detail = "This version knows no consents, so a marketing consumer reads nobody.";
            Err(Problem::new(ProblemKind::PurposeNeedsConsent, detail))
        }
        _ => Ok(()),
    }
}

fn criteria(reason: &str) -> Problem {
    Problem::new(ProblemKind::ParameterNotValid, format!("The search is not valid: {reason}."))
}
