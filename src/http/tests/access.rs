//! Who is let in, by which token, address and certificate, and what is told of it.

use super::*;

#[tokio::test]
async fn every_route_is_there_and_asks_for_a_token_unless_it_is_open() {
    let server = Server::start(Vec::new()).await;
    for route in ROUTES {
        let answer = answer(server.request(method(route), &sample(route))).await;
        match route.access {
            Access::Open => assert_eq!(answer.0, 200, "{} {answer:?}", route.name),
            _ => assert_eq!((answer.0, problem(&answer)), (401, "token-missing"), "{}", route.name),
        }
    }
    assert_eq!(problem(&answer(server.request(Method::GET, "/v1/nothing")).await), "path-unknown");
    assert_eq!(problem(&answer(server.request(Method::DELETE, "/v1/feed")).await), "method-not-allowed");
}

#[tokio::test]
async fn a_role_opens_its_own_routes_and_no_other() {
    let server = Server::start(Vec::new()).await;
    server.write(insert_person).await;
    server.write(insert_review).await;
    server.write(|transaction| insert_message(transaction, "1", b"MSH|1", MessageState::Failed)).await;
    server
        .write(|transaction| consumers::commit(transaction, "crm", crate::feed::Cursor { epoch: 1, sequence: 0 }, AT))
        .await;
    for role in Role::ALL {
        let token = server.token(if role == Role::Source { "emr" } else { "someone" }, role).await;
        for route in ROUTES {
            let allowed = match route.access {
                Access::Open | Access::AnyToken => true,
                Access::Roles(roles) => roles.contains(&role),
            };
            let answer = answer(server.request(method(route), &sample(route)).bearer_auth(&token)).await;
            assert_eq!(problem(&answer) != "role-not-allowed", allowed, "{role:?} {} {answer:?}", route.name);
            // 400: a search without criteria, a commit without a body; 409: the message was retried by the role before.
            let expected: &[u16] = if allowed { &[200, 400, 409] } else { &[403] };
            assert!(expected.contains(&answer.0), "{role:?} {} {answer:?}", route.name);
        }
    }
}

#[tokio::test]
async fn a_server_has_its_own_source_polled_whatever_it_sends_and_no_other() {
    let server = Server::start(Vec::new()).await;
    let (own, other) = (server.token("emr", Role::Source).await, server.token("his", Role::Source).await);
    let poll = |token: String, path: &'static str| {
        answer(server.request(Method::POST, path).bearer_auth(token).body("<a notification/>"))
    };
    assert_eq!(poll(own, "/v1/sources/emr/poll").await, (200, json!({"source": "emr", "poll": "asked"})));
    assert_eq!(server.pokes.load(Ordering::Relaxed), 1);
    assert_eq!(problem(&poll(other.clone(), "/v1/sources/emr/poll").await), "role-not-allowed");
    assert_eq!(problem(&poll(other, "/v1/sources/his/poll").await), "record-unknown");
    assert_eq!(server.pokes.load(Ordering::Relaxed), 1);
    let engineer = server.token("eva", Role::Engineer).await;
    let sources = server.get(&engineer, "/v1/sources").await.1;
    assert_eq!(sources["sources"][1]["polling"], json!({"state": "failing"}));
    assert_eq!(sources["sources"][0].get("polling"), None);
    // What is polled and does not answer keeps nobody from being ready.
    assert_eq!(answer(server.request(Method::GET, "/readyz")).await.0, 200);
}

#[tokio::test]
async fn a_token_opens_nothing_once_it_is_revoked() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    assert_eq!(server.get(&token, "/v1/feed").await.0, 200);
    server.write(|transaction| stored_tokens::revoke(transaction, "crm", AT)).await;
    let refused = server.request(Method::GET, "/v1/feed").bearer_auth(&token).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"heyi\"");
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(problem(&server.get("heyi_unknown", "/v1/feed").await), "token-not-valid");
}

#[tokio::test]
async fn what_cannot_be_applied_to_a_consumer_s_data_leaves_nothing() {
    let masked = Consumer { policy: "care".to_owned(), ..consumer("masked", &["*"]) };
    let marketing = Consumer { purpose: Purpose::Marketing, ..consumer("marketing", &["*"]) };
    let server = Server::start(vec![masked, marketing]).await;
    server.append(&[EventKind::PatientCreated]).await;
    server.write(insert_person).await;
    let person = format!("/v1/persons/{ONE_ID}");
    for (name, kind) in [("masked", "policy-not-available"), ("stranger", "consumer-not-configured")] {
        let token = server.token(name, Role::Consumer).await;
        for path in ["/v1/feed", "/v1/feed/cursor", &person] {
            let refused = server.get(&token, path).await;
            assert_eq!((refused.0, problem(&refused)), (403, kind), "{name} {path}");
        }
    }
    let token = server.token("marketing", Role::Consumer).await;
    let (_, page) = server.get(&token, "/v1/feed").await;
    assert_eq!((&page["events"], &page["next"]), (&json!([]), &json!("1-000000000001")));
    assert_eq!(problem(&server.get(&token, &person).await), "record-unknown");
}

