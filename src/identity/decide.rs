//! To whom a record belongs.
//!
//! Candidates are weighed record by record ([`Evidence`]); what forbids a link holds if any record of a person gives it. What is left is a
//! [`Decision`]: one person far ahead of all others is linked; whatever is doubtful is a case for review, and the record a person of its
//! own meanwhile. The score finds families as easily as patients: the [`Veto`] tells them apart.

use serde::{Deserialize, Serialize};

use super::compare::{
    AddressLevel, BirthDateLevel, CardLevel, Comparison, NameLevel, NumberLevel, PhoneLevel, SexLevel, compare,
    share_own_number,
};
use super::model::{FactKind, Frequencies, Model, Score};
use super::{NameClass, PatientFacts};

/// A person who might be meant.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The One ID, redirects followed.
    pub one_id: String,
    /// All records that are linked to the person now.
    pub records: Vec<CandidateRecord>,
}

/// A record of a candidate.
#[derive(Debug, Clone)]
pub struct CandidateRecord {
    /// The store's number for it.
    pub id: i64,
    /// What is known of it.
    pub facts: PatientFacts,
    /// What ties it to the record in question beside the facts.
    pub tie: Option<Tie>,
    /// Somebody has decided that the two are different patients.
    pub is_parted: bool,
    /// Records of one patient by a source's word have the same: it has merged them, or they are of one number.
    pub patient: i64,
}

/// What ties two records whatever their facts say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tie {
    /// The same number under the same assigning authority: the sources' own word.
    SameNumber,
    /// The message names a visit of the candidate.
    SameVisit,
}

/// What speaks for or against one candidate. Stored with the link and in reviews; holds no patient's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The candidate's One ID.
    pub one_id: String,
    /// The record of the candidate that agrees best, by the store's number.
    pub record: i64,
    /// What ties the two beside the facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie: Option<Tie>,
    /// The facts compared, and what they weigh.
    pub score: Score,
    /// What forbids a link without somebody's decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vetoes: Vec<Veto>,
    /// An identity number with the name and, as far as known, the birth date: enough without weighing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gate: bool,
    /// Name and birth date fit brothers and sisters as well, for one of them is missing or the name is a rendering, and nothing of the
    /// patient's own agrees.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lacks_own: bool,
    /// A number of the patient's own agrees.
    #[serde(skip)]
    pub shares_own: bool,
    /// Nothing here is worth asking somebody.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ruled_out: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What forbids an automatic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Veto {
    /// Somebody has decided that the two are different patients.
    NoLink,
    /// Both have a valid resident number, and they differ.
    DifferentResidentId,
    /// One is named as a newborn and the other is not, or not of the same birth.
    NewbornName,
    /// One is an unknown patient: everything about it is a guess.
    UnknownName,
    /// They are born of one birth, in different order.
    BirthOrder,
    /// The names disagree, whatever else agrees.
    NamesDisagree,
    /// Names nearly the same without a shared number: a slip, or a twin.
    NearNames,
    /// Names that sound alike without a shared number: a slip, or a twin.
    SoundAlikes,
    /// Born years apart, and no shared number.
    YearsApart,
    /// They share a number that is a parent's on one side.
    LentNumber,
}

impl Veto {
    /// Two patients for sure, who cannot be mistaken for one another: not even a rival of the right one.
    fn is_certain(self) -> bool {
        matches!(self, Self::NoLink | Self::DifferentResidentId | Self::BirthOrder | Self::NamesDisagree)
    }
}

/// What to do with a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Link it to this person.
    Link {
        /// The person and why.
        evidence: Evidence,
        /// Who else was looked at, best first.
        others: Vec<Evidence>,
    },
    /// A person of its own, and a case for review: what was found is not enough, is forbidden, or fits more than one person.
    Ambiguous {
        /// Why nobody was chosen.
        doubt: Doubt,
        /// The persons found, best first.
        evidence: Vec<Evidence>,
    },
    /// A person of its own.
    New {
        /// Persons found and ruled out, for the record.
        evidence: Vec<Evidence>,
    },
}

/// Why nobody was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Not enough agrees.
    TooLittle,
    /// A veto.
    Veto,
    /// The best is not far enough ahead of the second.
    Margin,
    /// More than one person fits.
    SeveralFit,
    /// The number under its authority stands for somebody whom the facts rule out.
    DisputedNumber,
}

