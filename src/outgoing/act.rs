//! What people do with a consumer's deliveries: replay, release, skip, forget. Each is kept with who and why.

use serde_json::{Value, json};

use super::{Log, Lost, Request, committed, found, names_of, order_keys};
use crate::feed::{Cursor, Event, Position};
use crate::store::holds::{self, Action, Hold, Place};
use crate::store::{Reader, StoreError, Transaction, consumers, events};

use super::Consumer;

/// Events put back in one step, so that no acknowledgement waits long for it.
const STEP: usize = 500;
/// Bytes looked at in one step.
const STEP_BYTES: usize = 8 << 20;

/// Who acts on whose deliveries, and why.
#[derive(Debug, Clone)]
pub struct Act {
    /// Whose.
    pub consumer: Consumer,
    /// Who.
    pub by: String,
    /// Why; may be empty where it is not asked for.
    pub reason: String,
    /// When, microseconds since the epoch.
    pub at: i64,
}

/// Where a replay begins.
#[derive(Debug, Clone, PartialEq)]
pub enum From {
    /// After a position.
    Position(Position),
    /// With what was written at this time or later.
    Time(i64),
}

/// What is given again.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// From where; absent: from the oldest event kept.
    pub from: Option<From>,
    /// Up to and with this position; absent: up to where the consumer is.
    pub to: Option<Position>,
    /// Only what is about this person.
    pub person: Option<String>,
}

/// How far a replay has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Replayed {
    /// The consumer is here now, and is given everything after it.
    Moved(Cursor),
    /// So many events more are given again; there may be more after this sequence number.
    PutBack(u64, Option<u64>),
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The position means nothing in this log.
    #[error("the position means nothing in this log")]
    Lost(Log, Lost),
    /// It would leave out what the consumer was not given yet.
    #[error("this is beyond the consumer's position, {0}: what lies between would never be given")]
    Forwards(Cursor),
    /// The consumer reads by itself.
    #[error(
        "events are not pushed to this consumer, so only where it goes on can be moved; it reads a person's events with GET /v1/feed?person="
    )]
    NotPushed,
    /// Neither from where nor who.
    #[error("say from where (a cursor or a time), or whose events (a One ID)")]
    Everything,
    /// Nobody of this One ID.
    #[error("no person has this One ID")]
    NoPerson,
    /// Nothing waits.
    #[error("nothing of this person waits for this consumer")]
    NotHeld,
    /// Its table is still there.
    #[error("this consumer is configured: take its [[consumers]] out of the configuration and restart first")]
    Configured,
    /// It is not known.
    #[error("no consumer of this name is known")]
    NoConsumer,
}

/// What was done, or why not.
pub type Outcome<T> = Result<Result<T, Refusal>, StoreError>;

