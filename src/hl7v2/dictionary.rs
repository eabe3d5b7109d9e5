//! What HL7 v2.1 to v2.8.2 say that there is: segments, fields, components, their data types, and the codes of a few tables. For
//! checks of what people write; no message is ever refused by it, because senders keep to no version.
//!
//! The facts are the files beside this one, made by `tools/hl7v2_dictionary.py`. All versions are taken together: a path that one
//! of them has is a path.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::Path;

/// All versions together.
static STANDARD: LazyLock<Dictionary> = LazyLock::new(|| {
    Dictionary::read(
        include_str!("dictionary/structure.tsv"),
        include_str!("dictionary/messages.tsv"),
        include_str!("dictionary/codes.tsv"),
    )
});

/// A type that stands for any other, as in OBX-5.
const ANY: &str = "varies";
/// Types without components.
const PRIMITIVES: &[&str] = &["DT", "DTM", "FT", "ID", "IS", "NM", "SI", "ST", "TM", "TN", "TX"];

/// Segments, fields, components and codes.
#[derive(Debug, Default)]
pub struct Dictionary {
    /// Fields of each segment; `None`: a number that is not in use.
    segments: HashMap<&'static str, Vec<Option<Place>>>,
    /// Components of each data type that has some.
    types: HashMap<&'static str, Vec<Option<Place>>>,
    messages: HashMap<&'static str, Vec<&'static str>>,
    codes: HashMap<&'static str, Vec<&'static str>>,
}

/// A field or component.
#[derive(Debug, Clone, Copy)]
struct Place {
    versions: &'static str,
    repeats: bool,
    /// From the oldest version to the newest, separated by blanks.
    types: &'static str,
    table: &'static str,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meaning {
    /// The data types that it has had; empty: any.
    pub types: Vec<&'static str>,
    /// Whether the field repeats in some version; true for a path without a field.
    pub repeats: bool,
    /// The table of its codes, `0085`; empty if it has none.
    pub table: &'static str,
}

/// The data type that a sender gives to a field, or to a component of it (0: the field), beside the standard's.
pub type Added<'a> = &'a dyn Fn(usize, usize) -> Option<&'static str>;

impl Meaning {
    fn of_any_type() -> Self {
        Self { repeats: true, ..Self::default() }
    }
}

/// What a path names that HL7 v2 does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The segment.
    Segment,
    /// The field; the segment has so many.
    Field(usize),
    /// The component of the path; its data types and how many they have.
    Component(String, usize),
    /// The subcomponent of the path.
    Subcomponent(String, usize),
    /// The component that the predicate asks for.
    Predicate(String, usize),
}

