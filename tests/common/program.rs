//! Examples as programs of their own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// `examples/papers`, built if that is still to do (`cargo test --test NAME` builds no examples).
pub fn papers() -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        // target/<profile>/deps/<this test>
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().unwrap().parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "papers"]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(status.success(), "the example does not build");
        profile.join("examples").join(format!("papers{}", std::env::consts::EXE_SUFFIX))
    });
    Command::new(path)
}

/// An empty folder below cargo's own for tests.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("papers").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
