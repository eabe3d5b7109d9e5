//! (to come)
mod coerce;
