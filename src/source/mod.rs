//! Where messages come from: MLLP listeners ([`mllp`]), directories ([`directory`]), FHIR servers ([`fhir`]) and files
//! that a command names ([`files`]); [`client`] is the other end of the line.
//!
//! Invariants
//! - A source hands on bytes. What they mean, whether they are kept and what is answered is the handler's affair.
//! - Whatever arrives as a frame or a file reaches the handler, damaged or not: nothing is dropped in silence.
//! - Every buffer, wait and queue here has a bound, named in a `Limits` with its reason; [`budget`] bounds all of them together.
//! - Work on one line of messages runs in parallel; [`window::Turn`] keeps what must follow its order.
//!
//! It must never log or report the content of a message: peers are named by address, trouble by number of bytes.

pub mod budget;
pub mod client;
mod connection;
pub mod directory;
pub mod fhir;
pub mod files;
pub mod frame;
pub mod mllp;
mod slots;
pub mod window;

#[cfg(test)]
mod tests;
