//! The feed's vocabulary: events, positions in the log, filters. Pure; the log itself is in `store`.
//!
//! Events are CloudEvents 1.0 in structured JSON. Their order is the order of the log (`sequence`), their identity is what
//! caused them ([`event_id`]), so that a resend can never make a second one.

mod cursor;
mod event;
mod filter;
pub mod snapshot;

pub use cursor::{Cursor, CursorError, Position};
pub use event::{Event, EventKind, NewEvent, event_id};
pub use filter::{FilterError, TypeFilter};
