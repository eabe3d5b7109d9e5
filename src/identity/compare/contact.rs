//! How far phones and addresses agree: what a household shares.

use super::super::PatientFacts;
use super::super::block::phone_term;
use super::super::contact::{Address, is_named_house, joined_short_form};
use super::super::name::Script;
use super::edits::{is_one_edit, similarity};
use super::{AddressLevel, PhoneLevel, Term};

pub(super) fn phones(one: &PatientFacts, other: &PatientFacts) -> (PhoneLevel, Option<Term>) {
    if one.phones.is_empty() || other.phones.is_empty() {
        return (PhoneLevel::Missing, None);
    }
    // Sorted: the first that both have is the same from either side.
    if let Some(phone) = one.phones.iter().find(|phone| other.phones.contains(phone)) {
        return (PhoneLevel::Exact, Some(phone_term(phone)));
    }
    let is_slip = |mine: &String| other.phones.iter().any(|theirs| is_one_edit(mine, theirs));
    (if one.phones.iter().any(is_slip) { PhoneLevel::OneEdit } else { PhoneLevel::Different }, None)
}

/// The best level of all pairs of addresses, the address that is equal, and whether even the best pair are two houses.
pub(super) fn addresses(one: &PatientFacts, other: &PatientFacts) -> (AddressLevel, Option<Term>, bool) {
    let mut best = (AddressLevel::Missing, None, false);
    for mine in &one.addresses {
        for theirs in &other.addresses {
            let level = address_pair(mine, theirs);
            let are_two = level >= AddressLevel::SameStreet && are_two_houses(mine, theirs);
            let found = (level, (level == AddressLevel::Exact).then_some(mine.term.min(theirs.term)), are_two);
            if best.0 == AddressLevel::Missing || level != AddressLevel::Missing && found < best {
                best = found;
            }
        }
    }
    best
}

/// Whether the numbers in the street are given and differ by more than a slip; of a single digit every other one is another house.
fn are_two_houses(one: &Address, other: &Address) -> bool {
    let number = |address: &Address| address.house.split('-').next().unwrap_or_default().to_owned();
    let (one, other) = (number(one), number(other));
    let is_slip = one.len().max(other.len()) > 1 && is_one_edit(&one, &other);
    !one.is_empty() && !other.is_empty() && one != other && !is_slip
}

fn address_pair(one: &Address, other: &Address) -> AddressLevel {
    let agree = |one: &str, other: &str| !one.is_empty() && one == other;
    let open = |one: &str, other: &str| one.is_empty() || other.is_empty();
    let same_code = agree(&one.postal_code, &other.postal_code);
    let same_area = agree(&one.area, &other.area);
    // Some write the street where others write the house's name.
    let ((street, extra), (other_street, other_extra)) = (street_and_extra(one), street_and_extra(other));
    if open(street, other_street) {
        return match (same_code, open(&one.postal_code, &other.postal_code)) {
            (true, _) => AddressLevel::SameArea,
            (false, true) => AddressLevel::Missing,
            (false, false) => AddressLevel::Different,
        };
    }
    let near_area = same_area || same_code || open(&one.area, &other.area) || is_like(&one.area, &other.area);
    let same_house = agree(&one.house, &other.house);
    let is_joined = || one.script == Script::Letters && joined_short_form(street) == joined_short_form(other_street);
    if one.house == other.house && near_area && (street == other_street || is_joined()) {
        return AddressLevel::Exact;
    }
    let lines = [(street, other_street), (street, other_extra), (extra, other_street)];
    // Or the two lines the other way round.
    let is_turned = !open(extra, other_extra) && is_same_line(street, other_extra) && is_same_line(extra, other_street);
    let same_street_line = is_turned || is_same_line(street, other_street);
    let same_house_line = same_house && same_street_line;
    let like_street = lines.iter().any(|(one, other)| !open(one, other) && is_like(one, other));
    // Without the flat, or without the building: 12-5-301 and 12.
    let part_of_house =
        !open(&one.house, &other.house) && (is_within(&one.house, &other.house) || is_within(&other.house, &one.house));
    let one_slip = is_one_edit(&one.house, &other.house) || open(&one.house, &other.house);
    // Written by somebody in a hurry: the house, the town and the postal code are all there, each equal or a slip apart.
    let slip_of_code = same_code || is_one_edit(&one.postal_code, &other.postal_code);
    let slip_of_town = same_area || is_one_edit(&one.area, &other.area);
    let all_but_slips = same_street_line && one_slip && slip_of_town && slip_of_code;
    // Of street, number and name of the house two agree, in the same town.
    let same_named_house = (is_turned || is_named_house(extra) && is_same_line(extra, other_extra))
        && (like_street || same_house)
        && (slip_of_code || slip_of_town);
    if same_house_line || like_street && near_area && same_house || all_but_slips || same_named_house {
        AddressLevel::Close
    } else if same_street_line && (same_code || same_area) {
        AddressLevel::SameStreet
    } else if same_code || like_street && (same_area || part_of_house && near_area) {
        AddressLevel::SameArea
    } else if like_street && open(&one.area, &other.area) {
        // Every town has a street of that name; another house in it is another home.
        if are_two_houses(one, other) { AddressLevel::Different } else { AddressLevel::Missing }
    } else {
        AddressLevel::Different
    }
}

/// Whether two lines say the same: with a slip, written together, or with a blank too many: `copland drive`, `coplanddrive`.
fn is_same_line(one: &str, other: &str) -> bool {
    let (one, other) = (joined_short_form(one), joined_short_form(other));
    one == other || is_one_edit(&one, &other)
}

