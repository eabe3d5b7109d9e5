//! The golden record: what is shown of a person, chosen from the linked records.
//!
//! A record whose number its source has retired (A40), or whose patient it has deleted (A29), only fills what no live record says. Among the others, field by field (a
//! group is one field), the first difference decides:
//! 1. name, sex, birth date: a person's own name before a newborn's or an unknown patient's; confirmed by a valid resident
//!    number of the same record before not confirmed; a name in Chinese characters before its rendering; a fuller date;
//! 2. the newer source time of that field;
//! 3. the fuller value.
//!
//! `deceased` is a source's own word, which it can take back: of several records of one source the newest word counts. Between
//! sources dead goes before alive, for many send "alive" of everyone, and the one error is repaired, the other calls a widow.
//! Who is alive has no time of death, and one is not taken from a source that says so; whoever has one is dead.
//!
//! Identifiers are united, one spelling for each identity number; names that were not chosen become `other_names`.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};

use super::{IdentityNumber, NameClass, PatientFacts};
use crate::record::resident_id::ResidentId;
use crate::record::schema::{Field, IDENTIFIER_TYPES, PATIENT};
use crate::record::{Fields, Value};

/// One record of a person.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The patient record (`PatientState::record`).
    pub record: &'a Fields,
    /// Its source has merged its number into another one, or deleted the patient.
    pub is_retired: bool,
    /// Its source has deleted the patient; shown in `sources`.
    pub is_deactivated: bool,
    /// Names that the source said before (`PatientState::former_names`).
    pub former_names: Vec<&'a str>,
    /// Source time of each field (`PatientState::set_at`).
    pub set_at: BTreeMap<&'a str, i64>,
}

/// The golden record: patient fields by survivorship, the union of identifiers, and `sources`. It depends on the set of
/// members alone.
pub fn golden(members: &[Member<'_>]) -> Fields {
    let mut golden = match members {
        // There is nothing to choose.
        [member] => member.record.clone(),
        _ => chosen(members),
    };
    match golden.get("deceased") {
        Some(Value::Bool(false)) => drop(golden.remove("deceased_at")),
        // HL7 v2 sends PID-29 without PID-30: nobody has a time of death and lives.
        None if golden.get("deceased_at").and_then(Value::as_str).is_some() => {
            drop(golden.insert("deceased", Value::Bool(true)));
        }
        _ => {}
    }
    for (name, list) in [
        ("identifiers", identifiers(members)),
        ("other_names", other_names(members, &golden)),
        ("sources", sources(members)),
    ] {
        golden.remove(name);
        if !list.is_empty() {
            golden.insert(name, Value::Array(list));
        }
    }
    golden
}

/// Each field, or group of fields, of the member that is best at it.
fn chosen(members: &[Member<'_>]) -> Fields {
    let mut golden = Fields::new();
    let mut facts: Vec<PatientFacts> = members.iter().map(|member| PatientFacts::of(member.record)).collect();
    for fact in &mut facts {
        fact.identity_numbers.retain(|number| number.kind == "resident_id");
    }
    let deceased = deceased_by_source(members);
    for unit in PATIENT.chunk_by(|one, next| one.group.is_some() && one.group == next.group) {
        let is_word_of = |member: &Member<'_>, name: &str| match name {
            "deceased" => deceased.get(member.source).is_some_and(|word| std::ptr::eq(*word, member)),
            "deceased_at" => deceased.get(member.source).is_none_or(|word| is_dead(word)),
            _ => true,
        };
        let said = members.iter().zip(&facts).filter(|(member, _)| {
            unit.iter().any(|field| member.record.contains_key(field.name) && is_word_of(member, field.name))
        });
        if let Some((best, _)) = said.max_by(|one, other| compare(unit, *one, *other)) {
            let fields = unit.iter().filter_map(|field| best.record.get_key_value(field.name));
            golden.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
        }
    }
    golden
}

/// The record of each source whose `deceased` counts: a live one before a retired one, then the newest, then the dead one.
fn deceased_by_source<'m, 'a>(members: &'m [Member<'a>]) -> BTreeMap<&'a str, &'m Member<'a>> {
    let order = |member: &Member<'_>| (!member.is_retired, member.set_at.get("deceased").copied(), is_dead(member));
    let mut words: BTreeMap<&str, &Member<'_>> = BTreeMap::new();
    for member in members.iter().filter(|member| member.record.contains_key("deceased")) {
        let word = words.entry(member.source).or_insert(member);
        if order(member) > order(word) {
            *word = member;
        }
    }
    words
}

