//! The shipped mappings: they load, their cases hold, and they read other people's messages.

#![allow(clippy::panic, clippy::unwrap_used, reason = "all of this file is tests")]

mod triggers;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use heyi::fhir::compose::Set;
use heyi::fhir::{Resource, Unit};
use heyi::hl7v2::{Charset, CharsetSetting, Limits, Message, batch};
use heyi::mapping::{Context, Disposition, ExplainedField, Format, MapError, Mapped, Mapping, Trace, case};
use heyi::record::Kind;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use triggers::{COURSE, of_trigger};

/// The base and the examples of sites, each with its cases.
const SHIPPED: [&str; 7] = ["hl7v2", "his", "lis", "ris", "emr-v2", "fhir-r4", "emr"];

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
    for name in SHIPPED {
        let mapping = load(&format!("mappings/{name}.toml"));
        let warnings: Vec<String> = mapping.warnings().iter().map(ToString::to_string).collect();
        assert!(warnings.is_empty(), "{}", warnings.join("\n"));
    }
}

#[test]
fn units_whose_caret_was_not_escaped_are_known() {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let mapping = load("mappings/hl7v2.toml");
    for (sent, expected) in [
        ("m^2", "m2"),
        ("cm^2", "cm2"),
        ("kg/m^2", "kg/m2"),
        ("mL/min/1.73m^2", "mL/min/{1.73_m2}"),
        ("ml/(min·1.73m^2)", "mL/min/{1.73_m2}"),
        ("10^9/L", "10*9/L"),
    ] {
        let text = format!(
            "MSH|^~\\&|LIS|H1|HEYI|H1|20240305103000||ORU^R01|1|P|2.4|||||CHN|UNICODE UTF-8\rPID|1||P1\rOBR|1||F1|K|||||||||||||||||||||F\rOBX|1|NM|K||1.2|{sent}|||||F\r"
        );
        let found = case::outcome(&mapping, text.as_bytes(), &CharsetSetting::Auto, &zone);
        assert!(found.to_string().contains(&format!("\"unit\":\"{expected}\"")), "{sent}: {found}");
    }
}

