//! What comes from outside the program: the time of day and chance. A test brings its own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::web;

/// Clock and chance.
#[derive(Clone)]
pub struct World {
    /// The time of day. Used for waits, schedules and what is shown; never for a mark.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// A number of 64 random bits.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl World {
    pub(super) fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// 128 random bits in hexadecimal digits.
    pub(super) fn unique(&self) -> String {
        format!("{:016x}{:016x}", (self.random)(), (self.random)())
    }

    /// Between half of `wait` and all of it: clients that failed together must not come back together.
    pub(super) fn jittered(&self, wait: Duration) -> Duration {
        web::jittered(wait, (self.random)())
    }
}

/// `time` and `span` later; as late as can be said, if that is too late.
pub(super) fn later(time: Timestamp, span: Duration) -> Timestamp {
    i64::try_from(span.as_millis())
        .ok()
        .and_then(|milliseconds| time.checked_add(jiff::SignedDuration::from_millis(milliseconds)).ok())
        .unwrap_or(Timestamp::MAX)
}

impl Default for World {
    fn default() -> Self {
        Self { now: Arc::new(Timestamp::now), random: Arc::new(web::random) }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("World")
    }
}
