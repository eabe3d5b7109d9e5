//! Single requests go wrong.

use std::time::Duration;

use heyi::source::fhir::status::{Remark, State};
use serde_json::json;

use crate::fhir_server::{Fault, FhirServer, Manner};
use crate::rig::Rig;

/// What an error or a log line of ours must never hold: the server's words quote these.
const PRIVATE: [&str; 3] = ["Wang", "110101199003070011", "ge2026"];

fn retry_after(value: &str) -> Fault {
    Fault::Status(503, Some(("retry-after", value.to_owned())))
}

#[tokio::test]
async fn what_may_go_better_is_asked_again_and_nothing_is_lost() {
    let faults = [
        Fault::Status(500, None),
        Fault::Status(502, None),
        Fault::Html,
        Fault::Outcome,
        Fault::CutOff,
        Fault::CutJson,
        Fault::CutGzip,
        Fault::Close,
        Fault::Silence,
        Fault::Status(429, Some(("retry-after", "0".to_owned()))),
        Fault::Status(429, Some(("x-ms-retry-after-ms", "3".to_owned()))),
        Fault::Status(503, None),
        retry_after("Sun, 01 Mar 2026 08:00:00 GMT"),
    ];
    for fault in faults {
        let mut rig =
            Rig::with(Manner::default(), |settings| settings.limits.request = Duration::from_millis(300)).await;
        rig.patients(12);
        // At the first page of patients, and in the middle of them.
        rig.server.fail_next([Fault::Nothing, fault.clone(), Fault::Nothing, fault.clone()]);
        rig.poll().await;
        assert_eq!(rig.differences(), [""; 0], "{fault:?}");
        assert_eq!(rig.status().state, State::Polling, "{fault:?}");
        assert_eq!(rig.status().failures.values().sum::<u64>(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_failure_tells_what_and_where_but_not_of_whom() {
    let faults = [
        (Fault::Status(400, None), "status"),
        (Fault::Status(500, None), "server_error"),
        (Fault::Status(401, None), "unauthorized"),
        (Fault::Status(403, None), "forbidden"),
        (Fault::Html, "not_fhir"),
        (Fault::Outcome, "operation_outcome"),
        (Fault::CutJson, "interrupted"),
        (Fault::Redirect("http://127.0.0.1:9/fhir/Patient?patient=ge2026".to_owned()), "redirected"),
        (Fault::Padding(5_000_000), "too_large"),
    ];
    for (fault, kind) in faults {
        let mut rig = Rig::with(Manner::default(), |settings| {
            settings.limits.page_bytes = 1_000_000;
            settings.resources = vec!["Patient".to_owned()];
        })
        .await;
        rig.patients(12);
        rig.poll().await;
        let sent = fault.clone();
        rig.server.shared().hook = Some(Box::new(move |_, _| sent.clone()));
        rig.server.advance(Duration::from_secs(31));
        rig.round().await;
        let error = rig.status().last_error.unwrap();
        assert_eq!(error.kind, kind, "{}", error.text);
        assert!(error.text.contains("Patient") && !error.text.contains("p1"), "{}", error.text);
        assert!(PRIVATE.iter().all(|word| !error.text.contains(word)), "{}", error.text);
        // It comes back by itself.
        rig.server.shared().hook = None;
        rig.put("Patient", "p1", json!({"active": true}));
        rig.pass_time(Duration::from_secs(3600), 4).await;
        assert_eq!(rig.differences(), [""; 0], "{fault:?}");
        assert_eq!(rig.of("Patient").last_error, None);
    }
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_left_alone_for_as_long() {
    for header in ["300", "Sun, 01 Mar 2026 08:05:03 GMT"] {
        let mut rig = Rig::new(Manner::default()).await;
        rig.patients(3);
        rig.server.fail_next([Fault::Nothing, retry_after(header)]);
        rig.round().await;
        assert_eq!(rig.status().state, State::Resting);
        assert_eq!(rig.status().resting_until.unwrap().to_string(), "2026-03-01T08:05:03Z");
        rig.server.take_requests();
        rig.server.advance(Duration::from_secs(299));
        rig.next = jiff::Timestamp::MIN;
        rig.round().await;
        assert_eq!(rig.server.take_requests(), [""; 0], "nothing is sent before");
        rig.server.advance(Duration::from_secs(2));
        rig.poll().await;
        assert_eq!((rig.differences(), rig.status().state), (vec![], State::Polling));
    }
}

#[tokio::test]
async fn a_server_that_keeps_failing_is_left_alone_longer_and_longer() {
    let mut rig = Rig::new(Manner::default()).await;
    rig.patients(3);
    rig.poll().await;
    rig.server.shared().hook = Some(Box::new(|_, _| Fault::Status(500, None)));
    rig.server.take_requests();
    for _ in 0..60 {
        rig.round().await;
    }
    let span = rig.server.shared().model.now.duration_since("2026-03-01T08:00:00Z".parse().unwrap());
    assert!(span.as_secs() > 3 * 3600, "60 rounds took {span:?}");
    assert!(rig.server.take_requests().len() < 60 * 4 + 20);
    rig.server.shared().hook = None;
    rig.put("Patient", "p1", json!({"active": true}));
    rig.pass_time(Duration::from_secs(1_400), 4).await;
    assert_eq!(rig.differences(), [""; 0]);
    assert_eq!(rig.status().state, State::Polling, "{:?}", rig.status());
}

#[tokio::test]
async fn one_type_that_fails_does_not_stop_the_others() {
    let mut rig = Rig::new(Manner::default()).await;
    rig.patients(3);
    rig.put("Encounter", "e1", json!({}));
    rig.put("Observation", "o1", json!({}));
    rig.server.shared().hook =
        Some(Box::new(
            |request, _| {
                if request.target.contains("Encounter") { Fault::Status(403, None) } else { Fault::Nothing }
            },
        ));
    rig.round().await;
    assert_eq!(rig.mirror.ids("Observation"), ["o1"]);
    assert_eq!((rig.of("Encounter").state, rig.status().state), (State::Refused, State::Refused));
    assert_eq!(rig.of("Observation").state, State::Polling);
}

#[tokio::test]
async fn a_redirect_is_followed_on_the_same_origin_only() {
    let elsewhere = FhirServer::start(Manner::default()).await;
    let mut rig = Rig::new(Manner::default()).await;
    rig.patients(3);
    let here = format!("{}/Patient?_sort=_lastUpdated&_count=5", rig.server.base());
    rig.server.fail_next([Fault::Nothing, Fault::Redirect(here)]);
    rig.poll().await;
    assert_eq!(rig.differences(), [""; 0]);
    rig.server.fail_next([Fault::Redirect(format!("{}/Patient", elsewhere.base()))]);
    rig.server.advance(Duration::from_secs(31));
    rig.round().await;
    assert_eq!(rig.status().last_error.unwrap().kind, "redirected");
    assert_eq!(elsewhere.take_requests(), [""; 0]);
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
    let mut rig = Rig::with(Manner::default(), |settings| settings.limits.page_bytes = 20_000).await;
    let text = "x".repeat(6_000);
    for number in 0..20 {
        rig.put("Patient", &format!("p{number}"), json!({"text": text}));
    }
    rig.poll().await;
    assert_eq!(rig.differences(), [""; 0]);
    assert!(rig.remarks("Patient").contains(&Remark::SmallerPages));
}

#[tokio::test]
async fn compressed_answers_are_read() {
    let mut rig = Rig::new(Manner { gzip: true, ..Manner::default() }).await;
    rig.patients(12);
    rig.poll().await;
    assert_eq!(rig.differences(), [""; 0]);
}

#[tokio::test]
async fn a_clock_that_goes_wrong_is_noticed_and_harmless() {
    let mut rig = Rig::new(Manner::default()).await;
    rig.patients(3);
    // The answer bears a date of its own.
    let mut settings = rig.settings.clone();
    settings.source = "skewed".to_owned();
    rig.poll().await;
    assert_eq!(rig.status().clock_skew, Some(0));
    let world = heyi::source::fhir::World {
        now: std::sync::Arc::new(|| "2026-03-01T07:00:00Z".parse().unwrap()),
        random: std::sync::Arc::new(|| 7),
    };
    let mut poller =
        heyi::source::fhir::Poller::new(settings, crate::mirror::Mirror::default(), rig.health.clone(), world).unwrap();
    poller.round(&rig.stop).await;
    assert!(rig.status().remarks.contains(&Remark::ClockSkew));
    assert!(rig.status().clock_skew.is_some_and(|skew| (3_600..3_700).contains(&skew)));
    assert_eq!(poller.sink().ids("Patient").len(), 3);
}

#[tokio::test]
async fn a_keeper_that_fails_loses_nothing() {
    let mut rig = Rig::new(Manner::default()).await;
    rig.patients(30);
    rig.mirror.held().fails_after = Some(3);
    rig.round().await;
    assert_eq!(rig.status().last_error.unwrap().kind, "store");
    let held = rig.mirror.ids("Patient").len();
    assert!(held > 0 && held < 30);
    rig.mirror.held().fails_after = None;
    rig.pass_time(Duration::from_secs(120), 2).await;
    assert_eq!(rig.differences(), [""; 0]);
}

#[tokio::test]
async fn it_stops_in_the_middle_of_a_request() {
    let rig = Rig::with(Manner::default(), |settings| settings.limits.idle = Duration::from_secs(600)).await;
    rig.server.fail_next([Fault::Silence]);
    let (poller, stop) = (rig.poller, rig.stop);
    let running = tokio::spawn(poller.run(stop.clone()));
    while rig.server.shared().requests.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(rig.health.snapshot().state, State::Stopped);
}

#[tokio::test]
async fn a_poke_polls_at_once() {
    let rig = Rig::with(Manner::default(), |settings| settings.limits.poke_spacing = Duration::from_millis(1)).await;
    rig.patients(3);
    let poke = rig.poller.poke_handle();
    let (server, mirror) = (rig.server, rig.mirror);
    let running = tokio::spawn(rig.poller.run(rig.stop.clone()));
    while mirror.ids("Patient").len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The clock stands still: only the poke can do it.
    server.shared().model.put("Patient", "poked", json!({}));
    poke.poke();
    while mirror.ids("Patient").len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        poke.poke();
    }
    rig.stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn versions_are_detected_and_a_server_that_does_not_say_is_taken_for_r4() {
    for (metadata, says, version, remark) in [
        (true, "4.0.1", "R4", None),
        (true, "4.3.0", "R4B", None),
        (true, "3.0.2", "STU3", None),
        (true, "5.0.0", "R5", None),
        (true, "1.0.2", "R4", Some(Remark::UnknownVersion)),
        (false, "", "R4", Some(Remark::NoCapabilities)),
    ] {
        let manner = Manner { metadata, fhir_version: says.to_owned(), ..Manner::default() };
        let mut rig = Rig::new(manner).await;
        rig.patients(3);
        rig.poll().await;
        assert_eq!(rig.status().fhir_version.unwrap().name(), version);
        assert_eq!(rig.status().remarks.into_iter().next(), remark);
        assert_eq!(rig.differences(), [""; 0]);
    }
}
