//! The base mapping beside the HL7 v2-to-FHIR guide: for each sample message that lies beside the checkout, what the guide's rules
//! make of a field, read here by other means, and what the record says. Differences are counted by the rule that explains them; one
//! that none explains fails the test. Without the samples the test says that it was skipped.

#![allow(clippy::panic, clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heyi::hl7v2::{CharsetSetting, Limits, Message, batch};
use heyi::mapping::{Context, Disposition, Mapped, Mapping};
use heyi::record::{Fields, Kind, Value};
use jiff::tz::TimeZone;

/// Where the guide and the records differ on purpose.
const RULES: [(&str, &str); 5] = [
    ("text in number", "words sent as a number are text"),
    ("ucum", "units are UCUM where the table knows them"),
    (
        "status",
        "statuses that the guide has and the contract does not: amended is corrected, unverified is preliminary",
    ),
    ("not kept", "documents, images and wave forms are kept in the message only"),
    ("name", "a name of one part is the whole name"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn corpus() -> PathBuf {
    std::env::var_os("HEYI_CORPUS").map_or_else(|| root().join("../shared/corpus"), PathBuf::from)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.into_iter().flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A concept map of the guide: code of HL7 v2 to code of FHIR, rows without a target left out.
fn concepts(name: &str) -> BTreeMap<String, String> {
    let file = corpus().join(format!("v2-to-fhir/HL7 Concept Map_ {name} - Sheet1.csv"));
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(file).unwrap();
    let rows = reader.records().map(Result::unwrap);
    let header = |row: &csv::StringRecord| row.iter().filter(|cell| *cell == "Code").count() == 2;
    let (mut source, mut target) = (0, 0);
    let mut map = BTreeMap::new();
    for row in rows {
        if header(&row) {
            let columns: Vec<usize> = (0..row.len()).filter(|&column| &row[column] == "Code").collect();
            (source, target) = (columns[0], columns[1]);
        } else if let (true, Some(code), Some(meant)) = (target > 0, row.get(source), row.get(target))
            && !code.is_empty()
            && !meant.is_empty()
        {
            map.insert(code.to_owned(), meant.to_owned());
        }
    }
    map
}

/// A segment as text split at its separators: nothing of the library's reading.
struct Line<'m> {
    name: &'m str,
    fields: Vec<&'m str>,
}

impl<'m> Line<'m> {
    fn of(line: &'m str) -> Self {
        let fields: Vec<&str> = line.split('|').collect();
        Self { name: fields[0], fields }
    }

    fn field(&self, number: usize) -> &'m str {
        self.fields.get(number).copied().unwrap_or_default()
    }

    /// Component and subcomponent of the first repetition.
    fn part(&self, field: usize, component: usize) -> &'m str {
        part(self.field(field).split('~').next().unwrap_or_default(), component)
    }
}

fn part(repetition: &str, component: usize) -> &str {
    let component = repetition.split('^').nth(component - 1).unwrap_or_default();
    component.split('&').next().unwrap_or_default().trim()
}

#[derive(Default)]
struct Tally {
    equal: usize,
    explained: BTreeMap<&'static str, usize>,
    /// Each of them, for a reader.
    told: Vec<String>,
    wrong: Vec<String>,
}

impl Tally {
    /// `rule` names the reason for which the two may differ.
    fn compare(&mut self, place: &str, expected: &str, found: Option<String>, rule: Option<&'static str>) {
        match (found.as_deref() == Some(expected), rule) {
            (true, _) => self.equal += 1,
            (false, Some(rule)) => {
                assert!(RULES.iter().any(|(known, _)| *known == rule), "{rule}");
                *self.explained.entry(rule).or_default() += 1;
                self.told.push(format!("{rule}: {place}: the guide says {expected:?}, the record {found:?}"));
            }
            (false, None) => self.wrong.push(format!("{place}: the guide says {expected:?}, the record {found:?}")),
        }
    }
}

fn text(fields: &Fields, name: &str) -> Option<String> {
    fields.get(name).and_then(|value| value.as_str().map(str::to_owned))
}

fn of_kind(mapped: &Mapped, kind: Kind) -> impl Iterator<Item = &Fields> {
    mapped.records.iter().filter(move |record| record.kind == kind).map(|record| &record.fields)
}

struct Guide {
    sex: BTreeMap<String, String>,
    class: BTreeMap<String, String>,
    report: BTreeMap<String, String>,
    result: BTreeMap<String, String>,
}