/// `HEYI_ACCEPT=1` rewrites the expectations; read the difference before committing it.
#[test]
fn every_case_beside_a_mapping_holds() {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let mut failures = Vec::new();
    for name in SHIPPED {
        let mapping = load(&format!("mappings/{name}.toml"));
        let mut cases = 0;
        for file in files_below(&root().join("fixtures").join(name)) {
            if !is_case(&file) {
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
        assert!(cases > 0, "{name} has no cases");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The input of a case beside a mapping.
fn is_case(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_string_lossy();
    name.ends_with(".hl7") || (name.ends_with(".json") && !name.ends_with(".expected.json"))
}

fn explained(mapping: &Mapping, raw: &[u8]) -> Mapped {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let (message, _) = Message::read(raw, &CharsetSetting::Auto, &Limits::default()).unwrap();
    mapping.apply(&message, &Context { zone: &zone, facility: None, explain: true }).unwrap_or_default()
}

/// What each unit says that resources make.
fn explained_units(mapping: &Mapping, raw: &[u8]) -> Vec<(Unit, Mapped)> {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let context = Context { zone: &zone, facility: None, explain: true };
    let units = Set::read(raw).unwrap().units().into_iter().map(|bundle| Unit::from_json(bundle).unwrap());
    units
        .map(|unit| (mapping.apply(&unit, &context).unwrap_or_default(), unit))
        .map(|(mapped, unit)| (unit, mapped))
        .collect()
}

#[test]
fn every_trigger_event_does_to_a_visit_what_the_standard_says() {
    let mapping = load("mappings/hl7v2.toml");
    for (expected, triggers) in COURSE {
        for trigger in triggers.split_whitespace() {
            let mapped = explained(&mapping, of_trigger(trigger).as_bytes());
            let visit = mapped.records.iter().find_map(|record| record.fields.get("number").map(|_| &record.fields));
            let event = visit.unwrap().get("event").and_then(|event| event.as_str());
            assert_eq!((event, &mapped.unmapped), (expected, &Vec::new()), "{trigger}");
        }
    }
}

/// A row that no case needs can be lost, or wrong, without anybody seeing it.
#[test]
fn every_row_of_the_shipped_tables_is_used_by_a_case() {
    let mut used = std::collections::BTreeSet::new();
    for name in SHIPPED {
        let mapping = load(&format!("mappings/{name}.toml"));
        let files = files_below(&root().join("fixtures").join(name));
        let cases = files.into_iter().filter(|file| is_case(file));
        let cases = cases.map(|file| std::fs::read(file).unwrap());
        if mapping.format() == Format::Fhir {
            for raw in cases {
                let explained = explained_units(&mapping, &raw).into_iter().flat_map(|(_, mapped)| mapped.explanation);
                used.extend(explained.filter_map(|field| field.row));
            }
            continue;
        }
        let triggers = COURSE.iter().flat_map(|(_, triggers)| triggers.split_whitespace());
        for raw in cases.chain(triggers.map(|trigger| of_trigger(trigger).into_bytes())) {
            used.extend(explained(&mapping, &raw).explanation.into_iter().filter_map(|field| field.row));
        }
    }
    let mut unused = Vec::new();
    for file in files_below(&root().join("mappings/tables")) {
        let name = format!("mappings/tables/{}", file.file_name().unwrap().to_string_lossy());
        let text = std::fs::read_to_string(&file).unwrap();
        for (line, row) in (1..).zip(text.lines()).filter(|(_, row)| !row.starts_with('#')) {
            let says_something = row.split(',').nth(1).is_some_and(|target| !target.is_empty() && target != "target");
            if says_something && !row.starts_with("*,") && !used.contains(&(name.clone(), line)) {
                unused.push(format!("{name}:{line}: {row}"));
            }
        }
    }
    assert!(used.len() > 500 && unused.is_empty(), "{unused:#?}");
}

/// Where an OBX ends: as a result that is stored, skipped by a rule, or rejected.
fn ends(obx: &str, mapped: &Mapped) -> [bool; 3] {
    let is_of = |path: &str| path == obx || path.strip_prefix(obx).is_some_and(|rest| rest.starts_with('-'));
    let stored =
        |field: &ExplainedField| field.field.starts_with("results[") && field.path.as_deref().is_some_and(is_of);
    // A value that was refused costs a field; the result that it is of is stored all the same.
    let stored = mapped.explanation.iter().any(stored);
    let skipped = mapped.skipped.iter().any(|skipped| is_of(&skipped.path));
    [stored, skipped, !stored && mapped.rejected.iter().any(|rejected| is_of(&rejected.path))]
}

/// Every OBX that does not end in exactly one way.
fn unaccounted(message: &Message, mapped: &Mapped) -> Vec<String> {
    let places = message.segments_named("OBX").map(|segment| segment.location_of(0).to_string());
    let ended = places.map(|obx| (ends(&obx, mapped), obx));
    ended
        .filter(|(ends, _)| ends.iter().filter(|end| **end).count() != 1)
        .map(|(ends, obx)| format!("{obx} {ends:?}"))
        .collect()
}

#[test]
fn the_base_reads_the_messages_of_public_projects() {
    let Some(corpus) = corpus() else {
        println!("SKIPPED: no corpus beside the checkout and HEYI_CORPUS is not set");
        return;
    };
    let mapping = load("mappings/hl7v2.toml");
    let context = Context { zone: &TimeZone::UTC, facility: None, explain: true };
    let mut failures = Vec::new();
    let (mut meant, mut mapped) = (0, 0);
    for file in files_below(&corpus.join("hl7v2")) {
        let bytes = std::fs::read(&file).unwrap();
        for raw in batch::split(&bytes).messages {
            let Ok((message, _)) = Message::read(raw, &CharsetSetting::Auto, &Limits::default()) else {
                failures.push(format!("{}: not readable", file.display()));
                continue;
            };
            let expected = ["ADT", "ORU", "SIU", "OUL", "MDM", "ORM", "OML", "OMG"].contains(&message.message_type());
            meant += usize::from(expected);
            match mapping.apply(&message, &context) {
                Ok(result) => {
                    if result.disposition == Disposition::Records {
                        let place = format!("{}: {}", file.display(), message.control_id());
                        failures.extend(unaccounted(&message, &result).iter().map(|obx| format!("{place}: {obx}")));
                    }
                    for record in &result.records {
                        let mut fields = record.fields.clone();
                        fields.retain(|_, value| !value.is_null());
                        let violations = heyi::record::schema::violations(record.kind, &fields);
                        assert_eq!(violations, Vec::<String>::new(), "{}", file.display());
                    }
                    mapped += usize::from(expected && result.disposition == Disposition::Records);
                }
                Err(error) => failures.push(format!("{}: {error}", file.display())),
            }
        }
    }
    println!("{mapped} of {meant} mapped; {failures:#?}");
    assert!(meant > 0 && mapped == meant && failures.is_empty(), "{failures:#?}");
}

/// Every Observation of a unit that does not end in exactly one way: as a result that is stored, skipped by a rule, or rejected. Of
/// one with parts the parts are results.
fn unaccounted_observations(unit: &Unit, mapped: &Mapped) -> Vec<String> {
    let all: Vec<_> = unit.resources().filter(|resource| resource.type_name() == "Observation").collect();
    let name = |resource: &Resource<'_>| if all.len() > 1 { resource.name() } else { resource.type_name().to_owned() };
    let is_in = |path: &str, name: &str| {
        path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let ends = |name: &str| {
        let stored = |field: &ExplainedField| {
            field.field.starts_with("results[") && field.path.as_deref().is_some_and(|path| is_in(path, name))
        };
        let skipped = mapped.skipped.iter().any(|skipped| is_in(&skipped.path, name) || skipped.path == name);
        mapped.explanation.iter().any(stored)
            || skipped
            || mapped.rejected.iter().any(|rejected| is_in(&rejected.path, name))
    };
    all.iter().map(name).filter(|name| !ends(name)).collect()
}

#[test]
fn the_base_reads_the_resources_of_public_projects() {
    let Some(corpus) = corpus().map(|corpus| corpus.join("fhir")).filter(|corpus| corpus.is_dir()) else {
        println!("SKIPPED: no corpus beside the checkout and HEYI_CORPUS is not set");
        return;
    };
    let mapping = load("mappings/fhir-r4.toml");
    let context = Context { zone: &TimeZone::UTC, facility: None, explain: true };
    let (mut units, mut failures) = (0, Vec::new());
    for file in files_below(&corpus) {
        for bundle in Set::read(&std::fs::read(&file).unwrap()).unwrap().units() {
            let unit = Unit::from_json(bundle).unwrap();
            let place = format!("{}: {}", file.display(), unit.focal().name());
            units += 1;
            let mapped = match mapping.apply(&unit, &context) {
                Ok(mapped) => mapped,
                Err(error) => {
                    failures.push(format!("{place}: {error}"));
                    continue;
                }
            };
            failures.extend(unaccounted_observations(&unit, &mapped).iter().map(|one| format!("{place}: {one}")));
            let is_whole = mapped.records.iter().any(|record| record.kind == Kind::Patient)
                && (unit.focal().type_name() == "Patient" || mapped.records.len() > 1);
            if !is_whole || !mapped.rejected.is_empty() || !mapped.unmapped.is_empty() {
                failures.push(format!("{place}: {:?} {:?}", mapped.rejected, mapped.unmapped));
            }
            failures.extend(illegal(&mapped).into_iter().map(|violation| format!("{place}: {violation}")));
        }
    }
    println!("{units} units; {failures:#?}");
    assert!(units > 100 && failures.is_empty(), "{failures:#?}");
}

/// What the records of a mapping may not hold.
fn illegal(mapped: &Mapped) -> Vec<String> {
    let violations = |record: &heyi::mapping::MappedRecord| {
        let mut fields = record.fields.clone();
        fields.retain(|_, value| !value.is_null());
        heyi::record::schema::violations(record.kind, &fields)
    };
    mapped.records.iter().flat_map(violations).collect()
}

/// Replaces the `number`th value in a document, in the order in which they stand.
fn replace(document: &mut serde_json::Value, number: &mut usize, with: &serde_json::Value) {
    if *number == 0 {
        *document = with.clone();
    }
    *number = number.wrapping_sub(1);
    match document {
        serde_json::Value::Object(members) => {
            let inner = members.iter_mut().filter(|(name, _)| *name != "resourceType").map(|(_, value)| value);
            inner.for_each(|value| replace(value, number, with));
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| replace(item, number, with)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_resource_holds_its_records_are_legal(
        case in prop::sample::select(vec!["encounter-inpatient", "report-laboratory", "vital-signs", "patient-every-element", "appointment"]),
        place in 0_usize..900,
        with in prop_oneof![
            Just(serde_json::json!(null)), Just(serde_json::json!([])), Just(serde_json::json!({})), Just(serde_json::json!("")),
            Just(serde_json::json!(true)), Just(serde_json::json!(-1.5e300)), Just(serde_json::json!([null, {"value": []}])),
            Just(serde_json::json!({"reference": "Patient/p1"})), Just(serde_json::json!({"coding": [{"code": "<5"}]})),
            piece().prop_map(serde_json::Value::from),
        ],
    ) {
        static BASE: LazyLock<Mapping> = LazyLock::new(|| load("mappings/fhir-r4.toml"));
        let text = std::fs::read_to_string(root().join(format!("fixtures/fhir-r4/{case}.json"))).unwrap();
        let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
        replace(&mut document, &mut { place }, &with);
        let Ok(set) = Set::read(document.to_string().as_bytes()) else { return Ok(()) };
        for bundle in set.units() {
            let unit = Unit::from_json(bundle).unwrap();
            if let Ok(mapped) = BASE.apply(&unit, &Context { zone: &TimeZone::UTC, facility: None, explain: true }) {
                prop_assert_eq!(illegal(&mapped), Vec::<String>::new());
                prop_assert_eq!(unaccounted_observations(&unit, &mapped), Vec::<String>::new());
            }
        }
    }
}

/// Pieces that mean something to a coercion, and any text.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[^\\r\\n]{0,12}",
        "[<>≤≥]?[0-9.+-]{1,8}[↑↓]?",
        "[0-9]{4,18}[+-]?[0-9]{0,4}",
        "[阴阳弱性男女:~()+-]{1,6}",
        Just("\"\"".to_owned()),
        Just("11010519491231002X".to_owned()),
        Just("张三李四王五".to_owned()),
    ]
}

/// All that a run says but the explanation.
fn told(mapped: Result<Mapped, MapError>) -> String {
    let told = mapped.map(|mapped| Mapped { explanation: Vec::new(), trace: Trace::default(), ..mapped });
    format!("{told:#?}")
}

/// Segments in any order with few fields, in any of which anything stands: most of what a mapping asks for is not there, and now and then is.
fn sparse_segments() -> impl Strategy<Value = String> {
    const NAMES: [&str; 28] = [
        "EVN", "PID", "PID", "PD1", "NK1", "PV1", "PV1", "PV2", "MRG", "DG1", "PR1", "IN1", "CON", "SCH", "TQ1", "AIS",
        "AIG", "AIL", "AIP", "ORC", "OBR", "OBR", "OBX", "OBX", "NTE", "SPM", "TXA", "ZPI",
    ];
    let content = prop_oneof![piece(), (piece(), "[~^&]", piece()).prop_map(|(one, mark, other)| one + &mark + &other)];
    let fields = prop::collection::btree_map(prop_oneof![4 => 1_usize..25, 1 => 25_usize..70], content, 0..8);
    let segment = (prop::sample::select(&NAMES[..]), fields).prop_map(|(name, fields)| {
        let last = fields.keys().max().copied().unwrap_or_default();
        (1..=last)
            .fold(name.to_owned(), |segment, number| segment + "|" + fields.get(&number).map_or("", String::as_str))
            + "\r"
    });
    prop::collection::vec(segment, 0..14).prop_map(|segments| segments.concat())
}

/// A segment with odd content in any field, component and repetition.
fn segment(name: &'static str) -> impl Strategy<Value = String> {
    let field = prop::collection::vec((piece(), "[\\^~&]"), 0..4);
    let field =
        field.prop_map(|pieces| pieces.into_iter().map(|(piece, separator)| piece + &separator).collect::<String>());
    prop::collection::vec(field, 0..50).prop_map(move |fields| format!("{name}|{}\r", fields.join("|")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_message_holds_its_records_are_legal(
        pid in segment("PID"), pv1 in segment("PV1"), dg1 in segment("DG1"), sch in segment("SCH"),
        obr in segment("OBR"), obx in prop::collection::vec(segment("OBX"), 0..3), nte in segment("NTE"),
        kind in prop::sample::select(vec!["ADT^A01", "ADT^A40", "SIU^S12", "ORU^R01"]),
    ) {
        static MAPPING: LazyLock<Mapping> = LazyLock::new(|| load("mappings/lis.toml"));
        static BASE: LazyLock<Mapping> = LazyLock::new(|| load("mappings/hl7v2.toml"));
        let text = format!("MSH|^~\\&|A|B|C|D|20240305||{kind}|1|P|2.5\r{pid}{pv1}{dg1}{sch}{obr}{}{nte}", obx.concat());
        let Ok(message) = Message::parse(text, Charset::Utf8, &Limits::default()) else { return Ok(()) };
        for mapping in [&*MAPPING, &*BASE] {
            let Ok(mapped) = mapping.apply(&message, &Context { zone: &TimeZone::UTC, facility: None, explain: true }) else {
                continue;
            };
            for record in mapped.records {
                let mut fields = record.fields;
                fields.retain(|_, value| !value.is_null());
                prop_assert_eq!(heyi::record::schema::violations(record.kind, &fields), Vec::<String>::new());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// An explanation tells what every rule looks for, so a run with one passes over none.
    #[test]
    fn a_run_that_passes_over_rules_gives_what_a_run_of_all_rules_gives(
        segments in sparse_segments(),
        kind in prop::sample::select(vec![
            "ADT^A01", "ADT^A08", "ADT^A24", "ADT^A40", "ADT^A42", "ADT", "SIU^S12", "ORU^R01", "OUL^R22", "ORM^O01", "MDM^T02", "MDM^T10",
        ]),
    ) {
        static MAPPINGS: LazyLock<Vec<Mapping>> =
            LazyLock::new(|| ["hl7v2", "his", "lis", "ris"].map(|name| load(&format!("mappings/{name}.toml"))).into());
        let text = format!("MSH|^~\\&|HIS|B|C|D|20240305||{kind}|1|P|2.5\r{segments}");
        let Ok(message) = Message::parse(text, Charset::Utf8, &Limits::default()) else { return Ok(()) };
        for mapping in &*MAPPINGS {
            let [passing_over, trying_all] = [false, true]
                .map(|explain| told(mapping.apply(&message, &Context { zone: &TimeZone::UTC, facility: None, explain })));
            prop_assert_eq!(passing_over, trying_all);
        }
    }
}
