//! Fields and components of which HL7 v2 says what they are, read for something that they cannot be: the system of a code as its name, a
//! person with the times beside it, the time of another event, the number of a note as its text.
//!
//! Only what is certain is told. A later path of a rule may be a site's stopgap, and whoever writes `as = "text"` knows what is sent.

use super::path::TIMES;
use super::{Checker, coercion_of};
use crate::hl7v2::Path;
use crate::hl7v2::dictionary::shown;
use crate::mapping::coerce::Coercion;
use crate::mapping::compile::{self, Target};
use crate::mapping::file::{Located, Rule};
use crate::record::schema::{Field, Shape};

/// Types of codes with name and system: CE, and CWE and CNE, which have the same first components (HL7 v2.5.1 chapter 2A).
const CODED: &[&str] = &["CE", "CNE", "CWE", "CF"];

/// Times of a record (empty: of any), and the fields that are another event's by their name in the standard.
const TIMES_OF_OTHERS: &[(&str, &str, &[&str])] = &[
    (
        "lab_report",
        "observed_at",
        &["MSH-7", "OBR-6", "OBR-14", "OBR-22", "OBR-36", "OBX-12", "ORC-9", "SPM-18", "SPM-19"],
    ),
    ("lab_report", "collected_at", &["MSH-7", "OBR-6", "OBR-14", "OBR-22", "OBR-36", "ORC-9", "SPM-18", "SPM-19"]),
    (
        "lab_report",
        "received_at",
        &["MSH-7", "OBR-6", "OBR-7", "OBR-8", "OBR-22", "OBR-36", "ORC-9", "SPM-17", "SPM-19"],
    ),
    ("lab_report", "reported_at", &["OBR-6", "OBR-7", "OBR-8", "OBR-14", "OBR-36", "SPM-17", "SPM-18", "SPM-19"]),
    ("lab_report", "ordered_at", &["OBR-7", "OBR-8", "OBR-14", "OBR-22", "SPM-17", "SPM-18", "SPM-19"]),
    ("visit", "scheduled_at", &["PV2-9"]),
    ("visit", "started_at", &["EVN-3", "PV2-9"]),
    ("visit", "ended_at", &["EVN-3", "PV2-8", "PV2-9"]),
    ("", "updated_at", &["EVN-3"]),
];
/// What these fields are: their names in the standard.
const EVENTS: &[(&str, &str)] = &[
    ("EVN-3", "when the event is planned"),
    ("MSH-7", "when the message was made"),
    ("OBR-6", "when it was requested for"),
    ("OBR-7", "when the specimen was collected or the observation began"),
    ("OBR-8", "when the observation ended"),
    ("OBR-14", "when the specimen was received"),
    ("OBR-22", "when the report was made or changed"),
    ("OBR-36", "when it was scheduled"),
    ("OBX-12", "since when the reference range holds"),
    ("ORC-9", "when it was ordered"),
    ("PV2-8", "when the beginning is expected"),
    ("PV2-9", "when the end is expected"),
    ("SPM-17", "when the specimen was collected"),
    ("SPM-18", "when the specimen was received"),
    ("SPM-19", "when the specimen expires"),
];
/// Where the standard has these times.
const WHERE_TIMES_ARE: &[(&str, &str)] = &[
    ("observed_at", "OBX-14"),
    ("collected_at", "OBR-7"),
    ("received_at", "OBR-14"),
    ("reported_at", "OBR-22"),
    ("ordered_at", "ORC-9"),
    ("scheduled_at", "PV2-8"),
    ("started_at", "PV1-44"),
    ("ended_at", "PV1-45"),
    ("updated_at", "EVN-2"),
];
/// Segments whose names are those of other people than the patient.
const OTHER_PEOPLE: &[(&str, &str)] =
    &[("GT1", "the guarantor"), ("IN1", "the insured person"), ("NK1", "a next of kin"), ("PV1", "a doctor")];
/// Components of an address that are no part of the place (XAD, HL7 v2.8.2 chapter 2A).
const BESIDE_THE_PLACE: &[(usize, &str)] = &[(6, "the country"), (7, "what the address is used for")];

/// What a component of a code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Code,
    Name,
    System,
    Version,
}