/// Weighs one record against all records of a candidate. `group`: records that would come along; what forbids a link holds for them too.
pub fn weigh(
    model: &Model,
    counted: &dyn Frequencies,
    record: &PatientFacts,
    group: &[&PatientFacts],
    candidate: &Candidate,
) -> Option<Evidence> {
    let is_tied = candidate.records.iter().any(|known| known.tie == Some(Tie::SameNumber));
    let is_parted = candidate.records.iter().any(|known| known.is_parted);
    let own: Vec<Comparison> = candidate.records.iter().map(|known| compare(record, &known.facts)).collect();
    let known = records_of(candidate);
    // Each of those who come along speaks for itself, unless a number of their own makes it one with another.
    let coming = std::iter::once(&record).chain(group).zip(-1_i64..).map(|(facts, place)| (*facts, place));
    let coming: Vec<(&PatientFacts, i64)> = coming.collect();
    let along = group.iter().flat_map(|member| known.iter().map(|(facts, _)| compare(member, facts)));
    let telling = telling(&coming, &known, own.iter().cloned().chain(along).collect());
    let vetoes = vetoes_between(model, || telling.iter(), is_tied, is_parted);
    // Two numbers under two names are two people; under one name somebody may have two numbers.
    let is_other =
        vetoes.contains(&Veto::DifferentResidentId) && !own.iter().any(|found| found.name == NameLevel::Exact);
    let shares_number = own.iter().any(|compared| matches!(compared.number, NumberLevel::Exact | NumberLevel::Lent));
    // Parents and children: one home, other years, other names, and each their own number.
    let is_of_another_generation = !shares_number
        && vetoes.contains(&Veto::YearsApart)
        && own.iter().all(|compared| compared.name != NameLevel::Exact);
    let rules_out = is_of_another_generation
        || is_other
        || own.iter().any(|compared| vetoes.iter().any(|veto| is_ruled_out_by(*veto, compared)));
    let scored = candidate.records.iter().zip(&own).map(|(known, compared)| {
        let gate = compared.number == NumberLevel::Exact
            && matches!(compared.name, NameLevel::Exact | NameLevel::SameSound)
            && matches!(compared.birth_date, BirthDateLevel::Exact | BirthDateLevel::Partial | BirthDateLevel::Missing);
        (known, compared, gate, model.score(compared, counted))
    });
    // A number under its authority decides alone, and an identity number without weighing: a visit that leads to another record of the
    // person must not hide them.
    let key = |(known, _, gate, score): &(&CandidateRecord, &Comparison, bool, Score)| {
        (known.tie == Some(Tie::SameNumber), *gate, known.tie.is_some(), score.bits)
    };
    let (best, compared, gate, score) =
        scored.reduce(|one, other| if key(&other) > key(&one) { other } else { one })?;
    let is_thin = !own.iter().any(has_substance) || score.bits < model.review_bits();
    Some(Evidence {
        one_id: candidate.one_id.clone(),
        record: best.id,
        tie: best.tie,
        vetoes,
        gate,
        lacks_own: lacks_own(compared, counted),
        shares_own: shares_own_number(compared),
        ruled_out: best.tie != Some(Tie::SameNumber) && (rules_out || is_thin && !shares_number),
        score,
    })
}

/// Of the comparisons of all records `coming` with all that are `known` (each with the number that stands for its patient) those that may
/// forbid a link. Records may be one patient's under several names and dates, by a source's word or by a number of their own that they
/// share: the pair that agrees best speaks for them, but each for its resident number and its birth order.
fn telling(
    coming: &[(&PatientFacts, i64)],
    known: &[(&PatientFacts, i64)],
    compared: Vec<Comparison>,
) -> Vec<Comparison> {
    if compared.len() < 2 {
        return compared;
    }
    let (coming, columns) = (patients(coming), patients(known));
    let patients = |place: usize| (coming[place / columns.len()], columns[place % columns.len()]);
    let key = |place: usize| {
        let Comparison { number, name, birth_date, .. } = compared[place];
        (number != NumberLevel::Exact, name, birth_date, place)
    };
    let is_spoken_for = |place: usize| {
        compared[place].number != NumberLevel::Conflict
            && !compared[place].other_birth_order
            && (0..compared.len()).any(|other| patients(other) == patients(place) && key(other) < key(place))
    };
    let spoken_for: Vec<bool> = (0..compared.len()).map(is_spoken_for).collect();
    compared.into_iter().zip(spoken_for).filter(|(_, spoken_for)| !spoken_for).map(|(compared, _)| compared).collect()
}

fn records_of(candidate: &Candidate) -> Vec<(&PatientFacts, i64)> {
    candidate.records.iter().map(|known| (&known.facts, known.patient)).collect()
}

