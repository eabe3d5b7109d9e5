//! Coercions: from a value as sent to a field's type. Named in mapping files, closed list, no user functions.
//! Here those of HL7 v2; those of FHIR, by the same names, are in [`fhir`].
//!
//! They parse content, not the declared type: OBX-2 lies. What is not understood is refused with a reason that holds no value,
//! or stays text where the field can hold text; it is never half understood.

pub(crate) mod coded;
pub(crate) mod fhir;
pub(crate) mod lab_value;
pub(crate) mod number;
pub(crate) mod person;
pub(crate) mod range;

use std::borrow::Cow;

use crate::record::Value as Json;
use jiff::tz::TimeZone;

use super::input;
use crate::hl7v2::{self, Value};
use crate::record::Fields;
use crate::record::resident_id::ResidentId;
use crate::record::schema::{Field, Shape};

/// One named coercion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coercion {
    /// The whole value, separators that are not escaped included.
    Text,
    /// The first component, for closed lists and tables.
    Code,
    /// XPN; on a patient's `name` also `family_name` and `given_name`.
    Name,
    /// A date, time of day cut off.
    Date,
    /// A date or time, precision kept.
    DateTime,
    /// A date or time; of several paths the first with a time of day wins, then the first.
    Instant,
    Integer,
    Decimal,
    Boolean,
    Phone,
    Email,
    /// CX to `{system, value}`.
    Identifier,
    /// A resident identity number in its normal form; kept as sent with a note if it is none.
    ResidentId,
    /// OBX-5 to `value_number`, `comparator`, `value_text`, `value_code`, and a flag.
    LabValue,
    ReferenceRange,
    /// CE, CWE to `{code, name, system}`, with the `alternate` where there is one.
    Coded,
    /// Of CE, CWE the alternate `{code, name, system}` alone.
    Alternate,
    /// XCN to `{id, name}`.
    Staff,
    /// XAD to one line.
    Address,
    /// Of XAD the street with the house: SAD and the second line.
    Street,
    /// OBX-6.
    Unit,
}

/// Names in mapping files. `code` is what closed lists use by themselves.
const NAMES: &[(&str, Coercion)] = &[
    ("text", Coercion::Text),
    ("code", Coercion::Code),
    ("name", Coercion::Name),
    ("date", Coercion::Date),
    ("date_time", Coercion::DateTime),
    ("instant", Coercion::Instant),
    ("integer", Coercion::Integer),
    ("decimal", Coercion::Decimal),
    ("boolean", Coercion::Boolean),
    ("phone", Coercion::Phone),
    ("email", Coercion::Email),
    ("identifier", Coercion::Identifier),
    ("resident_id", Coercion::ResidentId),
    ("lab_value", Coercion::LabValue),
    ("reference_range", Coercion::ReferenceRange),
    ("coded", Coercion::Coded),
    ("alternate", Coercion::Alternate),
    ("staff", Coercion::Staff),
    ("address", Coercion::Address),
    ("street", Coercion::Street),
    ("unit", Coercion::Unit),
];

/// Why a value was refused. Holds no value.
pub(crate) type Refusal = Cow<'static, str>;

