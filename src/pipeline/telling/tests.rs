use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use crate::feed::TypeFilter;
use crate::hl7v2::{CharsetSetting, Limits};
use crate::identity::{ManualDecision, ManualStep};
use crate::mapping::Mapping;
use crate::pipeline::{self, Cause, FIRST_DUE, Order, Removal, Site, Source};
use crate::record::{Fields, RecordNumber, Value};
use crate::state::{LabReportState, PatientState, VisitState};
use crate::store::clinical;
use crate::store::messages::{ContentDigest, MessageState};
use crate::store::resources::{ReadResource, Ready, ResourceName, ResourceState};
use crate::store::reviews::{self, Review, ReviewFilter};
use crate::store::{Access, PackedBytes, Store, StoreConfig, StoreError, Transaction, events, records};

mod giving_way;
mod histories;

const MAPPING: &str = r#"
format = "fhir"

[patient]
each = "Patient"
name = "name.text"
sex = "gender"
birth_date = "birthDate"
updated_at = "meta.lastUpdated"

[[patient.identifiers]]
each = "identifier"
type = { constant = "mrn" }
system = "system"
value = "value"

[[patient.identifiers]]
when_none = { type = "mrn" }
each = "Patient"
type = { constant = "mrn" }
system = { constant = "emr" }
value = "id"

[[merge]]
each = "Patient.link.where(type = 'replaced-by' and other.resolve().exists())"
updated_at = "Patient.meta.lastUpdated"

[[merge.survivor]]
each = "other.resolve().ofType(Patient).id"
type = { constant = "mrn" }
system = { constant = "emr" }
value = "$this"

[[merge.retired]]
each = "Patient.id"
type = { constant = "mrn" }
system = { constant = "emr" }
value = "$this"

[visit]
each = "Encounter"
number = { from = ["identifier.value", "id"], required = true }
number_system = "identifier.system"
status = { from = "status", table = "status" }
reason = "reasonCode.text"
facility = "serviceProvider.resolve().name"
updated_at = "meta.lastUpdated"

[[lab_report]]
each = "DiagnosticReport"
filler_order_number = { from = "id", required = true }
visit_number = ["encounter.resolve().identifier.value", "encounter.resolve().id"]
status = { from = "status", table = "report_status" }
updated_at = "meta.lastUpdated"

[[lab_report.results]]
each = "result.resolve()"
code = "code.text"
value_text = "value.ofType(string)"
status = { constant = "final" }

[tables]
status = "status.csv"
report_status = "report_status.csv"
"#;

fn source(mapping: &str) -> Arc<Source> {
    let read = |name: &str| match name {
        "emr.toml" => Ok(mapping.to_owned()),
        "status.csv" => {
            Ok("source,target,note\nplanned,planned,\nin-progress,in_progress,\nfinished,finished,\n".to_owned())
        }
        "report_status.csv" => Ok("source,target,note\nfinal,final,\npreliminary,preliminary,\n".to_owned()),
        _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
    };
    Arc::new(Source {
        name: "emr".to_owned(),
        mapping: Mapping::load("emr.toml", &read).unwrap(),
        zone: TimeZone::UTC,
        facility: None,
        charset: CharsetSetting::Auto,
        limits: Limits::default(),
        site: Arc::new(Site {
            owners: ["HIS-VISIT", "OTHERS"].into_iter().map(|system| (system.to_owned(), "his".to_owned())).collect(),
            ..Site::default()
        }),
    })
}

/// A server's resources as the mirror gets them, and what Heyi tells of them.
struct Server {
    _directory: tempfile::TempDir,
    store: Store,
    source: Arc<Source>,
    clock: i64,
    seen: u64,
}

impl Server {
    fn new() -> Self {
        Self::with(MAPPING)
    }

    /// One that no other source is beside.
    fn without_owners() -> Self {
        let mut server = Self::new();
        Arc::get_mut(&mut server.source).unwrap().site = Arc::default();
        server
    }

    fn with(mapping: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
        Self { _directory: directory, store, source: source(mapping), clock: 0, seen: 0 }
    }

    /// Resources written `Type/id` with their members; the server's clock goes on by a second.
    fn has(&mut self, resources: &[(&str, Json)]) {
        self.clock += 1;
        let read: Vec<ReadResource> =
            resources.iter().map(|(text, members)| self.read(text, members.clone())).collect();
        self.enter(read);
        self.tell();
    }