impl Role {
    /// By its number in CWE (v2.8.2), whose first six are those of CE.
    fn of(component: usize) -> Option<Self> {
        match component {
            1 | 4 | 10 => Some(Self::Code),
            2 | 5 | 9 | 11 => Some(Self::Name),
            3 | 6 | 12 | 14 | 17 | 20 => Some(Self::System),
            7 | 8 | 13 => Some(Self::Version),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Code => "the code",
            Self::Name => "the name of the code",
            Self::System => "the system of the code",
            Self::Version => "the version of the code's system",
        }
    }
}

impl Checker<'_, '_, '_> {
    /// The rules of a block: the first for each field, and of it what its paths are by the standard.
    pub(super) fn parts(&mut self, rules: &[(&Located<String>, &Rule)], place: &str, level: &'static [Field]) {
        for (index, (target, rule)) in rules.iter().enumerate() {
            let Some(found) = compile::target(level, &target.value) else { continue };
            let coercion = coercion_of(rule, &found, level);
            let is_plain = rule.table.is_none() && rule.coercion.is_none();
            let is_first = !rules[..index].iter().any(|(other, _)| other.value == target.value);
            for (number, written) in rule.from.iter().enumerate() {
                let Some(path) = Path::parse(&written.value).ok().filter(|path| self.meaning(path).is_ok()) else {
                    continue;
                };
                let is_chosen = is_first && number == 0 && rule.when.is_none();
                let is_told = matches!(coercion, Some(Coercion::Staff | Coercion::Name))
                    && self.with_times(&path, written)
                    || self.precision_of_time(&path, written, &found)
                    || is_plain && self.part_of_code(&path, written, &found, level, is_chosen)
                    || is_plain && is_chosen && self.code_alone(&path, written, &found, coercion)
                    || is_plain && self.code_as_number(&path, written, &found, coercion)
                    || is_plain && self.part_of_note(&path, written, &found)
                    || is_plain && is_chosen && self.beside_the_place(&path, written, place, &found)
                    || is_chosen && self.name_of_another(&path, written, place, &found)
                    || is_chosen && self.time_of_another(&path, written, place, &found);
                if is_told {
                    self.paths_of_others.insert((written.file, written.span.start));
                    break;
                }
            }
        }
    }

    /// NDL: a person in the first component, and times and places behind it.
    fn with_times(&mut self, path: &Path, written: &Located<String>) -> bool {
        let Ok(meaning) = self.meaning(path) else { return false };
        if path.component().is_some() || meaning.types.last() != Some(&"NDL") {
            return false;
        }
        let text = format!("{path} ({}) has the person in its first component alone", shown(&meaning.types));
        self.reader.warn(written.file, written.span.clone(), "M018", text, &format!("write {path}.1"));
        true
    }

    /// A component of a code where another one is meant.
    fn part_of_code(
        &mut self,
        path: &Path,
        written: &Located<String>,
        target: &Target,
        level: &'static [Field],
        is_first: bool,
    ) -> bool {
        let Some(role) = self.role(path) else { return false };
        let beside = match target.parent {
            None => level,
            Some(parent) => match level.iter().find(|field| field.name == parent).map(|field| field.shape) {
                Some(Shape::Object(inner)) => inner,
                _ => return false,
            },
        };
        // A number has a system too, and no name: its authority may be anything.
        let is_of_code = ["code", "name", "system"].iter().all(|name| beside.iter().any(|field| field.name == *name));
        let is_wrong = match target.name {
            "system" if is_of_code => matches!(role, Role::Code | Role::Name | Role::Version),
            "code" if is_of_code => role == Role::Name && is_first || matches!(role, Role::System | Role::Version),
            name if name.contains("system") => false,
            _ => target.shape == Shape::Text && matches!(role, Role::System | Role::Version),
        };
        if is_wrong {
            let text = format!("{path} is {}, and {} is something else", role.name(), target.name);
            let hint = match (target.name, is_of_code) {
                ("system", _) => other_component(path, 3),
                ("code", true) => other_component(path, 1),
                _ => other_component(path, 2),
            };
            let hint =
                hint.map_or_else(String::new, |meant| format!("is {meant} meant? as = \"text\" takes what is sent"));
            self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
        }
        is_wrong
    }

    /// What a path to a component of a code leads to. One that `[segments]` says of its own is the sender's affair.
    fn role(&self, path: &Path) -> Option<Role> {
        let (last, whole) = match (path.component()?, path.subcomponent()) {
            (component, Some(last)) => (last, format!("{}-{}.{component}", path.segment(), path.field()?)),
            (component, None) => (component, format!("{}-{}", path.segment(), path.field()?)),
        };
        let whole = Path::parse(&whole).ok()?;
        let meaning = match path.subcomponent() {
            Some(_) => self.dictionary.meaning(&whole).ok()?,
            None => self.meaning(&whole).ok()?,
        };
        Role::of(last).filter(|_| meaning.types.last().is_some_and(|newest| CODED.contains(newest)))
    }

    /// NTE: its number, who wrote it, its kind, where its text is asked for.
    fn part_of_note(&mut self, path: &Path, written: &Located<String>, target: &Target) -> bool {
        let (Some(field), None) = (path.field().filter(|field| *field != 3), target.parent) else { return false };
        if path.segment() != "NTE" || !matches!(target.name, "note" | "conclusion") {
            return false;
        }
        let what = match field {
            1 => "is the number of the note",
            2 => "says who wrote the note",
            4 => "says of what kind the note is",
            _ => "is not the text of the note",
        };
        let meant = path.to_string().replacen(&format!("-{field}"), "-3", 1);
        let hint = format!("is {meant} meant? as = \"text\" takes what is sent");
        self.reader.warn(written.file, written.span.clone(), "M018", format!("{path} {what}"), &hint);
        true
    }

    /// The time of another event.
    fn time_of_another(&mut self, path: &Path, written: &Located<String>, place: &str, target: &Target) -> bool {
        let root = format!("{}-{}", path.segment(), path.field().unwrap_or_default());
        let find = |list: &[(&'static str, &'static str)], name: &str| {
            list.iter().find(|(known, _)| *known == name).map(|(_, found)| *found)
        };
        let is_asked = |record: &str, name: &str| name == target.name && place.starts_with(record);
        let is_wrong =
            TIMES_OF_OTHERS.iter().any(|(record, name, fields)| is_asked(record, name) && fields.contains(&&*root));
        let Some(event) = find(EVENTS, &root).filter(|_| is_wrong) else { return false };
        let text = format!("{path} is {event}, and {} is another time", target.name);
        let meant = find(WHERE_TIMES_ARE, target.name).unwrap_or_default();
        self.reader.warn(written.file, written.span.clone(), "M018", text, &format!("is {meant} meant?"));
        true
    }

    /// TS: how precise a time is, in its second component (until v2.5.1).
    fn precision_of_time(&mut self, path: &Path, written: &Located<String>, target: &Target) -> bool {
        let (Some(field), Some(2), None) = (path.field(), path.component(), path.subcomponent()) else { return false };
        let whole = Path::parse(&format!("{}-{field}", path.segment()));
        let types = whole.ok().and_then(|whole| self.meaning(&whole).ok()).map(|meaning| meaning.types);
        let is_time = |types: &Vec<&str>| types.contains(&"TS") && types.iter().all(|name| TIMES.contains(name));
        if !types.as_ref().is_some_and(is_time) {
            return false;
        }
        let text = format!("{path} says how precise the time is, and {} is the time itself", target.name);
        let source = path.to_string();
        let hint = source.strip_suffix(".2").map_or_else(String::new, |meant| format!("write {meant}"));
        self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
        true
    }

    /// One component of a code where code, name and system are read.
    fn code_alone(
        &mut self,
        path: &Path,
        written: &Located<String>,
        target: &Target,
        coercion: Option<Coercion>,
    ) -> bool {
        let Shape::Object(inner) = target.shape else { return false };
        let takes_system = inner.iter().any(|field| field.name == "system");
        let (Some(role), true) = (self.role(path), takes_system && coercion == Some(Coercion::Coded)) else {
            return false;
        };
        let (name, source) = (target.name, path.to_string());
        let text = format!("{path} is {} alone, and {name} is code, name and system", role.name());
        let whole = source.rsplit_once('.').map_or(source.as_str(), |(whole, _)| whole);
        let hint = format!("write {whole}; a part alone has a rule of its own, as {name}.code = {source:?}");
        self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
        true
    }

    /// A code of an HL7 table none of whose codes is a number.
    fn code_as_number(
        &mut self,
        path: &Path,
        written: &Located<String>,
        target: &Target,
        coercion: Option<Coercion>,
    ) -> bool {
        if !matches!(coercion, Some(Coercion::Integer | Coercion::Decimal)) {
            return false;
        }
        let Ok(meaning) = self.meaning(path) else { return false };
        let has_numbers = |code: &&str| code.starts_with(|first: char| first.is_ascii_digit());
        let Some(codes) = self.dictionary.codes(meaning.table).filter(|codes| !codes.iter().any(has_numbers)) else {
            return false;
        };
        let text = format!(
            "{path} has codes of HL7 table {} ({}), and {} is a number",
            meaning.table,
            shown(&codes[..codes.len().min(3)]),
            target.name
        );
        self.reader.warn(written.file, written.span.clone(), "M018", text, "is another field meant?");
        true
    }

    /// XAD: the country, or what the address is for, where a part of the place is read.
    fn beside_the_place(&mut self, path: &Path, written: &Located<String>, place: &str, target: &Target) -> bool {
        let (Some(field), Some(component)) = (path.field(), path.component()) else { return false };
        let found = BESIDE_THE_PLACE.iter().find(|(number, _)| *number == component);
        let whole = Path::parse(&format!("{}-{field}", path.segment())).ok();
        let newest =
            whole.and_then(|whole| self.meaning(&whole).ok()).and_then(|meaning| meaning.types.last().copied());
        let is_asked = place == "patient.addresses" && target.name != "use" && newest == Some("XAD");
        let Some((_, what)) = found.filter(|_| is_asked) else { return false };
        let text = format!("{path} is {what}, and {} is something else", target.name);
        let meant = match target.name {
            "street" | "text" => format!("{}-{field}", path.segment()),
            name => {
                let numbers = [("city", 3), ("province", 4), ("postal_code", 5), ("district", 9)];
                let number = numbers.iter().find(|(known, _)| *known == name).map_or(1, |(_, number)| *number);
                format!("{}-{field}.{number}", path.segment())
            }
        };
        let hint = format!("is {meant} meant? as = \"text\" takes what is sent");
        self.reader.warn(written.file, written.span.clone(), "M018", text, &hint);
        true
    }

    /// The name of the mother, or of somebody else than the patient.
    fn name_of_another(&mut self, path: &Path, written: &Located<String>, place: &str, target: &Target) -> bool {
        const NAMES: &[&str] = &["family_name", "given_name", "name", "other_names"];
        if place != "patient" || target.parent.is_some() || !NAMES.contains(&target.name) {
            return false;
        }
        let of_other = OTHER_PEOPLE.iter().find(|(segment, _)| *segment == path.segment()).map(|(_, whose)| *whose);
        let whose = match (path.segment(), path.field()) {
            ("PID", Some(6)) => "the mother, before her marriage",
            _ => match of_other {
                Some(whose) => whose,
                None => return false,
            },
        };
        let text = format!("{path} is the name of {whose}, and not the patient's");
        self.reader.warn(written.file, written.span.clone(), "M018", text, "is PID-5 meant?");
        true
    }

    /// Whether a path leads to a time, be it by the first component of a TS.
    pub(super) fn is_time(&self, path: &Path) -> bool {
        let are_times = |path: &Path| {
            let types = self.meaning(path).map(|meaning| meaning.types).unwrap_or_default();
            !types.is_empty() && types.iter().all(|name| TIMES.contains(name))
        };
        let of_field = || Path::parse(&format!("{}-{}", path.segment(), path.field()?)).ok();
        are_times(path) || path.component() == Some(1) && of_field().is_some_and(|field| are_times(&field))
    }
}

/// The path to another component of the same value.
fn other_component(path: &Path, component: usize) -> Option<String> {
    let own = path.subcomponent().or(path.component())?;
    Some(format!("{}.{component}", path.to_string().strip_suffix(&format!(".{own}"))?))
}
