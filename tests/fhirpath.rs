//! FHIRPath beside HL7's test suite. `HEYI_FHIRPATH_SUITE=DIR cargo test --test fhirpath -- --nocapture` reads in DIR
//! `tests-fhir-r4.xml` (repository FHIR/fhir-test-cases, folder r4/fhirpath) and its examples as JSON (repository
//! HL7/fhirpath.js, folder test/resources/r4). Without it the test says that it skipped.
//!
//! What is not supported must be refused when it is compiled. What is accepted must yield what the suite says, but for the tests
//! in [`DIFFERENT`], each with its reason.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of this is tests"
)]

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use heyi::fhir::{Path, Scope, Types, Unit};

/// Tests whose result differs, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("testDollarOrderNotAllowed", "children have the order of their names here"),
    ("testQuantity1", UNITS),
    ("testQuantity2", UNITS),
    ("testQuantity3", UNITS),
    ("testQuantity4", UNITS),
    ("testNEquality24", UNITS),
    ("testPlusDate19", "a fraction of a second is added as it is"),
    ("testFHIRPathAsFunction11", SUBTYPES),
    ("testFHIRPathAsFunction16", SUBTYPES),
];
const UNITS: &str = "units are compared and not converted";
const SUBTYPES: &str =
    "`as` and `ofType` take what is made from a type too, as the text of FHIRPath says (a code is a string)";

#[derive(Debug)]
struct Test {
    name: String,
    input: String,
    expression: String,
    is_invalid: bool,
    is_predicate: bool,
    /// Type and text.
    outputs: Vec<(String, String)>,
}

/// Attribute of a tag.
fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    tag[start..].split('"').next()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

/// Tags and texts of an element, without those in comments.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |kept, part| kept + part.split_once("-->").map_or("", |(_, after)| after))
}

fn elements<'t>(text: &'t str, name: &str) -> Vec<(&'t str, &'t str)> {
    let open = format!("<{name} ");
    let (plain, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = [rest.find(&open), rest.find(&plain)].into_iter().flatten().min() {
        let tag_end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start..tag_end];
        if tag.ends_with('/') {
            found.push((tag, ""));
            rest = &rest[tag_end + 1..];
            continue;
        }
        let end = tag_end + rest[tag_end..].find(&close).unwrap();
        found.push((tag, &rest[tag_end + 1..end]));
        rest = &rest[end + close.len()..];
    }
    found
}

fn tests(text: &str) -> Vec<Test> {
    let text = without_comments(text);
    let read = |(tag, content): (&str, &str)| {
        let (expression_tag, expression) = elements(content, "expression")[0];
        let outputs = elements(content, "output").into_iter();
        Test {
            name: attribute(tag, "name").unwrap_or_default().to_owned(),
            input: attribute(tag, "inputfile").unwrap_or_default().to_owned(),
            expression: unescaped(expression),
            is_invalid: attribute(expression_tag, "invalid").is_some_and(|kind| kind != "false"),
            is_predicate: attribute(tag, "predicate") == Some("true"),
            outputs: outputs
                .map(|(tag, text)| (attribute(tag, "type").unwrap_or_default().to_owned(), unescaped(text)))
                .collect(),
        }
    };
    elements(&text, "test").into_iter().map(read).collect()
}

enum Outcome {
    Passed,
    /// Refused when it was compiled, or while it was evaluated.
    Refused(String),
    Wrong(String),
}

fn run(test: &Test, unit: &Unit) -> Outcome {
    let types = Types::resource(unit.focal().type_name()).expect("the examples are of known types");
    let path = match Path::parse_in(&test.expression, &types) {
        Ok(path) => path,
        Err(_) if test.is_invalid => return Outcome::Passed,
        Err(error) => return Outcome::Refused(error.problem),
    };
    let scope = Scope::focal(unit);
    let nodes = match path.evaluate(&scope) {
        Ok(nodes) => nodes,
        Err(_) if test.is_invalid => return Outcome::Passed,
        Err(fault) => return Outcome::Refused(fault.problem),
    };
    let mut found: Vec<(String, String)> = nodes
        .iter()
        .map(|node| (node.type_name().unwrap_or("?").to_owned(), node.text().unwrap_or_default().into_owned()))
        .collect();
    if test.is_invalid {
        return Outcome::Wrong(format!("an error was expected, not {found:?}"));
    }
    if test.is_predicate && !matches!(found.as_slice(), [(kind, _)] if kind.to_lowercase().ends_with("boolean")) {
        found = vec![("boolean".to_owned(), (!found.is_empty()).to_string())];
    }
    let same = |(found, expected): (&(String, String), &(String, String))| {
        let kind = found.0.trim_start_matches("System.").to_lowercase();
        let wanted = expected.0.to_lowercase();
        let is_kind =
            kind == wanted || wanted.is_empty() || kind == "?" || (wanted == "string" && !kind.contains("date"));
        let text = expected.1.trim_start_matches('@').trim_start_matches('T');
        // Decimals compare by value, and elements by their type alone.
        let is_text = found.1 == text
            || text.is_empty()
            || expected.1 == found.1
            || matches!((found.1.parse::<f64>(), text.parse::<f64>()), (Ok(left), Ok(right)) if left == right);
        is_kind && is_text
    };
    if found.len() == test.outputs.len() && found.iter().zip(&test.outputs).all(same) {
        Outcome::Passed
    } else {
        Outcome::Wrong(format!("{found:?} instead of {:?}", test.outputs))
    }
}

#[test]
fn what_is_accepted_yields_what_the_official_suite_says() {
    let Ok(folder) = std::env::var("HEYI_FHIRPATH_SUITE") else {
        println!("skipped: HEYI_FHIRPATH_SUITE names no folder with tests-fhir-r4.xml and its examples as JSON");
        return;
    };
    let folder = FilePath::new(&folder);
    let suite = std::fs::read_to_string(folder.join("tests-fhir-r4.xml")).unwrap();
    let tests = tests(&suite);
    assert!(tests.len() > 800, "the suite was read: {} tests", tests.len());
    let mut units: BTreeMap<String, Unit> = BTreeMap::new();
    let (mut passed, mut explained, mut wrong) = (0, 0, Vec::new());
    let mut refused: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for test in &tests {
        let name = match test.input.rsplit_once('.') {
            Some((name, _)) => name.to_owned(),
            None => "patient-example".to_owned(),
        };
        let unit = units.entry(name.clone()).or_insert_with(|| {
            Unit::parse(
                &std::fs::read(folder.join(format!("{name}.json"))).unwrap_or_else(|error| panic!("{name}: {error}")),
            )
            .unwrap()
        });
        match run(test, unit) {
            Outcome::Passed => passed += 1,
            Outcome::Refused(reason) => refused.entry(reason).or_default().push(&test.name),
            Outcome::Wrong(_) if DIFFERENT.iter().any(|(name, _)| *name == test.name) => explained += 1,
            Outcome::Wrong(how) => wrong.push(format!("{}: {} gives {how}", test.name, test.expression.trim())),
        }
    }
    let refusals: usize = refused.values().map(Vec::len).sum();
    println!("{} tests: {passed} pass, {refusals} are refused, {explained} differ for a reason", tests.len());
    for (reason, names) in &refused {
        println!("refused: {reason}: {}", names.join(" "));
    }
    for (name, reason) in DIFFERENT {
        println!("differs: {name}: {reason}");
    }
    assert!(wrong.is_empty(), "{} are wrong\n{}", wrong.len(), wrong.join("\n"));
}
