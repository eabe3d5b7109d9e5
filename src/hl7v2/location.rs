//! Where something is in a message, for reports and for ERR-2.

use std::fmt;
use std::str::FromStr;

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

/// Text that is no location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a place in a message: expected a form such as PID-3 or OBX[3]-5[1].2")]
pub struct LocationError;

impl FromStr for Location {
    type Err = LocationError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        /// `name[number]`, or only `name`.
        fn indexed(text: &str) -> Result<(&str, Option<usize>), LocationError> {
            match text.split_once('[') {
                None => Ok((text, None)),
                Some((name, rest)) => Ok((name, Some(number(rest.strip_suffix(']').ok_or(LocationError)?)?))),
            }
        }
        fn number(text: &str) -> Result<usize, LocationError> {
            text.parse().map_err(|_| LocationError)
        }
        let (segment, rest) = match text.split_once('-') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (text, None),
        };
        let (name, occurrence) = indexed(segment)?;
        if name.is_empty() {
            return Err(LocationError);
        }
        let mut location = Self { occurrence, ..Self::segment(name) };
        let mut parts = rest.map(|rest| rest.split('.')).into_iter().flatten();
        if let Some(field) = parts.next() {
            let (field, repetition) = indexed(field)?;
            location.field = Some(number(field)?);
            location.repetition = repetition;
        }
        location.component = parts.next().map(number).transpose()?;
        location.subcomponent = parts.next().map(number).transpose()?;
        if parts.next().is_some() { Err(LocationError) } else { Ok(location) }
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
        for location in [whole, Location::field("PID", 3), Location::segment("PV1")] {
            assert_eq!(location.to_string().parse(), Ok(location));
        }
        for text in ["", "-3", "PID-", "PID-x", "PID[-3", "PID-3.1.2.3"] {
            assert_eq!(text.parse::<Location>(), Err(LocationError), "{text}");
        }
    }
}
