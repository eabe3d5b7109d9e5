//! The bare durable sink: asks for the same pages, keeps every resource as a raw row, one transaction with fsync a page. It takes no resource apart,
//! makes no records, and asks for the next page when the last is kept.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::resources::POLLED;

#[derive(Deserialize)]
struct Page<'p> {
    #[serde(default)]
    link: Vec<Link>,
    #[serde(borrow)]
    entry: Vec<Entry<'p>>,
}

#[derive(Deserialize)]
struct Link {
    url: String,
}

#[derive(Deserialize)]
struct Entry<'p> {
    #[serde(borrow)]
    resource: &'p RawValue,
}

#[derive(Deserialize)]
struct Head {
    id: String,
}

/// Keeps all that is polled; gives how much that was.
pub(crate) fn load(address: SocketAddr, path: &Path) -> usize {
    let mut store = rusqlite::Connection::open(path).expect("a store");
    store
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE resource (id INTEGER PRIMARY KEY, type TEXT NOT NULL, logical_id TEXT NOT NULL, body BLOB NOT NULL,
             UNIQUE (type, logical_id)) STRICT;",
        )
        .expect("a table");
    let mut connection = TcpStream::connect(address).expect("the server accepts");
    connection.set_nodelay(true).expect("a socket");
    let mut count = 0;
    for kind in POLLED {
        let mut next = Some(format!("/fhir/{kind}?_sort=_lastUpdated"));
        while let Some(target) = next {
            let body = get(&mut connection, &target);
            let page: Page<'_> = serde_json::from_slice(&body).expect("a Bundle");
            let transaction = store.transaction().expect("a transaction");
            {
                let mut insert = transaction
                    .prepare_cached("INSERT INTO resource (type, logical_id, body) VALUES (?1, ?2, ?3)")
                    .expect("a statement");
                for Entry { resource } in &page.entry {
                    let head: Head = serde_json::from_str(resource.get()).expect("a resource");
                    insert.execute((kind, head.id, resource.get().as_bytes())).expect("a row");
                    count += 1;
                }
            }
            transaction.commit().expect("a commit");
            next = page.link.first().map(|link| link.url[link.url.find("/fhir/").expect("its own")..].to_owned());
        }
    }
    count
}

fn get(connection: &mut TcpStream, target: &str) -> Vec<u8> {
    connection.write_all(format!("GET {target} HTTP/1.1\r\nHost: server\r\n\r\n").as_bytes()).expect("a request");
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = connection.read(&mut buffer).expect("an answer");
        assert_ne!(count, 0, "the server closed the connection");
        received.extend_from_slice(&buffer[..count]);
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&received[..end]);
        let length: usize =
            head.rsplit("Content-Length: ").next().and_then(|text| text.parse().ok()).expect("a length");
        if received.len() == end + 4 + length {
            return received.split_off(end + 4);
        }
    }
}
