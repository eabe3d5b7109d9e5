//! Where each consumer stands: for commands, HTTP and metrics alike.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Consumer;
use crate::feed::TypeFilter;
use crate::store::holds::{self, Action, Counts, Hold};
use crate::store::{self, Reader, StoreError, consumers, events};
use crate::view::moment;

/// A consumer: configured, or known by the position that it committed.
#[derive(Debug)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// As it is configured.
    pub configured: Option<Consumer>,
    /// What it committed.
    pub committed: Option<store::consumers::Consumer>,
    /// Sequence number of the newest event.
    pub head: u64,
    /// Events after its position; `None` when that is of another epoch.
    pub lag: Option<u64>,
    /// What waits for the trouble of a person to end.
    pub held: Counts,
    /// When the oldest event was written that it was not given.
    pub oldest_at: Option<i64>,
}

/// Every consumer, by name.
///
/// # Errors
/// See [`StoreError`].
pub fn standings(reader: &Reader<'_>, configured: &[Consumer]) -> Result<Vec<Standing>, StoreError> {
    let head = events::head(reader)?.sequence;
    let first = events::first_kept(reader)?.unwrap_or(head + 1);
    let known = consumers::list(reader)?;
    let with_holds = holds::consumers(reader)?;
    let names = configured.iter().map(|consumer| &consumer.name);
    let names: BTreeSet<&String> = names.chain(known.iter().map(|known| &known.name)).chain(&with_holds).collect();
    names
        .into_iter()
        .map(|name| {
            let committed = known.iter().find(|known| known.name == *name).cloned();
            let lag = committed.as_ref().map_or(Some(head), |committed| committed.lag);
            let held = holds::counts(reader, name)?;
            let next = lag.map(|lag| (head - lag.min(head) + 1).max(first)).filter(|next| *next <= head);
            let oldest = next.into_iter().chain(held.first).min();
            let oldest_at = oldest.map(|oldest| events::recorded_at(reader, oldest)).transpose()?.flatten();
            let configured = configured.iter().find(|consumer| consumer.name == *name).cloned();
            Ok(Standing { name: name.clone(), configured, committed, head, lag, held, oldest_at })
        })
        .collect()
}

impl Standing {
    /// As `--after` and the interface take it.
    pub fn cursor(&self) -> String {
        self.committed.as_ref().map_or("start".to_owned(), |committed| committed.cursor.to_string())
    }

    /// Events that it was not given: after its position, and held.
    pub fn behind(&self) -> Option<u64> {
        self.lag.map(|lag| lag + self.held.events)
    }

    /// As `/v1/consumers` and commands show it.
    pub fn json(&self) -> Value {
        let mut document = json!({
            "name": self.name,
            "configured": self.configured.is_some(),
            "cursor": self.cursor(),
            "lag": self.lag,
            "events_behind": self.behind(),
            "held": self.held.events,
            "parked": self.held.parked,
        });
        if let Some(oldest) = self.oldest_at {
            document["oldest_at"] = json!(moment(oldest));
        }
        if let Some(committed) = &self.committed {
            document["committed_at"] = json!(moment(committed.updated_at));
            if let Some(delivered) = committed.delivered_at {
                document["delivered_at"] = json!(moment(delivered));
            }
        }
        if let Some(consumer) = &self.configured {
            document["events"] = consumer.events.iter().map(TypeFilter::to_string).collect();
            document["policy"] = json!(consumer.policy);
            document["purpose"] = json!(consumer.purpose.name());
            document["pushed"] = json!(consumer.is_pushed);
        }
        document
    }
}

/// The consumer of a name: configured, or known by its position.
///
/// # Errors
/// See [`StoreError`].
pub fn known(reader: &Reader<'_>, configured: &[Consumer], name: &str) -> Result<Option<Consumer>, StoreError> {
    if let Some(consumer) = configured.iter().find(|consumer| consumer.name == name) {
        return Ok(Some(consumer.clone()));
    }
    Ok(consumers::position(reader, name)?.map(|_| Consumer::unconfigured(name)))
}

/// A hold with whose event is tried.
///
/// # Errors
/// See [`StoreError`].
pub fn hold(reader: &Reader<'_>, hold: &Hold) -> Result<Value, StoreError> {
    let first = events::get(reader, hold.first)?;
    Ok(json!({
        "one_id": first.as_ref().map(|event| event.subject.as_str()),
        "sequence": hold.first,
        "event": first.as_ref().map(|event| event.id.as_str()),
        "type": first.as_ref().map(|event| event.kind.as_str()),
        "events": hold.events,
        "since": moment(hold.since),
        "attempts": hold.trouble.attempts,
        "next_at": hold.trouble.parked_at.is_none().then(|| moment(hold.trouble.next_at)),
        "parked_at": hold.trouble.parked_at.map(moment),
        "error": hold.trouble.last_error,
    }))
}

/// What somebody did.
pub fn action(done: &Action) -> Value {
    json!({
        "at": moment(done.at),
        "action": done.action,
        "by": done.by,
        "reason": done.reason,
        "detail": done.detail,
    })
}
