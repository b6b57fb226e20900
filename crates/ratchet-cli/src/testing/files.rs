//! The files that a test begins with.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Component, Path},
    process::{Command, Stdio},
};

use super::file::Test;

/// Who commits what a test begins with: the same on every machine.
const AUTHOR: [(&str, &str); 6] = [
    ("GIT_AUTHOR_NAME", "ratchet"),
    ("GIT_AUTHOR_EMAIL", "ratchet@localhost"),
    ("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z"),
    ("GIT_COMMITTER_NAME", "ratchet"),
    ("GIT_COMMITTER_EMAIL", "ratchet@localhost"),
    ("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z"),
];

/// Makes the folder that a test works on. `beside` is where the file of the test lies.
pub(super) fn prepare(test: &Test, beside: &Path, workspace: &Path) -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("its files cannot be made: {what}: {error}");
    match &test.files {
        Some(files) => copy(&beside.join(files), workspace)
            .map_err(|error| failed(&beside.join(files).display().to_string(), &error))?,
        None => fs::create_dir_all(workspace).map_err(|error| failed("the folder", &error))?,
    }
    for (path, content) in &test.write {
        let name = path.display().to_string();
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(failed(&name, &"the path leaves the workspace"));
        }
        let path = workspace.join(path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, content));
        written.map_err(|error| failed(&name, &error))?;
    }
    if test.git {
        for arguments in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["add", "--all"],
            &["commit", "--quiet", "--allow-empty", "--message=As the test begins"],
        ] {
            command("git", arguments, workspace)?;
        }
    }
    for script in &test.run {
        command("bash", &["-euo", "pipefail", "-c", script], workspace)?;
    }
    Ok(())
}

fn command(program: &str, arguments: &[&str], folder: &Path) -> Result<(), String> {
    let run = Command::new(program)
        .args(arguments)
        .envs(AUTHOR)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("its files cannot be made: {program}: {error}"))?;
    if run.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&run.stderr);
    Err(format!("its files cannot be made: `{program} {}` failed: {}", arguments.join(" "), said.trim()))
}

/// Copies a folder with all that is in it to a place where nothing is.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
