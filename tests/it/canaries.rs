//! Canaries: invented patients through every way in and out, with every level of logging. Nothing of them is in a log, a metric, a status,
//! an error text, an answer that is no record, or the audit trail.
//!
//! `HEYI_CANARIES` says how many patients; 1,000 take some minutes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::fhir::Emr;
use crate::fhir_server::Manner;
use crate::support::daemon::Daemon;
use crate::support::eventually;
use crate::support::hl7::{adt, gb18030, inpatient, message, number, person, resident_number, segment};
use crate::support::http::query;
use crate::support::receiver::{Mood, Receiver};
use crate::support::site::Site;

/// What every value of a canary has in it, and no text of ours.
const MARKS: [&str; 9] =
    ["金丝雀", "Kanarek", "KANAREK", "CNRY", "1390077", "1977070", "1977-07-0", "梧桐街", "雀斑阳性"];
const AT: &str = "20240305103000";
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

struct Canary {
    number: usize,
}

impl Canary {
    fn mrn(&self) -> String {
        format!("CNRY{:06}", self.number)
    }

    fn name(&self) -> String {
        let digits: String =
            self.number.to_string().bytes().map(|digit| CHARACTERS[usize::from(digit - b'0')]).collect();
        format!("金丝雀^{digits}^Kanarek{}", self.number)
    }

    fn phone(&self) -> String {
        format!("1390077{:04}", self.number)
    }

    fn pid(&self, more: &[(usize, &str)]) -> String {
        let resident = resident_number("19770705", u16::try_from(self.number % 1_000).unwrap());
        let identifiers = format!("{}^^^HIS^MR~{resident}^^^^NI", self.mrn());
        let (name, phone) = (self.name(), self.phone());
        let address = format!("梧桐街{}号", self.number);
        let mut fields = vec![(3, identifiers.as_str()), (11, address.as_str()), (13, phone.as_str())];
        fields.extend_from_slice(more);
        person(&self.mrn(), &name, "19770705", "F", &fields)
    }

    fn control(&self, what: &str) -> String {
        format!("K{}-{what}", self.number)
    }

    fn admission(&self) -> String {
        let consent = segment(
            "CON",
            &[(1, "1"), (2, "HMARKT"), (3, "梧桐街表"), (4, &format!("CNRY{}", self.number)), (11, "A"), (13, AT)],
        );
        let stay = inpatient(&format!("VCNRY{}", self.number), "ICU^1^1", AT, "");
        adt("A01", &self.control("A01"), AT, &[self.pid(&[]), stay, consent])
    }

    fn report(&self, what: &str, status: &str) -> String {
        let text =
            segment("OBX", &[(2, "ST"), (3, "X^染色^L"), (5, &format!("雀斑阳性{}", self.number)), (11, status)]);
        let value = number("K^钾^L", &format!("1390077.{}", self.number), "mmol/L", "3.5-5.3", "HH", "F");
        let order = segment(
            "OBR",
            &[(1, "1"), (3, &format!("FCNRY{}", self.number)), (4, "P^电解质^L"), (7, AT), (22, AT), (25, "F")],
        );
        message("ORU^R01", &self.control(what), AT, &[self.pid(&[]), order, text, value])
    }

    /// Messages that fail or are hard to read, each with its values in the worst place.
    fn bad(&self) -> Vec<Vec<u8>> {
        let stay = inpatient(&format!("VCNRY{}", self.number), "ICU^1^1", AT, "");
        let merge = segment("MRG", &[(1, &format!("{}^^^HIS^MR", self.mrn()))]);
        let (name, phone) = (self.name(), self.phone());
        vec![
            adt("A01", &self.control("B1"), AT, &[self.pid(&[(7, "Kanarek")]), stay.clone()]).into_bytes(),
            adt("A01", &self.control("B2"), AT, &[self.pid(&[]), segment("PV1", &[(2, "I")])]).into_bytes(),
            adt("A01", &self.control("B3"), AT, &[self.pid(&[]), segment("PV1", &[(2, &phone), (19, "VCNRY")])])
                .into_bytes(),
            adt("A40", &self.control("B4"), AT, &[self.pid(&[]), merge]).into_bytes(),
            gb18030(&adt("A31", &self.control("B5"), AT, &[self.pid(&[])])),
            adt("A31", &self.control("B6"), AT, &[format!("{name}{phone}"), self.pid(&[])]).into_bytes(),
            adt("A01", &self.control("B7"), AT, &[inpatient("VCNRY-nobody", &name, AT, &name)]).into_bytes(),
            adt("A31", &self.control("B8"), &name, &[self.pid(&[(8, &name), (16, &phone), (29, &name)])]).into_bytes(),
            self.report("B9", "ZZ").into_bytes(),
            self.report("B10", "F").replace("|ST|", "|梧桐街|").into_bytes(),
            adt(
                "A31",
                &self.control("B11"),
                AT,
                &[self.pid(&[]), segment("CON", &[(2, &name), (11, &phone), (13, &name)])],
            )
            .into_bytes(),
            self.pid(&[]).into_bytes(),
        ]
    }

