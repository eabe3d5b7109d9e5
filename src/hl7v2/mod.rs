//! HL7 v2 as it is sent: bytes to text, text to fields, and the answer back.
//!
//! ```text
//! bytes ─► batch (one message each) ─► text (charset, line ends) ─► Message (index) ─► Scope + Path ─► Value
//!   └────► header::peek, when the rest cannot be read ─────────────────────────────► ack (bytes)
//! ```
//!
//! Invariants
//! - Decoding comes before splitting: the second byte of a GBK character may be `|`, `^`, `~` or `\`.
//! - Nothing is dropped silently: each byte of a message is in a segment, or a [`text::Note`] says what became of it.
//! - No input panics, recurses, or takes memory out of proportion to its size; [`Limits`] bounds the rest.
//! - Absent, `""` (null) and a value stay three things, see [`path::Resolved`].
//! - No error or note holds a value out of a message, except what names things: charset labels and segment names.
//!
//! No clock, no files, no sockets. `encoding_rs` is named in [`charset`] alone, `hl7_parser` in [`message`] alone.

pub mod ack;
pub mod batch;
pub mod charset;
pub mod delimiters;
pub mod dictionary;
pub mod escape;
pub mod field_set;
pub mod group;
pub mod header;
pub mod limits;
pub mod location;
pub mod message;
pub mod path;
pub mod text;
pub mod when;

pub use ack::ErrorCode;
pub use charset::{Charset, CharsetSetting};
pub use delimiters::Delimiters;
pub use dictionary::Dictionary;
pub use field_set::FieldSet;
pub use group::Scope;
pub use header::Header;
pub use limits::Limits;
pub use location::Location;
pub use message::{Message, Segment};
pub use path::{Path, Resolved, Value};
