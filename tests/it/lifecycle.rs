//! Start and stop: by name what is wrong, gracefully what is asked, and one daemon a store.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::support::hl7::{Ack, registration};
use crate::support::http::try_request;
use crate::support::mllp::{Mllp, Received, framed};
use crate::support::site::{Site, configuration};
use crate::support::{PATIENCE, eventually};

#[test]
fn the_ready_line_tells_listeners_store_and_sources() {
    let site = Site::new();
    let daemon = site.start();
    assert_eq!(daemon.ready("sources"), "2");
    assert!(daemon.ready("store").ends_with("heyi.db"), "{}", daemon.ready("store"));
    for listener in ["http", "his", "lis"] {
        assert_ne!(daemon.address(listener).port(), 0);
        Mllp::connect(daemon.address(listener));
    }
    assert_eq!(daemon.get("/readyz", "").status, 200);
}

#[test]
fn asked_to_stop_under_load_it_answers_what_it_took_and_closes() {
    let site = Site::new();
    let mut daemon = site.start();
    let (mut connection, mut idle) = (daemon.connect("his"), daemon.connect("lis"));
    let mut sender = connection.sender();
    std::thread::scope(|scope| {
        // As fast as the daemon takes it, until it takes no more.
        scope.spawn(move || {
            for index in 0.. {
                let id = format!("C{index}");
                if sender.write_all(&framed(registration(&id, &id, "张^伟").as_bytes())).is_err() {
                    return;
                }
            }
        });
        let mut answered = 0;
        while let Received::Frame(content) = connection.receive(PATIENCE) {
            let answer = Ack::parse(&content);
            assert_eq!((answer.code(), answer.control_id()), ("AA", format!("C{answered}").as_str()));
            answered += 1;
            if answered == 100 {
                daemon.terminate();
            }
        }
        let status = daemon.wait();
        assert_eq!(status.code(), Some(0), "{status:?}");
        assert_eq!(idle.receive(PATIENCE), Received::Closed);
        let kept = site.messages(&[]).len();
        assert!(answered > 100, "{answered} answers: the load ended before the daemon did");
        assert_eq!(kept, answered, "what was taken was answered, and nothing else was taken");
    });
}

#[test]
fn asked_to_stop_in_the_middle_of_a_batch_it_answers_all_of_it() {
    let site = Site::new();
    let mut daemon = site.start();
    site.consumer();
    let count = 500;
    let messages: String =
        (0..count).map(|index| registration(&format!("C{index}"), &format!("P{index}"), "张^伟")).collect();
    let mut connection = daemon.connect("his");
    connection.write(&framed(format!("FHS|^~\\&|HIS\rBHS|^~\\&|HIS\r{messages}BTS|{count}\rFTS|1\r").as_bytes()));
    eventually("the first of its messages to be kept", || (!daemon.feed().is_empty()).then_some(()));
    daemon.terminate();
    for index in 0..count {
        let answer = connection.answer();
        assert_eq!((answer.code(), answer.control_id()), ("AA", format!("C{index}").as_str()));
    }
    assert_eq!(connection.receive(PATIENCE), Received::Closed);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_long_poll_does_not_hold_up_the_end() {
    let site = Site::new();
    let mut daemon = site.start();
    let token = site.consumer().to_owned();
    std::thread::scope(|scope| {
        let address = daemon.address("http");
        let poll = scope.spawn(move || {
            let bearer = format!("Bearer {token}");
            try_request(address, "GET", "/v1/feed?after=start&wait=30", &[("Authorization", &bearer)], b"")
        });
        // The poll's connection and that of the question.
        eventually("the poll to arrive", || {
            let metrics = daemon.get("/metrics", daemon.site.engineer()).ok().text();
            metrics.contains("heyi_http_connections_open 2\n").then_some(())
        });
        daemon.terminate();
        assert_eq!(daemon.wait().code(), Some(0));
        // An answer without events, or none; never half a one.
        if let Ok(response) = poll.join().unwrap() {
            assert_eq!(response.ok().json()["events"].as_array().map(Vec::len), Some(0));
        }
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = Site::new();
    let mut daemon = site.start();
    // A request that is served and waits for its body holds up the end, until the daemon's deadline.
    let mut request = TcpStream::connect(daemon.address("http")).unwrap();
    request.set_read_timeout(Some(PATIENCE)).unwrap();
    let bearer = site.engineer();
    let head = format!(
        "POST /v1/messages/retry HTTP/1.1\r\nHost: heyi\r\nAuthorization: Bearer {bearer}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    );
    request.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 12];
    request.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100");
    let listener = daemon.address("his");
    daemon.terminate();
    eventually("the first signal to close the listeners", || Mllp::try_connect(listener).is_err().then_some(()));
    assert!(daemon.is_alive(), "it waits for the request");
    daemon.terminate();
    assert_eq!(daemon.wait().code(), Some(1));
    assert!(daemon.log().contains("second signal"), "{}", daemon.log());
    drop(daemon);
    // Nothing is wrong with the store.
    site.start().accept("his", registration("C1", "P1", "张^伟"));
}

#[test]
fn a_second_daemon_on_the_store_is_refused_and_the_first_goes_on() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "Zhang^Wei"));
    let second = site.run(&["serve"]);
    assert!(!second.status.success() && !second.stdout.contains("ready"), "{second:?}");
    assert!(second.stderr.contains("heyi.db"), "the store is named: {}", second.stderr);
    daemon.accept("his", registration("C2", "P2", "Li^Na"));
    // Commands may use the store beside the daemon.
    assert_eq!(site.messages(&[]).len(), 2);
    daemon.kill();
    // A lock must not outlive its holder.
    let daemon = site.start();
    daemon.accept("his", registration("C3", "P3", "Wang^Fang"));
}

