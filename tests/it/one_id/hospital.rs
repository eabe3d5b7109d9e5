//! The words in which the cases are written: patients as sources know them, a hospital that hears of them, and what is expected.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::hl7::{Ack, inpatient, message, number, segment};
use crate::support::http::{Response, query};
use crate::support::mllp::Mllp;
use crate::support::site::Site;

/// Three systems, each the owner of its authority. The laboratory's reports name visits of the HIS.
const CONFIGURATION: &str = r#"
[store]
path = "data/heyi.db"

[http]
listen = "127.0.0.1:0"

[[sources]]
name = "his"
mapping = "mappings/hl7v2.toml"
authorities = ["HIS"]
mllp = { listen = "127.0.0.1:0" }

[[sources]]
name = "lis"
mapping = "mappings/laboratory.toml"
authorities = ["LIS"]
mllp = { listen = "127.0.0.1:0" }

[[sources]]
name = "emr"
mapping = "mappings/hl7v2.toml"
authorities = ["EMR"]
mllp = { listen = "127.0.0.1:0" }
"#;

const LABORATORY: &str = r#"
extends = "hl7v2.toml"

[[visit]]
block = "stay"
when  = "false"

[[lab_report]]
block        = "results"
visit_source = { constant = "his" }
"#;

/// Kinds of reviews that ask whether two persons are one.
pub(super) const DOUBTS: [&str; 4] = ["possible_match", "possible_duplicate", "veto", "margin"];
/// All kinds of reviews.
const KINDS: [&str; 8] = [
    "possible_match",
    "possible_duplicate",
    "veto",
    "margin",
    "quarantine",
    "source_merge_conflict",
    "number_reused",
    "data_quality",
];

/// A hospital with nobody in it yet.
pub(super) fn site() -> Site {
    let site = Site::configured(CONFIGURATION);
    site.write("mappings/laboratory.toml", LABORATORY);
    site
}

/// A hospital that knows some hundred patients, one in nine of them called `张伟`: what is common is known to be common.
pub(super) fn town() -> Site {
    const SURNAMES: [&str; 16] =
        ["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林"];
    const GIVEN: [&str; 19] = [
        "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超", "秀兰", "霞",
        "平",
    ];
    let site = site();
    let mut text = String::new();
    for index in 0..270_usize {
        let name = if index % 9 == 0 {
            "张伟".to_owned()
        } else {
            format!("{}{}", SURNAMES[index % SURNAMES.len()], GIVEN[index % GIVEN.len()])
        };
        // Spread by numbers that share no divisor: nobody has a birthday in common with a namesake.
        let birth = format!("{}-{:02}-{:02}", 1940 + index * 7 % 61, 1 + index * 5 % 12, 1 + index * 11 % 28);
        let patient = patient("HIS", &format!("T{index}"))
            .name(&name)
            .born(&birth)
            .sex(if index % 2 == 0 { "M" } else { "F" })
            .phone(&format!("1370{:07}", index * 7919));
        let segments = [segment("EVN", &[(2, "20240101080000")]), patient.pid()];
        text.push_str(&message("ADT^A28", &format!("T{index}"), "20240101080000", &segments));
    }
    let file = site.write("town.hl7", text);
    site.run(&["import", "his", &file.to_string_lossy()]).exits(0);
    site
}

/// A patient as one source knows him or her: `HIS` is known to source `his`, and so on.
#[derive(Debug, Clone)]
pub(super) struct Patient {
    system: String,
    number: String,
    /// Further repetitions of PID-3.
    identifiers: Vec<String>,
    /// Other fields of PID.
    fields: BTreeMap<usize, String>,
    insurance: Option<String>,
}

/// Patient `number` of authority `system`, of whom nothing else is known.
pub(super) fn patient(system: &str, number: &str) -> Patient {
    Patient {
        system: system.to_owned(),
        number: number.to_owned(),
        identifiers: Vec::new(),
        fields: BTreeMap::new(),
        insurance: None,
    }
}

impl Patient {
    fn with(mut self, field: usize, value: &str) -> Self {
        self.fields.insert(field, value.to_owned());
        self
    }

    /// The whole name in one component, as Chinese systems send it.
    pub(super) fn name(self, name: &str) -> Self {
        self.with(5, name)
    }

    /// `YYYY-MM-DD`.
    pub(super) fn born(self, date: &str) -> Self {
        self.with(7, &date.replace('-', ""))
    }

    /// M, F, U.
    pub(super) fn sex(self, sex: &str) -> Self {
        self.with(8, sex)
    }

