//! To whom a new record belongs.
//!
//! Candidates become [`Evidence`], evidence becomes a [`Decision`]. Today the decision is the deterministic gate alone
//! (`gate`); a scorer will weigh what the gate leaves open, on the same evidence.

use serde::{Deserialize, Serialize};

use super::{NameClass, PatientFacts};

/// A person who might be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The One ID, redirects followed.
    pub one_id: String,
    /// All records that are linked to the person now: a veto holds if one of them gives it.
    pub records: Vec<PatientFacts>,
}

/// What speaks for or against one candidate. Stored with the link, shown in reviews; holds no patient's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The candidate's One ID.
    pub one_id: String,
    /// How the candidate was found.
    pub ground: Ground,
    /// The best agreement of names, among the candidate's records that share the number.
    pub name: Agreement,
    /// The agreement of birth dates with that record.
    pub birth_date: Agreement,
    /// What forbids a link without somebody's decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vetoes: Vec<Veto>,
}

/// How a candidate was found, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// The same number under the same assigning authority.
    SameNumber,
    /// The same valid identity number, one that proves itself by a check character.
    SameResidentId,
    /// The same passport or permit.
    SameTravelDocument,
}

/// How two values compare, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Equal in normal form; of dates, as far as both are given.
    Equal,
    /// Equal in pinyin only (names).
    SamePinyin,
    /// One side says nothing.
    Missing,
    /// Different.
    Different,
}

/// What forbids an automatic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Veto {
    /// Both have a valid resident number, and they differ.
    DifferentResidentId,
    /// One is named as a newborn: an identity number there is a parent's.
    NewbornName,
    /// One is an unknown patient: an identity number there is a guess.
    UnknownName,
}

/// What to do with a new record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Link it to this person.
    Link {
        /// The person.
        one_id: String,
        /// Why.
        evidence: Evidence,
    },
    /// A new person, and a case for review: what was found is not enough, or fits more than one person.
    Ambiguous {
        /// The persons found, best first.
        evidence: Vec<Evidence>,
    },
    /// A new person.
    New {
        /// Persons found and ruled out, for the record.
        evidence: Vec<Evidence>,
    },
}

/// Decides for a record that has no person yet.
///
/// `same_number`: persons with a record of the same (assigning authority, number). `same_identity_number`: persons with a
/// record that has one of [`PatientFacts::identity_numbers`]; others there are passed over.
pub fn decide(record: &PatientFacts, same_number: &[Candidate], same_identity_number: &[Candidate]) -> Decision {
    let by_number = same_number.iter().map(|candidate| weigh(record, candidate, Ground::SameNumber));
    let by_identity = same_identity_number
        .iter()
        .filter(|candidate| !same_number.iter().any(|same| same.one_id == candidate.one_id))
        .filter_map(|candidate| Some(weigh(record, candidate, identity_ground(record, candidate)?)));
    let mut evidence: Vec<Evidence> = by_number.chain(by_identity).collect();
    evidence.sort_by(|one, other| order(one).cmp(&order(other)));
    evidence.dedup_by(|one, other| one.one_id == other.one_id);
    gate(evidence)
}

/// The deterministic gate. A number under its authority decides before any identity number: it is the sources' own word.
fn gate(mut evidence: Vec<Evidence>) -> Decision {
    let numbered = evidence.iter().any(|found| found.ground == Ground::SameNumber);
    let rivals = evidence.iter().filter(|found| !numbered || found.ground == Ground::SameNumber);
    let (passing, others) =
        (rivals.clone().filter(|found| passes(found)).count(), rivals.filter(|found| !passes(found)));
    // The same number under another person's resident number: somebody has to look, whatever else agrees.
    let disputed = numbered && others.count() > 0;
    if passing == 1 && !disputed {
        // Passing evidence of the strongest ground stands first.
        let evidence = evidence.swap_remove(0);
        return Decision::Link { one_id: evidence.one_id.clone(), evidence };
    }
    if evidence.iter().any(|found| !is_ruled_out(found)) {
        Decision::Ambiguous { evidence }
    } else {
        Decision::New { evidence }
    }
}

/// Whether this evidence alone links.
fn passes(evidence: &Evidence) -> bool {
    let named = evidence.name <= Agreement::SamePinyin;
    let born = evidence.birth_date;
    evidence.vetoes.is_empty()
        && match evidence.ground {
            Ground::SameNumber => true,
            Ground::SameResidentId => named && born <= Agreement::Missing,
            Ground::SameTravelDocument => named && born == Agreement::Equal,
        }
}

/// A newborn under a parent's number, an unknown patient under anybody's: relations and guesses, not doubtful identities.
fn is_ruled_out(evidence: &Evidence) -> bool {
    evidence.vetoes.iter().any(|veto| matches!(veto, Veto::NewbornName | Veto::UnknownName))
}

