//! The `heyi` binary.

fn main() {}
