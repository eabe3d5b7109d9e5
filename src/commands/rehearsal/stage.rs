//! The log that a rehearsal shows a consumer, how it misbehaves, and what the consumer was seen to do. Without sockets and without a clock of its
//! own: the moment comes with each request.
//!
//! Invariants
//! - Positions mean what they mean in the product: one of another epoch is 409, one before what is kept 410, one beyond the head 400.
//! - A fault is an answer that Heyi, or what lies between, may really give.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::duty::{Duty, Finding};
use super::model::Model;
use crate::feed::{Cursor, EventKind, Position};
use crate::http::{ProblemKind, server_sent_event};

/// Rows of a snapshot or a comparison in one page, whatever is asked for: whoever does not read on misses some.
pub(super) const ROWS: usize = 5;

/// An answer without events is given so soon, and the next question comes at once: nobody should ask like that.
const HURRY: Duration = Duration::from_millis(100);
/// So many times in a row.
const HURRIED: u32 = 20;

/// How the next answer to a question for events goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection ends in the middle of the answer.
    Cut,
    /// 429 or 503, with the seconds of Retry-After.
    Busy(u16, u64),
}

/// What is answered to a question for events.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// A page.
    Page(Page),
    /// A page that breaks off.
    Cut(Page),
    /// Nothing yet: whoever waits may.
    Empty(Page),
    /// Not now, and in how many seconds.
    Busy(u16, u64),
    /// A position that means nothing any more, or not yet.
    Problem(ProblemKind, String),
}

/// A page of events.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page {
    /// The position before it.
    pub(super) after: Cursor,
    pub(super) events: Vec<Value>,
    pub(super) next: Cursor,
    pub(super) head: Cursor,
}

/// What the consumer was seen to do.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Requests of any kind.
    pub(super) requests: u64,
    /// The last position from which it asked for events.
    pub(super) asked: Option<Cursor>,
    /// The last position that it committed.
    pub(super) committed: Option<Cursor>,
    /// The newest head that it reached: it committed it, or asked for what follows.
    pub(super) reached: Option<Cursor>,
    /// Answers without an event.
    pub(super) empty: u64,
    /// A snapshot was read to its end, and where it begins.
    pub(super) snapshot: Option<Cursor>,
    /// The same of a comparison.
    pub(super) reconciled: Option<Cursor>,
    /// What was wrong in how it asked.
    pub(super) findings: Vec<(Duty, Finding)>,
    /// It was told to wait until then, and since when.
    quiet: Option<(Instant, u64)>,
    /// An answer broke off: only up to there was it told.
    told: Option<Cursor>,
    /// When it was last given nothing at once, and how often in a row it asked again without a pause.
    hurry: Option<(Instant, u32)>,
}

