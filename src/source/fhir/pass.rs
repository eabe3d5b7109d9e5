//! One pass over a type: page after page of what changed since the mark, each kept before the next is looked at.
//!
//! Links to pages are followed as they are. Where that does not lead on (a page expired, a list turns in circles, links count rows
//! while rows move, pages end before the matches do), the pass goes on by time: a new query from the newest row, which is safe when rows came in
//! order of time; otherwise it begins anew. The mark moves only when the last page is kept.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{StatusCode, Url};

use super::address::{Link, counts_rows};
use super::bundle::{self, Bundle, Entry};
use super::engine::{Engine, TypeWork};
use super::error::{Concern, FhirError};
use super::instant::Instant;
use super::note::{Asks, Pass, Track, patient_key, type_key, write};
use super::sink::{Note, Origin, Reference, Resource, Sink, Wanted};
use super::status::{LoadedBy, Mode, Remark};
use super::wire::Answer;
use super::world::later;

/// Beyond the server's clock by this much a `lastUpdated` is in the future: clocks of nodes differ by less.
const FUTURE: Duration = Duration::from_secs(120);

/// The coarsest that servers compare times.
const WHOLE_SECOND: Duration = Duration::from_secs(1);

/// Rows asked for in one page when only a page that holds all of them can be trusted.
const LARGEST_COUNT: u32 = 5_000;

/// Rows of one query remembered to see whether pages repeat; 8 bytes each. Beyond, the number of pages alone bounds the pass.
const REMEMBERED: usize = 500_000;

/// Pages without a row, one after the other, before a list counts as endless.
const EMPTY_PAGES: u32 = 20;

/// Failures of one page until it is given up and the pass goes on by time.
const STUMBLES: u32 = 2;

/// How far a turn came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The pass is over, the mark moved.
    Done,
    /// More pages wait.
    More,
    /// The server wants to be asked patient by patient.
    PerPatient,
}

/// What everything that was read held: ids with a hash of their version.
pub(super) type Scan = HashMap<String, Option<String>>;

/// What a pass remembers of the query under way, to see circles.
#[derive(Default)]
struct Trail {
    hasher: RandomState,
    rows: HashSet<u64>,
    links: HashSet<u64>,
    empty: u32,
}

impl Trail {
    fn row_is_new(&mut self, reference: &Reference, version: Option<&str>, at: Option<&Instant>) -> bool {
        let key = (&reference.id, version, at.map(Instant::time));
        let new = self.rows.insert(self.hasher.hash_one(key));
        if self.rows.len() >= REMEMBERED {
            self.rows.clear();
        }
        new
    }

    fn link_is_new(&mut self, link: &Url) -> bool {
        self.links.insert(self.hasher.hash_one(link.as_str()))
    }
}

/// What one page showed.
struct Seen {
    resources: Vec<Resource>,
    /// What a search says was deleted: to be asked for at its own URL.
    doubtful: Vec<Wanted>,
    matches: u64,
    new: u64,
}

/// Where to go behind a page.
enum Way {
    Link(Url),
    /// A new query from there.
    From(Option<Timestamp>),
    /// The same again with larger pages.
    Larger,
    End,
    Nowhere(FhirError),
}

