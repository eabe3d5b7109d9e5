//! The demo's medical record: a FHIR server as small as one can be polled.
//!
//! It holds every version of every resource, and answers what a poller asks: what it can do, searches by `_lastUpdated` and `_id` in pages,
//! reads, and the history of a type. What changes comes as Bundles of type `transaction`, under their own time, as the day has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::store::resources::ResourceName;

/// Rows of a page, whatever `_count` asks for: few, so that the day needs more than one.
const PAGE: usize = 2;

/// What it holds; the poller of the demo reads these.
pub(super) const TYPES: [&str; 4] = ["Patient", "Encounter", "Observation", "DiagnosticReport"];

/// One version of a resource. `resource` is `None` where it was deleted.
struct Version {
    at: Timestamp,
    resource: Option<Value>,
}

/// A change, as the poller will find it: the number of the new version, `None` where the resource was deleted.
pub(super) struct Written {
    pub(super) name: ResourceName,
    pub(super) version: Option<String>,
}

/// Every version of every resource, by type and id.
#[derive(Default)]
struct Model {
    /// The time of the day that is played: that of the last transaction. The server's clock shows it, for a poller goes by that.
    clock: Timestamp,
    resources: BTreeMap<(String, String), Vec<Version>>,
}

/// The server.
#[derive(Clone)]
pub(super) struct Emr {
    base: Arc<str>,
    model: Arc<Mutex<Model>>,
}

impl Emr {
    /// Listens on a free port of this machine until `stop`.
    pub(super) async fn start(stop: CancellationToken) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}/fhir", listener.local_addr()?);
        let emr = Self { base: base.into(), model: Arc::default() };
        let routes = Router::new()
            .route("/fhir/metadata", get(metadata))
            .route("/fhir/{type}", get(search))
            .route("/fhir/{type}/_history", get(history))
            .route("/fhir/{type}/{id}", get(read))
            .layer(map_response_with_state(emr.clone(), dated))
            .with_state(emr.clone());
        tokio::spawn(axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).into_future());
        Ok(emr)
    }

    /// Where it is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Carries out a Bundle of type `transaction`: PUT and DELETE, at its `timestamp`.
    pub(super) fn carry_out(&self, bundle: &[u8]) -> anyhow::Result<Vec<Written>> {
        let bundle: Value = serde_json::from_slice(bundle)?;
        let at: Timestamp = text(&bundle, "/timestamp").parse().context("a transaction has a time")?;
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.clock = at;
        let entries = bundle["entry"].as_array().context("a transaction has entries")?;
        let mut written = Vec::with_capacity(entries.len());
        for entry in entries {
            let (method, url) = (text(entry, "/request/method"), text(entry, "/request/url"));
            let (kind, id) = url.split_once('/').context("an entry names its resource")?;
            let versions = model.resources.entry((kind.to_owned(), id.to_owned())).or_default();
            let number = (versions.len() + 1).to_string();
            let resource = match method {
                "PUT" => {
                    let mut resource = entry["resource"].clone();
                    let members = resource.as_object_mut().context("what is put is a resource")?;
                    members.insert("meta".to_owned(), json!({"versionId": number, "lastUpdated": at.to_string()}));
                    Some(resource)
                }
                "DELETE" => None,
                _ => bail!("{method} is not for a transaction of the demo"),
            };
            let name = ResourceName { kind: kind.to_owned(), id: id.to_owned() };
            written.push(Written { name, version: resource.is_some().then_some(number) });
            versions.push(Version { at, resource });
        }
        Ok(written)
    }

    /// A Bundle of one page of `rows`, with the link to the next one.
    fn page(&self, kind: &str, path: &str, asked: &[(String, String)], rows: Vec<Value>) -> Response {
        let from = asked_for(asked, "row").and_then(|row| row.parse::<usize>().ok()).unwrap_or_default();
        let link = |row: usize| {
            let kept = asked.iter().filter(|(name, _)| name != "row");
            let kept = kept.map(|(name, value)| format!("{name}={}&", value.replace(':', "%3A").replace('+', "%2B")));
            format!("{}/{path}?{}row={row}", self.base, kept.collect::<String>())
        };
        let mut links = vec![json!({"relation": "self", "url": link(from)})];
        if from + PAGE < rows.len() {
            links.push(json!({"relation": "next", "url": link(from + PAGE)}));
        }
        let total = rows.len();
        let entries: Vec<Value> = rows.into_iter().skip(from).take(PAGE).collect();
        let bundle = json!({"resourceType": "Bundle", "type": kind, "total": total, "link": links, "entry": entries});
        answer(StatusCode::OK, &bundle)
    }
}

