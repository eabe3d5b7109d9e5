//! The HTTP side from outside: a real store, real connections on a free loopback port.

mod access;
mod looking_up;
mod reading;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::routes::{Access, ROUTES, Route};
use super::tokens::{Role, Secret};
use super::*;
use crate::feed::{EventKind, NewEvent};
use crate::policy::{FULL_POLICY, Purpose};
use crate::record::Fields;
use crate::store::messages::{ContentDigest, MessageError, MessageState, NewMessage, Outcome};
use crate::store::persons::Person;
use crate::store::records::{LinkChange, LinkKind, NewRecord, RecordIdentifier};
use crate::store::reviews::{self, Question, ReviewKind};
use crate::store::{Access as StoreAccess, PackedBytes, StoreConfig, StoreError, Transaction};
use crate::store::{clinical, consumers, events, messages, persons, records, tokens as stored_tokens};
use crate::telemetry::ListenerNumbers;
use crate::tls::ServerTls;
use crate::tls::testing::Authority;

/// By which everything in the store was written.
const MAPPING: &str = "0123456789ab";
const AT: i64 = 1_700_000_000_000_000;
const ONE_ID: &str = "01JD0000000000000000000001";
/// The message whose source is not configured.
const OF_NO_SOURCE: i64 = 5;
const RETIRED: &str = "01JD0000000000000000000002";

/// A running server with its store.
struct Server {
    base: String,
    client: Client,
    state: Arc<AppState>,
    retries: Arc<AtomicUsize>,
    pokes: Arc<AtomicUsize>,
    source: watch::Sender<SourceState>,
    task: JoinHandle<()>,
    _directory: TempDir,
}

fn consumer(name: &str, patterns: &[&str]) -> Consumer {
    Consumer {
        name: name.to_owned(),
        events: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        policy: FULL_POLICY.to_owned(),
        purpose: Purpose::Care,
        is_pushed: false,
    }
}

impl Server {
    async fn start(consumers: Vec<Consumer>) -> Self {
        Self::guarded(consumers, GuardSettings::default()).await
    }

    async fn guarded(consumers: Vec<Consumer>, settings: GuardSettings) -> Self {
        // Some other test of this process may have installed it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), StoreAccess::Daemon)).unwrap();
        let (source, source_state) = watch::channel(SourceState::Up);
        let pokes = Arc::new(AtomicUsize::new(0));
        let poked = Arc::clone(&pokes);
        let polling = Polling {
            status: Arc::new(|| json!({"state": "failing"})),
            poke: Arc::new(move || {
                poked.fetch_add(1, Ordering::Relaxed);
            }),
        };
        let retries = Arc::new(AtomicUsize::new(0));
        let (counted, retried_store) = (Arc::clone(&retries), store.clone());
        let retry: Retry = Arc::new(move |id, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            let store = retried_store.clone();
            Box::pin(async move {
                if id == OF_NO_SOURCE {
                    return Err(RetryError::NoSource);
                }
                let processed = outcome(MessageState::Processed);
                let finish = move |transaction: &Transaction<'_>| messages::finish(transaction, id, &processed);
                store.submit(finish).await.map_err(|error| RetryError::Unavailable(error.to_string()))
            })
        });
        let deciding = store.clone();
        let decide: Decide = Arc::new(move |decision, _| {
            let store = deciding.clone();
            Box::pin(async move {
                let site = crate::pipeline::Site::default();
                let zone = jiff::tz::TimeZone::UTC;
                store.submit(move |t| crate::pipeline::decide_by_hand(t, &site, &zone, &decision, AT)).await
            })
        });
        let saying = store.clone();
        let say_consent: SayConsent = Arc::new(move |one_id, word, _| {
            let store = saying.clone();
            Box::pin(async move {
                let (site, zone) = (crate::pipeline::Site::default(), jiff::tz::TimeZone::UTC);
                store.submit(move |t| crate::pipeline::consent_by_hand(t, &site, &zone, &one_id, &word, AT)).await
            })
        });
        let state = Arc::new(AppState {
            store,
            consumers,
            sources: vec![
                Source {
                    name: "his".to_owned(),
                    kind: "mllp",
                    place: "127.0.0.1:2575".to_owned(),
                    state: source_state,
                    polling: None,
                },
                Source {
                    name: "emr".to_owned(),
                    kind: "fhir",
                    place: "http://127.0.0.1:8090/fhir".to_owned(),
                    state: watch::channel(SourceState::Down("connection refused".to_owned())).1,
                    polling: Some(polling),
                },
            ],
            metrics: Arc::new(Metrics::new()),
            refresh_metrics: Arc::new(|metrics| {
                let listener = ListenerNumbers { frames: 5, ..ListenerNumbers::default() };
                metrics.source("his").set_listener(&listener);
            }),
            retry,
            decide,
            say_consent,
            policies: watch::channel(Arc::new(Policies::full())).1,
            explain: Arc::new(|reader, one_id, record| {
                let explained = crate::pipeline::explain(reader, &crate::pipeline::Site::default(), one_id, record)?;
                Ok(explained.map_err(|unexplained| unexplained.to_string()))
            }),
            find_matches: Arc::new(|reader, record, limit| {
                let site = crate::pipeline::Site::default();
                let found = crate::pipeline::matches(reader, &site, record, limit)?;
                Ok(found.map(|found| found.into_iter().map(|ranked| ranked.document(&site.model.version)).collect()))
            }),
            raw_text: Arc::new(|_, bytes| String::from_utf8(bytes.to_vec()).ok()),
            stopping: CancellationToken::new(),
            probe: StoreProbe::default(),
            pushes: Arc::new(|_| None),
            streams: Streams::default(),
            guard: Arc::new(Guard::new(settings)),
            requests: RequestIds::new(AT),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(serve(Arc::new(listener), None, Arc::clone(&state)));
        let client = Client::builder().no_proxy().build().unwrap();
        Self { base, client, state, retries, pokes, source, task, _directory: directory }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.state.store.submit(work).await.unwrap()
    }

    async fn token(&self, name: &str, role: Role) -> String {
        let secret = Secret::generate().unwrap();
        let token = stored_tokens::NewToken {
            name: name.to_owned(),
            role: role.name().to_owned(),
            sha256: secret.digest(),
            created_at: AT,
        };
        self.write(move |transaction| stored_tokens::insert(transaction, &token)).await;
        secret.reveal().to_owned()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    async fn get(&self, token: &str, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path).bearer_auth(token)).await
    }

