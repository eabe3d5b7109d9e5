//! Fields and components of which HL7 v2 says what they are, read for something that they cannot be: the system of a code as its name, a
//! person with the times beside it, the time of another event, the number of a note as its text.
//!
//! Only what is certain is told. A later path of a rule may be a site's stopgap, and whoever writes `as = "text"` knows what is sent.

use super::Checker;
use super::path::TIMES;
use crate::hl7v2::Path;
use crate::hl7v2::dictionary::shown;
use crate::mapping::coerce::Coercion;
use crate::mapping::compile::{self, Target};
use crate::mapping::file::{Located, Rule};
use crate::record::schema::{Field, Shape};

/// Types of codes with name and system: CE, and CWE and CNE, which have the same first components (HL7 v2.5.1 chapter 2A).
const CODED: &[&str] = &["CE", "CNE", "CWE", "CF"];

/// Times of a report and its results, and the fields that are another event's by their name in the standard.
const TIMES_OF_OTHERS: &[(&str, &[&str])] = &[
    ("observed_at", &["MSH-7", "OBR-6", "OBR-14", "OBR-36", "ORC-9", "SPM-18", "SPM-19"]),
    ("collected_at", &["MSH-7", "OBR-6", "OBR-14", "OBR-22", "OBR-36", "ORC-9", "SPM-18", "SPM-19"]),
    ("received_at", &["MSH-7", "OBR-6", "OBR-7", "OBR-8", "OBR-22", "OBR-36", "ORC-9", "SPM-17", "SPM-19"]),
    ("reported_at", &["OBR-6", "OBR-7", "OBR-8", "OBR-14", "OBR-36", "SPM-17", "SPM-18", "SPM-19"]),
    ("ordered_at", &["OBR-7", "OBR-8", "OBR-14", "OBR-22", "SPM-17", "SPM-18", "SPM-19"]),
];
/// What these fields are: their names in the standard.
const EVENTS: &[(&str, &str)] = &[
    ("MSH-7", "when the message was made"),
    ("OBR-6", "when it was requested for"),
    ("OBR-7", "when the specimen was collected or the observation began"),
    ("OBR-8", "when the observation ended"),
    ("OBR-14", "when the specimen was received"),
    ("OBR-22", "when the report was made or changed"),
    ("OBR-36", "when it was scheduled"),
    ("ORC-9", "when it was ordered"),
    ("SPM-17", "when the specimen was collected"),
    ("SPM-18", "when the specimen was received"),
    ("SPM-19", "when the specimen expires"),
];
/// Where the standard has the time of a report or result.
const WHERE_TIMES_ARE: &[(&str, &str)] = &[
    ("observed_at", "OBX-14"),
    ("collected_at", "OBR-7"),
    ("received_at", "OBR-14"),
    ("reported_at", "OBR-22"),
    ("ordered_at", "ORC-9"),
];

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
            let coercion = match &rule.coercion {
                Some(written) => Coercion::named(&written.value),
                None => compile::default_coercion(&found, level, rule),
            };
            let is_plain = rule.table.is_none() && rule.coercion.is_none();
            let is_first = !rules[..index].iter().any(|(other, _)| other.value == target.value);
            for (number, written) in rule.from.iter().enumerate() {
                let Some(path) = Path::parse(&written.value).ok().filter(|path| self.meaning(path).is_ok()) else {
                    continue;
                };
                let is_chosen = is_first && number == 0 && rule.when.is_none();
                let is_told = matches!(coercion, Some(Coercion::Staff | Coercion::Name))
                    && self.with_times(&path, written)
                    || is_plain && self.part_of_code(&path, written, &found, level, is_chosen)
                    || is_plain && self.part_of_note(&path, written, &found)
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
        let of_others = TIMES_OF_OTHERS.iter().find(|(name, _)| *name == target.name).map(|(_, fields)| *fields);
        let is_wrong = place.starts_with("lab_report") && of_others.is_some_and(|fields| fields.contains(&&*root));
        let Some(event) = find(EVENTS, &root).filter(|_| is_wrong) else { return false };
        let text = format!("{path} is {event}, and {} is another time", target.name);
        let meant = find(WHERE_TIMES_ARE, target.name).unwrap_or_default();
        self.reader.warn(written.file, written.span.clone(), "M018", text, &format!("is {meant} meant?"));
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