    pub(super) fn phone(self, phone: &str) -> Self {
        self.with(13, phone)
    }

    pub(super) fn address(self, address: &str) -> Self {
        self.with(11, address)
    }

    /// PID-18, the account.
    pub(super) fn account(self, account: &str) -> Self {
        self.with(18, account)
    }

    /// PID-21: the mother's number at the same authority.
    pub(super) fn mother(self, number: &str) -> Self {
        let identifier = format!("{number}^^^{}^MR", self.system);
        self.with(21, &identifier)
    }

    /// PID-24 and PID-25: one of several children.
    pub(super) fn birth_order(self, order: &str) -> Self {
        self.with(24, "Y").with(25, order)
    }

    /// A further number, by its HL7 type: NI (resident number), PPN (passport), 06 (Hong Kong and Macau permit).
    pub(super) fn identifier(mut self, kind: &str, value: &str) -> Self {
        self.identifiers.retain(|known| !known.ends_with(&format!("^{kind}")));
        self.identifiers.push(format!("{value}^^^^{kind}"));
        self
    }

    pub(super) fn resident_id(self, number: &str) -> Self {
        self.identifier("NI", number)
    }

    /// IN1-36, and the number in PID-3 as an insurance card's.
    pub(super) fn insured(mut self, number: &str) -> Self {
        self.insurance = Some(number.to_owned());
        self.identifier("MC", number)
    }

    /// The number that another source gave, beside its own.
    pub(super) fn also_as(mut self, other: &Self) -> Self {
        self.identifiers.push(other.cx());
        self
    }

    /// The same said by another source under a number of its own.
    pub(super) fn at(&self, system: &str, number: &str) -> Self {
        Self { system: system.to_owned(), number: number.to_owned(), ..self.clone() }
    }

    /// `SYSTEM|VALUE`.
    pub(super) fn record(&self) -> String {
        format!("{}|{}", self.system, self.number)
    }

    /// The number as a CX.
    pub(super) fn cx(&self) -> String {
        format!("{}^^^{}^MR", self.number, self.system)
    }

    /// The source that knows the patient.
    pub(super) fn source(&self) -> String {
        self.system.to_lowercase()
    }

    pub(super) fn pid(&self) -> String {
        let numbers: Vec<String> = std::iter::once(self.cx()).chain(self.identifiers.iter().cloned()).collect();
        let numbers = numbers.join("~");
        let fields = self.fields.iter().map(|(field, value)| (*field, value.as_str()));
        segment("PID", &std::iter::once((3, numbers.as_str())).chain(fields).collect::<Vec<_>>())
    }

    /// MRG with this number as the one that is given up.
    pub(super) fn mrg(&self) -> String {
        segment("MRG", &[(1, &self.cx())])
    }

    fn segments(&self) -> Vec<String> {
        let insurance = self.insurance.iter().map(|number| segment("IN1", &[(1, "1"), (36, number)]));
        std::iter::once(self.pid()).chain(insurance).collect()
    }
}

/// One row of `heyi person links --csv`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) source: String,
    /// `SYSTEM|VALUE`.
    pub(super) record: String,
    pub(super) one_id: String,
    /// auto, manual, pending.
    pub(super) link: String,
}

/// A hospital whose systems talk to a running `heyi`. Every message is a minute later than the one before.
pub(super) struct Hospital<'site> {
    pub(super) daemon: Daemon<'site>,
    sent: Cell<u32>,
    clerk: OnceCell<String>,
    lines: RefCell<BTreeMap<String, Mllp>>,
}

impl<'site> Hospital<'site> {
    pub(super) fn open(site: &'site Site) -> Self {
        Self { daemon: site.start(), sent: Cell::new(0), clerk: OnceCell::new(), lines: RefCell::default() }
    }

