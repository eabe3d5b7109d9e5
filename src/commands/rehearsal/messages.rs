//! What happens in the rehearsal's hospital, as its systems say it. Nobody in it has ever lived.
//!
//! The messages go through the product's own mapping and pipeline (`story`); what events they give is written down nowhere.

/// A part of the story: what one duty of a consumer, or a few that belong together, is tried with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chapter {
    /// Who is there when the consumer comes.
    Begin,
    /// Transfers, another admission, a report.
    Commit,
    /// A transfer, told among events of types that nobody knows.
    Unknown,
    /// Two discharges and a critical value: what a consumer acts on.
    Repeat,
    /// One bed after the other.
    Order,
    /// What the connection breaks in.
    Cut,
    /// What is told after a while of refusals.
    BackOff,
    /// What is told after a silence.
    Wait,
    /// Two One IDs are one patient.
    Merge,
    /// They are two after all.
    Split,
    /// A report turns out to be somebody else's.
    Moved,
    /// A discharge and an admission are taken back.
    TakeBack,
    /// The critical value was none.
    Correct,
    /// What retention removed before the consumer read it.
    Gone,
    /// What follows on it, and is already in the snapshot.
    Snapshot,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A message: source, type and trigger event, when, and the segments after MSH and EVN, one a line.
    Message(&'static str, &'static str, &'static str, &'static str),
    /// Somebody at the records department splits what was merged: the record whose One ID shall live again.
    Split(&'static str),
}

use Step::{Message, Split};

/// The patient who is forgotten while the consumer reads.
pub(super) const ERASED: &str = "HIS|R6";
/// The patient who is forgotten when the consumer has fallen behind.
pub(super) const ERASED_UNREAD: &str = "HIS|R9";

