//! Cases 13, 14, 22, 23, 26 to 29 and 32: names that are common, unknown, misspelt, transcribed or changed.

use super::hospital::{Hospital, patient, site, town};
use crate::support::hl7::resident_number;
use crate::support::http::query;

#[test]
fn case_13_rare_name_and_birth_date_alone_say_more_than_a_common_one_which_is_reviewed() {
    let site = town();
    let hospital = Hospital::open(&site);
    let rare = patient("HIS", "1").name("澹台璟翊").born("1987-06-16").sex("M");
    let rare_again = rare.at("LIS", "71");
    let common = patient("HIS", "2").name("张伟").born("1987-06-16").sex("M");
    let common_again = common.at("LIS", "72");
    hospital.register_all(&[&rare, &common, &rare_again, &common_again]);
    let asked = hospital.expect_review(&common, &common_again);
    // How rare a name is must be learnt: enough for a link, or for a question that is all but answered.
    hospital.expect_linked_or_review(&rare, &rare_again);
    if hospital.one_id(&rare) != hospital.one_id(&rare_again) {
        let [rare, common] = [hospital.expect_review(&rare, &rare_again), asked]
            .map(|review| review["probability"].as_f64().expect("a probability"));
        assert!(rare > common && rare > 0.9, "{rare} and {common}");
    }
}

#[test]
fn case_14_a_common_name_and_birth_date_with_other_phones_is_reviewed() {
    let site = town();
    let hospital = Hospital::open(&site);
    let one = patient("HIS", "1").name("张伟").born("1987-06-16").sex("M").phone("13901234567").address("建设路1号");
    let other = one.at("LIS", "71").phone("18688997745").address("解放大街77号院3单元");
    hospital.register_all(&[&one, &other]);
    hospital.expect_review(&one, &other);
}

#[test]
fn case_22_patients_whom_nobody_knows_are_each_somebody_of_their_own() {
    let site = site();
    let hospital = Hospital::open(&site);
    let names = ["无名氏", "无名氏", "无名氏1", "急诊017", "急诊018", "unknown", "Unknown", "未知"];
    let patients: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let system = ["HIS", "EMR"][index % 2];
            patient(system, &format!("U{index}")).name(name).born("1900-01-01").sex("M").address("急诊科")
        })
        .collect();
    hospital.register_all(&patients.iter().collect::<Vec<_>>());
    assert_eq!(hospital.partition().len(), names.len());
    let reviews = hospital.open_reviews();
    assert!(reviews.is_empty(), "a night's unknown patients are not a queue: {reviews:?}");
}

#[test]
fn case_23_an_unknown_patient_who_is_named_stays_the_same_and_is_looked_for() {
    let site = site();
    let hospital = Hospital::open(&site);
    let known = patient("EMR", "E1").name("解一鸣").born("1986-02-03").sex("M").phone("13900002301");
    let unknown = patient("HIS", "U1").name("无名氏").sex("M");
    hospital.register_all(&[&known, &unknown]);
    hospital.admit(&unknown, "V1");
    hospital.expect_apart_without_review(&known, &unknown);
    let before = hospital.one_id(&unknown);
    let named = known.at("HIS", "U1");
    hospital.accept("his", "A08", &[named.pid()]);
    hospital.expect_linked_or_review(&known, &named);
    // Whatever was decided, the One ID of the night answers.
    let now = hospital.one_id(&named);
    assert_eq!(hospital.person(&before)["one_id"], now.as_str());
    assert_eq!(hospital.visits(&now), ["his:V1"]);
    assert_eq!(hospital.person(&now)["name"], "解一鸣");
}

#[test]
fn case_26_what_desks_and_keyboards_do_to_a_name_does_not_part_it() {
    let site = site();
    let hospital = Hospital::open(&site);
    let spellings = [
        ("阿卜杜拉·买买提", "阿卜杜拉•买买提"),
        ("古丽娜尔·艾山", "古丽娜尔艾山"),
        ("尼加提·吾甫尔", "尼加提．吾甫尔"),
        ("蓝晓敏", "蓝 晓　敏"),
        ("傅建业", "傅建业(男)"),
        ("汤若望", "汤若望VIP"),
        ("邹明远", "邹明远2"),
        ("JEAN VALJEAN", "ＪＥＡＮ　ＶＡＬＪＥＡＮ"),
        ("张晓兰", "張曉蘭"),
        ("刘国庆", "劉國慶"),
        ("叶青峰", "葉青峯"),
    ];
    for (index, (name, spelling)) in spellings.into_iter().enumerate() {
        let known = patient("HIS", &format!("{index}"))
            .name(name)
            .born(&format!("19{}-04-{:02}", 60 + index, 10 + index))
            .sex("M")
            .phone(&format!("139000026{index:02}"));
        let again = known.at("LIS", &format!("7{index}")).name(spelling);
        hospital.register_all(&[&known, &again]);
        hospital.expect_linked(&known, &again);
    }
    assert_eq!(hospital.partition().len(), spellings.len());
}