/// The number that stands for each record's patient, one for all that share a number of their own.
fn patients(records: &[(&PatientFacts, i64)]) -> Vec<i64> {
    let mut patients: Vec<i64> = records.iter().map(|(_, patient)| *patient).collect();
    for (place, (one, _)) in records.iter().enumerate() {
        for (other_place, (other, _)) in records.iter().enumerate().skip(place + 1) {
            let (own, others) = (patients[place], patients[other_place]);
            if own != others && share_own_number(one, other) {
                patients.iter_mut().filter(|patient| **patient == others).for_each(|patient| *patient = own);
            }
        }
    }
    patients
}

/// Whether name and birth date leave open which of a household it is: the name is a rendering or missing, or the birth date is. Then only a
/// number of the patient's own links, or a grown-up's phone that nobody else has, if no number differs.
fn lacks_own(compared: &Comparison, counted: &dyn Frequencies) -> bool {
    let has_own_phone = || {
        compared.phone == PhoneLevel::Exact
            && !compared.is_child
            && compared.phone_term.is_some_and(|phone| counted.count(phone).0 == 0)
            && matches!(compared.number, NumberLevel::Missing | NumberLevel::OneEdit)
    };
    let is_open = match compared.name {
        NameLevel::Missing => return !shares_own_number(compared),
        NameLevel::Rendering => true,
        _ => compared.birth_date == BirthDateLevel::Missing && !compared.in_letters,
    };
    is_open && !shares_own_number(compared) && !has_own_phone()
}

/// What forbids that two groups of records become one person; each pair of records may forbid it. A number of their own that one pair
/// shares speaks for all.
fn vetoes_between<'a, Pairs: Iterator<Item = &'a Comparison>>(
    model: &Model,
    pairs: impl Fn() -> Pairs,
    is_tied: bool,
    is_parted: bool,
) -> Vec<Veto> {
    let shares_own = pairs().any(shares_own_number);
    let is_called_so = pairs().any(|compared| {
        compared.in_letters
            && matches!(compared.name, NameLevel::Exact | NameLevel::Similar)
            && (matches!(compared.birth_date, BirthDateLevel::Exact | BirthDateLevel::Near)
                || shares_own_number(compared))
    });
    let mut vetoes: Vec<Veto> =
        pairs().flat_map(|compared| vetoes_of(model, compared, is_tied, shares_own, is_called_so)).collect();
    vetoes.extend(is_parted.then_some(Veto::NoLink));
    vetoes.sort_unstable();
    vetoes.dedup();
    vetoes
}

/// Whether two records share a number of the patient's own, not a parent's; for names in letters also one with a slip.
fn shares_own_number(compared: &Comparison) -> bool {
    let is_near = compared.number == NumberLevel::OneEdit || compared.card == CardLevel::OneEdit;
    compared.number == NumberLevel::Exact || compared.is_own_card || compared.in_letters && is_near
}

/// What forbids that two records are linked by rule.
fn vetoes_of(model: &Model, compared: &Comparison, is_tied: bool, shares_own: bool, is_called_so: bool) -> Vec<Veto> {
    let mut vetoes = Vec::new();
    let mut veto = |holds: bool, veto: Veto| vetoes.extend(holds.then_some(veto));
    veto(compared.number == NumberLevel::Conflict, Veto::DifferentResidentId);
    // The number under its authority is the patient's own, whatever the name: it is how newborns and unknown patients get theirs.
    if is_tied {
        return vetoes;
    }
    let (one, other) = compared.classes;
    let either = |class| one == class || other == class;
    if either(NameClass::Newborn) {
        // Twins have one name until they are named, and one mother, home and birthday: each has its number, or its place among them.
        let is_same = is_same_newborn(compared) && (shares_own || compared.same_birth_order);
        veto(!is_same, Veto::NewbornName);
    }
    veto(either(NameClass::Unknown), Veto::UnknownName);
    veto(compared.other_birth_order, Veto::BirthOrder);
    veto(compared.number == NumberLevel::Lent, Veto::LentNumber);
    let disagree = matches!(compared.name, NameLevel::Different | NameLevel::SameSurname);
    // Names in letters are changed by marriage, for nicknames and by other alphabets: one that the patient has borne before, or a number
    // of their own with another fact, outweighs them.
    let another_fact = compared.name == NameLevel::SameSurname
        || matches!(compared.birth_date, BirthDateLevel::Exact | BirthDateLevel::Near)
        || matches!(compared.address, AddressLevel::Exact | AddressLevel::Close);
    let outweighed =
        compared.in_letters && !model.vetoes_names_in_letters() && (is_called_so || shares_own && another_fact);
    veto(one == NameClass::Normal && other == one && disagree && !outweighed, Veto::NamesDisagree);
    let near = compared.name == NameLevel::OneCharacter;
    veto(model.vetoes_near_names() && near && !shares_own, Veto::NearNames);
    let alike = compared.name == NameLevel::SameSound;
    veto(model.vetoes_sound_alikes() && alike && !shares_own, Veto::SoundAlikes);
    // One digit of the year: nobody is born on a namesake's birthday in the same household.
    let is_slip = compared.birth_date == BirthDateLevel::Near && compared.name == NameLevel::Exact;
    let apart = !is_slip && compared.years_apart.is_some_and(|years| years >= model.years_apart());
    veto(apart && !shares_own && compared.card != CardLevel::Exact, Veto::YearsApart);
    vetoes
}

