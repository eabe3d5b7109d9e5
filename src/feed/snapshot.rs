//! A place in a snapshot: which position of the log the snapshot began at, and the last row that was read.
//!
//! Rows are read at different moments, each as it is then. Whoever goes on in the log from where the snapshot began, and drops what is
//! older than what it holds, ends with the state as it is.

use std::fmt;
use std::str::FromStr;

use super::{Cursor, EventKind, TypeFilter};

/// The parts of a snapshot, in this order: whoever reads a visit has read its person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Persons, retired ones too.
    Person,
    /// Visits.
    Visit,
    /// Reports.
    LabReport,
}

impl Part {
    /// All of them, in order.
    pub const ALL: &'static [Part] = &[Part::Person, Part::Visit, Part::LabReport];

    /// The kind of its rows, as they say it.
    pub fn name(self) -> &'static str {
        match self {
            Part::Person => "person",
            Part::Visit => "visit",
            Part::LabReport => "lab_report",
        }
    }

    /// The parts of which these filters take at least one event.
    pub fn taken_by(filters: &[TypeFilter]) -> Vec<Part> {
        let taken = |part: &Part| {
            let mut kinds = EventKind::ALL.iter().filter(|kind| kind.family() == part.family());
            kinds.any(|kind| filters.iter().any(|filter| filter.matches(*kind)))
        };
        Self::ALL.iter().copied().filter(taken).collect()
    }

    /// Of the events about its rows; see [`EventKind::family`].
    fn family(self) -> &'static str {
        match self {
            Part::Person => "patient",
            Part::Visit => "visit",
            Part::LabReport => "lab",
        }
    }
}

/// Where a snapshot goes on. Its text is a key that callers hand back as they got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The newest event when the first page was read.
    pub begun: Cursor,
    /// The part of the last row.
    pub part: Part,
    /// The last row in that part; 0 is before the first.
    pub row: i64,
}

/// Text that is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key of a snapshot: give `next` of the page before as it came")]
pub struct PlaceError;

impl Place {
    /// Before the first row of a snapshot that begins now.
    pub fn first(head: Cursor) -> Self {
        Self { begun: head, part: Part::Person, row: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.begun, self.part.name(), self.row)
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let mut pieces = text.split('.');
        let (Some(begun), Some(part), Some(row), None) = (pieces.next(), pieces.next(), pieces.next(), pieces.next())
        else {
            return Err(PlaceError);
        };
        let part = Part::ALL.iter().copied().find(|known| known.name() == part).ok_or(PlaceError)?;
        let row = row.parse().ok().filter(|row| *row >= 0).ok_or(PlaceError)?;
        Ok(Self { begun: begun.parse().map_err(|_| PlaceError)?, part, row })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_place_or_an_error(text in "([0-9]{1,3}-[0-9]{1,12})?[.a-z_]{0,14}[-.0-9]{0,6}") {
            if let Ok(place) = text.parse::<Place>() {
                prop_assert_eq!(place.to_string().parse::<Place>(), Ok(place));
            }
        }
    }

    #[test]
    fn a_place_survives_its_text() {
        let place = Place { begun: Cursor { epoch: 2, sequence: 17 }, part: Part::LabReport, row: 5 };
        assert_eq!(place.to_string(), "2-000000000017.lab_report.5");
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "2-17", "2-17.visit", "2-17.visit.-1", "2-17.bed.1", "2-17.visit.1.1", "x.visit.1"] {
            assert_eq!(text.parse::<Place>(), Err(PlaceError), "{text}");
        }
    }

    #[test]
    fn a_filter_takes_the_part_that_its_events_are_about() {
        let taken = |texts: &[&str]| {
            let filters: Vec<TypeFilter> = texts.iter().map(|text| text.parse().unwrap()).collect();
            Part::taken_by(&filters)
        };
        assert_eq!(taken(&["*"]), Part::ALL);
        assert_eq!(taken(&["lab.critical", "patient.*"]), [Part::Person, Part::LabReport]);
        assert_eq!(taken(&[]), []);
    }
}
