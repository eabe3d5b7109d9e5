//! `heyi feed rehearse`: plays at a consumer what a feed may do to it, and says what it did wrong.
//!
//! ```text
//! messages ─► story (the real pipeline, a temporary store) ─► stage ─► server ◄── a consumer that asks    (pull directs)
//!                                                         └─► push ──────────────► a consumer's address
//!                        model (what is to be held) ─► judge ◄─ held (what the consumer says it holds) ─► duty: the report
//! ```
//!
//! Nothing of the site is touched: neither its store nor its configuration is opened.

mod duty;
mod held;
mod judge;
mod messages;
mod model;
mod pull;
mod push;
mod server;
mod stage;
mod story;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::duty::Report;
use self::held::Held;
use self::push::Target;
use self::server::Shared;
use self::story::Story;
use super::{Verdict, WrongUsage, output};
use crate::http;
use crate::push::Secrets;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Push to this address (http), as webhooks.
    #[arg(conflicts_with = "pull", required_unless_present = "pull", requires = "secret_file")]
    url: Option<reqwest::Url>,
    /// Let this consumer ask: its interface is opened on this machine, and the address printed.
    #[arg(long, value_name = "NAME")]
    pull: Option<String>,
    /// Where the consumer that asks is answered (default: a free port of this machine), or finds /v1/feed/reconcile if it is pushed to.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The token that it gives there; without one it is made and printed.
    #[arg(long, env = "HEYI_REHEARSAL_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The file with the secret of the webhook: `whsec_` and Base64.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Where the consumer says what it holds (GET, JSON; see docs/rehearse.md).
    #[arg(long, value_name = "URL", conflicts_with = "state_command")]
    state: Option<reqwest::Url>,
    /// A command that prints what the consumer holds.
    #[arg(long, value_name = "COMMAND")]
    state_command: Option<String>,
    /// Seconds that a consumer has for each step that it takes by itself.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Verdict> {
    for url in arguments.url.iter().chain(&arguments.state) {
        if url.scheme() != "http" {
            return Err(WrongUsage(
                "a rehearsal speaks plain HTTP: give an address that begins with http://".to_owned(),
            )
            .into());
        }
    }
    let secret = arguments.secret_file.as_deref().map(Secrets::read).transpose();
    let secret = secret.map_err(|error| WrongUsage(format!("--secret-file: {error:#}")))?;
    let story = Story::make()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(play(arguments, &story, secret))?;
    if arguments.json {
        output::json(&report.json())?
    } else {
        report.print()?
    }
    Ok(if report.is_fine() { Verdict::Fine } else { Verdict::Wrong })
}

async fn play(arguments: &Arguments, story: &Story, secret: Option<Secrets>) -> anyhow::Result<Report> {
    // Everything is plain HTTP, yet the client is not built without a TLS provider, nor by itself where the system has no certificates.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).tls_certs_only([]).build()?;
    let held = match (&arguments.state, &arguments.state_command) {
        (Some(url), _) => Some(Held::Url(client.clone(), url.clone())),
        (None, Some(command)) => Some(Held::Command(command.clone())),
        (None, None) => None,
    };
    let patience = Duration::from_secs(arguments.patience);
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    if let (Some(url), Some(secret)) = (&arguments.url, secret) {
        let feed = match arguments.listen {
            Some(listen) => Some(open(arguments, listen, None, stop).await?),
            None => None,
        };
        let target = Target { client, url: url.clone(), secret, held, feed, patience };
        return push::play(story, &target).await;
    }
    let listen = arguments.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let shared = open(arguments, listen, held, stop).await?;
    pull::play(story, &shared, patience).await
}

/// Opens Heyi's interface for the consumer until `stop`, and says where it is.
async fn open(
    arguments: &Arguments,
    listen: SocketAddr,
    held: Option<Held>,
    stop: CancellationToken,
) -> anyhow::Result<Shared> {
    let token = match &arguments.token {
        Some(token) => token.clone(),
        None => http::Secret::generate()?.reveal().to_owned(),
    };
    let listener = TcpListener::bind(listen).await.with_context(|| format!("--listen {listen}"))?;
    let address = listener.local_addr()?;
    match &arguments.pull {
        _ if arguments.json => {
            output::line(json!({"consumer": arguments.pull, "url": format!("http://{address}"), "token": token}))?;
        }
        Some(name) => {
            output::line(format!("start {name} with the address http://{address} and the token {token}\n"))?;
        }
        None => output::line(format!("/v1/feed/reconcile is at http://{address}, with the token {token}\n"))?,
    }
    let shared = Shared::new(token, held);
    server::start(listener, shared.clone(), stop);
    Ok(shared)
}
