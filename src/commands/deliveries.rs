//! `heyi feed replay`, `parked`, `release`, `skip`, `forget`: what is done with a consumer's deliveries. The daemon need not run, and one
//! that runs takes it up within a second.

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use super::{Verdict, audited, output};
use crate::app::{now, outgoing_consumers};
use crate::config::Config;
use crate::feed::Position;
use crate::http;
use crate::outgoing::act::{self, Act, From, Outcome, Refusal, Replay, Replayed};
use crate::outgoing::{self, Consumer};
use crate::store::{Store, Transaction, all_pages, holds};

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Give a consumer events again: all from a cursor or a time; or, where events are pushed, one person's, or up to a cursor.
    Replay {
        /// Whose deliveries.
        consumer: String,
        /// After this position: start, head or a cursor.
        #[arg(long, value_name = "CURSOR", conflicts_with = "since")]
        from: Option<Position>,
        /// What was written at this time or later: 2026-11-22, 2026-11-22T08:00 (local) or 2026-11-22T08:00:00+08:00.
        #[arg(long, value_name = "TIME", value_parser = output::read_time)]
        since: Option<jiff::Timestamp>,
        /// Up to and with this position; without it: up to the newest event.
        #[arg(long, value_name = "CURSOR")]
        to: Option<Position>,
        /// Only what is about this One ID, or any that answers as the same person.
        #[arg(long, value_name = "ONE_ID")]
        person: Option<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Show what waits for the trouble of a person to end, and what was done by hand.
    Parked {
        /// Whose deliveries; default: all consumers.
        consumer: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have what waits tried again at once: of one person, else of all who are parked.
    Release {
        /// Whose deliveries.
        consumer: String,
        /// Only this One ID's.
        #[arg(long, value_name = "ONE_ID")]
        person: Option<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Give up the one event that a person's others wait for: this consumer is never given it.
    Skip {
        /// Whose deliveries.
        consumer: String,
        /// Whose event.
        #[arg(long, value_name = "ONE_ID")]
        person: String,
        /// Why; kept.
        #[arg(long)]
        reason: String,
        /// Who decides; default: the user of this shell.
        #[arg(long)]
        by: Option<String>,
    },
    /// Forget a consumer that was taken out of the configuration: its position, and what waits for it. Events are kept for it no longer.
    Forget {
        /// Who.
        consumer: String,
        /// Why; kept.
        #[arg(long)]
        reason: String,
        /// Who decides; default: the user of this shell.
        #[arg(long)]
        by: Option<String>,
    },
}

#[derive(clap::Args)]
pub(super) struct Who {
    /// Why; kept.
    #[arg(long, default_value = "")]
    reason: String,
    /// Who decides; default: the user of this shell.
    #[arg(long)]
    by: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Rows read at a time.
const PAGE: usize = 500;
/// What people did that is shown of each consumer.
const ACTIONS: usize = 20;

pub(super) fn run(config: &Config, store: &Store, verb: Verb) -> anyhow::Result<Verdict> {
    match verb {
        Verb::Replay { consumer, from, since, to, person, who } => {
            let from = from.map(From::Position).or(since.map(|since| From::Time(since.as_microsecond())));
            let act = act_of(known(config, store, &consumer)?, who.by, who.reason);
            replay(store, &act, &Replay { from, to, person }, who.json)?;
        }
        Verb::Parked { consumer, json } => parked(config, store, consumer.as_deref(), json)?,
        Verb::Release { consumer, person, who } => {
            let act = act_of(known(config, store, &consumer)?, who.by, who.reason);
            let released = done(store, move |t| act::release(t, &act, person.as_deref()))?;
            if who.json {
                output::json(&json!({"released": released}))?;
            } else {
                output::line(format!("released: {released}"))?;
            }
        }
        Verb::Skip { consumer, person, reason, by } => {
            let act = act_of(known(config, store, &consumer)?, by, given(reason)?);
            let (sequence, event) = done(store, move |t| act::skip(t, &act, &person))?;
            let event = event.unwrap_or_else(|| "no longer kept".to_owned());
            output::line(format!("given up: event {sequence:012} ({event}) is never given to {consumer}"))?;
        }
        Verb::Forget { consumer, reason, by } => {
            let is_configured = config.consumers.iter().any(|known| known.name == consumer);
            let act = act_of(Consumer::unconfigured(&consumer), by, given(reason)?);
            let waited = done(store, move |t| act::forget(t, &act, is_configured))?;
            output::line(format!("forgotten: {consumer}, {waited} events waited for it"))?;
        }
    }
    Ok(Verdict::Fine)
}

fn act_of(consumer: Consumer, by: Option<String>, reason: String) -> Act {
    Act { consumer, by: by.unwrap_or_else(super::user), reason, at: now() }
}

fn given(reason: String) -> anyhow::Result<String> {
    if reason.trim().is_empty() {
        bail!("--reason is empty");
    }
    Ok(reason)
}

fn known(config: &Config, store: &Store, name: &str) -> anyhow::Result<Consumer> {
    let configured = outgoing_consumers(config);
    let found = store.read(|reader| outgoing::known(reader, &configured, name))?;
    found.with_context(|| format!("no consumer is called {name}: `heyi feed consumers` lists them"))
}

/// Carries out what somebody does; what refuses it is said with the way out.
fn done<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Transaction<'_>) -> Outcome<T> + Send + 'static,
) -> anyhow::Result<T> {
    audited::change_of(store, &[], work)?.map_err(|refusal| match refusal {
        Refusal::Lost(log, why) => anyhow!("{}", http::lost(log, why).detail),
        refusal => anyhow!("{refusal}"),
    })
}

fn replay(store: &Store, act: &Act, asked: &Replay, json: bool) -> anyhow::Result<()> {
    let (mut after, mut events) = (None, 0);
    loop {
        let (act, asked) = (act.clone(), asked.clone());
        match done(store, move |t| act::replay(t, &act, &asked, after))? {
            Replayed::Moved(cursor) if json => return output::json(&json!({"cursor": cursor.to_string()})),
            Replayed::Moved(cursor) => return output::line(format!("everything after {cursor} is given again")),
            Replayed::PutBack(more, next) => {
                events += more;
                match next {
                    Some(next) => after = Some(next),
                    None if json => return output::json(&json!({"events": events})),
                    None => return output::line(format!("{events} events are given again")),
                }
            }
        }
    }
}

fn parked(config: &Config, store: &Store, only: Option<&str>, json: bool) -> anyhow::Result<()> {
    let consumers = match only {
        Some(name) => vec![known(config, store, name)?],
        None => {
            let configured = outgoing_consumers(config);
            let standings = store.read(|reader| outgoing::standings(reader, &configured))?;
            let consumers = standings
                .into_iter()
                .map(|standing| standing.configured.unwrap_or_else(|| Consumer::unconfigured(&standing.name)));
            consumers.collect()
        }
    };
    let mut shown: Vec<(String, Vec<Value>, Vec<Value>)> = Vec::new();
    for consumer in consumers {
        let holds = all_pages(|after| {
            store.read(|reader| {
                let holds = holds::list(reader, &consumer.name, after, PAGE)?;
                holds.iter().map(|hold| Ok((hold.id, outgoing::hold(reader, hold)?))).collect()
            })
        })?;
        let actions = store.read(|reader| holds::actions(reader, &consumer.name, ACTIONS))?;
        shown.push((consumer.name, holds, actions.iter().map(outgoing::action).collect()));
    }
    if json {
        let shown: Vec<Value> = shown
            .into_iter()
            .map(|(name, holds, actions)| json!({"consumer": name, "holds": holds, "actions": actions}))
            .collect();
        return output::json(&json!({"consumers": shown}));
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let time = |value: &Value| output::local_text(&text(value));
    let rows: Vec<Vec<String>> = shown
        .iter()
        .flat_map(|(name, holds, _)| holds.iter().map(move |hold| (name, hold)))
        .map(|(name, hold)| {
            let state = hold["parked_at"].as_str().map_or_else(
                || format!("again at {}", time(&hold["next_at"])),
                |_| format!("parked since {}", time(&hold["parked_at"])),
            );
            let person = hold["one_id"].as_str().unwrap_or("-").to_owned();
            vec![name.clone(), person, text(&hold["events"]), text(&hold["attempts"]), state, text(&hold["error"])]
        })
        .collect();
    output::table(&["CONSUMER", "PERSON", "EVENTS", "ATTEMPTS", "", "LAST"], &rows)?;
    for (name, _, actions) in &shown {
        for action in actions {
            let part = |key: &str| text(&action[key]);
            let line = format!("{}  {name}: {} by {}", time(&action["at"]), part("action"), part("by"));
            let reason = part("reason");
            let line = if reason.is_empty() { line } else { format!("{line}: {reason}") };
            output::line(output::printable(&line))?;
        }
    }
    Ok(())
}
