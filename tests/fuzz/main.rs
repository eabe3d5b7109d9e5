//! The fuzzers' entries (`fuzz/entries.rs`) over invented input: any bytes, and the shipped fixtures and files with something
//! broken in them. `HEYI_FUZZ_CASES=100000 cargo test --release --test fuzz` looks longer; `cargo fuzz` looks better.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is tests")]

#[path = "../../fuzz/entries.rs"]
mod entries;

use std::path::Path;
use std::sync::LazyLock;

use heyi::source::frame;
use proptest::prelude::*;

/// Inputs of an ordinary run, for each test.
const CASES: u32 = 300;

fn cases() -> u32 {
    std::env::var("HEYI_FUZZ_CASES").ok().map_or(CASES, |cases| cases.parse().expect("a number of inputs"))
}

/// The files of some folders with one of these endings, below the project's root.
fn files(folders: &[&str], ending: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

static MESSAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folders = ["hl7v2", "his", "lis", "ris", "emr-v2", "hospital-day"].map(|name| format!("fixtures/{name}"));
    files(&folders.each_ref().map(String::as_str), "hl7")
});
static MAPPINGS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| files(&["mappings"], "toml"));
static POLICIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| files(&["policies"], "toml"));
static CONFIGURATIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| files(&["config"], "toml"));

/// Paths that ask for most of what there is.
static FHIRPATHS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let paths = [
        "Observation.value.ofType(Quantity).value > 1.5 and subject.resolve().active",
        "descendants() | Patient.descendants()",
        "result.resolve() | result.resolve().repeat(hasMember.resolve())",
        "name.where(use = 'official' or use.empty()).given.first() & ' ' & name[0].family.upper()",
        "birthDate > @1970-01-01 and birthDate.extension('urn:x').value is dateTime",
        "descendants().where($this is string).select($this.replace('a', 'bb').substring(0, 3)).join(',')",
        "(1 | 2 | 3).aggregate($this + $total, 0) = 6 implies iif(active, 4 'mg', 5 days) ~ 4 'mg'",
        "code.coding.where(system = %loinc).code.matches('^[0-9]+-[0-9]$')",
        "-1.5.round(1) * 2 div 1 mod 7 = '3'.toInteger() - @2015.toString().length()",
    ];
    paths.iter().map(|path| path.as_bytes().to_vec()).collect()
});
/// A Bundle with contained resources, references of each kind, and extensions beside primitives.
static RESOURCES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let bundle = r##"{"resourceType": "Bundle", "entry": [
        {"fullUrl": "https://a/fhir/DiagnosticReport/r", "resource": {"resourceType": "DiagnosticReport", "id": "r", "status": "final",
          "subject": {"reference": "Patient/1"}, "result": [{"reference": "urn:uuid:o"}, {"reference": "#c"}, {"reference": "Observation/2/_history/1"}],
          "contained": [{"resourceType": "Observation", "id": "c", "valueString": "+", "hasMember": [{"reference": "urn:uuid:o"}]}]}},
        {"fullUrl": "https://a/fhir/Patient/1", "resource": {"resourceType": "Patient", "id": "1", "active": true, "birthDate": "1974-12-25",
          "_birthDate": {"extension": [{"url": "urn:x", "valueDateTime": "1974-12-25T10:00:00Z"}]},
          "name": [{"use": "official", "family": "a", "given": ["b", null], "_given": [null, {"id": "g"}]}]}},
        {"fullUrl": "urn:uuid:o", "resource": {"resourceType": "Observation", "valueQuantity": {"value": 1.50, "unit": "mg"},
          "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}]}}},
        {"resource": {"resourceType": "Observation", "id": "2", "component": [{"valueInteger": 12}]}}]}"##;
    vec![bundle.as_bytes().to_vec()]
});

const JSON_PIECES: [&[u8]; 14] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"null",
    b"1e99",
    b"\"resourceType\": \"Patient\",",
    b"\"valueString\": \"x\",",
    b"\\u0000",
    b"\"reference\": \"#r\",",
    b"-0.0",
];

