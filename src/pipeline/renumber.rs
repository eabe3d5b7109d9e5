//! Visit numbers that change, and visits that change hands: what a source says of them beside the visits themselves.
//!
//! A visit number that is given up (A42, A50, A51; account numbers where visits are known by them: A35, A36, A41, A49) answers as the
//! one that lives on. Consumers know a visit by `SOURCE:NUMBER`, so the visit of the old number is told as entered in error, the one of
//! the new number has what was known of either, and the reports of the old one name the new one.
//!
//! A visit that was booked for another patient (A44, A45) goes to the patient of the message, with its reports; nobody else moves.

use super::apply::{About, Claim, Job, Owner, Trouble, no_patient};
use crate::feed::EventKind;
use crate::hl7v2::{ErrorCode, Location};
use crate::record::{Fields, Value};
use crate::state::{Applied, Happening, LabReportState, Moment, VisitState};
use crate::store::all_pages;
use crate::store::clinical::{self, LabReport, Visit, published_id};
use crate::view::{self, stored};

/// What happens to a visit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VisitAction {
    /// It is given up for another one, whether or not a visit is known by it.
    Merge,
    /// The same of an account number: one that no visit of the patient is known by is no visit's.
    MergeAccount,
    /// Its visit is the patient's of the message.
    Move,
}

/// Reports read in one step.
const PAGE: usize = 1_000;