impl Dictionary {
    /// The standard's.
    pub fn standard() -> &'static Self {
        &STANDARD
    }

    fn read(structure: &'static str, messages: &'static str, codes: &'static str) -> Self {
        let mut dictionary = Self::default();
        for line in lines(structure) {
            let [place, versions, repeats, types, table] = columns(line);
            let (map, (name, number)) = match (place.split_once('-'), place.split_once('.')) {
                (Some(field), _) => (&mut dictionary.segments, field),
                (None, Some(component)) => (&mut dictionary.types, component),
                (None, None) => continue,
            };
            let Ok(number) = number.parse::<usize>() else { continue };
            let parts = map.entry(name).or_default();
            parts.resize(parts.len().max(number), None);
            parts[number - 1] = Some(Place { versions, repeats: !repeats.is_empty(), types, table });
        }
        for (map, text) in [(&mut dictionary.messages, messages), (&mut dictionary.codes, codes)] {
            for line in lines(text) {
                let [name, list] = columns(line);
                map.insert(name, list.split(' ').collect());
            }
        }
        dictionary
    }

    /// Whether some version has this segment.
    pub fn has_segment(&self, name: &str) -> bool {
        self.segments.contains_key(name)
    }

    /// All segments, in no order.
    pub fn segments(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.segments.keys().copied()
    }

    /// The segments that messages of a type (MSH-9.1) have in some version; `None`: there is no such type.
    pub fn segments_of(&self, message_type: &str) -> Option<&[&'static str]> {
        self.messages.get(message_type).map(Vec::as_slice)
    }

    /// The codes of an HL7 table, if it is one of the few whose codes are known here.
    pub fn codes(&self, table: &str) -> Option<&[&'static str]> {
        self.codes.get(table).map(Vec::as_slice)
    }

    /// The versions that have a field, `2.3-2.8.2`.
    pub fn versions(&self, segment: &str, field: usize) -> Option<&'static str> {
        place(&self.segments, segment, field).map(|place| place.versions)
    }

    /// What a path leads to. Z-segments are unknown here, as any other that no version has.
    pub fn meaning(&self, path: &Path) -> Result<Meaning, Missing> {
        self.meaning_with(path, &|_, _| None)
    }

    /// What a path leads to where a sender adds to the standard. Its predicate is checked as well.
    pub fn meaning_with(&self, path: &Path, added: Added<'_>) -> Result<Meaning, Missing> {
        let Some(number) = path.field() else {
            return if self.has_segment(path.segment()) { Ok(Meaning::of_any_type()) } else { Err(Missing::Segment) };
        };
        self.predicate_with(path, added)?;
        let field = self.field(path.segment(), number, added)?;
        let Some(component) = path.component() else { return Ok(field) };
        let part = self.component(&field, number, component, added);
        let part = part.map_err(|(types, last)| Missing::Component(types, last))?;
        let Some(subcomponent) = path.subcomponent() else { return Ok(part) };
        self.part(&part, subcomponent).map_err(|(types, last)| Missing::Subcomponent(types, last))
    }

    /// What the predicate of a path compares, if it has one.
    pub fn predicate_with(&self, path: &Path, added: Added<'_>) -> Result<Option<Meaning>, Missing> {
        let missing = |(types, last)| Missing::Predicate(types, last);
        let (Some(number), Some((component, subcomponent, _))) = (path.field(), path.predicate()) else {
            return Ok(None);
        };
        let field = self.field(path.segment(), number, added)?;
        let part = self.component(&field, number, component, added).map_err(missing)?;
        if subcomponent == 0 { Ok(Some(part)) } else { self.part(&part, subcomponent).map(Some).map_err(missing) }
    }

    fn field(&self, segment: &str, number: usize, added: Added<'_>) -> Result<Meaning, Missing> {
        let known = place(&self.segments, segment, number).map(|field| Meaning {
            types: known(field.types),
            repeats: field.repeats,
            table: field.table,
        });
        match (known, added(number, 0)) {
            (known, Some(data_type)) => {
                let mut field = known.unwrap_or_default();
                field.types.push(data_type);
                Ok(Meaning { repeats: true, ..field })
            }
            (Some(known), None) => Ok(known),
            (None, None) => {
                Err(self.segments.get(segment).map_or(Missing::Segment, |fields| Missing::Field(fields.len())))
            }
        }
    }

    fn component(
        &self,
        field: &Meaning,
        number: usize,
        component: usize,
        added: Added<'_>,
    ) -> Result<Meaning, (String, usize)> {
        match (self.part(field, component), added(number, component)) {
            (known, Some(data_type)) => {
                let mut part = known.unwrap_or_default();
                part.types.push(data_type);
                Ok(part)
            }
            (known, None) => known,
        }
    }

    /// The data type of this name, with the components that it has.
    pub fn data_type(&self, name: &str) -> Option<&'static str> {
        let primitive = PRIMITIVES.iter().find(|known| **known == name).copied();
        primitive.or_else(|| self.types.get_key_value(name).map(|(name, _)| *name))
    }

    /// Whether a data type has more than one component.
    pub fn is_composite(&self, data_type: &str) -> bool {
        self.types.get(data_type).is_some_and(|parts| parts.len() > 1)
    }

    /// Component `number` of what has one of these types. `Err`: the types, and how many components they have at most.
    fn part(&self, whole: &Meaning, number: usize) -> Result<Meaning, (String, usize)> {
        let mut part = Meaning { repeats: whole.repeats, ..Meaning::default() };
        let mut is_any = whole.types.is_empty();
        let mut found = false;
        for data_type in &whole.types {
            match place(&self.types, data_type, number) {
                Some(place) => {
                    found = true;
                    let types = known(place.types);
                    is_any |= types.is_empty();
                    part.types.extend(types.into_iter().filter(|name| !whole.types.contains(name) || number == 1));
                    if !place.table.is_empty() {
                        part.table = place.table;
                    }
                }
                // What has no components is its own first.
                None if number == 1 && !self.types.contains_key(data_type) => {
                    found = true;
                    part.types.push(data_type);
                    part.table = whole.table;
                }
                None => {}
            }
        }
        if is_any {
            return Ok(Meaning { repeats: whole.repeats, ..Meaning::default() });
        }
        if !found {
            let last = whole.types.iter().filter_map(|name| self.types.get(name)).map(Vec::len).max().unwrap_or(1);
            return Err((shown(&whole.types), last));
        }
        part.types.dedup();
        if part.table.is_empty() && number == 1 {
            part.table = whole.table;
        }
        Ok(part)
    }
}

