//! The mapping guide, run as it is written, in both languages.

use std::path::Path;
use std::process::Command;

use crate::support::site::{Site, finish};

/// The shell blocks of a guide up to the first that needs an installation.
fn script(guide: &str) -> String {
    let blocks = guide.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("an end"));
    let script: Vec<&str> = blocks.take_while(|block| !block.contains("sudo ")).collect();
    assert!(script.len() >= 5, "the guide has its steps: {script:?}");
    script.concat()
}

/// The shell blocks of the chapter on FHIR.
fn script_of_fhir(guide: &str) -> String {
    let chapter = guide.split_once("\n## FHIR\n").expect("the chapter").1;
    let chapter = chapter.split("\n## ").next().expect("its end");
    let blocks = chapter.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("an end"));
    blocks.collect()
}

/// Runs a script of a guide where the mappings are those of an installation; gives what it told, in one line.
fn told_by(script: &str, name: &str) -> String {
    let site = Site::new();
    let script = script.replace("/etc/heyi/", &format!("{}/", site.path("").display()));
    // `check` takes the ports that a reader would: other tests, and other guides, run beside this one.
    let script = script.replace(":18480\"", ":0\"").replace(":12575\"", ":0\"");
    let mut command = Command::new("sh");
    command.args(["-euc", &format!("heyi() {{ \"$HEYI\" \"$@\"; }}\n{script}")]);
    command.env("HEYI", env!("CARGO_BIN_EXE_heyi")).env("TMPDIR", site.path("")).env_remove("HEYI_CONFIG");
    let run = finish(command, b"", name).exits(0);
    run.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_command_of_the_chapter_on_fhir_does_what_it_says() {
    for name in ["docs/mapping.md", "docs/mapping.zh-CN.md"] {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let words = told_by(&script_of_fhir(&std::fs::read_to_string(guide).expect("the guide")), name);
        for text in [
            "unmapped class ZY",
            "identifiers[1].value 7 Patient.id",
            "Patient.photo 1 value in 1 message",
            "0 passed, 0 failed, 1 accepted",
            "1 passed, 0 failed, 0 accepted",
        ] {
            assert!(words.contains(text), "{name}: {text}\n{words}");
        }
    }
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    for name in ["docs/mapping.md", "docs/mapping.zh-CN.md"] {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let script = script(&std::fs::read_to_string(guide).expect("the guide"));
        let words = told_by(&script, name);
        let told = |text: &str| assert!(words.contains(text), "{name}: {text}\n{words}");
        told("unmapped class ZY");
        told("unmapped sex 1");
        told("ZPV-1 ");
        told("class inpatient PV1-2 ZY");
        told("insurance[0].kind 城镇职工医保");
        told("0 passed, 0 failed, 1 accepted");
        told("1 passed, 0 failed, 0 accepted");
        told("1 processed, 0 ignored, 0 failed");
        told("\"visit.admitted\"");
    }
}
