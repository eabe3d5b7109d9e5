//! `heyi mapping unmapped`: codes that no table knows.

use serde_json::{Value, json};

use super::super::{Verdict, existing_store, output};
use super::settings;
use crate::config::Config;
use crate::store::unmapped;
use crate::view;

#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// Of this source.
    #[arg(long)]
    source: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let store = existing_store(config)?;
    let mut codes = store.read(|reader| unmapped::list(reader, usize::MAX))?;
    codes.retain(|code| arguments.source.as_ref().is_none_or(|source| *source == code.source));
    // A source that was taken out of the configuration may still have codes.
    if let Some(name) = arguments.source.as_ref().filter(|_| codes.is_empty()) {
        settings(config, name)?;
    }
    if arguments.json {
        let codes: Vec<Value> = codes.iter().map(view::unmapped_code).collect();
        output::json(&json!({"unmapped": codes}))?;
        return Ok(Verdict::Fine);
    }
    let row = |code: &unmapped::UnmappedCode| {
        vec![
            code.source.clone(),
            code.table.clone(),
            code.code.clone(),
            code.target.clone(),
            code.outcome.clone(),
            code.count.to_string(),
            code.waiting.to_string(),
            output::local_time(code.last_seen),
            code.message.to_string(),
        ]
    };
    if codes.is_empty() {
        output::line("The tables know every code of the stored messages.")?;
        return Ok(Verdict::Fine);
    }
    let rows: Vec<Vec<String>> = codes.iter().map(row).collect();
    output::table(
        &["SOURCE", "TABLE", "CODE", "FIELD", "OUTCOME", "MESSAGES", "WAITING", "LAST SEEN", "SAMPLE"],
        &rows,
    )?;
    output::line("Add the rows that are missing to the tables: the daemon takes in what waits by itself.")?;
    Ok(Verdict::Fine)
}
