//! The rehearsal of a consumer that is pushed to: the story as webhooks (Standard Webhooks 1.0), one event a request, well and badly signed.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::duty::{Duty, Finding, Report};
use super::held::Held;
use super::judge::{Ended, Judge};
use super::messages::{Chapter, ERASED};
use super::model::Model;
use super::server::Shared;
use super::stage::Stage;
use super::story::{Story, epoch_changed, erased, ids, unknown, with_unknown_fields};
use crate::feed::Cursor;
use crate::push::Secrets;

/// Tries of one event: a consumer may be busy for a moment.
const TRIES: u32 = 5;
/// Between two of them, and the longest Retry-After that is waited for.
const BETWEEN: Duration = Duration::from_secs(1);
/// Time for one request: Standard Webhooks suggests 15 to 30 s ("Deliverability and reliability").
const TIMEOUT: Duration = Duration::from_secs(15);
/// Seconds by which a timestamp is wrong where it shall be refused: twice what the libraries of Standard Webhooks allow.
const OLD: i64 = 600;

/// What a push cannot try, and why.
const NOT_TRIED: [(Duty, &str); 6] = [
    (Duty::Commit, "a push is committed by its 2xx; whether it would outlive a crash cannot be seen from outside"),
    (Duty::Filtered, "of a consumer that asks"),
    (Duty::BackOff, "of a consumer that asks"),
    (Duty::Wait, "of a consumer that asks"),
    (Duty::Expired, "of a consumer that asks"),
    (Duty::Begin, "of a consumer that asks"),
];

/// Whom to push to, and with what.
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) secret: Secrets,
    pub(super) held: Option<Held>,
    /// Where it can compare what it holds after a restore, if that is played.
    pub(super) feed: Option<Shared>,
    /// How long it may take for that.
    pub(super) patience: Duration,
}

impl Target {
    /// The headers that go with an event.
    fn sign(&self, event: &Value, body: &str) -> Signed {
        let (id, timestamp) = (event["id"].as_str().unwrap_or_default(), Timestamp::now().as_second());
        Signed {
            id: id.to_owned(),
            timestamp: timestamp.to_string(),
            signature: self.secret.signature(id, timestamp, body.as_bytes()),
        }
    }
}

/// The three headers of a message.
struct Signed {
    id: String,
    timestamp: String,
    signature: String,
}

struct Pusher<'a> {
    target: &'a Target,
    judge: Judge,
    expected: Model,
    /// Everything that was delivered.
    told: Vec<Value>,
    /// Places in the log that were given.
    places: u64,
}

/// Plays the whole story.
///
/// # Errors
/// What the consumer holds cannot be read.
pub(super) async fn play(story: &Story, target: &Target) -> anyhow::Result<Report> {
    let mut pusher =
        Pusher { target, judge: Judge::default(), expected: Model::default(), told: Vec::new(), places: 0 };
    let ended = pusher.play(story).await;
    pusher.judge.finish(ended, &NOT_TRIED)
}

