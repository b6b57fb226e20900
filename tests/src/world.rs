//! A place where the command runs as on a machine of its own: an empty home, a state directory, nothing of the caller's environment.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{ratchet, running::Running};

/// A home, a state directory and a working directory that end with the test.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    /// Folders before those of the system on the PATH.
    programs: Vec<PathBuf>,
    /// More variables for the command.
    pub variables: Vec<(String, String)>,
}

impl World {
    /// An empty world.
    #[expect(clippy::new_without_default, reason = "it makes folders")]
    pub fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("ratchet-test-").tempdir().expect("a temporary folder can be made");
        for name in ["home", "state", "work", "programs"] {
            fs::create_dir(folder.path().join(name)).expect("a folder can be made");
        }
        let programs = vec![folder.path().join("programs")];
        Self { folder, programs, variables: Vec::new() }
    }

    /// The directory that commands start in.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A world whose state directory lies in the working directory, where no view can be mounted over it: views are copies.
    pub fn of_copies() -> Self {
        let mut world = Self::new();
        world.variables.push(("RATCHET_STATE_DIR".to_owned(), world.work().join(".ratchet").display().to_string()));
        world
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        let named = self.variables.iter().find(|(name, _)| name == "RATCHET_STATE_DIR");
        named.map_or_else(|| self.folder.path().join("state"), |(_, path)| PathBuf::from(path))
    }

    /// A path of the world outside the working directory.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the working directory.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder can be made");
        fs::write(&path, text).expect("a file can be written");
        path
    }

    /// The text of a file of the working directory.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.work().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Copies a folder's content into the working directory, but for what tools left there.
    pub fn copy_in(&self, folder: &Path) {
        copy(folder, &self.work());
    }

    /// Copies a folder's content into a folder of the working directory, but for what tools left there.
    pub fn copy_to(&self, folder: &Path, name: &str) {
        copy(folder, &self.work().join(name));
    }

    /// Puts a folder of programs before those of the system.
    pub fn add_programs(&mut self, folder: PathBuf) {
        self.programs.push(folder);
    }

    /// Puts a program of the test's own before all others.
    pub fn add_program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("programs").join(name);
        fs::write(&path, script).expect("a program can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program can be made executable");
    }

    /// A program in this world, with a clean environment.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path =
            env::join_paths(self.programs.iter().cloned().chain(env::split_paths(&system_path()))).expect("a PATH");
        command
            .current_dir(self.work())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path().join("home"))
            .env("USER", "tester")
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("RATCHET_STATE_DIR", self.state())
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs `ratchet` to its end.
    pub fn ratchet<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Done {
        let output = self.program(ratchet()).args(arguments).output().expect("ratchet can be started");
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts `ratchet` and does not wait for its end.
    pub fn start<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        let mut command = self.program(ratchet());
        command.args(arguments);
        Running::start(command)
    }

    /// Runs another program, which must end well, and gives what it printed.
    pub fn must(&self, program: &str, arguments: &[&str]) -> String {
        let output =
            self.program(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Done {
    /// Fails with all that was printed unless the exit code is this one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

fn copy(from: &Path, to: &Path) {
    const LEAVINGS: [&str; 4] = ["__pycache__", ".pytest_cache", ".coverage", "coverage.xml"];
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten() {
        if LEAVINGS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// Where the system's programs are; not the caller's PATH, so that what is installed by chance has no say.
fn system_path() -> OsString {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].join(":").into()
}
