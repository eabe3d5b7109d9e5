//! What a request is answered with, before faults.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::model::Version;
use super::{Histories, Model, Paging, Reply, Request, Shared};

const OUTCOME: &str = "OperationOutcome";

pub(super) fn answer(shared: &mut Shared, request: &Request) -> Reply {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    if let Some((_, reply)) = shared.others.iter().find(|(other, _)| other == path) {
        return reply.clone();
    }
    let query: Vec<(String, String)> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (name.to_owned(), value.replace("%3A", ":").replace("%2C", ",")))
        .collect();
    if let Some(wanted) = &shared.manner.authorization
        && request.headers.get("authorization") != Some(wanted)
    {
        return outcome(401, "login", "");
    }
    let Some(below) = path.strip_prefix("/fhir/") else { return outcome(404, "not-found", "") };
    let parts: Vec<&str> = below.split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["metadata"]) => metadata(shared),
        ("POST", ["$export"]) if shared.manner.export_post => kick_off(shared),
        ("GET", ["$export"]) if shared.manner.export_get => kick_off(shared),
        ("GET", ["export-job"]) => job(shared),
        ("DELETE", ["export-job"]) => Reply { status: 202, ..Reply::default() },
        ("GET", ["export-file", name]) => file(shared, name),
        ("GET", [name, "_history"]) => history(shared, name, &query),
        ("GET", [name]) if name.starts_with(|first: char| first.is_ascii_uppercase()) => search(shared, name, &query),
        ("GET", [name, id]) => read(shared, request, name, id),
        _ => outcome(404, "not-supported", ""),
    }
}

fn outcome(status: u16, code: &str, words: &str) -> Reply {
    let body = json!({"resourceType": OUTCOME, "issue": [{"severity": "error", "code": code, "diagnostics": words}]});
    Reply::json(status, body.to_string())
}

fn metadata(shared: &Shared) -> Reply {
    let manner = &shared.manner;
    if !manner.metadata {
        return outcome(404, "not-found", "");
    }
    let mut interactions = vec![json!({"code": "read"}), json!({"code": "search-type"})];
    if manner.histories != Histories::No {
        interactions.push(json!({"code": "history-type"}));
    }
    let resource = |name: &str| {
        let includes = if manner.includes { vec![format!("{name}:subject")] } else { Vec::new() };
        json!({"type": name, "interaction": interactions, "searchInclude": includes})
    };
    let names = ["Patient", "Encounter", "Observation", "DiagnosticReport"];
    let operations = if manner.export_post || manner.export_get { vec![json!({"name": "export"})] } else { Vec::new() };
    let body = json!({"resourceType": "CapabilityStatement", "fhirVersion": manner.fhir_version,
        "software": {"name": "model", "version": "1"},
        "rest": [{"mode": "server", "operation": operations, "resource": names.map(resource)}]});
    Reply::json(200, body.to_string())
}

fn read(shared: &Shared, request: &Request, name: &str, id: &str) -> Reply {
    match shared.model.current(name, id) {
        None => outcome(404, "not-found", ""),
        Some(version) if version.deleted && shared.manner.forgets_deleted => outcome(404, "not-found", ""),
        Some(version) if version.deleted => outcome(410, "deleted", ""),
        Some(version) => {
            let tag = format!("W/\"{}\"", version.number);
            if request.headers.get("if-none-match") == Some(&tag) {
                return Reply { status: 304, ..Reply::default() };
            }
            Reply::json(200, shared.model.text(name, id, version)).with("etag", &tag)
        }
    }
}

/// `ge2026-…` against a time known to the server's precision: a bound finer than that counts as its whole second.
fn is_since(model: &Model, at: Timestamp, bound: &str) -> bool {
    let Some(bound) = bound.strip_prefix("ge").and_then(|text| text.parse::<Timestamp>().ok()) else { return true };
    model.known(at) >= model.known(bound)
}

