//! What the daemon writes into the audit trail by itself: that it started and stopped, and which configuration, mappings and certificates
//! it read, each file with the beginning of its digest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::now;
use super::supervise::supervise;
use crate::audit::{Action, Actor, Entry, Outcome, hexadecimal};
use crate::config::{Arrival, Config};
use crate::store::{Store, Transaction, WriteError, audit};
use crate::tls::Renewals;

/// Pause between two checkpoints where nothing else makes one: what came since the last one is signed, and copied outside of the store.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(600);
/// Bytes of a digest that are written down: enough to tell versions of a file apart.
const DIGEST_SHOWN: usize = 8;

/// Writes down what the daemon does; `run` names this run of it.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    store: Store,
    run: String,
    root: PathBuf,
}

impl Journal {
    pub(super) fn new(store: &Store, config: &Config, run: &str) -> Self {
        Self { store: store.clone(), run: run.to_owned(), root: config.root.clone() }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// An entry of the daemon's own.
    pub(super) fn entry(&self, action: Action) -> Entry {
        Entry::new(now(), Actor::Daemon, action, "daemon", &self.run)
    }

    /// Names files with their digests. They are read here: not on a thread of the runtime.
    pub(super) fn name_files<'a>(&self, entry: &mut Entry, files: impl IntoIterator<Item = &'a Path>) {
        for file in files {
            let name = file.strip_prefix(&self.root).unwrap_or(file).display();
            let digest = match std::fs::read(file) {
                Ok(bytes) => hexadecimal(&Sha256::digest(&bytes)[..DIGEST_SHOWN]),
                Err(_) => "unreadable".to_owned(),
            };
            entry.object("file", format_args!("{name}@{digest}"));
        }
    }

    /// That the daemon starts, and with which files; `texts`: those of mappings and policies.
    pub(super) async fn start(&self, config: &Config, texts: &[PathBuf]) -> Result<(), WriteError> {
        let mut started = self.entry(Action::DaemonStart);
        started.object("version", env!("CARGO_PKG_VERSION"));
        let mut loaded = self.entry(Action::ConfigurationLoad);
        let certificates = config.sources.iter().filter_map(|source| match &source.arrival {
            Arrival::Mllp(mllp) => mllp.tls.as_ref(),
            Arrival::Files(_) | Arrival::Fhir(_) => None,
        });
        let certificates = certificates.chain(&config.http.tls).map(|tls| tls.certificate.as_path());
        let model = Some(config.model_file.as_path()).filter(|file| file.exists());
        let files = [config.file.as_path()].into_iter().chain(model).chain(certificates);
        self.name_files(&mut loaded, files.chain(texts.iter().map(PathBuf::as_path)));
        self.append(vec![started, loaded]).await
    }

    /// That the daemon stops; all that is written is signed and copied.
    pub(super) async fn stop(&self) {
        let stopped = self.entry(Action::DaemonStop);
        let last = self.store.submit(move |transaction| {
            audit::append(transaction, &stopped)?;
            audit::make_checkpoint(transaction)
        });
        if let Err(error) = last.await {
            tracing::error!(%error, "that the daemon stops could not be written to the audit trail");
        }
    }

    async fn append(&self, entries: Vec<Entry>) -> Result<(), WriteError> {
        let job = move |transaction: &Transaction<'_>| {
            entries.iter().try_for_each(|entry| audit::append(transaction, entry).map(drop))
        };
        self.store.submit(job).await
    }

    /// Writes down each renewal of the certificates of one listener, until `stop`.
    pub(super) async fn note_renewals(
        &self,
        mut renewals: watch::Receiver<Renewals>,
        certificate: PathBuf,
        stop: CancellationToken,
    ) {
        let mut before = *renewals.borrow_and_update();
        while tokio::select! { () = stop.cancelled() => false, changed = renewals.changed() => changed.is_ok() } {
            let now = *renewals.borrow_and_update();
            let outcome = if now.taken_up > before.taken_up { Outcome::Ok } else { Outcome::Refused };
            before = now;
            let mut entry = self.entry(Action::CertificateLoad).with(outcome);
            self.name_files(&mut entry, [certificate.as_path()]);
            if let Err(error) = self.append(vec![entry]).await {
                tracing::error!(%error, "a renewed certificate could not be written to the audit trail");
            }
        }
    }
}

/// Makes checkpoints from time to time, until `stop`.
pub(super) async fn keep_checkpoints(store: Store, stop: CancellationToken) {
    let start = || {
        let (store, stop) = (store.clone(), stop.clone());
        async move {
            while tokio::select! { () = stop.cancelled() => false, () = tokio::time::sleep(CHECKPOINT_INTERVAL) => true }
            {
                if let Err(error) = store.submit(audit::make_checkpoint).await {
                    tracing::warn!(%error, "no checkpoint of the audit trail was made; tried again later");
                }
            }
        }
    };
    supervise("audit checkpoints", &stop, |_| (), start).await;
}
