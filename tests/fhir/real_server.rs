//! A real FHIR server, in both of its modes: with all search parameters, and bare, when it ignores what it does not know.
//!
//! It is looked for at `HEYI_TEST_FHIR_SERVER`, or beside the project; without it this test says that it was skipped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use heyi::source::fhir::settings::FirstLoad;
use heyi::source::fhir::status::LoadedBy;
use heyi::source::fhir::{Health, Poller, Settings, World};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::mirror::Mirror;
use crate::rig::{TYPES, differences};

struct Server {
    child: Child,
    base: String,
    http: reqwest::Client,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script() -> Option<PathBuf> {
    let named = std::env::var_os("HEYI_TEST_FHIR_SERVER").map(PathBuf::from);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let beside = root.ancestors().skip(1).take(2).map(|folder| folder.join("shared/tools/fhir-server/run.sh"));
    named.into_iter().chain(beside).find(|path| path.is_file())
}

impl Server {
    async fn start(script: &PathBuf, bare: bool) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(script);
        command.arg(port.to_string()).arg(directory.path());
        if bare {
            command.arg("--bare");
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let server = Self { child, base: format!("http://127.0.0.1:{port}"), http, _directory: directory };
        for _ in 0..600 {
            if server
                .http
                .get(format!("{}/metadata", server.base))
                .send()
                .await
                .is_ok_and(|one| one.status().is_success())
            {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the FHIR server does not come up");
    }

    async fn put(&self, resource_type: &str, id: &str, mut content: Value) {
        content["resourceType"] = json!(resource_type);
        content["id"] = json!(id);
        let url = format!("{}/{resource_type}/{id}", self.base);
        let answer = self.http.put(url).header("content-type", "application/fhir+json").body(content.to_string());
        let status = answer.send().await.unwrap().status();
        assert!(status.is_success(), "PUT {resource_type}: {status}");
    }

    async fn delete(&self, resource_type: &str, id: &str) {
        self.http.delete(format!("{}/{resource_type}/{id}", self.base)).send().await.unwrap();
    }

    /// What the server holds: every resource read by its own URL.
    async fn all(&self, ids: &[(&str, String)]) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, id) in ids {
            let answer = self.http.get(format!("{}/{name}/{id}", self.base)).send().await.unwrap();
            if answer.status().is_success() {
                all.insert(format!("{name}/{id}"), canonical(&answer.text().await.unwrap()));
            }
        }
        all
    }
}

/// The server may order members in another way in a search than in a read.
fn canonical(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap().to_string()
}

fn poller(server: &Server, mirror: &Mirror, first_load: FirstLoad) -> Poller<Mirror> {
    let mut settings = Settings::new("real", server.base.parse().unwrap(), &TYPES);
    settings.page_size = 20;
    settings.interval = Duration::ZERO;
    settings.history_interval = Duration::ZERO;
    settings.limits.export_poll = Duration::from_millis(50);
    settings.first_load = first_load;
    let health = Health::new("real", &settings.resources);
    // Our clock runs ahead instead of waiting: the server asks to look at its export once in two minutes.
    let world = World { now: Arc::new(ahead), ..World::default() };
    Poller::new(settings, mirror.clone(), health, world).unwrap()
}

static AHEAD: AtomicI64 = AtomicI64::new(0);

fn ahead() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(AHEAD.load(Ordering::Relaxed))
}

async fn rounds(poller: &mut Poller<Mirror>, number: u32) {
    let stop = CancellationToken::new();
    for _ in 0..number {
        let next = poller.round(&stop).await;
        let wait = next.duration_since(ahead());
        if wait > SignedDuration::from_secs(1) {
            AHEAD.fetch_add(wait.as_secs(), Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::try_from(wait).unwrap_or_default().min(Duration::from_secs(1))).await;
    }
}

async fn check(bare: bool, first_load: FirstLoad) {
    let Some(script) = script() else {
        eprintln!("SKIPPED: no real FHIR server; name its run.sh in HEYI_TEST_FHIR_SERVER");
        return;
    };
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let server = Server::start(&script, bare).await;
    let mut ids: Vec<(&str, String)> = Vec::new();
    for number in 0..60 {
        let patient = json!({"name": [{"family": format!("F{number}")}], "gender": "female"});
        server.put("Patient", &format!("p{number}"), patient).await;
        let subject = json!({"reference": format!("Patient/p{number}")});
        let encounter = json!({"status": "finished", "class": {"code": "AMB"}, "subject": subject});
        server.put("Encounter", &format!("e{number}"), encounter).await;
        let observation = json!({"status": "final", "code": {"text": "x"}, "subject": subject, "valueString": "1"});
        server.put("Observation", &format!("o{number}"), observation).await;
        ids.extend([
            ("Patient", format!("p{number}")),
            ("Encounter", format!("e{number}")),
            ("Observation", format!("o{number}")),
        ]);
    }
    let mirror = Mirror::default();
    let mut first = poller(&server, &mirror, first_load);
    rounds(&mut first, 12).await;
    let held = || mirror.all().into_iter().map(|(key, text)| (key, canonical(&text))).collect::<BTreeMap<_, _>>();
    let load = first.status().types.remove("Patient").unwrap();
    assert_eq!(load.loaded_by == Some(LoadedBy::Export), first_load == FirstLoad::Export, "{:?}", first.status());
    assert_eq!(differences(&server.all(&ids).await, &held()), [""; 0], "{:?}", first.status());
    // Changes and deletions while it polls; then it is killed, and more happens.
    for step in 0..3 {
        for number in (step..60).step_by(7) {
            let changed = json!({"name": [{"family": format!("G{step}")}], "gender": "male"});
            server.put("Patient", &format!("p{number}"), changed).await;
            server.delete("Observation", &format!("o{number}")).await;
            rounds(&mut first, 1).await;
        }
        first = poller(&server, &mirror, first_load);
    }
    rounds(&mut first, 6).await;
    assert_eq!(differences(&server.all(&ids).await, &held()), [""; 0], "{:?}", first.status());
    assert!(mirror.ids("Observation").len() < 60);
}

#[tokio::test]
async fn a_real_server_is_mirrored() {
    check(false, FirstLoad::Search).await;
}

#[tokio::test]
async fn a_real_server_without_search_parameters_is_mirrored() {
    check(true, FirstLoad::Search).await;
}

#[tokio::test]
async fn a_real_servers_export_is_read() {
    check(false, FirstLoad::Export).await;
}