/// What the candidate was found by, if it does share a number.
fn identity_ground(record: &PatientFacts, candidate: &Candidate) -> Option<Ground> {
    let shared = record
        .identity_numbers
        .iter()
        .filter(|number| candidate.records.iter().any(|known| known.identity_numbers.contains(number)));
    shared.map(|number| if number.is_checked() { Ground::SameResidentId } else { Ground::SameTravelDocument }).min()
}

fn weigh(record: &PatientFacts, candidate: &Candidate, ground: Ground) -> Evidence {
    let shares = |known: &&PatientFacts| {
        ground == Ground::SameNumber
            || known.identity_numbers.iter().any(|number| record.identity_numbers.contains(number))
    };
    let agreements = candidate.records.iter().filter(shares).map(|known| (names(record, known), births(record, known)));
    let (name, birth_date) = agreements.min().unwrap_or((Agreement::Missing, Agreement::Missing));

    let mut vetoes = Vec::new();
    if candidate.records.iter().any(|known| resident_ids_differ(record, known)) {
        vetoes.push(Veto::DifferentResidentId);
    }
    // The number under its authority is the patient's own, whatever the name: it is how newborns get their names.
    if ground != Ground::SameNumber {
        let any_is = |class| candidate.records.iter().chain([record]).any(|known| known.name_class == class);
        vetoes.extend(any_is(NameClass::Newborn).then_some(Veto::NewbornName));
        vetoes.extend(any_is(NameClass::Unknown).then_some(Veto::UnknownName));
    }
    Evidence { one_id: candidate.one_id.clone(), ground, name, birth_date, vetoes }
}

fn names(one: &PatientFacts, other: &PatientFacts) -> Agreement {
    if one.name.is_empty() || other.name.is_empty() {
        Agreement::Missing
    } else if one.name == other.name {
        Agreement::Equal
    } else if one.pinyin == other.pinyin {
        Agreement::SamePinyin
    } else {
        Agreement::Different
    }
}

fn births(one: &PatientFacts, other: &PatientFacts) -> Agreement {
    match (&one.birth_date, &other.birth_date) {
        (Some(one), Some(other)) if one.starts_with(other.as_str()) || other.starts_with(one.as_str()) => {
            Agreement::Equal
        }
        (Some(_), Some(_)) => Agreement::Different,
        _ => Agreement::Missing,
    }
}

fn resident_ids_differ(one: &PatientFacts, other: &PatientFacts) -> bool {
    let (mine, theirs): (Vec<_>, Vec<_>) = (one.resident_ids().collect(), other.resident_ids().collect());
    !mine.is_empty() && !theirs.is_empty() && !mine.iter().any(|number| theirs.contains(number))
}

