//! What is read, and how far the mark moves.

use std::time::Duration;

use heyi::source::fhir::status::{Mode, Remark, State};
use serde_json::json;

use crate::fhir_server::{Fault, Histories, Manner, Paging, Precision};
use crate::rig::Rig;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn a_poll_that_finds_nothing_costs_one_request_a_type() {
    let mut rig = Rig::new(Manner::default()).await;
    rig.patients(12);
    rig.poll().await;
    assert_eq!(rig.differences(), [""; 0]);
    rig.pass_time(Duration::from_secs(540), 9).await;
    rig.server.take_requests();
    rig.server.advance(Duration::from_secs(31));
    rig.round().await;
    let requests = rig.server.take_requests();
    let names: Vec<&str> = requests.iter().filter_map(|request| request.split(['/', '?']).nth(2)).collect();
    assert_eq!(names, ["Patient", "Encounter", "Observation"], "{requests:?}");
    let taken = rig.mirror.held().taken;
    rig.pass_time(Duration::from_secs(60), 1).await;
    assert_eq!(rig.mirror.held().taken, taken, "a poll that finds nothing writes nothing");
}

#[tokio::test]
async fn every_way_of_paging_gives_every_row() {
    for paging in [Paging::Cursor, Paging::Frozen, Paging::Offset, Paging::None] {
        for precision in [Precision::Seconds, Precision::Milliseconds, Precision::Ticks] {
            for total in [true, false] {
                let mut rig = Rig::new(Manner { paging, total, ..Manner::default() }).await;
                rig.server.shared().model.precision = precision;
                rig.patients(33);
                rig.poll().await;
                assert_eq!(rig.differences(), [""; 0], "{paging:?} {precision:?} total {total}");
                rig.put("Patient", "p7", json!({"birthDate": "1981-01-01"}));
                rig.put("Patient", "new", json!({}));
                rig.pass_time(Duration::from_secs(31), 1).await;
                assert_eq!(rig.differences(), [""; 0], "{paging:?} {precision:?} total {total}, after a change");
            }
        }
    }
}

#[tokio::test]
async fn rows_of_one_instant_are_read_page_by_page() {
    for paging in [Paging::Cursor, Paging::Frozen, Paging::Offset, Paging::None] {
        let mut rig = Rig::new(Manner { paging, total: true, ..Manner::default() }).await;
        for number in 0..60 {
            rig.server.shared().model.put("Patient", &format!("p{number}"), json!({}));
        }
        rig.poll().await;
        assert_eq!(rig.differences(), [""; 0], "{paging:?}");
    }
}