    fn enter(&self, read: Vec<ReadResource>) {
        self.store.submit_blocking(move |t| pipeline::enter(t, "emr", &read, &[], Order::Arrival, 1)).unwrap();
    }

    fn read(&self, text: &str, mut members: Json) -> ReadResource {
        let name = name(text);
        members["resourceType"] = json!(name.kind);
        members["id"] = json!(name.id);
        members["meta"] =
            json!({"lastUpdated": format!("2026-11-22T08:00:{:02}Z", self.clock), "versionId": self.clock.to_string()});
        let body = members.to_string();
        let mut references = Vec::new();
        for part in body.split("\"reference\":\"").skip(1) {
            references.push(super::tests::name(part.split('"').next().unwrap()));
        }
        ReadResource {
            version: Some(self.clock.to_string()),
            updated_at: Some(self.clock),
            digest: ContentDigest::of(body.as_bytes()),
            body: PackedBytes::pack(body.as_bytes()),
            references,
            refresh_at: None,
            unreadable: None,
            name,
        }
    }

    fn loses(&mut self, text: &str) {
        self.forget(text);
        self.tell();
    }

    /// A resource is deleted; nothing is told as yet.
    fn forget(&self, text: &str) {
        let removal = [Removal { name: name(text), state: ResourceState::Deleted, at: None }];
        self.store.submit_blocking(move |t| pipeline::enter(t, "emr", &[], &removal, Order::Arrival, 1)).unwrap();
    }

    /// A resource as its bytes, of which nobody can make anything.
    fn has_unreadable(&mut self, text: &str, body: &str) -> Vec<MessageState> {
        self.clock += 1;
        let reason = crate::fhir::read_resource(body.as_bytes()).unwrap_err();
        let read = [ReadResource {
            version: Some(self.clock.to_string()),
            updated_at: Some(self.clock),
            digest: ContentDigest::of(body.as_bytes()),
            body: PackedBytes::pack(body.as_bytes()),
            references: Vec::new(),
            refresh_at: None,
            unreadable: Some(reason),
            name: name(text),
        }];
        self.enter(read.into());
        self.tell_all()
    }

    /// Messages in a state.
    fn count(&self, state: MessageState) -> u64 {
        let counts = self.store.read(|r| crate::store::statistics::read(&self.store, r)).unwrap().messages;
        counts.iter().filter(|count| count.state == state).map(|count| count.count).sum()
    }

    /// Tells until nothing is due: what is told may remind of something else.
    fn tell(&self) {
        let states = self.tell_all();
        assert!(states.iter().all(|state| *state == MessageState::Processed), "{states:?}");
    }

    /// What became of the messages.
    fn tell_all(&self) -> Vec<MessageState> {
        let mut states = Vec::new();
        for _ in 0..30 {
            states.extend(self.tell_some(usize::MAX));
            if self.store.read(|r| crate::store::resources::due_count(r, "emr")).unwrap() == 0 {
                return states;
            }
        }
        panic!("what is told reminds of something else without end");
    }

    /// The same of the first `limit` that are due.
    fn tell_some(&self, limit: usize) -> Vec<MessageState> {
        while self.store.submit_blocking(|t| pipeline::spread(t, "emr", 1)).unwrap() {}
        let due = self.store.read(|r| pipeline::due(r, "emr", FIRST_DUE, Ready::ALL, 2_000)).unwrap();
        let mut states = Vec::new();
        for due in due.into_iter().take(limit) {
            // A One ID is older than those of a later second, as everywhere.
            let now = 1_800_000_000_000_000 + self.clock * 1_000_000;
            let unit = pipeline::prepare_due(&self.source, due, now);
            let done = self.store.submit_blocking(move |t| pipeline::commit_due(t, unit, Cause::Poll)).unwrap();
            states.extend(done.map(|done| done.state));
        }
        states
    }

