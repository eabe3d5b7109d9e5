//! Where something is in a message, for reports and for ERR-2.

use std::fmt;

/// A place in a message, as precise as it is known: `PID`, `PID-3`, `OBX[3]-5[1].2`. All numbers count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    /// Segment name.
    pub segment: String,
    /// Which segment of that name in the message; `None` where there is only one, or where it is not known.
    pub occurrence: Option<usize>,
    /// Field; `None`: the segment as a whole.
    pub field: Option<usize>,
    /// Repetition; `None` where there is only one, or where it is not known.
    pub repetition: Option<usize>,
    /// Component; `None`: the field or repetition as a whole.
    pub component: Option<usize>,
    /// Subcomponent; `None`: the component as a whole.
    pub subcomponent: Option<usize>,
}

impl Location {
    /// The first segment of this name, as a whole.
    pub fn segment(name: &str) -> Self {
        Self {
            segment: name.to_owned(),
            occurrence: None,
            field: None,
            repetition: None,
            component: None,
            subcomponent: None,
        }
    }

    /// A field of the first segment of this name.
    pub fn field(name: &str, field: usize) -> Self {
        Self { field: Some(field), ..Self::segment(name) }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.segment)?;
        if let Some(occurrence) = self.occurrence {
            write!(formatter, "[{occurrence}]")?;
        }
        let Some(field) = self.field else { return Ok(()) };
        write!(formatter, "-{field}")?;
        if let Some(repetition) = self.repetition {
            write!(formatter, "[{repetition}]")?;
        }
        let Some(component) = self.component else { return Ok(()) };
        write!(formatter, ".{component}")?;
        if let Some(subcomponent) = self.subcomponent {
            write!(formatter, ".{subcomponent}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_written_as_a_path() {
        let whole = Location {
            occurrence: Some(3),
            repetition: Some(1),
            component: Some(2),
            subcomponent: Some(4),
            ..Location::field("OBX", 5)
        };
        assert_eq!(whole.to_string(), "OBX[3]-5[1].2.4");
        assert_eq!(Location::field("PID", 3).to_string(), "PID-3");
        assert_eq!(Location::segment("PV1").to_string(), "PV1");
    }
}
