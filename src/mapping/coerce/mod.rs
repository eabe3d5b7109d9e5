//! (in work)
pub(crate) mod lab_value;
pub(crate) mod number;
pub(crate) mod range;
