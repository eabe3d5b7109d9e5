//! What others refer to is read.

use std::time::Duration;

use heyi::source::fhir::sink::{Reference, Wanted};
use serde_json::json;

use crate::fhir_server::Manner;
use crate::rig::Rig;

#[tokio::test]
async fn references_are_read_together_and_what_is_nowhere_is_asked_once() {
    for ignores_id in [false, true] {
        let mut rig = Rig::with(Manner { ignores_id, ..Manner::default() }, |settings| {
            settings.resources = vec!["Observation".to_owned()];
        })
        .await;
        rig.patients(30);
        rig.put("Practitioner", "other", json!({}));
        rig.put("Patient", "other", json!({}));
        rig.put("Practitioner", "d1", json!({}));
        rig.put("Practitioner", "d2", json!({}));
        rig.server.shared().model.delete("Practitioner", "d2");
        for number in 0..30 {
            let content = json!({"subject": {"reference": format!("Patient/p{number}")}, "performer": [
                {"reference": "Practitioner/d1"}, {"reference": "Practitioner/d2"}, {"reference": "Practitioner/nowhere"}]});
            rig.put("Observation", &format!("o{number}"), content);
        }
        rig.poll().await;
        let others = ["Patient/other is not in the mirror", "Practitioner/other is not in the mirror"];
        assert_eq!(rig.differences(), others, "{ignores_id}");
        let patients = rig.server.take_requests().iter().filter(|request| request.contains("/Patient")).count();
        assert_eq!(patients, if ignores_id { 31 } else { 1 });
        assert_eq!(rig.mirror.held().absent.len(), 2);
        rig.pass_time(Duration::from_secs(60), 2).await;
        let again = rig.server.take_requests();
        assert!(!again.iter().any(|request| request.contains("Practitioner")), "{again:?}");
    }
}

#[tokio::test]
async fn what_is_held_is_asked_about_by_its_version() {
    let mut rig = Rig::with(Manner::default(), |settings| settings.resources = vec!["Encounter".to_owned()]).await;
    rig.put("Location", "same", json!({}));
    rig.put("Location", "other", json!({}));
    rig.put("Encounter", "e1", json!({"location": [{"reference": "Location/same"}, {"reference": "Location/other"}]}));
    rig.poll().await;
    rig.put("Location", "other", json!({"name": "Ward 2"}));
    let stale =
        |id: &str| Wanted { reference: Reference::new("Location", id).unwrap(), held_version: Some("1".to_owned()) };
    rig.mirror.held().stale = vec![stale("same"), stale("other")];
    rig.pass_time(Duration::from_secs(31), 1).await;
    assert_eq!(rig.differences(), [""; 0]);
    assert_eq!(rig.mirror.held().unchanged, [Reference::new("Location", "same").unwrap()]);
}

#[tokio::test]
async fn a_round_reads_no_more_references_than_it_may() {
    let mut rig = Rig::with(Manner::default(), |settings| {
        settings.resources = vec!["Observation".to_owned()];
        settings.limits.reads = 10;
    })
    .await;
    rig.patients(30);
    for number in 0..30 {
        rig.put("Observation", &format!("o{number}"), json!({"subject": {"reference": format!("Patient/p{number}")}}));
    }
    rig.round().await;
    assert_eq!(rig.mirror.ids("Patient").len(), 10);
    rig.pass_time(Duration::from_secs(240), 4).await;
    assert_eq!(rig.differences(), [""; 0]);
}
