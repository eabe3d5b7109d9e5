//! The rehearsal of a consumer that asks: the stage is set for one duty after the other, and the consumer is given time to come to the end of
//! what is told.

use std::time::Duration;

use serde_json::Value;

use super::duty::{Duty, Finding, Report};
use super::judge::{Ended, Judge};
use super::messages::{Chapter, ERASED, ERASED_UNREAD};
use super::server::Shared;
use super::stage::Fault;
use super::story::{Story, erased, ids, unknown, with_unknown_fields};

/// A person starts the consumer: until its first request.
const FIRST: Duration = Duration::from_secs(600);

/// Events that other consumers get in between.
const OTHERS: u64 = 2_500;

/// After so many duties in a row at which the consumer did not come to the end, it is taken for dead.
const DEAD_AFTER: u32 = 2;

/// The duties that only a push can try.
const NOT_TRIED: [(Duty, &str); 3] = [(Duty::Signature, PUSHED), (Duty::Age, PUSHED), (Duty::Answer, PUSHED)];
const PUSHED: &str = "of a consumer that is pushed to";

struct Director<'a> {
    shared: &'a Shared,
    patience: Duration,
    judge: Judge,
    /// Duties in a row at which it did not come to the end.
    missed: u32,
    /// Everything told, as it stands in the log.
    told: Vec<Value>,
}

/// Plays the whole story.
///
/// # Errors
/// What the consumer holds cannot be read.
pub(super) async fn play(story: &Story, shared: &Shared, patience: Duration) -> anyhow::Result<Report> {
    let mut director = Director { shared, patience, judge: Judge::default(), missed: 0, told: Vec::new() };
    let ended = director.play(story).await;
    director.judge.finish(ended, &NOT_TRIED)
}