impl Guide {
    fn patient(&self, tally: &mut Tally, place: &str, pid: &Line<'_>, patient: &Fields) {
        let identifiers = patient.get("identifiers").and_then(Value::as_array).cloned().unwrap_or_default();
        for number in pid
            .field(3)
            .split('~')
            .map(|number| part(number, 1))
            .filter(|number| !number.is_empty() && *number != "\"\"")
        {
            let found = identifiers.iter().find(|identifier| identifier["value"] == *number);
            tally.compare(&format!("{place} PID-3"), number, found.map(|_| number.to_owned()), None);
        }
        // The guide keeps every repetition; a record has one name, and that is the legal one.
        let names = || pid.field(5).split('~');
        let name = names().find(|name| part(name, 7) == "L").or_else(|| names().next()).unwrap_or_default();
        // XPN.2 and XPN.3 are given names, in this order.
        let given = [2, 3].map(|component| part(name, component)).into_iter().find(|given| !given.is_empty());
        let (family, given) = (part(name, 1), given.unwrap_or_default());
        if family.is_empty() != given.is_empty() {
            tally.compare(&format!("{place} PID-5"), &format!("{family}{given}"), text(patient, "name"), Some("name"));
        } else if !family.is_empty() {
            tally.compare(&format!("{place} PID-5.1"), family, text(patient, "family_name"), None);
            tally.compare(&format!("{place} PID-5.2"), given, text(patient, "given_name"), None);
        }
        let born = pid.part(7, 1);
        if born.len() >= 8 {
            let expected = format!("{}-{}-{}", &born[..4], &born[4..6], &born[6..8]);
            tally.compare(&format!("{place} PID-7"), &expected, text(patient, "birth_date"), None);
        }
        if let Some(sex) = self.sex.get(pid.part(8, 1)) {
            tally.compare(&format!("{place} PID-8"), sex, text(patient, "sex"), None);
        }
    }

    fn visit(&self, tally: &mut Tally, place: &str, pv1: &Line<'_>, visit: &Fields) {
        if !pv1.part(19, 1).is_empty() {
            tally.compare(&format!("{place} PV1-19"), pv1.part(19, 1), text(visit, "number"), None);
        }
        let class = match self.class.get(pv1.part(2, 1)).map(String::as_str) {
            Some("EMER") => "emergency",
            Some("IMP") => "inpatient",
            Some("AMB") => "outpatient",
            _ => return,
        };
        tally.compare(&format!("{place} PV1-2"), class, text(visit, "class"), None);
    }

    fn report(&self, tally: &mut Tally, place: &str, obr: &Line<'_>, report: &Fields) {
        for (field, name) in [(2, "placer_order_number"), (3, "filler_order_number")] {
            if !obr.part(field, 1).is_empty() {
                tally.compare(&format!("{place} OBR-{field}"), obr.part(field, 1), text(report, name), None);
            }
        }
        let panel = report.get("panel").and_then(Value::as_object).cloned().unwrap_or_default();
        if !obr.part(4, 1).is_empty() {
            tally.compare(&format!("{place} OBR-4"), obr.part(4, 1), text(&panel, "code"), None);
        }
        if let Some(status) = self.report.get(obr.part(25, 1)) {
            let rule = (status == "partial").then_some("status");
            tally.compare(&format!("{place} OBR-25"), status, text(report, "status"), rule);
        }
    }

    fn result(&self, tally: &mut Tally, place: &str, obx: &Line<'_>, result: &Fields) {
        if !obx.part(3, 1).is_empty() {
            tally.compare(&format!("{place} OBX-3"), obx.part(3, 1), text(result, "code"), None);
        }
        if let Some(status) = self.result.get(obx.part(11, 1)) {
            let rule = (status == "amended").then_some("status");
            tally.compare(&format!("{place} OBX-11"), &status.replace('-', "_"), text(result, "status"), rule);
        }
        let unit = obx.part(6, 1);
        if !unit.is_empty() {
            tally.compare(&format!("{place} OBX-6"), unit, text(result, "unit"), Some("ucum"));
        }
        let number = || result.get("value_number").map(Value::to_string);
        let value_text = || text(result, "value_text");
        let (value, place) = (obx.field(5), format!("{place} OBX-5"));
        if value.is_empty() || value == "\"\"" {
            return;
        }
        match obx.part(2, 1) {
            "DT" | "TS" | "DTM" if value.len() >= 8 && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let date = format!("{}-{}-{}", &value[..4], &value[4..6], &value[6..8]);
                let found = value_text().map(|text| text.chars().take(10).collect());
                tally.compare(&place, &date, found, None);
            }
            "NM" => {
                let expected: Option<f64> = value.trim().parse().ok();
                match (expected, number()) {
                    (Some(expected), Some(found)) if found.parse() == Ok(expected) => tally.equal += 1,
                    (None, None) => tally.compare(&place, value, value_text(), Some("text in number")),
                    (None, Some(_)) => tally.compare(&place, value, value_text(), None),
                    (_, found) => tally.compare(&place, value, found, None),
                }
            }
            "SN" => {
                let whole: String = value.split('^').collect();
                let comparator = text(result, "comparator").unwrap_or_default();
                let found = number().map(|number| format!("{comparator}{number}")).or_else(value_text);
                tally.compare(&place, &whole, found, None);
            }
            "CE" | "CWE" | "CNE" if value.contains('^') && !value.contains('~') => {
                let code = result.get("value_code").and_then(Value::as_object).cloned().unwrap_or_default();
                let expected = [1, 4].map(|component| part(value, component)).into_iter().find(|code| !code.is_empty());
                if let Some(expected) = expected {
                    tally.compare(&place, expected, text(&code, "code"), None);
                }
            }
            "ED" | "RP" | "NA" | "MA" | "HD" => tally.compare(&place, value, value_text(), Some("not kept")),
            "ST" | "TX" | "FT" if !value.contains(['\\', '~', '^']) => {
                // A number that was sent as text (OBX-2 lies) is a number, with the digits as sent.
                tally.compare(&place, value.trim(), value_text().or_else(number), None);
            }
            _ => {}
        }
    }
}

