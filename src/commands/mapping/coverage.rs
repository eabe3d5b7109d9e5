//! `heyi mapping coverage`: what a mapping leaves unread.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{Verdict, existing_store, output};
use super::inputs::{self, Content, Place};
use super::{Progress, each_stored, source, unused_document, unused_lines};
use crate::app::count as number_of;
use crate::config::Config;
use crate::fhir::Unit;
use crate::hl7v2::Message;
use crate::mapping::coverage::{Coverage, Occurrences};
use crate::mapping::{Context, Disposition, Format, Input, Mapped, RuleName};
use crate::pipeline::{Failure, Source, preview};
use crate::record::Kind;

#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// The source whose mapping is asked.
    source: String,
    /// Files of messages or resources, or directories; - is standard input.
    #[arg(value_name = "PATH", required_unless_present = "last")]
    paths: Vec<PathBuf>,
    /// Also the last N stored messages of the source.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let source = source(config, &arguments.source)?;
    let mut coverage = Coverage::default();
    let mut troubles = Troubles::default();
    let mut progress = Progress::new();
    let unused = inputs::each(&source, &arguments.paths, |place, content| {
        match content {
            Content::Bytes(raw) => add(&mut coverage, &mut troubles, &source, &raw, place),
            Content::Unreadable(reason) => troubles.unreadable(place, reason),
        }
        progress.one();
        Ok(())
    })?;
    if let Some(last) = arguments.last {
        let looked = each_stored(&existing_store(config)?, &source.name, last, |id, raw| {
            add(&mut coverage, &mut troubles, &source, raw, Place::Stored { id });
            Ok(())
        })?;
        looked.complain(&source.name);
    }
    let idle = coverage.idle_rules(&source.mapping);
    let empty = coverage.empty_fields();
    if arguments.json {
        let mut document = document(&coverage, &troubles, &idle, &empty);
        if source.mapping.format() == Format::Fhir {
            document["unused"] = unused_document(&unused);
        }
        output::json(&document)?;
    } else {
        print(&coverage, &troubles, &idle, &empty)?;
        unused_lines(&unused).iter().try_for_each(output::line)?;
    }
    // Without a message that the mapping could take, nothing above says anything.
    let is_told = coverage.messages > coverage.ignored + coverage.failed;
    let is_fine = is_told && troubles.unreadable == 0 && coverage.failed == 0;
    Ok(if is_fine { Verdict::Fine } else { Verdict::Wrong })
}

/// Messages and reasons of one kind that are told: more than anybody reads through.
const TOLD: usize = 100;

/// Messages that say nothing of the mapping's coverage, and why.
#[derive(Default)]
struct Troubles {
    /// Those that cannot be read.
    unreadable: u64,
    /// The first of them, with the reason.
    unread: Vec<(Place, String)>,
    /// Why messages fail as a whole.
    failures: Reasons,
    /// Why messages are ignored.
    ignored: Reasons,
}

/// Reasons with how many messages have each, and the first of them.
type Reasons = BTreeMap<String, (u64, Place)>;

impl Troubles {
    fn unreadable(&mut self, place: Place, reason: String) {
        self.unreadable += 1;
        if self.unread.len() < TOLD {
            self.unread.push((place, reason));
        }
    }
}

/// A reason names places, and there are not many; a sender that is all wrong may find more.
fn tally(reasons: &mut Reasons, reason: String, place: Place) {
    if reasons.len() < TOLD || reasons.contains_key(&reason) {
        reasons.entry(reason).or_insert((0, place)).0 += 1;
    }
}

/// Counts one message.
fn add(coverage: &mut Coverage, troubles: &mut Troubles, source: &Source, raw: &[u8], place: Place) {
    match source.mapping.format() {
        Format::Hl7v2 => match Message::read(raw, &source.charset, &source.limits) {
            Ok((message, _)) => count(coverage, troubles, source, (&message).into(), place),
            Err(error) => troubles.unreadable(place, error.to_string()),
        },
        Format::Fhir => match Unit::parse(raw) {
            Ok(unit) => count(coverage, troubles, source, (&unit).into(), place),
            Err(error) => troubles.unreadable(place, error.to_string()),
        },
    }
}

fn count(coverage: &mut Coverage, troubles: &mut Troubles, source: &Source, input: Input<'_>, place: Place) {
    let context = Context { zone: &source.zone, facility: source.facility.as_deref(), explain: true };
    let mapped = source.mapping.apply(input, &context);
    match &mapped {
        Err(error) => tally(&mut troubles.failures, error.to_string(), place),
        Ok(mapped) if mapped.holds_nothing() => {
            tally(&mut troubles.failures, Failure::nothing_in(input.format()).text, place);
        }
        Ok(Mapped { disposition: Disposition::Ignored { reason }, .. }) => {
            tally(&mut troubles.ignored, reason.clone(), place);
        }
        Ok(_) => {}
    }
    coverage.add(input, mapped, |record, records| preview(source, record, records));
}

