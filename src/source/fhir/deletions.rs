//! What is on the server no longer: a search never shows it.
//!
//! Where a type has a history, its DELETE entries tell; it also has what changed, so it takes the place of a poll's search and costs no request
//! more. What it gives moves no mark: the next search reads the same again, so a history that leaves something out delays it by one
//! poll and loses nothing.
//! Where it has none (and now and then where it has one), all ids are listed and compared
//! with the mirror: what the mirror holds and the list lacks is asked for at its own URL, what the list has and the mirror lacks or holds in
//! another version is read. That also finds what a poll cannot see, such as a row that was written with an old time.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;

use super::address::Link;
use super::bundle::{self, Bundle, Entry, Happening};
use super::engine::{Engine, TypeWork};
use super::error::FhirError;
use super::instant::{earlier, query_text};
use super::note::{absent_key, type_key, write};
use super::pass::Scan;
use super::read::Found;
use super::settings::SWEEPS_WITH_HISTORY;
use super::sink::{Absence, Gone, Origin, Page, Reference, Resource, Sink};
use super::status::Remark;
use super::wire::Answer;

/// Ids asked of the keeper at once.
const HELD: usize = 5_000;

/// Deletions, or resources that were read, kept in one transaction.
const TOGETHER: usize = 200;

/// Ids asked for in one page of a sweep: rows are short.
const SWEEP_COUNT: u32 = 1_000;

/// Times that a list of ids may begin anew.
const RESTARTS: u32 = 3;

/// Rows asked for in one page of a history at least: new entries come before those that were read, and push the rest on.
const SHORTEST_HISTORY: u32 = 100;

/// Rows asked for in one page of a history at most.
const HISTORY_COUNT: u32 = 5_000;

impl<S: Sink> Engine<S> {
    /// Reads the type's history, where it is time to and it can stand for this poll's search. True: it told all that a search would.
    pub(super) async fn search_by_history(&self, work: &mut TypeWork) -> Result<bool, FhirError> {
        // Never twice, one after the other: a search looks through what a history leaves out.
        let is_its_turn = work.searched && self.history_is_due(work);
        if is_its_turn && can_stand_for_a_search(work) { self.history(work).await } else { Ok(false) }
    }

    fn history_is_due(&self, work: &TypeWork) -> bool {
        is_due(work.note.history_read, self.settings.history_interval, self.now())
    }

    /// Looks for deletions where it is time to.
    pub(super) async fn deletions(&self, work: &mut TypeWork) -> Result<(), FhirError> {
        if work.note.history.is_none() {
            let said = self.capabilities.as_ref().and_then(|known| known.history(&work.name));
            // What is not said is tried.
            work.note.history = Some(said.unwrap_or(true));
            if said == Some(false) {
                self.health.remark(Some(&work.name), Remark::NoHistory);
            }
        }
        // One that can stand for a search has a poll of its own.
        if work.note.history == Some(true) && self.history_is_due(work) && !can_stand_for_a_search(work) {
            self.history(work).await?;
        }
        let told = work.note.history == Some(true) && !work.note.history_cut;
        let spared = if told { SWEEPS_WITH_HISTORY } else { 1 };
        let interval = self.settings.sweep_interval.saturating_mul(spared);
        // The first load was complete: the first sweep is due an interval after it.
        let last = work.note.swept.or(work.note.loaded);
        // Reading everything is a sweep by itself, unless it is done patient by patient.
        let sweeps = work.note.asks.per_patient || !work.note.asks.reads_everything();
        if sweeps && is_due(last, interval, self.now()) {
            self.sweep(work).await?;
        }
        Ok(())
    }