    fn patient(&self) -> Value {
        json!({"identifier": [{"system": "HIS", "value": self.mrn(), "type": {"coding": [{"code": "MR"}]}}],
            "name": [{"text": format!("金丝雀{}", self.number)}], "birthDate": "1977-07-05",
            "telecom": [{"system": "phone", "value": self.phone()}, {"system": "email", "value": "Kanarek@example.org"}],
            "address": [{"text": format!("梧桐街{}号", self.number)}]})
    }

    /// A patient that is JSON, and no Patient.
    fn broken_patient(&self) -> Value {
        json!({"name": [{"text": self.name(), "family": 7, "given": self.phone()}], "birthDate": {"Kanarek": self.phone()}})
    }
}

const CHARACTERS: [char; 10] = ['〇', '一', '二', '三', '四', '五', '六', '七', '八', '九'];

/// All that was told that is no record.
#[derive(Default)]
struct Told(String);

impl Told {
    fn add(&mut self, what: &str, text: &str) {
        for line in text.lines() {
            self.0.push_str(&format!("{what}: {line}\n"));
        }
    }

    fn holds_nothing_of_a_canary(&self) {
        let encoded = query("金丝雀");
        let escaped = "\\u{91d1}";
        let marks = MARKS.into_iter().chain([encoded.as_str(), escaped, "\\u91d1"]);
        for mark in marks {
            let found: Vec<&str> = self.0.lines().filter(|line| line.contains(mark)).take(5).collect();
            assert!(found.is_empty(), "{mark} was told in:\n{}", found.join("\n"));
        }
    }
}

/// Look-ups with mistakes in them, as people type them.
fn mistaken(daemon: &Daemon<'_>, canary: &Canary, told: &mut Told) {
    let (name, phone, mrn) = (query(&canary.name()), canary.phone(), canary.mrn());
    let engineer = daemon.site.engineer();
    for target in [
        format!("/v1/persons?name={name}&colour={phone}"),
        format!("/v1/persons?identifier={mrn}"),
        format!("/v1/persons?name={name}&birth_date={phone}"),
        format!("/v1/persons?{name}={phone}"),
        format!("/v1/persons/{mrn}"),
        format!("/v1/persons/{name}/visits"),
        format!("/v1/messages?control_id={mrn}&limit={phone}"),
        format!("/v1/messages/{phone}"),
        format!("/v1/reviews?state={name}"),
        format!("/v1/feed?after={phone}&person={mrn}"),
        format!("/v1/audit?person={phone}"),
        format!("/{name}"),
    ] {
        let answer = daemon.get(&target, engineer);
        if answer.status >= 400 {
            told.add("problem", &answer.text());
        }
    }
    for body in [
        format!("{{\"name\": \"{}\"", canary.name()),
        json!({"name": {"a": canary.name()}}).to_string(),
        json!({canary.name(): 1}).to_string(),
    ] {
        told.add("problem", &daemon.http("POST", "/v1/persons/match", engineer, body.as_bytes()).text());
    }
}

/// Look-ups and pages that find something: what they answer are records.
fn right(daemon: &Daemon<'_>, canary: &Canary) {
    let name = query(&canary.name().replace('^', ""));
    for target in [
        format!("/v1/persons?name={name}"),
        format!("/v1/persons?phone={}", canary.phone()),
        format!("/v1/persons?identifier={}", query(&format!("HIS|{}", canary.mrn()))),
    ] {
        daemon.json(&target);
    }
}

/// The beginning of a stream.
fn stream(daemon: &Daemon<'_>) {
    let mut stream = TcpStream::connect(daemon.address("http")).unwrap();
    let token = daemon.site.consumer();
    stream
        .write_all(
            format!("GET /v1/feed/stream?after=start HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
                .as_bytes(),
        )
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.starts_with("data:"))));
}

