//! What the store's tests share: a store in its own directory, and rows to fill it with.

use std::time::Duration;

use tempfile::TempDir;

use super::messages::{ContentDigest, MessageState, NewMessage, Outcome};
use super::persons::Person;
use super::records::{LinkChange, LinkKind, NewRecord};
use super::{Access, PackedBytes, Store, StoreConfig, StoreError, Transaction, messages, persons, records};
use crate::feed::{EventKind, NewEvent};
use crate::record::{Fields, RecordNumber, Value, json};

/// A fresh store as a daemon has it. The directory goes with the value.
pub(super) fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, |_| {});
    (directory, store)
}

/// Opens the store of a directory as a daemon, with changed settings.
pub(super) fn open(directory: &TempDir, change: impl FnOnce(&mut StoreConfig)) -> Store {
    let mut config = StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon);
    // What waits together is one batch, also where printing a panic takes long.
    config.limits.batch_time = Duration::from_secs(60);
    change(&mut config);
    Store::open(&config).unwrap()
}

/// Runs a job and expects it to be committed.
pub(super) fn write<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    store.submit_blocking(work).unwrap()
}

pub(super) fn message(source: &str, control_id: &str, text: &str) -> NewMessage {
    NewMessage {
        source: source.to_owned(),
        received_at: 1_000,
        message_type: "ADT^A01".to_owned(),
        control_id: control_id.to_owned(),
        message_time: Some(900),
        charset: "UTF-8".to_owned(),
        digest: ContentDigest::of(text.as_bytes()),
        bytes: PackedBytes::pack(text.as_bytes()),
        same_control_id: false,
    }
}

pub(super) fn outcome(state: MessageState) -> Outcome {
    Outcome { state, error: None, notes: Vec::new(), mapping: "0123456789ab".to_owned(), one_id: None }
}

/// Inserts a processed message; gives its id.
pub(super) fn insert(transaction: &Transaction<'_>, new: &NewMessage) -> Result<i64, StoreError> {
    let id = messages::next_id(transaction)?;
    messages::insert(transaction, id, new, &outcome(MessageState::Processed))?;
    Ok(id)
}

pub(super) fn fields(value: Value) -> Fields {
    value.as_object().unwrap().clone()
}

pub(super) fn person(one_id: &str, golden: Value) -> Person {
    Person { one_id: one_id.to_owned(), version: 1, merged_into: None, created_at: 5, golden: fields(golden) }
}

pub(super) fn number(value: &str) -> RecordNumber {
    RecordNumber { system: "HIS".to_owned(), value: value.to_owned() }
}

pub(super) fn link(record: i64, to: &str, kind: LinkKind) -> LinkChange {
    let basis = json!({"rule": "new"});
    LinkChange { record, from: None, to: to.to_owned(), kind, basis, message: Some(1), at: 7 }
}

/// Inserts a person with one record of source `his`; gives the record's number.
pub(super) fn insert_person(transaction: &Transaction<'_>, one_id: &str, mrn: &str) -> Result<i64, StoreError> {
    persons::create(transaction, &person(one_id, json!({"name": "张三"})))?;
    let new = NewRecord {
        source: "his".to_owned(),
        number: number(mrn),
        generation: 1,
        updated_at: 3,
        mapping: "m1".to_owned(),
        state: "{}".to_owned(),
    };
    records::insert(transaction, &new, &link(0, one_id, LinkKind::Auto))
}

pub(super) fn event(kind: EventKind, subject: &str) -> NewEvent {
    NewEvent {
        id: format!("{}-{subject}", kind.name()),
        kind,
        subject: subject.to_owned(),
        time: "2026-11-22T09:30:00+08:00".to_owned(),
        source: "his".to_owned(),
        data: fields(json!({"one_id": subject, "version": 1})),
    }
}
