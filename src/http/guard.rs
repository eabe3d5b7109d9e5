//! Who is let in, and how often: connections of an address, wrong tokens of an address, requests of a token.
//!
//! Invariants
//! - An address that is locked out is answered 429 whatever token it shows, before the token is looked up: nothing can be tried out. Only
//!   who came from there with a valid token lately goes on, so that a neighbour behind the same proxy cannot shut a consumer out.
//! - Everything is held in memory and bounded; a restart forgets it.
//! - What is compared are digests of tokens, which tell an attacker nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The bounds that the configuration sets.
#[derive(Clone)]
pub struct GuardSettings {
    /// Connections at a time.
    pub connections: usize,
    /// Of them, of one address.
    pub connections_of_address: usize,
    /// Which addresses may connect.
    pub allow: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Requests of a token in a second, sustained.
    pub requests_per_second: u32,
    /// Requests of a token at once, after a pause.
    pub burst: u32,
    /// Wrong tokens of an address within [`GuardSettings::failures_within`] that lock it out.
    pub failures: u32,
    /// See [`GuardSettings::failures`].
    pub failures_within: Duration,
    /// How long an address is locked out.
    pub lock_out: Duration,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            // A hospital has some ten consumers.
            connections: 512,
            connections_of_address: 256,
            allow: Arc::new(|_| true),
            requests_per_second: 200,
            burst: 2_000,
            failures: 30,
            failures_within: Duration::from_secs(60),
            lock_out: Duration::from_secs(300),
        }
    }
}

impl std::fmt::Debug for GuardSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GuardSettings").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// Addresses, tokens and pairs of both that are remembered: more than a hospital has.
const REMEMBERED: usize = 10_000;
/// How long an address and a token that was valid there are remembered together.
const KNOWN_TIME: Duration = Duration::from_secs(3_600);
/// The same wrong token of one address, no token at all, and a token over its rate are written down once in this time.
const TOLD_TIME: Duration = Duration::from_secs(60);

type Digest = [u8; 32];

/// See the module.
pub struct Guard {
    settings: GuardSettings,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    connections: HashMap<IpAddr, usize>,
    failures: HashMap<IpAddr, Failures>,
    known: HashMap<(IpAddr, Digest), Instant>,
    told: HashMap<(IpAddr, Option<Digest>), Instant>,
    rates: HashMap<i64, Bucket>,
}

struct Failures {
    count: u32,
    since: Instant,
    locked_until: Option<Instant>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
    told: Option<Instant>,
}

/// What there is to write down of a wrong token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    /// It was not written down within the last minute.
    pub(crate) is_new: bool,
    /// The address is locked out from now on.
    pub(crate) is_locked_out: bool,
}

/// Over the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// When the next request fits.
    pub(crate) wait: Duration,
    /// It was not written down within the last minute.
    pub(crate) is_new: bool,
}

/// A connection's place; gives it back when dropped.
pub(crate) struct Place {
    guard: Arc<Guard>,
    address: IpAddr,
}

impl Guard {
    /// Remembers nothing yet.
    pub fn new(settings: GuardSettings) -> Self {
        Self { settings, memory: Mutex::default() }
    }

    pub(crate) fn connections(&self) -> usize {
        self.settings.connections
    }

    /// A place for a connection of this address. `None`: it may not connect, or has too many.
    pub(crate) fn connect(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        if !(self.settings.allow)(address.to_canonical()) {
            return None;
        }
        let address = neighbourhood(address);
        let mut memory = self.memory();
        let open = memory.connections.entry(address).or_insert(0);
        if *open >= self.settings.connections_of_address {
            return None;
        }
        *open += 1;
        Some(Place { guard: Arc::clone(self), address })
    }

    /// How long an address that is locked out has to wait; `None`: it may go on.
    pub(crate) fn locked(&self, address: IpAddr, token: &Digest, now: Instant) -> Option<Duration> {
        let address = neighbourhood(address);
        let memory = self.memory();
        let until = memory.failures.get(&address)?.locked_until.filter(|until| *until > now)?;
        let known = memory.known.get(&(address, *token));
        if known.is_some_and(|at| now.saturating_duration_since(*at) < KNOWN_TIME) {
            return None;
        }
        Some(until - now)
    }

    /// Counts a wrong token.
    pub(crate) fn failure(&self, address: IpAddr, token: &Digest, now: Instant) -> Noted {
        let address = neighbourhood(address);
        let mut memory = self.memory();
        // A token that was revoked is known no more.
        memory.known.remove(&(address, *token));
        let is_new = remember(&mut memory.told, (address, Some(*token)), now);
        let within = self.settings.failures_within;
        let fresh = || Failures { count: 0, since: now, locked_until: None };
        make_room(&mut memory.failures, |failures| failures.since);
        let failures = memory.failures.entry(address).or_insert_with(fresh);
        let is_over = match failures.locked_until {
            Some(end) => end <= now,
            None => now.saturating_duration_since(failures.since) > within,
        };
        if is_over {
            *failures = fresh();
        }
        failures.count += 1;
        let is_locked_out = failures.locked_until.is_none() && failures.count >= self.settings.failures;
        if is_locked_out {
            failures.locked_until = Some(now + self.settings.lock_out);
        }
        Noted { is_new, is_locked_out }
    }

    /// Whether that an address came without any token, or without the certificate that is asked for, is to be written down.
    pub(crate) fn missing(&self, address: IpAddr, now: Instant) -> bool {
        remember(&mut self.memory().told, (neighbourhood(address), None), now)
    }

