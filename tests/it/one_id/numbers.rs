//! Cases 1 to 12, 30, 31 and 33: what numbers prove, and what they do not.

use serde_json::{Value, json};

use super::hospital::{Hospital, Patient, contains, identifier, patient, site, texts};
use crate::support::hl7::resident_number;

/// `number` with another digit in its middle: near, and not valid.
fn mistyped(number: &str) -> String {
    let wrong = if &number[15..16] == "7" { "8" } else { "7" };
    format!("{}{wrong}{}", &number[..15], &number[16..])
}

/// The 15 digits of before 1999.
fn old_form(number: &str) -> String {
    format!("{}{}", &number[..6], &number[8..17])
}

/// A resident number of this birth date that ends with X.
fn ending_with_x(birth: &str) -> String {
    let mut numbers = (1..999).step_by(2).map(|order| resident_number(birth, order));
    numbers.find(|number| number.ends_with('X')).expect("one number in eleven ends with X")
}

#[test]
fn case_01_a_known_number_with_another_phone_is_the_same_person() {
    let site = site();
    let hospital = Hospital::open(&site);
    let before = patient("HIS", "1").name("周立群").born("1971-03-04").sex("M").phone("13900000101");
    hospital.register(&before);
    let one_id = hospital.one_id(&before);
    hospital.accept("his", "A08", &[before.clone().phone("13900000102").address("和平路8号").pid()]);
    assert_eq!(hospital.one_id(&before), one_id);
    assert_eq!(hospital.links().len(), 1);
    let person = hospital.person(&one_id);
    assert_eq!(texts(&person["phones"], "value"), ["13900000102"], "{person}");
    assert_eq!(texts(&person["addresses"], "text"), ["和平路8号"], "{person}");
    let updated = hospital.events("patient.updated");
    assert_eq!(updated.len(), 1, "{updated:?}");
    assert_eq!(updated[0]["subject"], one_id.as_str());
    assert!(contains(&updated[0]["data"]["changed"], "phones"), "{updated:?}");
    assert_eq!(hospital.events("patient.created").len(), 1);
}

#[test]
fn case_02_one_resident_number_and_name_link_across_authorities() {
    let site = site();
    let hospital = Hospital::open(&site);
    let known =
        patient("HIS", "1").name("周立群").born("1971-03-04").sex("M").resident_id(&resident_number("19710304", 11));
    let (again, elsewhere) = (known.at("LIS", "77"), known.at("EMR", "E-5"));
    hospital.register_all(&[&known, &again, &elsewhere]);
    hospital.expect_linked(&known, &again);
    hospital.expect_linked(&known, &elsewhere);
    let links = hospital.links();
    assert_eq!(links.len(), 3);
    assert!(links.iter().all(|row| row.link == "auto"), "{links:?}");
    assert_eq!(hospital.events("patient.created").len(), 1);
    assert_eq!(hospital.person_of(&known)["sources"].as_array().map(Vec::len), Some(3));
    let namesake = known.at("EMR", "E-6").born("1949-12-30").resident_id(&resident_number("19491230", 11));
    hospital.register(&namesake);
    hospital.expect_apart_without_review(&known, &namesake);
}

#[test]
fn case_03_fifteen_digits_are_the_same_number_as_eighteen() {
    let site = site();
    let hospital = Hospital::open(&site);
    for (index, short_first) in [false, true].into_iter().enumerate() {
        let number = resident_number("19520708", 21 + 2 * u16::try_from(index).unwrap());
        let long = patient("HIS", &format!("{index}")).name("高慕贤").born("1952-07-08").sex("M").resident_id(&number);
        let short = long.at("LIS", &format!("7{index}")).resident_id(&old_form(&number));
        hospital.register_all(&if short_first { [&short, &long] } else { [&long, &short] });
        hospital.expect_linked(&long, &short);
    }
    assert_eq!(hospital.partition().len(), 2, "two numbers of one name and birth date stay two persons");
}

