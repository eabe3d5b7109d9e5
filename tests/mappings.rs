//! The shipped mappings: they load, their cases hold, and they read other people's messages.

use std::path::{Path, PathBuf};

use heyi::hl7v2::{CharsetSetting, Limits, Message};
use heyi::mapping::{Context, Disposition, Mapping, case};
use jiff::tz::TimeZone;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load(name: &str) -> Mapping {
    Mapping::load(name, &|name| std::fs::read_to_string(root().join(name))).unwrap_or_else(|problems| {
        let shown: Vec<String> = problems.iter().map(|problem| problem.render(false)).collect();
        panic!("{}", shown.join("\n"))
    })
}

/// Sample messages of public projects, where they lie beside the checkout; never part of the project.
fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("HEYI_CORPUS").map_or_else(|| root().join("../shared/corpus"), PathBuf::from);
    path.is_dir().then_some(path)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.into_iter().flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn the_shipped_mappings_load_without_a_warning() {
    for name in ["hl7v2", "his", "lis"] {
        assert_eq!(load(&format!("mappings/{name}.toml")).warnings(), [], "{name}");
    }
}

/// `HEYI_ACCEPT=1` rewrites the expectations; read the difference before committing it.
#[test]
fn every_case_beside_a_mapping_holds() {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let mut failures = Vec::new();
    let mut cases = 0;
    for name in ["his", "lis"] {
        let mapping = load(&format!("mappings/{name}.toml"));
        for file in files_below(&root().join("fixtures").join(name)) {
            if file.extension().is_none_or(|extension| extension != "hl7") {
                continue;
            }
            cases += 1;
            let found = case::outcome(&mapping, &std::fs::read(&file).unwrap(), &CharsetSetting::Auto, &zone);
            let expectation = file.with_extension("expected.json");
            if std::env::var_os("HEYI_ACCEPT").is_some() {
                std::fs::write(&expectation, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
            }
            let expected = std::fs::read_to_string(&expectation).unwrap_or_else(|_| "null".to_owned());
            let expected = serde_json::from_str(&expected).unwrap();
            failures
                .extend(case::differences(&expected, &found).iter().map(|line| format!("{}: {line}", file.display())));
        }
    }
    assert!(cases > 0);
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_base_reads_the_messages_of_public_projects() {
    let Some(corpus) = corpus() else {
        println!("SKIPPED: no corpus beside the checkout and HEYI_CORPUS is not set");
        return;
    };
    let mapping = load("mappings/hl7v2.toml");
    let zone = TimeZone::UTC;
    let mut failures = Vec::new();
    let (mut meant, mut mapped) = (0, 0);
    for file in files_below(&corpus.join("hl7v2")) {
        let bytes = std::fs::read(&file).unwrap();
        let (message, _) = match Message::read(&bytes, &CharsetSetting::Auto, &Limits::default()) {
            Ok(read) => read,
            Err(error) => {
                failures.push(format!("{}: {error}", file.display()));
                continue;
            }
        };
        let context = Context { zone: &zone, facility: None, explain: true };
        if ["ADT", "ORU", "SIU"].contains(&message.message_type()) {
            meant += 1;
        }
        match mapping.apply(&message, &context) {
            Ok(result) => {
                for record in &result.records {
                    let mut fields = record.fields.clone();
                    fields.retain(|_, value| !value.is_null());
                    let violations = heyi::record::schema::violations(record.kind, &fields);
                    assert_eq!(violations, Vec::<String>::new(), "{}", file.display());
                }
                if std::env::var_os("HEYI_SHOW").is_some() {
                    println!("== {} {} {:?}", file.display(), message.message_type(), result.disposition);
                    for record in &result.records {
                        println!("{:?} {}", record.kind, serde_json::to_string(&record.fields).unwrap());
                    }
                    println!("{:?}\n{:?}\n{:?}\n{:?}", result.skipped, result.rejected, result.unmapped, result.notes);
                }
                let expects = ["ADT", "ORU", "SIU"].contains(&message.message_type());
                mapped += usize::from(expects && result.disposition == Disposition::Records);
            }
            Err(error) => failures.push(format!("{}: {error}", file.display())),
        }
    }
    println!("{mapped} of {meant} mapped; {failures:#?}");
    assert!(meant > 0 && mapped * 100 >= meant * 95, "{failures:#?}");
}
