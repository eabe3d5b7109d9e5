//! What a source says of two patients: they are one person (A24), or not any more (A37). Their numbers stay as they are.
//!
//! A link stands against rules, like a merge of numbers (A40): who was linked by their source leaves by its word or by hand, not because the
//! facts differ; somebody is asked about those. What was decided by hand stands against both.

use std::collections::BTreeSet;

use super::apply::{Job, Trouble};
use super::life::{Conflict, Goal, with_merged};
use super::merge::{Action, live_among, sides};
use super::patient::state_of;
use crate::hl7v2::{ErrorCode, Location};
use crate::identity::{NameClass, PatientFacts};
use crate::record::{Fields, RecordNumber, Value, json};
use crate::state::Moment;
use crate::store::records::{LinkChange, LinkKind, PatientRecord};
use crate::store::{StoreError, no_links, records};

impl Job<'_> {
    /// Two patients are one person (A24), or not any more (A37); `patients` are what the message says of each. The numbers stay as they
    /// are.
    pub(super) fn link_patients(&self, patients: &[Fields], action: Action) -> Result<(), Trouble> {
        let mut found = Vec::new();
        for fields in patients {
            let Some(number) = sides(fields, "survivor").first().map(|number| self.named(number)) else { continue };
            self.owned(&number)?;
            if let Some(record) = records::find(self.transaction, self.source, &number)? {
                found.push((record, self.moment(fields)));
            }
        }
        let Some(((first, _), others)) = found.split_first().filter(|(_, others)| !others.is_empty()) else {
            return Err(Trouble::content(
                ErrorCode::RequiredFieldMissing,
                Location::field("PID", 3),
                "linking and unlinking is about two patients: send two PID, each with its number in PID-3",
            ));
        };
        for (other, moment) in others {
            // Read anew: the pair before may have moved one of them.
            let (first, other) = (self.record(first.id)?, self.record(other.id)?);
            if action == Action::Link {
                self.link_pair(&first, &other, *moment)?;
            } else {
                self.unlink_pair(&first, &other, *moment)?;
            }
        }
        Ok(())
    }

    /// Whether the source of two records has said that they are one person (A24), and nobody has said otherwise since.
    pub(super) fn linked_by_source(&self, one: &PatientRecord, other: &PatientRecord) -> Result<bool, StoreError> {
        if one.source != other.source || no_links::between(self.transaction, &[one.id], &[other.id])?.is_some() {
            return Ok(false);
        }
        let said = [pair_basis(&one.source, "link", one, other), pair_basis(&one.source, "link", other, one)];
        let is_said = |change: &LinkChange| {
            said.iter()
                .any(|said| ["action", "source", "records"].iter().all(|part| change.basis.get(part) == said.get(part)))
        };
        let mut moves = records::moves_of(self.transaction, one.id)?;
        moves.extend(records::moves_of(self.transaction, other.id)?);
        Ok(moves.iter().any(|(_, change)| is_said(change)))
    }

    fn link_pair(&self, first: &PatientRecord, other: &PatientRecord, moment: Moment) -> Result<(), Trouble> {
        if are_family(first, other)? {
            return Err(Trouble::content(
                ErrorCode::UnknownKeyIdentifier,
                Location::field("PID", 21),
                "A24 says that two patients are one person; a mother and her child are two: send the mother's number in PID-21",
            ));
        }
        let basis = pair_basis(self.source, "link", first, other);
        // The older One ID lives on: neither PID is the survivor.
        let (survivor, retired) = if first.one_id <= other.one_id { (first, other) } else { (other, first) };
        if survivor.one_id == retired.one_id {
            return if self.linked_by_source(first, other)? { Ok(()) } else { Ok(self.write_down(other, &basis)?) };
        }
        if self.is_contested(survivor, retired)? {
            return Ok(());
        }
        self.doubt_numbers(survivor, retired)?;
        self.merge_persons(&survivor.one_id, &retired.one_id, &basis, moment)
    }

    /// Both persons are again as they were before they were linked.
    fn unlink_pair(&self, first: &PatientRecord, other: &PatientRecord, moment: Moment) -> Result<(), Trouble> {
        let reason = "the source says that they are two patients (A37)";
        if first.one_id != other.one_id {
            return self.tell_apart(std::slice::from_ref(first), std::slice::from_ref(other), self.source, reason);
        }
        let basis = pair_basis(self.source, "unlink", first, other);
        let holder = first.one_id.as_str();
        let there = records::of_person(self.transaction, holder)?;
        let (leaving, revived) = self.who_unlinks(first, other, &there)?;
        let (group, rest) = with_merged(there, &leaving);
        let parts = |row: &PatientRecord| group.iter().any(|known| known.id == row.id);
        if parts(first) == parts(other) {
            return Err(Trouble::content(
                ErrorCode::DuplicateKeyIdentifier,
                Location::field("PID", 3),
                "the two numbers were merged: A37 takes back a link (A24); split the merge by hand",
            ));
        }
        let by_hand = |row: &PatientRecord| row.link == LinkKind::Manual && (row.id == first.id || row.id == other.id);
        if group.iter().any(by_hand) || self.joined_by_hand(first, other)? {
            return self.raise(Conflict::Decided, (first.id, other.id));
        }
        let former = match revived {
            Some(one_id) => Some(one_id),
            None => self.former_one_id(&group)?,
        };
        let goal = former.as_deref().map_or(Goal::New, Goal::Revived);
        self.part(holder, &group, goal, basis, moment)?;
        self.tell_apart(&group, &rest, self.source, reason)
    }

    /// Which records leave so that two of a person part, and the One ID that lives again with them: those that a merge of persons brought. A
    /// merge of numbers (A40) stands; whom it ties to one of the two goes or stays with that one.
    fn who_unlinks(
        &self,
        first: &PatientRecord,
        other: &PatientRecord,
        there: &[PatientRecord],
    ) -> Result<(BTreeSet<i64>, Option<String>), Trouble> {
        for (own, opposite) in [(other, first), (first, other)] {
            if let Some((one_id, records)) = self.merged_apart(own.id, opposite.id)? {
                let (group, _) = with_merged(there.to_vec(), &records);
                let ids = group.iter().map(|row| row.id).collect();
                if merged_together(there, &ids) == ids {
                    return Ok((records, Some(one_id)));
                }
            }
        }
        let of = |row: &PatientRecord| merged_together(there, &BTreeSet::from([row.id]));
        let (own, others) = (of(other), of(first));
        // The One ID stays with whom it was made for.
        let made_for = records::first_of(self.transaction, &first.one_id)?;
        let stays = made_for.is_some_and(|record| own.contains(&record) && !others.contains(&record));
        Ok((if stays { others } else { own }, None))
    }

    /// The One ID whose merge brought the record `own` to where `opposite` is, with all that it brought; `None`: there is none that
    /// could live again.
    pub(super) fn merged_apart(&self, own: i64, opposite: i64) -> Result<Option<(String, BTreeSet<i64>)>, Trouble> {
        for (_, change) in records::moves_of(self.transaction, own)?.into_iter().rev() {
            let Some(from) = change.from else { continue };
            let person = self.person(&from)?;
            if let Some(step) = self.merge_step(&person)?
                && step.records.contains(&own)
                && !step.records.contains(&opposite)
            {
                return Ok(Some((from, step.records)));
            }
        }
        Ok(None)
    }
}