    /// A valid token came from this address: remembers both together, and counts the request.
    pub(crate) fn request(&self, address: IpAddr, token: &Digest, id: i64, now: Instant) -> Result<(), TooOften> {
        let address = neighbourhood(address);
        let mut memory = self.memory();
        make_room(&mut memory.known, |at| *at);
        memory.known.insert((address, *token), now);
        make_room(&mut memory.rates, |bucket| bucket.at);
        let (rate, burst) = (f64::from(self.settings.requests_per_second), f64::from(self.settings.burst));
        let bucket = memory.rates.entry(id).or_insert(Bucket { tokens: burst, at: now, told: None });
        bucket.tokens = (bucket.tokens + now.saturating_duration_since(bucket.at).as_secs_f64() * rate).min(burst);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let is_new = bucket.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_TIME);
        if is_new {
            bucket.told = Some(now);
        }
        Err(TooOften { wait: Duration::from_secs_f64((1.0 - bucket.tokens) / rate), is_new })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut memory = self.guard.memory();
        if let Some(open) = memory.connections.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                memory.connections.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: of IPv6 a /64, for whoever has one address of it has all.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

/// Notes the key with the time; whether it was not noted within [`TOLD_TIME`].
fn remember<K: Eq + Hash + Clone>(told: &mut HashMap<K, Instant>, key: K, now: Instant) -> bool {
    if told.get(&key).is_some_and(|at| now.saturating_duration_since(*at) < TOLD_TIME) {
        return false;
    }
    make_room(told, |at| *at);
    told.insert(key, now);
    true
}

/// Forgets the older half of a memory that is full.
fn make_room<K: Eq + Hash + Clone, V>(memory: &mut HashMap<K, V>, at: impl Fn(&V) -> Instant) {
    if memory.len() < REMEMBERED {
        return;
    }
    let mut times: Vec<Instant> = memory.values().map(&at).collect();
    times.sort_unstable();
    let middle = times[times.len() / 2];
    memory.retain(|_, value| at(value) > middle);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn guard() -> Arc<Guard> {
        let settings = GuardSettings {
            connections_of_address: 2,
            requests_per_second: 10,
            burst: 5,
            failures: 3,
            failures_within: Duration::from_secs(60),
            lock_out: Duration::from_secs(300),
            ..GuardSettings::default()
        };
        Arc::new(Guard::new(settings))
    }

    #[test]
    fn wrong_tokens_lock_an_address_out_for_a_time_and_no_other() {
        let (guard, start) = (guard(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        guard.request(HERE, &[9; 32], 1, start).unwrap();
        assert_eq!(guard.failure(HERE, &[1; 32], after(1)), Noted { is_new: true, is_locked_out: false });
        assert_eq!(guard.failure(HERE, &[1; 32], after(2)), Noted { is_new: false, is_locked_out: false });
        assert_eq!(guard.locked(HERE, &[1; 32], after(2)), None);
        assert_eq!(guard.failure(HERE, &[2; 32], after(3)), Noted { is_new: true, is_locked_out: true });
        assert_eq!(guard.locked(HERE, &[3; 32], after(3)), Some(Duration::from_secs(300)));
        assert_eq!(guard.locked(THERE, &[3; 32], after(3)), None);
        assert_eq!(guard.locked(HERE, &[9; 32], after(4)), None, "who was let in before goes on");
        assert_eq!(guard.locked(HERE, &[3; 32], after(302)), Some(Duration::from_secs(1)));
        assert_eq!(guard.locked(HERE, &[3; 32], after(304)), None);
        assert!(!guard.failure(HERE, &[3; 32], after(305)).is_locked_out, "the count begins anew");
    }

    #[test]
    fn failures_far_apart_lock_nobody_out() {
        let (guard, start) = (guard(), Instant::now());
        for number in 0..20 {
            let at = start + Duration::from_secs(40 * number);
            assert!(!guard.failure(HERE, &[1; 32], at).is_locked_out, "{number}");
        }
    }

    #[test]
    fn a_token_has_a_burst_and_then_its_rate() {
        let (guard, start) = (guard(), Instant::now());
        let ask = |milliseconds| guard.request(HERE, &[1; 32], 7, start + Duration::from_millis(milliseconds));
        for _ in 0..5 {
            assert_eq!(ask(0), Ok(()));
        }
        assert_eq!(ask(0), Err(TooOften { wait: Duration::from_millis(100), is_new: true }));
        assert!(ask(10).is_err_and(|too_often| !too_often.is_new));
        assert_eq!(ask(150), Ok(()));
        assert!(ask(150).is_err());
        assert_eq!(guard.request(HERE, &[2; 32], 8, start), Ok(()), "another token");
    }

    #[test]
    fn an_address_has_so_many_connections() {
        let guard = guard();
        let first = guard.connect(HERE);
        let second = guard.connect(HERE);
        assert!(first.is_some() && second.is_some() && guard.connect(HERE).is_none());
        assert!(guard.connect(THERE).is_some());
        drop(first);
        assert!(guard.connect(HERE).is_some());
    }

    #[test]
    fn ipv6_counts_by_network_and_memory_is_bounded() {
        let address = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::2"));
        assert_eq!(address("::ffff:10.0.0.1"), HERE);
        let (guard, now) = (guard(), Instant::now());
        for number in 0..25_000_u32 {
            guard.failure(IpAddr::V4(number.into()), &[1; 32], now + Duration::from_millis(number.into()));
        }
        let memory = guard.memory();
        assert!(memory.failures.len() <= REMEMBERED && memory.told.len() <= REMEMBERED);
    }
}
