//! What forbids a link, whatever the score says: what tells the members of a family, twins and namesakes from one patient.

use serde::{Deserialize, Serialize};

use super::super::compare::{
    AddressLevel, BirthDateLevel, CardLevel, Comparison, NameLevel, NumberLevel, PhoneLevel, SexLevel,
    share_near_number, share_own_number,
};
use super::super::model::{Frequencies, Model};
use super::super::{NameClass, PatientFacts};

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
    /// Names nearly the same without a shared number, or with one and another birth date: a slip, a twin, or a borrowed card.
    NearNames,
    /// The same of names that sound alike.
    SoundAlikes,
    /// Born years apart, and no shared number.
    YearsApart,
    /// They share a number that is a parent's on one side.
    LentNumber,
}

impl Veto {
    /// Two patients for sure, who cannot be mistaken for one another: not even a rival of the right one.
    pub(super) fn is_certain(self) -> bool {
        matches!(self, Self::NoLink | Self::DifferentResidentId | Self::BirthOrder | Self::NamesDisagree)
    }
}

/// Of the comparisons of all records `coming` with all that are `known` (each with the number that stands for its patient) those that may
/// forbid a link. Records may be one patient's under several names and dates, by a source's word or by a number of their own that they
/// share: the pair that agrees best speaks for them, but each for its resident number and its birth order.
pub(super) fn telling(
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

/// The number that stands for each record's patient, one for all that share a number of their own.
fn patients(records: &[(&PatientFacts, i64)]) -> Vec<i64> {
    let mut patients: Vec<i64> = records.iter().map(|(_, patient)| *patient).collect();
    for (place, (one, _)) in records.iter().enumerate() {
        for (other_place, (other, _)) in records.iter().enumerate().skip(place + 1) {
            let (own, others) = (patients[place], patients[other_place]);
            if own != others && (share_own_number(one, other) || share_near_number(one, other)) {
                patients.iter_mut().filter(|patient| **patient == others).for_each(|patient| *patient = own);
            }
        }
    }
    patients
}

/// Whether name and birth date leave open which of a household it is: the name is a rendering or missing, or the birth date is, or the sex
/// differs. Then only a number of the patient's own links, or a grown-up's phone that nobody else has, if no number differs.
pub(super) fn lacks_own(compared: &Comparison, counted: &dyn Frequencies) -> bool {
    let has_own_phone = || {
        compared.phone == PhoneLevel::Exact
            && !compared.is_child
            && compared.phone_term.is_some_and(|phone| counted.count(phone).0 == 0)
            && matches!(compared.number, NumberLevel::Missing | NumberLevel::OneEdit)
    };
    // A boy and a girl of one birthday and one home are twins, of whom one has the other's name by a slip, or one child with the wrong sex.
    if compared.sex == SexLevel::Different {
        return !shares_own_number(compared);
    }
    let is_open = match compared.name {
        NameLevel::Missing => return !shares_own_number(compared),
        NameLevel::Rendering => true,
        _ => compared.birth_date == BirthDateLevel::Missing && !compared.in_letters,
    };
    is_open && !shares_own_number(compared) && !has_own_phone()
}

/// Whether a record has no more in common with any of a person's than name, birth date and sex, while what people have of their own
/// differs: two people of one name who are born on one day.
pub(super) fn are_alike_only(model: &Model, compared: &[Comparison]) -> bool {
    let differ = |kind: usize| compared.iter().any(|compared| compared.differing_belongings()[kind]);
    // In letters a postal code or a town tells as much as a street does.
    let is_shared = |compared: &Comparison| {
        compared.shares_belongings() || compared.in_letters && compared.address <= AddressLevel::SameArea
    };
    !compared.iter().any(is_shared) && (0..3).filter(|kind| differ(*kind)).count() >= model.strangers_differ()
}

/// What forbids that two groups of records become one person; each pair of records may forbid it. A number of their own that one pair
/// shares speaks for all.
pub(super) fn vetoes_between<'a, Pairs: Iterator<Item = &'a Comparison>>(
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
pub(super) fn shares_own_number(compared: &Comparison) -> bool {
    let is_near = compared.number == NumberLevel::OneEdit || compared.card == CardLevel::OneEdit;
    compared.number == NumberLevel::Exact || compared.is_own_card || compared.in_letters && is_near
}

/// A parent of the same name in the same home is older: younger parents are fewer than one of a thousand, and few give their own name.
const YEARS_OF_NAMESAKES: u16 = 16;

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
        || matches!(compared.address, AddressLevel::Exact | AddressLevel::Close | AddressLevel::SameStreet);
    let is_renamed = is_renamed(model, compared);
    let outweighed = compared.in_letters
        && !model.vetoes_names_in_letters()
        && (is_called_so || shares_own && another_fact || is_renamed);
    veto(one == NameClass::Normal && other == one && disagree && !outweighed, Veto::NamesDisagree);
    // Who has another birth date as well may be a brother or a sister with a borrowed card.
    let is_own = shares_own && !compared.own_birth_dates_disagree;
    let near = compared.name == NameLevel::OneCharacter;
    veto(model.vetoes_near_names() && near && !is_own, Veto::NearNames);
    let alike = compared.name == NameLevel::SameSound;
    veto(model.vetoes_sound_alikes() && alike && !is_own, Veto::SoundAlikes);
    let is_at_home = is_at_home(compared);
    // One digit of the year: nobody is born on a namesake's birthday in the same household. In letters the name may have a slip as well
    // where the house is the same.
    let is_slip = compared.birth_date == BirthDateLevel::Near
        && (compared.name == NameLevel::Exact || compared.name == NameLevel::Similar && is_at_home);
    // A father, a mother or an elder of the house may bear the same name; a brother or a sister does not.
    let is_no_parent = compared.name == NameLevel::Exact
        && is_at_home
        && compared.years_apart.is_some_and(|years| years < YEARS_OF_NAMESAKES);
    let apart = !is_slip && !is_no_parent && compared.years_apart.is_some_and(|years| years >= model.years_apart());
    veto(apart && !shares_own && compared.card != CardLevel::Exact, Veto::YearsApart);
    vetoes
}

fn is_at_home(compared: &Comparison) -> bool {
    matches!(compared.address, AddressLevel::Exact | AddressLevel::Close)
}

/// Whether two given names may be one patient's all the same: of one surname, birthday and home are twins, and patients whom somebody
/// called by another of their names; the older they are, the fewer twins still live together. Two passports are two people's.
fn is_renamed(model: &Model, compared: &Comparison) -> bool {
    compared.name == NameLevel::SameSurname
        && compared.birth_date == BirthDateLevel::Exact
        && is_at_home(compared)
        && compared.sex != SexLevel::Different
        && compared.number != NumberLevel::Different
        && compared.age.is_some_and(|age| age >= model.renamed_in_letters())
}

/// Whether two newborns may be one: the same provisional name, the same day, and not a boy and a girl.
fn is_same_newborn(compared: &Comparison) -> bool {
    compared.classes == (NameClass::Newborn, NameClass::Newborn)
        && compared.name == NameLevel::Exact
        && compared.birth_date == BirthDateLevel::Exact
        && compared.sex != SexLevel::Different
}

/// Whether a veto leaves nothing to ask: relations and guesses, not doubtful identities.
pub(super) fn is_ruled_out_by(veto: Veto, compared: &Comparison) -> bool {
    let shares_number = compared.number == NumberLevel::Exact;
    match veto {
        Veto::NoLink | Veto::BirthOrder => true,
        // The child itself, named meanwhile, has the same birthday and home. A mother has another birthday, another child another name.
        Veto::NewbornName => {
            let (one, other) = compared.classes;
            let at_home = compared.phone == PhoneLevel::Exact
                || is_at_home(compared)
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
