//! Resources read by their ids: references that the mirror lacks, and what a sweep asks about.
//!
//! Many at once with `_id=a,b,c` where the server takes it; what that does not give is read at its own URL, because only there a server says
//! whether it is deleted (410) or unknown (404).

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;

use super::bundle::{self, Entry};
use super::engine::Engine;
use super::error::{Concern, FhirError};
use super::sink::{Absence, Gone, Origin, Page, Reference, Resource, Sink, Wanted};
use super::status::Remark;

/// Wanted references asked of the keeper at once.
const WANTED: usize = 200;

/// What became of a read.
#[derive(Debug)]
pub(super) enum Found {
    Resource(Resource),
    /// As the mirror holds it (304).
    Unchanged,
    /// 410.
    Deleted,
    /// 404 by a FHIR server, 403, or an answer that is no such resource.
    Not,
}

impl<S: Sink> Engine<S> {
    /// Reads what the mirror lacks, until nothing is wanted any more or a bound is reached. True: more is wanted.
    pub(super) async fn references(&self) -> Result<bool, FhirError> {
        let mut left = self.settings.limits.reads;
        let mut asked = BTreeSet::new();
        loop {
            if left == 0 {
                return Ok(true);
            }
            let wanted: Vec<Wanted> = self.sink.wanted(WANTED.min(left)).await?;
            // A keeper that wants the same again got an answer that it could not use.
            let new: Vec<Wanted> = wanted.into_iter().filter(|wanted| asked.insert(wanted.reference.clone())).collect();
            if new.is_empty() {
                return Ok(false);
            }
            left = left.saturating_sub(new.len());
            let page = self.answers(new).await?;
            let (read, absent) = (page.resources.len() as u64, page.gone.len() as u64);
            self.sink.take(page).await?;
            self.health.update(|status| {
                status.references_read += read;
                status.references_absent += absent;
            });
        }
    }

    /// What the server says of these by themselves.
    pub(super) async fn answers(&self, wanted: Vec<Wanted>) -> Result<Page, FhirError> {
        let mut page = Page::empty(self.version);
        let mut together: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut alone = Vec::new();
        for Wanted { reference, held_version } in wanted {
            // What could not stand in a URL is on no server.
            match Reference::new(&reference.resource_type, &reference.id) {
                None => page.gone.push(Gone { reference, absence: Absence::NotFound, at: None }),
                Some(reference) if held_version.is_some() => alone.push((reference, held_version)),
                Some(reference) => together.entry(reference.resource_type).or_default().push(reference.id),
            }
        }
        for (name, ids) in together {
            for ids in ids.chunks(self.settings.limits.ids_in_query.max(1)) {
                // What one of them spoils for all is asked for one by one.
                let (found, rest) = match self.read_many(&name, ids).await {
                    Err(error) if error.concern() == Concern::Type => (Vec::new(), ids.to_vec()),
                    answered => answered?,
                };
                page.resources.extend(found);
                alone.extend(rest.into_iter().filter_map(|id| Some((Reference::new(&name, &id)?, None))));
            }
        }
        for (reference, held) in alone {
            let absence = match self.read_one(&reference, held.as_deref()).await {
                Ok(Found::Resource(resource)) => {
                    page.resources.push(resource);
                    continue;
                }
                Ok(Found::Unchanged) => {
                    page.unchanged.push(reference);
                    continue;
                }
                Ok(Found::Deleted) => Absence::Deleted,
                Ok(Found::Not) => Absence::NotFound,
                // It must not keep all others from being read.
                Err(error) if error.concern() == Concern::Type => Absence::Unanswered,
                Err(error) => return Err(error),
            };
            page.gone.push(Gone { reference, absence, at: None });
        }
        Ok(page)
    }

    /// Reads resources of one type by a search for their ids: what was found, and the ids that were not.
    pub(super) async fn read_many(
        &self,
        name: &str,
        ids: &[String],
    ) -> Result<(Vec<Resource>, Vec<String>), FhirError> {
        let refused = self.health.update(|status| {
            status.types.get(name).is_some_and(|status| status.remarks.contains(&Remark::NoIdSearch))
                || status.remarks.contains(&Remark::NoIdSearch)
        });
        if refused || ids.len() < 2 {
            return Ok((Vec::new(), ids.to_vec()));
        }
        let url = self.server.base.at(name, &format!("_id={}&_count={}", ids.join(","), ids.len()));
        let answer = self.server.get(url).await;
        let bundle = match answer {
            Ok(answer) if answer.status.is_success() => bundle::search(&answer.body, name, &answer.place),
            Ok(answer) => Err(answer.failure()),
            Err(error) if error.concern() != Concern::Type => return Err(error),
            Err(error) => Err(error),
        };
        let wanted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        // Whatever is wrong with the search, each can be read by itself.
        let Ok(bundle) = bundle else {
            self.no_id_search(name);
            return Ok((found, ids.to_vec()));
        };
        for entry in bundle.entries {
            let Entry::Resource(mut resource) = entry else { continue };
            if resource.origin == Origin::Include {
                continue;
            }
            if !wanted.contains(resource.reference.id.as_str()) {
                self.no_id_search(name);
                return Ok((Vec::new(), ids.to_vec()));
            }
            resource.origin = Origin::Read;
            found.push(resource);
        }
        let got: BTreeSet<&str> = found.iter().map(|resource| resource.reference.id.as_str()).collect();
        let rest = ids.iter().filter(|id| !got.contains(id.as_str())).cloned().collect();
        Ok((found, rest))
    }

    fn no_id_search(&self, name: &str) {
        let polled = self.settings.resources.iter().any(|one| one == name);
        self.health.remark(polled.then_some(name), Remark::NoIdSearch);
    }

    /// Reads one resource at its own URL.
    pub(super) async fn read_one(&self, reference: &Reference, held_version: Option<&str>) -> Result<Found, FhirError> {
        let url = self.server.base.at(&format!("{}/{}", reference.resource_type, reference.id), "");
        let mut call = self.server.question(url);
        if let Some(version) = held_version {
            call = call.with("if-none-match", &format!("W/\"{version}\""));
        }
        let answer = self.server.exchange(call).await?;
        match answer.status {
            StatusCode::NOT_MODIFIED if held_version.is_some() => Ok(Found::Unchanged),
            StatusCode::GONE => Ok(Found::Deleted),
            // A proxy's page says nothing of the resource.
            StatusCode::NOT_FOUND if answer.is_html() => Err(answer.failure()),
            StatusCode::NOT_FOUND
            | StatusCode::FORBIDDEN
            | StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED => Ok(Found::Not),
            status if status.is_success() => match bundle::resource(&answer.body, Origin::Read) {
                Some(resource) if resource.reference == *reference => Ok(Found::Resource(resource)),
                _ if answer.is_html() => {
                    Err(FhirError::NotFhir { place: answer.place, what: "HTML or XML instead of JSON" })
                }
                None if !complete(&answer.body) => Err(FhirError::Interrupted { place: answer.place }),
                _ => Ok(Found::Not),
            },
            _ => Err(answer.failure()),
        }
    }
}

/// Whether it is whole JSON, of whatever kind.
fn complete(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bundle::trimmed(body)).is_ok()
}
