//! The FHIR server: every page is bytes that were made before the clock started. It has a thread of its own, whose CPU time is what it took.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::resources::{POLLED, Prepared};

/// Resources of one page: what the client asks for where its configuration does not say.
pub(crate) const PAGE: usize = 200;

/// See the module.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    thread: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    types: BTreeMap<&'static str, Type>,
    metadata: Vec<u8>,
    /// How often each type was asked for.
    asked: Mutex<BTreeMap<String, u64>>,
}

struct Type {
    /// Whole answers, in order of time.
    pages: Vec<Vec<u8>>,
    held: Vec<Prepared>,
}

impl Server {
    /// Serves what there is.
    pub(crate) fn start(hospital: BTreeMap<&'static str, Vec<Prepared>>) -> Self {
        let (told, address) = std::sync::mpsc::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let port = listener.local_addr().expect("its address");
        let types = hospital.into_iter().map(|(kind, held)| (kind, Type::new(kind, held, port))).collect();
        let shared = Arc::new(Shared { types, metadata: metadata(), asked: Mutex::default() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            told.send(std::fs::read_link("/proc/thread-self").expect("this thread")).expect("who started it");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a socket");
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    tokio::spawn(converse(stream, Arc::clone(&serving)));
                }
            });
        });
        Self { address: port, thread: PathBuf::from("/proc").join(address.recv().expect("the server")), shared }
    }

    /// How long it was busy so far: its thread's time on a CPU (the first number of `schedstat`, nanoseconds).
    pub(crate) fn busy(&self) -> Duration {
        let text = std::fs::read_to_string(self.thread.join("schedstat")).expect("scheduler statistics");
        let time = text.split_whitespace().next().and_then(|text| text.parse().ok()).expect("nanoseconds");
        Duration::from_nanos(time)
    }

    /// What was asked for until now, by type; forgotten then.
    pub(crate) fn asked(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.shared.asked.lock().expect("nobody panicked"))
    }
}

impl Type {
    fn new(kind: &str, mut held: Vec<Prepared>, port: SocketAddr) -> Self {
        held.sort_by_key(|resource| resource.updated);
        let pages = held.chunks(PAGE).enumerate().map(|(number, chunk)| {
            let next = if (number + 1) * PAGE < held.len() {
                format!(r#","link":[{{"relation":"next","url":"http://{port}/fhir/{kind}?_getpages={}"}}]"#, number + 1)
            } else {
                String::new()
            };
            answer(&bundle("searchset", &format!(r#","total":{}{next}"#, held.len()), chunk))
        });
        Self { pages: pages.collect(), held }
    }
}

fn bundle(kind: &str, more: &str, resources: &[Prepared]) -> String {
    let mut text = format!(r#"{{"resourceType":"Bundle","type":"{kind}"{more},"entry":["#);
    for (place, Prepared { id, json, updated }) in resources.iter().enumerate() {
        let separator = if place == 0 { "" } else { "," };
        let beside = match kind {
            "history" => format!(
                r#""request":{{"method":"PUT","url":"{id}"}},"response":{{"status":"200","lastModified":"{updated}"}}"#
            ),
            _ => r#""search":{"mode":"match"}"#.to_owned(),
        };
        let _ = write!(text, r#"{separator}{{"fullUrl":"http://server/fhir/{id}","resource":{json},{beside}}}"#);
    }
    text.push_str("]}");
    text
}

fn metadata() -> Vec<u8> {
    let types: Vec<String> = POLLED
        .iter()
        .map(|kind| {
            format!(r#"{{"type":"{kind}","interaction":[{{"code":"read"}},{{"code":"search-type"}},{{"code":"history-type"}}]}}"#)
        })
        .collect();
    answer(&format!(
        r#"{{"resourceType":"CapabilityStatement","status":"active","kind":"instance","fhirVersion":"4.0.1","format":["json"],"rest":[{{"mode":"server","resource":[{}]}}]}}"#,
        types.join(",")
    ))
}

fn answer(body: &str) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body.as_bytes()].concat()
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).expect("a socket");
    let mut received = Vec::with_capacity(4096);
    while stream.read_buf(&mut received).await.is_ok_and(|count| count > 0) {
        while let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            let head = String::from_utf8(head).expect("a request");
            let target = head.split(' ').nth(1).expect("a target");
            let sent = match shared.answered(target.trim_start_matches("/fhir/")) {
                Answer::Ready(bytes) => stream.write_all(bytes).await,
                Answer::Made(bytes) => stream.write_all(&bytes).await,
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

enum Answer<'s> {
    Ready(&'s [u8]),
    Made(Vec<u8>),
}

impl Shared {
    fn answered(&self, target: &str) -> Answer<'_> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        *self.asked.lock().expect("nobody panicked").entry(path.to_owned()).or_default() += 1;
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, value)| value)
        };
        if path == "metadata" {
            return Answer::Ready(&self.metadata);
        }
        let (kind, rest) = path.split_once('/').unwrap_or((path, ""));
        let found = self.types.get(kind).unwrap_or_else(|| panic!("{target}: asked for what nobody names"));
        let since = |text: Option<&str>| {
            let text = text.unwrap_or_default().trim_start_matches("ge").replace("%3A", ":");
            let from = text.parse::<Timestamp>().unwrap_or(Timestamp::MIN);
            &found.held[found.held.partition_point(|resource| resource.updated < from)..]
        };
        let whole = |kind: &str, resources: &[Prepared]| {
            assert!(resources.len() <= PAGE, "{target}: more than a page");
            Answer::Made(answer(&bundle(kind, &format!(r#","total":{}"#, resources.len()), resources)))
        };
        if rest == "_history" {
            return whole("history", since(parameter("_since")));
        }
        if let Some(ids) = parameter("_id") {
            let wanted: Vec<&str> = ids.split(',').flat_map(|ids| ids.split("%2C")).collect();
            let is_wanted = |resource: &&Prepared| wanted.contains(&resource.id.as_str());
            let resources: Vec<Prepared> = found.held.iter().filter(is_wanted).map(Prepared::clone).collect();
            return whole("searchset", &resources);
        }
        if parameter("_lastUpdated").is_some() {
            return whole("searchset", since(parameter("_lastUpdated")));
        }
        if !rest.is_empty() {
            let resource = found.held.iter().find(|resource| resource.id == rest).expect("a resource that is there");
            return Answer::Made(answer(&resource.json));
        }
        let page = parameter("_getpages").map_or(0, |text| text.parse().expect("a page"));
        Answer::Ready(&found.pages[page])
    }
}