/// The story before the restore, in order.
pub(super) const STORY: &[(Chapter, &[Step])] = &[
    (
        Chapter::Begin,
        &[
            Message(
                "his",
                "ADT^A01",
                "20260316080000",
                "{R1}\nPV1|1|I|W1^101^1||||||||||||||||V1|||||||||||||||||||||||||20260316080000",
            ),
            Message(
                "his",
                "ADT^A01",
                "20260316080500",
                "{R2}\nPV1|1|I|W2^201^1||||||||||||||||V2|||||||||||||||||||||||||20260316080500",
            ),
            Message(
                "his",
                "ADT^A01",
                "20260316081000",
                "{R3}\nPV1|1|I|W3^301^1||||||||||||||||V3|||||||||||||||||||||||||20260316081000",
            ),
            Message(
                "his",
                "ADT^A01",
                "20260316081500",
                "{R4}\nPV1|1|I|W4^401^1||||||||||||||||V4|||||||||||||||||||||||||20260316081500",
            ),
            Message(
                "his",
                "ADT^A01",
                "20260316082000",
                "{R6}\nPV1|1|I|W6^601^1||||||||||||||||V6|||||||||||||||||||||||||20260316082000",
            ),
            Message("his", "ADT^A28", "20260316082500", "{R9}"),
            Message(
                "lis",
                "ORU^R01",
                "20260316090000",
                "{R2}\nOBR|1||F2|CBC^血常规^L|||20260316083000|||||||||||||||20260316090000|||F\nOBX|1|NM|WBC^白细胞^L||6.1|10*9/L|3.5-9.5|N|||F",
            ),
            Message(
                "lis",
                "ORU^R01",
                "20260316090500",
                "{R6}\nOBR|1||F6|CBC^血常规^L|||20260316083500|||||||||||||||20260316090500|||F\nOBX|1|NM|WBC^白细胞^L||7.3|10*9/L|3.5-9.5|N|||F",
            ),
        ],
    ),
    (
        Chapter::Commit,
        &[
            Message(
                "his",
                "ADT^A02",
                "20260317080000",
                "{R2}\nPV1|1|I|W2^202^1||||||||||||||||V2|||||||||||||||||||||||||20260316080500",
            ),
            Message(
                "his",
                "ADT^A01",
                "20260317081000",
                "{R5}\nPV1|1|I|W5^501^1||||||||||||||||V5|||||||||||||||||||||||||20260317081000",
            ),
            Message(
                "lis",
                "ORU^R01",
                "20260317090000",
                "{R1}\nOBR|1||F1|CBC^血常规^L|||20260317083000|||||||||||||||20260317090000|||F\nOBX|1|NM|WBC^白细胞^L||5.2|10*9/L|3.5-9.5|N|||F",
            ),
            Message(
                "his",
                "ADT^A02",
                "20260317100000",
                "{R4}\nPV1|1|I|W4^402^1||||||||||||||||V4|||||||||||||||||||||||||20260316081500",
            ),
        ],
    ),
    (
        Chapter::Unknown,
        &[Message(
            "his",
            "ADT^A02",
            "20260317110000",
            "{R3}\nPV1|1|I|W3^302^1||||||||||||||||V3|||||||||||||||||||||||||20260316081000",
        )],
    ),
    (
        Chapter::Repeat,
        &[
            Message(
                "his",
                "ADT^A03",
                "20260318090000",
                "{R2}\nPV1|1|I|W2^202^1||||||||||||||||V2|||||||||||||||||||||||||20260316080500|20260318090000",
            ),
            Message(
                "his",
                "ADT^A03",
                "20260318091000",
                "{R6}\nPV1|1|I|W6^601^1||||||||||||||||V6|||||||||||||||||||||||||20260316082000|20260318091000",
            ),
            Message(
                "lis",
                "ORU^R01",
                "20260318100000",
                "{R4}\nOBR|1||F4|ELEC^电解质^L|||20260318093000|||||||||||||||20260318100000|||F\nOBX|1|NM|K^钾^L||6.9|mmol/L|3.5-5.3|HH|||F",
            ),
        ],
    ),
    (
        Chapter::Order,
        &[
            Message(
                "his",
                "ADT^A02",
                "20260318110000",
                "{R1}\nPV1|1|I|W1^102^1||||||||||||||||V1|||||||||||||||||||||||||20260316080000",
            ),
            Message(
                "his",
                "ADT^A03",
                "20260318150000",
                "{R1}\nPV1|1|I|W1^102^1||||||||||||||||V1|||||||||||||||||||||||||20260316080000|20260318150000",
            ),
        ],
    ),
    (
        Chapter::Cut,
        &[
            Message(
                "his",
                "ADT^A02",
                "20260318160000",
                "{R5}\nPV1|1|I|W5^502^1||||||||||||||||V5|||||||||||||||||||||||||20260317081000",
            ),
            Message(
                "his",
                "ADT^A02",
                "20260318161000",
                "{R4}\nPV1|1|I|W4^403^1||||||||||||||||V4|||||||||||||||||||||||||20260316081500",
            ),
        ],
    ),
    (
        Chapter::BackOff,
        &[Message(
            "his",
            "ADT^A02",
            "20260318170000",
            "{R5}\nPV1|1|I|W5^503^1||||||||||||||||V5|||||||||||||||||||||||||20260317081000",
        )],
    ),
    (
        Chapter::Wait,
        &[Message(
            "his",
            "ADT^A02",
            "20260318180000",
            "{R5}\nPV1|1|I|W5^504^1||||||||||||||||V5|||||||||||||||||||||||||20260317081000",
        )],
    ),
    (Chapter::Merge, &[Message("his", "ADT^A40", "20260319080000", "{R1}\nMRG|R2^^^HIS^MR")]),
    (Chapter::Split, &[Split("HIS|R2")]),
    (
        Chapter::Moved,
        &[Message(
            "lis",
            "ORU^R01",
            "20260319090000",
            "{R3}\nOBR|1||F1|CBC^血常规^L|||20260319083000|||||||||||||||20260319090000|||C\nOBX|1|NM|WBC^白细胞^L||5.4|10*9/L|3.5-9.5|N|||C",
        )],
    ),
    (
        Chapter::TakeBack,
        &[
            Message(
                "his",
                "ADT^A13",
                "20260319100000",
                "{R2}\nPV1|1|I|W2^202^1||||||||||||||||V2|||||||||||||||||||||||||20260316080500",
            ),
            Message(
                "his",
                "ADT^A11",
                "20260319101000",
                "{R5}\nPV1|1|I|W5^504^1||||||||||||||||V5|||||||||||||||||||||||||20260317081000",
            ),
        ],
    ),
    (
        Chapter::Correct,
        &[Message(
            "lis",
            "ORU^R01",
            "20260319110000",
            "{R4}\nOBR|1||F4|ELEC^电解质^L|||20260318093000|||||||||||||||20260319110000|||C\nOBX|1|NM|K^钾^L||4.4|mmol/L|3.5-5.3|N|||C",
        )],
    ),
    (
        Chapter::Gone,
        &[
            Message(
                "his",
                "ADT^A02",
                "20260320080000",
                "{R4}\nPV1|1|I|W4^404^1||||||||||||||||V4|||||||||||||||||||||||||20260316081500",
            ),
            Message(
                "his",
                "ADT^A01",
                "20260320081000",
                "{R10}\nPV1|1|I|W1^110^1||||||||||||||||V10|||||||||||||||||||||||||20260320081000",
            ),
        ],
    ),
    (
        Chapter::Snapshot,
        &[
            Message(
                "his",
                "ADT^A02",
                "20260321080000",
                "{R10}\nPV1|1|I|W1^111^1||||||||||||||||V10|||||||||||||||||||||||||20260320081000",
            ),
            Message(
                "his",
                "ADT^A02",
                "20260321081000",
                "{R4}\nPV1|1|I|W4^405^1||||||||||||||||V4|||||||||||||||||||||||||20260316081500",
            ),
            Message(
                "his",
                "ADT^A03",
                "20260321090000",
                "{R10}\nPV1|1|I|W1^111^1||||||||||||||||V10|||||||||||||||||||||||||20260320081000|20260321090000",
            ),
        ],
    ),
];

