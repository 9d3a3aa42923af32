//! The `rederive` binary: reads the command line and hands over to a command.

mod commands;

use std::process::ExitCode;

use clap::Parser;

/// Wipes every block of memory as it is freed, so that no secret stays behind in one that is not in use.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    commands::run(commands::Cli::parse())
}