    async fn put_cursor(&self, token: &str, cursor: &str) -> (u16, Value) {
        let request = self.request(Method::PUT, "/v1/feed/cursor").bearer_auth(token);
        answer(request.body(json!({"cursor": cursor}).to_string())).await
    }

    async fn append(&self, kinds: &'static [EventKind]) {
        self.write(|transaction| append(transaction, kinds)).await;
    }
}

fn append(transaction: &Transaction<'_>, kinds: &[EventKind]) -> Result<(), StoreError> {
    for kind in kinds {
        let mut data = Fields::new();
        data.insert("one_id", ONE_ID.into());
        let event = NewEvent {
            id: format!("event-{}", kind.name()),
            kind: *kind,
            subject: ONE_ID.to_owned(),
            time: "2026-11-22T09:30:00+08:00".to_owned(),
            source: "his".to_owned(),
            data,
        };
        events::append(transaction, &event, None, AT)?;
    }
    Ok(())
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn outcome(state: MessageState) -> Outcome {
    let error = (state == MessageState::Failed).then(|| MessageError {
        code: "101".to_owned(),
        location: "PID-3".to_owned(),
        text: "the patient has no number".to_owned(),
    });
    Outcome { state, error, notes: Vec::new(), mapping: "abc".to_owned(), one_id: None }
}

fn insert_message(
    transaction: &Transaction<'_>,
    control_id: &str,
    bytes: &[u8],
    state: MessageState,
) -> Result<i64, StoreError> {
    let id = messages::next_id(transaction)?;
    let message = NewMessage {
        source: "his".to_owned(),
        received_at: AT,
        message_type: "ADT^A01".to_owned(),
        control_id: control_id.to_owned(),
        message_time: None,
        charset: "UTF-8".to_owned(),
        digest: ContentDigest::of(bytes),
        bytes: PackedBytes::pack(bytes),
        same_control_id: false,
    };
    messages::insert(transaction, id, &message, &outcome(state))?;
    Ok(id)
}

/// One living person with a record, a visit and two reports, and one retired One ID that leads to it.
fn insert_person(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let golden = json!({"name": "测试甲", "birth_date": "1980-03-05", "phones": [{"value": "13800000000"}]});
    let person = |one_id: &str, merged_into: Option<&str>| Person {
        one_id: one_id.to_owned(),
        version: 3,
        merged_into: merged_into.map(str::to_owned),
        created_at: AT,
        golden: golden.as_object().cloned().unwrap_or_default().into(),
    };
    persons::create(transaction, &person(ONE_ID, None))?;
    persons::create(transaction, &person(RETIRED, Some(ONE_ID)))?;
    let record = NewRecord {
        source: "his".to_owned(),
        number: "HIS|P0001".parse().unwrap(),
        generation: 0,
        updated_at: AT,
        mapping: MAPPING.to_owned(),
        state: serde_json::to_string(&crate::state::PatientState::default()).unwrap(),
    };
    let link = LinkChange {
        record: 0,
        from: None,
        to: ONE_ID.to_owned(),
        kind: LinkKind::Auto,
        basis: json!({"rule": "same number"}).into(),
        message: Some(7),
        at: AT,
    };
    let record = records::insert(transaction, &record, &link)?;
    let identifier =
        RecordIdentifier { kind: "resident_id".to_owned(), system: "CN".to_owned(), value: "X1".to_owned() };
    // Identity documents are looked up by their number in normal form, whoever gave it out.
    let normal = RecordIdentifier { system: String::new(), ..identifier.clone() };
    records::set_identifiers(transaction, record, &[], &[identifier, normal])?;
    let visit = clinical::Visit {
        source: "his".to_owned(),
        number: "V1".to_owned(),
        record,
        version: 2,
        mapping: MAPPING.to_owned(),
        state: serde_json::to_string(&crate::state::VisitState::default()).unwrap(),
    };
    clinical::put_visit(transaction, &visit)?;
    for number in ["L1", "L2"] {
        let report = clinical::LabReport {
            source: "lis".to_owned(),
            number: number.to_owned(),
            record,
            visit_id: Some("his:V1".to_owned()),
            version: 1,
            mapping: MAPPING.to_owned(),
            state: serde_json::to_string(&crate::state::LabReportState::default()).unwrap(),
        };
        clinical::put_lab_report(transaction, &report)?;
    }
    Ok(())
}

fn problem(answer: &(u16, Value)) -> &str {
    answer.1["type"].as_str().and_then(|uri| uri.strip_prefix("/problems/")).unwrap_or("none")
}

/// A doubtful match of the record of [`insert_person`] and one of somebody else.
fn insert_review(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let one_id = "01JD0000000000000000000003";
    let person =
        Person { one_id: one_id.to_owned(), version: 1, merged_into: None, created_at: AT, golden: Fields::default() };
    persons::create(transaction, &person)?;
    let new = NewRecord {
        source: "lis".to_owned(),
        number: "LIS|77".parse().unwrap(),
        generation: 1,
        updated_at: AT,
        mapping: MAPPING.to_owned(),
        state: serde_json::to_string(&crate::state::PatientState::default()).unwrap(),
    };
    let link = LinkChange {
        record: 0,
        from: None,
        to: one_id.to_owned(),
        kind: LinkKind::Auto,
        basis: json!({}).into(),
        message: None,
        at: AT,
    };
    let other = records::insert(transaction, &new, &link)?;
    let score = json!({"facts": [], "prior": -20.0, "household": 0.0, "bits": 2.0});
    let candidate = json!({"one_id": ONE_ID, "record": other - 1, "score": score});
    let question = Question {
        kind: ReviewKind::PossibleMatch,
        records: (other - 1, other),
        bits: 2.0,
        evidence: json!({"model": "default-1", "candidates": [candidate]}).into(),
        message: None,
        at: AT,
    };
    reviews::ask(transaction, &question).map(drop)
}

fn sample(route: &Route) -> String {
    let path = route.path.replace("sources/{name}", "sources/emr").replace("consumers/{name}", "consumers/crm");
    // A stream does not end: here it does not begin.
    let path = path.replace("feed/stream", "feed/stream?after=nowhere");
    path.replace("{one_id}", ONE_ID).replace("{id}", "1").replace("{name}", "visit.v1.json")
}

fn method(route: &Route) -> Method {
    Method::from_bytes(route.method.name().as_bytes()).unwrap()
}
