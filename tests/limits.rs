//! Messages as large as the limits allow go through the whole house and come to the right answer.
//!
//! `HEYI_LIMITS_SHARE=25` makes them a quarter of the size. To see how the work grows, count instructions at two sizes:
//! `HEYI_LIMITS_SHARE=10 valgrind --tool=callgrind target/debug/deps/limits-… --exact NAME`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is tests")]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use heyi::hl7v2::{CharsetSetting, Limits};
use heyi::mapping::Mapping;
use heyi::pipeline::{self, Cause, Done, Source};
use heyi::record;
use heyi::store::messages::{self, MessageState};
use heyi::store::{Access, Store, StoreConfig, clinical, persons};
use heyi::view;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tempfile::TempDir;

static LIS: LazyLock<Arc<Source>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mapping = Mapping::load("mappings/hl7v2.toml", &|file| std::fs::read_to_string(root.join(file)));
    Arc::new(Source {
        name: "lis".to_owned(),
        mapping: mapping.unwrap(),
        zone: TimeZone::UTC,
        facility: None,
        charset: CharsetSetting::Auto,
        limits: Limits::default(),
        site: Arc::default(),
    })
});

/// So many of something in an ordinary run.
fn many(count: usize) -> usize {
    let share = std::env::var("HEYI_LIMITS_SHARE").ok().map_or(100, |share| share.parse().expect("percent"));
    count * share / 100
}

/// A store that has taken in messages.
struct House {
    _directory: TempDir,
    store: Store,
    sent: usize,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
        Self { _directory: directory, store, sent: 0 }
    }

    /// Takes in a message of these segments.
    fn take(&mut self, kind: &str, segments: &str) -> Done {
        self.sent += 1;
        let header =
            format!("MSH|^~\\&|L|H|HEYI|H|2024030508{:02}||{kind}|C{}|P|2.5|||||CHN|UTF-8", self.sent, self.sent);
        let unit = pipeline::prepare(&LIS, format!("{header}\r{segments}").as_bytes(), 1_750_000_000_000_000);
        self.store.submit_blocking(move |transaction| pipeline::commit(transaction, unit, Cause::Message)).unwrap()
    }

    fn processed(&mut self, kind: &str, segments: &str) -> Done {
        let done = self.take(kind, segments);
        assert_eq!(done.state, MessageState::Processed, "{:?}", done.error);
        done
    }

    /// The message is refused whole, for this reason.
    fn refused(&mut self, kind: &str, segments: &str, reason: &str) {
        let done = self.take(kind, segments);
        let error = done.error.expect("it is refused");
        assert_eq!(done.state, MessageState::Failed);
        assert!(error.text.contains(reason), "{}", error.text);
    }

    fn report(&self, number: &str) -> Value {
        let read = self.store.read(|reader| {
            let report = clinical::lab_report(reader, "lis", number)?.expect("the report is stored");
            view::lab_report(&report, "-")
        });
        record::Value::Object(read.unwrap()).into()
    }

    fn bytes(&self, done: &Done) -> Vec<u8> {
        self.store.read(|reader| messages::bytes(reader, done.id)).unwrap().unwrap()
    }

    fn person(&self, done: &Done) -> Value {
        let read = self.store.read(|reader| {
            let message = messages::get(reader, done.id)?.expect("the message is stored");
            Ok(persons::get(reader, &message.outcome.one_id.expect("it is about a person"))?
                .expect("the person is stored"))
        });
        record::Value::Object(view::person(read.unwrap())).into()
    }
}

const PATIENT: &str = "PID|1||1^^^LIS^MR||张^伟||19600307|M\r";

fn results(report: &Value) -> &[Value] {
    report["results"].as_array().unwrap()
}

