//! A receiver of webhooks on a bare socket, which misbehaves as real ones do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) event: Value,
    /// The status that it was answered with; 0: the connection was cut.
    pub(crate) status: u16,
}

impl Delivery {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.event["sequence"].as_str().expect("a sequence").parse().expect("a number")
    }

    pub(crate) fn subject(&self) -> &str {
        self.event["subject"].as_str().expect("a subject")
    }
}

/// What an event is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Mood {
    Status(u16),
    /// A status with one more header line.
    With(u16, String),
    /// The connection ends before an answer.
    Cut,
    /// The head of a 200 and not all of the body that it announces.
    HalfAnswer,
}

type Manner = Box<dyn Fn(&Value) -> Mood + Send>;

/// See the module.
pub(crate) struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Delivery>>>,
    manner: Arc<Mutex<Manner>>,
    listening: Option<TcpListener>,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let manner: Manner = Box::new(|_| Mood::Status(204));
        let mut receiver =
            Self { address, seen: Arc::default(), manner: Arc::new(Mutex::new(manner)), listening: None };
        receiver.listen(listener);
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/heyi", self.address)
    }

    /// From now on events are answered so.
    pub(crate) fn answers(&self, manner: impl Fn(&Value) -> Mood + Send + 'static) {
        *self.manner.lock().unwrap() = Box::new(manner);
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Delivery> {
        self.seen.lock().unwrap().clone()
    }

    /// Those that were taken.
    pub(crate) fn taken(&self) -> Vec<Delivery> {
        self.seen().into_iter().filter(|seen| (200..300).contains(&seen.status)).collect()
    }

    fn listen(&mut self, listener: TcpListener) {
        self.listening = Some(listener.try_clone().expect("a second handle"));
        let (seen, manner) = (Arc::clone(&self.seen), Arc::clone(&self.manner));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, manner) = (Arc::clone(&seen), Arc::clone(&manner));
                std::thread::spawn(move || drop(serve(stream, &seen, &manner)));
            }
        });
    }
}

/// Requests of one connection, until it ends.
fn serve(stream: TcpStream, seen: &Mutex<Vec<Delivery>>, manner: &Mutex<Manner>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        assert_eq!(line.trim_end(), "POST /heyi HTTP/1.1");
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers["content-length"].parse().expect("a length");
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let event: Value = serde_json::from_slice(&body).expect("JSON");
        let mood = (manner.lock().unwrap())(&event);
        let status = match mood {
            Mood::Status(status) | Mood::With(status, _) => status,
            Mood::HalfAnswer => 200,
            Mood::Cut => 0,
        };
        seen.lock().unwrap().push(Delivery { headers, body, event, status });
        match mood {
            Mood::Status(status) => write!(writer, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n")?,
            Mood::With(status, header) => {
                write!(writer, "HTTP/1.1 {status} x\r\n{header}\r\nContent-Length: 0\r\n\r\n")?
            }
            Mood::HalfAnswer => {
                write!(writer, "HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\nhalf")?;
                return Ok(());
            }
            Mood::Cut => return Ok(()),
        }
    }
}