#[test]
fn case_04_every_spelling_of_a_number_is_the_number_and_its_text_is_kept() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = ending_with_x("19660312");
    let body = &number[..17];
    let full_width: String = number.chars().map(|letter| char::from_u32(u32::from(letter) + 0xFEE0).unwrap()).collect();
    let spellings = [
        format!("{body}x"),
        format!("{body}Ｘ"),
        body.to_owned(),
        format!("{body}10"),
        format!(" {} {} {}X ", &body[..6], &body[6..14], &body[14..]),
        full_width,
    ];
    let known = patient("HIS", "1").name("欧阳文溪").born("1966-03-12").sex("F").resident_id(&number);
    hospital.register(&known);
    for (index, spelling) in spellings.iter().enumerate() {
        let again = known.at("LIS", &format!("7{index}")).resident_id(spelling);
        hospital.register(&again);
        hospital.expect_linked(&known, &again);
        let messages = hospital.daemon.json("/v1/messages?source=lis&limit=1000");
        let kept = messages["messages"].as_array().unwrap().iter().any(|message| {
            let shown = hospital.daemon.json(&format!("/v1/messages/{}", message["id"]));
            shown["raw"].as_str().is_some_and(|raw| raw.contains(spelling.as_str()))
        });
        assert!(kept, "what was typed is kept: {spelling}");
    }
    assert_eq!(hospital.partition().len(), 1);
}

#[test]
fn case_05_one_wrong_digit_does_not_part_a_name_and_a_birth_date() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19830917", 33);
    let known = patient("HIS", "1").name("庄思齐").born("1983-09-17").sex("M").resident_id(&number);
    let typed = known.at("LIS", "77").resident_id(&mistyped(&number));
    // Near the number, and nothing else.
    let stranger = patient("EMR", "E5").name("费无极").born("1951-01-30").sex("F").resident_id(&mistyped(&number));
    hospital.register_all(&[&known, &typed, &stranger]);
    hospital.expect_linked(&known, &typed);
    hospital.expect_apart_without_review(&known, &stranger);
}

#[test]
fn case_06_two_valid_numbers_are_never_one_person_by_themselves() {
    let site = site();
    let hospital = Hospital::open(&site);
    let known = patient("HIS", "1").name("庄思齐").born("1983-09-17").sex("M").phone("13900000601");
    let one = known.clone().resident_id(&resident_number("19830917", 33));
    let other = known.at("LIS", "77").resident_id(&resident_number("19830917", 57));
    hospital.register_all(&[&one, &other]);
    let review = hospital.expect_review(&one, &other);
    let kind = review["kind"].as_str().unwrap();
    assert!(["possible_duplicate", "veto"].contains(&kind), "{review}");
}

#[test]
fn case_07_a_number_under_another_name_and_birth_date_is_looked_at() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19620214", 35);
    let father = patient("HIS", "1").name("贺远山").born("1962-02-14").sex("M").resident_id(&number);
    let holder = patient("LIS", "77").name("贺沐晨").born("2012-06-01").sex("F").resident_id(&number);
    hospital.register_all(&[&father, &holder]);
    hospital.expect_review(&father, &holder);
}

#[test]
fn case_08_a_homophone_with_the_same_number_is_the_same_person() {
    let site = site();
    let hospital = Hospital::open(&site);
    for (index, (one, other)) in [("许静怡", "许静宜"), ("曾子墨", "增子墨"), ("王丽娜", "王莉娜")].iter().enumerate()
    {
        let birth = format!("1988-05-1{index}");
        let number = resident_number(&birth.replace('-', ""), 42);
        let known = patient("HIS", &format!("{index}")).name(one).born(&birth).sex("F").resident_id(&number);
        let heard = known.at("LIS", &format!("7{index}")).name(other);
        hospital.register_all(&[&known, &heard]);
        hospital.expect_linked(&known, &heard);
    }
    assert_eq!(hospital.partition().len(), 3);
}