#[test]
fn a_store_of_a_newer_version_is_refused_untouched() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "Zhang^Wei"));
    drop(daemon);
    let path = site.path("data/heyi.db");
    let store = rusqlite::Connection::open(&path).unwrap();
    let version: i64 = store.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert!(version > 0, "the store carries its version");
    store.execute_batch("PRAGMA user_version = 9999; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    drop(store);
    let before = std::fs::read(&path).unwrap();
    for arguments in [vec!["serve"], vec!["message", "list"], vec!["token", "create", "x", "--role", "engineer"]] {
        let run = site.run(&arguments);
        assert!(!run.status.success() && run.stderr.contains("9999"), "{arguments:?}: {run:?}");
    }
    assert!(std::fs::read(&path).unwrap() == before, "nothing is written to a store that is not understood");
}

#[test]
fn a_file_that_is_no_store_is_refused_by_name() {
    let site = Site::new();
    site.write("data/heyi.db", "this is a letter, not a database, and somebody may still need it\n".repeat(100));
    let run = site.run(&["serve"]);
    assert!(!run.status.success() && run.stderr.contains("heyi.db"), "{run:?}");
    assert!(std::fs::read_to_string(site.path("data/heyi.db")).unwrap().starts_with("this is a letter"));
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::configured(&configuration("", "").replacen(
        "listen = \"127.0.0.1:0\" }",
        &format!("listen = \"{address}\" }}"),
        1,
    ));
    let run = site.run(&["serve"]);
    assert!(!run.status.success() && run.stderr.contains(&address), "{run:?}");
    assert!(!run.stdout.contains("ready"), "{}", run.stdout);
}

#[test]
fn everything_is_there_again_after_a_restart() {
    let site = Site::new();
    let daemon = site.start();
    daemon.accept("his", registration("C1", "P1", "张^伟"));
    let (feed, person) = (daemon.feed(), daemon.person("HIS|P1"));
    drop(daemon);
    let daemon = site.start();
    assert_eq!((daemon.feed(), daemon.person("HIS|P1")), (feed, person));
    daemon.accept("his", registration("C2", "P2", "李^娜"));
    assert_eq!(daemon.feed().last().unwrap()["sequence"], "000000000002");
}

#[test]
fn paths_are_relative_to_the_installation_and_missing_directories_are_made() {
    let site = Site::configured(&configuration("", "").replace("data/heyi.db", "var/lib/heyi/store.db"));
    let daemon = site.start();
    assert!(site.path("var/lib/heyi/store.db").is_file());
    daemon.accept("his", registration("C1", "P1", "Zhang^Wei"));
}
