//! The HTTP side from outside: a real store, real connections on a free loopback port.

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

#[tokio::test]
async fn every_route_is_there_and_asks_for_a_token_unless_it_is_open() {
    let server = Server::start(Vec::new()).await;
    for route in ROUTES {
        let answer = answer(server.request(method(route), &sample(route))).await;
        match route.access {
            Access::Open => assert_eq!(answer.0, 200, "{} {answer:?}", route.name),
            _ => assert_eq!((answer.0, problem(&answer)), (401, "token-missing"), "{}", route.name),
        }
    }
    assert_eq!(problem(&answer(server.request(Method::GET, "/v1/nothing")).await), "path-unknown");
    assert_eq!(problem(&answer(server.request(Method::DELETE, "/v1/feed")).await), "method-not-allowed");
}

#[tokio::test]
async fn a_role_opens_its_own_routes_and_no_other() {
    let server = Server::start(Vec::new()).await;
    server.write(insert_person).await;
    server.write(insert_review).await;
    server.write(|transaction| insert_message(transaction, "1", b"MSH|1", MessageState::Failed)).await;
    server
        .write(|transaction| consumers::commit(transaction, "crm", crate::feed::Cursor { epoch: 1, sequence: 0 }, AT))
        .await;
    for role in Role::ALL {
        let token = server.token(if role == Role::Source { "emr" } else { "someone" }, role).await;
        for route in ROUTES {
            let allowed = match route.access {
                Access::Open | Access::AnyToken => true,
                Access::Roles(roles) => roles.contains(&role),
            };
            let answer = answer(server.request(method(route), &sample(route)).bearer_auth(&token)).await;
            assert_eq!(problem(&answer) != "role-not-allowed", allowed, "{role:?} {} {answer:?}", route.name);
            // 400: a search without criteria, a commit without a body; 409: the message was retried by the role before.
            let expected: &[u16] = if allowed { &[200, 400, 409] } else { &[403] };
            assert!(expected.contains(&answer.0), "{role:?} {} {answer:?}", route.name);
        }
    }
}

#[tokio::test]
async fn a_server_has_its_own_source_polled_whatever_it_sends_and_no_other() {
    let server = Server::start(Vec::new()).await;
    let (own, other) = (server.token("emr", Role::Source).await, server.token("his", Role::Source).await);
    let poll = |token: String, path: &'static str| {
        answer(server.request(Method::POST, path).bearer_auth(token).body("<a notification/>"))
    };
    assert_eq!(poll(own, "/v1/sources/emr/poll").await, (200, json!({"source": "emr", "poll": "asked"})));
    assert_eq!(server.pokes.load(Ordering::Relaxed), 1);
    assert_eq!(problem(&poll(other.clone(), "/v1/sources/emr/poll").await), "role-not-allowed");
    assert_eq!(problem(&poll(other, "/v1/sources/his/poll").await), "record-unknown");
    assert_eq!(server.pokes.load(Ordering::Relaxed), 1);
    let engineer = server.token("eva", Role::Engineer).await;
    let sources = server.get(&engineer, "/v1/sources").await.1;
    assert_eq!(sources["sources"][1]["polling"], json!({"state": "failing"}));
    assert_eq!(sources["sources"][0].get("polling"), None);
    // What is polled and does not answer keeps nobody from being ready.
    assert_eq!(answer(server.request(Method::GET, "/readyz")).await.0, 200);
}

#[tokio::test]
async fn a_token_opens_nothing_once_it_is_revoked() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    assert_eq!(server.get(&token, "/v1/feed").await.0, 200);
    server.write(|transaction| stored_tokens::revoke(transaction, "crm", AT)).await;
    let refused = server.request(Method::GET, "/v1/feed").bearer_auth(&token).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"heyi\"");
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(problem(&server.get("heyi_unknown", "/v1/feed").await), "token-not-valid");
}

