//! What holds for any two records, and what the other files' tests compare with.

use proptest::prelude::*;

use super::super::name::is_blot;
use super::*;
use crate::identity::{keys, terms};
use crate::record::{Value, json};

pub(super) fn facts(record: &Value) -> PatientFacts {
    PatientFacts::of(record.as_object().unwrap())
}

pub(super) fn both(one: Value, other: Value) -> Comparison {
    let (one, other) = (facts(&one), facts(&other));
    let (found, turned) = (compare(&one, &other), compare(&other, &one));
    assert_eq!(Comparison { classes: found.classes, ..turned }, found, "{one:?} {other:?}");
    found
}

pub(super) fn numbered(kind: &str, number: &str) -> Value {
    json!({"identifiers": [{"type": kind, "system": "S", "value": number}]})
}

#[test]
fn cases_16_and_17_birth_orders_tell_twins_apart() {
    let twin = |name: &str, order: i64| json!({"name": name, "multiple_birth": order});
    assert!(both(twin("张丽", 1), twin("张莉", 2)).other_birth_order);
    assert!(!both(twin("张丽", 1), twin("张莉", 1)).other_birth_order);
    for (one, other, expected) in
        [("张三之子甲", "张三之子乙", true), ("张三之子1", "张三之子2", true), ("张三之子", "张三之子", false)]
    {
        assert_eq!(both(json!({"name": one}), json!({"name": other})).other_birth_order, expected, "{one} {other}");
    }
}

#[test]
fn case_33_an_unknown_sex_is_no_disagreement() {
    let of = |sex: &str| json!({"sex": sex});
    assert_eq!(both(of("male"), of("unknown")).sex, SexLevel::Missing);
    assert_eq!(both(of("male"), of("female")).sex, SexLevel::Different);
    // The 17th digit says male.
    assert_eq!(both(of("female"), numbered("resident_id", "110101199003073458")).sex, SexLevel::Different);
}

fn patient() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "",
        "张伟",
        "張偉",
        "张玮",
        "ZHANG WEI",
        "张国强",
        "张国栋",
        "张三之子甲",
        "无名氏",
        "john smith",
        "smith, jhon",
        "smith",
        "王?民",
        "王翾民",
    ]);
    let date = prop::sample::select(vec!["", "1990", "1990-03-07", "1990-07-03", "1965-11-28", "1900-01-01"]);
    let number = prop::sample::select(vec![
        "",
        "110101199003073458",
        "110101199003073450",
        "11010519491231002X",
        "110101900307345",
        "E12345679",
    ]);
    let phone = prop::sample::select(vec!["", "13812345678", "13812345687", "13800000000"]);
    let address = prop::sample::select(vec!["", "学府路12号301", "学府路12号", "7 wallaby st", "深圳市"]);
    (name.clone(), name, date, number.clone(), number, phone, address).prop_map(
        |(name, other, date, number, card, phone, address)| {
            let kind = if number.starts_with('E') { "passport" } else { "resident_id" };
            json!({
                "name": name, "other_names": [other], "birth_date": date, "phones": [{"value": phone}],
                "identifiers": [{"type": kind, "value": number}, {"type": "other", "system": "SSN", "value": card}],
                "insurance": [{"number": card}], "addresses": [{"text": address}],
            })
        },
    )
}

proptest! {
    #[test]
    fn comparing_is_symmetrical(one in patient(), other in patient()) {
        both(one, other);
    }

    #[test]
    fn a_record_agrees_with_itself(record in patient()) {
        let facts = facts(&record);
        let found = both(record.clone(), record);
        // A sign for a rare character, pinyin, and a number that fails its check, prove less than they could.
        prop_assert!(facts.names.iter().all(|name| name.is_pinyin || name.key.contains(is_blot)) || found.name == NameLevel::Exact);
        prop_assert!(own_resident_ids(&facts).next().is_none() || found.number == NumberLevel::Exact);
        prop_assert!(found.birth_date <= BirthDateLevel::Partial || found.birth_date == BirthDateLevel::Missing);
        prop_assert!(matches!(found.card, CardLevel::Exact | CardLevel::Missing));
        prop_assert!(matches!(found.phone, PhoneLevel::Exact | PhoneLevel::Missing));
        prop_assert!(matches!(found.address, AddressLevel::Exact | AddressLevel::Missing));
        prop_assert!(found.sex != SexLevel::Different && !found.other_birth_order);
    }

    #[test]
    fn no_text_panics(
        name in ".*", number in "[0-9X张 ]{0,20}", address in ".*", phone in ".*", date in "[0-9-张]{0,12}",
    ) {
        let record = json!({
            "name": name, "birth_date": date, "phones": [{"value": phone}], "addresses": [{"text": address}],
            "identifiers": [{"type": "resident_id", "value": number}, {"type": "other", "system": "S", "value": number}],
        });
        let facts = facts(&record);
        let _ = (both(record.clone(), record), keys(&facts), terms(&facts));
    }
}