fn search(shared: &mut Shared, name: &str, query: &[(String, String)]) -> Reply {
    let manner = shared.manner.clone();
    let get = |wanted: &str| query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    for (refused, parameter) in [(manner.refuses_sort, "_sort"), (manner.refuses_last_updated, "_lastUpdated")] {
        if refused && get(parameter).is_some() {
            return outcome(400, "not-supported", &format!("the search parameter {parameter} is not supported"));
        }
    }
    if manner.wants_patient && name != "Patient" && get("patient").is_none() && get("_id").is_none() {
        return outcome(400, "required", "a patient or subject is required");
    }
    let model = &shared.model;
    let mut rows: Vec<(String, Version)> = model
        .live(name)
        .into_iter()
        .filter(|(id, version)| {
            let since = get("_lastUpdated").filter(|_| !manner.ignores_last_updated);
            let ids = get("_id").filter(|_| !manner.ignores_id);
            let subject = version.content["subject"]["reference"].as_str();
            since.is_none_or(|bound| is_since(model, version.at, bound))
                && ids.is_none_or(|ids| ids.split(',').any(|one| one == *id))
                && get("patient").is_none_or(|patient| subject == Some(&format!("Patient/{patient}")))
        })
        .map(|(id, version)| (id.to_owned(), version.clone()))
        .collect();
    let sorted = get("_sort") == Some("_lastUpdated") && !manner.ignores_sort;
    let order = |id: &str, version: &Version| {
        if sorted {
            (model.known(version.at).as_nanosecond(), id.to_owned())
        } else {
            (i128::from(scattered(id)), id.to_owned())
        }
    };
    rows.sort_by_cached_key(|(id, version)| order(id, version));
    let total = rows.len();
    let count = get("_count").and_then(|text| text.parse().ok()).unwrap_or(20).clamp(1, manner.page_cap);
    let place = get("place").unwrap_or_default();
    let kept: Vec<String> = query
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "place" | "_offset"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let kept = kept.join("&");
    let (page, next): (Vec<(String, Version)>, Option<String>) = match manner.paging {
        Paging::Cursor => {
            if let Some((time, id)) = place.split_once('_') {
                let behind = (time.parse::<i128>().unwrap_or(0), id.to_owned());
                rows.retain(|(id, version)| order(id, version) > behind);
            }
            let more = rows.len() > count;
            rows.truncate(count);
            let next = rows.last().filter(|_| more).map(|(id, version)| {
                let (time, id) = order(id, version);
                format!("{kept}&place={time}_{id}")
            });
            (rows, next)
        }
        Paging::Frozen => {
            let (list, start) =
                match place.split_once('_').and_then(|(list, start)| Some((list.parse().ok()?, start.parse().ok()?))) {
                    Some((list, start)) => (list, start),
                    None => {
                        shared.frozen.push(rows.iter().map(|(id, _)| id.clone()).collect());
                        (shared.frozen.len() - 1, 0_usize)
                    }
                };
            let Some(ids) = shared.frozen.get(list) else { return outcome(410, "not-found", "the search expired") };
            let end = (start + count).min(ids.len());
            // The rows as they are now; those that were deleted meanwhile are missing.
            let page = ids[start.min(end)..end]
                .iter()
                .filter_map(|id| Some((id.clone(), shared.model.current(name, id)?.clone())))
                .filter(|(_, version)| !version.deleted)
                .collect();
            let next = (end < ids.len()).then(|| format!("{kept}&place={list}_{end}"));
            (page, next)
        }
        Paging::Offset => {
            let start = get("_offset").and_then(|text| text.parse().ok()).unwrap_or(0_usize).min(total);
            let end = (start + count).min(total);
            let next = (end < total).then(|| format!("{kept}&_offset={end}"));
            (rows.drain(start..end).collect(), next)
        }
        Paging::None => {
            rows.truncate(count);
            (rows, None)
        }
        Paging::ToItself | Paging::Endless => {
            let more = rows.len() > count;
            rows.truncate(count);
            let mark = if manner.paging == Paging::Endless { shared.requests.len() } else { 0 };
            (rows, more.then(|| format!("{kept}&place={mark}")))
        }
    };
    bundle(shared, name, query, page, total, next)
}

/// The order of a server that was not asked for one, or does not listen.
fn scattered(id: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).expect("32 bits")
}

