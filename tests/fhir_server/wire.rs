//! HTTP/1.1 by hand, so that every byte of an answer can be spoilt.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Fault, Shared, answer};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query as sent.
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: String) -> Self {
        let kind = ("content-type".to_owned(), "application/fhir+json;charset=utf-8".to_owned());
        Self { status, headers: vec![kind], body: body.into_bytes() }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, Arc::clone(&shared)));
    }
}

async fn connection(mut stream: TcpStream, shared: Arc<Mutex<Shared>>) {
    let _ = stream.set_nodelay(true);
    let mut waiting = Vec::new();
    while let Some(request) = request(&mut stream, &mut waiting).await {
        let (fault, reply, date) = {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let shared = &mut *shared;
            shared.requests.push(format!("{} {}", request.method, request.target));
            shared.authorizations.push(request.headers.get("authorization").cloned());
            if !request.body.is_empty() {
                shared.bodies.push(request.body.clone());
            }
            shared.model.tick();
            let fault = match shared.faults.pop_front() {
                Some(fault) => fault,
                None => match &mut shared.hook {
                    Some(hook) => hook(&request, &mut shared.model),
                    None => Fault::Nothing,
                },
            };
            let date = shared.model.now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            let reply = answer::answer(shared, &request);
            (fault, reply, date)
        };
        let packed = request.headers.get("accept-encoding").is_some_and(|text| text.contains("gzip"));
        let gzip = packed && shared.lock().unwrap_or_else(PoisonError::into_inner).manner.gzip;
        if !send(&mut stream, fault, reply, &date, gzip).await {
            return;
        }
    }
}

/// True: the connection goes on.
async fn send(stream: &mut TcpStream, fault: Fault, mut reply: Reply, date: &str, gzip: bool) -> bool {
    let quoting = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception","diagnostics":"Wang Xiaoming 110101199003070011"}]}"#;
    let mut cut = false;
    let (is_chunked, is_closed) = (matches!(fault, Fault::Chunked), matches!(fault, Fault::UntilClose));
    match fault {
        Fault::Chunked | Fault::UntilClose => {}
        Fault::Rewritten(rewrite) => rewrite.0(&mut reply),
        Fault::Nothing => {}
        Fault::Status(status, header) => {
            reply = Reply::json(status, quoting.to_owned());
            if let Some((name, value)) = header {
                reply = reply.with(name, &value);
            }
        }
        Fault::Html => {
            reply = Reply {
                status: 200,
                headers: vec![("content-type".to_owned(), "text/html".to_owned())],
                body: b"<!DOCTYPE html><html><body>Please log in</body></html>".to_vec(),
            };
        }
        Fault::Outcome => reply = Reply::json(200, quoting.to_owned()),
        Fault::CutOff => cut = true,
        Fault::CutJson => reply.body.truncate(reply.body.len() / 2),
        Fault::CutGzip => {
            reply.body = packed(&reply.body);
            reply.body.truncate(reply.body.len() / 2);
            reply = reply.with("content-encoding", "gzip");
        }
        Fault::Silence => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            return false;
        }
        Fault::Close => return false,
        Fault::Redirect(to) => {
            reply = Reply { status: 302, headers: vec![("location".to_owned(), to)], body: Vec::new() }
        }
        Fault::Padding(bytes) => reply.body = [vec![b' '; bytes], reply.body].concat(),
    }
    if gzip && !reply.headers.iter().any(|(name, _)| name == "content-encoding") {
        reply.body = packed(&reply.body);
        reply = reply.with("content-encoding", "gzip");
    }
    let length = match (is_chunked, is_closed) {
        (true, _) => "transfer-encoding: chunked\r\n".to_owned(),
        (_, true) => "connection: close\r\n".to_owned(),
        _ => format!("content-length: {}\r\n", reply.body.len()),
    };
    if is_chunked {
        let chunks =
            reply.body.chunks(7).flat_map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        reply.body = chunks.chain(*b"0\r\n\r\n").collect();
    }
    let mut head = format!("HTTP/1.1 {} Status\r\n{length}", reply.status);
    if !reply.headers.iter().any(|(name, _)| name == "date") {
        head.push_str(&format!("date: {date}\r\n"));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let body = if cut { &reply.body[..reply.body.len() / 2] } else { &reply.body[..] };
    let sent = stream.write_all(&[head.as_bytes(), body].concat()).await;
    sent.is_ok() && !cut && !is_closed
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

async fn request(stream: &mut TcpStream, waiting: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = waiting.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        read(stream, waiting).await?;
    };
    let head = String::from_utf8(waiting.drain(..end + 4).collect()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while waiting.len() < length {
        read(stream, waiting).await?;
    }
    let body = String::from_utf8(waiting.drain(..length).collect()).ok()?;
    Some(Request { method, target, headers, body })
}

async fn read(stream: &mut TcpStream, waiting: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 8192];
    let count = stream.read(&mut buffer).await.ok().filter(|&count| count > 0)?;
    waiting.extend_from_slice(&buffer[..count]);
    Some(())
}