/// Whether two newborns may be one: the same provisional name, the same day, and not a boy and a girl.
fn is_same_newborn(compared: &Comparison) -> bool {
    compared.classes == (NameClass::Newborn, NameClass::Newborn)
        && compared.name == NameLevel::Exact
        && compared.birth_date == BirthDateLevel::Exact
        && compared.sex != SexLevel::Different
}

/// Whether a veto leaves nothing to ask: relations and guesses, not doubtful identities.
fn is_ruled_out_by(veto: Veto, compared: &Comparison) -> bool {
    let shares_number = compared.number == NumberLevel::Exact;
    match veto {
        Veto::NoLink | Veto::BirthOrder => true,
        // The child itself, named meanwhile, has the same birthday and home. A mother has another birthday, another child another name.
        Veto::NewbornName => {
            let (one, other) = compared.classes;
            let at_home = compared.phone == PhoneLevel::Exact
                || matches!(compared.address, AddressLevel::Exact | AddressLevel::Close)
                || compared.card == CardLevel::Exact
                || compared.same_mother;
            one == other && !is_same_newborn(compared)
                || compared.birth_date != BirthDateLevel::Exact
                || !(at_home || shares_number)
        }
        Veto::UnknownName => !shares_number,
        _ => false,
    }
}

/// Whether more agrees than a name and a sex, which half a ward may share.
fn has_substance(compared: &Comparison) -> bool {
    matches!(compared.birth_date, BirthDateLevel::Exact | BirthDateLevel::Near | BirthDateLevel::Partial)
        || compared.shares_belongings()
}

/// Decides for a record that has no person, or is looked at again. `group`: records that would come along; `candidates`: all persons but its
/// own who share a key with it.
pub fn decide(
    model: &Model,
    counted: &dyn Frequencies,
    record: &PatientFacts,
    group: &[&PatientFacts],
    candidates: &[Candidate],
) -> Decision {
    let mut evidence: Vec<Evidence> =
        candidates.iter().filter_map(|candidate| weigh(model, counted, record, group, candidate)).collect();
    evidence.sort_by(|one, other| {
        let key = |found: &Evidence| (found.vetoes.is_empty(), found.tie.is_some(), found.gate);
        (key(other).cmp(&key(one)))
            .then(other.score.bits.total_cmp(&one.score.bits))
            .then_with(|| one.one_id.cmp(&other.one_id))
    });
    let ambiguous = |doubt, evidence| Decision::Ambiguous { doubt, evidence };
    // A number under its authority decides before all facts: it is the sources' own word.
    let numbered = evidence.iter().filter(|found| found.tie == Some(Tie::SameNumber)).count();
    if numbered > 0 {
        let passing =
            evidence.iter().filter(|found| found.tie == Some(Tie::SameNumber) && found.vetoes.is_empty()).count();
        // The same number under another person's resident number: somebody has to look, whatever else agrees.
        return if passing == 1 && numbered == 1 {
            link(evidence, |found| found.tie == Some(Tie::SameNumber))
        } else {
            ambiguous(Doubt::DisputedNumber, evidence)
        };
    }
    let passing = evidence.iter().filter(|found| passes(model, found)).count();
    match passing {
        0 if evidence.iter().all(|found| found.ruled_out) => Decision::New { evidence },
        0 => {
            let best = evidence.iter().find(|found| !found.ruled_out);
            let vetoed = best.is_some_and(|found| !found.vetoes.is_empty());
            ambiguous(if vetoed { Doubt::Veto } else { Doubt::TooLittle }, evidence)
        }
        1 => {
            let is_ahead = evidence.first().is_some_and(|best| {
                let rivals = evidence.iter().skip(1).filter(|found| !found.vetoes.iter().any(|veto| veto.is_certain()));
                let second = rivals.map(|found| found.score.bits).fold(f64::NEG_INFINITY, f64::max);
                best.tie.is_some() || best.score.bits - second >= model.margin()
            });
            if is_ahead { link(evidence, |found| passes(model, found)) } else { ambiguous(Doubt::Margin, evidence) }
        }
        _ => match one_of_several(model, counted, candidates, &evidence).map(|found| found.one_id.clone()) {
            Some(chosen) => link(evidence, |found| found.one_id == chosen),
            None => ambiguous(Doubt::SeveralFit, evidence),
        },
    }
}