/// Has events given again: moves the position back, or, for one person or up to a position, puts events back to be delivered. In steps: call
/// it again with the number that [`Replayed::PutBack`] gives until it gives none.
///
/// # Errors
/// See [`StoreError`].
pub fn replay(t: &Transaction<'_>, act: &Act, asked: &Replay, after: Option<u64>) -> Outcome<Replayed> {
    let consumer = &act.consumer;
    let log = Log::read(t)?;
    let resolve = |position| log.resolve(position).map_err(|lost| Refusal::Lost(log, lost));
    let from = match &asked.from {
        None if asked.person.is_none() => return Ok(Err(Refusal::Everything)),
        None => Ok(log.start().sequence),
        Some(From::Position(position)) => resolve(*position),
        Some(From::Time(at)) => Ok(events::before_time(t, *at)?.max(log.start().sequence)),
    };
    let from = match from {
        Ok(from) => from,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let present = resolve(committed(t, &consumer.name)?);
    if asked.person.is_none() && asked.to.is_none() {
        // Who was never given anything may begin anywhere.
        let has_begun = consumers::position(t, &consumer.name)?.is_some();
        if let Ok(present) = present
            && has_begun
            && from > present
        {
            return Ok(Err(Refusal::Forwards(log.cursor(present))));
        }
        let cursor = log.cursor(from);
        consumers::commit(t, &consumer.name, cursor, act.at)?;
        keep(t, act, "replay", json!({"from": cursor.to_string()}))?;
        return Ok(Ok(Replayed::Moved(cursor)));
    }
    if !consumer.is_pushed {
        return Ok(Err(Refusal::NotPushed));
    }
    if let Some(person) = &asked.person
        && crate::store::persons::get(t, person)?.is_none()
    {
        return Ok(Err(Refusal::NoPerson));
    }
    let to = match asked.to.map_or(present.clone(), resolve).and_then(|to| Ok(to.min(present?))) {
        Ok(to) => to,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let request =
        Request { after: after.unwrap_or(from), limit: STEP, bytes: STEP_BYTES, person: asked.person.as_deref() };
    let found = found(t, &consumer.events, request)?;
    let place = |event: &Event| Some((event.sequence.parse().ok()?, order_keys(event)));
    let places: Vec<Place> = found.events.iter().filter_map(place).filter(|(sequence, _)| *sequence <= to).collect();
    holds::put_back(t, &consumer.name, &places, act.at)?;
    if after.is_none() {
        let detail =
            json!({"from": log.cursor(from).to_string(), "to": log.cursor(to).to_string(), "person": asked.person});
        keep(t, act, "replay", detail)?;
    }
    let next = Some(found.next).filter(|next| *next < to && *next > request.after);
    Ok(Ok(Replayed::PutBack(places.len() as u64, next)))
}

/// Has what waits tried again at once: of one person, else of all who are parked. Gives how many persons that were.
///
/// # Errors
/// See [`StoreError`].
pub fn release(t: &Transaction<'_>, act: &Act, person: Option<&str>) -> Outcome<usize> {
    let key = match person {
        None => None,
        Some(person) => match held(t, &act.consumer.name, person)? {
            Some((key, _)) => Some(key),
            None => return Ok(Err(Refusal::NotHeld)),
        },
    };
    let released = holds::release(t, &act.consumer.name, key.as_deref(), act.at)?;
    keep(t, act, "release", json!({"person": person, "released": released}))?;
    Ok(Ok(released))
}

/// Gives up the event that a person's others wait for: this consumer is never given it. Gives its sequence number and id.
///
/// # Errors
/// See [`StoreError`].
pub fn skip(t: &Transaction<'_>, act: &Act, person: &str) -> Outcome<(u64, Option<String>)> {
    let Some((_, hold)) = held(t, &act.consumer.name, person)? else { return Ok(Err(Refusal::NotHeld)) };
    let id = events::get(t, hold.first)?.map(|event| event.id);
    holds::let_go(t, &act.consumer.name, hold.first, act.at)?;
    let detail = json!({"person": person, "sequence": hold.first, "event": id, "error": hold.trouble.last_error});
    keep(t, act, "skip", detail)?;
    Ok(Ok((hold.first, id)))
}

/// Forgets a consumer that is not configured any more: its position, and what waits for it. Gives how many events waited.
///
/// # Errors
/// See [`StoreError`].
pub fn forget(t: &Transaction<'_>, act: &Act, is_configured: bool) -> Outcome<usize> {
    if is_configured {
        return Ok(Err(Refusal::Configured));
    }
    let position = consumers::position(t, &act.consumer.name)?;
    let waited = holds::forget(t, &act.consumer.name)?;
    if !consumers::forget(t, &act.consumer.name)? && waited == 0 {
        return Ok(Err(Refusal::NoConsumer));
    }
    let cursor = position.map(|cursor| cursor.to_string());
    keep(t, act, "forget", json!({"cursor": cursor, "events_held": waited}))?;
    Ok(Ok(waited))
}

/// The hold of a person, under any One ID that answers as it, with the key that it has there.
fn held(reader: &Reader<'_>, consumer: &str, person: &str) -> Result<Option<(String, Hold)>, StoreError> {
    let mut names = names_of(reader, person)?;
    names.insert(0, person.to_owned());
    for name in names {
        if let Some(hold) = holds::of_key(reader, consumer, &name)? {
            return Ok(Some((name, hold)));
        }
    }
    Ok(None)
}

fn keep(t: &Transaction<'_>, act: &Act, action: &str, detail: Value) -> Result<(), StoreError> {
    holds::keep_action(
        t,
        &Action {
            at: act.at,
            consumer: act.consumer.name.clone(),
            action: action.to_owned(),
            by: act.by.clone(),
            reason: act.reason.clone(),
            detail,
        },
    )
}
