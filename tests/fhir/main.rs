//! The polling FHIR client against servers that misbehave: whatever they do, the mirror ends as the server is.

// A test that cannot go on has failed.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

#[path = "../fhir_server/mod.rs"]
mod fhir_server;

mod credentials;
mod deletions;
mod faults;
mod first_load;
mod histories;
mod mirror;
mod odd;
mod passes;
mod real_server;
mod references;
mod rig;
