//! What a receiver is told after a restore: the log is another one (`feed::cursor`), and what it was given since the backup may not be there.
//!
//! The position that a consumer has in the restored store is that of the backup, in the same log up to there: so delivery goes on after it,
//! and what was delivered between the backup and the restore comes again, under the same ids where it is the same event.

use jiff::Timestamp;
use serde_json::value::to_raw_value;

use crate::feed::{Cursor, Event, EventKind, event_id};
use crate::outgoing::Log;
use crate::store::StoreError;
use crate::store::consumers::Consumer;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// Where the consumer is by the restored store; its time makes the event's id, so that a repeat is known as one.
    updated_at: i64,
    /// How often the position was moved until now.
    pub(super) moved: u64,
    /// The newest event when the epoch began.
    began: Cursor,
    /// After which event delivery goes on.
    pub(super) next: Cursor,
    head: Cursor,
}

impl Notice {
    /// Of a consumer whose position is of an earlier epoch.
    pub(super) fn new(known: &Consumer, log: Log, began: Cursor) -> Self {
        let next = known.cursor.sequence.clamp(log.start().sequence, began.sequence.max(log.start().sequence));
        Self { updated_at: known.updated_at, moved: known.moved, began, next: log.cursor(next), head: log.head }
    }

    /// As it is posted; `at` is now.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub(super) fn event(&self, consumer: &str, at: Timestamp) -> Result<Event, StoreError> {
        let Self { updated_at, began, next, head, .. } = self;
        let kind = EventKind::FeedEpochChanged;
        let data = serde_json::json!({
            "epoch": next.epoch,
            "began": began.to_string(),
            "next": next.to_string(),
            "head": head.to_string(),
            "reconcile": "/v1/feed/reconcile",
        });
        Ok(Event {
            specversion: "1.0",
            id: event_id(updated_at.div_euclid(1_000), kind, consumer, b"restore", next.epoch),
            source: "heyi/feed".to_owned(),
            kind: kind.name().to_owned(),
            subject: String::new(),
            time: at.to_string(),
            sequence: format!("{:012}", next.sequence),
            dataschema: kind.schema_path(),
            datacontenttype: "application/json",
            data: to_raw_value(&data).map_err(|error| StoreError::Defect { reason: error.to_string() })?,
        })
    }
}