    /// Reads what happened to a type since the last look. True: it told of everything, what changed too.
    async fn history(&self, work: &mut TypeWork) -> Result<bool, FhirError> {
        let name = work.name.clone();
        let mark = work.note.history_mark;
        let since = mark.map(|mark| earlier(mark, self.settings.overlap));
        let mut count = self.settings.page_size.max(SHORTEST_HISTORY);
        let read = loop {
            match self.whole_history(&name, since, count).await? {
                History::All { happened, opened } => break Some((happened, opened)),
                // hapi-fhir #2114: one page, and no link to the rest.
                History::Cut => {
                    self.health.remark(Some(&name), Remark::HistoryDoesNotPage);
                    work.note.history_cut = true;
                    if count >= HISTORY_COUNT {
                        break None;
                    }
                    count = count.saturating_mul(5).min(HISTORY_COUNT);
                }
                History::None => {
                    self.health.remark(Some(&name), Remark::NoHistory);
                    break None;
                }
            }
        };
        work.note.history_read = Some(self.now());
        let Some((happened, opened)) = read else {
            work.note.history = Some(false);
            self.keep_type(work).await?;
            return Ok(false);
        };
        let mut told = true;
        let mut gone = Vec::new();
        let mut pages = Vec::new();
        let mut changed = Vec::new();
        for (reference, fate) in fates(happened) {
            match fate {
                Fate::Lives(Some(resource)) => changed.push(resource),
                // It came without its content, or the order of entries is in doubt: a search has it.
                Fate::Lives(None) => told = false,
                Fate::Deleted(at) => gone.push(Gone { reference, absence: Absence::Deleted, at }),
                // The order of entries is in doubt: the resource itself knows.
                Fate::Doubtful { deleted } => match self.read_one(&reference, None).await? {
                    Found::Resource(resource) => {
                        pages.push(Page { resources: vec![resource], ..Page::empty(self.version) });
                    }
                    Found::Deleted => gone.push(Gone { reference, absence: Absence::Deleted, at: None }),
                    // Its history says so, and so does its own URL.
                    Found::Not if deleted => gone.push(Gone { reference, absence: Absence::Deleted, at: None }),
                    Found::Unchanged | Found::Not => {}
                },
            }
        }
        while !changed.is_empty() {
            let rest = changed.split_off(changed.len().min(TOGETHER));
            pages.push(Page { resources: std::mem::replace(&mut changed, rest), ..Page::empty(self.version) });
        }
        pages.extend(gone.chunks(TOGETHER).map(|gone| Page { gone: gone.to_vec(), ..Page::empty(self.version) }));
        for page in pages {
            self.keep(&name, page, None, false).await?;
        }
        work.note.history_mark = Some(opened);
        self.health.update_type(&name, |status| status.deletions_checked = Some(self.now()));
        // A note for every look would be a transaction for every look: the mark may lag, at the price of reading a little more again.
        let lag =
            work.note.history_cut || mark.is_none_or(|mark| super::world::later(mark, self.settings.overlap) <= opened);
        if lag || !gone.is_empty() {
            self.keep_type(work).await?;
        }
        Ok(told)
    }

    async fn whole_history(&self, name: &str, since: Option<Timestamp>, count: u32) -> Result<History, FhirError> {
        let mut query = format!("_count={count}");
        if let Some(since) = since {
            query = format!("_since={}&{query}", query_text(since));
        }
        let mut url = self.server.base.at(&format!("{name}/_history"), &query);
        let mut opened = None;
        let mut happened = Vec::new();
        let mut links = HashSet::new();
        let mut rows = 0_u64;
        let mut first = true;
        loop {
            let answer = self.server.get(url.clone()).await?;
            if !answer.status.is_success() {
                // Paths and operations that do not exist are refused in all these ways.
                let refused = matches!(answer.status.as_u16(), 400 | 403 | 404 | 405 | 422 | 501);
                return if first && refused { Ok(History::None) } else { Err(answer.failure()) };
            }
            let bundle = bundle::history(&answer.body, name, &answer.place)?;
            let at = *opened.get_or_insert_with(|| answer.date.unwrap_or_else(|| self.now()));
            let (total, length) = (bundle.total, bundle.entries.len() as u64);
            rows += length;
            let link = bundle.next.clone();
            happened.extend(bundle.entries.into_iter().filter_map(|entry| match entry {
                Entry::Happened(happening) => Some(happening),
                _ => None,
            }));
            // All that ever happened, at every look: a server that ignores `_since` costs more than it tells.
            let ignored = |entry: &Happening| matches!((&entry.at, since), (Some(at), Some(since)) if at.end() < since);
            if happened.len() > HISTORY_COUNT as usize {
                if happened.iter().any(ignored) {
                    return Ok(History::None);
                }
                // Contents of that many are not held in memory: a search gives them page by page.
                happened.iter_mut().for_each(|entry| entry.resource = None);
            }
            if happened.len() > self.settings.limits.sweep_ids {
                return Ok(History::Cut);
            }
            match link {
                Some(link) => {
                    let next = self.follow(&answer, &link)?;
                    if next == url || !links.insert(next.clone()) || links.len() as u64 > self.settings.limits.pages {
                        return Err(FhirError::Paging { place: answer.place, what: "the same history again" });
                    }
                    url = next;
                }
                None => {
                    let cut = total.map_or(first && length >= u64::from(count), |total| total > rows && first);
                    return Ok(if cut { History::Cut } else { History::All { happened, opened: at } });
                }
            }
            first = false;
        }
    }

    fn follow(&self, answer: &Answer, link: &str) -> Result<Url, FhirError> {
        match self.server.base.link(&answer.url, link) {
            Link::Here(url) | Link::Rebased(url) => Ok(url),
            Link::Foreign => Err(FhirError::ForeignLink { place: answer.place.clone() }),
        }
    }

