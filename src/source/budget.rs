//! How much all sources together hold of messages: of frames that are being read, and of whole messages until they are
//! committed. Where it is used up nothing more is read, and TCP slows the senders down.
//!
//! Invariants
//! - Every message that its source accepts fits: [`Budget::new`] is told the largest.
//! - Nobody who holds a part waits for more of the same: a frame's share is that of the largest frame, taken at once, and a message's
//!   share is that of its bytes. Those who hold shares for reading may wait for one for work, never the other way round, and who is in
//!   work needs nothing but the writer. So everybody gets on in the end.
//! - A peer that sends a large frame slowly holds up other large frames at worst, not messages that are whole, and not small ones.
//! - Who waits longest is served first, so a large message is not overtaken for ever by small ones.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a frame may take while it is read before it needs a share: nearly every message is smaller, and with the default of 256
/// connections it is 16 MiB a source.
pub const SMALL: usize = 64 * 1024;

/// The least size of either part. What is in work takes a few times its bytes as text, records and compressed bytes: with both
/// parts full the daemon needs less than 1 GiB, which a server beside a HIS has.
const LEAST: usize = 128 * 1024 * 1024;

/// Bytes of messages that may be held at once. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    reading: Part,
    work: Part,
}

/// A share of the budget; given back when dropped.
pub type Share = OwnedSemaphorePermit;

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
        Self::of(LEAST.max(largest.saturating_mul(2)))
    }

    /// A budget of two parts of `size` bytes.
    pub(super) fn of(size: usize) -> Self {
        Self { reading: Part::of(size), work: Part::of(size) }
    }

    /// A share for reading a frame of at most `largest` bytes.
    pub(super) fn reading(&self, largest: usize) -> Result<Share, Claim> {
        self.reading.share(largest)
    }

    /// A share for the work on a message of `bytes` bytes.
    pub(super) fn work(&self, bytes: usize) -> Result<Share, Claim> {
        self.work.share(bytes)
    }

    /// Bytes of shares that are taken now.
    pub fn taken(&self) -> u64 {
        self.reading.taken() + self.work.taken()
    }
}

impl Part {
    fn of(size: usize) -> Self {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self { size, free: Arc::new(Semaphore::new(size as usize)) }
    }

    /// A share at once, or its claim: while others wait there is none at once.
    fn share(&self, bytes: usize) -> Result<Share, Claim> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.size);
        Arc::clone(&self.free).try_acquire_many_owned(bytes).map_err(|_| -> Claim {
            let free = Arc::clone(&self.free);
            // Fails only if somebody closed the semaphore, which nobody does.
            Box::pin(async move { free.acquire_many_owned(bytes).await.ok() })
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
        let budget = Budget::of(100);
        let small = budget.work(10).ok().unwrap();
        let largest = tokio::spawn(budget.work(1_000_000).err().unwrap());
        while budget.taken() < 100 {
            tokio::task::yield_now().await;
        }
        let later = budget.work(10).err().unwrap();
        drop(small);
        let largest = largest.await.unwrap().unwrap();
        assert_eq!(budget.taken(), 100);
        assert!(budget.reading(100).is_ok(), "the two parts are apart");
        drop(largest);
        assert!(later.await.is_some());
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn the_size_follows_the_largest_message() {
        assert_eq!(Budget::new(1024).work.size as usize, LEAST);
        assert_eq!(Budget::new(1 << 30).work.size, 1 << 31);
    }
}
