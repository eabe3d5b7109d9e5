//! `heyi identity`: the model of matching. Shown, trained on the site's own records, compared with another, and what a switch leaves in
//! doubt. No verb here changes a link: a person switches the model, and people answer what is asked.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Zoned;
use serde_json::{Value, json};

use super::{Unusable, Verdict, WrongUsage, evidence, existing_store, load_config, output};
use crate::app::{now, pipeline_site};
use crate::config::{Config, identity};
use crate::identity::{FEWEST_MATCHES, FEWEST_STRANGERS, Kept, Learned, Model, Training, train};
use crate::pipeline::{self, Differences, Rescored, Site};
use crate::store::{Store, matching, records};

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Show the model in force: every threshold, limit and weight, as the file that would say so.
    Show {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Estimate the weights from this site's own records and write them to a new model file; nothing else changes.
    Train {
        /// The file to write; default: identity-VERSION.toml beside the model in force.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Write over FILE if it exists. The model in force is never written over.
        #[arg(long)]
        force: bool,
        /// Read about so many records, drawn by chance.
        #[arg(long, value_name = "N", default_value_t = RECORDS, value_parser = clap::value_parser!(u32).range(1..))]
        records: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what another model would change: how many pairs of records, persons joined and split, with samples. Nobody is moved.
    Compare {
        /// The other model's file.
        model: PathBuf,
        /// Read about so many records, drawn by chance.
        #[arg(long, value_name = "N", default_value_t = RECORDS, value_parser = clap::value_parser!(u32).range(1..))]
        records: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// After the model was switched: open a case for review wherever it and the present links disagree. Nobody is moved.
    Rescore {
        /// Stop when about so many cases are new; the same command goes on with what is left.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Records that are read at most unless asked for more: some minutes, and weights to a tenth of a bit.
const RECORDS: u32 = 200_000;
/// Records in one step of a rescore: its transaction holds up live traffic no longer than a few messages do.
const STEP: usize = 16;
/// Pause after a step, so that a daemon beside the command gets its turn.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    match verb {
        Verb::Show { json } => show(&config, json),
        Verb::Train { out, force, records, json } => learn(&config, out, force, size(records), json),
        Verb::Compare { model, records, json } => compare(&config, &model, size(records), json),
        Verb::Rescore { limit, json } => rescore(&config, limit, json),
    }
}

fn size(records: u32) -> usize {
    usize::try_from(records).unwrap_or(usize::MAX)
}

/// The file that the model in force was read from; `None`: it is built in.
fn model_file(config: &Config) -> Option<String> {
    config.model_file.exists().then(|| config.model_file.display().to_string())
}

fn show(config: &Config, json: bool) -> anyhow::Result<Verdict> {
    let (file, model) = (model_file(config), &config.model);
    if json {
        let mut settings = serde_json::Map::new();
        for setting in model.settings() {
            let section = settings.entry(setting.section).or_insert_with(|| json!({}));
            section[setting.key] = setting.value.into();
        }
        output::json(&json!({"file": file, "version": model.version, "settings": settings}))?;
        return Ok(Verdict::Fine);
    }
    output::line(match file {
        Some(file) => format!("# In force, from {file}:\n#"),
        None => format!("# In force, built in: there is no {}.\n#", config.model_file.display()),
    })?;
    output::line(identity::written(model).trim_end())?;
    Ok(Verdict::Fine)
}

fn learn(config: &Config, out: Option<PathBuf>, force: bool, records: usize, as_json: bool) -> anyhow::Result<Verdict> {
    let (version, out) = named(config, out);
    // Before minutes of work, and again when it is written.
    if is_in_force(config, &out) {
        return Err(WrongUsage(format!(
            "{} is the model in force: write another file, look at what it changes with `heyi identity compare`, and switch then",
            out.display()
        ))
        .into());
    }
    if out.exists() && !force {
        return Err(WrongUsage(format!("{} exists: name another file, or add --force", out.display())).into());
    }
    let store = existing_store(config)?;
    if store.read(matching::people)? == 0 {
        bail!("the store holds no patient: there is nothing to learn from");
    }
    let site = pipeline_site(config);
    let drawn = pipeline::draw(&store, &site, records)?;
    let training = train(&site.model, &drawn.sample, &version);
    if training.estimated() == 0 {
        bail!(
            "too few records: {} people, {} pairs that may be one patient, of which none of the levels has {FEWEST_MATCHES} \
             expected matches and {FEWEST_STRANGERS} strangers; nothing is written",
            drawn.sample.people(),
            training.blocks.iter().map(|block| block.pairs).sum::<u64>(),
        );
    }
    write(&out, force, &identity::written(&training.model))?;
    if as_json {
        output::json(&trained_document(&out, &drawn, &training))?;
    } else {
        print_trained(&out, &drawn, &training)?;
    }
    Ok(Verdict::Fine)
}

/// A version that is neither in force nor has a file yet, and the file to write.
fn named(config: &Config, out: Option<PathBuf>) -> (String, PathBuf) {
    let today = format!("site-{}", Zoned::now().strftime("%Y-%m-%d"));
    let beside = |version: &str| config.model_file.with_file_name(format!("identity-{version}.toml"));
    let numbered = (2..).map(|number: u64| format!("{today}-{number}"));
    let mut versions = std::iter::once(today.clone()).chain(numbered);
    let version = versions.find(|version| *version != config.model.version && !beside(version).exists());
    let version = version.unwrap_or(today);
    let out = out.unwrap_or_else(|| beside(&version));
    (version, out)
}

fn is_in_force(config: &Config, out: &Path) -> bool {
    let real = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        path.canonicalize().ok().or_else(|| Some(parent.canonicalize().ok()?.join(path.file_name()?)))
    };
    out == config.model_file || real(out).is_some_and(|out| real(&config.model_file) == Some(out))
}

fn write(out: &Path, force: bool, text: &str) -> anyhow::Result<()> {
    let told = || out.display().to_string();
    let mut file: File = match force {
        true => File::create(out).with_context(told)?,
        false => OpenOptions::new().write(true).create_new(true).open(out).with_context(told)?,
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(told)
}

fn trained_document(out: &Path, drawn: &pipeline::Drawn, training: &Training) -> Value {
    let settings: Vec<Value> = training
        .learned
        .iter()
        .map(|learned| {
            json!({
                "section": learned.setting.section,
                "key": learned.setting.key,
                "before": learned.setting.value,
                "after": learned.value,
                "expected_matches": learned.matches.map(tenths),
                "share_of_matches": learned.share,
                "kept": learned.kept.map(Kept::name),
            })
        })
        .collect();
    let blocks: Vec<Value> = training
        .blocks
        .iter()
        .map(|block| {
            json!({
                "block": block.blocking.name(),
                "pairs": block.pairs,
                "expected_matches": tenths(block.matches),
                "iterations": block.iterations,
            })
        })
        .collect();
    json!({
        "file": out.display().to_string(),
        "version": training.model.version,
        "records": drawn.records,
        "people": drawn.sample.people(),
        "random_pairs": drawn.sample.strangers(),
        "blocks": blocks,
        "settings": settings,
    })
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn print_trained(out: &Path, drawn: &pipeline::Drawn, training: &Training) -> anyhow::Result<()> {
    output::line(format!(
        "{} people, {} random pairs of them, {} records in blocks",
        drawn.sample.people(),
        drawn.sample.strangers(),
        drawn.records
    ))?;
    output::line("")?;
    let blocks: Vec<Vec<String>> = training
        .blocks
        .iter()
        .map(|block| {
            let name = block.blocking.name().to_owned();
            vec![name, block.pairs.to_string(), format!("{:.1}", block.matches), block.iterations.to_string()]
        })
        .collect();
    output::table(&["BLOCK", "PAIRS", "EXPECTED MATCHES", "ITERATIONS"], &blocks)?;
    output::line("")?;
    let rows: Vec<Vec<String>> = training
        .learned
        .iter()
        .map(|learned| {
            let matches = learned.matches.map_or("-".to_owned(), |matches| format!("{matches:.1}"));
            vec![
                format!("{}.{}", learned.setting.section, learned.setting.key),
                shown(learned, learned.setting.value),
                shown(learned, learned.value),
                matches,
                learned.kept.map_or("", why).to_owned(),
            ]
        })
        .collect();
    output::table(&["SETTING", "BEFORE", "NOW", "EXPECTED MATCHES", "KEPT"], &rows)?;
    output::line("")?;
    let (file, version) = (out.display(), &training.model.version);
    output::line(format!("{file}: model {version}, not in force. What it would change: heyi identity compare {file}"))
}

fn shown(learned: &Learned, value: f64) -> String {
    if learned.setting.section == "frequency" { format!("{value:.1e}") } else { format!("{value:+.1}") }
}

fn why(kept: Kept) -> &'static str {
    match kept {
        Kept::ByReason => "set by reason, not learned",
        Kept::FewMatches => "too few matches",
        Kept::FewStrangers => "too few strangers who agree so",
    }
}

fn compare(config: &Config, file: &Path, records: usize, as_json: bool) -> anyhow::Result<Verdict> {
    let other = match identity::load(file, file.display().to_string()) {
        Ok(model) => model,
        Err(problems) => {
            output::diagnostics(&problems);
            return Err(Unusable.into());
        }
    };
    let store = existing_store(config)?;
    let before = pipeline_site(config);
    let after = Site { owners: before.owners.clone(), model: other };
    let found = pipeline::compare_models(&store, &before, &after, records)?;
    if as_json {
        output::json(&compared_document(&before.model, &after.model, &found))?;
        return Ok(Verdict::Fine);
    }
    let (before, after) = (&before.model.version, &after.model.version);
    output::line(format!("{before} and {after}: {} pairs of {} records in blocks", found.pairs, found.records))?;
    if found.changes.is_empty() {
        output::line("no pair changes")?;
        return Ok(Verdict::Fine);
    }
    let rows: Vec<Vec<String>> = found
        .changes
        .iter()
        .map(|((was, is), change)| vec![was.name().to_owned(), is.name().to_owned(), change.pairs.to_string()])
        .collect();
    output::line("")?;
    output::table(&["WAS", "WOULD BE", "PAIRS"], &rows)?;
    output::line("")?;
    output::line(format!("persons: {} pairs would be joined, {} would come apart", found.joined, found.split))?;
    output::line("")?;
    let samples: Vec<Vec<String>> = found
        .changes
        .iter()
        .flat_map(|((was, is), change)| change.samples.iter().map(move |sample| (was, is, sample)))
        .map(|(was, is, sample)| {
            let [one, other] = &sample.records;
            let [before, after] = sample.probabilities.map(|probability| evidence::percent(&probability.into()));
            let change = format!("{} to {}", was.name(), is.name());
            vec![change, one.to_string(), other.to_string(), before, after]
        })
        .collect();
    output::table(&["SAMPLE", "RECORD", "AND", "WAS", "WOULD BE"], &samples)?;
    Ok(Verdict::Fine)
}

fn compared_document(before: &Model, after: &Model, found: &Differences) -> Value {
    let changes: Vec<Value> = found
        .changes
        .iter()
        .map(|((was, is), change)| {
            let samples: Vec<Value> = change
                .samples
                .iter()
                .map(|sample| {
                    let records = sample.records.each_ref().map(ToString::to_string);
                    json!({"records": records, "probabilities": sample.probabilities})
                })
                .collect();
            json!({"was": was.name(), "would_be": is.name(), "pairs": change.pairs, "samples": samples})
        })
        .collect();
    json!({
        "models": [before.version, after.version],
        "records": found.records,
        "pairs": found.pairs,
        "changes": changes,
        "persons_joined": found.joined,
        "persons_split": found.split,
    })
}

fn rescore(config: &Config, limit: Option<u64>, as_json: bool) -> anyhow::Result<Verdict> {
    let store = existing_store(config)?;
    let (looked_at, Rescored { opened, unchanged }, is_whole) = ask(config, &store, limit.unwrap_or(u64::MAX))?;
    let version = &config.model.version;
    if as_json {
        output::json(
            &json!({"model": version, "records": looked_at, "unchanged": unchanged, "opened": opened, "complete": is_whole}),
        )?;
    } else {
        output::line(format!("{version}: {looked_at} records looked at, {opened} new cases for review, nobody moved"))?;
        if unchanged > 0 {
            output::line(format!(
                "{unchanged} of them were judged by {version} before: nothing is asked anew (a file with other weights needs another `version`)"
            ))?;
        }
        if !is_whole {
            output::line("not all records were looked at: the same command goes on")?;
        }
    }
    Ok(Verdict::Fine)
}

/// Looks at all records in the order in which they came, until `limit` cases are new; gives how many of both, and whether it was all.
fn ask(config: &Config, store: &Store, limit: u64) -> anyhow::Result<(u64, Rescored, bool)> {
    let site = pipeline_site(config);
    let (mut looked_at, mut done, mut after) = (0, Rescored::default(), 0);
    loop {
        let ids: Vec<i64> =
            store.read(|reader| records::links(reader, after, STEP))?.into_iter().map(|row| row.record).collect();
        let Some(last) = ids.last().copied() else { return Ok((looked_at, done, true)) };
        if done.opened >= limit {
            return Ok((looked_at, done, false));
        }
        (after, looked_at) = (last, looked_at + ids.len() as u64);
        let site = Arc::clone(&site);
        let step = store.submit_blocking(move |transaction| pipeline::rescore(transaction, &site, &ids, now()))?;
        done.opened += step.opened;
        done.unchanged += step.unchanged;
        std::thread::sleep(PAUSE);
    }
}