fn bundle(
    shared: &Shared,
    name: &str,
    query: &[(String, String)],
    page: Vec<(String, Version)>,
    total: usize,
    next: Option<String>,
) -> Reply {
    let (model, manner) = (&shared.model, &shared.manner);
    let base = manner.link_base.clone().unwrap_or_else(|| "/fhir".to_owned());
    let mut links = Vec::new();
    if manner.own_link {
        let ignored = |parameter: &str| match parameter {
            "_sort" => manner.ignores_sort,
            "_lastUpdated" => manner.ignores_last_updated,
            _ => false,
        };
        let understood: Vec<String> =
            query.iter().filter(|(name, _)| !ignored(name)).map(|(name, value)| format!("{name}={value}")).collect();
        links.push(json!({"relation": "self", "url": format!("{base}/{name}?{}", understood.join("&"))}));
    }
    if let Some(next) = next {
        links.push(json!({"relation": "next", "url": format!("{base}/{name}?{next}")}));
    }
    let mut entries: Vec<String> = page
        .iter()
        .map(|(id, version)| {
            let text = model.text(name, id, version);
            format!("{{\"fullUrl\":\"{base}/{name}/{id}\",\"resource\":{text},\"search\":{{\"mode\":\"match\"}}}}")
        })
        .collect();
    if manner.includes && query.iter().any(|(name, _)| name == "_include") {
        let mut subjects: Vec<&str> =
            page.iter().filter_map(|(_, version)| version.content["subject"]["reference"].as_str()).collect();
        subjects.sort_unstable();
        subjects.dedup();
        for id in subjects.iter().filter_map(|subject| subject.strip_prefix("Patient/")) {
            if let Some(version) = model.current("Patient", id).filter(|version| !version.deleted) {
                let text = model.text("Patient", id, version);
                entries.push(format!("{{\"resource\":{text},\"search\":{{\"mode\":\"include\"}}}}"));
            }
        }
    }
    let total = if manner.total { format!("\"total\":{total},") } else { String::new() };
    let body = format!(
        "{{\"resourceType\":\"Bundle\",\"type\":\"searchset\",{total}\"link\":{},\"entry\":[{}]}}",
        Value::Array(links),
        entries.join(",\n")
    );
    Reply::json(200, body)
}

fn history(shared: &Shared, name: &str, query: &[(String, String)]) -> Reply {
    let (model, manner) = (&shared.model, &shared.manner);
    if manner.histories == Histories::No {
        return outcome(404, "not-supported", "");
    }
    let get = |wanted: &str| query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let since = get("_since").and_then(|text| text.parse::<Timestamp>().ok());
    let rows: Vec<_> = model
        .history(name)
        .into_iter()
        .filter(|(_, version)| since.is_none_or(|since| model.known(version.at) >= model.known(since)))
        .filter(|_| manner.histories != Histories::Empty)
        .collect();
    let count = get("_count").and_then(|text| text.parse().ok()).unwrap_or(20).clamp(1, manner.page_cap);
    let start = get("row").and_then(|text| text.parse().ok()).unwrap_or(0_usize).min(rows.len());
    let end = (start + count).min(rows.len());
    let entries: Vec<String> = rows[start..end]
        .iter()
        .map(|(id, version)| {
            let method = if version.deleted { "DELETE" } else { "PUT" };
            let resource = match version.deleted || manner.histories == Histories::WithoutContent {
                true => String::new(),
                false => format!("\"resource\":{},", model.text(name, id, version)),
            };
            format!(
                "{{{resource}\"request\":{{\"method\":\"{method}\",\"url\":\"{name}/{id}\"}},\"response\":{{\"status\":\"200\",\"lastModified\":\"{}\"}}}}",
                model.time(version.at)
            )
        })
        .collect();
    let base = manner.link_base.clone().unwrap_or_else(|| "/fhir".to_owned());
    let since = get("_since").map(|since| format!("_since={since}&")).unwrap_or_default();
    let links = match manner.histories {
        Histories::Yes | Histories::WithoutContent if end < rows.len() => {
            json!([{"relation": "next", "url": format!("{base}/{name}/_history?{since}_count={count}&row={end}")}])
        }
        _ => json!([]),
    };
    let body = format!(
        "{{\"resourceType\":\"Bundle\",\"type\":\"history\",\"link\":{links},\"entry\":[{}]}}",
        entries.join(",")
    );
    Reply::json(200, body)
}

fn kick_off(shared: &mut Shared) -> Reply {
    shared.exports = 0;
    Reply { status: 202, ..Reply::default() }.with("content-location", "/fhir/export-job")
}

fn job(shared: &mut Shared) -> Reply {
    shared.exports += 1;
    if shared.exports <= shared.manner.export_waits {
        return Reply { status: 202, ..Reply::default() }.with("x-progress", "working").with("retry-after", "0");
    }
    let output: Vec<Value> = ["Patient", "Encounter", "Observation", "DiagnosticReport"]
        .into_iter()
        .map(|name| (name, shared.model.live(name).len()))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| json!({"type": name, "url": format!("/fhir/export-file/{name}"), "count": count}))
        .collect();
    let manifest = json!({"transactionTime": shared.model.time(shared.model.now), "request": "$export",
        "requiresAccessToken": true, "output": output, "error": []});
    Reply {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: manifest.to_string().into_bytes(),
    }
}

fn file(shared: &Shared, name: &str) -> Reply {
    let model = &shared.model;
    let lines: Vec<String> = model.live(name).into_iter().map(|(id, version)| model.text(name, id, version)).collect();
    Reply {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/fhir+ndjson".to_owned())],
        body: lines.join("\n").into_bytes(),
    }
}
