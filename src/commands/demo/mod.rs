//! `heyi demo`: a hospital's day arrives from its HIS, its LIS and its medical record, and the feed that comes of it.
//!
//! Nothing here is staged: the daemon is the one that `heyi serve` runs, messages go in over MLLP, a FHIR server is polled, events are read
//! over HTTP with a consumer's token. It all lives in one temporary directory, which goes when the demo ends.

mod emr;
mod files;
mod story;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::emr::{Emr, Written};
use self::files::{CHAPTERS, DAY};
use self::story::Story;
use super::scratch::{File, Scratch};
use super::{Verdict, answer, output};
use crate::app::{App, now, stop_on_signals};
use crate::http::{Role, Secret};
use crate::source::client::{Client, Settings};
use crate::store::resources::{self, ResourceState};
use crate::store::tokens::{self, NewToken};
use crate::store::{Reader, Store, StoreError};

/// Between two messages on a terminal, so that the day can be followed.
const PAUSE: Duration = Duration::from_millis(250);

/// Between two looks at whether what changed in the medical record has been told.
const LOOK: Duration = Duration::from_millis(50);

/// A change in the medical record is told with the next poll or the one after it; a machine may be slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The source that is polled.
const POLLED: &str = "emr";

/// The consumer whose view is shown.
const CONSUMER: &str = "crm";

/// Two senders, a medical record at `base_url` and a consumer. An interval is as short as nobody would have it, and results are
/// read before the report that names them.
fn configuration(base_url: &str) -> String {
    let types = emr::TYPES.map(|kind| format!("{kind:?}")).join(", ");
    format!(
        r#"{SENDERS}
[[sources]]
name = "{POLLED}"
mapping = "mappings/emr.toml"
fhir = {{ base_url = "{base_url}", resources = [{types}], interval = "1s", history_interval = "1s" }}

[[consumers]]
name = "{CONSUMER}"
"#
    )
}

/// What sends messages, on free ports.
const SENDERS: &str = r#"[http]
listen = "127.0.0.1:0"

[[sources]]
name = "his"
mapping = "mappings/his.toml"
authorities = ["HIS"]
mllp = { listen = "127.0.0.1:0" }

[[sources]]
name = "lis"
mapping = "mappings/lis.toml"
authorities = ["LIS"]
mllp = { listen = "127.0.0.1:0" }
"#;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Stop when the day is over instead of waiting for Ctrl-C.
    #[arg(long)]
    exit: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    let site = Scratch::create("demo")?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(play(&site, arguments.exit))
}

async fn play(site: &Scratch, exit: bool) -> anyhow::Result<Verdict> {
    let emr_stop = CancellationToken::new();
    let _emr_goes = emr_stop.clone().drop_guard();
    let emr = Emr::start(emr_stop).await?;
    let config = site.configure(&configuration(emr.base()))?;
    let app = App::start(&config).await?;
    let stop = app.stop_token();
    stop_on_signals(stop.clone())?;
    let secret = Secret::generate()?;
    let token = NewToken {
        name: CONSUMER.to_owned(),
        role: Role::Consumer.name().to_owned(),
        sha256: secret.digest(),
        created_at: now(),
    };
    app.store().submit(move |transaction| tokens::insert(transaction, &token)).await?;

    let mut senders = BTreeMap::new();
    for (name, address) in app.source_addresses() {
        if name == POLLED {
            output::line(format!("{name} is polled at {address} (FHIR)"))?;
            continue;
        }
        output::line(format!("{name} listens at {address} (MLLP)"))?;
        let settings = Settings { address: address.to_owned(), tls: None, limits: Default::default() };
        senders.insert(name.to_owned(), Client::connect(&settings).await?);
    }
    let mut feed = Feed::new(format!("http://{}/v1/feed", app.http_address()), secret.reveal())?;
    output::line(format!("{CONSUMER} reads {} (HTTP)", feed.url))?;

    let record = Record { emr, store: app.store().clone() };
    let daemon = tokio::spawn(app.serve());
    let played = tokio::select! {
        played = day(&mut senders, &record, &mut feed) => played,
        () = stop.cancelled() => Ok(()),
    };
    if played.is_ok() && !exit && !stop.is_cancelled() {
        output::line(format!("\nStill running, until Ctrl-C. From another terminal:\n{}", invitation(site, &feed)))?;
        stop.cancelled().await;
    }
    stop.cancel();
    // The daemon ends well whatever became of the day.
    let ended = daemon.await?;
    played?;
    ended?;
    Ok(Verdict::Fine)
}

