//! A position in the log: `EPOCH-SEQUENCE`. The epoch names the log: a position of another one is recognised instead of silently
//! meaning another event. A restore raises the epoch.

use std::fmt;
use std::str::FromStr;

/// The epoch of a log that was never put back from a backup.
pub(super) const FIRST_EPOCH: u32 = 1;

/// The position after the event with this sequence number; sequence 0 is before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Which log the position is of; 1 for the first.
    pub epoch: u32,
    /// Sequence number of the last event before the position.
    pub sequence: u64,
}

/// A position as a caller may write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Before the first event that is still kept.
    Start,
    /// After the newest event.
    Head,
    /// After a known event.
    At(Cursor),
}

/// Text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: expected EPOCH-SEQUENCE such as 1-000000001234, `start` or `head`")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{:012}", self.epoch, self.sequence)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (epoch, sequence) = text.split_once('-').ok_or(CursorError)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(epoch) || !digits(sequence) {
            return Err(CursorError);
        }
        let sequence = sequence.parse().map_err(|_| CursorError)?;
        // The store counts in i64; a larger number can never have been handed out.
        if sequence > i64::MAX as u64 {
            return Err(CursorError);
        }
        Ok(Self { epoch: epoch.parse().map_err(|_| CursorError)?, sequence })
    }
}

impl FromStr for Position {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        match text {
            "start" => Ok(Self::Start),
            "head" => Ok(Self::Head),
            _ => text.parse().map(Self::At),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(epoch in any::<u32>(), sequence in 0..=i64::MAX as u64) {
            let cursor = Cursor { epoch, sequence };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_or_an_error(text in ".*") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
            }
        }
    }

    #[test]
    fn cursors_are_written_with_twelve_digits() {
        assert_eq!(Cursor { epoch: 1, sequence: 1234 }.to_string(), "1-000000001234");
        for text in ["", "1", "1-", "-1", "1-+2", "1-1 ", "a-1", "1-99999999999999999999"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}
