//! `gate64 package-files`: manual pages and completions, from the definition of the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::aot::{Shell, generate_to};

use super::Cli;

/// Where completions of each shell belong below `/usr/share`.
const COMPLETIONS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "bash-completion/completions", "gate64"),
    (Shell::Zsh, "zsh/vendor-completions", "_gate64"),
    (Shell::Fish, "fish/vendor_completions.d", "gate64.fish"),
];

#[derive(Args, Debug)]
pub(super) struct PackageFiles {
    /// Target directory; `/usr/share` in a package.
    share: PathBuf,
}

/// Writes the files and returns the exit code.
pub(super) fn run(args: &PackageFiles) -> ExitCode {
    match write(&args.share) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", args.share.display());
            ExitCode::FAILURE
        }
    }
}

/// Writes `man/man1/*.1` and the completions below `share`.
///
/// # Errors
/// The error of writing.
fn write(share: &Path) -> io::Result<()> {
    let pages = share.join("man/man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(Cli::command(), &pages)?;
    for (shell, folder, name) in COMPLETIONS {
        let folder = share.join(folder);
        fs::create_dir_all(&folder)?;
        let written = generate_to(shell, &mut Cli::command(), "gate64", &folder)?;
        fs::rename(written, folder.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_completions() {
        let share = tempfile::tempdir().expect("a directory");
        write(share.path()).expect("written");
        let read = |file: &str| fs::read_to_string(share.path().join(file)).unwrap_or_default();
        let cli = Cli::command();
        for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let page = read(&format!("man/man1/gate64-{name}.1"));
            assert!(page.contains(".SH SYNOPSIS"), "no page of {name}");
            for (_, folder, file) in COMPLETIONS {
                assert!(read(&format!("{folder}/{file}")).contains(name), "{folder} lacks {name}");
            }
        }
        assert!(read("man/man1/gate64-package-files.1").is_empty(), "it is hidden");
    }
}
