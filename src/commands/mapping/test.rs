//! `heyi mapping test`: the cases beside the mappings.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::super::{Verdict, WrongUsage, output};
use super::mapping;
use crate::config::{Config, default_zone};
use crate::hl7v2::CharsetSetting;
use crate::mapping::{Format, Mapping, case};

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
    /// What was found is a rejection that nobody expects: --accept does not write it.
    NotAccepted(String),
    /// The case or what is expected of it is no file that can be used.
    Broken(String),
}

impl CaseResult {
    fn name(&self) -> &'static str {
        match self {
            Self::Holds => "passed",
            Self::Fails(_) => "failed",
            Self::NothingExpected => "nothing_expected",
            Self::Accepted => "accepted",
            Self::NotAccepted(_) => "not_accepted",
            Self::Broken(_) => "broken",
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
        let directory = fixtures.join(&name);
        let Files { inputs, others, lonely } = files(&directory, mapping.format())?;
        for file in others {
            output::complain(&format!(
                "{}: no case of this mapping, which reads {}",
                file.display(),
                read_by(&mapping)
            ));
        }
        if inputs.is_empty() {
            let text = format!("{} holds no case of {name}: {}", directory.display(), read_by(&mapping));
            return Err(WrongUsage(text).into());
        }
        for input in inputs {
            let result = match std::fs::read(&input) {
                Ok(raw) => judge(&input, &case::outcome(&mapping, &raw, &charset, &zone), arguments.accept),
                Err(error) => CaseResult::Broken(format!("{}: {error}", input.display())),
            };
            cases.push(Case { name: case_name(&name, &input), result });
        }
        for expected in lonely {
            let text = format!("{}: there is no case of this name beside it", expected.display());
            cases.push(Case { name: case_name(&name, &expected), result: CaseResult::Broken(text) });
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
    let entries =
        std::fs::read_dir(fixtures).map_err(|error| WrongUsage(format!("{}: {error}", fixtures.display())))?;
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
        let text = format!("no directory of {} is called after a mapping", fixtures.display());
        return Err(WrongUsage(text).into());
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

/// The files of a mapping's cases.
#[derive(Default)]
struct Files {
    /// The cases.
    inputs: Vec<PathBuf>,
    /// Files for mappings of the other format.
    others: Vec<PathBuf>,
    /// What is expected of cases that are not there.
    lonely: Vec<PathBuf>,
}

/// The end of the names of what is expected.
const EXPECTED: &str = ".expected.json";

fn files(directory: &Path, format: Format) -> anyhow::Result<Files> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(WrongUsage(format!("there are no cases: no directory {}", directory.display())).into());
        }
        Err(error) => return Err(error).with_context(|| directory.display().to_string()),
    };
    let mut all = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    all.sort();
    let mut files = Files::default();
    for file in all.iter().filter(|file| file.is_file()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let ending = match () {
            () if name.ends_with(EXPECTED) => {
                let case = name.strip_suffix(EXPECTED).unwrap_or_default();
                let has_case =
                    [".hl7", ".json"].iter().any(|end| all.contains(&directory.join(format!("{case}{end}"))));
                if !has_case {
                    files.lonely.push(file.clone());
                }
                continue;
            }
            () if name.ends_with(".hl7") => Format::Hl7v2,
            () if name.ends_with(".json") => Format::Fhir,
            () => continue,
        };
        if ending == format { &mut files.inputs } else { &mut files.others }.push(file.clone());
    }
    Ok(files)
}

fn read_by(mapping: &Mapping) -> &'static str {
    match mapping.format() {
        Format::Hl7v2 => "<case>.hl7",
        Format::Fhir => "<case>.json",
    }
}

/// `his/a01-admission`
fn case_name(mapping: &str, file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let ends = [EXPECTED, ".hl7", ".json"];
    let stem = ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    format!("{mapping}/{stem}")
}

fn judge(input: &Path, found: &Value, accept: bool) -> CaseResult {
    let file = input.with_extension("expected.json");
    let broken = |problem: &dyn std::fmt::Display| CaseResult::Broken(format!("{}: {problem}", file.display()));
    let expected: Option<Value> = match std::fs::read(&file) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(expected) => Some(expected),
            Err(error) => return broken(&error),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return broken(&error),
    };
    match (expected, case::rejection(found)) {
        (Some(expected), _) if expected == *found => CaseResult::Holds,
        // Only who wrote that it is to be rejected meant it.
        (expected, Some(reason)) if accept && expected.as_ref().and_then(case::rejection).is_none() => {
            CaseResult::NotAccepted(reason)
        }
        _ if accept => match std::fs::write(&file, format!("{found:#}\n")) {
            Ok(()) => CaseResult::Accepted,
            Err(error) => broken(&error),
        },
        (Some(expected), _) => CaseResult::Fails(case::differences(&expected, found)),
        (None, Some(reason)) => CaseResult::Broken(reason),
        (None, None) => CaseResult::NothingExpected,
    }
}

fn document(cases: &[Case]) -> Value {
    let shown = cases.iter().map(|Case { name, result }| {
        let mut document = json!({"case": name, "result": result.name()});
        if let CaseResult::Fails(differences) = result {
            document["differences"] = json!(differences);
        }
        if let CaseResult::Broken(reason) | CaseResult::NotAccepted(reason) = result {
            document["reason"] = json!(reason);
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
            CaseResult::Broken(reason) => output::line(format!("failed    {name}: {reason}"))?,
            CaseResult::NotAccepted(reason) => {
                output::line(format!("failed    {name}: {reason}"))?;
                output::line(
                    "          --accept writes no rejection that nobody expects; is it meant, write it yourself:",
                )?;
                output::line("          {\"error\": {}}, and --accept fills it in")?;
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
    let failed = cases.iter().filter(|case| !case.result.is_fine()).count();
    output::line(format!("{} passed, {failed} failed, {} accepted", count("passed"), count("accepted")))
}
