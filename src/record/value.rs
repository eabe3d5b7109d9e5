//! The values of records: JSON, laid out for records that are small and copied often.
//!
//! What [`serde_json::Value`] can hold, with the same names, but texts up to 23 bytes lie in the value itself and longer ones are
//! shared, and an object is one sorted list. A record of twenty fields is copied by one allocation instead of fifty; states,
//! golden records and events are copies of each other, and most of the writer's time goes into them.
//!
//! Numbers keep their digits as sent (`12.30`).

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Index;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;

/// A text, or the name of a field: cheap to copy.
pub type Text = smol_str::SmolStr;

/// The key under which serde_json hands a number with all its digits to a visitor; the test of numbers fails when it changes.
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// One value of a record.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// In a patch: cleared. Never in a stored record.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number, digits as sent.
    Number(Number),
    /// A text.
    String(Text),
    /// Several values in order.
    Array(Vec<Value>),
    /// Parts by name.
    Object(Fields),
}

/// Values by name, sorted by name: equal records have equal text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields {
    entries: Vec<(Text, Value)>,
}

/// `serde_json::json!`, as a [`Value`].
macro_rules! json {
    ($($tokens:tt)+) => { $crate::record::Value::from(::serde_json::json!($($tokens)+)) };
}
pub(crate) use json;

impl Value {
    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The number, as near as 64 bits come to it.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self { number.as_f64() } else { None }
    }

    /// The number, if it is a whole one of 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Number(number) = self { number.as_i64() } else { None }
    }

    /// Yes or no, if it is that.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The items, if it is a list.
    pub fn as_array(&self) -> Option<&Vec<Value>> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The items, if it is a list.
    pub fn as_array_mut(&mut self) -> Option<&mut Vec<Value>> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The parts, if it is an object.
    pub fn as_object(&self) -> Option<&Fields> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }

    /// The parts, if it is an object.
    pub fn as_object_mut(&mut self) -> Option<&mut Fields> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }

    /// The part of this name, if it is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_object()?.get(name)
    }
}

impl Fields {
    /// No field.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// No field yet, and room for so many.
    pub fn with_capacity(fields: usize) -> Self {
        Self { entries: Vec::with_capacity(fields) }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        // What is read or copied comes in order.
        match self.entries.last() {
            Some((last, _)) if last.as_str() < name => Err(self.entries.len()),
            _ => self.entries.binary_search_by(|(own, _)| own.as_str().cmp(name)),
        }
    }

    /// The field's value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.place(name).ok().map(|place| &self.entries[place].1)
    }

    /// The field's value, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.place(name).ok().map(|place| &mut self.entries[place].1)
    }

    /// Whether the field is there, be it as `null`.
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Fields whose names come sorted, each once.
    pub(crate) fn of_sorted(entries: Vec<(Text, Value)>) -> Self {
        debug_assert!(entries.is_sorted_by(|one, other| one.0 < other.0), "sorted, each once");
        Self { entries }
    }

    /// Sets a field; gives what it was.
    pub fn insert(&mut self, name: impl Into<Text>, value: Value) -> Option<Value> {
        let name = name.into();
        match self.place(&name) {
            Ok(place) => Some(std::mem::replace(&mut self.entries[place].1, value)),
            Err(place) => {
                self.entries.insert(place, (name, value));
                None
            }
        }
    }

    /// The field's value; `value` where there is none.
    pub fn get_or_insert_with(&mut self, name: impl Into<Text>, value: impl FnOnce() -> Value) -> &mut Value {
        let name = name.into();
        let place = match self.place(&name) {
            Ok(place) => place,
            Err(place) => {
                self.entries.insert(place, (name, value()));
                place
            }
        };
        &mut self.entries[place].1
    }

    /// The field with its name, which lives as long as the fields.
    pub fn get_key_value(&self, name: &str) -> Option<(&Text, &Value)> {
        self.place(name).ok().map(|place| &self.entries[place]).map(|(name, value)| (name, value))
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.place(name).ok().map(|place| self.entries.remove(place).1)
    }

    /// Keeps the fields for which `wanted` holds.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Text, &mut Value) -> bool) {
        self.entries.retain_mut(|(name, value)| wanted(name, value));
    }

    /// The fields, sorted by name.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Text, &Value)> + ExactSizeIterator + FusedIterator {
        self.entries.iter().map(|(name, value)| (name, value))
    }

    /// The names, sorted.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Text> + ExactSizeIterator {
        self.entries.iter().map(|(name, _)| name)
    }

    /// The values, sorted by name.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The values, sorted by name, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Value> + ExactSizeIterator {
        self.entries.iter_mut().map(|(_, value)| value)
    }
}