#[test]
fn one_value_of_many_megabytes() {
    let mut house = House::new();
    let document = "JVBERi0xLjQK".repeat(many(300_000));
    let done = house.processed(
        "ORU^R01",
        &format!("{PATIENT}OBR|1||F1\rOBX|1|ED|PDF||^AP^^Base64^{document}||||||F\rOBX|2|TX|T||{document}||||||F\r"),
    );
    assert_eq!(results(&house.report("F1"))[1]["value_text"].as_str().unwrap().len(), document.len());
    // A document is not for the feed; it stays in the message.
    assert!(house.bytes(&done).len() > 2 * document.len());
}

#[test]
fn twenty_thousand_results_twice() {
    let mut house = House::new();
    let count = many(20_000);
    let observations = |value: &str, status: &str| {
        (0..count)
            .map(|set| format!("OBX|{set}|NM|C{set}^项目||{value}|mmol/L|3.5-9.5|HH|||{status}\r"))
            .collect::<String>()
    };
    house.processed("ORU^R01", &format!("{PATIENT}OBR|1||F1\r{}", observations("5.1", "P")));
    house.processed("ORU^R01", &format!("{PATIENT}OBR|1||F1\r{}", observations("12.5", "F")));
    let report = house.report("F1");
    assert_eq!(results(&report).len(), count);
    assert!(
        results(&report)
            .iter()
            .all(|result| result["value_number"] == json!(12.5) && result["critical"] == json!(true))
    );
    assert_eq!(report["version"], json!(4));
}

#[test]
fn results_that_share_one_code() {
    let mut house = House::new();
    let count = many(20_000);
    let lines: String = (0..count).map(|set| format!("OBX|{set}|TX|TEXT||line {set}||||||F\r")).collect();
    house.processed("ORU^R01", &format!("{PATIENT}OBR|1||F1\r{lines}"));
    let report = house.report("F1");
    let texts = results(&report).iter().map(|result| result["value_text"].as_str().unwrap().to_owned());
    assert!(texts.eq((0..count).map(|set| format!("line {set}"))));
}

#[test]
fn observations_that_nobody_can_read() {
    let mut house = House::new();
    let lines: String = (0..many(20_000)).map(|set| format!("OBX|{set}|NM|C{set}||5||||||?\r")).collect();
    house.processed("ORU^R01", &format!("{PATIENT}OBR|1||F1\rOBX|0|NM|C||5||||||F\r{lines}"));
    assert_eq!(results(&house.report("F1")).len(), 1);
}

#[test]
fn five_thousand_reports_in_one_message() {
    let mut house = House::new();
    let count = many(5_000);
    let orders: String = (0..count)
        .map(|set| format!("ORC|RE|P{set}\rOBR|{set}|P{set}|F{set}|C\rNTE|1||n\rOBX|1|NM|C||5||||||F\r"))
        .collect();
    house.processed("ORU^R01", &format!("{PATIENT}{orders}"));
    for set in [0, count - 1] {
        assert_eq!(house.report(&format!("F{set}"))["placer_order_number"], json!(format!("P{set}")));
    }
}

#[test]
fn one_report_over_five_thousand_orders() {
    let mut house = House::new();
    let count = many(5_000);
    let orders: String = (0..count).map(|set| format!("OBR|{set}||F1|C\rOBX|1|NM|C{set}||5||||||F\r")).collect();
    house.processed("ORU^R01", &format!("{PATIENT}{orders}"));
    assert_eq!(results(&house.report("F1")).len(), count);
}

#[test]
fn a_value_of_ten_thousand_repetitions_and_one_of_as_many_components() {
    let mut house = House::new();
    let count = many(10_000);
    let numbers: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    house.processed(
        "ORU^R01",
        &format!(
            "{PATIENT}OBR|1||F1\rOBX|1|ST|R||{}||||||F\rOBX|2|ST|C||{}||||||F\r",
            numbers.join("~"),
            numbers.join("^")
        ),
    );
    let report = house.report("F1");
    assert_eq!(results(&report)[0]["value_text"], json!(numbers.join("~")));
    assert_eq!(results(&report)[1]["value_text"], json!(numbers.join("^")));
}

