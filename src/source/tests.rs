//! The listener and the client, over real loopback connections; hostile peers among them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, SMALL};
use super::client::{Client, ClientError};
use super::frame::Received;
use super::mllp::{Answers, Limits, Listener, Settings, Statistics};
use super::window::WindowLimits;
use super::{client, window::Turn};
use crate::tls::testing::Authority;
use crate::tls::{ClientFiles, ServerFiles};

const SOON: Duration = Duration::from_millis(80);
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener whose handler answers `A:` and the message, as the message says: `wait 50`, `panic`, `none`, `twice`.
struct Server {
    address: String,
    statistics: Arc<Statistics>,
    stop: CancellationToken,
    served: JoinHandle<()>,
    received: Arc<Mutex<Vec<String>>>,
    most_at_once: Arc<AtomicU64>,
}

async fn serve(limits: Limits) -> Server {
    serve_with(limits, &["127.0.0.0/8"], None).await
}

async fn serve_with(limits: Limits, allow: &[&str], tls: Option<ServerFiles>) -> Server {
    serve_within(Budget::new(limits.frame.message), limits, allow, tls).await
}

async fn serve_within(budget: Budget, limits: Limits, allow: &[&str], tls: Option<ServerFiles>) -> Server {
    let settings = Settings {
        source: "test".to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        allow: allow.iter().map(|network| network.parse().unwrap()).collect(),
        tls,
        limits,
        budget,
    };
    let listener = Listener::bind(settings).await.unwrap();
    let (received, now, most) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicU64::new(0)), Arc::default());
    let stop = CancellationToken::new();
    let handler = {
        let (received, most) = (Arc::clone(&received), Arc::clone(&most));
        move |frame: Received, _peer, _turn: Turn| {
            received.lock().unwrap().push(format!("{frame:?}"));
            let (now, most): (Arc<AtomicU64>, Arc<AtomicU64>) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let answers = answers(frame).await;
                now.fetch_sub(1, Ordering::SeqCst);
                answers
            }
        }
    };
    Server {
        address: listener.address().to_string(),
        statistics: listener.statistics(),
        served: tokio::spawn(Arc::new(listener).serve(handler, stop.clone())),
        stop,
        received,
        most_at_once: most,
    }
}

async fn answers(frame: Received) -> Answers {
    let text = match frame {
        Received::Whole(bytes) => String::from_utf8(bytes).unwrap(),
        Received::TooLarge { length, .. } => return vec![format!("too large: {length}").into_bytes()],
        Received::Cut { .. } => return vec![b"nobody may see this".to_vec()],
    };
    let answer = || format!("A:{text}").into_bytes();
    match text.split_once(' ') {
        Some(("wait", time)) => sleep(Duration::from_millis(time.parse().unwrap())).await,
        Some(("none", _)) => return Answers::new(),
        Some(("twice", _)) => return vec![answer(), answer()],
        Some(("panic", _)) => panic!("as asked"),
        _ => {}
    }
    vec![answer()]
}

