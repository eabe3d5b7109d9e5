//! Lives of patients as messages: what a HIS and a laboratory send, each of its own minute.

use std::fmt;

use proptest::prelude::*;

/// Patients in a history. Each has three numbers at the HIS (the third may be merged into the second, that into the first) and
/// one at the laboratory.
const PATIENTS: usize = 3;

const ADT: [&str; 12] = ["A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A11", "A12", "A13", "A23"];
const SIU: [&str; 6] = ["S12", "S13", "S14", "S15", "S17", "S26"];

/// Who sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    His,
    Lis,
}

/// One message: its sender and its text, complete but for the control id and the time.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) sender: Sender,
    body: String,
    kind: String,
}

impl fmt::Debug for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.body.replace('\r', " "))
    }
}

impl Said {
    /// The message as it is sent; `minute` is its source time.
    pub(crate) fn text(&self, control_id: &str, minute: usize) -> String {
        let time = clock(minute);
        let sender = match self.sender {
            Sender::His => "HIS",
            Sender::Lis => "LIS",
        };
        let header = format!("MSH|^~\\&|{sender}|H|HEYI|H|{time}||{}|{control_id}|P|2.5|||||CHN|UTF-8", self.kind);
        format!("{header}\rEVN||{time}\r{}", self.body.replace("{time}", &time))
    }
}

fn clock(minute: usize) -> String {
    format!("2024{:02}{:02}{:02}{:02}00", 3 + minute / 40_320, 1 + minute / 1440 % 28, minute / 60 % 24, minute % 60)
}

/// A history in the order of source time.
pub(crate) fn any_history() -> impl Strategy<Value = Vec<Said>> {
    let said = prop_oneof![
        6 => adt(),
        3 => person_update(),
        1 => merge(),
        2 => appointment(),
        4 => report(),
    ];
    prop::collection::vec(said, 2..16)
}

fn adt() -> impl Strategy<Value = Said> {
    let kind = prop::sample::select(ADT.as_slice());
    (patient(), kind, visit(), place(), times()).prop_map(|((pid, patient), kind, visit, place, times)| Said {
        sender: Sender::His,
        kind: format!("ADT^{kind}"),
        body: format!("{pid}\rPV1||I|{place}||||||||||||||||{}{times}", visit_number(patient, visit)),
    })
}

fn person_update() -> impl Strategy<Value = Said> {
    (patient(), prop::sample::select(vec!["A28", "A31"])).prop_map(|((pid, _), kind)| Said {
        sender: Sender::His,
        kind: format!("ADT^{kind}"),
        body: pid,
    })
}

/// A number of a patient is given up for an older one.
fn merge() -> impl Strategy<Value = Said> {
    (0..PATIENTS, prop::sample::select(vec![('H', 'G'), ('G', 'K')])).prop_map(|(patient, (survivor, retired))| Said {
        sender: Sender::His,
        kind: "ADT^A40".to_owned(),
        body: format!("PID|1||{survivor}{patient}^^^HIS^MR\rMRG|{retired}{patient}^^^HIS^MR"),
    })
}

fn appointment() -> impl Strategy<Value = Said> {
    let kind = prop::sample::select(SIU.as_slice());
    let at = prop::sample::select(vec!["", "20240310090000", "20240311"]);
    (patient(), kind, visit(), at).prop_map(|((pid, patient), kind, visit, at)| Said {
        sender: Sender::His,
        kind: format!("SIU^{kind}"),
        body: format!("SCH||{}|||||||||^^^{at}\r{pid}", visit_number(patient, visit)),
    })
}

