//! `heyi mapping test`: the cases beside the mappings.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::super::{Verdict, WrongUsage, output};
use super::mapping;
use crate::config::{Config, default_zone};
use crate::hl7v2::CharsetSetting;
use crate::mapping::case;

#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// Mappings by name (`his` is mappings/his.toml) or file; without any, all that have cases.
    #[arg(value_name = "MAPPING")]
    mappings: Vec<String>,
    /// Write what is found as what is expected, and read the difference before keeping it.
    #[arg(long)]
    accept: bool,
    /// Where the cases are: a directory for each mapping.
    #[arg(long, value_name = "DIR", default_value = "fixtures")]
    fixtures: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Differences of one case that are shown.
const SHOWN: usize = 20;

/// What became of a case.
struct Case {
    /// `his/a01-admission`.
    name: String,
    result: CaseResult,
}

enum CaseResult {
    Holds,
    Fails(Vec<String>),
    NothingExpected,
    Accepted,
}

impl CaseResult {
    fn name(&self) -> &'static str {
        match self {
            Self::Holds => "passed",
            Self::Fails(_) => "failed",
            Self::NothingExpected => "nothing_expected",
            Self::Accepted => "accepted",
        }
    }

    fn is_fine(&self) -> bool {
        matches!(self, Self::Holds | Self::Accepted)
    }
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let fixtures = config.root.join(&arguments.fixtures);
    let chosen = if arguments.mappings.is_empty() {
        with_cases(config, &fixtures)?
    } else {
        arguments.mappings.iter().map(|name| named(config, name)).collect::<Result<Vec<_>, _>>()?
    };
    let mut cases = Vec::new();
    for file in chosen {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mapping = mapping(config, &file)?;
        let (charset, zone) = surroundings(config, &file);
        let before = cases.len();
        for input in inputs(&fixtures.join(&name))? {
            let found = case::outcome(&mapping, &std::fs::read(&input)?, &charset, &zone);
            cases.push(judge(&name, &input, &found, arguments.accept)?);
        }
        if cases.len() == before {
            bail!("{} holds no case (<case>.hl7, <case>.json) for {name}", fixtures.join(&name).display());
        }
    }
    if arguments.json {
        output::json(&document(&cases))?;
    } else {
        print(&cases)?;
    }
    Ok(if cases.iter().all(|case| case.result.is_fine()) { Verdict::Fine } else { Verdict::Wrong })
}

/// The mappings that have a directory of cases.
fn with_cases(config: &Config, fixtures: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(fixtures).with_context(|| fixtures.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let found: Vec<PathBuf> =
        names.iter().filter_map(|name| named(config, name).ok()).filter(|file| file.is_file()).collect();
    // What keeps its expectations apart is a fixture of another kind, such as the hospital's day.
    let has_cases = |name: &&String| fixtures.join(name).is_dir() && !fixtures.join(name).join("expected").is_dir();
    for name in names.iter().filter(has_cases).filter(|name| named(config, name).is_err()) {
        tracing::warn!("{} is called after no mapping: its cases are not tried", fixtures.join(name).display());
    }
    if found.is_empty() {
        bail!("no directory of {} is called after a mapping", fixtures.display());
    }
    Ok(found)
}

/// A mapping by the name of its file, as a source has it or in `mappings/`, or the file itself.
fn named(config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    if name.ends_with(".toml") {
        return std::path::absolute(name).with_context(|| name.to_owned());
    }
    let configured = config.sources.iter().map(|source| source.mapping.clone());
    let beside = std::iter::once(config.root.join("mappings").join(format!("{name}.toml")));
    let mut files = configured.chain(beside).filter(|file| file.file_stem().is_some_and(|stem| stem == name));
    files
        .find(|file| file.is_file())
        .ok_or_else(|| WrongUsage(format!("there is no mapping {name}: mappings/{name}.toml")).into())
}

/// How the messages of a mapping are read: as its first source does.
fn surroundings(config: &Config, file: &Path) -> (CharsetSetting, TimeZone) {
    match config.sources.iter().find(|source| source.mapping == file) {
        Some(source) => (source.charset, source.time_zone.clone()),
        None => (CharsetSetting::Auto, default_zone()),
    }
}

fn inputs(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let is_case = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".hl7") || (name.ends_with(".json") && !name.ends_with(".expected.json"))
    };
    files.retain(is_case);
    files.sort();
    Ok(files)
}

fn judge(mapping: &str, input: &Path, found: &Value, accept: bool) -> anyhow::Result<Case> {
    let name = format!("{mapping}/{}", input.file_stem().unwrap_or_default().to_string_lossy());
    let file = input.with_extension("expected.json");
    let expected: Option<Value> = match std::fs::read(&file) {
        Ok(text) => Some(serde_json::from_slice(&text).with_context(|| file.display().to_string())?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    };
    let result = match expected {
        Some(expected) if expected == *found => CaseResult::Holds,
        _ if accept => {
            std::fs::write(&file, format!("{found:#}\n")).with_context(|| file.display().to_string())?;
            CaseResult::Accepted
        }
        Some(expected) => CaseResult::Fails(case::differences(&expected, found)),
        None => CaseResult::NothingExpected,
    };
    Ok(Case { name, result })
}

fn document(cases: &[Case]) -> Value {
    let shown = cases.iter().map(|Case { name, result }| {
        let mut document = json!({"case": name, "result": result.name()});
        if let CaseResult::Fails(differences) = result {
            document["differences"] = json!(differences);
        }
        document
    });
    json!({"cases": shown.collect::<Vec<_>>()})
}

fn print(cases: &[Case]) -> anyhow::Result<()> {
    for Case { name, result } in cases {
        match result {
            CaseResult::Holds => {}
            CaseResult::Accepted => output::line(format!("accepted  {name}"))?,
            CaseResult::NothingExpected => {
                output::line(format!(
                    "failed    {name}: nothing is expected of it yet; --accept writes what is found"
                ))?;
            }
            CaseResult::Fails(differences) => {
                output::line(format!("failed    {name}"))?;
                for difference in differences.iter().take(SHOWN) {
                    output::line(format!("          {difference}"))?;
                }
                if differences.len() > SHOWN {
                    output::line(format!("          … and {} more", differences.len() - SHOWN))?;
                }
            }
        }
    }
    let count = |wanted: &str| cases.iter().filter(|case| case.result.name() == wanted).count();
    let failed = count("failed") + count("nothing_expected");
    output::line(format!("{} passed, {failed} failed, {} accepted", count("passed"), count("accepted")))
}
