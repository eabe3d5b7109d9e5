//! `heyi person consent`: what a person says of a purpose, and what was said so far.

use anyhow::Context;
use serde_json::{Value, json};

use super::super::{Verdict, audited, output};
use crate::app::{now, pipeline_site, zone_of_decisions};
use crate::config::Config;
use crate::pipeline;
use crate::policy::{ConsentState, ConsentWord};
use crate::store::Store;
use crate::view;

/// Takes it down.
pub(super) fn say(
    config: &Config,
    store: &Store,
    one_id: String,
    word: ConsentWord,
    as_json: bool,
) -> anyhow::Result<Verdict> {
    let (site, zone) = (pipeline_site(config), zone_of_decisions(config));
    let purpose = word.purpose;
    let named = one_id.clone();
    let said = audited::change_of(store, &[&named], move |transaction| {
        pipeline::consent_by_hand(transaction, &site, &zone, &one_id, &word, now())
    })?;
    let outcome = said?;
    let holds = outcome.holds.map(ConsentState::name);
    if as_json {
        let document =
            json!({"one_id": outcome.one_id, "purpose": purpose.name(), "holds": holds, "changed": outcome.changed});
        output::json(&document)?;
        return Ok(Verdict::Fine);
    }
    let remark = if outcome.changed { "" } else { ", as before: nothing is changed" };
    let holds = holds.unwrap_or("nothing holds");
    output::line(format!("{}: consent for {}: {holds}{remark}", outcome.one_id, purpose.name()))?;
    Ok(Verdict::Fine)
}

/// Shows what was said and what holds.
pub(super) fn show(store: &Store, one_id: &str, as_json: bool) -> anyhow::Result<Verdict> {
    let found = store.read(|reader| view::consents(reader, one_id, now()))?;
    let document = found.with_context(|| format!("no person has the One ID {one_id}"))?;
    if as_json {
        output::json(&document)?;
        return Ok(Verdict::Fine);
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let holds = document["holds"].as_object().cloned().unwrap_or_default();
    if holds.is_empty() {
        output::line("nothing holds: marketing is sent nothing, care and operations as their policies say")?;
    }
    for (purpose, state) in &holds {
        output::line(format!("{purpose}: {}", text(state)))?;
    }
    let said = document["consents"].as_array().cloned().unwrap_or_default();
    let rows: Vec<Vec<String>> = said
        .iter()
        .map(|consent| {
            let time = |name: &str| consent[name].as_str().map_or_else(|| "-".to_owned(), output::local_text);
            let records: Vec<String> = consent["records"].as_array().into_iter().flatten().map(text).collect();
            let [purpose, state, by, basis] = ["purpose", "state", "said_by", "basis"].map(|name| text(&consent[name]));
            vec![time("since"), time("until"), purpose, state, by, basis, records.join(" ")]
        })
        .collect();
    if !rows.is_empty() {
        output::line("")?;
        output::table(&["SINCE", "UNTIL", "PURPOSE", "SAID", "BY", "WHY", "RECORDS"], &rows)?;
    }
    Ok(Verdict::Fine)
}
