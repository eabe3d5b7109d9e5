//! A model that was switched: where it and the links disagree somebody is asked. It moves nobody.

use jiff::tz::TimeZone;

use super::Site;
use super::apply::{Job, Trouble};
use crate::record::Value;
use crate::store::records::LinkChange;
use crate::store::{StoreError, Transaction, records, reviews};

/// What became of some records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rescored {
    /// Cases that are new.
    pub opened: u64,
    /// Records that were judged by this very model already: how common a value is changes from day to day, and is no reason to ask again.
    pub unchanged: u64,
}

/// Looks at these records, by the store's numbers in rising order, under the model in force; runs inside the writer. Asks what the model
/// would link, part or ask about: `possible_match` and its kin where the records are two persons', `data_quality` where they are one's. A
/// case that is open takes the new evidence, one that was decided stays so. Records that this model has judged are passed over.
///
/// # Errors
/// Only what the store itself says; then nothing was kept.
pub fn rescore(transaction: &Transaction<'_>, site: &Site, ids: &[i64], now: i64) -> Result<Rescored, StoreError> {
    // Nothing is published, so nothing is named after it.
    let zone = TimeZone::UTC;
    let job = Job { source: "rescore", ..Job::by_hand(transaction, site, &zone, "rescore", now) };
    let before = reviews::newest(transaction)?;
    let model = site.model.version.as_str();
    let looked_at = reviews::rescored(transaction, model)?;
    let mut unchanged = 0;
    for id in ids {
        // What its source has merged stands and falls with the record that survived.
        let Some(row) = records::get(transaction, *id)?.filter(|row| row.merged_into.is_none()) else { continue };
        if *id <= looked_at || judged_by(transaction, *id)?.as_deref() == Some(model) {
            unchanged += 1;
            continue;
        }
        job.only_ask(&row).map_err(Trouble::into_store_error)?;
    }
    if let Some(last) = ids.last() {
        reviews::set_rescored(transaction, model, *last)?;
    }
    Ok(Rescored { opened: reviews::newest(transaction)?.abs_diff(before), unchanged })
}

/// The model by which a record came to where it is, or stayed a person of its own; `None`: no rule had a say.
fn judged_by(transaction: &Transaction<'_>, record: i64) -> Result<Option<String>, StoreError> {
    let model = |change: LinkChange| {
        let told = change.basis.get("evidence").unwrap_or(&change.basis);
        told.get("model").and_then(Value::as_str).map(str::to_owned)
    };
    let moves = records::moves_of(transaction, record)?;
    Ok(moves.into_iter().rev().find_map(|(_, change)| model(change)))
}
