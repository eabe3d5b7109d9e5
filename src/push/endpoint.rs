//! Whether the receiver itself is in trouble, or one person's events are. Pure: times come as arguments.
//!
//! A failure alone does not tell. So a person is blamed as long as others get through: when several fail one after the other and nothing
//! in between is taken, or nobody answers at all, the receiver is down. Then nobody is blamed; one event at a time is tried until one is
//! taken.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Limits;

/// See the module. Times are microseconds since the epoch.
#[derive(Debug)]
pub(super) struct Endpoint {
    limits: Limits,
    /// Who failed since the last success.
    suspects: BTreeSet<String>,
    down: Option<Down>,
}

/// A receiver that is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Down {
    /// Since when.
    pub(super) since: i64,
    /// When it is probed next.
    pub(super) probe_at: i64,
    probes: u32,
    /// What the last failure was.
    pub(super) reason: String,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The person's: it is held and tried by the schedule.
    Person,
    /// The receiver's: the event waits where it was.
    Receiver,
}

/// A failure, as far as the receiver's health goes.
#[derive(Debug, Clone)]
pub(super) struct Failure<'f> {
    /// Whose event.
    pub(super) person: &'f str,
    /// Whether there was no answer at all: connection, name, TLS.
    pub(super) is_unreachable: bool,
    /// How long the receiver asked to wait, within bounds.
    pub(super) retry_after: Option<Duration>,
    /// For people.
    pub(super) reason: &'f str,
    /// When the request was sent.
    pub(super) sent_at: i64,
}

impl Endpoint {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, suspects: BTreeSet::new(), down: None }
    }

    pub(super) fn down(&self) -> Option<&Down> {
        self.down.as_ref()
    }

    /// Something was taken; gives since when the receiver had been down.
    pub(super) fn succeeded(&mut self) -> Option<i64> {
        self.suspects.clear();
        self.down.take().map(|down| down.since)
    }

    /// Something was not taken. `random`: 64 random bits.
    pub(super) fn failed(&mut self, failure: &Failure<'_>, now: i64, random: u64) -> Blame {
        if let Some(down) = &mut self.down {
            // What was sent before it was down says nothing new.
            if failure.sent_at >= down.probe_at {
                down.probes = down.probes.saturating_add(1);
                down.probe_at = now + wait(&self.limits, down.probes, failure.retry_after, random);
                down.reason = failure.reason.to_owned();
            }
            return Blame::Receiver;
        }
        if !failure.is_unreachable {
            self.suspects.insert(failure.person.to_owned());
            if self.suspects.len() < self.limits.suspects {
                return Blame::Person;
            }
        }
        let probe_at = now + wait(&self.limits, 0, failure.retry_after, random);
        self.down = Some(Down { since: now, probe_at, probes: 0, reason: failure.reason.to_owned() });
        Blame::Receiver
    }
}

fn wait(limits: &Limits, probes: u32, retry_after: Option<Duration>, random: u64) -> i64 {
    let doubled = limits.first_probe.saturating_mul(2_u32.saturating_pow(probes.min(30)));
    let wait = crate::web::jittered(doubled.min(limits.longest_probe), random).max(retry_after.unwrap_or_default());
    i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn failure(person: &str, sent_at: i64) -> Failure<'_> {
        Failure { person, is_unreachable: false, retry_after: None, reason: "HTTP 500", sent_at }
    }

    #[test]
    fn a_person_is_blamed_while_others_get_through() {
        let mut endpoint = Endpoint::new(Limits::default());
        for at in 0..20 {
            assert_eq!(endpoint.failed(&failure("A", at), at, 0), Blame::Person);
            assert_eq!(endpoint.failed(&failure("B", at), at, 0), Blame::Person);
            if at % 3 == 0 {
                assert_eq!(endpoint.succeeded(), None);
            }
        }
    }

    #[test]
    fn when_several_fail_and_nothing_gets_through_the_receiver_is_down_until_a_probe_is_taken() {
        let mut endpoint = Endpoint::new(Limits::default());
        let blamed: Vec<Blame> =
            ["A", "A", "B", "C", "D"].iter().map(|person| endpoint.failed(&failure(person, 0), 0, u64::MAX)).collect();
        use Blame::{Person, Receiver};
        assert_eq!(blamed, [Person, Person, Person, Receiver, Receiver]);
        let probe_at = |endpoint: &Endpoint| endpoint.down().map(|down| down.probe_at);
        assert_eq!(probe_at(&endpoint), Some(SECOND), "what was under way with it does not count");
        for (sent, next) in [(1, 3), (3, 7), (7, 15)] {
            assert_eq!(endpoint.failed(&failure("A", sent * SECOND), sent * SECOND, u64::MAX), Receiver);
            assert_eq!(probe_at(&endpoint), Some(next * SECOND));
        }
        for _ in 0..99 {
            let now = probe_at(&endpoint).unwrap();
            endpoint.failed(&failure("A", now), now, u64::MAX);
            assert!(probe_at(&endpoint).unwrap() <= now + 60 * SECOND);
        }
        assert_eq!(endpoint.succeeded(), Some(0));
        assert_eq!(endpoint.failed(&failure("A", 0), 0, 0), Person);
    }

    #[test]
    fn no_answer_at_all_is_the_receiver_s_fault_and_a_wish_to_wait_is_obeyed() {
        let mut endpoint = Endpoint::new(Limits::default());
        let retry_after = Some(Duration::from_secs(90));
        let refused = Failure { is_unreachable: true, retry_after, ..failure("A", 0) };
        assert_eq!(endpoint.failed(&refused, 0, 0), Blame::Receiver);
        assert_eq!(endpoint.down().map(|down| down.probe_at), Some(90 * SECOND));
    }
}