impl Server {
    fn settings(&self) -> client::Settings {
        let limits = client::Limits { answer: PATIENCE, ..client::Limits::default() };
        client::Settings { address: self.address.clone(), tls: None, limits }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.settings()).await.unwrap()
    }

    async fn socket(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    fn count(&self, counter: impl Fn(&Statistics) -> &AtomicU64) -> u64 {
        counter(&self.statistics).load(Ordering::SeqCst)
    }

    async fn until(&self, counter: impl Fn(&Statistics) -> &AtomicU64, value: u64) {
        let reached = async {
            while self.count(&counter) != value {
                sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(timeout(PATIENCE, reached).await.is_ok(), "{} instead of {value}", self.count(&counter));
    }

    /// The listener still serves, and nothing is left open.
    async fn is_well(&self) {
        self.until(|statistics| &statistics.open, 0).await;
        assert_eq!(self.client().await.exchange(b"well").await.unwrap(), b"A:well");
    }
}

/// What the other side sends until it closes; fails if it does not close.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // An error is a reset: closed all the same.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection stays open");
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_frames_are_handled_at_once_and_answered_in_order() {
    let server = serve(Limits { window: WindowLimits { messages: 4, bytes: 1000 }, ..Limits::default() }).await;
    let mut client = server.client().await;
    let messages: Vec<String> = (0..12).map(|number| format!("wait {}", 30 - number * 2)).collect();
    let stream: Vec<u8> = messages.iter().flat_map(|message| super::frame::framed(message.as_bytes())).collect();
    client.send_bytes(&stream).await.unwrap();
    for message in &messages {
        assert_eq!(client.answer().await.unwrap(), format!("A:{message}").as_bytes());
    }
    assert_eq!(server.most_at_once.load(Ordering::SeqCst), 4, "side by side, and no more than the window");
    assert_eq!(server.count(|statistics| &statistics.answers), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_connections_together_hold_no_more_than_the_budget_and_all_are_answered() {
    // Room for two of these messages; one is larger than all of it.
    let budget = Budget::of(16, 8);
    let server = serve_within(budget.clone(), Limits::default(), &["127.0.0.0/8"], None).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = server.client().await;
        for message in ["wait 010", "wait 011", "wait 012", "wait 00000000000000013"] {
            client.send(message.as_bytes()).await.unwrap();
        }
        clients.push(client);
    }
    for client in &mut clients {
        for end in ["010", "011", "012", "13"] {
            let answer = client.answer().await.unwrap();
            assert!(answer.ends_with(end.as_bytes()), "{}", String::from_utf8_lossy(&answer));
        }
    }
    assert_eq!(server.most_at_once.load(Ordering::SeqCst), 2);
    assert_eq!(budget.taken(), 0);
}

#[tokio::test]
async fn a_large_frame_waits_for_its_share_and_small_ones_do_not() {
    let mut limits = Limits::default();
    limits.frame.message = 4 * SMALL;
    let budget = Budget::of(5 * SMALL, limits.frame.message);
    let server = serve_within(budget.clone(), limits, &["127.0.0.0/8"], None).await;
    let large = super::frame::framed(&vec![b'x'; 7 * SMALL / 2]);
    let mut slow = server.client().await;
    slow.send_bytes(&large[..5 * SMALL / 2]).await.unwrap();
    let whole_share = async {
        while budget.taken() < 5 * SMALL as u64 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, whole_share).await.unwrap();
    let mut next = server.socket().await;
    let (mut answers, mut frames) = next.split();
    let sent = async { frames.write_all(&large).await.unwrap() };
    let others = async {
        assert_eq!(server.client().await.exchange(b"small").await.unwrap(), b"A:small");
        assert_eq!(server.count(|statistics| &statistics.frames), 1, "nobody else was read to the end");
        slow.send_bytes(&large[5 * SMALL / 2..]).await.unwrap();
        assert_eq!(slow.answer().await.unwrap().len(), 7 * SMALL / 2 + 2);
    };
    let mut answer = vec![0; large.len() + 2];
    let answered = async { answers.read_exact(&mut answer).await.unwrap() };
    timeout(PATIENCE, async { tokio::join!(sent, others, answered) }).await.unwrap();
    server.until(|statistics| &statistics.frames, 3).await;
}

#[tokio::test]
async fn large_frames_that_stall_hold_up_no_others() {
    let limits = Limits::default();
    let budget = Budget::new(limits.frame.message);
    let server = serve_within(budget.clone(), limits, &["127.0.0.0/8"], None).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut client = server.client().await;
        client.send_bytes(b"\x0b").await.unwrap();
        client.send_bytes(&vec![b'x'; 200_000]).await.unwrap();
        stalled.push(client);
    }
    let have_come = async {
        while budget.taken() < 8 * 3 * SMALL as u64 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, have_come).await.unwrap();
    let mut ninth = server.client().await;
    let answer = timeout(PATIENCE, ninth.exchange(&[b'x'; 100_000])).await.expect("it waits for the stalled ones");
    assert_eq!(answer.unwrap().len(), 100_002);
}

#[tokio::test]
async fn split_frames_and_missing_ends_of_line_are_answered() {
    let server = serve(Limits::default()).await;
    let mut client = server.client().await;
    for byte in super::frame::framed(b"split") {
        client.send_bytes(&[byte]).await.unwrap();
    }
    assert_eq!(client.answer().await.unwrap(), b"A:split");
    client.send_bytes(b"\x0bno CR\x1c").await.unwrap();
    assert_eq!(client.answer().await.unwrap(), b"A:no CR");
    client.send_bytes(b"junk\x0bafter junk\x1c\r").await.unwrap();
    assert_eq!(client.answer().await.unwrap(), b"A:after junk");
    assert_eq!(server.count(|statistics| &statistics.junk_bytes), 4);
    assert_eq!(client.exchange(b"").await.unwrap(), b"A:", "an empty frame is a frame");
}

#[tokio::test]
async fn a_frame_has_as_many_answers_as_its_handler_gives() {
    let server = serve(Limits::default()).await;
    let mut client = server.client().await;
    for message in ["none 1", "twice 2", "3"] {
        client.send(message.as_bytes()).await.unwrap();
    }
    for expected in ["A:twice 2", "A:twice 2", "A:3"] {
        assert_eq!(client.answer().await.unwrap(), expected.as_bytes());
    }
}

#[tokio::test]
async fn a_frame_that_is_begun_anew_is_kept_and_not_answered() {
    let server = serve(Limits::default()).await;
    let mut client = server.client().await;
    client.send_bytes(b"\x0bMSH|first\x0bMSH|again\x1c\r").await.unwrap();
    assert_eq!(client.answer().await.unwrap(), b"A:MSH|again");
    assert_eq!(*server.received.lock().unwrap(), ["Cut(9 bytes)", "Whole(9 bytes)"]);
}

#[tokio::test]
async fn too_large_a_frame_is_answered_and_the_next_one_works() {
    let mut limits = Limits::default();
    limits.frame.message = 100_000;
    let server = serve(limits).await;
    let mut client = server.client().await;
    assert_eq!(client.exchange(&vec![b'x'; 100_001]).await.unwrap(), b"too large: 100001");
    assert_eq!(client.exchange(b"next").await.unwrap(), b"A:next");
}

#[tokio::test]
async fn a_panic_closes_its_connection_without_later_answers() {
    let server = serve(Limits::default()).await;
    let mut other = server.client().await;
    let mut socket = server.socket().await;
    socket.write_all(b"\x0bfirst\x1c\x0bpanic now\x1c\x0blast\x1c").await.unwrap();
    assert_eq!(rest(&mut socket).await, b"\x0bA:first\x1c\r");
    assert_eq!(other.exchange(b"other").await.unwrap(), b"A:other");
    assert_eq!(server.count(|statistics| &statistics.panics), 1);
}

#[tokio::test]
async fn a_silent_connection_is_closed_but_not_while_its_message_is_in_work() {
    let server = serve(Limits { idle: SOON, linger: SOON, ..Limits::default() }).await;
    let mut socket = server.socket().await;
    socket.write_all(b"\x0bwait 300\x1c").await.unwrap();
    assert_eq!(rest(&mut socket).await, b"\x0bA:wait 300\x1c\r");
    assert_eq!(server.count(|statistics| &statistics.idle_timeouts), 1);
    server.is_well().await;
}

#[tokio::test]
async fn a_frame_that_does_not_end_is_given_up_however_it_drips() {
    let server = serve(Limits { in_frame: SOON * 2, linger: SOON, ..Limits::default() }).await;
    let mut socket = server.socket().await;
    socket.write_all(b"\x0bMSH").await.unwrap();
    let (mut reader, mut writer) = socket.split();
    let drip = async {
        while writer.write_all(b"x").await.is_ok() {
            sleep(SOON / 4).await;
        }
    };
    let mut bytes = Vec::new();
    let closed = async {
        let _ = reader.read_to_end(&mut bytes).await;
    };
    let dripped = timeout(PATIENCE, async {
        tokio::select! { () = drip => {}, () = closed => {} }
    })
    .await;
    assert!(dripped.is_ok(), "the connection stays open");
    assert_eq!(bytes, b"");
    server.until(|statistics| &statistics.cut, 1).await;
    assert_eq!(server.count(|statistics| &statistics.frame_timeouts), 1);
    server.is_well().await;
}

#[tokio::test]
async fn a_peer_that_stops_sending_still_gets_its_answers() {
    let server = serve(Limits::default()).await;
    let mut client = server.client().await;
    client.send(b"wait 100").await.unwrap();
    client.send(b"second").await.unwrap();
    client.finish().await.unwrap();
    assert_eq!(client.answer().await.unwrap(), b"A:wait 100");
    assert_eq!(client.answer().await.unwrap(), b"A:second");
    assert!(matches!(client.answer().await, Err(ClientError::Closed)));
}

#[tokio::test]
async fn a_peer_that_is_gone_costs_nothing_but_its_slot_for_a_moment() {
    let server = serve(Limits::default()).await;
    for message in [&b""[..], b"\x0bMSH|half", b"\x0bwait 20\x1c\x0bwait 20\x1c"] {
        server.socket().await.write_all(message).await.unwrap();
    }
    server.is_well().await;
    assert_eq!(server.count(|statistics| &statistics.cut), 1);
    assert_eq!(server.received.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_peer_that_takes_no_answers_is_given_up() {
    let server = serve(Limits { write: SOON, linger: SOON, ..Limits::default() }).await;
    let mut socket = server.socket().await;
    let message = super::frame::framed(&vec![b'x'; 1024 * 1024]);
    let flood = async { while socket.write_all(&message).await.is_ok() {} };
    assert!(timeout(PATIENCE, flood).await.is_ok(), "the connection stays open");
    server.until(|statistics| &statistics.undelivered, 1).await;
    server.is_well().await;
}

#[tokio::test]
async fn other_protocols_are_shown_the_door_at_once() {
    let server = serve(Limits::default()).await;
    for hello in [&b"\x16\x03\x01\x02\x00\x01\x0b\x03"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut socket = server.socket().await;
        socket.write_all(hello).await.unwrap();
        assert_eq!(rest(&mut socket).await, b"");
    }
    let server = serve(Limits { junk: 10_000, ..Limits::default() }).await;
    let mut socket = server.socket().await;
    socket.write_all(&[b'x'; 10_001]).await.unwrap();
    assert_eq!(rest(&mut socket).await, b"");
    server.until(|statistics| &statistics.junk_bytes, 10_001).await;
    assert!(server.received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_listed_addresses_are_let_in() {
    for (allow, expected) in [(&["127.0.0.2/32", "10.0.0.0/8"][..], 1), (&[], 1), (&["127.0.0.1/32"], 0)] {
        let server = serve_with(Limits::default(), allow, None).await;
        if expected == 1 {
            assert_eq!(rest(&mut server.socket().await).await, b"");
        } else {
            server.is_well().await;
        }
        assert_eq!(server.count(|statistics| &statistics.refused_address), expected, "{allow:?}");
    }
}

#[tokio::test]
async fn connections_beyond_the_maximum_are_closed_unless_a_silent_one_yields() {
    let server = serve(Limits { connections: 2, yields_after: SOON * 10, linger: SOON, ..Limits::default() }).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    assert_eq!(first.exchange(b"1").await.unwrap(), b"A:1");
    assert_eq!(second.exchange(b"2").await.unwrap(), b"A:2");
    assert_eq!(rest(&mut server.socket().await).await, b"");
    assert_eq!(server.count(|statistics| &statistics.refused_full), 1);

    sleep(SOON * 11).await;
    assert_eq!(second.exchange(b"still here").await.unwrap(), b"A:still here");
    let mut third = server.client().await;
    assert_eq!(third.exchange(b"3").await.unwrap(), b"A:3");
    assert!(matches!(first.exchange(b"too late").await, Err(ClientError::Closed | ClientError::Broken(_))));
    assert_eq!(second.exchange(b"2").await.unwrap(), b"A:2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_silent_connections_do_not_keep_a_sender_out() {
    let server = serve(Limits { connections: 16, yields_after: Duration::ZERO, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(server.socket().await);
    }
    assert_eq!(server.client().await.exchange(b"here").await.unwrap(), b"A:here");
    assert!(server.count(|statistics| &statistics.open) <= 401);
    assert!(server.count(|statistics| &statistics.yielded) >= 384);
}

#[tokio::test]
async fn stopping_answers_what_is_in_work_and_takes_nothing_new() {
    let server = serve(Limits { linger: SOON, ..Limits::default() }).await;
    let mut busy = server.client().await;
    let mut silent = server.socket().await;
    busy.send(b"wait 200").await.unwrap();
    server.until(|statistics| &statistics.frames, 1).await;
    server.stop.cancel();
    sleep(SOON / 4).await;
    // Arrives after the stop: not taken, not answered. Unread, it would turn the end into a reset, which may destroy the
    // answer before it.
    busy.send(b"too late").await.unwrap();
    timeout(PATIENCE, server.served).await.unwrap().unwrap();
    assert_eq!(busy.answer().await.unwrap(), b"A:wait 200");
    assert!(matches!(busy.answer().await, Err(ClientError::Closed)));
    assert_eq!(rest(&mut silent).await, b"");
    assert!(TcpStream::connect(&server.address).await.is_err());
    assert_eq!(*server.received.lock().unwrap(), ["Whole(8 bytes)"]);
}

#[tokio::test]
async fn a_stop_that_takes_too_long_is_cut_off_by_its_caller() {
    let server = serve(Limits::default()).await;
    let mut client = server.client().await;
    client.send(b"wait 1000000").await.unwrap();
    server.until(|statistics| &statistics.frames, 1).await;
    server.stop.cancel();
    server.served.abort();
    assert!(client.answer().await.is_err());
    server.until(|statistics| &statistics.open, 0).await;
}

#[tokio::test]
async fn stopping_cuts_handshakes() {
    let authority = Authority::new();
    let limits = Limits { handshake: Duration::from_secs(3600), ..Limits::default() };
    let server = serve_with(limits, &["127.0.0.0/8"], Some(authority.server("server", None))).await;
    let mut socket = server.socket().await;
    server.until(|statistics| &statistics.open, 1).await;
    server.stop.cancel();
    timeout(PATIENCE, server.served).await.unwrap().unwrap();
    assert_eq!(rest(&mut socket).await, b"");
    assert_eq!(server.statistics.tls_failures.load(Ordering::SeqCst), 0, "no fault of the peer's");
}

#[tokio::test]
async fn tls_lets_in_whom_it_should() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let ca = authority.file("ca.pem");
    let (trusting, unknown) = (Some(ca.clone()), Some(stranger.file("ca.pem")));
    let open = serve_with(Limits::default(), &["127.0.0.0/8"], Some(authority.server("server", None))).await;
    let closed = serve_with(Limits::default(), &["127.0.0.0/8"], Some(authority.server("closed", Some(ca)))).await;
    let own = Some(authority.issue("own"));
    let other = Some(stranger.issue("other"));
    for (server, ca, identity, let_in) in [
        (&open, &trusting, None, true),
        (&open, &unknown, None, false),
        (&closed, &trusting, own.clone(), true),
        (&closed, &trusting, None, false),
        (&closed, &trusting, other, false),
    ] {
        let tls = ClientFiles { ca: ca.clone(), identity };
        let settings = client::Settings { tls: Some(tls.clone()), ..server.settings() };
        let result = async { Client::connect(&settings).await?.exchange(b"secret").await }.await;
        assert_eq!(result.as_deref().is_ok_and(|answer| answer == b"A:secret"), let_in, "{tls:?} {result:?}");
    }
    assert_eq!(open.count(|statistics| &statistics.tls_failures), 1);
    closed.until(|statistics| &statistics.tls_failures, 2).await;

    let plain = Client::connect(&open.settings()).await.unwrap().exchange(b"plain").await;
    assert!(plain.is_err(), "{plain:?}");
    open.until(|statistics| &statistics.tls_failures, 2).await;
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_given_up() {
    let authority = Authority::new();
    let limits = Limits { handshake: SOON, ..Limits::default() };
    let server = serve_with(limits, &["127.0.0.0/8"], Some(authority.server("server", None))).await;
    let mut socket = server.socket().await;
    assert_eq!(rest(&mut socket).await, b"");
    assert_eq!(server.count(|statistics| &statistics.tls_failures), 1);
}

#[tokio::test]
async fn a_late_answer_is_never_taken_for_the_next_one() {
    let server = serve(Limits::default()).await;
    let mut settings = server.settings();
    settings.limits.answer = SOON;
    let mut client = Client::connect(&settings).await.unwrap();
    assert!(matches!(client.exchange(b"wait 200").await, Err(ClientError::Silent(_))));
    sleep(SOON * 3).await;
    assert!(matches!(client.exchange(b"next").await, Err(ClientError::Unusable)));
}

#[tokio::test]
async fn what_cannot_be_reached_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = client::Settings { address: address.to_string(), tls: None, limits: client::Limits::default() };
    let text = Client::connect(&settings).await.err().unwrap().to_string();
    assert!(text.contains(&settings.address) && text.contains("is the listener running"), "{text}");

    let server = serve(Limits::default()).await;
    let settings = Settings {
        source: "his".to_owned(),
        listen: server.address.parse().unwrap(),
        allow: Vec::new(),
        tls: None,
        limits: Limits::default(),
        budget: Budget::of(0, 0),
    };
    let text = Listener::bind(settings).await.unwrap_err().to_string();
    assert!(text.contains("source his") && text.contains(&server.address), "{text}");
}
