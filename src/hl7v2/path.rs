//! Paths into a message, as the standard writes them: `PID-3[5=PI].1`. Parsed once, resolved often.
//!
//! | form | means |
//! |---|---|
//! | `PV1` | a segment |
//! | `PID-8`, `PID-3.4`, `PID-3.4.2` | a field, a component, a subcomponent of its first repetition |
//! | `PID-3[2].1` | of its second repetition |
//! | `PID-3[*].1` | of all repetitions |
//! | `PID-3[5=PI].1`, `PID-3[5 in PI,MR].1`, `PID-3[4.2=1.2.3]` | of the repetitions whose component (or subcomponent) is one of these |
//! | `OBX[2]-5`, `DG1[*]-3.1` | of the second segment of that name in the scope; of all |
//! | `OBX[3.1.2=IMP]-5`, `PRT[4=OP]-5`, `OBX[2 in TX,FT]-5` | of all whose field (component, subcomponent) is one of these |
//!
//! `MSH-9.2` means EVN-1 where MSH-9 has no trigger event, as in v2.1 and v2.2.
//!
//! All numbers count from 1. Values in a predicate may be quoted (`[5='a,b']`), and are compared without blanks around them.

mod grammar;
mod meant;
mod resolve;
mod value;

use std::fmt;
use std::str::FromStr;

use super::{FieldSet, Location};
use grammar::Reader;
pub(crate) use value::trimmed;
pub use value::{Resolved, Value};

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    source: String,
    name: [u8; 3],
    occurrence: Occurrence,
    place: Place,
    repetition: Selector,
    /// It means a field or a part of one in the current or first segment, and chooses no repetitions, or all.
    is_plain: bool,
}

/// Which segments of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Occurrence {
    /// None was written: the current one, else the first.
    Default,
    Number(usize),
    All,
    /// All whose value at this place is one of these.
    Where(Place, Vec<String>),
}

/// Numbers from 1; 0: the whole of what is before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    field: usize,
    component: usize,
    subcomponent: usize,
}

/// Which repetitions of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selector {
    /// None was written: the current one, else the first.
    Default,
    Number(usize),
    All,
    Where {
        component: usize,
        subcomponent: usize,
        values: Vec<String>,
    },
}

/// Why text is no path, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PathError {
    /// Byte offset in the path.
    pub offset: usize,
    /// What was expected.
    pub problem: &'static str,
}

impl Path {
    /// Parses a path.
    pub fn parse(source: &str) -> Result<Self, PathError> {
        let mut reader = Reader { source, offset: 0 };
        let name = reader.segment_name()?;
        let occurrence = match reader.take("[") {
            true => reader.occurrence()?,
            false => Occurrence::Default,
        };
        let mut place = Place { field: 0, component: 0, subcomponent: 0 };
        let mut repetition = Selector::Default;
        if reader.take("-") {
            place.field = reader.number("expected a field number from 1, as in PID-3")?;
            if reader.take("[") {
                repetition = reader.repetition()?;
            }
            if reader.take(".") {
                place.component = reader.number("expected a component number from 1, as in PID-3.1")?;
                if reader.take(".") {
                    place.subcomponent = reader.number("expected a subcomponent number from 1, as in PID-3.4.1")?;
                }
            }
        }
        reader.end()?;
        Ok(Self::new(source.to_owned(), name, occurrence, place, repetition))
    }

    fn new(source: String, name: [u8; 3], occurrence: Occurrence, place: Place, repetition: Selector) -> Self {
        let is_plain = occurrence == Occurrence::Default
            && matches!(repetition, Selector::Default | Selector::All)
            && place.field > 0
            && !is_trigger_event(name, place);
        Self { source, name, occurrence, place, repetition, is_plain }
    }

    /// The name of the segment.
    pub fn segment(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or("")
    }

    /// The field; `None`: the path means a segment.
    pub fn field(&self) -> Option<usize> {
        (self.place.field > 0).then_some(self.place.field)
    }

    /// The component, if one is named.
    pub fn component(&self) -> Option<usize> {
        (self.place.component > 0).then_some(self.place.component)
    }

    /// The subcomponent, if one is named.
    pub fn subcomponent(&self) -> Option<usize> {
        (self.place.subcomponent > 0).then_some(self.place.subcomponent)
    }

    /// The number of the segment, if the path asks for one.
    pub fn occurrence(&self) -> Option<usize> {
        match self.occurrence {
            Occurrence::Number(number) => Some(number),
            Occurrence::Default | Occurrence::All | Occurrence::Where(..) => None,
        }
    }

