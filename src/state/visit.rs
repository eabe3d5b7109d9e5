//! One visit, stay or appointment.
//!
//! Fields are registers. What happened, the *movements* (a trigger event, a status sent as such, or a place alone), is a log
//! in the order of source time, and status, place and end follow from reading it from the start ([`course`]). So a late
//! movement takes its place in the past, and what takes something back (A11, A12, A13) finds what it takes back, whichever
//! came first.
//!
//! A message without an event (A08, A31, an ORU that names the visit) sets fields, moves the patient if it names a place, and
//! never sets a status.
//!
//! The log is bounded and its beginning is not forgotten: what is older than [`EVENTS_KEPT`] events is *settled*, which is the
//! course up to there. Order matters only beyond these bounds: a movement that comes later than that many newer events fills
//! a place that was never said and moves nothing; and see [`PLACES_KEPT`].
//!
//! Stored: `l` registers, `m` movements (`t` time, `n` arrival, `e` event, `s` status, `p` place, `b` begin, `f` finish,
//! `u` time as written, `i` published event), `b` the settled beginning.

mod course;

use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Serialize};

use super::registers::{Registers, clear_unsaid, drop_nulls};
use super::{Applied, Happening, Moment, Published, changed};
use crate::feed::EventKind;
use crate::record::{Fields, Kind, Text, Value};
use course::Course;

/// Events and statuses that a visit keeps one by one, the newest. A long stay has some tens; a test number that is used for
/// years must not grow without end.
const EVENTS_KEPT: usize = 200;

/// Places, each followed by another before the next event, that a visit keeps one by one. They matter only to an event that
/// comes late, for a time between the two; a system sends its messages of one visit within minutes of each other.
const PLACES_KEPT: usize = 8;

/// Fields that say where the patient is; a transfer that is cancelled gives all of them back.
const PLACE: [&str; 4] = ["department", "ward", "room", "bed"];

/// Classes whose visits are completed, not discharged, and whose patients arrive, and are not admitted.
const WITHOUT_ADMISSION: [&str; 4] = ["outpatient", "checkup", "virtual", "home"];

/// State of one visit; stored as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VisitState {
    #[serde(rename = "l")]
    registers: Registers,
    /// Sorted by moment.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    movements: Vec<Movement>,
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    settled: Option<Box<Settled>>,
}

/// The course of all movements up to a moment, in place of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Settled {
    #[serde(rename = "t")]
    at: i64,
    #[serde(rename = "n")]
    arrival: i64,
    #[serde(rename = "c")]
    course: Course,
}

/// One thing that happened, with what its message said of time and place. Without an event and a status it is a place alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Movement {
    #[serde(rename = "t")]
    at: i64,
    #[serde(rename = "n")]
    arrival: i64,
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    verb: Option<Verb>,
    /// A status sent as such (FHIR); it stands whatever the event would make of it.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// The fields of [`PLACE`] that the message sets (or clears, `null`).
    #[serde(rename = "p", default, skip_serializing_if = "Fields::is_empty")]
    place: Fields,
    #[serde(rename = "b", skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(rename = "f", skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// Source time as written: the end of a discharge that gives none.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    published: Option<Published>,
}

/// `record::schema::VISIT_EVENTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Scheduled,
    Rescheduled,
    Arrived,
    Admitted,
    Transferred,
    Discharged,
    Cancelled,
    NoShow,
    AdmitCancelled,
    TransferCancelled,
    DischargeCancelled,
    Deleted,
}

/// `record::schema::VISIT_STATUSES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Planned,
    Arrived,
    InProgress,
    Finished,
    Cancelled,
    NoShow,
    EnteredInError,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Planned => "planned",
            Status::Arrived => "arrived",
            Status::InProgress => "in_progress",
            Status::Finished => "finished",
            Status::Cancelled => "cancelled",
            Status::NoShow => "no_show",
            Status::EnteredInError => "entered_in_error",
        }
    }
}