/// The answer with the server's own time.
async fn dated(State(emr): State<Emr>, mut response: Response) -> Response {
    let clock = emr.model.lock().unwrap_or_else(PoisonError::into_inner).clock;
    if let Ok(date) = HeaderValue::from_str(&clock.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

async fn metadata() -> Response {
    let interactions = ["read", "search-type", "history-type"].map(|code| json!({"code": code}));
    let resources = TYPES.map(|kind| json!({"type": kind, "interaction": interactions}));
    let statement = json!({
        "resourceType": "CapabilityStatement", "status": "active", "kind": "instance", "fhirVersion": "4.0.1", "format": ["json"],
        "software": {"name": "heyi demo"}, "rest": [{"mode": "server", "resource": resources}]
    });
    answer(StatusCode::OK, &statement)
}

type Asked = Query<Vec<(String, String)>>;

async fn search(State(emr): State<Emr>, Path(kind): Path<String>, Query(asked): Asked) -> Response {
    let since = asked_for(&asked, "_lastUpdated").and_then(|bound| bound.strip_prefix("ge")?.parse::<Timestamp>().ok());
    let ids: Option<Vec<&str>> = asked_for(&asked, "_id").map(|ids| ids.split(',').collect());
    let mut rows: Vec<(Timestamp, Value)> = {
        let model = emr.model.lock().unwrap_or_else(PoisonError::into_inner);
        let present =
            model.resources.iter().filter(|((other, _), _)| *other == kind).filter_map(|((_, id), versions)| {
                let Version { at, resource } = versions.last()?;
                let fits =
                    since.is_none_or(|since| *at >= since) && ids.as_ref().is_none_or(|ids| ids.contains(&id.as_str()));
                Some((*at, resource.clone()?)).filter(|_| fits)
            });
        present.collect()
    };
    // `_sort=_lastUpdated`, always.
    rows.sort_by_key(|(at, _)| *at);
    let rows = rows.into_iter().map(|(_, resource)| {
        json!({"fullUrl": format!("{}/{kind}/{}", emr.base, text(&resource, "/id")), "resource": resource, "search": {"mode": "match"}})
    });
    emr.page("searchset", &kind, &asked, rows.collect())
}

async fn history(State(emr): State<Emr>, Path(kind): Path<String>, Query(asked): Asked) -> Response {
    let since = asked_for(&asked, "_since").and_then(|since| since.parse::<Timestamp>().ok());
    let mut rows: Vec<(Timestamp, Value)> = Vec::new();
    {
        let model = emr.model.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, id), versions) in model.resources.iter().filter(|((other, _), _)| *other == kind) {
            for Version { at, resource } in
                versions.iter().filter(|version| since.is_none_or(|since| version.at >= since))
            {
                let method = if resource.is_some() { "PUT" } else { "DELETE" };
                let mut row = json!({
                    "request": {"method": method, "url": format!("{kind}/{id}")},
                    "response": {"status": "200", "lastModified": at.to_string()}
                });
                if let Some(resource) = resource {
                    row["resource"] = resource.clone();
                }
                rows.push((*at, row));
            }
        }
    }
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    emr.page("history", &format!("{kind}/_history"), &asked, rows.into_iter().map(|(_, row)| row).collect())
}

async fn read(State(emr): State<Emr>, Path((kind, id)): Path<(String, String)>) -> Response {
    let model = emr.model.lock().unwrap_or_else(PoisonError::into_inner);
    match model.resources.get(&(kind, id)).and_then(|versions| versions.last()) {
        Some(Version { resource: Some(resource), .. }) => answer(StatusCode::OK, resource),
        Some(_) => outcome(StatusCode::GONE, "deleted"),
        None => outcome(StatusCode::NOT_FOUND, "not-found"),
    }
}

fn outcome(status: StatusCode, code: &str) -> Response {
    answer(status, &json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/fhir+json")], body.to_string()).into_response()
}

fn asked_for<'a>(asked: &'a [(String, String)], name: &str) -> Option<&'a str> {
    asked.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