    /// What chooses among the segments by a value, as in `OBX[3.1=WBC]`: the path to it, and the values.
    pub fn chosen_by(&self) -> Option<(Self, &[String])> {
        let Occurrence::Where(place, values) = &self.occurrence else { return None };
        let numbers = [place.field, place.component, place.subcomponent].into_iter().take_while(|number| *number > 0);
        let source =
            format!("{}-{}", self.segment(), numbers.map(|number| number.to_string()).collect::<Vec<_>>().join("."));
        Some((Self::new(source, self.name, Occurrence::Default, *place, Selector::Default), values))
    }

    /// The number of the repetition, if the path asks for one.
    pub fn repetition(&self) -> Option<usize> {
        self.repetition.number()
    }

    /// In the scopes that this path opens as `each`: the current one, which `PID-3[*]` itself does not name.
    pub fn current(&self) -> Self {
        let place = Place { component: 0, subcomponent: 0, ..self.place };
        Self::new(self.source.clone(), self.name, Occurrence::Default, place, Selector::Default)
    }

    /// Whether repetitions are chosen: by number, all, or by a predicate.
    pub fn chooses_repetitions(&self) -> bool {
        self.repetition != Selector::Default
    }

    /// Whether all repetitions of the field are meant.
    pub fn means_all_repetitions(&self) -> bool {
        self.repetition == Selector::All
    }

    /// The same path as it is written with this in brackets behind the field, for hints: `PID-3[*].1` of `PID-3.1`. It has to choose no
    /// repetition so far.
    pub fn written_with_repetition(&self, repetition: &str) -> String {
        let field = format!("-{}", self.place.field);
        match self.source.rfind(&field) {
            Some(start) => {
                let (before, behind) = self.source.split_at(start + field.len());
                format!("{before}[{repetition}]{behind}")
            }
            None => self.source.clone(),
        }
    }

    /// Component, subcomponent (0: none) and values of a predicate, as in `[4.1=HIS]`.
    pub fn predicate(&self) -> Option<(usize, usize, &[String])> {
        match &self.repetition {
            Selector::Where { component, subcomponent, values } => Some((*component, *subcomponent, values)),
            Selector::Default | Selector::Number(_) | Selector::All => None,
        }
    }

    /// Whether every value that `other` leads to is a part of what this path leads to, so that `other` has none where this has none.
    /// `opened`: the `each` around both, in whose field no number means the current repetition, and in others the first.
    pub fn covers(&self, other: &Self, opened: Option<&Self>) -> bool {
        let part = |own: usize, others: usize| own == 0 || own == others;
        let is_opened = opened.is_some_and(|each| each.name == self.name && each.place.field == self.place.field);
        let is_first = |selector: &Selector| {
            matches!(selector, Selector::Number(1)) || (!is_opened && *selector == Selector::Default)
        };
        self.name == other.name
            && (self.occurrence == other.occurrence || self.occurrence == Occurrence::All)
            && (self.repetition == other.repetition
                || self.repetition == Selector::All
                || (is_first(&self.repetition) && is_first(&other.repetition)))
            && self.place.field == other.place.field
            && part(self.place.component, other.place.component)
            && part(self.place.subcomponent, other.place.subcomponent)
    }

    /// The fields that it leads to something of: names of segments, and fields of each. It leads to nothing where all of them are empty.
    pub(crate) fn reads(&self) -> impl Iterator<Item = ([u8; 3], FieldSet)> {
        let event = is_trigger_event(self.name, self.place).then_some((*b"EVN", FieldSet::of(1)));
        event.into_iter().chain([(self.name, FieldSet::of(self.place.field))])
    }

    /// Whether the path can mean more than one thing.
    pub fn is_plural(&self) -> bool {
        matches!(self.occurrence, Occurrence::All | Occurrence::Where(..)) || matches!(self.repetition, Selector::All)
    }

    /// Whether it asks one segment alone, however many its name has.
    pub fn means_one_segment(&self) -> bool {
        !matches!(self.occurrence, Occurrence::All | Occurrence::Where(..))
    }

    /// The place that the path names, where nothing was found there.
    pub fn location(&self) -> Location {
        Location {
            occurrence: self.occurrence(),
            field: self.field(),
            repetition: self.repetition.number(),
            component: self.component(),
            subcomponent: self.subcomponent(),
            ..Location::segment(self.segment())
        }
    }
}

