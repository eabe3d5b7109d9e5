//! What is on the server no longer.

use std::time::Duration;

use heyi::source::fhir::status::Remark;
use serde_json::json;

use crate::fhir_server::{Fault, Histories, Manner, Paging};
use crate::rig::Rig;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn a_history_tells_of_deletions_within_its_interval() {
    let mut rig = Rig::new(Manner::default()).await;
    rig.patients(40);
    rig.poll().await;
    for number in 0..30 {
        rig.server.advance(Duration::from_secs(1));
        rig.server.shared().model.delete("Patient", &format!("p{number}"));
    }
    rig.put("Patient", "p3", json!({"back": true}));
    rig.pass_time(Duration::from_secs(330), 2).await;
    assert_eq!(rig.differences(), [""; 0]);
    assert_eq!(rig.of("Patient").deleted, 29);
}

#[tokio::test]
async fn a_deletion_during_the_first_load_is_seen() {
    let mut rig = Rig::new(Manner { paging: Paging::Frozen, ..Manner::default() }).await;
    rig.patients(40);
    let mut request_number = 0;
    rig.server.shared().hook = Some(Box::new(move |_, model| {
        request_number += 1;
        if request_number == 5 {
            model.delete("Patient", "p1");
        }
        Fault::Nothing
    }));
    rig.poll().await;
    rig.pass_time(Duration::from_secs(330), 2).await;
    assert_eq!(rig.differences(), [""; 0]);
}

#[tokio::test]
async fn without_a_history_ids_are_compared() {
    for histories in [Histories::No, Histories::Unpaged] {
        let manner = Manner { histories, page_cap: 7, ..Manner::default() };
        let mut rig = Rig::new(manner).await;
        rig.patients(40);
        rig.poll().await;
        rig.server.shared().model.delete("Patient", "p3");
        rig.server.shared().model.delete("Patient", "p4");
        rig.pass_time(DAY + DAY / 24, 4).await;
        assert_eq!(rig.differences(), [""; 0], "{histories:?}");
        assert_eq!(rig.of("Patient").deleted, 2);
    }
}

#[tokio::test]
async fn a_history_without_pages_is_seen_through() {
    let manner = Manner { histories: Histories::Unpaged, page_cap: 100, ..Manner::default() };
    let mut rig = Rig::new(manner).await;
    rig.patients(40);
    rig.poll().await;
    rig.server.shared().model.delete("Patient", "p39");
    for number in 0..150 {
        rig.put("Patient", &format!("p{}", number % 30), json!({"n": number}));
    }
    rig.pass_time(Duration::from_secs(700), 4).await;
    assert!(rig.remarks("Patient").contains(&Remark::HistoryDoesNotPage));
    rig.pass_time(DAY, 1).await;
    assert_eq!(rig.differences(), [""; 0], "ids are compared every day, as without a history");
}

#[tokio::test]
async fn what_is_404_is_gone_only_after_several_sweeps() {
    let manner = Manner { histories: Histories::No, forgets_deleted: true, ..Manner::default() };
    let mut rig = Rig::new(manner).await;
    rig.patients(4);
    rig.poll().await;
    rig.server.shared().model.delete("Patient", "p1");
    rig.server.shared().model.delete("Patient", "p2");
    for day in 1..=3 {
        rig.restart();
        rig.pass_time(DAY + Duration::from_secs(60), 1).await;
        let held = rig.mirror.ids("Patient").len();
        assert_eq!(held, if day < 3 { 4 } else { 2 }, "day {day}");
    }
}

#[tokio::test]
async fn what_was_hidden_for_a_while_is_not_gone() {
    let manner = Manner { histories: Histories::No, forgets_deleted: true, ..Manner::default() };
    let mut rig = Rig::new(manner).await;
    rig.patients(4);
    rig.poll().await;
    for _ in 0..3 {
        rig.server.shared().model.delete("Patient", "p1");
        rig.pass_time(DAY + Duration::from_secs(60), 1).await;
        rig.put("Patient", "p1", json!({}));
        rig.pass_time(DAY + Duration::from_secs(60), 1).await;
    }
    assert_eq!(rig.of("Patient").deleted, 0);
    assert_eq!(rig.differences(), [""; 0]);
}

#[tokio::test]
async fn a_sweep_finds_what_was_written_with_an_old_time() {
    let manner = Manner { histories: Histories::No, ..Manner::default() };
    let mut rig = Rig::new(manner).await;
    rig.patients(12);
    rig.poll().await;
    let old = "2020-01-01T00:00:00Z".parse().unwrap();
    rig.server.shared().model.put_at("Patient", "p5", json!({"n": 2}), old);
    rig.server.shared().model.put_at("Patient", "old", json!({}), old);
    rig.pass_time(Duration::from_secs(600), 2).await;
    assert_eq!(rig.differences().len(), 2, "no poll can see it");
    rig.pass_time(DAY, 1).await;
    assert_eq!(rig.differences(), [""; 0]);
}