impl Coercion {
    /// The coercion of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, coercion)| *coercion)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, coercion)| *coercion == self).map_or("", |(name, _)| *name)
    }

    /// All names.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// What a field gets when its rule says nothing; `None` for lists of objects.
    pub(crate) fn default_for(field: &Field) -> Option<Self> {
        let has = |inner: &[Field], name: &str| inner.iter().any(|field| field.name == name);
        Some(match field.shape {
            Shape::Text | Shape::TextList => Self::Text,
            Shape::Code(_) => Self::Code,
            Shape::Date => Self::Date,
            // It orders messages, so a bare date must not win over a time of day.
            Shape::DateTime if field.name == "updated_at" => Self::Instant,
            Shape::DateTime => Self::DateTime,
            Shape::Integer => Self::Integer,
            Shape::Decimal => Self::Decimal,
            Shape::Boolean => Self::Boolean,
            Shape::Object(inner) if has(inner, "low") => Self::ReferenceRange,
            Shape::Object(inner) if has(inner, "code") => Self::Coded,
            Shape::Object(inner) if has(inner, "id") => Self::Staff,
            Shape::Object(_) => Self::Identifier,
            Shape::List(_) => return None,
        })
    }

    /// Whether its result can stand in a field of this shape.
    pub(crate) fn fits(self, shape: Shape) -> bool {
        match self {
            Self::Text
            | Self::Code
            | Self::Name
            | Self::Phone
            | Self::Email
            | Self::ResidentId
            | Self::Address
            | Self::Street
            | Self::Unit => {
                matches!(shape, Shape::Text | Shape::Code(_) | Shape::TextList)
            }
            Self::Date => matches!(shape, Shape::Date | Shape::DateTime | Shape::Text),
            Self::DateTime | Self::Instant => matches!(shape, Shape::DateTime | Shape::Text),
            Self::Integer => matches!(shape, Shape::Integer | Shape::Decimal),
            Self::Decimal => shape == Shape::Decimal,
            Self::Boolean => shape == Shape::Boolean,
            Self::Identifier | Self::ReferenceRange | Self::Coded | Self::Alternate | Self::Staff => {
                matches!(shape, Shape::Object(inner) if self.parts().iter().any(|part| inner.iter().any(|field| field.name == *part)))
            }
            // Only the pseudo-target `value` takes it.
            Self::LabValue => false,
        }
    }

    /// The components of a field of HL7 v2 that it looks at; `None`: all of them.
    pub(crate) fn components(self) -> Option<&'static [usize]> {
        match self {
            Self::Text | Self::LabValue | Self::ReferenceRange => None,
            Self::Code
            | Self::Date
            | Self::DateTime
            | Self::Instant
            | Self::Integer
            | Self::Decimal
            | Self::Boolean
            | Self::ResidentId => Some(&[1]),
            Self::Name => Some(&[1, 2, 3, 4]),
            Self::Phone => Some(&[1, 3, 5, 6, 7, 8, 12]),
            Self::Email => Some(&[1, 4]),
            Self::Identifier => Some(&[1, 4]),
            Self::Coded => Some(&[1, 2, 3, 4, 5, 6, 9]),
            Self::Alternate => Some(&[1, 3, 4, 5, 6]),
            Self::Staff => Some(&[1, 2, 3, 4]),
            Self::Address => Some(&[1, 2, 3, 4, 5, 9]),
            Self::Street => Some(&[1, 2]),
            Self::Unit => Some(&[1, 2]),
        }
    }

    /// Whether a table can be applied to its result.
    pub(crate) fn gives_a_code(self) -> bool {
        matches!(self, Self::Text | Self::Code | Self::Unit | Self::Boolean | Self::Integer)
    }

    /// What is not understood of a text that it gives all the same. Holds no value.
    pub(crate) fn doubt(self, text: &str) -> Option<&'static str> {
        match self {
            Self::ResidentId if ResidentId::read(text).is_none() => Some("no valid resident number"),
            Self::Phone if !person::is_phone(text) => Some("not one phone number"),
            _ => None,
        }
    }

    fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Identifier => &["value"],
            Self::ReferenceRange => &["low"],
            Self::Coded | Self::Alternate => &["code"],
            Self::Staff => &["id"],
            _ => &[],
        }
    }
}

/// Whether `name` is a target that is no field but fills several: `value` of a result.
pub(crate) fn is_spread(level: &[Field], name: &str) -> bool {
    name == "value" && level.iter().any(|field| field.name == "value_number")
}

/// The code that a table or a closed list is asked for: the first component of a field.
pub(crate) fn code<'m>(value: &input::Value<'m>) -> Cow<'m, str> {
    match value {
        input::Value::Hl7v2(value) => part(value, 1).unwrap_or_default(),
        input::Value::Fhir(element) => fhir::code(element),
    }
}

/// Applies a coercion that gives one value; `inner` are the fields of an object target. `None`: there is nothing in it.
#[inline]
pub(crate) fn apply(
    coercion: Coercion,
    value: &input::Value<'_>,
    inner: &[Field],
    zone: &TimeZone,
) -> Result<Option<Json>, Refusal> {
    match value {
        input::Value::Hl7v2(value) => of_field(coercion, value, inner, zone),
        input::Value::Fhir(element) => fhir::apply(coercion, element, inner, zone),
    }
}

