//! The rehearsal of a consumer that asks: the stage is set for one duty after the other, and the consumer is given time to come to the end of
//! what is told.

use std::time::Duration;

use serde_json::Value;

use super::duty::{Duty, Finding, Outcome, Report};
use super::judge::Judge;
use super::messages::{Chapter, ERASED, ERASED_UNREAD};
use super::server::Shared;
use super::stage::Fault;
use super::story::{Story, erased, unknown, with_unknown_fields};

/// A person starts the consumer: until its first request.
const FIRST: Duration = Duration::from_secs(600);

/// Events that other consumers get in between.
const OTHERS: u64 = 2_500;

/// After so many duties in a row at which the consumer did not come to the end, it is taken for dead.
const DEAD_AFTER: u32 = 2;

/// The duties that only a push can try.
const OF_A_PUSH: [Duty; 3] = [Duty::Signature, Duty::Age, Duty::Answer];

struct Director<'a> {
    shared: &'a Shared,
    patience: Duration,
    judge: Judge,
    /// Duties in a row at which it did not come to the end.
    missed: u32,
    /// Everything told, as it stands in the log.
    told: Vec<Value>,
}

/// The consumer does not come any more.
struct Dead;

/// Plays the whole story.
///
/// # Errors
/// What the consumer holds cannot be read.
pub(super) async fn play(story: &Story, shared: &Shared, patience: Duration) -> anyhow::Result<Report> {
    let mut director = Director { shared, patience, judge: Judge::default(), missed: 0, told: Vec::new() };
    let ended = director.play(story).await?;
    let mut report = director.judge.report;
    for duty in OF_A_PUSH {
        report.add(duty, Outcome::NotLookedAt("of a consumer that is pushed to".to_owned()));
    }
    if ended.is_err() {
        let left = |duty: &Duty| !report.knows(*duty);
        for duty in Duty::ALL.iter().copied().filter(left).collect::<Vec<_>>() {
            report.add(duty, Outcome::NotLookedAt("the consumer did not come any more".to_owned()));
        }
    }
    Ok(report)
}

