//! Keeps how far delivery is, and in the same transaction writes down what has left.

use tokio::time::Instant;

use super::super::wire;
use super::{Course, Pusher, Trip, now};
use crate::audit::{Action, Actor, Entry, Outcome};
use crate::feed::Cursor;
use crate::store::{Transaction, audit, consumers};

impl Pusher {
    /// What the audit trail says of events that were posted; `None`: there are none.
    fn posted(&self, course: &Course, events: &[(u64, String)], outcome: Outcome) -> Option<Entry> {
        let sequences = || events.iter().map(|(sequence, _)| *sequence);
        let (first, last) = (sequences().min()?, sequences().max()?);
        let target = wire::origin(&self.settings.url);
        let mut entry =
            Entry::new(now(), Actor::Daemon, Action::FeedDeliver, "daemon", &format!("push-{:x}", course.began));
        entry.object("consumer", self.consumer());
        entry.object("target", target);
        entry.object("policy", &self.settings.consumer.policy);
        entry.object("events", format_args!("{}-{first:012}..{last:012}", course.epoch));
        entry.persons(events.iter().map(|(_, subject)| subject.as_str()));
        Some(entry.with(outcome))
    }

    /// Commits how far it is. `false`: somebody moved the position.
    pub(super) async fn commit(&self, course: &mut Course) -> Result<bool, Trip> {
        let position = course.window.position();
        if position == course.committed && course.taken.is_empty() && course.refused.is_empty() {
            course.committed_at = Instant::now();
            return Ok(true);
        }
        let (name, moved, delivered_at) = (self.consumer().to_owned(), course.moved, course.delivered_at);
        let cursor = Cursor { epoch: course.epoch, sequence: position };
        let posted = [(&course.taken, Outcome::Ok), (&course.refused, Outcome::Failed)];
        let entries: Vec<Entry> =
            posted.into_iter().filter_map(|(events, outcome)| self.posted(course, events, outcome)).collect();
        let advance = move |t: &Transaction<'_>| {
            entries.iter().try_for_each(|entry| audit::append(t, entry).map(drop))?;
            consumers::advance(t, &name, cursor, moved, delivered_at, now())
        };
        let committed = self.store.submit(advance).await?;
        course.committed = position;
        course.committed_at = Instant::now();
        course.taken.clear();
        course.refused.clear();
        Ok(committed)
    }
}
