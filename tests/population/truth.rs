//! What a careful clerk would say of two rows, from what is known to be true of them: never from the matcher.

use crate::town::Town;
use crate::town::names;
use crate::town::people::{Origin, Person};
use crate::town::rows::{BirthKind, NameKind, NumberKind, PhoneKind, Row, Said, Sheet};

/// How two different persons are related, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relation {
    Twin,
    ParentAndChild,
    /// Others of one family.
    Household,
    /// One of them is an unknown patient.
    Unknown,
    /// The names are equal or sound alike.
    Homonym,
    Stranger,
}

pub(crate) const RELATIONS: [Relation; 6] = [
    Relation::Twin,
    Relation::ParentAndChild,
    Relation::Household,
    Relation::Unknown,
    Relation::Homonym,
    Relation::Stranger,
];

pub(crate) fn relation(town: &Town, one: usize, other: usize) -> Relation {
    let (first, second) = (&town.people[one], &town.people[other]);
    let is_child_of = |child: &Person, parent| child.mother == Some(parent) || child.father == Some(parent);
    if first.twin.zip(second.twin).is_some_and(|(first, second)| first.set == second.set) {
        Relation::Twin
    } else if is_child_of(first, other) || is_child_of(second, one) {
        Relation::ParentAndChild
    } else if first.family == second.family {
        Relation::Household
    } else if [first, second].iter().any(|person| person.origin == Origin::Unknown) {
        Relation::Unknown
    } else if names::sound(&first.name) == names::sound(&second.name) {
        Relation::Homonym
    } else {
        Relation::Stranger
    }
}

/// Why two rows of one person can be seen to be one person's, from these two rows alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The same resident number or passport, and a name that is equal or near.
    Number,
    /// The same insurance or health card, a name that is equal or near, and no other birth date.
    Card,
    /// Resident numbers one digit apart, and name and birth date, of which one may be near.
    NearNumber,
    /// Name and birth date, of which one may be near, and the phone or the home.
    Contact,
    /// The same name, the phone and the home, where a birth date is missing.
    Home,
    /// A name that hardly anybody else has, birth date and sex.
    RareName,
}

pub(crate) const REASONS: [Reason; 6] =
    [Reason::Number, Reason::Card, Reason::NearNumber, Reason::Contact, Reason::Home, Reason::RareName];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Likeness {
    Equal,
    Near,
    Missing,
    Different,
}

/// `None`: the two rows, which are of one person, do not hold enough.
pub(crate) fn decidable(town: &Town, one: &Row, other: &Row) -> Option<Reason> {
    debug_assert_eq!(one.person, other.person, "only rows of one person can be told to be one's");
    let person = &town.people[one.person];
    let (first, second) = (&one.sheet, &other.sheet);
    let (name, born) = (name(person, first, second), birth_date(first, second));
    let resident = resident(first, second);
    // Two different valid numbers: somebody has to find out whose.
    if name > Likeness::Near || resident == Likeness::Different {
        return None;
    }
    if resident == Likeness::Equal || same(&first.passport, &second.passport) {
        return Some(Reason::Number);
    }
    if (own_insurance(first, second) || same(&first.health_card, &second.health_card)) && born != Likeness::Different {
        return Some(Reason::Card);
    }
    let one_is_equal = name == Likeness::Equal || born == Likeness::Equal;
    if resident == Likeness::Near && born <= Likeness::Near && one_is_equal {
        return Some(Reason::NearNumber);
    }
    let (phone, home) = (same_phone(first, second), same_home(first, second));
    // Of twins, a name that is only near may be the other's.
    let may_be_the_other = person.twin.is_some() && name != Likeness::Equal;
    if (phone || home) && born <= Likeness::Near && one_is_equal && !may_be_the_other {
        return Some(Reason::Contact);
    }
    if phone && home && born == Likeness::Missing && name == Likeness::Equal {
        return Some(Reason::Home);
    }
    let sexes_agree = first.sex == second.sex && first.sex != 'U';
    let is_rare = first.name_kind == NameKind::Own && names::is_rare(&person.name);
    (is_rare && name == Likeness::Equal && born == Likeness::Equal && sexes_agree).then_some(Reason::RareName)
}

