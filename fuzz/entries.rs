//! What the fuzzers feed, each with the promises that hold for any bytes: no panic, nothing lost, no character made up. Used by
//! the targets beside this file and by `tests/fuzz`, which runs the same in every test run.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::LazyLock;

use heyi::config;
use heyi::diagnostic::SourceFile;
use heyi::fhir;
use heyi::hl7v2::{CharsetSetting, Limits, Message, Path, ack, batch, escape, header, when};
use heyi::mapping::{Context, Disposition, Mapping};
use heyi::policy::{Categories, Policy, mask};
use heyi::record::{Kind, Value, schema};
use heyi::source::frame::{Decoder, Event, FrameLimits, Received};
use jiff::tz::TimeZone;

/// U+FFFD, which decoders put where bytes make no sense.
const REPLACEMENT: char = '\u{FFFD}';

/// Small enough to be met by a fuzzer.
const LIMITS: Limits =
    Limits { message_bytes: 1 << 20, segments: 2_000, fields_of_segment: 500, fields: 100_000, parts_of_field: 10_000 };

fn shipped(name: &str) -> Mapping {
    let root = FilePath::new(env!("CARGO_MANIFEST_DIR"));
    let root = if root.ends_with("fuzz") { root.join("..") } else { root.to_owned() };
    Mapping::load(name, &|file| std::fs::read_to_string(root.join(file))).expect("the shipped mappings load")
}

static MAPPINGS: LazyLock<[Mapping; 5]> =
    LazyLock::new(|| ["hl7v2", "his", "lis", "ris", "emr-v2"].map(|name| shipped(&format!("mappings/{name}.toml"))));

static CATEGORIES: LazyLock<Categories> = LazyLock::new(Categories::shipped);

fn read(data: &[u8]) -> Option<Message> {
    Message::read(data, &CharsetSetting::Auto, &LIMITS).ok().map(|(message, _)| message)
}

/// Bytes to text to fields: every character is in a segment, and an answer can be written, whatever came.
pub(crate) fn message(data: &[u8]) {
    let pieces = batch::split(data).messages;
    assert!(pieces.iter().map(|piece| piece.len()).sum::<usize>() <= data.len());
    let header = header::peek(data, &CharsetSetting::Auto);
    let accept = ack::Ack { code: ack::AckCode::AA, control_id: "1", time: "20240305", errors: &[] };
    assert!(ack::build(&header, &accept).starts_with(b"MSH"));

    let Some(message) = read(data) else { return };
    assert!(!message.text().contains(REPLACEMENT), "a character was made up");
    let segments: usize = message.segments().map(|segment| segment.text().len() + 1).sum();
    assert!(segments - message.text().len() <= 1, "a segment is missing");
    for segment in message.segments() {
        let fields: usize = (1..=segment.field_count()).map(|field| segment.field(field).len() + 1).sum();
        // MSH-1 is the separator itself.
        let doubled = if segment.index() == 0 { 2 } else { 0 };
        assert_eq!(3 + fields - doubled, segment.text().len(), "a field is missing");
        for field in 1..=segment.field_count() {
            let parts = message.repetitions(segment.field(field)).map(|repetition| repetition.len() + 1).sum::<usize>();
            assert_eq!(parts, segment.field(field).len() + 1, "a repetition is missing");
            let text = escape::unescape(segment.field(field), message.delimiters(), message.charset());
            // Of control characters only those that lay out a text are read back.
            let is_text = |letter: char| !letter.is_control() || matches!(letter, '\t' | '\n');
            if message.delimiters().escape.is_some() && text.chars().all(is_text) {
                let again = escape::escape(&text, message.delimiters());
                assert_eq!(escape::unescape(&again, message.delimiters(), message.charset()), text);
            }
        }
    }
}

/// A path as people write it, resolved in a message that has some of everything. The first line is the path, the rest a message.
pub(crate) fn path(data: &[u8]) {
    let cut = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Ok(source) = std::str::from_utf8(&data[..cut]) else { return };
    let path = match Path::parse(source) {
        Ok(path) => path,
        Err(error) => {
            assert!(source.is_char_boundary(error.offset), "the place of an error is in the path");
            return;
        }
    };
    assert_eq!(path.to_string(), source);
    let message = data.get(cut + 1..).and_then(read);
    let sample =
        "MSH|^~\\&|A|B|||20240305||ORU^R01|1|P|2.5\rPID|1||1^^^H~2&3^4\rOBR|1\rNTE|1||a\\T\\b\rOBX|1|ST|X||\"\"~5\r";
    let message = message.or_else(|| read(sample.as_bytes())).expect("the sample can be read");
    let first = path.resolve(&message.scope());
    let all = path.resolve_all(&message.scope());
    assert_eq!(first.is_absent(), all.is_empty());
    for value in all.into_iter().filter_map(|resolved| resolved.value()) {
        assert!(!value.text().contains(REPLACEMENT));
        assert!(message.text().contains(value.raw()));
        assert!(!value.location().to_string().is_empty());
    }
}

