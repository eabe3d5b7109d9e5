//! `GET /v1/audit`: the audit trail, for auditors. Reading it is an entry itself.

use std::sync::Arc;

use serde_json::{Value, json};

use super::AppState;
use super::call::{Answer, Call, from_store, json};
use super::parameter::not_valid;
use crate::audit::{Action, Row, is_one_id};
use crate::store::audit::{self, AuditFilter, AuditOrder};

/// `GET /v1/audit`.
pub(crate) async fn list(state: Arc<AppState>, call: Call) -> Answer {
    let text = |name| call.parameters.text(name).map(str::to_owned);
    let filter = AuditFilter {
        since: call.parameters.moment("since"),
        until: call.parameters.moment("until"),
        who: text("who"),
        person: text("person"),
        action: text("action"),
    };
    if filter.action.as_deref().is_some_and(|action| !Action::is_named_by(action)) {
        return Err(not_valid(
            "action",
            "it must be an action such as person.read, or a kind of them such as person.*",
        ));
    }
    if filter.person.as_deref().is_some_and(|person| !is_one_id(person)) {
        return Err(not_valid("person", "it must be a One ID"));
    }
    call.trace.persons(filter.person.as_deref());
    let before = call.parameters.key("after").and_then(|before| before.try_into().ok());
    let limit = call.parameters.integer("limit") as usize;
    let read =
        move |reader: &crate::store::Reader<'_>| audit::list(reader, &filter, AuditOrder::NewestFirst(before), limit);
    let page = state.store.read_async(read).await.map_err(from_store)?;
    let entries: Vec<Value> = page.entries.iter().map(Row::document).collect();
    json(&json!({"entries": entries, "next": page.next.map(|next| next.to_string())}))
}