fn of_field(coercion: Coercion, value: &Value<'_>, inner: &[Field], zone: &TimeZone) -> Result<Option<Json>, Refusal> {
    let text = |text: Option<String>| text.map(Json::from);
    let sent = |text: Cow<'_, str>| Json::from(&*text);
    Ok(match coercion {
        Coercion::Text => Some(value.text()).filter(|text| !text.is_empty()).map(sent),
        Coercion::Code => part(value, 1).map(sent),
        Coercion::Name => text(person::name(value).map(|name| name.whole)),
        Coercion::Date => when(value, zone)?.map(|when| {
            let end = when.find('T').unwrap_or(when.len());
            Json::from(&when[..end])
        }),
        Coercion::DateTime | Coercion::Instant => text(when(value, zone)?),
        Coercion::Integer => match part(value, 1) {
            Some(sent) => Some(Json::from(number::integer(&sent).ok_or("not a whole number")?)),
            None => None,
        },
        Coercion::Decimal => match part(value, 1) {
            Some(sent) => Some(Json::Number(number::decimal(&sent).ok_or("not a number")?)),
            None => None,
        },
        Coercion::Boolean => match part(value, 1) {
            Some(sent) => Some(Json::from(coded::boolean(&sent).ok_or("neither yes nor no")?)),
            None => None,
        },
        Coercion::Phone => text(person::phone(value)),
        Coercion::Email => text(person::email(value)),
        Coercion::ResidentId => {
            text(part(value, 1).map(|sent| ResidentId::read(&sent).map_or_else(|| sent.into_owned(), |id| id.number)))
        }
        Coercion::Address => text(person::address(value)),
        Coercion::Street => text(person::street(value)),
        Coercion::Unit => text(coded::unit(value)),
        Coercion::Identifier => coded::identifier(value)
            .map(|(number, authority)| object(inner, [("value", Some(number)), ("system", authority)])),
        Coercion::Coded => coded::coded(value).map(|coded| coded_object(inner, coded)),
        Coercion::Alternate => coded::alternate(value).map(|coded| coded_object(inner, coded)),
        Coercion::Staff => match person::staff(value) {
            (None, None) => None,
            (id, name) => Some(object(inner, [("id", id), ("name", name)])),
        },
        // These need more than one value: the run applies them.
        Coercion::LabValue | Coercion::ReferenceRange => None,
    })
}

/// A coded value as an object of these fields.
pub(crate) fn coded_object(inner: &[Field], coded: coded::Coded) -> Json {
    let mut made = object(inner, [("code", coded.code), ("name", coded.name), ("system", coded.system)]);
    if let (Some(alternate), Some(fields)) = (coded.alternate, made.as_object_mut())
        && let Some(Field { name, shape: Shape::Object(inner), .. }) =
            inner.iter().find(|field| field.name == "alternate")
    {
        fields.insert(*name, coded_object(inner, *alternate));
    }
    made
}

fn object<const N: usize>(inner: &[Field], parts: [(&'static str, Option<String>); N]) -> Json {
    let mut fields = Fields::new();
    for (name, text) in parts {
        if let Some(text) = text.filter(|_| inner.iter().any(|field| field.name == name)) {
            fields.insert(name, Json::from(text));
        }
    }
    Json::Object(fields)
}

/// Years that databases hold where there is no date.
const NO_YEARS: [&str; 2] = ["0001", "9999"];

fn when(value: &Value<'_>, zone: &TimeZone) -> Result<Option<String>, Refusal> {
    part(value, 1).map_or(Ok(None), |sent| when_text(&sent, zone))
}

/// A date or time as text; what follows the standards of HL7 v2 or FHIR, or is written as people in China write it.
fn when_text(sent: &str, zone: &TimeZone) -> Result<Option<String>, Refusal> {
    let sent = number::half_width(sent);
    let read = hl7v2::when::parse(&chinese_date(&sent), zone).map_err(|error| Cow::Owned(error.to_string()))?;
    match read {
        Some(when) if NO_YEARS.contains(&&when[..4]) => Err(Cow::Borrowed("a date that stands for none")),
        read => Ok(read),
    }
}

/// `2024年3月5日 10时30分` as `2024-3-5 10:30`.
fn chinese_date(text: &str) -> Cow<'_, str> {
    if !text.contains('年') {
        return Cow::Borrowed(text);
    }
    let plain: String = text
        .chars()
        .map(|character| match character {
            '年' | '月' => '-',
            '时' | '点' | '分' => ':',
            '日' | '号' | '秒' => ' ',
            character => character,
        })
        .collect();
    Cow::Owned(plain.trim_end().trim_end_matches(['-', ':']).to_owned())
}

/// Part `number` of a value as meant; `None` if it is empty or `""`.
pub(crate) fn part<'m>(value: &Value<'m>, number: usize) -> Option<Cow<'m, str>> {
    value.component(number).value().map(|part| part.text()).filter(|text| !text.is_empty())
}

/// The first part of part `number`: XPN.1 is `family`, since v2.3 `family&own family&…`.
pub(crate) fn first_of<'m>(value: &Value<'m>, number: usize) -> Option<Cow<'m, str>> {
    value.component(number).value().and_then(|inner| part(&inner, 1))
}