const FHIRPATH_PIECES: [&[u8]; 20] = [
    b".",
    b"(",
    b")",
    b"[0]",
    b"'",
    b"`",
    b"\\",
    b"$this",
    b"%resource",
    b" is ",
    b" as ",
    b"{}",
    b" | ",
    b"~",
    b".repeat($this)",
    b".descendants()",
    b".children()",
    b".value",
    b"/*",
    b"@2015",
];

/// Pieces at which readers of HL7 stumble.
const HL7_PIECES: [&[u8]; 22] = [
    b"|",
    b"^",
    b"~",
    b"&",
    b"\\",
    b"\\E\\",
    b"\\X0D\\",
    b"\\XFFFD\\",
    b"\\Cxx\\",
    b"\"\"",
    b"\r",
    b"\n",
    b"\rMSH|",
    b"\rOBX|",
    b"\rPID|",
    b"\x0B",
    b"\x1C\r",
    b"\xEF\xBF\xBD",
    b"\xFF",
    b"\x81\x5C",
    "≥1000".as_bytes(),
    "弱阳性(±)".as_bytes(),
];

const TOML_PIECES: [&[u8]; 16] = [
    b"[",
    b"]",
    b"[[",
    b"]]",
    b"\"",
    b"'",
    b"=",
    b"{",
    b"}",
    b"\n",
    b" = 1\n",
    b"PID-3[5=",
    b"when = \"not (\"",
    b"extends = \"x\"\n",
    b"1e999",
    "每".as_bytes(),
];

/// One thing that goes wrong with a text: where (in a thousandth of its length), how much, and what is put there.
#[derive(Debug, Clone)]
enum Damage {
    Put(usize, Vec<u8>),
    Cut(usize, usize),
    Repeat(usize, usize, usize),
    Flip(usize, u8),
    /// Two lines change places.
    Swap(usize, usize),
}

fn any_damage(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Damage> {
    let place = || 0..1_000_usize;
    prop_oneof![
        4 => (place(), prop::sample::select(pieces)).prop_map(|(place, piece)| Damage::Put(place, piece.to_vec())),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(place, bytes)| Damage::Put(place, bytes)),
        2 => (place(), 1..40_usize).prop_map(|(place, length)| Damage::Cut(place, length)),
        1 => (place(), 1..200_usize, 1..20_usize).prop_map(|(place, length, times)| Damage::Repeat(place, length, times)),
        2 => (place(), any::<u8>()).prop_map(|(place, bits)| Damage::Flip(place, bits)),
        1 => (place(), place()).prop_map(|(one, other)| Damage::Swap(one, other)),
    ]
}

fn damage(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let at = |place: usize| bytes.len() * place / 1_000;
        match damage {
            Damage::Put(place, piece) => drop(bytes.splice(at(*place)..at(*place), piece.iter().copied())),
            Damage::Cut(place, length) => drop(bytes.drain(at(*place)..(at(*place) + length).min(bytes.len()))),
            Damage::Repeat(place, length, times) => {
                let piece = bytes[at(*place)..(at(*place) + length).min(bytes.len())].repeat(*times);
                bytes.splice(at(*place)..at(*place), piece);
            }
            Damage::Flip(place, bits) => {
                let at = at(*place);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Damage::Swap(one, other) => {
                let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')).collect();
                if !lines.is_empty() {
                    let count = lines.len();
                    lines.swap(count * one / 1_000, count * other / 1_000);
                    bytes = lines.concat();
                }
            }
        }
    }
    bytes
}

/// An input that shows itself as text when it fails.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "b\"{}\"", self.0.escape_ascii())
    }
}

fn damaged(files: &'static LazyLock<Vec<Vec<u8>>>, pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Bytes> {
    (prop::sample::select(&files[..]), prop::collection::vec(any_damage(pieces), 0..6))
        .prop_map(|(bytes, damages)| Bytes(damage(bytes, &damages)))
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes)
}