fn report() -> impl Strategy<Value = Said> {
    let status = || prop::sample::select(vec!["F", "F", "P", "C", "X", "", "R"]);
    let result = prop::sample::select(vec!["F", "F", "P", "R", "C", "A", "D", "W", "X", "U", "I", "O", "S", "N", ""]);
    let value = prop::sample::select(vec!["5.1", "<0.05", "阴性(-)", "", "7.9"]);
    let flag = prop::sample::select(vec!["", "N", "H", "HH"]);
    let results = prop::collection::vec((0..3_usize, value, flag, result), 0..4);
    let visit = prop::option::of(visit());
    (patient_of_laboratory(), 0..2_usize, status(), visit, results).prop_map(
        |((pid, patient, form), report, status, visit, results)| {
            let visit = visit.map(|visit| format!("\rPV1||I|||||||||||||||||{}", visit_number(patient, visit)));
            let mut body = format!("{pid}{}", visit.unwrap_or_default());
            // A number that a laboratory gives to two patients is refused for whoever comes with an older time.
            let filler = format!("F{patient}{form}{report}");
            body.push_str(&format!("\rOBR|1||{filler}|CBC^血常规|||20240305||||||||||||||{{time}}|||{status}"));
            for (set, (code, value, flag, status)) in results.into_iter().enumerate() {
                body.push_str(&format!("\rOBX|{}|NM|C{code}^项目||{value}|mmol/L|3.5-9.5|{flag}|||{status}", set + 1));
            }
            Said { sender: Sender::Lis, kind: "ORU^R01".to_owned(), body }
        },
    )
}

/// PID as the HIS sends it, and whose it is. With the identity card, its number mistyped or not, or without, under any number, with
/// what may change.
fn patient() -> impl Strategy<Value = (String, usize)> {
    let number = prop_oneof![4 => Just('H'), 2 => Just('G'), 1 => Just('K')];
    let phone = prop::sample::select(vec!["", "13800000001", "13800000002", "\"\""]);
    let died = prop::sample::select(vec!["", "", "", "Y", "N"]);
    let card = prop_oneof![4 => Just(None), 3 => Just(Some(RIGHT)), 2 => Just(Some(MISTYPED))];
    (0..PATIENTS, number, card, phone, died).prop_map(|(patient, number, card, phone, died)| {
        let card = card.map(|order| format!("~{}^^^^NI", resident_number(patient, order))).unwrap_or_default();
        let (name, birth) = (NAMES[patient], &resident_number(patient, RIGHT)[6..14]);
        let deceased = if died.is_empty() { String::new() } else { format!("{}{died}", "|".repeat(17)) };
        (format!("PID|1||{number}{patient}^^^HIS^MR{card}||{name}||{birth}|M|||||{phone}{deceased}"), patient)
    })
}

/// PID as the laboratory sends it (the number of the HIS, or one of its own with the identity card), whose it is, and under which
/// number.
fn patient_of_laboratory() -> impl Strategy<Value = (String, usize, usize)> {
    (0..PATIENTS, 0..3_usize).prop_map(|(patient, form)| {
        let number = match form {
            0 => format!("H{patient}^^^HIS^MR"),
            1 => format!("G{patient}^^^HIS^MR"),
            _ => format!("L{patient}^^^LIS^MR~{}^^^^NI", resident_number(patient, RIGHT)),
        };
        let birth = &resident_number(patient, RIGHT)[6..14];
        (format!("PID|1||{number}||{}||{birth}|M", NAMES[patient]), patient, form)
    })
}

const NAMES: [&str; PATIENTS] = ["张^伟", "李^娜", "王^芳"];

/// Orders in a resident number: the one on the card, and what a clerk once typed, which is valid as well.
const RIGHT: u16 = 345;
const MISTYPED: u16 = 347;

/// A valid one (ISO 7064 MOD 11-2).
fn resident_number(patient: usize, order: u16) -> String {
    let body = format!("11010119{}0307{order}", 60 + patient);
    let sum: usize =
        body.bytes().rev().zip(1..).map(|(digit, place)| usize::from(digit - b'0') * ((1 << place) % 11)).sum();
    let check = (12 - sum % 11) % 11;
    if check == 10 { body + "X" } else { format!("{body}{check}") }
}

/// A patient's two visits; rarely one that a clerk booked for another patient first or later.
fn visit() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..2_usize, 1 => Just(2)]
}

fn visit_number(patient: usize, visit: usize) -> String {
    if visit < 2 { format!("V{patient}{visit}") } else { "V".to_owned() }
}

fn place() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "W1^^01", "W2", "W3^3", "W1^1^02", "\"\""])
}

/// PV1-44 and PV1-45, with the fields before them.
fn times() -> impl Strategy<Value = String> {
    let begin = prop::sample::select(vec!["", "", "20240301080000", "20240302"]);
    let end = prop::sample::select(vec!["", "", "", "20240301200000", "\"\""]);
    (begin, end).prop_map(|(begin, end)| {
        if begin.is_empty() && end.is_empty() { String::new() } else { format!("{}{begin}|{end}", "|".repeat(25)) }
    })
}