#[test]
fn nothing_of_a_canary_is_in_any_output_that_is_no_record_at_any_level_of_logging() {
    let patients: usize = std::env::var("HEYI_CANARIES").map_or(10, |text| text.parse().expect("a number"));
    let (receiver, emr) = (Receiver::start(), Emr::start(Manner::default()));
    let more = format!(
        "[[sources]]\nname = \"lis\"\nmapping = \"mappings/hl7v2.toml\"\nmllp = {{ listen = \"127.0.0.1:0\" }}\n\n\
         [[sources]]\nname = \"drop\"\nmapping = \"mappings/hl7v2.toml\"\nfiles = {{ directory = \"in\", interval = \"200ms\" }}\n\n\
         [[consumers]]\nname = \"crm\"\n\n[[consumers]]\nname = \"pushed\"\n\
         webhook = {{ url = \"{}\", secret_file = \"config/secret\", schedule = [\"50ms\"] }}\n",
        receiver.url()
    );
    let polled = emr.configuration("200ms", "").replace("mappings/his.toml", "mappings/hl7v2.toml");
    let site = Site::configured(&format!("{polled}{more}"));
    let secret = site.write("config/secret", "whsec_YSBzZWNyZXQgb2YgbW9yZSB0aGFuIDI0IGJ5dGVz\n");
    std::fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::create_dir(site.path("in")).unwrap();
    let mut told = Told::default();
    let share = patients.div_ceil(LEVELS.len());
    for (round, level) in LEVELS.into_iter().enumerate() {
        let daemon = site.start_with(&["--log", level]);
        let canaries: Vec<Canary> = (round * share..(round + 1) * share).map(|number| Canary { number }).collect();
        let (mut his, mut lis) = (daemon.connect("his"), daemon.connect("lis"));
        for canary in &canaries {
            assert_eq!(his.ask(canary.admission()).code(), "AA");
            told.add("answer", &lis.ask(canary.report("R", "F")).text());
            for bad in canary.bad() {
                told.add("answer", &his.ask(&bad).text());
            }
            emr.put(&format!("Patient/{}", canary.number), canary.patient());
        }
        let Some(first) = canaries.first() else { continue };
        emr.put(&format!("Patient/bad{round}"), first.broken_patient());
        let file = [first.admission().replace("-A01|", "-D01|").into_bytes(), first.bad().swap_remove(1)].concat();
        site.write(&format!("in/{round}.hl7"), file);
        let is_moved = || ["done", "failed"].iter().any(|place| site.path(&format!("in/{place}/{round}.hl7")).exists());
        eventually("the file to be looked at", || is_moved().then_some(()));
        for canary in canaries.iter().step_by(5) {
            right(&daemon, canary);
            mistaken(&daemon, canary, &mut told);
        }
        // Once: more wrong tokens would lock the address out.
        told.add("problem", &daemon.get("/v1/feed", &first.phone()).text());
        daemon.feed();
        stream(&daemon);
        daemon.get("/v1/feed/snapshot?limit=1000", site.consumer()).ok();
        daemon.get("/v1/feed/reconcile?limit=1000", site.consumer()).ok();
        let before = receiver.taken().len();
        receiver.answers(|_| Mood::Status(500));
        // The same person at the laboratory, of whom too little is known: a case, which is decided.
        let number = format!("8CNRY{round}^^^LIS^MR");
        let twin = segment("PID", &[(3, &number), (5, &first.name()), (7, "19770705"), (8, "F")]);
        daemon.accept("lis", adt("A28", &format!("T{round}"), AT, &[twin]));
        let open = site.json(&["review", "list", "--json"])["reviews"].clone();
        for review in open.as_array().unwrap().iter().take(3) {
            let decided = site.run(&[
                "--log",
                level,
                "review",
                "decide",
                &review["id"].to_string(),
                "link",
                "--reason",
                "papers",
            ]);
            told.add("stderr", &decided.stderr);
        }
        eventually("the patient of the server", || {
            let found = daemon.json(&format!("/v1/persons?identifier={}", query(&format!("HIS|{}", first.mrn()))));
            found["persons"][0]["emails"].is_array().then_some(())
        });
        let one_id = daemon.one_id(&format!("HIS|{}", first.mrn()));
        for arguments in [
            vec!["person", "show", one_id.as_str()],
            vec!["person", "export", &one_id],
            vec!["person", "erase", &one_id, "--reason", "asked for it"],
            vec!["message", "retry", "--state", "failed"],
            vec!["person", "show", &first.mrn()],
            vec!["feed", "export", "--after", &first.phone()],
        ] {
            let mut all = vec!["--log", level];
            all.extend_from_slice(&arguments);
            let run = site.run(&all);
            // What somebody typed at the shell is told to who typed it, and to nobody else.
            if !arguments.iter().any(|argument| MARKS.iter().any(|mark| argument.contains(mark))) {
                told.add("stderr", &run.stderr);
            }
        }
        let refused = || receiver.seen().iter().any(|seen| seen.status == 500);
        eventually("something to be refused", || refused().then_some(()));
        receiver.answers(|_| Mood::Status(204));
        told.add("stderr", &site.run(&["--log", level, "feed", "release", "pushed"]).exits(0).stderr);
        eventually("something to be delivered", || (receiver.taken().len() > before).then_some(()));
        for target in ["/metrics", "/v1/sources", "/v1/consumers", "/readyz"] {
            told.add(target, &daemon.get(target, site.engineer()).text());
        }
        told.add("status", &site.run(&["status"]).stdout);
        for failed in site.messages(&["--state", "failed", "--limit", "1000"]) {
            told.add("stored reason", &json!({"error": failed["error"], "notes": failed["notes"]}).to_string());
        }
        let log = daemon.log();
        if level == "trace" {
            assert!(log.contains("DEBUG"), "the log tells all that it can");
        }
        told.add(level, &log);
    }
    told.add("audit", &site.run(&["audit", "export"]).exits(0).stdout);
    assert!(told.0.lines().count() > 100);
    told.holds_nothing_of_a_canary();
}
