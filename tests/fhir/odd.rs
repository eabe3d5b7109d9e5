//! Answers that are FHIR and look otherwise than most do.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use heyi::source::fhir::status::State;
use serde_json::{Value, json};

use crate::fhir_server::{Fault, Histories, Manner, Paging, Precision, Reply, Request, Rewrite};
use crate::rig::{Rig, differences};

/// What is odd, in words, and how it is made.
type Odd<F> = (&'static str, F);

/// Writes a link in another way.
type Link = fn(&str) -> String;

/// Changes a Bundle; any other answer stays.
fn with_bundle(reply: &mut Reply, change: impl Fn(&mut Value)) {
    let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body) else { return };
    if body["resourceType"] == "Bundle" {
        change(&mut body);
        reply.body = body.to_string().into_bytes();
    }
}

fn entries(body: &mut Value) -> &mut Vec<Value> {
    body["entry"].as_array_mut().unwrap()
}

fn rewritten(rewrite: impl Fn(&mut Reply) + Send + Sync + 'static) -> Fault {
    Fault::Rewritten(Rewrite(Arc::new(rewrite)))
}

fn bundles(change: fn(&mut Value)) -> Fault {
    rewritten(move |reply| with_bundle(reply, change))
}

/// The next links of all Bundles, as `change` makes them.
fn next_links(change: fn(&str) -> String) -> Fault {
    rewritten(move |reply| {
        with_bundle(reply, |body| {
            for link in body["link"].as_array_mut().into_iter().flatten().filter(|link| link["relation"] == "next") {
                link["url"] = change(link["url"].as_str().unwrap()).into();
            }
        });
    })
}

/// What differs between server and mirror, whatever blanks there are.
fn left(rig: &Rig) -> Vec<String> {
    let read = |all: BTreeMap<String, String>| -> BTreeMap<String, String> {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
        all.into_iter().map(|(name, text)| (name, value(&text))).collect()
    };
    differences(&read(rig.server.shared().model.all()), &read(rig.mirror.all()))
}

/// Every answer is so, and the mirror follows: a first load, a change, a deletion, in pages of three.
async fn follows(name: &str, manner: Manner, fault: impl Fn(&Request) -> Fault + Send + 'static) {
    let mut rig = Rig::with(manner, |settings| {
        settings.page_size = 3;
        settings.limits.turn = 7;
    })
    .await;
    rig.patients(11);
    for number in 0..7 {
        rig.put("Encounter", &format!("e{number}"), json!({"subject": {"reference": format!("Patient/p{number}")}}));
    }
    rig.server.shared().hook = Some(Box::new(move |request, _| fault(request)));
    rig.pass_time(Duration::from_secs(60), 2).await;
    assert_eq!(left(&rig), [""; 0], "{name}, first load; {:?}", rig.status());
    rig.put("Patient", "p4", json!({"active": true}));
    rig.put("Patient", "p12", json!({}));
    rig.server.shared().model.delete("Patient", "p2");
    rig.server.shared().model.delete("Encounter", "e2");
    rig.pass_time(Duration::from_secs(3 * 86_400), 12).await;
    assert_eq!(left(&rig), [""; 0], "{name}; {:?}", rig.status());
    assert!(matches!(rig.status().state, State::Polling | State::Degraded), "{name}; {:?}", rig.status());
}

fn always(fault: Fault) -> impl Fn(&Request) -> Fault + Send + 'static {
    move |_| fault.clone()
}

#[tokio::test]
async fn answers_are_read_however_they_are_sent() {
    let odd: [Odd<fn(&mut Reply)>; 5] = [
        ("a byte order mark", |reply| reply.body = [b"\xEF\xBB\xBF", &reply.body[..]].concat()),
        ("text/json", |reply| reply.headers = vec![("content-type".to_owned(), "text/json".to_owned())]),
        ("no type at all", |reply| reply.headers.clear()),
        ("odd tags", |reply| reply.headers.push(("ETag".to_owned(), "W/\"no-version\"".to_owned()))),
        ("white space around", |reply| reply.body = [b" \r\n", &reply.body[..], b"\n\n"].concat()),
    ];
    for (name, rewrite) in odd {
        for export_post in [false, true] {
            follows(name, Manner { export_post, export_waits: 0, ..Manner::default() }, always(rewritten(rewrite)))
                .await;
        }
    }
    follows("chunks", Manner::default(), always(Fault::Chunked)).await;
    follows("chunks of gzip", Manner { gzip: true, ..Manner::default() }, always(Fault::Chunked)).await;
    follows("no length", Manner::default(), always(Fault::UntilClose)).await;
}