impl VisitState {
    /// Takes what is all that there is to say of the visit, as a FHIR server's resource is: what it leaves out is cleared.
    pub fn apply_whole(&mut self, mut patch: Fields, moment: Moment) -> Applied {
        clear_unsaid(Kind::Visit, &mut patch, &["event", "status", "updated_at"]);
        self.apply(patch, moment)
    }

    /// Takes what one message says of the visit.
    pub fn apply(&mut self, mut patch: Fields, moment: Moment) -> Applied {
        let before = self.project(&self.course());
        let verb = code(patch.remove("event"));
        let movement = Movement::take_from(&mut patch, verb, moment);
        if movement.is_event() || !movement.place.is_empty() {
            self.log(movement);
        }
        self.registers.apply(Kind::Visit, moment.into(), patch);

        self.outcome(before, verb, Some(moment.arrival))
    }

    /// What has changed since `before`, by the verb of the message that came as `arrival`, if one did it.
    fn outcome(&self, before: Projection, verb: Option<Verb>, arrival: Option<i64>) -> Applied {
        let course = self.course();
        let after = self.project(&course);
        let changed = changed(&before.record, &after.record);
        let happenings = if changed.is_empty() {
            Vec::new()
        } else {
            let taken_back = arrival.and_then(|arrival| course.taken_back_by(arrival));
            vec![happening(&before, &after, &changed, verb, taken_back)]
        };
        Applied { before: before.record, record: after.record, changed, happenings }
    }

    /// Takes in all that was said of another visit which turned out to be this one, as if it had been said of this one from the start; the
    /// number stays.
    pub fn absorb(&mut self, other: Self) -> Applied {
        let before = self.project(&self.course());
        let number = self.registers.get("number").map(|(_, number)| number.clone());
        for (stamp, fields) in other.registers.layers() {
            let mut fields = fields.clone();
            if let (Some(_), Some(number)) = (fields.remove("number"), &number) {
                fields.insert("number", number.clone());
            }
            self.registers.apply(Kind::Visit, stamp, fields);
        }
        let moment = |settled: &Option<Box<Settled>>| settled.as_ref().map(|settled| settled.moment());
        let mut movements = std::mem::take(&mut self.movements);
        movements.extend(other.movements);
        if moment(&self.settled) < moment(&other.settled) {
            self.settled = other.settled;
        }
        movements.into_iter().for_each(|movement| self.log(movement));
        self.outcome(before, None, None)
    }

    /// The visit record, without `visit_id`, `one_id`, `version`, `source`.
    pub fn record(&self) -> Fields {
        self.project(&self.course()).record
    }

    /// Remembers the event that the message `arrival` made, so that A11, A12 or A13 can name it in `reverses`.
    /// Call it for each published happening of [`VisitState::apply`], before the state is stored.
    pub fn remember(&mut self, arrival: i64, event: Published) {
        use EventKind::{VisitAdmitted, VisitArrived, VisitCompleted, VisitDischarged, VisitTransferred};
        let can_be_taken_back =
            [VisitArrived, VisitAdmitted, VisitTransferred, VisitDischarged, VisitCompleted].contains(&event.kind);
        let movement = self.movements.iter_mut().find(|movement| movement.arrival == arrival);
        if let (true, Some(movement)) = (can_be_taken_back, movement) {
            movement.published = Some(event);
        }
    }

    /// Enters a movement. One that says the same of the same time is the same movement, sent again.
    fn log(&mut self, mut movement: Movement) {
        if let Some(settled) = &mut self.settled
            && movement.moment() <= settled.moment()
        {
            settled.course.fill(&movement.place);
            return;
        }
        if let Some(known) = self.movements.iter_mut().find(|known| known.is_repeat_of(&movement)) {
            known.arrival = known.arrival.min(movement.arrival);
        } else {
            // The same message again, mapped differently: its event stays published.
            if let Some(old) = self.movements.iter().position(|known| known.arrival == movement.arrival) {
                movement.published = self.movements.remove(old).published;
            }
            self.movements.push(movement);
        }
        self.movements.sort_by_key(Movement::moment);
        self.forget_places();
        self.settle();
    }

