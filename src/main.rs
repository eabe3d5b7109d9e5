//! The `heyi` binary: arguments in, exit status out.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Messages are many small pieces, made on one thread and freed on another: the system's allocator took a quarter of the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    heyi::commands::run()
}
