//! Persons, messages and readiness.

use super::*;

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
