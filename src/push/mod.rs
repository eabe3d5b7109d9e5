//! Webhooks: each event is posted to a consumer's address as it comes, signed (Standard Webhooks 1.0).
//!
//! Invariants
//! - At least once: an event counts as taken after a 2xx and nothing else. The consumer's position is committed afterwards; a crash between
//!   the two repeats what was taken last, under the same `webhook-id`.
//! - Order within a person: two events that are about the same person, visit or report ([`crate::outgoing::order_keys`]) are never under way
//!   together, and the later one waits until the earlier one was taken.
//! - A person in trouble is held, with all that follows, and tried again by the schedule; then parked until somebody says so. Others go on.
//!   Nobody is parked while nothing gets through at all: when the receiver itself is down, it is probed, and all wait.
//! - Nothing is dropped and no consumer is ever switched off.
//! - The state is the store's: position and [`crate::store::holds`]. In memory are only the events that are under way and a bounded
//!   number that come next.
//! - No secret, URL or patient's value reaches a log or an error.
//!
//! `window` knows the order and `endpoint` the receiver's health, both without a clock or a socket; `target` whom may be posted to,
//! `sign` the signature, `wire` one request; `pusher` puts them together.

mod endpoint;
mod notice;
mod pusher;
mod sign;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod window;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use crate::outgoing::Consumer;
use crate::tls::ClientFiles;

pub use pusher::Pusher;
pub use reqwest::Url;
pub use sign::{SecretError, Secrets};
pub use status::{Numbers, PushStatus};
pub use target::{Allowed, AllowedError, TargetError};
pub use wire::PushError;

/// How one consumer is pushed to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who, and what it gets.
    pub consumer: Consumer,
    /// Where events are posted.
    pub url: Url,
    /// The file with its secrets.
    pub secret_file: PathBuf,
    /// Waits after the first failure, the second, and so on; a person whose last try fails is parked.
    pub schedule: Vec<Duration>,
    /// Time for one request with its answer.
    pub timeout: Duration,
    /// Authorities to trust and a certificate to show.
    pub tls: ClientFiles,
    /// Whom may be posted to.
    pub allowed: Allowed,
    /// Bounds.
    pub limits: Limits,
}

/// The schedule that Standard Webhooks 1.0 suggests ("Deliverability and reliability"), without its first, immediate attempt: three days.
pub const SCHEDULE: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
];

/// Time for one request: Standard Webhooks suggests 15 to 30 s.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// Bounds of one pusher: value, unit, reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at a time: a CRM's web server has some tens of workers, and others use it too.
    pub concurrent: usize,
    /// Events in memory that wait for their turn: how far others may run ahead of a slow one.
    pub window: usize,
    /// Bytes of them.
    pub window_bytes: usize,
    /// Events after which the position is committed at the latest: so many are repeated after a crash.
    pub commit_every: usize,
    /// Time after which it is committed at the latest.
    pub commit_within: Duration,
    /// Persons that fail one after the other, nothing between them getting through, until the receiver is thought to be down.
    pub suspects: usize,
    /// The first wait before a receiver that is down is probed; it doubles.
    pub first_probe: Duration,
    /// The longest.
    pub longest_probe: Duration,
    /// The longest `Retry-After` that is obeyed.
    pub longest_retry_after: Duration,
    /// Between two looks at the store: another process may have written.
    pub look: Duration,
    /// How long an event may wait in memory before it is read again: what was decided meanwhile counts within a minute.
    pub fresh: Duration,
    /// When stopping, time for what is under way.
    pub finish: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent: 16,
            window: 512,
            window_bytes: 8 * 1024 * 1024,
            commit_every: 64,
            commit_within: Duration::from_secs(1),
            suspects: 3,
            first_probe: Duration::from_secs(1),
            longest_probe: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(3600),
            look: Duration::from_secs(1),
            fresh: Duration::from_secs(10),
            finish: Duration::from_secs(5),
        }
    }
}

/// Reads the files that the settings name, so that what is wrong with them is found before anything is sent.
///
/// # Errors
/// A secret or certificate that cannot be used.
pub fn examine(settings: &Settings) -> Result<(), PushError> {
    wire::Wire::new(settings).map(drop)
}