#[test]
fn records_say_what_the_guide_says() {
    if !corpus().is_dir() {
        println!("SKIPPED: no corpus beside the checkout and HEYI_CORPUS is not set");
        return;
    }
    let read = |name: &str| std::fs::read_to_string(root().join(name));
    let mapping = Mapping::load("mappings/hl7v2.toml", &read).unwrap();
    let guide = Guide {
        sex: concepts("AdministrativeSex"),
        class: concepts("PatientClass[EncounterClass]"),
        report: concepts("ResultStatus[Non-Queries]"),
        result: concepts("ObservationResultStatusCodesInterpretation"),
    };
    let mut tally = Tally::default();
    for file in files_below(&corpus().join("hl7v2")) {
        let bytes = std::fs::read(&file).unwrap();
        for raw in batch::split(&bytes).messages {
            let (message, _) = Message::read(raw, &CharsetSetting::Auto, &Limits::default()).unwrap();
            let Ok(mapped) = mapping.apply(&message, &Context { zone: &TimeZone::UTC, facility: None, explain: false })
            else {
                continue;
            };
            let is_plain = message.text().starts_with("MSH|^~\\&|");
            if mapped.disposition != Disposition::Records || !is_plain {
                continue;
            }
            let place = format!("{} {}", file.file_name().unwrap().to_string_lossy(), message.control_id());
            let lines: Vec<Line<'_>> =
                message.text().split('\r').filter(|line| !line.is_empty()).map(Line::of).collect();
            let named = |name: &'static str| lines.iter().filter(move |line| line.name == name);
            // More patients than one, or orders without a report of their own: positions would not tell which is which.
            for (pid, patient) in named("PID").zip(of_kind(&mapped, Kind::Patient)).take(1) {
                guide.patient(&mut tally, &place, pid, patient);
            }
            for (pv1, visit) in named("PV1").zip(of_kind(&mapped, Kind::Visit)).take(1) {
                guide.visit(&mut tally, &place, pv1, visit);
            }
            if !["ORU", "OUL"].contains(&message.message_type()) {
                continue;
            }
            let reports: Vec<&Fields> = of_kind(&mapped, Kind::LabReport).collect();
            if named("OBR").count() != reports.len() {
                continue;
            }
            for (obr, report) in named("OBR").zip(&reports) {
                guide.report(&mut tally, &place, obr, report);
            }
            let mut results =
                reports.iter().flat_map(|report| report.get("results").and_then(Value::as_array)).flatten();
            let left_out = |obx: usize| {
                let place = if named("OBX").count() > 1 { format!("OBX[{obx}]") } else { "OBX".to_owned() };
                mapped.skipped.iter().any(|skipped| skipped.path == place)
                    || mapped.rejected.iter().any(|rejected| rejected.path.starts_with(&format!("{place}-11")))
            };
            for (obx, line) in named("OBX").enumerate().filter(|(obx, _)| !left_out(obx + 1)) {
                let result = results.next().and_then(Value::as_object).unwrap();
                guide.result(&mut tally, &format!("{place} OBX[{}]", obx + 1), line, result);
            }
        }
    }
    let (explained, wrong): (usize, usize) = (tally.explained.values().sum(), tally.wrong.len());
    let all = tally.equal + explained + wrong;
    println!("{all} fields compared: {} equal, {explained} explained, {wrong} not explained", tally.equal);
    for (rule, count) in &tally.explained {
        let meaning = RULES.iter().find(|(known, _)| known == rule).map(|(_, meaning)| *meaning).unwrap_or_default();
        println!("  {count:4} {rule}: {meaning}");
    }
    for line in tally.told.iter().chain(&tally.wrong) {
        println!("  {line}");
    }
    assert!(tally.equal > 0 && tally.wrong.is_empty(), "{:#?}", tally.wrong);
}
