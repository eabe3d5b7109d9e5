//! `heyi mapping coverage`: what a mapping leaves unread.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{Verdict, existing_store, output};
use super::{Progress, each_stored, source};
use crate::app::FILE_EXTENSIONS;
use crate::config::Config;
use crate::hl7v2::Message;
use crate::hl7v2::batch::Piece;
use crate::mapping::coverage::{Coverage, Occurrences};
use crate::mapping::{Asked, Context, RuleName};
use crate::pipeline::{Source, preview};
use crate::record::Kind;
use crate::source::files::{MessageReader, walk};

#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// The source whose mapping is asked.
    source: String,
    /// Files of messages or directories.
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
    let mut unreadable = 0;
    let mut progress = Progress::new();
    for path in walk(&arguments.paths, &FILE_EXTENSIONS.map(str::to_owned)) {
        let path = path?;
        let mut pieces = MessageReader::open(&path, source.limits.message_bytes)?;
        let before = progress.done;
        for piece in &mut pieces {
            match piece? {
                Piece::Message(raw) => unreadable += u64::from(!add(&mut coverage, &source, &raw)),
                Piece::TooLarge { .. } => unreadable += 1,
            }
            progress.one();
        }
        // A file without a message is none that was looked at.
        unreadable += u64::from(progress.done == before);
        for note in pieces.notes() {
            output::complain(&format!("{}: {note}", path.display()));
        }
    }
    if let Some(last) = arguments.last {
        each_stored(&existing_store(config)?, &source.name, last, |_, raw| {
            unreadable += u64::from(!add(&mut coverage, &source, raw));
            Ok(())
        })?;
    }
    let idle = coverage.idle_rules(&source.mapping);
    let empty = coverage.empty_fields();
    if arguments.json {
        output::json(&document(&coverage, unreadable, &idle, &empty))?;
    } else {
        print(&coverage, unreadable, &idle, &empty)?;
    }
    // Without a message that the mapping could take, nothing above says anything.
    let is_told = coverage.messages > coverage.ignored + coverage.failed;
    Ok(if is_told && unreadable == 0 { Verdict::Fine } else { Verdict::Wrong })
}

/// Counts one message; `false`: it cannot be read.
fn add(coverage: &mut Coverage, source: &Source, raw: &[u8]) -> bool {
    let Ok((message, _)) = Message::read(raw, &source.charset, &source.limits) else { return false };
    let context = Context { zone: &source.zone, facility: source.facility.as_deref(), explain: true };
    let mapped = source.mapping.apply(&message, &context);
    coverage.add(&message, mapped, |record| preview(source, record));
    true
}

/// The most frequent first.
fn unread(coverage: &Coverage) -> Vec<(String, Occurrences)> {
    let name = |place: &Asked| match place.component {
        Some(component) => format!("{}-{}.{component}", place.segment, place.field),
        None => format!("{}-{}", place.segment, place.field),
    };
    let mut unread: Vec<_> = coverage.unread.iter().map(|(place, counted)| (name(place), *counted)).collect();
    // Stable: places that are as frequent stay in the order of the segment.
    unread.sort_by_key(|(_, counted)| std::cmp::Reverse(counted.messages));
    unread
}

fn document(coverage: &Coverage, unreadable: u64, idle: &[RuleName], empty: &[String]) -> Value {
    let unread = unread(coverage)
        .into_iter()
        .map(|(path, counted)| json!({"path": path, "messages": counted.messages, "values": counted.values}));
    let idle = idle.iter().map(|rule| json!({"target": rule.target, "file": rule.file, "line": rule.line}));
    let unmapped = coverage.unmapped.iter().map(|(code, messages)| {
        let outcome = code.outcome.name();
        json!({"table": code.table, "code": code.code, "target": code.target, "outcome": outcome, "messages": messages})
    });
    json!({
        "messages": coverage.messages,
        "ignored": coverage.ignored,
        "failed": coverage.failed,
        "unreadable": unreadable,
        "unread": unread.collect::<Vec<_>>(),
        "never_filled": empty,
        "idle_rules": idle.collect::<Vec<_>>(),
        "unmapped": unmapped.collect::<Vec<_>>(),
    })
}

fn print(coverage: &Coverage, unreadable: u64, idle: &[RuleName], empty: &[String]) -> anyhow::Result<()> {
    let Coverage { messages, ignored, failed, .. } = coverage;
    output::line(format!("{messages} messages: {ignored} ignored, {failed} failed; {unreadable} more cannot be read"))?;
    let section = |heading: &str, lines: &[String]| -> anyhow::Result<()> {
        output::line(format!("\n{heading}: {}", if lines.is_empty() { "none" } else { "" }).trim_end())?;
        lines.iter().try_for_each(|line| output::line(format!("  {line}")))
    };
    let lines: Vec<String> = unread(coverage)
        .into_iter()
        .map(|(path, counted)| format!("{path:12} {} values in {} messages", counted.values, counted.messages))
        .collect();
    section("Values that no rule reads", &lines)?;
    section("Fields that are never filled", empty)?;
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        let of_kind = idle.iter().filter(|rule| rule.target.split('.').next() == Some(kind.name()));
        if coverage.has(kind) {
            lines.extend(of_kind.map(|rule| format!("{:40} {}:{}", rule.target, rule.file, rule.line)));
        } else {
            lines.push(format!("{:40} no record of this kind: all its {} rules", kind.name(), of_kind.count()));
        }
    }
    section("Rules that gave nothing", &lines)?;
    let lines: Vec<String> = coverage
        .unmapped
        .iter()
        .map(|(code, messages)| {
            let outcome = code.outcome.name();
            format!("{} {}, for {}, {outcome}, in {messages} messages", code.table, code.code, code.target)
        })
        .collect();
    section("Codes that no table knows", &lines)
}