fn place(map: &HashMap<&'static str, Vec<Option<Place>>>, name: &str, number: usize) -> Option<Place> {
    map.get(name)?.get(number.checked_sub(1)?).copied().flatten()
}

/// Data types for people: names of the package that the facts come from are CM in the standard.
pub fn shown(types: &[&str]) -> String {
    let mut names: Vec<&str> = types.iter().map(|name| if name.starts_with("CM_") { "CM" } else { *name }).collect();
    names.dedup();
    names.join(", ")
}

fn known(types: &'static str) -> Vec<&'static str> {
    if types.split(' ').any(|name| name == ANY) { Vec::new() } else { types.split(' ').collect() }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

fn columns<const N: usize>(line: &'static str) -> [&'static str; N] {
    let mut parts = line.split('\t');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

impl Missing {
    /// What is missing and what there is instead, for `path`: `PID has 39 fields`.
    pub fn text(&self, path: &Path) -> Cow<'static, str> {
        let segment = path.segment();
        let field = path.field().unwrap_or_default();
        Cow::Owned(match self {
            Self::Segment => format!("HL7 v2 has no segment {segment}"),
            Self::Field(last) => format!("{segment} has no field {field}, the last is {segment}-{last}"),
            Self::Component(types, last) => format!(
                "{segment}-{field} ({types}) has no component {}, {}",
                path.component().unwrap_or_default(),
                count(*last)
            ),
            Self::Subcomponent(types, last) => format!(
                "{segment}-{field}.{} ({types}) has no subcomponent {}, {}",
                path.component().unwrap_or_default(),
                path.subcomponent().unwrap_or_default(),
                count(*last)
            ),
            Self::Predicate(types, last) => {
                format!(
                    "the predicate asks for a component that {segment}-{field} ({types}) does not have, {}",
                    count(*last)
                )
            }
        })
    }
}

fn count(last: usize) -> String {
    if last == 1 { "it has no parts".to_owned() } else { format!("it has {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(path: &str) -> Result<Meaning, Missing> {
        Dictionary::standard().meaning(&Path::parse(path).unwrap())
    }

    #[test]
    fn paths_of_any_version_lead_somewhere() {
        for (path, types, repeats, table) in [
            ("PID-8", "ID, IS, CWE", false, "0001"),
            ("PID-3.4.1", "IS", true, "0300"),
            ("PID-3[5=PI].1", "ST", true, ""),
            ("MSH-9.2", "ID", false, "0003"),
            ("OBX-11", "ID", false, "0085"),
            ("OBX-11.1", "ID", false, "0085"),
            ("PID-2.1", "ST", false, ""),
            ("OBR-15.1.2", "ST", false, ""),
        ] {
            let found = meaning(path).unwrap_or_else(|missing| panic!("{path}: {missing:?}"));
            assert!(shown(&found.types).contains(types), "{path}: {found:?}");
            assert_eq!((found.repeats, found.table), (repeats, table), "{path}");
        }
        assert_eq!(meaning("OBX-5[2].17.3"), Ok(Meaning { repeats: true, ..Meaning::default() }));
        assert!(meaning("PV1").is_ok());
        assert_eq!(Dictionary::standard().versions("PID", 39), Some("2.5-2.8.2"));
    }

    #[test]
    fn what_no_version_has_is_missing() {
        let text = |path: &str| meaning(path).unwrap_err().text(&Path::parse(path).unwrap()).into_owned();
        assert_eq!(text("PIX-3"), "HL7 v2 has no segment PIX");
        assert_eq!(text("PV1-99"), "PV1 has no field 99, the last is PV1-54");
        assert_eq!(text("PID-30.2"), "PID-30 (ID) has no component 2, it has no parts");
        assert!(text("PID-3.13").ends_with("has no component 13, it has 12"), "{}", text("PID-3.13"));
        assert!(text("PID-3.1.2").ends_with("has no subcomponent 2, it has no parts"), "{}", text("PID-3.1.2"));
        assert!(text("PID-3[15=PI].1").starts_with("the predicate asks for a component"), "{}", text("PID-3[15=PI].1"));
        assert_eq!(meaning("ZPI-1"), Err(Missing::Segment));
    }

    #[test]
    fn messages_and_codes_are_known() {
        let standard = Dictionary::standard();
        assert!(standard.segments_of("ORU").unwrap().contains(&"OBX"));
        assert!(!standard.segments_of("ORU").unwrap().contains(&"SCH"));
        assert_eq!(standard.segments_of("XYZ"), None);
        assert!(standard.codes("0085").unwrap().contains(&"F"));
        assert_eq!(standard.codes("0001"), None);
        assert!(standard.segments().count() > 150);
    }
}