fn is_dead(member: &Member<'_>) -> bool {
    member.record.get("deceased") == Some(&Value::Bool(true))
}

/// Which of two members gives the field or group: by trust, then time, then fullness, then the text itself.
fn compare(unit: &[Field], one: (&Member<'_>, &PatientFacts), other: (&Member<'_>, &PatientFacts)) -> Ordering {
    let trusted = |(member, facts): (&Member<'_>, &PatientFacts)| trust(unit, member.record, facts);
    let set_at = |member: &Member<'_>| unit.iter().filter_map(|field| member.set_at.get(field.name).copied()).max();
    let text = |member: &Member<'_>| {
        let values = unit.iter().filter_map(|field| member.record.get(field.name)).map(Value::to_string);
        let text = values.collect::<String>();
        (text.len(), Reverse(text))
    };
    (!one.0.is_retired)
        .cmp(&!other.0.is_retired)
        .then_with(|| trusted(one).cmp(&trusted(other)))
        .then_with(|| set_at(one.0).cmp(&set_at(other.0)))
        .then_with(|| text(one.0).cmp(&text(other.0)))
}

/// Reasons that outweigh a newer time, weightiest first.
type Trust = (bool, bool, bool, usize);

fn trust(unit: &[Field], record: &Fields, facts: &PatientFacts) -> Trust {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut certified = facts.resident_ids().filter_map(ResidentId::read);
    match unit.first().map(|field| field.name) {
        Some("name") => {
            let chinese =
                facts.name.chars().any(|letter| matches!(letter, '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}'));
            (facts.name_class == NameClass::Normal, certified.next().is_some(), chinese, 0)
        }
        Some("birth_date") => {
            let date = text("birth_date");
            (facts.birth_date.is_some(), certified.any(|id| id.birth_date == date), false, date.len())
        }
        Some("sex") => (text("sex") != "unknown", certified.any(|id| id.sex == text("sex")), false, 0),
        Some("deceased") => (record.get("deceased") == Some(&Value::Bool(true)), false, false, 0),
        _ => (false, false, false, 0),
    }
}