    /// Lists all ids and compares.
    async fn sweep(&self, work: &mut TypeWork) -> Result<(), FhirError> {
        let mut listed = Scan::new();
        if work.note.asks.per_patient {
            let mut after: Option<String> = None;
            loop {
                let patients = self.sink.roster(after.as_deref(), HELD).await?;
                for patient in &patients {
                    self.list(&work.name, Some(patient), &mut listed).await?;
                }
                let full = patients.len() >= HELD;
                after = patients.into_iter().next_back();
                if !full || after.is_none() {
                    break;
                }
            }
        } else {
            self.list(&work.name, None, &mut listed).await?;
        }
        self.compare(work, listed).await?;
        work.note.swept = Some(self.now());
        self.keep_type(work).await
    }

    /// Every id of a type with its version, into `listed`.
    async fn list(&self, name: &str, patient: Option<&str>, listed: &mut Scan) -> Result<(), FhirError> {
        let by = patient.map(|patient| format!("patient={patient}&")).unwrap_or_default();
        // In the one order for which servers have stable cursors; then by what less capable ones take.
        let ways = [
            format!("{by}_elements=id,meta&_sort=_lastUpdated&_count={SWEEP_COUNT}"),
            format!("{by}_elements=id&_count={SWEEP_COUNT}"),
            format!("{by}_count={}", self.settings.page_size),
        ];
        let mut way = 0;
        let mut restarts = 0;
        'anew: loop {
            let mut url = self.server.base.at(name, ways.get(way).map_or("", String::as_str));
            let mut first = true;
            let mut links = HashSet::new();
            let mut rows = 0_u64;
            loop {
                let answer = self.server.get(url.clone()).await?;
                if !answer.status.is_success() {
                    let code = answer.status.as_u16();
                    if first && matches!(code, 400 | 422 | 501) && way + 1 < ways.len() {
                        way += 1;
                        continue 'anew;
                    }
                    restarts += 1;
                    if !first && matches!(code, 400 | 404 | 410) && restarts <= RESTARTS {
                        continue 'anew;
                    }
                    return Err(answer.failure());
                }
                let bundle = bundle::search(&answer.body, name, &answer.place)?;
                let Bundle { total, next, entries, .. } = bundle;
                for entry in entries {
                    let Entry::Resource(resource) = entry else { continue };
                    if resource.origin == Origin::Search {
                        rows += u64::from(listed.insert(resource.reference.id, resource.version_id).is_none());
                    }
                }
                if listed.len() > self.settings.limits.sweep_ids {
                    self.health.remark(Some(name), Remark::TooManyIds);
                    return Err(FhirError::Paging { place: answer.place, what: "more ids than a sweep may hold" });
                }
                let Some(link) = next else {
                    // A list that lacks rows is still of use: what it lacks is asked for one by one. Not if that is nearly all.
                    if let Some(total) = total.filter(|&total| total > rows.saturating_mul(2) && restarts == 0) {
                        return Err(FhirError::Short { place: answer.place, total, rows });
                    }
                    return Ok(());
                };
                let next = self.follow(&answer, &link)?;
                if next == url || !links.insert(next.clone()) || links.len() as u64 > self.settings.limits.pages {
                    return Err(FhirError::Paging { place: answer.place, what: "the same ids again" });
                }
                (url, first) = (next, false);
            }
        }
    }

    /// Compares what the server listed with what the mirror holds, and asks about every difference.
    pub(super) async fn compare(&self, work: &mut TypeWork, mut listed: Scan) -> Result<(), FhirError> {
        let name = work.name.clone();
        let (mut missing, mut differing) = (Vec::new(), Vec::new());
        let mut after: Option<String> = None;
        loop {
            let held = self.sink.held(&name, after.as_deref(), HELD).await?;
            let full = held.len() >= HELD;
            after = held.last().map(|held| held.id.clone());
            for held in held {
                match listed.remove(&held.id) {
                    None => missing.push(held.id),
                    Some(Some(version)) if held.version_id.as_ref() != Some(&version) => differing.push(held.id),
                    Some(_) => {}
                }
            }
            if !full {
                break;
            }
        }
        differing.extend(listed.into_keys());
        for ids in differing.chunks(self.settings.limits.ids_in_query.max(1)) {
            let (mut resources, rest) = self.read_many(&name, ids).await?;
            for id in rest {
                let Some(reference) = Reference::new(&name, &id) else { continue };
                if let Found::Resource(resource) = self.read_one(&reference, None).await? {
                    resources.push(resource);
                }
            }
            self.keep(&name, Page { resources, ..Page::empty(self.version) }, None, false).await?;
        }
        // What is listed again was hidden, not gone.
        let lost: HashSet<&String> = missing.iter().collect();
        work.absent.retain(|id, _| lost.contains(id));
        let mut page = Page::empty(self.version);
        for id in missing {
            let Some(reference) = Reference::new(&name, &id) else { continue };
            match self.read_one(&reference, None).await? {
                Found::Resource(resource) => page.resources.push(resource),
                Found::Deleted => page.gone.push(Gone { reference, absence: Absence::Deleted, at: None }),
                Found::Unchanged => {}
                Found::Not => {
                    let sweeps = work.absent.entry(id.clone()).or_default();
                    *sweeps += 1;
                    if *sweeps >= self.settings.absent_sweeps {
                        work.absent.remove(&id);
                        page.gone.push(Gone { reference, absence: Absence::Vanished, at: None });
                    }
                }
            }
            if page.resources.len() + page.gone.len() >= TOGETHER {
                let whole = std::mem::replace(&mut page, Page::empty(self.version));
                self.keep(&name, whole, None, false).await?;
            }
        }
        work.note.swept = Some(self.now());
        page.notes = vec![write(absent_key(&name), &work.absent), write(type_key(&name), &work.note)];
        self.keep(&name, page, None, false).await?;
        self.health.update_type(&name, |status| status.deletions_checked = Some(self.now()));
        Ok(())
    }
}

