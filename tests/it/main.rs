//! The promises, tried from outside: the real `heyi` on free loopback ports, driven by MLLP, HTTP and its own commands.
//!
//! One file a promise; a test's name is the fact that it checks. Each test has its own directory, store and ports, and
//! nothing outlives it. `HEYI_CORPUS` names a folder of sample messages (default: `../shared/corpus` beside the checkout);
//! `HEYI_CRASH_ROUNDS` makes the crash test longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on shall stop")]
#![allow(clippy::print_stderr, reason = "what was skipped and what a failing daemon last said")]

#[path = "../fhir_server/mod.rs"]
mod fhir_server;
mod support;

mod access;
mod answers;
mod audit;
mod audit_of_the_daemon;
mod backup;
mod canaries;
mod charset;
mod check;
mod commands;
mod consents;
mod corpus;
mod crash;
mod disk;
mod durability;
mod feed;
mod fhir;
mod fhir_content;
mod fhir_faults;
mod fhir_histories;
mod fhir_standing;
mod fhir_versions;
mod files;
mod framing;
mod hospital_day;
mod identity;
mod identity_model;
mod import;
mod lab;
mod life;
mod life_messages;
mod lifecycle;
mod mapping_commands;
mod mapping_fhir;
mod mapping_guide;
mod mapping_reload;
mod mapping_unmapped;
mod one_id;
mod ownership;
mod policies;
mod privacy;
mod push;
mod records_department;
mod rehearsal;
mod resends;
mod review;
mod rights;
mod send;
mod snapshot;
mod visits;