#[test]
fn case_09_the_birth_date_in_the_number_outlives_a_swapped_or_lunar_one() {
    let site = site();
    let hospital = Hospital::open(&site);
    // The second is the first in the lunar calendar; the third has month and day changed over.
    let cases = [("1956-02-12", "1956-01-01", "卫长青"), ("1980-03-07", "1980-07-03", "陶亦然")];
    for (index, (right, wrong, name)) in cases.into_iter().enumerate() {
        for (order, wrong_first) in [false, true].into_iter().enumerate() {
            let index = 10 * index + order;
            let number = resident_number(&right.replace('-', ""), 40 + 2 * u16::try_from(index).unwrap());
            let known = patient("HIS", &format!("{index}")).name(name).born(right).sex("F").resident_id(&number);
            let other = known.at("LIS", &format!("7{index}")).born(wrong);
            hospital.register_all(&if wrong_first { [&other, &known] } else { [&known, &other] });
            hospital.expect_linked(&known, &other);
            assert_eq!(hospital.person_of(&known)["birth_date"], right, "wrong first: {wrong_first}");
        }
    }
    assert_eq!(hospital.partition().len(), 4);
}

#[test]
fn case_10_a_number_that_stands_for_none_proves_nothing_and_finds_nobody() {
    let site = site();
    let hospital = Hospital::open(&site);
    let born_1900 = resident_number("19000101", 100);
    let placeholders = [
        "111111111111111111",
        "000000000000000000",
        "999999999999999999",
        "123456789012345678",
        "11010119000101100x",
        &born_1900,
        "none",
        "无",
    ];
    // Thirty-two people who share no character of their names and no birthday.
    let surnames = "冯邓祝马庞滕柯毕骆詹翁牟冉麦卜庄褚靳晏邢娄谷岑管乐甄闵瞿阎芮尤鞠";
    let given = "雪紫小骏克远清砚思怀守宗若梦修嘉睿琦衡岚朔攸甫钧瑜峥彤蔚澄霁棠屿";
    for (who, (surname, given)) in surnames.chars().zip(given.chars()).enumerate() {
        let birth = format!("{}-{:02}-{:02}", 1935 + who * 2, 1 + who * 5 % 12, 1 + who * 3 % 28);
        let somebody = patient(["HIS", "LIS", "EMR"][who % 3], &format!("{who}"))
            .name(&format!("{surname}{given}"))
            .born(&birth)
            .sex(["M", "F"][who % 2])
            .resident_id(placeholders[who / 4]);
        hospital.register(&somebody);
    }
    assert_eq!(hospital.partition().len(), 4 * placeholders.len());
    let reviews = hospital.open_reviews();
    assert!(reviews.is_empty(), "nobody is asked about a number that is none: {reviews:?}");
    for placeholder in placeholders {
        let probe = json!({"identifiers": [identifier("resident_id", placeholder)]});
        let answer = hospital.http("POST", "/v1/persons/match", &probe);
        // Too thin a question may be refused; it must not be answered with a person.
        if answer.status == 200 {
            assert_eq!(answer.json()["candidates"], json!([]), "{placeholder}");
        }
    }
}

#[test]
fn case_11_a_number_under_a_fourth_name_is_quarantined_and_its_links_are_looked_at() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19740620", 61);
    let known = patient("HIS", "1").name("季云帆").born("1974-06-20").sex("M").resident_id(&number);
    // Without a birth date: this link rests on the number.
    let resting = patient("LIS", "71").name("季云帆").resident_id(&number);
    hospital.register_all(&[&known, &resting]);
    hospital.expect_linked(&known, &resting);
    let other = |index: usize, name: &str, birth: &str| {
        patient("EMR", &format!("{index}")).name(name).born(birth).sex("F").resident_id(&number)
    };
    hospital.register_all(&[&other(2, "尹若兰", "1990-01-09"), &other(3, "姜海棠", "1947-12-02")]);
    assert_eq!(hospital.reviews("kind=quarantine"), Vec::<Value>::new(), "three names are not yet a quarantine");
    let fourth = other(4, "柏晓峰", "2003-05-17");
    hospital.register(&fourth);
    let quarantine = hospital.reviews("state=open&kind=quarantine");
    assert!(!quarantine.is_empty(), "somebody is told");
    let asked = hospital.reviews_between(&known, &resting);
    assert!(!asked.is_empty(), "the link that rests on the number is looked at: {:?}", hospital.open_reviews());
    // From now on it proves nothing.
    let late = patient("LIS", "79").name("季云帆").resident_id(&number);
    hospital.register(&late);
    hospital.expect_two(&known, &late);
    hospital.expect_two(&fourth, &late);
}