    /// Drops the oldest places beyond [`PLACES_KEPT`] that another one follows before the next event.
    fn forget_places(&mut self) {
        let mut followed_by: Vec<&Text> = Vec::new();
        let mut kept = 0;
        let mut keep: Vec<bool> = Vec::with_capacity(self.movements.len());
        for movement in self.movements.iter().rev() {
            if movement.is_event() {
                followed_by.clear();
                keep.push(true);
            } else if movement.place.keys().all(|name| followed_by.contains(&name)) {
                kept += 1;
                keep.push(kept <= PLACES_KEPT);
            } else {
                followed_by.extend(movement.place.keys());
                keep.push(true);
            }
        }
        self.movements.retain(|_| keep.pop().unwrap_or(true));
    }

    /// Takes the oldest movements into the settled beginning until [`EVENTS_KEPT`] events are left.
    fn settle(&mut self) {
        let events = self.movements.iter().filter(|movement| movement.is_event()).count();
        let mut excess = events.saturating_sub(EVENTS_KEPT);
        let is_excess = |movement: &&Movement| {
            let within = excess > 0;
            excess -= usize::from(within && movement.is_event());
            within
        };
        let old = self.movements.iter().take_while(is_excess).count();
        let Some(last) = old.checked_sub(1).and_then(|last| self.movements.get(last)) else { return };
        let Moment { at, arrival } = last.moment();
        let mut course = self.beginning();
        self.movements.iter().take(old).for_each(|movement| course.take(movement));
        self.settled = Some(Box::new(Settled { at, arrival, course: course.settle() }));
        self.movements.drain(..old);
    }

    /// The course up to the first movement of the log.
    fn beginning(&self) -> Course {
        self.settled.as_ref().map(|settled| settled.course.clone()).unwrap_or_default()
    }

    /// Reads the movements in the order of time.
    fn course(&self) -> Course {
        let mut course = self.beginning();
        self.movements.iter().for_each(|movement| course.take(movement));
        course
    }

    fn project(&self, course: &Course) -> Projection {
        let mut record = self.registers.record(Kind::Visit);
        record.extend(course.place().map(|(name, value)| (name.clone(), value.clone())));
        if let Some(status) = course.status() {
            record.insert("status", Value::from(status.name()));
        }
        // An end before the visit ended is a plan, or left over from a discharge that was cancelled.
        let said = self.registers.get("ended_at").map(|(stamp, value)| (stamp.moment, value));
        match course.ended_at(said) {
            Some(end) => record.insert("ended_at", Value::from(end)),
            None => record.remove("ended_at"),
        };
        // PV1-36 is about an end: a cancelled discharge takes it with it.
        if matches!(course.status(), Some(Status::Planned | Status::Arrived | Status::InProgress)) {
            record.remove("disposition");
        }
        Projection { status: course.status(), record }
    }
}

impl Settled {
    fn moment(&self) -> Moment {
        Moment { at: self.at, arrival: self.arrival }
    }
}

