//! What the documents say is what the program does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall stop")]

use std::collections::BTreeSet;
use std::path::Path;

use heyi::config::{self, Arrival, Config};
use heyi::diagnostic::SourceFile;
use heyi::mapping::Mapping;
use heyi::policy::{Categories, FieldClass, Policy, Treatment};

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Loads `text`, with the mappings that ship, as a configuration that has nothing wrong with it, not even a warning.
fn load(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heyi.toml");
    let mappings = concat!("\"", env!("CARGO_MANIFEST_DIR"), "/mappings/");
    std::fs::write(&file, text.replace("\"mappings/", mappings)).unwrap();
    let (mut config, warnings) = config::load(&file).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    config.store = config.store.strip_prefix(folder.path()).unwrap().to_owned();
    config
}

/// `line` without `mark` if it then sets something and is no example.
fn stated<'t>(line: &'t str, mark: &str) -> Option<&'t str> {
    let setting = line.strip_prefix(mark)?;
    let key = setting.split_once('=')?.0.trim_end();
    let is_key = !key.is_empty() && key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    (is_key && !line.contains("# example")).then_some(setting)
}

#[test]
fn the_reference_configuration_states_the_true_defaults() {
    let text = read("config/heyi.toml");
    let lines: Vec<&str> = text.lines().map(|line| stated(line, "# ").unwrap_or(line)).collect();
    let (silent, told) = (load(&text), load(&lines.join("\n")));
    assert_eq!(silent.store, told.store);
    assert_eq!(format!("{:?}", silent.http), format!("{:?}", told.http));
    assert_eq!(silent.retention, told.retention);
    assert_eq!(format!("{:?}", silent.consumers), format!("{:?}", told.consumers));
    assert_eq!(silent.sources[0].time_zone, told.sources[0].time_zone);
}

#[test]
fn the_reference_configuration_states_the_true_defaults_of_a_listener() {
    let text = read("config/heyi.toml");
    let above_files = text.split("# Files instead").next().unwrap();
    let keys: Vec<&str> = above_files
        .lines()
        .filter_map(|line| stated(line, "#   "))
        .map(|setting| setting.split(" # ").next().unwrap().trim())
        .collect();
    assert_eq!(keys.len(), 8, "{keys:?}");
    let source = |mllp: &str| {
        let text = format!("[[sources]]\nname = \"his\"\nmapping = \"mappings/his.toml\"\nmllp = {{ {mllp} }}\n");
        let source = load(&text).sources.remove(0);
        let Arrival::Mllp(mllp) = source.arrival else { panic!("a listener") };
        format!("{:?} {:?} {:?} {} {mllp:?}", source.charset, source.acknowledge, source.on_error, source.max_message)
    };
    assert_eq!(source(keys[0]), source(&keys.join(", ")));
}

#[test]
fn the_mapping_reference_shows_a_mapping_that_loads() {
    for document in ["docs/mapping.md", "docs/mapping.zh-CN.md"] {
        let text = read(document);
        let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let files = |name: &str| if name == "mappings/example.toml" { Ok(example.to_owned()) } else { Ok(read(name)) };
        let mapping = Mapping::load("mappings/example.toml", &files).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(mapping.warnings(), [], "{document}");
    }
}

#[test]
fn the_guide_to_policies_names_every_class_and_treatment_and_shows_a_policy_that_loads() {
    for document in ["docs/policies.md", "docs/policies.zh-CN.md"] {
        let text = read(document);
        let classes = FieldClass::ALL.iter().map(|class| class.name());
        for name in classes.chain(Treatment::ALL.iter().map(|treatment| treatment.name())) {
            assert!(text.contains(&format!("`{name}`")), "{document}: {name}");
        }
        let example = text.split("```toml\n").nth(2).and_then(|rest| rest.split("```").next()).unwrap();
        let file = SourceFile { name: "policies/example.toml".to_owned(), text: example.to_owned() };
        let (policy, problems) = Policy::read("example", &file, &Categories::shipped());
        assert_eq!(problems, [], "{document}");
        assert_eq!(policy.unwrap().treatment(FieldClass::Name), Treatment::Mask);
    }
}

#[test]
fn every_code_of_a_mapping_s_problem_is_explained() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mapping")];
    let mut codes = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let quoted = text.split('"').filter(|part| part.len() == 4 && part.starts_with('M'));
            codes.extend(quoted.filter(|part| part[1..].parse::<u16>().is_ok()).map(str::to_owned));
        }
    }
    assert!(codes.len() > 20, "{codes:?}");
    for document in ["docs/mapping.md", "docs/mapping.zh-CN.md"] {
        let text = read(document);
        let missing: Vec<&String> = codes.iter().filter(|code| !text.contains(code.as_str())).collect();
        assert!(missing.is_empty(), "{document}: {missing:?}");
    }
}