#[tokio::test]
async fn the_feed_is_read_page_by_page_and_goes_on_from_the_committed_cursor() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    use EventKind::{LabResulted, PatientCreated, VisitAdmitted};
    server.append(&[PatientCreated, VisitAdmitted, LabResulted]).await;
    let (_, page) = server.get(&token, "/v1/feed?limit=2").await;
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    assert_eq!(page["events"][0]["type"], "patient.created");
    assert_eq!(page["events"][0]["sequence"], "000000000001");
    assert_eq!(page["events"][0]["data"]["one_id"], ONE_ID);
    assert_eq!((&page["next"], &page["head"]), (&json!("1-000000000002"), &json!("1-000000000003")));

    assert_eq!(server.get(&token, "/v1/feed/cursor").await.1["cursor"], "start");
    assert_eq!(server.put_cursor(&token, "1-2").await.1["cursor"], "1-000000000002");
    let (_, page) = server.get(&token, "/v1/feed").await;
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    assert_eq!(page["next"], page["head"]);
    assert_eq!(server.get(&token, "/v1/feed?after=start").await.1["events"].as_array().unwrap().len(), 3);
    assert_eq!(server.put_cursor(&token, "start").await.1["cursor"], "1-000000000000");
    assert_eq!(server.put_cursor(&token, "head").await.1["cursor"], "1-000000000003");
}

#[tokio::test]
async fn a_page_of_lines_ends_with_a_checkpoint() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    server.append(&[EventKind::PatientCreated, EventKind::VisitAdmitted]).await;
    let request = server.request(Method::GET, "/v1/feed?limit=1").bearer_auth(&token);
    let response = request.header("accept", "application/x-ndjson, application/json;q=0.5").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["type"], "patient.created");
    assert_eq!(lines[1]["type"], "feed.checkpoint");
    assert_eq!(lines[1]["data"], json!({"next": "1-000000000001", "head": "1-000000000002"}));
}

#[tokio::test]
async fn next_moves_past_events_that_the_consumer_does_not_get() {
    let server = Server::start(vec![consumer("crm", &["lab.*"])]).await;
    let token = server.token("crm", Role::Consumer).await;
    server.append(&[EventKind::PatientCreated, EventKind::LabResulted, EventKind::VisitAdmitted]).await;
    let (_, page) = server.get(&token, "/v1/feed").await;
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    assert_eq!(page["next"], "1-000000000003");
    let (_, page) = server.get(&token, "/v1/feed?after=1-2").await;
    assert_eq!((&page["events"], &page["next"]), (&json!([]), &json!("1-000000000003")));
}

#[tokio::test]
async fn a_cursor_that_means_nothing_is_refused_with_the_way_out() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    server.append(&[EventKind::PatientCreated]).await;
    for (cursor, status, kind) in [
        ("7-000000000001", 409, "cursor-of-another-epoch"),
        ("1-000000000002", 400, "cursor-beyond-head"),
        ("yesterday", 400, "cursor-not-valid"),
    ] {
        let read = server.get(&token, &format!("/v1/feed?after={cursor}")).await;
        assert_eq!((read.0, problem(&read)), (status, kind), "{cursor}");
        let committed = server.put_cursor(&token, cursor).await;
        assert_eq!((committed.0, problem(&committed)), (status, kind), "{cursor}");
    }
    let (_, refused) = server.get(&token, "/v1/feed?after=7-1").await;
    assert_eq!((&refused["start"], &refused["head"]), (&json!("1-000000000000"), &json!("1-000000000001")));
    let request = server.request(Method::PUT, "/v1/feed/cursor").bearer_auth(&token);
    assert_eq!(problem(&answer(request.body("{\"cursr\": \"start\"}")).await), "body-not-valid");
    assert_eq!(server.get(&token, "/v1/feed/cursor").await.1["cursor"], "start");
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_event_that_the_consumer_gets() {
    let server = Server::start(vec![consumer("crm", &["visit.*"])]).await;
    let token = server.token("crm", Role::Consumer).await;
    let started = Instant::now();
    let (page, ()) = tokio::join!(server.get(&token, "/v1/feed?wait=30"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.append(&[EventKind::PatientCreated]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.append(&[EventKind::VisitAdmitted]).await;
    });
    assert_eq!(page.1["events"][0]["type"], "visit.admitted");
    assert_eq!(page.1["next"], "1-000000000002");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test]
async fn stopping_ends_long_polls_and_the_server() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    let (page, ()) = tokio::join!(server.get(&token, "/v1/feed?wait=30"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.state.stopping.cancel();
    });
    assert_eq!((page.0, &page.1["events"]), (200, &json!([])));
    tokio::time::timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap();
    assert!(server.client.get(format!("{}/healthz", server.base)).send().await.is_err());
}