/// The most frequent first.
fn unread(coverage: &Coverage) -> Vec<(String, Occurrences)> {
    let mut unread: Vec<_> = coverage.unread.iter().map(|(place, counted)| (place.to_string(), *counted)).collect();
    // Stable: places that are as frequent stay in the order of the segment.
    unread.sort_by_key(|(_, counted)| std::cmp::Reverse(counted.messages));
    unread
}

fn document(coverage: &Coverage, troubles: &Troubles, idle: &[RuleName], empty: &[String]) -> Value {
    let unread = unread(coverage)
        .into_iter()
        .map(|(path, counted)| json!({"path": path, "messages": counted.messages, "values": counted.values}));
    let idle = idle.iter().map(|rule| json!({"target": rule.target, "file": rule.file, "line": rule.line}));
    let unmapped = coverage.unmapped.iter().map(|(code, messages)| {
        let outcome = code.outcome.name();
        json!({"table": code.table, "code": code.code, "target": code.target, "outcome": outcome, "messages": messages})
    });
    let told = troubles.unread.iter().map(|(place, reason)| {
        let mut told = place.document();
        told["reason"] = json!(reason);
        told
    });
    let told_reasons = |reasons: &Reasons| -> Vec<Value> {
        let told = |(reason, (messages, first)): (&String, &(u64, Place))| json!({"reason": reason, "messages": messages, "first": first.document()});
        reasons.iter().map(told).collect()
    };
    json!({
        "messages": coverage.messages,
        "ignored": coverage.ignored,
        "failed": coverage.failed,
        "unreadable": troubles.unreadable,
        "unreadable_messages": told.collect::<Vec<_>>(),
        "failures": told_reasons(&troubles.failures),
        "ignored_because": told_reasons(&troubles.ignored),
        "unread": unread.collect::<Vec<_>>(),
        "unchosen": coverage.unchosen.iter().map(|(element, (counted, targets))| json!({"element": element, "messages": counted.messages, "values": counted.values, "targets": targets})).collect::<Vec<_>>(),
        "never_filled": empty,
        "idle_rules": idle.collect::<Vec<_>>(),
        "unmapped": unmapped.collect::<Vec<_>>(),
    })
}

fn print(coverage: &Coverage, troubles: &Troubles, idle: &[RuleName], empty: &[String]) -> anyhow::Result<()> {
    let Coverage { messages, ignored, failed, .. } = coverage;
    let unreadable = troubles.unreadable;
    let all = number_of(*messages, "message");
    output::line(format!("{all}: {ignored} ignored, {failed} failed; {unreadable} cannot be read"))?;
    for (what, reasons) in [("ignored", &troubles.ignored), ("failed", &troubles.failures)] {
        for (reason, (messages, first)) in reasons {
            output::line(format!("  {messages} {what}: {reason} (first: {first})"))?;
        }
    }
    for (place, reason) in &troubles.unread {
        output::line(format!("  cannot be read: {place}: {reason}"))?;
    }
    if let Some(more) = unreadable.checked_sub(TOLD as u64).filter(|more| *more > 0) {
        output::line(format!("  … and {more} more cannot be read"))?;
    }
    if *messages == 0 {
        return Ok(());
    }
    let section = |heading: &str, lines: &[String]| -> anyhow::Result<()> {
        output::line(format!("\n{heading}: {}", if lines.is_empty() { "none" } else { "" }).trim_end())?;
        lines.iter().try_for_each(|line| output::line(format!("  {line}")))
    };
    let lines: Vec<String> = unread(coverage)
        .into_iter()
        .map(|(path, counted)| {
            let (values, messages) = (number_of(counted.values, "value"), number_of(counted.messages, "message"));
            format!("{path:12} {values} in {messages}")
        })
        .collect();
    section("Values that no rule reads", &lines)?;
    let lines: Vec<String> = coverage
        .unchosen
        .iter()
        .map(|(element, (counted, targets))| {
            let (values, messages) = (number_of(counted.values, "value"), number_of(counted.messages, "message"));
            let targets = targets.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            format!("{element:12} {values} in {messages}, which fit no condition of {targets}")
        })
        .collect();
    if !lines.is_empty() {
        section("Values that no condition chooses", &lines)?;
    }
    section("Fields that are never filled", empty)?;
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        let of_kind = idle.iter().filter(|rule| rule.target.split('.').next() == Some(kind.name()));
        if coverage.has(kind) {
            lines.extend(of_kind.map(|rule| format!("{:40} {}:{}", rule.target, rule.file, rule.line)));
        } else {
            let rules = number_of(of_kind.count(), "rule");
            lines.push(format!("{:40} no record of this kind: {rules}", kind.name()));
        }
    }
    section("Rules that gave nothing", &lines)?;
    let lines: Vec<String> = coverage
        .unmapped
        .iter()
        .map(|(code, messages)| {
            let outcome = code.outcome.name();
            let messages = number_of(*messages, "message");
            format!("{} {}, for {}, {outcome}, in {messages}", code.table, code.code, code.target)
        })
        .collect();
    section("Codes that no table knows", &lines)
}
