//! `gate64 package-files`: manual pages and completions, from the definition of the command line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::aot::{Shell, generate_to};

/// Where completions of each shell belong below `/usr/share`.
pub(super) const COMPLETIONS: [(Shell, &str, &str); 3] = [
    (Shell::Bash, "bash-completion/completions", "gate64"),
    (Shell::Zsh, "zsh/vendor-completions", "_gate64"),
    (Shell::Fish, "fish/vendor_completions.d", "gate64.fish"),
];

#[derive(Args, Debug)]
pub(super) struct PackageFiles {
    /// Target directory; `/usr/share` in a package.
    share: PathBuf,
}

/// Writes the files of this command line and returns the exit code.
pub(super) fn run(args: &PackageFiles, cli: &Command) -> ExitCode {
    match write(&args.share, cli) {
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
pub(super) fn write(share: &Path, cli: &Command) -> io::Result<()> {
    let pages = share.join("man/man1");
    fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(cli.clone(), &pages)?;
    for (shell, folder, name) in COMPLETIONS {
        let folder = share.join(folder);
        fs::create_dir_all(&folder)?;
        let written = generate_to(shell, &mut cli.clone(), "gate64", &folder)?;
        fs::rename(written, folder.join(name))?;
    }
    Ok(())
}