/// Best first; the One ID last, so that equal evidence has one order.
fn order(evidence: &Evidence) -> (bool, Ground, Agreement, Agreement, &str) {
    (!passes(evidence), evidence.ground, evidence.name, evidence.birth_date, &evidence.one_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Fields, json};

    const ONE: &str = "110101199003073458";
    const OTHER: &str = "11010519491231002X";

    /// `name birth_date number …`; `-` is nothing; a number that starts with `E` is a passport.
    fn facts(text: &str) -> PatientFacts {
        let mut words = text.split_whitespace();
        let mut record = Fields::new();
        for name in ["name", "birth_date"] {
            if let Some(word) = words.next().filter(|word| *word != "-") {
                record.insert(name, word.into());
            }
        }
        let identifiers = words.map(
            |number| json!({"type": if number.starts_with('E') { "passport" } else { "resident_id" }, "value": number}),
        );
        record.insert("identifiers", identifiers.collect());
        PatientFacts::of(&record)
    }

    /// `P1: record; record` on each line.
    fn candidates(lines: &[&str]) -> Vec<Candidate> {
        let candidate = |line: &&str| {
            let (one_id, records) = line.split_once(':').unwrap();
            Candidate { one_id: one_id.to_owned(), records: records.split(';').map(facts).collect() }
        };
        lines.iter().map(candidate).collect()
    }

    /// `expected` is `link P1`, `ambiguous P1 P2`, `new` or `new P1`.
    fn check(record: &str, same_number: &[&str], same_identity: &[&str], expected: &str) {
        let (mut same_number, mut same_identity) = (candidates(same_number), candidates(same_identity));
        for _ in 0..2 {
            let decision = decide(&facts(record), &same_number, &same_identity);
            let listed =
                |evidence: &[Evidence]| evidence.iter().map(|found| format!(" {}", found.one_id)).collect::<String>();
            let text = match &decision {
                Decision::Link { one_id, evidence } => {
                    assert_eq!(*one_id, evidence.one_id);
                    format!("link {one_id}")
                }
                Decision::Ambiguous { evidence } => format!("ambiguous{}", listed(evidence)),
                Decision::New { evidence } => format!("new{}", listed(evidence)),
            };
            assert_eq!(text, expected, "{record}");
            same_number.reverse();
            same_identity.reverse();
        }
    }

    #[test]
    fn nothing_found_is_a_new_person() {
        check("张三 1990-03-07", &[], &[], "new");
    }

    #[test]
    fn the_same_number_links_whatever_the_name() {
        check("张三 1990-03-07", &["P1:张三之子 1990-03-07"], &[], "link P1");
        check("无名氏 -", &["P1:张三 1990-03-07"], &[], "link P1");
    }

    #[test]
    fn case_2_the_same_identity_number_and_name_link() {
        check(&format!("张三 1990-03-07 {ONE}"), &[], &[&format!("P1:张三 1990-03-07 {ONE}")], "link P1");
        check(&format!("张三 - {ONE}"), &[], &[&format!("P1:张三 1990-03-07 {ONE}")], "link P1");
        check(&format!("张三 1990 {ONE}"), &[], &[&format!("P1:张三 1990-03-07 {ONE}")], "link P1");
    }

    #[test]
    fn cases_3_and_4_the_number_in_another_spelling() {
        check("张三 - 110105491231002", &[], &[&format!("P1:张三 - {OTHER}")], "link P1");
        check("张三 - １１０１０５１９４９１２３１００２ｘ", &[], &[&format!("P1:张三 - {OTHER}")], "link P1");
    }

    #[test]
    fn case_6_two_valid_numbers_never_link() {
        check(
            &format!("张三 1990-03-07 {ONE} E12345678"),
            &[],
            &[&format!("P1:张三 1990-03-07 {OTHER} E12345678")],
            "ambiguous P1",
        );
        check(&format!("张三 - {ONE}"), &[&format!("P1:张三 - {OTHER}")], &[], "ambiguous P1");
        // Against every record of the person.
        check(&format!("张三 - {ONE}"), &[], &[&format!("P1:张三 - {ONE};张三 - {OTHER}")], "ambiguous P1");
    }

    #[test]
    fn cases_7_8_and_9_name_and_birth_date_have_to_agree() {
        check(&format!("李四 1960-01-01 {ONE}"), &[], &[&format!("P1:张三 1990-03-07 {ONE}")], "ambiguous P1");
        check(&format!("张伟 - {ONE}"), &[], &[&format!("P1:张玮 - {ONE}")], "link P1");
        check(&format!("ZHANG,WEI - {ONE}"), &[], &[&format!("P1:張偉 - {ONE}")], "link P1");
        check(&format!("张三 1990-07-03 {ONE}"), &[], &[&format!("P1:张三 1990-03-07 {ONE}")], "ambiguous P1");
        check(&format!("- - {ONE}"), &[], &[&format!("P1:张三 - {ONE}")], "ambiguous P1");
        check(&format!("无 - {ONE}"), &[], &[&format!("P1:无 - {ONE}")], "ambiguous P1");
    }

    #[test]
    fn case_10_a_placeholder_is_no_evidence() {
        for number in ["111111111111111111", "110101190001011009", "无", "110101199003073459"] {
            check(&format!("张三 - {number}"), &[], &[&format!("P1:张三 - {number}")], "new");
        }
    }

    #[test]
    fn cases_18_and_22_newborns_and_unknown_patients_never_link_by_an_identity_number() {
        check(&format!("张三之子 - {ONE}"), &[], &[&format!("P1:张三 - {ONE}")], "new P1");
        check(&format!("张三 - {ONE}"), &[], &[&format!("P1:张三之子 - {ONE}")], "new P1");
        check(&format!("张三之子 - {ONE}"), &[], &[&format!("P1:张三之子 - {ONE}")], "new P1");
        check(&format!("无名氏 - {ONE}"), &[], &[&format!("P1:无名氏 - {ONE}")], "new P1");
    }

    #[test]
    fn a_passport_needs_an_equal_birth_date() {
        check("张三 1990-03-07 E12345678", &[], &["P1:张三 1990-03-07 E-12345678"], "link P1");
        check("张三 - E12345678", &[], &["P1:张三 1990-03-07 E12345678"], "ambiguous P1");
    }

    #[test]
    fn case_56_who_fits_two_persons_is_linked_to_neither() {
        check(
            &format!("张三 - {ONE}"),
            &[],
            &[&format!("P2:张三 - {ONE}"), &format!("P1:张三 - {ONE}")],
            "ambiguous P1 P2",
        );
        check("张三 -", &["P2:张三 -", "P1:张三 -"], &[], "ambiguous P1 P2");
        // Only one of them passes.
        check(&format!("张三 - {ONE}"), &[], &[&format!("P1:李四 - {ONE}"), &format!("P2:张三 - {ONE}")], "link P2");
    }

    #[test]
    fn the_number_under_its_authority_decides_before_an_identity_number() {
        check(&format!("张三 - {ONE}"), &["P2:张三 -"], &[&format!("P1:张三 - {ONE}")], "link P2");
    }

    #[test]
    fn evidence_is_stored_without_values() {
        let Decision::Link { evidence, .. } = decide(&facts("张三 -"), &candidates(&["P1:张三 -"]), &[]) else {
            panic!("not linked");
        };
        let text = serde_json::to_string(&evidence).unwrap();
        assert_eq!(text, r#"{"one_id":"P1","ground":"same_number","name":"equal","birth_date":"missing"}"#);
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
    }
}