impl<S: Sink> Engine<S> {
    /// Reads pages until the pass is over or the turn is; `track` is the type's, or a patient's part of it.
    pub(super) async fn pass(
        &self,
        name: &str,
        patient: Option<&str>,
        work: &mut TypeWork,
        track: &mut Track,
        turn: &mut u32,
    ) -> Result<Turn, FhirError> {
        let asked_at_first = work.note.asks.clone();
        let everything = work.note.asks.reads_everything();
        // What is kept of it must go when it is over, also where it told nothing new: it would be gone on with for ever.
        let is_kept = track.pass.is_some();
        let mut pass = match track.pass.take() {
            Some(pass) if pass.everything == everything && (!everything || work.scan.is_some()) => pass,
            _ => Pass::begin(track.bound(self.settings.overlap), everything, self.settings.page_size),
        };
        if everything && pass.pages == 0 {
            work.scan = Some(Scan::new());
        }
        let mut trail = Trail::default();
        let mut garbled = 0;
        let mut ahead: Option<Result<Answer, FhirError>> = None;
        loop {
            if *turn == 0 {
                track.pass = Some(pass);
                return Ok(Turn::More);
            }
            *turn -= 1;
            let include = self.include(name, patient, work, track);
            let url = match pass.next.as_deref().map(Url::parse) {
                Some(Ok(url)) => url,
                _ => self.query(name, patient, &pass, &work.note.asks, include.as_deref()),
            };
            let is_first = pass.next.is_none();
            let place = self.server.base.place("GET", &url);
            let answer = match ahead.take() {
                Some(answer) => answer,
                None => self.server.get(url.clone()).await,
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(FhirError::TooLarge { .. } | FhirError::Timeout { .. }) if pass.count > 1 => {
                    self.health.remark(Some(name), Remark::SmallerPages);
                    pass.count = (pass.count / 2).max(1);
                    let from = pass.ahead(&work.note.asks).or(pass.since);
                    pass.query_from(from);
                    trail = Trail::default();
                    continue;
                }
                Err(error) => return Err(self.stumble(error, pass, track, work)),
            };
            if !answer.status.is_success() {
                let expired =
                    matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::BAD_REQUEST);
                if !is_first && expired {
                    self.restart(name, &place, &mut pass, &work.note.asks)?;
                    trail = Trail::default();
                    continue;
                }
                if is_first && self.ask_for_less(name, patient, work, &pass, include.is_some(), &answer) {
                    if work.note.asks.per_patient && patient.is_none() {
                        return Ok(Turn::PerPatient);
                    }
                    if work.note.asks.reads_everything() && !pass.everything {
                        pass = Pass::begin(None, true, pass.count);
                        work.scan = Some(Scan::new());
                    }
                    continue;
                }
                if is_first {
                    // Less did not help: nothing was learnt of what the server takes.
                    work.note.asks = asked_at_first;
                }
                return Err(self.stumble(answer.failure(), pass, track, work));
            }
            let bundle = match bundle::search(&answer.body, name, &place) {
                Ok(bundle) => bundle,
                Err(error) => {
                    self.health.count(&error);
                    garbled += 1;
                    if garbled < self.settings.limits.attempts {
                        let wait = self.server.wire.world.jittered(self.settings.limits.backoff);
                        self.server.wire.pause(wait).await?;
                        continue;
                    }
                    return Err(self.stumble(error, pass, track, work));
                }
            };
            garbled = 0;
            work.stumbles = 0;
            pass.pages += 1;
            let opened = *pass.opened.get_or_insert_with(|| answer.date.unwrap_or_else(|| self.now()));
            // From the first load on, deletions are looked for: what was gone before it never came here.
            work.note.history_mark.get_or_insert(opened);
            if is_first {
                self.look_at_own_link(name, &bundle, &mut pass, work);
            }
            let total = bundle.total;
            let link = bundle.next.clone();
            let seen = self.look_at_rows(name, bundle, &mut pass, work, &mut trail, &answer);
            let mut way = self.way(&place, link.as_deref(), &answer, total, &seen, &mut pass, work, &mut trail, &url);
            if pass.pages >= self.settings.limits.pages && !matches!(way, Way::End) {
                way = Way::Nowhere(FhirError::Paging { place: place.clone(), what: "more pages than allowed" });
            }
            let mut next = None;
            match &way {
                Way::Link(url) => {
                    pass.next = Some(url.to_string());
                    next = (*turn > 0).then(|| url.clone());
                }
                Way::From(from) => {
                    pass.query_from(*from);
                    trail = Trail::default();
                }
                Way::Larger => {
                    pass.count = pass.count.saturating_mul(4).min(LARGEST_COUNT);
                    let from = pass.since;
                    pass.query_from(from);
                    trail = Trail::default();
                }
                Way::End | Way::Nowhere(_) => {}
            }
            // What is kept is the track as it will be once this page is kept.
            let mut after = track.clone();
            match &way {
                Way::End => {
                    if pass.undated {
                        work.note.asks.dated = false;
                        self.health.remark(Some(name), Remark::NoLastUpdated);
                    }
                    after.finish(&pass, self.settings.overlap);
                }
                // The next pass begins anew: what led here may be over by then.
                Way::Nowhere(_) => after.pass = None,
                _ => after.pass = Some(pass.clone()),
            }
            let changed = is_kept || after != *track || work.note.asks != asked_at_first;
            let notes = if changed { notes(name, patient, work, &after) } else { Vec::new() };
            // With the page, whose mark says that all of it is known.
            let mut page = self.answers(seen.doubtful).await?;
            page.resources.splice(0..0, seen.resources);
            page.notes = notes;
            let read_ahead = async {
                match next {
                    Some(url) => Some(self.server.get(url).await),
                    None => None,
                }
            };
            let (kept, answer) =
                tokio::join!(self.keep(name, page, Some(LoadedBy::Search), work.note.loaded.is_none()), read_ahead);
            kept?;
            ahead = answer;
            *track = after;
            self.show(name, work, track, total, pass.all_rows);
            match way {
                Way::End => return Ok(Turn::Done),
                Way::Nowhere(error) => {
                    work.scan = None;
                    return Err(error);
                }
                _ => {}
            }
        }
    }

    /// Keeps where the pass stands, for the next attempt; a page that fails again and again is given up.
    fn stumble(&self, error: FhirError, mut pass: Pass, track: &mut Track, work: &mut TypeWork) -> FhirError {
        if pass.next.is_some() && error.concern() == Concern::Type {
            work.stumbles += 1;
            if work.stumbles >= STUMBLES {
                work.stumbles = 0;
                let from = pass.ahead(&work.note.asks).or(pass.since);
                pass.query_from(from);
            }
        }
        track.pass = Some(pass);
        error
    }

    /// Goes on by time after pages were lost, or anew.
    fn restart(&self, name: &str, place: &str, pass: &mut Pass, asks: &Asks) -> Result<(), FhirError> {
        self.health.remark(Some(name), Remark::Restarted);
        match pass.ahead(asks) {
            Some(from) => {
                pass.restarts = 0;
                pass.query_from(Some(from));
            }
            None => {
                pass.restarts += 1;
                if pass.restarts > self.settings.limits.restarts {
                    return Err(FhirError::Paging {
                        place: place.to_owned(),
                        what: "pages expire before they are read",
                    });
                }
                // In order, but all in one instant: from there again. Without order, or none that is sure: from the start.
                let from =
                    if pass.in_order && asks.ordered && pass.from != pass.since { pass.from } else { pass.since };
                pass.query_from(from);
            }
        }
        Ok(())
    }

    fn look_at_rows(
        &self,
        name: &str,
        bundle: Bundle,
        pass: &mut Pass,
        work: &mut TypeWork,
        trail: &mut Trail,
        answer: &Answer,
    ) -> Seen {
        let now = answer.date.unwrap_or_else(|| self.server.wire.world.now());
        let mut seen =
            Seen { resources: Vec::with_capacity(bundle.entries.len()), doubtful: Vec::new(), matches: 0, new: 0 };
        for entry in bundle.entries {
            let resource = match entry {
                Entry::Resource(resource) => resource,
                Entry::Outcome { warning } => {
                    if warning {
                        self.health.remark(Some(name), Remark::Outcomes);
                    }
                    continue;
                }
                Entry::Happened(happening) => {
                    seen.matches += 1;
                    seen.new += u64::from(trail.row_is_new(&happening.reference, None, happening.at.as_ref()));
                    seen.doubtful.push(Wanted { reference: happening.reference, held_version: None });
                    continue;
                }
                Entry::Unreadable => {
                    self.health.remark(Some(name), Remark::UnreadableEntries);
                    continue;
                }
            };
            if resource.origin == Origin::Include {
                seen.resources.push(resource);
                continue;
            }
            seen.matches += 1;
            let (version, at) = (resource.version_id.as_deref(), resource.last_updated.as_ref());
            seen.new += u64::from(trail.row_is_new(&resource.reference, version, at));
            match &resource.last_updated {
                None => pass.undated = true,
                Some(at) => {
                    // Servers that compare whole seconds are right to give the rest of the bound's second.
                    if work.note.asks.since && pass.from.is_some_and(|from| later(at.end(), WHOLE_SECOND) <= from) {
                        self.bound_ignored(name, pass, work);
                    }
                    match &pass.last {
                        Some(last) if at.time() < last.time() => self.out_of_order(name, pass, work),
                        Some(last) if at.time() > last.time() => pass.ascents = pass.ascents.saturating_add(1),
                        _ => {}
                    }
                    if at.time() > later(now, FUTURE) {
                        self.health.remark(Some(name), Remark::FutureLastUpdated);
                    }
                    if pass.high.as_ref().is_none_or(|high| at.time() > high.time()) {
                        pass.high = Some(at.clone());
                    }
                    pass.last = Some(at.clone());
                }
            }
            seen.resources.push(resource);
        }
        if pass.everything {
            let scan = work.scan.get_or_insert_default();
            for resource in seen.resources.iter().filter(|resource| resource.origin == Origin::Search) {
                scan.insert(resource.reference.id.clone(), resource.version_id.clone());
            }
        }
        pass.rows += seen.new;
        pass.all_rows += seen.new;
        trail.empty = if seen.matches == 0 { trail.empty + 1 } else { 0 };
        seen
    }

    #[expect(clippy::too_many_arguments, reason = "the decision depends on all that was seen of one page")]
    fn way(
        &self,
        place: &str,
        link: Option<&str>,
        answer: &Answer,
        total: Option<u64>,
        seen: &Seen,
        pass: &mut Pass,
        work: &TypeWork,
        trail: &mut Trail,
        here: &Url,
    ) -> Way {
        let asks = &work.note.asks;
        let name = work.name.as_str();
        let by_time = pass.ahead(asks);
        let paging = |what| Way::Nowhere(FhirError::Paging { place: place.to_owned(), what });
        let or_by_time = |way: Way| by_time.map_or(way, |from| Way::From(Some(from)));
        let can_grow = pass.count < LARGEST_COUNT && seen.matches >= u64::from(pass.count);
        if let Some(link) = link {
            let url = match self.server.base.link(&answer.url, link) {
                Link::Here(url) => url,
                Link::Rebased(url) => {
                    self.health.remark(None, Remark::ForeignLinks);
                    url
                }
                Link::Foreign => {
                    self.health.remark(None, Remark::ForeignLinks);
                    return or_by_time(Way::Nowhere(FhirError::ForeignLink { place: place.to_owned() }));
                }
            };
            if url == *here
                || !trail.link_is_new(&url)
                || seen.matches > 0 && seen.new == 0
                || trail.empty > EMPTY_PAGES
            {
                self.health.remark(Some(name), Remark::Restarted);
                return or_by_time(paging("the same pages again"));
            }
            // A row that changes meanwhile moves to the end, and one that was not read yet moves up to a page that was.
            if counts_rows(&url) {
                if let Some(from) = by_time {
                    return Way::From(Some(from));
                }
                if can_grow && !pass.everything {
                    return Way::Larger;
                }
            }
            return Way::Link(url);
        }
        let short = total.is_some_and(|total| total > pass.rows);
        // A full page without a link may be the last by chance: asking once more tells.
        let full = total.is_none() && seen.matches > 0 && seen.matches >= u64::from(pass.count);
        if short || full {
            if short {
                self.health.remark(Some(name), Remark::ShortPages);
            }
            if let Some(from) = by_time {
                return Way::From(Some(from));
            }
            if pass.count < LARGEST_COUNT && (can_grow || short && pass.restarts == 0) {
                pass.restarts += 1;
                return Way::Larger;
            }
            if let Some(total) = total.filter(|_| short) {
                return Way::Nowhere(FhirError::Short { place: place.to_owned(), total, rows: pass.rows });
            }
        }
        Way::End
    }

    fn show(&self, name: &str, work: &TypeWork, track: &Track, total: Option<u64>, rows: u64) {
        let asks = &work.note.asks;
        self.health.update_type(name, |status| {
            status.mode = match () {
                () if asks.reads_everything() => Mode::FullScan,
                () if !(asks.sort && asks.ordered) => Mode::Unsorted,
                () => Mode::Incremental,
            };
            status.per_patient = asks.per_patient;
            status.pages += 1;
            if !asks.per_patient {
                status.mark = track.mark.as_ref().map(|mark| mark.text().to_owned());
                status.mark_time = track.mark.as_ref().map(super::instant::Instant::time);
            }
            if work.note.loaded.is_none() && !asks.per_patient {
                status.loaded = rows;
                status.to_load = total.map(|total| total.max(rows)).or(status.to_load);
            }
        });
    }
}

/// Where the track is kept: in the type's note, or in one of the patient's own.
fn notes(name: &str, patient: Option<&str>, work: &TypeWork, track: &Track) -> Vec<Note> {
    let mut note = work.note.clone();
    match patient {
        None => {
            note.track = track.clone();
            vec![write(type_key(name), &note)]
        }
        Some(patient) => vec![write(type_key(name), &note), write(patient_key(name, patient), track)],
    }
}
