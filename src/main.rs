//! The program: arguments in, exit code out.

use gate64::device::pages::LargePages;

#[global_allocator]
static MEMORY: LargePages = LargePages;

fn main() -> std::process::ExitCode {
    gate64::cli::main()
}
