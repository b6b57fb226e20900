//! What the black-box tests share: where the repository is, and where the command under test is.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The `ratchet` command under test.
///
/// `RATCHET_BIN` names one that is built already (the Makefile builds it once for all tests). Without it the command is built here, so that a test
/// run by hand never tests a stale one.
pub fn ratchet() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env::var_os("RATCHET_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "ratchet-cli"])
        .current_dir(repository())
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the command under test does not build");
    // A test's own binary lies in `<target>/<profile>/deps`; the command lies one level up.
    let own = env::current_exe().expect("a test knows its own path");
    let profile = own.parent().and_then(Path::parent).expect("a test's binary lies in the target folder");
    profile.join(format!("ratchet{}", env::consts::EXE_SUFFIX))
}
