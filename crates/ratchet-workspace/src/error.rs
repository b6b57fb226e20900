//! What can go wrong with the files of a run, each with a stable code and a page in `docs/errors`.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{merge::MergeConflict, path::TreePath};

/// An error of a run's files.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// The disk is full, or the owner's share of it.
    #[error("there is no room left at {}: {source}", path.display())]
    Full {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("the file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("the file {} cannot be written: {source}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file was written to each time that it was read.
    #[error("the file {} changes faster than it can be read", path.display())]
    Changing {
        /// Which.
        path: PathBuf,
    },
    /// What a step left behind is more than it may.
    #[error("the step's changes are {amount} {unit}, and {bound} are allowed; the largest file is {largest}")]
    TooLarge {
        /// How much.
        amount: u64,
        /// Of what: bytes or paths.
        unit: &'static str,
        /// How much may be.
        bound: u64,
        /// The largest file among them.
        largest: TreePath,
    },
    /// A manifest, a layer or a journal is not what was written.
    #[error("{what} is damaged: {reason}")]
    Damaged {
        /// What it is.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// Branches that ran in parallel changed the same path to different content.
    #[error("{}", conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Conflict {
        /// Each path with the two steps.
        conflicts: Vec<MergeConflict>,
    },
    /// Something in the directory works only at its own absolute path, and the machine gives no view there.
    #[error("the workspace cannot be copied: {} names the directory by its absolute path", path.display())]
    Bound {
        /// The file that does.
        path: PathBuf,
    },
    /// The system does not make a view of the kind that was asked for.
    #[error("a view of the workspace cannot be made: {reason}")]
    NoView {
        /// What it refused.
        reason: String,
    },
    /// A repository cannot be checked out.
    #[error("{url} cannot be checked out: {reason}")]
    Checkout {
        /// Where it is.
        url: String,
        /// What git said.
        reason: String,
    },
    /// Git could not do what it was asked for.
    #[error("git {command} failed: {message}")]
    Git {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
}

impl WorkspaceError {
    /// The error of reading that an error of the system comes to.
    pub(crate) fn reading(path: &Path, source: io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), source }
    }

    /// The error of writing that an error of the system comes to.
    pub fn writing(path: &Path, source: io::Error) -> Self {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::Full { path: path.to_owned(), source };
        }
        Self::Unwritable { path: path.to_owned(), source }
    }

    /// The stable code of the error's page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "RT-0251",
            Self::Bound { .. } => "RT-0255",
            Self::Unreadable { .. } => "RT-0270",
            Self::Unwritable { .. } => "RT-0271",
            Self::Changing { .. } => "RT-0272",
            Self::TooLarge { .. } => "RT-0273",
            Self::Damaged { .. } => "RT-0274",
            Self::Conflict { .. } => "RT-0275",
            Self::NoView { .. } => "RT-0276",
            Self::Git { .. } => "RT-0277",
            Self::Checkout { .. } => "RT-0278",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Full { .. } => "free some space (`ratchet prune` removes old runs), then resume the run",
            Self::Bound { .. } => "work in the directory itself with --in-place, or move what is bound to it elsewhere",
            Self::Unreadable { .. } => "make the file readable, remove it, or exclude it from the workspace",
            Self::Unwritable { .. } => "make the directory writable, then resume the run",
            Self::Changing { .. } => "end the program that writes to it, or exclude the file from the workspace",
            Self::TooLarge { .. } => {
                "let the step write large files outside the workspace, exclude them, or raise the bound"
            }
            Self::Damaged { .. } => "check the disk, then run the step that made it again",
            Self::Conflict { .. } => "let one of the steps need the other, or let only one of them write the file",
            Self::NoView { .. } => "leave the choice to ratchet: it takes a copy where there can be no view",
            Self::Checkout { .. } => {
                "check `url` and `ref` of the workflow's `workspace`, and what you may reach: `git ls-remote` says the same by hand"
            }
            Self::Git { .. } => "look at the repository with `git status` and `git fsck`, then apply again",
        }
    }
}