/// Whom of several persons who fit is meant all the same. The only one whose own number the record has is: what else fits is asked
/// about, or shown by this record to be the same person. Else the first, if all are surely one person, whom nothing but this record had
/// shown to be one, or if they exclude each other and the first is far ahead.
fn one_of_several<'e>(
    model: &Model,
    counted: &dyn Frequencies,
    candidates: &[Candidate],
    evidence: &'e [Evidence],
) -> Option<&'e Evidence> {
    let person = |found: &Evidence| candidates.iter().find(|candidate| candidate.one_id == found.one_id);
    let passing = || evidence.iter().filter(|found| passes(model, found));
    let by_number = passing().find(|found| found.shares_own);
    let chosen = by_number.or_else(|| passing().next())?;
    let first = person(chosen)?;
    let rivals: Vec<(&Evidence, Relation)> = passing()
        .filter(|found| found.one_id != chosen.one_id)
        .filter_map(|rival| Some((rival, relation(model, counted, first, person(rival)?))))
        .collect();
    let second = rivals.iter().map(|(rival, _)| rival.score.bits).fold(f64::NEG_INFINITY, f64::max);
    let all = |allowed: &dyn Fn(&(&Evidence, Relation)) -> bool| rivals.iter().all(allowed);
    let is_numbers = by_number.is_some() && all(&|(rival, relation)| *relation == Relation::Same || !rival.shares_own);
    let is_chosen = is_numbers
        || all(&|(_, relation)| *relation == Relation::Same)
        || all(&|(_, relation)| *relation == Relation::Apart) && chosen.score.bits - second >= model.margin();
    is_chosen.then_some(chosen)
}

/// How two persons who fit one record stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// Nearly linked themselves, and nothing forbids it.
    Same,
    /// Something forbids that they are one.
    Apart,
    /// Nobody knows.
    Open,
}

fn relation(model: &Model, counted: &dyn Frequencies, one: &Candidate, other: &Candidate) -> Relation {
    let pairs = || one.records.iter().flat_map(|mine| other.records.iter().map(move |theirs| (mine, theirs)));
    let compared: Vec<Comparison> = pairs().map(|(mine, theirs)| compare(&mine.facts, &theirs.facts)).collect();
    let is_parted = pairs().any(|(mine, theirs)| counted.are_parted(mine.id, theirs.id));
    let telling = telling(&records_of(one), &records_of(other), compared.clone());
    if !vetoes_between(model, || telling.iter(), false, is_parted).is_empty() {
        return Relation::Apart;
    }
    // A name and a birth date alone may be two people's, of whom the record knows the number of one and the phone of the other.
    let is_near = |compared: &&Comparison| compared.shares_belongings() || compared.address == AddressLevel::SameStreet;
    let telling = compared.iter().filter(is_near);
    let best = telling.map(|compared| model.score(compared, counted).bits).fold(f64::NEG_INFINITY, f64::max);
    if best >= model.sure_bits() { Relation::Same } else { Relation::Open }
}

/// Whether this evidence alone links.
pub fn passes(model: &Model, evidence: &Evidence) -> bool {
    evidence.vetoes.is_empty()
        && match evidence.tie {
            Some(Tie::SameNumber) => true,
            Some(Tie::SameVisit) => {
                evidence.score.facts.iter().any(|fact| fact.fact == FactKind::Name && fact.weight > 0.0)
            }
            _ => evidence.gate || evidence.score.bits >= model.link_bits() && !evidence.lacks_own,
        }
}

fn link(mut evidence: Vec<Evidence>, chosen: impl Fn(&Evidence) -> bool) -> Decision {
    match evidence.iter().position(chosen) {
        Some(place) => Decision::Link { evidence: evidence.remove(place), others: evidence },
        None => Decision::New { evidence },
    }
}

#[cfg(test)]
mod tests {
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

    /// `name birth_date word …`; `-` is nothing; `M`, `F` the sex; words that end in 号 are addresses, words of 18 places are resident numbers, of 11 phones, `E…` a passport, `M1` a mother's
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
}
