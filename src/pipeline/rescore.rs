//! A model that was switched: where it and the links disagree somebody is asked. It moves nobody.

use std::cell::RefCell;

use jiff::tz::TimeZone;

use super::apply::{Cause, Job, Trouble};
use super::{Failure, Site};
use crate::store::messages::ContentDigest;
use crate::store::{StoreError, Transaction, records, reviews};

/// Looks at these records, by the store's numbers, under the model in force; runs inside the writer. Asks what the model would link, part or
/// ask about: `possible_match` and its kin where the records are two persons', `data_quality` where they are one's. Gives how many cases
/// are new: one that is open takes the new evidence, one that was decided stays so.
///
/// # Errors
/// Only what the store itself says; then nothing was kept.
pub fn rescore(transaction: &Transaction<'_>, site: &Site, ids: &[i64], now: i64) -> Result<u64, StoreError> {
    let job = Job {
        transaction,
        source: "rescore",
        zone: &TimeZone::UTC,
        site,
        mapping: "",
        // Nothing is published, so nothing is named after it.
        digest: ContentDigest::of(b"rescore"),
        message: None,
        received_at: now,
        now,
        cause: Cause::Manual,
        notes: RefCell::default(),
        refused: RefCell::default(),
        statement: None,
    };
    let before = reviews::newest(transaction)?;
    for id in ids {
        // What its source has merged stands and falls with the record that survived.
        let Some(row) = records::get(transaction, *id)?.filter(|row| row.merged_into.is_none()) else { continue };
        match job.only_ask(&row) {
            Ok(()) => {}
            Err(Trouble::Store(error)) => return Err(error),
            Err(Trouble::Content(Failure { text, .. })) => return Err(StoreError::Defect { reason: text }),
        }
    }
    Ok(reviews::newest(transaction)?.abs_diff(before))
}
