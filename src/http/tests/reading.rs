//! Pages, long polls, cursors and consumers.

use super::*;

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