/// What was acknowledged after the backup was made, and is not in it.
pub(super) const LOST: &[Step] = &[
    // The one visit comes to the version anew that it has here, the other does not reach it again.
    Message(
        "his",
        "ADT^A03",
        "20260322080000",
        "{R3}\nPV1|1|I|W3^302^1||||||||||||||||V3|||||||||||||||||||||||||20260316081000|20260322080000",
    ),
    Message(
        "his",
        "ADT^A02",
        "20260322081000",
        "{R4}\nPV1|1|I|W4^406^1||||||||||||||||V4|||||||||||||||||||||||||20260316081500",
    ),
    Message(
        "his",
        "ADT^A03",
        "20260322090000",
        "{R4}\nPV1|1|I|W4^406^1||||||||||||||||V4|||||||||||||||||||||||||20260316081500|20260322090000",
    ),
    Message(
        "his",
        "ADT^A01",
        "20260322091000",
        "{R7}\nPV1|1|I|W7^701^1||||||||||||||||V7|||||||||||||||||||||||||20260322091000",
    ),
];

/// What happened after the restore, before the consumer came back.
pub(super) const RESTORED: &[Step] = &[
    Message(
        "his",
        "ADT^A02",
        "20260322100000",
        "{R3}\nPV1|1|I|W3^303^1||||||||||||||||V3|||||||||||||||||||||||||20260316081000",
    ),
    Message(
        "his",
        "ADT^A01",
        "20260322101000",
        "{R8}\nPV1|1|I|W8^801^1||||||||||||||||V8|||||||||||||||||||||||||20260322101000",
    ),
];

/// And after that.
pub(super) const AFTERWARDS: &[Step] = &[Message(
    "his",
    "ADT^A02",
    "20260322110000",
    "{R4}\nPV1|1|I|W4^407^1||||||||||||||||V4|||||||||||||||||||||||||20260316081500",
)];

/// The patients, by the names that stand for their PID above.
const PATIENTS: &[(&str, &str)] = &[
    ("{R1}", "PID|1||R1^^^HIS^MR||程^一鸣||19610405|M"),
    ("{R2}", "PID|1||R2^^^HIS^MR||方^素芬||19481123|F"),
    ("{R3}", "PID|1||R3^^^HIS^MR||郝^建国||19720115|M"),
    ("{R4}", "PID|1||R4^^^HIS^MR||罗^海燕||19850730|F"),
    ("{R5}", "PID|1||R5^^^HIS^MR||邹^文博||19900909|M"),
    ("{R6}", "PID|1||R6^^^HIS^MR||石^秀兰||19391201|F"),
    ("{R7}", "PID|1||R7^^^HIS^MR||葛^长春||19550621|M"),
    ("{R8}", "PID|1||R8^^^HIS^MR||薛^冬梅||19771212|F"),
    ("{R9}", "PID|1||R9^^^HIS^MR||康^有德||19660303|M"),
    ("{R10}", "PID|1||R10^^^HIS^MR||兰^小雨||20010817|F"),
];

/// The message as its source sends it: UTF-8, segments ended by a carriage return.
pub(super) fn text(source: &str, kind: &str, at: &str, body: &str) -> String {
    let (_, trigger) = kind.split_once('^').unwrap_or((kind, ""));
    let control = format!("REHEARSAL-{at}-{trigger}");
    let event = if kind.starts_with("ADT") { format!("EVN|{trigger}|{at}\n") } else { String::new() };
    let sender = source.to_uppercase();
    let head =
        format!("MSH|^~\\&|{sender}|MAIN|HEYI|CRM|{at}||{kind}|{control}|P|2.5.1|||||CHN|UNICODE UTF-8\n{event}");
    let patient = PATIENTS.iter().find(|(name, _)| body.starts_with(name));
    let body = patient.map_or_else(|| body.to_owned(), |(name, segment)| body.replacen(name, segment, 1));
    format!("{head}{body}\n").replace('\n', "\r")
}
