//! Which event types a consumer asks for: `visit.*`, `lab.critical`, `*`.

use std::fmt;
use std::str::FromStr;

use super::EventKind;

/// One pattern over event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeFilter(FilterForm);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterForm {
    All,
    Family(&'static str),
    One(EventKind),
}

/// A pattern that can match no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no event type matches this: expected `*`, a family such as `visit.*`, or one type such as `lab.critical`")]
pub struct FilterError;

impl TypeFilter {
    /// `*`: every type.
    pub const ALL: TypeFilter = TypeFilter(FilterForm::All);

    /// Whether the pattern takes this type.
    pub fn matches(&self, kind: EventKind) -> bool {
        match self.0 {
            FilterForm::All => true,
            FilterForm::Family(family) => kind.family() == family,
            FilterForm::One(one) => kind == one,
        }
    }
}

impl fmt::Display for TypeFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            FilterForm::All => formatter.write_str("*"),
            FilterForm::Family(family) => write!(formatter, "{family}.*"),
            FilterForm::One(kind) => formatter.write_str(kind.name()),
        }
    }
}

impl FromStr for TypeFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if text == "*" {
            return Ok(Self(FilterForm::All));
        }
        let form = match text.strip_suffix(".*") {
            Some(family) => {
                EventKind::ALL.iter().map(|kind| kind.family()).find(|known| *known == family).map(FilterForm::Family)
            }
            None => text.parse().ok().map(FilterForm::One),
        };
        form.map(Self).ok_or(FilterError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_all_a_family_or_one_type() {
        let takes = |pattern: &str, kind: EventKind| pattern.parse::<TypeFilter>().unwrap().matches(kind);
        assert!(takes("*", EventKind::LabCritical));
        assert!(takes("visit.*", EventKind::VisitAdmitted));
        assert!(!takes("visit.*", EventKind::LabCritical));
        assert!(takes("lab.critical", EventKind::LabCritical));
        assert!(!takes("lab.critical", EventKind::LabResulted));
    }

    #[test]
    fn a_pattern_is_shown_as_it_was_written() {
        for pattern in ["*", "visit.*", "lab.critical"] {
            assert_eq!(pattern.parse::<TypeFilter>().unwrap().to_string(), pattern);
        }
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        for pattern in ["", "visits.*", "visit", "lab.criticall", "*.created"] {
            assert_eq!(pattern.parse::<TypeFilter>(), Err(FilterError), "{pattern}");
        }
    }
}
