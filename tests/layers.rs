//! The layers of `ARCHITECTURE.md`, enforced: who may import whom, and where each third-party crate lives.

// A test that cannot read the sources has failed.
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module and the modules of this crate that it may name. Top modules may name everything below them.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("record", &[]),
    ("audit", &[]),
    ("diagnostic", &[]),
    ("document", &["diagnostic"]),
    ("hl7v2", &["record"]),
    ("feed", &["record"]),
    ("state", &["record", "feed"]),
    ("identity", &["record", "feed"]),
    ("fhir", &["record", "diagnostic"]),
    ("mapping", &["fhir", "hl7v2", "record", "diagnostic", "document"]),
    ("policy", &["record", "feed", "diagnostic", "document"]),
    ("store", &["audit", "record", "feed", "identity", "state", "policy"]),
    ("view", &["record", "feed", "identity", "state", "store"]),
    ("disclosure", &["record", "feed", "state", "policy", "store", "view"]),
    ("outgoing", &["record", "feed", "policy", "store", "view", "disclosure"]),
    (
        "pipeline",
        &["audit", "policy", "record", "fhir", "hl7v2", "feed", "state", "identity", "mapping", "store", "view"],
    ),
    ("telemetry", &[]),
    ("tls", &[]),
    ("web", &["tls"]),
    ("push", &["audit", "feed", "outgoing", "disclosure", "store", "tls", "web"]),
    ("source", &["web", "hl7v2", "record", "tls", "telemetry"]),
    (
        "http",
        &[
            "audit",
            "record",
            "feed",
            "identity",
            "state",
            "policy",
            "store",
            "view",
            "disclosure",
            "outgoing",
            "tls",
            "telemetry",
        ],
    ),
    ("config", TOP),
    ("app", TOP),
    ("commands", TOP),
    ("lib", &[]),
    ("main", &["heyi"]),
];

const TOP: &[&str] = &[
    "audit",
    "record",
    "diagnostic",
    "document",
    "hl7v2",
    "feed",
    "state",
    "identity",
    "fhir",
    "mapping",
    "policy",
    "store",
    "view",
    "disclosure",
    "outgoing",
    "pipeline",
    "telemetry",
    "tls",
    "web",
    "push",
    "source",
    "http",
    "config",
    "app",
    "commands",
];

/// A third-party crate and the only places that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("hl7_parser", &["hl7v2/message.rs"]),
    ("encoding_rs", &["hl7v2/charset.rs"]),
    ("rusqlite", &["store/"]),
    ("lz4_flex", &["store/"]),
    ("axum", &["http/", "commands/demo/emr.rs", "commands/rehearsal/server"]),
    ("hyper", &["http/", "commands/rehearsal/server"]),
    ("hyper_util", &["http/"]),
    ("reqwest", &["commands/demo", "commands/rehearsal/", "source/fhir/", "push/", "web.rs"]),
    ("clap", &["commands/", "main.rs"]),
    ("pinyin", &["identity/name.rs"]),
    (
        "unicode_normalization",
        &["identity/name.rs", "identity/number.rs", "identity/contact.rs", "record/resident_id.rs"],
    ),
    ("toml", &["document.rs", "mapping/file.rs", "mapping/file/"]),
    ("annotate_snippets", &["diagnostic.rs"]),
    ("strsim", &["diagnostic.rs", "identity/compare/edits.rs"]),
    ("csv", &["mapping/table/", "commands/"]),
    ("prometheus_client", &["telemetry.rs", "telemetry/"]),
    ("tracing_subscriber", &["telemetry.rs"]),
    ("ipnet", &["source/", "config", "push/target.rs"]),
    ("subtle", &["http/tokens.rs"]),
    // Also as the provider of rustls.
    (
        "aws_lc_rs",
        &[
            "audit/seal.rs",
            "policy/pseudonym.rs",
            "source/fhir/assertion.rs",
            "push/sign.rs",
            "tls.rs",
            "commands/demo/mod.rs",
            "commands/rehearsal/mod.rs",
        ],
    ),
    ("base64", &["source/fhir/", "push/sign.rs"]),
    ("regex_lite", &["fhir/path/compile.rs"]),
];

/// Modules without a clock, files, sockets, threads or randomness.
const PURE: &[&str] =
    &["record", "audit", "fhir", "hl7v2", "feed", "state", "identity", "mapping", "policy", "document", "diagnostic"];
const IMPURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "rusqlite",
    "reqwest",
    "axum",
    "getrandom",
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "Ulid::new",
];

/// Every source file below `src`, with its path from there and its code: no comments, no unit tests.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 10, "the walk finds the sources");
    files
        .into_iter()
        .filter(|file| file.file_name().is_some_and(|name| name != "tests.rs"))
        .filter(|file| file.parent().is_none_or(|folder| !folder.ends_with("tests")))
        .map(|file| {
            let text = fs::read_to_string(&file).expect("a source is text");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let name = file.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
            (name, code.join("\n"))
        })
        .collect()
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// The modules of this crate that `code` names as `crate::module`, also in `use crate::{a::…, b::…}`.
fn named_modules(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        let list = match part.strip_prefix('{') {
            Some(braced) => top_level_items(braced),
            None => vec![part],
        };
        for item in list {
            let name: String = item.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                named.insert(name);
            }
        }
    }
    named
}

fn top_level_items(braced: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (index, character) in braced.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&braced[start..index]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&braced[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    items
}

fn names_path(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(index, _)| {
        let before = code[..index].chars().next_back();
        let after = code[index + path.len()..].chars().next();
        let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        // `use self::toml` or a field named like a crate is no use of it: a crate is named with `::` behind it.
        boundary(before) && (path.contains("::") && boundary(after) || code[index + path.len()..].starts_with("::"))
    })
}

#[test]
fn modules_name_only_what_their_layer_allows() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        let module = module_of(&file);
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
            wrong
                .push(format!("{file}: module `{module}` has no layer: add it to tests/layers.rs and ARCHITECTURE.md"));
            continue;
        };
        for named in named_modules(&code) {
            if named != module && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{file} names crate::{named}, which its layer does not allow"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_third_party_crate_has_one_home() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        for (name, homes) in HOMES {
            if names_path(&code, name) && !homes.iter().any(|home| file.starts_with(home)) {
                wrong.push(format!("{file} names {name}, whose home is {}", homes.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_modules_touch_neither_clock_nor_outside() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        if !PURE.contains(&module_of(&file)) {
            continue;
        }
        for forbidden in IMPURE {
            if names_path(&code, forbidden) {
                wrong.push(format!("{file} names {forbidden}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_checks_see_what_they_forbid() {
    assert_eq!(
        named_modules("use crate::{store::Store, http::{a, b}}; crate::record::Kind"),
        BTreeSet::from(["store", "http", "record"].map(String::from))
    );
    assert!(names_path("use rusqlite::Connection;", "rusqlite"));
    assert!(!names_path("use my_rusqlite::Connection;", "rusqlite"));
    assert!(names_path("std::fs::read(path)", "std::fs"));
}