/// Sends the day's messages one after the other, and shows what each gives.
async fn day(senders: &mut BTreeMap<String, Client>, record: &Record, feed: &mut Feed) -> anyhow::Result<()> {
    let terminal = std::io::stdout().is_terminal();
    let mut story = Story::new(terminal && std::env::var_os("NO_COLOR").is_none());
    for (chapter, title) in CHAPTERS {
        output::line(story.chapter(title))?;
        for message in DAY.iter().filter(|message| message.name.starts_with(chapter)) {
            if message.is_fhir() {
                let written = record.change(message).await?;
                output::line(story.change(message, &written))?;
            } else {
                let sender = senders.get_mut(message.sender()).context("the sender is configured")?;
                let answer = answer::read(&sender.exchange(message.content).await?);
                output::line(story.message(message, &answer))?;
            }
            for event in feed.next().await? {
                output::line(story.event(&event))?;
            }
            if terminal {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    output::line(story.summary())
}

/// The medical record, with the store that knows how far it was read and told.
struct Record {
    emr: Emr,
    store: Store,
}

impl Record {
    /// Changes the record, and comes back when all that follows is in the feed.
    async fn change(&self, transaction: &File) -> anyhow::Result<Vec<Written>> {
        let written = self.emr.carry_out(transaction.content)?;
        let told = async {
            while !self.store.read(|reader| is_told(reader, &written))? {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, StoreError>(())
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        told.context("the medical record was not polled; the log on standard error may say why")??;
        Ok(written)
    }
}

/// Whether the mirror holds what was written, and nothing waits to be told. Both come with one transaction.
fn is_told(reader: &Reader<'_>, written: &[Written]) -> Result<bool, StoreError> {
    for Written { name, version } in written {
        let held = resources::get(reader, POLLED, name)?;
        let is_there = held.is_some_and(|held| match version {
            Some(_) => held.state == ResourceState::Present && held.version == *version,
            None => held.state == ResourceState::Deleted,
        });
        if !is_there {
            return Ok(false);
        }
    }
    Ok(resources::due_count(reader, POLLED)? == 0)
}

/// A consumer that reads the feed from its start.
struct Feed {
    http: reqwest::Client,
    url: String,
    token: String,
    cursor: String,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Value>,
    next: String,
}

impl Feed {
    fn new(url: String, token: &str) -> anyhow::Result<Self> {
        // The feed is plain HTTP on this machine, yet the client is not built without a TLS provider, nor by itself where the
        // system has no certificates.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        Ok(Self { http, url, token: token.to_owned(), cursor: "start".to_owned() })
    }

    /// Everything new. A positive answer was sent after the commit, so its events are there.
    async fn next(&mut self) -> anyhow::Result<Vec<Value>> {
        let url = format!("{}?after={}&limit=1000", self.url, self.cursor);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await?.error_for_status()?;
        let page: Page = answer.json().await?;
        self.cursor = page.next;
        Ok(page.events)
    }
}

/// What a user can try next.
fn invitation(site: &Scratch, feed: &Feed) -> String {
    let heyi = std::env::current_exe().map_or_else(|_| "heyi".to_owned(), |path| path.display().to_string());
    format!(
        "  export HEYI_CONFIG={}\n  {heyi} message list --state failed\n  {heyi} person links\n  \
             curl -H 'Authorization: Bearer {}' '{}?after=start&limit=1'",
        site.configuration().display(),
        feed.token,
        feed.url
    )
}
