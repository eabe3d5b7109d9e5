//! How one FHIR source is polled: a plain structure, checked by whoever fills it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::tls::ClientFiles;

/// One source.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The source's name, for the log.
    pub source: String,
    /// The server's base, such as `https://emr.hospital/fhir`; credentials and queries do not belong in it.
    pub base_url: Url,
    /// What to poll, in this order; patients first, so that what refers to them finds them.
    pub resources: Vec<String>,
    /// Time between two polls.
    pub interval: Duration,
    /// Resources asked for in one page (`_count`).
    pub page_size: u32,
    /// How far behind its newest row a poll begins: a transaction that took long is visible only after newer rows were.
    pub overlap: Duration,
    /// How the first load is done.
    pub first_load: FirstLoad,
    /// How patients' resources are searched.
    pub search: SearchMode,
    /// Whether to ask for the patients of encounters and reports in the same page (`_include`), where the server says that it can.
    pub include: bool,
    /// Take path and query of a link that leads to another origin, and put `base_url`'s in front: for servers behind a proxy that they do not know of.
    pub rebase_links: bool,
    /// Time between two looks into a type's history for deletions.
    pub history_interval: Duration,
    /// Time between two comparisons of all ids with the mirror, for servers without a type history. With one it is done
    /// [`SWEEPS_WITH_HISTORY`] times more seldom, for what no history tells.
    pub sweep_interval: Duration,
    /// Sweeps in which a resource must be 404 before it counts as deleted: it might be hidden for a while.
    pub absent_sweeps: u32,
    /// Time between two reads of everything where `_lastUpdated` cannot be used.
    pub scan_interval: Duration,
    /// How it proves who it is.
    pub auth: Auth,
    /// TLS: an authority of the hospital's own, a client certificate.
    pub tls: ClientFiles,
    /// Bounds.
    pub limits: Limits,
}

/// How much more seldom ids are compared where the history tells of deletions.
pub const SWEEPS_WITH_HISTORY: u32 = 7;

impl Settings {
    /// Everything as it is by default, for `source` at `base_url`.
    #[must_use]
    pub fn new(source: &str, base_url: Url, resources: &[&str]) -> Self {
        Self {
            source: source.to_owned(),
            base_url,
            resources: resources.iter().map(|&name| name.to_owned()).collect(),
            interval: Duration::from_secs(30),
            page_size: 200,
            // LinuxForHealth/FHIR documents 120 s for long transactions; clocks of nodes differ too.
            overlap: Duration::from_secs(5 * 60),
            first_load: FirstLoad::Auto,
            search: SearchMode::Auto,
            include: true,
            rebase_links: false,
            history_interval: Duration::from_secs(5 * 60),
            sweep_interval: Duration::from_secs(24 * 60 * 60),
            absent_sweeps: 3,
            scan_interval: Duration::from_secs(15 * 60),
            auth: Auth::None,
            tls: ClientFiles::default(),
            limits: Limits::default(),
        }
    }
}

/// How the first load is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstLoad {
    /// Bulk Data export where the server says that it has it; search otherwise, and if the export fails.
    Auto,
    /// Search, page by page.
    Search,
    /// Bulk Data export, tried even if the server does not mention it; search if it fails.
    Export,
}

/// How resources of patients are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchMode {
    /// By type; patient by patient for types that the server refuses to search otherwise.
    Auto,
    /// Patient by patient from the start (everything but patients themselves).
    PerPatient,
}