impl Pusher<'_> {
    async fn play(&mut self, story: &Story) -> Result<(), Ended> {
        self.deliver(Duty::Answer, story.events(Chapter::Begin), "some twenty events, well signed").await?;

        let Some((next, rest)) = story.events(Chapter::Commit).split_first() else { return Ok(()) };
        let event = self.placed(next);
        self.try_signatures(&event).await?;
        self.deliver(Duty::Answer, std::slice::from_ref(next), "the same event, well signed").await?;
        self.deliver(Duty::Answer, rest, "transfers, an admission and a report").await?;

        let strange = unknown(story.one_id(ERASED));
        let (first, last) = strange.split_at(1);
        let known: Vec<Value> = story.events(Chapter::Unknown).iter().map(with_unknown_fields).collect();
        let sent = "segment.entered, visit.moonlit and x, and a visit with members that no schema has";
        self.deliver(Duty::Unknown, &[first, &known, last].concat(), sent).await?;

        self.deliver(Duty::Repeat, story.events(Chapter::Repeat), "two discharges and a critical value").await?;
        let told = self.told.clone();
        self.again(Duty::Repeat, &told, "everything once more, under the same ids").await?;

        // The later event comes first; the earlier one was never seen.
        let turned: Vec<Value> = story.events(Chapter::Order).iter().rev().cloned().collect();
        let final_state = story.events(Chapter::Order);
        self.deliver_turned(&turned, final_state).await?;

        if let Some(event) = story.events(Chapter::Cut).first() {
            let event = self.placed(event);
            self.break_off(&event).await?;
        }
        self.deliver(Duty::Cut, story.events(Chapter::Cut), "the same event again, whole").await?;
        let calm = [Chapter::BackOff, Chapter::Wait].map(|chapter| story.events(chapter)).concat();
        self.deliver(Duty::Answer, &calm, "two transfers").await?;

        for (duty, chapter, sent) in [
            (Duty::Merge, Chapter::Merge, "patient.merged, and the visits and reports that moved"),
            (Duty::Split, Chapter::Split, "patient.split, the person who lives again, and its records"),
            (Duty::Moved, Chapter::Moved, "lab.cancelled (entered_in_error), then the report under another One ID"),
            (Duty::TakeBack, Chapter::TakeBack, "a discharge and an admission taken back (`reverses`)"),
            (Duty::Correct, Chapter::Correct, "lab.corrected, without a critical value"),
        ] {
            let events = story.events(chapter);
            // What the event itself names is looked at before what follows says the same again.
            let own = events
                .iter()
                .position(|event| matches!(event["type"].as_str(), Some("patient.merged" | "patient.split")));
            let (first, rest) = events.split_at(own.map_or(events.len(), |place| place + 1));
            self.deliver(duty, first, sent).await?;
            self.deliver(duty, rest, sent).await?;
        }

        let forgotten = story.one_id(ERASED);
        let is_old = |event: &&Value| event["subject"] == forgotten && event["data"]["version"].is_number();
        let old: Vec<Value> = self.told.iter().filter(is_old).cloned().collect();
        self.deliver(Duty::Erase, &[erased(forgotten)], "patient.erased").await?;
        self.again(Duty::Erase, &old, "what was told of the patient before, once more").await?;
        self.put_back(story).await
    }

    /// A restore takes back what was told last; what follows is of another epoch. Where there is nothing to compare with, only what is told
    /// can be owed.
    async fn put_back(&mut self, story: &Story) -> Result<(), Ended> {
        let (began, backup) = (Cursor { epoch: 2, sequence: self.places }, self.expected.clone());
        self.deliver(Duty::Epoch, &story.lost, "discharges and an admission that a restore will take back").await?;
        self.places = began.sequence;
        let target = self.target;
        if let Some(feed) = &target.feed {
            self.judge.undone = ids(&story.lost);
            self.expected = backup.clone();
            feed.with(|stage| {
                stage.put_back(Cursor { epoch: 1, ..began }, backup);
                stage.tell(&story.restored);
            });
        }
        let head = Cursor { sequence: began.sequence + story.restored.len() as u64, ..began };
        let notice = epoch_changed(began, head);
        // Until it is taken nothing else is posted; the answer to it may get lost.
        if !self.take(Duty::Epoch, &notice).await? || !self.take(Duty::Epoch, &notice).await? {
            return Ok(());
        }
        if let Some(feed) = &target.feed
            && !feed.until(target.patience, Stage::is_compared).await
        {
            let finding = Finding {
                sent: "feed.epoch_changed".to_owned(),
                expected: "/v1/feed/reconcile or /v1/feed/snapshot read to the end".to_owned(),
                found: format!("it was not within {} s", target.patience.as_secs()),
            };
            self.judge.report.fail(Duty::Epoch, finding);
        }
        let sent = "feed.epoch_changed, and versions that say something else than before";
        self.deliver(Duty::Epoch, &story.restored, sent).await?;
        target.feed.iter().for_each(|feed| drop(feed.with(|stage| stage.tell(&story.afterwards))));
        let sent = "a transfer in the new epoch, under a version that the old one has had";
        self.deliver(Duty::Epoch, &story.afterwards, sent).await?;
        if target.feed.is_none() {
            self.judge.report.remark(Duty::Epoch, "what it makes of /v1/feed/reconcile: give --listen and --token");
        }
        Ok(())
    }

    /// The event with the next place in the log.
    fn placed(&self, event: &Value) -> Value {
        let mut event = event.clone();
        event["sequence"] = Value::from(format!("{:012}", self.places + 1));
        event
    }

    /// Delivers events that were not told before, in order, and judges.
    async fn deliver(&mut self, duty: Duty, events: &[Value], sent: &str) -> Result<(), Ended> {
        for event in events {
            let event = self.placed(event);
            self.places += 1;
            self.expected.take(&event);
            self.told.push(event.clone());
            self.take(duty, &event).await?;
        }
        self.judge.look(duty, sent, self.target.held.as_ref(), &self.expected).await?;
        Ok(())
    }

    /// Delivers events in this order, although the log has them in another.
    async fn deliver_turned(&mut self, turned: &[Value], in_order: &[Value]) -> Result<(), Ended> {
        let count = turned.len() as u64;
        for (place, event) in turned.iter().enumerate() {
            let mut event = event.clone();
            event["sequence"] = Value::from(format!("{:012}", self.places + count - place as u64));
            self.told.push(event.clone());
            self.take(Duty::Order, &event).await?;
        }
        self.places += count;
        in_order.iter().for_each(|event| self.expected.take(event));
        let sent = "a discharge, then the transfer before it: their order was lost on the way";
        self.judge.look(Duty::Order, sent, self.target.held.as_ref(), &self.expected).await?;
        Ok(())
    }

    /// Delivers what was delivered before, and judges.
    async fn again(&mut self, duty: Duty, events: &[Value], sent: &str) -> Result<(), Ended> {
        for event in events {
            self.take(duty, event).await?;
        }
        self.judge.look(duty, sent, self.target.held.as_ref(), &self.expected).await?;
        Ok(())
    }

    /// One event until it is taken; whether it was. Not taken after all tries is a fault: of `Answer`, or of the duty that it was sent for.
    async fn take(&mut self, duty: Duty, event: &Value) -> Result<bool, Ended> {
        let mut answer = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(BETWEEN).await;
            }
            let body = event.to_string();
            match self.post(&self.target.sign(event, &body), &body).await {
                Ok(status) if status.is_success() => return Ok(true),
                Ok(status) => answer = format!("HTTP {}", status.as_u16()),
                Err(_) => answer = "no answer".to_owned(),
            }
        }
        let sent = format!("{} {}, {TRIES} times", event["type"], event["id"]);
        self.judge.report.fail(duty, Finding { sent, expected: "2xx".to_owned(), found: answer });
        if duty == Duty::Answer { Err(Ended::Dead) } else { Ok(false) }
    }

    async fn post(&self, signed: &Signed, body: &str) -> reqwest::Result<StatusCode> {
        let mut request = self.target.client.post(self.target.url.clone()).timeout(TIMEOUT);
        let Signed { id, timestamp, signature } = signed;
        for (name, value) in [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let answer = request.header("content-type", MEDIA_TYPE).body(body.to_owned()).send().await?;
        Ok(answer.status())
    }

    /// The event with signatures that are none, that are old, and that are good although another one is beside them.
    async fn try_signatures(&mut self, event: &Value) -> anyhow::Result<()> {
        let body = event.to_string();
        let target = self.target;
        let good = || target.sign(event, &body);
        let now = Timestamp::now().as_second();
        let (secret, other) = (&target.secret, Secrets::unknown());
        let id = good().id;
        let at = |timestamp: i64| Signed {
            timestamp: timestamp.to_string(),
            signature: secret.signature(&id, timestamp, body.as_bytes()),
            id: id.clone(),
        };
        let tampered = body.replacen("\"type\"", "\"type\" ", 1);
        let signature = |signature: String| Signed { signature, ..good() };
        let bad = [
            (Duty::Signature, "no signature", signature(String::new()), &body),
            (Duty::Signature, "a signature that is no Base64", signature("v1,????".to_owned()), &body),
            (
                Duty::Signature,
                "the signature of another secret",
                signature(other.signature(&id, now, body.as_bytes())),
                &body,
            ),
            (Duty::Signature, "a signature of other content", good(), &tampered),
            (Duty::Signature, "a signature made for another id", Signed { id: format!("{id}X"), ..good() }, &body),
            (
                Duty::Signature,
                "a good signature without its timestamp",
                Signed { timestamp: String::new(), ..good() },
                &body,
            ),
            (Duty::Age, "a good signature of ten minutes ago", at(now - OLD), &body),
            (Duty::Age, "a good signature of ten minutes ahead", at(now + OLD), &body),
        ];
        for (duty, sent, signed, body) in &bad {
            let answer = self.post(signed, body).await;
            if !answer.as_ref().is_ok_and(StatusCode::is_client_error) {
                let found = answer.map_or("no answer".to_owned(), |status| format!("HTTP {}", status.as_u16()));
                let finding = Finding { sent: (*sent).to_owned(), expected: "4xx".to_owned(), found };
                self.judge.report.fail(*duty, finding);
            }
            self.judge.look(*duty, sent, self.target.held.as_ref(), &self.expected).await?;
        }
        // While a secret is replaced there are two signatures; of schemes that are not known there may be more.
        let of_other = other.signature(&id, now, body.as_bytes());
        let several = signature(format!("v9,abcd {of_other} {}", good().signature));
        let answer = self.post(&several, &body).await;
        if !answer.as_ref().is_ok_and(StatusCode::is_success) {
            let found = answer.map_or("no answer".to_owned(), |status| format!("HTTP {}", status.as_u16()));
            let sent = "three signatures, the last of which is good".to_owned();
            self.judge.report.fail(Duty::Signature, Finding { sent, expected: "2xx".to_owned(), found });
        }
        Ok(())
    }

    /// The connection ends in the middle of the request: what was not there cannot be kept.
    async fn break_off(&mut self, event: &Value) -> anyhow::Result<()> {
        let url = &self.target.url;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        let body = event.to_string();
        let Signed { id, timestamp, signature } = self.target.sign(event, &body);
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\n\
             webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n\r\n",
            body.len()
        );
        let half: Vec<u8> = body.bytes().take(body.len() / 2).collect();
        let send = async {
            let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&half).await?;
            stream.shutdown().await
        };
        // A consumer that hangs up itself has not kept it either.
        let _ = tokio::time::timeout(TIMEOUT, send).await;
        self.judge.look(Duty::Cut, "half of an event", self.target.held.as_ref(), &self.expected).await
    }
}

/// Media type of an event (CloudEvents 1.0, JSON format, 3: structured mode).
const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";