#[tokio::test]
async fn what_cannot_be_applied_to_a_consumer_s_data_leaves_nothing() {
    let masked = Consumer { policy: "care".to_owned(), ..consumer("masked", &["*"]) };
    let marketing = Consumer { purpose: Purpose::Marketing, ..consumer("marketing", &["*"]) };
    let server = Server::start(vec![masked, marketing]).await;
    server.append(&[EventKind::PatientCreated]).await;
    server.write(insert_person).await;
    let person = format!("/v1/persons/{ONE_ID}");
    for (name, kind) in [("masked", "policy-not-available"), ("stranger", "consumer-not-configured")] {
        let token = server.token(name, Role::Consumer).await;
        for path in ["/v1/feed", "/v1/feed/cursor", &person] {
            let refused = server.get(&token, path).await;
            assert_eq!((refused.0, problem(&refused)), (403, kind), "{name} {path}");
        }
    }
    let token = server.token("marketing", Role::Consumer).await;
    let (_, page) = server.get(&token, "/v1/feed").await;
    assert_eq!((&page["events"], &page["next"]), (&json!([]), &json!("1-000000000001")));
    assert_eq!(problem(&server.get(&token, &person).await), "record-unknown");
}

#[tokio::test]
async fn a_retired_one_id_answers_with_the_surviving_one() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("clerk", Role::Records).await;
    server.write(insert_person).await;
    let (_, person) = server.get(&token, &format!("/v1/persons/{ONE_ID}")).await;
    assert_eq!((&person["one_id"], &person["version"], &person["name"]), (&json!(ONE_ID), &json!(3), &json!("测试甲")));
    assert_eq!(person["merged_into"], Value::Null);
    let (_, person) = server.get(&token, &format!("/v1/persons/{RETIRED}")).await;
    assert_eq!((&person["one_id"], &person["merged_into"]), (&json!(ONE_ID), &json!(ONE_ID)));
    assert_eq!(problem(&server.get(&token, "/v1/persons/nobody").await), "record-unknown");

    let (_, visits) = server.get(&token, &format!("/v1/persons/{RETIRED}/visits")).await;
    assert_eq!(visits["visits"][0]["visit_id"], "his:V1");
    assert_eq!(visits["visits"][0]["one_id"], ONE_ID);
    let (_, history) = server.get(&token, &format!("/v1/persons/{ONE_ID}/history")).await;
    assert_eq!(history["history"][0]["record"], "HIS|P0001");
    assert_eq!(history["history"][0]["basis"], json!({"rule": "same number"}));
}