    /// Every record of the source, by its links: `HIS|1: 张三 male`, `… deleted`.
    fn patients(&self) -> Vec<String> {
        let shown = self.store.read(|reader| {
            let links = records::links(reader, 0, 99)?;
            links
                .into_iter()
                .map(|link| {
                    let record = records::get(reader, link.record)?.unwrap();
                    let state: PatientState = serde_json::from_str(&record.state).unwrap();
                    let fields = state.record();
                    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
                    let gone = if record.is_deactivated() { " deleted" } else { "" };
                    Ok(format!("{}: {} {}{gone}", record.number, text("name"), text("sex")))
                })
                .collect::<Result<Vec<_>, _>>()
        });
        shown.unwrap()
    }

    /// A visit: `V1 in_progress fever, of HIS|1`.
    fn visit(&self, number: &str) -> String {
        self.visit_of("emr", number)
    }

    fn visit_of(&self, source: &str, number: &str) -> String {
        let shown = self.store.read(|reader| {
            let Some(visit) = clinical::visit(reader, source, number)? else { return Ok("none".to_owned()) };
            let state: VisitState = serde_json::from_str(&visit.state).unwrap();
            let fields = state.record();
            let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
            let owner = records::get(reader, visit.record)?.unwrap();
            Ok(format!("{} {}, of {}", text("status"), text("reason"), owner.number))
        });
        shown.unwrap()
    }

    /// The name of the patient of a visit, as that one's own record has it.
    fn visit_name(&self, number: &str) -> String {
        let shown = self.store.read(|reader| {
            let visit = clinical::visit(reader, "emr", number)?.unwrap();
            let owner = records::get(reader, visit.record)?.unwrap();
            let state: PatientState = serde_json::from_str(&owner.state).unwrap();
            Ok(state.record().get("name").and_then(Value::as_str).unwrap_or_default().to_owned())
        });
        shown.unwrap()
    }

    /// The name of the person whom a visit is of.
    fn visit_person(&self, number: &str) -> String {
        let shown = self.store.read(|reader| {
            let visit = clinical::visit(reader, "emr", number)?.unwrap();
            let owner = records::get(reader, visit.record)?.unwrap();
            let person = crate::store::persons::get(reader, &owner.one_id)?.unwrap();
            Ok(person.golden.get("name").and_then(Value::as_str).unwrap_or_default().to_owned())
        });
        shown.unwrap()
    }

