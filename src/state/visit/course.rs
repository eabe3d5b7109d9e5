//! The course of a visit: what its movements, read in the order of time, come to.
//!
//! The newest movement decides, with these exceptions:
//! - A finished visit is opened again by A13 only, or by an admission or arrival that says that it began after the end:
//!   a new stay under an old number.
//! - A stay is ended by a discharge and undone by A11; cancelling its appointment does not touch it.
//! - Appointments do not move a patient who has come back to planned.
//! - A deleted visit lives again only when it is booked, begun or sent with a status anew.
//!
//! What takes something back takes back the last of its kind that still stands: A11 the admission, else the arrival; A12 the
//! transfer; A13 the discharge. The place is what it was before the admission or transfer, unless the message says another;
//! what was said of the place in between goes with it. A new stay has none of the movements of the one before.

use serde::{Deserialize, Serialize};

use crate::record::{Text, Value};

use super::{EVENTS_KEPT, Fields, Moment, Movement, Published, Status, Verb};

/// Where a reading of the log has come to. Stored as it is for what is settled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Course {
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// What was said of the fields of [`super::PLACE`]; `null` is cleared.
    #[serde(rename = "p", default, skip_serializing_if = "Fields::is_empty")]
    place: Fields,
    /// Arrival and admission that can be cancelled, in this order.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    begun: Vec<Step>,
    /// The transfers that can be cancelled.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    transfers: Vec<Step>,
    /// How the visit ended, while it is finished.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    /// Arrival of a movement that takes something back, and the event that consumers saw of it.
    #[serde(skip)]
    taken_back: Vec<(i64, Published)>,
}

/// A movement that can be taken back: what was before it, and the event that consumers saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Step {
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    status_before: Option<Status>,
    #[serde(rename = "p", default, skip_serializing_if = "Fields::is_empty")]
    place_before: Fields,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    published: Option<Published>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct End {
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    status_before: Option<Status>,
    #[serde(rename = "t")]
    at: i64,
    #[serde(rename = "n")]
    arrival: i64,
    /// As the discharge gives it, else its own time.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    published: Option<Published>,
}

impl Course {
    pub(super) fn status(&self) -> Option<Status> {
        self.status
    }

    /// Where the patient is, as far as it is known.
    pub(super) fn place(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.place.iter().filter(|(_, value)| !value.is_null())
    }

    /// The event that the movement of message `arrival` takes back.
    pub(super) fn taken_back_by(&self, arrival: i64) -> Option<&Published> {
        self.taken_back.iter().find(|(by, _)| *by == arrival).map(|(_, event)| event)
    }

