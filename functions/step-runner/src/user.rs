//! The user that steps' processes are: another than the task's own, whose environment holds the way to its credentials.

use std::{
    env,
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{PermissionsExt as _, lchown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

/// The variable that says its number, or [`SAME`]. The image sets it.
const VARIABLE: &str = "RATCHET_STEP_USER";
/// Steps are the user that the runner is, and see what it sees: its word for a place where nothing is to be kept from them.
const SAME: &str = "same";

/// A user, where steps have one of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User(Option<u32>);

impl User {
    /// Who it is.
    pub(crate) fn of_environment() -> Result<Self, String> {
        Self::of(&env::var(VARIABLE).unwrap_or_default())
    }

    /// Nothing stands for no word: an image that says none would hand the task's credentials to its steps unseen.
    fn of(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == SAME => Ok(Self(None)),
            Ok(0) | Err(_) => Err(format!(
                "{VARIABLE} is `{text}`: the image must set it to the number of a user that is not root, which steps then are"
            )),
            Ok(number) => Ok(Self(Some(number))),
        }
    }

    /// Makes a process be of the user.
    pub(crate) fn be(self, command: &mut Command) {
        if let Some(number) = self.0 {
            // The groups of whoever starts it go as well.
            command.uid(number).gid(number);
        }
    }

    /// Gives the user a folder with all that is in it. What is not there is not given.
    pub(crate) fn own(self, path: &Path) -> io::Result<()> {
        let Some(number) = self.0 else { return Ok(()) };
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        lchown(path, Some(number), Some(number))?;
        if found.is_dir() {
            for entry in fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        } else if found.is_file() {
            // Another owner takes these bits away, and they are part of what a file is.
            fs::set_permissions(path, Permissions::from_mode(found.permissions().mode()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_names_no_user_runs_no_step() {
        for (text, expected) in [
            ("1000", Some(User(Some(1000)))),
            ("same", Some(User(None))),
            ("", None),
            ("0", None),
            ("root", None),
            ("-1", None),
        ] {
            assert_eq!(User::of(text).ok(), expected, "{text}");
        }
    }
}