#[test]
fn whom_a_quarantined_number_kept_with_another_finds_the_own_person_when_that_one_leaves() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19700301", 11);
    let home = |patient: Patient| patient.phone("13912345670");
    let homophone = patient("EMR", "7").name("王健国").born("1970-03-01").sex("M").resident_id(&number);
    let stranger = |place: &str, name: &str, birth: &str| {
        patient("EMR", place).name(name).born(birth).sex("F").resident_id(&number)
    };
    let known = home(patient("HIS", "1").name("王建国").born("1970-03-01").sex("M").resident_id(&number));
    let again = home(patient("LIS", "3").name("王建国").born("1970-03-01").sex("M"));
    hospital.register_all(&[&homophone, &stranger("5", "尹若兰", "1990-01-09"), &known, &again]);
    hospital.expect_linked(&homophone, &known);
    hospital.expect_linked(&known, &again);
    hospital.register_all(&[&stranger("6", "姜海棠", "1947-12-02"), &stranger("8", "柏晓峰", "2003-05-17")]);
    assert!(!hospital.reviews("kind=quarantine").is_empty());
    // Without the number the homophone is somebody else, and the other two are as they would be without it.
    hospital.expect_two(&homophone, &known);
    hospital.expect_linked(&known, &again);
}

#[test]
fn case_12_the_phone_of_a_desk_weighs_nothing() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (desk, own) = ("01062250000", "13900001201");
    for index in 0..60_u32 {
        let letters: Vec<char> = "安博承达恩方光恒嘉凯朗明宁鹏启然盛泰维轩彦泽".chars().collect();
        let name: String =
            [index, index * 7 + 3, index * 3 + 11].map(|at| letters[at as usize % letters.len()]).iter().collect();
        let born = format!("{}-{:02}-{:02}", 1935 + index, 1 + index % 12, 1 + index % 28);
        hospital.register(&patient("HIS", &format!("{index}")).name(&name).born(&born).sex("M").phone(desk));
    }
    assert_eq!(hospital.partition().len(), 60);
    let on_desk = |phone: &str, number: &str| patient("HIS", number).name("雷震宇").born("1969-10-10").phone(phone);
    let pair = |phone: &str, number: &str| (on_desk(phone, number), patient("LIS", number).name("雷震宇").phone(phone));
    let (known, again) = pair(own, "90");
    hospital.register_all(&[&known, &again]);
    hospital.expect_linked_or_review(&known, &again);
    let share = |review: &Value| review["probability"].as_f64().expect("a probability");
    let with_own = if hospital.one_id(&known) == hospital.one_id(&again) {
        1.0
    } else {
        share(&hospital.expect_review(&known, &again))
    };
    let (known, again) = pair(desk, "91");
    hospital.register_all(&[&known.born("1982-02-02"), &again]);
    hospital.expect_two(&known_of("91"), &again);
    for review in hospital.reviews_between(&known_of("91"), &again) {
        assert!(share(&review) < with_own, "the desk's phone adds nothing: {review}");
    }
}

fn known_of(number: &str) -> Patient {
    patient("HIS", number)
}

