//! Sets of fields of one segment in one word: those that a message fills, and those that a path reads. Most of what a mapping asks for
//! is not in a message; two words tell so before anything is searched.

/// Fields by their numbers. 0 is the segment itself; the last number stands for all fields beyond it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FieldSet(u64);

impl FieldSet {
    const LAST: usize = u64::BITS as usize - 1;

    /// One field.
    pub fn of(field: usize) -> Self {
        Self(1 << field.min(Self::LAST))
    }

    /// The fields of both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a field is in both.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_beyond_the_last_number_are_taken_for_each_other_and_for_no_others() {
        let set = FieldSet::of(0).and(FieldSet::of(5)).and(FieldSet::of(99));
        for (field, is_in) in [(0, true), (1, false), (5, true), (62, false), (63, true), (64, true), (1_000, true)] {
            assert_eq!(set.meets(FieldSet::of(field)), is_in, "{field}");
        }
        assert!(!set.meets(FieldSet::default()));
    }
}