    pub(super) fn site(&self) -> &'site Site {
        self.daemon.site
    }

    /// The next control id and source time.
    fn next(&self) -> (String, String) {
        let minute = self.sent.get();
        self.sent.set(minute + 1);
        let time = format!("202403{:02}{:02}{:02}00", 5 + minute / 1440, minute / 60 % 24, minute % 60);
        (format!("C{minute}"), time)
    }

    /// Sends a text as it is over the source's one connection.
    pub(super) fn send(&self, source: &str, text: &str) -> Ack {
        let mut lines = self.lines.borrow_mut();
        lines.entry(source.to_owned()).or_insert_with(|| self.daemon.connect(source)).ask(text)
    }

    /// An ADT message of `source`, and its answer.
    pub(super) fn tell(&self, source: &str, trigger: &str, segments: &[String]) -> Ack {
        let (id, time) = self.next();
        self.send(source, &adt(trigger, &id, &time, segments))
    }

    /// An ADT message that must be answered AA.
    pub(super) fn accept(&self, source: &str, trigger: &str, segments: &[String]) {
        let answer = self.tell(source, trigger, segments);
        assert_eq!(answer.code(), "AA", "ADT^{trigger} {segments:?}: {}", answer.text());
    }

    /// An ADT message that must be refused, with the place.
    pub(super) fn refuse(&self, source: &str, trigger: &str, segments: &[String]) {
        let answer = self.tell(source, trigger, segments);
        assert!(matches!(answer.code(), "AE" | "AR"), "ADT^{trigger} {segments:?}: {}", answer.text());
        assert!(answer.has_error(), "{}", answer.text());
    }

    /// A28: a patient is registered, or said again.
    pub(super) fn register(&self, patient: &Patient) {
        self.accept(&patient.source(), "A28", &patient.segments());
    }

    pub(super) fn register_all(&self, patients: &[&Patient]) {
        patients.iter().for_each(|patient| self.register(patient));
    }

    /// A31: what is known of a patient changes.
    pub(super) fn update(&self, patient: &Patient) {
        self.accept(&patient.source(), "A31", &patient.segments());
    }

    /// A01 to a ward under `visit`.
    pub(super) fn admit(&self, patient: &Patient, visit: &str) {
        let stay = inpatient(visit, "W1^1^1", "20240305070000", "");
        self.accept(&patient.source(), "A01", &[patient.pid(), stay]);
    }

    /// A report of the laboratory under `filler`; `visit`, if any, is the HIS's.
    pub(super) fn result(&self, patient: &Patient, filler: &str, visit: &str) {
        let (id, time) = self.next();
        let stay = if visit.is_empty() { Vec::new() } else { vec![segment("PV1", &[(2, "I"), (19, visit)])] };
        let report = segment("OBR", &[(1, "1"), (3, filler), (4, "CBC^血常规^L"), (7, &time), (22, &time), (25, "F")]);
        let potassium = number("K", "4.0", "mmol/L", "3.5-5.5", "", "F");
        let segments = [vec![patient.pid()], stay, vec![report, potassium]].concat();
        let answer = self.send("lis", &message("ORU^R01", &id, &time, &segments));
        assert_eq!(answer.code(), "AA", "{}", answer.text());
    }

    /// A40: `retired` is given up for `survivor`.
    pub(super) fn merge(&self, survivor: &Patient, retired: &Patient) {
        self.accept(&survivor.source(), "A40", &[survivor.pid(), retired.mrg()]);
    }

    /// A request as somebody of the records department.
    pub(super) fn http(&self, method: &str, target: &str, body: &Value) -> Response {
        let clerk = self.clerk.get_or_init(|| self.site().token("clerk", "records"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.daemon.http(method, target, clerk, body.as_bytes())
    }

    pub(super) fn json(&self, target: &str) -> Value {
        self.http("GET", target, &Value::Null).ok().json()
    }

    /// A change by somebody of the records department, which must be accepted.
    pub(super) fn post(&self, target: &str, body: &Value) -> Value {
        let answer = self.http("POST", target, body);
        assert!(matches!(answer.status, 200..=204), "{target}: {} {}", answer.status, answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// `/v1/persons/{one_id}` and below.
    pub(super) fn person(&self, one_id: &str) -> Value {
        self.json(&format!("/v1/persons/{one_id}"))
    }

    pub(super) fn person_of(&self, patient: &Patient) -> Value {
        self.person(&self.one_id(patient))
    }

    /// The numbers of the person's visits.
    pub(super) fn visits(&self, one_id: &str) -> Vec<String> {
        texts(&self.json(&format!("/v1/persons/{one_id}/visits"))["visits"], "visit_id")
    }

    pub(super) fn reports(&self, one_id: &str) -> Vec<String> {
        texts(&self.json(&format!("/v1/persons/{one_id}/lab-reports"))["lab_reports"], "report_id")
    }

    /// Every source record with its One ID.
    pub(super) fn links(&self) -> Vec<Row> {
        let csv = self.site().run(&["person", "links", "--csv"]).exits(0).stdout;
        let mut lines = csv.lines();
        assert_eq!(lines.next(), Some("source,system,identifier,one_id,link"));
        let rows = lines.map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let [source, system, identifier, one_id, link] = cells[..] else { panic!("five cells: {line}") };
            assert!(["auto", "manual", "pending"].contains(&link), "{line}");
            let record = format!("{system}|{identifier}");
            Row { source: source.into(), record, one_id: one_id.into(), link: link.into() }
        });
        rows.collect()
    }

    /// The rows of one record, whatever source speaks of it.
    pub(super) fn rows(&self, patient: &Patient) -> Vec<Row> {
        self.links().into_iter().filter(|row| row.record == patient.record()).collect()
    }

    /// The One ID of a record; every source that speaks of the record must have the same.
    pub(super) fn one_id(&self, patient: &Patient) -> String {
        one_id_in(&self.links(), patient)
    }

    /// Who is one person: the records of each, sorted.
    pub(super) fn partition(&self) -> BTreeSet<BTreeSet<String>> {
        let mut persons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in self.links() {
            persons.entry(row.one_id).or_default().insert(row.record);
        }
        persons.into_values().collect()
    }

    /// Open reviews, in the order in which they are shown.
    pub(super) fn open_reviews(&self) -> Vec<Value> {
        self.reviews("state=open")
    }

    /// Reviews by a query (`state=`, `kind=`), all pages.
    pub(super) fn reviews(&self, filter: &str) -> Vec<Value> {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.json(&format!("/v1/reviews?{filter}{after}"));
            found.extend_from_slice(page["reviews"].as_array().unwrap_or_else(|| panic!("no reviews: {page}")));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", query(next)),
                None => break,
            }
        }
        found.iter().for_each(check_review);
        found
    }

    /// The One IDs of two records, and the open reviews that set them against each other: by their records, or by their persons.
    fn standing(&self, one: &Patient, other: &Patient) -> ([String; 2], Vec<Value>) {
        let links = self.links();
        let persons = [one_id_in(&links, one), one_id_in(&links, other)];
        let about = |review: &Value| {
            let names = |field: &str, names: &[String; 2]| names.iter().all(|name| contains(&review[field], name));
            names("records", &[one.record(), other.record()])
                || (persons[0] != persons[1] && names("persons", &persons))
        };
        let asked = self.open_reviews().into_iter().filter(about).collect();
        (persons, asked)
    }

    /// See [`Hospital::standing`].
    pub(super) fn reviews_between(&self, one: &Patient, other: &Patient) -> Vec<Value> {
        self.standing(one, other).1
    }

    /// Open reviews in which this record has a part.
    pub(super) fn reviews_of(&self, patient: &Patient) -> Vec<Value> {
        let one_ids: Vec<String> = self.rows(patient).into_iter().map(|row| row.one_id).collect();
        let about = |review: &Value| {
            contains(&review["records"], &patient.record())
                || one_ids.iter().any(|one_id| contains(&review["persons"], one_id))
        };
        self.open_reviews().into_iter().filter(about).collect()
    }

    /// They are one person, and nobody is asked about it.
    pub(super) fn expect_linked(&self, one: &Patient, other: &Patient) {
        let ([its, others], asked) = self.standing(one, other);
        assert_eq!(its, others, "{} and {} are one person", one.record(), other.record());
        assert!(!asked.iter().any(is_doubt), "nobody need look at what is linked: {asked:?}");
    }

    /// They are two persons, and somebody is asked whether they are one; gives the review.
    pub(super) fn expect_review(&self, one: &Patient, other: &Patient) -> Value {
        let ([its, others], asked) = self.standing(one, other);
        assert_ne!(its, others, "{} is not {} by itself", one.record(), other.record());
        let doubt = asked.into_iter().find(is_doubt);
        doubt.unwrap_or_else(|| {
            panic!("no review between {} and {}: {:?}", one.record(), other.record(), self.open_reviews())
        })
    }

    /// They are two persons, and nobody is bothered.
    pub(super) fn expect_apart_without_review(&self, one: &Patient, other: &Patient) {
        let ([its, others], asked) = self.standing(one, other);
        assert_ne!(its, others, "{} is not {}", one.record(), other.record());
        assert!(asked.is_empty(), "{} and {} are nobody's question: {asked:?}", one.record(), other.record());
    }

    /// Where both are right: one person, or two with a review.
    pub(super) fn expect_linked_or_review(&self, one: &Patient, other: &Patient) {
        let ([its, others], asked) = self.standing(one, other);
        let (one, other) = (one.record(), other.record());
        assert!(its == others || asked.iter().any(is_doubt), "{one} and {other} are neither linked nor asked for");
    }

    /// They are two persons, asked about or not.
    pub(super) fn expect_two(&self, one: &Patient, other: &Patient) {
        let links = self.links();
        assert_ne!(one_id_in(&links, one), one_id_in(&links, other), "{} is not {}", one.record(), other.record());
    }

    /// The events of one type.
    pub(super) fn events(&self, kind: &str) -> Vec<Value> {
        self.daemon.feed().into_iter().filter(|event| event["type"] == kind).collect()
    }

    /// How many events there are by type, but for positions.
    pub(super) fn told(&self) -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for event in self.daemon.feed() {
            let kind = event["type"].as_str().expect("a type").to_owned();
            if kind != "feed.checkpoint" {
                *told.entry(kind).or_default() += 1;
            }
        }
        told
    }

    /// The last event of each visit and report: whose it is told to be.
    pub(super) fn told_owners(&self) -> BTreeMap<String, String> {
        let mut owners = BTreeMap::new();
        for event in self.daemon.feed() {
            let id = event["data"]["visit_id"].as_str().filter(|_| event["data"]["report_id"].is_null());
            if let Some(id) = event["data"]["report_id"].as_str().or(id) {
                assert_eq!(event["subject"], event["data"]["one_id"], "{event}");
                owners.insert(id.to_owned(), event["subject"].as_str().expect("a subject").to_owned());
            }
        }
        owners
    }

    /// A patient record asked after: the candidates of `POST /v1/persons/match`.
    pub(super) fn candidates(&self, record: &Value) -> Vec<Value> {
        let answer = self.http("POST", "/v1/persons/match", record).ok().json();
        answer["candidates"].as_array().unwrap_or_else(|| panic!("no candidates: {answer}")).clone()
    }

    /// `heyi person VERB …` that must succeed.
    pub(super) fn command(&self, arguments: &[&str]) {
        self.site().run(&[&["person"], arguments].concat()).exits(0);
    }
}