    /// When a finished visit ended: the discharge's word, unless a message since (`said`) corrected or cleared it.
    pub(super) fn ended_at<'b>(&'b self, said: Option<(Moment, &'b Value)>) -> Option<&'b str> {
        let end = self.end.as_ref()?;
        // Of the discharge's own time only a word counts: sent again, its `""` comes later than itself.
        let corrects = |(moment, value): &(Moment, &Value)| {
            let newer = (moment.at, moment.arrival) > (end.at, end.arrival);
            end.text.is_none() || moment.at > end.at || newer && !value.is_null()
        };
        match said.filter(corrects) {
            Some((_, value)) => value.as_str(),
            None => end.text.as_deref(),
        }
    }

    /// Takes the place that a message says for a time before this: only what was never said.
    pub(super) fn fill(&mut self, place: &Fields) {
        for (name, value) in place {
            self.place.get_or_insert_with(name.clone(), || value.clone());
        }
    }

    /// Takes the next movement.
    pub(super) fn take(&mut self, movement: &Movement) {
        let was = self.status;
        if let Some(verb) = movement.verb {
            self.take_verb(verb, movement);
        }
        if movement.status.is_some() {
            self.status = movement.status;
        }
        self.place.extend(movement.place.clone());

        // The end belongs to being finished: it comes and goes with it.
        if self.status != Some(Status::Finished) {
            let published = self.end.take().and_then(|end| end.published);
            self.take_back(movement, published);
        } else if movement.verb == Some(Verb::Discharged) || movement.status == Some(Status::Finished) {
            self.finish(was, movement);
        }
    }

    fn take_verb(&mut self, verb: Verb, movement: &Movement) {
        use Status::*;
        let next = match (verb, self.status) {
            (Verb::Scheduled, None | Some(Cancelled | NoShow | EnteredInError)) => Some(Planned),
            (Verb::Rescheduled, None | Some(Cancelled | NoShow)) => Some(Planned),
            (Verb::Arrived | Verb::Admitted, Some(Finished)) if !self.begins_after_the_end(movement) => None,
            (Verb::Arrived, Some(InProgress)) => None,
            (Verb::Arrived, _) => Some(Arrived),
            (Verb::Admitted, _) => Some(InProgress),
            // Whoever is moved has come, though the message that said so is missing.
            (Verb::Transferred, None | Some(Planned | Cancelled | NoShow)) => Some(InProgress),
            (Verb::TransferCancelled | Verb::DischargeCancelled, None | Some(Planned)) => Some(InProgress),
            (Verb::DischargeCancelled, Some(Finished)) => {
                let before = self.end.as_ref().and_then(|end| end.status_before);
                Some(before.filter(|before| *before == Arrived).unwrap_or(InProgress))
            }
            (Verb::Discharged, Some(EnteredInError)) => None,
            (Verb::Discharged, _) => Some(Finished),
            (Verb::Cancelled, None | Some(Planned | Arrived | NoShow)) => Some(Cancelled),
            (Verb::NoShow, None | Some(Planned)) => Some(NoShow),
            (Verb::AdmitCancelled, Some(EnteredInError)) => None,
            (Verb::AdmitCancelled, _) => Some(if self.was_arrived_before() { Arrived } else { Cancelled }),
            (Verb::Deleted, _) => Some(EnteredInError),
            _ => None,
        };
        match verb {
            Verb::Arrived | Verb::Admitted if next.is_some() => self.begin(next, movement),
            Verb::AdmitCancelled => self.undo_begin(movement),
            Verb::Deleted => {
                let published = self.begun.pop().and_then(|step| step.published);
                self.begun.clear();
                self.take_back(movement, published);
            }
            Verb::Transferred => self.transfers.push(self.step(movement)),
            Verb::TransferCancelled => {
                if let Some(step) = self.transfers.pop() {
                    self.place = step.place_before;
                    self.take_back(movement, step.published);
                }
            }
            _ => {}
        }
        self.status = next.or(self.status);
    }

    /// Notes an arrival or admission. From an arrival to its admission it is one stay; said again, it is the same one.
    fn begin(&mut self, next: Option<Status>, movement: &Movement) {
        if self.status == next
            && let Some(step) = self.begun.last_mut()
        {
            step.published = movement.published.clone().or(step.published.take());
            return;
        }
        if !matches!(self.status, Some(Status::Arrived | Status::InProgress)) {
            self.end = None;
            self.begun.clear();
            self.transfers.clear();
        }
        self.begun.push(self.step(movement));
    }

    /// Whether the admission that stands was one of a patient who had arrived already.
    fn was_arrived_before(&self) -> bool {
        self.begun.last().is_some_and(|step| step.status_before == Some(Status::Arrived))
    }

    fn undo_begin(&mut self, movement: &Movement) {
        let arrived = self.was_arrived_before();
        let Some(step) = self.begun.pop() else { return };
        if arrived {
            self.place = step.place_before;
        }
        self.transfers.clear();
        self.take_back(movement, step.published);
    }

    fn step(&self, movement: &Movement) -> Step {
        Step { status_before: self.status, place_before: self.place.clone(), published: movement.published.clone() }
    }

    fn take_back(&mut self, movement: &Movement, event: Option<Published>) {
        self.taken_back.extend(event.map(|event| (movement.arrival, event)));
    }

    fn finish(&mut self, was: Option<Status>, movement: &Movement) {
        let Moment { at, arrival } = movement.moment();
        let published = movement.published.clone();
        let text = movement.ended_at.as_ref().or(movement.time.as_ref()).cloned();
        match &mut self.end {
            // A second discharge may correct the end; its own time is no better than what the first one said.
            Some(end) => {
                if movement.ended_at.is_some() {
                    (end.at, end.arrival, end.text) = (at, arrival, text);
                }
                end.published = published.or(end.published.take());
            }
            None => self.end = Some(End { status_before: was, at, arrival, text, published }),
        }
    }

    /// The course as it is stored, without what no message can ask for any more.
    pub(super) fn settle(mut self) -> Self {
        let excess = self.transfers.len().saturating_sub(EVENTS_KEPT);
        self.transfers.drain(..excess);
        self.taken_back.clear();
        self
    }

    fn begins_after_the_end(&self, movement: &Movement) -> bool {
        let end = self.end.as_ref().and_then(|end| end.text.as_deref());
        matches!((movement.started_at.as_deref(), end), (Some(start), Some(end)) if is_after(start, end))
    }
}

/// Whether one record time is surely after another: as instants, or by the digits that both have (`2024-03-06` is not after
/// `2024-03-06T10:00:00+08:00`).
fn is_after(one: &str, other: &str) -> bool {
    match (one.parse::<jiff::Timestamp>(), other.parse::<jiff::Timestamp>()) {
        (Ok(one), Ok(other)) => one > other,
        _ => {
            let digits = one.len().min(other.len()).min("YYYY-MM-DD".len());
            one.get(..digits) > other.get(..digits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_after;

    #[test]
    fn a_date_is_after_a_time_only_from_the_next_day_on() {
        for (one, other, expected) in [
            ("2024-03-06T10:00:01+08:00", "2024-03-06T10:00:00+08:00", true),
            ("2024-03-06T10:00:00+09:00", "2024-03-06T10:00:00+08:00", false),
            ("2024-03-06", "2024-03-06T10:00:00+08:00", false),
            ("2024-03-07", "2024-03-06T10:00:00+08:00", true),
            ("2024-03-06T10:00:00+08:00", "2024-03-06", false),
            ("2024-03", "2024-03-06", false),
            ("2024-04", "2024-03-06", true),
        ] {
            assert_eq!(is_after(one, other), expected, "{one} after {other}");
        }
    }
}