impl Movement {
    /// Takes status and place out of the patch; time and end stay fields of their own.
    fn take_from(patch: &mut Fields, verb: Option<Verb>, moment: Moment) -> Self {
        let status = code(patch.remove("status"));
        let mut place = Fields::new();
        // PV1-3 is one field: who sends a ward and no bed says that there is no bed.
        let located = PLACE[1..].iter().any(|name| patch.contains_key(name));
        for name in PLACE {
            if let Some(mut value) = patch.remove(name) {
                drop_nulls(&mut value);
                place.insert(name, value);
            } else if located && name != "department" {
                place.insert(name, Value::Null);
            }
        }
        let text = |name: &str| patch.get(name).and_then(Value::as_str).map(str::to_owned);
        let begins = matches!(verb, Some(Verb::Arrived | Verb::Admitted));
        let ends = verb == Some(Verb::Discharged) || status == Some(Status::Finished);
        let ended_at = text("ended_at").filter(|_| ends);
        Self {
            at: moment.at,
            arrival: moment.arrival,
            verb,
            status,
            place,
            started_at: text("started_at").filter(|_| begins),
            time: text("updated_at").filter(|_| verb == Some(Verb::Discharged) && ended_at.is_none()),
            ended_at,
            published: None,
        }
    }

    /// More than a place.
    fn is_event(&self) -> bool {
        self.verb.is_some() || self.status.is_some()
    }

    fn moment(&self) -> Moment {
        Moment { at: self.at, arrival: self.arrival }
    }

    fn is_repeat_of(&self, other: &Movement) -> bool {
        let said = |movement: &Movement| Movement { arrival: 0, published: None, ..movement.clone() };
        self.at == other.at && self.verb == other.verb && said(self) == said(other)
    }
}

/// What consumers see, with the status as a code.
struct Projection {
    status: Option<Status>,
    record: Fields,
}

/// The code, if it is one of the vocabulary; mappings can yield no other.
fn code<T: for<'de> Deserialize<'de>>(value: Option<Value>) -> Option<T> {
    T::deserialize(StrDeserializer::<Error>::new(value?.as_str()?)).ok()
}

/// The event for a visit that changed, by what is different now; the verb decides only between events that look alike.
fn happening(
    before: &Projection,
    after: &Projection,
    changed: &[String],
    verb: Option<Verb>,
    taken_back: Option<&Published>,
) -> Happening {
    use EventKind::*;
    let differs = |name: &str| changed.iter().any(|changed| changed == name);
    let moved = PLACE.into_iter().any(differs);
    let moved_appointment = differs("scheduled_at") && before.record.contains_key("scheduled_at");
    let class = after.record.get("class").and_then(Value::as_str).unwrap_or_default();
    let without_admission = WITHOUT_ADMISSION.contains(&class);
    let undone = matches!(verb, Some(Verb::DischargeCancelled | Verb::TransferCancelled));

    let kind = match (before.status, after.status) {
        (was, now) if was == now => match (now, verb) {
            (Some(Status::Planned), _) if moved_appointment => VisitRescheduled,
            (Some(Status::Arrived | Status::InProgress), Some(Verb::Transferred)) if moved => VisitTransferred,
            _ => VisitUpdated,
        },
        (_, None) => VisitUpdated,
        (_, Some(Status::Planned)) => VisitScheduled,
        (_, Some(Status::Arrived | Status::InProgress)) if undone || taken_back.is_some() => VisitUpdated,
        (_, Some(Status::Arrived)) => VisitArrived,
        (_, Some(Status::InProgress)) if verb == Some(Verb::Transferred) => VisitTransferred,
        (Some(Status::Arrived), Some(Status::InProgress)) if without_admission => VisitUpdated,
        (_, Some(Status::InProgress)) if without_admission => VisitArrived,
        (_, Some(Status::InProgress)) => VisitAdmitted,
        (_, Some(Status::Finished)) if without_admission => VisitCompleted,
        (_, Some(Status::Finished)) => VisitDischarged,
        (_, Some(Status::Cancelled | Status::EnteredInError)) => VisitCancelled,
        (_, Some(Status::NoShow)) => VisitNoShow,
    };
    // What was taken back but still looks the same (another discharge came since) is not withdrawn from consumers.
    let visible = if verb == Some(Verb::TransferCancelled) { moved } else { before.status != after.status };
    Happening { kind, reverses: taken_back.filter(|_| visible).cloned() }
}

#[cfg(test)]
mod tests;