fn street_and_extra(address: &Address) -> (&str, &str) {
    match address.street.as_str() {
        "" => (&address.extra, ""),
        street => (street, &address.extra),
    }
}

/// Whether house numbers begin alike, number by number.
fn is_within(short: &str, long: &str) -> bool {
    long.strip_prefix(short).is_some_and(|rest| rest.starts_with('-'))
}

/// Jaro-Winkler 0.85 and more, or one holds the other.
fn is_like(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    short.chars().nth(1).is_some() && (long.contains(short) || similarity(one, other) >= 0.85)
}

#[cfg(test)]
mod tests {
    use super::super::tests::both;
    use super::*;
    use crate::record::json;

    #[test]
    fn addresses_and_phones_agree_level_by_level() {
        use AddressLevel::*;
        let at = |text: &str| json!({"addresses": [{"text": text}]});
        for (one, other, expected) in [
            ("广东省深圳市南山区学府路12号301室", "深圳市南山区学府路12号301", Exact),
            ("广东省深圳市南山区学府路12号301室", "学府路１２号３０１室", Exact),
            ("深圳市南山区学府大路12号301室", "深圳市南山区学府路12号301室", Close),
            ("深圳市南山区学府路12号301室", "深圳市南山区学府路88号", SameStreet),
            ("深圳市南山区学府路12号301室", "哈尔滨市道里区中央大街7号", Different),
            ("深圳市南山区学府路12号301室", "广东省深圳市", Missing),
            ("7 wallaby street, delmar", "7 wallaby st., delmar", Exact),
        ] {
            assert_eq!(both(at(one), at(other)).address, expected, "{one} {other}");
        }
        let in_letters = |street: &str, extra: &str, town: &str, code: &str| {
            let text = format!("{street}, {extra}, {town}, {code}");
            json!({"addresses": [{"text": text, "street": street, "city": town, "postal_code": code}]})
        };
        let known = in_letters("26 lance hill avenue", "cameroo", "forest hill", "3070");
        for (street, extra, town, code, expected) in [
            // Every part equal or a slip apart; written together.
            ("62 lance hill avenue", "", "forets hill", "0370", Close),
            ("26 lance hillavenue", "", "forest hill", "3070", Exact),
            ("26 lance hillavenu", "", "forest hill", "3070", Close),
            // The two lines the other way round.
            ("118 cameroo", "lance hil avenue", "forest hill", "3070", Close),
            // Two of street, number and name of the house.
            ("118 lance hil avenue", "camerooo", "forest hill", "3070", Close),
            ("26 other street", "cameroo", "forest hill", "3070", Close),
            ("118 lance hill avenue", "meemar", "forest hill", "3070", SameStreet),
            ("118 other street", "cameroo", "forest hill", "3070", SameArea),
            ("118 lance hill avenue", "cameroo", "elsewhere", "9999", Different),
        ] {
            let found = both(known.clone(), in_letters(street, extra, town, code)).address;
            assert_eq!(found, expected, "{street}, {extra}, {town}, {code}");
        }
        // The second line of a street is its own, not a part of the first (XAD.2).
        let two_lines = |street: &str| json!({"addresses": [{"text": format!("{street}, forest hill, 3070"), "street": street, "city": "forest hill", "postal_code": "3070"}]});
        for (street, expected) in [
            ("118 lance hill avenue, camerooo", Close),
            ("118 lance hill avenue, meemar", SameStreet),
            ("26 lance hill avenue", Exact),
            ("26, lance hill avenue, cameroo", Exact),
        ] {
            let found = both(two_lines("26 lance hill avenue, cameroo"), two_lines(street)).address;
            assert_eq!(found, expected, "{street}");
        }
        for (street, is_other) in [
            ("26 lance hill avenue", false),
            ("28 lance hill avenue", false),
            ("118 lance hill avenue", true),
            ("lance hill avenue", false),
        ] {
            let found = both(known.clone(), in_letters(street, "", "forest hill", "3070"));
            assert_eq!(found.is_other_house, is_other, "{street}");
        }
        let (first, other) = (at("苜蓿园路38号23栋2单元101室"), at("南京市玄武区苜蓿园路166号1502"));
        assert!(both(at("玄武区苜蓿园路166号19栋2单元1502室"), at("南京市玄武区苜蓿园路38号")).is_other_house);
        assert!(!both(at("玄武区苜蓿园路166号19栋2单元1502室"), other.clone()).is_other_house);
        assert_eq!(both(first, other).address, Different, "whatever the town of the first is");
        // A flat is no house.
        let flat = |number: &str| in_letters(&format!("{number} lance hill avenue"), "apt b", "forest hill", "3070");
        assert_eq!(both(flat("26"), flat("118")).address, SameStreet);
        let phone = |text: &str| json!({"phones": [{"value": text}]});
        for (one, other, expected) in [
            ("13812345678", "+86 138-1234-5678", PhoneLevel::Exact),
            ("0755-86123456-801", "0755-86123456", PhoneLevel::Exact),
            ("13812345678", "13812345687", PhoneLevel::OneEdit),
            ("13812345678", "13987654321", PhoneLevel::Different),
            ("13800000000", "13800000000", PhoneLevel::Missing),
        ] {
            assert_eq!(both(phone(one), phone(other)).phone, expected, "{one} {other}");
        }
    }
}
