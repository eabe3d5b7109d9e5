//! What comes from outside the program: the time of day and chance. A test brings its own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

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
        let share = f64::from(u32::try_from((self.random)() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        wait.mul_f64(0.5 + share / 2.0)
    }
}

/// `time` and `span` later; as late as can be said, if that is too late.
pub(super) fn later(time: Timestamp, span: Duration) -> Timestamp {
    i64::try_from(span.as_millis())
        .ok()
        .and_then(|milliseconds| time.checked_add(jiff::SignedDuration::from_millis(milliseconds)).ok())
        .unwrap_or(Timestamp::MAX)
}

/// From `from` until `to`; nothing, if that is past.
pub(super) fn until(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

impl Default for World {
    fn default() -> Self {
        Self {
            now: Arc::new(Timestamp::now),
            random: Arc::new(|| {
                let mut bytes = [0; 8];
                // Without randomness of the system the clock is random enough for waits; assertions are signed and expire.
                match getrandom::fill(&mut bytes) {
                    Ok(()) => u64::from_ne_bytes(bytes),
                    Err(_) => u64::from(Timestamp::now().subsec_nanosecond().unsigned_abs()),
                }
            }),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("World")
    }
}
