//! What can go wrong with a FHIR server, as sentences that its operator can act on.
//!
//! A place is a method and a URL without ids and values (`address.rs` makes it); what servers say in words is left out, because it
//! may quote patients; of an OperationOutcome only its codes are told.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::sink::SinkError;
use crate::tls::TlsError;

/// Why something could not be fetched or kept.
#[derive(Debug, thiserror::Error)]
pub enum FhirError {
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
    /// A certificate or key for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file with a secret.
    #[error("{}: {reason}", .file.display())]
    SecretFile {
        /// Which.
        file: PathBuf,
        /// What is wrong with it, and what to do; never what it holds.
        reason: String,
    },
    /// No connection.
    #[error("{place}: no connection ({reason}); is the server up, and `base_url` right?")]
    Connect {
        /// Method and URL.
        place: String,
        /// What the system or rustls says.
        reason: String,
    },
    /// No answer in time.
    #[error("{place}: no answer in time; the next attempt asks for less or waits longer")]
    Timeout {
        /// Method and URL.
        place: String,
    },
    /// The answer broke off, or its compression is damaged.
    #[error("{place}: the answer broke off or is damaged; it will be asked for again")]
    Interrupted {
        /// Method and URL.
        place: String,
    },
    /// The answer is larger than a page may be.
    #[error("{place}: the answer has more than {limit} bytes; ask for smaller pages (`page_size`)")]
    TooLarge {
        /// Method and URL.
        place: String,
        /// The limit.
        limit: usize,
    },
    /// The answer is not what was asked for.
    #[error("{place}: the answer is {what}; is there a proxy or a login page in between, and `base_url` right?")]
    NotFhir {
        /// Method and URL.
        place: String,
        /// What it is instead.
        what: &'static str,
    },
    /// The server answered with an OperationOutcome where a Bundle or resource was due.
    #[error("{place}: the server answers with an OperationOutcome ({issues}) in place of what was asked for")]
    Outcome {
        /// Method and URL.
        place: String,
        /// Its severities and codes.
        issues: String,
    },
    /// A status that is no success.
    #[error(
        "{place}: the server answers {status}{}{issues}{}",
        if .issues.is_empty() { "" } else { ", " },
        if *.status == 404 { "; is `base_url` right, and does the server have such resources?" } else { "" }
    )]
    Status {
        /// Method and URL.
        place: String,
        /// The HTTP status.
        status: u16,
        /// Severities and codes of its OperationOutcome.
        issues: String,
    },
    /// 401, also with a renewed token.
    #[error("{place}: the server does not accept the credentials (401); check `auth`")]
    Unauthorized {
        /// Method and URL.
        place: String,
    },
    /// 403.
    #[error(
        "{place}: the server forbids this (403); ask its administrator for read access, or take the type off `resources`"
    )]
    Forbidden {
        /// Method and URL.
        place: String,
    },
    /// 429 or 503.
    #[error("{place}: the server asks to wait ({status}); polling goes on in {} s", .wait.as_secs())]
    Busy {
        /// Method and URL.
        place: String,
        /// 429 or 503.
        status: u16,
        /// How long it is left alone.
        wait: Duration,
    },
    /// It failed too often, or asked for it.
    #[error("the server is left alone until {until}")]
    Resting {
        /// Until when.
        until: Timestamp,
    },
    /// A redirect to another origin.
    #[error(
        "{place}: the server redirects to another origin, which is not followed; put the right one into `base_url`"
    )]
    Redirected {
        /// Method and URL.
        place: String,
    },
    /// A link that cannot be followed.
    #[error("{place}: a link leads to another origin; if the server stands behind a proxy, set `rebase_links = true`")]
    ForeignLink {
        /// Method and URL.
        place: String,
    },
    /// Pages that lead nowhere.
    #[error("{place}: the server's pages do not come to an end ({what}); the mark stays, and the pass is tried again")]
    Paging {
        /// Method and URL.
        place: String,
        /// How.
        what: &'static str,
    },
    /// Fewer rows than the server counts, without a way to the rest.
    #[error("{place}: the server counts {total} matches, gives {rows} and no way to the rest; the mark stays")]
    Short {
        /// Method and URL.
        place: String,
        /// What it counts.
        total: u64,
        /// What it gave.
        rows: u64,
    },
    /// No token.
    #[error("{place}: no access token ({reason}); check client id, key or secret, and scope")]
    Token {
        /// Method and URL.
        place: String,
        /// The status or the OAuth error code.
        reason: String,
    },
    /// The export job failed.
    #[error("{place}: the export did not come to an end ({what}); the first load is done by search")]
    Export {
        /// Method and URL.
        place: String,
        /// How.
        what: &'static str,
    },
    /// What was fetched could not be kept.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The poller is to stop.
    #[error("stopped")]
    Stopped,
}

/// Whom a failure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    /// The server, or the way to it: the other types would fare no better.
    Source,
    /// This type or request.
    Type,
    /// Us: the store, or being stopped.
    Us,
}

impl FhirError {
    /// A short fixed word for metrics and lists.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Settings(_) => "settings",
            Self::Tls(_) => "tls",
            Self::SecretFile { .. } => "secret_file",
            Self::Connect { .. } => "connect",
            Self::Timeout { .. } => "timeout",
            Self::Interrupted { .. } => "interrupted",
            Self::TooLarge { .. } => "too_large",
            Self::NotFhir { .. } => "not_fhir",
            Self::Outcome { .. } => "operation_outcome",
            Self::Status { status: 500.., .. } => "server_error",
            Self::Status { .. } => "status",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::Busy { .. } => "busy",
            Self::Resting { .. } => "resting",
            Self::Redirected { .. } => "redirected",
            Self::ForeignLink { .. } => "foreign_link",
            Self::Paging { .. } => "paging",
            Self::Short { .. } => "short",
            Self::Token { .. } => "token",
            Self::Export { .. } => "export",
            Self::Sink(_) => "store",
            Self::Stopped => "stopped",
        }
    }

    pub(super) fn concern(&self) -> Concern {
        match self {
            Self::Sink(_) | Self::Stopped => Concern::Us,
            Self::Settings(_)
            | Self::Tls(_)
            | Self::SecretFile { .. }
            | Self::Connect { .. }
            | Self::Unauthorized { .. }
            | Self::Busy { .. }
            | Self::Resting { .. }
            | Self::Token { .. } => Concern::Source,
            _ => Concern::Type,
        }
    }

    /// Somebody has to act before it can go well.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::Token { .. } | Self::SecretFile { .. }
        )
    }

    /// Another attempt at once may go well.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Timeout { .. } | Self::Interrupted { .. } | Self::Status { status: 500.., .. }
        )
    }
}
