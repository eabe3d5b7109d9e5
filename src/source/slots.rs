//! How many connections a listener holds, and which of them yields when all slots are taken.
//!
//! A host that vanishes leaves its connection half-open; one that restarts in a loop leaves hundreds, all within the idle
//! time-out, and a scanner can do the same on purpose. A plain maximum would then lock the real senders out. So the connection
//! that has been silent longest, and for a while, makes room; one with a frame or an answer under way never does.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::mllp::Statistics;

/// The slots of one listener.
#[derive(Debug)]
pub(super) struct Slots {
    limit: usize,
    yields_after: Duration,
    statistics: Arc<Statistics>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    taken: HashMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    /// `None` while a frame or an answer is under way.
    silent_since: Option<Instant>,
    close: CancellationToken,
}

/// One connection's slot, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    /// Cancelled when the connection shall take no more frames: the listener stops, or the slot is needed.
    pub(super) close: CancellationToken,
}

impl Slots {
    pub(super) fn new(limit: usize, yields_after: Duration, statistics: Arc<Statistics>) -> Arc<Self> {
        Arc::new(Self { limit, yields_after, statistics, table: Mutex::default() })
    }

    /// A slot for a new connection; `None` when all are taken and none yields.
    pub(super) fn take(self: &Arc<Self>, stop: &CancellationToken, now: Instant) -> Option<Slot> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.taken.len() >= self.limit {
            let silent = table.taken.iter().filter_map(|(number, holder)| Some((holder.silent_since?, *number)));
            let (since, number) = silent.min()?;
            if now.saturating_duration_since(since) < self.yields_after {
                return None;
            }
            if let Some(holder) = table.taken.remove(&number) {
                holder.close.cancel();
                Statistics::add(&self.statistics.yielded, 1);
            }
        }
        let number = table.next;
        table.next += 1;
        let close = stop.child_token();
        table.taken.insert(number, Holder { silent_since: Some(now), close: close.clone() });
        Statistics::add(&self.statistics.open, 1);
        Some(Slot { slots: Arc::clone(self), number, close })
    }
}

impl Slot {
    /// Says since when the connection is silent; `None`: something is under way.
    pub(super) fn mark(&self, silent_since: Option<Instant>) {
        let mut table = self.slots.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = table.taken.get_mut(&self.number) {
            holder.silent_since = silent_since;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.table.lock().unwrap_or_else(PoisonError::into_inner).taken.remove(&self.number);
        self.slots.statistics.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silent_connection_yields_and_a_busy_one_never_does() {
        let statistics = Arc::new(Statistics::default());
        let slots = Slots::new(2, Duration::from_secs(60), Arc::clone(&statistics));
        let stop = CancellationToken::new();
        let begin = Instant::now();
        let busy = slots.take(&stop, begin).unwrap();
        busy.mark(None);
        let silent = slots.take(&stop, begin + Duration::from_secs(1)).unwrap();
        assert!(slots.take(&stop, begin + Duration::from_secs(60)).is_none(), "59 seconds are not enough");
        let new = slots.take(&stop, begin + Duration::from_secs(61)).unwrap();
        assert!(silent.close.is_cancelled());
        assert!(!busy.close.is_cancelled());
        assert!(slots.take(&stop, begin + Duration::from_secs(62)).is_none());
        drop(silent);
        assert!(slots.take(&stop, begin + Duration::from_secs(62)).is_none(), "its slot was given away already");
        drop(new);
        assert!(slots.take(&stop, begin + Duration::from_secs(62)).is_some());
        assert_eq!(statistics.yielded.load(Ordering::Relaxed), 1);
    }
}
