//! How many slips of the hand lie between two texts.

/// Whether two texts are one edit apart: once the same beginning and end are off, at most one letter is left of each, or two that
/// are swapped.
pub(super) fn is_one_edit(one: &str, other: &str) -> bool {
    if one == other || one.len().abs_diff(other.len()) > 4 {
        return false;
    }
    let (one, other) = middles(one, other);
    let (mut one, mut other) = (one.chars(), other.chars());
    match ([one.next(), one.next(), one.next()], [other.next(), other.next(), other.next()]) {
        ([_, None, None], [_, None, None]) => true,
        ([first, second, None], [same_second, same_first, None]) => first == same_first && second == same_second,
        _ => false,
    }
}

/// What is left of two texts without their common beginning and end.
fn middles<'t>(one: &'t str, other: &'t str) -> (&'t str, &'t str) {
    let is_same = |(one, other): &(char, char)| one == other;
    let same = |pairs: &mut dyn Iterator<Item = (char, char)>| -> usize {
        pairs.take_while(is_same).map(|(letter, _)| letter.len_utf8()).sum()
    };
    let start = same(&mut one.chars().zip(other.chars()));
    let (one, other) = (&one[start..], &other[start..]);
    let end = same(&mut one.chars().rev().zip(other.chars().rev()));
    (&one[..one.len() - end], &other[..other.len() - end])
}

/// Edits between two texts, neighbours swapped counting as one.
pub(super) fn edits(one: &str, other: &str) -> usize {
    let (one, other) = middles(one, other);
    strsim::osa_distance(one, other)
}

/// Likeness by Jaro and Winkler: 1 of equal texts.
pub(super) fn similarity(one: &str, other: &str) -> f64 {
    strsim::jaro_winkler(one, other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn one_edit_is_what_the_distance_says(one in "[ab张]{0,5}", other in "[ab张]{0,5}") {
            prop_assert_eq!(is_one_edit(&one, &other), strsim::osa_distance(&one, &other) == 1);
        }
    }
}