#[tokio::test]
async fn lists_are_read_page_by_page_until_next_is_null() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("engineer", Role::Engineer).await;
    server.write(insert_person).await;
    let reports = format!("/v1/persons/{ONE_ID}/lab-reports?limit=1");
    let (_, first) = server.get(&token, &reports).await;
    assert_eq!(first["lab_reports"][0]["report_id"], "lis:L1");
    let next = first["next"].as_str().unwrap();
    let (_, second) = server.get(&token, &format!("{reports}&after={next}")).await;
    assert_eq!(second["lab_reports"][0]["report_id"], "lis:L2");
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn persons_are_found_by_number_name_and_phone_but_not_by_birth_date_alone() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("clerk", Role::Records).await;
    server.write(insert_person).await;
    for (query, expected) in [
        ("identifier=HIS%7CP0001", Some(1)),
        ("identifier=HIS|P0002", Some(0)),
        ("identifier=CN|X1", Some(1)),
        ("identifier=%7CX1", Some(1)),
        ("identifier=%7CP0001", Some(0)),
        ("identifier=HIS%7C", None),
        ("name=%E6%B5%8B%E8%AF%95%E7%94%B2&birth_date=1980-03-05", Some(1)),
        ("name=%E6%B5%8B%E8%AF%95%E7%94%B2&birth_date=1980-03-06", Some(0)),
        ("phone=138-0000-0000", Some(1)),
        ("phone=138-0000-0000&limit=1", Some(1)),
        ("birth_date=1980-03-05", None),
        ("identifier=P0001", None),
        ("identifier=HIS|P0001&name=x", None),
        ("", None),
    ] {
        let found = server.get(&token, &format!("/v1/persons?{query}")).await;
        match expected {
            Some(count) => assert_eq!(found.1["persons"].as_array().map(Vec::len), Some(count), "{query} {found:?}"),
            None => assert_eq!(problem(&found), "parameter-not-valid", "{query}"),
        }
    }
    let golden = json!({"phones": [{"value": "13800000000"}]}).as_object().cloned().unwrap_or_default().into();
    let one_id = "01JD0000000000000000000003".to_owned();
    let namesake = Person { one_id, version: 1, merged_into: None, created_at: AT, golden };
    server.write(move |transaction| persons::create(transaction, &namesake)).await;
    assert_eq!(server.get(&token, "/v1/persons?phone=13800000000&limit=2").await.0, 200);
    let cut = server.get(&token, "/v1/persons?phone=13800000000&limit=1").await;
    assert_eq!(problem(&cut), "parameter-not-valid", "never a part that looks like the whole");
}

