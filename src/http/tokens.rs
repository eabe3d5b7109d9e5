//! API tokens: how they look, what they may do, who a request comes from.
//!
//! Invariants
//! - A secret is 256 random bits; the store holds its SHA-256 and nothing that leads back. A slow hash would add nothing: there
//!   is no dictionary of 256-bit numbers.
//! - A token has one role. A consumer's token bears the consumer's name.
//! - A secret is shown once, by the command that makes it, and never reaches a log: [`Secret`] has no `Display`.

use std::fmt;
use std::str::FromStr;

use std::net::IpAddr;
use std::time::Instant;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::call::{from_store, now};
use super::problem::{Problem, ProblemKind};
use super::{AppState, limits};
use crate::audit::{Action, hexadecimal};
use crate::store::tokens;

/// What every token begins with, so that secret scanners and people recognise one.
pub const PREFIX: &str = "heyi_";

/// Random bytes in a token.
const SECRET_BYTES: usize = 32;

/// What a token may do; which end point takes which role is in the route table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Reads the feed as the consumer whose name the token bears.
    Consumer,
    /// Runs the interfaces: messages, sources, consumers, persons.
    Engineer,
    /// Decides identities.
    Records,
    /// Reads the audit trail.
    Auditor,
    /// Configures.
    Admin,
    /// A FHIR server whose subscription says that the source, whose name the token bears, should be polled now.
    Source,
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such role: expected consumer, engineer, records, auditor, admin or source")]
pub struct RoleError;

impl Role {
    /// Every role.
    pub const ALL: [Role; 6] =
        [Role::Consumer, Role::Engineer, Role::Records, Role::Auditor, Role::Admin, Role::Source];

    /// The role as commands and the store write it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Consumer => "consumer",
            Role::Engineer => "engineer",
            Role::Records => "records",
            Role::Auditor => "auditor",
            Role::Admin => "admin",
            Role::Source => "source",
        }
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(RoleError)
    }
}

/// The system has no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("no token was made: the operating system gave no random bytes ({0})")]
pub struct RandomError(#[from] getrandom::Error);

/// A token's secret, in the form in which its owner keeps it.
pub struct Secret(String);

impl Secret {
    /// A new random secret.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        let mut bytes = [0_u8; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
        let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
        Ok(Self(PREFIX.chars().chain(digits).collect()))
    }

    /// The secret itself, to be shown once to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store keeps of it.
    pub fn digest(&self) -> [u8; 32] {
        digest(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret([redacted])")
    }
}

/// SHA-256 of a token as it was sent.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The token's name; a consumer's is the consumer's.
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// Why nobody is let in, and what of it goes into the audit trail, with the beginning of the token's digest.
pub(crate) struct Refused {
    pub(crate) problem: Problem,
    pub(crate) told: Vec<(Action, String)>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { problem, told: Vec::new() }
    }
}

/// Bytes of a digest in the audit trail: enough to tell tokens apart, nothing to find one by.
const DIGEST_SHOWN: usize = 4;

/// Who the request's token stands for. Read from the store each time, so that a revocation takes effect at once.
pub(crate) async fn authenticate(state: &AppState, headers: &HeaderMap, address: IpAddr) -> Result<Caller, Refused> {
    let missing = || {
        let detail = "Send `Authorization: Bearer TOKEN`; `heyi token create NAME --role ROLE` makes one.";
        Problem::new(ProblemKind::TokenMissing, detail)
    };
    let token = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?)).ok_or_else(|| {
        let is_told = state.guard.missing(address, Instant::now());
        let told = is_told.then(|| (Action::AuthenticationFail, String::new()));
        Refused { problem: missing(), told: told.into_iter().collect() }
    })?;
    let not_valid = || Problem::new(ProblemKind::TokenNotValid, "Make a new one: heyi token create NAME --role ROLE.");
    let sha256 = digest(token);
    let shown = || hexadecimal(&sha256[..DIGEST_SHOWN]);
    if let Some(wait) = state.guard.locked(address, &sha256, Instant::now()) {
        let problem = Problem::new(ProblemKind::LockedOut, "Come back later, with a token that is valid.");
        return Err(problem.after(wait).into());
    }
    let found = state.store.read_async(move |reader| tokens::find(reader, &sha256)).await.map_err(from_store)?;
    // The index was searched by digest, which tells an attacker nothing of a token; the comparison that decides does not
    // depend on where the two differ.
    let known = found.filter(|token| token.sha256.ct_eq(&sha256).into() && token.revoked_at.is_none());
    let Some((role, token)) = known.and_then(|token| Some((token.role.parse().ok()?, token))) else {
        let noted = state.guard.failure(address, &sha256, Instant::now());
        let mut told = Vec::new();
        if noted.is_new {
            told.push((Action::AuthenticationFail, shown()));
        }
        if noted.is_locked_out {
            tracing::warn!(%address, "locked out after too many wrong tokens");
            told.push((Action::AuthenticationLockOut, shown()));
        }
        return Err(Refused { problem: not_valid(), told });
    };
    if let Err(too_often) = state.guard.request(address, &sha256, token.id, Instant::now()) {
        let problem = Problem::new(ProblemKind::TooManyRequests, "Ask for larger pages, or wait between two requests.");
        let told = too_often.is_new.then(|| (Action::RequestLimit, shown()));
        return Err(Refused { problem: problem.after(too_often.wait), told: told.into_iter().collect() });
    }
    note_use(state, token.id, token.last_used_at);
    Ok(Caller { name: token.name, role })
}

/// Whether the token of a request that was let in is valid still.
pub(crate) async fn is_valid(state: &AppState, headers: &HeaderMap) -> bool {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
    let Some(sha256) = token.map(digest) else { return false };
    let found = state.store.read_async(move |reader| tokens::find(reader, &sha256)).await;
    found.ok().flatten().is_some_and(|token| token.revoked_at.is_none())
}

/// Writes down that a token is in use, seldom and without making the request wait.
fn note_use(state: &AppState, id: i64, last: Option<i64>) {
    let at = now();
    let interval = i64::try_from(limits::LAST_USE_INTERVAL.as_micros()).unwrap_or(i64::MAX);
    if last.is_some_and(|last| at.saturating_sub(last) < interval) {
        return;
    }
    let store = state.store.clone();
    tokio::spawn(async move {
        if let Err(error) = store.submit(move |transaction| tokens::note_use(transaction, id, at)).await {
            tracing::warn!(%error, "a token's last use could not be noted");
        }
    });
}

/// The token in an `Authorization` header: `Bearer TOKEN`, the scheme in any case (RFC 9110, 11.1).
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_random_recognisable_and_hidden_from_logs() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(one.reveal(), other.reveal());
        assert!(one.reveal().starts_with(PREFIX));
        assert_eq!(one.reveal().len(), PREFIX.len() + 2 * SECRET_BYTES);
        assert_eq!(one.digest(), digest(one.reveal()));
        assert_eq!(format!("{one:?}"), "Secret([redacted])");
    }

    #[test]
    fn a_role_is_read_back_from_its_name() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(RoleError));
    }

    #[test]
    fn only_the_bearer_scheme_carries_a_token() {
        for (header, expected) in [
            ("Bearer heyi_1", Some("heyi_1")),
            ("bearer  heyi_1 ", Some("heyi_1")),
            ("Basic heyi_1", None),
            ("Bearer ", None),
            ("heyi_1", None),
            ("", None),
        ] {
            assert_eq!(bearer(header), expected, "{header}");
        }
    }
}