impl Job<'_> {
    /// Carries out what waits, for the patient `owner`.
    pub(super) fn renumber(
        &self,
        waiting: &mut Vec<(VisitAction, Fields)>,
        owner: Option<&Owner>,
    ) -> Result<(), Trouble> {
        for (action, fields) in std::mem::take(waiting) {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            let Some(number) = text("visit") else { return Err(no_number()) };
            let moment = self.moment(&fields);
            match (action, text("retired_visit")) {
                (VisitAction::Move, _) => self.move_visit(number, owner.ok_or_else(no_patient)?, moment)?,
                (_, Some(retired)) => self.merge_visit(action, number, retired, owner, moment)?,
                (_, None) => return Err(no_number()),
            }
        }
        Ok(())
    }

    fn merge_visit(
        &self,
        action: VisitAction,
        number: &str,
        retired: &str,
        owner: Option<&Owner>,
        moment: Moment,
    ) -> Result<(), Trouble> {
        let now = |number: &str| clinical::visit_number_now(self.transaction, self.source, number);
        let (number_now, retired_now) = (now(number)?, now(retired)?);
        if number_now == retired_now {
            // Said before; or the other way round, which would be a cycle.
            return if number != retired && number_now == retired { Err(cycle()) } else { Ok(()) };
        }
        if retired_now != retired {
            return Err(Trouble::content(
                ErrorCode::DuplicateKeyIdentifier,
                Location::field("MRG", 5),
                "the visit number in MRG was given up for another number before: correct the sender",
            ));
        }
        let known = clinical::visit(self.transaction, self.source, retired)?;
        if action == VisitAction::MergeAccount {
            let person = |record| self.owner_of(record).map(|owner| owner.one_id);
            let of_patient = match (&known, owner) {
                (Some(visit), Some(owner)) => person(visit.record)? == owner.one_id,
                _ => false,
            };
            if !of_patient {
                self.note("MRG-3: no visit of this patient is known by the account number: nothing to merge");
                return Ok(());
            }
        }
        clinical::redirect_visit(self.transaction, self.source, retired, &number_now, moment.at)?;
        let Some(retired) = known else { return Ok(()) };
        let one_id = self.owner_of(retired.record)?.one_id;
        match clinical::visit(self.transaction, self.source, &number_now)? {
            None => self.copy_visit(&retired, &number_now, &one_id, moment)?,
            Some(survivor) => self.complete_visit(survivor, &retired, moment)?,
        }
        let into = published_id(self.source, &number_now);
        self.reports_to_visit(&one_id, &retired.visit_id(), &into, moment)?;
        self.void_visit(retired, &one_id, moment)
    }

    /// The visit that nobody knew by its right number has all that was known of it by the wrong one.
    fn copy_visit(&self, from: &Visit, number: &str, one_id: &str, moment: Moment) -> Result<(), Trouble> {
        let mut state: VisitState = stored(&from.state, "visit.state")?;
        state.apply(Fields::from_iter([("number", Value::from(number))]), moment);
        let record = state.record();
        let changed = record.keys().map(ToString::to_string).collect();
        let happenings = vec![Happening { kind: EventKind::VisitUpdated, reverses: None }];
        let visit = Visit { number: number.to_owned(), version: 0, state: String::new(), ..from.clone() };
        let applied = Applied { before: Fields::new(), record, changed, happenings };
        self.keep_visit(visit, state, applied, one_id, moment)
    }

    /// What was known of the visit by the number that is given up is known of the one that lives on, whichever message came first.
    fn complete_visit(&self, visit: Visit, from: &Visit, moment: Moment) -> Result<(), Trouble> {
        let one_id = self.owner_of(visit.record)?.one_id;
        let mut state: VisitState = stored(&visit.state, "visit.state")?;
        let applied = state.absorb(stored(&from.state, "visit.state")?);
        self.keep_visit(visit, state, applied, &one_id, moment)
    }

    /// The visit of a number that was given up never was one of its own.
    pub(super) fn void_visit(&self, visit: Visit, one_id: &str, moment: Moment) -> Result<(), Trouble> {
        let mut state: VisitState = stored(&visit.state, "visit.state")?;
        let applied = state.apply(Fields::from_iter([("event", Value::from("deleted"))]), moment);
        self.keep_visit(visit, state, applied, one_id, moment)
    }

    fn move_visit(&self, number: &str, owner: &Owner, moment: Moment) -> Result<(), Trouble> {
        self.owned(&owner.number)?;
        let number = clinical::visit_number_now(self.transaction, self.source, number)?;
        let Some(mut visit) = clinical::visit(self.transaction, self.source, &number)? else {
            self.note("PV1-19: no visit is known by the number: nothing to move");
            return Ok(());
        };
        let state: VisitState = stored(&visit.state, "visit.state")?;
        if self.claim(visit.record, owner, || state.record(), moment)? != Claim::Moved {
            return Ok(());
        }
        let from = self.owner_of(visit.record)?.one_id;
        let id = visit.visit_id();
        visit.record = owner.record;
        let happenings = vec![Happening { kind: EventKind::VisitUpdated, reverses: None }];
        let record = state.record();
        let applied = Applied { before: Fields::new(), record, changed: vec!["one_id".to_owned()], happenings };
        self.keep_visit(visit, state, applied, &owner.one_id, moment)?;
        for mut report in self.reports_of_visit(&from, &id)? {
            report.record = owner.record;
            self.keep_report(report, "one_id", &owner.one_id, moment)?;
        }
        Ok(())
    }

    /// The person's reports of the visit `from` are of the visit `into` from now on.
    fn reports_to_visit(&self, one_id: &str, from: &str, into: &str, moment: Moment) -> Result<(), Trouble> {
        for mut report in self.reports_of_visit(one_id, from)? {
            report.visit_id = Some(into.to_owned());
            self.keep_report(report, "visit_id", one_id, moment)?;
        }
        Ok(())
    }

    fn reports_of_visit(&self, one_id: &str, visit_id: &str) -> Result<Vec<LabReport>, Trouble> {
        let mut reports = all_pages(|after| clinical::lab_reports_of_person(self.transaction, one_id, after, PAGE))?;
        reports.retain(|report| report.visit_id.as_deref() == Some(visit_id));
        Ok(reports)
    }

    /// Publishes and stores a report of which one field beside its own content has changed.
    fn keep_report(&self, mut report: LabReport, changed: &str, one_id: &str, moment: Moment) -> Result<(), Trouble> {
        report.version += 1;
        let state: LabReportState = stored(&report.state, "lab_report.state")?;
        let (record, version) = (report.report_id(), report.version);
        let about = About { kind: state.event(), record: &record, one_id, moment, version };
        let data = view::lab_report_record(state.record(), &report, one_id);
        self.publish(about, &[changed.to_owned()], data, self.cause)?;
        Ok(clinical::put_lab_report(self.transaction, &report)?)
    }
}

fn no_number() -> Trouble {
    Trouble::content(
        ErrorCode::RequiredFieldMissing,
        Location::field("PV1", 19),
        "the message names no visit: send its number in PV1-19, and the one that is given up in MRG-5",
    )
}

fn cycle() -> Trouble {
    Trouble::content(
        ErrorCode::DuplicateKeyIdentifier,
        Location::field("PV1", 19),
        "the opposite was said before: the visit number in PV1 was given up for the one in MRG; correct the sender",
    )
}