/// How the client proves who it is. Secrets are in files of their own and are read again when those change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// It does not (or by its TLS certificate, [`Settings::tls`]).
    None,
    /// HTTP Basic.
    Basic {
        /// The user's name.
        user: String,
        /// Holds the password, and nothing else but white space around it.
        password_file: PathBuf,
    },
    /// A token that somebody else renews in the file.
    Bearer {
        /// Holds the token.
        token_file: PathBuf,
    },
    /// OAuth 2.0 client credentials (RFC 6749 §4.4).
    ClientCredentials {
        /// Where tokens are given. Never discovered: the secret goes there.
        token_url: Url,
        /// `client_id`.
        client_id: String,
        /// Holds the client's secret.
        secret_file: PathBuf,
        /// `scope`, if the server wants one.
        scope: Option<String>,
        /// Where the secret stands in the request.
        style: SecretStyle,
    },
    /// SMART Backend Services: a signed assertion instead of a secret.
    SmartBackend {
        /// Where tokens are given; absent: asked of `/.well-known/smart-configuration`. What goes there is worth nothing elsewhere.
        token_url: Option<Url>,
        /// `client_id`, which is `iss` and `sub` of the assertion.
        client_id: String,
        /// PEM: the private key: RSA (signs RS384) or EC on P-384 (signs ES384).
        key_file: PathBuf,
        /// `kid`, as registered with the server.
        key_id: String,
        /// Such as `system/*.rs`.
        scope: String,
    },
}

/// Where a client's secret stands in a token request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretStyle {
    /// `client_secret_basic`: in the header, as RFC 6749 prefers.
    Basic,
    /// `client_secret_post`: in the body.
    Post,
}

/// The bounds of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until a connection stands. Hospitals' networks are near; a firewall that swallows is not worth more.
    pub connect: Duration,
    /// Silence in the middle of an answer.
    pub idle: Duration,
    /// One request with its answer, of whatever length.
    pub request: Duration,
    /// Bytes of one answer, unpacked. 200 resources are about 1 MB; one with a document inside may be 20 MB.
    pub page_bytes: usize,
    /// Bytes of one resource in an export file.
    pub line_bytes: usize,
    /// Pages of one pass: 50,000 of 200 are ten million resources. An endless list ends here.
    pub pages: u64,
    /// Pages after which another type has its turn: a first load of results must not hold up the patients.
    pub turn: u32,
    /// Times that a pass begins again where it was (pages expired, a list that turns in circles).
    pub restarts: u32,
    /// Requests for one answer: the first and its repeats.
    pub attempts: u32,
    /// The first wait before a repeat; it doubles, and a random part of it is taken off.
    pub backoff: Duration,
    /// A longer wait than this is not waited for on the spot: the pass goes on later.
    pub patience: Duration,
    /// Failures one after the other until the source is left alone for a while.
    pub breaker: u32,
    /// The first time that it is left alone; it doubles.
    pub rest: Duration,
    /// The longest time that it is left alone, unless the server asks for longer.
    pub longest_rest: Duration,
    /// The longest `Retry-After` that is obeyed.
    pub longest_retry_after: Duration,
    /// References read in one poll.
    pub reads: usize,
    /// References in one `_id=a,b,c`: URLs of some 2,000 characters pass every proxy.
    pub ids_in_query: usize,
    /// Patients asked about in one poll (per-patient mode).
    pub patients: usize,
    /// Ids of one type held in memory for a sweep; some 100 bytes each.
    pub sweep_ids: usize,
    /// Time for an export job until search is tried instead.
    pub export: Duration,
    /// The shortest time between two looks at an export job.
    pub export_poll: Duration,
    /// Polls are not nearer to each other than this, however often they are poked.
    pub poke_spacing: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            request: Duration::from_secs(120),
            page_bytes: 64 * 1024 * 1024,
            line_bytes: 16 * 1024 * 1024,
            pages: 50_000,
            turn: 50,
            restarts: 20,
            attempts: 3,
            backoff: Duration::from_millis(500),
            patience: Duration::from_secs(5),
            breaker: 5,
            rest: Duration::from_secs(15),
            longest_rest: Duration::from_secs(10 * 60),
            longest_retry_after: Duration::from_secs(60 * 60),
            reads: 1_000,
            ids_in_query: 40,
            patients: 500,
            sweep_ids: 5_000_000,
            export: Duration::from_secs(6 * 60 * 60),
            export_poll: Duration::from_secs(2),
            poke_spacing: Duration::from_secs(1),
        }
    }
}
