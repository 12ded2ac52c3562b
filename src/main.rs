//! The `gate64` program: sets the allocator and runs the command line.

use gate64::device::pages::LargePages;

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

fn main() -> std::process::ExitCode {
    gate64::cli::main()
}
