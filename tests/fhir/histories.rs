//! Random histories: resources are created, changed and deleted while the poller reads, the server misbehaves, the poller is killed. When it is
//! quiet again, the mirror is what the server is.
//!
//! `HEYI_FHIR_HISTORIES=10000` runs more than the few of every run, `HEYI_FHIR_SEED=7` one of them, with its requests.

use std::time::Duration;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