/// A FHIRPath and a unit. The first line is the path, the rest a resource or a Bundle.
pub(crate) fn fhirpath(data: &[u8]) {
    let cut = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let unit = data.get(cut + 1..).and_then(|bytes| fhir::Unit::parse(bytes).ok());
    if let Some(unit) = &unit {
        let count = unit.resources().len();
        assert!(unit.resources().all(|resource| !resource.type_name().is_empty()) && count > 0);
        assert!(unit.patient().is_none_or(|patient| patient.type_name() == "Patient"));
    }
    let Ok(source) = std::str::from_utf8(&data[..cut]) else { return };
    let path = match fhir::Path::parse(source) {
        Ok(path) => path,
        Err(error) => {
            assert!(source.is_char_boundary(error.offset), "the place of an error is in the path");
            assert!(!error.problem.is_empty());
            return;
        }
    };
    let sample = r##"{"resourceType": "Patient", "id": "1", "active": true, "birthDate": "1974-12-25", "_birthDate": {"id": "b"},
        "name": [{"given": ["a", null], "_given": [null, {"id": "g"}]}], "contained": [{"resourceType": "Observation", "id": "o",
        "valueQuantity": {"value": 1.50, "unit": "mg"}}], "generalPractitioner": [{"reference": "#o"}, {"reference": "Patient/1"}]}"##;
    let unit = unit.unwrap_or_else(|| fhir::Unit::parse(sample.as_bytes()).expect("the sample is a resource"));
    let scope = fhir::Scope::focal(&unit);
    let Ok(nodes) = path.evaluate(&scope) else { return };
    // The same resource yields the same, and what was found in it is found where it is said to be.
    assert_eq!(path.evaluate(&scope).map(|again| again.len()), Ok(nodes.len()));
    for node in nodes.iter().take(50) {
        assert!(node.text().is_none_or(|text| text.len() <= data.len() + fhir::path::limits::TEXT_BYTES));
        assert!(node.json().is_none() || node.location().is_some_and(|location| !location.is_empty()));
    }
}

/// A message through the shipped mappings: records are legal, and each OBX is stored, skipped or rejected.
pub(crate) fn mapping(data: &[u8]) {
    let Some(message) = read(data) else { return };
    for mapping in MAPPINGS.iter() {
        let context = Context { zone: &TimeZone::UTC, facility: Some("main"), explain: true };
        let Ok(mapped) = mapping.apply(&message, &context) else { continue };
        if mapped.disposition != Disposition::Records {
            continue;
        }
        let mut stored = 0;
        for record in &mapped.records {
            let mut fields = record.fields.clone();
            fields.retain(|_, value| !value.is_null());
            assert_eq!(schema::violations(record.kind, &fields), [""; 0]);
            assert!(!serde_json::to_string(&fields).expect("a record is JSON").contains(REPLACEMENT));
            if record.kind == Kind::LabReport {
                stored += fields.get("results").and_then(Value::as_array).map_or(0, Vec::len);
            }
        }
        // A result of which one field was left out is stored all the same, and said to be rejected in part.
        let is_whole = |text: &str| !text.contains(" was left out: ");
        let skipped = mapped.skipped.iter().map(|skipped| skipped.path.as_str());
        let rejected =
            mapped.rejected.iter().filter(|rejected| is_whole(&rejected.text)).map(|rejected| rejected.path.as_str());
        let others = skipped.chain(rejected).filter(|path| path.starts_with("OBX")).count();
        assert_eq!(stored + others, message.segments_named("OBX").count(), "an OBX is not accounted for");
    }
}

/// A connection's bytes, cut as the first byte says: all of them are in an event, and the events do not depend on the cuts.
pub(crate) fn frames(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let limits = FrameLimits { message: 200, head: 20 };
    let events = |size: usize| {
        let mut decoder = Decoder::new(limits);
        let mut events = Vec::new();
        for mut piece in stream.chunks(size) {
            while let Some(event) = decoder.next(&mut piece) {
                events.push(event);
            }
        }
        events.extend(std::iter::from_fn(|| decoder.finish()));
        events
    };
    let found = events(stream.len().max(1));
    assert_eq!(events(usize::from(size).max(1)), found, "the cuts matter");
    let content: u64 = found
        .iter()
        .map(|event| match event {
            Event::Received(Received::Whole(bytes)) => bytes.len() as u64,
            Event::Received(Received::TooLarge { length, .. } | Received::Cut { length, .. }) => *length,
            Event::Junk { bytes, .. } => *bytes,
        })
        .sum();
    // The rest is framing: VT, FS and line ends.
    let framing = stream.iter().filter(|byte| matches!(byte, 0x0B | 0x1C | b'\r' | b'\n')).count() as u64;
    assert!(content <= stream.len() as u64 && content + framing >= stream.len() as u64, "bytes got lost");
}