impl IntoIterator for Fields {
    type Item = (Text, Value);
    type IntoIter = std::vec::IntoIter<(Text, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'f> IntoIterator for &'f Fields {
    type Item = (&'f Text, &'f Value);
    type IntoIter = std::iter::Map<std::slice::Iter<'f, (Text, Value)>, fn(&'f (Text, Value)) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter().map(|(name, value)| (name, value))
    }
}

impl<N: Into<Text>> Extend<(N, Value)> for Fields {
    fn extend<T: IntoIterator<Item = (N, Value)>>(&mut self, fields: T) {
        let fields = fields.into_iter();
        self.entries.reserve(fields.size_hint().0);
        fields.for_each(|(name, value)| drop(self.insert(name, value)));
    }
}

impl<N: Into<Text>> FromIterator<(N, Value)> for Fields {
    fn from_iter<T: IntoIterator<Item = (N, Value)>>(fields: T) -> Self {
        let mut collected = Self::new();
        collected.extend(fields);
        collected
    }
}

impl Index<&str> for Fields {
    type Output = Value;

    /// The field's value, `null` where there is none.
    fn index(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&Value::Null)
    }
}

impl Index<&str> for Value {
    type Output = Value;

    /// The part of this name, `null` where there is none.
    fn index(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&Value::Null)
    }
}

impl Index<usize> for Value {
    type Output = Value;

    /// The item at this place, `null` where there is none.
    fn index(&self, place: usize) -> &Value {
        self.as_array().and_then(|items| items.get(place)).unwrap_or(&Value::Null)
    }
}

macro_rules! from {
    ($($type:ty, $value:ident => $made:expr);+ $(;)?) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        })+
    };
}

from! {
    bool, value => Self::Bool(value);
    i64, value => Self::Number(value.into());
    u64, value => Self::Number(value.into());
    &str, value => Self::String(value.into());
    String, value => Self::String(value.into());
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number),
            serde_json::Value::String(text) => Self::String(text.into()),
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(fields) => Self::Object(fields.into()),
        }
    }
}

impl From<Value> for serde_json::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::String(text.into()),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Value::Object(fields) => {
                Self::Object(fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
            }
        }
    }
}

impl From<serde_json::Map<String, serde_json::Value>> for Fields {
    fn from(fields: serde_json::Map<String, serde_json::Value>) -> Self {
        fields.into_iter().map(|(name, value)| (name, Value::from(value))).collect()
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<T: IntoIterator<Item = Value>>(items: T) -> Self {
        Self::Array(items.into_iter().collect())
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(other)
    }
}

impl fmt::Display for Value {
    /// JSON without blanks.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(fields) => fields.serialize(serializer),
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self {
            map.serialize_entry(name.as_str(), value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(fields) => Ok(fields),
            _ => Err(D::Error::custom("expected an object")),
        }
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::with_capacity(items.size_hint().unwrap_or_default());
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Fields::new();
        while let Some(name) = map.next_key::<Text>()? {
            if fields.is_empty() && name == NUMBER_TOKEN {
                let digits: Text = map.next_value()?;
                return digits.parse().map(Value::Number).map_err(A::Error::custom);
            }
            fields.insert(name, map.next_value()?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "\\PC{0,40}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::Array),
                proptest::collection::btree_map("\\PC{0,30}", inner, 0..8)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_the_json_that_serde_json_knows(json in any_json()) {
            let text = json.to_string();
            let value = Value::from(json);
            prop_assert_eq!(value.to_string(), text.as_str());
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }

        #[test]
        fn fields_are_a_sorted_map(steps in proptest::collection::vec((any::<bool>(), "[a-e]{1,2}", any::<i64>()), 0..60)) {
            let (mut fields, mut model) = (Fields::new(), std::collections::BTreeMap::new());
            for (set, name, number) in steps {
                if set {
                    let before = model.insert(name.clone(), Value::from(number));
                    prop_assert_eq!(fields.insert(name, number.into()), before);
                } else {
                    prop_assert_eq!(fields.remove(&name), model.remove(&name));
                }
            }
            prop_assert!(fields.iter().map(|(name, value)| (name.as_str(), value)).eq(model.iter().map(|(name, value)| (name.as_str(), value))));
            for name in ["a", "b", "ce", "zz"] {
                prop_assert_eq!(fields.get(name), model.get(name));
            }
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        for digits in ["0", "-7", "12.30", "1e+5", "123456789012345678901234567890.10"] {
            let text = format!("{{\"low\":{digits}}}");
            assert_eq!(serde_json::from_str::<Fields>(&text).unwrap()["low"].to_string(), digits);
            assert_eq!(Value::Object(serde_json::from_str(&text).unwrap()).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for text in ["[]", "1", "{\"a\":", "{\"a\":1}x"] {
            assert!(serde_json::from_str::<Fields>(text).is_err(), "{text}");
        }
    }
}