enum History {
    All { happened: Vec<Happening>, opened: Timestamp },
    Cut,
    None,
}

/// Whether the type's history can take the place of a search now.
fn can_stand_for_a_search(work: &TypeWork) -> bool {
    let note = &work.note;
    let is_between = note.loaded.is_some() && note.track.pass.is_none() && note.history_mark.is_some();
    let is_asked_by_time = !note.asks.per_patient && !note.asks.reads_everything();
    // One that was cut once costs several requests, and may have been cut again.
    is_between && is_asked_by_time && note.history == Some(true) && !note.history_cut
}

fn is_due(last: Option<Timestamp>, interval: Duration, now: Timestamp) -> bool {
    last.is_none_or(|last| super::world::later(last, interval) <= now)
}

/// What became of a resource, as far as its entries in a history tell.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is there, as this, if that is sure.
    Lives(Option<Resource>),
    Deleted(Option<super::instant::Instant>),
    /// Which entry is the newest is not sure; whether it may be a deletion.
    Doubtful {
        deleted: bool,
    },
}

/// A history has the newest first; by their times that is so, or it is in doubt.
fn fates(happened: Vec<Happening>) -> Vec<(Reference, Fate)> {
    let mut by_reference: BTreeMap<Reference, Vec<Happening>> = BTreeMap::new();
    for happening in happened {
        by_reference.entry(happening.reference.clone()).or_default().push(happening);
    }
    let fate = |entries: Vec<Happening>| {
        let lives = entries.iter().all(|entry| !entry.deleted);
        let newest = entries.iter().filter_map(|entry| entry.at.as_ref()).map(|at| at.time()).max();
        let deleted = entries.iter().any(|entry| entry.deleted && entry.at.as_ref().map(|at| at.time()) == newest);
        let mut entries = entries.into_iter();
        let Some(first) = entries.next() else { return Fate::Lives(None) };
        // Rows that move come twice.
        let is_again = |entry: &Happening| match (&entry.resource, &first.resource) {
            (Some(entry), Some(first)) => entry == first,
            _ => false,
        };
        let older = entries.all(|entry| match (&entry.at, &first.at) {
            (Some(at), Some(first)) => at.time() < first.time() || is_again(&entry),
            _ => false,
        });
        match first.deleted {
            true if older => Fate::Deleted(first.at),
            false if older => Fate::Lives(first.resource),
            _ if lives => Fate::Lives(None),
            _ => Fate::Doubtful { deleted },
        }
    };
    by_reference.into_iter().map(|(reference, entries)| (reference, fate(entries))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::instant::Instant;
    use super::*;

    fn happening(id: &str, deleted: bool, second: u32) -> Happening {
        let at = Instant::parse(&format!("2026-03-01T00:00:{second:02}Z"));
        Happening { reference: Reference::new("Patient", id).unwrap(), deleted, at, resource: None }
    }

    #[test]
    fn the_newest_entry_decides_and_what_is_not_in_order_is_asked() {
        let told: Vec<Fate> = fates(vec![
            happening("1", true, 9),
            happening("1", false, 3),
            happening("2", false, 9),
            happening("2", true, 3),
            happening("3", false, 1),
            happening("3", true, 2),
            happening("4", true, 5),
            happening("4", false, 5),
        ])
        .into_iter()
        .map(|(_, fate)| fate)
        .collect();
        assert!(matches!(told[0], Fate::Deleted(Some(_))));
        assert_eq!(told[1..], [Fate::Lives(None), Fate::Doubtful { deleted: true }, Fate::Doubtful { deleted: true }]);
    }
}
