//! One MLLP connection, over anything that reads and writes: frames in, work, answers out in order.

pub(super) const TODO: () = ();
