//! The first load.

use std::time::Duration;

use heyi::source::fhir::settings::FirstLoad;
use heyi::source::fhir::status::{LoadedBy, Remark, State};
use serde_json::json;

use crate::fhir_server::{Fault, Manner};
use crate::rig::Rig;

fn exporting() -> Manner {
    Manner { export_post: true, ..Manner::default() }
}

/// Rounds until the first load is over.
async fn load(rig: &mut Rig) {
    for _ in 0..200 {
        rig.poll().await;
        if rig.of("Patient").load_finished.is_some() {
            return;
        }
    }
    panic!("not loaded: {:?}", rig.status());
}

async fn filled(manner: Manner) -> Rig {
    let rig = Rig::new(manner).await;
    rig.patients(1_200);
    rig.put("Encounter", "e1", json!({"subject": {"reference": "Patient/p1"}}));
    rig
}

#[tokio::test]
async fn an_export_is_asked_for_by_post_and_by_get() {
    for (export_post, export_get) in [(true, false), (false, true)] {
        let mut rig = filled(Manner { export_post, export_get, ..Manner::default() }).await;
        load(&mut rig).await;
        rig.poll().await;
        assert_eq!(rig.differences(), [""; 0]);
        assert_eq!(rig.of("Patient").loaded_by, Some(LoadedBy::Export));
        assert_eq!((rig.of("Patient").loaded, rig.of("Patient").to_load), (1_200, Some(1_200)));
        let requests = rig.server.take_requests();
        assert!(requests.iter().any(|request| request == "DELETE /fhir/export-job"), "{requests:?}");
        // What changes from then on is polled from the export's own time.
        rig.put("Patient", "p1", json!({"n": 2}));
        rig.server.shared().model.delete("Patient", "p2");
        rig.pass_time(Duration::from_secs(330), 2).await;
        assert_eq!(rig.differences(), [""; 0]);
        let polled = rig.server.take_requests();
        assert!(
            polled.iter().filter(|request| request.contains("/Patient?")).all(|one| one.contains("_lastUpdated=ge"))
        );
    }
}

#[tokio::test]
async fn an_export_goes_on_after_a_restart() {
    let mut rig = filled(exporting()).await;
    rig.round().await;
    assert_eq!(rig.of("Patient").state, State::Loading);
    rig.restart();
    // In the middle of the file of patients the keeper fails, as if the process had been killed.
    rig.mirror.held().fails_after = Some(4);
    for _ in 0..6 {
        rig.round().await;
    }
    let held = rig.mirror.ids("Patient").len();
    assert!(held > 0 && held < 1_200, "{held}");
    rig.mirror.held().fails_after = None;
    let total = rig.of("Patient").to_load;
    assert!(total.is_some());
    rig.restart();
    // How far it is shows before the server has said anything.
    rig.server.shared().hook = Some(Box::new(|_, _| Fault::Status(503, None)));
    rig.round().await;
    assert_eq!((rig.of("Patient").loaded, rig.of("Patient").to_load), (held as u64, total));
    rig.server.shared().hook = None;
    rig.pass_time(Duration::from_secs(60), 1).await;
    assert_eq!(rig.differences(), [""; 0]);
    assert_eq!((rig.of("Patient").loaded_by, rig.of("Patient").loaded), (Some(LoadedBy::Export), total.unwrap()));
    let kicked = rig.server.take_requests().iter().filter(|request| request.ends_with("$export")).count();
    assert_eq!(kicked, 1, "the job was asked for once");
}

#[tokio::test]
async fn an_export_that_fails_is_done_by_search() {
    for (target, fault) in [
        ("$export", Fault::Status(403, None)),
        ("export-job", Fault::Status(404, None)),
        ("export-job", Fault::Html),
        ("export-file", Fault::Status(404, None)),
        ("export-file", Fault::CutJson),
        ("export-file", Fault::CutOff),
    ] {
        let mut rig = filled(exporting()).await;
        let sent = fault.clone();
        rig.server.shared().hook =
            Some(Box::new(
                move |request, _| if request.target.contains(target) { sent.clone() } else { Fault::Nothing },
            ));
        load(&mut rig).await;
        rig.pass_time(Duration::from_secs(60), 2).await;
        assert_eq!(rig.differences(), [""; 0], "{target} {fault:?}");
        assert!(rig.status().remarks.contains(&Remark::ExportFailed), "{target} {fault:?}");
        assert_eq!(rig.of("Patient").loaded_by, Some(LoadedBy::Search));
    }
}

#[tokio::test]
async fn a_file_that_breaks_off_once_is_read_on() {
    let mut rig = filled(exporting()).await;
    let mut cut = false;
    rig.server.shared().hook = Some(Box::new(move |request, _| {
        if request.target.contains("export-file/Patient") && !cut {
            cut = true;
            return Fault::CutOff;
        }
        Fault::Nothing
    }));
    load(&mut rig).await;
    assert_eq!(rig.differences(), [""; 0]);
    assert_eq!(rig.of("Patient").loaded_by, Some(LoadedBy::Export));
    assert_eq!(rig.of("Patient").loaded, 1_200, "no line is kept twice");
}

#[tokio::test]
async fn search_is_used_where_it_is_asked_for() {
    let mut rig = Rig::with(exporting(), |settings| settings.first_load = FirstLoad::Search).await;
    rig.patients(40);
    rig.poll().await;
    assert_eq!(rig.differences(), [""; 0]);
    assert!(!rig.server.take_requests().iter().any(|request| request.contains("export")));
}

#[tokio::test]
async fn how_far_a_first_load_by_search_is_shows_after_a_restart() {
    let mut rig = Rig::with(Manner::default(), |settings| {
        settings.page_size = 10;
        settings.limits.turn = 3;
    })
    .await;
    rig.patients(50);
    rig.round().await;
    assert_eq!(rig.of("Patient").loaded, 30);
    rig.restart();
    rig.server.shared().hook = Some(Box::new(|_, _| Fault::Status(503, None)));
    rig.round().await;
    assert_eq!(rig.of("Patient").loaded, 30);
}
