//! The program: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    gate64::cli::main()
}
