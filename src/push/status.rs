//! How it goes with one consumer, for `/v1/consumers`, metrics and the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// Shared between a pusher and who shows it.
#[derive(Debug, Clone)]
pub struct PushStatus(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    origin: String,
    deliveries: AtomicU64,
    retries: AtomicU64,
    standing: Mutex<Standing>,
}

/// What it does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Events are sent as they come.
    Up,
    /// The receiver is down, for this reason.
    Down(String),
    /// It cannot go on before somebody does something.
    Stopped(String),
}

/// What a pusher has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Events that were taken.
    pub deliveries: u64,
    /// Requests for events that were not taken at first.
    pub retries: u64,
}

impl PushStatus {
    pub(super) fn new(origin: String) -> Self {
        let (deliveries, retries) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { origin, deliveries, retries, standing: Mutex::new(Standing::Up) }))
    }

    /// Its counters.
    pub fn numbers(&self) -> Numbers {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Numbers { deliveries: number(&self.0.deliveries), retries: number(&self.0.retries) }
    }

    /// As `/v1/consumers` shows it; without the URL's path, which may hold a secret.
    pub fn document(&self) -> Value {
        let Numbers { deliveries, retries } = self.numbers();
        let (state, reason) = match &*self.0.standing.lock().unwrap_or_else(PoisonError::into_inner) {
            Standing::Up => ("up", None),
            Standing::Down(reason) => ("down", Some(reason.clone())),
            Standing::Stopped(reason) => ("stopped", Some(reason.clone())),
        };
        json!({"to": self.0.origin, "state": state, "reason": reason, "deliveries": deliveries, "retries": retries})
    }

    pub(super) fn delivered(&self) {
        self.0.deliveries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn tried_again(&self) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives whether that is news.
    pub(super) fn stands(&self, standing: Standing) -> bool {
        let mut held = self.0.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *held != standing;
        *held = standing;
        is_news
    }
}
