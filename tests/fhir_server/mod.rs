//! A small FHIR server for tests, in process, that can be made to misbehave as real ones do.
//!
//! [`Model`] is the truth: resources with versions, times and deletions, and a clock that only the test moves. [`Manner`] says how the
//! server answers in general (what it ignores, how it pages), [`Fault`] what happens to single requests. [`FhirServer`] is the listener.

// Included by path into several test binaries; none uses all of it.
#![allow(dead_code, unused_imports)]

mod answer;
mod model;
mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use self::model::{Model, Precision};
pub(crate) use self::wire::{Reply, Request};

/// How links to further pages are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paging {
    /// A cursor: rows behind the last one given, by the order of the search.
    Cursor,
    /// The ids of all rows as they were when the search began; the rows as they are now (HAPI).
    Frozen,
    /// The number of rows to skip, counted anew each time (HAPI #3608, Medplum).
    Offset,
    /// None, however many rows there are (Medplum's memory repository).
    None,
    /// Always the same page, with a link to itself.
    ToItself,
    /// Always the same page, with a new link each time.
    Endless,
}

/// How deletions show at the type's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Histories {
    /// As they should.
    Yes,
    /// One page, without a link to the rest (hapi-fhir #2114).
    Unpaged,
    /// 404.
    No,
    /// Nothing ever happened, it says.
    Empty,
    /// Entries say what happened to what, and no more.
    WithoutContent,
}

/// How the server answers in general.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manner {
    /// How it pages.
    pub(crate) paging: Paging,
    /// Rows of a page at most, whatever `_count` says.
    pub(crate) page_cap: usize,
    /// Says `total`.
    pub(crate) total: bool,
    /// Says what it understood (`self`).
    pub(crate) own_link: bool,
    /// Leaves `_sort` out of account; says so in `self` if `own_link`.
    pub(crate) ignores_sort: bool,
    /// Leaves `_lastUpdated` out of account.
    pub(crate) ignores_last_updated: bool,
    /// 400 for a search with `_sort`.
    pub(crate) refuses_sort: bool,
    /// 400 for a search with `_lastUpdated`.
    pub(crate) refuses_last_updated: bool,
    /// 400 for a search of anything but patients without a patient (Cerner).
    pub(crate) wants_patient: bool,
    /// `_id=` has no effect.
    pub(crate) ignores_id: bool,
    /// Resources have no `meta.lastUpdated`.
    pub(crate) undated: bool,
    /// The history.
    pub(crate) histories: Histories,
    /// A deleted resource is 404, not 410.
    pub(crate) forgets_deleted: bool,
    /// Links have this in place of the server's own base.
    pub(crate) link_base: Option<String>,
    /// `/metadata` is answered.
    pub(crate) metadata: bool,
    /// `_include` is offered and done.
    pub(crate) includes: bool,
    /// What `/metadata` says.
    pub(crate) fhir_version: String,
    /// `$export`: by POST, by GET, neither.
    pub(crate) export_post: bool,
    pub(crate) export_get: bool,
    /// Times that the export says that it is not done.
    pub(crate) export_waits: u32,
    /// `Authorization` must be this.
    pub(crate) authorization: Option<String>,
    /// Compressed answers for those who take them.
    pub(crate) gzip: bool,
}

impl Default for Manner {
    /// A server as it should be.
    fn default() -> Self {
        Self {
            paging: Paging::Cursor,
            page_cap: 1_000,
            total: false,
            own_link: true,
            ignores_sort: false,
            ignores_last_updated: false,
            refuses_sort: false,
            refuses_last_updated: false,
            wants_patient: false,
            ignores_id: false,
            undated: false,
            histories: Histories::Yes,
            forgets_deleted: false,
            link_base: None,
            metadata: true,
            includes: false,
            fhir_version: "4.0.1".to_owned(),
            export_post: false,
            export_get: false,
            export_waits: 2,
            authorization: None,
            gzip: false,
        }
    }
}

/// Makes another answer of one.
#[derive(Clone)]
pub(crate) struct Rewrite(pub(crate) Arc<dyn Fn(&mut Reply) + Send + Sync>);

impl std::fmt::Debug for Rewrite {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Rewrite")
    }
}

/// What happens to one request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, with a header, and an OperationOutcome that quotes a patient.
    Status(u16, Option<(&'static str, String)>),
    /// A page for people, with 200.
    Html,
    /// An OperationOutcome, with 200.
    Outcome,
    /// The body ends in the middle, as does the connection.
    CutOff,
    /// The body ends in the middle of the JSON, and the length says so.
    CutJson,
    /// Compressed, and the end of it is missing.
    CutGzip,
    /// Nothing comes.
    Silence,
    /// The connection closes.
    Close,
    /// A redirect.
    Redirect(String),
    /// This many bytes of white space before the answer.
    Padding(usize),
    /// The answer is another one.
    Rewritten(Rewrite),
    /// In pieces, without a length.
    Chunked,
    /// Without a length: the end of the connection is the end of the answer.
    UntilClose,
    /// The request is answered as it should be.
    Nothing,
}

/// Decides what happens to a request; it may change the model.
pub(crate) type Hook = Box<dyn FnMut(&Request, &mut Model) -> Fault + Send>;

/// What the listener's tasks share with the test.
pub(crate) struct Shared {
    pub(crate) model: Model,
    pub(crate) manner: Manner,
    /// For the next requests, first come first served.
    pub(crate) faults: VecDeque<Fault>,
    /// For every request, after `faults` are used up.
    pub(crate) hook: Option<Hook>,
    /// Targets of all requests, in order.
    pub(crate) requests: Vec<String>,
    /// `Authorization` of all requests, in order.
    pub(crate) authorizations: Vec<Option<String>>,
    /// Bodies of requests, in order, where they had one.
    pub(crate) bodies: Vec<String>,
    /// Answers other than FHIR's: a path and what it gives.
    pub(crate) others: Vec<(String, Reply)>,
    frozen: Vec<Vec<String>>,
    exports: u32,
}

/// A listener on a loopback port. It ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct FhirServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl FhirServer {
    /// Listens.
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let shared = Arc::new(Mutex::new(Shared {
            model: Model::new(),
            manner,
            faults: VecDeque::new(),
            hook: None,
            requests: Vec::new(),
            authorizations: Vec::new(),
            bodies: Vec::new(),
            others: Vec::new(),
            frozen: Vec::new(),
            exports: 0,
        }));
        tokio::spawn(wire::serve(listener, Arc::clone(&shared)));
        Self { address, shared }
    }

    /// The base URL.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/fhir", self.address)
    }

    /// Model and manner, to look at and to change.
    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the server's clock.
    pub(crate) fn advance(&self, span: Duration) {
        self.shared().model.advance(span);
    }

    /// Puts faults before the next requests.
    pub(crate) fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared().faults.extend(faults);
    }

    /// Requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared().requests)
    }
}