impl Director<'_> {
    async fn play(&mut self, story: &Story) -> Result<(), Ended> {
        self.shared.check_commits(true);
        self.tell(story.events(Chapter::Begin));
        if !self.shared.until(FIRST, |stage| stage.seen.requests > 0).await {
            let expected = "a request with the token".to_owned();
            let found = "nobody came".to_owned();
            self.judge.report.fail(Duty::Begin, Finding { sent: "the address".to_owned(), expected, found });
            return Err(Ended::Dead);
        }
        self.step(Duty::Begin, "a log of some twenty events").await?;

        self.tell(story.events(Chapter::Commit));
        self.step(Duty::Commit, "transfers, an admission and a report").await?;
        if self.shared.check_commits(false) == 0 {
            let why = match self.shared.held() {
                None => "what it holds is not known: give --state or --state-command",
                Some(_) => "it committed no position; one that it keeps itself must be kept together with the events",
            };
            self.judge.report.replace_passed(Duty::Commit, why);
        }

        self.shared.with(|stage| stage.tell_others(OTHERS));
        self.step(Duty::Filtered, "an empty page whose `next` lies 2,500 events further on").await?;

        let strange = unknown(story.one_id(ERASED));
        let (first, rest) = strange.split_at(1);
        let known: Vec<Value> = story.events(Chapter::Unknown).iter().map(with_unknown_fields).collect();
        self.tell(&[first, &known, rest].concat());
        self.step(Duty::Unknown, "segment.entered, visit.moonlit and x, and a visit with members that no schema has")
            .await?;

        self.tell(story.events(Chapter::Repeat));
        self.step(Duty::Repeat, "two discharges and a critical value").await?;
        self.shared.with(|stage| stage.tell_again(&self.told));
        self.step(Duty::Repeat, "everything once more, under the same ids").await?;

        self.tell(story.events(Chapter::Order));
        self.step(Duty::Order, "a transfer and a discharge").await?;
        let old: Vec<Value> = self.told.iter().filter(|event| event["data"]["visit_id"] == "his:V1").cloned().collect();
        let old = &old[..old.len().saturating_sub(2)];
        self.shared.with(|stage| stage.tell_again(old));
        self.step(Duty::Order, "the admission of his:V1 once more, after its discharge").await?;

        self.shared.with(|stage| stage.fail_next(&[Fault::Cut, Fault::Cut]));
        self.tell(story.events(Chapter::Cut));
        self.step(Duty::Cut, "two pages that break off in the middle").await?;

        self.shared.with(|stage| stage.fail_next(&[Fault::Busy(429, 1), Fault::Busy(503, 2)]));
        self.tell(story.events(Chapter::BackOff));
        self.step(Duty::BackOff, "429 with Retry-After: 1, then 503 with Retry-After: 2").await?;

        let empty = self.shared.with(|stage| stage.seen.empty);
        if !self.shared.until(self.patience, |stage| stage.seen.empty >= empty + 2).await {
            let finding = Finding {
                sent: "answers without events".to_owned(),
                expected: "it asks again".to_owned(),
                found: "it did not".to_owned(),
            };
            self.judge.report.fail(Duty::Wait, finding);
        }
        self.tell(story.events(Chapter::Wait));
        self.step(Duty::Wait, "two answers without events, then a transfer").await?;

        for (duty, chapter, kind, first, rest) in [
            (Duty::Merge, Chapter::Merge, "patient.merged", "patient.merged", "the visits and reports that moved"),
            (
                Duty::Split,
                Chapter::Split,
                "patient.split",
                "patient.split",
                "the person who lives again, and its records",
            ),
        ] {
            let events = story.events(chapter);
            let own = events.iter().position(|event| event["type"] == kind).map_or(0, |place| place + 1);
            let (own, others) = events.split_at(own);
            self.tell(own);
            self.step(duty, first).await?;
            self.tell(others);
            self.step(duty, rest).await?;
        }
        for (duty, chapter, sent) in [
            (Duty::Moved, Chapter::Moved, "lab.cancelled (entered_in_error), then the report under another One ID"),
            (Duty::TakeBack, Chapter::TakeBack, "a discharge and an admission taken back (`reverses`)"),
            (Duty::Correct, Chapter::Correct, "lab.corrected, without a critical value"),
        ] {
            self.tell(story.events(chapter));
            self.step(duty, sent).await?;
        }
        self.expire(story);
        self.step(Duty::Expired, "410 cursor-expired; among what was missed is an erasure").await?;
        let later = story.events(Chapter::Snapshot);
        for event in later {
            self.told.extend(self.shared.with(|stage| stage.write(std::slice::from_ref(event))));
            self.step(Duty::Order, "what happened while the snapshot was read, and is in it").await?;
        }

        let forgotten = story.one_id(ERASED).to_owned();
        let old: Vec<Value> =
            self.told.iter().filter(|event| event["subject"] == forgotten.as_str()).cloned().collect();
        let old: Vec<Value> = old.into_iter().filter(|event| event["data"]["version"].is_number()).collect();
        self.tell(&[erased(&forgotten)]);
        self.step(Duty::Erase, "patient.erased").await?;
        self.shared.with(|stage| stage.tell_again(&old));
        self.step(Duty::Erase, "what was told of the patient before, once more").await?;

        let (moment, state) = self.shared.with(|stage| (stage.head(), stage.state.clone()));
        self.tell(&story.lost);
        self.step(Duty::Epoch, "discharges and an admission that a restore will take back").await?;
        self.judge.undone = ids(&story.lost);
        self.shared.with(|stage| {
            stage.put_back(moment, state);
            stage.tell(&story.restored);
        });
        self.step(Duty::Epoch, "409 cursor-of-another-epoch, and versions that say something else than before").await?;
        self.tell(&story.afterwards);
        self.step(Duty::Epoch, "a transfer in the new epoch, under a version that the old one has had").await?;
        Ok(())
    }

    fn tell(&mut self, events: &[Value]) {
        self.told.extend(self.shared.with(|stage| stage.tell(events)));
    }

    /// The consumer has fallen behind what is kept; snapshots show more than the log has told.
    fn expire(&mut self, story: &Story) {
        let missed = story.events(Chapter::Gone);
        let unread = erased(story.one_id(ERASED_UNREAD));
        self.shared.with(|stage| {
            missed
                .iter()
                .chain([&unread])
                .chain(story.events(Chapter::Snapshot))
                .for_each(|event| stage.state.take(event));
            stage.tell_others(missed.len() as u64 + OTHERS);
            stage.expire();
        });
    }

    /// Gives the consumer time to come to the end of what is told, and judges.
    async fn step(&mut self, duty: Duty, sent: &str) -> Result<(), Ended> {
        let is_through = self.shared.until(self.patience, |stage| stage.is_through()).await;
        let findings = self.shared.with(|stage| std::mem::take(&mut stage.seen.findings));
        for (duty, finding) in findings {
            self.judge.report.fail(duty, finding);
        }
        if !is_through {
            let found = self.shared.with(|stage| {
                let place =
                    |place: Option<crate::feed::Cursor>| place.map_or("nowhere".to_owned(), |place| place.to_string());
                let (asked, committed) = (place(stage.seen.asked), place(stage.seen.committed));
                format!("after {} s it last asked after {asked} and has committed {committed}", self.patience.as_secs())
            });
            let expected = format!("it reads on to {}", self.shared.with(|stage| stage.head()));
            self.judge.report.fail(duty, Finding { sent: sent.to_owned(), expected, found });
            self.shared.with(super::stage::Stage::calm);
            self.missed += 1;
            return if self.missed < DEAD_AFTER { Ok(()) } else { Err(Ended::Dead) };
        }
        self.missed = 0;
        let expected = self.shared.with(|stage| stage.state.clone());
        self.judge.look(duty, sent, self.shared.held(), &expected).await?;
        Ok(())
    }
}