impl Director<'_> {
    async fn play(&mut self, story: &Story) -> anyhow::Result<Result<(), Dead>> {
        macro_rules! step {
            ($duty:expr, $sent:expr) => {
                if let Err(dead) = self.step($duty, $sent).await? {
                    return Ok(Err(dead));
                }
            };
        }
        self.shared.check_commits(true);
        self.tell(story.events(Chapter::Begin));
        if !self.shared.until(FIRST, |stage| stage.seen.requests > 0).await {
            let expected = "a request with the token".to_owned();
            let found = "nobody came".to_owned();
            self.judge.report.fail(Duty::Begin, Finding { sent: "the address".to_owned(), expected, found });
            return Ok(Err(Dead));
        }
        step!(Duty::Begin, "a log of some twenty events");

        self.tell(story.events(Chapter::Commit));
        step!(Duty::Commit, "transfers, an admission and a report");
        if self.shared.check_commits(false) == 0 {
            let why = match self.shared.held() {
                None => "what it holds is not known: give --state or --state-command",
                Some(_) => "it committed no position; one that it keeps itself must be kept together with the events",
            };
            self.judge.report.replace_passed(Duty::Commit, why);
        }

        self.shared.with(|stage| stage.tell_others(OTHERS));
        step!(Duty::Filtered, "an empty page whose `next` lies 2,500 events further on");

        let strange = unknown(story.one_id(ERASED));
        let (first, rest) = strange.split_at(1);
        let known: Vec<Value> = story.events(Chapter::Unknown).iter().map(with_unknown_fields).collect();
        self.tell(&[first, &known, rest].concat());
        step!(Duty::Unknown, "segment.entered, visit.moonlit and x, and a visit with members that no schema has");

        self.tell(story.events(Chapter::Repeat));
        step!(Duty::Repeat, "two discharges and a critical value");
        self.shared.with(|stage| stage.tell_again(&self.told));
        step!(Duty::Repeat, "everything once more, under the same ids");

        self.tell(story.events(Chapter::Order));
        step!(Duty::Order, "a transfer and a discharge");
        let old: Vec<Value> = self.told.iter().filter(|event| event["data"]["visit_id"] == "his:V1").cloned().collect();
        let old = &old[..old.len().saturating_sub(2)];
        self.shared.with(|stage| stage.tell_again(old));
        step!(Duty::Order, "the admission of his:V1 once more, after its discharge");

        self.shared.with(|stage| stage.fail_next(&[Fault::Cut, Fault::Cut]));
        self.tell(story.events(Chapter::Cut));
        step!(Duty::Cut, "two pages that break off in the middle");

        self.shared.with(|stage| stage.fail_next(&[Fault::Busy(429, 1), Fault::Busy(503, 2)]));
        self.tell(story.events(Chapter::BackOff));
        step!(Duty::BackOff, "429 with Retry-After: 1, then 503 with Retry-After: 2");

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
        step!(Duty::Wait, "two answers without events, then a transfer");

        for (duty, chapter, kind, first, rest) in [
            (Duty::Merge, Chapter::Merge, "patient.merged", "patient.merged", "the visits and reports that moved"),
            (Duty::Split, Chapter::Split, "patient.split", "patient.split", "the person who lives again, and its records"),
        ] {
            let events = story.events(chapter);
            let own = events.iter().position(|event| event["type"] == kind).map_or(0, |place| place + 1);
            let (own, others) = events.split_at(own);
            self.tell(own);
            step!(duty, first);
            self.tell(others);
            step!(duty, rest);
        }
        for (duty, chapter, sent) in [
            (Duty::Moved, Chapter::Moved, "lab.cancelled (entered_in_error), then the report under another One ID"),
            (Duty::TakeBack, Chapter::TakeBack, "a discharge and an admission taken back (`reverses`)"),
            (Duty::Correct, Chapter::Correct, "lab.corrected, without a critical value"),
        ] {
            self.tell(story.events(chapter));
            step!(duty, sent);
        }
        self.expire(story);
        step!(Duty::Expired, "410 cursor-expired; among what was missed is an erasure");
        let later = story.events(Chapter::Snapshot);
        for event in later {
            self.told.extend(self.shared.with(|stage| stage.write(std::slice::from_ref(event))));
            step!(Duty::Order, "what happened while the snapshot was read, and is in it");
        }

        let forgotten = story.one_id(ERASED).to_owned();
        let old: Vec<Value> = self.told.iter().filter(|event| event["subject"] == forgotten.as_str()).cloned().collect();
        let old: Vec<Value> = old.into_iter().filter(|event| event["data"]["version"].is_number()).collect();
        self.tell(&[erased(&forgotten)]);
        step!(Duty::Erase, "patient.erased");
        self.shared.with(|stage| stage.tell_again(&old));
        step!(Duty::Erase, "what was told of the patient before, once more");

        let (moment, state) = self.shared.with(|stage| (stage.head(), stage.state.clone()));
        self.tell(&story.lost);
        step!(Duty::Epoch, "discharges and an admission that a restore will take back");
        self.judge.undone = story.lost.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect();
        self.shared.with(|stage| {
            stage.put_back(moment, state);
            stage.tell(&story.restored);
        });
        step!(Duty::Epoch, "409 cursor-of-another-epoch, and versions that say something else than before");
        self.tell(&story.afterwards);
        step!(Duty::Epoch, "a transfer in the new epoch, under a version that the old one has had");
        Ok(Ok(()))
    }

    fn tell(&mut self, events: &[Value]) {
        self.told.extend(self.shared.with(|stage| stage.tell(events)));
    }

    /// The consumer has fallen behind what is kept; snapshots show more than the log has told.
    fn expire(&mut self, story: &Story) {
        let missed = story.events(Chapter::Gone);
        let unread = erased(story.one_id(ERASED_UNREAD));
        self.shared.with(|stage| {
            missed.iter().chain([&unread]).chain(story.events(Chapter::Snapshot)).for_each(|event| stage.state.take(event));
            stage.tell_others(missed.len() as u64 + OTHERS);
            stage.expire();
        });
    }

    /// Gives the consumer time to come to the end of what is told, and judges.
    async fn step(&mut self, duty: Duty, sent: &str) -> anyhow::Result<Result<(), Dead>> {
        let is_through = self.shared.until(self.patience, |stage| stage.is_through()).await;
        let findings = self.shared.with(|stage| std::mem::take(&mut stage.seen.findings));
        for (duty, finding) in findings {
            self.judge.report.fail(duty, finding);
        }
        if !is_through {
            let found = self.shared.with(|stage| {
                let place = |place: Option<crate::feed::Cursor>| place.map_or("nowhere".to_owned(), |place| place.to_string());
                let (asked, committed) = (place(stage.seen.asked), place(stage.seen.committed));
                format!("after {} s it last asked after {asked} and has committed {committed}", self.patience.as_secs())
            });
            let expected = format!("it reads on to {}", self.shared.with(|stage| stage.head()));
            self.judge.report.fail(duty, Finding { sent: sent.to_owned(), expected, found });
            self.missed += 1;
            return Ok(if self.missed < DEAD_AFTER { Ok(()) } else { Err(Dead) });
        }
        self.missed = 0;
        let expected = self.shared.with(|stage| stage.state.clone());
        self.judge.look(duty, sent, self.shared.held(), &expected).await?;
        Ok(Ok(()))
    }
}