#[tokio::test]
async fn a_proxys_404_deletes_nothing() {
    let manner = Manner { histories: Histories::No, ..Manner::default() };
    let mut rig = Rig::with(manner, |settings| settings.absent_sweeps = 1).await;
    rig.patients(4);
    rig.poll().await;
    rig.server.shared().model.erase("Patient", "p1");
    let page = crate::fhir_server::Reply {
        status: 404,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: b"<html>404 nginx</html>".to_vec(),
    };
    rig.server.shared().others.push(("/fhir/Patient/p1".to_owned(), page));
    rig.pass_time(DAY + Duration::from_secs(60), 1).await;
    assert_eq!(rig.mirror.ids("Patient").len(), 4);
}

#[tokio::test]
async fn a_poll_that_finds_nothing_costs_one_request_a_type() {
    let mut rig = Rig::with(Manner::default(), |settings| settings.history_interval = settings.interval * 4).await;
    rig.patients(40);
    rig.poll().await;
    // Until no transaction can be open any more that began before.
    rig.pass_time(rig.settings.overlap * 2, 10).await;
    rig.server.take_requests();
    let rounds = 40;
    rig.pass_time(rig.settings.interval * rounds, rounds).await;
    let requests = rig.server.take_requests();
    for resource_type in &rig.settings.resources {
        let path = format!("/{resource_type}");
        let asked = requests.iter().filter(|target| target.contains(&path));
        assert_eq!(asked.clone().count(), rounds as usize, "{resource_type}");
        let histories = asked.filter(|target| target.contains("/_history")).count();
        assert_eq!(histories, rounds as usize / 4, "{resource_type}");
    }
    assert_eq!(requests.len(), rounds as usize * rig.settings.resources.len(), "and nothing else is asked for");
}

#[tokio::test]
async fn a_history_in_the_place_of_a_search_delays_nothing() {
    let mut rig = Rig::with(Manner::default(), |settings| settings.history_interval = settings.interval).await;
    rig.patients(12);
    rig.poll().await;
    rig.pass_time(rig.settings.interval, 1).await;
    let mut histories = 0;
    for round in 0..12 {
        rig.put("Patient", &format!("p{round}"), json!({"round": round}));
        rig.put("Patient", &format!("new{round}"), json!({}));
        rig.server.shared().model.delete("Patient", &format!("p{}", (round + 5) % 12));
        rig.server.take_requests();
        rig.pass_time(rig.settings.interval, 1).await;
        let requests = rig.server.take_requests();
        let asked = |path: &str| requests.iter().any(|target| target.contains(path));
        let is_history = asked("/Patient/_history");
        assert_ne!(is_history, asked("/Patient?"), "round {round}");
        histories += u32::from(is_history);
        let differences = rig.differences();
        let is_behind = |text: &String| is_history || !text.ends_with("on the server no longer");
        assert!(!differences.iter().any(is_behind), "round {round}: {differences:?}");
    }
    assert_eq!(histories, 6, "in every other round");
}

#[tokio::test]
async fn what_a_history_leaves_out_the_next_search_finds() {
    for histories in [Histories::Empty, Histories::WithoutContent] {
        let manner = Manner { histories, ..Manner::default() };
        let mut rig = Rig::with(manner, |settings| settings.history_interval = settings.interval * 2).await;
        rig.patients(12);
        rig.poll().await;
        for round in 0..6 {
            rig.put("Patient", &format!("p{round}"), json!({"round": round}));
            rig.pass_time(rig.settings.interval * 2, 2).await;
            assert_eq!(rig.differences(), [""; 0], "{histories:?}, round {round}");
        }
    }
}

#[tokio::test]
async fn a_history_that_fails_does_not_stand_in_the_way_of_the_search() {
    let mut rig = Rig::with(Manner::default(), |settings| settings.history_interval = settings.interval).await;
    rig.patients(12);
    rig.poll().await;
    rig.server.shared().hook = Some(Box::new(|request, _| match request.target.contains("_history") {
        true => Fault::Status(500, None),
        false => Fault::Nothing,
    }));
    rig.put("Patient", "p1", json!({"n": 1}));
    rig.pass_time(rig.settings.interval, 1).await;
    assert_eq!(rig.differences(), [""; 0]);
}
