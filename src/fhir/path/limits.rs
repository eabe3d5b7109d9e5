//! How far a path and its evaluation may go. A mapping file and a resource are both written by others.

/// Bytes of a path. The longest that a person reads.
pub const PATH_BYTES: usize = 8_192;
/// Expressions inside expressions. Each level takes some kilobytes of stack in a debug build.
pub const DEPTH: usize = 48;
/// Nodes that one evaluation may touch: some thousand times a large resource, and some tens of milliseconds.
pub const STEPS: u64 = 500_000;
/// Bytes of a computed text. FHIR's own limit of a string is 1 MB.
pub const TEXT_BYTES: usize = 1 << 20;
/// Bytes of text that cost as much as a step when they are read or written: with [`STEPS`], what an evaluation may compute.
pub const BYTES_A_STEP: usize = 32;
/// Digits of an argument that counts digits, as of `round`.
pub const DIGITS: i64 = 30;
