//! How many mistakes in a mapping are found: one is planted in a line of the files that ship, and `heyi check` reports it at that line,
//! or a case beside the mapping does (`heyi mapping test`), or it makes no difference to any message of the fixtures, or it is missed.
//!
//! A run takes a sample, always the same; `HEYI_MISTAKES=all` plants every one, `HEYI_MISTAKES=3` every third,
//! `HEYI_MISTAKES=mappings/hl7v2.toml:122` all of a line, which are shown and no more. With `--nocapture` each kind's share is shown, and what no check reports. The whole counts each end apart: what makes no difference is another way to say the same,
//! or a field that no fixture has.

#![allow(clippy::panic, clippy::unwrap_used, reason = "all of this file is tests")]

mod triggers;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use heyi::diagnostic::Diagnostic;
use heyi::hl7v2::{CharsetSetting, batch};
use heyi::mapping::{Mapping, case};
use jiff::tz::TimeZone;
use serde_json::Value;
use triggers::{COURSE, of_trigger};

/// Every so many mistakes are planted in a usual run.
const SAMPLE: usize = 199;
/// Bounds in percent, of all kinds together, from which no sample strays so far: what `heyi check` reports, what it or a case reports.
const LEAST_REPORTED: usize = 65;
const LEAST_FOUND: usize = 85;
/// Mappings that ship, and the folders of messages whose result must not change. Those in the first are its cases.
const MAPPINGS: &[(&str, &[&str])] = &[
    ("mappings/hl7v2.toml", &["fixtures/hl7v2", "fixtures/his", "fixtures/lis"]),
    ("mappings/his.toml", &["fixtures/his", "fixtures/hospital-day"]),
    ("mappings/lis.toml", &["fixtures/lis", "fixtures/hospital-day"]),
    ("mappings/ris.toml", &["fixtures/ris"]),
    ("mappings/emr-v2.toml", &["fixtures/emr-v2"]),
    ("mappings/fhir-r4.toml", &["fixtures/fhir-r4"]),
    ("mappings/emr.toml", &["fixtures/emr"]),
];
/// Those whose paths are FHIRPath.
const FHIR: &[&str] = &["mappings/fhir-r4.toml", "mappings/emr.toml"];

/// Mistakes that make another mapping, as sound as the one that was meant: only a case can tell. They count for the share of all.
const MEANINGS: &[&str] = &[
    "key removed",
    "line missing",
    "row missing",
    "other operator",
    "code with a character missing",
    "source with a character missing",
    "target with a character missing",
    "target with a character more",
    "value with a character missing",
];

/// One mistake: its kind, the line that it is in (from 1), and the whole text with it.
struct Mistake {
    kind: &'static str,
    line: usize,
    text: String,
}

/// A mapping that ships, messages for it, and what they say.
struct Before {
    name: &'static str,
    /// Its files: itself, its base, tables.
    files: BTreeSet<String>,
    messages: Vec<Vec<u8>>,
    /// How many of them are cases, whose result a test of the mapping expects.
    cases: usize,
    outcomes: Vec<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// A problem at its line.
    Reported,
    /// Problems, at other lines only.
    Elsewhere,
    /// No problem, but a case beside the mapping (`heyi mapping test`) says something else.
    ByCase,
    /// No problem, and no message says anything else.
    Harmless,
    Missed,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All mapping files and tables by their names.
fn shipped() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for folder in ["mappings", "mappings/tables"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml" || extension == "csv") {
                let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
                files.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

fn messages(folder: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let is_of_resources = FHIR.iter().any(|name| folder == name.replace("mappings", "fixtures").replace(".toml", ""));
    let is_case = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".hl7") || (is_of_resources && name.ends_with(".json") && !name.ends_with(".expected.json"))
    };
    files
        .into_iter()
        .filter(|path| is_case(path))
        .flat_map(|path| {
            let bytes = std::fs::read(path).unwrap();
            match is_of_resources {
                true => vec![bytes],
                false => batch::split(&bytes).messages.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>(),
            }
        })
        .collect()
}

