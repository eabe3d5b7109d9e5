//! The current state for a consumer: whole, to begin with, or as names and versions, to compare with what it keeps.
//!
//! Both are pages of short reads and tell from which position of the feed to go on, so that nothing is missed between the two.

use std::sync::Arc;

use serde_json::json;

use super::call::{Answer, Call, from_store, json, now};
use super::feed::{consumer, lost};
use super::parameter::not_valid;
use super::problem::Problem;
use super::{AppState, limits};
use crate::disclosure::Gate;
use crate::feed::snapshot::{Part, Place};
use crate::feed::{Cursor, Position};
use crate::outgoing::Log;
use crate::outgoing::snapshot::{self, Detail, Page};
use crate::store::{Reader, StoreError, events};

/// `GET /v1/feed/snapshot`.
pub(crate) async fn state(state: Arc<AppState>, call: Call) -> Answer {
    let detail = Detail::Records { bytes: limits::PAGE_BYTES };
    let (page, place, _) = read(&state, &call, detail).await?;
    answer(&page, place.begun)
}

/// `GET /v1/feed/reconcile`.
pub(crate) async fn reconcile(state: Arc<AppState>, call: Call) -> Answer {
    let (page, place, log) = read(&state, &call, Detail::Versions).await?;
    answer(&page, log.unambiguous(place.begun))
}

fn answer(page: &Page, cursor: Cursor) -> Answer {
    let next = page.next.map(|next| next.to_string());
    json(&json!({"records": page.rows, "next": next, "cursor": cursor.to_string()}))
}

/// The log at the moment of a read, and where its epoch began.
struct Epoch {
    log: Log,
    began: Cursor,
}

impl Epoch {
    fn read(reader: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self { log: Log::read(reader)?, began: events::epoch_began(reader)? })
    }

    /// From where a consumer goes on that has compared versions: after a restore a record may come to a version anew with other
    /// content, which the comparison does not show and the events since then do.
    fn unambiguous(&self, begun: Cursor) -> Cursor {
        if self.began.sequence == 0 { begun } else { self.began.max(self.log.start()) }
    }
}

async fn read(state: &Arc<AppState>, call: &Call, detail: Detail) -> Result<(Page, Place, Epoch), Problem> {
    let consumer = consumer(state, call)?;
    let after = call.parameters.text("after").map(str::parse::<Place>).transpose();
    let after = after.map_err(|error| not_valid("after", &error.to_string()))?;
    let limit = call.parameters.integer("limit") as usize;
    state.store.give_way(limits::GIVING_WAY_TIME).await;
    let (parts, at) = (Part::taken_by(&consumer.events), now());
    let read = move |reader: &Reader<'_>| {
        let epoch = Epoch::read(reader)?;
        let place = after.unwrap_or_else(|| Place::first(epoch.log.head));
        // What the feed cannot go on from is no longer a snapshot of this log.
        if let Err(why) = epoch.log.resolve(Position::At(place.begun)) {
            return Ok(Err(lost(epoch.log, why)));
        }
        let gate = Gate::new(reader, Some(&consumer), at)?;
        Ok(Ok((snapshot::page(reader, place, &parts, limit, detail, &gate)?, place, epoch)))
    };
    let (page, place, epoch) = state.store.read_async(read).await.map_err(from_store)??;
    if !page.rows.is_empty() {
        call.trace.about(|entry| {
            entry.object("rows", page.rows.len());
            entry.persons(page.rows.iter().map(|row| row.one_id.as_str()));
        });
    }
    Ok((page, place, epoch))
}