#[test]
fn case_30_a_renewed_passport_and_several_kinds_of_documents_are_no_conflict() {
    let site = site();
    let hospital = Hospital::open(&site);
    let traveller = patient("HIS", "1").name("MARTIN^CLAIRE").born("1991-02-27").sex("F").phone("13900003001");
    let before = traveller.clone().identifier("PPN", "E31415926");
    let after = traveller.at("EMR", "E1").identifier("PPN", "E27182818");
    hospital.register_all(&[&before, &after]);
    hospital.expect_linked(&before, &after);
    let compatriot = patient("HIS", "2").name("欧阳绮华").born("1977-08-19").sex("F").phone("13900003002");
    let permit = compatriot.clone().identifier("06", "H10293847");
    let taiwan = compatriot.at("EMR", "E2").identifier("07", "10293847");
    // A residence permit for Hong Kong: 18 digits in the form of the mainland's.
    let residence = compatriot.at("LIS", "72").resident_id("810000197708190028");
    let residence_number = (0..10)
        .map(|check| format!("81000019770819002{check}"))
        .chain(["81000019770819002X".to_owned()])
        .find(|number| is_valid(number))
        .expect("one check character is right");
    let residence = residence.resident_id(&residence_number);
    hospital.register_all(&[&permit, &taiwan, &residence]);
    hospital.expect_linked(&permit, &taiwan);
    hospital.expect_linked(&permit, &residence);
    assert_eq!(hospital.partition().len(), 2);
}

/// ISO 7064 MOD 11-2.
fn is_valid(number: &str) -> bool {
    let value = |letter: u8| if letter == b'X' { 10 } else { u32::from(letter - b'0') };
    number.bytes().fold(0, |sum, letter| (sum * 2 + value(letter)) % 11) == 1
}

#[test]
fn case_31_an_insurance_number_that_is_the_resident_number_counts_once() {
    let site = site();
    let hospital = Hospital::open(&site);
    let (derived, own) = (resident_number("19750415", 71), resident_number("19750415", 73));
    let card = "SH80017263";
    let person = |number: &str, resident: &str, insurance: &str| {
        patient("HIS", number).name("项少华").born("1975-04-15").sex("M").resident_id(resident).insured(insurance)
    };
    let (same, independent) = (person("1", &derived, &derived), person("2", &own, card));
    hospital.register_all(&[&same, &independent]);
    let score = |patient: &Patient, numbers: &[Value]| {
        let probe = json!({"name": "项少华", "birth_date": "1975-04-15", "sex": "male", "identifiers": numbers});
        let one_id = hospital.one_id(patient);
        let found = hospital.candidates(&probe);
        let candidate = found.iter().find(|candidate| candidate["one_id"] == one_id.as_str());
        candidate.and_then(|found| found["score"].as_f64()).unwrap_or_else(|| panic!("no score: {found:?}"))
    };
    let [resident, own_resident] = [&derived, &own].map(|number| identifier("resident_id", number));
    let insurance = |number: &str| identifier("insurance_card", number);
    let once = score(&same, std::slice::from_ref(&resident));
    let twice = score(&same, &[resident, insurance(&derived)]);
    assert!((once - twice).abs() < 1e-9, "one number is one piece of evidence: {once} and {twice}");
    let without = score(&independent, std::slice::from_ref(&own_resident));
    let with = score(&independent, &[own_resident, insurance(card)]);
    assert!(with >= without, "{with} and {without}");
    let alone = score(&independent, &[insurance(card)]);
    let nothing = score(&independent, &[]);
    assert!(alone > nothing + 1.0, "a card of its own is evidence: {alone} and {nothing}");
}

#[test]
fn case_33_a_mistyped_sex_does_not_part_and_an_unknown_one_says_nothing() {
    let site = site();
    let hospital = Hospital::open(&site);
    let number = resident_number("19940803", 82);
    let known = patient("HIS", "1").name("费晓棠").born("1994-08-03").sex("F").resident_id(&number);
    let typed = known.at("LIS", "71").sex("M");
    hospital.register_all(&[&known, &typed]);
    hospital.expect_linked(&known, &typed);
    let known = patient("HIS", "2").name("裴知行").born("1990-12-21").sex("M").phone("13900003302");
    let unknown = known.at("LIS", "72").sex("U");
    hospital.register_all(&[&known, &unknown]);
    hospital.expect_linked(&known, &unknown);
    assert_eq!(hospital.person_of(&known)["sex"], "male");
}
