//! What the poller remembers between two requests, kept with the content that it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::instant::{Instant, earlier};
use super::sink::{FhirVersion, Note};
use super::world::later;

/// A mark this much older than the server's clock is settled at once: no clock is so wrong, and no transaction so long.
const LONG_PAST: Duration = Duration::from_secs(24 * 60 * 60);

/// Ascents in a row that chance does not make: 1 in 11 factorial.
const ASCENTS: u32 = 10;

/// Rows without a descent that count as sorted if the server says that it sorted: a bulk load has few distinct times.
const ORDERED_ROWS: u64 = 500;

/// How a type is asked for, as far as the server let itself be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asks {
    /// `_sort=_lastUpdated` is sent.
    pub(super) sort: bool,
    /// Rows came in that order.
    pub(super) ordered: bool,
    /// `_lastUpdated=ge…` is sent and has an effect.
    pub(super) since: bool,
    /// Every row has a `lastUpdated`.
    pub(super) dated: bool,
    /// `_include` is sent.
    pub(super) include: bool,
    /// One patient after the other.
    pub(super) per_patient: bool,
    /// When this was last changed for the worse, by our clock: after a day it is tried anew.
    pub(super) changed: Option<Timestamp>,
}

impl Default for Asks {
    fn default() -> Self {
        Self { sort: true, ordered: true, since: true, dated: true, include: true, per_patient: false, changed: None }
    }
}

impl Asks {
    /// Whether only reading everything shows what changed.
    pub(super) fn reads_everything(&self) -> bool {
        !(self.since && self.dated)
    }
}

/// How far a type (or a patient's part of it) has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Track {
    /// The newest time of a finished pass.
    pub(super) mark: Option<Instant>,
    /// The server's clock when the pass began that first saw the mark.
    pub(super) seen: Option<Timestamp>,
    /// Enough time has passed since for every transaction before the mark to have ended: the overlap is not read any more.
    pub(super) settled: bool,
    /// The pass under way.
    pub(super) pass: Option<Pass>,
}

impl Track {
    /// From where the next pass reads.
    pub(super) fn bound(&self, overlap: Duration) -> Option<Timestamp> {
        let mark = self.mark.as_ref()?;
        Some(if self.settled { mark.end() } else { earlier(mark.time(), overlap) })
    }

    /// Ends a pass: moves the mark, or settles it.
    pub(super) fn finish(&mut self, pass: &Pass, overlap: Duration) {
        self.pass = None;
        let Some(opened) = pass.opened else { return };
        // What changed after the pass began may have been missed by it, also before a later time that it saw.
        let top = pass.high.clone().map(|high| if high.time() > opened { Instant::from(opened) } else { high });
        let newer = top.filter(|top| self.mark.as_ref().is_none_or(|mark| top.time() > mark.time()));
        if let Some(top) = newer {
            self.settled = later(top.end(), LONG_PAST) < opened;
            self.mark = Some(top);
            self.seen = Some(opened);
        } else if let Some(seen) = self.seen {
            self.settled |= opened >= later(seen, overlap);
        }
    }
}

/// A pass under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pass {
    /// The server's clock at its first answer (ours, if it tells none).
    pub(super) opened: Option<Timestamp>,
    /// The lower bound of the pass.
    pub(super) since: Option<Timestamp>,
    /// The lower bound of the query whose pages are being read.
    pub(super) from: Option<Timestamp>,
    /// The newest time seen in it.
    pub(super) high: Option<Instant>,
    /// The page to read next; none: a new query from `from`.
    pub(super) next: Option<String>,
    /// Rows asked for in a page.
    pub(super) count: u32,
    /// Everything is read, whatever its time.
    pub(super) everything: bool,
    /// The time of the last row, for seeing whether rows are in order.
    pub(super) last: Option<Instant>,
    /// Rows that were later than the one before.
    pub(super) ascents: u32,
    /// No row was earlier than the one before.
    pub(super) in_order: bool,
    /// The server says that it sorted.
    pub(super) sort_shown: bool,
    /// A row without a time was seen.
    pub(super) undated: bool,
    /// Rows of this query.
    pub(super) rows: u64,
    /// Rows of the pass.
    pub(super) all_rows: u64,
    /// Pages of the pass.
    pub(super) pages: u64,
    /// Times that it began again without having come further.
    pub(super) restarts: u32,
}

impl Pass {
    pub(super) fn begin(since: Option<Timestamp>, everything: bool, count: u32) -> Self {
        let since = if everything { None } else { since };
        Self {
            opened: None,
            since,
            from: since,
            high: None,
            next: None,
            count,
            everything,
            last: None,
            ascents: 0,
            in_order: true,
            sort_shown: false,
            undated: false,
            rows: 0,
            all_rows: 0,
            pages: 0,
            restarts: 0,
        }
    }

    /// Where a new query can begin without missing a row: rows are in order, all that are earlier were read, and it is later than where
    /// this query began.
    pub(super) fn ahead(&self, asks: &Asks) -> Option<Timestamp> {
        let ordered = self.in_order && asks.sort && asks.ordered && asks.since && !self.everything && !self.undated;
        let shown = self.ascents >= ASCENTS || self.sort_shown && self.all_rows >= ORDERED_ROWS;
        // A query cuts to milliseconds: less than one is no advance.
        let high = Timestamp::from_millisecond(self.high.as_ref()?.time().as_millisecond()).ok()?;
        (ordered && shown && self.from.is_none_or(|from| high > from)).then_some(high)
    }