/// MSH-9.2, which may stand in EVN-1.
fn is_trigger_event(name: [u8; 3], place: Place) -> bool {
    &name == b"MSH" && place.field == 9 && place.component == 2
}

impl Selector {
    fn number(&self) -> Option<usize> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Default | Self::All | Self::Where { .. } => None,
        }
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(source: &str) -> Result<Self, PathError> {
        Self::parse(source)
    }
}

/// As it was written.
impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::{Charset, Limits, Message, Scope};
    use proptest::prelude::*;

    const TEXT: &str = "MSH|^~\\&|HIS||||20240305||ADT^A01|42|P|2.5.1\r\
        PID|1||P1^^^HIS&1.2.3&ISO^MR~  ~P2^^^LIS^PI~\"\"^^^X^XX||张^三~Zhang^San||19800101|\"\"|  |a\\T\\b ||\"\"^x\r\
        DG1|1||J18^Pneumonia\rDG1|2||I10^Hypertension~E11\rOBX|1|TX|||line one\nline two~two\r";

    fn message() -> Message {
        Message::parse(TEXT.to_owned(), Charset::Utf8, &Limits::default()).unwrap()
    }

    fn shown(resolved: Resolved<'_>) -> String {
        match resolved {
            Resolved::Absent => "absent".to_owned(),
            Resolved::Null => "null".to_owned(),
            Resolved::Value(value) => format!("{}={}", value.location(), value.text()),
        }
    }

    fn check(path: &str, expected: &str) {
        let path = Path::parse(path).unwrap();
        assert_eq!(shown(path.resolve(&message().scope())), expected, "{path}");
    }

    #[test]
    fn what_other_languages_and_input_methods_write_is_no_value_to_compare_with() {
        for (path, reason) in [
            ("OBX[3.1==ZDYJ]-5", "one = compares"),
            ("OBX[3.1 in (ZDYJ,BLZD)]-5", "without brackets"),
            ("OBX[3.1 in ZDYJ，BLZD]-5", "full-width comma"),
            ("OBX[3.1=‘ZDYJ’]-5", "full-width quotation mark"),
        ] {
            let error = Path::parse(path).unwrap_err();
            assert!(error.to_string().contains(reason), "{path}: {error}");
        }
        for path in ["OBX[3.1='=A']-5", "OBX[3.1 in '(A)','B，C']-5", "OBX[3.1=空腹（2h）]-5"] {
            Path::parse(path).unwrap();
        }
    }

    fn check_all(path: &str, expected: &[&str]) {
        let path = Path::parse(path).unwrap();
        let found: Vec<String> = path.resolve_all(&message().scope()).into_iter().map(shown).collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn paths_lead_to_fields_and_their_parts() {
        check("MSH-1", "MSH-1=|");
        check("MSH-2", "MSH-2=^~\\&");
        check("MSH-2.1", "MSH-2.1=^~\\&");
        check("MSH-2.2", "absent");
        check("MSH-9.2", "MSH-9.2=A01");
        check("PID-5", "PID-5[1]=张^三");
        check("PID-5.1", "PID-5[1].1=张");
        check("PID-5[2].2", "PID-5[2].2=San");
        check("PID-3.4", "PID-3[1].4=HIS&1.2.3&ISO");
        check("PID-3.4.2", "PID-3[1].4.2=1.2.3");
        check("PID-7.1.1", "PID-7.1.1=19800101");
        check("PID-7.2", "absent");
        check("PID-10", "PID-10=a&b");
        check("DG1[2]-3[2].1", "DG1[2]-3[2].1=E11");
        check("DG1[3]-3", "absent");
        check("OBX-5", "OBX-5[1]=line one\nline two");
        check("PV1-2", "absent");
        check("PID-99", "absent");
        check("DG1", "DG1[1]=DG1|1||J18^Pneumonia");
    }

    #[test]
    fn what_a_predicate_chooses_among_is_known_by_place() {
        let choice = |path: &str| {
            let found = Path::parse(path).unwrap().choice(&message().scope());
            found.map(|found| found.map(|places| places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")))
        };
        let places = |from: &str, chosen: &str| Some([from.to_owned(), chosen.to_owned()]);
        assert_eq!(choice("PID-3[5=PI].1"), places("PID-3[1] PID-3[3] PID-3[4]", "PID-3[3]"));
        assert_eq!(choice("PID-3[5=SS].1"), places("PID-3[1] PID-3[3] PID-3[4]", ""));
        assert_eq!(choice("DG1[3.1=I10]-3"), places("DG1[1] DG1[2]", "DG1[2]"));
        assert_eq!(choice("PRT[4=OP]-5"), places("", ""));
        for path in ["PID-3.1", "PID-3[*].1", "PID-3[2].1", "DG1[*]-3", "DG1[2]-3"] {
            assert_eq!(choice(path), None, "{path}");
        }
    }

    #[test]
    fn predicates_choose_among_repetitions() {
        check("PID-3[5=PI].1", "PID-3[3].1=P2");
        check("PID-3[5 in PI,MR].1", "PID-3[1].1=P1");
        check("PID-3[5 in 'PI' , \"VN\"].1", "PID-3[3].1=P2");
        check("PID-3[4.2=1.2.3].1", "PID-3[1].1=P1");
        check("PID-3[5=SS].1", "absent");
        check("PID-3[5=XX].1", "null");
        check_all("PID-3[*].1", &["PID-3[1].1=P1", "PID-3[3].1=P2", "null"]);
        check_all("PID-5[*].1", &["PID-5[1].1=张", "PID-5[2].1=Zhang"]);
        check_all("DG1[*]-3[*].1", &["DG1[1]-3.1=J18", "DG1[2]-3[1].1=I10", "DG1[2]-3[2].1=E11"]);
        check_all("DG1[*]-3.1", &["DG1[1]-3.1=J18", "DG1[2]-3[1].1=I10"]);
        check_all("PID-3.1", &["PID-3[1].1=P1"]);
        check_all("PID-9", &[]);
    }

    #[test]
    fn predicates_choose_among_segments() {
        check_all("DG1[1=2]-3.1", &["DG1[2]-3[1].1=I10"]);
        check_all("DG1[3.1=J18]-1", &["DG1[1]-1=1"]);
        check_all("DG1[3.1 in E11,J18]-1", &["DG1[1]-1=1", "DG1[2]-1=2"]);
        check_all("DG1[3.1=X]-1", &[]);
        check_all("PID[3.4.2=1.2.3]-3[1].1", &["PID-3[1].1=P1"]);
        check("DG1[3.2=Hypertension]-3", "DG1[2]-3[1]=I10^Hypertension");
        assert!(Path::parse("DG1[3.1=J18]-1").unwrap().is_plural());
    }

    #[test]
    fn defect_13_null_and_absent_are_told_apart() {
        check("PID-8", "null");
        check("PID-8.2", "null");
        check("PID-8[5=X].1", "null");
        check("PID-9", "absent");
        check("PID-4", "absent");
        check("PID-12.1", "null");
        check("PID-12.1.2", "null");
        check("PID-12.2", "PID-12.2=x");
        check("PID-12", "PID-12=\"\"^x");
        check("PID-3[2]", "absent");
    }

    #[test]
    fn each_makes_a_repetition_the_current_one() {
        let message = message();
        let each = |path: &str| message.scope().each(&Path::parse(path).unwrap());
        let values = |scopes: &[Scope<'_>], path: &str| -> Vec<String> {
            scopes.iter().map(|scope| shown(Path::parse(path).unwrap().resolve(scope))).collect()
        };
        let numbers = each("PID-3");
        assert_eq!(values(&numbers, "PID-3.1"), ["PID-3[1].1=P1", "PID-3[3].1=P2", "null"]);
        assert_eq!(values(&numbers, "PID-3[1].5"), ["PID-3[1].5=MR"; 3]);
        assert_eq!(values(&numbers, "MSH-10"), ["MSH-10=42"; 3]);
        assert_eq!(each("PID-3[5=PI]").len(), 1);
        assert_eq!(each("PID-8").len(), 0);
        assert_eq!(values(&each("DG1"), "DG1-3.1"), ["DG1[1]-3.1=J18", "DG1[2]-3[1].1=I10"]);
        assert_eq!(values(&each("DG1-3"), "DG1-3.1"), ["DG1[1]-3.1=J18", "DG1[2]-3[1].1=I10", "DG1[2]-3[2].1=E11"]);
        assert_eq!(values(&each("DG1[2]"), "DG1-1"), ["DG1[2]-1=2"]);
        let current = numbers[1].each(&Path::parse("PID-3").unwrap());
        assert_eq!(values(&current, "PID-3.1"), ["PID-3[3].1=P2"]);
    }

    #[test]
    fn values_lead_to_the_fields_beside_them() {
        let message = message();
        let name = Path::parse("PID-5[2].1").unwrap().resolve(&message.scope()).value().unwrap();
        let beside = [3, 8, 9, 99].map(|field| shown(name.beside(field)));
        assert_eq!(beside, ["PID-3[1]=P1^^^HIS&1.2.3&ISO^MR", "null", "absent", "absent"]);
    }

    #[test]
    fn values_give_their_components() {
        let message = message();
        let value = Path::parse("PID-3").unwrap().resolve(&message.scope()).value().unwrap();
        assert_eq!(shown(value.component(1)), "PID-3[1].1=P1");
        assert_eq!(shown(value.component(2)), "absent");
        assert_eq!(shown(value.component(4).value().unwrap().component(3)), "PID-3[1].4.3=ISO");
        let parts = value.parts();
        assert_eq!(
            (parts.count(), parts.component(5), parts.subcomponent(4, 1), parts.component(9)),
            (5, "MR", "HIS", "")
        );
        assert_eq!((parts.component(0), parts.subcomponent(1, 0), parts.subcomponent(1, 2)), ("", "", ""));
    }

    #[test]
    fn defect_09_a_path_is_read_to_its_end_or_refused_at_its_offset() {
        for (path, offset) in [
            ("", 0),
            ("pid-3", 0),
            ("PI", 0),
            ("PIDX-3", 3),
            ("PID.3", 3),
            ("PID-", 4),
            ("PID-0", 4),
            ("PID-3.", 6),
            ("PID-3.0", 6),
            ("PID-3.1.1.1", 9),
            ("PID-3.1[2]", 7),
            ("PID-3 ", 5),
            ("PID-3[", 6),
            ("PID-3[0]", 6),
            ("PID-3[2", 7),
            ("PID-3[5=]", 8),
            ("PID-3[5='PI]", 8),
            ("PID-3[5 of PI]", 8),
            ("PID-3[5 in PI,]", 14),
            ("PID-99999999999999999999", 4),
            ("OBX[x]-5", 4),
            ("OBX[1-5", 5),
            ("医院-3", 0),
        ] {
            assert_eq!(Path::parse(path).map_err(|error| error.offset), Err(offset), "{path}");
        }
    }

    #[test]
    fn paths_know_what_they_name() {
        let path: Path = "OBX[2]-5[*].3.1".parse().unwrap();
        assert_eq!(
            (path.segment(), path.field(), path.component(), path.subcomponent()),
            ("OBX", Some(5), Some(3), Some(1))
        );
        assert!(path.is_plural() && !"PID-3[5=PI]".parse::<Path>().unwrap().is_plural());
        assert_eq!(path.to_string(), "OBX[2]-5[*].3.1");
        assert_eq!(path.location().to_string(), "OBX[2]-5.3.1");
        assert_eq!("PV1".parse::<Path>().unwrap().field(), None);
    }

    proptest! {
        #[test]
        fn a_path_leads_to_nothing_where_all_that_it_reads_is_empty(
            event in "(ADT\\^A01)?",
            body in "((EVN|PID|DG1)(\\|[A~^]{0,2}){0,4}\r){0,4}",
            path in "(MSH-9\\.2|(EVN|PID|DG1)(\\[[12*]\\]|\\[1=A\\])?(-[1-4](\\[[12*]\\]|\\[1=A\\])?(\\.[12])?)?)",
        ) {
            let text = format!("MSH|^~\\&|||||||{event}\r{body}");
            let message = Message::parse(text, Charset::Utf8, &Limits::default()).unwrap();
            let path = Path::parse(&path).unwrap();
            let may_lead = path.reads().any(|(name, fields)| message.filled(name).meets(fields));
            for scope in message.scope().patients().into_iter().chain([message.scope()]) {
                prop_assert!(may_lead || path.resolve(&scope).is_absent() && path.resolve_all(&scope).is_empty());
            }
        }

        #[test]
        fn any_text_is_a_path_or_an_error_inside_it(text in ".{0,20}", likely in "[A-Z0-9]{3}(\\[[0-9*]\\])?-[0-9]{1,3}(\\[[0-9*=in, '.A]{0,8}\\])?(\\.[0-9]){0,3}") {
            for text in [text, likely] {
                match Path::parse(&text) {
                    Ok(path) => {
                        path.resolve_all(&message().scope());
                        prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
                    }
                    Err(error) => prop_assert!(text.is_char_boundary(error.offset)),
                }
            }
        }
    }
}