pub(crate) fn name(person: &Person, one: &Sheet, other: &Sheet) -> Likeness {
    use NameKind::{Lost, Newborn, OneCharacter, Own, Pinyin, SameSound, Unknown};
    let one_of = |kind| one.name_kind == kind || other.name_kind == kind;
    let sounds = |kind: NameKind| matches!(kind, Own | SameSound | Pinyin);
    match (one.name_kind, other.name_kind) {
        (Own, Own) => Likeness::Equal,
        // Of one mother's newborns of one day, who is who?
        (Newborn, Newborn) if person.twin.is_none() => Likeness::Equal,
        _ if one_of(Newborn) || one_of(Unknown) => Likeness::Missing,
        (one, other) if sounds(one) && sounds(other) => Likeness::Near,
        // What is left of a name with one character but the surname?
        (Own, OneCharacter) | (OneCharacter, Own) if person.name.given.chars().count() > 1 => Likeness::Near,
        (Own | Lost, Lost) | (Lost, Own) => Likeness::Near,
        _ => Likeness::Different,
    }
}

pub(crate) fn birth_date(one: &Sheet, other: &Sheet) -> Likeness {
    use BirthKind::{Missing, Own, Placeholder};
    match (one.birth_date.kind, other.birth_date.kind) {
        (Missing | Placeholder, _) | (_, Missing | Placeholder) => Likeness::Missing,
        (Own, Own) => Likeness::Equal,
        (Own, _) | (_, Own) => Likeness::Near,
        _ => Likeness::Different,
    }
}

pub(crate) fn resident(one: &Sheet, other: &Sheet) -> Likeness {
    use NumberKind::{Own, Placeholder, Relatives, Typo};
    let (Some(one), Some(other)) = (&one.resident, &other.resident) else { return Likeness::Missing };
    match (one.kind, other.kind) {
        (Placeholder, _) | (_, Placeholder) => Likeness::Missing,
        (Own, Own) => Likeness::Equal,
        (Own, Typo) | (Typo, Own) => Likeness::Near,
        // A relative's number says nothing of the child; beside the child's own it speaks against.
        (Relatives, Relatives) => Likeness::Missing,
        (Relatives, _) | (_, Relatives) => Likeness::Different,
        (Typo, Typo) => Likeness::Missing,
    }
}

fn same<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    one.is_some() && one == other
}

fn own_insurance(one: &Sheet, other: &Sheet) -> bool {
    let own = |said: &Option<Said<NumberKind>>| said.as_ref().is_some_and(|said| said.kind == NumberKind::Own);
    own(&one.insurance) && own(&other.insurance)
}

pub(crate) fn same_phone(one: &Sheet, other: &Sheet) -> bool {
    one.phone.as_ref().zip(other.phone.as_ref()).is_some_and(|(one, other)| {
        one.text == other.text && one.kind != PhoneKind::Desk && other.kind != PhoneKind::Desk
    })
}

pub(crate) fn same_home(one: &Sheet, other: &Sheet) -> bool {
    one.address.as_ref().zip(other.address.as_ref()).is_some_and(|(one, other)| one.0 == other.0)
}

/// What two rows of one person differ in, as a key to group by.
pub(crate) fn differences(town: &Town, one: &Row, other: &Row) -> String {
    let (first, second) = (&one.sheet, &other.sheet);
    let word = |likeness| match likeness {
        Likeness::Equal => "equal",
        Likeness::Near => "near",
        Likeness::Missing => "missing",
        Likeness::Different => "different",
    };
    let agrees = |is_said: bool, agrees: bool| match (is_said, agrees) {
        (false, _) => "missing",
        (true, true) => "equal",
        (true, false) => "different",
    };
    let name = match (name(&town.people[one.person], first, second), first.name_kind, second.name_kind) {
        (Likeness::Near, NameKind::Own, kind) | (Likeness::Near, kind, _) => format!("{kind:?}"),
        (likeness, _, _) => word(likeness).to_owned(),
    };
    format!(
        "name {name:12} born {:9} number {:9} phone {:9} home {}",
        word(birth_date(first, second)),
        word(resident(first, second)),
        agrees(first.phone.is_some() && second.phone.is_some(), same_phone(first, second)),
        agrees(first.address.is_some() && second.address.is_some(), same_home(first, second)),
    )
}

