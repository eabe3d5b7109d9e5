//! What is remembered of a server between two runs: how it stood, for `heyi status` and `/v1/sources`, who it was, and who owned which numbers.
//!
//! Invariants
//! - What is shown of a server's standing is what is written down: the command, which reads the store alone, and the daemon say the same.
//! - What is read of a server goes on only where the same server answers: at another base URL everything is read and compared anew.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::app::now;
use crate::pipeline::{self, Site};
use crate::source::fhir::settings::Settings;
use crate::source::fhir::status::{ServerStanding, Status};
use crate::store::{Reader, Store, StoreError, WriteError, resources};

/// The note of [`ServerStanding`].
const STANDING: &str = "standing";

/// The note of the base URL that everything else is about.
const BASE: &str = "base";

/// The note of which source owns which assigning authority, as it was when merges that another owner held back were last tried.
const OWNERS: &str = "owners";

/// A success later than the one written down by less is not worth a transaction.
const FRESH: SignedDuration = SignedDuration::from_secs(30);

/// Resources looked at again in one transaction.
const TOGETHER: usize = 5_000;

/// The same of Patients that give way to others, of each of which records and persons are read.
const PATIENTS_TOGETHER: usize = 200;

/// How a source stood when it was last looked at; `None`: it was never polled.
///
/// # Errors
/// See [`StoreError`].
pub fn standing_of(reader: &Reader<'_>, source: &str) -> Result<Option<ServerStanding>, StoreError> {
    let note = resources::note(reader, source, STANDING)?;
    Ok(note.and_then(|text| serde_json::from_str(&text).ok()))
}

/// A source's standing as it is written down.
#[derive(Clone)]
pub(super) struct Watched {
    store: Store,
    source: Arc<str>,
    /// As it is, and as it was written.
    standing: Arc<Mutex<(ServerStanding, ServerStanding)>>,
}

impl Watched {
    /// As it stood in the last run.
    pub(super) fn new(store: &Store, source: &str) -> Self {
        // What cannot be read now is written anew in a moment.
        let known = store.read(|reader| standing_of(reader, source)).ok().flatten().unwrap_or_default();
        Self { store: store.clone(), source: source.into(), standing: Arc::new(Mutex::new((known.clone(), known))) }
    }

    /// Adds to a status what is remembered.
    pub(super) fn show(&self, status: &mut Value) {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        let Some(members) = status.as_object_mut() else { return };
        members.insert("answers".to_owned(), json!(standing.answers));
        members.insert("since".to_owned(), json!(standing.since));
        for (name, known) in
            [("last_success", json!(standing.last_success)), ("last_error", json!(standing.last_error))]
        {
            if members.get(name).is_none_or(Value::is_null) {
                members.insert(name.to_owned(), known);
            }
        }
    }

    /// Takes a status in; writes it down where somebody should know, and at the end (`is_over`).
    pub(super) async fn look(&self, status: &Status, is_over: bool) {
        let (standing, is_news) = {
            let mut known = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
            known.0 = known.0.after(status, Timestamp::now());
            let (now, written) = &*known;
            let later = |now: Option<Timestamp>, written: Option<Timestamp>| match (now, written) {
                (Some(now), Some(written)) => now.duration_since(written) >= FRESH || is_over && now > written,
                (now, written) => now != written,
            };
            let of_error = |standing: &ServerStanding| {
                standing.last_error.as_ref().map(|error| (error.kind.clone(), error.text.clone()))
            };
            let failed = |standing: &ServerStanding| standing.last_error.as_ref().map(|error| error.at);
            let is_news = now.answers != written.answers
                || now.remarks != written.remarks
                || of_error(now) != of_error(written)
                || later(failed(now), failed(written))
                || later(now.last_success, written.last_success);
            (now.clone(), is_news)
        };
        if !is_news {
            return;
        }
        let Ok(text) = serde_json::to_string(&standing) else { return };
        let source = Arc::clone(&self.source);
        let write =
            self.store.submit(move |transaction| resources::put_note(transaction, &source, STANDING, Some(&text)));
        // What cannot be written now is written at the next look.
        if write.await.is_ok() {
            self.standing.lock().unwrap_or_else(PoisonError::into_inner).1 = standing;
        }
    }
}

/// Before a source is polled: at another base URL all notes are forgotten, and what is held is compared with what is there; of types that are
/// polled no longer what others name is asked for one by one, from now on; and where other sources own other numbers than before, what was held back
/// for their sake is tried again.
///
/// # Errors
/// Those of the store.
pub(super) async fn settle_in(store: &Store, settings: &Settings, site: &Arc<Site>) -> Result<(), WriteError> {
    let (source, base) = (settings.source.clone(), settings.base_url.to_string());
    let moved = store.submit(move |transaction| {
        let before = resources::note(transaction, &source, BASE)?;
        if before.as_ref() == Some(&base) {
            return Ok(false);
        }
        let is_another = before.is_some();
        if is_another {
            resources::forget_notes(transaction, &source, [STANDING, BASE])?;
            resources::refresh_all(transaction, &source, now())?;
        }
        resources::put_note(transaction, &source, BASE, Some(&base))?;
        Ok(is_another)
    });
    if moved.await? {
        tracing::warn!(source = settings.source, "the base URL is another one: everything is read and compared anew");
    }
    let source = settings.source.clone();
    let types = store.read_async(move |reader| resources::types(reader, &source)).await.map_err(WriteError::Job)?;
    for kind in types {
        let at = (!settings.resources.contains(&kind)).then(now);
        loop {
            let (source, kind) = (settings.source.clone(), kind.clone());
            let looked_at =
                store.submit(move |transaction| resources::refresh_type(transaction, &source, &kind, at, TOGETHER));
            if looked_at.await? < TOGETHER {
                break;
            }
        }
    }
    settle_owners(store, &settings.source, site).await
}

async fn settle_owners(store: &Store, source: &str, site: &Arc<Site>) -> Result<(), WriteError> {
    let owners = json!(site.owners).to_string();
    let own = source.to_owned();
    let known = store.read_async(move |reader| resources::note(reader, &own, OWNERS)).await;
    if known.map_err(WriteError::Job)?.as_ref() == Some(&owners) {
        return Ok(());
    }
    let mut after = Some(String::new());
    while let Some(from) = after.take() {
        let (own, site) = (source.to_owned(), Arc::clone(site));
        let look = store.submit(move |transaction| {
            pipeline::try_held_back_again(transaction, (&own, &site), &from, PATIENTS_TOGETHER, now())
        });
        after = look.await?;
    }
    let own = source.to_owned();
    store.submit(move |transaction| resources::put_note(transaction, &own, OWNERS, Some(&owners))).await
}