fn load(name: &str, files: &BTreeMap<String, String>) -> Result<Mapping, Vec<Diagnostic>> {
    Mapping::load(name, &|name| files.get(name).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
}

/// The files that a mapping is made of.
fn files_of(mapping: &str, files: &BTreeMap<String, String>) -> BTreeSet<String> {
    let read = RefCell::new(BTreeSet::new());
    let loaded = Mapping::load(mapping, &|name| {
        read.borrow_mut().insert(name.to_owned());
        files.get(name).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    });
    assert!(loaded.is_ok(), "{mapping}");
    read.into_inner()
}

/// What every message says by a mapping.
fn outcomes(mapping: &Mapping, messages: &[Vec<u8>]) -> impl Iterator<Item = Value> {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    messages.iter().map(move |raw| case::outcome(mapping, raw, &CharsetSetting::Auto, &zone))
}

/// Where something stands in a line.
fn places(line: &str, wanted: &str) -> Vec<usize> {
    line.match_indices(wanted).map(|(position, _)| position).collect()
}

/// Positions (start, end) of what `is_part` accepts, as long as it goes.
fn runs(line: &str, is_part: impl Fn(char) -> bool) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = None;
    for (position, character) in line.char_indices().chain([(line.len(), '\n')]) {
        match (start, is_part(character)) {
            (None, true) => start = Some(position),
            (Some(from), false) => {
                found.push((from, position));
                start = None;
            }
            _ => {}
        }
    }
    found
}

fn replaced(line: &str, start: usize, end: usize, with: &str) -> String {
    format!("{}{with}{}", &line[..start], &line[end..])
}

/// The line without its comment.
fn code_of(line: &str) -> &str {
    let mut quote = None;
    for (position, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') => return line[..position].trim_end(),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), character) if open == character => quote = None,
            _ => {}
        }
    }
    line.trim_end()
}

/// The line with the words of reasons and defaults blacked out, so that no path is seen in prose.
fn without_prose(line: &str) -> String {
    let mut plain = line.to_owned();
    let prose = ["reason = \"", "default = \""]
        .into_iter()
        .flat_map(|key| places(line, key).into_iter().map(move |start| start + key.len()));
    for start in prose {
        let end = line[start..].find('"').map_or(line.len(), |end| start + end);
        plain.replace_range(start..end, &"x".repeat(end - start));
    }
    plain
}

/// Paths of a line: where their segment, field and component stand.
fn paths(line: &str) -> Vec<(usize, Vec<(usize, usize)>)> {
    let is_start = |position: usize| {
        let before = line[..position].chars().next_back();
        let name = line.get(position..position + 4).unwrap_or_default();
        before.is_none_or(|before| !before.is_ascii_alphanumeric() && before != '-' && before != '=')
            && name.ends_with('-')
            && name[..3].chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit())
            && name.starts_with(|letter: char| letter.is_ascii_uppercase())
    };
    let starts = (0..line.len()).filter(|&position| line.is_char_boundary(position) && is_start(position));
    starts
        .map(|start| {
            let end = line[start + 4..].find(|letter: char| !letter.is_ascii_digit() && letter != '.');
            let end = end.map_or(line.len(), |end| start + 4 + end);
            let numbers = runs(&line[start + 4..end], |letter| letter.is_ascii_digit());
            (start, numbers.into_iter().map(|(from, to)| (start + 4 + from, start + 4 + to)).collect())
        })
        .collect()
}

