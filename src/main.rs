//! The `gatelet` program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Every request makes many small allocations, which cost less here than in glibc.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    gatelet::cli::main()
}