/// Bytes after a header, so that they are read as a message.
fn after_a_header() -> impl Strategy<Value = Bytes> {
    any_bytes()
        .prop_map(|bytes| Bytes([b"MSH|^~\\&|A|B|C|D|20240305||ORU^R01|1|P|2.5\r".as_slice(), &bytes.0].concat()))
}

fn any_message() -> impl Strategy<Value = Bytes> {
    prop_oneof![1 => any_bytes(), 1 => after_a_header(), 6 => damaged(&MESSAGES, &HL7_PIECES)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_is_read_whole_or_refused(bytes in any_message()) {
        entries::message(&bytes.0);
    }

    #[test]
    fn each_observation_of_a_message_is_accounted_for(bytes in any_message()) {
        entries::mapping(&bytes.0);
    }

    #[test]
    fn a_path_means_something_or_says_where_it_is_wrong(
        path in prop_oneof![".{0,20}", "[A-Z][A-Z0-9]{2}(\\[[0-9*]{1,3}\\])?-[0-9]{1,3}(\\[[0-9*=,A-Z ]{1,8}\\])?(\\.[0-9]{1,2}){0,2}"],
        message in any_message(),
    ) {
        entries::path(&[path.as_bytes(), b"\n", &message.0].concat());
    }

    #[test]
    fn a_fhirpath_yields_the_same_twice_or_says_where_it_is_wrong(
        path in prop_oneof![1 => any_bytes(), 4 => damaged(&FHIRPATHS, &FHIRPATH_PIECES)],
        resource in damaged(&RESOURCES, &JSON_PIECES),
    ) {
        let line: Vec<u8> = path.0.into_iter().filter(|byte| *byte != b'\n').collect();
        entries::fhirpath(&[line.as_slice(), b"\n", &resource.0].concat());
    }

    #[test]
    fn a_stream_is_cut_into_frames_in_one_way(
        parts in prop::collection::vec((any::<bool>(), any_message()), 0..4), size in any::<u8>(),
    ) {
        let framed = |(whole, bytes): (bool, Bytes)| if whole { frame::framed(&bytes.0) } else { bytes.0 };
        let stream: Vec<u8> = parts.into_iter().flat_map(framed).collect();
        entries::frames(&[&[size], stream.as_slice()].concat());
    }

    #[test]
    fn a_time_is_one_or_is_refused(text in prop_oneof![".{0,20}", "[0-9]{0,16}(\\.[0-9]{0,5})?([+-][0-9]{0,4})?"]) {
        entries::time(text.as_bytes());
    }

    #[test]
    fn a_value_and_its_range_are_kept(
        value in prop_oneof!["[^\r\n]{0,16}", "[<>≤≥＜＞]?=?[0-9.,+-]{0,9}( ?(mmol/L|%|↑|↓|H|L|[*^]))?", "[阴阳弱性未检出()（）:：±+-]{0,8}"],
        range in prop_oneof!["[^\r\n]{0,16}", "[<>≤≥男女:：0-9.~～—-]{0,16}", "[0-9.]{1,4}[-~～][0-9.]{1,4}.{0,4}"],
    ) {
        entries::laboratory(format!("{value}\n{range}").as_bytes());
    }

    #[test]
    fn a_mapping_file_loads_or_says_why_not(
        bytes in prop_oneof![1 => any_bytes(), 4 => damaged(&MAPPINGS, &TOML_PIECES)],
    ) {
        entries::mapping_file(&bytes.0);
    }

    #[test]
    fn a_policy_loads_or_says_why_not_and_a_mask_shows_no_more_than_it_may(
        bytes in prop_oneof![1 => any_bytes(), 4 => damaged(&POLICIES, &TOML_PIECES)],
    ) {
        entries::policy_file(&bytes.0);
    }

    #[test]
    fn a_configuration_loads_or_says_why_not(
        bytes in prop_oneof![1 => any_bytes(), 4 => damaged(&CONFIGURATIONS, &TOML_PIECES)],
    ) {
        entries::configuration(&bytes.0);
    }
}
