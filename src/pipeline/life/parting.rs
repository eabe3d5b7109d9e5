//! Records that leave their person: whose One ID they have then, and which One IDs answer as it.
//!
//! Invariants
//! - A One ID is given back to whom it was made for, or who held it alone; a new one is made only for who has none to come back to.
//! - A retired One ID answers as the person that has its records now.

use std::collections::BTreeSet;

use super::super::apply::{About, Cause, Job, Trouble};
use super::super::matching::{Known, terms_of_all};
use super::super::patient::golden_of;
use crate::feed::EventKind;
use crate::record::{Value, json};
use crate::state::{Moment, changed};
use crate::store::matching;
use crate::store::persons::{self, Person};
use crate::store::records::{self, LinkKind, PatientRecord};
use crate::view;

/// Where records go that leave a person.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) enum Goal<'a> {
    /// To a living person.
    Known(&'a str),
    /// To a One ID that was retired and lives again.
    Revived(&'a str),
    /// To a new One ID.
    New,
}

/// A merge as the history has it.
pub(in crate::pipeline) struct MergeStep {
    /// The records that it moved.
    pub(in crate::pipeline) records: BTreeSet<i64>,
    /// Its first line in the history of all links.
    pub(in crate::pipeline) at: i64,
}

impl Job<'_> {
    /// The merge that retired this One ID, which is still in force.
    pub(in crate::pipeline) fn merge_step(&self, retired: &Person) -> Result<Option<MergeStep>, Trouble> {
        let Some(survivor) = retired.merged_into.as_deref() else { return Ok(None) };
        let step = self.last_merge(&retired.one_id)?;
        Ok(step.filter(|(_, to)| to == survivor).map(|(step, _)| step))
    }

    /// The last moves away from a retired One ID, which are the merge that retired it, and where they led: nothing leaves it afterwards.
    /// Others may have gone to the survivor one by one before.
    fn last_merge(&self, retired: &str) -> Result<Option<(MergeStep, String)>, Trouble> {
        let history = records::history(self.transaction, retired, 0, usize::MAX)?;
        let mut steps = history.into_iter().rev().filter(|(_, change)| change.from.as_deref() == Some(retired));
        let Some((last, merge)) = steps.next() else { return Ok(None) };
        let mut step = MergeStep { records: BTreeSet::from([merge.record]), at: last };
        let with_it = steps
            .take_while(|(_, change)| (change.at, &change.to, &change.basis) == (merge.at, &merge.to, &merge.basis));
        for (id, change) in with_it {
            step.records.insert(change.record);
            step.at = id;
        }
        Ok(Some((step, merge.to)))
    }

    /// Whether a retired One ID is these records' alone: made for one of them, or held by nobody else when it was retired.
    fn is_of(&self, retired: &str, ids: &BTreeSet<i64>) -> Result<bool, Trouble> {
        if records::first_of(self.transaction, retired)?.is_some_and(|first| ids.contains(&first)) {
            return Ok(true);
        }
        Ok(self.last_merge(retired)?.is_some_and(|(step, _)| step.records.is_subset(ids)))
    }

    /// The One ID that these records had before, if it is theirs to have again: retired, theirs alone, and of all of them that had one of
    /// their own; where several are, the one that they left last, else the oldest.
    pub(in crate::pipeline) fn former_one_id(&self, group: &[PatientRecord]) -> Result<Option<String>, Trouble> {
        let ids: BTreeSet<i64> = group.iter().map(|row| row.id).collect();
        let mut common: Option<Vec<String>> = None;
        // By the record that each was made for: the oldest first, also of those made at one moment.
        let mut all: BTreeSet<(Option<i64>, String)> = BTreeSet::new();
        for row in group {
            let mut own: Vec<String> = Vec::new();
            // The one that it left last comes first.
            for (_, change) in records::moves_of(self.transaction, row.id)?.into_iter().rev() {
                let Some(from) = change.from.filter(|from| *from != change.to && !own.contains(from)) else { continue };
                if self.person(&from)?.merged_into.is_some() && self.is_of(&from, &ids)? {
                    own.push(from);
                }
            }
            if own.is_empty() {
                continue;
            }
            for one_id in &own {
                all.insert((records::first_of(self.transaction, one_id)?, one_id.clone()));
            }
            common = Some(match common {
                None => own,
                Some(common) => common.into_iter().filter(|one_id| own.contains(one_id)).collect(),
            });
        }
        Ok(common.into_iter().flatten().next().or_else(|| all.pop_first().map(|(_, one_id)| one_id)))
    }

    /// The records `group` of `holder` go to their goal, with their visits and reports; gives its One ID. A merge of their source's
    /// that ties one of them to a record that stays is taken back.
    pub(in crate::pipeline) fn part(
        &self,
        holder: &str,
        group: &[PatientRecord],
        goal: Goal<'_>,
        basis: Value,
        moment: Moment,
    ) -> Result<String, Trouble> {
        let leaving: BTreeSet<i64> = group.iter().map(|row| row.id).collect();
        let goes_to = if let Goal::Known(one_id) | Goal::Revived(one_id) = goal { one_id } else { holder };
        let mut consents = self.consents_of([holder, goes_to])?;
        self.count_parted(holder, &leaving, goal)?;
        let mut moved = self.belongings(holder)?;
        moved.keep_of(&leaving);
        let one_id = match goal {
            Goal::Known(one_id) => one_id.to_owned(),
            Goal::Revived(one_id) => {
                let before = self.person(one_id)?;
                persons::update(self.transaction, &before, &Person { merged_into: None, ..before.clone() })?;
                one_id.to_owned()
            }
            Goal::New => self.new_person(golden_of(group.iter())?, moment)?,
        };
        let basis = moved.noted_in(basis, group.len());
        let by_hand = self.cause == Cause::Manual;
        for row in group {
            if row.merged_into.is_some_and(|into| !leaving.contains(&into)) {
                records::set_merged_into(self.transaction, row.id, None)?;
            }
            let kind = if by_hand || row.link == LinkKind::Manual { LinkKind::Manual } else { LinkKind::Auto };
            records::link(self.transaction, &self.link_change(row.id, &one_id, kind, basis.clone()))?;
        }
        let redirected = self.redirect(holder, &one_id, &leaving)?;
        let mut basis = basis;
        let is_emptied = records::of_person(self.transaction, holder)?.is_empty();
        if let Some(basis) = basis.as_object_mut() {
            if !redirected.is_empty() {
                basis.insert("redirected", json!(redirected));
            }
            // Its One ID stays its own: nobody's records are known under it, until some come back.
            if is_emptied {
                basis.insert("emptied", json!(true));
            }
        }
        let told = [("new_one_id", json!(one_id)), ("basis", basis), ("records", moved.ids())];
        self.tell_change(EventKind::PatientSplit, holder, told, moment)?;
        match goal {
            Goal::Known(one_id) => self.refresh_person(one_id, EventKind::PatientUpdated, moment)?,
            Goal::Revived(one_id) => self.tell_revival(one_id, moment)?,
            // Its golden record is of records that stood retired, or of one that now stands alone.
            Goal::New => self.refresh_person(&one_id, EventKind::PatientUpdated, moment)?,
        }
        self.publish_moved(moved, &one_id, moment, Cause::Split)?;
        consents.entry(one_id.clone()).or_default();
        self.tell_consents(consents, moment)?;
        self.try_merges_again(holder)?;
        self.try_merges_again(&one_id)?;
        Ok(one_id)
    }

    /// What the records `leaving` bear beside those who stay, one person more bears; what those bear whom they join, one less. Whoever is
    /// left without a record is no person that counts, and whoever had none is one more.
    fn count_parted(&self, holder: &str, leaving: &BTreeSet<i64>, goal: Goal<'_>) -> Result<(), Trouble> {
        let (group, rest): (Vec<Known>, Vec<Known>) =
            self.records_of(holder)?.into_iter().partition(|known| leaving.contains(&known.row.id));
        let joined = match goal {
            Goal::Known(one_id) => self.records_of(one_id)?,
            Goal::Revived(_) | Goal::New => Vec::new(),
        };
        let terms = terms_of_all(&group);
        for (with, by) in [(&rest, 1), (&joined, -1)] {
            let shared: Vec<_> = terms.intersection(&terms_of_all(with)).copied().collect();
            matching::count_terms(self.transaction, &shared, by)?;
        }
        if rest.is_empty() == joined.is_empty() {
            return Ok(());
        }
        Ok(matching::count_person(self.transaction, if rest.is_empty() { -1 } else { 1 })?)
    }

    /// After the records `leaving` went from `holder` to `one_id`: retired One IDs whose records are all among them answer as `one_id` from
    /// now on, and those that answered as it while it was retired, and whose records stayed, as who has them. Gives those of the first kind.
    fn redirect(&self, holder: &str, one_id: &str, leaving: &BTreeSet<i64>) -> Result<Vec<String>, Trouble> {
        let mut redirected = Vec::new();
        for retired in persons::merged_directly_into(self.transaction, holder)? {
            let had = self.last_merge(&retired)?.map(|(step, _)| step.records).unwrap_or_default();
            if !had.is_empty() && had.is_subset(leaving) {
                self.answers_as(&retired, one_id)?;
                redirected.push(retired);
            }
        }
        for retired in persons::merged_directly_into(self.transaction, one_id)? {
            let had = self.last_merge(&retired)?.map(|(step, _)| step.records).unwrap_or_default();
            let mut now = BTreeSet::new();
            for record in &had {
                now.insert(self.record(*record)?.one_id);
            }
            if let Some(elsewhere) = now.first().filter(|now| *now != one_id && had.is_disjoint(leaving)) {
                let elsewhere = if now.contains(holder) { holder } else { elsewhere };
                self.answers_as(&retired, elsewhere)?;
            }
        }
        Ok(redirected)
    }

    /// Only to the person who has the records: a living one, so that no redirect leads in a circle.
    fn answers_as(&self, retired: &str, one_id: &str) -> Result<(), Trouble> {
        let before = self.person(retired)?;
        let after = Person { merged_into: Some(one_id.to_owned()), ..before.clone() };
        Ok(persons::update(self.transaction, &before, &after)?)
    }

    /// A One ID that was retired answers for itself again: told, also where its golden record is as it was.
    fn tell_revival(&self, one_id: &str, moment: Moment) -> Result<(), Trouble> {
        let before = self.person(one_id)?;
        let after = Person { version: before.version + 1, golden: self.golden(one_id)?, ..before.clone() };
        persons::update(self.transaction, &before, &after)?;
        let mut changed = changed(&before.golden, &after.golden);
        changed.push("merged_into".to_owned());
        changed.sort_unstable();
        let about = About { kind: EventKind::PatientUpdated, record: one_id, one_id, moment, version: after.version };
        self.publish(about, &changed, view::person(after), self.cause)?;
        Ok(())
    }
}

/// The records of these numbers with all that their source has merged into them, and the others.
pub(in crate::pipeline) fn with_merged(
    rows: Vec<PatientRecord>,
    ids: &BTreeSet<i64>,
) -> (Vec<PatientRecord>, Vec<PatientRecord>) {
    let mut group = ids.clone();
    loop {
        let grown = group.len();
        let merged = rows.iter().filter(|row| row.merged_into.is_some_and(|into| group.contains(&into)));
        let merged: Vec<i64> = merged.map(|row| row.id).collect();
        group.extend(merged);
        if group.len() == grown {
            break;
        }
    }
    rows.into_iter().partition(|row| group.contains(&row.id))
}
