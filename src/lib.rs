//! Heyi (合一): HL7 v2 and FHIR integration middleware.
//!
//! One way through the house:
//!
//! ```text
//!  bytes in                                                                            bytes out
//!  mllp ──┐                                                                        ┌─ pull, long poll
//!  files ─┴► raw message ─► decode ─► map ─► Mapped ─►│ writer: identify ─► state  │─► feed
//!            (bytes kept)    (parallel, pure)         │ ─► events ─► COMMIT+fsync  │
//!                                                     └── then, and only then, the ACK
//! ```
//!
//! Layers, checked by `tests/layers.rs`; a module imports only from layers below, or as its line says:
//!
//! | layer | modules |
//! |---|---|
//! | 0 pure | [`record`], [`diagnostic`], [`audit`]; [`hl7v2`], [`feed`] → record; [`state`], [`identity`] → record, feed; [`document`], [`fhir`] → diagnostic; [`mapping`] → hl7v2, record, diagnostic, document; [`policy`] → record, feed, diagnostic, document |
//! | 1 store | [`store`] → audit, record, feed, identity, state, policy types |
//! | 2 work | [`view`] → record, feed, state, store; [`disclosure`] → policy, record, feed, state, store, view; [`outgoing`] → feed, policy, store, disclosure; [`pipeline`] → layers 0 and 1, view |
//! | 3 edges | [`source`], [`http`], [`push`]; [`tls`], [`web`] and [`telemetry`] are theirs in common |
//! | 4 top | [`app`], [`config`], [`commands`] |
//!
//! Invariants
//! - Layer 0 has no clock, no files, no sockets, no randomness: they come as arguments.
//! - A positive acknowledgement leaves only after the commit that holds the message, what follows from it, and its events.
//! - Only two things cross tasks: a job into the writer, and a wake-up ("the log's head is now N").

pub mod app;
pub mod audit;
pub mod commands;
pub mod config;
pub mod diagnostic;
pub mod disclosure;
pub mod document;
pub mod feed;
pub mod fhir;
pub mod hl7v2;
pub mod http;
pub mod identity;
pub mod mapping;
pub mod outgoing;
pub mod pipeline;
pub mod policy;
pub mod push;
pub mod record;
pub mod source;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod view;
pub mod web;