#[tokio::test]
async fn bundles_are_read_with_what_they_leave_out_and_what_they_add() {
    let odd: [Odd<fn(&mut Value)>; 7] = [
        ("no fullUrl, no search", |body| {
            for entry in entries(body) {
                entry.as_object_mut().unwrap().retain(|name, _| name == "resource" || name == "request");
            }
        }),
        ("outcomes between", |body| {
            let issue = json!({"severity": "warning", "code": "processing"});
            let outcome = json!({"resourceType": "OperationOutcome", "id": "1", "issue": [issue]});
            entries(body).insert(0, json!({"resource": outcome, "search": {"mode": "outcome"}}));
        }),
        ("an empty next", |body| {
            let links = body["link"].as_array_mut().unwrap();
            if links.iter().all(|link| link["relation"] != "next") {
                links.push(json!({"relation": "next", "url": ""}));
            }
        }),
        ("no entry where there are none", |body| {
            if entries(body).is_empty() {
                body.as_object_mut().unwrap().remove("entry");
            }
        }),
        ("no link but next", |body| body["link"].as_array_mut().unwrap().retain(|link| link["relation"] == "next")),
        ("a total that is no number", |body| body["total"] = json!("many")),
        ("no versionId", |body| {
            for entry in entries(body) {
                if let Some(meta) = entry["resource"]["meta"].as_object_mut() {
                    meta.remove("versionId");
                }
            }
        }),
    ];
    for (name, change) in odd {
        let manner = Manner { histories: Histories::WithoutContent, ..Manner::default() };
        if name == "no versionId" {
            // What stands in the mirror is not what the server says of itself: followed by its times, compared by their contents.
            changes_without_versions(change).await;
        } else {
            follows(name, manner, always(bundles(change))).await;
        }
    }
}

async fn changes_without_versions(change: fn(&mut Value)) {
    let mut rig = Rig::with(Manner::default(), |settings| settings.page_size = 3).await;
    rig.patients(11);
    rig.server.shared().hook = Some(Box::new(move |_, _| bundles(change)));
    rig.poll().await;
    rig.put("Patient", "p4", json!({"active": true}));
    rig.server.shared().model.delete("Patient", "p2");
    rig.pass_time(Duration::from_secs(3 * 86_400), 12).await;
    assert_eq!(rig.mirror.ids("Patient").len(), 10);
    assert!(rig.mirror.all()["Patient/p4"].contains("active"));
}

#[tokio::test]
async fn next_links_are_followed_however_they_are_written() {
    // The scripted server writes `/fhir/TYPE?…`.
    let odd: [Odd<Link>; 4] = [
        ("relative to the base", |url| url.trim_start_matches("/fhir/").to_owned()),
        ("without the base", |url| url.trim_start_matches("/fhir").to_owned()),
        ("the query alone", |url| format!("?{}", url.split_once('?').unwrap().1)),
        ("with a fragment", |url| format!("{url}#top")),
    ];
    for (name, change) in odd {
        for paging in [Paging::Cursor, Paging::Frozen, Paging::Offset] {
            // Without an order that shows, links are the only way.
            for own_link in [true, false] {
                let manner = Manner { paging, own_link, ignores_sort: !own_link, ..Manner::default() };
                follows(name, manner, always(next_links(change))).await;
            }
        }
    }
}

#[tokio::test]
async fn what_a_search_says_was_deleted_is_asked_for_and_is_no_more() {
    for has_content in [false, true] {
        let listed = with_deleted(has_content, &["p2", "p3"]);
        let mut rig = with_patients_alone().await;
        rig.server.shared().model.delete("Patient", "p2");
        rig.server.shared().hook = Some(Box::new(move |_, _| listed.clone()));
        rig.pass_time(Duration::from_secs(31), 1).await;
        // At once; and the one that is there after all stays.
        assert_eq!(left(&rig), [""; 0], "{has_content}");
        assert!(rig.mirror.ids("Patient").contains(&"p3".to_owned()));
    }
}

#[tokio::test]
async fn what_a_search_says_was_deleted_is_asked_for_again_if_heyi_ends_before_the_answer() {
    let mut rig = with_patients_alone().await;
    rig.server.shared().model.delete("Patient", "p2");
    rig.put("Patient", "p4", json!({"active": true}));
    // Once the mark has moved, it is listed no more.
    let listed_at = Arc::new(OnceLock::new());
    let listed = move |request: &Request| {
        let is_search = request.target.contains("Patient?");
        match is_search && listed_at.get_or_init(|| request.target.clone()) == &request.target {
            true => with_deleted(false, &["p2"]),
            false => Fault::Nothing,
        }
    };
    let again = listed.clone();
    rig.server.shared().hook = Some(Box::new(move |request, _| match request.target.contains("/Patient/p2") {
        true => Fault::Status(401, None),
        false => listed(request),
    }));
    rig.server.advance(Duration::from_secs(31));
    rig.round().await;
    rig.restart();
    rig.server.shared().hook = Some(Box::new(move |request, _| again(request)));
    rig.round().await;
    assert_eq!(left(&rig), [""; 0]);
}

