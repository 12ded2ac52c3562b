//! Reads single keys of a file whose other errors do not matter: to find a running gateway, its state or its logs.

use std::path::{Path, PathBuf};

/// The path at `section.key` of a file. `None` without the file or the key, or if the file is not valid TOML.
pub(crate) fn path(config: &Path, section: &str, key: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(config).ok()?;
    let table: toml::Table = toml::from_str(&text).ok()?;
    table.get(section)?.get(key)?.as_str().map(PathBuf::from)
}