#[tokio::test]
async fn messages_are_listed_shown_with_their_text_and_retried() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("engineer", Role::Engineer).await;
    server
        .write(|transaction| {
            insert_message(transaction, "A1", b"MSH|1", MessageState::Processed)?;
            insert_message(transaction, "A2", b"MSH|2", MessageState::Failed)?;
            insert_message(transaction, "A3", b"MSH|\xD5\xC5", MessageState::Failed)?;
            insert_message(transaction, "A4", b"MSH|4", MessageState::Ignored)
        })
        .await;
    let (_, page) = server.get(&token, "/v1/messages?limit=3").await;
    let ids: Vec<i64> = page["messages"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [4, 3, 2]);
    let (_, rest) = server.get(&token, &format!("/v1/messages?after={}", page["next"].as_str().unwrap())).await;
    assert_eq!((rest["messages"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let (_, failed) = server.get(&token, "/v1/messages?state=failed&control_id=A2&source=his&type=ADT").await;
    assert_eq!(failed["messages"][0]["error"]["location"], "PID-3");
    assert_eq!(failed["messages"][0]["received_at"], "2023-11-14T22:13:20Z");

    let (_, message) = server.get(&token, "/v1/messages/2").await;
    assert_eq!((&message["raw"], &message["raw_hex"]), (&json!("MSH|2"), &Value::Null));
    let (_, message) = server.get(&token, "/v1/messages/3").await;
    assert_eq!((&message["raw"], &message["raw_hex"]), (&Value::Null, &json!("4d53487cd5c5")));
    assert_eq!(server.get(&token, "/v1/messages/99").await.0, 404);
    assert_eq!(server.get(&token, "/v1/messages/one").await.0, 404);

    let retry = |path: &str| server.request(Method::POST, path).bearer_auth(&token);
    let (_, retried) = answer(retry("/v1/messages/2/retry")).await;
    assert_eq!((&retried["state"], &retried["attempts"]), (&json!("processed"), &json!(2)));
    assert_eq!(problem(&answer(retry("/v1/messages/2/retry")).await), "message-not-failed");
    let (_, retried) = answer(retry("/v1/messages/retry").body("{\"source\": \"his\"}")).await;
    assert_eq!(retried, json!({"retried": 1, "processed": 1, "ignored": 0, "failed": 0, "more": false, "next": null}));
    assert_eq!(answer(retry("/v1/messages/retry")).await.1["retried"], 0);
    for control_id in ["A5", "A6"] {
        server.write(move |transaction| insert_message(transaction, control_id, b"MSH|5", MessageState::Failed)).await;
    }
    assert_eq!(problem(&answer(retry("/v1/messages/5/retry")).await), "source-not-configured");
    let (_, retried) = answer(retry("/v1/messages/retry")).await;
    assert_eq!(retried, json!({"retried": 2, "processed": 1, "ignored": 0, "failed": 1, "more": false, "next": null}));
    for body in ["{\"limit\": 0}", "{\"from\": \"-1\"}", "{\"from\": \"start\"}"] {
        assert_eq!(problem(&answer(retry("/v1/messages/retry").body(body)).await), "body-not-valid", "{body}");
    }
    assert_eq!(server.retries.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn retries_go_on_past_what_fails_again_and_a_failure_can_be_dismissed() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("alice", Role::Engineer).await;
    server
        .write(|transaction| {
            for _ in 1..OF_NO_SOURCE {
                insert_message(transaction, "A0", b"MSH|0", MessageState::Processed)?;
            }
            insert_message(transaction, "A5", b"MSH|5", MessageState::Failed)?;
            insert_message(transaction, "A6", b"MSH|6", MessageState::Failed)
        })
        .await;
    let post = |path: &str, body: Value| server.request(Method::POST, path).bearer_auth(&token).body(body.to_string());
    let (_, first) = answer(post("/v1/messages/retry", json!({"limit": 1}))).await;
    assert_eq!((&first["failed"], &first["next"]), (&json!(1), &json!("6")));
    let (_, second) = answer(post("/v1/messages/retry", json!({"limit": 1, "from": first["next"]}))).await;
    assert_eq!((&second["processed"], &second["next"]), (&json!(1), &Value::Null));

    let dismiss = "/v1/messages/5/dismiss";
    for body in [json!({}), json!({"reason": " "}), json!({"reason": "x".repeat(501)})] {
        assert_eq!(problem(&answer(post(dismiss, body)).await), "body-not-valid");
    }
    let reason = json!({"reason": "sent twice"});
    let (status, dismissed) = answer(post(dismiss, reason.clone())).await;
    assert_eq!((status, &dismissed["state"], &dismissed["error"]), (200, &json!("ignored"), &Value::Null));
    assert_eq!(
        dismissed["notes"],
        json!(["failed: 101 PID-3 the patient has no number", "dismissed by alice: sent twice"])
    );
    assert_eq!(problem(&answer(post(dismiss, reason.clone())).await), "message-not-failed");
    assert_eq!(problem(&answer(post("/v1/messages/99/dismiss", reason)).await), "record-unknown");
    let (_, failed) = server.get(&token, "/v1/messages?state=failed").await;
    assert_eq!(failed, json!({"messages": [], "next": null}));
}

#[tokio::test]
async fn readiness_names_what_is_not_up() {
    let server = Server::start(Vec::new()).await;
    assert_eq!(answer(server.request(Method::GET, "/readyz")).await.1, json!({"status": "ready"}));
    let token = server.token("engineer", Role::Engineer).await;
    let is_up = async |number: u8| {
        let metrics =
            server.request(Method::GET, "/metrics").bearer_auth(&token).send().await.unwrap().text().await.unwrap();
        assert!(metrics.contains(&format!("heyi_source_up{{source=\"his\"}} {number}\n")), "{metrics}");
    };
    is_up(1).await;
    server.source.send(SourceState::Down("the port is taken".to_owned())).unwrap();
    is_up(0).await;
    let (status, not_ready) = answer(server.request(Method::GET, "/readyz")).await;
    assert_eq!((status, &not_ready["waiting_for"]), (503, &json!(["source his"])));
    let token = server.token("engineer", Role::Engineer).await;
    let (_, sources) = server.get(&token, "/v1/sources").await;
    assert_eq!(
        (&sources["sources"][0]["state"], &sources["sources"][0]["reason"]),
        (&json!("down"), &json!("the port is taken"))
    );
    let store = server.state.store.clone();
    let jobs = || server.state.store.writer_statistics().jobs.load(Ordering::Relaxed);
    let before = jobs();
    for _ in 0..20 {
        answer(server.request(Method::GET, "/readyz")).await;
    }
    assert!(jobs() - before < 20, "who asks often is told what was found a moment ago");
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    tokio::time::sleep(limits::READY_AGE).await;
    assert_eq!(answer(server.request(Method::GET, "/readyz")).await.1["waiting_for"], json!(["source his", "store"]));
}

#[tokio::test]
async fn consumers_are_listed_with_their_lag() {
    let server = Server::start(vec![consumer("crm", &["visit.*"]), consumer("new", &["*"])]).await;
    let (token, crm) = (server.token("e", Role::Engineer).await, server.token("crm", Role::Consumer).await);
    server.append(&[EventKind::VisitAdmitted, EventKind::VisitDischarged]).await;
    server.put_cursor(&crm, "1-1").await;
    let (_, consumers) = server.get(&token, "/v1/consumers").await;
    let shown = &consumers["consumers"][0];
    assert_eq!((&shown["name"], &shown["configured"], &shown["lag"]), (&json!("crm"), &json!(true), &json!(1)));
    assert_eq!(
        (&shown["events"], &shown["policy"], &shown["purpose"]),
        (&json!(["visit.*"]), &json!("full"), &json!("care"))
    );
    let (_, numbers) = server.get(&token, "/metrics").await;
    assert!(numbers.as_str().unwrap().contains("heyi_consumer_lag{consumer=\"crm\"} 1\n"), "{numbers}");
    assert!(numbers.as_str().unwrap().contains("heyi_consumer_lag{consumer=\"new\"} 2\n"), "{numbers}");
    assert!(numbers.as_str().unwrap().contains("heyi_feed_head 2\n"), "{numbers}");
    assert!(numbers.as_str().unwrap().contains("heyi_frames_total{source=\"his\"} 5\n"), "{numbers}");
}

#[tokio::test]
async fn numbers_and_problems_bear_no_path_query_or_body_of_the_caller() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("clerk", Role::Records).await;
    let canary = "CANARY0001";
    for path in [
        format!("/v1/persons/{canary}"),
        format!("/v1/persons?identifier={canary}"),
        format!("/v1/persons?{canary}=1"),
        format!("/v1/persons?name={canary}&birth_date={canary}"),
        format!("/{canary}"),
        format!("/v1/messages/{canary}"),
    ] {
        let refused = server.get(&token, &path).await;
        assert!(refused.0 >= 400 && !refused.1.to_string().contains(canary), "{path} {refused:?}");
    }
    let (_, numbers) = server.get(&token, "/metrics").await;
    assert!(!numbers.as_str().unwrap().contains(canary), "{numbers}");
    assert!(numbers.as_str().unwrap().contains("route=\"/v1/persons/{one_id}\""), "{numbers}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    let head = format!(
        "PUT /v1/feed/cursor HTTP/1.1\r\nhost: heyi\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\n\r\n",
        limits::BODY_BYTES + 1
    );
    let mut connection = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body-too-large"), "{answer}");
}

#[tokio::test]
async fn the_same_is_served_over_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = Authority::new();
    let tls = ServerTls::load(authority.server("server", None)).unwrap();
    let plain = Server::start(Vec::new()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(Arc::new(listener), Some(Arc::new(tls)), Arc::clone(&plain.state)));
    let ca = reqwest::Certificate::from_pem(&std::fs::read(authority.file("ca.pem")).unwrap()).unwrap();
    let client = Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
    let (status, health) = answer(client.get(format!("https://localhost:{}/healthz", address.port()))).await;
    assert_eq!((status, health), (200, json!({"status": "ok"})));
    assert!(plain.client.get(format!("http://{address}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn every_schema_that_an_event_names_is_served() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    let paths: BTreeSet<&str> = EventKind::ALL.iter().map(|kind| kind.schema_path()).collect();
    for path in paths {
        assert_eq!(server.get(&token, path).await.1["$id"], path);
    }
    assert_eq!(server.get(&token, "/schemas/nothing").await.0, 404);
    assert_eq!(server.get(&token, "/openapi.json").await.1, document());
}

#[test]
fn every_route_that_can_tell_of_patients_or_change_something_has_an_action() {
    // What tells of no patient: health, numbers, documents, settings, and a consumer's own position.
    let without: BTreeSet<&str> =
        ROUTES.iter().filter(|route| route.audit == super::audit::Audited::Nothing).map(|route| route.name).collect();
    let expected = BTreeSet::from([
        "health",
        "ready",
        "metrics",
        "openapi",
        "asyncapi",
        "schema",
        "feed_cursor",
        "commit_feed_cursor",
        "sources",
        "pollSource",
        "consumers",
    ]);
    assert_eq!(without, expected, "say of a new route what it is in the audit trail, or here that it tells nothing");
}

#[tokio::test]
async fn wrong_tokens_lock_out_their_own_address_only() {
    let settings = GuardSettings { failures: 3, ..GuardSettings::default() };
    let server = Server::guarded(Vec::new(), settings).await;
    let good = server.token("lab", Role::Engineer).await;
    let ask = async |from: [u8; 4], token: &str| {
        let client = Client::builder().local_address(std::net::IpAddr::from(from)).build().unwrap();
        client.get(format!("{}/v1/sources", server.base)).bearer_auth(token).send().await.unwrap()
    };
    for guess in ["heyi_1", "heyi_2", "heyi_3"] {
        assert_eq!(ask([127, 0, 0, 2], guess).await.status(), 401);
    }
    for token in ["heyi_4", &good] {
        let refused = ask([127, 0, 0, 2], token).await;
        assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "300"));
    }
    assert_eq!(ask([127, 0, 0, 3], &good).await.status(), 200);
}

#[tokio::test]
async fn a_token_over_its_rate_is_told_when_to_come_back() {
    let settings = GuardSettings { requests_per_second: 1, burst: 2, ..GuardSettings::default() };
    let server = Server::guarded(Vec::new(), settings).await;
    let (one, other) = (server.token("one", Role::Engineer).await, server.token("other", Role::Engineer).await);
    let ask = |token: String| server.client.get(format!("{}/v1/sources", server.base)).bearer_auth(token).send();
    for _ in 0..2 {
        assert_eq!(ask(one.clone()).await.unwrap().status(), 200);
    }
    let refused = loop {
        // A slow machine earns a request meanwhile.
        let answer = ask(one.clone()).await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!(ask(other).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_address_that_may_not_connect_or_has_too_many_connections_is_cut_off() {
    let allow = Arc::new(|address: std::net::IpAddr| address != std::net::IpAddr::from([127, 0, 0, 9]));
    let settings = GuardSettings { connections_of_address: 1, allow, ..GuardSettings::default() };
    let server = Server::guarded(Vec::new(), settings).await;
    let ask = async |from: [u8; 4]| {
        let client = Client::builder().local_address(std::net::IpAddr::from(from)).build().unwrap();
        client.get(format!("{}/healthz", server.base)).send().await.map(|answer| answer.status().as_u16())
    };
    let held = TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap();
    // Its place is taken once the server has seen it.
    while server.state.metrics.http_connections.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(ask([127, 0, 0, 1]).await.is_err());
    assert_eq!(ask([127, 0, 0, 2]).await.unwrap(), 200);
    assert!(ask([127, 0, 0, 9]).await.is_err());
    drop(held);
}
