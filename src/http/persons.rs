//! Persons with their visits, reports and history.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::{Answer, Call, from_store, json, moment};
use super::problem::{Problem, ProblemKind};
use super::{AppState, Purpose};
use crate::record::{Fields, RecordNumber};
use crate::store::persons::{self, Person, PersonSearch};
use crate::store::{Reader, StoreError, clinical, records};

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
            let number: RecordNumber = identifier
                .parse()
                .map_err(|_| criteria("`identifier` is SYSTEM|VALUE, for example HIS|P0001; write | as %7C"))?;
            state.store.read_async(move |reader| persons::with_identifier(reader, &number, limit)).await
        }
        // A birth date alone would list a day's births: look-ups are for people already known by something.
        None if search.name.is_none() && search.phone.is_none() => {
            return Err(criteria("give `identifier`, `name` or `phone`"));
        }
        None => state.store.read_async(move |reader| persons::search(reader, &search, limit)).await,
    };
    let found: Vec<Value> = found.map_err(from_store)?.into_iter().map(document).collect();
    json(&json!({"persons": found, "next": null}))
}

/// `GET /v1/persons/{one_id}`.
pub(crate) async fn show(state: Arc<AppState>, call: Call) -> Answer {
    let asked = call.path().to_owned();
    let person = with_person(&state, &call, |_, person| Ok(person)).await?;
    let survivor = person.one_id.clone();
    let mut shown = document(person);
    if survivor != asked {
        shown["merged_into"] = json!(survivor);
    }
    json(&shown)
}

/// `GET /v1/persons/{one_id}/visits`.
pub(crate) async fn visits(state: Arc<AppState>, call: Call) -> Answer {
    let visits = with_person(&state, &call, |reader, person| clinical::visits_of_person(reader, &person.one_id)).await?;
    let visits: Vec<Fields> = visits.iter().map(clinical::Visit::published).collect();
    json(&json!({"visits": visits, "next": null}))
}

/// `GET /v1/persons/{one_id}/lab-reports`.
pub(crate) async fn lab_reports(state: Arc<AppState>, call: Call) -> Answer {
    let reports =
        with_person(&state, &call, |reader, person| clinical::lab_reports_of_person(reader, &person.one_id)).await?;
    let reports: Vec<Fields> = reports.iter().map(clinical::LabReport::published).collect();
    json(&json!({"lab_reports": reports, "next": null}))
}

/// `GET /v1/persons/{one_id}/history`.
pub(crate) async fn history(state: Arc<AppState>, call: Call) -> Answer {
    let links = with_person(&state, &call, |reader, person| records::history(reader, &person.one_id)).await?;
    let history: Vec<Value> = links.iter().map(link).collect();
    json(&json!({"history": history, "next": null}))
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

fn document(person: Person) -> Value {
    let mut record = person.golden;
    record.insert("one_id".to_owned(), json!(person.one_id));
    record.insert("version".to_owned(), json!(person.version));
    Value::Object(record)
}