/// Mistakes that change one line: kind and the line with it.
fn in_toml(line: &str) -> Vec<(&'static str, String)> {
    let code = without_prose(code_of(line));
    let code = code.as_str();
    let mut found = Vec::new();
    // Keys: what stands before " =".
    for (position, _) in code.match_indices(" = ").chain(code.match_indices("  = ")) {
        let before = code[..position].trim_end();
        let start =
            before.rfind(|letter: char| !letter.is_ascii_lowercase() && letter != '_').map_or(0, |before| before + 1);
        if before.len() - start > 2 && !code[..position].contains(" = \"") {
            found.push(("a character of a key is missing", replaced(line, start + 1, start + 2, "")));
        }
    }
    for (start, numbers) in paths(code) {
        found.push(("unknown segment", replaced(line, start, start + 1, "Q")));
        found.push((
            "segment in small letters",
            replaced(line, start, start + 3, &code[start..start + 3].to_lowercase()),
        ));
        found.push(("no hyphen", replaced(line, start + 3, start + 4, ".")));
        for (index, (from, to)) in numbers.iter().enumerate() {
            let kind =
                ["field beyond the segment", "component beyond the type", "subcomponent beyond the type"][index.min(2)];
            let number: usize = code[*from..*to].parse().unwrap();
            found.push((kind, replaced(line, *from, *to, &(number + 90).to_string())));
            found.push(("field number 0", replaced(line, *from, *to, "0")));
        }
    }
    for (key, kind) in [
        ("table = \"", "wrong table name"),
        ("as = \"", "wrong coercion"),
        ("on_unmapped = \"", "wrong on_unmapped"),
        ("on_null = \"", "wrong on_null"),
        ("required = \"", "wrong required"),
        ("extends = \"", "wrong file"),
        (".csv\"", "wrong file"),
    ] {
        for position in places(code, key) {
            let at = if key == ".csv\"" { position - 1 } else { position + key.len() };
            if code.len() > at + 1 {
                found.push((kind, replaced(line, at, at + 1, "")));
            }
        }
    }
    // A key with its text, out of an inline table.
    for key in ["table", "default", "as", "on_unmapped", "required", "when", "from", "reason"] {
        for position in places(code, &format!(", {key} = \"")) {
            let opened = position + key.len() + 6;
            if let Some(length) = code[opened..].find('"') {
                found.push(("key removed", replaced(line, position, opened + length + 1, "")));
            }
        }
    }
    for key in ["default = \"", "constant = \""] {
        for position in places(code, key) {
            let at = position + key.len();
            found.push(("value with a character missing", replaced(line, at, at + 1, "")));
        }
    }
    for position in places(code, "\"") {
        found.push(("quote missing", replaced(line, position, position + 1, "")));
    }
    for position in places(code, "'") {
        found.push(("inner quote missing", replaced(line, position, position + 1, "")));
    }
    for (start, end) in runs(code, |letter| letter.is_ascii_alphanumeric()) {
        let is_quoted = code[..start].ends_with('\'') && code[end..].starts_with('\'');
        if is_quoted && end - start > 1 {
            found.push(("code with a character missing", replaced(line, end - 1, end, "")));
        }
    }
    for mark in ["[", "]", "{", "}", "(", ")", ",", "="] {
        for position in places(code, mark) {
            found.push(("mark missing", replaced(line, position, position + 1, "")));
        }
    }
    for (operator, slip) in [
        (" = '", " == '"),
        (" in [", " im ["),
        (" and ", " adn "),
        (" or ", " ro "),
        (" not ", " nto "),
        (" is ", " si "),
    ] {
        for position in places(code, operator) {
            found.push(("misspelled operator", replaced(line, position, position + operator.len(), slip)));
        }
    }
    for (operator, other) in
        [(" and ", " or "), (" or ", " and "), (" = '", " != '"), (" not in ", " in "), ("not ", "")]
    {
        for position in places(code, operator) {
            found.push(("other operator", replaced(line, position, position + operator.len(), other)));
        }
    }
    for position in places(code, "[7=L]") {
        found.push(("predicate beyond the type", replaced(line, position + 1, position + 2, "77")));
        found.push(("predicate with an unknown code", replaced(line, position + 3, position + 4, "LQ")));
    }
    for position in places(code, "[*]") {
        found.push(("repetition that is none", replaced(line, position + 1, position + 2, "+")));
    }
    found
}

