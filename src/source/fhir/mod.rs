//! A FHIR server as a source: its resources are polled until the [`sink`]'s mirror is as the server is.
//!
//! ```text
//!             ┌ incremental pass (a type, or a type and a patient) ─┐
//! runner ─────┤ deletions: history, or a sweep of ids               ├─► http (auth, faults, budgets) ─► pages ─► Sink::take
//! (round,     │ references that the mirror lacks                    │                                          content and notes,
//!  turns)     └ first load by Bulk Data export                      ┘                                          one transaction
//! ```
//!
//! Invariants
//! - A mark is one of the server's own times. It moves in the transaction of a pass's last page, never beyond the time of the server at which
//!   the pass began: what changed behind the reader's back is then read by the next pass.
//! - One request at a time, and pages are kept in the order in which they were read: what comes later is newer.
//! - The server is not believed: whether it filtered, sorted, and gave all pages is looked at with every answer; what it does not do
//!   is done in another way, and said ([`status::Remark`]).
//! - That a resource is gone is known from the server saying so of this very resource, never from its absence in a list.
//! - Credentials go to the origin that they were configured for, and nowhere else.
//!
//! It must never log, or put into an error, what a resource holds, an id, the values of a query, or a secret. It knows nothing of mappings and
//! of the store.

mod address;
mod ask;
pub mod assertion;
mod auth;
mod bundle;
mod capability;
mod deletions;
mod engine;
pub mod error;
mod export;
pub mod instant;
mod note;
mod pass;
pub mod poller;
mod read;
mod server;
pub mod settings;
pub mod sink;
pub mod status;
mod wire;
pub mod world;

pub use reqwest::Url;

pub use self::bundle::{as_text, resource};
pub use self::error::FhirError;
pub use self::poller::{Poke, Poller, examine};
pub use self::settings::Settings;
pub use self::status::Health;
pub use self::world::World;
