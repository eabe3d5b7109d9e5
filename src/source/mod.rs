//! Where messages come from: MLLP listeners ([`mllp`]) and directories ([`files`]); [`client`] is the other end of the line.
//!
//! Invariants
//! - A source hands on bytes. What they mean, whether they are kept and what is answered is the handler's affair.
//! - Whatever arrives as a frame or a file reaches the handler, damaged or not: nothing is dropped in silence.
//! - Every buffer, wait and queue here has a bound, named in a `Limits` with its reason.
//!
//! It must never log or report the content of a message: peers are named by address, files by path, trouble by number of bytes.

pub mod frame;
