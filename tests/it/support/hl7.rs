//! HL7 text as tests write it, and acknowledgements as a careful sender reads them.

/// One segment, its values placed by field number: `segment("PV1", &[(2, "I"), (19, "V1")])`.
pub(crate) fn segment(name: &str, values: &[(usize, &str)]) -> String {
    let mut fields = vec![""; values.iter().map(|(number, _)| *number).max().unwrap_or(0)];
    for (number, value) in values {
        fields[number - 1] = value;
    }
    format!("{name}|{}", fields.join("|"))
}

/// A message of type `kind` (`ADT^A01`) with control id `id`, written at `at`; UTF-8, and labelled so.
pub(crate) fn message(kind: &str, id: &str, at: &str, segments: &[String]) -> String {
    labelled(kind, id, at, "UNICODE UTF-8", segments)
}

/// As [`message`], with `charset` in MSH-18. The caller encodes the text.
pub(crate) fn labelled(kind: &str, id: &str, at: &str, charset: &str, segments: &[String]) -> String {
    let mut text = format!("MSH|^~\\&|HIS|MAIN|HEYI|CRM|{at}||{kind}|{id}|P|2.5.1|||||CHN|{charset}\r");
    for segment in segments {
        text.push_str(segment);
        text.push('\r');
    }
    text
}

/// An ADT message: EVN with the trigger and `at`, then `segments`.
pub(crate) fn adt(trigger: &str, id: &str, at: &str, segments: &[String]) -> String {
    let mut all = vec![segment("EVN", &[(1, trigger), (2, at)])];
    all.extend_from_slice(segments);
    message(&format!("ADT^{trigger}"), id, at, &all)
}

/// A registration (A04 without a visit) of patient `HIS|number`: the shortest message that makes a person.
pub(crate) fn registration(id: &str, number: &str, name: &str) -> String {
    adt("A28", id, "20240305080000", &[pid(number, name)])
}

/// PID of patient `HIS|number`, born 1980, male.
pub(crate) fn pid(number: &str, name: &str) -> String {
    person(number, name, "19800102", "M", &[])
}

/// PID of patient `HIS|number`; `more` adds or replaces fields by number.
pub(crate) fn person(number: &str, name: &str, birth: &str, sex: &str, more: &[(usize, &str)]) -> String {
    let identifier = format!("{number}^^^HIS^MR");
    let mut values = vec![(3, identifier.as_str()), (5, name), (7, birth), (8, sex)];
    values.extend_from_slice(more);
    segment("PID", &values)
}

/// PV1 of inpatient visit `number` at `place` (`ward^room^bed`), with start and end as far as known.
pub(crate) fn inpatient(number: &str, place: &str, started: &str, ended: &str) -> String {
    segment("PV1", &[(2, "I"), (3, place), (19, number), (44, started), (45, ended)])
}

/// An ORU^R01 of laboratory `at` its own time: patient `HIS|number`, one report `filler` with the given OBX.
pub(crate) fn report(id: &str, at: &str, number: &str, filler: &str, status: &str, results: &[String]) -> String {
    let mut segments = vec![
        pid(number, "张^伟"),
        segment("OBR", &[(1, "1"), (3, filler), (4, "CBC^血常规^L"), (7, at), (22, at), (25, status)]),
    ];
    segments.extend_from_slice(results);
    message("ORU^R01", id, at, &segments)
}

/// An admission of nobody, which no mapping can make sense of: a visit that is new, and no patient.
pub(crate) fn admission_of_nobody(id: &str) -> String {
    adt("A01", id, "20240305103000", &[inpatient(&format!("V-{id}"), "ICU^1^1", "20240305103000", "")])
}

/// One OBX of type NM: code, value, unit, range, flag, status.
pub(crate) fn number(code: &str, value: &str, unit: &str, range: &str, flag: &str, status: &str) -> String {
    segment("OBX", &[(2, "NM"), (3, code), (5, value), (6, unit), (7, range), (8, flag), (11, status)])
}

/// `text` in GB18030. Panics where it cannot be written: then the test itself is wrong.
pub(crate) fn gb18030(text: &str) -> Vec<u8> {
    encoded(encoding_rs::GB18030, text)
}

/// `text` in `encoding`, all of it.
pub(crate) fn encoded(encoding: &'static encoding_rs::Encoding, text: &str) -> Vec<u8> {
    let (bytes, _, replaced) = encoding.encode(text);
    assert!(!replaced, "the test's own text does not fit {}", encoding.name());
    bytes.into_owned()
}

/// An 18-digit resident number with a right check digit (GB 11643), of a district that no province has.
pub(crate) fn resident_number(birth: &str, order: u16) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let digits = format!("119999{birth}{order:03}");
    let sum: u32 = digits.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    format!("{digits}{}", char::from(b"10X98765432"[(sum % 11) as usize]))
}

/// An acknowledgement, taken apart with the delimiters that it declares itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ack {
    segments: Vec<Vec<String>>,
    /// The characters of MSH-1 and MSH-2.
    pub(crate) delimiters: String,
    /// The bytes between the framing.
    pub(crate) raw: Vec<u8>,
}

impl Ack {
    /// Reads UTF-8, and GB18030 where it is not.
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let text = match std::str::from_utf8(raw) {
            Ok(text) => text.to_owned(),
            Err(_) => encoding_rs::GB18030.decode_without_bom_handling(raw).0.into_owned(),
        };
        assert!(text.starts_with("MSH"), "an acknowledgement starts with MSH: {text:?}");
        let separator = text.chars().nth(3).expect("MSH-1");
        let segments: Vec<Vec<String>> = text
            .split('\r')
            .filter(|line| !line.is_empty())
            .map(|line| line.split(separator).map(str::to_owned).collect())
            .collect();
        let delimiters = format!("{separator}{}", segments[0].get(1).map_or("", String::as_str));
        Self { segments, delimiters, raw: raw.to_vec() }
    }

    /// Field `number` of the first segment `name`, empty where there is none.
    pub(crate) fn field(&self, name: &str, number: usize) -> &str {
        // MSH-1 is the separator itself, so MSH-n is one to the left.
        let index = if name == "MSH" { number - 1 } else { number };
        let segment = self.segments.iter().find(|segment| segment[0] == name);
        segment.and_then(|segment| segment.get(index)).map_or("", String::as_str)
    }

    /// MSA-1.
    pub(crate) fn code(&self) -> &str {
        self.field("MSA", 1)
    }

    /// MSA-2: the MSH-10 that is answered.
    pub(crate) fn control_id(&self) -> &str {
        self.field("MSA", 2)
    }

    /// Whether an ERR segment is there and says where or what.
    pub(crate) fn has_error(&self) -> bool {
        self.segments.iter().any(|segment| segment[0] == "ERR" && segment.iter().skip(1).any(|field| !field.is_empty()))
    }

    /// The whole text, for messages of failing tests and for searching.
    pub(crate) fn text(&self) -> String {
        self.segments.iter().map(|segment| segment.join("|")).collect::<Vec<_>>().join("\n")
    }

    /// What an answer says, without what is new in every answer (MSH-7 and MSH-10).
    pub(crate) fn verdict(&self) -> Vec<Vec<String>> {
        self.segments.iter().filter(|segment| segment[0] != "MSH").cloned().collect()
    }
}