/// Reads one field as sent with `reader`, for tests; an empty field gives the default.
#[cfg(test)]
pub(crate) fn read<T: Default>(sent: &str, reader: impl Fn(&Value<'_>) -> T) -> T {
    use crate::hl7v2::{Charset, Limits, Message, Path};
    let text = format!("MSH|^~\\&|TEST\rZZZ|{sent}\r");
    let message = Message::parse(text, Charset::Utf8, &Limits::default()).unwrap();
    let found = Path::parse("ZZZ-1").unwrap().resolve(&message.scope());
    found.value().map_or_else(T::default, |value| reader(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a coercion makes of a field as sent.
    fn made_of(coercion: Coercion, sent: &str) -> Option<String> {
        let schema = |kind, name| crate::record::schema::find(kind, name).map(|field| field.shape);
        let inner = match coercion {
            Coercion::Staff => schema(crate::record::Kind::Visit, "attending"),
            Coercion::Coded | Coercion::Alternate => schema(crate::record::Kind::LabReport, "results.value_code"),
            Coercion::Identifier => schema(crate::record::Kind::Patient, "mother_identifier"),
            _ => None,
        };
        let inner = match inner {
            Some(Shape::Object(inner)) => inner,
            _ => &[],
        };
        read(sent, |value| match coercion {
            Coercion::Name => person::name(value).map(|name| format!("{name:?}")),
            _ => {
                let made = apply(coercion, &input::Value::Hl7v2(*value), inner, &TimeZone::UTC);
                made.map_or_else(|refusal| Some(refusal.into_owned()), |made| made.map(|made| made.to_string()))
            }
        })
    }

    #[test]
    fn the_components_of_a_field_that_a_coercion_looks_at_are_those_that_make_a_difference() {
        const MOST: usize = 15;
        // Fields in which each component that counts gets its turn.
        let samples: &[(Coercion, &[&str])] = &[
            (Coercion::Code, &["A^B^C"]),
            (Coercion::Date, &["20240305^B"]),
            (Coercion::DateTime, &["202403051030^B"]),
            (Coercion::Integer, &["7^B"]),
            (Coercion::Decimal, &["7.5^B"]),
            (Coercion::Boolean, &["Y^B"]),
            (Coercion::ResidentId, &["110101199003078515^B"]),
            (Coercion::Name, &["Everyman^Adam^A^III^Dr.^MD^L"]),
            (
                Coercion::Phone,
                &["^PRN^PH^a@b^86^755^86123456^801^x", "A86^PRN^NET^^^^^^^^^^13800001234", "^^^^^^^^^^^13800001234"],
            ),
            (Coercion::Email, &["^NET^Internet^a@example.org", "a@example.org"]),
            (Coercion::Identifier, &["P1^^^HIS^MR"]),
            (
                Coercion::Coded,
                &["WBC^White^L", "^^^6690-2^Leukocytes^LN", "625-4^^LN^^Name", "625-4^^LN^^^^^^Bacteria"],
            ),
            (Coercion::Alternate, &["1^a^L^1^b^L", "WBC^White^L^6690-2^Leukocytes^LN"]),
            (Coercion::Staff, &["D1^Wang^Wei^X^^Dr."]),
            (Coercion::Address, &["1 Main St^Flat 2^Town^State^12345^US^H^^District"]),
            (Coercion::Street, &["Main St&&1^Flat 2^Town"]),
            (Coercion::Unit, &["10^9/L^x", "^mmol/L"]),
        ];
        for (coercion, fields) in samples {
            let mut counting: Vec<usize> = Vec::new();
            for sent in *fields {
                let parts: Vec<&str> = sent.split('^').chain(std::iter::repeat("")).take(MOST).collect();
                for number in 1..=MOST {
                    let differs = |other: &str| {
                        let mut changed = parts.clone();
                        changed[number - 1] = other;
                        made_of(*coercion, &changed.join("^")) != made_of(*coercion, sent)
                    };
                    // Taken away, or another one.
                    if ["", "Y", "NET", "13900009999"].into_iter().any(differs) {
                        counting.push(number);
                    }
                }
            }
            counting.sort_unstable();
            counting.dedup();
            assert_eq!(Some(counting.as_slice()), coercion.components(), "{}", coercion.name());
        }
        let tried = |coercion: &Coercion| samples.iter().any(|(tried, _)| tried == coercion);
        let untried: Vec<_> = NAMES.iter().map(|(_, coercion)| *coercion).filter(|coercion| !tried(coercion)).collect();
        assert!(
            untried.iter().all(|coercion| matches!(coercion, Coercion::Instant) || coercion.components().is_none())
        );
    }
}