/// See the module.
pub(super) struct Stage {
    /// Every event that is kept, with its place.
    log: Vec<(u64, Value)>,
    head: Cursor,
    /// The log can be read from after this event.
    kept_after: u64,
    /// Where a comparison lets the feed go on.
    compared_from: u64,
    committed: Option<Cursor>,
    /// Told once more before anything else.
    again: VecDeque<Value>,
    faults: VecDeque<Fault>,
    /// What snapshots and look-ups show.
    pub(super) state: Model,
    pub(super) seen: Seen,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self {
            log: Vec::new(),
            head: Cursor { epoch: 1, sequence: 0 },
            kept_after: 0,
            compared_from: 0,
            committed: None,
            again: VecDeque::new(),
            faults: VecDeque::new(),
            state: Model::default(),
            seen: Seen::default(),
        }
    }

    /// The newest position.
    pub(super) fn head(&self) -> Cursor {
        self.head
    }

    /// Appends events to the log; gives them with their places. What snapshots show follows.
    pub(super) fn tell(&mut self, events: &[Value]) -> Vec<Value> {
        let placed = self.write(events);
        placed.iter().for_each(|event| self.state.take(event));
        placed
    }

    /// The same, but snapshots do not follow: they show it already.
    pub(super) fn write(&mut self, events: &[Value]) -> Vec<Value> {
        let place = |event: &Value| {
            self.head.sequence += 1;
            let mut event = event.clone();
            event["sequence"] = json!(format!("{:012}", self.head.sequence));
            self.log.push((self.head.sequence, event.clone()));
            event
        };
        events.iter().map(place).collect()
    }

    /// The log grows by so many events that are not for this consumer.
    pub(super) fn tell_others(&mut self, count: u64) {
        self.head.sequence += count;
    }

    /// Everything up to the head is no longer kept.
    pub(super) fn expire(&mut self) {
        self.log.clear();
        self.kept_after = self.head.sequence;
    }

    /// The store is put back as it was at `moment`, with what it then held: another epoch.
    pub(super) fn put_back(&mut self, moment: Cursor, state: Model) {
        self.log.retain(|(sequence, _)| *sequence <= moment.sequence);
        self.head = Cursor { epoch: moment.epoch + 1, sequence: moment.sequence };
        self.compared_from = moment.sequence;
        self.state = state;
    }

    /// Whether a comparison or a snapshot of this epoch was read to its end.
    pub(super) fn is_compared(&self) -> bool {
        [self.seen.reconciled, self.seen.snapshot].into_iter().flatten().any(|cursor| cursor.epoch == self.head.epoch)
    }

    /// Tells these events once more with the next answers.
    pub(super) fn tell_again(&mut self, events: &[Value]) {
        self.again.extend(events.iter().cloned());
    }

    /// Has the next answers go wrong, in this order.
    pub(super) fn fail_next(&mut self, faults: &[Fault]) {
        self.faults.extend(faults.iter().cloned());
    }

    /// Whether the consumer has reached the head, and everything was played to it.
    pub(super) fn is_through(&self) -> bool {
        self.seen.reached == Some(self.head) && self.again.is_empty() && self.faults.is_empty()
    }

    /// What was still to go wrong or to be told again is given up: the consumer did not come for it.
    pub(super) fn calm(&mut self) {
        self.faults.clear();
        self.again.clear();
    }

    /// The states that a consumer may be in which has kept everything up to a position, and perhaps more.
    pub(super) fn states_from(&self, position: Cursor) -> Vec<Model> {
        let mut model = Model::default();
        let mut states = Vec::new();
        let mut rest = self.log.iter().peekable();
        while let Some((sequence, event)) = rest.next() {
            model.take(event);
            if *sequence >= position.sequence || rest.peek().is_none_or(|(next, _)| *next > position.sequence) {
                states.push(model.clone());
            }
        }
        states
    }

    /// Sequence number of the last event before the position.
    fn resolve(&self, position: Position) -> Result<u64, Reply> {
        let cursor = match position {
            Position::Start => return Ok(self.kept_after),
            Position::Head => return Ok(self.head.sequence),
            Position::At(cursor) => cursor,
        };
        let (kind, what) = if cursor.epoch != self.head.epoch {
            (
                ProblemKind::CursorOfAnotherEpoch,
                "Compare what you keep with /v1/feed/reconcile, and go on from its `cursor`.",
            )
        } else if cursor.sequence > self.head.sequence {
            (ProblemKind::CursorBeyondHead, "No such event was written yet.")
        } else if cursor.sequence < self.kept_after {
            (ProblemKind::CursorExpired, "Take /v1/feed/snapshot and go on from the `cursor` that it gives.")
        } else {
            return Ok(cursor.sequence);
        };
        Err(Reply::Problem(kind, what.to_owned()))
    }

    /// A question for events. `is_first`: not the second look of one that waits.
    pub(super) fn ask(
        &mut self,
        after: Option<Position>,
        limit: usize,
        lines: bool,
        now: Instant,
        is_first: bool,
    ) -> Reply {
        if is_first {
            self.watch_pause(now);
        }
        let position = after.or(self.committed.map(Position::At)).unwrap_or(Position::Start);
        if let Position::At(cursor) = position {
            self.seen.asked = Some(cursor);
        }
        if let Some(Fault::Busy(status, seconds)) = self.faults.front() {
            let reply = Reply::Busy(*status, *seconds);
            self.seen.quiet = Some((now, *seconds));
            self.faults.pop_front();
            return reply;
        }
        let after = match self.resolve(position) {
            Ok(after) => after,
            Err(problem) => return problem,
        };
        let asked = Cursor { sequence: after, ..self.head };
        self.watch_cut(asked, "asked for events");
        self.watch_epoch();
        if !self.again.is_empty() {
            let events: Vec<Value> = (0..limit).map_while(|_| self.again.pop_front()).collect();
            return Reply::Page(Page { after: asked, events, next: asked, head: self.head });
        }
        let mut found = self.log.iter().filter(|(sequence, _)| *sequence > after);
        let taken: Vec<(u64, Value)> = found.by_ref().take(limit).cloned().collect();
        let next = match (found.next(), taken.last()) {
            (Some(_), Some((last, _))) => *last,
            _ => self.head.sequence,
        };
        let events: Vec<Value> = taken.iter().map(|(_, event)| event.clone()).collect();
        let page = Page { after: asked, events, next: Cursor { sequence: next, ..self.head }, head: self.head };
        if asked == self.head {
            self.seen.reached = Some(self.head);
        }
        if page.events.is_empty() && page.next == asked {
            return Reply::Empty(page);
        }
        if !page.events.is_empty() && self.faults.front() == Some(&Fault::Cut) {
            self.faults.pop_front();
            // Of lines those before the break are whole, of a document nothing is.
            let whole = if lines { taken.len() / 2 } else { 0 };
            let told = taken.iter().take(whole).next_back().map_or(after, |(sequence, _)| *sequence);
            self.seen.told = Some(Cursor { sequence: told, ..self.head });
            return Reply::Cut(page);
        }
        self.seen.hurry = None;
        Reply::Page(page)
    }

    /// What comes next in a stream that is open and has told everything up to here. `None`: it ends, and whoever comes back is told why.
    pub(super) fn go_on(&mut self, told: Cursor, limit: usize, now: Instant) -> Option<Reply> {
        if matches!(self.faults.front(), Some(Fault::Busy(..))) {
            return None;
        }
        let reached = self.seen.reached;
        let reply = self.ask(Some(Position::At(told)), limit, true, now, false);
        // What was sent may not be read yet.
        self.seen.reached = reached;
        (!matches!(reply, Reply::Problem(..))).then_some(reply)
    }

    /// A stream that is open has had nothing to tell for a while after this position. Who commits says by that what it has read.
    pub(super) fn nothing_streamed(&mut self, told: Cursor, now: Instant) {
        if self.seen.committed.is_none() && told == self.head {
            self.seen.reached = Some(told);
        }
        self.nothing_told(true, now);
    }

    /// An answer without events goes out; `waited`: not at once.
    pub(super) fn nothing_told(&mut self, waited: bool, now: Instant) {
        self.seen.empty += 1;
        let before = self.seen.hurry.map_or(0, |(_, count)| count);
        self.seen.hurry = (!waited).then_some((now, before));
    }

    /// A position is committed.
    pub(super) fn commit(&mut self, position: Position) -> Result<Cursor, Reply> {
        let sequence = self.resolve(position)?;
        let cursor = Cursor { sequence, ..self.head };
        self.watch_cut(cursor, "committed");
        self.committed = Some(cursor);
        self.seen.committed = Some(cursor);
        if cursor == self.head {
            self.seen.reached = Some(cursor);
        }
        Ok(cursor)
    }

    /// A page of the snapshot (`records`) or of the comparison after the row of this number, with the number of the last row if more follow.
    pub(super) fn rows(
        &mut self,
        begun: Option<Cursor>,
        after: usize,
        limit: usize,
        records: bool,
    ) -> Result<Value, Reply> {
        if let Some(begun) = begun {
            self.resolve(Position::At(begun))?;
        }
        let from = if records { self.kept_after.max(self.snapshot_from()) } else { self.compared() };
        let cursor = Cursor { sequence: from, ..self.head };
        let rows = self.state.rows(records);
        let end = rows.len().min(after + limit.min(ROWS));
        let next = (end < rows.len()).then(|| format!("{}.person.{end}", begun.unwrap_or(self.head)));
        if next.is_none() {
            let place = if records { &mut self.seen.snapshot } else { &mut self.seen.reconciled };
            *place = Some(cursor);
        }
        let page = rows.get(after..end).unwrap_or_default();
        Ok(json!({"records": page, "next": next, "cursor": cursor.to_string()}))
    }

    /// Snapshots begin where the log does after a loss, so that some of what follows is in them already; otherwise at the head.
    fn snapshot_from(&self) -> u64 {
        if self.kept_after > 0 && self.head.epoch == 1 { self.kept_after } else { self.head.sequence }
    }

    fn compared(&self) -> u64 {
        if self.compared_from > 0 { self.compared_from } else { self.head.sequence }
    }

    /// A question came while it was to wait, or again and again without a pause.
    fn watch_pause(&mut self, now: Instant) {
        if let Some((told, seconds)) = self.seen.quiet.take() {
            let waited = now.duration_since(told);
            if waited < Duration::from_secs(seconds) {
                let found = format!("it asked again after {:.2} s", waited.as_secs_f64());
                self.find(Duty::BackOff, "an answer with Retry-After", &format!("no question for {seconds} s"), &found);
            }
        }
        if let Some((told, count)) = self.seen.hurry {
            let count = if now.duration_since(told) < HURRY { count + 1 } else { 0 };
            self.seen.hurry = Some((told, count));
            if count == HURRIED {
                let expected = "a question with `wait`, or a pause before the next one";
                self.find(
                    Duty::Wait,
                    "answers without events",
                    expected,
                    &format!("{HURRIED} questions without a pause"),
                );
            }
        }
    }

    /// After an answer that broke off nothing beyond what was told is known.
    fn watch_cut(&mut self, cursor: Cursor, verb: &str) {
        if let Some(told) = self.seen.told.take()
            && cursor > told
        {
            let expected = format!("the same question once more (what lies after {told} was not told)");
            self.find(Duty::Cut, "a page that broke off", &expected, &format!("it {verb} after {cursor}"));
        }
    }

    /// It goes on in a new epoch: has it compared?
    fn watch_epoch(&mut self) {
        if self.head.epoch > 1 && !self.is_compared() {
            let expected = "/v1/feed/reconcile or /v1/feed/snapshot read to the end, before it goes on";
            let already =
                self.seen.findings.iter().any(|(duty, finding)| *duty == Duty::Epoch && finding.expected == expected);
            if !already {
                self.find(
                    Duty::Epoch,
                    "409 cursor-of-another-epoch",
                    expected,
                    "it went on in the feed of the new epoch",
                );
            }
        }
    }

    fn find(&mut self, duty: Duty, sent: &str, expected: &str, found: &str) {
        let finding = Finding { sent: sent.to_owned(), expected: expected.to_owned(), found: found.to_owned() };
        self.seen.findings.push((duty, finding));
    }
}

