//! What the black-box tests share: where the repository is, where the command under test is, and a world of its own for each test.

pub mod page;
pub mod running;
pub mod world;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// After this time what a test waits for is taken to be lost. No test that passes waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

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

/// The folder of the Python programs that the sample's tests need. `make test` installs them.
pub fn python_programs() -> PathBuf {
    let folder = profile_folder().parent().map(|target| target.join("venv/bin")).unwrap_or_default();
    assert!(folder.join("pytest").exists(), "pytest is not in {}: `make test` installs it", folder.display());
    folder
}

/// Looks again and again until there is something to see, and gives it. For what announces itself in no other way: each look is worth its while, like a call
/// of the command.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "it did not come in {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

fn build() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "ratchet-cli", "--features", "otlp,aws"])
        .current_dir(repository())
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the command under test does not build");
    profile_folder().join(format!("ratchet{}", env::consts::EXE_SUFFIX))
}

/// `<target>/<profile>`: a test's own binary lies one level below, in `deps`.
fn profile_folder() -> PathBuf {
    let own = env::current_exe().expect("a test knows its own path");
    own.parent().and_then(Path::parent).expect("a test's binary lies in the target folder").to_path_buf()
}