/// A row on one line.
pub(crate) fn line(row: &Row) -> String {
    let sheet = &row.sheet;
    let number = |said: &Option<Said<NumberKind>>| said.as_ref().map_or("-".to_owned(), |said| said.text.clone());
    format!(
        "{:4} {} {}{} {} {} {} ins {} card {} {} {}{}",
        row.feed.authority(),
        row.number,
        sheet.name.surname,
        sheet.name.given,
        sheet.birth_date.text,
        sheet.sex,
        number(&sheet.resident),
        number(&sheet.insurance),
        sheet.health_card.as_deref().unwrap_or("-"),
        sheet.phone_as_sent,
        sheet.address.as_ref().map_or("-", |(_, text)| text),
        sheet.birth_order.map_or(String::new(), |order| format!(" no. {order}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::people::minus;
    use crate::town::people::{TODAY, Twin};
    use crate::town::rows::Feed;

    /// A person and a row that says nothing but the name, in a town of one.
    fn town() -> Town {
        let mut town = Town::new(3, 40);
        let place =
            town.people.iter().position(|person| person.origin == Origin::Han && person.twin.is_none()).unwrap();
        let mut person = town.people[place].clone();
        // A name of which there are many.
        person.name = names::Name::new("张", "建国");
        (person.mother, person.father) = (None, None);
        let mut row = town.rows[0].clone();
        let sheet = &mut row.sheet;
        (sheet.name, sheet.name_kind) = (person.name.clone(), NameKind::Own);
        sheet.birth_date = Said { text: "19800101".to_owned(), kind: BirthKind::Own };
        sheet.sex = 'M';
        (sheet.resident, sheet.insurance, sheet.health_card, sheet.passport) = (None, None, None, None);
        (sheet.phone, sheet.address) = (None, None);
        (row.person, row.feed) = (0, Feed::His);
        town.people = vec![person];
        town.rows = vec![row];
        town
    }

    fn number(kind: NumberKind) -> Option<Said<NumberKind>> {
        Some(Said { text: "320102198001010012".to_owned(), kind })
    }

    fn phone(kind: PhoneKind) -> Option<Said<PhoneKind>> {
        Some(Said { text: "13800001234".to_owned(), kind })
    }

    /// Changes to both rows, changes to the second, and why they can be told to be one's.
    #[track_caller]
    fn check(both: impl Fn(&mut Sheet), second: impl Fn(&mut Sheet), expected: Option<Reason>) {
        let town = town();
        let mut one = town.rows[0].clone();
        both(&mut one.sheet);
        let mut other = one.clone();
        second(&mut other.sheet);
        assert_eq!(decidable(&town, &one, &other), expected);
        assert_eq!(decidable(&town, &other, &one), expected, "the other way round");
    }

    #[test]
    fn a_frequent_name_and_a_birth_date_are_not_enough() {
        check(|_| (), |_| (), None);
        check(|_| (), |sheet| sheet.phone = phone(PhoneKind::Own), None);
        check(|sheet| sheet.phone = phone(PhoneKind::Desk), |_| (), None);
        check(|sheet| sheet.phone = phone(PhoneKind::Own), |_| (), Some(Reason::Contact));
        check(|sheet| sheet.address = Some((4, String::new())), |_| (), Some(Reason::Contact));
        check(|sheet| sheet.address = Some((4, String::new())), |sheet| sheet.address = Some((5, String::new())), None);
    }

    #[test]
    fn a_rare_name_and_a_birth_date_are() {
        let mut town = town();
        town.people[0].name = names::Name::new("尉迟", "喆婳");
        let one = town.rows[0].clone();
        let mut other = one.clone();
        assert_eq!(decidable(&town, &one, &other), Some(Reason::RareName));
        other.sheet.sex = 'F';
        assert_eq!(decidable(&town, &one, &other), None);
        other.sheet.sex = 'M';
        other.sheet.birth_date.kind = BirthKind::Lunar;
        assert_eq!(decidable(&town, &one, &other), None);
    }

    #[test]
    fn a_number_counts_as_what_it_is() {
        let own = |sheet: &mut Sheet| sheet.resident = number(NumberKind::Own);
        let as_kind = |kind| move |sheet: &mut Sheet| sheet.resident = number(kind);
        check(own, |_| (), Some(Reason::Number));
        check(own, |sheet| sheet.name_kind = NameKind::SameSound, Some(Reason::Number));
        check(own, |sheet| sheet.name_kind = NameKind::Newborn, None);
        check(own, as_kind(NumberKind::Typo), Some(Reason::NearNumber));
        check(own, as_kind(NumberKind::Placeholder), None);
        check(as_kind(NumberKind::Placeholder), |_| (), None);
        check(as_kind(NumberKind::Relatives), |_| (), None);
        // Two valid numbers that differ, whatever else agrees.
        let with_phone =
            |sheet: &mut Sheet| (sheet.resident, sheet.phone) = (number(NumberKind::Own), phone(PhoneKind::Own));
        check(with_phone, as_kind(NumberKind::Relatives), None);
        check(|sheet| sheet.health_card = Some("1".to_owned()), |_| (), Some(Reason::Card));
        check(|sheet| sheet.insurance = number(NumberKind::Relatives), |_| (), None);
    }

    #[test]
    fn one_of_name_and_birth_date_may_be_near_beside_a_phone() {
        let with_phone = |sheet: &mut Sheet| sheet.phone = phone(PhoneKind::Own);
        check(with_phone, |sheet| sheet.name_kind = NameKind::Pinyin, Some(Reason::Contact));
        check(with_phone, |sheet| sheet.birth_date.kind = BirthKind::Swapped, Some(Reason::Contact));
        let both_near = |sheet: &mut Sheet| {
            sheet.name_kind = NameKind::SameSound;
            sheet.birth_date.kind = BirthKind::Swapped;
        };
        check(with_phone, both_near, None);
        check(with_phone, |sheet| sheet.birth_date.kind = BirthKind::Missing, None);
        let with_home =
            |sheet: &mut Sheet| (sheet.phone, sheet.address) = (phone(PhoneKind::Own), Some((4, String::new())));
        check(with_home, |sheet| sheet.birth_date.kind = BirthKind::Missing, Some(Reason::Home));
        // Of twins, it may be the other's.
        let mut town = town();
        town.people[0].twin = Some(Twin { set: 1, order: 1 });
        let mut one = town.rows[0].clone();
        with_phone(&mut one.sheet);
        let mut other = one.clone();
        other.sheet.name_kind = NameKind::SameSound;
        assert_eq!(decidable(&town, &one, &other), None);
    }

    #[test]
    fn relations_are_the_nearest() {
        let mut town = town();
        let person = town.people[0].clone();
        let twin = |order| Some(Twin { set: 1, order });
        let other_name = names::Name::new("李", "芳");
        town.people = vec![
            crate::town::people::Person { twin: twin(1), mother: Some(2), family: 1, ..person.clone() },
            crate::town::people::Person { twin: twin(2), mother: Some(2), family: 1, ..person.clone() },
            crate::town::people::Person { name: other_name.clone(), mother: None, family: 1, ..person.clone() },
            crate::town::people::Person {
                name: names::Name::new("张", "健国"),
                family: 3,
                mother: None,
                ..person.clone()
            },
            crate::town::people::Person {
                name: other_name,
                family: 4,
                born: minus(TODAY, 3),
                mother: None,
                ..person.clone()
            },
            crate::town::people::Person { origin: Origin::Unknown, family: 5, mother: None, ..person },
        ];
        for (one, other, expected) in [
            (0, 1, Relation::Twin),
            (0, 2, Relation::ParentAndChild),
            (2, 1, Relation::ParentAndChild),
            (0, 3, Relation::Homonym),
            (3, 4, Relation::Stranger),
            (2, 4, Relation::Homonym),
            (3, 5, Relation::Unknown),
        ] {
            assert_eq!(relation(&town, one, other), expected, "{one} {other}");
            assert_eq!(relation(&town, other, one), expected, "{other} {one}");
        }
    }
}
