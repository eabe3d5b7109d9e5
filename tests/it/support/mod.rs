//! What the tests stand on: a site on disk, the daemon as a process, an MLLP and an HTTP client, HL7 text.
//!
//! Invariant: nothing here calls the product's library, so no fault can hide in both. Every wait ends by itself.

pub(crate) mod daemon;
pub(crate) mod hl7;
pub(crate) mod http;
pub(crate) mod mllp;
pub(crate) mod receiver;
pub(crate) mod site;

use std::time::{Duration, Instant};

/// Long enough for a busy machine, short enough to fail within a test run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until `condition` gives something; panics with `what` when [`PATIENCE`] is over.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every order of `count` things.
pub(crate) fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let shorter = orders(last);
    let longer = shorter.iter().flat_map(|order| {
        (0..count).map(|place| {
            let mut order = order.clone();
            order.insert(place, last);
            order
        })
    });
    longer.collect()
}