    fn facility(&self, number: &str) -> String {
        let visit = self.store.read(|reader| clinical::visit(reader, "emr", number)).unwrap().unwrap();
        let state: VisitState = serde_json::from_str(&visit.state).unwrap();
        state.record().get("facility").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The One ID of the patient `emr|number`.
    fn one_id(&self, number: &str) -> String {
        let number = RecordNumber { system: "emr".to_owned(), value: number.to_owned() };
        self.store.read(move |reader| records::find(reader, "emr", &number)).unwrap().unwrap().one_id
    }

    /// The One ID of a Patient of the server, by what it was told as.
    fn one_id_of(&self, patient: &str) -> String {
        let name = name(patient);
        let found = self.store.read(move |reader| {
            let told = crate::store::resources::get(reader, "emr", &name)?.and_then(|resource| resource.record);
            told.map(|row| records::get(reader, row)).transpose()
        });
        found.unwrap().flatten().unwrap().one_id
    }

    /// A report: `final WBC=5 HGB=120, of HIS|1 at emr:V1`.
    fn report(&self, number: &str) -> String {
        let shown = self.store.read(|reader| {
            let Some(report) = clinical::lab_report(reader, "emr", number)? else { return Ok("none".to_owned()) };
            let state: LabReportState = serde_json::from_str(&report.state).unwrap();
            let fields = state.record();
            let text = |fields: &Fields, name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
            let results = fields.get("results").and_then(Value::as_array).into_iter().flatten();
            let results = results.map(|result| {
                let result = result.as_object().unwrap();
                format!(" {}={}", text(result, "code"), text(result, "value_text"))
            });
            let owner = records::get(reader, report.record)?.unwrap();
            let visit = report.visit_id.unwrap_or_default();
            Ok(format!("{}{}, of {} at {visit}", text(&fields, "status"), results.collect::<String>(), owner.number))
        });
        shown.unwrap()
    }

    /// The open cases, oldest first: `possible_match HIS|1 HIS|2`.
    fn cases(&self) -> Vec<String> {
        let shown = self.store.read(|reader| {
            let mut open = reviews::list(reader, ReviewFilter::default(), None, 99)?;
            open.sort_by_key(|case| case.id);
            let number = |row: i64| Ok::<_, StoreError>(records::get(reader, row)?.unwrap().number);
            let show = |case: Review| {
                let (one, other) = case.question.records;
                Ok(format!("{} {} {}", case.question.kind.name(), number(one)?, number(other)?))
            };
            open.into_iter().map(show).collect::<Result<Vec<_>, _>>()
        });
        shown.unwrap()
    }

    /// Somebody decides that two persons are one.
    fn decides_to_merge(&self, into: &str, retired: &str) {
        let step = ManualStep::Merge { one_id: retired.to_owned(), into: into.to_owned() };
        let decision = ManualDecision { step, by: "Li Na".to_owned(), reason: "one patient".to_owned() };
        let site = Arc::clone(&self.source.site);
        let decide = move |t: &Transaction<'_>| pipeline::decide_by_hand(t, &site, &TimeZone::UTC, &decision, 2);
        self.store.submit_blocking(decide).unwrap().unwrap();
    }

    /// Types of the events since the last question.
    fn events(&mut self) -> Vec<String> {
        let head = self.store.head().borrow().to_owned();
        let request =
            events::PageRequest { after: self.seen, limit: 99, bytes: 1 << 20, filters: vec![TypeFilter::ALL] };
        self.seen = head;
        let page = self.store.read(|reader| events::page(reader, &request)).unwrap();
        page.events.into_iter().map(|event| event.kind.to_string()).collect()
    }
}

#[test]
fn a_record_is_as_its_resource_is_and_what_is_left_out_is_no_more() {
    let mut server = Server::new();
    server.has(&[
        (
            "Patient/1",
            json!({"identifier": [{"system": "HIS", "value": "M1"}], "name": [{"text": "张三"}], "gender": "male"}),
        ),
        (
            "Encounter/1",
            json!({"status": "in-progress", "reasonCode": [{"text": "fever"}], "subject": {"reference": "Patient/1"}}),
        ),
    ]);
    assert_eq!(server.patients(), ["HIS|M1: 张三 male"]);
    assert_eq!(server.visit("1"), "in_progress fever, of HIS|M1");
    server.has(&[("Encounter/1", json!({"status": "finished", "subject": {"reference": "Patient/1"}}))]);
    assert_eq!(server.visit("1"), "finished -, of HIS|M1");
    server.has(&[("Encounter/1", json!({"status": "in-progress", "subject": {"reference": "Patient/1"}}))]);
    assert_eq!(server.visit("1"), "in_progress -, of HIS|M1");
}

#[test]
fn a_report_follows_its_results_wherever_they_change() {
    let mut server = Server::new();
    let report = |results: &[&str]| {
        let results: Vec<Json> = results.iter().map(|name| json!({"reference": name})).collect();
        json!({"status": "final", "subject": {"reference": "Patient/1"}, "encounter": {"reference": "Encounter/1"}, "result": results})
    };
    let result = |code: &str, value: &str| json!({"code": {"text": code}, "valueString": value, "subject": {"reference": "Patient/1"}});
    server.has(&[
        ("DiagnosticReport/5", report(&["Observation/1", "Observation/2"])),
        (
            "Encounter/1",
            json!({"identifier": [{"value": "V1"}], "status": "planned", "subject": {"reference": "Patient/1"}}),
        ),
        ("Patient/1", json!({"name": [{"text": "张三"}]})),
        ("Observation/1", result("WBC", "5")),
        ("Observation/2", result("HGB", "120")),
    ]);
    assert_eq!(server.report("5"), "final WBC=5 HGB=120, of emr|1 at emr:V1");
    server.has(&[("Observation/2", result("HGB", "99"))]);
    assert_eq!(server.report("5"), "final WBC=5 HGB=99, of emr|1 at emr:V1");
    server.loses("Observation/1");
    assert_eq!(server.report("5"), "final HGB=99, of emr|1 at emr:V1");
    server.loses("DiagnosticReport/5");
    assert_eq!(server.report("5"), "entered_in_error HGB=99, of emr|1 at emr:V1");
    server.has(&[("DiagnosticReport/5", report(&["Observation/2"]))]);
    assert_eq!(server.report("5"), "final HGB=99, of emr|1 at emr:V1");
}

#[test]
fn a_result_that_a_report_takes_in_while_it_is_told_alone_is_not_told_alone() {
    let by_itself = r#"
[[lab_report]]
block = "alone"
each = "Observation"
filler_order_number = { from = "'O' & id", required = true }
status = { from = "status", table = "report_status" }

[tables]"#;
    let mapping = MAPPING
        .replace("each = \"DiagnosticReport\"", "block = \"report\"\neach = \"DiagnosticReport\"")
        .replace("[tables]", by_itself);
    let mut server = Server::with(&mapping);
    server.has(&[("Patient/1", person("M1", "张三", "1980-01-01"))]);
    let result = |value: &str| json!({"status": "final", "code": {"text": "K"}, "subject": {"reference": "Patient/1"}, "valueString": value});
    let report =
        json!({"status": "final", "subject": {"reference": "Patient/1"}, "result": [{"reference": "Observation/1"}]});
    server.enter(vec![server.read("Observation/1", result("4"))]);
    let due = server.store.read(|reader| pipeline::due(reader, "emr", FIRST_DUE, Ready::ALL, 9)).unwrap();
    let in_work: Vec<_> = due.into_iter().map(|due| pipeline::prepare_due(&server.source, due, 1)).collect();
    assert_eq!(in_work.len(), 1);
    server.enter(vec![server.read("DiagnosticReport/1", report)]);
    for unit in in_work {
        server.store.submit_blocking(move |t| pipeline::commit_due(t, unit, Cause::Poll)).unwrap();
    }
    server.tell();
    let alone = server.store.read(|reader| clinical::lab_report(reader, "emr", "O1")).unwrap();
    assert!(alone.is_none_or(|report| report.state.contains("entered_in_error")));
    assert_eq!(server.report("1"), "final K=4, of HIS|M1 at ");
}

#[test]
fn a_number_that_changes_takes_its_record_along_and_withdraws_the_old_one() {
    let mut server = Server::new();
    let visit = |number: &str| json!({"identifier": [{"value": number}], "status": "planned", "subject": {"reference": "Patient/1"}});
    server.has(&[("Patient/1", json!({"name": [{"text": "张三"}]})), ("Encounter/1", visit("V1"))]);
    let report =
        json!({"status": "final", "subject": {"reference": "Patient/1"}, "encounter": {"reference": "Encounter/1"}});
    server.has(&[("DiagnosticReport/5", report)]);
    assert_eq!(server.patients(), ["emr|1: 张三 -"]);
    server.events();
    server.has(&[("Patient/1", json!({"identifier": [{"system": "HIS", "value": "M1"}], "name": [{"text": "张三"}]}))]);
    assert_eq!(server.patients(), ["HIS|M1: 张三 -"]);
    assert_eq!(server.events(), ["patient.updated"]);
    server.has(&[("Encounter/1", visit("V2"))]);
    assert_eq!(server.visit("V1"), "entered_in_error -, of HIS|M1");
    assert_eq!(server.visit("V2"), "planned -, of HIS|M1");
    assert_eq!(server.report("5"), "final, of HIS|M1 at emr:V2");
    assert_eq!(server.events(), ["visit.scheduled", "visit.cancelled", "lab.resulted"]);
}

#[test]
fn what_is_deleted_is_withdrawn_and_comes_back_with_its_resource() {
    let mut server = Server::new();
    let visit = json!({"status": "planned", "subject": {"reference": "Patient/1"}});
    server.has(&[("Patient/1", json!({"name": [{"text": "张三"}]})), ("Encounter/1", visit.clone())]);
    server.loses("Encounter/1");
    assert_eq!(server.visit("1"), "entered_in_error -, of emr|1");
    server.loses("Patient/1");
    assert_eq!(server.patients(), ["emr|1: 张三 - deleted"]);
    server.has(&[("Patient/1", json!({"name": [{"text": "张三"}]})), ("Encounter/1", visit)]);
    assert_eq!(server.patients(), ["emr|1: 张三 -"]);
    assert_eq!(server.visit("1"), "planned -, of emr|1");
}

#[test]
fn what_cannot_be_told_is_one_failed_message_and_holds_nothing_up() {
    let mut server = Server::new();
    server.clock = 1;
    let read = [server.read("Encounter/1", json!({"status": "planned", "subject": {"reference": "Patient/9"}}))];
    server.store.submit_blocking(move |t| pipeline::enter(t, "emr", &read, &[], Order::Arrival, 1)).unwrap();
    assert_eq!(server.tell_all(), [MessageState::Failed]);
    server.has(&[("Patient/9", json!({}))]);
    assert_eq!(server.visit("1"), "planned -, of emr|9");
}

#[test]
fn numbers_that_shift_from_one_patient_to_the_next_take_their_visits_along() {
    let mut server = Server::new();
    let patient = |number: &str, name: &str| json!({"identifier": [{"system": "HIS", "value": number}], "name": [{"text": name}]});
    let visit = |patient: &str| json!({"status": "planned", "subject": {"reference": patient}});
    server.has(&[("Patient/1", patient("A", "张三")), ("Patient/2", patient("B", "李四"))]);
    server.has(&[("Encounter/1", visit("Patient/1")), ("Encounter/2", visit("Patient/2"))]);
    server.has(&[("Patient/1", patient("B", "张三")), ("Patient/2", patient("C", "李四"))]);
    assert_eq!(server.visit("1"), "planned -, of HIS|B");
    assert_eq!(server.visit("2"), "planned -, of HIS|C");
    assert_eq!(server.patients(), ["HIS|A: 张三 - deleted", "HIS|B: 张三 -", "HIS|C: 李四 -"]);
}

#[test]
fn a_record_is_the_subjects_whoever_else_is_named() {
    let mut server = Server::new();
    server.has(&[
        ("Patient/1", json!({"name": [{"text": "母亲"}]})),
        ("Patient/2", json!({"name": [{"text": "新生儿"}]})),
    ]);
    let visit = json!({
        "status": "planned", "subject": {"reference": "Patient/2"},
        "participant": [{"individual": {"reference": "Patient/1"}}]
    });
    server.has(&[("Encounter/1", visit)]);
    assert_eq!(server.visit("1"), "planned -, of emr|2");
}

#[test]
fn what_names_a_patient_who_was_replaced_is_the_remaining_ones() {
    let mut server = Server::new();
    let link = json!([{"type": "replaced-by", "other": {"reference": "Patient/1"}}]);
    server.has(&[
        ("Patient/1", json!({"name": [{"text": "张三"}]})),
        ("Patient/2", json!({"active": false, "link": link})),
    ]);
    server.has(&[("Encounter/1", json!({"status": "planned", "subject": {"reference": "Patient/2"}}))]);
    assert_eq!(server.visit("1"), "planned -, of emr|1");
}

#[test]
fn a_patient_who_was_hidden_and_shows_up_unchanged_is_there_again() {
    let mut server = Server::new();
    server.has(&[("Patient/1", json!({"gender": "male"}))]);
    server.loses("Patient/1");
    assert_eq!(server.patients(), ["emr|1: - male deleted"]);
    server.clock -= 1;
    server.has(&[("Patient/1", json!({"gender": "male"}))]);
    assert_eq!(server.patients(), ["emr|1: - male"]);
}

#[test]
fn of_two_resources_of_one_number_the_one_that_is_left_is_told() {
    let mut server = Server::new();
    let visit = |status: &str| json!({"identifier": [{"value": "V1"}], "status": status, "subject": {"reference": "Patient/1"}});
    server.has(&[("Patient/1", json!({})), ("Encounter/2", visit("in-progress"))]);
    server.has(&[("Encounter/1", visit("finished"))]);
    server.loses("Encounter/1");
    assert_eq!(server.visit("V1"), "in_progress -, of emr|1");
}

#[test]
fn two_resources_of_one_number_are_one_record_that_stays_while_one_of_them_does() {
    let mut server = Server::new();
    let visit = |status: &str| json!({"identifier": [{"value": "V1"}], "status": status, "subject": {"reference": "Patient/1"}});
    server.has(&[("Patient/1", json!({})), ("Encounter/1", visit("planned"))]);
    server.has(&[("Encounter/2", visit("in-progress"))]);
    server.loses("Encounter/1");
    assert_eq!(server.visit("V1"), "in_progress -, of emr|1");
    server.loses("Encounter/2");
    assert_eq!(server.visit("V1"), "entered_in_error -, of emr|1");
}

#[test]
fn a_number_of_another_sources_authority_names_that_sources_visit_which_the_server_cannot_withdraw() {
    let mut server = Server::new();
    let visit = |system: &str, status: &str| {
        json!({
            "identifier": [{"system": system, "value": "V1"}], "status": status, "subject": {"reference": "Patient/1"},
            "reasonCode": [{"text": "fever"}]
        })
    };
    server.has(&[("Patient/1", json!({})), ("Encounter/1", visit("HIS-VISIT", "planned"))]);
    assert_eq!(server.visit_of("his", "V1"), "planned fever, of emr|1");
    assert_eq!(server.visit("V1"), "none");
    let mut changed = visit("HIS-VISIT", "in-progress");
    changed.as_object_mut().unwrap().remove("reasonCode");
    server.has(&[("Encounter/1", changed)]);
    // It adds to what is known and takes nothing away.
    assert_eq!(server.visit_of("his", "V1"), "in_progress fever, of emr|1");
    server.loses("Encounter/1");
    assert_eq!(server.visit_of("his", "V1"), "in_progress fever, of emr|1");
    // A number of its own again.
    server.has(&[("Encounter/1", visit("EMR", "planned"))]);
    assert_eq!(server.visit("V1"), "planned fever, of emr|1");
}

#[test]
fn a_clock_that_is_put_back_turns_nothing_back() {
    let mut server = Server::new();
    let visit = |status: &str| json!({"status": status, "subject": {"reference": "Patient/1"}});
    server.clock = 30;
    server.has(&[("Patient/1", json!({"gender": "male"})), ("Encounter/1", visit("planned"))]);
    server.clock = 10;
    server.has(&[("Patient/1", json!({"gender": "female"})), ("Encounter/1", visit("finished"))]);
    assert_eq!(server.visit("1"), "finished -, of emr|1");
    assert_eq!(server.patients(), ["emr|1: - female"]);
}

fn name(text: &str) -> ResourceName {
    let (kind, id) = text.split_once('/').unwrap();
    ResourceName { kind: kind.to_owned(), id: id.to_owned() }
}

fn person(number: &str, name: &str, born: &str) -> Json {
    json!({"identifier": [{"system": "HIS", "value": number}], "name": [{"text": name}], "birthDate": born})
}

fn visit_of_patient(patient: &str) -> Json {
    json!({"status": "planned", "subject": {"reference": patient}})
}

#[test]
fn two_patients_of_one_number_keep_their_records_and_visits_apart() {
    let mut server = Server::new();
    server.has(&[
        ("Patient/1", person("M1", "张三", "1980-01-01")),
        ("Patient/2", person("M1", "李四", "1991-02-02")),
        ("Encounter/1", visit_of_patient("Patient/1")),
        ("Encounter/2", visit_of_patient("Patient/2")),
    ]);
    let named = |server: &Server| (server.visit_name("1"), server.visit_name("2"));
    assert_eq!(named(&server), ("张三".to_owned(), "李四".to_owned()));
    // Whoever is spoken of last, each visit stays whose it is.
    server.has(&[("Patient/2", person("M1", "李四", "1991-02-02")), ("Encounter/1", visit_of_patient("Patient/1"))]);
    server.has(&[("Patient/1", person("M1", "张三", "1980-01-01")), ("Encounter/2", visit_of_patient("Patient/2"))]);
    assert_eq!(named(&server), ("张三".to_owned(), "李四".to_owned()));
    // One of them gets a number of its own, is deleted, comes back.
    server.has(&[("Patient/2", person("M2", "李四", "1991-02-02"))]);
    assert_eq!(server.patients(), ["HIS|M1: 张三 -", "HIS|M2: 李四 -"]);
    assert_eq!(server.visit("2"), "planned -, of HIS|M2");
    server.loses("Patient/1");
    assert_eq!(server.patients(), ["HIS|M1: 张三 - deleted", "HIS|M2: 李四 -"]);
    server.has(&[("Patient/1", person("M1", "张三", "1980-01-01"))]);
    assert_eq!(server.patients(), ["HIS|M1: 张三 -", "HIS|M2: 李四 -"]);
    assert_eq!(named(&server), ("张三".to_owned(), "李四".to_owned()));
}

#[test]
fn two_resources_of_one_patient_are_one_record() {
    let mut server = Server::new();
    server.has(&[
        ("Patient/1", person("M1", "张三", "1980-01-01")),
        ("Patient/2", person("M1", "张三", "1980-01-01")),
        ("Encounter/2", visit_of_patient("Patient/2")),
    ]);
    assert_eq!(server.patients(), ["HIS|M1: 张三 -"]);
    server.loses("Patient/1");
    assert_eq!(server.patients(), ["HIS|M1: 张三 -"]);
    assert_eq!(server.visit("2"), "planned -, of HIS|M1");
}

#[test]
fn what_cannot_be_read_is_named_left_out_and_recovers() {
    let mut server = Server::new();
    let visit = json!({"status": "planned", "subject": {"reference": "Patient/1"}, "serviceProvider": {"reference": "Organization/1"}});
    server.has(&[("Patient/1", json!({"name": [{"text": "张三"}]})), ("Encounter/1", visit)]);
    let deep = format!(r#"{{"resourceType":"Organization","id":"1","a":{}{}}}"#, "[".repeat(125), "]".repeat(125));
    for (round, body) in
        [r#"{"resourceType":"Organization","id":"1","name":"\ud800"}"#, deep.as_str()].into_iter().enumerate()
    {
        assert_eq!(server.has_unreadable("Organization/1", body).last(), Some(&MessageState::Failed), "{body}");
        assert_eq!((server.count(MessageState::Failed), server.count(MessageState::Ignored)), (1, round as u64));
        // What names it is told without it.
        server.has(&[(
            "Encounter/2",
            json!({"status": "planned", "subject": {"reference": "Patient/1"},
            "serviceProvider": {"reference": "Organization/1"}, "reasonCode": [{"text": round.to_string()}]}),
        )]);
        assert_eq!(server.visit("2"), format!("planned {round}, of emr|1"));
    }
    server.has(&[("Organization/1", json!({"name": "分院"}))]);
    assert_eq!(server.count(MessageState::Failed), 0);
    assert_eq!(server.facility("2"), "分院");
    assert_eq!(server.has_unreadable("Encounter/2", r#"{"resourceType":"Encounter","id":"2","x":1e"#).len(), 1);
    assert_eq!(server.facility("2"), "分院", "what was told stays");
    server.loses("Encounter/2");
    assert_eq!((server.count(MessageState::Failed), server.visit("2").as_str()), (0, "entered_in_error 1, of emr|1"));
}

#[test]
fn what_everything_names_marks_a_bounded_number_at_once_and_keeps_nothing_where_nothing_came_of_it() {
    let mut server = Server::new();
    let names: Vec<String> = (0..1_200).map(|number| format!("Encounter/{number}")).collect();
    let visit = json!({"status": "planned", "subject": {"reference": "Patient/1"}, "serviceProvider": {"reference": "Organization/1"}});
    server.has(&[("Patient/1", json!({})), ("Organization/1", json!({"name": "总院"}))]);
    server.has(&names.iter().map(|name| (name.as_str(), visit.clone())).collect::<Vec<_>>());
    let kept = server.count(MessageState::Processed);
    server.clock += 1;
    let change = |server: &Server, content: Json| {
        let read = [server.read("Organization/1", content)];
        server.store.submit_blocking(move |t| pipeline::enter(t, "emr", &read, &[], Order::Arrival, 1)).unwrap();
    };
    let due = |server: &Server| server.store.read(|r| crate::store::resources::due_count(r, "emr")).unwrap();
    change(&server, json!({"name": "总院", "telecom": [{"value": "1"}]}));
    assert_eq!(due(&server), 0, "one transaction marks no thousand records");
    let mut before = 0;
    while server.store.submit_blocking(|t| pipeline::spread(t, "emr", 1)).unwrap() {
        assert!(due(&server) - before <= 500);
        before = due(&server);
    }
    assert_eq!(before, 1_200);
    assert_eq!(server.tell_all(), [], "no record says anything else");
    assert_eq!(server.count(MessageState::Processed), kept);
    server.clock += 1;
    change(&server, json!({"name": "分院"}));
    assert_eq!(server.tell_all().len(), 1_200);
    assert_eq!((server.facility("0"), server.facility("1199")), ("分院".to_owned(), "分院".to_owned()));
}