#[tokio::test]
async fn a_page_that_expired_is_gone_on_from_by_time() {
    for status in [404, 410, 400] {
        let mut rig = Rig::new(Manner::default()).await;
        rig.patients(80);
        let mut pages = 0;
        rig.server.shared().hook = Some(Box::new(move |request, _| {
            if request.target.contains("place=") {
                pages += 1;
                if pages % 4 == 3 {
                    return Fault::Status(status, None);
                }
            }
            Fault::Nothing
        }));
        rig.poll().await;
        assert_eq!(rig.differences(), [""; 0]);
        assert!(rig.remarks("Patient").contains(&Remark::Restarted));
        let restarted = rig
            .server
            .take_requests()
            .iter()
            .filter(|one| one.contains("_lastUpdated=ge") && !one.contains("place"))
            .count();
        assert!(restarted > 0, "by time, not from the start");
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_order_is_read_whole_before_the_mark_moves() {
    let mut rig = Rig::new(Manner { ignores_sort: true, ..Manner::default() }).await;
    rig.patients(40);
    let mut pages = 0;
    rig.server.shared().hook = Some(Box::new(move |request, _| {
        pages += u32::from(request.target.contains("place="));
        if pages == 3 {
            pages += 1;
            Fault::Status(410, None)
        } else {
            Fault::Nothing
        }
    }));
    rig.poll().await;
    assert_eq!(rig.differences(), [""; 0]);
    let patient = rig.of("Patient");
    assert_eq!((patient.mode, patient.state), (Mode::Unsorted, State::Degraded));
    assert_eq!(patient.mark.as_deref(), Some("2026-03-01T08:00:40.000Z"));
}

#[tokio::test]
async fn a_server_that_ignores_the_bound_is_read_whole_and_says_so() {
    for own_link in [true, false] {
        let manner = Manner { ignores_last_updated: true, own_link, ..Manner::default() };
        let mut rig = Rig::new(manner).await;
        rig.patients(12);
        rig.poll().await;
        rig.pass_time(DAY / 2, 4).await;
        assert_eq!(rig.of("Patient").mode, Mode::FullScan);
        assert!(rig.remarks("Patient").contains(&Remark::NoLastUpdatedSearch));
        rig.put("Patient", "p3", json!({"active": false}));
        rig.server.shared().model.delete("Patient", "p4");
        rig.pass_time(Duration::from_secs(16 * 60), 1).await;
        assert_eq!(rig.differences(), [""; 0]);
    }
}

#[tokio::test]
async fn parameters_that_are_refused_are_left_out() {
    for (refuses_sort, refuses_last_updated) in [(true, false), (false, true), (true, true)] {
        let mut rig = Rig::new(Manner { refuses_sort, refuses_last_updated, ..Manner::default() }).await;
        rig.patients(12);
        rig.poll().await;
        rig.pass_time(Duration::from_secs(120), 3).await;
        rig.put("Patient", "p3", json!({"active": false}));
        rig.pass_time(Duration::from_secs(32 * 60), 2).await;
        assert_eq!(rig.differences(), [""; 0], "{refuses_sort} {refuses_last_updated}");
        assert_eq!(rig.remarks("Patient").contains(&Remark::NoSort), refuses_sort);
        assert_eq!(rig.remarks("Patient").contains(&Remark::NoLastUpdatedSearch), refuses_last_updated);
    }
}

#[tokio::test]
async fn a_server_without_times_is_compared() {
    let mut rig = Rig::new(Manner::default()).await;
    rig.server.shared().model.undated = true;
    rig.patients(12);
    rig.poll().await;
    rig.pass_time(Duration::from_secs(60), 2).await;
    rig.put("Patient", "p3", json!({"active": false}));
    rig.pass_time(Duration::from_secs(16 * 60), 1).await;
    assert_eq!(rig.differences(), [""; 0]);
    assert_eq!((rig.of("Patient").mode, rig.of("Patient").mark), (Mode::FullScan, None));
}

#[tokio::test]
async fn a_server_that_wants_patients_is_asked_patient_by_patient() {
    let mut rig = Rig::new(Manner { wants_patient: true, ..Manner::default() }).await;
    rig.patients(7);
    for number in 0..30 {
        let subject = json!({"subject": {"reference": format!("Patient/p{}", number % 7)}});
        rig.put("Observation", &format!("o{number}"), subject);
    }
    rig.poll().await;
    rig.pass_time(Duration::from_secs(60), 2).await;
    assert_eq!(rig.differences(), [""; 0]);
    let observation = rig.of("Observation");
    assert!(observation.per_patient && observation.state == State::Degraded);
    rig.put("Observation", "o3", json!({"subject": {"reference": "Patient/p3"}, "status": "amended"}));
    rig.server.shared().model.delete("Observation", "o4");
    rig.pass_time(Duration::from_secs(400), 2).await;
    assert_eq!(rig.differences(), [""; 0]);
}

#[tokio::test]
async fn a_time_in_the_future_hides_nothing_that_comes_after_it() {
    let mut rig = Rig::new(Manner { histories: Histories::No, ..Manner::default() }).await;
    rig.patients(3);
    let future = "2036-01-01T00:00:00Z".parse().unwrap();
    rig.server.shared().model.put_at("Patient", "future", json!({}), future);
    rig.poll().await;
    assert!(rig.remarks("Patient").contains(&Remark::FutureLastUpdated));
    rig.put("Patient", "later", json!({}));
    rig.pass_time(Duration::from_secs(31), 1).await;
    assert_eq!(rig.differences(), [""; 0]);
}

#[tokio::test]
async fn a_transaction_that_ends_late_is_seen_by_the_overlap() {
    let mut rig = Rig::new(Manner::default()).await;
    rig.patients(3);
    rig.poll().await;
    rig.server.shared().model.put_late("Patient", "slow", json!({}), 1_000);
    rig.put("Patient", "quick", json!({}));
    rig.pass_time(Duration::from_secs(120), 3).await;
    assert_eq!(rig.mirror.ids("Patient").len(), 4);
    rig.server.shared().model.settle();
    rig.pass_time(Duration::from_secs(60), 1).await;
    assert_eq!(rig.differences(), [""; 0]);
}

#[tokio::test]
async fn rows_that_move_while_pages_are_read_are_not_missed() {
    for paging in [Paging::Offset, Paging::Frozen, Paging::Cursor] {
        let mut rig = Rig::new(Manner { paging, ..Manner::default() }).await;
        rig.patients(60);
        let mut request_number = 0;
        rig.server.shared().hook = Some(Box::new(move |_, model| {
            request_number += 1;
            if request_number < 40 {
                model.advance(Duration::from_secs(1));
                model.put("Patient", &format!("p{}", (request_number * 3) % 60), json!({"n": request_number}));
            }
            Fault::Nothing
        }));
        rig.poll().await;
        // The last changes came behind the pass: the next one sees them.
        rig.server.shared().hook = None;
        rig.pass_time(Duration::from_secs(120), 3).await;
        assert_eq!(rig.differences(), [""; 0], "{paging:?}");
    }
}

#[tokio::test]
async fn what_moves_up_to_a_page_that_was_read_is_not_missed_though_nothing_but_the_pages_tells_of_it() {
    for paging in [Paging::Offset, Paging::Frozen, Paging::Cursor] {
        let mut rig = Rig::new(Manner { paging, histories: Histories::No, ..Manner::default() }).await;
        // No overlap reaches back to them, and ids are compared once a day.
        for number in 0..60 {
            rig.server.advance(Duration::from_secs(600));
            rig.put("Patient", &format!("p{number:02}"), json!({"n": 0}));
        }
        let mut given = 0;
        rig.server.shared().hook = Some(Box::new(move |request, model| {
            // After each page the oldest row that was given goes to the end, and every other one moves up by one.
            if request.target.contains("/Patient?")
                && (request.target.contains("_offset") || request.target.contains("place="))
            {
                model.advance(Duration::from_secs(1));
                model.put("Patient", &format!("p{given:02}"), json!({"n": 1}));
                given += 1;
            }
            Fault::Nothing
        }));
        rig.poll().await;
        rig.server.shared().hook = None;
        rig.pass_time(Duration::from_secs(600), 3).await;
        assert_eq!(rig.differences(), [""; 0], "{paging:?}");
    }
}

#[tokio::test]
async fn pages_without_end_end() {
    for paging in [Paging::ToItself, Paging::Endless] {
        let mut rig = Rig::new(Manner { paging, ..Manner::default() }).await;
        rig.patients(30);
        rig.settings.resources = vec!["Patient".to_owned()];
        for _ in 0..3 {
            rig.round().await;
        }
        let requests = rig.server.take_requests().len();
        assert!(requests < 100, "{paging:?}: {requests}");
    }
}

#[tokio::test]
async fn a_link_elsewhere_is_not_followed_or_brought_back() {
    let elsewhere = Rig::new(Manner::default()).await.server;
    for rebase in [false, true] {
        let manner = Manner { link_base: Some(elsewhere.base()), ..Manner::default() };
        let mut rig = Rig::with(manner, |settings| settings.rebase_links = rebase).await;
        rig.patients(40);
        for _ in 0..30 {
            rig.round().await;
        }
        assert!(rig.status().remarks.contains(&Remark::ForeignLinks));
        if rebase {
            assert_eq!(rig.differences(), [""; 0]);
        } else {
            assert_eq!(rig.of("Patient").last_error.unwrap().kind, "foreign_link");
        }
    }
    assert_eq!(elsewhere.take_requests(), [""; 0], "nothing was sent to the other server");
}

#[tokio::test]
async fn a_total_without_a_way_to_the_rest_does_not_move_the_mark() {
    let manner = Manner { paging: Paging::None, total: true, page_cap: 5, own_link: false, ..Manner::default() };
    let mut rig = Rig::new(manner).await;
    for number in 0..20 {
        rig.server.shared().model.put("Patient", &format!("p{number}"), json!({}));
    }
    rig.round().await;
    let patient = rig.of("Patient");
    assert_eq!((patient.last_error.unwrap().kind, patient.mark, patient.state), ("short".into(), None, State::Failing));
    assert_eq!(rig.of("Observation").state, State::Polling, "one type's failure does not stop the others");
}

#[tokio::test]
async fn a_restart_in_the_middle_goes_on_where_it_was() {
    for paging in [Paging::Cursor, Paging::Frozen, Paging::Offset] {
        let mut rig = Rig::with(Manner { paging, ..Manner::default() }, |settings| settings.limits.turn = 3).await;
        rig.patients(60);
        rig.round().await;
        let before = rig.mirror.ids("Patient").len();
        assert!((10..60).contains(&before), "{paging:?}: {before}");
        rig.restart();
        rig.server.take_requests();
        rig.poll().await;
        assert_eq!(rig.differences(), [""; 0], "{paging:?}");
        let first = rig.server.take_requests().into_iter().find(|request| request.contains("Patient")).unwrap();
        assert!(first.contains("place=") || first.contains("ge2026"), "{paging:?}: {first}");
    }
}

#[tokio::test]
async fn patients_come_beside_their_encounters_where_the_server_offers_it() {
    let manner = Manner { includes: true, ..Manner::default() };
    let mut rig = Rig::with(manner, |settings| settings.resources = vec!["Encounter".to_owned()]).await;
    rig.patients(3);
    for number in 0..3 {
        rig.put("Encounter", &format!("e{number}"), json!({"subject": {"reference": format!("Patient/p{number}")}}));
    }
    rig.poll().await;
    assert_eq!(rig.differences(), [""; 0]);
    let requests = rig.server.take_requests();
    assert!(requests.iter().any(|request| request.contains("_include=Encounter:subject")), "{requests:?}");
    assert!(!requests.iter().any(|request| request.contains("/Patient")), "{requests:?}");
    assert_eq!(rig.of("Encounter").mark.as_deref(), Some("2026-03-01T08:00:06.000Z"), "includes do not move the mark");
}