#[test]
fn a_value_made_of_escapes() {
    let mut house = House::new();
    let count = many(100_000);
    let values = ["\\T\\", "\\X41\\", "\\X4", "\\", "\\.br\\a", "\\XFF\\", "\\E\\X0D\\"];
    let observations: String = values
        .iter()
        .zip(0..)
        .map(|(value, set)| format!("OBX|{set}|ST|C{set}||{}|||||||F\r", value.repeat(count)))
        .collect();
    house.processed("ORU^R01", &format!("{PATIENT}OBR|1||F1\r{}", observations.replace("|||||||F", "||||||F")));
    let report = house.report("F1");
    let length = |set: usize| results(&report)[set]["value_text"].as_str().unwrap().len();
    assert_eq!((length(0), length(1)), (count, count));
    assert!(values.iter().enumerate().all(|(set, _)| length(set) >= count));
}

#[test]
fn numbers_of_a_patient_up_to_the_limit_and_beyond() {
    let mut house = House::new();
    let count = many(1_000);
    let numbers = |count: usize, of: fn(usize) -> String| {
        let numbers: Vec<String> = (0..count).map(|number| format!("{number}^^^{}^MR", of(number))).collect();
        format!("PID|1||{}||张^伟\r", numbers.join("~"))
    };
    let of_one = |_: usize| "A".to_owned();
    let of_many = |number: usize| format!("A{number}");
    for patient in [numbers(count, of_one), numbers(count, of_many)] {
        let done = house.processed("ADT^A28", &patient);
        house.processed("ADT^A31", &patient);
        assert_eq!(house.person(&done)["identifiers"].as_array().unwrap().len(), count);
    }
    house.refused("ADT^A28", &numbers(5_000, of_many), "more than 1000 items");
}

#[test]
fn as_many_segments_and_fields_as_may_be() {
    let mut house = House::new();
    let limits = Limits::default();
    let segments = |count: usize| format!("{PATIENT}{}", "ZZZ|1\r".repeat(count));
    house.processed("ADT^A28", &segments(many(limits.segments) - 2));
    house.refused("ADT^A28", &segments(limits.segments), "the limit is 50000");

    let fields = "|".repeat(limits.fields_of_segment);
    house.processed(
        "ADT^A28",
        &format!("{PATIENT}{}", format!("ZZZ{fields}\r").repeat(many(limits.fields / limits.fields_of_segment) - 1)),
    );
    house.refused("ADT^A28", &format!("{PATIENT}ZZZ{fields}|\r"), "the limit is 1000");

    let parts = "~^".repeat(many(limits.parts_of_field / 2) - 1);
    house.processed("ADT^A28", &format!("PID|1||1^^^LIS^MR||张^伟{parts}\r"));
    house.refused(
        "ADT^A28",
        &format!("{PATIENT}ZZZ|{}\r", "~".repeat(limits.parts_of_field + 1)),
        "the limit is 100000",
    );
}

#[test]
fn many_patients_in_one_message() {
    let mut house = House::new();
    let count = many(1_000);
    let patients: String = (0..count)
        .map(|patient| format!("PID|1||{patient}^^^LIS^MR||张^伟\rPV1|1|I|||||||||||||||||V{patient}\rOBR|1||F{patient}\rOBX|1|NM|C||5||||||F\r"))
        .collect();
    house.processed("ORU^R01", &patients);
    assert_eq!(results(&house.report(&format!("F{}", count - 1))).len(), 1);
}

#[test]
fn a_patient_with_many_notes_diagnoses_and_relatives() {
    let mut house = House::new();
    let count = many(1_000);
    let relatives: String = (0..count).map(|set| format!("NK1|{set}|李^{set}\rNTE|1||n\r")).collect();
    let diagnoses: String = (0..count).map(|set| format!("DG1|{set}||D{set}\r")).collect();
    let done = house.processed("ADT^A01", &format!("{PATIENT}{relatives}PV1|1|I|||||||||||||||||V1\r{diagnoses}"));
    assert_eq!(house.person(&done)["contacts"].as_array().unwrap().len(), count);
}
