//! Records and persons in a line each, and what is decided of them.

use super::*;
use crate::record::{Fields, json};

const ONE: &str = "110101199003073458";
const OTHER: &str = "11010519491231002X";

/// Nobody was counted yet.
struct Nobody;

impl Frequencies for Nobody {
    fn count(&self, _: super::super::Term) -> (u64, u64) {
        (0, 0)
    }
}

/// Everybody has two others at home.
struct Household;

impl Frequencies for Household {
    fn count(&self, _: super::super::Term) -> (u64, u64) {
        (2, 20_000)
    }
}

/// `name birth_date word …`; `-` is nothing; `M`, `F` the sex; a year is that in which the source spoke; words that end in 号 are addresses, words of 18 places are resident numbers, of 11 phones, `E…` a passport, `M1` a mother's
/// number.
fn facts(text: &str) -> PatientFacts {
    let mut words = text.split_whitespace();
    let mut record = Fields::new();
    for name in ["name", "birth_date"] {
        if let Some(word) = words.next().filter(|word| *word != "-") {
            record.insert(name, word.replace('_', " ").into());
        }
    }
    let (mut identifiers, mut phones, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    for word in words {
        match word {
            "M" => record.insert("sex", "male".into()),
            "F" => record.insert("sex", "female".into()),
            "M1" => record.insert("mother_identifier", json!({"system": "HIS", "value": word})),
            _ if word.len() == 4 && word.starts_with("20") => {
                record.insert("updated_at", format!("{word}-06-01T08:00:00+08:00").into())
            }
            _ if word.starts_with('E') => {
                identifiers.push(json!({"type": "passport", "value": word}));
                None
            }
            _ if word.ends_with('号') => {
                addresses.push(json!({"text": word}));
                None
            }
            _ if word.len() == 11 => {
                phones.push(json!({"value": word}));
                None
            }
            _ => {
                identifiers.push(json!({"type": "resident_id", "value": word}));
                None
            }
        };
    }
    record.insert("identifiers", identifiers.into_iter().collect());
    record.insert("phones", phones.into_iter().collect());
    record.insert("addresses", addresses.into_iter().collect());
    PatientFacts::of(&record)
}

/// `P1: record; record` on each line; `P1=` ties its records by number, `P1~` by visit, `P1!` parts them.
fn candidates(lines: &[&str]) -> Vec<Candidate> {
    let candidate = |(place, line): (usize, &&str)| {
        let (one_id, records) = line.split_once(':').unwrap();
        let tie = match one_id.chars().last() {
            Some('=') => Some(Tie::SameNumber),
            Some('~') => Some(Tie::SameVisit),
            _ => None,
        };
        let is_parted = one_id.ends_with('!');
        let known = |(index, text)| {
            let id = (place * 10 + index) as i64;
            CandidateRecord { id, facts: facts(text), tie, is_parted, patient: id }
        };
        Candidate {
            one_id: one_id.trim_end_matches(['=', '~', '!']).to_owned(),
            records: records.split(';').enumerate().map(known).collect(),
        }
    };
    lines.iter().enumerate().map(candidate).collect()
}

/// `expected` is `link P1`, `ask P1 P2` (all that are not ruled out) or `new`.
fn check(record: &str, known: &[&str], expected: &str) {
    let model = Model::default();
    let mut known = candidates(known);
    for _ in 0..2 {
        let decision = decide(&model, &Nobody, &facts(record), &[], &known);
        let said = match &decision {
            Decision::Link { evidence, .. } => format!("link {}", evidence.one_id),
            Decision::Ambiguous { evidence, .. } => {
                let open = evidence.iter().filter(|found| !found.ruled_out);
                let mut open: Vec<&str> = open.map(|found| found.one_id.as_str()).collect();
                open.sort_unstable();
                format!("ask {}", open.join(" "))
            }
            Decision::New { .. } => "new".to_owned(),
        };
        assert_eq!(said, expected, "{record} among {known:?}: {decision:?}");
        known.reverse();
    }
}

#[test]
fn a_number_with_the_name_links() {
    check(&format!("张三 1990-03-07 {ONE}"), &[&format!("P1: 张三 1990-03-07 {ONE}")], "link P1");
    check(&format!("张三 - {ONE}"), &[&format!("P1: 张三 1990-03-07 {ONE}")], "link P1");
    check(&format!("章三 1990-03-07 {ONE}"), &[&format!("P1: 张三 1990-03-07 {ONE}")], "link P1");
}

#[test]
fn a_borrowed_card_is_no_link_where_the_name_is_near_and_the_birth_date_another() {
    let known = format!("P1: 贺远山 1990-03-07 M {ONE} 13912345678");
    check(&format!("贺远川 1993-11-28 M {ONE} 13912345678"), &[&known], "ask P1");
    check(&format!("贺元山 1993-11-28 M {ONE} 13912345678"), &[&known], "ask P1");
    // A slip in one of the two.
    check(&format!("贺远川 1990-03-07 M {ONE} 13912345678"), &[&known], "link P1");
    check(&format!("贺远川 1990-04-11 M {ONE} 13912345678"), &[&known], "link P1");
    check(&format!("贺远川 - M {ONE} 13912345678"), &[&known], "link P1");
    check(&format!("贺远山 1993-11-28 M {ONE} 13912345678"), &[&known], "link P1");
}

#[test]
fn a_number_with_another_name_is_asked_about() {
    check(&format!("王芳 1962-01-01 {ONE}"), &[&format!("P1: 张三 1990-03-07 {ONE}")], "ask P1");
}

#[test]
fn two_numbers_are_two_people_to_be_asked_about() {
    check(
        &format!("张三 1990-03-07 {ONE} 13912345678"),
        &[&format!("P1: 张三 1990-03-07 {OTHER} 13912345678")],
        "ask P1",
    );
}

#[test]
fn two_numbers_under_two_names_are_nobody_s_question() {
    let home = "2016-04-09 M 13912345678";
    check(&format!("林梓涵 {home} {ONE}"), &[&format!("P1: 林子涵 {home} {OTHER}")], "new");
    check(&format!("林梓涵 {home}"), &[&format!("P1: 林子涵 {home} {OTHER}")], "ask P1");
}

#[test]
fn who_is_one_patient_by_a_source_s_word_may_have_two_names() {
    let mut known = candidates(&["P1: 秦怀玉 1951-02-03 M 13912345678; 窦文涛 1968-05-06 M 13912345678"]);
    let said = |record: &str, known: &[Candidate]| decide(&Model::default(), &Nobody, &facts(record), &[], known);
    for record in ["秦怀玉 1951-02-03 M 13912345678", "窦文涛 1968-05-06 M 13912345678"] {
        assert!(matches!(said(record, &known), Decision::Ambiguous { doubt: Doubt::Veto, .. }), "{record}");
    }
    known[0].records[1].patient = known[0].records[0].id;
    for record in ["秦怀玉 1951-02-03 M 13912345678", "窦文涛 1968-05-06 M 13912345678"] {
        assert!(matches!(said(record, &known), Decision::Link { .. }), "{record}");
    }
    // A number speaks for itself.
    known[0].records[0].facts = facts(&format!("秦怀玉 1951-02-03 M {ONE} 13912345678"));
    assert!(!matches!(said(&format!("窦文涛 1968-05-06 M {OTHER} 13912345678"), &known), Decision::Link { .. }));
}

#[test]
fn a_name_in_letters_for_characters_needs_more_than_a_birth_date() {
    check("ZHAN_KUNLIN 1990-03-07 M", &["P1: 詹堃霖 1990-03-07 M"], "ask P1");
    check("ZHAN_KUNLIN 1990-03-07 M 13912345678", &["P1: 詹堃霖 1990-03-07 M 13912345678"], "link P1");
}

#[test]
fn a_veto_holds_against_every_record_of_a_person() {
    check(
        &format!("张三丰 1990-03-07 {ONE} 13912345678"),
        &[&format!("P1: 张三丰 1990-03-07 13912345678; 张三丰 1990-03-07 {OTHER}")],
        "ask P1",
    );
}

#[test]
fn a_rare_name_proves_more_than_a_common_one() {
    check("欧阳靖翾 1990-03-07 M", &["P1: 欧阳靖翾 1990-03-07 M"], "link P1");
    check("张伟 1990-03-07 M", &["P1: 张伟 1990-03-07 M"], "ask P1");
    check("张伟 1990-03-07 M 13912345678", &["P1: 张伟 1990-03-07 M 13912345678"], "link P1");
}

#[test]
fn a_name_and_a_sex_alone_are_nothing_to_ask_about() {
    check("欧阳靖翾 - F", &["P1: 欧阳靖翾 - F"], "new");
}

#[test]
fn a_household_is_no_identity() {
    check("王小宝 2015-01-01 13912345678", &["P1: 王大山 1985-02-02 13912345678"], "new");
    check("卢志刚 1985-05-20 M 13912345678", &["P1: 卢志强 1960-05-20 M 13912345678"], "new");
}

#[test]
fn whoever_fits_two_persons_is_linked_to_neither() {
    let two = ["P1: 欧阳靖翾 1990-03-07 M", "P2: 欧阳靖翾 1990-03-07 M"];
    check("欧阳靖翾 1990-03-07 M", &two, "ask P1 P2");
}

#[test]
fn of_several_the_one_whose_number_the_record_has_is_meant() {
    let said = format!("张建国 1990-03-07 M {ONE} 13912345678");
    let by_number = format!("P1: 张建国 1990-03-07 M {ONE}");
    check(&said, &[&by_number, "P2: 张建国 1990-03-07 M 13912345678"], "link P1");
    check(&said, &[&by_number, &format!("P2: 张建国 1990-03-07 M {OTHER} 13912345678")], "link P1");
    // The numbers of both: whose it is nobody can say.
    check(
        "张建国 1990-03-07 M E12345679 E98765431",
        &[&format!("{by_number} E12345679"), &format!("P2: 张建国 1990-03-07 M {OTHER} E98765431")],
        "ask P1 P2",
    );
}

#[test]
fn brothers_and_sisters_have_nearly_one_name_whatever_the_birth_date() {
    let home = "13912345678 于平翾路2号";
    for (one, other) in [("林梓涵", "林子涵"), ("林梓涵", "林梓轩"), ("LIN_ZIHAN", "LIN_ZIHANG")] {
        for date in ["2016-04-09", "2016-09-04", "2016-04-08", "2016-11-30", "2016", "-"] {
            check(&format!("{one} 2016-04-09 M {home}"), &[&format!("P1: {other} {date} M {home}")], "ask P1");
        }
    }
}

#[test]
fn a_rendering_links_by_a_phone_that_nobody_else_has_and_not_by_an_address() {
    let known = ["P1: 林子翾 2016-04-09 M 13912345678 于平翾路2号"];
    for said in ["林子? 2016-04-09 M", "LIN_ZIXUAN 2016-04-09 M", "- 2016-04-09 M"] {
        check(&format!("{said} 于平翾路2号"), &known, "ask P1");
    }
    check("林子? 2016-04-09 M 13912345678", &known, "link P1");
    check("- 2016-04-09 M 13912345678 于平翾路2号", &known, "ask P1");
    let said = facts("林子? 2016-04-09 M 13912345678");
    let decision = decide(&Model::default(), &Household, &said, &[], &candidates(&known));
    assert!(matches!(decision, Decision::Ambiguous { .. }), "{decision:?}");
}

#[test]
fn one_digit_of_the_year_is_a_slip_under_the_same_name_only() {
    check("卢志刚 1985-05-20 M 13912345678", &["P1: 卢志刚 1965-05-20 M 13912345678"], "link P1");
    check("卢志刚 1985-05-20 M 13912345678", &["P1: 卢志刚 1965-06-21 M 13912345678"], "ask P1");
}

#[test]
fn brothers_and_sisters_do_not_bear_one_name_but_a_father_may() {
    let home = "M 于平翾路2号 13912345678";
    check(&format!("林子翾 1985-05-20 {home}"), &[&format!("P1: 林子翾 1976-11-02 {home}")], "link P1");
    check(&format!("林子翾 1985-05-20 {home}"), &[&format!("P1: 林子翾 1961-11-02 {home}")], "ask P1");
    let vetoes = |date: &str| {
        let known = candidates(&[&format!("P1: 林子翾 {date} {home}")]);
        let said = facts(&format!("林子翾 1985-05-20 {home}"));
        weigh(&Model::default(), &Nobody, &said, &[], &known[0]).unwrap().vetoes
    };
    assert_eq!((vetoes("1976-11-02"), vetoes("1961-11-02")), (vec![], vec![Veto::YearsApart]));
}

#[test]
fn a_parent_of_one_s_name_is_sixteen_years_older() {
    let home = "M 于平翾路2号 13912345678";
    check(&format!("林子翾 1985-05-20 {home}"), &[&format!("P1: 林子翾 1970-11-02 {home}")], "link P1");
    check(&format!("林子翾 1985-05-20 {home}"), &[&format!("P1: 林子翾 1969-11-02 {home}")], "ask P1");
}

#[test]
fn grown_twins_in_letters_have_left_home_and_children_have_not() {
    let known = ["P1: grace_okonkwo 1960-03-07 2024 F 于平翾路2号"];
    let link = |record: &str| check(record, &known, "link P1");
    let ask = |record: &str| check(record, &known, "ask P1");
    link("helen_okonkwo 1960-03-07 2024 F 于平翾路2号");
    link("helen_okonkwo 1960-03-07 2024 于平翾路2号");
    ask("helen_okonkwo 1960-03-07 1989 F 于平翾路2号");
    ask("helen_okonkwo 1960-03-07 F 于平翾路2号");
    ask("peter_okonkwo 1960-03-07 2024 M 于平翾路2号");
    ask("helen_okonkwo 1960-03-17 2024 F 于平翾路2号");
    ask("helen_okonkwo 1960-03-07 2024 F 广善翾街86号 13912345678");
    let child = ["P1: grace_okonkwo 2010-03-07 2024 F 于平翾路2号"];
    check("helen_okonkwo 2010-03-07 2024 F 于平翾路2号", &child, "ask P1");
    let with_passport = ["P1: grace_okonkwo 1960-03-07 2024 F 于平翾路2号 E12345678"];
    check("helen_okonkwo 1960-03-07 2024 F 于平翾路2号 E87654321", &with_passport, "ask P1");
    // In characters twins have other names whatever their age.
    check("王翾丽 1960-03-07 2024 F 于平翾路2号", &["P1: 王翾芳 1960-03-07 2024 F 于平翾路2号"], "ask P1");
}

#[test]
fn one_name_and_birthday_is_two_people_s_where_what_is_their_own_differs() {
    let known = ["P1: 欧阳靖翾 1990-03-07 M 13912345678 于平翾路2号"];
    check("欧阳靖翾 1990-03-07 M", &known, "link P1");
    check("欧阳靖翾 1990-03-07 M 13987654321", &known, "ask P1");
    check("欧阳靖翾 1990-03-07 M 13987654321 于平翾路2号", &known, "link P1");
}

#[test]
fn a_man_and_a_woman_of_one_name_birthday_and_home_are_asked_about() {
    let home = "13912345678 于平翾路2号";
    let known = format!("P1: 林子翾 1990-03-07 M {ONE} {home}");
    check(&format!("林子翾 1990-03-07 F {home}"), &[&known], "ask P1");
    check(&format!("林子翾 1990-03-07 F {ONE} {home}"), &[&known], "link P1");
}

#[test]
fn who_has_a_number_under_two_names_is_known_by_either() {
    let known = format!("P1: 林子涵 1990-03-07 M {ONE} 13912345678; 林梓涵 1990-03-07 M {ONE}");
    check("林子涵 1990-03-07 M 13912345678", &[&known], "link P1");
    check("林紫涵 1990-03-07 M 13912345678", &[&known], "ask P1");
    let known = "P1: 林子涵 1990-03-07 M 13912345678; 林梓涵 1990-03-07 M";
    check("林子涵 1990-03-07 M 13912345678", &[known], "ask P1");
}

#[test]
fn the_sources_own_number_comes_before_all_facts() {
    check("张小宝 2024-03-01", &["P1=: 张三之子 2024-03-01"], "link P1");
    check(&format!("张三 1990-03-07 {ONE}"), &[&format!("P1=: 张三 1990-03-07 {OTHER}")], "ask P1");
}

#[test]
fn a_visit_that_leads_to_another_record_of_the_person_does_not_hide_the_number() {
    let mut known = candidates(&["P1=: - -; 张伟 1960-03-07"]);
    known[0].records[1].tie = Some(Tie::SameVisit);
    let decision = decide(&Model::default(), &Nobody, &facts("李四 1960-03-07 M"), &[], &known);
    assert!(matches!(decision, Decision::Link { .. }), "{decision:?}");
}

#[test]
fn a_visit_resolves_a_laboratorys_patient_who_has_no_more_than_a_name() {
    check("ZHANG_SAN -", &["P1~: 张三 1990-03-07"], "link P1");
    check("LI_SI -", &["P1~: 张三 1990-03-07"], "new");
}

#[test]
fn a_number_tells_more_than_a_visit_of_the_same_person() {
    // Under the number it is known from a merge alone; whoever has the visit is called otherwise.
    let mut known = candidates(&["P1=: - -; 王芳 1962-03-07 M"]);
    known[0].records[1].tie = Some(Tie::SameVisit);
    let decision = decide(&Model::default(), &Nobody, &facts("李娜 1962-03-07 M"), &[], &known);
    assert!(matches!(decision, Decision::Link { .. }), "{decision:?}");
}

#[test]
fn whom_somebody_parted_no_rule_brings_together() {
    check(&format!("张三 1990-03-07 {ONE}"), &[&format!("P1!: 张三 1990-03-07 {ONE}")], "new");
}

#[test]
fn newborns_and_unknown_patients_are_relations_and_guesses() {
    check("张三之子 2024-03-01 13912345678", &["P1: 张三 1990-03-07 13912345678"], "new");
    check("张三之子甲 2024-03-01 13912345678", &["P1: 张三之子乙 2024-03-01 13912345678"], "new");
    check("张三之子 2024-03-01 13912345678", &["P1: 张三之子 2022-01-01 13912345678"], "new");
    check("张三之子 2024-03-01 13912345678", &["P1: 张三之子 2024-03-01 13912345678"], "ask P1");
    check("张三之子 2024-03-01 M 13912345678", &["P1: 张三之子 2024-03-01 F 13912345678"], "new");
    check("张三之子乙 2024-03-01 13912345678", &["P1: 张三之子乙 2024-03-01 13912345678"], "link P1");
    check("baby_boy_b_smith 2024-03-01 13912345678", &["P1: baby_boy_a_smith 2024-03-01 13912345678"], "new");
    check("张小宝 2024-03-01 13912345678", &["P1: 张三之子 2024-03-01 13912345678"], "ask P1");
    check("张小宝 2024-03-01 M1", &["P1: 王芳之子 2024-03-01 M1"], "ask P1");
    check("张小宝 2024-03-02 M1", &["P1: 王芳之子 2024-03-01 M1"], "new");
    check("张小宝 2024-03-01", &["P1: 王芳之子 2024-03-01"], "new");
    check("无名氏 -", &["P1: 无名氏 -"], "new");
}