/// Mistakes in the FHIRPath of a line: names of elements, types and functions without one of their characters.
fn in_fhirpath(line: &str) -> Vec<(&'static str, String)> {
    let code = without_prose(code_of(line));
    let mut found = Vec::new();
    let Some(value) = code.find(" = ") else { return found };
    // The name of a block is the base's to choose: another one shows in the file of the site that means it.
    if code[..value].trim() == "block" {
        return found;
    }
    for (start, end) in runs(&code, |letter| letter.is_ascii_alphabetic()) {
        let (before, after) = (code[..start].chars().next_back(), code[end..].chars().next());
        // Between double quotes, and neither a code nor the name of a table or file.
        let is_in_path = start > value
            && code[..start].matches('"').count() % 2 == 1
            && code[..start].matches('\'').count().is_multiple_of(2)
            && !["table = \"", "as = \"", "on_unmapped = \"", "required = \"", "reason = \"", "on_null = \""]
                .iter()
                .any(|key| {
                    code[..start]
                        .trim_end_matches(|letter: char| letter.is_ascii_lowercase() || letter == '_')
                        .ends_with(key)
                });
        if is_in_path
            && end - start > 3
            && matches!(before, Some('.' | '(' | '"' | ' ' | '%'))
            && matches!(after, Some('.' | '(' | '"' | ' ' | ')'))
        {
            found.push(("name with a character missing", replaced(line, start + 1, start + 2, "")));
            found.push(("name with a character more", replaced(line, end, end, "q")));
        }
    }
    found
}

fn in_csv(line: &str) -> Vec<(&'static str, String)> {
    let mut found = vec![("opened quote", format!("\"{line}"))];
    for position in places(line, ",").into_iter().take(2) {
        found.push(("comma missing", replaced(line, position, position + 1, "")));
    }
    let mut parts = line.splitn(3, ',');
    let (source, target) = (parts.next().unwrap(), parts.next().unwrap_or_default());
    if let Some(last) = target.chars().next_back() {
        let end = source.len() + 1 + target.len();
        found.push(("target with a character missing", replaced(line, end - last.len_utf8(), end, "")));
        found.push(("target with a character more", replaced(line, end, end, "q")));
    }
    if let Some(last) = source.chars().next_back() {
        found.push((
            "source with a character missing",
            replaced(line, source.len() - last.len_utf8(), source.len(), ""),
        ));
    }
    found
}

/// Every mistake in a file. Comments and blank lines cannot hold one.
fn mistakes(name: &str, text: &str) -> Vec<Mistake> {
    let lines: Vec<&str> = text.lines().collect();
    let is_table = name.ends_with(".csv");
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut changed = if is_table { in_csv(line) } else { in_toml(line) };
        if FHIR.contains(&name) {
            changed.extend(in_fhirpath(line));
        }
        let mut plant = |kind: &'static str, replacement: &[&str]| {
            let mut all = lines.clone();
            all.splice(index..=index, replacement.iter().copied());
            found.push(Mistake { kind, line: index + 1, text: all.join("\n") + "\n" });
        };
        for (kind, changed) in &changed {
            plant(kind, &[changed]);
        }
        plant(if is_table { "row twice" } else { "line twice" }, &[line, line]);
        plant(if is_table { "row missing" } else { "line missing" }, &[]);
    }
    found
}