#[test]
fn case_27_a_rare_character_that_a_system_cannot_write_is_forgiven_when_something_else_agrees() {
    let site = site();
    let hospital = Hospital::open(&site);
    for (index, written) in ["陈?霖", "陈□霖", "陈kun霖", "陈KUN霖"].into_iter().enumerate() {
        let birth = format!("19{}-09-{:02}", 70 + index, 11 + index);
        let number = resident_number(&birth.replace('-', ""), 91);
        // With the number; with phone and birth date; with a birth date only: three people, each born in a time of their own.
        let with_number =
            patient("HIS", &format!("{index}1")).name("陈堃霖").born(&birth).sex("M").resident_id(&number);
        let again = with_number.at("LIS", &format!("{index}1")).name(written);
        hospital.register_all(&[&with_number, &again]);
        hospital.expect_linked(&with_number, &again);
        let with_phone = patient("HIS", &format!("{index}2"))
            .name("陈堃霖")
            .born(&format!("19{}-02-{:02}", 30 + index, 11 + index))
            .sex("M")
            .phone(&format!("139000027{index:02}"));
        let again = with_phone.at("LIS", &format!("{index}2")).name(written);
        hospital.register_all(&[&with_phone, &again]);
        hospital.expect_linked(&with_phone, &again);
        let bare = patient("HIS", &format!("{index}3"))
            .name("陈堃霖")
            .born(&format!("200{index}-06-{:02}", 11 + index))
            .sex("M");
        let again = bare.at("LIS", &format!("{index}3")).name(written);
        hospital.register_all(&[&bare, &again]);
        hospital.expect_review(&bare, &again);
    }
}

#[test]
fn case_28_a_name_in_pinyin_needs_something_beside_it() {
    let site = town();
    let hospital = Hospital::open(&site);
    let known = |number: &str, birth: &str| patient("HIS", number).name("张伟").born(birth).sex("M");
    let heard = |number: &str, birth: &str| patient("LIS", number).name("ZHANG WEI").born(birth).sex("M");
    let (bare, bare_heard) = (known("1", "1987-06-16"), heard("71", "1987-06-16"));
    hospital.register_all(&[&bare, &bare_heard]);
    hospital.expect_review(&bare, &bare_heard);
    let number = resident_number("19880717", 93);
    let (numbered, numbered_heard) =
        (known("2", "1988-07-17").resident_id(&number), heard("72", "1988-07-17").resident_id(&number));
    hospital.register_all(&[&numbered, &numbered_heard]);
    hospital.expect_linked(&numbered, &numbered_heard);
    let (called, called_heard) =
        (known("3", "1989-08-18").phone("13900002803"), heard("73", "1989-08-18").phone("13900002803"));
    hospital.register_all(&[&called, &called_heard]);
    hospital.expect_linked(&called, &called_heard);
    let (admitted, admitted_heard) = (known("4", "1990-09-19"), heard("74", "1990-09-19"));
    hospital.admit(&admitted, "V284");
    hospital.result(&admitted_heard, "F284", "V284");
    hospital.expect_linked(&admitted, &admitted_heard);
    assert_eq!(hospital.reports(&hospital.one_id(&admitted)), ["lis:F284"]);
}

#[test]
fn case_29_a_name_and_a_sex_are_nobody_unless_the_visit_is_known() {
    let site = site();
    let hospital = Hospital::open(&site);
    let known = patient("HIS", "1").name("温如玉").born("1968-01-29").sex("F").phone("13900002901");
    let thin = |number: &str| patient("LIS", number).name("温如玉").sex("F");
    hospital.admit(&known, "V29");
    hospital.result(&thin("71"), "F71", "");
    hospital.expect_apart_without_review(&known, &thin("71"));
    hospital.result(&thin("72"), "F72", "V29");
    hospital.expect_linked(&known, &thin("72"));
    hospital.expect_two(&thin("71"), &thin("72"));
    assert_eq!(hospital.reports(&hospital.one_id(&known)), ["lis:F72"]);
}

#[test]
fn case_32_a_changed_name_is_the_same_person_and_the_old_one_is_found() {
    let site = site();
    let hospital = Hospital::open(&site);
    let before = patient("HIS", "1").name("孔令仪").born("2011-10-05").sex("F");
    hospital.register(&before);
    let one_id = hospital.one_id(&before);
    hospital.update(&before.clone().name("顾思源"));
    assert_eq!(hospital.one_id(&before), one_id);
    assert_eq!(hospital.links().len(), 1);
    assert_eq!(hospital.person(&one_id)["name"], "顾思源");
    for name in ["顾思源", "孔令仪"] {
        let found = hospital.json(&format!("/v1/persons?name={}&birth_date=2011-10-05", query(name)));
        let persons = found["persons"].as_array().unwrap();
        assert_eq!(persons.len(), 1, "{name}: {found}");
        assert_eq!(persons[0]["one_id"], one_id.as_str());
    }
}