/// An ADT message with EVN.
pub(super) fn adt(trigger: &str, id: &str, time: &str, segments: &[String]) -> String {
    let event = segment("EVN", &[(1, trigger), (2, time)]);
    let all: Vec<String> = std::iter::once(event).chain(segments.iter().cloned()).collect();
    message(&format!("ADT^{trigger}"), id, time, &all)
}

fn one_id_in(links: &[Row], patient: &Patient) -> String {
    let record = patient.record();
    let found: BTreeSet<&str> =
        links.iter().filter(|row| row.record == record).map(|row| row.one_id.as_str()).collect();
    assert_eq!(found.len(), 1, "one One ID for {record}: {found:?}");
    found.into_iter().next().expect("one").to_owned()
}

/// Whether the review asks if two persons are one.
pub(super) fn is_doubt(review: &Value) -> bool {
    review["kind"].as_str().is_some_and(|kind| DOUBTS.contains(&kind))
}

/// Whether a list holds this text.
pub(super) fn contains(list: &Value, text: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|item| item == text))
}

/// One text of each object in a list.
pub(super) fn texts(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect()
}

/// What every review says, whatever its kind.
fn check_review(review: &Value) {
    assert!(review["kind"].as_str().is_some_and(|kind| KINDS.contains(&kind)), "{review}");
    assert!(!review["id"].is_null(), "{review}");
    assert!(review["state"].as_str().is_some_and(|state| !state.is_empty()), "{review}");
    assert!(review["rank"].is_number(), "{review}");
    assert!(review["probability"].as_f64().is_none_or(|share| (0.0..=1.0).contains(&share)), "{review}");
    assert!(review["created_at"].as_str().is_some_and(|time| !time.is_empty()), "{review}");
    assert!(review["records"].as_array().is_some_and(|records| !records.is_empty()), "{review}");
    assert!(review["persons"].is_array(), "{review}");
    let evidence = &review["evidence"];
    let says = evidence.as_object().is_some_and(|parts| !parts.is_empty())
        || evidence.as_array().is_some_and(|parts| !parts.is_empty());
    assert!(says, "a review says why: {review}");
}

/// Of a review, its id as it stands in paths and arguments.
pub(super) fn id_of(review: &Value) -> String {
    review["id"].as_str().map_or_else(|| review["id"].to_string(), str::to_owned)
}

/// An identifier of a patient record in JSON.
pub(super) fn identifier(kind: &str, value: &str) -> Value {
    json!({"type": kind, "value": value})
}
