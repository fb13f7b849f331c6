//! The `gatelet` program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Every request makes many small allocations, which mimalloc serves faster than glibc.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    gatelet::cli::main()
}
