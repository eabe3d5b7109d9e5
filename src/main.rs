//! The `heyi` binary: arguments in, exit status out.

use std::process::ExitCode;

fn main() -> ExitCode {
    heyi::commands::run()
}
