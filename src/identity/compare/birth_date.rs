//! How far birth dates agree, those of resident numbers included.

use super::super::PatientFacts;
use super::BirthDateLevel;
use super::number::own_resident_ids;

/// A date as given, `YYYY-MM-DD` or less.
type Date = ([u8; 10], usize);

/// The record's own date, and those of its resident numbers where they say another one.
fn dates(facts: &PatientFacts) -> impl Iterator<Item = (Date, bool)> {
    let own = facts.birth_date.as_deref().and_then(date);
    let numbers = own_resident_ids(facts).filter_map(|number| {
        let [y, e, a, r, m, o, d, t] = *number.as_bytes().get(6..14)?.first_chunk()?;
        Some(([y, e, a, r, b'-', m, o, b'-', d, t], 10))
    });
    let others = numbers.filter(move |date| Some(*date) != own).map(|date| (date, false));
    own.map(|date| (date, true)).into_iter().chain(others)
}

fn date(text: &str) -> Option<Date> {
    let mut date = [0; 10];
    date.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some((date, text.len()))
}

pub(super) fn birth_dates(one: &PatientFacts, other: &PatientFacts) -> (BirthDateLevel, Option<u16>) {
    let mut best: Option<BirthDateLevel> = None;
    let mut apart: Option<u16> = None;
    for (mine, mine_is_own) in dates(one) {
        for (theirs, theirs_is_own) in dates(other) {
            // Two dates of numbers only say again what the numbers say.
            if mine_is_own || theirs_is_own {
                let level = date_pair(&mine.0[..mine.1], &theirs.0[..theirs.1]);
                best = Some(best.map_or(level, |best| best.min(level)));
                let year = |date: Date| std::str::from_utf8(&date.0[..4]).ok()?.parse::<u16>().ok();
                let years = year(mine).zip(year(theirs)).map(|(mine, theirs)| mine.abs_diff(theirs));
                apart = apart.into_iter().chain(years).min();
            }
        }
    }
    (best.unwrap_or(BirthDateLevel::Missing), apart)
}

/// Whether the records' own dates, not those of their numbers, are given and disagree by more than a slip and not within a year.
pub(super) fn own_birth_dates_disagree(one: &PatientFacts, other: &PatientFacts) -> bool {
    let dates = one.birth_date.as_deref().zip(other.birth_date.as_deref());
    dates.is_some_and(|(mine, theirs)| date_pair(mine.as_bytes(), theirs.as_bytes()) == BirthDateLevel::Different)
}

fn date_pair(one: &[u8], other: &[u8]) -> BirthDateLevel {
    let is_whole = one.len() == 10 && other.len() == 10;
    if one == other && is_whole {
        BirthDateLevel::Exact
    } else if one.starts_with(other) || other.starts_with(one) {
        BirthDateLevel::Partial
    } else if is_whole && is_near(one, other) {
        BirthDateLevel::Near
    } else if one.get(..4) == other.get(..4) {
        BirthDateLevel::SameYear
    } else {
        BirthDateLevel::Different
    }
}

/// Two dates of ten places: one digit differs, two that stand beside each other are swapped, or day and month are.
fn is_near(one: &[u8], other: &[u8]) -> bool {
    let places: Vec<usize> = (0..one.len().min(other.len())).filter(|place| one[*place] != other[*place]).collect();
    let swapped = |place: usize, next: usize| one[place] == other[next] && one[next] == other[place];
    match places[..] {
        [_] => true,
        // 4 and 7 are hyphens: the last digit of the year and the first of the month stand beside each other.
        [place, next] if next == place + 1 || next == place + 2 && one[place + 1] == b'-' => swapped(place, next),
        _ => one[..4] == other[..4] && one[5..7] == other[8..10] && one[8..10] == other[5..7],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::both;
    use super::*;
    use crate::record::json;

    #[test]
    fn birth_dates_agree_level_by_level() {
        use BirthDateLevel::*;
        for (one, other, expected, apart) in [
            ("1990-03-07", "1990-03-07", Exact, Some(0)),
            ("1990-03-07", "1990-03", Partial, Some(0)),
            ("1990", "1990", Partial, Some(0)),
            ("1990-03-07", "1990-07-03", Near, Some(0)),
            ("1990-03-07", "1980-03-07", Near, Some(10)),
            ("1990-03-17", "1990-03-71", Near, Some(0)),
            ("1990-03-17", "1990-05-28", SameYear, Some(0)),
            ("1990-03-07", "1965-11-28", Different, Some(25)),
            ("1990-03-07", "1900-01-01", Missing, None),
        ] {
            let found = both(json!({"birth_date": one}), json!({"birth_date": other}));
            assert_eq!((found.birth_date, found.years_apart), (expected, apart), "{one} {other}");
        }
    }

    #[test]
    fn case_9_the_date_of_the_resident_number_counts() {
        let with = |date: &str| json!({"birth_date": date, "identifiers": [{"type": "resident_id", "value": "110101199003073458"}]});
        assert_eq!(both(with("1990-03-07"), with("1990-07-03")).birth_date, BirthDateLevel::Exact);
        assert_eq!(both(with("1991-12-28"), json!({"birth_date": "1990-03-07"})).birth_date, BirthDateLevel::Exact);
        // Two numbers alone say nothing more than that they are the same.
        assert_eq!(both(with(""), with("")).birth_date, BirthDateLevel::Missing);
    }
}
