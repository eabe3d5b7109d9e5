//! Several messages of one line in work at once, results in the order of the messages.
//!
//! Decoding and mapping are pure and may overtake each other; what changes the store must not: an A40 before the A08 that
//! follows it. So every piece of work gets a [`Turn`], awaited just before it is handed to the writer.

use std::collections::VecDeque;
use std::future::Future;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

/// How much of one line may be in work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Messages. Enough that a commit on a slow disk (4 ms) is shared by many, few enough that no line crowds out another.
    pub messages: usize,
    /// Their bytes; one message is let in whatever its size.
    pub bytes: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { messages: 32, bytes: 16 * 1024 * 1024 }
    }
}

/// A message's place in its line.
///
/// Dropping it passes the turn on, so a piece of work that fails early never holds up those behind it.
#[derive(Debug)]
pub struct Turn {
    before: Option<Before>,
    after: Option<oneshot::Sender<Before>>,
}

/// Resolves when the turn before is over: to nothing, or to the one that it had not waited for itself.
#[derive(Debug)]
struct Before(oneshot::Receiver<Before>);

impl Turn {
    /// Waits until all earlier messages of the line have had their turn. The turn lasts until the value is dropped: submit,
    /// then drop it, then wait for the commit.
    pub async fn come(&mut self) {
        while let Some(Before(before)) = &mut self.before {
            self.before = before.await.ok();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Turns that are over are skipped here, so the chain is never longer than the work that is under way.
        while let Some(Before(before)) = &mut self.before {
            match before.try_recv() {
                Ok(earlier) => self.before = Some(earlier),
                Err(oneshot::error::TryRecvError::Closed) => self.before = None,
                Err(oneshot::error::TryRecvError::Empty) => break,
            }
        }
        if let (Some(after), Some(before)) = (self.after.take(), self.before.take()) {
            // Fails if nobody comes after.
            let _ = after.send(before);
        }
    }
}

/// The messages of one line that are in work.
#[derive(Debug)]
pub struct Window<T> {
    limits: WindowLimits,
    work: VecDeque<(usize, JoinHandle<T>)>,
    bytes: usize,
    last: Option<Before>,
}

impl<T: Send + 'static> Window<T> {
    /// An empty window.
    pub fn new(limits: WindowLimits) -> Self {
        Self { limits, work: VecDeque::new(), bytes: 0, last: None }
    }

    /// Whether another message may be taken on.
    pub fn has_room(&self) -> bool {
        self.work.is_empty() || (self.work.len() < self.limits.messages && self.bytes < self.limits.bytes)
    }

    /// Whether nothing is in work.
    pub fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    /// Starts the work on a message of `bytes` bytes. The caller asks [`Window::has_room`] first.
    pub fn start<F>(&mut self, bytes: usize, work: impl FnOnce(Turn) -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (after, last) = oneshot::channel();
        let turn = Turn { before: self.last.replace(Before(last)), after: Some(after) };
        self.work.push_back((bytes, tokio::spawn(work(turn))));
        self.bytes += bytes;
    }

    /// The result of the oldest message in work; `None` if there is none. May be cancelled without losing it.
    ///
    /// An error is a panic of the work, contained.
    pub async fn next(&mut self) -> Option<Result<T, JoinError>> {
        let (_, work) = self.work.front_mut()?;
        let result = work.await;
        if let Some((bytes, _)) = self.work.pop_front() {
            self.bytes -= bytes;
        }
        Some(result)
    }

    /// As [`Window::next`], but only what is there already.
    pub async fn next_ready(&mut self) -> Option<Result<T, JoinError>> {
        if self.work.front()?.1.is_finished() { self.next().await } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn turns_follow_the_line_though_work_overtakes() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut window = Window::new(WindowLimits::default());
        for number in 0..8_u64 {
            let order = Arc::clone(&order);
            window.start(1, |mut turn| async move {
                tokio::time::sleep(Duration::from_millis(16 - 2 * number)).await;
                // The fourth gives up without its turn; that must not let the fifth overtake the first three.
                if number != 3 {
                    turn.come().await;
                    order.lock().unwrap().push(number);
                }
                number
            });
        }
        let mut results = Vec::new();
        while let Some(result) = window.next().await {
            results.push(result.unwrap());
        }
        assert_eq!(results, (0..8).collect::<Vec<_>>());
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn a_panic_costs_its_own_message_only() {
        let mut window = Window::new(WindowLimits::default());
        for number in 0..3 {
            window.start(1, move |mut turn| async move {
                turn.come().await;
                assert_ne!(number, 1);
                number
            });
        }
        assert_eq!(window.next().await.unwrap().unwrap(), 0);
        assert!(window.next().await.unwrap().unwrap_err().is_panic());
        assert_eq!(window.next().await.unwrap().unwrap(), 2);
        assert!(window.next().await.is_none());
    }

    #[tokio::test]
    async fn room_is_bounded_by_number_and_by_bytes() {
        let mut window = Window::new(WindowLimits { messages: 2, bytes: 10 });
        window.start(100, |_turn| async {});
        assert!(!window.has_room(), "one large message fills the window");
        window.next().await;
        window.start(1, |_turn| async {});
        assert!(window.has_room());
        window.start(1, |_turn| async {});
        assert!(!window.has_room());
    }
}