impl Page {
    /// As one document.
    pub(super) fn document(&self) -> String {
        json!({"events": self.events, "next": self.next.to_string(), "head": self.head.to_string()}).to_string()
    }

    /// One event a line, and a checkpoint last.
    pub(super) fn lines(&self) -> String {
        self.events.iter().chain([&self.checkpoint()]).map(|line| format!("{line}\n")).collect()
    }

    /// As server-sent events, each with its text, and a checkpoint last where `next` lies further on. What is told again has the id of
    /// what was told last.
    pub(super) fn server_sent(&self) -> Vec<String> {
        let mut told = self.after;
        let mut texts = Vec::with_capacity(self.events.len() + 1);
        for event in &self.events {
            let sequence = event["sequence"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
            told = Cursor { sequence: told.sequence.max(sequence), ..self.next };
            let kind = event["type"].as_str().unwrap_or_default();
            texts.push(server_sent_event(told, kind, &event.to_string()));
        }
        if self.next > told {
            let kind = EventKind::FeedCheckpoint.name();
            texts.push(server_sent_event(self.next, kind, &self.checkpoint().to_string()));
        }
        texts
    }

    fn checkpoint(&self) -> Value {
        json!({
            "specversion": "1.0",
            "id": format!("checkpoint-{}", self.next),
            "source": "heyi/feed",
            "type": EventKind::FeedCheckpoint.name(),
            "time": "2026-03-16T08:00:00Z",
            "sequence": format!("{:012}", self.next.sequence),
            "dataschema": EventKind::FeedCheckpoint.schema_path(),
            "datacontenttype": "application/json",
            "data": {"next": self.next.to_string(), "head": self.head.to_string()},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(count: u64) -> Stage {
        let mut stage = Stage::new();
        let event = |place: u64| json!({"type": "patient.created", "id": place.to_string(), "data": {"one_id": place.to_string(), "version": 1}});
        stage.tell(&(0..count).map(event).collect::<Vec<_>>());
        stage
    }

    fn at(cursor: &str) -> Option<Position> {
        Some(cursor.parse().unwrap())
    }

    fn faults(stage: &Stage) -> Vec<Duty> {
        stage.seen.findings.iter().map(|(duty, _)| *duty).collect()
    }

    #[test]
    fn pages_follow_one_another_and_the_head_is_reached_by_asking_or_committing() {
        let mut stage = stage(5);
        let now = Instant::now();
        let Reply::Page(page) = stage.ask(at("1-2"), 2, false, now, true) else { panic!("a page") };
        assert_eq!((page.events.len(), page.next.sequence, page.head.sequence), (2, 4, 5));
        assert!(!stage.is_through());
        assert!(matches!(stage.ask(at("1-5"), 2, false, now, true), Reply::Empty(_)));
        assert!(stage.is_through());
        stage.tell_others(10);
        assert!(!stage.is_through());
        assert_eq!(stage.commit(Position::Head).unwrap().sequence, 15);
        assert!(stage.is_through());
        assert!(
            matches!(stage.ask(None, 2, false, now, true), Reply::Empty(_)),
            "without `after`: from what is committed"
        );
    }

    #[test]
    fn positions_mean_what_they_mean_in_the_product() {
        let mut stage = stage(5);
        stage.expire();
        stage.tell_others(1);
        let mut kind = |after| match stage.ask(at(after), 9, false, Instant::now(), true) {
            Reply::Problem(kind, _) => Some(kind),
            _ => None,
        };
        assert_eq!(kind("2-5"), Some(ProblemKind::CursorOfAnotherEpoch));
        assert_eq!(kind("1-7"), Some(ProblemKind::CursorBeyondHead));
        assert_eq!(kind("1-4"), Some(ProblemKind::CursorExpired));
        assert_eq!([kind("1-5"), kind("start"), kind("head")], [None, None, None]);
    }

    #[test]
    fn who_is_told_to_wait_and_does_not_is_found() {
        for (pause, expected) in [(2_900, vec![Duty::BackOff]), (3_000, vec![])] {
            let (mut stage, now) = (stage(1), Instant::now());
            stage.fail_next(&[Fault::Busy(503, 3)]);
            assert_eq!(stage.ask(None, 9, false, now, true), Reply::Busy(503, 3));
            stage.ask(None, 9, false, now + Duration::from_millis(pause), true);
            assert_eq!(faults(&stage), expected);
        }
    }

    #[test]
    fn who_asks_again_and_again_without_a_pause_is_found() {
        for (pause, waited, expected) in [(10, false, 1), (10, true, 0), (900, false, 0)] {
            let (mut stage, mut now) = (stage(1), Instant::now());
            for _ in 0..30 {
                assert!(matches!(stage.ask(at("head"), 9, false, now, true), Reply::Empty(_)));
                stage.nothing_told(waited, now);
                now += Duration::from_millis(pause);
            }
            assert_eq!(faults(&stage).len(), expected, "{pause} ms, waited: {waited}");
        }
    }

    #[test]
    fn an_open_stream_ends_where_who_comes_back_is_told_why() {
        let now = Instant::now();
        for (happens, ends) in [
            ((|_| {}) as fn(&mut Stage), false),
            (|stage| stage.fail_next(&[Fault::Busy(503, 1)]), true),
            (|stage| stage.put_back(Cursor { epoch: 1, sequence: 2 }, Model::default()), true),
            (
                |stage| {
                    stage.tell_others(1);
                    stage.expire();
                },
                true,
            ),
        ] {
            let mut stage = stage(4);
            happens(&mut stage);
            assert_eq!(stage.go_on(Cursor { epoch: 1, sequence: 4 }, 9, now).is_none(), ends);
            assert_eq!(faults(&stage), [], "what the stream asks is not the consumer's doing");
        }
    }

    #[test]
    fn a_stream_says_where_it_is_with_every_event_and_behind_those_of_others() {
        let mut stage = stage(3);
        stage.tell_others(2);
        let told = Cursor { epoch: 1, sequence: 1 };
        let Some(Reply::Page(page)) = stage.go_on(told, 9, Instant::now()) else { panic!("a page") };
        let ids = |page: &Page| -> Vec<String> {
            page.server_sent().iter().map(|text| text.lines().next().unwrap().to_owned()).collect()
        };
        assert_eq!(ids(&page), ["id: 1-000000000002", "id: 1-000000000003", "id: 1-000000000005"]);
        assert!(page.server_sent()[2].contains("event: feed.checkpoint"));
        let head = stage.head();
        stage.tell_again(&page.events);
        let Some(Reply::Page(again)) = stage.go_on(head, 9, Instant::now()) else { panic!("a page") };
        assert_eq!(ids(&again), ["id: 1-000000000005", "id: 1-000000000005"], "nobody is led back");
    }

    #[test]
    fn after_an_answer_that_broke_off_nobody_goes_on_behind_it() {
        // Of a document nothing was told, of lines the first half.
        for (lines, goes_on, expected) in [
            (false, "1-1", vec![Duty::Cut]),
            (false, "1-0", vec![]),
            (true, "1-2", vec![]),
            (true, "1-3", vec![Duty::Cut]),
        ] {
            let mut stage = stage(4);
            stage.fail_next(&[Fault::Cut]);
            assert!(matches!(stage.ask(at("1-0"), 9, lines, Instant::now(), true), Reply::Cut(_)));
            stage.ask(at(goes_on), 9, lines, Instant::now(), true);
            assert_eq!(faults(&stage), expected, "lines: {lines}, {goes_on}");
        }
        let mut stage = stage(4);
        stage.fail_next(&[Fault::Cut]);
        stage.ask(at("1-0"), 9, false, Instant::now(), true);
        stage.commit(Position::Head).unwrap();
        assert_eq!(faults(&stage), [Duty::Cut]);
    }

    #[test]
    fn who_goes_on_in_a_new_epoch_without_comparing_is_found() {
        for compares in [true, false] {
            let mut stage = stage(4);
            let (moment, state) = (stage.head(), stage.state.clone());
            stage.tell(&[json!({"type": "patient.created", "id": "lost", "data": {"one_id": "X", "version": 1}})]);
            stage.put_back(moment, state);
            assert!(matches!(stage.ask(at("1-5"), 9, false, Instant::now(), true), Reply::Problem(..)));
            if compares {
                let page = stage.rows(None, 0, 1_000, false).unwrap();
                assert_eq!(
                    (page["records"].as_array().unwrap().len(), page["cursor"].as_str()),
                    (4, Some("2-000000000004"))
                );
            }
            stage.ask(at("2-4"), 9, false, Instant::now(), true);
            assert_eq!(faults(&stage).is_empty(), compares);
        }
    }
}
