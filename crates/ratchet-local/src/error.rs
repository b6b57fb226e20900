//! What can go wrong on one machine, each with a stable code and a page in `docs/errors`.

use std::{
    io,
    path::{Path, PathBuf},
};

use ratchet_core::ids::ExecutionId;
use ratchet_engine::ports::SecretError;
use ratchet_workspace::WorkspaceError;
use thiserror::Error;

/// An error of the local engine.
#[derive(Debug, Error)]
pub enum LocalError {
    /// The state directory is read only, or its owner is somebody else.
    #[error("the state directory {} cannot {action}: {source}", path.display())]
    StateDirectory {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What was tried: a fragment that reads after "cannot".
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full, or the owner's share of it.
    #[error("there is no room left at {}: {source}", path.display())]
    Full {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process drives the run.
    #[error("the run {execution} is driven by another process{}", owner.map(|pid| format!(" ({pid})")).unwrap_or_default())]
    Driven {
        /// The run.
        execution: ExecutionId,
        /// The process, where it left its name.
        owner: Option<u32>,
    },
    /// The directory that a run is to work on is not there, or is no directory.
    #[error("the workspace {} cannot be used: {reason}", path.display())]
    NoWorkspace {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A run is to work in the directory itself, and its workflow on a checkout.
    #[error("the workflow {0} works on a checkout of its own, and not in a directory")]
    NotInPlace(String),
    /// The secret that a repository is asked for with is not to be had.
    #[error("the repository cannot be asked for: {0}")]
    Credentials(#[from] SecretError),
    /// The changes of a run could not be applied; the directory is as it was.
    #[error("the changes cannot be applied: {}: {source}", path.display())]
    Apply {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that the engine keeps about a run is not what it wrote.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The files of a run stood in the way.
    #[error(transparent)]
    Files(#[from] WorkspaceError),
    /// A run's row does not say where its files are.
    #[error("the run {execution} does not say where its files are: {reason}")]
    Place {
        /// The run.
        execution: ExecutionId,
        /// What is wrong.
        reason: String,
    },
    /// Processes of an earlier engine are left and do not end.
    #[error("processes of the run {execution} are left and cannot be ended: {}", pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))]
    Leftovers {
        /// The run.
        execution: ExecutionId,
        /// The processes.
        pids: Vec<u32>,
    },
    /// The process that steps run under could not be set up.
    #[error("steps cannot be supervised: cannot {action}: {source}")]
    Supervision {
        /// What was tried: a fragment that reads after "cannot".
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// A handler broke down.
    #[error("the engine broke down while it handled an event: {0}")]
    Handler(String),
    /// There is no such run.
    #[error("there is no run {0}")]
    NotFound(ExecutionId),
}

impl LocalError {
    /// The error of the state directory that an error of the system comes to.
    pub(crate) fn state_directory(path: &Path, action: &str, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::Full { path: path.to_owned(), source };
        }
        Self::StateDirectory { path: path.to_owned(), action: action.to_owned(), source }
    }

    /// The error of applying that an error of the system comes to.
    pub(crate) fn apply(path: &Path, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::Full { path: path.to_owned(), source };
        }
        Self::Apply { path: path.to_owned(), source }
    }

    /// The stable code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::StateDirectory { .. } => "RT-0250",
            Self::Full { .. } => "RT-0251",
            Self::Driven { .. } => "RT-0252",
            Self::NoWorkspace { .. } => "RT-0253",
            Self::NotInPlace(_) => "RT-0254",
            Self::Credentials(error) => error.code(),
            Self::Apply { .. } => "RT-0257",
            Self::Damaged { .. } | Self::Place { .. } => "RT-0258",
            Self::Leftovers { .. } => "RT-0259",
            Self::Supervision { .. } => "RT-0260",
            Self::Files(error) => error.code(),
            Self::NotFound(_) => "RT-0261",
            Self::Handler(_) => "RT-0263",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::StateDirectory { .. } => {
                "choose a directory of your own with --state-dir or RATCHET_STATE_DIR".to_owned()
            }
            Self::Full { .. } => "free some space (`ratchet prune` removes old runs), then resume the run".to_owned(),
            Self::Driven { execution, .. } => {
                format!("wait for it, or end the run with `ratchet cancel {execution}`")
            }
            Self::NoWorkspace { .. } => "name a directory with --workspace".to_owned(),
            Self::NotInPlace(_) => "run it without --in-place; `ratchet plan` looks at directories only".to_owned(),
            Self::Credentials(_) => {
                "set RATCHET_SECRET_<name>, or name a file of secrets with RATCHET_SECRETS_FILE".to_owned()
            }
            Self::Apply { .. } => "make the directory writable, then resume the run: it applies them".to_owned(),
            Self::Damaged { .. } | Self::Place { .. } => {
                "the run cannot go on; start it again, and remove this one with `ratchet rm`".to_owned()
            }
            Self::Leftovers { .. } => "end them by hand, then resume the run".to_owned(),
            Self::Supervision { .. } => "run with RATCHET_SUPERVISION=reaper".to_owned(),
            Self::Handler(_) => {
                "this is a mistake in ratchet: please report it, then resume the run, which goes on from what is recorded".to_owned()
            }
            Self::Files(error) => error.hint().to_owned(),
            Self::NotFound(_) => "`ratchet list` shows the runs of this state directory".to_owned(),
        }
    }
}

/// Whether the system said that there is no room.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::directory::StateDirectory;

    #[test]
    fn a_state_directory_that_cannot_be_made_says_why_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        // A file in the way, and a file system that takes no folders, whoever asks.
        for path in [file.join("state"), PathBuf::from("/proc/self/state")] {
            let error = StateDirectory::open(&path).unwrap_err();
            assert_eq!(error.code(), "RT-0250");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert!(error.hint().contains("--state-dir"));
        }
    }

    #[test]
    fn no_room_is_an_error_of_its_own_wherever_it_happens() {
        let path = Path::new("/somewhere");
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            for error in
                [LocalError::state_directory(path, "be written", kind.into()), LocalError::apply(path, kind.into())]
            {
                assert_eq!((error.code(), error.hint().contains("prune")), ("RT-0251", true));
            }
        }
    }
}