/// All numbers, by type in the order of the schema; of one identity number in two spellings the fuller one.
fn identifiers(members: &[Member<'_>]) -> Vec<Value> {
    let mut union: BTreeMap<(usize, String, String), &Value> = BTreeMap::new();
    for identifier in members.iter().flat_map(|member| list(member.record, "identifiers")) {
        let text = |name: &str| identifier.get(name).and_then(Value::as_str).unwrap_or_default();
        let rank = IDENTIFIER_TYPES.iter().position(|kind| *kind == text("type")).unwrap_or(IDENTIFIER_TYPES.len());
        let key = match IdentityNumber::of(text("type"), text("value")) {
            Some(number) => (rank, String::new(), number.value),
            None => (rank, text("system").to_owned(), text("value").to_owned()),
        };
        let fuller = |value: &Value| (value.to_string().len(), Reverse(value.to_string()));
        let kept = union.entry(key).or_insert(identifier);
        if fuller(identifier) > fuller(kept) {
            *kept = identifier;
        }
    }
    union.into_values().cloned().collect()
}

/// Other names as sent, former names, and the names that were not chosen.
fn other_names(members: &[Member<'_>], golden: &Fields) -> Vec<Value> {
    let chosen = golden.get("name").and_then(Value::as_str);
    let own = members.iter().filter_map(|member| member.record.get("name"));
    let sent = members.iter().flat_map(|member| list(member.record, "other_names"));
    let former = members.iter().flat_map(|member| member.former_names.iter().copied());
    let names = own.chain(sent).filter_map(Value::as_str).chain(former);
    let others = names
        .filter(|name| Some(*name) != chosen && matches!(NameClass::of(name), NameClass::Normal | NameClass::Newborn));
    others.collect::<BTreeSet<&str>>().into_iter().map(Value::from).collect()
}

fn sources(members: &[Member<'_>]) -> Vec<Value> {
    let mut sources: Vec<Value> = members
        .iter()
        .map(|member| {
            let mut source = Fields::new();
            source.insert("source", Value::from(member.source));
            let said = ["identifiers", "updated_at"].into_iter().filter_map(|name| member.record.get_key_value(name));
            source.extend(said.map(|(name, value)| (name.clone(), value.clone())));
            if member.is_deactivated {
                source.insert("deactivated", Value::Bool(true));
            }
            Value::Object(source)
        })
        .collect();
    // By source, then by numbers; the time comes last, so a newer message does not move an entry.
    let text = |value: &Value, name: &str| value.get(name).map(Value::to_string);
    sources.sort_by_cached_key(|source| ["source", "identifiers", "updated_at"].map(|name| text(source, name)));
    sources
}

fn list<'a>(record: &'a Fields, name: &str) -> impl Iterator<Item = &'a Value> {
    record.get(name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;

    /// `(source, time of all fields, record)`; the golden record must hold `expected`, in either order of members.
    fn check(members: &[(&str, i64, Value)], expected: Value) {
        let mut members: Vec<Member<'_>> = members
            .iter()
            .map(|(source, at, record)| {
                let record = record.as_object().unwrap();
                Member {
                    source,
                    record,
                    is_retired: false,
                    is_deactivated: false,
                    former_names: Vec::new(),
                    set_at: record.keys().map(|name| (name.as_str(), *at)).collect(),
                }
            })
            .collect();
        let one = golden(&members);
        members.reverse();
        assert_eq!(golden(&members), one);
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(one.get(name).unwrap_or(&Value::Null), value, "{name}");
        }
    }

    fn resident(value: &str) -> Value {
        json!([{"type": "resident_id", "value": value}])
    }

    #[test]
    fn the_newer_value_stands_and_what_one_source_leaves_out_the_other_gives() {
        check(
            &[
                ("his", 2, json!({"occupation": "a", "vip": true})),
                ("emr", 3, json!({"occupation": "b", "phones": [{"value": "1"}]})),
            ],
            json!({"occupation": "b", "vip": true, "phones": [{"value": "1"}]}),
        );
        check(
            &[("his", 2, json!({"occupation": "a"})), ("emr", 2, json!({"occupation": "bb"}))],
            json!({"occupation": "bb"}),
        );
    }

    #[test]
    fn a_name_is_taken_whole_from_one_record() {
        check(
            &[
                ("his", 1, json!({"name": "张三", "family_name": "张", "given_name": "三"})),
                ("emr", 2, json!({"name": "张叁"})),
            ],
            json!({"name": "张叁", "family_name": null, "given_name": null, "other_names": ["张三"]}),
        );
    }

    #[test]
    fn a_confirmed_value_stands_against_a_newer_one() {
        let number = "110101199003073458";
        check(
            &[
                (
                    "his",
                    1,
                    json!({"name": "张三", "birth_date": "1990-03-07", "sex": "male", "identifiers": resident(number)}),
                ),
                ("lis", 9, json!({"name": "章三", "birth_date": "1990-07-03", "sex": "female"})),
            ],
            json!({"name": "张三", "birth_date": "1990-03-07", "sex": "male", "other_names": ["章三"]}),
        );
        // A record with the number whose own date was typed wrong confirms nothing.
        check(
            &[
                ("his", 1, json!({"birth_date": "1990-07-03", "identifiers": resident(number)})),
                ("emr", 2, json!({"birth_date": "1990-03-08"})),
            ],
            json!({"birth_date": "1990-03-08"}),
        );
    }

    #[test]
    fn a_deleted_record_only_fills_and_is_shown_as_such() {
        let [deleted, live] = ["张三", "李四"].map(|name| Fields::from_iter([("name", Value::from(name))]));
        let member = |record, at, is_deactivated| Member {
            source: "his",
            record,
            is_retired: is_deactivated,
            is_deactivated,
            former_names: vec!["王五", "张三之子"],
            set_at: BTreeMap::from([("name", at)]),
        };
        let golden = golden(&[member(&deleted, 9, true), member(&live, 1, false)]);
        assert_eq!(golden.get("name"), Some(&Value::from("李四")));
        // The name of the first days is how the ward and the mother's file know the child.
        assert_eq!(golden.get("other_names"), Some(&json!(["张三", "张三之子", "王五"])));
        assert_eq!(golden.get("sources"), Some(&json!([{"source": "his", "deactivated": true}, {"source": "his"}])));
    }

    #[test]
    fn chinese_characters_own_names_and_full_dates_stand() {
        check(
            &[
                ("his", 1, json!({"name": "张伟", "birth_date": "1990-03-07"})),
                ("lis", 9, json!({"name": "ZHANG WEI", "birth_date": "1990"})),
            ],
            json!({"name": "张伟", "birth_date": "1990-03-07", "other_names": ["ZHANG WEI"]}),
        );
        check(
            &[
                ("his", 1, json!({"name": "张小宝", "sex": "male"})),
                ("his", 9, json!({"name": "张三之子", "sex": "unknown"})),
            ],
            json!({"name": "张小宝", "sex": "male", "other_names": ["张三之子"]}),
        );
        check(
            &[("his", 1, json!({"birth_date": "1990"})), ("lis", 9, json!({"birth_date": "1900-01-01"}))],
            json!({"birth_date": "1990"}),
        );
    }

    #[test]
    fn who_is_dead_in_one_source_is_dead_until_that_source_takes_it_back() {
        check(
            &[
                ("his", 1, json!({"deceased": true, "deceased_at": "2024-03-05"})),
                ("emr", 9, json!({"deceased": false, "deceased_at": "2024-03-09"})),
            ],
            json!({"deceased": true, "deceased_at": "2024-03-05"}),
        );
        // Two numbers of one patient in one source: its newest word stands, also against a time of death that it left behind.
        check(
            &[
                ("his", 1, json!({"deceased": true, "deceased_at": "2024-03-05"})),
                ("his", 2, json!({"deceased": false})),
                ("emr", 9, json!({"name": "张三"})),
            ],
            json!({"deceased": false, "deceased_at": null}),
        );
        check(
            &[("his", 1, json!({"deceased": false})), ("his", 2, json!({"deceased": true}))],
            json!({"deceased": true}),
        );
        // A time of death alone is one.
        check(
            &[("his", 1, json!({"deceased_at": "2024-03-05"}))],
            json!({"deceased": true, "deceased_at": "2024-03-05"}),
        );
        check(
            &[("his", 1, json!({"deceased": false, "deceased_at": "2024-03-05"}))],
            json!({"deceased": false, "deceased_at": null}),
        );
    }

    #[test]
    fn identifiers_are_united_with_one_spelling_of_an_identity_number() {
        let mrn = |system: &str| json!({"type": "mrn", "system": system, "value": "1"});
        check(
            &[
                ("his", 1, json!({"identifiers": [mrn("HIS"), {"type": "resident_id", "value": "110105491231002"}]})),
                (
                    "emr",
                    2,
                    json!({"identifiers": [mrn("EMR"), {"type": "resident_id", "value": "11010519491231002X"}]}),
                ),
                ("lis", 2, json!({"identifiers": [mrn("HIS")]})),
            ],
            json!({"identifiers": [mrn("EMR"), mrn("HIS"), {"type": "resident_id", "value": "11010519491231002X"}]}),
        );
    }

    #[test]
    fn sources_are_listed_by_name() {
        let one = json!({"updated_at": "2024-03-05", "identifiers": [], "name": "张三"});
        let other = json!({"updated_at": "2024-03-06", "name": "张三"});
        check(
            &[("lis", 1, other), ("his", 1, one)],
            json!({"sources": [
                {"source": "his", "identifiers": [], "updated_at": "2024-03-05"},
                {"source": "lis", "updated_at": "2024-03-06"},
            ]}),
        );
    }
}