#[tokio::test]
async fn numbers_and_problems_bear_no_path_query_or_body_of_the_caller() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("clerk", Role::Records).await;
    let canary = "CANARY0001";
    for path in [
        format!("/v1/persons/{canary}"),
        format!("/v1/persons?identifier={canary}"),
        format!("/v1/persons?{canary}=1"),
        format!("/v1/persons?name={canary}&birth_date={canary}"),
        format!("/{canary}"),
        format!("/v1/messages/{canary}"),
    ] {
        let refused = server.get(&token, &path).await;
        assert!(refused.0 >= 400 && !refused.1.to_string().contains(canary), "{path} {refused:?}");
    }
    let (_, numbers) = server.get(&token, "/metrics").await;
    assert!(!numbers.as_str().unwrap().contains(canary), "{numbers}");
    assert!(numbers.as_str().unwrap().contains("route=\"/v1/persons/{one_id}\""), "{numbers}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    let head = format!(
        "PUT /v1/feed/cursor HTTP/1.1\r\nhost: heyi\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\n\r\n",
        limits::BODY_BYTES + 1
    );
    let mut connection = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body-too-large"), "{answer}");
}

#[tokio::test]
async fn the_same_is_served_over_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = Authority::new();
    let tls = ServerTls::load(authority.server("server", None)).unwrap();
    let plain = Server::start(Vec::new()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(Arc::new(listener), Some(Arc::new(tls)), Arc::clone(&plain.state)));
    let ca = reqwest::Certificate::from_pem(&std::fs::read(authority.file("ca.pem")).unwrap()).unwrap();
    let client = Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
    let (status, health) = answer(client.get(format!("https://localhost:{}/healthz", address.port()))).await;
    assert_eq!((status, health), (200, json!({"status": "ok"})));
    assert!(plain.client.get(format!("http://{address}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn every_schema_that_an_event_names_is_served() {
    let server = Server::start(Vec::new()).await;
    let token = server.token("crm", Role::Consumer).await;
    let paths: BTreeSet<&str> = EventKind::ALL.iter().map(|kind| kind.schema_path()).collect();
    for path in paths {
        assert_eq!(server.get(&token, path).await.1["$id"], path);
    }
    assert_eq!(server.get(&token, "/schemas/nothing").await.0, 404);
    assert_eq!(server.get(&token, "/openapi.json").await.1, document());
}

#[test]
fn every_route_that_can_tell_of_patients_or_change_something_has_an_action() {
    // What tells of no patient: health, numbers, documents, settings, and a consumer's own position.
    let without: BTreeSet<&str> =
        ROUTES.iter().filter(|route| route.audit == super::audit::Audited::Nothing).map(|route| route.name).collect();
    let expected = BTreeSet::from([
        "health",
        "ready",
        "metrics",
        "openapi",
        "asyncapi",
        "schema",
        "feed_cursor",
        "commit_feed_cursor",
        "sources",
        "pollSource",
        "consumers",
    ]);
    assert_eq!(without, expected, "say of a new route what it is in the audit trail, or here that it tells nothing");
}

#[tokio::test]
async fn wrong_tokens_lock_out_their_own_address_only() {
    let settings = GuardSettings { failures: 3, ..GuardSettings::default() };
    let server = Server::guarded(Vec::new(), settings).await;
    let good = server.token("lab", Role::Engineer).await;
    let ask = async |from: [u8; 4], token: &str| {
        let client = Client::builder().local_address(std::net::IpAddr::from(from)).build().unwrap();
        client.get(format!("{}/v1/sources", server.base)).bearer_auth(token).send().await.unwrap()
    };
    for guess in ["heyi_1", "heyi_2", "heyi_3"] {
        assert_eq!(ask([127, 0, 0, 2], guess).await.status(), 401);
    }
    for token in ["heyi_4", &good] {
        let refused = ask([127, 0, 0, 2], token).await;
        assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "300"));
    }
    assert_eq!(ask([127, 0, 0, 3], &good).await.status(), 200);
}

#[tokio::test]
async fn a_token_over_its_rate_is_told_when_to_come_back() {
    let settings = GuardSettings { requests_per_second: 1, burst: 2, ..GuardSettings::default() };
    let server = Server::guarded(Vec::new(), settings).await;
    let (one, other) = (server.token("one", Role::Engineer).await, server.token("other", Role::Engineer).await);
    let ask = |token: String| server.client.get(format!("{}/v1/sources", server.base)).bearer_auth(token).send();
    for _ in 0..2 {
        assert_eq!(ask(one.clone()).await.unwrap().status(), 200);
    }
    let refused = loop {
        // A slow machine earns a request meanwhile.
        let answer = ask(one.clone()).await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!(ask(other).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_address_that_may_not_connect_or_has_too_many_connections_is_cut_off() {
    let allow = Arc::new(|address: std::net::IpAddr| address != std::net::IpAddr::from([127, 0, 0, 9]));
    let settings = GuardSettings { connections_of_address: 1, allow, ..GuardSettings::default() };
    let server = Server::guarded(Vec::new(), settings).await;
    let ask = async |from: [u8; 4]| {
        let client = Client::builder().local_address(std::net::IpAddr::from(from)).build().unwrap();
        client.get(format!("{}/healthz", server.base)).send().await.map(|answer| answer.status().as_u16())
    };
    let held = TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap();
    // Its place is taken once the server has seen it.
    while server.state.metrics.http_connections.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(ask([127, 0, 0, 1]).await.is_err());
    assert_eq!(ask([127, 0, 0, 2]).await.unwrap(), 200);
    assert!(ask([127, 0, 0, 9]).await.is_err());
    drop(held);
}
