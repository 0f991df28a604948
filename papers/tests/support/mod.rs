//! The program of this package, and folders for it.

use std::path::PathBuf;
use std::process::Command;

pub fn papers() -> Command {
    Command::new(env!("CARGO_BIN_EXE_papers"))
}

/// An empty folder below cargo's own for tests.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("papers").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
