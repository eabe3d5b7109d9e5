//! Lists that hold each value once.

use std::collections::HashSet;

use crate::record::Value as Json;

/// Values of which each is kept once.
#[derive(Default)]
pub(super) struct Distinct {
    pub(super) kept: Vec<Json>,
    /// The same as text where there are many, so that each new one is compared once.
    known: HashSet<String>,
}

impl Distinct {
    /// Up to so many it is faster to look at each.
    const FEW: usize = 16;

    /// Keeps `value` and says so, unless it is there already.
    pub(super) fn add(&mut self, value: Json) -> bool {
        let is_new = if self.kept.len() < Self::FEW {
            !self.kept.contains(&value)
        } else {
            if self.known.is_empty() {
                self.known.extend(self.kept.iter().map(Json::to_string));
            }
            self.known.insert(value.to_string())
        };
        if is_new {
            self.kept.push(value);
        }
        is_new
    }
}
