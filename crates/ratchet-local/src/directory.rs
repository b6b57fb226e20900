//! Where everything of the local engine lies.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use ratchet_core::ids::{Digest, ExecutionId, StepKey};

use crate::{blob_store::file_in, error::LocalError};

/// The state directory: the one place where every path in it is made.
///
/// ```text
/// state.db                                     the rows
/// blobs/sha256/ab/cdef…                        content by digest
/// kept/<directory>/                            a user's directory as runs began with it
/// captured/<digest>/<file name>                read-only copies of file values
/// published/<name>/<version>.json              published definitions
/// executions/<id>/engine.lock                  held by the process that drives the run
/// executions/<id>/source.json                  the directory that the run began with, and where it is kept
/// executions/<id>/synced                       whether that is on the disk
/// executions/<id>/checkout/                    the repository that the run works on, where its workflow names one
/// executions/<id>/views/                       what its steps see and change while it is driven
/// executions/<id>/apply.json, applying.json    the changes on their way into the user's directory, and which these are
/// executions/<id>/applied.json                 what came of that
/// executions/<id>/attempts/<epoch>/<step>/<n>/ output.log, transcript.jsonl; home/ and tmp/ of an agent, and of a command that failed
/// executions/<id>/nested/<name>/attempts/…     the same of a run that a step of the run started
/// scratch/<engine>/<n>/                        home/ and tmp/ of a command while it runs
/// changed                                      touched after a change to a run that another process may drive; so is the same in the run's folder
/// unsupervised/<id>                            runs whose processes the kernel would not end with their engine
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDirectory {
    root: PathBuf,
    /// The blobs of another one, which are read where it has none itself.
    blobs_below: Option<PathBuf>,
}

impl StateDirectory {
    /// The state directory at an absolute path. Nothing is touched.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), blobs_below: None }
    }

    /// This one, over another: contents that are not in it are read there, and nothing is written there.
    #[must_use]
    pub(crate) fn over(self, other: &Self) -> Self {
        Self { blobs_below: Some(other.blobs()), ..self }
    }

    /// The state directory at a path, made where it is not there, for its owner alone.
    pub fn open(root: &Path) -> Result<Self, LocalError> {
        let refused = |source| LocalError::state_directory(root, "be created", source);
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(refused)?;
        let directory = Self::new(root.canonicalize().map_err(refused)?);
        create(&directory.executions()).map_err(refused)?;
        Ok(directory)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database of all rows.
    pub fn database(&self) -> PathBuf {
        self.root.join("state.db")
    }

    /// The folder of published definitions, by name and version.
    pub fn published(&self) -> PathBuf {
        self.root.join("published")
    }

    /// The root of all blobs.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let own = file_in(&self.blobs(), digest.as_str());
        let below = self.blobs_below.as_ref().filter(|_| !own.exists());
        below.map(|below| file_in(below, digest.as_str())).unwrap_or(own)
    }

    /// Where contents lie that are not in it, where there is such a place.
    pub(crate) fn blobs_below(&self) -> Option<&Path> {
        self.blobs_below.as_deref()
    }

    /// The folder of the read-only copy of a captured file.
    pub fn captured(&self, digest: &Digest) -> PathBuf {
        self.root.join("captured").join(digest.as_str())
    }

    /// The folder of all runs.
    pub fn executions(&self) -> PathBuf {
        self.root.join("executions")
    }

    /// The folder of a run. That of a run that a step started lies in the folder of the run at the root.
    pub fn execution(&self, id: &ExecutionId) -> PathBuf {
        if id.is_nested() { self.root_of(id).join("nested").join(id.nested_name()) } else { self.root_of(id) }
    }

    /// The folder of the run at the root of those that a run belongs to: they have one workspace and one engine.
    fn root_of(&self, id: &ExecutionId) -> PathBuf {
        self.executions().join(id.root().as_str())
    }

    /// The file that the process which drives a run holds locked.
    pub fn lock(&self, id: &ExecutionId) -> PathBuf {
        self.root_of(id).join("engine.lock")
    }

    /// The checkout that a run works on.
    pub fn checkout(&self, id: &ExecutionId) -> PathBuf {
        self.root_of(id).join("checkout")
    }

    /// Which directory the files of a run come from, and where its content is kept.
    pub fn source(&self, id: &ExecutionId) -> PathBuf {
        self.root_of(id).join("source.json")
    }

    /// What the steps of a run see and change while it is driven.
    pub fn views(&self, id: &ExecutionId) -> PathBuf {
        self.root_of(id).join("views")
    }

    /// The contents of users' directories, each in a folder of its own.
    pub fn kept(&self) -> PathBuf {
        self.root.join("kept")
    }

    /// Whether what is kept of the directory of a run was written through to the disk.
    pub fn synced(&self, id: &ExecutionId) -> PathBuf {
        self.root_of(id).join("synced")
    }

    /// The changes of a run on their way into the user's directory.
    pub fn journal(&self, id: &ExecutionId) -> PathBuf {
        self.root_of(id).join("apply.json")
    }

    /// Which changes these are.
    pub fn applying(&self, id: &ExecutionId) -> PathBuf {
        self.root_of(id).join("applying.json")
    }

    /// What came of applying the changes of a run.
    pub fn applied(&self, id: &ExecutionId) -> PathBuf {
        self.root_of(id).join("applied.json")
    }

    /// The folder of an attempt.
    pub fn attempt(&self, key: &StepKey, attempt: u32) -> PathBuf {
        self.execution(&key.execution)
            .join("attempts")
            .join(key.epoch.to_string())
            .join(key.path.to_string())
            .join(attempt.to_string())
    }

    /// The home and temporary folders of running commands, engine by engine.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// The folder with a file for each run whose processes could outlive its engine.
    pub fn unsupervised(&self) -> PathBuf {
        self.root.join("unsupervised")
    }

    /// The names of the runs that have a folder here, whether or not they have a row.
    pub fn execution_ids(&self) -> io::Result<Vec<ExecutionId>> {
        let entries = match fs::read_dir(self.executions()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut ids = Vec::new();
        for entry in entries {
            if let Ok(name) = entry?.file_name().into_string() {
                ids.push(ExecutionId::new(name));
            }
        }
        ids.sort();
        Ok(ids)
    }
}

/// Makes a folder and those above it, for their owner alone.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
