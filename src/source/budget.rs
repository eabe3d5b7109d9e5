//! How much all sources together hold of messages: of frames that are being read, and of whole messages until they are
//! committed. Where it is used up nothing more is read, and TCP slows the senders down.
//!
//! Invariants
//! - Every message that its source accepts fits: [`Budget::new`] is told the largest.
//! - A frame's share grows with what came of it, so a peer that stops in the middle holds up no more than it sent. Those who wait for the
//!   next step, with what they have, wait as well for the *last* share: one alone has it, and it covers the largest frame. Who has it
//!   waits for no more to read, so its frame ends or times out, and the share goes to the next in its line. Those who hold shares for
//!   reading may wait for one for work, never the other way round, and who is in work needs nothing but the writer. So everybody gets on
//!   in the end.
//! - Large frames that are sent slowly hold up other large frames at worst, not messages that are whole, and not small ones.
//! - Who waits longest is served first, so a large message is not overtaken for ever by small ones.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a frame may take while it is read before it needs a share: nearly every message is smaller, and with the default of 256
/// connections it is 16 MiB a source.
pub const SMALL: usize = 64 * 1024;

/// The least size of either part. What is in work takes a few times its share (its bytes, and something for each message of a batch) as
/// text, records, compressed bytes and answers: with both parts full the daemon needs less than 1 GiB, which a server beside a HIS has.
const LEAST: usize = 128 * 1024 * 1024;

/// Bytes of messages that may be held at once. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Steps of frames that grow, and the last share: together one part.
    steps: Part,
    last: Part,
    work: Part,
}

/// A share of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    /// How many bytes its holder may reach with it.
    reach: usize,
    _permit: OwnedSemaphorePermit,
}

/// A share that is waited for. Dropping it gives the place in the line up.
pub type Claim = Pin<Box<dyn Future<Output = Option<Share>> + Send>>;

#[derive(Debug, Clone)]
struct Part {
    size: u32,
    free: Arc<Semaphore>,
}

impl Budget {
    /// A budget for sources whose largest message has `largest` bytes: room for two of them at least, so that one alone never
    /// stops all others.
    pub fn new(largest: usize) -> Self {
        Self::of(LEAST.max(largest.saturating_mul(2)), largest)
    }

    /// A budget of two parts of `size` bytes, for messages of at most `largest`.
    pub(super) fn of(size: usize, largest: usize) -> Self {
        Self { steps: Part::of(size.saturating_sub(largest)), last: Part::of(largest), work: Part::of(size) }
    }

    /// A share for reading on, for a frame that has come to the end of its reach (at first [`SMALL`]): to twice as far, or to the end.
    pub(super) fn reading(&self, reach: usize) -> Result<Share, Claim> {
        let step = self.steps.share(reach, reach.saturating_mul(2));
        let step = step.or_else(|step| self.last.share(usize::MAX, usize::MAX).map_err(|last| (step, last)));
        step.map_err(|(step, last)| -> Claim {
            Box::pin(async move {
                tokio::select! { share = step => share, share = last => share }
            })
        })
    }

    /// A share for the work on a message of `bytes` bytes.
    pub(super) fn work(&self, bytes: usize) -> Result<Share, Claim> {
        self.work.share(bytes, bytes)
    }

    /// Bytes of shares that are taken now.
    pub fn taken(&self) -> u64 {
        self.steps.taken() + self.last.taken() + self.work.taken()
    }
}

impl Share {
    /// How many bytes its holder may reach with it.
    pub(super) fn reach(&self) -> usize {
        self.reach
    }
}

impl Part {
    fn of(size: usize) -> Self {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self { size, free: Arc::new(Semaphore::new(size as usize)) }
    }

    /// A share at once, or its claim: while others wait there is none at once. Nobody gets more than there is.
    fn share(&self, bytes: usize, reach: usize) -> Result<Share, Claim> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.size);
        let share = move |permit| Share { reach, _permit: permit };
        Arc::clone(&self.free).try_acquire_many_owned(bytes).map(share).map_err(|_| -> Claim {
            let free = Arc::clone(&self.free);
            // Fails only if somebody closed the semaphore, which nobody does.
            Box::pin(async move { free.acquire_many_owned(bytes).await.ok().map(share) })
        })
    }

    fn taken(&self) -> u64 {
        u64::from(self.size) - self.free.available_permits() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_largest_message_passes_and_is_not_overtaken() {
        let budget = Budget::of(100, 50);
        let small = budget.work(10).ok().unwrap();
        let largest = tokio::spawn(budget.work(1_000_000).err().unwrap());
        while budget.taken() < 100 {
            tokio::task::yield_now().await;
        }
        let later = budget.work(10).err().unwrap();
        drop(small);
        let largest = largest.await.unwrap().unwrap();
        assert_eq!(budget.taken(), 100);
        assert!(budget.reading(50).is_ok(), "the two parts are apart");
        drop(largest);
        assert!(later.await.is_some());
        assert_eq!(budget.taken(), 0);
    }

    #[tokio::test]
    async fn who_waits_for_a_step_may_get_the_last_share_instead() {
        let budget = Budget::of(30, 20);
        let all = [budget.reading(6).ok().unwrap(), budget.reading(4).ok().unwrap()];
        assert_eq!((all[0].reach(), all[1].reach()), (12, 8));
        let last = budget.reading(12).ok().unwrap();
        assert_eq!(last.reach(), usize::MAX, "it waits for no more");
        assert_eq!(budget.taken(), 30);
        let (next, after) = (budget.reading(8).err().unwrap(), budget.reading(2).err().unwrap());
        drop(last);
        assert_eq!(next.await.unwrap().reach(), usize::MAX);
        drop(all);
        assert_eq!(after.await.unwrap().reach(), 4);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn the_size_follows_the_largest_message() {
        assert_eq!(Budget::new(1024).work.size as usize, LEAST);
        assert_eq!(Budget::new(1 << 30).work.size, 1 << 31);
    }
}