/// A point in time of a message.
pub(crate) fn time(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for zone in [TimeZone::UTC, TimeZone::fixed(jiff::tz::offset(8))] {
        if let Ok(Some(written)) = when::parse(text, &zone) {
            assert!(heyi::record::when::instant(&written, &zone).is_some(), "{written} is no time");
        }
    }
}

/// A laboratory's value and its reference range, one line each: what is not understood stays as sent.
pub(crate) fn laboratory(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let (value, range) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let is_plain = |text: &str| !text.contains(|letter: char| letter.is_control() || "|^~\\&".contains(letter));
    if !is_plain(value) || !is_plain(range) || value.contains(REPLACEMENT) || range.contains(REPLACEMENT) {
        return;
    }
    let sent = format!(
        "MSH|^~\\&|A|B|||20240305||ORU^R01|1|P|2.5|||||CHN|UTF-8\rPID|1||1\rOBR|1||F\rOBX|1|ST|X||{value}||{range}||||F\r"
    );
    let Some(message) = read(sent.as_bytes()) else { return };
    let context = Context { zone: &TimeZone::UTC, facility: None, explain: false };
    let mapped = MAPPINGS[0].apply(&message, &context).expect("a plain report is mapped");
    let report = mapped.records.iter().find(|record| record.kind == Kind::LabReport).expect("there is a report");
    let result = &report.fields["results"][0];
    let said = |names: &[&str]| names.iter().any(|name| result.get(name).is_some_and(|value| !value.is_null()));
    let is_said = |text: &str| !text.trim().is_empty() && text.trim() != "\"\"";
    if is_said(value) {
        assert!(said(&["value_number", "value_text", "value_code"]), "the value is lost: {result}");
    }
    if is_said(range) {
        assert!(said(&["reference_range"]), "the range is lost: {result}");
    }
}

/// A mapping file, alone or as what a site adds to the base.
pub(crate) fn mapping_file(data: &[u8]) {
    static SHIPPED: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
        let files = std::cell::RefCell::new(BTreeMap::new());
        let root = FilePath::new(env!("CARGO_MANIFEST_DIR"));
        let root = if root.ends_with("fuzz") { root.join("..") } else { root.to_owned() };
        for name in ["his", "lis", "ris", "emr-v2"] {
            let read = |file: &str| {
                let text = std::fs::read_to_string(root.join(file))?;
                files.borrow_mut().insert(file.to_owned(), text.clone());
                Ok(text)
            };
            Mapping::load(&format!("mappings/{name}.toml"), &read).expect("the shipped mappings load");
        }
        files.into_inner()
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    let name = "mappings/site.toml";
    let read = |file: &str| match SHIPPED.get(file) {
        _ if file == name => Ok(text.to_owned()),
        Some(text) => Ok(text.clone()),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    match Mapping::load(name, &read) {
        Ok(mapping) => mapping.warnings().iter().for_each(|warning| assert!(!warning.render(false).is_empty())),
        Err(problems) => {
            assert!(!problems.is_empty(), "a file is refused without a reason");
            problems.iter().for_each(|problem| assert!(!problem.render(false).is_empty()));
        }
    }
}

/// A field policy, the special categories, and any text as a value that is masked.
pub(crate) fn policy_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = SourceFile { name: "policies/own.toml".to_owned(), text: text.to_owned() };
    let (policy, problems) = Policy::read("own", &file, &CATEGORIES);
    assert!(policy.is_some() || !problems.is_empty(), "a file is refused without a reason");
    let (categories, more) = Categories::read(&file);
    assert!(categories.is_some() || !more.is_empty(), "a file is refused without a reason");
    problems.iter().chain(&more).for_each(|problem| assert!(!problem.render(false).is_empty()));
    let shown = |masked: Option<String>| masked.map_or(0, |text| text.chars().filter(|letter| *letter != '*').count());
    assert!(shown(mask::phone(text)) <= 7 && shown(mask::number(text)) <= 4);
    assert!(mask::name(text).is_none_or(|masked| masked.contains('*')));
    assert!(mask::birth_year(text, 2026).is_none_or(|year| year.len() == 4 && year.as_str() >= "1936"));
    [mask::email(text), mask::day(text), mask::district(text), mask::diagnosis(text)]
        .into_iter()
        .flatten()
        .for_each(drop);
}

/// The configuration file.
pub(crate) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (config, problems) = config::parse(text.to_owned(), FilePath::new("config/heyi.toml"));
    assert!(config.is_some() || !problems.is_empty(), "a file is refused without a reason");
    problems.iter().for_each(|problem| assert!(!problem.render(false).is_empty()));
}