#[test]
fn a_mistake_in_a_mapping_is_reported_at_its_line_or_makes_no_difference() {
    let asked = std::env::var("HEYI_MISTAKES").ok();
    let (step, of_line) = match asked.as_deref() {
        Some("all") => (1, None),
        Some(place) if place.contains(':') => (1, Some(place)),
        Some(number) => (number.parse().unwrap(), None),
        None => (SAMPLE, None),
    };
    let files = shipped();
    let before: Vec<Before> = MAPPINGS
        .iter()
        .map(|(name, folders)| {
            let mut cases = messages(folders[0]);
            if *name == "mappings/hl7v2.toml" {
                let triggers = COURSE.iter().flat_map(|(_, triggers)| triggers.split_whitespace());
                cases.extend(triggers.map(|trigger| of_trigger(trigger).into_bytes()));
            }
            let count = cases.len();
            let messages: Vec<Vec<u8>> =
                cases.into_iter().chain(folders[1..].iter().flat_map(|folder| messages(folder))).collect();
            let mapping = load(name, &files).unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
            let outcomes = outcomes(&mapping, &messages).collect();
            Before { name, files: files_of(name, &files), messages, cases: count, outcomes }
        })
        .collect();
    let mut ends: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut missed = Vec::new();
    let (mut totals, mut slips) = (BTreeMap::<&str, usize>::new(), Vec::new());
    let mut number = 0;
    for (name, text) in &files {
        for mistake in mistakes(name, text) {
            number += 1;
            if number % step != 0 || of_line.is_some_and(|place| place != format!("{name}:{}", mistake.line)) {
                continue;
            }
            let mut changed = files.clone();
            changed.insert(name.clone(), mistake.text.clone());
            let end = end_of(name, &mistake, &changed, &before);
            let column = match end {
                End::Reported => "reported",
                End::Elsewhere => "elsewhere",
                End::ByCase => "by a case",
                End::Harmless => "harmless",
                End::Missed => "missed",
            };
            *ends.entry(mistake.kind).or_default().entry(column).or_default() += 1;
            *totals.entry(column).or_default() += 1;
            if matches!(end, End::Elsewhere | End::ByCase | End::Missed) {
                let line = mistake.text.lines().nth(mistake.line - 1).unwrap_or_default();
                let told = format!("{end:?}: {name}:{}: {}: {line}", mistake.line, mistake.kind);
                if !MEANINGS.contains(&mistake.kind) {
                    slips.push(told.clone());
                }
                missed.push(told);
            }
        }
    }
    for (kind, ends) in &ends {
        println!("{kind:34} {ends:?}");
    }
    println!("{}", missed.join("\n"));
    let planted: usize = totals.values().sum();
    for (column, count) in &totals {
        println!("{column}: {count} of {planted}, {:.2} %", *count as f64 * 100.0 / planted as f64);
    }
    let percent =
        |columns: &[&str]| columns.iter().filter_map(|column| totals.get(column)).sum::<usize>() * 100 / planted;
    assert!(slips.is_empty(), "{slips:#?}");
    if of_line.is_some() {
        return;
    }
    assert!(planted > 60, "{planted}");
    assert_eq!(totals.get("missed"), None, "{totals:?}");
    assert!(percent(&["reported"]) >= LEAST_REPORTED, "{totals:?}");
    assert!(percent(&["reported", "elsewhere", "by a case"]) >= LEAST_FOUND, "{totals:?}");
}

fn end_of(name: &str, mistake: &Mistake, files: &BTreeMap<String, String>, before: &[Before]) -> End {
    // A line that is missing is at no line: any problem points to it. Of what is there twice, either may be the one too many; without a
    // bracket or comma two lines are one, and what is not closed is told where it opens.
    let points_to_it = |problem: &Diagnostic| {
        let (line, text) = (problem.line, problem.text.as_str());
        problem.file == *name
            && match mistake.kind {
                "line missing" | "row missing" => true,
                "line twice" | "row twice" => line == mistake.line || line == mistake.line + 1,
                "mark missing" | "quote missing" if text.ends_with("is not closed") => line <= mistake.line,
                "mark missing" => line.abs_diff(mistake.line) <= 1,
                _ => line == mistake.line || text.ends_with(&format!("in line {}", mistake.line)),
            }
    };
    let mut loaded = Vec::new();
    let mut has_problems = false;
    let concerned: Vec<&Before> = before.iter().filter(|mapping| mapping.files.contains(name)).collect();
    for Before { name: mapping, .. } in &concerned {
        let result = load(mapping, files);
        let problems = match &result {
            Ok(mapping) => mapping.warnings(),
            Err(problems) => problems,
        };
        if problems.iter().any(points_to_it) {
            return End::Reported;
        }
        has_problems |= !problems.is_empty();
        loaded.push(result);
    }
    if has_problems {
        return End::Elsewhere;
    }
    let mut end = End::Harmless;
    for (Before { messages, cases, outcomes: expected, .. }, loaded) in concerned.iter().zip(&loaded) {
        let Ok(mapping) = loaded else { return End::Missed };
        match outcomes(mapping, messages).zip(expected).position(|(found, expected)| found != *expected) {
            Some(message) if message < *cases => return End::ByCase,
            Some(_) => end = End::Missed,
            None => {}
        }
    }
    end
}