/// A server of five Patients, read once, that has no history.
async fn with_patients_alone() -> Rig {
    let manner = Manner { histories: Histories::No, ..Manner::default() };
    let mut rig = Rig::with(manner, |settings| settings.resources = vec!["Patient".to_owned()]).await;
    rig.patients(5);
    rig.poll().await;
    rig
}

/// Deleted Patients match a search as well: with their last content, or without any.
fn with_deleted(has_content: bool, ids: &'static [&str]) -> Fault {
    rewritten(move |reply| {
        with_bundle(reply, |body| {
            if body["type"] != "searchset" {
                return;
            }
            for id in ids {
                let mut entry = json!({"request": {"method": "DELETE", "url": format!("Patient/{id}")}});
                if has_content {
                    entry["resource"] = json!({"resourceType": "Patient", "id": id, "meta": {"versionId": "9"}});
                }
                entries(body).push(entry);
            }
        });
    })
}

#[tokio::test]
async fn who_may_not_see_what_the_server_can_do_may_see_the_rest() {
    for status in [401, 403, 404, 500] {
        let closed = move |request: &Request| match request.target.contains("metadata") {
            true => Fault::Status(status, None),
            false => Fault::Nothing,
        };
        follows(&status.to_string(), Manner::default(), closed).await;
    }
}

#[tokio::test]
async fn parameters_that_are_refused_by_other_statuses_are_left_out() {
    for status in [400, 403, 405, 412, 422, 501] {
        let refused = move |request: &Request| match request.target.contains("_sort=") && status != 403 {
            true => Fault::Status(status, None),
            false => Fault::Nothing,
        };
        follows(&status.to_string(), Manner::default(), refused).await;
    }
}

#[tokio::test]
async fn times_with_an_offset_or_whole_seconds_and_times_that_go_back_hide_nothing() {
    for precision in [Precision::Seconds, Precision::Ticks] {
        let mut rig = Rig::with(Manner::default(), |settings| settings.page_size = 2).await;
        rig.server.shared().model.precision = precision;
        rig.patients(7);
        rig.poll().await;
        // Several changes of one second, before and after a poll.
        for round in 0..3 {
            rig.server.shared().model.put("Patient", "p1", json!({"n": round}));
            rig.server.shared().model.put("Patient", &format!("q{round}"), json!({}));
            rig.next = jiff::Timestamp::MIN;
            rig.poll().await;
        }
        // The clock is put back: versions grow, times do not.
        let at = rig.server.shared().model.now - Duration::from_secs(2 * 3600);
        rig.server.shared().model.put_at("Patient", "p1", json!({"n": 9}), at);
        rig.pass_time(Duration::from_secs(9 * 86_400), 20).await;
        assert_eq!(left(&rig), [""; 0], "{precision:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_changes_nothing() {
    let odd = [
        ("304", Fault::Status(304, None)),
        ("204", rewritten(|reply| *reply = Reply { status: 204, ..Reply::default() })),
        ("empty", rewritten(|reply| reply.body.clear())),
        ("429, no header", Fault::Status(429, None)),
        ("429, no time", Fault::Status(429, Some(("retry-after", "soon".to_owned())))),
        ("a login page behind a redirect", Fault::Redirect("/fhir/login".to_owned())),
        ("an array", rewritten(|reply| reply.body = b"[]".to_vec())),
        ("another resource", rewritten(|reply| reply.body = b"{\"resourceType\":\"Patient\",\"id\":\"p1\"}".to_vec())),
    ];
    for (name, fault) in odd {
        let mut rig = Rig::new(Manner::default()).await;
        let page = Reply {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: b"<html>log in".to_vec(),
        };
        rig.server.shared().others.push(("/fhir/login".to_owned(), page));
        rig.patients(5);
        rig.poll().await;
        rig.server.shared().hook = Some(Box::new(move |_, _| fault.clone()));
        rig.put("Patient", "p1", json!({"active": true}));
        rig.server.shared().model.delete("Patient", "p2");
        for _ in 0..8 {
            rig.server.advance(Duration::from_secs(20));
            rig.round().await;
        }
        assert_eq!(rig.mirror.ids("Patient").len(), 5, "{name}");
        rig.server.shared().hook = None;
        rig.pass_time(Duration::from_secs(3600), 6).await;
        assert_eq!(left(&rig), [""; 0], "{name}; {:?}", rig.status());
    }
}
