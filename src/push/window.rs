//! The events that come next, and which of them may be under way together. Pure: no clock, no socket, no store.
//!
//! An event is in memory as it left the store when it was read. One that has waited for long is read again before it is sent: a consent may
//! have been withdrawn, a person erased, a policy changed.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::feed::Event;
use crate::outgoing::Ordered;
use crate::store::holds::Place;

/// An event that may be sent: its number, what it is about, itself.
pub(super) type Ready = (u64, Vec<String>, Arc<Event>);

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Everything up to here was read from the log.
    read_to: u64,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    keys: Vec<String>,
    event: Arc<Event>,
    stage: Stage,
    /// When it was read, microseconds since the epoch.
    read_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waits,
    UnderWay,
    /// Taken, or held in the store.
    Over,
}

impl Window {
    /// An empty one after the event with this sequence number.
    pub(super) fn new(after: u64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, read_to: after }
    }

    /// Where the log is read on.
    pub(super) fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Events in memory, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// Takes what was read at `read_at` up to `next`.
    pub(super) fn extend(&mut self, events: impl IntoIterator<Item = Ordered>, next: u64, read_at: i64) {
        for Ordered { sequence, keys, event } in events {
            self.bytes += event.data.get().len();
            self.entries.push_back(Entry { sequence, keys, event: Arc::new(event), stage: Stage::Waits, read_at });
        }
        self.read_to = next;
    }

    /// Takes an event that waits as it was read again at `read_at`; `None`: nothing of it is for the consumer any more.
    pub(super) fn renew(&mut self, sequence: u64, ordered: Option<Ordered>, read_at: i64) {
        let Ok(index) = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence) else { return };
        let Some(entry) = self.entries.get_mut(index).filter(|entry| entry.stage == Stage::Waits) else { return };
        match ordered {
            Some(Ordered { event, .. }) => {
                self.bytes = self.bytes - entry.event.data.get().len() + event.data.get().len();
                (entry.event, entry.read_at) = (Arc::new(event), read_at);
            }
            None => {
                entry.stage = Stage::Over;
                self.drop_finished();
            }
        }
    }

    /// Up to here everything was taken or is held.
    pub(super) fn position(&self) -> u64 {
        self.entries.front().map_or(self.read_to, |entry| entry.sequence - 1)
    }

    /// The events that may be sent now, at most so many: nothing before them that is about the same is unfinished. And those that might be, but
    /// were read before `since`: they are to be read again.
    pub(super) fn ready(&self, limit: usize, since: i64) -> (Vec<Ready>, Vec<u64>) {
        let mut unfinished: HashSet<&str> = HashSet::new();
        let (mut ready, mut stale) = (Vec::new(), Vec::new());
        for entry in self.entries.iter().filter(|entry| entry.stage != Stage::Over) {
            if ready.len() + stale.len() >= limit {
                break;
            }
            let is_free = entry.keys.iter().all(|key| !unfinished.contains(key.as_str()));
            if is_free && entry.stage == Stage::Waits {
                if entry.read_at < since {
                    stale.push(entry.sequence);
                } else {
                    ready.push((entry.sequence, entry.keys.clone(), Arc::clone(&entry.event)));
                }
            }
            unfinished.extend(entry.keys.iter().map(String::as_str));
        }
        (ready, stale)
    }

    /// Whether an event before `sequence` that is about any of these is unfinished.
    pub(super) fn is_before(&self, sequence: u64, keys: &[String]) -> bool {
        let unfinished = self.entries.iter().filter(|entry| entry.stage != Stage::Over && entry.sequence < sequence);
        unfinished.flat_map(|entry| &entry.keys).any(|key| keys.contains(key))
    }

    /// The event is on its way.
    pub(super) fn sent(&mut self, sequence: u64) {
        self.stage(sequence, Stage::UnderWay);
    }

    /// The event was not taken for no fault of its own: it waits again.
    pub(super) fn returned(&mut self, sequence: u64) {
        self.stage(sequence, Stage::Waits);
    }

    /// The event was taken.
    pub(super) fn taken(&mut self, sequence: u64) {
        self.stage(sequence, Stage::Over);
        self.drop_finished();
    }

    /// The event failed: it, and what waits here behind it, is to be held. None of them is under way.
    pub(super) fn behind(&self, sequence: u64) -> Option<(Place, Vec<Place>)> {
        let failed = self.entries.iter().find(|entry| entry.sequence == sequence)?;
        let mut keys: HashSet<&str> = failed.keys.iter().map(String::as_str).collect();
        let mut later = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.sequence > sequence && entry.stage != Stage::Over) {
            if entry.keys.iter().any(|key| keys.contains(key.as_str())) {
                keys.extend(entry.keys.iter().map(String::as_str));
                later.push((entry.sequence, entry.keys.clone()));
            }
        }
        Some(((sequence, failed.keys.clone()), later))
    }

    /// These are held in the store now.
    pub(super) fn held(&mut self, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            self.stage(sequence, Stage::Over);
        }
        self.drop_finished();
    }

    fn stage(&mut self, sequence: u64, stage: Stage) {
        if let Ok(index) = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence)
            && let Some(entry) = self.entries.get_mut(index)
        {
            entry.stage = stage;
        }
    }

    fn drop_finished(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.stage == Stage::Over) {
            let gone = self.entries.pop_front();
            self.bytes -= gone.map_or(0, |entry| entry.event.data.get().len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn ordered(sequence: u64, keys: &[u8]) -> Ordered {
        let event = Event {
            specversion: "1.0",
            id: sequence.to_string(),
            source: String::new(),
            kind: String::new(),
            subject: String::new(),
            time: String::new(),
            sequence: String::new(),
            dataschema: "",
            datacontenttype: "",
            data: RawValue::from_string("{}".to_owned()).unwrap(),
        };
        Ordered { sequence, keys: keys.iter().map(ToString::to_string).collect(), event }
    }

    fn window(keys: &[&[u8]]) -> Window {
        let mut window = Window::new(10);
        window.extend((11..).zip(keys).map(|(sequence, keys)| ordered(sequence, keys)), 10 + keys.len() as u64, 7);
        window
    }

    fn ready(window: &Window) -> Vec<u64> {
        window.ready(99, 0).0.into_iter().map(|(sequence, ..)| sequence).collect()
    }

    #[test]
    fn what_was_read_long_ago_is_read_again_before_it_is_sent_and_goes_where_nothing_is_left() {
        let mut window = window(&[&[1], &[1], &[2], &[3]]);
        window.sent(14);
        let (now, stale) = window.ready(99, 8);
        assert_eq!((now.len(), stale), (0, vec![11, 13]), "not what is under way, nor what waits behind another");
        window.renew(13, Some(ordered(13, &[2])), 9);
        window.renew(11, None, 9);
        let (now, stale) = window.ready(99, 8);
        assert_eq!((now[0].0, stale, window.position()), (13, vec![12], 11));
        window.renew(14, None, 9);
        window.taken(14);
        assert_eq!(window.size().0, 3, "what is under way ends by its own answer");
    }

    #[test]
    fn one_person_at_a_time_and_a_merge_waits_for_both() {
        let mut window = window(&[&[1], &[2], &[1], &[1, 2], &[2], &[3]]);
        assert_eq!(ready(&window), [11, 12, 16]);
        for sequence in [11, 12, 16] {
            window.sent(sequence);
        }
        assert!(ready(&window).is_empty());
        window.taken(12);
        assert_eq!((ready(&window), window.position()), (vec![], 10));
        window.taken(11);
        assert_eq!((ready(&window), window.position()), (vec![13], 12));
        window.taken(13);
        assert_eq!(ready(&window), [14]);
        window.taken(14);
        assert_eq!((ready(&window), window.position()), (vec![15], 14));
        window.taken(15);
        assert_eq!((window.position(), window.size().0), (15, 1), "the sixth is under way");
        window.taken(16);
        assert_eq!((window.position(), window.size()), (16, (0, 0)));
    }

    #[test]
    fn what_failed_takes_along_what_is_behind_it() {
        let mut window = window(&[&[1], &[2], &[1, 3], &[3], &[2], &[4]]);
        window.sent(11);
        let (failed, later) = window.behind(11).unwrap();
        assert_eq!(failed, (11, vec!["1".to_owned()]));
        assert_eq!(later.iter().map(|place| place.0).collect::<Vec<_>>(), [13, 14]);
        assert!(window.is_before(12, &["1".to_owned()]) && !window.is_before(11, &["1".to_owned()]));
        window.held([11, 13, 14]);
        assert_eq!((ready(&window), window.position()), (vec![12, 16], 11));
    }

    proptest! {
        /// Whatever fails, returns or is held in whatever order: what is under way never shares a key with an unfinished event before it,
        /// everything ends, and the position never passes what is unfinished.
        #[test]
        fn order_holds_for_any_course(
            keys in prop::collection::vec(prop::collection::vec(0_u8..4, 1..3), 1..40),
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4), 0..400),
        ) {
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let mut window = window(&keys);
            let of = |sequence: u64| keys[usize::try_from(sequence - 11).unwrap()];
            let mut over: Vec<u64> = Vec::new();
            let mut under_way: Vec<u64> = Vec::new();
            let mut steps = steps.into_iter();
            while over.len() < keys.len() {
                for (sequence, ..) in window.ready(2, 0).0 {
                    let before = (11..sequence).filter(|before| !over.contains(before));
                    for before in before {
                        prop_assert!(!of(before).iter().any(|key| of(sequence).contains(key)), "{before} before {sequence}");
                    }
                    window.sent(sequence);
                    under_way.push(sequence);
                }
                prop_assert!(!under_way.is_empty(), "it goes on");
                let (place, outcome) =
                    steps.next().map_or((0, 0), |(index, outcome)| (index.index(under_way.len()), outcome));
                let sequence = under_way.remove(place);
                match outcome {
                    0 | 1 => {
                        window.taken(sequence);
                        over.push(sequence);
                    }
                    2 => window.returned(sequence),
                    _ => {
                        let (failed, later) = window.behind(sequence).unwrap();
                        let held: Vec<u64> = std::iter::once(failed.0).chain(later.iter().map(|place| place.0)).collect();
                        prop_assert!(held.iter().all(|held| !under_way.contains(held)));
                        window.held(held.clone());
                        over.extend(held);
                    }
                }
                let unfinished = (11..).find(|sequence| !over.contains(sequence)).unwrap();
                prop_assert_eq!(window.position(), unfinished - 1);
            }
        }
    }
}
