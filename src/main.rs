//! The `gatelet` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatelet::cli::main()
}