    /// A new query from `from`.
    pub(super) fn query_from(&mut self, from: Option<Timestamp>) {
        self.from = from;
        self.next = None;
        self.last = None;
        self.rows = 0;
    }
}

/// Everything remembered of a type, under `type/NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TypeNote {
    pub(super) asks: Asks,
    pub(super) track: Track,
    /// When the first load ended, by our clock.
    pub(super) loaded: Option<Timestamp>,
    /// By export rather than by search.
    pub(super) exported: bool,
    /// Whether the history can be used, once that is known.
    pub(super) history: Option<bool>,
    /// It once gave a full page without a link to more: there may be deletions that it does not show.
    #[serde(default)]
    pub(super) history_cut: bool,
    /// From where deletions are looked for in it, by the server's clock.
    pub(super) history_mark: Option<Timestamp>,
    /// Last look into the history, by our clock.
    pub(super) history_read: Option<Timestamp>,
    /// The last sweep, by our clock.
    pub(super) swept: Option<Timestamp>,
    /// The patient after whom the roster goes on (per-patient mode).
    pub(super) roster: Option<String>,
    /// When everything was last read, by our clock.
    pub(super) scanned: Option<Timestamp>,
}

/// An export under way, under `export`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExportNote {
    /// It will not be tried (again).
    pub(super) over: bool,
    /// When it was asked for, by our clock.
    pub(super) started: Option<Timestamp>,
    /// Where the job tells how far it is.
    pub(super) status: Option<String>,
    /// The types that were asked for.
    pub(super) types: BTreeSet<String>,
    /// Files that were read, by manifest and place in it.
    pub(super) done: u64,
    /// Lines of the next file that were read.
    pub(super) lines: u64,
    /// Resources kept so far, by type, for whoever wants to see progress.
    #[serde(default)]
    pub(super) loaded: BTreeMap<String, u64>,
    /// How many the manifest counts, by type.
    #[serde(default)]
    pub(super) to_load: BTreeMap<String, u64>,
}

/// What was learnt of the server, under `server`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServerNote {
    pub(super) version: Option<FhirVersion>,
}

/// Held resources that were 404, with the number of sweeps; under `absent/NAME`.
pub(super) type AbsentNote = BTreeMap<String, u32>;

pub(super) const SERVER: &str = "server";
pub(super) const EXPORT: &str = "export";

pub(super) fn type_key(resource_type: &str) -> String {
    format!("type/{resource_type}")
}

pub(super) fn absent_key(resource_type: &str) -> String {
    format!("absent/{resource_type}")
}

pub(super) fn patient_key(resource_type: &str, patient: &str) -> String {
    format!("type/{resource_type}/patient/{patient}")
}

/// A note of what can be said in JSON; all that is noted here can.
pub(super) fn write(key: String, value: &impl Serialize) -> Note {
    Note { key, text: serde_json::to_string(value).ok() }
}

/// A note as it was written; one that another version wrote and this one cannot read counts as none: the pass begins anew.
pub(super) fn read<T: DeserializeOwned + Default>(text: Option<&str>) -> T {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(opened: &str, high: Option<&str>) -> Pass {
        let mut pass = Pass::begin(None, false, 10);
        pass.opened = Some(opened.parse().unwrap());
        pass.high = high.and_then(Instant::parse);
        pass
    }

    const OVERLAP: Duration = Duration::from_secs(300);

    #[test]
    fn a_mark_never_passes_the_servers_clock_at_the_beginning_of_the_pass() {
        let mut track = Track::default();
        track.finish(&pass("2026-03-01T10:00:00Z", Some("2036-01-01T00:00:00Z")), OVERLAP);
        assert_eq!(track.mark.unwrap().text(), "2026-03-01T10:00:00.000Z");
    }

    #[test]
    fn the_overlap_is_read_until_no_transaction_can_be_open_any_more() {
        let mut track = Track::default();
        track.finish(&pass("2026-03-01T10:00:00Z", Some("2026-03-01T09:59:00Z")), OVERLAP);
        let bound = |track: &Track| track.bound(OVERLAP).unwrap().to_string();
        assert_eq!(bound(&track), "2026-03-01T09:54:00Z");
        track.finish(&pass("2026-03-01T10:04:59Z", Some("2026-03-01T09:59:00Z")), OVERLAP);
        assert_eq!(bound(&track), "2026-03-01T09:54:00Z");
        track.finish(&pass("2026-03-01T10:05:00Z", None), OVERLAP);
        assert_eq!(bound(&track), "2026-03-01T09:59:01Z", "a text without a fraction stands for its whole second");
        track.finish(&pass("2026-03-01T10:06:00Z", Some("2026-03-01T10:05:59Z")), OVERLAP);
        assert_eq!(bound(&track), "2026-03-01T10:00:59Z");
    }

    #[test]
    fn a_mark_does_not_go_back_and_an_empty_pass_leaves_it() {
        let mut track = Track::default();
        track.finish(&pass("2026-03-01T10:00:00Z", Some("2026-03-01T09:59:00Z")), OVERLAP);
        track.finish(&pass("2026-03-01T10:01:00Z", Some("2026-03-01T09:00:00Z")), OVERLAP);
        track.finish(&pass("2026-03-01T10:02:00Z", None), OVERLAP);
        assert_eq!(track.mark.unwrap().text(), "2026-03-01T09:59:00Z");
    }
}
