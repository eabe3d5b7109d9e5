//! The course of a visit: what its movements, read in the order of time, come to.
//!
//! The newest movement decides, with these exceptions:
//! - A finished visit is opened again by A13 only, or by an admission or arrival that says that it began after the end:
//!   a new stay under an old number.
//! - A stay is ended by a discharge and undone by A11; cancelling its appointment does not touch it.
//! - Appointments do not move a patient who has come back to planned.
//! - A deleted visit lives again only when it is booked, begun or sent with a status anew.

use std::collections::BTreeMap;

use crate::record::Value;

use super::{Fields, Moment, Movement, PLACE, Published, Status, Verb};

/// Where a reading of the log has come to.
#[derive(Default)]
pub(super) struct Course<'a> {
    status: Option<Status>,
    place: BTreeMap<&'a str, &'a Value>,
    /// The transfers that can be cancelled: the place before each, and the event that consumers saw.
    transfers: Vec<(BTreeMap<&'a str, &'a Value>, Option<&'a Published>)>,
    /// The event of the admission or arrival that stands.
    begun: Option<&'a Published>,
    /// How the visit ended, while it is finished.
    end: Option<End<'a>>,
    /// Arrival of a movement that takes something back, and the event that consumers saw of it.
    taken_back: Vec<(i64, &'a Published)>,
}

struct End<'a> {
    status_before: Option<Status>,
    moment: Moment,
    /// As the discharge gives it, else its own time.
    text: Option<&'a str>,
    published: Option<&'a Published>,
}

impl<'a> Course<'a> {
    pub(super) fn status(&self) -> Option<Status> {
        self.status
    }

    pub(super) fn place(&self, name: &str) -> Option<&'a Value> {
        self.place.get(name).copied().filter(|value| !value.is_null())
    }

    /// The event that the movement of message `arrival` takes back.
    pub(super) fn taken_back_by(&self, arrival: i64) -> Option<&'a Published> {
        self.taken_back.iter().find(|(by, _)| *by == arrival).map(|(_, event)| *event)
    }

    /// When a finished visit ended: the discharge's word, unless a message since (`said`) corrected or cleared it.
    pub(super) fn ended_at<'b>(&self, said: Option<(Moment, &'b Value)>) -> Option<&'b str>
    where
        'a: 'b,
    {
        let end = self.end.as_ref()?;
        match said {
            Some((moment, value)) if moment > end.moment || end.text.is_none() => value.as_str(),
            _ => end.text,
        }
    }

    /// Takes what a message says of the place.
    pub(super) fn move_to(&mut self, fields: &'a Fields) {
        let said = PLACE.iter().filter_map(|name| fields.get_key_value(name));
        self.place.extend(said.map(|(name, value)| (name.as_str(), value)));
    }

    /// Takes the next movement.
    pub(super) fn take(&mut self, movement: &'a Movement) {
        let was = self.status;
        if let Some(verb) = movement.verb {
            self.take_verb(verb, movement);
        }
        if movement.status.is_some() {
            self.status = movement.status;
        }
        self.move_to(&movement.place);

        // The end belongs to being finished: it comes and goes with it.
        if self.status != Some(Status::Finished) {
            let published = self.end.take().and_then(|end| end.published);
            self.take_back(movement, published);
        } else if movement.verb == Some(Verb::Discharged) || movement.status == Some(Status::Finished) {
            self.finish(was, movement);
        }
    }

    fn take_verb(&mut self, verb: Verb, movement: &'a Movement) {
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
            (Verb::AdmitCancelled, _) => Some(Cancelled),
            (Verb::Deleted, _) => Some(EnteredInError),
            _ => None,
        };
        match verb {
            Verb::Arrived | Verb::Admitted => {
                if self.status == Some(Finished) && next.is_some() {
                    // A new stay: the discharge of the old one stands, and its transfers are past.
                    self.end = None;
                    self.transfers.clear();
                }
                self.begun = movement.published.as_ref().or(self.begun);
            }
            Verb::AdmitCancelled | Verb::Deleted => {
                let begun = self.begun.take();
                self.take_back(movement, begun);
            }
            Verb::Transferred => self.transfers.push((self.place.clone(), movement.published.as_ref())),
            Verb::TransferCancelled => {
                if let Some((place, published)) = self.transfers.pop() {
                    self.place = place;
                    self.take_back(movement, published);
                }
            }
            _ => {}
        }
        self.status = next.or(self.status);
    }

    fn take_back(&mut self, movement: &Movement, event: Option<&'a Published>) {
        self.taken_back.extend(event.map(|event| (movement.arrival, event)));
    }

    fn finish(&mut self, was: Option<Status>, movement: &'a Movement) {
        let published = movement.published.as_ref();
        let text = movement.ended_at.as_deref().or(movement.time.as_deref());
        match &mut self.end {
            // A second discharge may correct the end; its own time is no better than what the first one said.
            Some(end) => {
                if movement.ended_at.is_some() {
                    (end.moment, end.text) = (movement.moment(), text);
                }
                end.published = published.or(end.published);
            }
            None => self.end = Some(End { status_before: was, moment: movement.moment(), text, published }),
        }
    }

    fn begins_after_the_end(&self, movement: &Movement) -> bool {
        let end = self.end.as_ref().and_then(|end| end.text);
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
