//! A server, a poller and a mirror, with one clock for all three that only the test moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use heyi::source::fhir::settings::Limits;
use heyi::source::fhir::status::{Remark, Status, TypeStatus};
use heyi::source::fhir::{Health, Poller, Settings, World};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::fhir_server::{FhirServer, Manner};
use crate::mirror::Mirror;

pub(crate) const TYPES: [&str; 3] = ["Patient", "Encounter", "Observation"];

pub(crate) struct Rig {
    pub(crate) server: FhirServer,
    pub(crate) mirror: Mirror,
    pub(crate) settings: Settings,
    pub(crate) health: Health,
    pub(crate) poller: Poller<Mirror>,
    pub(crate) stop: CancellationToken,
    pub(crate) next: Timestamp,
}

/// Waits of a few milliseconds, so that nothing is waited for in earnest.
pub(crate) fn quick() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        idle: Duration::from_millis(400),
        request: Duration::from_secs(5),
        backoff: Duration::from_millis(1),
        patience: Duration::from_millis(20),
        export_poll: Duration::from_millis(1),
        ..Limits::default()
    }
}

impl Rig {
    pub(crate) async fn new(manner: Manner) -> Self {
        Self::with(manner, |_| {}).await
    }

    pub(crate) async fn with(manner: Manner, change: impl FnOnce(&mut Settings)) -> Self {
        let server = FhirServer::start(manner).await;
        let mut settings = Settings::new("emr", server.base().parse().unwrap(), &TYPES);
        settings.limits = quick();
        settings.page_size = 5;
        change(&mut settings);
        Self::on(server, settings)
    }

    pub(crate) fn on(server: FhirServer, settings: Settings) -> Self {
        let mirror = Mirror::default();
        let health = Health::new(&settings.source, &settings.resources);
        let poller = poller(&server, &settings, &mirror, &health);
        let stop = CancellationToken::new();
        Self { server, mirror, settings, health, poller, stop, next: Timestamp::MIN }
    }

    /// As after `kill -9`: only what the mirror holds is left.
    pub(crate) fn restart(&mut self) {
        self.health = Health::new(&self.settings.source, &self.settings.resources);
        self.poller = poller(&self.server, &self.settings, &self.mirror, &self.health);
        self.next = Timestamp::MIN;
    }

    /// One round, after the time for it has come.
    pub(crate) async fn round(&mut self) {
        {
            let mut shared = self.server.shared();
            // The server's clock is the client's: it may be asked to wait for an instant between two ticks.
            shared.model.now = shared.model.now.max(self.next);
        }
        self.next = self.poller.round(&self.stop).await;
    }

    /// Rounds until nothing is left to do at once.
    pub(crate) async fn poll(&mut self) {
        for _ in 0..500 {
            self.round().await;
            if self.next > self.server.shared().model.now {
                return;
            }
        }
        panic!("the poller does not come to rest: {:?}", self.status());
    }

    /// Time passes, in steps in which it polls.
    pub(crate) async fn pass_time(&mut self, span: Duration, steps: u32) {
        for _ in 0..steps {
            self.server.advance(span / steps);
            self.poll().await;
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.health.snapshot()
    }

    pub(crate) fn of(&self, resource_type: &str) -> TypeStatus {
        self.status().types.remove(resource_type).unwrap()
    }

    pub(crate) fn remarks(&self, resource_type: &str) -> Vec<Remark> {
        self.of(resource_type).remarks.into_iter().collect()
    }

    /// What differs between server and mirror, in words.
    pub(crate) fn differences(&self) -> Vec<String> {
        // Enough to see what is wrong.
        self.all_differences().into_iter().take(5).collect()
    }

    pub(crate) fn all_differences(&self) -> Vec<String> {
        differences(&self.server.shared().model.all(), &self.mirror.all())
    }

    /// Patients with ids from `p0`, each a second after the one before.
    pub(crate) fn patients(&self, count: usize) {
        for number in 0..count {
            let mut shared = self.server.shared();
            shared.model.advance(Duration::from_secs(1));
            shared.model.put("Patient", &format!("p{number}"), json!({"birthDate": "1980-01-01"}));
        }
    }

    pub(crate) fn put(&self, resource_type: &str, id: &str, content: Value) {
        let mut shared = self.server.shared();
        shared.model.advance(Duration::from_secs(1));
        shared.model.put(resource_type, id, content);
    }
}

pub(crate) fn differences(server: &BTreeMap<String, String>, mirror: &BTreeMap<String, String>) -> Vec<String> {
    let lacking = server.iter().filter_map(|(key, text)| match mirror.get(key) {
        None => Some(format!("{key} is not in the mirror")),
        Some(held) if held != text => Some(format!("{key} is old in the mirror")),
        Some(_) => None,
    });
    let left =
        mirror.keys().filter(|key| !server.contains_key(*key)).map(|key| format!("{key} is on the server no longer"));
    lacking.chain(left).collect()
}

pub(crate) fn world(server: &FhirServer) -> World {
    let server = server.clone();
    let counter = Arc::new(AtomicU64::new(0));
    World {
        now: Arc::new(move || server.shared().model.now),
        random: Arc::new(move || counter.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)),
    }
}

fn poller(server: &FhirServer, settings: &Settings, mirror: &Mirror, health: &Health) -> Poller<Mirror> {
    Poller::new(settings.clone(), mirror.clone(), health.clone(), world(server)).unwrap()
}