/// The records of these numbers with all that their source has merged into them, or them into.
fn merged_together(rows: &[PatientRecord], ids: &BTreeSet<i64>) -> BTreeSet<i64> {
    let live: BTreeSet<i64> =
        rows.iter().filter(|row| ids.contains(&row.id)).map(|row| live_among(rows, row)).collect();
    rows.iter().filter(|row| live.contains(&live_among(rows, row))).map(|row| row.id).collect()
}

/// A newborn and somebody who is none, or a patient and the mother that it names.
fn are_family(one: &PatientRecord, other: &PatientRecord) -> Result<bool, StoreError> {
    let (said, by_other) = (state_of(one)?.record(), state_of(other)?.record());
    let is_newborn = |record: &Fields| PatientFacts::of(record).name_class == NameClass::Newborn;
    let names = |record: &Fields, mother: &RecordNumber| {
        let text = |part: &str| {
            let named = record.get("mother_identifier").and_then(|named| named.get(part)).and_then(Value::as_str);
            named.unwrap_or_default().to_owned()
        };
        text("value") == mother.value && (text("system").is_empty() || text("system") == mother.system)
    };
    Ok(is_newborn(&said) != is_newborn(&by_other) || names(&said, &other.number) || names(&by_other, &one.number))
}

fn pair_basis(source: &str, action: &str, first: &PatientRecord, other: &PatientRecord) -> Value {
    json!({"source": source, "action": action, "records": [first.number.to_string(), other.number.to_string()]})
}
